//! Git LFS: pointers that stand in a tree for what is kept elsewhere, and how a server is asked for that
//! (git-lfs: `docs/spec.md`, `docs/api/batch.md`).

use std::collections::BTreeMap;

use bulla_model::{Digest, path::printable};
use serde::{Deserialize, Serialize};

use super::GitError;

/// The media type of questions and answers.
pub const MEDIA_TYPE: &str = "application/vnd.git-lfs+json";
/// The most bytes of an answer.
pub const MAX_ANSWER: u64 = 8 << 20;
/// The most pieces that are asked for at once.
pub const AT_ONCE: usize = 100;
/// A pointer has fewer bytes than this.
const MAX_POINTER: usize = 1024;

/// What stands in a tree in place of something large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pointer {
    /// The SHA-256 of what it stands for.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Whether a program of an extension made it what it is.
    pub extended: bool,
}

impl Pointer {
    /// Reads a pointer; `None` for a file that is none.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() >= MAX_POINTER {
            return None;
        }
        let mut lines = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?.split('\n');
        if lines.next()? != "version https://git-lfs.github.com/spec/v1" {
            return None;
        }
        let (mut digest, mut size, mut extended) = (None, None, false);
        for line in lines {
            match line.split_once(' ')? {
                ("oid", oid) if digest.is_none() => digest = Some(oid.parse().ok()?),
                ("size", text) if size.is_none() && text.bytes().all(|b| b.is_ascii_digit()) => {
                    size = Some(text.parse().ok()?)
                }
                (key, _) if key.starts_with("ext-") => extended = true,
                _ => return None,
            }
        }
        Some(Self { digest: digest?, size: size?, extended })
    }
}

#[derive(Serialize)]
struct Question<'a> {
    operation: &'a str,
    transfers: [&'a str; 1],
    hash_algo: &'a str,
    objects: Vec<Wanted>,
}

#[derive(Serialize)]
struct Wanted {
    oid: String,
    size: u64,
}

/// Writes the question for some pieces.
pub fn question(pointers: &[Pointer]) -> Vec<u8> {
    let objects = pointers.iter().map(|pointer| Wanted { oid: pointer.digest.hex(), size: pointer.size }).collect();
    let question = Question { operation: "download", transfers: ["basic"], hash_algo: "sha256", objects };
    serde_json::to_vec(&question).unwrap_or_default()
}

#[derive(Deserialize)]
struct Answer {
    transfer: Option<String>,
    objects: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    oid: String,
    #[serde(default)]
    actions: BTreeMap<String, Action>,
    error: Option<Problem>,
}

#[derive(Deserialize)]
struct Action {
    href: String,
    #[serde(default)]
    header: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Problem {
    message: String,
}

/// Where a piece is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its SHA-256.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// The URL.
    pub url: String,
    /// What the server wants `Authorization` to be there.
    pub authorization: Option<String>,
}

/// Reads the answer: where each piece is that was asked for.
///
/// # Errors
/// When it is no such answer, or a piece is not there.
pub fn answer(asked: &[Pointer], bytes: &[u8]) -> Result<Vec<Place>, GitError> {
    let fail = |problem: String| GitError::Lfs { problem };
    let answer: Answer = serde_json::from_slice(bytes).map_err(|_| fail("gives no such answer as it should".into()))?;
    if let Some(other) = answer.transfer.filter(|transfer| transfer != "basic") {
        return Err(fail(format!("wants a way of its own to give files: `{}`", printable(other.as_bytes()))));
    }
    let place = |pointer: &Pointer| {
        let hex = pointer.digest.hex();
        let object = answer.objects.iter().find(|object| object.oid == hex);
        let object = object.ok_or_else(|| fail(format!("says nothing of {}", pointer.digest)))?;
        if let Some(problem) = &object.error {
            let words = problem.message.as_bytes();
            let words = printable(words.get(..words.len().min(300)).unwrap_or_default());
            return Err(fail(format!("does not give {}: {words}", pointer.digest)));
        }
        let action = object.actions.get("download").ok_or_else(|| fail(format!("does not have {}", pointer.digest)))?;
        let authorization = action.header.iter().find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        Ok(Place {
            digest: pointer.digest,
            size: pointer.size,
            url: action.href.clone(),
            authorization: authorization.map(|(_, value)| value.clone()),
        })
    };
    asked.iter().map(place).collect()
}

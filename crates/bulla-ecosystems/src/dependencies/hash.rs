//! What lock files say of the bytes that they mean.

use std::io::{self, Read as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bulla_model::GitId;
use sha2::{Sha256, Sha512};

use super::{ReadSeek, go::dirhash, npm::yarn_zip};
use crate::git::{Bare, MAX_PACK};

/// A hash of a native lock file that is strong enough to pin by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hash {
    /// The SHA-256 of the file.
    Sha256([u8; 32]),
    /// The SHA-512 of the file.
    Sha512([u8; 64]),
    /// `h1:` of a module of Go: the SHA-256 of a list of the files in its zip archive (golang.org/x/mod/sumdb/dirhash, "Hash1").
    GoZip([u8; 32]),
    /// `h1:` of the `go.mod` of a module of Go: the same of a list that has this one file.
    GoMod([u8; 32]),
    /// The SHA-512 of the zip archive that yarn makes of a package's, without compression.
    YarnZip([u8; 64]),
    /// A commit of git, whose files the bytes are ([`Bare`]). It is of SHA-1, which finds them and does not vouch for them.
    GitCommit([u8; 20]),
}

/// Text that is no such hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseHashError {
    /// Another algorithm, which is too weak or unknown.
    #[error("the algorithm `{0}` cannot pin anything")]
    Algorithm(String),
    /// Not as long as the algorithm says, or no hexadecimal or base64 text.
    #[error("`{0}` is no hash of its algorithm")]
    Malformed(String),
}

impl Hash {
    /// Reads hexadecimal digits of an algorithm (`sha256`, `sha512`), as Python's and Rust's lock files have them.
    ///
    /// # Errors
    /// When the algorithm is another, or the digits are not those of it.
    pub fn from_hex(algorithm: &str, digits: &str) -> Result<Self, ParseHashError> {
        let malformed = || ParseHashError::Malformed(digits.chars().take(140).collect());
        match algorithm {
            "sha256" => unhex(digits).map(Self::Sha256).ok_or_else(malformed),
            "sha512" => unhex(digits).map(Self::Sha512).ok_or_else(malformed),
            _ => Err(ParseHashError::Algorithm(algorithm.chars().take(20).collect())),
        }
    }

    /// Reads base64 text of an algorithm, as subresource integrity (W3C) has it: `sha512` or `sha256`.
    ///
    /// # Errors
    /// When the algorithm is another, or the text is no such hash.
    pub fn from_base64(algorithm: &str, text: &str) -> Result<Self, ParseHashError> {
        let malformed = || ParseHashError::Malformed(text.chars().take(140).collect());
        let bytes = || STANDARD.decode(text).map_err(|_| malformed());
        match algorithm {
            "sha512" => bytes()?.try_into().map(Self::Sha512).map_err(|_| malformed()),
            "sha256" => bytes()?.try_into().map(Self::Sha256).map_err(|_| malformed()),
            _ => Err(ParseHashError::Algorithm(algorithm.chars().take(20).collect())),
        }
    }

    /// Reads a sum of `go.sum`, `h1:` and base64 text, which does not say itself whether it is of a module's files or of its `go.mod`.
    ///
    /// # Errors
    /// When the algorithm is another, or the text is no such sum.
    pub fn from_go(sum: &str, of_go_mod: bool) -> Result<Self, ParseHashError> {
        let malformed = || ParseHashError::Malformed(sum.chars().take(140).collect());
        let (algorithm, text) = sum.split_once(':').ok_or_else(malformed)?;
        if algorithm != "h1" {
            return Err(ParseHashError::Algorithm(algorithm.chars().take(20).collect()));
        }
        let bytes = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or_else(malformed)?;
        Ok(if of_go_mod { Self::GoMod(bytes) } else { Self::GoZip(bytes) })
    }

    /// Says whether it can pin by itself.
    pub const fn is_strong(&self) -> bool {
        !matches!(self, Self::GitCommit(_))
    }

    /// Says whether these bytes are meant. What is no archive at all, or one that may not be unfolded, is not.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn matches(&self, body: &mut dyn ReadSeek) -> io::Result<bool> {
        body.rewind()?;
        match self {
            Self::Sha256(expected) => Ok(digest::<Sha256>(body)? == expected),
            Self::Sha512(expected) => Ok(digest::<Sha512>(body)? == expected),
            Self::GoZip(expected) => Ok(dirhash::of_zip(body)?.is_some_and(|found| found == *expected)),
            Self::YarnZip(expected) => Ok(yarn_zip::of_archive(body)?.is_some_and(|found| found == *expected)),
            Self::GoMod(expected) => Ok(dirhash::of_go_mod(body)?.is_some_and(|found| found == *expected)),
            Self::GitCommit(commit) => {
                let mut bytes = Vec::new();
                body.take(MAX_PACK + 1).read_to_end(&mut bytes)?;
                Ok(Bare::read(bytes, GitId::from_bytes(*commit)).is_ok())
            }
        }
    }
}

impl std::fmt::Display for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sha256(bytes) => write!(f, "sha256-{}", STANDARD.encode(bytes)),
            Self::Sha512(bytes) => write!(f, "sha512-{}", STANDARD.encode(bytes)),
            Self::GoZip(bytes) => write!(f, "h1:{}", STANDARD.encode(bytes)),
            Self::YarnZip(bytes) => write!(f, "yarn-zip sha512-{}", STANDARD.encode(bytes)),
            Self::GitCommit(bytes) => write!(f, "git-commit {}", GitId::from_bytes(*bytes)),
            // An archive that has nothing but a `go.mod` at its top would have the same sum, and is another thing.
            Self::GoMod(bytes) => write!(f, "go.mod h1:{}", STANDARD.encode(bytes)),
        }
    }
}

impl std::str::FromStr for Hash {
    type Err = ParseHashError;

    /// Reads what the `Display` of it writes.
    fn from_str(text: &str) -> Result<Self, ParseHashError> {
        if let Some(sum) = text.strip_prefix("go.mod ") {
            return Self::from_go(sum, true);
        }
        if let Some(hash) = text.strip_prefix("yarn-zip ") {
            return match hash.strip_prefix("sha512-").map(|digits| Self::from_base64("sha512", digits)) {
                Some(Ok(Self::Sha512(bytes))) => Ok(Self::YarnZip(bytes)),
                _ => Err(ParseHashError::Malformed(text.chars().take(140).collect())),
            };
        }
        if let Some(commit) = text.strip_prefix("git-commit ") {
            let malformed = |_| ParseHashError::Malformed(text.chars().take(140).collect());
            return commit.parse::<GitId>().map(|id| Self::GitCommit(*id.as_bytes())).map_err(malformed);
        }
        if text.starts_with("h1:") {
            return Self::from_go(text, false);
        }
        let (algorithm, digits) =
            text.split_once('-').ok_or_else(|| ParseHashError::Malformed(text.chars().take(140).collect()))?;
        Self::from_base64(algorithm, digits)
    }
}

fn digest<D: sha2::Digest>(body: &mut dyn ReadSeek) -> io::Result<Vec<u8>> {
    let mut hasher = D::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match body.read(&mut buffer)? {
            0 => return Ok(hasher.finalize().to_vec()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

fn unhex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    if digits.len() != 2 * N || !digits.is_ascii() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks(2)) {
        let value = |digit: u8| char::from(digit).to_digit(16);
        *byte = (value(pair[0])? * 16 + value(pair[1])?) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let all = [
            Hash::Sha256([1; 32]),
            Hash::Sha512([2; 64]),
            Hash::GoZip([3; 32]),
            Hash::GoMod([4; 32]),
            Hash::YarnZip([5; 64]),
            Hash::GitCommit([6; 20]),
        ];
        for hash in all {
            assert_eq!(hash.to_string().parse(), Ok(hash));
        }
        for text in [
            "",
            "sha1-AAAA",
            "sha512-AAAA",
            "h1:AAAA",
            "go.mod sha256-AAAA",
            "yarn-zip sha512-AAAA",
            "sha256",
            "git-commit 0123",
        ] {
            assert!(text.parse::<Hash>().is_err(), "{text}");
        }
    }

    #[test]
    fn bytes_are_told_from_others() {
        for hash in [
            Hash::from_hex("sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            Hash::from_base64(
                "sha512",
                "3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw==",
            ),
        ] {
            let hash = hash.expect("a hash");
            assert!(hash.matches(&mut Cursor::new(b"abc")).expect("it is read"));
            assert!(!hash.matches(&mut Cursor::new(b"abd")).expect("it is read"));
        }
    }

    #[test]
    fn what_is_weak_or_malformed_is_no_hash() {
        assert_eq!(Hash::from_hex("md5", "00"), Err(ParseHashError::Algorithm("md5".to_owned())));
        assert_eq!(Hash::from_base64("sha1", "AA=="), Err(ParseHashError::Algorithm("sha1".to_owned())));
        for text in ["", "00", "+0", &"é".repeat(32), &"0g".repeat(32)] {
            assert!(matches!(Hash::from_hex("sha256", text), Err(ParseHashError::Malformed(_))), "{text}");
            assert!(matches!(Hash::from_base64("sha256", text), Err(ParseHashError::Malformed(_))), "{text}");
        }
    }
}

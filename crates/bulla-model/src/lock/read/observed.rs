//! Reads what was observed.

use serde::Deserialize;

use super::{digest, invalid, is_fingerprint, only, shown, signers, time};
use crate::{
    ecosystem::Ecosystem,
    lock::{AnswerPin, Answers, IndexSignature, LockError, ObservedKey, Verified},
    path::CleanPath,
    spec::Name,
};

/// The longest path of an answer, and the longest package URL.
const MAX_TEXT: usize = 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ObservedText {
    stage: String,
    registry: String,
    answers: Vec<AnswerText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct AnswerText {
    path: String,
    status: u16,
    size: Option<u64>,
    digest: Option<String>,
    purl: Option<String>,
    verified: Option<String>,
    date: Option<String>,
    valid_until: Option<String>,
    signed_by: Option<Vec<String>>,
}

impl ObservedText {
    /// Gives how many answers it has.
    pub(super) const fn count(&self) -> usize {
        self.answers.len()
    }
}

/// Checks an entry. A key that it should not have, or an order that is not that of paths, is found by writing it anew.
pub(super) fn observed(text: ObservedText) -> Result<(ObservedKey, Answers), LockError> {
    let entry = format!("what {} was observed to ask of {}", shown(&text.stage), shown(&text.registry));
    let stage = Name::parse(&text.stage).map_err(|_| invalid(&entry, "there is no such name of a stage"))?;
    let ecosystem = Ecosystem::ALL.into_iter().find(|one| one.is_observed() && one.registry() == text.registry);
    let ecosystem = ecosystem.ok_or_else(|| invalid(&entry, "there is no such registry"))?;
    let mut answers = Answers::new();
    for answer in text.answers {
        let entry = format!("{entry}: {}", shown(&answer.path));
        let path = answer.path.clone();
        // A path and no address: neither a host nor a query can be in it.
        let plain = only(&path, |b| b.is_ascii_alphanumeric() || b"/._+~:-=@%".contains(&b));
        if !plain || path.len() > MAX_TEXT || CleanPath::parse(&path).is_err() {
            return Err(invalid(entry, "this is not a clean relative path"));
        }
        let pin = self::answer(&entry, answer)?;
        if answers.insert(path, pin).is_some() {
            return Err(invalid(entry, "it is there twice"));
        }
    }
    Ok((ObservedKey { stage, ecosystem }, answers))
}

fn answer(entry: &str, text: AnswerText) -> Result<AnswerPin, LockError> {
    match (text.status, text.size, text.digest, text.verified) {
        (404, None, None, None) => Ok(AnswerPin::Absent),
        (200, Some(size), Some(digest), Some(words)) => {
            let signature = match (text.date, text.signed_by) {
                (Some(date), Some(signed_by)) => {
                    signers(entry, &signed_by, is_fingerprint)?;
                    let valid_until = text.valid_until.map(|text| time(entry, &text)).transpose()?;
                    Some(IndexSignature { date: time(entry, &date)?, valid_until, signed_by })
                }
                _ => None,
            };
            let ways = [Verified::Checksum, Verified::SignedDigest, Verified::Nothing].into_iter();
            let verified = ways.chain(signature.map(Verified::Signature)).find(|one| one.words() == words);
            let graphic = |b: u8| b.is_ascii_graphic() && b != b'"' && b != b'\\';
            let good = |purl: &String| purl.starts_with("pkg:") && purl.len() <= MAX_TEXT && only(purl, graphic);
            if text.purl.as_ref().is_some_and(|purl| !good(purl)) {
                return Err(invalid(entry, "its package URL is none"));
            }
            Ok(AnswerPin::Given {
                size,
                digest: self::digest(entry, &digest)?,
                purl: text.purl,
                verified: verified.ok_or_else(|| invalid(entry, "it is verified in no known way"))?,
            })
        }
        _ => Err(invalid(entry, "its status is not 404, or 200 with `size`, `digest` and `verified`")),
    }
}

//! Reads the pins of what native lock files name without a hash.

use serde::Deserialize;

use super::{digest, invalid, only, shown};
use crate::{
    ecosystem::Ecosystem,
    lock::{LockError, LooseEvidence, LooseKey, LoosePin},
};

/// The longest name, version and file.
const MAX_TEXT: usize = 2048;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LooseText {
    registry: String,
    name: String,
    version: String,
    file: String,
    size: u64,
    digest: String,
    evidence: String,
}

/// Checks an entry.
pub(super) fn loose(text: LooseText) -> Result<(LooseKey, LoosePin), LockError> {
    let entry = format!("loose {} {}", shown(&text.name), shown(&text.version));
    let ecosystem = Ecosystem::named(&text.registry).filter(|ecosystem| !ecosystem.is_observed());
    let ecosystem = ecosystem.ok_or_else(|| invalid(&entry, "there is no such registry"))?;
    for (what, value) in [("name", &text.name), ("version", &text.version), ("file", &text.file)] {
        if value.len() > MAX_TEXT || !only(value, |b| b.is_ascii_graphic() && b != b'"' && b != b'\\') {
            return Err(invalid(&entry, format!("its {what} is `{}`", shown(value))));
        }
    }
    let evidence = LooseEvidence::ALL.into_iter().find(|one| one.words() == text.evidence);
    let pin = LoosePin {
        size: text.size,
        digest: digest(&entry, &text.digest)?,
        evidence: evidence.ok_or_else(|| invalid(&entry, "it is trusted for no known reason"))?,
    };
    Ok((LooseKey { ecosystem, name: text.name, version: text.version, file: text.file }, pin))
}

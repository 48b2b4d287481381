//! What the index of Python's packages answers while a stage is observed: of a name, a page of what it lists, whose references lead to the step's
//! loopback; of what such a page lists, the file, held against the hash that the page has of it.

use std::{
    collections::BTreeMap,
    io::Write as _,
    sync::{Arc, Mutex, PoisonError},
};

use bulla_ecosystems::dependencies::{observe::Asked, pypi::Offer};
use bulla_model::{
    Digest, Fault, Kind,
    lock::{AnswerPin, Verified},
    login::without_logins,
};

use super::answers::{Desk, file, small};
use crate::{
    error::{CommandError, Result},
    ops::dependencies::{Known, MAX_ARTIFACT},
};

/// What an index lists, by the names that were asked for; nothing of a name that it does not have.
#[derive(Debug, Default)]
pub(super) struct Shelves(Mutex<BTreeMap<String, Option<Arc<Offer>>>>);

/// An index lists one hash of a file, and gives another file.
#[derive(Debug, thiserror::Error)]
#[error("{url} has the SHA-256 {found}, and the index lists {expected}")]
struct OtherBytes {
    url: String,
    found: Digest,
    expected: Digest,
}

impl Fault for OtherBytes {
    fn kind(&self) -> Kind {
        Kind::Integrity
    }

    fn hints(&self) -> Vec<String> {
        vec![
            "nothing is pinned: say so to whoever runs the index; a damaged download is gone when you observe again"
                .into(),
        ]
    }
}

/// A page of an index is none.
#[derive(Debug, thiserror::Error)]
#[error("asking the index of Python's packages for {name}: {what}")]
struct NoPage {
    name: String,
    what: String,
}

impl Fault for NoPage {
    fn kind(&self) -> Kind {
        Kind::Integrity
    }
}

impl Shelves {
    /// Gives the page that a client finds of a name; `None` where the index does not have it.
    ///
    /// # Errors
    /// When the index cannot be asked, its page is none, or the budget is used up.
    pub(super) fn page(&self, known: &Known, desk: &Desk, name: &str) -> Result<Option<String>> {
        if let Some(offer) = self.get(name) {
            return Ok(offer.map(|offer| offer.page()));
        }
        let question = Offer::question(name);
        let mut bytes = None;
        for found in known.find(name, &question.place)? {
            bytes = small(known, desk, &found, (question.limit, Some(question.accept))).map_err(|error| {
                let hints = known.registries.hint(name);
                CommandError { hints: error.hints.into_iter().chain(hints).collect(), ..error }
            })?;
            if bytes.is_some() {
                break;
            }
        }
        let offer = match bytes {
            Some(bytes) => {
                let wrong = |what| NoPage { name: name.to_owned(), what };
                Some(Arc::new(Offer::read(name, &bytes).map_err(wrong)?))
            }
            None => {
                desk.used.absent(&desk.budget)?;
                None
            }
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Who asked at the same time is given the same.
        let offer = all.entry(name.to_owned()).or_insert(offer).clone();
        Ok(offer.map(|offer| offer.page()))
    }

    /// Says whether a page that was asked for lists a file.
    pub(super) fn has(&self, asked: &Asked) -> bool {
        self.get(&asked.package).flatten().is_some_and(|offer| offer.file(&asked.path).is_some())
    }

    fn get(&self, name: &str) -> Option<Option<Arc<Offer>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}

/// Fetches a file that a page lists; `None` where it is not there.
pub(super) fn first(known: &Known, desk: &Desk, shelves: &Shelves, asked: &Asked) -> Result<Option<AnswerPin>> {
    let Some(offer) = shelves.get(&asked.package).flatten() else { return Ok(None) };
    let Some((place, expected)) = offer.file(&asked.path) else { return Ok(None) };
    let given =
        |size| AnswerPin::Given { size, digest: expected, purl: asked.purl.clone(), verified: Verified::Checksum };
    if let Some(blob) = desk.store.open_blob(&expected)? {
        return Ok(Some(given(blob.metadata().map_err(crate::error::CliError::File)?.len())));
    }
    for found in known.find(&asked.package, place)? {
        let Some((mut writer, size)) = file(known, desk, &found, MAX_ARTIFACT)? else { continue };
        writer.flush().map_err(crate::error::CliError::File)?;
        let digest = writer.finish(None)?;
        if digest != expected {
            let url = without_logins(&found.url.shown()).to_string();
            return Err(OtherBytes { url, found: digest, expected }.into());
        }
        return Ok(Some(given(size)));
    }
    Ok(None)
}

//! What archives of Debian answer while apt is observed: each answer is held against what its archive has signed, which says as well what may be
//! asked for at all. Of the suites, those of the stage's release are asked, and no others.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bulla_ecosystems::dependencies::{
    apt::{Archive, Expected},
    observe::Asked,
};
use bulla_model::{Digest, Kind, lock::AnswerPin, login::without_logins, spec::Release};

use super::answers::{Desk, file, gone};
use crate::{
    error::{CommandError, Result},
    ops::{
        dependencies::Known,
        lock::{self, Dates},
    },
    registry::{AptRegistries, Found, REGISTRY},
    session::Session,
};

/// The archives of a release's suites.
#[derive(Debug)]
pub(super) struct Archives(BTreeMap<String, Mutex<Archive>>);

impl Archives {
    /// Finds out who may sign the indexes of a release's suites, and which dates were seen of them; none count where going back is allowed.
    ///
    /// # Errors
    /// When a suite is nowhere configured, or keys or dates cannot be read.
    pub(super) fn of(session: &Session, release: &Release, allow_downgrade: bool) -> Result<Self> {
        let registries = AptRegistries::read(session)?;
        let mut seen = if allow_downgrade { Dates::new() } else { lock::seen(session)? };
        let mut archives = BTreeMap::new();
        for suite in &release.suites {
            let keyring = registries.registry().suite(suite)?.keyring()?;
            let seen = seen.remove(&key(suite)).unwrap_or_default();
            archives.insert(suite.clone(), Mutex::new(Archive::new(suite, keyring, lock::now(), seen)));
        }
        Ok(Self(archives))
    }

    /// Says what is expected at a path.
    ///
    /// # Errors
    /// When it is not asked for.
    pub(super) fn expects(&self, asked: &Asked) -> Result<Expected, &'static str> {
        self.archive(asked).ok_or("the stage's `apt` has no such suite")?.expects(&asked.path)
    }

    /// Gives the dates of the indexes that came, to be remembered.
    pub(super) fn dates(&self) -> Dates {
        let dated = |(suite, archive): (&String, &Mutex<Archive>)| {
            let archive = archive.lock().unwrap_or_else(PoisonError::into_inner);
            let (keys, date) = archive.dated()?;
            Some((key(suite), keys.map(|key| (key.to_owned(), date)).collect()))
        };
        self.0.iter().filter_map(dated).collect()
    }

    fn archive(&self, asked: &Asked) -> Option<MutexGuard<'_, Archive>> {
        Some(self.0.get(&asked.package)?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Gives what the dates of a suite are remembered by.
fn key(suite: &str) -> String {
    format!("{REGISTRY} {suite}")
}

/// Asks the mirrors of a suite in their order; `None` where none has it. What one gives and is refused is asked of the next.
pub(super) fn first(known: &Known, desk: &Desk, archives: &Archives, asked: &Asked) -> Result<Option<AnswerPin>> {
    let Ok(expected) = archives.expects(asked) else { return Ok(None) };
    if let Expected::File((digest, size), _) = &expected
        && desk.store.has_blob(digest)?
    {
        // It is the very file, whoever has it.
        return pinned(desk, archives, asked, &expected, (*digest, *size)).map(Some);
    }
    let mut refused: Option<CommandError> = None;
    for found in known.registries.find(&asked.package, &asked.path)? {
        match fetched(known, desk, &found, expected.most()) {
            Ok(None) => {}
            Ok(Some(came)) => match pinned(desk, archives, asked, &expected, came) {
                Ok(pin) => return Ok(Some(pin)),
                Err(mut error) => {
                    error.hints.push(format!("it came from {}", without_logins(&found.url.shown())));
                    refused.get_or_insert(error);
                }
            },
            Err(error) if matches!(error.kind, Kind::Interrupted | Kind::Policy) => return Err(error),
            Err(error) => {
                refused.get_or_insert(error);
            }
        }
    }
    refused.map_or(Ok(None), Err)
}

/// Fetches a file into the store; `None` where it is not there.
fn fetched(known: &Known, desk: &Desk, found: &Found, most: u64) -> Result<Option<(Digest, u64)>> {
    let Some((writer, size)) = file(known, desk, found, most)? else { return Ok(None) };
    Ok(Some((writer.finish(None)?, size)))
}

/// Verifies what is in the store, and makes a pin of it.
fn pinned(
    desk: &Desk,
    archives: &Archives,
    asked: &Asked,
    expected: &Expected,
    (digest, size): (Digest, u64),
) -> Result<AnswerPin> {
    let mut body = desk.store.open_blob(&digest)?.ok_or_else(|| gone(&asked.path))?;
    let mut archive = archives.archive(asked).ok_or_else(|| gone(&asked.path))?;
    let verified = archive.got(&asked.path, expected, (digest, &mut body))?;
    let purl = match expected {
        Expected::File(_, purl) => purl.clone(),
        Expected::Index => None,
    };
    Ok(AnswerPin::Given { size, digest, purl, verified })
}

//! The newest date that was seen of each suite, so that a mirror cannot bring back an old index with its known holes. It
//! lies in the state folder, outside the store, and outlives it.

use std::{
    collections::BTreeMap,
    fs::TryLockError,
    io::{ErrorKind, Read},
    path::PathBuf,
};

use bulla_model::{Epoch, Fault, Kind};

use super::write_whole;
use crate::{
    error::{CliError, Result},
    session::Session,
};

/// The most bytes that the file may have.
const MAX_FILE: u64 = 1 << 20;

/// By suite (`debian bookworm`) and the primary key that signed it: the newest date of its index.
pub(in crate::ops) type Dates = BTreeMap<String, BTreeMap<String, Epoch>>;

/// A file of dates that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("reading the dates of the suites that were seen from {}", path.display())]
struct DatesError {
    path: PathBuf,
    source: serde_json::Error,
}

impl Fault for DatesError {
    fn kind(&self) -> Kind {
        Kind::Integrity
    }

    fn hints(&self) -> Vec<String> {
        vec!["remove the file to begin anew; an old index would then be accepted once".into()]
    }
}

fn path(session: &Session) -> Result<PathBuf> {
    Ok(session.state_folder()?.join("suites.json"))
}

/// Reads the dates; there may be none yet.
///
/// # Errors
/// When the file is unreadable or damaged.
pub(super) fn read(session: &Session) -> Result<Dates> {
    let path = path(session)?;
    let file = match fs_err::File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Dates::new()),
        file => file.map_err(CliError::file)?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes).map_err(CliError::file)?;
    Ok(serde_json::from_slice(&bytes).map_err(|source| DatesError { path, source })?)
}

/// Adds the dates of the indexes that were just used. A date never goes back, but by `--allow-downgrade`.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn write(session: &Session, _before: Dates, used: &Dates) -> Result<()> {
    let path = path(session)?;
    let folder = session.state_folder()?;
    fs_err::create_dir_all(&folder).map_err(CliError::file)?;
    // Another process may have written since: read again under a lock that all writers take.
    let guard = fs_err::File::create(folder.join("suites.lock")).map_err(CliError::file)?;
    if let Err(TryLockError::WouldBlock) = guard.file().try_lock() {
        guard.file().lock().map_err(CliError::file)?;
    }
    let mut dates = read(session)?;
    for (suite, signed) in used {
        dates.entry(suite.clone()).or_default().extend(signed.clone());
    }
    let text = serde_json::to_string_pretty(&dates).expect("names and numbers are JSON");
    write_whole(&path, text.as_bytes())
}

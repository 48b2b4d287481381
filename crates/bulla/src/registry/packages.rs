//! What is asked of the registries of every ecosystem: where a package is, and as whom it is asked for.

use std::{
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

use bulla_model::{Fault, Kind};
use bulla_net::{Get, Reach, Secret, Url};

use crate::error::{CliError, Result};

/// The most bytes of a file of settings.
const MAX_FILE: u64 = 1 << 20;

/// The registries of one ecosystem, as this user on this machine has them.
pub(crate) trait PackageRegistries: Send + Sync {
    /// Says whether something names a registry for a package.
    fn has(&self, package: &str) -> bool;

    /// Gives where a path of the registry of a package is, the first choice first: never in a registry that is not meant for its name.
    ///
    /// # Errors
    /// When nothing says where that registry is; the error says which line to write.
    fn find(&self, package: &str, path: &str) -> Result<Vec<Found>>;

    /// Gives how an address is asked that a lock file or a registry's document has: as nobody, and not on this machine, unless the
    /// configuration itself names what it is a part of.
    fn at(&self, url: Url) -> Found {
        Found { url, reach: Reach::Public, login: None, else_next: false }
    }

    /// Gives files with certificate authorities that count beside the machine's.
    fn ca_files(&self) -> &[PathBuf] {
        &[]
    }

    /// Gives what may help where a registry has not the locked bytes at a path any more, or others, where it is one that moves on by itself;
    /// else that is told as what it is, a registry that is not what it was.
    fn moved_on(&self, _path: &str) -> Option<Vec<String>> {
        None
    }

    /// Gives what may help where a package could not be had.
    fn hint(&self, _package: &str) -> Option<String> {
        None
    }
}

/// Where something may be had.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub url: Url,
    /// Who chose the address.
    pub reach: Reach,
    /// The value of `Authorization` for it.
    pub login: Option<Secret>,
    /// Whether the next place counts after a failure of any kind; else only where this one does not have it.
    pub else_next: bool,
}

impl Found {
    pub(crate) fn get(&self, max_size: u64, accept: Option<&'static str>) -> Get {
        Get { urls: vec![self.url.clone()], reach: self.reach, max_size, accept }
    }
}

/// A line of a client's settings is wrong.
#[derive(Debug, thiserror::Error)]
#[error("{}{}: {what}", file.display(), line.map(|line| format!(":{line}")).unwrap_or_default())]
pub(super) struct SettingError {
    /// The file, or the variable.
    pub(super) file: PathBuf,
    pub(super) line: Option<usize>,
    /// What is wrong, without any login.
    pub(super) what: String,
}

impl Fault for SettingError {
    fn kind(&self) -> Kind {
        Kind::Environment
    }
}

/// Reads a file of a client's settings; `None` where there is none.
///
/// # Errors
/// When it is there and cannot be read.
pub(super) fn settings(path: &Path) -> Result<Option<String>> {
    let file = match fs_err::File::open(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        file => file.map_err(CliError::file)?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes).map_err(CliError::file)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

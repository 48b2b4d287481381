//! Reads files of keys.

use std::{
    io::Read,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use bulla_ecosystems::debian::keyring::{Keyring, KeyringError};
use bulla_model::{Fault, Kind};

use super::SignedBy;

/// The most bytes that a file of keys may have.
const MAX_KEYS: u64 = 4 << 20;

/// Gives Debian's own keys, which take a while to be checked.
pub(super) fn debian() -> &'static Keyring {
    static KEYS: LazyLock<Keyring> = LazyLock::new(Keyring::debian);
    &KEYS
}

/// Says whether a fingerprint is that of one of Debian's own keys.
pub(super) fn is_of_debian(fingerprint: &str) -> bool {
    debian().fingerprints().any(|known| known == fingerprint)
}

/// Keys that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeysError {
    #[error(transparent)]
    File(std::io::Error),
    #[error("reading the keys of {place}")]
    Keyring { place: String, source: KeyringError },
}

impl Fault for KeysError {
    fn kind(&self) -> Kind {
        Kind::Environment
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::File(_) => Vec::new(),
            Self::Keyring { source, .. } => source.hints(),
        }
    }
}

/// Reads the keys that an entry or the configuration names. A fingerprint names keys that are elsewhere: none.
pub(super) fn read(by: &SignedBy) -> Result<Keyring, KeysError> {
    match by {
        SignedBy::File(path) => read_file(path),
        SignedBy::Inline(text) => parse(text.as_bytes(), "apt's settings".into()),
        SignedBy::Fingerprint(_) => Ok(Keyring::default()),
    }
}

fn read_file(path: &Path) -> Result<Keyring, KeysError> {
    let mut bytes = Vec::new();
    let file = fs_err::File::open(PathBuf::from(path)).map_err(KeysError::File)?;
    file.take(MAX_KEYS + 1).read_to_end(&mut bytes).map_err(KeysError::File)?;
    parse(&bytes, path.display().to_string())
}

fn parse(bytes: &[u8], place: String) -> Result<Keyring, KeysError> {
    Keyring::parse(bytes).map_err(|source| KeysError::Keyring { place, source })
}

//! The keys that sign results: Ed25519 (RFC 8032). A private key is a file of its owner alone, and never in a store.

use std::{
    fmt, fs,
    io::{Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    str::FromStr,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bulla_model::{Fault, Kind};
use ed25519_dalek::{Signer as _, VerifyingKey};
use rustix::fs::OFlags;

use crate::key::fill;

const PUBLIC: &str = "ed25519:";
const PRIVATE: &str = "bulla-signing-key:";
/// The most bytes of a file with a private key; it has 63.
const MAX_FILE: u64 = 1024;

/// Says why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A text is not a public key.
    #[error("`{text}` is not a public key: expected `ed25519:` and 44 characters of base64")]
    Public {
        /// The text.
        text: String,
    },
    /// A file with a private key cannot be used.
    #[error("the signing key {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A file with a private key cannot be read or made.
    #[error("{verb} the signing key {}", path.display())]
    Io {
        /// What was being done.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
}

impl Fault for KeyError {
    fn kind(&self) -> Kind {
        Kind::Environment
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Public { .. } => vec!["`bulla store key` shows the public key of a signing key".into()],
            Self::File { reason: OPEN, path } => vec![format!("`chmod 600 {}`", path.display())],
            _ => Vec::new(),
        }
    }
}

const OPEN: &str = "others than its owner may use it";

/// A key that results are verified with. Written `ed25519:BASE64`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Says whether a signature of a message is this key's, strictly: no key of small order, one form of each signature.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        ed25519_dalek::Signature::from_slice(signature)
            .is_ok_and(|signature| self.0.verify_strict(message, &signature).is_ok())
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let bytes = text.strip_prefix(PUBLIC).and_then(|text| BASE64.decode(text).ok());
        let bytes = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let key = bytes.and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
        let wrong = || KeyError::Public { text: text.chars().take(100).collect() };
        key.filter(|key| !key.is_weak()).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC}{}", BASE64.encode(self.0.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// A key that results are signed with.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public())
    }
}

impl SigningKey {
    /// Makes a key out of the kernel's random source, in memory alone.
    ///
    /// # Errors
    /// When there is no random source.
    pub fn fresh() -> std::io::Result<Self> {
        let mut seed = [0; 32];
        fill(&mut seed)?;
        Ok(Self(ed25519_dalek::SigningKey::from_bytes(&seed)))
    }

    /// Makes a key, and writes it to a new file (0600).
    ///
    /// # Errors
    /// When the file exists, or cannot be written.
    pub fn create(path: &Path) -> Result<Self, KeyError> {
        let fail = |source| KeyError::Io { verb: "making", path: path.to_owned(), source };
        let key = Self::fresh().map_err(fail)?;
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(fail)?;
        }
        let text = format!("{PRIVATE}{}\n", BASE64.encode(key.0.as_bytes()));
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(fail)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(fail)?;
        Ok(key)
    }

    /// Reads a key from a file that its owner alone may use.
    ///
    /// # Errors
    /// When there is none, others may use it, or it is none.
    pub fn open(path: &Path) -> Result<Self, KeyError> {
        let fail = |source| KeyError::Io { verb: "reading", path: path.to_owned(), source };
        let wrong = |reason| KeyError::File { path: path.to_owned(), reason };
        // A secret that a cluster mounts is a link: links are followed, and what they lead to is looked at.
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(fail)?;
        let metadata = file.metadata().map_err(fail)?;
        if !metadata.is_file() {
            return Err(wrong("it is not a regular file"));
        }
        if metadata.mode() & 0o077 != 0 {
            return Err(wrong(OPEN));
        }
        let mut text = String::new();
        file.take(MAX_FILE).read_to_string(&mut text).map_err(fail)?;
        let seed = text.trim_end().strip_prefix(PRIVATE).and_then(|text| BASE64.decode(text).ok());
        let seed = seed.and_then(|seed| <[u8; 32]>::try_from(seed).ok());
        let seed = seed.ok_or_else(|| wrong("it is none that `bulla store key --new` makes"))?;
        Ok(Self(ed25519_dalek::SigningKey::from_bytes(&seed)))
    }

    /// Gives the key that its signatures are verified with.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_private_and_read_again() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("config/key");
        let made = SigningKey::create(&path).expect("made");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o7777, 0o600);
        assert_eq!(SigningKey::open(&path).expect("read").public(), made.public());
        assert!(matches!(SigningKey::create(&path), Err(KeyError::Io { .. })), "it is not overwritten");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("changed");
        assert!(matches!(SigningKey::open(&path), Err(KeyError::File { reason: OPEN, .. })));
        let other = dir.path().join("other");
        fs::write(&other, "ssh-ed25519 AAAA\n").expect("written");
        fs::set_permissions(&other, fs::Permissions::from_mode(0o600)).expect("changed");
        assert!(matches!(SigningKey::open(&other), Err(KeyError::File { .. })));
    }

    #[test]
    fn public_keys_are_written_and_read_and_weak_ones_refused() {
        let key = SigningKey::fresh().expect("a key").public();
        assert_eq!(key.to_string().parse::<PublicKey>().expect("read"), key);
        let identity = format!("{PUBLIC}AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        for bad in [identity.as_str(), "", "ed25519:", "ed25519:AAAA", "rsa:AAAA", &key.to_string()[8..]] {
            assert!(bad.parse::<PublicKey>().is_err(), "{bad}");
        }
    }
}

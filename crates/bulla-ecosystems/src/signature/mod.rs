//! Detached signatures over what is downloaded, by OpenPGP and by minisign.
//!
//! Which of them it is, the file of keys says. An OpenPGP key counts as for an index of Debian: its own signatures verify, it may sign,
//! and it is neither expired, revoked nor weak.

mod minisign;

use std::io::{self, Read};

use bulla_model::{Epoch, Fault, Kind};

use crate::debian::{
    clearsign::{self, ClearsignError},
    keyring::{Keyring, KeyringError, SignatureError},
};

/// The most bytes that a signature may have.
pub const MAX_SIGNATURE: u64 = 256 << 10;
/// The most bytes that a file of keys may have.
pub const MAX_KEYS: u64 = 4 << 20;

/// Says why a signature does not show that the bytes are the right ones.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The file of keys has none.
    #[error("reading the keys")]
    Keys(#[source] KeyringError),
    /// The file of keys begins as minisign's do, and does not go on so.
    #[error("the file of keys is not a public key of minisign: {reason}")]
    MinisignKey {
        /// What is wrong.
        reason: String,
    },
    /// The signature cannot be read.
    #[error("reading the signature")]
    Unreadable(#[source] ClearsignError),
    /// The signature of minisign cannot be read.
    #[error("it is not a signature of minisign: {reason}")]
    Minisign {
        /// What is wrong.
        reason: String,
    },
    /// The signature was made by another key than those of the file.
    #[error("the signature was made by the minisign key {found}, and the file has {expected}")]
    OtherKey {
        /// The number of the file's key.
        expected: String,
        /// The number of the key that signed.
        found: String,
    },
    /// The signature is not over these bytes.
    #[error(
        "the signature of the minisign key {key} does not match: the bytes or its comment were changed after they were signed"
    )]
    Bad {
        /// The number of the key.
        key: String,
    },
    /// No signature is good.
    #[error("its signature is not good")]
    Signature(#[source] SignatureError),
    /// The signed bytes cannot be read.
    #[error("reading what was signed")]
    Read(#[source] io::Error),
}

impl Fault for VerifyError {
    fn kind(&self) -> Kind {
        match self {
            Self::Keys(_) | Self::MinisignKey { .. } => Kind::Spec,
            Self::Read(_) => Kind::Environment,
            _ => Kind::Integrity,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Keys(_) | Self::MinisignKey { .. } => {
                "`signed-by` names a file of the project with public keys, as `gpg --export` or `minisign -G` write them"
            }
            Self::Signature(SignatureError::UnknownKeys { .. }) | Self::OtherKey { .. } => {
                "if that is the project's key too, add it to the file of `signed-by`, after you have compared its fingerprint"
            }
            Self::Signature(SignatureError::ExpiredKey { .. }) => {
                "get the key anew: its owner may have made it valid for longer since"
            }
            Self::Unreadable(_) | Self::Minisign { .. } => {
                "does `signature` name the detached signature of this very file?"
            }
            Self::Bad { .. } | Self::Signature(_) => "do not use these bytes before you know who changed them",
            Self::Read(_) => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}

/// Verifies a detached signature, and gives the keys by which it is good, sorted: fingerprints of primary keys of OpenPGP in
/// upper-case hexadecimal, or public keys of minisign in base64. `open` gives the signed bytes from the beginning.
///
/// # Errors
/// When the keys or the signature cannot be read, or no signature is good at that time by one of the keys.
pub fn verify<'d>(
    keys: &[u8],
    signature: &[u8],
    open: &mut dyn FnMut() -> io::Result<Box<dyn Read + 'd>>,
    now: Epoch,
) -> Result<Vec<String>, VerifyError> {
    if minisign::is_key(keys) {
        return minisign::verify(keys, signature, open).map(|key| vec![key]);
    }
    let keyring = Keyring::parse(keys).map_err(VerifyError::Keys)?;
    let signatures = clearsign::signatures(signature).map_err(VerifyError::Unreadable)?;
    let failure = std::cell::RefCell::new(None);
    let mut data = || -> Box<dyn Read + '_> {
        match open() {
            Ok(reader) => Box::new(Noted { reader, failure: &failure }),
            Err(error) => {
                failure.replace(Some(error));
                Box::new(io::empty())
            }
        }
    };
    let good = keyring.check_stream(&signatures, &mut data, now);
    // What cannot be read is not what was signed either, but that is another matter.
    if let Some(error) = failure.take() {
        return Err(VerifyError::Read(error));
    }
    let mut keys: Vec<String> = good.map_err(VerifyError::Signature)?.into_iter().map(|key| key.primary).collect();
    keys.sort();
    keys.dedup();
    Ok(keys)
}

/// Remembers why a read failed.
struct Noted<'f, 'd> {
    reader: Box<dyn Read + 'd>,
    failure: &'f std::cell::RefCell<Option<io::Error>>,
}

impl Read for Noted<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer).map_err(|error| {
            let copy = io::Error::new(error.kind(), error.to_string());
            self.failure.replace(Some(error));
            copy
        })
    }
}

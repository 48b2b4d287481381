//! The public keys that may sign a suite's index, and the check of a signature against them.
//!
//! A key counts when its own self-signatures verify, it may sign, and it is neither expired nor revoked (RFC 9580, 5.2 and
//! 10.1). Digests below SHA-256 are refused, in signatures over data as in those over keys; so are DSA and short RSA keys.

mod signer;

use std::io::Read;

use bulla_model::{Epoch, Fault, Kind};
use pgp::{
    composed::{Deserializable, SignedPublicKey},
    packet::Signature,
};

pub(crate) use self::signer::CLOCK_SKEW;
use self::signer::Signer;

/// The most bytes that a file of keys may have.
const MAX_FILE: usize = 4 << 20;
/// The most keys that a file may have.
const MAX_KEYS: usize = 1000;
/// The archive keys of Debian that ship with the program; `keys/README.md` says where they are from.
const DEBIAN: [&str; 6] = [
    include_str!("../keys/bookworm-automatic.asc"),
    include_str!("../keys/bookworm-security-automatic.asc"),
    include_str!("../keys/bookworm-stable.asc"),
    include_str!("../keys/trixie-automatic.asc"),
    include_str!("../keys/trixie-security-automatic.asc"),
    include_str!("../keys/trixie-stable.asc"),
];

/// A set of public keys that signatures are checked against.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    signers: Vec<Signer>,
}

/// Says why a file of keys was refused.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The bytes are not OpenPGP keys.
    #[error("reading OpenPGP public keys")]
    Parse(#[source] pgp::errors::Error),
    /// The file has no key in it.
    #[error("there is no OpenPGP public key in the file")]
    Empty,
    /// The file has more bytes or keys than a file of keys may.
    #[error("the file of keys is too large: more than {MAX_KEYS} keys or 4 MiB")]
    TooLarge,
}

impl Fault for KeyringError {
    fn kind(&self) -> Kind {
        Kind::Environment
    }

    fn hints(&self) -> Vec<String> {
        vec!["a keyring is a file of public keys as `gpg --export` writes it, binary or armored".to_owned()]
    }
}

/// Says why no signature was good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no signature.
    #[error("it has no signature")]
    None,
    /// A key of the keyring is named, but the signature is not over these bytes.
    #[error("the signature of key {key} does not match the text: it was changed after it was signed")]
    Bad {
        /// The fingerprint of the key.
        key: String,
    },
    /// None of the keys that signed is in the keyring.
    #[error("it is signed by keys that are not in the keyring: {}", keys.join(", "))]
    UnknownKeys {
        /// Fingerprints, or key ids where the signature has no more.
        keys: Vec<String>,
    },
    /// The key was valid, but is no more.
    #[error("the key {key} that signed it expired at {expired}")]
    ExpiredKey {
        /// The fingerprint of the key.
        key: String,
        /// When its validity ended.
        expired: Epoch,
    },
    /// The signature itself is past its time, or was made in the future, or before the key.
    #[error("the signature of key {key} is not valid at {at}")]
    NotNow {
        /// The fingerprint of the key.
        key: String,
        /// The time that was asked about.
        at: Epoch,
    },
    /// The owner of the key has revoked it.
    #[error("the key {key} that signed it is revoked")]
    Revoked {
        /// The fingerprint of the key.
        key: String,
    },
    /// A digest or key that can be forged was used.
    #[error("the signature of key {key} uses {what}, which can be forged")]
    Weak {
        /// The fingerprint of the key.
        key: String,
        /// The name of the algorithm.
        what: String,
    },
    /// The key is not one that may sign data, by its own self-signatures.
    #[error("the key {key} that signed it is not allowed to sign data")]
    NotASigningKey {
        /// The fingerprint of the key.
        key: String,
    },
}

/// A key that made a good signature, as fingerprints in upper-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SignedWith {
    /// The primary key or subkey that made the signature.
    pub fingerprint: String,
    /// The primary key that it belongs to.
    pub primary: String,
}

impl Keyring {
    /// Reads public keys, binary or in one or more armored blocks.
    ///
    /// # Errors
    /// When the bytes are not public keys, have none, or too many. A key that is expired, revoked or weak is no error here:
    /// it is named when something is signed with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyringError> {
        if bytes.len() > MAX_FILE {
            return Err(KeyringError::TooLarge);
        }
        let mut keyring = Self::default();
        match std::str::from_utf8(bytes).ok().filter(|text| text.contains(BEGIN)) {
            Some(text) => {
                for block in text.split(BEGIN).skip(1) {
                    let block = [BEGIN, block].concat();
                    let (keys, _) =
                        SignedPublicKey::from_armor_many_buf(block.as_bytes()).map_err(KeyringError::Parse)?;
                    keyring.extend(keys)?;
                }
            }
            None => keyring.extend(SignedPublicKey::from_bytes_many(bytes).map_err(KeyringError::Parse)?)?,
        }
        if keyring.signers.is_empty() { Err(KeyringError::Empty) } else { Ok(keyring) }
    }

    /// Gives the keys that sign Debian's own archives, as they ship with the program.
    pub fn debian() -> Self {
        let mut keyring = Self::default();
        for text in DEBIAN {
            keyring.merge(Self::parse(text.as_bytes()).expect("the keys that ship with the program are tested"));
        }
        keyring
    }

    /// Takes in the keys of another keyring.
    pub fn merge(&mut self, other: Self) {
        self.signers.extend(other.signers);
    }

    /// Leaves only the keys whose own fingerprint, or whose primary key's, is among some: as `Signed-By` limits a repository
    /// to keys of a larger file. Fingerprints are upper-case hexadecimal digits.
    pub fn limited_to(mut self, fingerprints: &[String]) -> Self {
        self.signers
            .retain(|signer| fingerprints.contains(&signer.fingerprint) || fingerprints.contains(&signer.primary));
        self
    }

    /// Iterates over the fingerprints of the primary keys, in upper-case hexadecimal digits.
    pub fn fingerprints(&self) -> impl Iterator<Item = &str> {
        self.signers.iter().filter(|s| s.is_primary()).map(|s| s.fingerprint.as_str())
    }

    fn extend(
        &mut self,
        keys: impl Iterator<Item = Result<SignedPublicKey, pgp::errors::Error>>,
    ) -> Result<(), KeyringError> {
        for key in keys {
            let key = key.map_err(KeyringError::Parse)?;
            if self.signers.len() >= MAX_KEYS {
                return Err(KeyringError::TooLarge);
            }
            self.signers.extend(Signer::all(key));
        }
        Ok(())
    }

    /// Checks signatures over bytes, and gives the keys of those that are good at a time: at least one.
    ///
    /// # Errors
    /// When no signature is good: what is wrong with the one that came nearest.
    pub(crate) fn check(
        &self,
        signatures: &[Signature],
        data: &[u8],
        at: Epoch,
    ) -> Result<Vec<SignedWith>, SignatureError> {
        self.check_stream(signatures, &mut || Box::new(data), at)
    }

    /// As [`Keyring::check`], for bytes that are read anew for each key that may have signed them.
    pub(crate) fn check_stream<'d>(
        &self,
        signatures: &[Signature],
        data: &mut dyn FnMut() -> Box<dyn Read + 'd>,
        at: Epoch,
    ) -> Result<Vec<SignedWith>, SignatureError> {
        let mut good = Vec::new();
        let mut unknown = Vec::new();
        let mut failure = None;
        for signature in signatures {
            let candidates: Vec<&Signer> = self.signers.iter().filter(|signer| signer.made(signature)).collect();
            if candidates.is_empty() {
                unknown.push(issuer(signature));
            }
            for signer in candidates {
                match signer.check(signature, data(), at) {
                    Ok(()) => {
                        good.push(SignedWith {
                            fingerprint: signer.fingerprint.clone(),
                            primary: signer.primary.clone(),
                        });
                        break;
                    }
                    Err(error) => failure = failure.or(Some(error)),
                }
            }
        }
        good.sort();
        good.dedup();
        match (good.is_empty(), failure) {
            (false, _) => Ok(good),
            (true, Some(failure)) => Err(failure),
            (true, None) if unknown.is_empty() => Err(SignatureError::None),
            (true, None) => Err(SignatureError::UnknownKeys { keys: unknown }),
        }
    }
}

const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";

/// Names who made a signature, as far as it says so.
fn issuer(signature: &Signature) -> String {
    let fingerprint = signature.issuer_fingerprint().first().map(|f| format!("{f:X}"));
    let id = || signature.issuer_key_id().first().map(|id| format!("{id}").to_uppercase());
    fingerprint.or_else(id).unwrap_or_else(|| "unnamed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_that_ship_are_those_of_the_readme() {
        let readme = include_str!("../keys/README.md");
        let keyring = Keyring::debian();
        let mut count = 0;
        for signer in &keyring.signers {
            let standing = signer.standing();
            assert!(standing.flaw.is_none(), "{}: {standing:?}", signer.fingerprint);
            let expires = standing.expires.and_then(Epoch::new).expect("they all end").rfc3339();
            let line = readme.lines().find(|line| line.contains(&signer.fingerprint)).expect("in the README");
            assert!(line.contains(&expires[..10]), "{line}: {expires}");
            count += 1;
        }
        assert_eq!((count, keyring.fingerprints().count()), (10, 6));
    }

    #[test]
    fn a_keyring_is_limited_to_named_keys_and_their_subkeys() {
        let limited = Keyring::debian().limited_to(&["B8B80B5B623EAB6AD8775C45B7C5D7D6350947F8".to_owned()]);
        assert_eq!((limited.signers.len(), limited.fingerprints().count()), (2, 1));
        let limited = Keyring::debian().limited_to(&["4CB50190207B4758A3F73A796ED0E7B82643E131".to_owned()]);
        assert_eq!((limited.signers.len(), limited.fingerprints().count()), (1, 0));
    }

    #[test]
    fn what_is_not_a_keyring_is_refused() {
        let cut = &DEBIAN[0].as_bytes()[..2000];
        for bytes in [b"".as_slice(), b"hello", b"\x99\x01", BEGIN.as_bytes(), cut, &[0xff; 5000]] {
            assert!(Keyring::parse(bytes).is_err());
        }
    }
}

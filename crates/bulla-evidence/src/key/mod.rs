//! Keys that sign evidence: P-256 (ECDSA with SHA-256) and Ed25519, the files that they are kept in, and who signs with them.
//!
//! [`mod@file`] has the file of a private key as cosign writes it, [`PrivateKey`] the key out of it, and [`PublicKey`] what others verify
//! by. Whatever holds a key elsewhere (a token, a service) is a [`Signer`] too: [`elsewhere`] has what such ones need, and [`uri`] the names
//! of keys on tokens.

pub mod elsewhere;
pub mod file;
mod private;
mod public;
pub mod uri;

pub use self::{private::PrivateKey, public::PublicKey};

use bulla_model::{Fault, Kind};

/// The most bytes of a file with a key.
pub const MAX_KEY: u64 = 16 << 10;

/// Something that signs with one key.
pub trait Signer: std::fmt::Debug + Send + Sync {
    /// Gives the key that verifies what is signed.
    fn public(&self) -> &PublicKey;

    /// Signs a message: in DER for P-256 (RFC 3279, section 2.2.3), in 64 bytes for Ed25519 (RFC 8032).
    ///
    /// # Errors
    /// When what holds the key does not do so.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;

    /// Says whether the same message gets the same signature each time: what does not is looked for among what is there
    /// ([`elsewhere::Again`]) before it is signed anew.
    fn repeats(&self) -> bool;
}

/// The algorithm of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA on the curve P-256 with SHA-256, which every verifier knows.
    P256,
    /// Ed25519.
    Ed25519,
}

/// Says why something was not signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// What holds the key does not sign.
    #[error("the key does not sign")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What holds the key gave something else.
    #[error("what holds the key gave a signature that its public key does not verify")]
    False,
}

/// Says why a signature is none of a key over a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// It has not the form of one.
    #[error("its signature cannot be read")]
    Unreadable,
    /// It was made by another key, or over other bytes.
    #[error("its signature was made by another key, or it was changed afterwards")]
    Bad,
}

/// Says why a file has no key that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It has no public key.
    #[error("it is not a public key of P-256 or Ed25519 in PEM, as `cosign generate-key-pair` writes it")]
    NoPublicKey,
    /// It has no private key.
    #[error("it is not a private key of P-256 or Ed25519 in PEM: {reason}")]
    NoPrivateKey {
        /// What it is instead.
        reason: String,
    },
    /// It has a private key where a public one is to be.
    #[error("it is a private key, and a public one is asked for")]
    Private,
    /// What protects the key is not what is known.
    #[error("what protects the private key is not as cosign writes it: {reason}")]
    Protection {
        /// What is otherwise.
        reason: String,
    },
    /// The passphrase is not the one.
    #[error("the passphrase is wrong, or the file of the key was changed")]
    Passphrase,
}

impl Fault for SignError {
    fn kind(&self) -> Kind {
        match self {
            Self::Refused(_) => Kind::Environment,
            Self::False => Kind::Integrity,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Refused(_) => Vec::new(),
            Self::False => {
                vec!["`bulla key public KEY` shows what it says to be its public key; nothing was written".into()]
            }
        }
    }
}

impl Fault for KeyError {
    fn kind(&self) -> Kind {
        match self {
            Self::Passphrase => Kind::Integrity,
            _ => Kind::Spec,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::NoPublicKey => "`bulla key public KEY` writes the public key of a private one",
            Self::Private => {
                "`bulla key public KEY` writes the public key, which is the one to hand out; was the private key handed out?"
            }
            Self::NoPrivateKey { .. } => {
                "`bulla key generate` makes a key, and `bulla key import` takes one of OpenSSL"
            }
            Self::Protection { .. } | Self::Passphrase => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}

#[cfg(test)]
pub(crate) mod tests {
    pub(crate) use super::private::tests::keys;
}

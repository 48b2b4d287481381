//! Signatures of SSH keys over commits and tags (PROTOCOL.sshsig of OpenSSH).

use bulla_model::{Epoch, Fault, Kind};
use ssh_key::{Algorithm, HashAlg, PublicKey, SshSig, public::KeyData};

use super::AllowedSigners;

/// The most bytes of a signature.
const MAX_SIGNATURE: usize = 64 << 10;
/// What git signs for.
const NAMESPACE: &str = "git";
/// RSA keys shorter than this can be factored, or soon.
const MIN_RSA_BYTES: usize = 256;

/// Says why a signature of SSH is not good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SshError {
    /// It cannot be read.
    #[error("it is not a signature of SSH: {reason}")]
    Unreadable {
        /// What is wrong.
        reason: String,
    },
    /// It was made for something else.
    #[error("it was made to sign something of `{namespace}`, not of git")]
    Namespace {
        /// For what.
        namespace: String,
    },
    /// The key or the digest can be forged.
    #[error("the key {key} signed with {what}, which can be forged or is not supported")]
    Weak {
        /// The fingerprint.
        key: String,
        /// The name of it.
        what: String,
    },
    /// The key is not in the file.
    #[error("the key {key} that signed is not among the allowed signers")]
    UnknownKey {
        /// The fingerprint.
        key: String,
    },
    /// The key may not sign for git.
    #[error("the allowed signers do not let the key {key} sign for git")]
    NotForGit {
        /// The fingerprint.
        key: String,
    },
    /// The key was not valid when the object says it was made.
    #[error(
        "the key {key} was not valid at {at}, when it is said to have signed: the allowed signers have it {bounds}"
    )]
    NotThen {
        /// The fingerprint.
        key: String,
        /// When that was.
        at: Epoch,
        /// When it is valid.
        bounds: String,
    },
    /// The signature is over something else.
    #[error("the signature of the key {key} does not match: what it signed was changed, or is something else")]
    Bad {
        /// The fingerprint.
        key: String,
    },
}

impl Fault for SshError {
    fn kind(&self) -> Kind {
        Kind::Integrity
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::UnknownKey { .. } => {
                "if that is the project's key too, add it to the file of `signed-by`, after you have compared its fingerprint"
            }
            Self::NotThen { .. } | Self::NotForGit { .. } => {
                "the file of `signed-by` decides that; change it only if you know why"
            }
            _ => "do not use these files before you know who changed them",
        };
        vec![hint.to_owned()]
    }
}

/// Verifies a signature at the time that its object says, and gives the fingerprint of the key.
pub(super) fn verify(signers: &AllowedSigners, armor: &[u8], payload: &[u8], at: Epoch) -> Result<String, SshError> {
    let unreadable = |reason: String| SshError::Unreadable { reason };
    if armor.len() > MAX_SIGNATURE {
        return Err(unreadable("it is too long".into()));
    }
    let text = std::str::from_utf8(armor).map_err(|_| unreadable("it is no text".into()))?;
    let signature = SshSig::from_pem(text.trim_end()).map_err(|error| unreadable(error.to_string()))?;
    let key = signature.public_key().fingerprint(HashAlg::Sha256).to_string();
    if signature.namespace() != NAMESPACE {
        let namespace = bulla_model::path::printable(signature.namespace().as_bytes());
        return Err(SshError::Namespace { namespace });
    }
    if let Some(what) = weakness(&signature) {
        return Err(SshError::Weak { key, what });
    }
    let public = PublicKey::from(signature.public_key().clone());
    public.verify(NAMESPACE, payload, &signature).map_err(|_| SshError::Bad { key: key.clone() })?;
    let lines: Vec<_> = signers.lines.iter().filter(|line| line.key == *signature.public_key()).collect();
    if lines.is_empty() {
        return Err(SshError::UnknownKey { key });
    }
    let lines: Vec<_> = lines.into_iter().filter(|line| line.may_sign(NAMESPACE)).collect();
    let Some(first) = lines.first() else { return Err(SshError::NotForGit { key }) };
    let valid = lines
        .iter()
        .any(|line| line.after.is_none_or(|after| after <= at) && line.before.is_none_or(|before| at < before));
    if !valid {
        let bound = |word: &str, date: Option<Epoch>| date.map(|date| format!("valid {word} {}", date.rfc3339()));
        let bounds = [bound("from", first.after), bound("before", first.before)];
        let bounds: Vec<String> = bounds.into_iter().flatten().collect();
        return Err(SshError::NotThen { key, at, bounds: bounds.join(" and ") });
    }
    Ok(key)
}

/// Names what of a signature can be forged, or is not known.
fn weakness(signature: &SshSig) -> Option<String> {
    match (signature.public_key(), signature.algorithm()) {
        (KeyData::Rsa(key), Algorithm::Rsa { hash: Some(_) }) => {
            let length = key.n.as_positive_bytes().map_or(0, <[u8]>::len);
            (length < MIN_RSA_BYTES).then(|| format!("{} bits of RSA", 8 * length))
        }
        (KeyData::Ed25519(_) | KeyData::Ecdsa(_) | KeyData::SkEd25519(_) | KeyData::SkEcdsaSha2NistP256(_), _) => None,
        (_, algorithm) => Some(algorithm.to_string()),
    }
}

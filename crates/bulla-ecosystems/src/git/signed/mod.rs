//! Who signed a commit or a tag: OpenPGP keys, or SSH keys and a file of allowed signers.
//!
//! An OpenPGP key counts as for any other signature here: it must be good now. An SSH key has no date of its own; the file of
//! allowed signers may give it one, and that is compared with the time that the signed object says, as git does.

mod allowed;
mod sshsig;

use bulla_model::{Epoch, Fault, Kind as FaultKind};

pub use self::{
    allowed::{AllowedError, AllowedSigners},
    sshsig::SshError,
};
use super::{Commit, Tag};
use crate::signature::{self, VerifyError};

/// Says why a signature does not show that a commit is the right one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignedError {
    /// There is none.
    #[error("neither the tag nor its commit is signed")]
    None,
    /// It was made with something else than OpenPGP or SSH.
    #[error("it is signed with what is neither OpenPGP nor SSH")]
    OtherKind,
    /// It and the keys are of different kinds.
    #[error("it is signed with {signature}, and the file of keys is for {keys}")]
    Mixed {
        /// What made the signature.
        signature: &'static str,
        /// What the keys are for.
        keys: &'static str,
    },
    /// A tag does not say who made it, and when.
    #[error("the signed tag does not say when it was made")]
    NoTagger,
    /// The file of allowed signers cannot be read.
    #[error("reading the allowed signers")]
    Allowed(#[from] AllowedError),
    /// The signature of SSH is not good.
    #[error("its SSH signature is not good")]
    Ssh(#[from] SshError),
    /// The signature of OpenPGP is not good.
    #[error("its OpenPGP signature is not good")]
    OpenPgp(#[source] VerifyError),
}

impl Fault for SignedError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Allowed(_) | Self::Mixed { .. } => FaultKind::Spec,
            Self::OpenPgp(error) => error.kind(),
            _ => FaultKind::Integrity,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::None => {
                "if nobody signs there, pin the commit by `commit: ID`, or say `unsigned: REASON` in place of `signed-by`"
            }
            Self::OtherKind | Self::NoTagger => return Vec::new(),
            Self::Mixed { .. } => {
                "`signed-by` names OpenPGP public keys, or a file of allowed signers for SSH keys (ssh-keygen(1))"
            }
            Self::Allowed(error) => return error.hints(),
            Self::Ssh(error) => return error.hints(),
            Self::OpenPgp(error) => return error.hints(),
        };
        vec![hint.to_owned()]
    }
}

/// A signature that is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The keys by which it is: fingerprints of OpenPGP keys in upper-case hexadecimal, or `SHA256:` and base64.
    pub by: Vec<String>,
    /// Whom the signed object names.
    pub signer: String,
    /// When it says that it was made.
    pub at: Epoch,
}

/// Says whether bytes are a file of allowed signers rather than one of OpenPGP keys.
fn is_allowed_signers(keys: &[u8]) -> bool {
    std::str::from_utf8(keys).is_ok_and(|text| !text.contains("-----BEGIN PGP"))
}

/// Verifies the signature of a tag; `None` where it has none.
///
/// # Errors
/// When there is a signature that is not good by one of the keys.
pub fn tag(tag: &Tag, keys: &[u8], now: Epoch) -> Result<Option<Signed>, SignedError> {
    let Some(signature) = &tag.signature else { return Ok(None) };
    let tagger = tag.tagger.as_ref().ok_or(SignedError::NoTagger)?;
    verify(&tag.payload, signature, keys, (&tagger.name, tagger.seconds), now).map(Some)
}

/// Verifies the signature of a commit; `None` where it has none.
///
/// # Errors
/// When there is a signature that is not good by one of the keys.
pub fn commit(commit: &Commit, keys: &[u8], now: Epoch) -> Result<Option<Signed>, SignedError> {
    let Some(signature) = &commit.signature else { return Ok(None) };
    let made = (commit.committer.name.as_str(), commit.committer.seconds);
    verify(&commit.payload, signature, keys, made, now).map(Some)
}

fn verify(
    payload: &[u8],
    signature: &[u8],
    keys: &[u8],
    (signer, seconds): (&str, u64),
    now: Epoch,
) -> Result<Signed, SignedError> {
    let at = Epoch::new(seconds).unwrap_or_default();
    let ssh_keys = is_allowed_signers(keys);
    let by = if signature.starts_with(b"-----BEGIN SSH SIGNATURE-----") {
        if !ssh_keys {
            return Err(SignedError::Mixed { signature: "SSH", keys: "OpenPGP" });
        }
        vec![sshsig::verify(&AllowedSigners::parse(keys)?, signature, payload, at)?]
    } else if signature.starts_with(b"-----BEGIN PGP ") {
        if ssh_keys {
            return Err(SignedError::Mixed { signature: "OpenPGP", keys: "SSH" });
        }
        let mut open = || -> std::io::Result<Box<dyn std::io::Read + '_>> { Ok(Box::new(payload)) };
        signature::verify(keys, signature, &mut open, now).map_err(SignedError::OpenPgp)?
    } else {
        return Err(SignedError::OtherKind);
    };
    Ok(Signed { by, signer: signer.to_owned(), at })
}

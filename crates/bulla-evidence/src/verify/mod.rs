//! What is known of an image by the evidence that lies beside it: a table of claims, each proven, asserted, not checked or failed.
//!
//! All of it is pure. Whoever gathers evidence gives each thing as a [`Piece`]; [`assess`] says what it proves of the thing that it lies beside, by
//! the keys and people that are named ([`Trust`]); [`require`] says whether what is asked for is proven.

mod certificate;
mod consistent;
mod piece;
pub mod require;
mod signed;

use bulla_model::{Digest, Epoch};
use serde::Serialize;

pub use self::{
    consistent::{Shown, consistency, is_list},
    piece::{Content, Piece, assess},
};
use crate::{
    key::PublicKey,
    keyless::{TrustedIdentity, TrustedRoot},
    statement::Statement,
};

/// How much is known of a claim. Only the first counts for what is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// A key or somebody that was named signed it, or bytes are what a digest says.
    Proven,
    /// Somebody says so, and nobody signed it.
    Asserted,
    /// It was not looked into, or not by a key that was named.
    NotChecked,
    /// It is not so: bytes were changed, or it is evidence of something else.
    Failed,
}

/// The form in which evidence comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// A bundle of Sigstore.
    Bundle,
    /// What cosign wrote before bundles.
    Legacy,
    /// A statement without a signature.
    Unsigned,
}

/// What a claim is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "type")]
pub enum About {
    /// The bytes are what their digests say.
    Content,
    /// It is signed.
    Signature,
    /// A statement of a type is made of it; its text is a stranger's where it is not proven.
    Statement(String),
    /// A list of what it is made of is as the image is; with the list's type.
    Consistent(String),
    /// Something whose kind nobody can tell.
    Unknown,
    /// A rule of a policy.
    Rule(String),
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Claim {
    /// What it is claimed of.
    pub subject: Digest,
    /// What is claimed.
    pub about: About,
    /// How much is known.
    pub verdict: Verdict,
    /// The form of the evidence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub form: Option<Form>,
    /// The name of the key that signed it, as it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Who signed it by a certificate, and when it was signed, as far as that is proven.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed: Option<SignedBy>,
    /// What was found, a sentence.
    pub detail: String,
    /// What to do, a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// A key that the reader named.
#[derive(Debug, Clone)]
pub struct TrustedKey {
    /// What the reader calls it.
    pub name: String,
    /// The key.
    pub key: PublicKey,
}

/// Who signed something by a certificate, and when it was signed. All of it is proven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SignedBy {
    /// Who; nothing where it was a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// Who says so; nothing where it was a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// When at the latest, RFC 3339, by timestamp authorities and logs.
    pub times: Vec<String>,
    /// Whether a log has it.
    pub logged: bool,
}

/// What a reader trusts.
#[derive(Debug, Clone, Copy)]
pub struct Trust<'a> {
    /// The keys that may sign.
    pub keys: &'a [TrustedKey],
    /// What certificates and times are held against, where something is.
    pub certificates: Option<Certificates<'a>>,
}

/// What certificates and times are held against.
#[derive(Debug, Clone, Copy)]
pub struct Certificates<'a> {
    /// The authorities and logs.
    pub root: &'a TrustedRoot,
    /// Who may sign by a certificate.
    pub identities: &'a [TrustedIdentity],
    /// The time of asking: nothing was signed after it.
    pub now: Epoch,
}

impl<'a> From<&'a [TrustedKey]> for Trust<'a> {
    fn from(keys: &'a [TrustedKey]) -> Self {
        Self { keys, certificates: None }
    }
}

impl<'a> From<&'a Vec<TrustedKey>> for Trust<'a> {
    fn from(keys: &'a Vec<TrustedKey>) -> Self {
        keys.as_slice().into()
    }
}

impl<'a, const N: usize> From<&'a [TrustedKey; N]> for Trust<'a> {
    fn from(keys: &'a [TrustedKey; N]) -> Self {
        keys.as_slice().into()
    }
}

/// A piece of evidence with what is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Assessed {
    /// What is known.
    pub claim: Claim,
    /// The statement, where it is proven or asserted.
    pub statement: Option<Statement>,
}

#[cfg(test)]
mod tests;

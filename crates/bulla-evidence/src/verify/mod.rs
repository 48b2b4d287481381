//! What is known of an image by the evidence that lies beside it: a table of claims, each proven, asserted, not checked or failed.
//!
//! All of it is pure. Whoever gathers evidence gives each thing as a [`Piece`]; [`assess`] says what it proves of the thing that it lies beside, by
//! the keys that are named; [`require`] says whether what is asked for is proven.

mod consistent;
mod piece;
pub mod require;
mod signed;

use bulla_model::Digest;
use serde::Serialize;

pub use self::{
    consistent::{Shown, consistency, is_list},
    piece::{Content, Piece, assess},
};
use crate::{key::PublicKey, statement::Statement};

/// How much is known of a claim. Only the first counts for what is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// A key that was named signed it, or bytes are what a digest says.
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

//! What a user asks of an image before it is used: a file of a few keys, read strictly, and whether an image is as it says.
//!
//! [`Policy::parse`] reads it; [`Policy::judge`] holds an image against it, of which the facts and the evidence are given. A rule that is not held
//! may be excepted, by somebody who is named, with a reason and until a day.
//!
//! What no key says, an [`expression`] does, over [`variables()`]. It is a program, if a small one: whoever evaluates one bounds its time and memory, and gives
//! what came out to [`Policy::judge_expression`].

mod base;
mod build;
pub mod expression;
mod judge;
mod variables;
mod written;

use bulla_model::{Digest, Epoch, spec::SpecErrors};
use serde::Serialize;

pub(crate) use self::judge::non_root;
pub use self::{expression::Expression, variables::variables};
use crate::{
    keyless::TrustedIdentity,
    verify::{Form, require::Requirement},
};

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// What summaries call it.
    pub uri: Option<String>,
    /// The files of the public keys that may sign, relative to the policy's folder; none where the command names them.
    pub keys: Vec<String>,
    /// Who may sign by a certificate; nobody where the command names them.
    pub identities: Vec<TrustedIdentity>,
    /// The file with the authorities of certificates and times, relative to the policy's folder.
    pub trusted_root: Option<String>,
    /// The forms that evidence may have.
    pub forms: Vec<Form>,
    /// What has to be proven.
    pub require: Vec<Requirement>,
    /// The builders whose provenance counts, by their ids; none where any does.
    pub builders: Vec<String>,
    /// What the image may be built from, by the beginning of its URI; none where anything may.
    pub sources: Vec<String>,
    /// The images that it may stand on: repositories, with a tag or a digest where one is meant; none where any may be.
    pub bases: Vec<String>,
    /// Whether no step may have tried what it was not given.
    pub no_refusals: bool,
    /// Whether it must have been made twice, with the same result.
    pub compared: bool,
    /// Whether nothing of it may stand on what a cache had.
    pub untainted: bool,
    /// Whether a list of what it is made of must be proven, and as the image is.
    pub consistent: bool,
    /// How many of its files may have no owner.
    pub unowned: Option<u64>,
    /// Whether no image may run as root.
    pub non_root: bool,
    /// How old an image may be, in seconds.
    pub max_age: Option<u64>,
    /// What no key says.
    pub rules: Vec<Expression>,
    /// What is excepted.
    pub exceptions: Vec<Exception>,
}

/// A rule that an image may be held against beside what has to be proven.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Provenance is of a builder that is named.
    Builder,
    /// Provenance names a source that is named.
    Source,
    /// It stands on no image but those that are named.
    Base,
    /// No step tried what it was not given.
    NoRefusals,
    /// It was made twice, with the same result.
    Compared,
    /// Nothing of it stands on what a cache had.
    Untainted,
    /// A list of what it is made of is proven, and as the image is.
    ConsistentSbom,
    /// Its files have owners.
    Unowned,
    /// It runs as another user than root.
    NonRoot,
    /// It was made not too long ago.
    MaxAge,
    /// An expression of the policy, by its name.
    Named(String),
}

/// The leave not to hold a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Exception {
    /// The rule.
    pub rule: Rule,
    /// The image that may; without one, any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Digest>,
    /// Who answers for it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// The last day on which it holds, in UTC: its first second.
    #[serde(serialize_with = "as_day")]
    pub until: Epoch,
}

/// What is known of an image by itself, all of it under the digest that is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The digest of the image.
    pub image: Digest,
    /// The configuration of each platform.
    pub platforms: Vec<PlatformFacts>,
    /// The time of asking.
    pub now: Epoch,
}

/// What the configuration of one platform says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformFacts {
    /// The digest of its manifest.
    pub manifest: Digest,
    /// The user that it runs as; empty is root.
    pub user: String,
    /// When it was made, RFC 3339.
    pub created: Option<String>,
}

/// A day in seconds.
const DAY: u64 = 86_400;

impl Policy {
    /// Reads a policy. `name` is what errors call the file.
    ///
    /// # Errors
    /// All the mistakes that were found, with their places.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self, SpecErrors> {
        let keys = bulla_model::spec::read_checked(name, bytes, written::PolicyKeys::mistakes)?;
        Ok(keys.policy(name, bytes))
    }
}

impl Exception {
    /// Says whether the last day is over.
    pub fn is_over(&self, now: Epoch) -> bool {
        now.seconds() >= self.until.seconds() + DAY
    }

    /// Gives the last day as `2026-12-31`.
    pub fn last_day(&self) -> String {
        self.until.rfc3339().chars().take(10).collect()
    }
}

impl Rule {
    /// The rules that have a key of their own.
    pub const KEYS: [Self; 10] = [
        Self::Builder,
        Self::Source,
        Self::Base,
        Self::NoRefusals,
        Self::Compared,
        Self::Untainted,
        Self::ConsistentSbom,
        Self::Unowned,
        Self::NonRoot,
        Self::MaxAge,
    ];

    /// Gives its name, as it is written.
    pub fn word(&self) -> &str {
        match self {
            Self::Builder => "builder",
            Self::Source => "source",
            Self::Base => "base",
            Self::NoRefusals => "no-refusals",
            Self::Compared => "compared",
            Self::Untainted => "untainted",
            Self::ConsistentSbom => "consistent-sbom",
            Self::Unowned => "unowned",
            Self::NonRoot => "non-root",
            Self::MaxAge => "max-age",
            Self::Named(name) => name,
        }
    }
}

impl Serialize for Rule {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

fn as_day<S: serde::Serializer>(until: &Epoch, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&until.rfc3339().get(..10).unwrap_or_default())
}

#[cfg(test)]
mod tests;

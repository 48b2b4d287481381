//! What a user asks of an image before it is used: a file of a few keys, read strictly, and whether an image is as it says.
//!
//! [`Policy::parse`] reads it; [`Policy::judge`] holds an image against it, of which the facts and the evidence are given. A rule that is not held
//! may be excepted, by somebody who is named, with a reason and until a day.

mod judge;
mod written;

use bulla_model::{Digest, Epoch, spec::SpecErrors};
use serde::Serialize;

pub(crate) use self::judge::non_root;
use crate::{
    keyless::TrustedIdentity,
    verify::{Form, require::Requirement},
};

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
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
    /// Whether no image may run as root.
    pub non_root: bool,
    /// How old an image may be, in seconds.
    pub max_age: Option<u64>,
    /// What is excepted.
    pub exceptions: Vec<Exception>,
}

/// A rule that an image may be held against beside what has to be proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// Provenance is of a builder that is named.
    Builder,
    /// Provenance names a source that is named.
    Source,
    /// It runs as another user than root.
    NonRoot,
    /// It was made not too long ago.
    MaxAge,
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
        bulla_model::spec::read_keys::<written::PolicyKeys>(name, bytes).map(written::PolicyKeys::policy)
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
    /// Gives its name, as it is written.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Builder => "builder",
            Self::Source => "source",
            Self::NonRoot => "non-root",
            Self::MaxAge => "max-age",
        }
    }
}

fn as_day<S: serde::Serializer>(until: &Epoch, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&until.rfc3339().get(..10).unwrap_or_default())
}

#[cfg(test)]
mod tests;

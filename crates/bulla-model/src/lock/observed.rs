//! What the lock keeps of what steps asked for while they were observed ("bulla lock --observe").

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    digest::Digest,
    ecosystem::Ecosystem,
    spec::{Name, Spec},
    time::Epoch,
};

/// Whose answers are pinned: those that a stage's steps got from the registry of an ecosystem.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObservedKey {
    /// The stage.
    pub stage: Name,
    /// The ecosystem.
    pub ecosystem: Ecosystem,
}

impl ObservedKey {
    /// Says whether a spec has a stage with such dependencies.
    pub fn is_of(&self, spec: &Spec) -> bool {
        spec.stages.get(&self.stage).is_some_and(|stage| stage.dependencies.contains_key(&self.ecosystem))
    }
}

/// Answers of a registry, by their paths in it.
pub type Answers = BTreeMap<String, AnswerPin>;

/// An answer of a registry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnswerPin {
    /// There is no such thing: an answer too, since clients look for what need not be there.
    Absent,
    /// There is.
    Given {
        /// The size in bytes.
        size: u64,
        /// The SHA-256 of the bytes.
        digest: Digest,
        /// The package URL, where it is of a package.
        purl: Option<String>,
        /// By what it was found to be right when it was observed.
        verified: Verified,
    },
}

/// By what an answer was found to be right.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verified {
    /// By the checksum that the registry has beside it.
    Checksum,
    /// By its own signature.
    Signature(IndexSignature),
    /// By a digest in what is signed.
    SignedDigest,
    /// By nothing: the registry says nothing about it.
    Nothing,
}

/// Who signed an index of packages, and for which time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct IndexSignature {
    /// When the index was made.
    pub date: Epoch,
    /// When it ceased to be good, where it says so. It was good when it was observed; what is replayed is this very index, also later.
    pub valid_until: Option<Epoch>,
    /// The fingerprints of the keys whose signatures were good, in upper-case hexadecimal, sorted.
    pub signed_by: Vec<String>,
}

impl Verified {
    /// Gives its words in the lock.
    pub const fn words(&self) -> &'static str {
        match self {
            Self::Checksum => "checksum of the registry",
            Self::Signature(_) => "signature",
            Self::SignedDigest => "digest in the signed index",
            Self::Nothing => "nothing",
        }
    }
}

impl AnswerPin {
    /// Gives the status that it is given with.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Absent => 404,
            Self::Given { .. } => 200,
        }
    }
}

//! What the lock keeps of files that a native lock file names without a hash that could pin them.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use crate::{digest::Digest, ecosystem::Ecosystem, spec::Spec};

/// Names a file of a native lock file. Which lock file that is does not matter: one version of a package has one file of a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LooseKey {
    /// The ecosystem, whose name is that of its logical registry.
    pub ecosystem: Ecosystem,
    /// The package; of a git repository its host and path.
    pub name: String,
    /// Its version; of a git repository the commit.
    pub version: String,
    /// The name of the file in its registry, its address, or `git`.
    pub file: String,
}

impl LooseKey {
    /// Says whether a spec has lock files of its kind.
    pub fn is_of(&self, spec: &Spec) -> bool {
        spec.stages.values().any(|stage| stage.dependencies.contains_key(&self.ecosystem))
    }
}

impl fmt::Display for LooseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.ecosystem, self.name, self.version)
    }
}

/// What such a file was when it was pinned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LoosePin {
    /// The size in bytes.
    pub size: u64,
    /// The SHA-256 of the bytes.
    pub digest: Digest,
    /// By what they were trusted.
    pub evidence: LooseEvidence,
}

/// By what such a file was trusted when it was pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LooseEvidence {
    /// By the commit that the lock file names.
    Commit,
    /// By nothing: it was seen for the first time.
    FirstUse,
}

impl LooseEvidence {
    /// Every way.
    pub const ALL: [Self; 2] = [Self::Commit, Self::FirstUse];

    /// Gives its words in the lock.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Commit => "commit of the lock file",
            Self::FirstUse => super::render::FIRST_USE,
        }
    }
}

/// Such pins.
pub type Loose = BTreeMap<LooseKey, LoosePin>;

//! The lock: `bulla.lock`, which pins every input of a build by digest, with the evidence by which it was trusted.
//!
//! The text is TOML that reads well in a diff, and is written in one way only ([`Lock::render`]). Its first key is a
//! checksum over the rest, so that a lock that was cut off, merged or edited by hand is noticed.

mod check;
mod error;
mod loose;
mod observed;
mod read;
mod render;
mod source;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

pub use self::{
    check::{Change, Stale},
    error::LockError,
    loose::{Loose, LooseEvidence, LooseKey, LoosePin},
    observed::{AnswerPin, Answers, IndexSignature, ObservedKey, Verified},
    source::{DebianPin, Evidence, FilePin, GitEvidence, GitPin, GitSignature, ModulePin, SourcePin, UrlPin},
};
use crate::{
    digest::Digest,
    oci::BaseReference,
    path::CleanPath,
    platform::Platform,
    spec::{Name, Root, RootKind},
    time::Epoch,
};

/// The version of the format that this program writes and reads.
pub const VERSION: u64 = 1;

/// A whole lock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// The newest date among the signed indexes: the build's epoch, where the spec sets none.
    pub epoch: Epoch,
    /// The signed indexes that the packages were found in, by registry, release and suite.
    pub indexes: BTreeMap<IndexKey, IndexPin>,
    /// The sets of packages, by the names that [`crate::spec::Spec::roots`] gives: `stage.NAME`, `image`.
    pub roots: BTreeMap<String, RootPin>,
    /// Every package of every root.
    pub packages: BTreeMap<PackageKey, PackagePin>,
    /// The sources that do not lie in the project, by name.
    pub sources: BTreeMap<Name, SourcePin>,
    /// The images of registries and layouts, as the spec names them.
    pub images: BTreeMap<ImageKey, ImagePin>,
    /// What steps of a stage asked a registry for while they were observed, where nothing else pins it.
    pub observed: BTreeMap<ObservedKey, Answers>,
    /// The files that native lock files name without a hash which could pin them.
    pub loose: Loose,
}

/// Names an image of a registry or layout for a platform.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageKey {
    /// The reference, as the spec has it.
    pub reference: BaseReference,
    /// The platform that is taken of it.
    pub platform: Platform,
}

impl ImageKey {
    /// Names an image for a platform.
    pub fn new(reference: &BaseReference, platform: Platform) -> Self {
        Self { reference: reference.clone(), platform }
    }
}

impl fmt::Display for ImageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reference.fmt(f)?;
        if self.platform.is_build() { Ok(()) } else { write!(f, " for {}", self.platform) }
    }
}

/// What a reference to an image led to when it was locked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagePin {
    /// The digest of what the tag led to: an index, or the manifest itself.
    pub digest: Digest,
    /// The digest of the manifest for the platform.
    pub manifest: Digest,
    /// The size of that manifest in bytes.
    pub size: u64,
    /// The signature that was found of it, where the spec names a key.
    pub signature: Option<ImageSignature>,
}

/// A signature of an image, as evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSignature {
    /// The project's file that the key was in.
    pub key: CleanPath,
    /// The SHA-256 of the key.
    pub signed_by: Digest,
    /// What was verified.
    pub signed: Signed,
}

/// What a signature of an image was verified in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signed {
    /// The document that was signed, in cosign's simple form; the digest of that.
    Payload(Digest),
    /// A Sigstore bundle, which has the statement and its signature; the digest of that.
    Bundle(Digest),
}

impl Lock {
    /// Drops the packages that no root has and the indexes that nothing is from, and takes the newest date for the
    /// epoch. To be called after roots or sources were changed.
    pub fn settle(&mut self) {
        let used: BTreeSet<&PackageKey> = self.roots.values().flat_map(|root| &root.packages).collect();
        self.packages.retain(|key, _| used.contains(key));
        let suites: BTreeSet<(&str, &str)> = self
            .roots
            .values()
            .flat_map(|root| root.suites.iter().map(|suite| (root.registry.as_str(), suite.as_str())))
            .chain(
                self.sources
                    .values()
                    .filter_map(SourcePin::debian)
                    .flat_map(|pin| pin.suites.iter().map(|suite| (pin.registry.as_str(), suite.as_str()))),
            )
            .collect();
        self.indexes.retain(|key, _| suites.contains(&(key.registry.as_str(), key.suite.as_str())));
        self.epoch = self.indexes.values().map(|index| index.date).max().unwrap_or_default();
    }

    /// Gives the source packages of Debian.
    pub fn debian_sources(&self) -> impl Iterator<Item = (&Name, &DebianPin)> {
        self.sources.iter().filter_map(|(name, pin)| Some((name, pin.debian()?)))
    }

    /// Gives the packages of a root with their pins, in the order of their names.
    pub fn packages_of<'a>(&'a self, root: &'a RootPin) -> impl Iterator<Item = (&'a PackageKey, &'a PackagePin)> {
        root.packages.iter().filter_map(|key| self.packages.get_key_value(key))
    }
}

/// Names a signed index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IndexKey {
    /// The logical registry: `debian`.
    pub registry: String,
    /// The suite: `bookworm-security`.
    pub suite: String,
}

/// The evidence for one signed index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexPin {
    /// The SHA-256 of the `InRelease` file.
    pub digest: Digest,
    /// Its `Date`.
    pub date: Epoch,
    /// Its `Valid-Until`, where it has one.
    pub valid_until: Option<Epoch>,
    /// The fingerprints of the keys whose signatures were good, in upper-case hexadecimal, sorted.
    pub signed_by: Vec<String>,
}

/// One set of packages: what was asked for, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootPin {
    /// How it was resolved.
    pub kind: RootKind,
    /// The platform whose programs run in it.
    pub native: Platform,
    /// The platform that it makes something for.
    pub target: Platform,
    /// The logical registry: `debian`.
    pub registry: String,
    /// The release that it was asked of.
    pub release: String,
    /// The suites.
    pub suites: Vec<String>,
    /// The components.
    pub components: Vec<String>,
    /// The requests as the spec wrote them, sorted: `gcc=4:12.*`.
    pub asked: Vec<String>,
    /// All packages of the set.
    pub packages: BTreeSet<PackageKey>,
}

impl RootPin {
    /// Pins what came of what a spec asked for.
    pub fn new(root: &Root, registry: impl Into<String>, packages: BTreeSet<PackageKey>) -> Self {
        let release = &root.debian.release;
        let asked: BTreeSet<String> = root.debian.packages.iter().map(ToString::to_string).collect();
        Self {
            kind: root.kind,
            native: root.native,
            target: root.target,
            registry: registry.into(),
            release: release.codename.clone(),
            suites: release.suites.clone(),
            components: release.components.clone(),
            asked: asked.into_iter().collect(),
            packages,
        }
    }
}

/// Names a package of one version; written `name=version`, or `name:arm64=version` where it is of another architecture than
/// the machine that builds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageKey {
    /// The package's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its platform, where that is not the one of the machine that builds.
    pub foreign: Option<Platform>,
}

impl PackageKey {
    /// Names a package of an architecture as Debian calls it: `amd64`, `arm64`, `all`.
    pub fn new(name: impl Into<String>, version: impl Into<String>, architecture: &str) -> Self {
        let foreign = Platform::of_debian(architecture).filter(|platform| !platform.is_build());
        Self { name: name.into(), version: version.into(), foreign }
    }

    /// Gives the name with the architecture, where that is not the one of the machine that builds: `libc6:arm64`.
    pub fn label(&self) -> String {
        match self.foreign {
            Some(platform) => format!("{}:{}", self.name, platform.debian()),
            None => self.name.clone(),
        }
    }
}

impl fmt::Display for PackageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.label(), self.version)
    }
}

/// One package: where it is, and what its bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackagePin {
    /// `amd64`, `arm64` or `all`.
    pub architecture: String,
    /// The logical registry: `debian`.
    pub registry: String,
    /// The suite whose index has it.
    pub suite: String,
    /// The component that it is in: `main`.
    pub component: String,
    /// The path beneath the registry's base address: the index's `Filename`.
    pub path: String,
    /// The size in bytes.
    pub size: u64,
    /// The SHA-256 of the file.
    pub digest: Digest,
    /// The name of the source package that it was made from.
    pub source: String,
    /// The version of that source package.
    pub source_version: String,
}

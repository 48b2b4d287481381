//! What a spec asks of Debian: a release, and packages of it.

use std::fmt;

use serde::Serialize;

use super::Position;
use crate::platform::Platform;

/// A release of Debian, with the parts of it that packages may come from. No host is named: the user's configuration or
/// the machine's apt settings say where a suite is found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Release {
    /// The codename: `bookworm`.
    pub codename: String,
    /// The suites: by default the codename itself, its `-updates` and its `-security` (`sid` has no further ones).
    pub suites: Vec<String>,
    /// The components: by default `main`.
    pub components: Vec<String>,
}

/// For which architecture a package is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// That of its root.
    #[default]
    Own,
    /// That of the platform that is built for, beside those of the root's own: `zlib1g-dev:target`.
    Target,
    /// That of the root; it is a tool that makes programs for the platform that is built for: `gcc:cross`.
    Cross,
}

impl Side {
    /// Gives the word for it, as it stands behind the colon of a request.
    pub const fn word(self) -> Option<&'static str> {
        match self {
            Self::Own => None,
            Self::Target => Some("target"),
            Self::Cross => Some("cross"),
        }
    }

    fn is_own(&self) -> bool {
        *self == Self::Own
    }
}

/// A package that was asked for by name, perhaps with a pattern for its version.
#[derive(Debug, Clone, Serialize)]
pub struct PackageRequest {
    /// The name of the package, or of something that packages provide.
    pub name: String,
    /// The version, where it is pinned: exact, or ending in `*` (`4:12.*`).
    pub version: Option<String>,
    /// For which architecture.
    #[serde(skip_serializing_if = "Side::is_own")]
    pub side: Side,
    /// Where it stands in the spec.
    #[serde(skip)]
    pub at: Position,
}

impl PackageRequest {
    /// Asks for a package by its name alone.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), version: None, side: Side::Own, at: Position::default() }
    }

    /// Gives the request in Debian's words, for a root that makes something for a platform: `zlib1g-dev:arm64`,
    /// `gcc-aarch64-linux-gnu`. Tools for a platform itself need no longer name there.
    pub fn resolved(&self, native: Platform, target: Platform) -> String {
        let name = match self.side {
            Side::Target if native != target => format!("{}:{}", self.name, target.debian()),
            Side::Cross if native != target => cross(&self.name, target),
            Side::Own | Side::Target | Side::Cross => self.name.clone(),
        };
        self.version.as_ref().map_or_else(|| name.clone(), |version| format!("{name}={version}"))
    }
}

/// Gives the name of the package that a request of a lock asks for in a root: of `gcc=4:12.*` it is `gcc`.
pub fn asked_name(request: &str, native: Platform, target: Platform) -> String {
    let front = request.split('=').next().unwrap_or(request);
    match front.split_once(':') {
        Some((name, word)) if Side::Cross.word() == Some(word) && native != target => cross(name, target),
        Some((name, _)) => name.to_owned(),
        None => front.to_owned(),
    }
}

/// Gives the name that Debian has for a tool which makes programs of another architecture.
fn cross(name: &str, target: Platform) -> String {
    match name {
        "build-essential" => format!("crossbuild-essential-{}", target.debian()),
        _ => format!("{name}-{}", target.triplet()),
    }
}

impl PartialEq for PackageRequest {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.version, self.side) == (&other.name, &other.version, other.side)
    }
}

impl Eq for PackageRequest {}

impl fmt::Display for PackageRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(word) = self.side.word() {
            write!(f, ":{word}")?;
        }
        self.version.as_ref().map_or(Ok(()), |version| write!(f, "={version}"))
    }
}

/// Packages of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Debian {
    /// Where they come from.
    pub release: Release,
    /// What was asked for, in the order of the spec; dependencies come on top.
    pub packages: Vec<PackageRequest>,
}

/// What is done about the maintainer scripts of an image's packages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scripts {
    /// None runs; deterministic equivalents stand in, and a package that needs more is an error.
    #[default]
    Native,
    /// They run in the sandbox.
    Run {
        /// Why the spec wants that; it goes into the provenance.
        reason: String,
    },
}

/// What a set of packages is for, and so how it is resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RootKind {
    /// A stage: the Essential set, the packages, and what they depend on; maintainer scripts run.
    Stage,
    /// A final image: the packages and what they depend on, less what only scripts need.
    Image,
    /// Single packages whose files are taken, without what they depend on (certificates, time zones).
    Files,
}

/// A set of packages that is resolved together and has an entry in the lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Root {
    /// What it is for.
    pub kind: RootKind,
    /// What is asked for.
    pub debian: Debian,
    /// The platform whose programs run in it.
    pub native: Platform,
    /// The platform that it makes something for.
    pub target: Platform,
}

impl Root {
    /// Makes a root for the machine that builds.
    pub const fn new(kind: RootKind, debian: Debian) -> Self {
        Self { kind, debian, native: Platform::BUILD, target: Platform::BUILD }
    }

    /// Gives the root for a platform: one of its own, or one of the machine that builds.
    pub fn on(self, native: Platform, target: Platform) -> Self {
        Self { native, target, ..self }
    }
}

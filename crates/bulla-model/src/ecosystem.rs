//! The kinds of packages that a stage may depend on.

use serde::Serialize;

/// A kind of packages: a package manager, its lock files, where it has any, and the protocol of its registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ecosystem {
    /// Packages of npm.
    Npm,
    /// Packages of Python.
    Pypi,
    /// Crates of Rust.
    Cargo,
    /// Modules of Go.
    Go,
    /// Artifacts of Maven.
    Maven,
    /// The same artifacts, as Gradle pins them.
    Gradle,
    /// Packages of Debian that a step installs by apt.
    Apt,
}

impl Ecosystem {
    /// Every ecosystem, in the order in which documents name them.
    pub const ALL: [Self; 7] = [Self::Npm, Self::Pypi, Self::Cargo, Self::Go, Self::Maven, Self::Gradle, Self::Apt];

    /// Gives its name in the spec, which is also that of its folder in `bulla-ecosystems`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Npm => "npm",
            Self::Pypi => "pypi",
            Self::Cargo => "cargo",
            Self::Go => "go",
            Self::Maven => "maven",
            Self::Gradle => "gradle",
            Self::Apt => "apt",
        }
    }

    /// Gives the name of its logical registry, as it stands in locks.
    pub const fn registry(self) -> &'static str {
        match self {
            Self::Apt => "debian",
            _ => self.name(),
        }
    }

    /// Gives the type of its package URLs (the purl specification, "Known purl types").
    pub const fn purl_type(self) -> &'static str {
        match self {
            Self::Npm => "npm",
            Self::Pypi => "pypi",
            Self::Cargo => "cargo",
            Self::Go => "golang",
            Self::Maven | Self::Gradle => "maven",
            Self::Apt => "deb",
        }
    }

    /// Says whether its projects have no lock file of their own, so that what its client asks for is observed and pinned in `bulla.lock`.
    pub const fn is_observed(self) -> bool {
        matches!(self, Self::Maven | Self::Apt)
    }

    /// Says whether something of its projects can be observed: all that is not in a lock file, or what building takes beside one.
    pub const fn can_be_observed(self) -> bool {
        self.is_observed() || matches!(self, Self::Pypi)
    }

    /// Says whether its lock files may name something without a hash that could pin it, which `bulla.lock` pins then.
    pub const fn can_be_loose(self) -> bool {
        matches!(self, Self::Npm | Self::Pypi | Self::Cargo)
    }

    /// Finds an ecosystem by its name in the spec.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ecosystem| ecosystem.name() == name)
    }
}

impl std::fmt::Display for Ecosystem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

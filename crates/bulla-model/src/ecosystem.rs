//! The kinds of language packages that have native lock files.

use serde::Serialize;

/// A kind of language packages: a package manager, its lock files and the protocol of its registry.
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
}

impl Ecosystem {
    /// Every ecosystem, in the order in which documents name them.
    pub const ALL: [Self; 4] = [Self::Npm, Self::Pypi, Self::Cargo, Self::Go];

    /// Gives its name in the spec, which is also that of its folder in `bulla-ecosystems`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Npm => "npm",
            Self::Pypi => "pypi",
            Self::Cargo => "cargo",
            Self::Go => "go",
        }
    }

    /// Gives the type of its package URLs (the purl specification, "Known purl types").
    pub const fn purl_type(self) -> &'static str {
        match self {
            Self::Npm => "npm",
            Self::Pypi => "pypi",
            Self::Cargo => "cargo",
            Self::Go => "golang",
        }
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

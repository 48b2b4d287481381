//! Observing: what a step may ask of a registry while nothing pins it yet, and what came of it.
//!
//! A registry is asked for what has the shape that its own client's requests have, and for nothing else: one path, without a query, of
//! bounded length. Each answer is checked as the ecosystem can ([`Check`]), and is pinned.

use bulla_model::{Ecosystem, lock::Answers};

use super::{apt, maven};

/// The longest path that is asked for, in bytes.
pub const MAX_PATH: usize = 512;

/// What steps of a stage got when they were observed.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Observed {
    /// The stage.
    pub stage: String,
    /// The answers.
    pub answers: Answers,
}

/// A request that may be passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The path in the registry.
    pub path: String,
    /// The package that it is about, as the configuration knows it.
    pub package: String,
    /// Its package URL, where it is of a package.
    pub purl: Option<String>,
    /// What it is.
    pub wanted: Wanted,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// A file, and how it is checked.
    File(Check),
    /// The SHA-1 of the file at a path: made of that, and never asked for.
    Sha1(String),
    /// Another checksum, which clients do without: there is none.
    Nothing,
}

/// How an answer is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// By the SHA-1 that the registry has beside it, at the same path with `.sha1` behind.
    Sha1Beside,
    /// By what its archive has signed ([`apt::Archive`]), which also says whether there may be such a thing.
    Signed,
}

/// Says what a path of the step's loopback asks for, where it has the shape of a client's request.
///
/// # Errors
/// With what is wrong with it.
pub fn asked(ecosystem: Ecosystem, path: &str) -> Result<Asked, &'static str> {
    match ecosystem {
        Ecosystem::Maven => maven::asked(path),
        Ecosystem::Apt => apt::asked(path),
        Ecosystem::Npm | Ecosystem::Pypi | Ecosystem::Cargo | Ecosystem::Go | Ecosystem::Gradle => {
            Err("packages of this kind are pinned by a lock file, and nothing of them is observed")
        }
    }
}

//! Observing: what a step may ask of a registry while nothing pins it yet, and what came of it.
//!
//! A registry is asked for what has the shape that its own client's requests have, and for nothing else: one path, without a query, of
//! bounded length. Each answer is checked as the ecosystem can ([`Check`]), and is pinned.

use bulla_model::{
    CleanPath, Ecosystem,
    lock::{AnswerPin, Answers},
};

use super::{Artifact, Hash, Locked, Place, apt, maven, pypi};

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

/// The lock that has what was observed.
const LOCK: &str = "bulla.lock";

/// What was observed, as a lock file would name it: each file that was given is an artifact.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) locked: Locked,
    stage: String,
    absent: Vec<String>,
}

impl Replay {
    /// Takes the answers of an ecosystem. `named` gives the name, version and file of what is at a path, of which a package URL may be known.
    pub(super) fn of(
        ecosystem: Ecosystem,
        observed: &Observed,
        named: impl Fn(&str, Option<&str>) -> (String, String, String),
    ) -> Self {
        let (mut artifacts, mut absent) = (Vec::new(), Vec::new());
        for (path, answer) in &observed.answers {
            let AnswerPin::Given { digest, purl, .. } = answer else {
                absent.push(path.clone());
                continue;
            };
            let (name, version, file) = named(path, purl.as_deref());
            let (hashes, places) = (vec![Hash::Sha256(*digest.as_bytes())], vec![Place::Registry(path.clone())]);
            artifacts.push(Artifact { name, version, file, hashes, places, line: 0 });
        }
        let locked = Locked { ecosystem, file: CleanPath::parse(LOCK).expect("a clean path"), artifacts };
        Self { locked, stage: observed.stage.clone(), absent }
    }

    /// Gives the paths of files, in the order of the artifacts.
    pub(super) fn given(&self) -> impl Iterator<Item = &str> {
        self.locked.artifacts.iter().flat_map(|artifact| &artifact.places).map(Place::text)
    }

    /// Gives the paths of what was not there.
    pub(super) fn absent(&self) -> &[String] {
        &self.absent
    }

    /// Gives [`super::Native::beside`].
    pub(super) fn beside(&self) -> String {
        let given = self.given().map(|path| format!("{path}\n"));
        given.chain(self.absent.iter().map(|path| format!("{path} is not there\n"))).collect()
    }

    /// Says of a path that a client asked for and that is not pinned what may have changed, and what to do.
    pub(super) fn unknown(&self, client: &str, path: &str, changed: &str) -> String {
        let stage = &self.stage;
        format!(
            "{client} asked for {path}, and {LOCK} does not have it: the steps of {stage} did not ask for it when they were observed. If {changed} \
             changed, run `bulla lock --observe {stage}`, look at what is new, and build again"
        )
    }
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
    /// A document of the registry, of which one is made that leads to the loopback. It is not pinned: the files are.
    Page,
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
    /// By the hash that the registry's page lists ([`pypi::Offer`]).
    Listed,
}

/// Says what a path of the step's loopback asks for, where it has the shape of a client's request.
///
/// # Errors
/// With what is wrong with it.
pub fn asked(ecosystem: Ecosystem, path: &str) -> Result<Asked, &'static str> {
    match ecosystem {
        Ecosystem::Maven => maven::asked(path),
        Ecosystem::Apt => apt::asked(path),
        Ecosystem::Pypi => pypi::asked(path),
        Ecosystem::Npm | Ecosystem::Cargo | Ecosystem::Go | Ecosystem::Gradle => {
            Err("packages of this kind are pinned by a lock file, and nothing of them is observed")
        }
    }
}

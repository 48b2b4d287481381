//! Bundles: one file with all that a build needs, for a machine without any network.
//!
//! A bundle is a tar archive, the same bytes for the same project:
//!
//! ```text
//! bulla-bundle       what it is: JSON
//! inputs/HEX         packages, sources and images that the lock names, and packages of native lock files
//! pins               which of the inputs each hash of those lock files stands for: JSON
//! pages              which of the inputs say where files of those lock files are, and what was asked: JSON
//! keys/NAME          the keys that vouched for them, for who wants to lock again
//! project/           spec, lock, and the project's own sources
//! ```
//!
//! Nothing in it is believed: inputs are hashed on their way into the store, and the names of files are as those of any
//! archive from a stranger.

mod read;
mod write;

use std::path::PathBuf;

use bulla_ecosystems::archive::ArchiveError;
use bulla_model::{Digest, Ecosystem, Fault, Kind, path::CleanPathError, tar::TarError};
use serde::{Deserialize, Serialize};

use crate::run::{Answered, Asked};

pub use read::{Imported, read};
pub use write::{Contents, write};

/// The version of the format.
const FORMAT: u32 = 1;
/// The file that says what the archive is; the first one.
const MARKER: &str = "bulla-bundle";
const INPUTS: &str = "inputs";
const KEYS: &str = "keys";
const PINS: &str = "pins";
const ANSWERS: &str = "pages";
const PROJECT: &str = "project";

/// What a bundle says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Marker {
    format: u32,
    /// The project's name.
    name: String,
    /// The file name of the spec.
    spec: String,
}

/// What a registry said where files of a lock file are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    ecosystem: String,
    name: String,
    place: String,
    hashes: Vec<String>,
    /// The input that is the answer.
    blob: Digest,
}

impl From<Answered> for Answer {
    fn from(Answered { asked: Asked { ecosystem, name, place, hashes }, blob }: Answered) -> Self {
        Self { ecosystem: ecosystem.to_string(), name, place, hashes, blob }
    }
}

impl Answer {
    /// Gives what it is to a store; `None` for an ecosystem that there is not.
    fn answered(self) -> Option<Answered> {
        let Self { ecosystem, name, place, hashes, blob } = self;
        let ecosystem = Ecosystem::named(&ecosystem)?;
        Some(Answered { asked: Asked { ecosystem, name, place, hashes }, blob })
    }
}

/// Says why a bundle was not written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The store.
    #[error(transparent)]
    Store(#[from] bulla_store::Error),
    /// A file.
    #[error("{verb} {}", path.display())]
    Io {
        /// What was being done.
        verb: &'static str,
        /// What to.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// The archive cannot be written.
    #[error("writing the bundle")]
    Tar(#[from] TarError),
    /// The archive cannot be read, or has what no bundle has.
    #[error("reading the bundle")]
    Archive(#[from] ArchiveError),
    /// A path that no bundle can have.
    #[error("a path of the project cannot be in a bundle")]
    Path(#[from] CleanPathError),
    /// An input that the store lost.
    #[error("{digest} is not in the store")]
    Missing {
        /// Its digest.
        digest: Digest,
    },
    /// A file of a source that is no file.
    #[error("{} is neither a file nor a symbolic link", path.display())]
    Special {
        /// The file.
        path: PathBuf,
    },
    /// The archive is no bundle.
    #[error("it is no bundle of Bulla: {0}")]
    NotOne(String),
    /// What was to be made exists.
    #[error("{} exists, and is not overwritten", .0.display())]
    Exists(PathBuf),
}

impl BundleError {
    fn io(verb: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { verb, path, source }
    }
}

/// Says whose fault it is that an entry was not taken.
fn kind_of(error: &(dyn std::error::Error + 'static)) -> Kind {
    if let Some(error) = error.downcast_ref::<bulla_store::Error>() {
        return error.kind();
    }
    if error.is::<std::io::Error>() { Kind::Environment } else { Kind::Integrity }
}

impl Fault for BundleError {
    fn kind(&self) -> Kind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Tar(error) => error.kind(),
            Self::Archive(ArchiveError::Sink { source, .. }) => kind_of(&**source),
            Self::Archive(error) => error.kind(),
            Self::Io { .. } | Self::Missing { .. } => Kind::Environment,
            Self::NotOne(_) => Kind::Integrity,
            Self::Path(_) | Self::Special { .. } | Self::Exists(_) => Kind::Spec,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Store(error) => error.hints(),
            Self::Archive(_) | Self::NotOne(_) => {
                vec!["get the bundle again, from who made it with `bulla store export`".into()]
            }
            Self::Exists(_) => vec!["name a folder that does not exist yet".into()],
            _ => Vec::new(),
        }
    }
}

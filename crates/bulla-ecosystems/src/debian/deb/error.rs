//! Why a `.deb` was refused.

use std::io;

use bulla_model::{Fault, Kind, path::CleanPathError};

use super::SinkError;

/// Says why a package cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum DebError {
    /// The bytes cannot be read or decompressed.
    #[error("reading the {member} of the package")]
    Read {
        /// What was read.
        member: &'static str,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// The outer archive is not that of a package.
    #[error("the file is not a Debian package: {reason}")]
    NotADeb {
        /// What is wrong.
        reason: String,
    },
    /// The control paragraph is not one.
    #[error("the control file of the package is not valid: {reason}")]
    Control {
        /// What is wrong.
        reason: String,
    },
    /// An entry's name is not clean.
    #[error("the package has an entry that may not be unpacked")]
    Path(#[from] CleanPathError),
    /// An entry is not what a package may hold.
    #[error("the package has an entry that may not be unpacked: `{path}` {reason}")]
    Entry {
        /// The entry's name, made printable.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The package is larger than it may be.
    #[error("the package holds more than {limit} {unit}")]
    TooLarge {
        /// The limit.
        limit: u64,
        /// What is counted.
        unit: &'static str,
    },
    /// What takes the entries failed.
    #[error("unpacking `{path}`")]
    Sink {
        /// The entry.
        path: String,
        /// What went wrong.
        #[source]
        source: SinkError,
    },
}

impl Fault for DebError {
    fn kind(&self) -> Kind {
        match self {
            Self::Sink { .. } => Kind::Environment,
            _ => Kind::Integrity,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Sink { .. } => Vec::new(),
            _ => vec![
                "the package's bytes are those that the signed index names: report it to who made the package".into(),
            ],
        }
    }
}

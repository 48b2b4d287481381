//! Why an archive was refused.

use std::io;

use bulla_model::{Fault, Kind, path::CleanPathError, spec::Packing};

use super::SinkError;

/// Says why an archive cannot be unpacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The bytes cannot be read or decompressed.
    #[error("reading the archive")]
    Read {
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// The bytes are something else.
    #[error("it is not a {packing} archive: {reason}")]
    NotAn {
        /// What it should be.
        packing: Packing,
        /// What is wrong.
        reason: String,
    },
    /// An entry's name is not clean.
    #[error("the archive has an entry that may not be unpacked")]
    Path(#[from] CleanPathError),
    /// An entry is not what a source may hold.
    #[error("the archive has an entry that may not be unpacked: `{path}` {reason}")]
    Entry {
        /// The entry's name, made printable.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A link of an archive leads out of it.
    #[error("the archive has a link that leads out of it: `{path}` is a link to `{target}`")]
    Outward {
        /// The link.
        path: String,
        /// Where it leads.
        target: String,
    },
    /// The archive is larger than it may be.
    #[error("the archive holds more than {limit} {unit}")]
    TooLarge {
        /// The limit.
        limit: u64,
        /// What is counted.
        unit: &'static str,
    },
    /// Nothing of the archive was taken.
    #[error("nothing of the archive is taken; at its top it has {}", .top.join(", "))]
    Nothing {
        /// What stands at its top.
        top: Vec<String>,
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

impl ArchiveError {
    pub(crate) fn read(source: io::Error) -> Self {
        Self::Read { source }
    }

    pub(crate) fn entry(path: impl ToString, reason: &'static str) -> Self {
        Self::Entry { path: path.to_string(), reason }
    }
}

impl Fault for ArchiveError {
    fn kind(&self) -> Kind {
        match self {
            Self::Sink { .. } => Kind::Environment,
            Self::Nothing { .. } | Self::NotAn { .. } => Kind::Spec,
            _ => Kind::Integrity,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Sink { .. } => return Vec::new(),
            Self::Nothing { .. } => {
                "`strip` takes folders off the front of names, and `subfolder` names one of what is left"
            }
            Self::NotAn { .. } => {
                "say how it is packed by `unpack: tar.gz` and the like, or `unpack: no` to have it as it is"
            }
            Self::Outward { .. } => "if it is not needed, leave it out by `ignore: [PATTERN]`",
            _ => "these are the bytes that the lock names: if they come from whom they should, report it to them",
        };
        vec![hint.to_owned()]
    }
}

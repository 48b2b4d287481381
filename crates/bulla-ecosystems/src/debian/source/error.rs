//! Why a source package was refused.

use bulla_model::{Fault, Kind};

use crate::archive::ArchiveError;

/// Says why a source package cannot be unpacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The `.dsc` is not one, or of something else.
    #[error("the description of the source package is not good: {reason}")]
    Description {
        /// What is wrong.
        reason: String,
    },
    /// The package is of a format that is not read.
    #[error("the source package has the format `{format}`; `1.0`, `3.0 (native)` and `3.0 (quilt)` are read")]
    Format {
        /// The format.
        format: String,
    },
    /// A file of the package is not there.
    #[error("the source package has no file `{file}`")]
    Missing {
        /// The file.
        file: String,
    },
    /// A file of the package is packed in a way that is not read.
    #[error("`{file}` of the source package is packed in a way that is not read")]
    Packing {
        /// The file.
        file: String,
    },
    /// A patch does not apply.
    #[error("the patch {patch} of the source package does not apply: line {line}: {reason}")]
    Patch {
        /// The patch.
        patch: String,
        /// The line of the patch, counted from 1.
        line: usize,
        /// Why.
        reason: String,
    },
    /// An archive of the package.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

impl SourceError {
    pub(super) fn description(reason: impl Into<String>) -> Self {
        Self::Description { reason: reason.into() }
    }
}

impl From<bulla_model::path::CleanPathError> for SourceError {
    fn from(error: bulla_model::path::CleanPathError) -> Self {
        Self::Archive(error.into())
    }
}

impl Fault for SourceError {
    fn kind(&self) -> Kind {
        match self {
            Self::Archive(error) => error.kind(),
            Self::Format { .. } | Self::Packing { .. } => Kind::Spec,
            _ => Kind::Integrity,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Archive(ArchiveError::Nothing { .. }) => {
                vec!["`subfolder` names a folder of the source package, as `apt-get source` unpacks it".into()]
            }
            Self::Archive(error) => error.hints(),
            _ => vec!["the bytes are those that the signed index names: report it to who made the package".into()],
        }
    }
}

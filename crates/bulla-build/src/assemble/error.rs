//! What can go wrong in assembly.

use bulla_model::{Digest, Fault, Kind, layers::SettleError, tar::TarError};

/// Says why an image was not assembled.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// The inputs cannot be in one image.
    #[error(transparent)]
    Settle(#[from] SettleError),
    /// A part cannot be written.
    #[error("writing {origin} into the image")]
    Part {
        /// Where the part comes from.
        origin: String,
        /// Why not.
        #[source]
        source: TarError,
    },
    /// The images of several platforms cannot be one.
    #[error(transparent)]
    Join(#[from] bulla_model::oci::JoinError),
    /// An index that was just written is not there or unreadable.
    #[error("the index {digest} is gone from the store")]
    Lost {
        /// The index.
        digest: Digest,
    },
    /// Nothing lies in the image.
    #[error("the image is empty: it has no packages and nothing is copied into it")]
    Empty,
    /// The store cannot be read or written.
    #[error("using the store for layers")]
    Store(#[from] bulla_store::Error),
    /// A layer cannot be written.
    #[error("writing the layer `{title}`")]
    Layer {
        /// The layer.
        title: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A part out of the store is not what its record says, though both verified.
    #[error("the compressed part {digest} is not what its record says")]
    Record {
        /// The blob.
        digest: Digest,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

impl Fault for AssembleError {
    fn kind(&self) -> Kind {
        match self {
            Self::Settle(error) => error.kind(),
            Self::Part { source, .. } => source.kind(),
            Self::Join(error) => error.kind(),
            Self::Empty => Kind::Spec,
            Self::Lost { .. } => Kind::Environment,
            Self::Store(error) => error.kind(),
            Self::Layer { .. } => Kind::Environment,
            Self::Record { .. } => Kind::Integrity,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Settle(error) => error.hints(),
            Self::Part { source, .. } => source.hints(),
            Self::Store(error) => error.hints(),
            Self::Join(error) => error.hints(),
            Self::Lost { .. } => vec!["build again: what is missing is made anew".into()],
            Self::Empty => vec!["give `image` a `from` with packages, or a `copy`".into()],
            Self::Layer { .. } => vec!["layers are written into the store: see that its disk has room".into()],
            Self::Record { .. } => vec!["`bulla store verify` finds and removes what is damaged".into()],
        }
    }
}

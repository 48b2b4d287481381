//! What a remote store can do, wherever it is: it keeps manifests by tags, and blobs by digests.

use bulla_model::{Fault, Kind, oci::Descriptor};
use bulla_net::{
    DownloadSink, NetError,
    oci::{BlobSource, RegistryError},
};

use crate::error::CommandError;

/// Something that keeps artifacts. What it gives may be anything.
pub(super) trait Shelf: Send + Sync {
    /// Gives the manifest of a tag, of at most 4 MiB; `None` where there is none.
    fn manifest(&self, tag: &str) -> Result<Option<Vec<u8>>, ShelfError>;

    /// Says whether there is a manifest of a tag.
    fn has_manifest(&self, tag: &str) -> Result<bool, ShelfError>;

    /// Brings a blob into a sink, hashed and no longer than it is said to be; false where there is none.
    fn blob(&self, blob: &Descriptor, sink: &mut dyn DownloadSink, progress: &dyn Fn(u64)) -> Result<bool, ShelfError>;

    /// Takes a blob, unless it is there.
    fn put_blob(&self, blob: &Descriptor, from: &mut dyn BlobSource) -> Result<(), ShelfError>;

    /// Takes a manifest, after all that it names.
    fn put_manifest(&self, tag: &str, media_type: &str, bytes: &[u8]) -> Result<(), ShelfError>;
}

/// Why a remote store did not do what was asked.
#[derive(Debug)]
pub(super) struct ShelfError {
    /// Whether the store is not there for us, and not only one thing of it.
    pub(super) unreachable: bool,
    /// What went wrong.
    pub(super) error: CommandError,
}

impl ShelfError {
    /// An error of one thing.
    pub(super) fn of_one(error: impl Into<CommandError>) -> Self {
        Self { unreachable: false, error: error.into() }
    }

    /// An error of the store.
    pub(super) fn of_all(error: impl Into<CommandError>) -> Self {
        Self { unreachable: true, error: error.into() }
    }
}

impl From<RegistryError> for ShelfError {
    fn from(error: RegistryError) -> Self {
        let unreachable = match &error {
            // A registry that cuts off or has other bytes for one thing may have another.
            RegistryError::Net(NetError::CutOff { .. } | NetError::Sink { .. }) => false,
            RegistryError::Refused { status, .. } => *status >= 500 || *status == 429,
            RegistryError::Nonsense { .. } => false,
            other => other.kind() != Kind::Integrity,
        };
        Self { unreachable, error: error.into() }
    }
}

//! What is brought to a remote store, one artifact at a time.

use bulla_build::run::Made;
use bulla_model::{
    Digest,
    oci::{self, Descriptor},
};
use bulla_store::{SigningKey, Statement, Store};

use super::{Lender, Remote, artifact, inputs::Input, pack::Packed, shelf::ShelfError};
use crate::ops::transfer::TransferError;

/// An image that a build started from.
pub(super) struct Image {
    pub(super) title: String,
    pub(super) digest: Digest,
    pub(super) media_type: String,
    pub(super) bytes: Vec<u8>,
    pub(super) blobs: Vec<Descriptor>,
}

/// One artifact that is to be brought.
pub(super) enum Job<'a> {
    Result(&'a Made),
    Input(&'a Input),
    Image(&'a Image),
}

impl Job<'_> {
    pub(super) fn tag(&self) -> String {
        match self {
            Self::Result(made) => artifact::result_tag(&made.action),
            Self::Input(input) => artifact::input_tag(&input.digest),
            Self::Image(image) => artifact::input_tag(&image.digest),
        }
    }

    /// Gives what it is and what belongs to it.
    pub(super) fn digests(&self) -> Vec<Digest> {
        match self {
            Self::Result(made) => {
                let blobs = made.blobs.iter().map(|blob| blob.digest);
                [made.action].into_iter().chain(made.trees.iter().copied()).chain(blobs).collect()
            }
            Self::Input(input) => vec![input.digest],
            Self::Image(image) => {
                [image.digest].into_iter().chain(image.blobs.iter().map(|blob| blob.digest)).collect()
            }
        }
    }

    pub(super) fn title(&self) -> String {
        match self {
            Self::Result(made) => format!("the result of the action {}", made.action.short()),
            Self::Input(input) => input.title.clone(),
            Self::Image(image) => image.title.clone(),
        }
    }

    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Result(made) => made.blobs.iter().map(|blob| blob.size).sum(),
            Self::Input(input) => input.size,
            Self::Image(image) => image.blobs.iter().map(|blob| blob.size).sum(),
        }
    }

    pub(super) fn push(
        &self,
        lender: &Lender<'_>,
        remote: &Remote,
        signing: Option<&SigningKey>,
        packed: &Packed<'_>,
    ) -> Result<(), ShelfError> {
        let tag = self.tag();
        match self {
            Self::Input(input) => {
                remote.put_blob(lender.store, &artifact::bytes(input.digest, input.size))?;
                let manifest = artifact::input(input.digest, input.size, &input.title);
                remote.shelf.put_manifest(&tag, oci::MANIFEST, &manifest)
            }
            Self::Image(image) => {
                image.blobs.iter().try_for_each(|blob| remote.put_blob(lender.store, blob))?;
                remote.shelf.put_manifest(&tag, &image.media_type, &image.bytes)
            }
            Self::Result(made) => {
                let Some(signing) = signing else { return Ok(()) };
                let trees = made.trees.iter().map(|tree| packed.get(tree)).collect::<Result<Vec<_>, _>>()?;
                made.blobs.iter().try_for_each(|blob| remote.put_blob(lender.store, blob))?;
                let belongs: Vec<Descriptor> =
                    trees.iter().filter_map(|tree| tree.pack.clone()).chain(made.blobs.iter().cloned()).collect();
                let statement = Statement::new(made.action, made.result.clone(), trees, made.blobs.clone());
                let envelope = statement.sign(signing);
                remote.put_bytes(&envelope)?;
                let manifest = artifact::result(artifact::envelope(&envelope), belongs);
                remote.shelf.put_manifest(&tag, oci::MANIFEST, &manifest)?;
                lender.store.put_signed(&made.action, &envelope).map_err(ShelfError::of_one)
            }
        }
    }
}

impl Remote {
    fn put_blob(&self, store: &Store, blob: &Descriptor) -> Result<(), ShelfError> {
        let file = store.open_blob(&blob.digest).map_err(ShelfError::of_one)?;
        let gone = || ShelfError::of_one(TransferError::Missing { digest: blob.digest });
        self.shelf.put_blob(blob, &mut file.ok_or_else(gone)?)
    }

    pub(super) fn put_bytes(&self, bytes: &[u8]) -> Result<(), ShelfError> {
        let blob = artifact::bytes(Digest::of(bytes), bytes.len() as u64);
        self.shelf.put_blob(&blob, &mut std::io::Cursor::new(bytes))
    }
}

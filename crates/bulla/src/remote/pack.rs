//! Packs the trees of results for their way.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufWriter, Seek as _, Write},
    sync::Mutex,
};

use bulla_model::{Digest, Hasher, oci::Descriptor};
use bulla_store::SignedTree;

use super::{Lender, Remote, artifact, lock, shelf::ShelfError};
use crate::{error::CliError, ops::transfer::TransferError};

/// Trees that were packed and brought, each once.
pub(super) struct Packed<'a> {
    lender: &'a Lender<'a>,
    remote: &'a Remote,
    trees: Mutex<BTreeMap<Digest, SignedTree>>,
}

impl<'a> Packed<'a> {
    pub(super) fn new(lender: &'a Lender<'a>, remote: &'a Remote) -> Self {
        Self { lender, remote, trees: Mutex::default() }
    }

    /// Gives a tree that is in the remote store, packed and brought there now where it was not.
    pub(super) fn get(&self, digest: &Digest) -> Result<SignedTree, ShelfError> {
        if let Some(known) = lock(&self.trees).get(digest) {
            return Ok(known.clone());
        }
        let store = self.lender.store;
        let gone = || ShelfError::of_one(TransferError::Missing { digest: *digest });
        let tree = store.tree(digest).map_err(ShelfError::of_one)?.ok_or_else(gone)?;
        let scratch = store.scratch("pack").map_err(ShelfError::of_one)?;
        let file = |error| ShelfError::of_one(CliError::File(error));
        let mut hashed = Hashed { file: tempfile::tempfile_in(scratch.path()).map_err(file)?, hasher: Hasher::new() };
        let mut writer = BufWriter::with_capacity(1 << 18, &mut hashed);
        tree.pack(&mut writer).map_err(ShelfError::of_one)?;
        writer.flush().map_err(file)?;
        drop(writer);
        let (size, pack) = (hashed.hasher.length(), hashed.hasher.finish());
        let pack = Descriptor::new(artifact::TREE, pack, size);
        hashed.file.rewind().map_err(file)?;
        self.remote.shelf.put_blob(&pack, &mut hashed.file)?;
        let signed = SignedTree { pack: Some(pack), ..tree.to_sign().map_err(ShelfError::of_one)? };
        lock(&self.trees).insert(*digest, signed.clone());
        Ok(signed)
    }
}

/// A file, and the digest of what was written to it.
struct Hashed {
    file: File,
    hasher: Hasher,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

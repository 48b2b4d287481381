//! Another store that is read and never written: a folder of a machine's administrator, or of a colleague. Nothing of it is
//! believed: what is taken is hashed on its way, and its results count only by their signatures.

use std::{fs::File, io::Read, path::Path};

use bulla_model::{CleanPath, Digest, Tree};
use rustix::io::Errno;

use crate::{
    dir::Dir,
    error::{Error, Result},
    key::body_of,
    signed::{self, SignedTree},
    store::{Store, VERSION},
};

/// A store of others.
#[derive(Debug)]
pub struct SharedStore(Dir);

impl SharedStore {
    /// Opens a store without writing anything to it.
    ///
    /// # Errors
    /// When it cannot be read, is no store, or has another layout.
    pub fn open(path: &Path) -> Result<Self> {
        let root = Dir::open(path).map_err(|e| Error::io("opening the shared store", path, e))?;
        let version = root.read_all("version", 4096);
        let version = version.map_err(|e| Error::io("reading the version of the shared store", path, e))?;
        match version.as_deref().map(|text| text.strip_suffix(b"\n").unwrap_or(text)) {
            Some(text) if text == VERSION.as_bytes() => Ok(Self(root)),
            Some(text) => {
                let found = bulla_model::path::printable(text.get(..text.len().min(40)).unwrap_or_default());
                Err(Error::Version { path: path.to_owned(), found, expected: VERSION })
            }
            None => Err(Error::NotAStore { path: path.to_owned() }),
        }
    }

    /// Gives its folder.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Gives the signed statement of an action's result, unverified; `None` where there is none.
    pub fn signed(&self, action: &Digest) -> Option<Vec<u8>> {
        let name = format!("actions/{}", signed::name_of(action).hex());
        let record = self.0.read_all(name, signed::MAX_RECORD).ok()??;
        // It was sealed with a key that only its own store has; the signature inside is what counts.
        Some(body_of(&record)?.to_vec())
    }

    fn blob(&self, digest: &Digest) -> Option<File> {
        self.0.read(format!("blobs/{}", digest.hex())).ok()?
    }
}

impl Store {
    /// Copies a blob out of a store of others, hashing it. False where it is not there, or has other bytes.
    ///
    /// # Errors
    /// When this store cannot be written.
    pub fn take_blob(&self, from: &SharedStore, digest: &Digest, size: u64) -> Result<bool> {
        let Some(file) = from.blob(digest) else { return Ok(false) };
        let mut writer = self.blob_writer()?;
        let copied = std::io::copy(&mut file.take(size.saturating_add(1)), &mut writer);
        match copied.map(|_| writer.finish(Some(digest))) {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(Error::Mismatch { found, .. })) => {
                let path = from.path().display();
                self.0.warn(format!(
                    "the blob {digest} of the shared store {path} was not used: it has the digest {found}"
                ));
                Ok(false)
            }
            Ok(Err(error)) => Err(error),
            Err(error) => Err(Error::io("copying a blob from", from.path(), error)),
        }
    }

    /// Copies a tree out of a store of others, hashing it. False where it is not there, or is another.
    ///
    /// # Errors
    /// When this store cannot be written.
    pub fn take_tree(&self, from: &SharedStore, signed: &SignedTree) -> Result<bool> {
        let place = format!("trees/{}", signed.tree.hex());
        let Ok(Some(text)) = from.0.read_all(format!("{place}/manifest"), signed.manifest) else { return Ok(false) };
        let manifest = (Digest::of(&text) == signed.tree)
            .then(|| std::str::from_utf8(&text).ok().and_then(|text| Tree::decode(text).ok()))
            .flatten();
        let (Some(manifest), Ok(root)) = (manifest, from.0.sub(format!("{place}/root"))) else { return Ok(false) };
        let Ok(times) = signed::times_of(&root, &manifest) else { return Ok(false) };
        let files = &mut |path: &CleanPath, size: u64, write: &mut dyn FnMut(&mut dyn Read) -> Result<()>| {
            let file = root.read(path).and_then(|file| file.ok_or(Errno::NOENT));
            write(&mut file.map_err(|e| Error::io("reading", root.path().join(path), e))?.take(size))
        };
        match self.take_files(signed, (&manifest, &times), files) {
            Ok(_) => Ok(true),
            Err(Error::Damaged { .. } | Error::Mismatch { .. } | Error::Io { verb: "reading", .. }) => {
                let (tree, path) = (signed.tree, from.path().display());
                self.0.warn(format!(
                    "the tree {tree} of the shared store {path} was not used: it is not what was signed"
                ));
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

//! A tree in the store: loading it, reading its files verified, and putting it there.

use std::{
    collections::HashMap,
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use bulla_model::{CleanPath, Digest, Tree, tree::Node};
use rustix::{fs::OFlags, io::Errno};

use crate::{
    blob,
    dir::{self, Dir},
    error::{Error, Result},
    key::Domain,
    lease::Item,
    lock::{Lock, Name},
    stamp::{self, Stamp},
    store::{Inner, Scratch, Store, make_file, receipt_name},
    tree::survey,
};

/// The most bytes that a manifest may have.
pub(crate) const MAX_MANIFEST: u64 = 1 << 30;

/// A tree that is in the store. Cheap to clone.
#[derive(Clone)]
pub struct StoredTree {
    inner: Arc<Inner>,
    digest: Digest,
    manifest: Arc<Tree>,
    root: Arc<Dir>,
    stamps: Arc<Mutex<Option<Stamps>>>,
}

/// The stamps of a receipt by path, kept from one file to the next.
type Stamps = HashMap<CleanPath, Stamp>;

impl std::fmt::Debug for StoredTree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredTree").field("digest", &self.digest).finish_non_exhaustive()
    }
}

impl Store {
    /// Gives a tree whose manifest verifies; its files verify one by one as they are opened, or all with
    /// [`StoredTree::check`]. `None` where there is none, or it did not verify (then there is a warning).
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn tree(&self, digest: &Digest) -> Result<Option<StoredTree>> {
        self.0.lease(Item::Tree, digest)?;
        load(&self.0, digest)
    }
}

/// Loads a tree without taking a lease on it.
pub(crate) fn load(inner: &Arc<Inner>, digest: &Digest) -> Result<Option<StoredTree>> {
    let name = digest.hex();
    let place = match dir::open_at(&inner.trees, &name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW, 0) {
        Ok(_) => inner.trees.sub(&name)?,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP | Errno::NOTDIR) => return inner.drop_tree(digest, "it is not a directory").map(|()| None),
        Err(error) => return Err(Error::io("opening the tree", inner.trees.path().join(&name), error)),
    };
    let text = match place.read_all("manifest", MAX_MANIFEST) {
        Ok(text) => text.unwrap_or_default(),
        Err(Errno::LOOP | Errno::INVAL | Errno::NXIO) => Vec::new(),
        Err(error) => return Err(Error::io("reading the manifest", place.path().join("manifest"), error)),
    };
    let manifest = (Digest::of(&text) == *digest)
        .then(|| std::str::from_utf8(&text).ok().and_then(|text| Tree::decode(text).ok()))
        .flatten();
    let (Some(manifest), Ok(root)) = (manifest, place.sub("root")) else {
        return inner.drop_tree(digest, "its manifest has another digest, or its directory is gone").map(|()| None);
    };
    Ok(Some(StoredTree::new(inner, digest, Arc::new(manifest), root)))
}

impl StoredTree {
    fn new(inner: &Arc<Inner>, digest: &Digest, manifest: Arc<Tree>, root: Dir) -> Self {
        let stamps = Arc::default();
        Self { inner: Arc::clone(inner), digest: *digest, manifest, root: Arc::new(root), stamps }
    }

    /// Gives the digest of the manifest.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Gives the manifest.
    pub fn manifest(&self) -> &Arc<Tree> {
        &self.manifest
    }

    /// Gives the absolute path of the physical directory.
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn root(&self) -> &Dir {
        &self.root
    }

    /// Compares the whole physical directory with its receipt, and with the manifest where they differ. To be called
    /// before the directory is used as the lower of an overlay.
    ///
    /// # Errors
    /// [`Error::Damaged`] when something differs: the tree was removed, and there is a warning.
    pub fn check(&self) -> Result<()> {
        let now = survey::stamps(&self.root, &self.manifest)?;
        if now.is_some() && now == self.inner.tree_receipt(&self.digest) {
            return Ok(());
        }
        let lock = Lock::exclusive(&self.inner.root, Name::Receipts)?;
        self.recheck(&lock, false).map(|_| ())
    }

    /// Compares with the manifest, under the lock, and writes a new receipt. `full` hashes every file.
    pub(crate) fn recheck(&self, _lock: &Lock, full: bool) -> Result<Vec<Stamp>> {
        let receipt = self.inner.tree_receipt(&self.digest);
        if !full && receipt.is_some() && survey::stamps(&self.root, &self.manifest)? == receipt {
            return Ok(receipt.unwrap_or_default());
        }
        match survey::survey(&self.root, &self.manifest, receipt.as_deref(), full)? {
            Ok(stamps) => {
                self.inner.write_tree_receipt(&self.digest, &stamps)?;
                Ok(stamps)
            }
            Err(problem) => Err(self.damaged(&problem)),
        }
    }

    /// Takes the stamps anew after links to its inodes were made or removed. The caller holds the lock since before that, and
    /// had the tree checked under it.
    pub(crate) fn restamp(&self, _lock: &Lock) -> Result<()> {
        match survey::stamps(&self.root, &self.manifest)? {
            Some(stamps) => self.inner.write_tree_receipt(&self.digest, &stamps),
            None => Ok(()),
        }
    }

    fn damaged(&self, problem: &str) -> Error {
        match self.inner.drop_tree(&self.digest, problem) {
            Ok(()) => Error::Damaged { digest: self.digest, problem: problem.to_owned() },
            Err(error) => error,
        }
    }

    /// Opens a regular file, itself or through a hard link, whose bytes are covered by the receipt or were hashed now.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`] when the manifest has no such file; [`Error::Damaged`] when its bytes differ: the tree was
    /// removed, and there is a warning.
    pub fn open_file(&self, path: &CleanPath) -> Result<File> {
        let missing = || Error::NoSuchFile { digest: self.digest, path: path.clone() };
        let Some((path, Node::File { digest, size, .. })) = self.manifest.file(path) else { return Err(missing()) };
        let fail = |e: Errno| Error::io("opening", self.root.path().join(path), e);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mut file = match dir::open_at(&*self.root, path, flags, 0) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::ACCESS | Errno::NXIO) => {
                return Err(self.damaged(&format!("`{path}` is not the file it was")));
            }
            Err(error) => return Err(fail(error)),
        };
        let stat = rustix::fs::fstat(&file).map_err(fail)?;
        let stamp = Stamp::of(&stat);
        if !dir::kind_of(&stat).is_file() || stamp.size != *size {
            return Err(self.damaged(&format!("`{path}` has another kind or size")));
        }
        if self.is_covered(path, &stamp)? {
            return Ok(file);
        }
        let read = blob::hash(&mut file).map_err(|e| Error::io("reading", self.root.path().join(path), e))?;
        if read.0 != *digest {
            return Err(self.damaged(&format!("`{path}` has other bytes")));
        }
        std::io::Seek::rewind(&mut file).map_err(|e| Error::io("reading", self.root.path().join(path), e))?;
        Ok(file)
    }

    /// Looks for the stamp in the receipt as it was read last, and as it is now: farms make receipts anew.
    fn is_covered(&self, path: &CleanPath, stamp: &Stamp) -> Result<bool> {
        let mut known = self.stamps.lock().expect("no thread panics while it holds the stamps");
        if known.as_ref().is_some_and(|stamps| stamps.get(path) == Some(stamp)) {
            return Ok(true);
        }
        let _lock = Lock::shared(&self.inner.root, Name::Receipts)?;
        let Some(stamps) = self.inner.tree_receipt(&self.digest) else { return Ok(false) };
        let paths = self.manifest.iter().map(|(path, _)| path.clone());
        let fresh: Stamps = paths.zip(stamps.into_iter().skip(1)).collect();
        // Whoever held the lock may have moved the change time since the file was examined.
        let now = dir::stat_at(&*self.root, path).ok().map(|stat| Stamp::of(&stat));
        let covered = fresh.get(path).is_some_and(|known| known.ino == stamp.ino && Some(*known) == now);
        *known = Some(fresh);
        Ok(covered)
    }
}

/// Puts a finished directory into the store. `draft` holds the directory as `root`; `stamps` were taken when nothing could
/// change it any more.
pub(crate) fn commit(inner: &Arc<Inner>, draft: Scratch, manifest: Tree, stamps: &[Stamp]) -> Result<StoredTree> {
    let text = manifest.encode();
    let digest = Digest::of(&text);
    let name = digest.hex();
    let place = inner.scratch.sub(draft.name())?;
    let fail = |e: std::io::Error| Error::io("writing the manifest", place.path().join("manifest"), e);
    let mut file = make_file(&place, "manifest", 0o444, inner.owner).map_err(|e| fail(e.into()))?;
    std::io::Write::write_all(&mut file, text.as_bytes()).map_err(fail)?;
    inner.lease(Item::Tree, &digest)?;
    if !inner.place_new(draft.name(), &inner.trees, &name)? {
        if let Some(stored) = load(inner, &digest)? {
            match stored.check() {
                Ok(()) => return Ok(stored),
                Err(Error::Damaged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        if !inner.place_new(draft.name(), &inner.trees, &name)? {
            // Another process put it there just now.
            return load(inner, &digest)?.ok_or(Error::TreesMissing { digests: vec![digest] });
        }
    }
    inner.write_tree_receipt(&digest, stamps)?;
    Ok(StoredTree::new(inner, &digest, Arc::new(manifest), inner.trees.sub(PathBuf::from(name).join("root"))?))
}

impl Inner {
    pub(crate) fn tree_receipt(&self, digest: &Digest) -> Option<Vec<Stamp>> {
        let record = self.receipts.read_all(receipt_name('t', digest), MAX_MANIFEST).ok()??;
        stamp::decode(self.key.unseal(Domain::Tree, digest, &record)?)
    }

    pub(crate) fn write_tree_receipt(&self, digest: &Digest, stamps: &[Stamp]) -> Result<()> {
        let record = self.key.seal(Domain::Tree, digest, &stamp::encode(stamps));
        self.put(&self.receipts, &receipt_name('t', digest), &record, 0o600)
    }

    /// Removes a tree that did not verify, and says so.
    pub(crate) fn drop_tree(&self, digest: &Digest, why: &str) -> Result<()> {
        self.warn(format!("the tree {digest} was removed from the store: {why}"));
        self.expel(&self.trees, &digest.hex())?;
        self.expel(&self.receipts, &receipt_name('t', digest))
    }
}

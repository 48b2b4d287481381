//! Writes a tree entry by entry, as an unpacker meets them.

use std::{io::Read, path::Path, sync::Arc};

use bulla_model::{
    CleanPath, Digest, Epoch, Tree,
    tree::{Mode, Node, Owner},
};
use rustix::{
    fs::{AtFlags, Gid, Mode as Bits, OFlags, Timespec, Timestamps, Uid, XattrFlags},
    io::Errno,
};

use crate::{
    blob,
    dir::{self, Dir},
    error::{Error, Result},
    store::{Inner, Scratch, Store, make_dir, make_draft, settle},
    tree::{OPAQUE, StoredTree, commit, physical_directory, physical_file, survey, whiteout},
};

/// A tree that is being written. Dropped before [`TreeBuilder::finish`], it leaves nothing.
///
/// Directories that were not given are made (0755, root). Files keep the time they are given; directories and links, which
/// have none in a manifest, get the start of 1970.
#[derive(Debug)]
pub struct TreeBuilder {
    inner: Arc<Inner>,
    scratch: Scratch,
    root: Dir,
    tree: Tree,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("root", &self.root.path()).finish_non_exhaustive()
    }
}

impl Store {
    /// Starts an empty tree.
    ///
    /// # Errors
    /// When the scratch folder cannot be made.
    pub fn tree_builder(&self) -> Result<TreeBuilder> {
        let scratch = Scratch::new(&self.0, "tree")?;
        scratch.folder("root", 0o755)?;
        let root = self.0.scratch.sub(Path::new(scratch.name()).join("root"))?;
        Ok(TreeBuilder { inner: Arc::clone(&self.0), scratch, root, tree: Tree::new() })
    }
}

impl TreeBuilder {
    /// Makes a directory, or gives one that is there already its mode and owner.
    ///
    /// # Errors
    /// When something else stands at the path or above it.
    pub fn directory(&mut self, path: &CleanPath, mode: Mode, owner: Owner) -> Result<()> {
        self.insert_directory(path, mode, owner, false)
    }

    /// As [`TreeBuilder::directory`], for a delta: nothing of what lies below it in an overlay shows through.
    ///
    /// # Errors
    /// As [`TreeBuilder::directory`], and when the file system has no extended attributes.
    pub fn opaque_directory(&mut self, path: &CleanPath, mode: Mode, owner: Owner) -> Result<()> {
        self.insert_directory(path, mode, owner, true)?;
        let fail = |e: Errno| Error::io("marking as opaque", self.root.path().join(path), e);
        let fd = dir::open_at(&self.root, path, OFlags::RDONLY | OFlags::DIRECTORY, 0).map_err(fail)?;
        rustix::fs::fsetxattr(&fd, OPAQUE, b"y", XattrFlags::empty()).map_err(fail)
    }

    fn insert_directory(&mut self, path: &CleanPath, mode: Mode, owner: Owner, opaque: bool) -> Result<()> {
        match self.tree.get(path) {
            Some(Node::Directory { .. }) => {}
            Some(_) => return Err(taken(path)),
            None => self.physical(path, |root, path, own| make_dir(root, path, 0o700, own))?,
        }
        self.tree.insert(path.clone(), Node::Directory { mode, owner, opaque });
        Ok(())
    }

    /// Writes a regular file, and gives the digest and length of its bytes.
    ///
    /// # Errors
    /// When something stands at the path already, what is above it is no directory, or reading or writing fails.
    pub fn file(
        &mut self,
        path: &CleanPath,
        mode: Mode,
        owner: Owner,
        mtime: Epoch,
        content: &mut dyn Read,
    ) -> Result<(Digest, u64)> {
        let mut file = None;
        self.physical(path, |root, path, _| {
            file = Some(make_draft(root, path)?);
            Ok(())
        })?;
        let file = file.expect("it was made");
        let fail = |e: std::io::Error| Error::io("writing", self.root.path().join(path), e);
        let mut hasher = bulla_model::Hasher::new();
        blob::copy(content, &mut Both(&file, &mut hasher)).map_err(fail)?;
        settle(&file, physical_file(mode), self.inner.owner).map_err(|e| fail(e.into()))?;
        rustix::fs::futimens(&file, &at(mtime)).map_err(|e| fail(e.into()))?;
        let size = hasher.length();
        let digest = hasher.finish();
        self.tree.insert(path.clone(), Node::File { mode, owner, digest, size });
        Ok((digest, size))
    }

    /// Makes a symbolic link; its target is kept as it is.
    ///
    /// # Errors
    /// When something stands at the path already, or the target is empty, too long, or has a NUL byte.
    pub fn symlink(&mut self, path: &CleanPath, owner: Owner, target: &[u8]) -> Result<()> {
        if target.is_empty() || target.len() > bulla_model::path::MAX_PATH || target.contains(&0) {
            return Err(Error::Entry { path: path.clone(), reason: "the target of the link is not possible" });
        }
        self.physical(path, |root, path, own| {
            rustix::fs::symlinkat(dir::name(target), root, path)?;
            if let Some(own) = own {
                let (uid, gid) = (Uid::from_raw(own.uid), Gid::from_raw(own.gid));
                rustix::fs::chownat(root, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
            }
            rustix::fs::utimensat(root, path, &at(Epoch::default()), AtFlags::SYMLINK_NOFOLLOW)
        })?;
        self.tree.insert(path.clone(), Node::Symlink { owner, target: target.into() });
        Ok(())
    }

    /// Makes a further name of a regular file of this tree.
    ///
    /// # Errors
    /// When the target is not a regular file of this tree, or something stands at the path already.
    pub fn hardlink(&mut self, path: &CleanPath, target: &CleanPath) -> Result<()> {
        let Some((target, _)) = self.tree.file(target) else {
            return Err(Error::Entry {
                path: path.clone(),
                reason: "it is a hard link to what is no file of the tree",
            });
        };
        let target = target.clone();
        self.physical(path, |root, path, _| {
            rustix::fs::linkat(root, AsRef::<Path>::as_ref(&target), root, path, AtFlags::empty())
        })?;
        self.tree.insert(path.clone(), Node::Hardlink { target });
        Ok(())
    }

    /// For a delta: says that what lies below at this path is gone.
    ///
    /// # Errors
    /// When something stands at the path already.
    pub fn whiteout(&mut self, path: &CleanPath) -> Result<()> {
        self.physical(path, |root, path, _| whiteout::make(root, path))?;
        self.tree.insert(path.clone(), Node::Whiteout);
        Ok(())
    }

    /// Makes the directories above a path, then what is to stand there. No link above it is followed: in this tree none was
    /// made there by anyone but us, and the manifest says that all above are directories.
    fn physical(
        &mut self,
        path: &CleanPath,
        make: impl FnOnce(&Dir, &Path, Option<Owner>) -> rustix::io::Result<()>,
    ) -> Result<()> {
        if self.tree.get(path).is_some() {
            return Err(taken(path));
        }
        // All above a directory of this tree is in the tree.
        let known = path.parent().is_none_or(|parent| self.tree.get(&parent).is_some_and(Node::is_directory));
        for above in path.ancestors().filter(|_| !known) {
            match self.tree.get(&above) {
                Some(Node::Directory { .. }) => {}
                Some(_) => {
                    return Err(Error::Entry { path: path.clone(), reason: "what is above it is not a directory" });
                }
                None => {
                    make_dir(&self.root, &above, 0o700, self.inner.owner)
                        .map_err(|e| Error::io("making the directory", self.root.path().join(&above), e))?;
                    self.tree.insert(above, Node::directory(0o755));
                }
            }
        }
        make(&self.root, path.as_ref(), self.inner.owner)
            .map_err(|e| Error::io("making", self.root.path().join(path), e))
    }

    /// Gives the manifest as it is so far.
    pub fn manifest(&self) -> &Tree {
        &self.tree
    }

    /// Moves the tree into the store.
    ///
    /// # Errors
    /// When its digest is not the expected one, or it cannot be moved.
    pub fn finish(self, expected: Option<&Digest>) -> Result<StoredTree> {
        self.finish_with(expected, None)
    }

    /// As [`TreeBuilder::finish`], with the times of the root and of all entries in the manifest's order.
    pub(crate) fn finish_at(self, expected: &Digest, times: &[Epoch]) -> Result<StoredTree> {
        self.finish_with(Some(expected), Some(times))
    }

    fn finish_with(mut self, expected: Option<&Digest>, times: Option<&[Epoch]>) -> Result<StoredTree> {
        sort_links(&mut self.tree);
        if let Some(expected) = expected {
            let found = self.tree.digest();
            if found != *expected {
                return Err(Error::Mismatch { what: "the tree".to_owned(), expected: *expected, found });
            }
        }
        let time = |row: usize| times.and_then(|times| times.get(row)).copied().unwrap_or_default();
        for (row, (path, node)) in (0..self.tree.len()).rev().zip(self.tree.iter().rev()) {
            match node {
                Node::Directory { mode, .. } => {
                    finish_directory(&self.root, path.as_ref(), physical_directory(*mode), time(row + 1))?;
                }
                Node::Symlink { .. } if times.is_some() => {
                    let place: &Path = path.as_ref();
                    rustix::fs::utimensat(&self.root, place, &at(time(row + 1)), AtFlags::SYMLINK_NOFOLLOW)
                        .map_err(|e| Error::io("finishing", self.root.path().join(path), e))?;
                }
                _ => {}
            }
        }
        finish_directory(&self.root, Path::new("."), 0o755, time(0))?;
        let stamps = survey::stamps(&self.root, &self.tree)?
            .ok_or_else(|| Error::io("examining", self.root.path(), Errno::NOENT))?;
        commit(&self.inner, self.scratch, self.tree, &stamps)
    }
}

fn finish_directory(root: &Dir, path: &Path, mode: u32, time: Epoch) -> Result<()> {
    let fail = |e: Errno| Error::io("finishing the directory", root.path().join(path), e);
    let fd = dir::open_at(root, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW, 0).map_err(fail)?;
    rustix::fs::fchmod(&fd, Bits::from_raw_mode(mode)).map_err(fail)?;
    rustix::fs::futimens(&fd, &at(time)).map_err(fail)
}

/// Makes the first path of each group of hard links the file, so that the manifest does not depend on who came first.
pub(crate) fn sort_links(tree: &mut Tree) {
    let late: Vec<(CleanPath, CleanPath)> = tree
        .iter()
        .filter_map(|(path, node)| match node {
            Node::Hardlink { target } if path < target => Some((target.clone(), path.clone())),
            _ => None,
        })
        .collect();
    let mut firsts = std::collections::BTreeMap::new();
    for (file, path) in late {
        firsts.entry(file).or_insert(path);
    }
    if firsts.is_empty() {
        return;
    }
    let links: Vec<(CleanPath, CleanPath)> = tree
        .iter()
        .filter_map(|(path, node)| match node {
            Node::Hardlink { target } => firsts.get(target).map(|first| (path.clone(), first.clone())),
            _ => None,
        })
        .collect();
    for (path, first) in links {
        tree.insert(path, Node::Hardlink { target: first });
    }
    for (file, first) in firsts {
        if let Some(node) = tree.insert(file, Node::Hardlink { target: first.clone() }) {
            tree.insert(first, node);
        }
    }
}

fn taken(path: &CleanPath) -> Error {
    Error::Entry { path: path.clone(), reason: "something stands there already" }
}

/// Both times of a file at an epoch.
pub(crate) fn at(epoch: Epoch) -> Timestamps {
    let time = Timespec { tv_sec: epoch.seconds().cast_signed(), tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}

/// Writes to a file and hashes the same bytes.
pub(crate) struct Both<'a, W>(pub(crate) W, pub(crate) &'a mut bulla_model::Hasher);

impl<W: std::io::Write> std::io::Write for Both<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.0.write(bytes)?;
        self.1.update(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

//! Farms: trees merged into one directory by hard links, to be the single lower of an overlay.
//!
//! `farms/HEX/root/` is cached by the digest of the list of its trees. Its sealed record says what inode stands at every path;
//! the inodes of linked files are covered by the receipts of the trees they come from, those of directories by the record
//! itself. So a farm is checked by examining each of its entries once, and an edit of any of them shows. Making and removing
//! links moves the change time of inodes, so whoever does it holds the lock of the receipts and makes them anew.

pub(crate) mod copy;
mod merge;
pub(crate) mod plant;
mod record;

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
};

use bulla_model::{CleanPath, Digest, Tree};

pub use copy::{Layer, RootCopy};
pub(crate) use record::{Check, Record, Row, check_row};

use crate::{
    error::{Error, Result},
    lease::Item,
    lock::{Lock, Name},
    parallel,
    stamp::Stamp,
    store::{Inner, Store},
    tree::{StoredTree, stored_tree},
};

/// One tree of a farm, without some of its paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The tree.
    pub tree: Digest,
    /// Paths that are left out, with all beneath them: what another package replaces.
    pub hidden: BTreeSet<CleanPath>,
}

impl From<Digest> for Part {
    fn from(tree: Digest) -> Self {
        Self { tree, hidden: BTreeSet::new() }
    }
}

/// A farm that was checked just now.
#[derive(Debug, Clone)]
pub struct Farm {
    pub(crate) digest: Digest,
    pub(crate) path: PathBuf,
}

impl Farm {
    fn new(inner: &Inner, digest: Digest) -> Self {
        Self { digest, path: inner.farms.path().join(digest.hex()).join("root") }
    }

    /// Gives the absolute path of the merged directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the digest of the list of trees.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl Store {
    /// Gives the farm of some trees: the one that is there when it verifies, else a new one. Of directories in several trees
    /// the last gives the mode; equal symbolic links may be in several.
    ///
    /// # Errors
    /// [`Error::TreesMissing`] when trees are not there or did not verify: unpack them again and call again.
    /// [`Error::Conflict`] when two trees have different things at one path.
    pub fn farm(&self, trees: &[Digest]) -> Result<Farm> {
        self.farm_of(&trees.iter().copied().map(Part::from).collect::<Vec<_>>())
    }

    /// As [`Store::farm`], of trees with paths left out.
    ///
    /// # Errors
    /// As [`Store::farm`].
    pub fn farm_of(&self, parts: &[Part]) -> Result<Farm> {
        let (inner, digest) = (&self.0, name_of(parts));
        lease(inner, &digest, parts)?;
        let farm = Farm::new(inner, digest);
        if matches!(inner.check_farm(&digest, || inner.tree_stamps(parts))?, Check::Good) {
            return Ok(farm);
        }
        let lock = Lock::exclusive(&inner.root, Name::Receipts)?;
        if !matches!(inner.check_farm(&digest, || inner.tree_stamps(parts))?, Check::Good) {
            make(inner, &lock, &digest, parts)?;
        }
        Ok(farm)
    }

    /// As [`Store::farm_of`], with the manifest that the farm has, and the trees in the order of the parts. They are read while
    /// the farm is examined.
    ///
    /// # Errors
    /// As [`Store::farm`].
    pub fn farm_and_trees(&self, parts: &[Part]) -> Result<(Farm, Tree, Vec<StoredTree>)> {
        let (inner, digest) = (&self.0, name_of(parts));
        lease(inner, &digest, parts)?;
        let (checked, read) = std::thread::scope(|scope| {
            let checked = scope.spawn(|| inner.check_farm(&digest, || inner.tree_stamps(parts)));
            let read = load_all(inner, parts).and_then(|trees| Ok((manifest(parts, &trees)?, trees)));
            (checked.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), read)
        });
        let farm = match checked? {
            Check::Good => Farm::new(inner, digest),
            Check::Missing | Check::Mounted | Check::Edited(_) => self.farm_of(parts)?,
        };
        let (manifest, trees) = read?;
        Ok((farm, manifest, trees))
    }

    /// Gives the manifest that the farm of these parts has.
    ///
    /// # Errors
    /// As [`Store::farm`].
    pub fn merged(&self, parts: &[Part]) -> Result<Tree> {
        manifest(parts, &load_all(&self.0, parts)?)
    }
}

fn manifest(parts: &[Part], trees: &[StoredTree]) -> Result<Tree> {
    let merged = merge::merge(parts, trees)?;
    Ok(merged.into_iter().map(|(path, (_, node))| (path, node)).collect())
}

/// Notes that this process uses a farm and all that it is made of.
fn lease(inner: &Inner, farm: &Digest, parts: &[Part]) -> Result<()> {
    inner.lease(Item::Farm, farm)?;
    parts.iter().try_for_each(|part| inner.lease(Item::Tree, &part.tree))
}

/// Names a farm by its parts, in order.
fn name_of(parts: &[Part]) -> Digest {
    let mut text = String::from("bulla-farm 1\n");
    for part in parts {
        text.push_str(&format!("{}\n", part.tree));
        for path in &part.hidden {
            text.push_str(&format!("- {path:?}\n"));
        }
    }
    Digest::of(text)
}

fn load_all(inner: &Arc<Inner>, parts: &[Part]) -> Result<Vec<StoredTree>> {
    // One by one, for a few packages have most of the files.
    let read = parallel::map_by(parts, 1, |part| {
        inner.lease(Item::Tree, &part.tree)?;
        Ok::<_, Error>(stored_tree(inner, &part.tree)?.ok_or(part.tree))
    })?;
    let (mut trees, mut missing) = (Vec::new(), Vec::new());
    for tree in read {
        match tree {
            Ok(tree) => trees.push(tree),
            Err(digest) => missing.push(digest),
        }
    }
    if missing.is_empty() { Ok(trees) } else { Err(Error::TreesMissing { digests: missing }) }
}

/// Makes a farm whose check failed. First the trees are checked, for their receipts may be old: a process may have been
/// killed after it made links and before it made receipts. What comes after moves the change times again.
fn make(inner: &Arc<Inner>, lock: &Lock, digest: &Digest, parts: &[Part]) -> Result<()> {
    let trees = load_all(inner, parts)?;
    let merged = merge::merge(parts, &trees)?;
    let (mut stamps, mut damaged) = (Vec::new(), Vec::new());
    for tree in &trees {
        match tree.recheck(lock, false) {
            Ok(found) => stamps.push(found),
            Err(Error::Damaged { digest, .. }) => damaged.push(digest),
            Err(error) => return Err(error),
        }
    }
    match inner.check_farm(digest, || stamps.iter().flatten().map(|stamp| (stamp.ino, *stamp)).collect())? {
        Check::Good => return Ok(()),
        Check::Missing | Check::Mounted => {}
        Check::Edited(what) => {
            inner.warn(format!("the root {digest} was changed in the store ({what}) and is made anew"));
        }
    }
    let expelled = inner.expel_farm(digest);
    let planted = match damaged.is_empty() {
        true => expelled.and_then(|()| plant::plant(inner, &merge::plan(&merged, &trees, &stamps))),
        false => Err(Error::TreesMissing { digests: damaged }),
    };
    // Also when planting failed, for some links may have been made or removed.
    for tree in trees.iter().filter(|tree| !is_damaged(&planted, tree)) {
        tree.restamp(lock)?;
    }
    let (draft, rows) = planted?;
    let record = Record { parts: parts.iter().map(|part| part.tree).collect(), rows };
    inner.place_farm(digest, &draft, &record)
}

fn is_damaged<T>(planted: &Result<T>, tree: &StoredTree) -> bool {
    matches!(planted, Err(Error::TreesMissing { digests }) if digests.contains(&tree.digest()))
}

impl Inner {
    /// Gives the stamps of all inodes of some trees by inode, as their receipts have them.
    fn tree_stamps(&self, parts: &[Part]) -> HashMap<u64, Stamp> {
        let receipts = parts.iter().filter_map(|part| self.tree_receipt(&part.tree));
        receipts.flatten().map(|stamp| (stamp.ino, stamp)).collect()
    }
}

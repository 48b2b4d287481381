//! Verifying the whole store.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bulla_model::Digest;

use crate::{
    cache::Kept,
    dir::Dir,
    error::{Error, Result},
    farm::Check,
    gc,
    lock::{Lock, Name},
    source,
    stamp::Stamp,
    store::{Inner, Store},
    tree::stored_tree,
};

/// What was looked at, and what did not verify; the latter was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Verified {
    /// How many blobs.
    pub blobs: u64,
    /// How many trees.
    pub trees: u64,
    /// How many roots and source views.
    pub farms: u64,
    /// How many results of actions.
    pub actions: u64,
    /// How many caches.
    pub caches: u64,
    /// What did not verify: `blob sha256:…`.
    pub damaged: Vec<String>,
}

impl Store {
    /// Verifies everything: by receipts, or with `full` by hashing every byte. For stores that were restored, imported or
    /// shared, whose receipts say nothing. What does not verify is removed, with a warning.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub fn verify(&self, full: bool) -> Result<Verified> {
        let inner = &self.0;
        let mut report = Verified::default();
        for digest in digests(&inner.blobs)? {
            report.blobs += 1;
            if inner.verified_blob(&digest, full)?.is_none() {
                report.damaged.push(format!("blob {digest}"));
            }
        }
        expel_unfinished(inner)?;
        for digest in digests(&inner.trees)? {
            report.trees += 1;
            let lock = Lock::exclusive(&inner.root, Name::Receipts)?;
            let good = match stored_tree(inner, &digest)?.map(|tree| tree.recheck(&lock, full)) {
                Some(Ok(_)) => true,
                None | Some(Err(Error::Damaged { .. })) => false,
                Some(Err(error)) => return Err(error),
            };
            if !good {
                report.damaged.push(format!("tree {digest}"));
            }
        }
        if full {
            // Their bytes are hashed when a view needs them.
            for id in digests(&inner.sources)? {
                let lock = Lock::exclusive(&inner.root, Name::Receipts)?;
                source::write_object_stamps(inner, &lock, &id, &source::Objects::default())?;
            }
        }
        for digest in digests(&inner.farms)? {
            report.farms += 1;
            if !farm_is_good(inner, &digest)? {
                report.damaged.push(format!("root {digest}"));
            }
        }
        for digest in digests(&inner.actions)? {
            report.actions += 1;
            if inner.verified_result(&digest)?.is_none() {
                report.damaged.push(format!("result {digest}"));
            }
        }
        let lock = Lock::exclusive(&inner.root, Name::Caches)?;
        for key in digests(&inner.caches)? {
            report.caches += 1;
            if matches!(inner.kept_cache(&key)?, Kept::Damaged) {
                inner.expel(&inner.caches, &key.hex())?;
                report.damaged.push(format!("cache {key}"));
            }
        }
        drop(lock);
        Ok(report)
    }
}

fn digests(dir: &Dir) -> Result<Vec<Digest>> {
    let parse = |name: &Vec<u8>| Digest::from_hex(std::str::from_utf8(name).ok()?).ok();
    Ok(dir.names()?.iter().filter_map(parse).collect())
}

/// Removes the farms that were never finished. Before the trees are examined, for their links move the change times of what is in the trees, and
/// nothing says any more which trees those were.
fn expel_unfinished(inner: &Arc<Inner>) -> Result<()> {
    let _lock = Lock::exclusive(&inner.root, Name::Receipts)?;
    let farms = digests(&inner.farms)?;
    farms.iter().filter(|farm| inner.farm_record(farm).is_none()).try_for_each(|farm| inner.expel_farm(farm))
}

/// Checks a farm or view under the lock. One that differs is removed, and made anew when it is needed.
fn farm_is_good(inner: &Arc<Inner>, digest: &Digest) -> Result<bool> {
    let lock = Lock::exclusive(&inner.root, Name::Receipts)?;
    let parts = inner.farm_record(digest).map(|record| record.parts).unwrap_or_default();
    let is_view = parts.iter().any(|part| crate::dir::stat_at(&inner.sources, part.hex()).is_ok());
    let mut stamps: HashMap<u64, Stamp> = HashMap::new();
    for part in &parts {
        stamps.extend(inner.tree_receipt(part).into_iter().flatten().map(|stamp| (stamp.ino, stamp)));
        stamps.extend(source::object_stamps(inner, part).by_inode());
    }
    let good = match inner.check_farm(digest, || stamps)? {
        Check::Good => return Ok(true),
        // Never finished, or a view whose objects are not covered: it is made anew from objects that are hashed again.
        Check::Missing | Check::Mounted => true,
        Check::Edited(_) if is_view => true,
        Check::Edited(what) => {
            inner.warn(format!("the root {digest} was changed in the store ({what}) and was removed"));
            false
        }
    };
    gc::expel_farms(inner, &lock, &[(*digest, parts)].into(), &HashSet::new())?;
    Ok(good)
}

//! Reads the layers of an image, several at once; what a layer has in it is kept in the store by its digest.

use std::{
    collections::BTreeMap,
    io::Read,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use bulla_build::inspect::{self, Entry, Limits, What};
use bulla_evidence::inventory::{self, LayerContents, Scanner};
use bulla_model::{
    CleanPath, DiffId, Digest,
    oci::{self, Descriptor},
    path::printable,
};
use bulla_store::Store;
use serde::Serialize;

use super::Found;
use crate::error::{CommandError, Result};

/// Opens a blob.
pub(super) type Open<'a> = &'a (dyn Fn(&Descriptor) -> Result<Box<dyn Read + 'a>> + Sync);

/// How many layers are read at once: each may hold a program in memory.
const PARALLEL: usize = 4;
/// The most bytes of what is kept of a layer.
const MAX_CONTENTS: u64 = 1 << 30;

/// What decides what a layer has in it.
#[derive(Serialize)]
struct Key<'a> {
    inventory: u32,
    layer: &'a Digest,
    diff_id: &'a DiffId,
    media_type: &'a str,
}

/// Reads all layers, lowest first.
pub(super) fn read_all(store: &Store, found: &Found, open: Open<'_>) -> Result<Vec<LayerContents>> {
    let layers: Vec<(&Descriptor, DiffId)> =
        found.manifest.layers.iter().zip(found.config.rootfs.diff_ids.iter().copied()).collect();
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let threads = thread::available_parallelism().map_or(1, usize::from).min(PARALLEL).min(layers.len());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((descriptor, diff_id)) = layers.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let read = one(store, descriptor, *diff_id, open);
                    let failed = read.is_err();
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((descriptor.digest, read));
                    if failed {
                        next.store(layers.len(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(at) = done.iter().position(|(_, read)| read.is_err()) {
        return done.swap_remove(at).1.map(|_| Vec::new());
    }
    let mut read: BTreeMap<Digest, LayerContents> =
        done.into_iter().filter_map(|(digest, read)| Some((digest, read.ok()?))).collect();
    // What a layer has in it can be large: only of a layer that comes again there is a copy.
    let comes_again = |at: usize, digest: &Digest| layers.iter().skip(at + 1).any(|(layer, _)| layer.digest == *digest);
    let in_order = layers.iter().enumerate().filter_map(|(at, (layer, _))| match comes_again(at, &layer.digest) {
        true => read.get(&layer.digest).cloned(),
        false => read.remove(&layer.digest),
    });
    Ok(in_order.collect())
}

fn one(store: &Store, layer: &Descriptor, diff_id: DiffId, open: Open<'_>) -> Result<LayerContents> {
    let key =
        Key { inventory: inventory::FORMAT, layer: &layer.digest, diff_id: &diff_id, media_type: &layer.media_type };
    let key = Digest::of(oci::encode(&key));
    if let Some(known) = known(store, &key)? {
        return Ok(known);
    }
    let mut scanner = Scanner::new(inventory::Limits::default());
    inspect::read_layer(open(layer)?, (layer, diff_id), &Limits::default(), &mut |entry, bytes| {
        take(&mut scanner, entry, bytes)
    })?;
    let contents = scanner.finish();
    let digest = store.put_blob(&oci::encode(&contents))?;
    store.put_result(&key, &oci::encode(&digest))?;
    Ok(contents)
}

fn known(store: &Store, key: &Digest) -> Result<Option<LayerContents>, CommandError> {
    let Some(digest) = store.result(key)?.and_then(|bytes| serde_json::from_slice::<Digest>(&bytes).ok()) else {
        return Ok(None);
    };
    let bytes = store.read_blob(&digest, MAX_CONTENTS)?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

fn take(scanner: &mut Scanner, entry: Entry, bytes: &mut dyn Read) -> std::io::Result<()> {
    let what = match entry.what {
        What::File(size) => return scanner.file(entry.path, size, bytes),
        What::Directory => inventory::What::Directory,
        What::Symlink(target) => inventory::What::Symlink(printable(&target)),
        // A name that leads out of the image leads to nothing.
        What::Hardlink(target) => match CleanPath::from_archive(&target) {
            Ok(Some(target)) => inventory::What::Hardlink(target),
            _ => inventory::What::Special,
        },
        What::Whiteout => inventory::What::Whiteout,
        What::Opaque => inventory::What::Opaque,
        What::Special => inventory::What::Special,
    };
    scanner.entry(entry.path, what);
    Ok(())
}

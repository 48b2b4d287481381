//! Unpacks packages, each once, into trees of their own.

use std::{
    io::Read,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use bulla_ecosystems::debian::deb::{self, Package, Sink, SinkError};
use bulla_model::{
    CleanPath, Digest, Epoch, Tree,
    plan::PlannedPackage,
    tree::{Mode, Owner},
};
use bulla_store::{Store, TreeBuilder};
use serde::{Deserialize, Serialize};

use super::{
    BuildError,
    context::Context,
    record::{Action, FORMAT, keep},
    supply::Need,
};

/// The most bytes that the record of a package may have.
const MAX_RECORD: u64 = 256 << 20;

/// A package that is in the store as a tree.
#[derive(Debug, Clone)]
pub(crate) struct Unpacked {
    /// The tree.
    pub(crate) tree: Digest,
    /// What the package says of itself.
    pub(crate) package: Package,
}

#[derive(Debug, Serialize, Deserialize)]
struct UnpackResult {
    tree: Digest,
    package: Digest,
}

/// From which size on a `.deb` may be made of several blocks: `dpkg-deb` cuts them at 24 MiB before compression.
const MANY_BLOCKS: u64 = 2 << 20;

/// Gives the tree of a package that was unpacked once, and what the package says of itself; `None` where that is not known
/// any more. For people who ask: a build verifies what it uses.
pub fn unpacked(store: &Store, package: &Digest) -> Option<(Arc<Tree>, Package)> {
    let action = Action::Unpack { format: FORMAT, package: *package }.digest();
    let result: UnpackResult = super::record::lookup(store, &action).ok()??;
    let bytes = store.read_blob(&result.package, MAX_RECORD).ok()??;
    let tree = store.tree(&result.tree).ok()??;
    Some((Arc::clone(tree.manifest()), serde_json::from_slice(&bytes).ok()?))
}

/// Gives the packages as trees, in the order in which they were asked for. The largest are begun first, so that none of them
/// is left over at the end for one thread alone.
pub(crate) fn unpack(
    context: &Context<'_>,
    packages: &[PlannedPackage],
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Vec<Unpacked>, BuildError> {
    let mut order: Vec<usize> = (0..packages.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(packages.get(*index).map(|package| package.size)));
    let next = AtomicUsize::new(0);
    // One package at a time is decompressed by several threads: that bounds the memory, and for many at once there are not
    // the processors.
    let wide = Mutex::new(());
    let done: Mutex<Vec<(usize, Result<Unpacked, BuildError>)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..context.settings.jobs.clamp(1, 8).min(packages.len()) {
            scope.spawn(|| {
                while let Some((index, package)) = {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    order.get(i).and_then(|index| packages.get(*index).map(|p| (*index, p)))
                } {
                    let wide = (package.size >= MANY_BLOCKS).then(|| wide.try_lock()).and_then(Result::ok);
                    let threads = if wide.is_some() { context.settings.jobs } else { 1 };
                    let unpacked = context.check().and_then(|()| one(context, package, threads));
                    drop(wide);
                    let failed = unpacked.is_err();
                    let count = {
                        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                        done.push((index, unpacked));
                        done.len() as u64
                    };
                    progress(count);
                    if failed {
                        next.store(packages.len(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, unpacked)| unpacked).collect()
}

fn one(context: &Context<'_>, planned: &PlannedPackage, threads: usize) -> Result<Unpacked, BuildError> {
    let store = context.store;
    let action = Action::Unpack { format: FORMAT, package: planned.digest }.digest();
    if let Some(result) = context.result::<UnpackResult>(&action)?
        && store.tree(&result.tree)?.is_some()
        && let Some(bytes) = store.read_blob(&result.package, MAX_RECORD)?
        && let Ok(package) = serde_json::from_slice(&bytes)
    {
        return Ok(Unpacked { tree: result.tree, package });
    }
    let name = format!("{}={}", planned.name, planned.version);
    let missing = || BuildError::NotFetched { package: name.clone(), digest: planned.digest };
    context.need(Need::Packages)?;
    let file = store.open_blob(&planned.digest)?.ok_or_else(missing)?;
    let mut sink = PackageWriter(store.tree_builder()?);
    let package = deb::unpack(file, deb::Limits::of_size(planned.size), threads, &mut sink)
        .map_err(|source| BuildError::Unpack { package: name.clone(), source })?;
    let found = format!("{}={}", package.control.name(), package.control.version());
    if found != name || package.control.architecture() != planned.architecture {
        let found = format!("{found} ({})", package.control.architecture());
        return Err(BuildError::OtherPackage { expected: format!("{name} ({})", planned.architecture), found });
    }
    let tree = sink.0.finish(None)?.digest();
    let record = store.put_blob(&serde_json::to_vec(&package).expect("a package has no key that JSON cannot have"))?;
    keep(store, &action, &UnpackResult { tree, package: record })?;
    Ok(Unpacked { tree, package })
}

/// Writes the entries of a package into a tree of the store.
#[derive(Debug)]
pub struct PackageWriter(pub TreeBuilder);

impl Sink for PackageWriter {
    fn directory(&mut self, path: &CleanPath, mode: Mode, owner: Owner) -> Result<(), SinkError> {
        Ok(self.0.directory(path, mode, owner)?)
    }

    fn file(
        &mut self,
        path: &CleanPath,
        mode: Mode,
        owner: Owner,
        mtime: Epoch,
        content: &mut dyn Read,
    ) -> Result<(), SinkError> {
        self.0.file(path, mode, owner, mtime, content)?;
        Ok(())
    }

    fn symlink(&mut self, path: &CleanPath, owner: Owner, target: &[u8]) -> Result<(), SinkError> {
        Ok(self.0.symlink(path, owner, target)?)
    }

    fn hardlink(&mut self, path: &CleanPath, target: &CleanPath) -> Result<(), SinkError> {
        Ok(self.0.hardlink(path, target)?)
    }
}

//! Folders in which clients find packages of lock files unpacked: each package is unpacked once into a tree of its own, and linked into the
//! folder of a step, which is bound read-only.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use bulla_ecosystems::dependencies::{ArtifactError, Folder, LockFileError, Native};
use bulla_model::{CleanPath, Digest, Epoch};
use bulla_sandbox::Bind;
use serde::{Deserialize, Serialize};

use super::{
    BuildError,
    context::Context,
    record::{Action, FORMAT, keep},
    stages::internal,
    unpacked::Writer,
};

/// The time of the files: that which cargo gives to what it packs. Some tools take none before 1980.
const TIME: u64 = 1_153_704_088;
/// The most bytes that the packages of one lock file may have unpacked.
const MAX_BYTES: u64 = 32 << 30;

/// A package that lies in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lying {
    /// Its name and version, which no other package of the folder has.
    pub(crate) id: (String, String),
    /// Its package URL.
    pub(crate) purl: String,
    /// What it was unpacked from.
    pub(crate) package: Digest,
    /// What came of that.
    tree: Digest,
}

/// A folder, and what of one lock file lies in it.
#[derive(Debug)]
pub(crate) struct Laid {
    target: CleanPath,
    packages: Vec<Lying>,
}

/// What lies in one folder, by its own name and version, with the lock file that names it.
type Found<'l> = BTreeMap<&'l (String, String), (&'l str, &'l Lying)>;

#[derive(Debug, Serialize, Deserialize)]
struct FolderResult {
    tree: Digest,
    bytes: u64,
}

/// Has all packages of a lock file's folders as trees. `digests` are its artifacts.
pub(crate) fn unpack(context: &Context<'_>, native: &dyn Native, digests: &[Digest]) -> Result<Vec<Laid>, BuildError> {
    let folders = native.folders();
    let wanted: Vec<usize> = folders.iter().flat_map(|folder| folder.artifacts.iter().copied()).collect();
    let (next, bytes) = (AtomicUsize::new(0), AtomicU64::new(0));
    let done: Mutex<BTreeMap<usize, Lying>> = Mutex::default();
    let failed: Mutex<Option<BuildError>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..context.settings.jobs.clamp(1, 8).min(wanted.len()) {
            scope.spawn(|| {
                while let Some(&artifact) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match one(context, native, digests, artifact, &bytes) {
                        Ok(lying) => {
                            done.lock().unwrap_or_else(PoisonError::into_inner).insert(artifact, lying);
                        }
                        Err(error) => {
                            next.store(wanted.len(), Ordering::Relaxed);
                            failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                        }
                    }
                }
            });
        }
    });
    if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    let laid = folders.into_iter().map(|Folder { target, artifacts }| {
        let packages = artifacts.iter().filter_map(|artifact| done.remove(artifact)).collect();
        Laid { target, packages }
    });
    Ok(laid.collect())
}

fn one(
    context: &Context<'_>,
    native: &dyn Native,
    digests: &[Digest],
    artifact: usize,
    bytes: &AtomicU64,
) -> Result<Lying, BuildError> {
    context.check()?;
    let (store, locked) = (context.store, native.locked());
    let of = locked.artifacts.get(artifact).zip(digests.get(artifact));
    let (named, &package) = of.ok_or_else(|| internal("an artifact that a lock file does not name"))?;
    let (name, version) = (&named.name, &named.version);
    let action =
        Action::Folder { format: FORMAT, ecosystem: locked.ecosystem, name, version, package, time: TIME }.digest();
    let earlier = match context.result::<FolderResult>(&action)? {
        Some(result) if store.tree(&result.tree)?.is_some() => Some(result),
        _ => None,
    };
    let result = match earlier {
        Some(result) => result,
        None => {
            let missing = || BuildError::Gone { what: format!("blob {}", package.short()) };
            let mut blob = store.open_blob(&package)?.ok_or_else(missing)?;
            let time = Epoch::new(TIME).ok_or_else(|| internal("a time"))?;
            let mut sink = Writer(store.tree_builder()?, time);
            native.unpack(artifact, &mut blob, &mut sink)?;
            let files = sink.0.manifest().iter().filter_map(|(_, node)| match node {
                bulla_model::tree::Node::File { size, .. } => Some(*size),
                _ => None,
            });
            let result = FolderResult { bytes: files.sum(), tree: sink.0.finish(None)?.digest() };
            keep(store, &action, &result)?;
            result
        }
    };
    if bytes.fetch_add(result.bytes, Ordering::Relaxed).saturating_add(result.bytes) > MAX_BYTES {
        let what = format!("the packages of {} have more than {MAX_BYTES} bytes when they are unpacked", locked.file);
        return Err(ArtifactError { artifact: format!("{name} {version}"), what, source: None }.into());
    }
    let purl = named.purl(locked.ecosystem);
    Ok(Lying { id: (name.clone(), version.clone()), purl, package, tree: result.tree })
}

/// Makes one folder of those of several lock files, which have names for errors. Gives what is bound, and what lies in it.
pub(crate) fn lay<'l>(
    context: &Context<'_>,
    files: impl IntoIterator<Item = (&'l str, &'l [Laid])>,
) -> Result<(Vec<Bind>, BTreeMap<String, Digest>), BuildError> {
    let mut folders: BTreeMap<&CleanPath, Found<'_>> = BTreeMap::new();
    for (file, laid) in files {
        for Laid { target, packages } in laid {
            let folder = folders.entry(target).or_default();
            for package in packages {
                match folder.entry(&package.id) {
                    Entry::Vacant(place) => {
                        place.insert((file, package));
                    }
                    Entry::Occupied(known) if known.get().1.package == package.package => {}
                    Entry::Occupied(known) => return Err(two(file, known.get().0, package).into()),
                }
            }
        }
    }
    let (mut binds, mut lying) = (Vec::new(), BTreeMap::new());
    for (target, packages) in folders {
        let trees: Vec<Digest> = packages.values().map(|(_, package)| package.tree).collect();
        let farm = context.store.farm(&trees)?;
        binds.push(Bind { source: farm.path().to_owned(), target: format!("/{target}").into(), writable: false });
        lying.extend(packages.into_values().map(|(_, package)| (package.purl.clone(), package.package)));
    }
    Ok((binds, lying))
}

/// Two lock files mean different bytes by one version of a package.
fn two(file: &str, first: &str, package: &Lying) -> LockFileError {
    let (name, version) = &package.id;
    LockFileError {
        file: file.to_owned(),
        line: None,
        what: format!("it and {first} have different bytes for {name} {version}, and a step can be given only one"),
        hints: vec!["build the two projects in stages of their own".to_owned()],
    }
}

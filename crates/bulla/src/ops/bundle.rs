//! Bundles for machines without a network: what goes into one, and what becomes of one.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    path::{Path, PathBuf},
};

use bulla_build::{
    bundle::{self, Contents, Imported},
    event::{Activity, ActivityId, Ending, Event},
    source,
};
use bulla_model::{
    CleanPath, Digest, Fault, Kind,
    lock::Lock,
    oci::{self, Manifest},
    spec::{Source, Trust},
};
use bulla_store::Store;

use super::{build, build::Wishes, project, project::Project};
use crate::{
    error::{CliError, Result},
    ops,
    registry::{Apt, Registry, SignedBy},
    remote::Tiers,
    session::Session,
};

/// Writes a bundle of a project, whose inputs are fetched first.
///
/// # Errors
/// When an input cannot be had, a file not be read, or the bundle not be written.
pub(crate) fn export(
    session: &Session,
    project: &Project,
    lock: &Lock,
    (sources, out): (bool, &mut dyn Write),
) -> Result<()> {
    let store = ops::store::open(session)?;
    let others = Tiers::open(session, project)?;
    build::fetch_for(session, &store, project, lock, others.as_ref())?;
    let mut inputs = inputs(&store, lock)?;
    let (mut pins, mut answers) = (BTreeMap::new(), BTreeSet::new());
    let size = |digest: Digest| {
        let blob = store.open_blob(&digest)?.ok_or(bundle::BundleError::Missing { digest })?;
        Ok::<u64, crate::error::CommandError>(blob.metadata().map_err(CliError::File)?.len())
    };
    if project.spec.stages.values().any(|stage| !stage.dependencies.is_empty()) {
        for had in build::fetch_all(session, project, lock, &Wishes::default())? {
            for answered in had.answers {
                inputs.insert(answered.blob, size(answered.blob)?);
                answers.insert(answered);
            }
            for (hashes, digest) in had.artifacts {
                inputs.insert(digest, size(digest)?);
                pins.extend(hashes.into_iter().map(|hash| (hash, digest)));
            }
        }
    }
    let contents = Contents {
        name: project.spec.name.to_string(),
        spec: file_name(&project.spec_path),
        documents: documents(project)?,
        files: if sources { files(project)? } else { BTreeMap::new() },
        inputs,
        pins,
        answers,
        keys: keys(session, lock)?,
    };
    told(session, "bundle: writing", || Ok(bundle::write(&store, contents, out)?))
}

fn told<T>(session: &Session, title: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let (observer, id, start) = (session.observer(), ActivityId::fresh(), std::time::Instant::now());
    observer.event(&Event::Started { id, activity: Activity::Export, title });
    let done = work();
    let ending = if done.is_ok() { Ending::Done } else { Ending::Failed };
    observer.event(&Event::Finished { id, ending, took: start.elapsed() });
    done
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Gives spec and lock as they are in the project, and the keys that the spec names there.
fn documents(project: &Project) -> Result<BTreeMap<CleanPath, Vec<u8>>> {
    let mut documents = BTreeMap::new();
    for path in [&project.spec_path, &project.lock_path] {
        let bytes = project::read(path, MAX_DOCUMENT)?.ok_or_else(|| CliError::NoSpec(path.clone()))?;
        documents.insert(CleanPath::parse(file_name(path)).map_err(bundle::BundleError::from)?, bytes);
    }
    for source in project.spec.sources.values() {
        if let Source::Url(url) = source
            && let Trust::Signature { key, .. } = &url.trust
            && let Some(bytes) = project::read(&project.folder.join(key), MAX_DOCUMENT)?
        {
            documents.insert(key.clone(), bytes);
        }
    }
    Ok(documents)
}

/// The most bytes of a spec, lock or file of keys.
const MAX_DOCUMENT: u64 = 256 << 20;

/// Gives the files of the project's own sources.
fn files(project: &Project) -> Result<BTreeMap<CleanPath, PathBuf>> {
    let mut files = BTreeMap::new();
    let top = fs_err::canonicalize(&project.folder).map_err(CliError::file)?;
    for (name, source) in &project.spec.sources {
        let Source::Folder(folder) = source else { continue };
        let listing = source::list(name.as_str(), &project.folder, folder)?;
        let inside = listing.folder.strip_prefix(&top).unwrap_or(Path::new(""));
        for file in &listing.files {
            use std::os::unix::ffi::OsStrExt;
            let path = inside.join(file);
            let path = CleanPath::parse(path.as_os_str().as_bytes()).map_err(bundle::BundleError::from)?;
            files.insert(path, listing.folder.join(file));
        }
    }
    Ok(files)
}

/// Gives all that a lock names, with what the manifests of images name.
fn inputs(store: &Store, lock: &Lock) -> Result<BTreeMap<Digest, u64>> {
    let mut inputs: BTreeMap<Digest, u64> =
        ops::fetch::inputs(lock).into_iter().map(|input| (input.digest, input.size)).collect();
    for pin in lock.images.values() {
        inputs.insert(pin.manifest, pin.size);
        let bytes = store.read_blob(&pin.manifest, oci::MAX_MANIFEST)?.unwrap_or_default();
        let Ok(manifest) = serde_json::from_slice::<Manifest>(&bytes) else { continue };
        inputs.extend(std::iter::once(&manifest.config).chain(&manifest.layers).map(|blob| (blob.digest, blob.size)));
    }
    Ok(inputs)
}

/// Gives the files of keys that may sign the indexes of the lock, beside Debian's own, which come with the program. An index
/// that this machine does not know has none.
fn keys(session: &Session, lock: &Lock) -> Result<BTreeMap<String, Vec<u8>>> {
    let registry = Registry::new(&session.config()?.debian, Apt::read(session)?);
    let mut keys = BTreeMap::new();
    let places = lock.indexes.keys().filter_map(|index| registry.suite(&index.suite).ok());
    let signers: Vec<SignedBy> = places.flat_map(|place| place.signed_by().cloned().collect::<Vec<_>>()).collect();
    for by in signers {
        let (name, bytes) = match by {
            SignedBy::File(path) => (file_name(&path), fs_err::read(&path).map_err(CliError::file)?),
            SignedBy::Inline(text) => ("key.asc".to_owned(), text.into_bytes()),
            SignedBy::Fingerprint(_) => continue,
        };
        let same = |known: &Vec<u8>| *known == bytes;
        let name = match keys.get(&name) {
            None => name,
            Some(known) if same(known) => continue,
            Some(_) => format!("{}-{name}", Digest::of(&bytes).short()),
        };
        keys.insert(name, bytes);
    }
    Ok(keys)
}

/// A bundle has not all that its lock names.
#[derive(Debug, thiserror::Error)]
#[error("the bundle lacks {count} of the inputs that its lock names, the first is {first}")]
struct Incomplete {
    count: usize,
    first: String,
}

impl Fault for Incomplete {
    fn kind(&self) -> Kind {
        Kind::Integrity
    }

    fn hints(&self) -> Vec<String> {
        vec!["get the bundle again, from who made it with `bulla store export`".into()]
    }
}

/// Takes a bundle: its inputs into the store, and the rest into a new folder, where one is named.
///
/// # Errors
/// When it is no bundle, not whole, or cannot be written.
pub(crate) fn import(session: &Session, file: &Path, into: Option<&Path>) -> Result<Imported> {
    let store = ops::store::open(session)?;
    let mut archive = fs_err::File::open(file).map_err(CliError::file)?;
    if !archive.metadata().map_err(CliError::file)?.is_file() {
        return Err(CliError::NotOwnFile { path: file.to_owned(), problem: "is not a regular file" }.into());
    }
    told(session, "bundle: reading", || {
        bundle::read(archive.file_mut(), &store, into, |project, imported| {
            session.interrupt.check()?;
            let lock = project.join(&imported.spec).with_extension("lock");
            let bytes = project::read(&lock, MAX_DOCUMENT)?.unwrap_or_default();
            let lock = Lock::parse_bytes(&bytes)?;
            whole(&store, &lock)
        })
    })
}

fn whole(store: &Store, lock: &Lock) -> Result<()> {
    let mut missing = Vec::new();
    for (digest, _) in inputs(store, lock)? {
        if !store.has_blob(&digest)? {
            missing.push(digest.to_string());
        }
    }
    match missing.first() {
        Some(first) => Err(Incomplete { count: missing.len(), first: first.clone() }.into()),
        None => Ok(()),
    }
}

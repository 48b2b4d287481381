//! Writes an OCI layout directory (image specification, `image-layout.md`).
//!
//! Blobs first, `index.json` last and in one stroke, and only then is removed what the new index does not lead to: whoever
//! reads the layout finds the old image or the new one. The folder is locked meanwhile, so that two builds take turns.

use std::{
    collections::BTreeSet,
    fs::{File, FileTimes},
    io::{self, Read, Write},
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, SystemTime},
};

use bulla_model::{
    Digest, Hasher,
    oci::{self, Descriptor, Index, LayoutMarker},
};
use bulla_store::Store;
use rustix::fs::FlockOperation;

use super::{ExportError, check_name};
use crate::assemble::Joined;

/// The modification time of blobs that were written here. A blob that has it, and its size, was not edited since.
const WRITTEN: Duration = Duration::from_secs(1);

/// Writes the image to a folder, which is made where it is missing. Under each of the names there is an entry in the index;
/// without names, one entry has none.
///
/// # Errors
/// When the folder holds something else, or cannot be written; when a blob is missing from the store.
pub fn layout(store: &Store, image: &Joined, folder: &Path, names: &[String]) -> Result<(), ExportError> {
    names.iter().try_for_each(|name| check_name(name))?;
    let blobs = folder.join("blobs/sha256");
    refuse_foreign(folder)?;
    std::fs::create_dir_all(&blobs).map_err(ExportError::io("making the folder", &blobs))?;
    let lock = File::open(folder).map_err(ExportError::io("opening", folder))?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive)
        .map_err(|error| ExportError::io("locking", folder)(error.into()))?;
    replace(folder, ".gitignore", b"*\n")?;
    replace(folder, "oci-layout", &oci::encode(&LayoutMarker::default()))?;
    let wanted = described(image);
    for blob in &wanted {
        put(store, blob, &blobs)?;
    }
    replace(folder, "index.json", &top_index(image, names))?;
    sweep(&blobs, &wanted.iter().map(|blob| blob.digest).collect())
}

/// Lists the blobs of an image, and of what refers to it.
pub(super) fn described(image: &Joined) -> Vec<Descriptor> {
    let mut blobs: Vec<Descriptor> = Vec::new();
    for part in &image.parts {
        blobs.extend(part.layers.iter().map(|layer| Descriptor::new(&layer.media_type, layer.digest, layer.size)));
        blobs.extend([part.config.clone(), part.manifest.clone()]);
    }
    blobs.push(image.index.clone());
    for attached in &image.attached {
        blobs.extend(attached.blobs.iter().cloned());
        blobs.push(attached.entry.clone());
    }
    let mut seen = BTreeSet::new();
    blobs.retain(|blob| seen.insert(blob.digest));
    blobs
}

/// Writes the `index.json` of a layout that holds an image under some names. What refers to the image stands behind it, without a name: the
/// specification of layouts says nothing of referrers, and this is where most programs look for them.
pub(super) fn top_index(image: &Joined, names: &[String]) -> Vec<u8> {
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort();
    sorted.dedup();
    let mut entries: Vec<Descriptor> = sorted
        .into_iter()
        .map(|name| {
            let mut entry = image.index.clone();
            entry.annotations.insert(oci::REF_NAME.to_owned(), name.clone());
            entry
        })
        .collect();
    if entries.is_empty() {
        entries.push(image.index.clone());
    }
    entries.extend(image.attached.iter().map(|attached| attached.entry.clone()));
    oci::encode(&Index::new(entries))
}

/// Refuses a folder that has something in it and is no layout: it is the user's.
pub(super) fn refuse_foreign(folder: &Path) -> Result<(), ExportError> {
    let mut entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(ExportError::io("reading", folder)(error)),
    };
    // A build that was killed early leaves only what is made before `oci-layout`.
    let own = |name: &std::ffi::OsStr| {
        name == ".gitignore" || name == "blobs" || name.to_str().is_some_and(|name| name.starts_with(".bulla-"))
    };
    let is_layout = folder.join("oci-layout").exists();
    let foreign = entries.any(|entry| entry.is_ok_and(|entry| !own(&entry.file_name())));
    if is_layout || !foreign { Ok(()) } else { Err(ExportError::Foreign { path: folder.to_owned() }) }
}

/// Replaces a small file in one stroke; leaves it alone where it is the same.
pub(super) fn replace(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), ExportError> {
    let path = folder.join(name);
    let is_file = std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_file());
    if is_file && std::fs::read(&path).is_ok_and(|found| found == bytes) {
        return Ok(());
    }
    let write = || {
        let mut file = tempfile::Builder::new().prefix(".bulla-").permissions(readable()).tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.persist(&path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(ExportError::io("writing", path))
}

/// The permissions of what is written: everyone may read it, as far as the user's mask lets them.
pub(super) fn readable() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o666)
}

fn put(store: &Store, blob: &Descriptor, folder: &Path) -> Result<(), ExportError> {
    let path = folder.join(blob.digest.hex());
    if is_there(&path, blob) {
        return Ok(());
    }
    // The store copies or reflinks beside the place and renames; a hard link would let an edit reach the store.
    if !store.export_blob_to(&blob.digest, &path)? {
        return Err(ExportError::Missing { digest: blob.digest });
    }
    mark(&path).map_err(ExportError::io("dating", path))
}

/// Says whether a blob is there already: by size and date, else by its bytes.
pub(super) fn is_there(path: &Path, blob: &Descriptor) -> bool {
    let Ok(found) = std::fs::symlink_metadata(path) else { return false };
    if !found.is_file() || found.len() != blob.size {
        return false;
    }
    if found.mtime() == WRITTEN.as_secs().cast_signed() && found.mtime_nsec() == 0 {
        return true;
    }
    digest_of(path).is_ok_and(|digest| digest == blob.digest) && mark(path).is_ok()
}

fn digest_of(path: &Path) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(buffer.get(..count).unwrap_or_default()),
        }
    }
}

pub(super) fn mark(path: &Path) -> io::Result<()> {
    let written = SystemTime::UNIX_EPOCH + WRITTEN;
    File::open(path)?.set_times(FileTimes::new().set_modified(written).set_accessed(written))
}

/// Removes blobs of earlier images, and what a killed build left.
fn sweep(blobs: &Path, wanted: &BTreeSet<Digest>) -> Result<(), ExportError> {
    let entries = std::fs::read_dir(blobs).map_err(ExportError::io("reading", blobs))?;
    for entry in entries {
        let entry = entry.map_err(ExportError::io("reading", blobs))?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        let stale = match Digest::from_hex(&text) {
            Ok(digest) => !wanted.contains(&digest),
            Err(_) => text.starts_with(".bulla-"),
        };
        if stale {
            std::fs::remove_file(entry.path()).map_err(ExportError::io("removing", entry.path()))?;
        }
    }
    Ok(())
}

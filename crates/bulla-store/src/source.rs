//! Local sources: read once while they are hashed, and afterwards only examined.
//!
//! `sources/HEX/` belongs to one source of one project at one epoch. `table` is the sealed list of what each file of the
//! project looked like to `stat` when it was read, with the digest of the `manifest`; when nothing looks different, the source
//! is that manifest, and nothing is read. `objects/` has an inode for each path, mode and content that was ever read (equal
//! files at different paths are different inodes, as in a checkout); `receipt` has their stamps. A view is a farm of some of
//! the objects.

mod read;
mod table;
mod view;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use bulla_model::{CleanPath, Digest, Epoch, Tree, path::MAX_PATH};

pub use view::SourceView;

pub(crate) use table::Objects;

use crate::{
    dir::Dir,
    error::{Error, Result},
    key::Domain,
    lease::Item,
    lock::{Lock, Name},
    source::table::Table,
    stamp::Stamp,
    store::{Inner, Store, make_dir},
};

/// The most bytes that a table, a manifest or a receipt of a source may have.
const MAX_TABLE: u64 = 4 << 30;

/// What the store knows of one source of one project.
#[derive(Debug)]
pub struct SourceCache {
    inner: Arc<Inner>,
    id: Digest,
    place: Dir,
    objects: Dir,
    epoch: Epoch,
}

/// A source as it was just now.
#[derive(Debug, Clone)]
pub struct Source {
    digest: Digest,
    folder: PathBuf,
    place: Arc<Path>,
    manifest: OnceLock<Arc<Tree>>,
    table: Arc<Table>,
}

/// What `stat` said of a file or link of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileLook {
    /// The device.
    pub device: u64,
    /// The inode.
    pub inode: u64,
    /// The size in bytes.
    pub size: u64,
    /// When it was written last: seconds since 1970, and nanoseconds.
    pub mtime: (i64, u32),
    /// When it was changed last in any way: seconds since 1970, and nanoseconds.
    pub ctime: (i64, u32),
}

/// What a source looked like when it was read last, and whether it still did a moment ago.
#[derive(Debug)]
pub struct Examined {
    table: Option<Table>,
    same: bool,
}

impl Source {
    /// Gives the digest of the manifest.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Gives what every file and link looked like, in the order of paths.
    pub fn looks(&self) -> impl Iterator<Item = (&CleanPath, FileLook)> {
        self.table.rows.iter().filter(|(_, look)| !look.is_directory).map(|(path, look)| {
            let stamp = &look.stamp;
            let (mtime, ctime) = ((look.mtime, look.mtime_ns), (stamp.ctime, stamp.ctime_ns));
            (path, FileLook { device: stamp.dev, inode: stamp.ino, size: stamp.size, mtime, ctime })
        })
    }

    /// Gives the manifest: modes 0644 and 0755, everything of root. When nothing had changed it is read from the store now.
    ///
    /// # Errors
    /// When it cannot be read, or does not verify.
    pub fn manifest(&self) -> Result<Arc<Tree>> {
        if let Some(tree) = self.manifest.get() {
            return Ok(Arc::clone(tree));
        }
        let place = Dir::open(&self.place).map_err(|e| Error::io("opening", &self.place, e))?;
        let tree = read_manifest(&place, &self.digest)?.ok_or_else(|| {
            let problem = "the manifest of the source is not what it was".to_owned();
            Error::Damaged { digest: self.digest, problem }
        })?;
        Ok(Arc::clone(self.manifest.get_or_init(|| Arc::new(tree))))
    }
}

fn read_manifest(place: &Dir, digest: &Digest) -> Result<Option<Tree>> {
    let text = place.read_all(manifest_name(digest), MAX_TABLE);
    let text = text.map_err(|e| Error::io("reading the manifest", place.path(), e))?;
    Ok(text
        .filter(|text| Digest::of(text) == *digest)
        .and_then(|text| Tree::decode(std::str::from_utf8(&text).ok()?).ok()))
}

fn manifest_name(digest: &Digest) -> String {
    format!("manifest-{}", digest.hex())
}

impl SourceCache {
    /// Opens what is known of the source `name` of the project at `project` (an absolute path). Its files get the time
    /// `epoch` in the store.
    ///
    /// # Errors
    /// When the folders cannot be made.
    pub fn open(store: &Store, project: &Path, name: &str, epoch: Epoch) -> Result<Self> {
        let inner = Arc::clone(&store.0);
        let mut text = b"bulla-source 1\0".to_vec();
        text.extend_from_slice(std::os::unix::ffi::OsStrExt::as_bytes(project.as_os_str()));
        text.extend_from_slice(format!("\0{name}\0{}", epoch.seconds()).as_bytes());
        let id = Digest::of(text);
        inner.lease(Item::Source, &id)?;
        for path in [id.hex(), format!("{}/objects", id.hex())] {
            match make_dir(&inner.sources, &path, 0o700, inner.owner) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => {
                    return Err(Error::io("making the directory", inner.sources.path().join(path), error));
                }
            }
        }
        let place = inner.sources.sub(id.hex())?;
        let objects = place.sub("objects")?;
        Ok(Self { inner, id, place, objects, epoch })
    }

    /// Reads a source: the files, links and empty directories `files` (relative paths, none of them beneath a file or link)
    /// below `folder`. What looks as it did when it was read last is not read again; but what was written in the very
    /// moment in which it was read last is, as in git.
    ///
    /// # Errors
    /// [`Error::SourceSpecial`] for FIFOs, sockets and devices, [`Error::SourceChanged`] for files that go on changing or
    /// vanish, [`Error::SourceShape`] for paths through a link; and when the store cannot be written.
    pub fn ingest(&self, folder: &Path, files: &[CleanPath]) -> Result<Source> {
        self.ingest_examined(folder, files, self.examine(folder)?)
    }

    /// Looks whether the paths of the last time are as they were. It does not need the list of today's files, and so can go
    /// on while that is made.
    ///
    /// # Errors
    /// When the folder or a file cannot be examined.
    pub fn examine(&self, folder: &Path) -> Result<Examined> {
        let root = Dir::open(folder).map_err(|e| Error::io("opening the source", folder, e))?;
        let table = self.table();
        let same = match &table {
            Some(table) => self.is_unchanged(&root, table)?,
            None => false,
        };
        Ok(Examined { table, same })
    }

    /// As [`SourceCache::ingest`], after the files of the last time were examined.
    ///
    /// # Errors
    /// As there.
    pub fn ingest_examined(&self, folder: &Path, files: &[CleanPath], examined: Examined) -> Result<Source> {
        let Examined { table, same } = examined;
        let known = match table {
            Some(known) if same && known.has_paths(files) => return Ok(self.source(folder, known, None)),
            known => known,
        };
        let started = (self.inner.clock)();
        let root = Dir::open(folder).map_err(|e| Error::io("opening the source", folder, e))?;
        let mut sorted = files.to_vec();
        sorted.sort();
        sorted.dedup();
        self.read_again(&root, &sorted, known, started)
    }

    fn source(&self, folder: &Path, table: Table, manifest: Option<Tree>) -> Source {
        let slot = OnceLock::new();
        if let Some(manifest) = manifest {
            let _ = slot.set(Arc::new(manifest));
        }
        let (digest, place) = (table.digest, self.place.path().into());
        Source { digest, folder: folder.to_owned(), place, manifest: slot, table: Arc::new(table) }
    }

    /// Gives the table, when this store sealed it and its manifest is there.
    fn table(&self) -> Option<Table> {
        read_table(&self.inner, &self.id, &self.place)
    }

    fn write_table(&self, table: &Table, manifest: &str) -> Result<()> {
        self.inner.put(&self.place, &manifest_name(&table.digest), manifest.as_bytes(), 0o444)?;
        let sealed = self.inner.key.seal(Domain::SourceTable, &self.id, &table.encode());
        self.inner.put(&self.place, "table", &sealed, 0o600)
    }

    /// Gives the stamps of the objects; none when the receipt does not verify.
    fn object_stamps(&self) -> Objects {
        object_stamps(&self.inner, &self.id)
    }

    fn write_objects(&self, _lock: &Lock, objects: &Objects) -> Result<()> {
        let sealed = self.inner.key.seal(Domain::SourceObjects, &self.id, &objects.encode());
        self.inner.put(&self.place, "receipt", &sealed, 0o600)
    }

    /// Adds the stamps of objects that were just written to the receipt.
    fn add_objects(&self, new: Vec<(Digest, Stamp)>) -> Result<()> {
        let lock = Lock::exclusive(&self.inner.root, Name::Receipts)?;
        let mut objects = self.object_stamps();
        objects.0.extend(new);
        self.write_objects(&lock, &objects)
    }

    /// Hashes an object that its receipt does not cover; gives its stamp when it has the content.
    fn rehash(&self, key: &Digest, content: &Digest) -> Result<Option<Stamp>> {
        let Ok(Some(mut object)) = self.objects.read(key.hex()) else { return Ok(None) };
        let failed = |e: std::io::Error| Error::io("reading", self.objects.path().join(key.hex()), e);
        let before = Stamp::of(&rustix::fs::fstat(&object).map_err(|e| failed(e.into()))?);
        let found = crate::blob::hash(&mut object).map_err(failed)?;
        let after = Stamp::of(&rustix::fs::fstat(&object).map_err(|e| failed(e.into()))?);
        Ok((found.0 == *content && before == after).then_some(after))
    }

    /// Forgets what files looked like, so that all are read again.
    fn forget(&self) -> Result<()> {
        self.inner.expel(&self.place, "table")
    }
}

fn read_table(inner: &Inner, id: &Digest, place: &Dir) -> Option<Table> {
    let bytes = place.read_all("table", MAX_TABLE).ok()??;
    let table = Table::decode(inner.key.unseal(Domain::SourceTable, id, &bytes)?);
    table.filter(|table| crate::dir::stat_at(place, manifest_name(&table.digest)).is_ok())
}

/// Gives digest and manifest of a source as it was read last; nothing where that does not verify.
pub(crate) fn current(inner: &Inner, id: &Digest, place: &Dir) -> (Option<Digest>, Tree) {
    let digest = read_table(inner, id, place).map(|table| table.digest);
    let manifest = digest.and_then(|digest| read_manifest(place, &digest).ok().flatten());
    (digest, manifest.unwrap_or_default())
}

/// Names the object of a path, mode and content.
pub(crate) fn object_key(path: &CleanPath, executable: bool, content: &Digest) -> Digest {
    let mut text = Vec::with_capacity(MAX_PATH.min(path.as_bytes().len()) + 34);
    text.push(u8::from(executable));
    text.extend_from_slice(content.as_bytes());
    text.extend_from_slice(path.as_bytes());
    Digest::of(text)
}

/// Gives the stamps of the objects of a source; none when the receipt does not verify.
pub(crate) fn object_stamps(inner: &Inner, id: &Digest) -> Objects {
    let read = || {
        let bytes = inner.sources.read_all(format!("{}/receipt", id.hex()), MAX_TABLE).ok()??;
        Objects::decode(inner.key.unseal(Domain::SourceObjects, id, &bytes)?)
    };
    read().unwrap_or_default()
}

/// Writes the receipt of a source's objects.
pub(crate) fn write_object_stamps(inner: &Inner, _lock: &Lock, id: &Digest, objects: &Objects) -> Result<()> {
    let sealed = inner.key.seal(Domain::SourceObjects, id, &objects.encode());
    inner.put(&inner.sources.sub(id.hex())?, "receipt", &sealed, 0o600)
}

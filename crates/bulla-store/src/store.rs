//! Opening a store: its layout, its checks, and the few primitives that every part of it writes with.
//!
//! ```text
//! version            the layout's number
//! blobs/HEX          artifacts and layers, read-only files
//! partial/HEX        downloads that are not complete
//! trees/HEX/         manifest, root/
//! farms/HEX/root/    merged hardlink farms and source views
//! sources/HEX/       what was read of one source of one project
//! actions/HEX        sealed results
//! receipts/          sealed receipts: b-HEX, t-HEX, f-HEX; their times say when the thing was last used
//! scratch/ID/        what the process with the lease ID is making
//! leases/ID          locked while the process lives; names what it uses
//! locks/             gc, receipts
//! index.sqlite       the builds, for people
//! ```
//!
//! Everything is made in `scratch/` and renamed into its place, so a process that is killed leaves nothing half-written.
//! Nothing is synced to the disk: after a power cut a file may be short or empty, but then its inode's receipt is missing
//! or differs, the bytes are hashed again, and what does not verify is a miss.

use std::{
    collections::BTreeSet,
    fs::File,
    io::Write as _,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{DirBuilderExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use bulla_model::{Digest, tree::Owner};
use rustix::{
    fs::{AtFlags, Gid, Mode as Bits, OFlags, RenameFlags, Uid},
    io::Errno,
};

use crate::{
    dir::{self, Dir},
    error::{Error, Result},
    key::Key,
    lease::Lease,
};

/// The layout that this version reads and writes.
pub(crate) const VERSION: &str = "bulla-store 1";
/// The folders of the layout.
const FOLDERS: [&str; 10] =
    ["blobs", "partial", "trees", "farms", "sources", "actions", "caches", "receipts", "scratch", "leases"];

/// Tells what the user should know of the store: something did not verify and was taken as a miss.
pub type OnWarning = Arc<dyn Fn(&str) + Send + Sync>;

/// How to open a store.
#[derive(Clone)]
pub struct Options {
    /// The root folder; made where it does not exist. Its parent may be anything, itself it is no symbolic link.
    pub root: PathBuf,
    /// The file with the key that authenticates records; made (0600) where it does not exist. Not beneath the root.
    pub key_file: PathBuf,
    /// The user and group that everything in the store belongs to, when the process is root.
    pub service_owner: Option<Owner>,
    /// Tells the time: when things were last used, for garbage collection.
    pub clock: fn() -> SystemTime,
    /// Called with each warning, from any thread. Without it they wait for [`Store::warnings`].
    pub on_warning: Option<OnWarning>,
}

impl Options {
    /// Opens `root` with the key `key_file`, as the user that the process runs as.
    pub fn new(root: impl Into<PathBuf>, key_file: impl Into<PathBuf>, clock: fn() -> SystemTime) -> Self {
        Self { root: root.into(), key_file: key_file.into(), service_owner: None, clock, on_warning: None }
    }
}

/// An open store. Cheap to clone; clones share one lease, which ends with the last of them.
#[derive(Clone)]
pub struct Store(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) root: Dir,
    pub(crate) blobs: Dir,
    pub(crate) partial: Dir,
    pub(crate) trees: Dir,
    pub(crate) farms: Dir,
    pub(crate) sources: Dir,
    pub(crate) actions: Dir,
    pub(crate) caches: Dir,
    pub(crate) receipts: Dir,
    pub(crate) all_scratch: Dir,
    pub(crate) leases: Dir,
    pub(crate) scratch: Dir,
    pub(crate) lease: Lease,
    pub(crate) key: Key,
    pub(crate) owner: Option<Owner>,
    pub(crate) clock: fn() -> SystemTime,
    counter: AtomicU64,
    warnings: Mutex<Vec<String>>,
    on_warning: Option<OnWarning>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("root", &self.0.root.path()).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens a store, making it where there is none, and clears away what dead processes left.
    ///
    /// # Errors
    /// When the root is a symbolic link, belongs to another user or is open to others, has another layout or is not a
    /// store; when the key cannot be used or lies in the store; when the file system is read-only or full.
    pub fn open(options: Options) -> Result<Self> {
        let owner = options.service_owner.filter(|_| rustix::process::geteuid().is_root());
        let root = open_root(&options.root, owner)?;
        if options.key_file.starts_with(root.path()) || options.key_file.starts_with(&options.root) {
            return Err(Error::Key { path: options.key_file, reason: "it lies in the store that it protects" });
        }
        let key = Key::open(&options.key_file, owner)?;
        lay_out(&root, owner)?;
        let leases = root.sub("leases")?;
        let all_scratch = root.sub("scratch")?;
        let lease = Lease::take(&root, &leases, owner)?;
        make_dir(&all_scratch, &lease.id, 0o700, owner)
            .map_err(|e| Error::io("making the directory", all_scratch.path().join(&lease.id), e))?;
        let inner = Inner {
            blobs: root.sub("blobs")?,
            partial: root.sub("partial")?,
            trees: root.sub("trees")?,
            farms: root.sub("farms")?,
            sources: root.sub("sources")?,
            actions: root.sub("actions")?,
            caches: root.sub("caches")?,
            receipts: root.sub("receipts")?,
            scratch: all_scratch.sub(&lease.id)?,
            root,
            all_scratch,
            leases,
            lease,
            key,
            owner,
            clock: options.clock,
            counter: AtomicU64::new(0),
            warnings: Mutex::default(),
            on_warning: options.on_warning,
        };
        inner.clear_the_dead();
        Ok(Self(Arc::new(inner)))
    }

    /// Gives the absolute path of the root.
    pub fn root(&self) -> &Path {
        self.0.root.path()
    }

    /// Gives a digest of bytes by the store's key: the same for the same bytes, and nothing can be tried out with it without
    /// the key.
    pub fn fingerprint(&self, bytes: &[u8]) -> Digest {
        self.0.key.fingerprint(bytes)
    }

    /// Takes the warnings that came up since the last call.
    pub fn warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.warnings.lock().expect("no thread panics while it holds the warnings"))
    }

    /// Makes an empty folder (0700) on the file system of the store, for an overlay's upper and work folders and the like.
    /// It is removed with all in it when the value is dropped, or when the process is dead.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn scratch(&self, purpose: &str) -> Result<Scratch> {
        Scratch::new(&self.0, purpose)
    }
}

/// A folder that is removed, with all in it, when the value is dropped.
pub struct Scratch {
    inner: Arc<Inner>,
    name: String,
    path: PathBuf,
}

impl Scratch {
    pub(crate) fn new(inner: &Arc<Inner>, purpose: &str) -> Result<Self> {
        let name = inner.fresh(purpose);
        let path = inner.scratch.path().join(&name);
        make_dir(&inner.scratch, &name, 0o700, inner.owner).map_err(|e| Error::io("making the directory", &path, e))?;
        Ok(Self { inner: Arc::clone(inner), name, path })
    }

    /// Gives the absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a folder in it, and gives its absolute path.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn folder(&self, name: &str, mode: u32) -> Result<PathBuf> {
        let path = self.path.join(name);
        let dir = self.inner.scratch.sub(&self.name)?;
        make_dir(&dir, name, mode, self.inner.owner).map_err(|e| Error::io("making the directory", &path, e))?;
        Ok(path)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Opens a folder in it.
    pub(crate) fn sub(&self, name: &str) -> Result<Dir> {
        self.inner.scratch.sub(&self.name)?.sub(name)
    }
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scratch").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next process that opens the store.
        let _ = dir::remove_all(&self.inner.scratch, &self.name);
    }
}

impl Inner {
    pub(crate) fn warn(&self, message: String) {
        match &self.on_warning {
            Some(tell) => tell(&message),
            None => self.warnings.lock().expect("no thread panics while it holds the warnings").push(message),
        }
    }

    /// Opens a directory of the store by its absolute path, through no link.
    pub(crate) fn within(&self, path: &Path) -> Result<Dir> {
        let inside = path.strip_prefix(self.root.path()).map_err(|_| Error::io("opening", path, Errno::XDEV))?;
        self.root.sub(inside)
    }

    /// Gives a name that nothing in this process's scratch folder has.
    pub(crate) fn fresh(&self, purpose: &str) -> String {
        let purpose: String = purpose.chars().filter(char::is_ascii_alphanumeric).take(32).collect();
        format!("{purpose}-{}", self.counter.fetch_add(1, Ordering::Relaxed))
    }

    /// Makes a file in the scratch folder, and gives its name there.
    pub(crate) fn draft(&self, purpose: &str, mode: u32) -> Result<(String, File)> {
        let name = self.fresh(purpose);
        let file = make_file(&self.scratch, &name, mode, self.owner)
            .map_err(|e| Error::io("making the file", self.scratch.path().join(&name), e))?;
        Ok((name, file))
    }

    /// Writes a file whole: in scratch, then renamed over what is there.
    pub(crate) fn put(&self, to: &Dir, name: &str, bytes: &[u8], mode: u32) -> Result<()> {
        let (draft, mut file) = self.draft("put", mode)?;
        let written = file.write_all(bytes).map_err(|e| Error::io("writing", to.path().join(name), e));
        written.and_then(|()| self.place(&draft, to, name)).inspect_err(|_| self.discard(&draft))
    }

    /// Renames something from scratch to its place, over a file that may be there.
    pub(crate) fn place(&self, draft: &str, to: &Dir, name: &str) -> Result<()> {
        rustix::fs::renameat(&self.scratch, draft, to, name)
            .map_err(|e| Error::io("putting in its place", to.path().join(name), e))
    }

    /// Renames a directory from scratch to its place; false when something is there already.
    pub(crate) fn place_new(&self, draft: &str, to: &Dir, name: &str) -> Result<bool> {
        match rustix::fs::renameat_with(&self.scratch, draft, to, name, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST | Errno::NOTEMPTY) => Ok(false),
            Err(error) => Err(Error::io("putting in its place", to.path().join(name), error)),
        }
    }

    /// Takes something out of its place at once, then removes it.
    pub(crate) fn expel(&self, from: &Dir, name: &str) -> Result<()> {
        let trash = self.fresh("trash");
        match rustix::fs::renameat(from, name, &self.scratch, &trash) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(Error::io("removing", from.path().join(name), error)),
        }
        self.discard(&trash);
        Ok(())
    }

    /// Removes something from scratch; what cannot be removed goes with the scratch folder.
    pub(crate) fn discard(&self, draft: &str) {
        let _ = dir::remove_all(&self.scratch, draft);
    }

    /// Notes that a thing was used now: the time of its receipt.
    pub(crate) fn touch(&self, dir: &Dir, name: &str) {
        let now = timespec((self.clock)());
        let times = rustix::fs::Timestamps { last_access: now, last_modification: now };
        // A missing receipt, or a failure, only makes the thing look older to the garbage collection.
        let _ = rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let _ = dir::remove_all(&self.all_scratch, &self.lease.id);
        let _ = rustix::fs::unlinkat(&self.leases, self.lease.id.as_str(), AtFlags::empty());
    }
}

pub(crate) fn timespec(time: SystemTime) -> rustix::fs::Timespec {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    rustix::fs::Timespec { tv_sec: since.as_secs().cast_signed(), tv_nsec: since.subsec_nanos().into() }
}

/// Makes a directory with exactly this mode.
pub(crate) fn make_dir(
    dir: impl AsFd,
    name: impl AsRef<Path>,
    mode: u32,
    owner: Option<Owner>,
) -> rustix::io::Result<()> {
    let name = name.as_ref();
    rustix::fs::mkdirat(&dir, name, Bits::from_raw_mode(0o700))?;
    let fd = dir::open_at(&dir, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW, 0)?;
    settle(&fd, mode, owner)
}

/// Makes a file with exactly this mode; fails where something is already.
pub(crate) fn make_file(
    dir: impl AsFd,
    name: impl AsRef<Path>,
    mode: u32,
    owner: Option<Owner>,
) -> rustix::io::Result<File> {
    let file = make_draft(dir, name)?;
    settle(&file, mode, owner)?;
    Ok(file)
}

/// Makes a file that only its owner may use until [`settle`] is called; fails where something is already.
pub(crate) fn make_draft(dir: impl AsFd, name: impl AsRef<Path>) -> rustix::io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    dir::open_at(dir, name, flags, 0o600).map(File::from)
}

/// Sets owner and then mode, for a change of owner clears the set-id bits.
pub(crate) fn settle(fd: impl AsFd, mode: u32, owner: Option<Owner>) -> rustix::io::Result<()> {
    if let Some(owner) = owner {
        rustix::fs::fchown(&fd, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))?;
    }
    rustix::fs::fchmod(fd, Bits::from_raw_mode(mode))
}

fn open_root(path: &Path, owner: Option<Owner>) -> Result<Dir> {
    if std::fs::symlink_metadata(path).is_ok_and(|m| m.is_symlink()) {
        return Err(Error::SymlinkedRoot { path: path.to_owned() });
    }
    let made = !path.exists();
    if made {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|e| Error::io("making the store", path, e))?;
    }
    let path = std::fs::canonicalize(path).map_err(|e| Error::io("finding the store", path, e))?;
    let root = Dir::open(&path).map_err(|e| Error::io("opening the store", &path, e))?;
    let metadata = std::fs::metadata(&path).map_err(|e| Error::io("examining the store", &path, e))?;
    let me = rustix::process::geteuid().as_raw();
    let expected = owner.map_or(me, |owner| owner.uid);
    let empty = root.names()?.is_empty();
    if empty && metadata.uid() == me {
        settle(&root, 0o700, owner).map_err(|e| Error::io("making the store private", &path, e))?;
    } else if metadata.uid() != expected || metadata.mode() & 0o022 != 0 {
        let mode = metadata.mode() & 0o7777;
        return Err(Error::Foreign { path, found: metadata.uid(), expected, mode });
    }
    Ok(root)
}

/// Makes what is missing of the layout, after the version was found to be ours.
fn lay_out(root: &Dir, owner: Option<Owner>) -> Result<()> {
    let fail = |e: Errno| Error::io("reading the version of the store", root.path().join("version"), e);
    match root.read_all("version", 4096).map_err(fail)? {
        Some(text) if text.strip_suffix(b"\n") == Some(VERSION.as_bytes()) => {}
        Some(text) if !text.is_empty() => {
            let found = bulla_model::path::printable(text.get(..text.len().min(40)).unwrap_or_default());
            return Err(Error::Version { path: root.path().to_owned(), found, expected: VERSION });
        }
        _ => {
            let ours: BTreeSet<&[u8]> =
                FOLDERS.iter().map(|n| n.as_bytes()).chain([b"locks".as_slice(), b"version", b"version.new"]).collect();
            if root.names()?.iter().any(|name| !ours.contains(name.as_slice())) {
                return Err(Error::NotAStore { path: root.path().to_owned() });
            }
            write_version(root, owner)?;
        }
    }
    for folder in FOLDERS.iter().chain(&["locks"]) {
        match make_dir(root, folder, 0o700, owner) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(Error::io("making the directory", root.path().join(folder), error)),
        }
    }
    for lock in ["locks/gc", "locks/receipts", "locks/caches"] {
        match make_file(root, lock, 0o600, owner) {
            Ok(_) | Err(Errno::EXIST) => {}
            Err(error) => return Err(Error::io("making the lock", root.path().join(lock), error)),
        }
    }
    Ok(())
}

fn write_version(root: &Dir, owner: Option<Owner>) -> Result<()> {
    let fail = |e: std::io::Error| Error::io("writing the version of the store", root.path().join("version"), e);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW;
    let fd: OwnedFd = dir::open_at(root, "version.new", flags, 0o600).map_err(|e| fail(e.into()))?;
    settle(&fd, 0o600, owner).map_err(|e| fail(e.into()))?;
    File::from(fd).write_all(format!("{VERSION}\n").as_bytes()).map_err(fail)?;
    match rustix::fs::renameat(root, "version.new", root, "version") {
        // Another process made the store at the same moment.
        Err(Errno::NOENT) if root.read_all("version", 4096).is_ok_and(|text| text.is_some()) => Ok(()),
        other => other.map_err(|e| fail(e.into())),
    }
}

/// Gives the name of a receipt.
pub(crate) fn receipt_name(letter: char, digest: &Digest) -> String {
    format!("{letter}-{}", digest.hex())
}

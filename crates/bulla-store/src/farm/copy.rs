//! Copies layers to one writable directory, for hosts that refuse overlays.
//!
//! Every name gets an inode of its own, also where names are hard links below: a step that writes to one of them changes
//! that one alone, as it would over an overlay.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::{Path, PathBuf},
};

use bulla_model::{CleanPath, Epoch, Tree, tree::Node};
use rustix::{
    fs::{AtFlags, Mode as Bits, OFlags, Stat, Timespec, Timestamps},
    io::Errno,
};

use crate::{
    blob,
    dir::{self, Dir},
    error::{Error, Result},
    parallel,
    stamp::Stamp,
    store::{Inner, Scratch, Store, make_dir, make_draft, settle},
};

/// Inodes whose time of change is so near to the end of the copying (in nanoseconds) are examined again later: a change
/// within the same tick of the kernel's clock would not show.
const TICK: i128 = 20_000_000;

/// A directory of the store that was checked, with its manifest.
#[derive(Debug, Clone, Copy)]
pub struct Layer<'a> {
    /// The absolute path.
    pub path: &'a Path,
    /// What it has; whiteouts and opaque directories hide what lower layers have.
    pub manifest: &'a Tree,
}

/// A writable copy of layers, which is removed when the value is dropped.
#[derive(Debug)]
pub struct RootCopy {
    pub(crate) scratch: Scratch,
    /// The regular files as they were when the copy was made.
    stamps: HashMap<CleanPath, Stamp>,
    /// Stamps before this time of change tell whether a file was changed, in nanoseconds since 1970.
    certain: i128,
}

impl RootCopy {
    /// Gives the absolute path of the copy, which becomes the root.
    pub fn path(&self) -> PathBuf {
        self.scratch.path().join("root")
    }

    /// Gives files of the copy another time.
    ///
    /// # Errors
    /// When one of them is not there.
    pub fn set_times(&self, files: &BTreeSet<CleanPath>, time: Epoch) -> Result<()> {
        let root = self.scratch.sub("root")?;
        let at = Timespec { tv_sec: time.seconds().cast_signed(), tv_nsec: 0 };
        let times = Timestamps { last_access: at, last_modification: at };
        files.iter().try_for_each(|path| {
            let path: &Path = path.as_ref();
            rustix::fs::utimensat(&root, path, &times, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|e| Error::io("setting the time of", root.path().join(path), e))
        })
    }

    /// Says whether a file is certainly as it was copied.
    pub(crate) fn is_untouched(&self, path: &CleanPath, stat: &Stat) -> bool {
        let now = Stamp::of(stat);
        changed_at(&now) < self.certain && self.stamps.get(path) == Some(&now)
    }
}

impl Store {
    /// Copies what layers show together, the lowest first, to a writable scratch folder: by reflink where the file system
    /// can, with physical modes and times.
    ///
    /// # Errors
    /// When a layer lies outside the store, or something cannot be copied.
    pub fn copy_root(&self, layers: &[Layer<'_>]) -> Result<RootCopy> {
        let inner = &self.0;
        let from = layers.iter().map(|layer| inner.within(layer.path)).collect::<Result<Vec<Dir>>>()?;
        let scratch = Scratch::new(inner, "copy")?;
        scratch.folder("root", 0o755)?;
        let to = inner.scratch.sub(Path::new(scratch.name()).join("root"))?;
        let (mut directories, mut others) = (Vec::new(), Vec::new());
        for (path, (number, node)) in shown(layers) {
            let Some(from) = from.get(number) else { continue };
            if node.is_directory() {
                make_dir(&to, path, 0o700, inner.owner).map_err(|e| failed(&to, path, e))?;
                directories.push((path, from));
            } else {
                others.push((path, from));
            }
        }
        let stamps =
            parallel::map(&others, |(path, from)| copy(inner, from, &to, path).map_err(|e| failed(&to, path, e)))?;
        for (path, from) in directories.into_iter().rev() {
            finish_directory(from, &to, path).map_err(|e| failed(&to, path, e))?;
        }
        let stamps: HashMap<CleanPath, Stamp> =
            others.into_iter().zip(stamps).filter_map(|((path, _), stamp)| Some((path.clone(), stamp?))).collect();
        let certain = stamps.values().map(changed_at).max().unwrap_or(0) - TICK;
        Ok(RootCopy { scratch, stamps, certain })
    }
}

fn changed_at(stamp: &Stamp) -> i128 {
    i128::from(stamp.ctime) * 1_000_000_000 + i128::from(stamp.ctime_ns)
}

fn failed(to: &Dir, path: &CleanPath, errno: Errno) -> Error {
    Error::io("copying", to.path().join(path), errno)
}

/// Finds for each path that shows the layer that it comes from.
fn shown<'a>(layers: &[Layer<'a>]) -> BTreeMap<&'a CleanPath, (usize, &'a Node)> {
    let mut shown: BTreeMap<&CleanPath, (usize, &Node)> = BTreeMap::new();
    for (number, layer) in layers.iter().enumerate() {
        for (path, node) in layer.manifest.iter() {
            let over_directory = shown.get(path).is_some_and(|(_, node)| node.is_directory());
            if over_directory && !matches!(node, Node::Directory { opaque: false, .. }) {
                let beneath = shown
                    .range::<&CleanPath, _>(path..)
                    .map(|(path, _)| *path)
                    .take_while(|inner| inner.starts_with(path));
                for gone in beneath.collect::<Vec<_>>() {
                    shown.remove(gone);
                }
            }
            match node {
                Node::Whiteout => shown.remove(path),
                _ => shown.insert(path, (number, node)),
            };
        }
    }
    shown
}

/// Copies a file or a link; gives the stamp of a file.
pub(crate) fn copy(inner: &Inner, from: &Dir, to: &Dir, path: &CleanPath) -> rustix::io::Result<Option<Stamp>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let source = match dir::open_at(from, path, flags, 0) {
        Ok(source) => source,
        Err(Errno::LOOP) => return copy_link(inner, from, to, path).map(|()| None),
        Err(errno) => return Err(errno),
    };
    let stat = rustix::fs::fstat(&source)?;
    if !dir::kind_of(&stat).is_file() {
        return Err(Errno::INVAL);
    }
    let file = make_draft(to, path)?;
    blob::clone_or_copy(&source.into(), &file).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    settle(&file, stat.st_mode & 0o7777, inner.owner)?;
    rustix::fs::futimens(&file, &times(&stat))?;
    Ok(Some(Stamp::of(&rustix::fs::fstat(&file)?)))
}

fn copy_link(inner: &Inner, from: &Dir, to: &Dir, path: &CleanPath) -> rustix::io::Result<()> {
    let path: &Path = path.as_ref();
    let stat = dir::stat_at(from, path)?;
    let target = rustix::fs::readlinkat(from, path, Vec::new())?;
    rustix::fs::symlinkat(&target, to, path)?;
    if let Some(owner) = inner.owner {
        let (uid, gid) = (rustix::fs::Uid::from_raw(owner.uid), rustix::fs::Gid::from_raw(owner.gid));
        rustix::fs::chownat(to, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    rustix::fs::utimensat(to, path, &times(&stat), AtFlags::SYMLINK_NOFOLLOW)
}

pub(crate) fn finish_directory(from: &Dir, to: &Dir, path: &CleanPath) -> rustix::io::Result<()> {
    let stat = dir::stat_at(from, path)?;
    let fd = dir::open_at(to, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW, 0)?;
    rustix::fs::fchmod(&fd, Bits::from_raw_mode(stat.st_mode & 0o7777))?;
    rustix::fs::futimens(&fd, &times(&stat))
}

/// The modification time of an inode, for both times of its copy.
#[expect(clippy::unnecessary_cast, reason = "the fields have other widths on other architectures")]
pub(crate) fn times(stat: &Stat) -> Timestamps {
    let time = Timespec { tv_sec: stat.st_mtime as i64, tv_nsec: stat.st_mtime_nsec as i64 };
    Timestamps { last_access: time, last_modification: time }
}

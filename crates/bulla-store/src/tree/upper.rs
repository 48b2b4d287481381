//! Takes the upper directory of an overlay into the store after a step, when every process of the step has ended.
//!
//! All in it was made by foreign code. Every path is opened beneath the upper, through no link; what is opened is examined
//! again before it is believed. Then names, kinds, link targets and bytes are recorded, modes, times and attributes are
//! normalised in place, what does not differ from the layers below is removed, and the directory is renamed into the store:
//! no byte is copied. Whiteouts stay as they are, so that the tree can be the lower of the next step's overlay.

use std::{
    collections::{BTreeMap, HashMap},
    io::Seek as _,
    path::Path,
    sync::Mutex,
};

use bulla_model::{
    CleanPath, Epoch, Tree,
    capability::{ATTRIBUTE, Capabilities},
    path::printable,
    tree::{Mode, Node, Owner},
};
use rustix::{
    fs::{AtFlags, FileType, Mode as Bits, OFlags, Stat, Timespec, Timestamps},
    io::Errno,
};

use crate::{
    blob,
    dir::{self, Dir},
    error::{Error, Result},
    farm::RootCopy,
    parallel,
    stamp::Stamp,
    store::{Scratch, Store},
    tree::{
        OPAQUE, StoredTree, commit, physical_directory, physical_file,
        reconcile::{Changes, reconcile},
        survey, whiteout,
    },
};

/// The most entries that a step may leave.
const MAX_ENTRIES: usize = 4_000_000;
/// The most bytes that the list of an inode's attributes may have (Linux's `XATTR_LIST_MAX`).
const MAX_ATTRIBUTES: usize = 65_536;
/// The most bytes of capabilities of any revision, and one more.
const MAX_CAPABILITIES: usize = 25;

/// What stands at a path of an upper, for the rules to judge.
#[derive(Debug, Clone, Copy)]
pub struct UpperEntry<'a> {
    /// The path in the root of the step.
    pub path: &'a CleanPath,
    /// The inode on the file system of the store, as the ownership journal knows it.
    pub ino: u64,
    /// The mode that it has.
    pub mode: Mode,
    /// Whether it is a directory.
    pub is_directory: bool,
}

/// The owner and mode that an entry of an upper gets in the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// The owner.
    pub owner: Owner,
    /// The mode; without meaning for symbolic links.
    pub mode: Mode,
}

/// Looks at what an upper holds, before any of it is the store's. Called from several threads at once.
pub trait Inspector: Sync {
    /// Is given the path of each entry, also of what is left out.
    fn path(&self, path: &CleanPath);

    /// Is given the target of each symbolic link.
    fn link(&self, path: &CleanPath, target: &[u8]);

    /// Is given each regular file, at its beginning; of several names of one file only the first. In a copy, files that nobody
    /// touched are left out.
    ///
    /// # Errors
    /// When the file cannot be read.
    fn file(&self, path: &CleanPath, file: &mut std::fs::File) -> std::io::Result<()>;

    /// Says, when all was looked at, whether it may enter the store.
    fn admits(&self) -> bool;
}

/// How an upper is read.
pub struct UpperRules<'a> {
    /// No time is later than this; also not those of directories and links.
    pub clamp: Epoch,
    /// Gives owner and mode of each entry.
    pub attributes: &'a (dyn Fn(&UpperEntry<'_>) -> Attributes + Sync),
    /// What the layers below show: what does not differ from it is not in the delta.
    pub below: &'a Tree,
    /// Looks at all of it first, where somebody wants to.
    pub inspector: Option<&'a dyn Inspector>,
}

/// Something of an upper that no image can hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// Where it was.
    pub path: CleanPath,
    /// What it was: `socket`, `FIFO`, `device`.
    pub what: &'static str,
}

/// An extended attribute that was taken away; or that no manifest tells, where it is of capabilities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stripped {
    /// The file or directory that had it.
    pub path: CleanPath,
    /// The name of the attribute, made printable: `security.capability`.
    pub attribute: String,
    /// The capabilities that it gave, where it is of those.
    pub capabilities: Option<Capabilities>,
}

/// What was taken over of an upper.
#[derive(Debug, Clone)]
pub struct Adopted {
    /// The delta.
    pub tree: StoredTree,
    /// What was left out, in the order of the paths.
    pub dropped: Vec<Dropped>,
    /// The attributes that were taken away, in the order of the paths; those of overlayfs itself are not listed.
    pub stripped: Vec<Stripped>,
}

impl Store {
    /// Takes an upper into the store as a delta. It has to lie in a [`Store::scratch`] folder, and its overlay has to be
    /// unmounted.
    ///
    /// # Errors
    /// When a name or path is longer than Linux allows, there are more than four million entries, something changes while
    /// it is read, the inspector does not admit it, or a system call fails.
    pub fn adopt_upper(&self, upper: &Path, rules: &UpperRules<'_>) -> Result<Adopted> {
        self.adopt(upper, rules, None)
    }

    /// Takes what a step changed in a copy of the layers below into the store as a delta: the same one that
    /// [`Store::adopt_upper`] would have given.
    ///
    /// # Errors
    /// As [`Store::adopt_upper`].
    pub fn adopt_copy(&self, copy: RootCopy, rules: &UpperRules<'_>) -> Result<Adopted> {
        self.adopt(&copy.path(), rules, Some(&copy))
    }

    fn adopt(&self, upper: &Path, rules: &UpperRules<'_>, copy: Option<&RootCopy>) -> Result<Adopted> {
        let inner = &self.0;
        let relative =
            upper.strip_prefix(inner.scratch.path()).map_err(|_| Error::io("adopting", upper, Errno::XDEV))?.to_owned();
        let root = inner.scratch.sub(&relative)?;
        let mut walk = Walk { root: &root, rules, tree: Tree::new(), found: Vec::new(), dropped: Vec::new() };
        dir::make_enterable(&inner.scratch, &relative).map_err(|e| Error::io("entering", upper, e))?;
        walk.run()?;
        let Walk { mut tree, mut found, dropped, .. } = walk;
        found.sort_by(|a, b| a.path.cmp(&b.path));
        let stripped = record(&root, rules, copy, &mut tree, &found)?;
        if rules.inspector.is_some_and(|inspector| !inspector.admits()) {
            return Err(Error::NotAdmitted);
        }
        let changes = reconcile(&tree, rules.below, copy.is_some());
        apply(&root, &tree, &changes)?;
        let tree = changes.delta;
        found.retain(|entry| tree.get(&entry.path).is_some());
        // A file that was given capabilities, and is else what it was, is not in the delta.
        let shown = |stripped: &Stripped| stripped.capabilities.is_some() || tree.get(&stripped.path).is_some();
        let stripped = stripped.into_iter().filter(shown).collect();
        settle(&root, rules, &tree, &found)?;
        let draft = Scratch::new(inner, "delta")?;
        let to = inner.scratch.sub(draft.name())?;
        rustix::fs::renameat(&inner.scratch, &relative, &to, "root").map_err(|e| Error::io("taking up", upper, e))?;
        let stamps =
            survey::stamps(&to.sub("root")?, &tree)?.ok_or_else(|| Error::io("examining", upper, Errno::NOENT))?;
        let tree = commit(inner, draft, tree, &stamps)?;
        Ok(Adopted { tree, dropped, stripped })
    }
}

/// A directory, file or link that was found.
struct Found {
    path: CleanPath,
    stat: Stat,
}

struct Walk<'a> {
    root: &'a Dir,
    rules: &'a UpperRules<'a>,
    tree: Tree,
    found: Vec<Found>,
    dropped: Vec<Dropped>,
}

impl Walk<'_> {
    /// Lists all directories. Directories that even the owner may not read are made readable first.
    fn run(&mut self) -> Result<()> {
        let mut waiting: Vec<Option<CleanPath>> = vec![None];
        while let Some(above) = waiting.pop() {
            let place = above.as_ref().map_or(Path::new("."), AsRef::as_ref);
            let fail = |e: Errno| Error::io("listing", self.root.path().join(place), e);
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            let fd = dir::open_at(self.root, place, flags, 0).map_err(fail)?;
            for name in dir::list(&fd).map_err(fail)? {
                let path = match &above {
                    None => name.clone(),
                    Some(above) => [above.as_bytes(), b"/", &name].concat(),
                };
                let path = CleanPath::parse(&path)
                    .map_err(|e| Error::Upper { path: e.path, reason: "its path is longer than 4095 bytes" })?;
                let stat = dir::stat_at(&fd, dir::name(&name)).map_err(fail)?;
                if dir::kind_of(&stat).is_dir() {
                    dir::make_enterable(&fd, dir::name(&name)).map_err(fail)?;
                    waiting.push(Some(path.clone()));
                }
                self.take(path, stat)?;
            }
        }
        self.dropped.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(())
    }

    fn take(&mut self, path: CleanPath, stat: Stat) -> Result<()> {
        if self.found.len() + self.tree.len() >= MAX_ENTRIES {
            return Err(Error::Upper { path: path.to_string(), reason: "there are more than four million entries" });
        }
        let what = match dir::kind_of(&stat) {
            FileType::RegularFile | FileType::Directory | FileType::Symlink => {
                self.found.push(Found { path, stat });
                return Ok(());
            }
            FileType::CharacterDevice if whiteout::is_device(&stat) => {
                self.tree.insert(path, Node::Whiteout);
                return Ok(());
            }
            FileType::Socket => "socket",
            FileType::Fifo => "FIFO",
            FileType::CharacterDevice | FileType::BlockDevice => "device",
            FileType::Unknown => "thing of unknown kind",
        };
        if let Some(inspector) = self.rules.inspector {
            inspector.path(&path);
        }
        let fail = |e: Errno| Error::io("removing", self.root.path().join(&path), e);
        let parent = path.parent();
        let place = parent.as_ref().map_or(Path::new("."), AsRef::as_ref);
        let above = dir::open_at(self.root, place, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW, 0);
        let (above, name) = (above.map_err(fail)?, dir::name(path.name()));
        rustix::fs::unlinkat(&above, name, AtFlags::empty()).map_err(fail)?;
        if self.rules.below.get(&path).is_some() {
            whiteout::make(&above, name).map_err(fail)?;
            self.tree.insert(path.clone(), Node::Whiteout);
        }
        self.dropped.push(Dropped { path, what });
        Ok(())
    }
}

/// Reads every entry, hashing the files on all threads, and puts it into the manifest. Gives what was stripped.
///
/// A file of a copy that nobody touched is what it was below, and is not read.
fn record(
    root: &Dir,
    rules: &UpperRules<'_>,
    copy: Option<&RootCopy>,
    tree: &mut Tree,
    found: &[Found],
) -> Result<Vec<Stripped>> {
    let mut firsts: HashMap<(u64, u64), &CleanPath> = HashMap::new();
    let mut links: BTreeMap<&CleanPath, &CleanPath> = BTreeMap::new();
    for Found { path, stat } in found.iter().filter(|f| f.stat.st_nlink > 1 && dir::kind_of(&f.stat).is_file()) {
        let stamp = Stamp::of(stat);
        match firsts.get(&(stamp.dev, stamp.ino)) {
            Some(first) => {
                links.insert(path, *first);
            }
            None => {
                firsts.insert((stamp.dev, stamp.ino), path);
            }
        }
    }
    let stripped = Mutex::new(Vec::new());
    let nodes = parallel::map(found, |entry| {
        if let Some(inspector) = rules.inspector {
            inspector.path(&entry.path);
        }
        if let Some(target) = links.get(&entry.path) {
            return Ok::<_, Error>(Node::Hardlink { target: (*target).clone() });
        }
        if copy.is_some_and(|copy| copy.is_untouched(&entry.path, &entry.stat))
            && let Some((_, node)) = rules.below.file(&entry.path)
        {
            return Ok(node.clone());
        }
        let (node, taken) = examine(root, rules, entry)?;
        if !taken.is_empty() {
            stripped.lock().expect("no thread panics while it holds the list").extend(taken);
        }
        Ok(node)
    })?;
    for (entry, node) in found.iter().zip(nodes) {
        tree.insert(entry.path.clone(), node);
    }
    let mut stripped = stripped.into_inner().expect("no thread panicked");
    stripped.sort_by(|a: &Stripped, b| a.path.cmp(&b.path).then_with(|| a.attribute.cmp(&b.attribute)));
    Ok(stripped)
}

fn examine(root: &Dir, rules: &UpperRules<'_>, Found { path, stat }: &Found) -> Result<(Node, Vec<Stripped>)> {
    let fail = |e: Errno| Error::io("reading", root.path().join(path), e);
    let kind = dir::kind_of(stat);
    let Attributes { owner, mode } = attributes(rules, path, stat);
    if kind.is_symlink() {
        let target = rustix::fs::readlinkat(root, AsRef::<Path>::as_ref(path), Vec::new()).map_err(fail)?;
        if let Some(inspector) = rules.inspector {
            inspector.link(path, target.as_bytes());
        }
        return Ok((Node::Symlink { owner, target: target.as_bytes().into() }, Vec::new()));
    }
    if kind.is_file() && stat.st_mode & 0o400 == 0 {
        let fd = dir::open_at(root, path, OFlags::PATH | OFlags::NOFOLLOW, 0).map_err(fail)?;
        dir::chmod_path_fd(&fd, (stat.st_mode & 0o7777) | 0o400).map_err(fail)?;
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let fd = dir::open_at(root, path, flags, 0).map_err(fail)?;
    let now = rustix::fs::fstat(&fd).map_err(fail)?;
    if (now.st_dev, now.st_ino) != (stat.st_dev, stat.st_ino) || dir::kind_of(&now) != kind {
        return Err(changed(path));
    }
    let (opaque, stripped) = strip(&fd, path, kind.is_dir()).map_err(fail)?;
    if kind.is_dir() {
        return Ok((Node::Directory { mode, owner, opaque }, stripped));
    }
    let mut file = std::fs::File::from(fd);
    let (digest, size) = blob::hash(&mut file).map_err(|e| Error::io("reading", root.path().join(path), e))?;
    if u64::try_from(now.st_size) != Ok(size) {
        return Err(changed(path));
    }
    if let Some(inspector) = rules.inspector {
        let looked = file.rewind().and_then(|()| inspector.file(path, &mut file));
        looked.map_err(|e| Error::io("reading", root.path().join(path), e))?;
    }
    Ok((Node::File { mode, owner, digest, size }, stripped))
}

fn changed(path: &CleanPath) -> Error {
    Error::Upper { path: path.to_string(), reason: "it changed while it was read" }
}

fn attributes(rules: &UpperRules<'_>, path: &CleanPath, stat: &Stat) -> Attributes {
    let is_directory = dir::kind_of(stat).is_dir();
    let ino = Stamp::of(stat).ino;
    let mode = Mode::new(stat.st_mode);
    // What has the mode that the store gave it has the mode that it stands for.
    let before = match rules.below.file(path).map(|(_, node)| node).or_else(|| rules.below.get(path)) {
        Some(Node::Directory { mode, .. }) if is_directory => Some((*mode, physical_directory(*mode))),
        Some(Node::File { mode, .. }) if !is_directory => Some((*mode, physical_file(*mode))),
        _ => None,
    };
    let mode = before.filter(|(_, physical)| *physical == mode.bits()).map_or(mode, |(before, _)| before);
    (rules.attributes)(&UpperEntry { path, ino, mode, is_directory })
}

/// Removes every attribute but the one that makes a directory opaque. Gives whether it is opaque, and what was removed.
/// What overlayfs would read as content lying elsewhere (`redirect`, `metacopy`) is an error, for the bytes here are not the file's.
fn strip(fd: &std::os::fd::OwnedFd, path: &CleanPath, is_directory: bool) -> rustix::io::Result<(bool, Vec<Stripped>)> {
    let mut list = vec![0; MAX_ATTRIBUTES.min(4096)];
    let length = match rustix::fs::flistxattr(fd, &mut list) {
        Ok(length) => length,
        Err(Errno::RANGE) => {
            list.resize(MAX_ATTRIBUTES, 0);
            rustix::fs::flistxattr(fd, &mut list)?
        }
        Err(Errno::OPNOTSUPP) => 0,
        Err(error) => return Err(error),
    };
    let (mut opaque, mut stripped) = (false, Vec::new());
    let capabilities = |name: &[u8]| {
        let mut bytes = [0; MAX_CAPABILITIES];
        let is_it = name == ATTRIBUTE.as_bytes();
        let length = is_it.then(|| rustix::fs::fgetxattr(fd, ATTRIBUTE, &mut bytes).ok()).flatten()?;
        Capabilities::decode(bytes.get(..length)?).ok()
    };
    for name in list.get(..length).unwrap_or_default().split(|b| *b == 0).filter(|name| !name.is_empty()) {
        match name {
            b"user.overlay.opaque" if is_directory && survey::opaque_fd(fd)? => {
                opaque = true;
                continue;
            }
            b"user.overlay.redirect" | b"user.overlay.metacopy" => return Err(Errno::NOTSUP),
            _ if name.starts_with(b"security.") && name != b"security.capability" => continue,
            _ => {}
        }
        let capabilities = capabilities(name);
        match rustix::fs::fremovexattr(fd, dir::name(name)) {
            Ok(()) | Err(Errno::NODATA) => {}
            // Attributes that belong to the host (as `trusted.*` do to root) do not enter the store's bytes.
            // So do capabilities to who is root there, and not here; no manifest tells them, but they are told.
            Err(Errno::PERM | Errno::OPNOTSUPP) if capabilities.is_none() => continue,
            Err(Errno::PERM | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error),
        }
        if !name.starts_with(b"user.overlay.") {
            stripped.push(Stripped { path: path.clone(), attribute: printable(name), capabilities });
        }
    }
    Ok((opaque, stripped))
}

/// Makes the directory what the delta says: removes what did not change, and hides what is gone.
fn apply(root: &Dir, found: &Tree, changes: &Changes) -> Result<()> {
    let above = |path: &CleanPath| {
        let parent = path.parent();
        let place = parent.as_ref().map_or(Path::new("."), AsRef::as_ref);
        dir::open_at(root, place, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW, 0)
    };
    for path in changes.pruned.iter().rev() {
        let directory = found.get(path).is_some_and(Node::is_directory);
        let flags = if directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        above(path)
            .and_then(|above| rustix::fs::unlinkat(above, dir::name(path.name()), flags))
            .map_err(|e| Error::io("removing", root.path().join(path), e))?;
    }
    for path in &changes.hidden {
        above(path)
            .and_then(|above| whiteout::make(above, dir::name(path.name())))
            .map_err(|e| Error::io("hiding", root.path().join(path), e))?;
    }
    for path in &changes.cleared {
        dir::open_at(root, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW, 0)
            .and_then(|fd| rustix::fs::fremovexattr(fd, OPAQUE))
            .map_err(|e| Error::io("opening up", root.path().join(path), e))?;
    }
    Ok(())
}

/// Gives every entry its final mode and time: files and links first, directories from the inside out.
fn settle(root: &Dir, rules: &UpperRules<'_>, tree: &Tree, found: &[Found]) -> Result<()> {
    let (directories, others): (Vec<&Found>, Vec<&Found>) =
        found.iter().partition(|entry| dir::kind_of(&entry.stat).is_dir());
    let finish = |entry: &&Found| finish(root, rules, tree, entry);
    parallel::map(&others, finish)?;
    directories.iter().rev().try_for_each(finish)?;
    let stat = rustix::fs::fstat(root).map_err(|e| Error::io("finishing", root.path(), e))?;
    rustix::fs::fchmod(root, Bits::from_raw_mode(0o755))
        .and_then(|()| rustix::fs::futimens(root, &clamped(&stat, rules.clamp)))
        .map_err(|e| Error::io("finishing", root.path(), e))
}

fn finish(root: &Dir, rules: &UpperRules<'_>, tree: &Tree, Found { path, stat }: &Found) -> Result<()> {
    let fail = |e: Errno| Error::io("finishing", root.path().join(path), e);
    let mode = match tree.get(path) {
        Some(Node::Directory { mode, .. }) => Some(physical_directory(*mode)),
        Some(Node::File { mode, .. }) => Some(physical_file(*mode)),
        _ => None,
    };
    let fd = dir::open_at(root, path, OFlags::PATH | OFlags::NOFOLLOW, 0).map_err(fail)?;
    let now = rustix::fs::fstat(&fd).map_err(fail)?;
    if (now.st_dev, now.st_ino) != (stat.st_dev, stat.st_ino) {
        return Err(changed(path));
    }
    if let Some(mode) = mode.filter(|mode| *mode != now.st_mode & 0o7777) {
        dir::chmod_path_fd(&fd, mode).map_err(fail)?;
    }
    let times = clamped(stat, rules.clamp);
    let parent = path.parent();
    let place = parent.as_ref().map_or(Path::new("."), AsRef::as_ref);
    let above = dir::open_at(root, place, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW, 0).map_err(fail)?;
    rustix::fs::utimensat(&above, dir::name(path.name()), &times, AtFlags::SYMLINK_NOFOLLOW).map_err(fail)
}

/// The modification time, but not later than the epoch, nor before 1970, and of whole seconds.
#[expect(clippy::unnecessary_cast, reason = "the field has another width on other architectures")]
fn clamped(stat: &Stat, clamp: Epoch) -> Timestamps {
    let time = Timespec { tv_sec: (stat.st_mtime as i64).clamp(0, clamp.seconds().cast_signed()), tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}

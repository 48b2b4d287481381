//! Reads a package from front to end and hands its entries on.

use std::{
    collections::BTreeMap,
    io::{self, BufReader, Read},
};

use bulla_model::{
    CleanPath, Epoch, Platform,
    path::{CleanPathError, printable},
    tree::{Mode, Node, Owner},
};
use tar::EntryType;

use super::{Control, DebError, Package, ar, decode::decoder};
use crate::extended;

/// What a sink may fail with.
pub type SinkError = Box<dyn std::error::Error + Send + Sync>;

/// The most bytes of the control member, uncompressed.
const MAX_CONTROL: u64 = 64 << 20;
/// How many bytes of names an entry may have on average, with those of the directories that it lies in; a deep path alone
/// can have half a MB of them, so some are allowed in any case.
const NAMES_OF_ENTRY: u64 = 64;
const MIN_NAMES: u64 = 8 << 20;
/// What an entry may take in the archive beside its content: its head, the padding, and the heads of a long name.
const MAX_ENTRY_HEAD: u64 = 8 << 10;
/// How many components a path may have: more than any package has, and few enough that those above an entry cost nothing.
const MAX_DEPTH: usize = 128;
/// What a package may unfold to in any case, whatever it says of itself.
const MIN_BYTES: u64 = 64 << 20;
const MIN_ENTRIES: u64 = 64 << 10;
/// How much a byte of a `.deb` may unfold to: `xz` makes 7000 of one that says nothing, packages 50.
const MAX_RATIO: u64 = 1024;
/// How much more a package may have than its control file says in `Installed-Size` (Debian Policy 5.6.20), which is an
/// estimate.
const ESTIMATE: u64 = 4;
/// The directories of the root that are links into `/usr`.
const MERGED: [&str; 7] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32", "libo32"];
/// Those of them that a root has even if no package brings one.
const LINKS: [&str; 4] = ["bin", "lib", "lib64", "sbin"];

/// What a package may hold at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all files.
    pub bytes: u64,
    /// Entries.
    pub entries: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 16 << 30, entries: 1 << 20 }
    }
}

impl Limits {
    /// Gives what a `.deb` of so many bytes may hold: what no package holds is no more than an attempt to fill the disk.
    pub fn of_size(size: u64) -> Self {
        let most = Self::default();
        Self { bytes: most.bytes.min(size.saturating_mul(MAX_RATIO).saturating_add(MIN_BYTES)), ..most }
    }

    /// Lowers the limits to a generous multiple of what the package itself says in `Installed-Size`: KiB, in which each entry
    /// counts for one or more. A package that says nothing is left as it is.
    fn lowered(self, control: &Control) -> Self {
        let Some(size) = control.get("Installed-Size").and_then(|size| size.trim().parse::<u64>().ok()) else {
            return self;
        };
        let bytes = size.saturating_mul(ESTIMATE << 10).saturating_add(MIN_BYTES);
        let entries = size.saturating_mul(ESTIMATE).saturating_add(MIN_ENTRIES);
        Self { bytes: self.bytes.min(bytes), entries: self.entries.min(entries) }
    }
}

/// Takes the entries of a package, in the order of the archive. Paths are clean and have `/usr` merged; an entry's directory
/// may come after it or not at all.
pub trait Sink {
    /// Takes a directory; one that came before is given its mode and owner again.
    ///
    /// # Errors
    /// When it cannot be made.
    fn directory(&mut self, path: &CleanPath, mode: Mode, owner: Owner) -> Result<(), SinkError>;

    /// Takes a regular file; all of the content must be read.
    ///
    /// # Errors
    /// When it cannot be made, or the content cannot be read.
    fn file(
        &mut self,
        path: &CleanPath,
        mode: Mode,
        owner: Owner,
        mtime: Epoch,
        content: &mut dyn Read,
    ) -> Result<(), SinkError>;

    /// Takes a symbolic link.
    ///
    /// # Errors
    /// When it cannot be made.
    fn symlink(&mut self, path: &CleanPath, owner: Owner, target: &[u8]) -> Result<(), SinkError>;

    /// Takes a further name of a file that came before.
    ///
    /// # Errors
    /// When it cannot be made.
    fn hardlink(&mut self, path: &CleanPath, target: &CleanPath) -> Result<(), SinkError>;
}

/// Gives the links that a merged `/usr` has at the top of a root of a platform. The directories that they lead to are made too.
pub fn usrmerge_links(platform: Platform) -> Vec<(CleanPath, Node)> {
    let path = |text: &str| text.parse::<CleanPath>().expect("a clean path");
    // Only where programs name a loader in it.
    let names = || LINKS.iter().filter(|name| **name != "lib64" || platform == Platform::LinuxAmd64);
    let links = names().map(|name| (path(name), Node::symlink(format!("usr/{name}"))));
    links.chain(names().map(|name| (path(&format!("usr/{name}")), Node::directory(0o755)))).collect()
}

/// Gives the path that a file really has in a root with a merged `/usr`: `bin/x` is `usr/bin/x`. A path that is merged
/// already, or becomes too long, stays as it is.
pub fn usrmerged(path: &CleanPath) -> CleanPath {
    merged(path).ok().flatten().unwrap_or_else(|| path.clone())
}

/// Unpacks a package. Its larger parts are decompressed by so many threads; what comes of it does not depend on that.
///
/// # Errors
/// When it is no package, holds what it may not, is larger than the limits, or the sink fails. What the sink took before
/// is to be thrown away then.
pub fn unpack(reader: impl Read, limits: Limits, threads: usize, sink: &mut dyn Sink) -> Result<Package, DebError> {
    let mut archive = ar::Archive::new(BufReader::with_capacity(1 << 16, reader))?;
    let not = |reason: &str| DebError::NotADeb { reason: reason.to_owned() };
    let next = |archive: &mut ar::Archive<_>| archive.next()?.ok_or_else(|| not("a member is missing"));
    if next(&mut archive)?.name != "debian-binary" {
        return Err(not("its first member is not `debian-binary`"));
    }
    let mut version = Vec::new();
    archive
        .by_ref()
        .take(64)
        .read_to_end(&mut version)
        .map_err(|source| DebError::Read { member: "version", source })?;
    if !version.starts_with(b"2.") {
        return Err(not("its format is not 2"));
    }
    let member = next(&mut archive)?.name;
    let suffix = member.strip_prefix("control.tar").ok_or_else(|| not("its second member is not `control.tar`"))?;
    let (control, members) = control(decoder(suffix, &mut archive, 2 * MAX_CONTROL, 1)?)?;
    let limits = limits.lowered(&control);
    let member = loop {
        let name = next(&mut archive)?.name;
        // deb(5): members whose name starts with an underscore are to be passed over.
        if !name.starts_with('_') {
            break name;
        }
    };
    let suffix = member.strip_prefix("data.tar").ok_or_else(|| not("its third member is not `data.tar`"))?;
    let mut data = Data { limits, sink, kinds: BTreeMap::new(), paths: Vec::new(), bytes: 0, newest: 0, names: 0 };
    let most = limits.bytes.saturating_add((limits.entries.saturating_add(8)).saturating_mul(MAX_ENTRY_HEAD));
    entries(decoder(suffix, &mut archive, most, threads)?, "data", |entry| data.take(entry))?;
    let Data { paths, newest, .. } = data;
    Ok(Package { control, members, paths, newest: Epoch::new(newest).unwrap_or_default() })
}

/// An entry whose long names are put together already.
struct Entry<'a> {
    kind: EntryType,
    name: Vec<u8>,
    link: Option<Vec<u8>>,
    mode: u32,
    owner: Owner,
    mtime: u64,
    size: u64,
    content: &'a mut dyn Read,
}

/// Reads a tar archive. Extended headers are read here, and not by the tar crate, so that they have a limit.
fn entries(
    reader: Box<dyn Read + '_>,
    member: &'static str,
    mut take: impl FnMut(Entry<'_>) -> Result<(), DebError>,
) -> Result<(), DebError> {
    let read = |source| DebError::Read { member, source };
    let mut archive = tar::Archive::new(reader);
    let (mut long_name, mut long_link) = (None::<Vec<u8>>, None::<Vec<u8>>);
    for entry in archive.entries().map_err(read)?.raw(true) {
        let mut entry = entry.map_err(read)?;
        let kind = entry.header().entry_type();
        match kind {
            EntryType::GNULongName => long_name = Some(extended::long(&mut entry).map_err(read)?),
            EntryType::GNULongLink => long_link = Some(extended::long(&mut entry).map_err(read)?),
            EntryType::XHeader => {
                for (key, value) in extended::records(&mut entry).map_err(read)? {
                    match key.as_str() {
                        "path" => long_name = Some(value),
                        "linkpath" => long_link = Some(value),
                        "size" | "uid" | "gid" => {
                            let reason = "has numbers in an extended header";
                            return Err(DebError::Entry { path: printable(&entry.path_bytes()), reason });
                        }
                        key if key.starts_with("GNU.sparse.") => {
                            let reason = "is a sparse file";
                            return Err(DebError::Entry { path: printable(&entry.path_bytes()), reason });
                        }
                        _ => {}
                    }
                }
            }
            EntryType::XGlobalHeader => {}
            _ => {
                let header = entry.header();
                let number = |value: io::Result<u64>| value.map_err(read);
                let id = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
                let taken = Entry {
                    kind,
                    name: long_name.take().unwrap_or_else(|| header.path_bytes().into_owned()),
                    link: long_link.take().or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned)),
                    mode: header.mode().map_err(read)?,
                    owner: Owner { uid: id(number(header.uid())?), gid: id(number(header.gid())?) },
                    mtime: number(header.mtime())?,
                    size: number(header.entry_size())?,
                    content: &mut entry,
                };
                take(taken)?;
            }
        }
    }
    // What comes after the end mark is nothing, but with it come the sums of the compressed stream.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(read)?;
    Ok(())
}

impl Entry<'_> {
    /// Gives the clean path; `None` for the archive's own root. What ends with a slash is a directory: some unpackers take
    /// anything else as one, others drop the slash.
    fn path(&self) -> Result<Option<CleanPath>, DebError> {
        // The depth comes first, for cleaning a deep path takes time.
        let depth = self.name.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).count();
        let refused = |reason| {
            let path = printable(self.name.get(..200).unwrap_or(&self.name));
            Err(DebError::Entry { path, reason })
        };
        if depth > MAX_DEPTH {
            return refused("lies in more than 128 directories");
        }
        if !self.kind.is_dir() && self.name.ends_with(b"/") {
            return refused("ends with a slash, and is no directory");
        }
        Ok(CleanPath::from_archive(&self.name)?)
    }
}

fn control(reader: Box<dyn Read + '_>) -> Result<(Control, BTreeMap<String, Vec<u8>>), DebError> {
    let mut members = BTreeMap::new();
    let mut left = MAX_CONTROL;
    entries(reader, "control", |entry| {
        let Some(path) = entry.path()? else { return Ok(()) };
        let bad = |reason| DebError::Entry { path: path.to_string(), reason };
        if entry.kind.is_dir() {
            return Ok(());
        }
        let name = path.as_str().filter(|name| !name.contains('/')).ok_or_else(|| bad("is not a control file"))?;
        if !entry.kind.is_file() {
            return Err(bad("is not a regular file"));
        }
        if entry.size > left {
            return Err(DebError::TooLarge { limit: MAX_CONTROL, unit: "bytes of control files" });
        }
        left -= entry.size;
        let mut bytes = Vec::new();
        entry.content.read_to_end(&mut bytes).map_err(|source| DebError::Read { member: "control", source })?;
        match members.insert(name.to_owned(), bytes) {
            None => Ok(()),
            Some(_) => Err(bad("comes twice")),
        }
    })?;
    let paragraph =
        members.remove("control").ok_or_else(|| DebError::Control { reason: "it is missing".to_owned() })?;
    let text = String::from_utf8(paragraph).map_err(|_| DebError::Control { reason: "it is not UTF-8".to_owned() })?;
    Ok((Control::parse(&text)?, members))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stands {
    Directory,
    File,
    Link,
}

/// What was seen of the data member so far.
struct Data<'a> {
    limits: Limits,
    sink: &'a mut dyn Sink,
    kinds: BTreeMap<CleanPath, Stands>,
    paths: Vec<CleanPath>,
    bytes: u64,
    newest: u64,
    /// The bytes of all the names that are kept.
    names: u64,
}

/// Gives the path with a merged `/usr`; `None` for the top-level directories that are links then.
pub(in crate::debian) fn merged(path: &CleanPath) -> Result<Option<CleanPath>, CleanPathError> {
    let first = path.components().next().unwrap_or_default();
    if !MERGED.iter().any(|name| name.as_bytes() == first) {
        return Ok(Some(path.clone()));
    }
    if path.as_bytes().len() == first.len() {
        return Ok(None);
    }
    Ok(Some(CleanPath::parse([b"usr/", path.as_bytes()].concat())?))
}

impl Data<'_> {
    fn take(&mut self, entry: Entry<'_>) -> Result<(), DebError> {
        let Some(shipped) = entry.path()? else { return Ok(()) };
        self.paths.push(shipped.clone());
        if self.paths.len() as u64 > self.limits.entries {
            return Err(DebError::TooLarge { limit: self.limits.entries, unit: "entries" });
        }
        self.newest = self.newest.max(entry.mtime);
        let Some(path) = merged(&shipped)? else {
            let is_top = entry.kind.is_dir() || entry.kind.is_symlink();
            return if is_top { Ok(()) } else { Err(refused(&shipped, "stands where `/usr` is merged")) };
        };
        let stands = match entry.kind {
            EntryType::Directory => Stands::Directory,
            EntryType::Regular | EntryType::Continuous | EntryType::Link => Stands::File,
            EntryType::Symlink => Stands::Link,
            EntryType::Char | EntryType::Block => return Err(refused(&shipped, "is a device")),
            EntryType::Fifo => return Err(refused(&shipped, "is a FIFO")),
            _ => return Err(refused(&shipped, "is of a kind that packages do not have")),
        };
        self.place(&path, stands)?;
        self.hand_on(&path, entry)
    }

    /// Takes note of a path, whose place must be free and lie in directories.
    fn place(&mut self, path: &CleanPath, stands: Stands) -> Result<(), DebError> {
        for above in path.ancestors() {
            match self.kinds.get(&above) {
                None => {
                    self.keep(&above)?;
                    self.kinds.insert(above, Stands::Directory);
                }
                Some(Stands::Directory) => {}
                Some(Stands::Link) => return Err(refused(path, "lies beneath a symbolic link")),
                Some(Stands::File) => return Err(refused(path, "lies beneath a file")),
            }
        }
        self.keep(path)?;
        match self.kinds.insert(path.clone(), stands) {
            None => Ok(()),
            Some(Stands::Directory) if stands == Stands::Directory => Ok(()),
            Some(_) => Err(refused(path, "comes twice")),
        }
    }

    /// Counts a name: a short entry can lie in a hundred directories that are kept as well.
    fn keep(&mut self, path: &CleanPath) -> Result<(), DebError> {
        self.names = self.names.saturating_add(path.as_bytes().len() as u64);
        let limit = self.limits.entries.saturating_mul(NAMES_OF_ENTRY).max(MIN_NAMES);
        if self.names > limit {
            return Err(DebError::TooLarge { limit, unit: "bytes of names" });
        }
        Ok(())
    }

    fn hand_on(&mut self, path: &CleanPath, entry: Entry<'_>) -> Result<(), DebError> {
        let (mode, owner) = (Mode::new(entry.mode), entry.owner);
        let taken = match entry.kind {
            EntryType::Directory => self.sink.directory(path, mode, owner),
            EntryType::Symlink => {
                let target = entry.link.filter(|target| !target.is_empty() && !target.contains(&0));
                let target = target.ok_or_else(|| refused(path, "is a link to nothing"))?;
                self.sink.symlink(path, owner, &target)
            }
            EntryType::Link => {
                let target = entry.link.ok_or_else(|| refused(path, "is a hard link to nothing"))?;
                let target = CleanPath::from_archive(&target)?.map(|target| merged(&target)).transpose()?.flatten();
                let inside = |target: &CleanPath| target != path && self.kinds.get(target) == Some(&Stands::File);
                let target = target
                    .filter(inside)
                    .ok_or_else(|| refused(path, "is a hard link to what is no file before it"))?;
                self.sink.hardlink(path, &target)
            }
            _ => {
                self.bytes = self.bytes.saturating_add(entry.size);
                if self.bytes > self.limits.bytes {
                    return Err(DebError::TooLarge { limit: self.limits.bytes, unit: "bytes" });
                }
                let mtime = Epoch::new(entry.mtime).unwrap_or_default();
                self.sink.file(path, mode, owner, mtime, entry.content)
            }
        };
        taken.map_err(|source| DebError::Sink { path: path.to_string(), source })
    }
}

fn refused(path: &CleanPath, reason: &'static str) -> DebError {
    DebError::Entry { path: path.to_string(), reason }
}

//! Where the entries of an archive go in a source, if anywhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use bulla_model::{
    CleanPath,
    path::{MAX_PATH, printable},
};

use super::{ArchiveError, Entry, Kind, Rules, Sink};

/// How many bytes of names an entry may have on average, with those of the directories that it lies in; a deep path alone
/// can have 4 MB of them, so some are allowed in any case.
const NAMES_OF_ENTRY: u64 = 64;
const MIN_NAMES: u64 = 8 << 20;
/// How many names of the top are told when nothing was taken.
const TOLD: usize = 10;

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stands {
    Directory,
    File,
    Link,
}

/// The paths of an archive: each must be free, and lie in directories.
#[derive(Debug, Default)]
struct Ground {
    kinds: BTreeMap<CleanPath, Stands>,
    /// The bytes of all the names that are kept.
    names: u64,
}

impl Ground {
    fn stand(&mut self, path: &CleanPath, stands: Stands, entries: u64) -> Result<(), ArchiveError> {
        for above in path.ancestors() {
            match self.kinds.get(&above) {
                None => {
                    self.keep(&above, entries)?;
                    self.kinds.insert(above, Stands::Directory);
                }
                Some(Stands::Directory) => {}
                Some(Stands::Link) => return Err(ArchiveError::entry(path, "lies beneath a symbolic link")),
                Some(Stands::File) => return Err(ArchiveError::entry(path, "lies beneath a file")),
            }
        }
        self.keep(path, entries)?;
        match self.kinds.insert(path.clone(), stands) {
            None => Ok(()),
            Some(Stands::Directory) if stands == Stands::Directory => Ok(()),
            Some(_) => Err(ArchiveError::entry(path, "comes twice")),
        }
    }

    /// Counts a name: a short entry can lie in two thousand directories that are kept as well.
    fn keep(&mut self, path: &CleanPath, entries: u64) -> Result<(), ArchiveError> {
        self.names = self.names.saturating_add(path.as_bytes().len() as u64);
        let limit = entries.saturating_mul(NAMES_OF_ENTRY).max(MIN_NAMES);
        match self.names > limit {
            true => Err(ArchiveError::TooLarge { limit, unit: "bytes of names" }),
            false => Ok(()),
        }
    }
}

/// What was seen of an archive so far.
pub(crate) struct Places<'a> {
    rules: &'a Rules<'a>,
    /// The paths as the archive has them.
    archive: Ground,
    /// The paths as the source has them, where those are others.
    source: Ground,
    top: BTreeSet<String>,
    entries: u64,
    bytes: u64,
    taken: bool,
}

impl<'a> Places<'a> {
    pub(crate) fn new(rules: &'a Rules<'a>) -> Self {
        let (archive, source) = (Ground::default(), Ground::default());
        Self { rules, archive, source, top: BTreeSet::new(), entries: 0, bytes: 0, taken: false }
    }

    /// Gives the place of a path of the archive in the source; `None` for what is left out, and the source's own folder.
    fn place(&self, path: &CleanPath) -> Option<CleanPath> {
        let rules = self.rules;
        let kept: Vec<&[u8]> = path.components().skip(rules.strip as usize).collect();
        let path = CleanPath::parse(kept.join(&b'/')).ok()?;
        let path = match rules.subfolder {
            Some(subfolder) => path.strip_prefix(subfolder)?,
            None => path,
        };
        (!rules.ignore.iter().any(|glob| glob.matches(&path))).then_some(path)
    }

    /// Gives an entry its place, and hands it on.
    pub(crate) fn take(&mut self, entry: Entry<'_>, sink: &mut dyn Sink) -> Result<(), ArchiveError> {
        let limits = self.rules.limits;
        self.entries += 1;
        if self.entries > limits.entries {
            return Err(ArchiveError::TooLarge { limit: limits.entries, unit: "entries" });
        }
        let Some(path) = CleanPath::from_archive(&entry.name)? else { return Ok(()) };
        if self.top.len() < TOLD {
            self.top.extend(path.components().next().map(printable));
        }
        let stands = match &entry.kind {
            Kind::Directory => Stands::Directory,
            Kind::File | Kind::Hardlink(_) => Stands::File,
            Kind::Symlink(_) => Stands::Link,
            Kind::Refused(reason) => return Err(ArchiveError::entry(path, reason)),
        };
        self.archive.stand(&path, stands, limits.entries)?;
        let Some(place) = self.place(&path) else { return Ok(()) };
        self.taken = true;
        self.source.stand(&place, stands, limits.entries)?;
        self.hand_on(&path, &place, entry, sink)
    }

    fn hand_on(
        &mut self,
        path: &CleanPath,
        place: &CleanPath,
        entry: Entry<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), ArchiveError> {
        let handed = match &entry.kind {
            Kind::Directory => sink.directory(place),
            Kind::Symlink(target) => {
                if target.len() > MAX_PATH {
                    return Err(ArchiveError::entry(path, "is a link to a name that is too long"));
                }
                if !self.rules.outward_links && leads_out(place, target) {
                    return Err(ArchiveError::Outward { path: path.to_string(), target: printable(target) });
                }
                sink.symlink(place, target)
            }
            Kind::Hardlink(target) => {
                let target = CleanPath::from_archive(target)?
                    .filter(|target| target != path && self.archive.kinds.get(target) == Some(&Stands::File))
                    .ok_or_else(|| ArchiveError::entry(path, "is a hard link to what is no file before it"))?;
                let target = self
                    .place(&target)
                    .ok_or_else(|| ArchiveError::entry(path, "is a hard link to a file that is left out"))?;
                sink.hardlink(place, &target)
            }
            Kind::File => {
                self.bytes = self.bytes.saturating_add(entry.size);
                if self.bytes > self.rules.limits.bytes {
                    return Err(ArchiveError::TooLarge { limit: self.rules.limits.bytes, unit: "bytes" });
                }
                let mut content = Noted { content: entry.content, failure: None };
                let handed = sink.file(place, entry.executable, &mut content);
                // An archive that is cut off is no fault of the disk.
                if let Some(source) = content.failure {
                    return Err(ArchiveError::read(source));
                }
                handed
            }
            Kind::Refused(reason) => return Err(ArchiveError::entry(path, reason)),
        };
        handed.map_err(|source| ArchiveError::Sink { path: path.to_string(), source })
    }

    /// Ends; an archive of which nothing was taken is not what was meant.
    pub(crate) fn finish(self) -> Result<(), ArchiveError> {
        match self.taken {
            true => Ok(()),
            false => Err(ArchiveError::Nothing { top: self.top.into_iter().collect() }),
        }
    }
}

/// Remembers why the content could not be read.
struct Noted<'a> {
    content: &'a mut dyn io::Read,
    failure: Option<io::Error>,
}

impl io::Read for Noted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.content.read(buffer).map_err(|error| {
            let copy = io::Error::new(error.kind(), error.to_string());
            self.failure = Some(error);
            copy
        })
    }
}

/// Says whether a link could lead out. `..` may only stand at its beginning: what lies above a link is a directory, but what a
/// `..` further on means depends on where other links lead.
fn leads_out(link: &CleanPath, target: &[u8]) -> bool {
    let depth = link.components().count() - 1;
    let parts = || target.split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".");
    let up = parts().take_while(|part| *part == b"..").count();
    target.starts_with(b"/") || up > depth || parts().skip(up).any(|part| part == b"..")
}

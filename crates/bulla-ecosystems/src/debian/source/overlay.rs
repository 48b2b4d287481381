//! What Debian lays over upstream: files of its own, and patches to upstream's.

use std::collections::{BTreeMap, BTreeSet};

use bulla_model::{CleanPath, spec::Packing};

use super::{
    MAX_MEMORY, SourceError,
    patch::{Patch, Text},
};
use crate::archive::{self, Archive, ArchiveError, Entry, Kind, Limits};

/// The folder that is Debian's alone: that of upstream is dropped.
const DEBIAN: &str = "debian";
/// The file that lists the patches, where there is none for Debian itself.
const SERIES: [&str; 2] = ["debian/patches/debian.series", "debian/patches/series"];
/// The most patches.
const MAX_PATCHES: usize = 10_000;

/// Something that is kept in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kept {
    Directory,
    File { executable: bool, text: Vec<u8> },
    Symlink(Vec<u8>),
}

/// What is laid over upstream.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    /// What Debian adds, and what of upstream is changed by a patch.
    kept: BTreeMap<CleanPath, Kept>,
    /// What Debian adds: upstream's is dropped.
    own: BTreeSet<CleanPath>,
    patches: Vec<(String, Patch)>,
    /// The files that patches change or make.
    touched: BTreeSet<CleanPath>,
    bytes: u64,
    /// Whether `debian/` of upstream is dropped: for a diff it is what that changes.
    whole_folder: bool,
    is_diff: bool,
}

impl Overlay {
    /// Reads Debian's archive.
    pub(super) fn read_archive(&mut self, archive: &mut dyn Archive, packing: Packing) -> Result<(), SourceError> {
        let limits = Limits { bytes: MAX_MEMORY, ..Limits::default() };
        archive::read_tar(archive, packing, limits, |entry| {
            let Some(path) = CleanPath::from_archive(&entry.name)? else { return Ok(()) };
            if let Some(kept) = self.kept_of(&path, entry)? {
                let before = self.kept.insert(path.clone(), kept.clone());
                if before.is_some_and(|before| before != Kept::Directory || kept != Kept::Directory) {
                    return Err(ArchiveError::entry(path, "comes twice"));
                }
                self.own.insert(path);
            }
            Ok(())
        })?;
        self.whole_folder = true;
        Ok(())
    }

    /// Reads Debian's changes as one patch.
    pub(super) fn read_diff(&mut self, text: &[u8]) -> Result<(), SourceError> {
        self.is_diff = true;
        self.add_patch("diff".to_owned(), text)
    }

    /// Reads the patches that Debian's files list.
    pub(super) fn read_series(&mut self) -> Result<(), SourceError> {
        let path = |text: &str| CleanPath::parse(text).ok();
        let file = |path: Option<CleanPath>| match self.kept.get(&path?) {
            Some(Kept::File { text, .. }) => Some(text.clone()),
            _ => None,
        };
        let Some(series) = SERIES.into_iter().find_map(|name| file(path(name))) else { return Ok(()) };
        let series = String::from_utf8_lossy(&series).into_owned();
        for line in series.lines() {
            // A name, perhaps with options of quilt, perhaps with a remark.
            let Some(name) = line.split_ascii_whitespace().next().filter(|name| !name.starts_with('#')) else {
                continue;
            };
            let missing = || SourceError::Missing { file: format!("debian/patches/{name}") };
            let patch = CleanPath::parse(format!("debian/patches/{name}"))?;
            let Some(Kept::File { text, .. }) = self.kept.get(&patch) else { return Err(missing()) };
            let text = text.clone();
            self.add_patch(name.to_owned(), &text)?;
        }
        Ok(())
    }

    fn add_patch(&mut self, name: String, text: &[u8]) -> Result<(), SourceError> {
        let patch = Patch::parse(&name, text)?;
        if self.patches.len() >= MAX_PATCHES {
            return Err(SourceError::description("it has more patches than a package may"));
        }
        self.touched.extend(patch.paths().cloned());
        self.patches.push((name, patch));
        Ok(())
    }

    /// Takes an entry of upstream that is dropped or that a patch changes; gives back all others.
    pub(super) fn keep<'e>(&mut self, path: &CleanPath, entry: Entry<'e>) -> Result<Option<Entry<'e>>, ArchiveError> {
        let is_debians = self.whole_folder && path.components().next() == Some(DEBIAN.as_bytes());
        if is_debians || self.own.contains(path) && entry.kind != Kind::Directory {
            return Ok(None);
        }
        if let Kind::Hardlink(target) = &entry.kind {
            let target = CleanPath::parse(target)?;
            if self.touched.contains(path) || self.touched.contains(&target) {
                // A patch makes a new file of one name, and leaves the other.
                let Some(kept @ Kept::File { .. }) = self.kept.get(&target).cloned() else {
                    return Err(ArchiveError::entry(
                        path,
                        "is a hard link between what a patch changes and what none does",
                    ));
                };
                self.kept.insert(path.clone(), kept);
                return Ok(None);
            }
        }
        if !self.touched.contains(path) || entry.kind == Kind::Directory {
            return Ok(Some(entry));
        }
        if let Some(kept) = self.kept_of(path, entry)?
            && self.kept.insert(path.clone(), kept).is_some()
        {
            return Err(ArchiveError::entry(path, "comes twice"));
        }
        Ok(None)
    }

    fn kept_of(&mut self, path: &CleanPath, entry: Entry<'_>) -> Result<Option<Kept>, ArchiveError> {
        Ok(Some(match entry.kind {
            Kind::Directory => Kept::Directory,
            Kind::Symlink(target) => Kept::Symlink(target),
            Kind::File => {
                self.bytes = self.bytes.saturating_add(entry.size);
                if self.bytes > MAX_MEMORY {
                    return Err(ArchiveError::TooLarge {
                        limit: MAX_MEMORY,
                        unit: "bytes that are changed or Debian's own",
                    });
                }
                let mut text = Vec::new();
                entry.content.read_to_end(&mut text).map_err(ArchiveError::read)?;
                Kept::File { executable: entry.executable, text }
            }
            Kind::Hardlink(target) => match CleanPath::from_archive(&target)?.and_then(|target| self.kept.get(&target))
            {
                Some(kept @ Kept::File { .. }) => kept.clone(),
                _ => return Err(ArchiveError::entry(path, "is a hard link to what is no file before it")),
            },
            Kind::Refused(reason) => return Err(ArchiveError::entry(path, reason)),
        }))
    }

    /// Applies the patches, in their order.
    pub(super) fn apply(&mut self) -> Result<(), SourceError> {
        for (name, patch) in &self.patches {
            for file in patch.files() {
                if let Some(above) = file.path.ancestors().find(|above| !self.is_folder(above)) {
                    return Err(file.fails(name, format!("{} lies beneath {above}, which is no folder", file.path)));
                }
                let before = match self.kept.remove(&file.path) {
                    None => None,
                    Some(Kept::File { executable, text }) => Some(Text { executable, bytes: text }),
                    Some(_) => return Err(file.fails(name, format!("{} is no file", file.path))),
                };
                if let Some(Text { executable, bytes }) = file.apply(name, before)? {
                    self.kept.insert(file.path.clone(), Kept::File { executable, text: bytes });
                }
            }
        }
        // dpkg-source makes the rules of a diff a program: a diff has no modes.
        if let Some(Kept::File { executable, .. }) =
            CleanPath::parse("debian/rules").ok().and_then(|rules| self.kept.get_mut(&rules)).filter(|_| self.is_diff)
        {
            *executable = true;
        }
        Ok(())
    }

    fn is_folder(&self, path: &CleanPath) -> bool {
        self.kept.get(path).is_none_or(|kept| *kept == Kept::Directory)
    }

    /// Hands on all that was kept. What lies in them comes after its folders, whichever came from upstream.
    pub(super) fn hand_on(
        self,
        take: &mut dyn FnMut(Entry<'_>) -> Result<(), ArchiveError>,
    ) -> Result<(), ArchiveError> {
        for (path, kept) in self.kept {
            let name = path.as_bytes().to_vec();
            let (kind, executable, text) = match kept {
                Kept::Directory => (Kind::Directory, true, Vec::new()),
                Kept::Symlink(target) => (Kind::Symlink(target), true, Vec::new()),
                Kept::File { executable, text } => (Kind::File, executable, text),
            };
            let size = text.len() as u64;
            take(Entry { kind, name, executable, size, content: &mut text.as_slice() })?;
        }
        Ok(())
    }
}

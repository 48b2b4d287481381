//! Where the blobs of a foreign image lie: in a folder, or at places of an archive.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::{fd::OwnedFd, unix::fs::FileExt},
    path::{Path, PathBuf},
};

use bulla_model::{
    CleanPath, Digest, Hasher,
    oci::{self, Descriptor, Index},
};
use rustix::fs::{FileType, Mode, OFlags};

use super::InspectError;
use crate::assemble::Folder;

/// The most entries that an archive of a layout may have; a layout has a dozen or two.
const MAX_ENTRIES: usize = 10_000;
/// The most names that are read of a folder of blobs.
const MAX_BLOBS: usize = 100_000;

/// An opened OCI layout: a folder or an oci-archive, of whomever.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    kind: PlaceKind,
}

#[derive(Debug)]
enum PlaceKind {
    Folder(Folder),
    /// The archive, and where in it each file starts and how long it is.
    Archive(File, BTreeMap<CleanPath, (u64, u64)>),
}

impl Place {
    /// Opens a layout directory or an oci-archive, and checks that it is one.
    ///
    /// # Errors
    /// When it is none, or cannot be read.
    pub fn open(path: &Path) -> Result<Self, InspectError> {
        let fail = |source| InspectError::Io { path: path.to_owned(), source };
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let fd: OwnedFd = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| fail(error.into()))?;
        let kind = match FileType::from_raw_mode(rustix::fs::fstat(&fd).map_err(|error| fail(error.into()))?.st_mode) {
            FileType::Directory => PlaceKind::Folder(Folder::new(path).map_err(fail)?),
            FileType::RegularFile => {
                let file = File::from(fd);
                let places = places(path, &file)?;
                PlaceKind::Archive(file, places)
            }
            _ => return Err(InspectError::NotALayout { path: path.to_owned(), missing: "files in it" }),
        };
        let place = Self { path: path.to_owned(), kind };
        for missing in ["oci-layout", "index.json"] {
            match place.find(missing) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(InspectError::NotALayout { path: path.to_owned(), missing });
                }
                Err(source) => return Err(InspectError::Io { path: path.join(missing), source }),
            }
        }
        Ok(place)
    }

    /// Reads the index of the layout.
    ///
    /// # Errors
    /// When it is none, or larger than a manifest may be.
    pub fn index(&self) -> Result<Index, InspectError> {
        super::parse("index.json", &self.document("index.json", oci::MAX_MANIFEST)?)
    }

    /// Reads a manifest or index, and checks its digest.
    ///
    /// # Errors
    /// When it is missing, too large, or not what its descriptor says.
    pub fn manifest(&self, entry: &Descriptor) -> Result<Vec<u8>, InspectError> {
        if entry.size > oci::MAX_MANIFEST {
            return Err(InspectError::Limit { what: "bytes in one document" });
        }
        self.blob(entry, oci::MAX_MANIFEST)
    }

    /// Opens a blob at its beginning, after it was read through and found to be what its descriptor says.
    ///
    /// # Errors
    /// When it is missing, or something else.
    pub fn verified(&self, blob: &Descriptor) -> Result<Span<'_>, InspectError> {
        let name = format!("blobs/sha256/{}", blob.digest.hex());
        let fail = |source| InspectError::Io { path: self.path.join(&name), source };
        let mut span = self.span(blob)?;
        let mut hasher = Hasher::new();
        io::copy(&mut span, &mut hasher).map_err(fail)?;
        let found = hasher.finish();
        if found != blob.digest {
            return Err(InspectError::Digest { what: "the blob", expected: blob.digest, found });
        }
        span.rewind().map_err(fail)?;
        Ok(span)
    }

    /// Lists blobs that have at most so many bytes, and of these at most so many; in the order of their digests. What their bytes
    /// are, nobody has looked at.
    ///
    /// # Errors
    /// When the folder of blobs cannot be read.
    pub fn blobs(&self, count: usize, size: u64) -> Result<Vec<Descriptor>, InspectError> {
        const FOLDER: &str = "blobs/sha256";
        let fail = |source| InspectError::Io { path: self.path.join(FOLDER), source };
        let blobs =
            CleanPath::parse(FOLDER).map_err(|error| fail(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let named = |name: &[u8]| std::str::from_utf8(name).ok().and_then(|hex| Digest::from_hex(hex).ok());
        let files: Vec<(Vec<u8>, u64)> = match &self.kind {
            PlaceKind::Folder(folder) => folder.list(&blobs, MAX_BLOBS).map_err(fail)?,
            PlaceKind::Archive(_, places) => {
                let inside =
                    places.iter().filter_map(|(path, (_, length))| Some((path.strip_prefix(&blobs)?, *length)));
                inside.map(|(path, length)| (path.as_bytes().to_vec(), length)).collect()
            }
        };
        let small = files.into_iter().filter(|(_, length)| *length <= size);
        let mut found: Vec<Descriptor> =
            small.filter_map(|(name, length)| Some(Descriptor::new(oci::MANIFEST, named(&name)?, length))).collect();
        found.sort_by_key(|blob| blob.digest);
        found.truncate(count);
        Ok(found)
    }

    /// Opens a file of the layout, and says how long it is.
    fn find(&self, name: &str) -> io::Result<Span<'_>> {
        let path = CleanPath::parse(name).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        match &self.kind {
            PlaceKind::Folder(folder) => {
                let file = folder.open(&path)?;
                let length = file.metadata()?.len();
                Ok(Span { file: Held::Own(file), start: 0, length, at: 0 })
            }
            PlaceKind::Archive(file, places) => {
                let (start, length) = *places.get(&path).ok_or(io::ErrorKind::NotFound)?;
                Ok(Span { file: Held::Shared(file), start, length, at: 0 })
            }
        }
    }

    /// Reads a small file of the layout.
    pub(super) fn document(&self, name: &str, limit: u64) -> Result<Vec<u8>, InspectError> {
        let fail = |source| InspectError::Io { path: self.path.join(name), source };
        let reader = self.find(name).map_err(fail)?;
        if reader.length > limit {
            return Err(InspectError::Limit { what: "bytes in one document" });
        }
        let mut bytes = Vec::new();
        reader.take(limit).read_to_end(&mut bytes).map_err(fail)?;
        Ok(bytes)
    }

    /// Opens a blob whose size is right; its digest is for the caller to check.
    pub(super) fn stream(&self, blob: &Descriptor) -> Result<Box<dyn Read + '_>, InspectError> {
        Ok(Box::new(self.span(blob)?))
    }

    fn span(&self, blob: &Descriptor) -> Result<Span<'_>, InspectError> {
        let name = format!("blobs/sha256/{}", blob.digest.hex());
        let span = self.find(&name).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => InspectError::Missing { digest: blob.digest },
            _ => InspectError::Io { path: self.path.join(&name), source },
        })?;
        if span.length != blob.size {
            return Err(InspectError::Size { digest: blob.digest, expected: blob.size, found: span.length });
        }
        Ok(span)
    }

    /// Reads a small blob, and checks its digest.
    pub(super) fn blob(&self, blob: &Descriptor, limit: u64) -> Result<Vec<u8>, InspectError> {
        let mut bytes = Vec::new();
        let fail = |source| InspectError::Io { path: self.path.join(blob.digest.hex()), source };
        self.stream(blob)?.take(limit).read_to_end(&mut bytes).map_err(fail)?;
        let found = Digest::of(&bytes);
        if found == blob.digest {
            Ok(bytes)
        } else {
            Err(InspectError::Digest { what: "the blob", expected: blob.digest, found })
        }
    }
}

/// A stretch of a file, read without moving the file's own position.
#[derive(Debug)]
pub struct Span<'a> {
    file: Held<'a>,
    start: u64,
    length: u64,
    /// How far from the start the next byte is.
    at: u64,
}

#[derive(Debug)]
enum Held<'a> {
    Own(File),
    Shared(&'a File),
}

impl Read for Span<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.length.saturating_sub(self.at);
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let file = match &self.file {
            Held::Own(file) => file,
            Held::Shared(file) => file,
        };
        let count = file.read_at(buffer.get_mut(..most).unwrap_or_default(), self.start + self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Span<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// Finds the regular files of an archive.
fn places(path: &Path, file: &File) -> Result<BTreeMap<CleanPath, (u64, u64)>, InspectError> {
    let fail = |source| InspectError::Io { path: path.to_owned(), source };
    let mut archive = tar::Archive::new(file);
    let mut places = BTreeMap::new();
    for (number, entry) in archive.entries_with_seek().map_err(fail)?.raw(true).enumerate() {
        if number >= MAX_ENTRIES {
            return Err(InspectError::Limit { what: "entries in the archive" });
        }
        let entry = entry.map_err(fail)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        // Names that are not clean cannot be asked for.
        let Ok(Some(name)) = CleanPath::from_archive(&entry.path_bytes()) else { continue };
        let length = entry.header().entry_size().map_err(fail)?;
        if places.insert(name.clone(), (entry.raw_file_position(), length)).is_some() {
            return Err(InspectError::Twice { path: path.to_owned(), name: name.to_string() });
        }
    }
    Ok(places)
}

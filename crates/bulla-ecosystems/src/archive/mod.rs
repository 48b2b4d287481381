//! Archives that sources are downloaded as, tar and zip, unpacked into clean paths.
//!
//! The order: the packing is undone (`packed`), entries are read (`tar`, `zip`), and each is given its place (`places`): names
//! are clean, what `strip`, `subfolder` and `ignore` leave out is left out, nothing comes twice or lies beneath a link, and no
//! link leads out. What has a place goes to a [`Sink`]. Owners, times and all of a mode but whether the owner may execute
//! are dropped, so that the same files come out of the same bytes everywhere.

mod bzip2;
mod error;
mod packed;
mod places;
mod tar;
mod zip;

use std::io::{Read, Seek, SeekFrom};

use bulla_model::{
    CleanPath,
    spec::{Glob, Packing},
};

pub use self::error::ArchiveError;
pub(crate) use self::{
    places::Places,
    tar::{Entry, Kind},
};

/// What a sink may fail with.
pub type SinkError = Box<dyn std::error::Error + Send + Sync>;

/// Takes the files of a source. An entry's directory may come after it or not at all.
pub trait Sink {
    /// Takes a directory, which may have come before.
    ///
    /// # Errors
    /// When it cannot be made.
    fn directory(&mut self, path: &CleanPath) -> Result<(), SinkError>;

    /// Takes a regular file; all of the content must be read.
    ///
    /// # Errors
    /// When it cannot be made, or the content cannot be read.
    fn file(&mut self, path: &CleanPath, executable: bool, content: &mut dyn Read) -> Result<(), SinkError>;

    /// Takes a symbolic link.
    ///
    /// # Errors
    /// When it cannot be made.
    fn symlink(&mut self, path: &CleanPath, target: &[u8]) -> Result<(), SinkError>;

    /// Takes a further name of a file that came before.
    ///
    /// # Errors
    /// When it cannot be made.
    fn hardlink(&mut self, path: &CleanPath, target: &CleanPath) -> Result<(), SinkError>;
}

/// What an archive may hold at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of all files.
    pub bytes: u64,
    /// Entries.
    pub entries: u64,
    /// Bytes that come out for each byte of the archive, beyond [`Limits::unsuspicious`].
    pub ratio: u64,
    /// Bytes that may come out of any archive, however small.
    pub unsuspicious: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 16 << 30, entries: 1 << 20, ratio: 200, unsuspicious: 256 << 20 }
    }
}

/// What of an archive is taken, and what it may hold.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rules<'a> {
    /// How many folders are taken off the front of each name; what has no more than those is left out.
    pub strip: u32,
    /// The folder of what is left that is taken.
    pub subfolder: Option<&'a CleanPath>,
    /// What of that folder is left out.
    pub ignore: &'a [Glob],
    /// Whether symbolic links may lead out. They are never followed here.
    pub outward_links: bool,
    /// What it may hold.
    pub limits: Limits,
}

/// A file that can be read from any place.
pub trait Archive: Read + Seek {}

impl<T: Read + Seek> Archive for T {}

/// Unpacks an archive.
///
/// # Errors
/// When it is no such archive, holds what it may not, nothing of it is taken, or the sink fails. What the sink took before is to
/// be thrown away then.
pub fn unpack(
    mut archive: &mut dyn Archive,
    packing: Packing,
    rules: &Rules<'_>,
    sink: &mut dyn Sink,
) -> Result<(), ArchiveError> {
    let mut places = Places::new(rules);
    if packing == Packing::Zip {
        zip::entries(archive, rules.limits, |entry| places.take(entry, sink))?;
    } else {
        let length = archive.seek(SeekFrom::End(0)).map_err(ArchiveError::read)?;
        archive.rewind().map_err(ArchiveError::read)?;
        tar::entries(packed::open(&mut archive, packing, length, rules.limits)?, |entry| places.take(entry, sink))?;
    }
    places.finish()
}

/// Reads the entries of a tar archive, as they are, from whatever it is packed in.
pub(crate) fn read_tar(
    mut archive: &mut dyn Archive,
    packing: Packing,
    limits: Limits,
    take: impl FnMut(Entry<'_>) -> Result<(), ArchiveError>,
) -> Result<(), ArchiveError> {
    let length = archive.seek(SeekFrom::End(0)).map_err(ArchiveError::read)?;
    archive.rewind().map_err(ArchiveError::read)?;
    tar::entries(packed::open(&mut archive, packing, length, limits)?, take)
}

/// Undoes the packing of something that is small when unpacked.
pub(crate) fn read_small(bytes: &[u8], packing: Packing, most: u64) -> Result<Vec<u8>, ArchiveError> {
    let limits = Limits { bytes: most, entries: 0, ..Limits::default() };
    let mut text = Vec::new();
    let mut cursor = std::io::Cursor::new(bytes);
    packed::open(&mut cursor, packing, bytes.len() as u64, limits)?
        .read_to_end(&mut text)
        .map_err(ArchiveError::read)?;
    match text.len() as u64 > most {
        true => Err(ArchiveError::TooLarge { limit: most, unit: "bytes" }),
        false => Ok(text),
    }
}

#[cfg(test)]
mod attacks;

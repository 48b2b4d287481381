//! Reads the entries of a zip archive, when its directory and the heads of its entries agree.

use std::io::{self, Read};

use bulla_model::{path::printable, spec::Packing};
use zip::{CompressionMethod, ZipArchive, read::ZipFile, result::ZipError};

use super::{Archive, ArchiveError, Entry, Kind, Limits};

/// The most bytes of a link's target.
const MAX_TARGET: u64 = 4096;
/// The kinds of files in a mode, and the mask for them (POSIX, `sys/stat.h`).
const KIND: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const LINK: u32 = 0o120_000;

/// Reads a zip archive. Nothing is handed on before its directory is known to be consistent: no entry there twice, none
/// overlapping another, each as its own head says, and no head that the directory does not have.
pub(super) fn entries(
    archive: &mut dyn Archive,
    limits: Limits,
    mut take: impl FnMut(Entry<'_>) -> Result<(), ArchiveError>,
) -> Result<(), ArchiveError> {
    let length = archive.seek(io::SeekFrom::End(0)).map_err(ArchiveError::read)?;
    archive.rewind().map_err(ArchiveError::read)?;
    let mut zip = ZipArchive::new(io::BufReader::new(archive)).map_err(|error| refused(&error))?;
    if zip.len() as u64 > limits.entries {
        return Err(ArchiveError::TooLarge { limit: limits.entries, unit: "entries" });
    }
    zip.validate_header_consistency().map_err(|error| refused(&error))?;
    let most = length.saturating_mul(limits.ratio).saturating_add(limits.unsuspicious).min(limits.bytes);
    let mut left = most;
    for at in 0..zip.len() {
        let mut entry = zip.by_index(at).map_err(|error| refused(&error))?;
        left = (left.checked_sub(entry.size())).ok_or(ArchiveError::TooLarge { limit: most, unit: "bytes" })?;
        one(&mut entry, &mut take)?;
    }
    Ok(())
}

fn one<R: Read + ?Sized>(
    entry: &mut ZipFile<'_, R>,
    take: &mut impl FnMut(Entry<'_>) -> Result<(), ArchiveError>,
) -> Result<(), ArchiveError> {
    let name = entry.name_raw().to_vec();
    let refuse = |reason| Err(ArchiveError::entry(printable(&name), reason));
    if std::str::from_utf8(&name).is_err() {
        return refuse("has a name in an old code page");
    }
    if name.contains(&b'\\') {
        return refuse("has a `\\` in its name, where zip has `/`");
    }
    if entry.encrypted() {
        return refuse("is encrypted");
    }
    if !matches!(entry.compression(), CompressionMethod::Stored | CompressionMethod::Deflated) {
        return refuse("is packed in another way than by deflate");
    }
    let (size, mode) = (entry.size(), entry.unix_mode().unwrap_or(0o644));
    let kind = match mode & KIND {
        _ if name.ends_with(b"/") => Kind::Directory,
        0 | REGULAR => Kind::File,
        DIRECTORY => Kind::Directory,
        LINK => Kind::Symlink(target(entry, &name)?),
        _ => Kind::Refused("is a device, FIFO or socket"),
    };
    if kind == Kind::Directory && size > 0 {
        return refuse("is a directory with content");
    }
    let executable = mode & 0o100 != 0;
    let mut content = Exact { content: entry, left: size };
    take(Entry { kind, name, executable, size, content: &mut content })
}

fn target(entry: &mut impl Read, name: &[u8]) -> Result<Vec<u8>, ArchiveError> {
    let mut target = Vec::new();
    entry.take(MAX_TARGET + 1).read_to_end(&mut target).map_err(ArchiveError::read)?;
    match target.is_empty() || target.contains(&0) || target.len() as u64 > MAX_TARGET {
        true => Err(ArchiveError::entry(printable(name), "is a link to nothing")),
        false => Ok(target),
    }
}

/// The content of an entry, which must have the length that the directory says.
struct Exact<R> {
    content: R,
    left: u64,
}

impl<R: Read> Read for Exact<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read(buffer)?;
        let other = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| other("an entry is longer than it says"))?;
        match count == 0 && self.left > 0 && !buffer.is_empty() {
            true => Err(other("an entry is shorter than it says")),
            false => Ok(count),
        }
    }
}

fn refused(error: &ZipError) -> ArchiveError {
    ArchiveError::NotAn { packing: Packing::Zip, reason: error.to_string() }
}

//! Reads the entries of a tar archive (POSIX.1-2024 `pax`, and GNU's long names). Extended headers are read here, and not by the
//! tar crate, so that they have a limit.

use std::io::{self, Read};

use bulla_model::{path::printable, spec::Packing};
use tar::EntryType;

use super::ArchiveError;
use crate::extended;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    File,
    /// With its target.
    Symlink(Vec<u8>),
    /// With the name of the entry that it is a further name of.
    Hardlink(Vec<u8>),
    /// What no source may hold, and what to say of it.
    Refused(&'static str),
}

/// An entry whose long names are put together already.
pub(crate) struct Entry<'a> {
    pub(crate) kind: Kind,
    pub(crate) name: Vec<u8>,
    pub(crate) executable: bool,
    pub(crate) size: u64,
    pub(crate) content: &'a mut dyn Read,
}

/// Reads a tar archive to its end.
pub(super) fn entries(
    mut reader: Box<dyn Read + '_>,
    mut take: impl FnMut(Entry<'_>) -> Result<(), ArchiveError>,
) -> Result<(), ArchiveError> {
    let mut archive = tar::Archive::new(&mut reader);
    let (mut long_name, mut long_link) = (None::<Vec<u8>>, None::<Vec<u8>>);
    let mut first = true;
    for entry in archive.entries().map_err(ArchiveError::read)?.raw(true) {
        let mut entry = entry.map_err(|source| not_tar(first, source))?;
        first = false;
        match entry.header().entry_type() {
            EntryType::GNULongName => long_name = Some(extended::long(&mut entry).map_err(ArchiveError::read)?),
            EntryType::GNULongLink => long_link = Some(extended::long(&mut entry).map_err(ArchiveError::read)?),
            EntryType::XHeader => {
                let name = printable(&entry.path_bytes());
                for (key, value) in extended::records(&mut entry).map_err(ArchiveError::read)? {
                    match key.as_str() {
                        "path" => long_name = Some(value),
                        "linkpath" => long_link = Some(value),
                        key => refuse_key(&name, key)?,
                    }
                }
            }
            // Such as `git archive` writes for the commit. What it says would hold for all entries that follow.
            EntryType::XGlobalHeader => {
                let name = printable(&entry.path_bytes());
                for (key, _) in extended::records(&mut entry).map_err(ArchiveError::read)? {
                    match key.as_str() {
                        "path" | "linkpath" => return Err(ArchiveError::entry(name, "names all entries that follow")),
                        key => refuse_key(&name, key)?,
                    }
                }
            }
            kind => {
                let header = entry.header();
                let name = long_name.take().unwrap_or_else(|| header.path_bytes().into_owned());
                let link = long_link.take().or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned));
                let size = header.entry_size().map_err(ArchiveError::read)?;
                let executable = header.mode().map_err(ArchiveError::read)? & 0o100 != 0;
                let kind = kind_of(kind, &name, link);
                let mut content = Whole { content: &mut entry, left: size };
                take(Entry { kind, name, executable, size, content: &mut content })?;
            }
        }
    }
    if long_name.is_some() || long_link.is_some() {
        return Err(ArchiveError::read(io::ErrorKind::UnexpectedEof.into()));
    }
    // What the archive is packed in has its sums at its end.
    io::copy(&mut reader, &mut io::sink()).map_err(ArchiveError::read)?;
    Ok(())
}

fn not_tar(first: bool, source: io::Error) -> ArchiveError {
    // The tar crate's error for a head whose sum is wrong; a broken packing has errors of its own.
    match first && source.kind() == io::ErrorKind::Other {
        true => ArchiveError::NotAn { packing: Packing::Tar, reason: "its first head is none".to_owned() },
        false => ArchiveError::read(source),
    }
}

/// Keys that would change what an entry is, and that nothing here reads.
fn refuse_key(name: &str, key: &str) -> Result<(), ArchiveError> {
    match key {
        "size" => Err(ArchiveError::entry(name, "has its size in an extended header, as only files beyond 8 GiB do")),
        key if key.starts_with("GNU.sparse.") => Err(ArchiveError::entry(name, "is a sparse file")),
        _ => Ok(()),
    }
}

fn kind_of(kind: EntryType, name: &[u8], link: Option<Vec<u8>>) -> Kind {
    let link = link.filter(|link| !link.is_empty() && !link.contains(&0));
    match (kind, link) {
        // Archives from before POSIX have directories as files whose names end so.
        (EntryType::Directory, _) => Kind::Directory,
        (EntryType::Regular | EntryType::Continuous, _) if name.ends_with(b"/") => Kind::Directory,
        (EntryType::Regular | EntryType::Continuous, _) => Kind::File,
        (EntryType::Symlink, Some(target)) => Kind::Symlink(target),
        (EntryType::Link, Some(target)) => Kind::Hardlink(target),
        (EntryType::Symlink | EntryType::Link, None) => Kind::Refused("is a link to nothing"),
        (EntryType::Char | EntryType::Block, _) => Kind::Refused("is a device"),
        (EntryType::Fifo, _) => Kind::Refused("is a FIFO"),
        (EntryType::GNUSparse, _) => Kind::Refused("is a sparse file"),
        _ => Kind::Refused("is of a kind that sources do not have"),
    }
}

/// The content of an entry, which must be all there.
struct Whole<R> {
    content: R,
    left: u64,
}

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read(buffer)?;
        self.left = self.left.saturating_sub(count as u64);
        match count == 0 && self.left > 0 && !buffer.is_empty() {
            true => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive is cut off")),
            false => Ok(count),
        }
    }
}

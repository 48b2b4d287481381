//! The zip archive that yarn 2 and later make of a package's archive, and which the checksums of their `yarn.lock` are of. With
//! `compressionLevel: 0`, which is usual since yarn 4, it has nothing that depends on a compressor: this makes the same bytes, and hashes
//! them (yarn, `tgzUtils.convertToZip`; libzip; APPNOTE 4.3).

use std::{
    collections::BTreeSet,
    io::{self, Read as _},
};

use bulla_model::spec::Packing;
use flate2::Crc;
use sha2::{Digest as _, Sha512};

use super::super::ReadSeek;
use crate::archive::{self, Archive, ArchiveError, Kind, Limits};

/// What an archive may hold.
const LIMITS: Limits = Limits { bytes: 2 << 30, entries: 60_000, ratio: 200, unsuspicious: 64 << 20 };
/// The most bytes of one file, which has to be known whole before it is written.
const MAX_FILE: u64 = 256 << 20;
/// The most bytes of a `package.json`.
const MAX_MANIFEST: u64 = 4 << 20;
/// The time of all that is in it: 456789000 seconds after 1970, as MS-DOS says it.
const TIME: [u8; 4] = [0x40, 0xae, 0xd6, 0x08];
/// The version that a folder needs, and any other entry.
const NEEDED: (u8, u8) = (20, 10);

/// Gives the SHA-512 of the archive that yarn makes of a package's; `None` for what yarn would make none of, or another one.
///
/// # Errors
/// When it cannot be read.
pub(in super::super) fn of_archive(body: &mut dyn ReadSeek) -> io::Result<Option<[u8; 64]>> {
    let Some(name) = checked(name(body))?.flatten() else { return Ok(None) };
    checked(converted(body, &name))
}

/// What an archive is wrong with is no reason to stop: it is not what is meant.
fn checked<T>(result: Result<T, ArchiveError>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) => match std::error::Error::source(&error).and_then(|source| source.downcast_ref::<io::Error>()) {
            Some(source) if source.raw_os_error().is_some() => Err(io::Error::new(source.kind(), error)),
            _ => Ok(None),
        },
    }
}

/// Gives the name that the package has in its `package.json`.
fn name(mut body: &mut dyn ReadSeek) -> Result<Option<String>, ArchiveError> {
    let mut manifest = None;
    let archive: &mut dyn Archive = &mut body;
    archive::read_tar(archive, Packing::TarGz, LIMITS, |entry| {
        if entry.kind == Kind::File && parts(&entry.name).is_some_and(|parts| parts[1..] == ["package.json"]) {
            let mut text = Vec::new();
            entry.content.take(MAX_MANIFEST).read_to_end(&mut text).map_err(ArchiveError::read)?;
            manifest = Some(text);
        }
        Ok(())
    })?;
    let Some(text) = manifest else { return Ok(None) };
    let fields: serde_json::Value =
        serde_json::from_slice(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text)).unwrap_or_default();
    Ok(fields["name"].as_str().filter(|name| super::name::is_name(name)).map(str::to_owned))
}

/// Parts the name of an entry as yarn does; `None` for what yarn leaves out, and for what has no more than its topmost folder.
fn parts(name: &[u8]) -> Option<Vec<&str>> {
    let name = std::str::from_utf8(name).ok()?;
    let outward = name.starts_with('/') || name.split('/').any(|part| part == "..");
    let parts: Vec<&str> = name.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    (!outward && parts.len() > 1).then_some(parts)
}

/// A zip archive that is hashed while it is made.
#[derive(Default)]
struct Writer {
    hash: Sha512,
    length: u64,
    directory: Vec<u8>,
    known: BTreeSet<String>,
    /// Whether yarn would write something else.
    odd: bool,
}

fn converted(mut body: &mut dyn ReadSeek, package: &str) -> Result<[u8; 64], ArchiveError> {
    let mut zip = Writer::default();
    let archive: &mut dyn Archive = &mut body;
    archive::read_tar(archive, Packing::TarGz, LIMITS, |entry| {
        let Some(parts) = parts(&entry.name) else { return Ok(()) };
        let path = format!("node_modules/{package}/{}", parts[1..].join("/"));
        match entry.kind {
            Kind::Directory => zip.folder(&path),
            Kind::File => {
                let mut content = Vec::new();
                entry.content.take(MAX_FILE + 1).read_to_end(&mut content).map_err(ArchiveError::read)?;
                if content.len() as u64 > MAX_FILE {
                    return Err(ArchiveError::TooLarge { limit: MAX_FILE, unit: "bytes in a file" });
                }
                zip.file(&path, if entry.executable { 0o100_755 } else { 0o100_644 }, &content);
            }
            Kind::Symlink(target) => zip.file(&path, 0o120_777, &target),
            // Yarn leaves these out.
            Kind::Hardlink(_) | Kind::Refused(_) => {}
        }
        Ok(())
    })?;
    zip.finish().ok_or(ArchiveError::TooLarge { limit: LIMITS.entries, unit: "entries" })
}

impl Writer {
    /// Makes the folders that lead to a path, where they are not there yet.
    fn above(&mut self, path: &str) {
        for (at, _) in path.match_indices('/') {
            self.folder_itself(&path[..at]);
        }
    }

    fn folder(&mut self, path: &str) {
        self.above(path);
        self.folder_itself(path);
    }

    fn folder_itself(&mut self, path: &str) {
        if self.known.insert(path.to_owned()) {
            self.entry(&format!("{path}/"), NEEDED.0, 0o040_755, &[]);
        }
    }

    fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.above(path);
        if !self.known.insert(path.to_owned()) {
            // The second of a name would take the place of the first.
            self.odd = true;
            return;
        }
        self.entry(path, NEEDED.1, mode, content);
    }

    fn entry(&mut self, name: &str, needed: u8, mode: u32, content: &[u8]) {
        let mut crc = Crc::new();
        crc.update(content);
        let size = content.len() as u32;
        let mut common = vec![needed, 0];
        // Whether the name is UTF-8 and more than ASCII; stored as it is.
        common.extend([0, if name.is_ascii() { 0 } else { 8 }, 0, 0]);
        common.extend(TIME);
        for number in [crc.sum(), size, size] {
            common.extend(number.to_le_bytes());
        }
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0, 0]);
        let offset = self.length as u32;
        self.odd |= self.length > u64::from(u32::MAX) || name.len() > usize::from(u16::MAX);
        self.write(b"PK\x03\x04");
        self.write(&common);
        self.write(name.as_bytes());
        self.write(content);
        // Made on Unix, by the version 6.3.
        self.directory.extend(b"PK\x01\x02\x3f\x03");
        self.directory.extend(&common);
        // No comment, the first disk, no internal attributes.
        self.directory.extend([0; 6]);
        self.directory.extend((mode << 16).to_le_bytes());
        self.directory.extend(offset.to_le_bytes());
        self.directory.extend(name.as_bytes());
    }

    fn write(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
    }

    fn finish(mut self) -> Option<[u8; 64]> {
        let (directory, offset) = (std::mem::take(&mut self.directory), u32::try_from(self.length).ok()?);
        let count = u16::try_from(self.known.len()).ok().filter(|_| !self.odd)?;
        let size = u32::try_from(directory.len()).ok()?;
        self.write(&directory);
        self.write(b"PK\x05\x06\0\0\0\0");
        for _ in 0..2 {
            self.write(&count.to_le_bytes());
        }
        self.write(&size.to_le_bytes());
        self.write(&offset.to_le_bytes());
        self.write(&[0, 0]);
        Some(self.hash.finalize().into())
    }
}

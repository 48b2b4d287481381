//! The sums of `go.sum` (golang.org/x/mod/sumdb/dirhash, "Hash1"), over archives that may be hostile.

use std::io::{self, BufReader, Read, SeekFrom};

use bulla_model::path::printable;
use sha2::{Digest as _, Sha256};
use zip::{CompressionMethod, ZipArchive, result::ZipError};

use super::super::ReadSeek;

/// The most bytes of an archive, and of all its files together (golang.org/x/mod/zip, `MaxZipFile`).
const MAX_ZIP: u64 = 500 << 20;
/// The most bytes of a `go.mod` (golang.org/x/mod/zip, `MaxGoMod`).
pub(super) const MAX_GO_MOD: u64 = 16 << 20;
/// The end of a zip archive's directory: its least size, its first bytes, and the most bytes of the comment behind it (APPNOTE 4.3.16).
const END: (usize, &[u8], usize) = (22, b"PK\x05\x06", 0xFFFF);

/// The sum of a zip archive's files; `None` for what is no archive that a module may be.
pub(in super::super) fn of_zip(body: &mut dyn ReadSeek) -> io::Result<Option<[u8; 32]>> {
    match Files::open(body).and_then(|mut files| files.sum()) {
        Ok(sum) => Ok(Some(sum)),
        Err(Problem::Read(error)) => Err(error),
        Err(Problem::Refused(_)) => Ok(None),
    }
}

/// The sum of a `go.mod`; `None` for what is too long for one.
pub(in super::super) fn of_go_mod(body: &mut dyn ReadSeek) -> io::Result<Option<[u8; 32]>> {
    let mut list = Sha256::new();
    let mut content = Sha256::new();
    let length = copy(&mut body.take(MAX_GO_MOD + 1), &mut content)?;
    line(&mut list, content, "go.mod");
    Ok((length <= MAX_GO_MOD).then(|| list.finalize().into()))
}

/// One line of the list that is hashed.
fn line(list: &mut Sha256, content: Sha256, name: &str) {
    let digits: String = content.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    list.update(format!("{digits}  {name}\n"));
}

fn copy(from: &mut dyn Read, to: &mut Sha256) -> io::Result<u64> {
    let mut buffer = [0; 1 << 14];
    let mut length = 0;
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(length);
        }
        to.update(&buffer[..count]);
        length += count as u64;
    }
}

/// Why an archive is none that a module may be.
#[derive(Debug)]
pub(super) enum Problem {
    /// It cannot be read: the disk's fault.
    Read(io::Error),
    /// What is wrong with it.
    Refused(String),
}

impl Problem {
    fn refused(what: impl Into<String>) -> Self {
        Self::Refused(what.into())
    }

    fn of(error: io::Error) -> Self {
        use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
        match error.kind() {
            InvalidData | InvalidInput | Other | UnexpectedEof => Self::Refused(format!("it is damaged: {error}")),
            _ => Self::Read(error),
        }
    }
}

impl From<ZipError> for Problem {
    fn from(error: ZipError) -> Self {
        match error {
            ZipError::Io(error) => Self::of(error),
            other => Self::Refused(format!("it is no zip archive of a module: {other}")),
        }
    }
}

/// The files of a module's zip archive, whose directory is consistent and within bounds.
pub(super) struct Files<'a> {
    archive: ZipArchive<BufReader<&'a mut dyn ReadSeek>>,
    /// Name and place of each, in the order of their names.
    names: Vec<(String, usize)>,
}

impl<'a> Files<'a> {
    /// Reads the directory. No file is unpacked yet.
    pub(super) fn open(body: &'a mut dyn ReadSeek) -> Result<Self, Problem> {
        check_end(body)?;
        let mut archive = ZipArchive::new(BufReader::new(body))?;
        archive.validate_header_consistency()?;
        let mut names = Vec::with_capacity(archive.len());
        let mut size = 0u64;
        for at in 0..archive.len() {
            let entry = archive.by_index_raw(at)?;
            let name = std::str::from_utf8(entry.name_raw())
                .ok()
                .filter(|name| !name.contains(['\n', '\\', '\0']))
                .ok_or_else(|| Problem::Refused(format!("`{}` is no name of a file", shown(entry.name_raw()))))?;
            if entry.encrypted()
                || !matches!(entry.compression(), CompressionMethod::Stored | CompressionMethod::Deflated)
            {
                return Err(Problem::Refused(format!(
                    "`{}` is packed otherwise than by deflate",
                    shown(name.as_bytes())
                )));
            }
            if name.ends_with('/') && entry.size() > 0 {
                return Err(Problem::Refused(format!("`{}` is a folder with content", shown(name.as_bytes()))));
            }
            size = size.saturating_add(entry.size());
            names.push((name.to_owned(), at));
        }
        if size > MAX_ZIP {
            return Err(Problem::refused("its files have more than 500 MiB, the most that Go takes"));
        }
        names.sort();
        Ok(Self { archive, names })
    }

    /// The names, in their order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|(name, _)| name.as_str())
    }

    /// Unpacks one small file; `None` where there is none.
    pub(super) fn read(&mut self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, Problem> {
        let Ok(found) = self.names.binary_search_by(|(one, _)| one.as_str().cmp(name)) else { return Ok(None) };
        let entry = self.archive.by_index(self.names[found].1)?;
        if entry.size() > limit {
            return Err(Problem::Refused(format!("`{}` is too long", shown(name.as_bytes()))));
        }
        let (size, mut bytes) = (entry.size(), Vec::new());
        entry.take(size + 1).read_to_end(&mut bytes).map_err(Problem::of)?;
        Ok(Some(bytes))
    }

    fn sum(&mut self) -> Result<[u8; 32], Problem> {
        let mut list = Sha256::new();
        for (name, at) in &self.names {
            let entry = self.archive.by_index(*at)?;
            let (size, mut content) = (entry.size(), Sha256::new());
            // What is longer than the directory says has been counted as too little.
            if copy(&mut entry.take(size + 1), &mut content).map_err(Problem::of)? != size {
                return Err(Problem::Refused(format!("`{}` is not as long as it says", shown(name.as_bytes()))));
            }
            line(&mut list, content, name);
        }
        Ok(list.finalize().into())
    }
}

/// Looks at the end of the directory before memory is taken for as many files as it says.
fn check_end(body: &mut dyn ReadSeek) -> Result<(), Problem> {
    let (size, magic, comment) = END;
    let length = body.seek(SeekFrom::End(0)).map_err(Problem::Read)?;
    if length > MAX_ZIP {
        return Err(Problem::refused("it has more than 500 MiB, the most that Go takes"));
    }
    let start = length.saturating_sub((size + comment) as u64);
    body.seek(SeekFrom::Start(start)).map_err(Problem::Read)?;
    let mut tail = Vec::new();
    body.take((size + comment) as u64).read_to_end(&mut tail).map_err(Problem::Read)?;
    body.rewind().map_err(Problem::Read)?;
    // The longer form alone can have more, and these values say so.
    let many = |end: &[u8]| end.starts_with(magic) && (end[8..10] == [0xFF; 2] || end[10..12] == [0xFF; 2]);
    match tail.windows(size).any(many) {
        true => Err(Problem::refused("it has more than 65,534 files")),
        false => Ok(()),
    }
}

/// Makes a name printable, and not too long.
pub(super) fn shown(name: &[u8]) -> String {
    printable(&name[..name.len().min(200)])
}

//! Which file a path means, and which part of it is wanted.

use std::{
    io::{self, Read, Seek, SeekFrom},
    path::{Component, Path, PathBuf},
    time::UNIX_EPOCH,
};

use super::Request;

/// Where a body comes from.
pub(crate) enum Source {
    File(fs_err::File),
    Bytes(io::Cursor<Vec<u8>>),
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(buffer),
            Self::Bytes(bytes) => bytes.read(buffer),
        }
    }
}

impl Seek for Source {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        match self {
            Self::File(file) => file.seek(position),
            Self::Bytes(bytes) => bytes.seek(position),
        }
    }
}

/// A body with its length and tag.
pub(crate) struct Found {
    pub(crate) source: Source,
    pub(crate) length: u64,
    pub(crate) tag: String,
}

impl Found {
    /// Finds the file that a path means beneath the root.
    pub(crate) fn file(root: &Path, path: &str) -> Option<Self> {
        let file = fs_err::File::open(locate(root, path)?).ok()?;
        let metadata = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        let changed = metadata.modified().ok()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let tag = format!("\"{:x}-{:x}\"", metadata.len(), changed.as_nanos());
        Some(Self { source: Source::File(file), length: metadata.len(), tag })
    }

    /// Takes bytes that are in memory.
    pub(crate) fn bytes(bytes: Vec<u8>) -> Self {
        let tag = format!("\"{}\"", bulla_model::Digest::of(&bytes).short());
        Self { length: bytes.len() as u64, tag, source: Source::Bytes(io::Cursor::new(bytes)) }
    }

    /// Gives the first byte that is wanted, where a part is: `Range: bytes=N-` with an `If-Range` that is met.
    pub(crate) fn wanted_from(&self, request: &Request) -> Option<u64> {
        let first = request.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()?;
        let same = request.header("if-range").is_none_or(|tag| tag == self.tag);
        same.then_some(first)
    }
}

fn locate(root: &Path, path: &str) -> Option<PathBuf> {
    let path = decode(path.split('?').next()?)?;
    let relative = Path::new(path.trim_start_matches('/'));
    let inside = relative.components().all(|part| matches!(part, Component::Normal(_)));
    inside.then(|| root.join(relative))
}

fn decode(path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
        } else {
            byte
        });
    }
    String::from_utf8(bytes).ok()
}

//! Archives written anew without what differs from one run to the next: the times, owners and order of their members. What is in the members
//! stays byte for byte.
//!
//! For outputs whose tool cannot be told to make them twice the same. A step's output is a stranger's: what is no such archive, or says of itself
//! what is not so, is refused.

mod ar;
mod gzip;
mod zip;

use std::{
    fs::File,
    io::{self, Read as _, Seek as _},
};

use bulla_model::{Digest, digest::Hasher, spec::ArchiveFormat};

/// The bytes that a file of a format begins with.
const fn magic(format: ArchiveFormat) -> &'static [u8] {
    match format {
        ArchiveFormat::Zip => b"PK",
        ArchiveFormat::Gzip => &[0x1f, 0x8b],
        ArchiveFormat::Ar => b"!<arch>\n",
    }
}

/// Says whether a file begins as one of a format does; it is at its beginning again then.
pub(crate) fn is(format: ArchiveFormat, file: &mut File) -> io::Result<bool> {
    let mut begin = Vec::new();
    file.take(magic(format).len() as u64).read_to_end(&mut begin)?;
    file.rewind()?;
    Ok(begin == magic(format))
}

/// Says why an archive was not written anew.
#[derive(Debug)]
pub enum Failure {
    /// It is none, or none that can be: a sentence.
    Unfit(String),
    /// Reading or writing fails.
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Writes an archive anew into an empty file. Written anew again it stays as it is.
///
/// # Errors
/// When it is none, or cannot be written anew, or when reading or writing fails.
pub fn write(format: ArchiveFormat, from: File, to: &File) -> Result<(), Failure> {
    match format {
        ArchiveFormat::Zip => zip::write(from, to),
        ArchiveFormat::Gzip => gzip::write(from, to),
        ArchiveFormat::Ar => ar::write(from, to),
    }
}

/// Gives the digest and the length of a file.
pub(crate) fn measure(file: &mut File) -> io::Result<(Digest, u64)> {
    let mut hasher = Hasher::new();
    file.rewind()?;
    let length = io::copy(file, &mut hasher)?;
    Ok((hasher.finish(), length))
}

/// Copies a file whole, to be changed where it stands.
fn copy(mut from: File, mut to: &File) -> io::Result<u64> {
    io::copy(&mut from, &mut to)
}

#[cfg(test)]
mod tests;

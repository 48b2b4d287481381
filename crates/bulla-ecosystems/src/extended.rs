//! The extended headers of tar archives (POSIX.1-2024 `pax`, and GNU's long names), with a limit that the tar crate has not.

use std::io::{self, Read};

/// The most bytes of a name or link in an extended header.
const MAX_HEADER: u64 = 64 << 10;

/// Reads a name that GNU wrote as an entry of its own.
pub(crate) fn long(entry: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = bounded(entry)?;
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    Ok(bytes)
}

/// Reads the records of a header.
pub(crate) fn records(entry: &mut impl Read) -> io::Result<Vec<(String, Vec<u8>)>> {
    let bytes = bounded(entry)?;
    let records = tar::PaxExtensions::new(&bytes).map(|record| {
        let record = record?;
        let key = record.key().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok((key.to_owned(), record.value_bytes().to_vec()))
    });
    records.collect()
}

fn bounded(entry: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if entry.take(MAX_HEADER + 1).read_to_end(&mut bytes)? as u64 > MAX_HEADER {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "an extended header is larger than 64 KiB"));
    }
    Ok(bytes)
}

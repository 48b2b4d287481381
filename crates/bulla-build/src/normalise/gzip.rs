//! gzip: the time of each member (RFC 1952, section 2.3.1, MTIME).

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Seek as _},
    os::unix::fs::FileExt as _,
};

use flate2::bufread::GzDecoder;

use super::Failure;

/// Where the time stands in the header of a member, in four bytes.
const TIME: u64 = 4;

pub(super) fn write(from: File, to: &File) -> Result<(), Failure> {
    let mut reader = BufReader::new(from.try_clone()?);
    super::copy(from, to)?;
    // Both share one place in the file, and the copy is done with it.
    reader.rewind()?;
    loop {
        let at = reader.stream_position()?;
        if reader.fill_buf()?.is_empty() {
            return Ok(());
        }
        let mut member = GzDecoder::new(&mut reader);
        // Its end is where its bytes have been read, and with it that it is whole.
        io::copy(&mut member, &mut io::sink())
            .map_err(|error| Failure::Unfit(format!("the member at byte {at} is damaged: {error}")))?;
        to.write_all_at(&[0; 4], at + TIME)?;
    }
}

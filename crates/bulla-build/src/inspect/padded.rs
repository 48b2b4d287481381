//! Archives whose last block was not filled up.
//!
//! Some tools end a layer with the last byte of its last file (Go's reader takes that; POSIX's format fills the block with
//! zeros). The missing zeros are supplied, and nothing else: content that is missing stays an error.

use std::{
    cell::Cell,
    io::{self, Read},
};

const BLOCK: u64 = 512;

/// Fills up the last block of an archive that is read.
pub(super) struct Padded<'a, R> {
    inner: R,
    /// How much was read of it, and whether that was all.
    progress: &'a Progress,
    zeros: u64,
}

/// How far an archive was read, without what was supplied.
#[derive(Default)]
pub(super) struct Progress {
    read: Cell<u64>,
    ended: Cell<bool>,
}

impl Progress {
    /// Says whether the archive ended before that many bytes.
    pub(super) fn lacks(&self, bytes: u64) -> bool {
        self.ended.get() && self.read.get() < bytes
    }
}

impl<'a, R: Read> Padded<'a, R> {
    pub(super) fn new(inner: R, progress: &'a Progress) -> Self {
        Self { inner, progress, zeros: 0 }
    }
}

impl<R: Read> Read for Padded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.progress.ended.get() {
            let count = self.inner.read(buffer)?;
            let read = self.progress.read.get() + count as u64;
            self.progress.read.set(read);
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            self.progress.ended.set(true);
            self.zeros = read.next_multiple_of(BLOCK) - read;
        }
        let count = io::repeat(0).take(self.zeros).read(buffer)?;
        self.zeros -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> (usize, Progress) {
        let progress = Progress::default();
        let mut all = Vec::new();
        Padded::new(bytes, &progress).read_to_end(&mut all).expect("bytes");
        assert!(all.starts_with(bytes) && all[bytes.len()..].iter().all(|byte| *byte == 0));
        (all.len(), progress)
    }

    #[test]
    fn only_the_last_block_is_filled_and_what_is_supplied_is_known() {
        assert_eq!(read(&[]).0, 0);
        assert_eq!(read(&[1; 512]).0, 512);
        let (length, progress) = read(&[1; 513]);
        assert_eq!(length, 1024);
        assert!(!progress.lacks(513) && progress.lacks(514));
    }
}

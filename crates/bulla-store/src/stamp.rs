//! Stamps: what the kernel says of an inode whose bytes were hashed. A receipt is a sealed list of stamps; as long as the
//! stamp is the same, the bytes are taken to be the same.

use rustix::fs::Stat;

/// What is remembered of an inode. A change of its bytes, mode, owner, name or links moves the change time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) dev: u64,
    pub(crate) ino: u64,
    pub(crate) size: u64,
    pub(crate) ctime: i64,
    pub(crate) ctime_ns: u32,
}

/// The length of a stamp in a record.
pub(crate) const STAMP: usize = 36;

impl Stamp {
    /// Takes it from what `stat` said.
    #[expect(clippy::unnecessary_cast, reason = "the fields have other widths on other architectures")]
    pub(crate) fn of(stat: &Stat) -> Self {
        Self {
            dev: stat.st_dev as u64,
            ino: stat.st_ino as u64,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            ctime: stat.st_ctime as i64,
            ctime_ns: stat.st_ctime_nsec as u32,
        }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.dev.to_le_bytes());
        out.extend_from_slice(&self.ino.to_le_bytes());
        out.extend_from_slice(&self.size.to_le_bytes());
        out.extend_from_slice(&self.ctime.to_le_bytes());
        out.extend_from_slice(&self.ctime_ns.to_le_bytes());
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            dev: from.u64()?,
            ino: from.u64()?,
            size: from.u64()?,
            ctime: from.u64()?.cast_signed(),
            ctime_ns: from.u32()?,
        })
    }
}

/// Writes a list of stamps.
pub(crate) fn encode(stamps: &[Stamp]) -> Vec<u8> {
    let mut out = Vec::with_capacity(stamps.len() * STAMP);
    stamps.iter().for_each(|stamp| stamp.write(&mut out));
    out
}

/// Reads a list of stamps and nothing else.
pub(crate) fn decode(bytes: &[u8]) -> Option<Vec<Stamp>> {
    let mut reader = Reader(bytes);
    let mut stamps = Vec::with_capacity(bytes.len() / STAMP);
    while !reader.0.is_empty() {
        stamps.push(Stamp::read(&mut reader)?);
    }
    Some(stamps)
}

/// Reads little-endian fields off the front of a record.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_le_bytes)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn stamps_are_read_back(fields: Vec<(u64, u64, u64, i64, u32)>) {
            let stamps: Vec<Stamp> = fields
                .into_iter()
                .map(|(dev, ino, size, ctime, ctime_ns)| Stamp { dev, ino, size, ctime, ctime_ns })
                .collect();
            prop_assert_eq!(decode(&encode(&stamps)), Some(stamps));
        }

        #[test]
        fn foreign_bytes_do_no_harm(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }
    }
}

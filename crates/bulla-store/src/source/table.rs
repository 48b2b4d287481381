//! The sealed tables of a source.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use bulla_model::{CleanPath, Digest};
use rustix::fs::Stat;

use crate::stamp::{Reader, STAMP, Stamp};

/// What a file looked like when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) stamp: Stamp,
    pub(crate) mtime: i64,
    pub(crate) mtime_ns: u32,
    /// A directory is only asked whether it still is one.
    pub(crate) is_directory: bool,
}

impl Look {
    #[expect(clippy::unnecessary_cast, reason = "the fields have other widths on other architectures")]
    pub(crate) fn of(stat: &Stat) -> Self {
        Self {
            stamp: Stamp::of(stat),
            mtime: stat.st_mtime as i64,
            mtime_ns: stat.st_mtime_nsec as u32,
            is_directory: crate::dir::kind_of(stat).is_dir(),
        }
    }

    /// Says whether the file looks as it did.
    pub(crate) fn is_same(&self, now: &Self) -> bool {
        if self.is_directory { now.is_directory } else { self == now }
    }

    /// Says whether the file may have been written again, unseen, within the same tick of the file system's clock in which it
    /// was read. A file system that keeps no fractions of seconds has ticks of up to two seconds.
    pub(crate) fn is_racy(&self, read: Duration) -> bool {
        let slack = if self.mtime_ns == 0 && self.stamp.ctime_ns == 0 { 2000 } else { 20 };
        let time = |seconds: i64, ns: u32| Duration::new(u64::try_from(seconds).unwrap_or(0), ns);
        let last = time(self.mtime, self.mtime_ns).max(time(self.stamp.ctime, self.stamp.ctime_ns));
        !self.is_directory && last + Duration::from_millis(slack) >= read
    }
}

/// What a source looked like when it was read last.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Table {
    /// When reading began, since 1970.
    pub(crate) read: Duration,
    /// The digest of the manifest.
    pub(crate) digest: Digest,
    /// The paths that were asked for, in order.
    pub(crate) rows: Vec<(CleanPath, Look)>,
}

impl Table {
    pub(crate) fn new(started: SystemTime, digest: Digest, rows: Vec<(CleanPath, Look)>) -> Self {
        Self { read: started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(), digest, rows }
    }

    /// Says whether it is about exactly these paths.
    pub(crate) fn has_paths(&self, paths: &[CleanPath]) -> bool {
        self.rows.len() == paths.len() && self.rows.iter().zip(paths).all(|((path, _), other)| path == other)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.rows.len() * (STAMP + 64));
        out.extend_from_slice(&self.read.as_secs().to_le_bytes());
        out.extend_from_slice(&self.read.subsec_nanos().to_le_bytes());
        out.extend_from_slice(self.digest.as_bytes());
        for (path, look) in &self.rows {
            let length = u16::try_from(path.as_bytes().len()).unwrap_or(u16::MAX);
            out.push(u8::from(look.is_directory));
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(path.as_bytes());
            look.stamp.write(&mut out);
            out.extend_from_slice(&look.mtime.to_le_bytes());
            out.extend_from_slice(&look.mtime_ns.to_le_bytes());
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let (seconds, ns) = (reader.u64()?, reader.u32()?);
        let read = Duration::from_secs(seconds).checked_add(Duration::from_nanos(ns.into()))?;
        let digest = Digest::from_bytes(reader.take(32)?.try_into().ok()?);
        let mut rows = Vec::with_capacity(bytes.len() / (STAMP + 48));
        while !reader.0.is_empty() {
            let is_directory = reader.u8()? == 1;
            let length = usize::from(reader.u16()?);
            let path = CleanPath::parse(reader.take(length)?).ok()?;
            let stamp = Stamp::read(&mut reader)?;
            let (mtime, mtime_ns) = (reader.u64()?.cast_signed(), reader.u32()?);
            rows.push((path, Look { stamp, mtime, mtime_ns, is_directory }));
        }
        Some(Self { read, digest, rows })
    }
}

/// The stamps of the objects of a source.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Objects(pub(crate) HashMap<Digest, Stamp>);

impl Objects {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.0.len() * (STAMP + 32));
        for (key, stamp) in &self.0 {
            out.extend_from_slice(key.as_bytes());
            stamp.write(&mut out);
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let mut objects = HashMap::with_capacity(bytes.len() / (STAMP + 32));
        while !reader.0.is_empty() {
            let key = Digest::from_bytes(reader.take(32)?.try_into().ok()?);
            objects.insert(key, Stamp::read(&mut reader)?);
        }
        Some(Self(objects))
    }

    /// Gives the stamps by inode.
    pub(crate) fn by_inode(&self) -> HashMap<u64, Stamp> {
        self.0.values().map(|stamp| (stamp.ino, *stamp)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn look(mtime: i64, mtime_ns: u32) -> Look {
        let stamp = Stamp { dev: 1, ino: 2, size: 3, ctime: mtime, ctime_ns: mtime_ns };
        Look { stamp, mtime, mtime_ns, is_directory: false }
    }

    #[test]
    fn what_was_written_in_the_moment_of_reading_is_racy() {
        let read = Duration::new(1000, 500_000_000);
        assert!(look(1000, 490_000_000).is_racy(read));
        assert!(look(1000, 600_000_000).is_racy(read));
        assert!(!look(1000, 400_000_000).is_racy(read));
        assert!(look(999, 0).is_racy(read), "whole seconds only");
        assert!(!look(998, 0).is_racy(read));
    }

    proptest! {
        #[test]
        fn tables_are_read_back(names: Vec<(Vec<u8>, i64, u32, bool)>, read: u32) {
            let rows = names
                .into_iter()
                .filter_map(|(name, mtime, ns, dir)| {
                    Some((CleanPath::parse(name).ok()?, Look { is_directory: dir, ..look(mtime, ns) }))
                })
                .collect();
            let table = Table { read: Duration::from_millis(read.into()), digest: Digest::of("x"), rows };
            prop_assert_eq!(Table::decode(&table.encode()), Some(table));
        }

        #[test]
        fn foreign_bytes_do_no_harm(bytes: Vec<u8>) {
            let _ = (Table::decode(&bytes), Objects::decode(&bytes));
        }
    }
}

//! The sealed record of a farm, and checking the farm against it.

use std::{collections::HashMap, path::Path};

use bulla_model::{CleanPath, Digest};
use rustix::{fs::OFlags, io::Errno};

use crate::{
    dir::{self, Dir},
    error::{Error, Result},
    key::Domain,
    parallel,
    stamp::{Reader, STAMP, Stamp},
    store::{Inner, Scratch, receipt_name},
};

/// The most bytes that a record may have.
const MAX_RECORD: u64 = 2 << 30;

/// What stands at a path of a farm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// The path; the root itself has none.
    pub(crate) path: Option<CleanPath>,
    /// The inode. Of a linked one only the number counts: its other fields are in the receipts it comes from.
    pub(crate) stamp: Stamp,
    /// Whether it is a link to an inode of a part.
    pub(crate) linked: bool,
}

/// What a farm consists of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The trees, or the source, that the links come from.
    pub(crate) parts: Vec<Digest>,
    /// All paths, in order.
    pub(crate) rows: Vec<Row>,
}

/// How a farm compares with its record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// All is as it was made.
    Good,
    /// There is no farm, or none that was finished.
    Missing,
    /// The store is mounted with another device number than when the farm was made, as some file systems have it after each start of the
    /// machine. Nothing can be said of it, and nothing is wrong with it.
    Mounted,
    /// Something differs.
    Edited(String),
}

impl Record {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.rows.len() * (STAMP + 48));
        out.extend_from_slice(&u32::try_from(self.parts.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
        for row in &self.rows {
            let path = row.path.as_ref().map_or(&[][..], CleanPath::as_bytes);
            out.push(u8::from(row.linked));
            out.extend_from_slice(&u16::try_from(path.len()).unwrap_or(u16::MAX).to_le_bytes());
            out.extend_from_slice(path);
            row.stamp.write(&mut out);
        }
        out
    }

    /// Says whether the root has another device number than it had.
    pub(crate) fn is_of_another_mount(&self, root: &Dir) -> bool {
        let known = self.rows.iter().find(|row| row.path.is_none());
        let now = dir::stat_at(root, Path::new(".")).map(|stat| Stamp::of(&stat).dev);
        known.is_some_and(|row| now.is_ok_and(|dev| dev != row.stamp.dev))
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let count = reader.u32()?;
        let parts = (0..count)
            .map(|_| Some(Digest::from_bytes(reader.take(32)?.try_into().ok()?)))
            .collect::<Option<Vec<_>>>()?;
        let mut rows = Vec::new();
        while !reader.0.is_empty() {
            let linked = reader.u8()? == 1;
            let length = usize::from(reader.u16()?);
            let path = match reader.take(length)? {
                [] => None,
                path => Some(CleanPath::parse(path).ok()?),
            };
            rows.push(Row { path, stamp: Stamp::read(&mut reader)?, linked });
        }
        Some(Self { parts, rows })
    }
}

impl Inner {
    /// Gives the record of a farm that was finished.
    pub(crate) fn farm_record(&self, digest: &Digest) -> Option<Record> {
        let bytes = self.receipts.read_all(receipt_name('f', digest), MAX_RECORD).ok()??;
        Record::decode(self.key.unseal(Domain::Farm, digest, &bytes)?)
    }

    /// Examines every entry of a farm. `stamps` gives those of the parts, by inode.
    pub(crate) fn check_farm(&self, digest: &Digest, stamps: impl FnOnce() -> HashMap<u64, Stamp>) -> Result<Check> {
        let Some(record) = self.farm_record(digest) else { return Ok(Check::Missing) };
        let place = Path::new(&digest.hex()).join("root");
        let root = match dir::open_at(&self.farms, &place, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW, 0) {
            Ok(_) => self.farms.sub(&place)?,
            Err(Errno::NOENT) => return Ok(Check::Missing),
            Err(Errno::LOOP | Errno::NOTDIR) => return Ok(Check::Edited("it is not a directory".to_owned())),
            Err(error) => return Err(Error::io("opening", self.farms.path().join(place), error)),
        };
        let stamps = stamps();
        let checked = parallel::map(&record.rows, |row| check(&root, row, &stamps));
        match checked {
            Ok(_) => Ok(Check::Good),
            Err(Some(error)) => Err(error),
            Err(None) if record.is_of_another_mount(&root) => Ok(Check::Mounted),
            Err(None) => {
                let differs = |row: &&Row| !matches!(check(&root, row, &stamps), Ok(()));
                let row = record.rows.iter().find(differs);
                let path = row.and_then(|row| row.path.as_ref()).map_or_else(|| ".".to_owned(), ToString::to_string);
                Ok(Check::Edited(format!("at `{path}`")))
            }
        }
    }

    /// Puts a planted farm in its place, and its record after it: without a record it counts as not finished.
    pub(crate) fn place_farm(&self, digest: &Digest, draft: &Scratch, record: &Record) -> Result<()> {
        if !self.place_new(draft.name(), &self.farms, &digest.hex())? {
            self.expel(&self.farms, &digest.hex())?;
            self.place_new(draft.name(), &self.farms, &digest.hex())?;
        }
        let sealed = self.key.seal(Domain::Farm, digest, &record.encode());
        self.put(&self.receipts, &receipt_name('f', digest), &sealed, 0o600)
    }

    /// Removes a farm; the links that vanish move the change times of what they were links to.
    pub(crate) fn expel_farm(&self, digest: &Digest) -> Result<()> {
        self.expel(&self.receipts, &receipt_name('f', digest))?;
        self.expel(&self.farms, &digest.hex())
    }
}

/// Compares an entry that is no link to another's inode.
pub(crate) fn check_row(root: &Dir, row: &Row) -> std::result::Result<(), Option<Error>> {
    check(root, row, &HashMap::new())
}

fn check(root: &Dir, row: &Row, stamps: &HashMap<u64, Stamp>) -> std::result::Result<(), Option<Error>> {
    let path = row.path.as_ref().map_or(Path::new("."), AsRef::as_ref);
    let now = match dir::stat_at(root, path) {
        Ok(stat) => Stamp::of(&stat),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => return Err(None),
        Err(error) => return Err(Some(Error::io("examining", root.path().join(path), error))),
    };
    let expected = if row.linked { stamps.get(&row.stamp.ino) } else { Some(&row.stamp) };
    if expected == Some(&now) { Ok(()) } else { Err(None) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::{Options, Store};

    /// What is remembered is made to look as it does after the file system got another number.
    #[test]
    fn another_device_number_is_no_damage_and_an_edit_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let options =
            Options::new(folder.path().join("store"), folder.path().join("key"), || std::time::SystemTime::UNIX_EPOCH);
        let store = Store::open(options).expect("a store");
        let mut builder = store.tree_builder().expect("a tree");
        let (mode, owner) = (bulla_model::tree::Mode::new(0o644), bulla_model::tree::Owner::ROOT);
        let path: CleanPath = "usr/file".parse().expect("clean");
        builder.file(&path, mode, owner, bulla_model::Epoch::default(), &mut &b"bytes"[..]).expect("a file");
        let tree = builder.finish(None).expect("a tree").digest();
        let farm = store.farm(&[tree]).expect("a farm");
        let inner = &store.0;
        let forge = |change: &dyn Fn(&mut Stamp)| {
            let mut record = inner.farm_record(&farm.digest).expect("a record");
            record.rows.iter_mut().for_each(|row| change(&mut row.stamp));
            let sealed = inner.key.seal(Domain::Farm, &farm.digest, &record.encode());
            inner.put(&inner.receipts, &receipt_name('f', &farm.digest), &sealed, 0o600).expect("written");
            let mut stamps = inner.tree_receipt(&tree).expect("a receipt");
            stamps.iter_mut().for_each(change);
            inner.write_tree_receipt(&tree, &stamps).expect("written");
        };
        forge(&|stamp| stamp.dev += 1);
        assert_eq!(inner.check_farm(&farm.digest, HashMap::new).expect("checked"), Check::Mounted);
        store.farm(&[tree]).expect("made anew");
        assert_eq!(store.warnings(), [""; 0]);
        forge(&|stamp| stamp.ctime += 1);
        store.farm(&[tree]).expect("made anew");
        let told = store.warnings();
        assert!(matches!(told.as_slice(), [told] if told.contains("was changed in the store")), "{told:?}");
    }

    proptest! {
        #[test]
        fn a_record_is_read_back(names: Vec<(Vec<u8>, bool, u64)>) {
            let rows = names
                .into_iter()
                .map(|(name, linked, ino)| Row {
                    path: CleanPath::parse(name).ok(),
                    stamp: Stamp { dev: 1, ino, size: 2, ctime: -3, ctime_ns: 4 },
                    linked,
                })
                .collect();
            let record = Record { parts: vec![Digest::of("a"), Digest::of("b")], rows };
            prop_assert_eq!(Record::decode(&record.encode()), Some(record));
        }

        #[test]
        fn foreign_bytes_do_no_harm(bytes: Vec<u8>) {
            let _ = Record::decode(&bytes);
        }
    }
}

//! The ownership journal: the owners that a command gave to files, which one mapped uid cannot keep on disk.
//!
//! An entry belongs to an inode of the upper directory, so it follows the file through renames and further names. An
//! inode number is used again after a file is removed: the time of birth tells the two apart.

use std::{collections::BTreeMap, time::Duration};

const MAX_ENTRIES: usize = 1 << 20;

/// The owner that a command gave to a file; `None` is what it left as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Owned {
    /// The user id.
    pub uid: Option<u32>,
    /// The group id.
    pub gid: Option<u32>,
}

/// Every owner that a command gave to a file of the root.
#[derive(Debug, Clone, Default)]
pub struct Owners {
    entries: BTreeMap<u64, Entry>,
    overflowed: bool,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    born: Option<Duration>,
    owned: Owned,
}

impl Owners {
    /// Gives the owner by inode number and time of birth (since 1970, where the file system keeps it).
    pub fn lookup(&self, inode: u64, born: Option<Duration>) -> Option<Owned> {
        let entry = self.entries.get(&inode)?;
        (entry.born == born || entry.born.is_none() || born.is_none()).then_some(entry.owned)
    }

    /// Says whether the command gave no owner to any file.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Says whether there were more than a million entries, so that some are lost.
    pub const fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// Records that an inode was given an owner; an id of `u32::MAX` leaves it (`chown(2)`).
    pub(crate) fn record(&mut self, inode: u64, born: Option<Duration>, uid: u32, gid: u32) {
        let given = |id: u32| (id != u32::MAX).then_some(id);
        let old = self.lookup(inode, born).unwrap_or_default();
        if self.entries.len() >= MAX_ENTRIES && !self.entries.contains_key(&inode) {
            self.overflowed = true;
            return;
        }
        let owned = Owned { uid: given(uid).or(old.uid), gid: given(gid).or(old.gid) };
        self.entries.insert(inode, Entry { born, owned });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_alone_leaves_the_user() {
        let mut owners = Owners::default();
        owners.record(7, None, 33, u32::MAX);
        owners.record(7, None, u32::MAX, 44);
        assert_eq!(owners.lookup(7, None), Some(Owned { uid: Some(33), gid: Some(44) }));
    }

    #[test]
    fn an_inode_that_is_used_again_has_no_owner() {
        let mut owners = Owners::default();
        owners.record(7, Some(Duration::from_secs(1)), 33, 33);
        assert_eq!(owners.lookup(7, Some(Duration::from_secs(2))), None);
        owners.record(7, Some(Duration::from_secs(2)), u32::MAX, 5);
        assert_eq!(owners.lookup(7, Some(Duration::from_secs(2))), Some(Owned { uid: None, gid: Some(5) }));
    }
}

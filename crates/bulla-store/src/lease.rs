//! Leases: a file that is locked while its process lives and names what that process uses, so that garbage collection
//! by another process keeps its hands off. A lease whose lock can be taken is a dead process's, and vanishes with its
//! scratch folder.

use std::{collections::HashSet, fs::File, io::Write as _, os::fd::OwnedFd, sync::Mutex};

use bulla_model::{Digest, tree::Owner};
use rustix::fs::{AtFlags, FlockOperation, OFlags};

use crate::{
    dir::{self, Dir},
    error::{Error, Result},
    lock::{self, Lock, Name},
    store::{Inner, make_file, receipt_name},
};

/// The most bytes that are read of a lease: millions of names.
const MAX_LEASE: u64 = 1 << 30;

/// What can be leased: each has its receipt's letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Item {
    Blob,
    Tree,
    Farm,
    Action,
    Source,
}

impl Item {
    pub(crate) const fn letter(self) -> char {
        match self {
            Self::Blob => 'b',
            Self::Tree => 't',
            Self::Farm => 'f',
            Self::Action => 'a',
            Self::Source => 's',
        }
    }
}

/// The lease of this process.
pub(crate) struct Lease {
    pub(crate) id: String,
    file: Mutex<(File, HashSet<(Item, Digest)>)>,
}

impl Lease {
    /// Makes and locks a lease under a random name.
    pub(crate) fn take(root: &Dir, leases: &Dir, owner: Option<Owner>) -> Result<Self> {
        // Garbage collection waits: it must not see the file before its lock is taken.
        let _gc = Lock::shared(root, Name::Gc)?;
        let mut random = [0; 16];
        crate::key::fill(&mut random).map_err(|e| Error::io("naming a lease", leases.path(), e))?;
        let id: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let file = make_file(leases, &id, 0o600, owner)
            .map_err(|e| Error::io("making the lease", leases.path().join(&id), e))?;
        let fd = OwnedFd::from(file);
        lock::lock(&fd, FlockOperation::NonBlockingLockExclusive)
            .map_err(|e| Error::io("locking the lease", leases.path().join(&id), e))?;
        Ok(Self { id, file: Mutex::new((File::from(fd), HashSet::new())) })
    }
}

impl Inner {
    /// Notes that this process uses a thing from now on, so that it stays; and when it was last used.
    pub(crate) fn lease(&self, item: Item, digest: &Digest) -> Result<()> {
        let mut held = self.lease.file.lock().expect("no thread panics while it holds the lease");
        if held.1.contains(&(item, *digest)) {
            return Ok(());
        }
        let _gc = Lock::shared(&self.root, Name::Gc)?;
        let line = format!("{} {}\n", item.letter(), digest.hex());
        held.0
            .write_all(line.as_bytes())
            .map_err(|e| Error::io("writing the lease", self.leases.path().join(&self.lease.id), e))?;
        held.1.insert((item, *digest));
        match item {
            Item::Action => self.touch(&self.actions, &digest.hex()),
            Item::Source => self.touch(&self.sources, &digest.hex()),
            _ => self.touch(&self.receipts, &receipt_name(item.letter(), digest)),
        }
        Ok(())
    }

    /// Reads what living processes use, this one included, and removes the leases and the scratch of the dead.
    /// The caller holds the lock of the garbage collection alone.
    pub(crate) fn leased(&self, _gc: &Lock) -> Result<HashSet<(char, Digest)>> {
        let mut used = HashSet::new();
        for id in self.leases.names()? {
            let id = String::from_utf8_lossy(&id).into_owned();
            let fail = |e: rustix::io::Errno| Error::io("reading the lease", self.leases.path().join(&id), e);
            if id != self.lease.id && self.is_dead(&id).map_err(fail)? {
                let _ = dir::remove_all(&self.all_scratch, &id);
                let _ = rustix::fs::unlinkat(&self.leases, id.as_str(), AtFlags::empty());
                continue;
            }
            let text = self.leases.read_all(&id, MAX_LEASE).map_err(fail)?.unwrap_or_default();
            used.extend(text.split(|b| *b == b'\n').filter_map(|line| {
                let (letter, hex) = std::str::from_utf8(line).ok()?.split_once(' ')?;
                Some((letter.chars().next()?, Digest::from_hex(hex).ok()?))
            }));
        }
        for id in self.all_scratch.names()? {
            let id = String::from_utf8_lossy(&id).into_owned();
            if id != self.lease.id && dir::stat_at(&self.leases, &id).is_err() {
                let _ = dir::remove_all(&self.all_scratch, &id);
            }
        }
        Ok(used)
    }

    fn is_dead(&self, id: &str) -> rustix::io::Result<bool> {
        match dir::open_at(&self.leases, id, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK, 0) {
            Ok(fd) => lock::lock(&fd, FlockOperation::NonBlockingLockExclusive),
            Err(rustix::io::Errno::NOENT) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Clears away what dead processes left, unless somebody is just busy with leases: then it waits for another time.
    pub(crate) fn clear_the_dead(&self) {
        let cleared = Lock::try_exclusive(&self.root, Name::Gc)
            .and_then(|gc| gc.map_or(Ok(()), |gc| self.leased(&gc).map(|_| ())));
        if let Err(error) = cleared {
            self.warn(format!("what dead builds left could not be cleared away: {error}"));
        }
    }
}

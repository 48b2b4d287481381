//! Locks between processes: `flock` on files of `locks/`. Each lock opens its file anew, so threads exclude each other too.

use std::os::fd::OwnedFd;

use rustix::{
    fs::{FlockOperation, OFlags},
    io::Errno,
};

use crate::{
    dir::{self, Dir},
    error::{Error, Result},
};

/// What a lock protects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    /// Shared while a lease is written, exclusive while garbage is collected.
    Gc,
    /// Exclusive while links are made or removed and receipts made anew, shared while receipts are read again.
    Receipts,
    /// Shared while a cache is copied, exclusive while one is put in its place or removed.
    Caches,
}

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _fd: OwnedFd,
}

impl Lock {
    /// Waits until others may be in as well, but nobody alone.
    pub(crate) fn shared(root: &Dir, name: Name) -> Result<Self> {
        Self::take(root, name, FlockOperation::LockShared).map(|lock| lock.expect("a blocking lock is taken or fails"))
    }

    /// Waits until nobody else is in.
    pub(crate) fn exclusive(root: &Dir, name: Name) -> Result<Self> {
        Self::take(root, name, FlockOperation::LockExclusive)
            .map(|lock| lock.expect("a blocking lock is taken or fails"))
    }

    /// Takes the lock alone, or gives `None` when somebody is in.
    pub(crate) fn try_exclusive(root: &Dir, name: Name) -> Result<Option<Self>> {
        Self::take(root, name, FlockOperation::NonBlockingLockExclusive)
    }

    fn take(root: &Dir, name: Name, how: FlockOperation) -> Result<Option<Self>> {
        let path = match name {
            Name::Gc => "locks/gc",
            Name::Receipts => "locks/receipts",
            Name::Caches => "locks/caches",
        };
        let fail = |e: Errno| Error::io("locking", root.path().join(path), e);
        let fd = dir::open_at(root, path, OFlags::RDWR | OFlags::NOFOLLOW, 0).map_err(fail)?;
        lock(&fd, how).map_err(fail).map(|taken| taken.then_some(Self { _fd: fd }))
    }
}

/// Locks an open file; false when it was not to wait and somebody else has it.
pub(crate) fn lock(fd: &OwnedFd, how: FlockOperation) -> rustix::io::Result<bool> {
    loop {
        match rustix::fs::flock(fd, how) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

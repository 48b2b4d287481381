//! How a delta on disk says that a path is gone.
//!
//! It is a character device 0/0, as overlayfs has it, so that the delta can be a lower layer. A store that itself lies on an
//! overlay cannot have one: there, deltas are never layers of another overlay, which the kernel would refuse, but are copied by
//! what their manifests say; a FIFO, which no tree has otherwise, keeps the place.

use std::{os::fd::AsFd, path::Path};

use rustix::{
    fs::{FileType, Mode, Stat},
    io::Errno,
};

use crate::dir;

/// The kind of file system that overlayfs is (`OVERLAYFS_SUPER_MAGIC` of `linux/magic.h`).
const OVERLAYFS: u64 = 0x794c_7630;

/// Hides a path that lies below.
pub(crate) fn make(above: impl AsFd, name: &Path) -> rustix::io::Result<()> {
    match rustix::fs::mknodat(&above, name, FileType::CharacterDevice, Mode::empty(), 0) {
        Err(Errno::PERM) if lies_on_overlay(&above)? => {
            rustix::fs::mknodat(above, name, FileType::Fifo, Mode::empty(), 0)
        }
        made => made,
    }
}

/// Says whether overlayfs takes it for a whiteout.
pub(crate) fn is_device(stat: &Stat) -> bool {
    dir::kind_of(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Says whether it is what [`make`] leaves in a directory.
pub(crate) fn is_made(stat: &Stat, directory: impl AsFd) -> rustix::io::Result<bool> {
    Ok(is_device(stat) || (dir::kind_of(stat) == FileType::Fifo && lies_on_overlay(directory)?))
}

fn lies_on_overlay(directory: impl AsFd) -> rustix::io::Result<bool> {
    Ok(u64::try_from(rustix::fs::fstatfs(directory)?.f_type) == Ok(OVERLAYFS))
}

//! Directories as descriptors. Everything in the store is reached from its root with `openat2`, beneath and without
//! symbolic or magic links, so that a link planted anywhere is refused by the kernel and not followed by us.

use std::{
    collections::VecDeque,
    fs::File,
    io::Read as _,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, FileType, Mode as Bits, OFlags, RawDir, ResolveFlags, Stat},
    io::Errno,
};

use crate::error::{Error, Result};

/// How every path is resolved.
const STRICT: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// Opens a path beneath a directory. `openat2` fails with EAGAIN when something was renamed meanwhile: it is tried again.
pub(crate) fn open_at(dir: impl AsFd, path: impl AsRef<Path>, flags: OFlags, mode: u32) -> rustix::io::Result<OwnedFd> {
    let path = path.as_ref();
    let flags = flags | OFlags::CLOEXEC;
    for _ in 0..64 {
        match rustix::fs::openat2(&dir, path, flags, Bits::from_raw_mode(mode), STRICT) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// Examines a path without following a link in its last component.
pub(crate) fn stat_at(dir: impl AsFd, path: impl AsRef<Path>) -> rustix::io::Result<Stat> {
    rustix::fs::statat(dir, path.as_ref(), AtFlags::SYMLINK_NOFOLLOW)
}

/// Says what kind of thing an examined path is.
pub(crate) fn kind_of(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// An open directory, with its path for messages.
#[derive(Debug)]
pub(crate) struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Dir {
    /// Opens a directory by its absolute path; the last component must not be a link.
    pub(crate) fn open(path: &Path) -> rustix::io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(rustix::fs::CWD, path, flags, Bits::empty())?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Opens a directory beneath this one.
    pub(crate) fn sub(&self, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let fd = open_at(&self.fd, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW, 0)
            .map_err(|e| Error::io("opening the directory", self.path.join(path), e))?;
        Ok(Self { fd, path: self.path.join(path) })
    }

    /// Gives the absolute path, for messages and for those who mount.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a regular file for reading; `None` where there is nothing.
    pub(crate) fn read(&self, name: impl AsRef<Path>) -> rustix::io::Result<Option<File>> {
        match open_at(&self.fd, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK, 0) {
            Ok(fd) if kind_of(&rustix::fs::fstat(&fd)?).is_file() => Ok(Some(File::from(fd))),
            Ok(_) => Err(Errno::INVAL),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads a whole regular file of at most `limit` bytes; `None` where there is none, or it is longer.
    pub(crate) fn read_all(&self, name: impl AsRef<Path>, limit: u64) -> rustix::io::Result<Option<Vec<u8>>> {
        let Some(file) = self.read(name)? else { return Ok(None) };
        let size = u64::try_from(rustix::fs::fstat(&file)?.st_size).unwrap_or(u64::MAX);
        if size > limit {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
        file.take(limit + 1).read_to_end(&mut bytes).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
        Ok((bytes.len() as u64 <= limit).then_some(bytes))
    }

    /// Lists the names in this directory, without `.` and `..`, sorted.
    pub(crate) fn names(&self) -> Result<Vec<Vec<u8>>> {
        list(&self.fd).map_err(|e| Error::io("listing", &self.path, e))
    }
}

/// Lists the names in an open directory, without `.` and `..`, sorted. The descriptor's position is moved to the start first.
pub(crate) fn list(dir: impl AsFd) -> rustix::io::Result<Vec<Vec<u8>>> {
    let fd = open_at(dir, ".", OFlags::RDONLY | OFlags::DIRECTORY, 0)?;
    let mut buffer = Vec::with_capacity(32 * 1024);
    let mut entries = RawDir::new(fd, buffer.spare_capacity_mut());
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Gives a name as a path.
pub(crate) fn name(bytes: &[u8]) -> &Path {
    Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(bytes))
}

/// How deep [`remove_all`] descends before it moves what lies deeper to the top: bounds the open descriptors.
const DEEP: usize = 48;

/// Removes whatever stands at a name, with all beneath it: also directories nobody may enter (overlayfs leaves such), and
/// nests deeper than any path is long. Nothing outside is touched: links are removed, never followed.
pub(crate) fn remove_all(top: impl AsFd, path: impl AsRef<Path>) -> rustix::io::Result<()> {
    let top = top.as_fd();
    let mut waiting = VecDeque::from([path.as_ref().to_owned()]);
    let mut moved = 0_u64;
    while let Some(path) = waiting.pop_front() {
        let mut deeper = |dir: BorrowedFd<'_>, child: &Path| {
            let mut random = [0; 8];
            crate::key::fill(&mut random).map_err(|_| Errno::IO)?;
            moved += 1;
            let name = PathBuf::from(format!("deep-{:016x}-{moved}", u64::from_le_bytes(random)));
            rustix::fs::renameat(dir, child, top, &name)?;
            waiting.push_back(name);
            Ok(())
        };
        remove_some(top, &path, 0, &mut deeper)?;
    }
    Ok(())
}

fn remove_some(
    dir: BorrowedFd<'_>,
    path: &Path,
    depth: usize,
    deeper: &mut dyn FnMut(BorrowedFd<'_>, &Path) -> rustix::io::Result<()>,
) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(dir, path, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    if depth == DEEP {
        make_enterable(dir, path)?;
        return deeper(dir, path);
    }
    make_enterable(dir, path)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let inner = open_at(dir, path, flags, 0)?;
    for child in list(&inner)? {
        remove_some(inner.as_fd(), name(&child), depth + 1, deeper)?;
    }
    match rustix::fs::unlinkat(dir, path, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// Gives the owner of a directory the right to read, write and enter it, without following a link that was put there.
pub(crate) fn make_enterable(dir: impl AsFd, path: &Path) -> rustix::io::Result<()> {
    let fd = open_at(dir, path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY, 0)?;
    let mode = rustix::fs::fstat(&fd)?.st_mode & 0o7777;
    if mode & 0o700 == 0o700 { Ok(()) } else { chmod_path_fd(&fd, mode | 0o700) }
}

/// Changes the mode of what an `O_PATH` descriptor stands for (`fchmod` refuses those, `/proc/self/fd` does not).
pub(crate) fn chmod_path_fd(fd: impl AsFd, mode: u32) -> rustix::io::Result<()> {
    use std::os::fd::AsRawFd as _;
    let path = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    rustix::fs::chmodat(rustix::fs::CWD, path, Bits::from_raw_mode(mode), AtFlags::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_removed_and_never_followed() {
        let dir = tempfile::tempdir().expect("a folder");
        let outside = tempfile::tempdir().expect("a folder");
        std::fs::write(outside.path().join("kept"), "x").expect("written");
        std::fs::create_dir(dir.path().join("doomed")).expect("made");
        std::os::unix::fs::symlink(outside.path(), dir.path().join("doomed/link")).expect("linked");
        let top = Dir::open(dir.path()).expect("opened");
        remove_all(&top, "doomed").expect("removed");
        assert!(outside.path().join("kept").exists());
        assert_eq!(top.names().expect("listed").len(), 0);
    }

    #[test]
    fn a_nest_deeper_than_any_path_is_removed() {
        let dir = tempfile::tempdir().expect("a folder");
        let top = Dir::open(dir.path()).expect("opened");
        let mut inner: OwnedFd = rustix::io::fcntl_dupfd_cloexec(&top, 0).expect("duplicated");
        for _ in 0..3000 {
            rustix::fs::mkdirat(&inner, "directory", Bits::from_raw_mode(0o700)).expect("made");
            let next = open_at(&inner, "directory", OFlags::RDONLY | OFlags::DIRECTORY, 0).expect("opened");
            inner = next;
        }
        rustix::fs::fchmod(&inner, Bits::empty()).expect("closed");
        drop(inner);
        remove_all(&top, "directory").expect("removed");
        assert_eq!(top.names().expect("listed").len(), 0);
    }

    #[test]
    fn nothing_is_opened_through_a_link() {
        let dir = tempfile::tempdir().expect("a folder");
        std::os::unix::fs::symlink("/etc", dir.path().join("etc")).expect("linked");
        let top = Dir::open(dir.path()).expect("opened");
        assert_eq!(open_at(&top, "etc/passwd", OFlags::RDONLY, 0).err(), Some(Errno::LOOP));
        assert!(top.read("etc").is_err());
        assert!(open_at(&top, "/etc/passwd", OFlags::RDONLY, 0).is_err());
    }
}

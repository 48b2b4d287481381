//! Where the bytes of an image's files are read from.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
    path::Path,
};

use bulla_model::{CleanPath, tree::Node};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};

/// Opens the contents of an image's files. What it gives is hashed and compared with the tree.
pub trait Contents: Sync {
    /// Opens a file. `input` is the place in [`bulla_model::image::ImagePlan::inputs`], `path` the path in the image.
    ///
    /// # Errors
    /// When the file cannot be opened.
    fn open(&self, input: usize, path: &CleanPath, node: &Node) -> io::Result<Box<dyn Read>>;
}

impl<F> Contents for F
where
    F: Fn(usize, &CleanPath, &Node) -> io::Result<Box<dyn Read>> + Sync,
{
    fn open(&self, input: usize, path: &CleanPath, node: &Node) -> io::Result<Box<dyn Read>> {
        self(input, path, node)
    }
}

/// A physical directory whose files are opened without ever leaving it or following a link.
#[derive(Debug)]
pub struct Folder(OwnedFd);

impl Folder {
    /// Opens the directory.
    ///
    /// # Errors
    /// When it is not a directory, or cannot be opened.
    pub fn new(root: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(root, flags, Mode::empty())?))
    }

    /// Lists the regular files of a directory beneath it, at most so many, each with its size.
    ///
    /// # Errors
    /// When there is none, or the way to it goes through a link.
    pub fn list(&self, path: &CleanPath, most: usize) -> io::Result<Vec<(Vec<u8>, u64)>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let folder = rustix::fs::openat2(&self.0, path.as_bytes(), flags, Mode::empty(), resolve)?;
        let mut found = Vec::new();
        for entry in rustix::fs::Dir::read_from(&folder)?.take(most) {
            let entry = entry?;
            let stat = rustix::fs::statat(&folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
                found.push((entry.file_name().to_bytes().to_vec(), u64::try_from(stat.st_size).unwrap_or(u64::MAX)));
            }
        }
        Ok(found)
    }

    /// Opens a regular file beneath it.
    ///
    /// # Errors
    /// When there is none, when it is something else, or when the way to it goes through a link.
    pub fn open(&self, path: &CleanPath) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let fd = rustix::fs::openat2(&self.0, path.as_bytes(), flags, Mode::empty(), resolve)?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode);
        if kind == FileType::RegularFile {
            Ok(File::from(fd))
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
        }
    }
}

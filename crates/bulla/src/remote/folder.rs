//! A remote store in a folder: `manifests/TAG` and `blobs/sha256/HEX`. A web server can serve it as it is, several machines can
//! write it at once (each file is written beside its place and renamed), and nothing in it is believed.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use bulla_model::{
    Digest, Hasher,
    oci::{self, Descriptor},
};
use bulla_net::{DownloadSink, Finish, NetError, oci::BlobSource};
use rustix::fs::OFlags;

use super::shelf::{Shelf, ShelfError};
use crate::error::CliError;

/// A folder with artifacts.
#[derive(Debug)]
pub(super) struct FolderShelf {
    root: PathBuf,
}

impl FolderShelf {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    fn tag(&self, tag: &str) -> PathBuf {
        self.root.join("manifests").join(tag)
    }

    fn digest(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    /// Writes a file beside its place, and puts it there when it is whole.
    fn put(&self, path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let folder = path.parent().unwrap_or(&self.root);
        fs_err::create_dir_all(folder)?;
        let readable = std::fs::Permissions::from_mode(0o644);
        let mut draft = tempfile::Builder::new().prefix(".bulla-").permissions(readable.clone()).tempfile_in(folder)?;
        write(draft.as_file_mut())?;
        // Others read it whatever the umask of this process is.
        draft.as_file().set_permissions(readable)?;
        draft.persist(path).map_err(|error| error.error)?;
        Ok(())
    }
}

/// Opens a regular file; `None` where there is none. What a link leads to, or waits for a writer, is none.
fn open(path: &Path) -> Result<Option<File>, ShelfError> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let fail = |source| ShelfError::of_one(CliError::File(named("reading", path, source)));
    match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) if file.metadata().map_err(fail)?.is_file() => Ok(Some(file)),
        Ok(_) => Err(fail(ErrorKind::InvalidInput.into())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fail(error)),
    }
}

/// Says whether a blob is there with the right bytes: one that was damaged is written anew.
fn is_there(path: &Path, blob: &Descriptor) -> bool {
    let Ok(Some(mut file)) = open(path) else { return false };
    let mut hasher = Hasher::new();
    let same_length = file.metadata().is_ok_and(|metadata| metadata.len() == blob.size);
    same_length && io::copy(&mut file, &mut Hashing(&mut hasher)).is_ok() && hasher.finish() == blob.digest
}

/// Hashes what is written to it.
struct Hashing<'a>(&'a mut Hasher);

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn named(verb: &str, path: &Path, source: io::Error) -> io::Error {
    io::Error::new(source.kind(), format!("{verb} {}: {source}", path.display()))
}

impl Shelf for FolderShelf {
    fn manifest(&self, tag: &str) -> Result<Option<Vec<u8>>, ShelfError> {
        let path = self.tag(tag);
        let Some(file) = open(&path)? else { return Ok(None) };
        let mut bytes = Vec::new();
        let fail = |source| ShelfError::of_one(CliError::File(named("reading", &path, source)));
        file.take(oci::MAX_MANIFEST + 1).read_to_end(&mut bytes).map_err(fail)?;
        if bytes.len() as u64 > oci::MAX_MANIFEST {
            return Err(fail(ErrorKind::FileTooLarge.into()));
        }
        Ok(Some(bytes))
    }

    fn has_manifest(&self, tag: &str) -> Result<bool, ShelfError> {
        Ok(open(&self.tag(tag))?.is_some())
    }

    fn blob(&self, blob: &Descriptor, sink: &mut dyn DownloadSink, progress: &dyn Fn(u64)) -> Result<bool, ShelfError> {
        let path = self.digest(&blob.digest);
        let Some(mut file) = open(&path)? else { return Ok(false) };
        let url = || path.display().to_string();
        let fail = |source| ShelfError::of_one(CliError::File(named("reading", &path, source)));
        let length = file.metadata().map_err(fail)?.len();
        if length != blob.size {
            let error = NetError::WrongSize { url: url(), expected: blob.size, got: length.to_string() };
            return Err(ShelfError::of_one(error));
        }
        let sinks = |source| ShelfError::of_one(NetError::Sink { url: url(), source });
        // What another attempt began with may be of other bytes.
        sink.restart().map_err(sinks)?;
        let (mut chunk, mut have) = (vec![0; 256 * 1024], 0);
        let mut part = (&mut file).take(blob.size);
        loop {
            let count = part.read(&mut chunk).map_err(fail)?;
            if count == 0 {
                break;
            }
            sink.write(chunk.get(..count).unwrap_or_default()).map_err(sinks)?;
            have += count as u64;
            progress(have);
        }
        match sink.finish(&blob.digest).map_err(sinks)? {
            Finish::Kept => Ok(true),
            Finish::Mismatch(actual) => {
                let expected = blob.digest;
                Err(ShelfError::of_one(NetError::WrongDigest { url: url(), expected, actual }))
            }
        }
    }

    fn put_blob(&self, blob: &Descriptor, from: &mut dyn BlobSource) -> Result<(), ShelfError> {
        let path = self.digest(&blob.digest);
        if is_there(&path, blob) {
            return Ok(());
        }
        let mut hasher = Hasher::new();
        let written = self.put(&path, |file| {
            from.rewind()?;
            io::copy(from, &mut Both(file, &mut hasher))?;
            match hasher.clone().finish() == blob.digest {
                true => Ok(()),
                false => Err(io::Error::other("what is to be written has changed")),
            }
        });
        written.map_err(|source| ShelfError::of_all(CliError::File(named("writing", &path, source))))
    }

    fn put_manifest(&self, tag: &str, _: &str, bytes: &[u8]) -> Result<(), ShelfError> {
        let path = self.tag(tag);
        let written = self.put(&path, |file| file.write_all(bytes));
        written.map_err(|source| ShelfError::of_all(CliError::File(named("writing", &path, source))))
    }
}

/// Writes to a file and hashes the same bytes.
struct Both<'a>(&'a mut File, &'a mut Hasher);

impl Write for Both<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.0.write(bytes)?;
        self.1.update(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

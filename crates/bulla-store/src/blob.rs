//! Blobs: bytes by their SHA-256. Hashed when they enter; on reuse covered by a receipt, else hashed again.

use std::{
    cell::Cell,
    fs::File,
    io::{self, Read, Seek as _, SeekFrom, Write},
    os::fd::AsFd,
    path::{Path, PathBuf},
    sync::Arc,
};

use bulla_model::{Digest, Hasher};
use rustix::{
    fs::{FlockOperation, Mode as Bits, OFlags},
    io::Errno,
};

use crate::{
    dir,
    error::{Error, Result},
    key::Domain,
    lease::Item,
    lock,
    stamp::{Reader, Stamp},
    store::{Inner, Store, make_file, receipt_name, settle},
};

/// How much is read at a time while hashing, in bytes.
const CHUNK: usize = 256 * 1024;
/// How often a blob is looked at that others put anew while it is read.
const MAX_LOOKS: usize = 16;

/// Hashes all that a reader gives.
pub(crate) fn hash(reader: &mut dyn Read) -> io::Result<(Digest, u64)> {
    let mut hasher = Hasher::new();
    copy(reader, &mut hasher)?;
    let length = hasher.length();
    Ok((hasher.finish(), length))
}

thread_local! {
    /// The buffer of this thread: most files are small, and making a buffer for each would cost more than copying them.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Copies all that a reader gives, by pieces that suit hashing.
pub(crate) fn copy(reader: &mut dyn Read, writer: &mut dyn Write) -> io::Result<u64> {
    let mut buffer = BUFFER.take();
    buffer.resize(CHUNK, 0);
    let copied = copy_by(&mut buffer, reader, writer);
    BUFFER.set(buffer);
    copied
}

fn copy_by(buffer: &mut [u8], reader: &mut dyn Read, writer: &mut dyn Write) -> io::Result<u64> {
    let mut total = 0;
    loop {
        let count = match reader.read(buffer) {
            Ok(0) => return Ok(total),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        writer.write_all(buffer.get(..count).unwrap_or_default())?;
        total += count as u64;
    }
}

/// Writes one blob. Dropped before [`BlobWriter::finish`], it leaves nothing.
pub struct BlobWriter {
    inner: Arc<Inner>,
    name: String,
    file: File,
    hasher: Hasher,
}

impl BlobWriter {
    /// Says how many bytes were written.
    pub fn length(&self) -> u64 {
        self.hasher.length()
    }

    /// Opens what was written so far for reading.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn reader(&self) -> Result<File> {
        let opened = dir::open_at(&self.inner.scratch, &self.name, OFlags::RDONLY | OFlags::NOFOLLOW, 0);
        opened.map(File::from).map_err(|e| Error::io("reading", self.inner.scratch.path().join(&self.name), e))
    }

    /// Moves the blob into the store.
    ///
    /// # Errors
    /// When the digest is not the expected one, or the file cannot be moved.
    pub fn finish(self, expected: Option<&Digest>) -> Result<Digest> {
        let found = self.hasher.clone().finish();
        check(expected, found, || "what was written".to_owned())?;
        admit(&self.inner, &self.name, &self.file, &found)?;
        Ok(found)
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        self.inner.discard(&self.name);
    }
}

/// A download that can be resumed, also by a later process. It is locked: a second process waits for the first. One that has no bytes
/// leaves nothing.
pub struct Partial {
    inner: Arc<Inner>,
    digest: Digest,
    file: File,
    hasher: Hasher,
    /// Whether the file was moved or removed.
    is_gone: bool,
}

impl Partial {
    /// Says how many bytes are there: where to go on.
    pub fn len(&self) -> u64 {
        self.hasher.length()
    }

    /// Says whether nothing is there yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Throws away what is there, for a server that only gives the whole.
    ///
    /// # Errors
    /// When the file cannot be cut.
    pub fn restart(&mut self) -> Result<()> {
        let cut = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        cut.map_err(|e| Error::io("emptying", self.path(), e))?;
        self.hasher = Hasher::new();
        Ok(())
    }

    /// Moves the blob into the store when its digest is right, and removes it when not.
    ///
    /// # Errors
    /// When the digest is not the one that was asked for, or the file cannot be moved.
    pub fn finish(mut self) -> Result<()> {
        let found = self.hasher.clone().finish();
        if let Err(error) = check(Some(&self.digest), found, || format!("the download of {} bytes", self.len())) {
            self.remove();
            return Err(error);
        }
        self.admit(&found)
    }

    /// Opens what is there for reading.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn reader(&self) -> Result<File> {
        let opened = dir::open_at(&self.inner.partial, self.digest.hex(), OFlags::RDONLY | OFlags::NOFOLLOW, 0);
        opened.map(File::from).map_err(|e| Error::io("reading the download", self.path(), e))
    }

    /// Moves the blob into the store under the digest that it has: that it is the right one was found out by another hash.
    ///
    /// # Errors
    /// When the file cannot be moved.
    pub fn keep(mut self) -> Result<Digest> {
        let found = self.hasher.clone().finish();
        self.admit(&found)?;
        Ok(found)
    }

    /// Removes what is there, and gives the digest that it had.
    pub fn discard(mut self) -> Digest {
        self.remove();
        self.hasher.clone().finish()
    }

    fn admit(&mut self, digest: &Digest) -> Result<()> {
        let draft = self.inner.fresh("partial");
        rustix::fs::renameat(&self.inner.partial, self.digest.hex(), &self.inner.scratch, &draft)
            .map_err(|e| Error::io("taking up the download", self.path(), e))?;
        self.is_gone = true;
        admit(&self.inner, &draft, &self.file, digest)
    }

    /// Removes the file. Nobody else has it: it is locked.
    fn remove(&mut self) {
        let _ = rustix::fs::unlinkat(&self.inner.partial, self.digest.hex(), rustix::fs::AtFlags::empty());
        self.is_gone = true;
    }

    fn path(&self) -> PathBuf {
        self.inner.partial.path().join(self.digest.hex())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.is_empty() && !self.is_gone {
            self.remove();
        }
    }
}

impl Write for Partial {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Store {
    /// Starts a blob whose digest may not be known yet.
    ///
    /// # Errors
    /// When no file can be made.
    pub fn blob_writer(&self) -> Result<BlobWriter> {
        let (name, file) = self.0.draft("blob", 0o600)?;
        Ok(BlobWriter { inner: Arc::clone(&self.0), name, file, hasher: Hasher::new() })
    }

    /// Puts bytes that are in memory into the store.
    ///
    /// # Errors
    /// When the blob cannot be written.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Digest> {
        let mut writer = self.blob_writer()?;
        writer.write_all(bytes).map_err(|e| Error::io("writing a blob to", self.root(), e))?;
        writer.finish(None)
    }

    /// Opens the download of a blob where it was left off; what is there is hashed first. Waits while another process has
    /// it, so ask [`Store::has_blob`] again afterwards. The digest is the blob's, or, for [`Partial::keep`], any that stands for it.
    ///
    /// # Errors
    /// When the file cannot be opened or read.
    pub fn partial(&self, digest: &Digest) -> Result<Partial> {
        let (inner, name) = (&self.0, digest.hex());
        let fail = |e: Errno| Error::io("opening the download", inner.partial.path().join(&name), e);
        loop {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK;
            let fd = dir::open_at(&inner.partial, &name, flags, 0o600).map_err(fail)?;
            settle(&fd, 0o600, inner.owner).map_err(fail)?;
            lock::lock(&fd, FlockOperation::LockExclusive).map_err(fail)?;
            let opened = rustix::fs::fstat(&fd).map_err(fail)?;
            // Whoever had the lock may have moved the file away.
            match dir::stat_at(&inner.partial, &name) {
                Ok(named) if (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino) => {}
                _ => continue,
            }
            let mut file = File::from(fd);
            let mut hasher = Hasher::new();
            copy(&mut file, &mut hasher).map_err(|e| Error::io("reading the download", inner.partial.path(), e))?;
            return Ok(Partial { inner: Arc::clone(inner), digest: *digest, file, hasher, is_gone: false });
        }
    }

    /// Opens a verified blob for reading; `None` where there is none, or it did not verify (then there is a warning).
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn open_blob(&self, digest: &Digest) -> Result<Option<File>> {
        self.0.open_blob(digest)
    }

    /// Says whether the store has a blob that verifies.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn has_blob(&self, digest: &Digest) -> Result<bool> {
        self.0.open_blob(digest).map(|file| file.is_some())
    }

    /// Gives the folder of the blobs, each by the hexadecimal SHA-256 of its bytes. Whoever is given it sees nothing verified: that
    /// a blob is what its name says is asked here before.
    pub fn blobs(&self) -> &Path {
        self.0.blobs.path()
    }

    /// Reads a small verified blob whole; `None` where there is none, or it is longer than `limit` bytes.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>> {
        let Some(file) = self.0.open_blob(digest)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(limit + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| Error::io("reading the blob", self.0.blobs.path().join(digest.hex()), e))?;
        Ok((bytes.len() as u64 <= limit).then_some(bytes))
    }

    /// Copies a verified blob to a new file (0644) of another directory, by reflink where the file system can; never by
    /// hard link. What is at the name is replaced in one stroke. False where there is no such blob.
    ///
    /// # Errors
    /// When the blob cannot be read, or the file not written.
    pub fn export_blob(&self, digest: &Digest, to: impl AsFd, name: &str) -> Result<bool> {
        let Some(blob) = self.0.open_blob(digest)? else { return Ok(false) };
        let fail = |e: io::Error| Error::io("writing", name, e);
        let mut random = [0; 8];
        crate::key::fill(&mut random).map_err(fail)?;
        let draft = format!(".bulla-{:016x}", u64::from_le_bytes(random));
        let file = make_file(&to, &draft, 0o644, None).map_err(|e| fail(e.into()))?;
        let copied = clone_or_copy(&blob, &file)
            .and_then(|()| rustix::fs::renameat(&to, &draft, &to, name).map_err(io::Error::from));
        if copied.is_err() {
            let _ = rustix::fs::unlinkat(&to, &draft, rustix::fs::AtFlags::empty());
        }
        copied.map_err(fail).map(|()| true)
    }

    /// As [`Store::export_blob`], to a path.
    ///
    /// # Errors
    /// As [`Store::export_blob`].
    pub fn export_blob_to(&self, digest: &Digest, path: &Path) -> Result<bool> {
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let dir = dir::Dir::open(parent).map_err(|e| Error::io("opening the directory", parent, e))?;
        self.export_blob(digest, &dir, name)
    }
}

/// Copies one open file to another, empty one: by reflink, else in the kernel, else by hand.
pub(crate) fn clone_or_copy(from: &File, to: &File) -> io::Result<()> {
    if rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    let (mut from, mut to) = (from, to);
    // The kernel's copy is worth its set-up for large files only.
    if from.metadata()?.len() > CHUNK as u64 {
        return io::copy(&mut from, &mut to).map(|_| ());
    }
    copy(&mut from, &mut to).map(|_| ())
}

fn check(expected: Option<&Digest>, found: Digest, what: impl FnOnce() -> String) -> Result<()> {
    match expected {
        Some(expected) if *expected != found => Err(Error::Mismatch { what: what(), expected: *expected, found }),
        _ => Ok(()),
    }
}

/// Moves a hashed file from scratch to its place and writes its receipt.
fn admit(inner: &Inner, draft: &str, file: &File, digest: &Digest) -> Result<()> {
    let fail = |e: Errno| Error::io("storing the blob", inner.blobs.path().join(digest.hex()), e);
    rustix::fs::fchmod(file, Bits::from_raw_mode(0o444)).map_err(fail)?;
    inner.lease(Item::Blob, digest)?;
    inner.place(draft, &inner.blobs, &digest.hex())?;
    let stamp = Stamp::of(&rustix::fs::fstat(file).map_err(fail)?);
    inner.write_blob_receipt(digest, stamp)
}

impl Inner {
    fn write_blob_receipt(&self, digest: &Digest, stamp: Stamp) -> Result<()> {
        let mut body = Vec::new();
        stamp.write(&mut body);
        let record = self.key.seal(Domain::Blob, digest, &body);
        self.put(&self.receipts, &receipt_name('b', digest), &record, 0o600)
    }

    fn blob_receipt(&self, digest: &Digest) -> Option<Stamp> {
        let record = self.receipts.read_all(receipt_name('b', digest), 4096).ok()??;
        Stamp::read(&mut Reader(self.key.unseal(Domain::Blob, digest, &record)?))
    }

    pub(crate) fn open_blob(&self, digest: &Digest) -> Result<Option<File>> {
        self.lease(Item::Blob, digest)?;
        self.verified_blob(digest, false)
    }

    /// Opens a blob that its receipt covers, or that was hashed again; `always` hashes it in any case.
    pub(crate) fn verified_blob(&self, digest: &Digest, always: bool) -> Result<Option<File>> {
        let name = digest.hex();
        let fail = |e: io::Error| Error::io("reading the blob", self.blobs.path().join(&name), e);
        for _ in 0..MAX_LOOKS {
            let mut file = match self.blobs.read(&name) {
                Ok(Some(file)) => file,
                Ok(None) => return Ok(None),
                Err(Errno::LOOP | Errno::INVAL | Errno::ISDIR | Errno::NXIO) => {
                    return self.drop_blob(digest, "it is not a regular file");
                }
                Err(error) => return Err(fail(error.into())),
            };
            let before = Stamp::of(&rustix::fs::fstat(&file).map_err(|e| fail(e.into()))?);
            if !always && self.blob_receipt(digest) == Some(before) {
                return Ok(Some(file));
            }
            let (found, _) = hash(&mut file).map_err(fail)?;
            let after = Stamp::of(&rustix::fs::fstat(&file).map_err(|e| fail(e.into()))?);
            if found != *digest {
                return self.drop_blob(digest, "its bytes have another digest");
            }
            // Another process that has the same bytes put its file in the place of this one meanwhile: that is looked at.
            if before != after {
                continue;
            }
            file.seek(SeekFrom::Start(0)).map_err(fail)?;
            self.write_blob_receipt(digest, before)?;
            return Ok(Some(file));
        }
        self.drop_blob(digest, "it changes while it is read")
    }

    fn drop_blob(&self, digest: &Digest, why: &str) -> Result<Option<File>> {
        self.warn(format!("the blob {digest} was removed from the store: {why}"));
        self.expel(&self.blobs, &digest.hex())?;
        self.expel(&self.receipts, &receipt_name('b', digest))?;
        Ok(None)
    }
}

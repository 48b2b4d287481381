//! A layout directory that is filled blob by blob, by those who bring them from elsewhere.
//!
//! As with [`mod@super::layout`], blobs come first and `index.json` last, in one stroke; other images of the layout stay. What was
//! cut off is kept beside the blobs and gone on with.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use bulla_model::{
    Digest, Hasher,
    oci::{self, Descriptor, Index, LayoutMarker, Referrer},
};
use rustix::fs::FlockOperation;

use super::{ExportError, check_name, layout};

/// A layout that images are added to. It is locked as long as this lives.
#[derive(Debug)]
pub struct Draft {
    folder: PathBuf,
    blobs: PathBuf,
    _lock: File,
}

impl Draft {
    /// Opens a layout, which is made where it is missing.
    ///
    /// # Errors
    /// When the folder holds something else, or cannot be written.
    pub fn open(folder: &Path) -> Result<Self, ExportError> {
        layout::refuse_foreign(folder)?;
        let blobs = folder.join("blobs/sha256");
        std::fs::create_dir_all(&blobs).map_err(ExportError::io("making the folder", &blobs))?;
        let lock = File::open(folder).map_err(ExportError::io("opening", folder))?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive)
            .map_err(|error| ExportError::io("locking", folder)(error.into()))?;
        layout::replace(folder, "oci-layout", &oci::encode(&LayoutMarker::default()))?;
        Ok(Self { folder: folder.to_owned(), blobs, _lock: lock })
    }

    /// Gives the folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Says whether a blob is there: by its size and date where it was written here, else by its bytes.
    pub fn has(&self, blob: &Descriptor) -> bool {
        layout::is_there(&self.blobs.join(blob.digest.hex()), blob)
    }

    /// Opens the place that the bytes of a blob go to, with what an earlier attempt left.
    ///
    /// # Errors
    /// When it cannot be made or read.
    pub fn incoming(&self, digest: &Digest) -> Result<Incoming, ExportError> {
        let part = self.blobs.join(format!(".bulla-{}.part", digest.hex()));
        let fail = ExportError::io("opening", &part);
        let open = || {
            let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC;
            let flags = flags | rustix::fs::OFlags::CREATE | rustix::fs::OFlags::RDWR;
            let mut file = File::from(rustix::fs::open(&part, flags, rustix::fs::Mode::from_raw_mode(0o666))?);
            let mut hasher = Hasher::new();
            io::copy(&mut file, &mut hasher)?;
            Ok((file, hasher))
        };
        let (file, hasher) = open().map_err(fail)?;
        Ok(Incoming { file, hasher, part, whole: self.blobs.join(digest.hex()) })
    }

    /// Writes a small blob.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&self, bytes: &[u8]) -> Result<(), ExportError> {
        layout::replace(&self.blobs, &Digest::of(bytes).hex(), bytes)
    }

    /// Names an image whose blobs are all there: from then on the layout has it, and what refers to it. Another image that had
    /// the name loses it; one without a name takes the place of others without one.
    ///
    /// # Errors
    /// When the index cannot be read or written.
    pub fn name(&self, image: &Descriptor, name: Option<&str>, referrers: &[Descriptor]) -> Result<(), ExportError> {
        name.map_or(Ok(()), check_name)?;
        let mut entries = self.entries()?;
        // What refers to something has no name, and is not what an image without a name stands for.
        entries.retain(|entry| {
            entry.annotations.get(oci::REF_NAME).map(String::as_str) != name || (name.is_none() && self.refers(entry))
        });
        let mut entry = Descriptor { annotations: oci::Annotations::new(), ..image.clone() };
        if let Some(name) = name {
            entry.annotations.insert(oci::REF_NAME.to_owned(), name.to_owned());
        }
        entries.push(entry);
        self.write(entries, referrers)
    }

    /// Adds what refers to images of the layout, and whose blobs are all there. What is named already is not named twice.
    ///
    /// # Errors
    /// When the index cannot be read or written.
    pub fn refer(&self, referrers: &[Descriptor]) -> Result<(), ExportError> {
        self.write(self.entries()?, referrers)
    }

    fn write(&self, mut entries: Vec<Descriptor>, referrers: &[Descriptor]) -> Result<(), ExportError> {
        for referrer in referrers {
            if !entries.iter().any(|entry| entry.digest == referrer.digest) {
                entries.push(referrer.clone());
            }
        }
        layout::replace(&self.folder, "index.json", &oci::encode(&Index::new(entries)))
    }

    /// Says whether an entry of the index is of a manifest that refers to another.
    fn refers(&self, entry: &Descriptor) -> bool {
        if entry.artifact_type.is_some() {
            return true;
        }
        let mut bytes = Vec::new();
        let file = File::open(self.blobs.join(entry.digest.hex()));
        let read = file.and_then(|file| file.take(oci::MAX_MANIFEST).read_to_end(&mut bytes));
        read.is_ok() && Referrer::read(&entry.media_type, &bytes).is_some()
    }

    fn entries(&self) -> Result<Vec<Descriptor>, ExportError> {
        let path = self.folder.join("index.json");
        let mut text = Vec::new();
        match File::open(&path).and_then(|file| file.take(oci::MAX_MANIFEST).read_to_end(&mut text)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(ExportError::io("reading", &path))?,
        };
        let index: Result<Index, _> = serde_json::from_slice(&text);
        Ok(index.map_err(|error| ExportError::io("reading", &path)(error.into()))?.manifests)
    }
}

/// A blob on its way into a layout.
#[derive(Debug)]
pub struct Incoming {
    file: File,
    hasher: Hasher,
    part: PathBuf,
    whole: PathBuf,
}

impl Incoming {
    /// Says how many bytes there are.
    pub fn length(&self) -> u64 {
        self.hasher.length()
    }

    /// Forgets all bytes.
    ///
    /// # Errors
    /// When that cannot be done.
    pub fn restart(&mut self) -> io::Result<()> {
        self.hasher = Hasher::new();
        self.file.set_len(0)?;
        io::Seek::rewind(&mut self.file)
    }

    /// Puts the blob into its place when its bytes are the right ones; else gives their digest, and forgets them.
    ///
    /// # Errors
    /// When the file cannot be moved.
    pub fn finish(&mut self, expected: &Digest) -> io::Result<Option<Digest>> {
        let actual = self.hasher.clone().finish();
        if actual != *expected {
            self.restart()?;
            return Ok(Some(actual));
        }
        self.file.sync_data()?;
        layout::mark(&self.part)?;
        std::fs::rename(&self.part, &self.whole)?;
        Ok(None)
    }
}

impl Write for Incoming {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

//! Where images go to.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Mutex,
};

use bulla_build::{
    event::Activity,
    export::{self, Draft, Incoming},
};
use bulla_model::{
    Digest,
    oci::{Annotations, BaseReference, Descriptor, Reference, Referrer},
};
use bulla_net::{
    DownloadSink, Finish, NetError, SinkError,
    oci::{Mounted, Registries, RegistryError, Repository},
};
use bulla_store::{Scratch, Store};

use super::{Source, TransferError, lock};
use crate::{error::Result, ops::fetch::Sink};

/// Something that takes an image. Called in this order: blobs, manifests, lists of referrers, checks, the name.
pub(crate) trait Target: Sync {
    /// Says what is done, for people.
    fn title(&self) -> String;

    /// Says what kind of thing that is.
    fn activity(&self) -> Activity {
        Activity::Export
    }

    /// Says whether it would take this image at all.
    fn accept(&self, _: &Descriptor) -> Result<()> {
        Ok(())
    }

    /// Says whether a blob is there already.
    fn has(&self, blob: &Descriptor) -> Result<bool>;

    /// Takes a blob.
    fn put(&self, blob: &Descriptor, source: &dyn Source, progress: &dyn Fn(u64)) -> Result<()>;

    /// Takes a manifest or index, under its digest.
    fn put_manifest(&self, entry: &Descriptor, bytes: &[u8]) -> Result<()>;

    /// Lists the manifests that refer to others, where the place does not do so of itself.
    fn list_referrers(&self) -> Result<()> {
        Ok(())
    }

    /// Reads a manifest back, and compares it.
    fn check(&self, entry: &Descriptor, bytes: &[u8]) -> Result<()>;

    /// Names the image.
    fn name(&self, root: &Descriptor, bytes: &[u8]) -> Result<()>;
}

/// A layout directory.
pub(crate) struct LayoutTarget {
    draft: Draft,
    name: Option<String>,
    /// What was put that refers to something: the layout's index names it, so that it is found.
    referrers: Mutex<Vec<Descriptor>>,
}

impl LayoutTarget {
    /// Opens a layout, which is made where it is missing.
    pub(crate) fn open(folder: &Path, name: Option<&str>) -> Result<Self> {
        let name = name.map(str::to_owned);
        Ok(Self { draft: Draft::open(folder)?, name, referrers: Mutex::default() })
    }
}

impl Target for LayoutTarget {
    fn title(&self) -> String {
        format!("copy: into the OCI layout {}", self.draft.folder().display())
    }

    fn has(&self, blob: &Descriptor) -> Result<bool> {
        Ok(self.draft.has(blob))
    }

    fn put(&self, blob: &Descriptor, source: &dyn Source, progress: &dyn Fn(u64)) -> Result<()> {
        source.save(blob, &mut LayoutSink(self.draft.incoming(&blob.digest)?), progress)
    }

    fn put_manifest(&self, entry: &Descriptor, bytes: &[u8]) -> Result<()> {
        // Its annotations would be the index's: with them it could take the name of an image.
        let plain = |entry| Descriptor { annotations: Annotations::new(), ..entry };
        lock(&self.referrers).extend(Referrer::read(&entry.media_type, bytes).map(|referrer| plain(referrer.entry)));
        Ok(self.draft.put(bytes)?)
    }

    fn check(&self, entry: &Descriptor, _: &[u8]) -> Result<()> {
        if self.draft.has(entry) { Ok(()) } else { Err(TransferError::Missing { digest: entry.digest }.into()) }
    }

    fn name(&self, root: &Descriptor, _: &[u8]) -> Result<()> {
        Ok(self.draft.name(root, self.name.as_deref(), &lock(&self.referrers))?)
    }
}

struct LayoutSink(Incoming);

impl DownloadSink for LayoutSink {
    fn have(&self) -> u64 {
        self.0.length()
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        Ok(std::io::Write::write_all(&mut self.0, bytes)?)
    }

    fn restart(&mut self) -> Result<(), SinkError> {
        Ok(self.0.restart()?)
    }

    fn finish(&mut self, expected: &Digest) -> Result<Finish, SinkError> {
        Ok(match self.0.finish(expected)? {
            None => Finish::Kept,
            Some(actual) => Finish::Mismatch(actual),
        })
    }
}

/// A file with a layout in it: filled as a directory, and packed when it is whole.
pub(crate) struct ArchiveTarget {
    layout: LayoutTarget,
    file: PathBuf,
    blobs: Mutex<Vec<(Digest, u64)>>,
    _scratch: Scratch,
}

impl ArchiveTarget {
    /// Begins an archive.
    pub(crate) fn open(file: &Path, name: Option<&str>, scratch: Scratch) -> Result<Self> {
        let layout = LayoutTarget::open(&scratch.folder("layout", 0o700)?, name)?;
        Ok(Self { layout, file: file.to_owned(), blobs: Mutex::default(), _scratch: scratch })
    }

    fn note(&self, entry: &Descriptor) {
        let mut blobs = lock(&self.blobs);
        if !blobs.iter().any(|(digest, _)| *digest == entry.digest) {
            blobs.push((entry.digest, entry.size));
        }
    }
}

impl Target for ArchiveTarget {
    fn title(&self) -> String {
        format!("copy: into the oci-archive {}", self.file.display())
    }

    fn has(&self, blob: &Descriptor) -> Result<bool> {
        self.layout.has(blob)
    }

    fn put(&self, blob: &Descriptor, source: &dyn Source, progress: &dyn Fn(u64)) -> Result<()> {
        self.note(blob);
        self.layout.put(blob, source, progress)
    }

    fn put_manifest(&self, entry: &Descriptor, bytes: &[u8]) -> Result<()> {
        self.note(entry);
        self.layout.put_manifest(entry, bytes)
    }

    fn check(&self, entry: &Descriptor, bytes: &[u8]) -> Result<()> {
        self.layout.check(entry, bytes)
    }

    fn name(&self, root: &Descriptor, bytes: &[u8]) -> Result<()> {
        self.layout.name(root, bytes)?;
        Ok(export::pack(self.layout.draft.folder(), &lock(&self.blobs), &self.file)?)
    }
}

/// A repository of a registry.
pub(crate) struct RegistryTarget {
    repository: Repository,
    reference: Reference,
    /// What the registry took and does not list as a referrer by itself, by what it refers to.
    unlisted: Mutex<BTreeMap<Digest, Vec<Descriptor>>>,
}

impl RegistryTarget {
    /// Opens a registry's repository.
    pub(crate) fn open(registries: &Registries, reference: &Reference) -> Result<Self> {
        let repository = registries.repository_to_push(reference)?;
        Ok(Self { repository, reference: reference.clone(), unlisted: Mutex::default() })
    }
}

impl Target for RegistryTarget {
    fn title(&self) -> String {
        format!("push: {}", self.reference)
    }

    fn accept(&self, root: &Descriptor) -> Result<()> {
        match self.reference.digest() {
            Some(digest) if digest != root.digest => {
                let reference = self.reference.to_string();
                Err(TransferError::OtherDigest { reference, digest: root.digest }.into())
            }
            _ => Ok(()),
        }
    }

    fn has(&self, blob: &Descriptor) -> Result<bool> {
        Ok(self.repository.has_blob(blob)?)
    }

    fn put(&self, blob: &Descriptor, source: &dyn Source, progress: &dyn Fn(u64)) -> Result<()> {
        let beside = source.repository(blob).filter(|from| from.is_beside(&self.repository));
        let upload = match beside.map(|from| self.repository.mount(blob, from)) {
            Some(Ok(Mounted::Done)) => return Ok(()),
            Some(Ok(Mounted::Upload(upload))) => upload,
            // Who may push here need not be allowed to read there.
            None | Some(Err(RegistryError::Denied { .. } | RegistryError::Refused { .. })) => {
                self.repository.begin()?
            }
            Some(Err(error)) => return Err(error.into()),
        };
        Ok(self.repository.upload(blob, upload, &mut *source.open(blob)?, progress)?)
    }

    fn put_manifest(&self, entry: &Descriptor, bytes: &[u8]) -> Result<()> {
        let noted = self.repository.put_manifest(&entry.digest.to_string(), &entry.media_type, bytes)?;
        if let Some(referrer) = Referrer::read(&entry.media_type, bytes).filter(|_| !noted) {
            lock(&self.unlisted).entry(referrer.subject).or_default().push(referrer.entry);
        }
        Ok(())
    }

    fn list_referrers(&self) -> Result<()> {
        let unlisted = lock(&self.unlisted);
        unlisted.iter().try_for_each(|(subject, entries)| Ok(self.repository.add_referrers(subject, entries)?))
    }

    fn check(&self, entry: &Descriptor, bytes: &[u8]) -> Result<()> {
        let back = self.repository.manifest(&entry.digest.to_string())?;
        if back.bytes == bytes && back.descriptor.media_type == entry.media_type {
            return Ok(());
        }
        let (expected, actual) = (entry.digest, back.descriptor.digest);
        Err(TransferError::ReadBack { place: self.reference.name(), expected, actual }.into())
    }

    fn name(&self, root: &Descriptor, bytes: &[u8]) -> Result<()> {
        let Some(tag) = self.reference.tag() else { return Ok(()) };
        self.repository.put_manifest(tag, &root.media_type, bytes)?;
        let actual = self.repository.resolve(tag)?;
        if actual == Some(root.digest) {
            return Ok(());
        }
        let tag = self.reference.to_string();
        Err(TransferError::Moved { tag, expected: root.digest, actual }.into())
    }
}

/// The store, which takes what a build starts from.
pub(crate) struct StoreTarget<'a> {
    pub(crate) store: &'a Store,
    /// What it is, for people.
    pub(crate) reference: &'a BaseReference,
}

impl Target for StoreTarget<'_> {
    fn title(&self) -> String {
        format!("fetch: image {}", self.reference)
    }

    fn activity(&self) -> Activity {
        Activity::Fetch
    }

    fn has(&self, blob: &Descriptor) -> Result<bool> {
        Ok(self.store.has_blob(&blob.digest)?)
    }

    fn put(&self, blob: &Descriptor, source: &dyn Source, progress: &dyn Fn(u64)) -> Result<()> {
        let mut sink = Sink::open(self.store, &blob.digest)
            .map_err(|source| NetError::Sink { url: blob.digest.to_string(), source })?;
        source.save(blob, &mut sink, progress)
    }

    fn put_manifest(&self, _: &Descriptor, bytes: &[u8]) -> Result<()> {
        self.store.put_blob(bytes)?;
        Ok(())
    }

    fn check(&self, _: &Descriptor, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn name(&self, _: &Descriptor, _: &[u8]) -> Result<()> {
        Ok(())
    }
}

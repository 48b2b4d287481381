//! Where images come from.

use std::{collections::BTreeSet, io::SeekFrom, path::Path};

use bulla_build::assemble::Joined;
use bulla_evidence::simple;
use bulla_model::{
    Digest,
    oci::{self, Descriptor, Manifest, Reference},
};
use bulla_net::{
    DownloadSink, Reach,
    oci::{BlobSource, Registries, Repository},
};
use bulla_store::{Scratch, Store};

use super::TransferError;
use crate::error::{CliError, Result};

/// Something that has an image. What it gives is what its digest says.
pub(crate) trait Source: Sync {
    /// Gives the manifest or index that is the image.
    fn root(&self) -> Result<(Descriptor, Vec<u8>)>;

    /// Gives a manifest or index that the image leads to.
    fn manifest(&self, entry: &Descriptor) -> Result<Vec<u8>>;

    /// Lists what refers to a manifest. What is listed may be something else.
    fn referrers(&self, _: &Digest) -> Result<Vec<Descriptor>> {
        Ok(Vec::new())
    }

    /// Gives the manifests that lie where cosign puts what it signs of an image, other than by referring to it. They may be something
    /// else.
    fn beside(&self, _: &Digest, _: Beside) -> Result<Vec<Vec<u8>>> {
        Ok(Vec::new())
    }

    /// Gives a manifest that was listed, as it is; `None` where it is not there.
    fn listed(&self, entry: &Descriptor) -> Result<Option<(Descriptor, Vec<u8>)>> {
        Ok(Some((entry.clone(), self.manifest(entry)?)))
    }

    /// Opens a blob.
    fn open(&self, blob: &Descriptor) -> Result<Box<dyn BlobSource + '_>>;

    /// Brings a blob into a sink, which may have the beginning of it.
    fn save(&self, blob: &Descriptor, sink: &mut dyn DownloadSink, progress: &dyn Fn(u64)) -> Result<()> {
        copy(&mut *self.open(blob)?, blob, sink, progress)
    }

    /// Gives a repository that has a blob, where one is known: it may be mounted from there.
    fn repository(&self, _: &Descriptor) -> Option<&Repository> {
        None
    }
}

/// What cosign keeps beside an image under tags of their own, in the form before bundles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beside {
    /// Signatures.
    Signatures,
    /// Attestations.
    Attestations,
}

impl Beside {
    /// Gives the tag.
    pub(crate) fn tag(self, subject: &Digest) -> String {
        match self {
            Self::Signatures => simple::signature_tag(subject),
            Self::Attestations => simple::attestation_tag(subject),
        }
    }
}

fn copy(
    from: &mut dyn BlobSource,
    blob: &Descriptor,
    sink: &mut dyn DownloadSink,
    progress: &dyn Fn(u64),
) -> Result<()> {
    let fail = |source| CommandSink { digest: blob.digest, source };
    let io = |error: std::io::Error| fail(error.into());
    let mut have = sink.have().min(blob.size);
    from.seek(SeekFrom::Start(have)).map_err(io)?;
    let mut chunk = vec![0; 256 * 1024];
    loop {
        let count = from.read(&mut chunk).map_err(io)?;
        if count == 0 {
            break;
        }
        sink.write(chunk.get(..count).unwrap_or_default()).map_err(fail)?;
        have += count as u64;
        progress(have);
    }
    match sink.finish(&blob.digest).map_err(fail)? {
        bulla_net::Finish::Kept => Ok(()),
        bulla_net::Finish::Mismatch(_) => {
            // The beginning that was there was another one: the whole is taken anew.
            sink.restart().map_err(fail)?;
            from.seek(SeekFrom::Start(0)).map_err(io)?;
            std::io::copy(from, &mut Sinking(sink)).map_err(io)?;
            match sink.finish(&blob.digest).map_err(fail)? {
                bulla_net::Finish::Kept => Ok(()),
                bulla_net::Finish::Mismatch(_) => Err(TransferError::Missing { digest: blob.digest }.into()),
            }
        }
    }
}

/// A sink that bytes are copied into.
struct Sinking<'a>(&'a mut dyn DownloadSink);

impl std::io::Write for Sinking<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes).map_err(std::io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A blob that could not be copied.
#[derive(Debug, thiserror::Error)]
#[error("copying {digest}")]
struct CommandSink {
    digest: Digest,
    source: bulla_net::SinkError,
}

impl bulla_model::Fault for CommandSink {
    fn kind(&self) -> bulla_model::Kind {
        bulla_model::Kind::Environment
    }
}

/// An image that was just built.
pub(crate) struct StoreSource<'a> {
    store: &'a Store,
    image: &'a Joined,
    base: Option<Below>,
}

/// Where the image below is, and what it is made of.
struct Below {
    repository: Repository,
    blobs: BTreeSet<Digest>,
}

impl<'a> StoreSource<'a> {
    /// Takes an image, which stands on none of a registry.
    pub(crate) fn new(store: &'a Store, image: &'a Joined) -> Self {
        Self { store, image, base: None }
    }

    /// Says where the image below can be found, and what its manifests are.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) fn on(self, repository: Repository, manifests: impl Iterator<Item = Digest>) -> Result<Self> {
        let mut blobs = BTreeSet::new();
        for digest in manifests {
            let bytes = self.store.read_blob(&digest, oci::MAX_MANIFEST)?;
            let manifest: Option<Manifest> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
            blobs.extend(manifest.into_iter().flat_map(|manifest| manifest.layers).map(|layer| layer.digest));
        }
        Ok(Self { base: Some(Below { repository, blobs }), ..self })
    }

    fn missing(digest: Digest) -> TransferError {
        TransferError::Missing { digest }
    }
}

impl Source for StoreSource<'_> {
    fn root(&self) -> Result<(Descriptor, Vec<u8>)> {
        let root = &self.image.index;
        Ok((root.clone(), self.manifest(root)?))
    }

    fn manifest(&self, entry: &Descriptor) -> Result<Vec<u8>> {
        let bytes = self.store.read_blob(&entry.digest, oci::MAX_MANIFEST)?;
        Ok(bytes.ok_or(Self::missing(entry.digest))?)
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        let refers = self.image.attached.iter().filter(|attached| attached.subject == *subject);
        Ok(refers.map(|attached| attached.entry.clone()).collect())
    }

    fn open(&self, blob: &Descriptor) -> Result<Box<dyn BlobSource + '_>> {
        Ok(Box::new(self.store.open_blob(&blob.digest)?.ok_or(Self::missing(blob.digest))?))
    }

    fn repository(&self, blob: &Descriptor) -> Option<&Repository> {
        let base = self.base.as_ref()?;
        base.blobs.contains(&blob.digest).then_some(&base.repository)
    }
}

/// An image of a registry.
pub(crate) struct RegistrySource {
    repository: Repository,
    reference: Reference,
    /// Where blobs lie on their way to another registry.
    scratch: Option<Scratch>,
}

impl RegistrySource {
    /// Opens a registry's repository.
    pub(crate) fn open(registries: &Registries, reference: &Reference, scratch: Option<Scratch>) -> Result<Self> {
        Self::of(registries, reference, Reach::Configured, scratch)
    }

    /// Opens the repository of a reference that somebody else than the user chose.
    pub(crate) fn of_spec(registries: &Registries, reference: &Reference) -> Result<Self> {
        Self::of(registries, reference, Reach::Public, None)
    }

    fn of(registries: &Registries, reference: &Reference, reach: Reach, scratch: Option<Scratch>) -> Result<Self> {
        let repository = registries.repository(reference, reach)?;
        Ok(Self { repository, reference: reference.clone(), scratch })
    }
}

impl Source for RegistrySource {
    fn root(&self) -> Result<(Descriptor, Vec<u8>)> {
        // What the tag is now is fetched by its digest, so that a tag which moves meanwhile changes nothing.
        let wanted = match self.reference.digest() {
            Some(digest) => digest.to_string(),
            None => match self.repository.resolve(&self.reference.wanted())? {
                Some(digest) => digest.to_string(),
                None => self.reference.wanted(),
            },
        };
        let document = self.repository.manifest(&wanted)?;
        Ok((document.descriptor, document.bytes))
    }

    fn manifest(&self, entry: &Descriptor) -> Result<Vec<u8>> {
        Ok(self.repository.manifest(&entry.digest.to_string())?.bytes)
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        Ok(self.repository.referrers(subject, None)?)
    }

    fn beside(&self, subject: &Digest, what: Beside) -> Result<Vec<Vec<u8>>> {
        match self.repository.manifest(&what.tag(subject)) {
            Ok(document) => Ok(vec![document.bytes]),
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    fn listed(&self, entry: &Descriptor) -> Result<Option<(Descriptor, Vec<u8>)>> {
        match self.repository.manifest(&entry.digest.to_string()) {
            Ok(document) => Ok(Some((document.descriptor, document.bytes))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn open(&self, blob: &Descriptor) -> Result<Box<dyn BlobSource + '_>> {
        let scratch = self.scratch.as_ref().map(Scratch::path).unwrap_or(Path::new("."));
        let file = tempfile::tempfile_in(scratch).map_err(CliError::file)?;
        let mut sink = FileSink { file, hasher: bulla_model::Hasher::new() };
        self.repository.blob(blob, &mut sink, &|_| {})?;
        std::io::Seek::rewind(&mut sink.file).map_err(CliError::file)?;
        Ok(Box::new(sink.file))
    }

    fn save(&self, blob: &Descriptor, sink: &mut dyn DownloadSink, progress: &dyn Fn(u64)) -> Result<()> {
        Ok(self.repository.blob(blob, sink, progress)?)
    }

    fn repository(&self, _: &Descriptor) -> Option<&Repository> {
        Some(&self.repository)
    }
}

/// A file without a name that a blob is brought into.
struct FileSink {
    file: std::fs::File,
    hasher: bulla_model::Hasher,
}

impl DownloadSink for FileSink {
    fn have(&self) -> u64 {
        self.hasher.length()
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), bulla_net::SinkError> {
        std::io::Write::write_all(&mut self.file, bytes)?;
        self.hasher.update(bytes);
        Ok(())
    }

    fn restart(&mut self) -> Result<(), bulla_net::SinkError> {
        self.file.set_len(0)?;
        std::io::Seek::rewind(&mut self.file)?;
        self.hasher = bulla_model::Hasher::new();
        Ok(())
    }

    fn finish(&mut self, expected: &Digest) -> Result<bulla_net::Finish, bulla_net::SinkError> {
        let actual = self.hasher.clone().finish();
        Ok(if actual == *expected { bulla_net::Finish::Kept } else { bulla_net::Finish::Mismatch(actual) })
    }
}

//! A remote store in a repository of a registry.

use std::sync::Mutex;

use bulla_model::oci::{Descriptor, Reference};
use bulla_net::{
    DownloadSink, Reach,
    oci::{BlobSource, Registries, RegistryError, Repository},
};

use super::{
    lock,
    shelf::{Shelf, ShelfError},
};

/// A repository, which is opened when it is first asked.
pub(super) struct RegistryShelf {
    registries: Registries,
    reference: Reference,
    writes: bool,
    opened: Mutex<Option<std::sync::Arc<Repository>>>,
}

impl RegistryShelf {
    /// Nothing is connected yet. Who does not write asks for no right to.
    pub(super) fn new(registries: Registries, reference: Reference, writes: bool) -> Self {
        Self { registries, reference, writes, opened: Mutex::default() }
    }

    fn repository(&self) -> Result<std::sync::Arc<Repository>, ShelfError> {
        let mut opened = lock(&self.opened);
        if let Some(repository) = &*opened {
            return Ok(repository.clone());
        }
        let repository = self.registries.repository(&self.reference, Reach::Configured).map_err(ShelfError::of_all)?;
        let repository = if self.writes { repository.for_pushing() } else { repository };
        Ok(opened.insert(std::sync::Arc::new(repository)).clone())
    }
}

/// Gives nothing where there is nothing.
fn found<T>(answer: Result<T, RegistryError>) -> Result<Option<T>, ShelfError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Shelf for RegistryShelf {
    fn manifest(&self, tag: &str) -> Result<Option<Vec<u8>>, ShelfError> {
        Ok(found(self.repository()?.manifest(tag))?.map(|document| document.bytes))
    }

    fn has_manifest(&self, tag: &str) -> Result<bool, ShelfError> {
        Ok(self.repository()?.resolve(tag)?.is_some())
    }

    fn blob(&self, blob: &Descriptor, sink: &mut dyn DownloadSink, progress: &dyn Fn(u64)) -> Result<bool, ShelfError> {
        Ok(found(self.repository()?.blob(blob, sink, progress))?.is_some())
    }

    fn put_blob(&self, blob: &Descriptor, from: &mut dyn BlobSource) -> Result<(), ShelfError> {
        let repository = self.repository()?;
        if repository.has_blob(blob)? {
            return Ok(());
        }
        Ok(repository.upload(blob, repository.begin()?, from, &|_| {})?)
    }

    fn put_manifest(&self, tag: &str, media_type: &str, bytes: &[u8]) -> Result<(), ShelfError> {
        self.repository()?.put_manifest(tag, media_type, bytes)?;
        Ok(())
    }
}

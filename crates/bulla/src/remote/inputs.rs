//! Inputs out of the stores of others. Their digests are in the lock: what has other bytes is not used, and is looked for
//! elsewhere.

use std::sync::atomic::Ordering;

use bulla_build::event::Activity;
use bulla_model::{
    Digest,
    lock::ImagePin,
    oci::{self, Manifest},
};
use bulla_store::Store;

use super::{Remote, Tiers, artifact, told::Told, workers::each};
use crate::{error::Result, ops::fetch::Sink, session::Session};

/// Something that a lock names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Input {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// What it is, for people.
    pub title: String,
}

impl Tiers {
    /// Brings inputs into the store, as far as others have them.
    ///
    /// # Errors
    /// When the own store cannot be written, or the user wants to stop.
    pub(crate) fn inputs(&self, session: &Session, store: &Store, wanted: &[Input]) -> Result<()> {
        let mut left = Vec::new();
        for input in wanted {
            if !self.take(store, input)? {
                left.push(input);
            }
        }
        if let (Some(remote), false) = (self.remote(), left.is_empty()) {
            remote.inputs(session, store, &left);
        }
        session.interrupt.check()
    }

    /// Takes an input out of a shared store.
    fn take(&self, store: &Store, input: &Input) -> Result<bool> {
        for shared in &self.shared {
            if store.take_blob(shared, &input.digest, input.size)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Brings an image that a build starts from into the store, as far as others have it.
    ///
    /// # Errors
    /// As [`Tiers::inputs`].
    pub(crate) fn image(&self, session: &Session, store: &Store, reference: &str, pin: &ImagePin) -> Result<()> {
        let title = format!("the manifest of {reference}");
        let input = Input { digest: pin.manifest, size: pin.size, title };
        if !store.has_blob(&pin.manifest)? && !self.take(store, &input)? {
            let Some(remote) = self.remote() else { return Ok(()) };
            remote.manifest_of(session, store, &input)?;
        }
        let Some(bytes) = store.read_blob(&pin.manifest, oci::MAX_MANIFEST)? else { return Ok(()) };
        // What is no manifest is said by who fetches it.
        let Ok(manifest) = serde_json::from_slice::<Manifest>(&bytes) else { return Ok(()) };
        let mut wanted = Vec::new();
        for blob in std::iter::once(&manifest.config).chain(&manifest.layers) {
            if !store.has_blob(&blob.digest)? {
                wanted.push(Input {
                    digest: blob.digest,
                    size: blob.size,
                    title: format!("{reference} {}", blob.digest),
                });
            }
        }
        self.inputs(session, store, &wanted)
    }
}

impl Remote {
    fn inputs(&self, session: &Session, store: &Store, wanted: &[&Input]) {
        let sizes: Vec<u64> = wanted.iter().map(|input| input.size).collect();
        let title = format!("fetch: {} from the remote store", counted(wanted.len(), "input"));
        let observer = session.observer();
        let told = Told::begin(&*observer, Activity::Fetch, &title, &sizes);
        each(wanted, |at, input| {
            if session.interrupt.is_set() || self.down.load(Ordering::Relaxed) {
                return false;
            }
            self.input(session, store, input, &|have| told.take(at, have));
            true
        });
        told.end(!self.down.load(Ordering::Relaxed));
    }

    /// Brings an input; what cannot be had here is looked for elsewhere.
    fn input(&self, session: &Session, store: &Store, input: &Input, progress: &dyn Fn(u64)) {
        let Ok(mut sink) = Sink::open(store, &input.digest) else { return };
        if let Err(error) = self.shelf.blob(&artifact::bytes(input.digest, input.size), &mut sink, progress) {
            self.failed(session, (&input.title, &input.digest), &error);
        }
    }

    /// Brings a manifest, which is an artifact of its own.
    fn manifest_of(&self, session: &Session, store: &Store, input: &Input) -> Result<()> {
        match self.shelf.manifest(&artifact::input_tag(&input.digest)) {
            Ok(Some(bytes)) if Digest::of(&bytes) == input.digest => {
                store.put_blob(&bytes)?;
            }
            Ok(Some(_)) => {
                super::lock(&self.spoiled).insert(input.digest);
                session.warn(&format!("{} of the remote store {} is not used: it is another", input.title, self.place));
            }
            Ok(None) => {}
            Err(error) => self.failed(session, (&input.title, &input.digest), &error),
        }
        Ok(())
    }
}

/// Writes a number of things.
pub(super) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

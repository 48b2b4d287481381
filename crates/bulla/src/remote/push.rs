//! Brings what a build used to the remote store, when the build has ended: inputs that it does not have, and results, each
//! signed. Blobs first and the manifest last, so that a tag never leads to half of a thing. A build does not fail because this
//! cannot be done.

use std::sync::{Mutex, atomic::Ordering};

use bulla_build::{event::Activity, run::Made};
use bulla_model::{
    Digest, Hasher,
    oci::{self, Descriptor, Manifest},
};
use bulla_store::{SigningKey, Statement};

use super::{
    Lender, Remote, artifact,
    inputs::{Input, counted},
    jobs::{Image, Job},
    lock,
    pack::Packed,
    shelf::ShelfError,
    told::Told,
    workers::each,
};
use crate::ops;

impl Lender<'_> {
    /// Brings to others what they do not have, where this build writes.
    pub(crate) fn give(&self) {
        if self.session.interrupt.is_set() {
            return;
        }
        let (made, signing) = (self.own(), self.tiers.signing.as_ref());
        if let Some(remote) = self.tiers.remote().filter(|_| self.tiers.writes) {
            let results: &[Made] = if signing.is_some() { &made } else { &[] };
            self.push(remote, signing, results);
        }
        if let Some(signing) = signing.filter(|_| self.tiers.signs) {
            for made in &made {
                if let Err(error) = self.sign(signing, made) {
                    self.session.warn(&format!("a result is not signed: {error}"));
                }
            }
        }
    }

    /// Gives the results that are this store's own.
    fn own(&self) -> Vec<Made> {
        let known = lock(&self.known);
        known.made.iter().filter(|made| !known.foreign.contains(&made.action)).cloned().collect()
    }

    /// Keeps a signed statement in the own store, where it is not there yet.
    fn sign(&self, key: &SigningKey, made: &Made) -> Result<(), bulla_store::Error> {
        let known = self.store.signed(&made.action)?;
        if known.is_some_and(|known| Statement::open(&known, &made.action, &[key.public()]).is_ok()) {
            return Ok(());
        }
        let mut trees = Vec::new();
        for tree in &made.trees {
            let Some(tree) = self.store.tree(tree)? else { return Ok(()) };
            trees.push(tree.to_sign()?);
        }
        let statement = Statement::new(made.action, made.result.clone(), trees, made.blobs.clone());
        self.store.put_signed(&made.action, &statement.sign(key))
    }

    fn push(&self, remote: &Remote, signing: Option<&SigningKey>, made: &[Made]) {
        let mut jobs: Vec<Job<'_>> = made.iter().map(Job::Result).collect();
        let inputs = self.inputs_to_push(remote);
        jobs.extend(inputs.iter().map(Job::Input));
        let images = self.images_to_push();
        jobs.extend(images.iter().map(Job::Image));
        let missing = self.missing(remote, jobs);
        if missing.is_empty() {
            return self.remember_inputs(remote);
        }
        let results = missing.iter().filter(|job| matches!(job, Job::Result(_))).count();
        let named = [(results, "result"), (missing.len() - results, "input")];
        let named = named.iter().filter(|(count, _)| *count > 0).map(|(count, what)| counted(*count, what));
        let title = format!("store: {} to {}", named.collect::<Vec<_>>().join(" and "), remote.place);
        let observer = self.session.observer();
        let sizes: Vec<u64> = missing.iter().map(Job::size).collect();
        let told = Told::begin(&*observer, Activity::Export, &title, &sizes);
        let packed = Packed::new(self, remote);
        let put =
            remote.put_bytes(artifact::NOTHING).map_err(|error| self.tell(remote, "the empty configuration", &error));
        let failed = put.is_err() || {
            let failed = Mutex::new(false);
            each(&missing, |at, job| {
                if self.session.interrupt.is_set() || remote.down.load(Ordering::Relaxed) {
                    *lock(&failed) = true;
                    return false;
                }
                match job.push(self, remote, signing, &packed) {
                    Ok(()) => told.take(at, job.size()),
                    Err(error) => {
                        *lock(&failed) = true;
                        self.tell(remote, &job.title(), &error);
                    }
                }
                true
            });
            failed.into_inner().unwrap_or(true)
        };
        told.end(!failed);
        if !failed {
            self.remember_inputs(remote);
        }
    }

    fn tell(&self, remote: &Remote, what: &str, error: &ShelfError) {
        let text = super::with_cause(&*error.error.error);
        if error.unreachable && remote.down.swap(true, Ordering::Relaxed) {
            return;
        }
        self.session.warn(&format!("{what} was not brought to the remote store {}: {text}", remote.place));
    }

    /// Leaves out what the remote store has.
    fn missing<'j>(&self, remote: &Remote, jobs: Vec<Job<'j>>) -> Vec<Job<'j>> {
        let spoiled = lock(&remote.spoiled).clone();
        let missing = Mutex::new(Vec::new());
        each(&jobs, |at, job| {
            if self.session.interrupt.is_set() {
                return false;
            }
            let tag = job.tag();
            let is_spoiled = job.digests().iter().any(|digest| spoiled.contains(digest));
            match remote.shelf.has_manifest(&tag) {
                Ok(true) if !is_spoiled => {}
                Err(error) if error.unreachable => {
                    self.tell(remote, "what the build used", &error);
                    return false;
                }
                // What cannot be read is written anew.
                _ => lock(&missing).push(at),
            }
            true
        });
        let mut missing = missing.into_inner().unwrap_or_default();
        missing.sort_unstable();
        let mut jobs: Vec<Option<Job<'j>>> = jobs.into_iter().map(Some).collect();
        missing.into_iter().filter_map(|at| jobs.get_mut(at)?.take()).collect()
    }

    /// Gives the packages and sources that may not be there yet, as far as this store has them.
    fn inputs_to_push(&self, remote: &Remote) -> Vec<Input> {
        let were_brought = self.store.result(&self.mark(remote)).is_ok_and(|known| known.is_some());
        let spoiled = lock(&remote.spoiled).clone();
        let wanted = |input: &Input| !were_brought || spoiled.contains(&input.digest);
        let there = |input: &Input| self.store.has_blob(&input.digest).unwrap_or(false);
        ops::fetch::inputs(&self.pins).into_iter().filter(|input| wanted(input) && there(input)).collect()
    }

    fn images_to_push(&self) -> Vec<Image> {
        let read = |pin: &bulla_model::lock::ImagePin| self.store.read_blob(&pin.manifest, oci::MAX_MANIFEST).ok()?;
        let images = self.pins.images.iter().filter_map(|(reference, pin)| {
            let bytes = read(pin)?;
            let manifest: Manifest = serde_json::from_slice(&bytes).ok()?;
            let blobs: Vec<Descriptor> = std::iter::once(manifest.config).chain(manifest.layers).collect();
            let whole = blobs.iter().all(|blob| self.store.has_blob(&blob.digest).unwrap_or(false));
            let media_type = manifest.media_type.unwrap_or_else(|| oci::MANIFEST.to_owned());
            whole.then(|| Image { title: reference.to_string(), digest: pin.manifest, media_type, bytes, blobs })
        });
        images.collect()
    }

    /// Gives the name under which it is noted that all inputs of this lock were brought to a remote store.
    fn mark(&self, remote: &Remote) -> Digest {
        let mut hasher = Hasher::new();
        hasher.update(format!("inputs brought to {}\0", remote.place).as_bytes());
        for input in ops::fetch::inputs(&self.pins) {
            hasher.update(input.digest.as_bytes());
        }
        hasher.finish()
    }

    /// Takes note that the remote store has all inputs, so that the next build does not ask for each.
    fn remember_inputs(&self, remote: &Remote) {
        let there = |input: &Input| self.store.has_blob(&input.digest).unwrap_or(false);
        if !remote.down.load(Ordering::Relaxed) && ops::fetch::inputs(&self.pins).iter().all(there) {
            let _ = self.store.put_result(&self.mark(remote), b"{}");
        }
    }
}

//! Gives a running build what its own store does not have: inputs when they are needed for the first time, and the results of
//! others whose signatures verify.
//!
//! A result is looked for by its action's digest; its trees and blobs are brought only when something reads them. So a build in
//! which nothing changed brings the image and a few statements, and no package.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{Seek as _, Write as _},
    sync::Mutex,
};

use bulla_build::run::{Asked, Made, Need, Supply, Unsupplied};
use bulla_ecosystems::dependencies::{Artifact, Native};
use bulla_model::{
    Digest, Ecosystem, Hasher,
    lock::{Lock, Loose},
    oci::Descriptor,
};
use bulla_net::{DownloadSink, Finish, MemorySink, SinkError};
use bulla_store::{SignedTree, Statement, Store, Untrusted};

use super::{Remote, Tiers, artifact, lock, shelf::ShelfError};
use crate::{
    error::Result,
    ops::{dependencies::Dependencies, fetch::Sink, project::Project, supply::unsupplied},
    session::Session,
};

/// What a build borrows from, and what it has to give.
pub(crate) struct Lender<'a> {
    pub(super) session: &'a Session,
    pub(super) store: &'a Store,
    pub(super) tiers: &'a Tiers,
    project: &'a Project,
    /// What the build needs of the lock.
    pub(super) pins: Lock,
    dependencies: Dependencies<'a>,
    had: Mutex<BTreeSet<Need>>,
    pub(super) known: Mutex<Known>,
}

/// What was learnt while the build ran.
#[derive(Default)]
pub(super) struct Known {
    trees: BTreeMap<Digest, SignedTree>,
    blobs: BTreeMap<Digest, Descriptor>,
    /// The actions whose results others have.
    pub(super) foreign: BTreeSet<Digest>,
    /// What this build has, in the order in which it came up.
    pub(super) made: Vec<Made>,
}

impl<'a> Lender<'a> {
    pub(crate) fn new(
        session: &'a Session,
        store: &'a Store,
        tiers: &'a Tiers,
        project: &'a Project,
        pins: Lock,
        may_pin: bool,
    ) -> Self {
        let dependencies = Dependencies::new(session, store, may_pin);
        Self { session, store, tiers, project, pins, dependencies, had: Mutex::default(), known: Mutex::default() }
    }

    /// Gives what was pinned and is not in the lock yet.
    pub(crate) fn pinned(&self) -> Loose {
        self.dependencies.pinned()
    }

    fn bring(&self, need: Need) -> Result<()> {
        let mut pins = self.pins.clone();
        match need {
            Need::Image(manifest) => {
                pins.images.retain(|_, pin| pin.manifest == manifest);
                return crate::ops::fetch::images(self.session, self.store, self.project, &pins, Some(self.tiers));
            }
            Need::Sources => pins.packages.clear(),
            Need::Packages => pins.sources.clear(),
        }
        crate::ops::build::fetch(self.session, self.store, &pins, Some(self.tiers))
    }

    /// Verifies a statement, and takes note of what it leads to.
    fn learn(&self, envelope: &[u8], action: &Digest) -> Result<Vec<u8>, Untrusted> {
        let statement = Statement::open(envelope, action, &self.tiers.keys)?;
        let mut known = lock(&self.known);
        known.foreign.insert(*action);
        known.trees.extend(statement.trees.into_iter().map(|tree| (tree.tree, tree)));
        known.blobs.extend(statement.blobs.into_iter().map(|blob| (blob.digest, blob)));
        Ok(statement.result.into_bytes())
    }

    fn of_shared(&self, action: &Digest) -> Option<Vec<u8>> {
        for shared in &self.tiers.shared {
            let Some(envelope) = shared.signed(action) else { continue };
            match self.learn(&envelope, action) {
                Ok(result) => return Some(self.remember(action, &envelope, result)),
                Err(why) => self.session.warn(&format!(
                    "the result of the action {} in the shared store {} is not used: {why}",
                    action.short(),
                    shared.path().display()
                )),
            }
        }
        None
    }

    fn of_remote(&self, remote: &Remote, action: &Digest) -> Option<Vec<u8>> {
        let envelope = match remote.envelope(action) {
            Ok(envelope) => envelope?,
            Err(error) => {
                let what = format!("the result of the action {}", action.short());
                remote.failed(self.session, (&what, action), &error);
                return None;
            }
        };
        match self.learn(&envelope, action) {
            Ok(result) => Some(self.remember(action, &envelope, result)),
            Err(why) => {
                lock(&remote.spoiled).insert(*action);
                self.session.warn(&format!(
                    "the result of the action {} in the remote store {} is not used: {why}",
                    action.short(),
                    remote.place
                ));
                None
            }
        }
    }

    /// Keeps a statement, so that the next build asks nobody. It is verified again then.
    fn remember(&self, action: &Digest, envelope: &[u8], result: Vec<u8>) -> Vec<u8> {
        if let Err(error) = self.store.put_signed(action, envelope) {
            self.session.warn(&format!("a result of another store is not kept: {error}"));
        }
        result
    }

    fn tree_of_remote(&self, remote: &Remote, tree: &SignedTree) -> Result<bool, ShelfError> {
        let Some(pack) = &tree.pack else { return Ok(false) };
        let scratch = self.store.scratch("unpack").map_err(ShelfError::of_one)?;
        let file = tempfile::tempfile_in(scratch.path());
        let file = file.map_err(|error| ShelfError::of_one(crate::error::CliError::File(error)))?;
        let mut sink = FileSink { file, hasher: Hasher::new() };
        if !remote.shelf.blob(pack, &mut sink, &|_| {})? {
            return Ok(false);
        }
        sink.file.rewind().map_err(|error| ShelfError::of_one(crate::error::CliError::File(error)))?;
        self.store.unpack_tree(tree, &mut std::io::BufReader::new(sink.file)).map_err(ShelfError::of_one)?;
        Ok(true)
    }
}

impl Supply for Lender<'_> {
    fn inputs(&self, need: Need) -> Result<(), Unsupplied> {
        // Whoever needs the same waits.
        let mut had = lock(&self.had);
        if had.contains(&need) {
            return Ok(());
        }
        self.bring(need).map_err(unsupplied)?;
        had.insert(need);
        Ok(())
    }

    fn dependencies(&self, native: &mut dyn Native) -> Result<Vec<Digest>, Unsupplied> {
        self.borrow_packages(native).map_err(unsupplied)?;
        let asked = if native.knows_all() { Vec::new() } else { Asked::of(native) };
        let digests = self.dependencies.bring(native, &|asked| self.lent_answer(asked)).map_err(unsupplied)?;
        self.offer_answers(asked.into_iter().map(|(asked, _)| asked)).map_err(unsupplied)?;
        self.offer_packages(native, &digests).map_err(unsupplied)?;
        Ok(digests)
    }

    fn pin(&self, ecosystem: Ecosystem, file: &str, artifact: &Artifact) -> Result<Digest, Unsupplied> {
        self.dependencies.pin(ecosystem, file, artifact).map_err(unsupplied)
    }

    fn result(&self, action: &Digest) -> Option<Vec<u8>> {
        if self.tiers.keys.is_empty() {
            return None;
        }
        // What was taken from others before counts for as long as its key is configured.
        if let Ok(Some(envelope)) = self.store.signed(action)
            && let Ok(result) = self.learn(&envelope, action)
        {
            return Some(result);
        }
        self.of_shared(action).or_else(|| self.of_remote(self.tiers.remote()?, action))
    }

    fn tree(&self, digest: &Digest) -> bool {
        let Some(tree) = lock(&self.known).trees.get(digest).cloned() else { return false };
        for shared in &self.tiers.shared {
            if self.store.take_tree(shared, &tree).unwrap_or(false) {
                return true;
            }
        }
        let Some(remote) = self.tiers.remote() else { return false };
        self.tree_of_remote(remote, &tree).unwrap_or_else(|error| {
            remote.failed(self.session, (&format!("the tree {}", digest.short()), digest), &error);
            false
        })
    }

    fn blob(&self, digest: &Digest) -> bool {
        let Some(blob) = lock(&self.known).blobs.get(digest).cloned() else { return false };
        for shared in &self.tiers.shared {
            if self.store.take_blob(shared, digest, blob.size).unwrap_or(false) {
                return true;
            }
        }
        let Some(remote) = self.tiers.remote() else { return false };
        let Ok(mut sink) = Sink::open(self.store, digest) else { return false };
        remote.shelf.blob(&blob, &mut sink, &|_| {}).unwrap_or_else(|error| {
            remote.failed(self.session, (&format!("the blob {}", digest.short()), digest), &error);
            false
        })
    }

    fn made(&self, made: Made) {
        let mut known = lock(&self.known);
        // What others had of it was not whole.
        known.foreign.remove(&made.action);
        if !known.made.iter().any(|before| before.action == made.action) {
            known.made.push(made);
        }
    }
}

impl Remote {
    /// Fetches the signed statement of an action's result, unverified.
    fn envelope(&self, action: &Digest) -> Result<Option<Vec<u8>>, ShelfError> {
        let Some(manifest) = self.shelf.manifest(&artifact::result_tag(action))? else { return Ok(None) };
        let envelope = artifact::envelope_of(&manifest).ok_or_else(|| ShelfError::of_one(NoResult))?;
        let mut sink = MemorySink::default();
        if !self.shelf.blob(&envelope, &mut sink, &|_| {})? {
            return Err(ShelfError::of_one(NoResult));
        }
        Ok(sink.into_verified())
    }
}

/// An artifact is not what its tag says.
#[derive(Debug, thiserror::Error)]
#[error("it is not the artifact of a result, or has lost a part")]
struct NoResult;

impl bulla_model::Fault for NoResult {
    fn kind(&self) -> bulla_model::Kind {
        bulla_model::Kind::Integrity
    }
}

/// A file without a name that a packed tree is brought into.
struct FileSink {
    file: File,
    hasher: Hasher,
}

impl DownloadSink for FileSink {
    fn have(&self) -> u64 {
        self.hasher.length()
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        Ok(())
    }

    fn restart(&mut self) -> Result<(), SinkError> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.hasher = Hasher::new();
        Ok(())
    }

    fn finish(&mut self, expected: &Digest) -> Result<Finish, SinkError> {
        let actual = self.hasher.clone().finish();
        Ok(if actual == *expected { Finish::Kept } else { Finish::Mismatch(actual) })
    }
}

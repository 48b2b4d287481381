//! Packages of native lock files out of the stores of others, and into them.
//!
//! A lock file has its own hashes, and stores know blobs by their SHA-256. Which one a hash stands for is a result like others, signed, and
//! names the blob. It says no more than what to ask for: a package is used when its bytes have the lock file's hash.

use std::{collections::BTreeSet, sync::atomic::Ordering};

use bulla_build::run::{self, Answered, Asked, Made, Supply as _};
use bulla_ecosystems::dependencies::{Hash, Native};
use bulla_model::Digest;

use super::{Lender, artifact, lock, workers::each};
use crate::error::{CliError, Result};

/// The most bytes of an answer of a registry.
const MAX_ANSWER: u64 = 64 << 20;

impl Lender<'_> {
    /// Brings what others have of the packages that a lock file names. What they do not have is fetched from where it comes from.
    ///
    /// # Errors
    /// When the own store cannot be read, or the user wants to stop.
    pub(super) fn borrow_packages(&self, native: &dyn Native) -> Result<()> {
        if self.tiers.keys.is_empty() || (self.tiers.shared.is_empty() && self.tiers.remote().is_none()) {
            return Ok(());
        }
        let mut missing = Vec::new();
        for hash in native.locked().artifacts.iter().filter_map(|artifact| artifact.hashes.first()) {
            let known = run::pinned(self.store, hash)?;
            if !known.map_or(Ok(false), |digest| self.store.has_blob(&digest))? {
                missing.push(hash);
            }
        }
        each(&missing, |_, hash| {
            if self.session.interrupt.is_set() || self.tiers.remote().is_some_and(|it| it.down.load(Ordering::Relaxed))
            {
                return false;
            }
            if let Err(error) = self.borrow_package(hash) {
                self.session.warn(&format!(
                    "the package with the hash {hash} is not taken from other stores: {}",
                    super::with_cause(&*error.error)
                ));
            }
            true
        });
        self.session.interrupt.check()
    }

    fn borrow_package(&self, hash: &Hash) -> Result<()> {
        let action = run::pin_action(hash);
        let Some(digest) = self.result(&action).and_then(|json| serde_json::from_slice::<Digest>(&json).ok()) else {
            return Ok(());
        };
        if !self.store.has_blob(&digest)? && !self.blob(&digest) {
            return Ok(());
        }
        let Some(mut bytes) = self.store.open_blob(&digest)? else { return Ok(()) };
        if hash.matches(&mut bytes).map_err(CliError::File)? {
            run::keep_pinned(self.store, hash, &digest)?;
            return Ok(());
        }
        if let Some(remote) = self.tiers.remote() {
            lock(&remote.spoiled).insert(action);
        }
        self.session
            .warn(&format!("the package with the hash {hash} in another store is not used: its bytes have another"));
        Ok(())
    }

    /// Gives what a registry said to others where files of a package are. It is verified by their key each time, and says only what to ask for.
    pub(super) fn lent_answer(&self, asked: &Asked) -> Option<Vec<u8>> {
        let digest: Digest = serde_json::from_slice(&self.result(&asked.action())?).ok()?;
        if !self.store.has_blob(&digest).ok()? && !self.blob(&digest) {
            return None;
        }
        self.store.read_blob(&digest, MAX_ANSWER).ok()?
    }

    /// Takes note of what registries answered to this build.
    ///
    /// # Errors
    /// When the own store cannot be read.
    pub(super) fn offer_answers(&self, asked: impl Iterator<Item = Asked>) -> Result<()> {
        let mut made = Vec::new();
        for asked in asked {
            let Some(Answered { asked, blob }) = run::answered(self.store, asked)? else { continue };
            made.push((asked.action(), blob));
        }
        self.offer(made)
    }

    /// Takes note of the packages of a lock file, which others may be given when the build has ended.
    ///
    /// # Errors
    /// When the own store cannot be read.
    pub(super) fn offer_packages(&self, native: &dyn Native, digests: &[Digest]) -> Result<()> {
        let mut made = Vec::new();
        for (artifact, digest) in native.locked().artifacts.iter().zip(digests) {
            made.extend(artifact.hashes.first().map(|hash| (run::pin_action(hash), *digest)));
        }
        self.offer(made)
    }

    /// Takes note of actions that came to a blob each.
    fn offer(&self, actions: Vec<(Digest, Digest)>) -> Result<()> {
        let mut made = Vec::new();
        for (action, digest) in actions {
            let Some(file) = self.store.open_blob(&digest)? else { continue };
            let size = file.metadata().map_err(CliError::File)?.len();
            let result = serde_json::Value::from(digest.to_string()).to_string();
            let blobs = vec![artifact::bytes(digest, size)];
            made.push(Made { action, result, trees: Vec::new(), blobs });
        }
        let mut known = lock(&self.known);
        let before: BTreeSet<Digest> = known.made.iter().map(|made| made.action).collect();
        made.retain(|made| !before.contains(&made.action));
        known.made.extend(made);
        Ok(())
    }
}

//! The ids of objects: SHA-1 by a hasher that notices the known ways to make two texts with one digest, as git itself does.

use bulla_model::GitId;

use super::{GitError, Kind};

/// Hashes an object as it comes.
pub(super) struct IdHasher(sha1dc::Hasher);

impl IdHasher {
    /// Begins an object of so many bytes.
    pub(super) fn new(kind: Kind, length: u64) -> Self {
        let mut hasher = Self(sha1dc::Hasher::new());
        hasher.update(format!("{} {length}\0", kind.word()).as_bytes());
        hasher
    }

    /// Begins without a header: the sum at the end of a pack.
    pub(super) fn plain() -> Self {
        Self(sha1dc::Hasher::new())
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Gives the id.
    pub(super) fn finish(self) -> Result<GitId, GitError> {
        let digest = self.0.finalize().map_err(|_| GitError::Collision)?;
        Ok(GitId::from_bytes(digest.into()))
    }
}

/// Gives the id of an object.
pub(super) fn id_of(kind: Kind, bytes: &[u8]) -> Result<GitId, GitError> {
    let mut hasher = IdHasher::new(kind, bytes.len() as u64);
    hasher.update(bytes);
    hasher.finish()
}

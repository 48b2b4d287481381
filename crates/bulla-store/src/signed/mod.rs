//! Results of actions that other stores made: each is a statement (`statement`) that is signed with a key (`keys`), and counts
//! only when that key is among those that the configuration names. The trees of a result travel as one file each (`pack`).
//!
//! A store keeps the statements of its own results, and those that it took from elsewhere, beside its sealed results, under
//! a name of their own. They are verified anew whenever they are used, so that a key which is not trusted any more takes its
//! results along.

mod keys;
mod pack;
mod statement;

pub use keys::{KeyError, PublicKey, SigningKey};
pub(crate) use pack::times_of;
pub use statement::{SignedTree, Statement, Untrusted};

use bulla_model::{Digest, Hasher};

use crate::{error::Result, store::Store};

/// The most bytes of a sealed record with a statement in it.
pub(crate) const MAX_RECORD: u64 = statement::MAX_ENVELOPE + 4096;

/// Gives the name that the statement of an action's result has among the results.
pub(crate) fn name_of(action: &Digest) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(b"signed result 1\0");
    hasher.update(action.as_bytes());
    hasher.finish()
}

impl Store {
    /// Keeps the signed statement of an action's result.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_signed(&self, action: &Digest, envelope: &[u8]) -> Result<()> {
        self.put_result(&name_of(action), envelope)
    }

    /// Gives the signed statement of an action's result, which is to be verified with [`Statement::open`].
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn signed(&self, action: &Digest) -> Result<Option<Vec<u8>>> {
        self.result(&name_of(action))
    }
}

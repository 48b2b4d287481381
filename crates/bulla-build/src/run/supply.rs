//! Where a build gets what its store does not have: inputs, and results of other stores. The build has no network; whoever has
//! one implements [`Supply`].

use bulla_ecosystems::dependencies::{Artifact, Native};
use bulla_model::{Digest, Ecosystem, Fault, Kind, oci::Descriptor};
use bulla_store::Store;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    BuildError,
    context::Context,
    outputs::OutputResult,
    record::{self, RunResult},
};
use crate::assemble::Assembled;

/// Inputs of the lock that are read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Sources that do not lie in the project.
    Sources,
    /// Packages.
    Packages,
    /// An image that a stage or the image starts from, by the digest of its manifest.
    Image(Digest),
}

/// The result of an action of this build, which other stores may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The action.
    pub action: Digest,
    /// The result, JSON.
    pub result: String,
    /// The trees that it names, and that cannot be made without it.
    pub trees: Vec<Digest>,
    /// The blobs that it names.
    pub blobs: Vec<Descriptor>,
}

/// Gives a build what its store does not have. Called from several threads at once.
pub trait Supply: Send + Sync {
    /// Makes sure that inputs are in the store.
    ///
    /// # Errors
    /// When one cannot be had.
    fn inputs(&self, need: Need) -> Result<(), Unsupplied>;

    /// Makes sure that all files which a lock file names are in the store, verified by its own hashes. Gives the SHA-256 of each, in the
    /// order of [`Locked::artifacts`](bulla_ecosystems::dependencies::Locked::artifacts).
    ///
    /// # Errors
    /// When one cannot be had, or is another than the lock file says.
    fn dependencies(&self, native: &mut dyn Native) -> Result<Vec<Digest>, Unsupplied>;

    /// Gives the SHA-256 by which something is pinned from now on that a lock file names without a hash, and that the lock has not.
    /// `file` is where the lock file is, for people.
    ///
    /// # Errors
    /// When the lock may not be added to, or it cannot be had.
    fn pin(&self, ecosystem: Ecosystem, file: &str, artifact: &Artifact) -> Result<Digest, Unsupplied>;

    /// Gives the result of an action that another store made, once its signature was verified.
    fn result(&self, action: &Digest) -> Option<Vec<u8>>;

    /// Brings a tree into the store that a result of another store names; false where it cannot be had.
    fn tree(&self, digest: &Digest) -> bool;

    /// Brings a blob into the store that a result of another store names; false where it cannot be had.
    fn blob(&self, digest: &Digest) -> bool;

    /// Is told of a result that this build made, or found in its own store.
    fn made(&self, made: Made);
}

/// Inputs that could not be had.
#[derive(Debug)]
pub struct Unsupplied {
    /// Whose fault it is.
    pub kind: Kind,
    /// What the user can do.
    pub hints: Vec<String>,
    /// What went wrong.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl std::fmt::Display for Unsupplied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.source.fmt(f)
    }
}

impl std::error::Error for Unsupplied {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.source()
    }
}

impl Fault for Unsupplied {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn hints(&self) -> Vec<String> {
        self.hints.clone()
    }
}

/// A result that other stores may have.
pub(crate) trait Shared: Serialize + DeserializeOwned {
    /// The trees that it names, and that cannot be made without it.
    fn trees(&self) -> Vec<Digest>;

    /// The blobs that it names.
    fn blobs(&self) -> Vec<Descriptor> {
        Vec::new()
    }
}

/// What a result stands on, beside what its action holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// On what was read from a cache: it does not follow from its action alone, and stays in the store that made it.
    pub(crate) tainted: bool,
    /// On what a step left that had secrets: it stays there where the settings say so.
    pub(crate) secret: bool,
}

impl Standing {
    /// Gives what two together stand on.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self { tainted: self.tainted || other.tainted, secret: self.secret || other.secret }
    }
}

impl Shared for RunResult {
    fn trees(&self) -> Vec<Digest> {
        vec![self.delta]
    }
}

impl Shared for OutputResult {
    fn trees(&self) -> Vec<Digest> {
        vec![self.tree]
    }
}

/// A tree that was put together out of others.
impl Shared for Digest {
    fn trees(&self) -> Vec<Digest> {
        vec![*self]
    }
}

impl Shared for Assembled {
    fn trees(&self) -> Vec<Digest> {
        Vec::new()
    }

    fn blobs(&self) -> Vec<Descriptor> {
        let layers = self.layers.iter().map(|layer| Descriptor::new(&layer.media_type, layer.digest, layer.size));
        [&self.index, &self.manifest, &self.config].into_iter().cloned().chain(layers).collect()
    }
}

/// Whose store an earlier result is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The build's own.
    Own,
    /// Another's.
    Others,
}

impl Context<'_> {
    /// Looks up the result of an action, in the store and then in those of others, unless the settings say that none counts.
    /// When this try wants to know, a result counts only with its trees.
    pub(crate) fn earlier<T: Shared>(&self, action: &Digest, stands: Standing) -> Result<Option<T>, BuildError> {
        Ok(self.earlier_of(action, stands)?.map(|(result, _)| result))
    }

    /// As [`Context::earlier`], and says whose store it is from.
    pub(crate) fn earlier_of<T: Shared>(
        &self,
        action: &Digest,
        stands: Standing,
    ) -> Result<Option<(T, Whose)>, BuildError> {
        if let Some((result, tainted)) = self.result_tainted::<T>(action)?
            && self.is_whole(&result)?
        {
            self.tell(action, &result, stands.and(Standing { tainted, secret: false }));
            return Ok(Some((result, Whose::Own)));
        }
        if self.is_forced_wholly() {
            return Ok(None);
        }
        let found = self.supply.result(action).and_then(|bytes| serde_json::from_slice::<T>(&bytes).ok());
        Ok(match found {
            Some(result) if self.is_whole(&result)? => Some((result, Whose::Others)),
            _ => None,
        })
    }

    /// Keeps the result of an action, and tells of it where others may have it.
    pub(crate) fn keep<T: Shared>(&self, action: &Digest, result: &T, stands: Standing) -> Result<(), BuildError> {
        if self.settings.again.is_some() {
            return Ok(());
        }
        record::keep_as(self.store, action, result, stands.tainted)?;
        self.tell(action, result, stands);
        Ok(())
    }

    fn tell<T: Shared>(&self, action: &Digest, result: &T, stands: Standing) {
        if stands.tainted || (stands.secret && self.settings.secret_steps_stay) {
            return;
        }
        let text = serde_json::to_string(result).expect("a result has no key that JSON cannot have");
        let (trees, blobs) = (result.trees(), result.blobs());
        self.supply.made(Made { action: *action, result: text, trees, blobs });
    }

    fn is_whole<T: Shared>(&self, result: &T) -> Result<bool, BuildError> {
        for tree in result.trees().iter().filter(|_| self.thorough) {
            let there = match self.tree(tree) {
                Ok(tree) => tree.check().is_ok(),
                Err(error) if error.is_gone() => false,
                Err(error) => return Err(error),
            };
            if !there {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Gives a tree that must be there, or be had from where its result is from.
    pub(crate) fn tree(&self, digest: &Digest) -> Result<bulla_store::StoredTree, BuildError> {
        if let Some(tree) = self.store.tree(digest)? {
            return Ok(tree);
        }
        let brought = if self.supply.tree(digest) { self.store.tree(digest)? } else { None };
        brought.ok_or_else(|| BuildError::Gone { what: format!("tree {}", digest.short()) })
    }

    /// Says whether the store has a blob, or has it now from where its result is from.
    pub(crate) fn blob(&self, digest: &Digest) -> Result<bool, BuildError> {
        let store: &Store = self.store;
        Ok(store.has_blob(digest)? || (self.supply.blob(digest) && store.has_blob(digest)?))
    }

    /// Makes sure that inputs are in the store, before they are read for the first time.
    pub(crate) fn need(&self, need: Need) -> Result<(), BuildError> {
        Ok(self.supply.inputs(need)?)
    }
}

//! Gives a build that has no other store what its own does not have: what lock files name, when a step runs.

use bulla_build::run::{Made, Need, Supply, Unsupplied};
use bulla_ecosystems::dependencies::{Artifact, Native};
use bulla_model::{Digest, Ecosystem, lock::Loose};
use bulla_store::Store;

use crate::{error::CommandError, ops::dependencies::Dependencies, session::Session};

/// All inputs of the lock are there already; what lock files name is fetched.
pub(crate) struct Own<'a>(Dependencies<'a>);

impl<'a> Own<'a> {
    /// `may_pin` is whether the lock may be added to.
    pub(crate) fn new(session: &'a Session, store: &'a Store, may_pin: bool) -> Self {
        Self(Dependencies::new(session, store, may_pin))
    }

    /// Gives what was pinned and is not in the lock yet.
    pub(crate) fn pinned(&self) -> Loose {
        self.0.pinned()
    }
}

/// Makes an error of the command line one of a build.
pub(crate) fn unsupplied(CommandError { kind, error, hints, .. }: CommandError) -> Unsupplied {
    Unsupplied { kind, hints, source: error }
}

impl Supply for Own<'_> {
    fn inputs(&self, _: Need) -> Result<(), Unsupplied> {
        Ok(())
    }

    fn dependencies(&self, native: &mut dyn Native) -> Result<Vec<Digest>, Unsupplied> {
        self.0.bring(native, &|_| None).map_err(unsupplied)
    }

    fn pin(&self, ecosystem: Ecosystem, file: &str, artifact: &Artifact) -> Result<Digest, Unsupplied> {
        self.0.pin(ecosystem, file, artifact).map_err(unsupplied)
    }

    fn result(&self, _: &Digest) -> Option<Vec<u8>> {
        None
    }

    fn tree(&self, _: &Digest) -> bool {
        false
    }

    fn blob(&self, _: &Digest) -> bool {
        false
    }

    fn made(&self, _: Made) {}
}

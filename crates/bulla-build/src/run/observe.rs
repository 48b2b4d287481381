//! Observing: stages are run once with what their steps ask for passed on to registries, so that it can be pinned.
//!
//! This is the one exception to the rule that foreign code chooses no bytes which leave the machine, and so it is bounded: a step that is
//! observed has no secret and no cache, what it leaves is no result of anything, and whoever passes its requests on
//! ([`Passage`], who has the network) decides about each of them.

use std::{
    collections::BTreeSet,
    io,
    os::fd::{BorrowedFd, OwnedFd},
};

use bulla_model::{
    Address,
    plan::PlannedStage,
    spec::{Name, StepRef, observed},
};
use bulla_sandbox::{Connection, Launcher, Serve};
use bulla_serve::{Report, Server, Table};

use super::{BuildError, supply::Unsupplied};

/// What is observed, and by whom.
#[derive(Clone, Copy)]
pub struct Observing<'a> {
    /// The stages.
    pub stages: &'a BTreeSet<Name>,
    /// Who passes requests on.
    pub passage: &'a dyn Passage,
}

/// Passes on what steps ask for. It has the network, and no foreign code.
pub trait Passage: Send + Sync {
    /// Gets ready for a step. `table` has what its lock files name, which is given as ever and not passed on. `mirrored` are the addresses below which
    /// its clients look for a registry of the loopback, each with the path there.
    ///
    /// # Errors
    /// When nothing says where a registry is.
    fn open(&self, step: &StepRef, table: Table, mirrored: Mirrored) -> Result<Box<dyn Passing + '_>, Unsupplied>;
}

/// Addresses, and the paths of the loopback that are answered below each.
pub type Mirrored = Vec<(Address, &'static str)>;

/// What stands at the address of one step's loopback while it is observed.
pub trait Passing: Serve {
    /// Ends it, and gives what it was asked. `connections` are those of the step's outcome.
    ///
    /// # Errors
    /// When more was asked for than may be, or an answer was not what its registry says that it is: nothing is pinned then.
    fn finish(self: Box<Self>, connections: &[Connection]) -> Result<Report, Unsupplied>;
}

impl Observing<'_> {
    /// Says whether a stage's steps are observed.
    pub(crate) fn covers(&self, stage: &PlannedStage) -> bool {
        self.stages.contains(&stage.name) && observed(&stage.dependencies).next().is_some()
    }
}

/// Who answers at the address of a step's loopback.
pub(crate) enum Attendant<'p> {
    /// The locked repository.
    Server(Server),
    /// Whoever passes requests on.
    Passing(Box<dyn Passing + 'p>),
}

impl<'p> Attendant<'p> {
    /// Starts it for a run.
    pub(crate) fn start(
        title: &str,
        launcher: &Launcher,
        (table, mirrored): (&Table, &Mirrored),
        passage: Option<(&'p dyn Passage, &StepRef)>,
    ) -> Result<Self, BuildError> {
        match passage {
            Some((passage, step)) => Ok(Self::Passing(passage.open(step, table.clone(), mirrored.clone())?)),
            None => Server::start(launcher, table).map(Self::Server).map_err(|source| unserved(title, source)),
        }
    }

    pub(crate) fn finish(self, title: &str, connections: &[Connection]) -> Result<Report, BuildError> {
        match self {
            Self::Server(server) => server.finish(connections).map_err(|source| unserved(title, source)),
            Self::Passing(passing) => Ok(passing.finish(connections)?),
        }
    }
}

fn unserved(title: &str, source: bulla_serve::Error) -> BuildError {
    BuildError::Serve { title: title.to_owned(), source }
}

impl Serve for Attendant<'_> {
    fn listen(&mut self, listener: OwnedFd) -> io::Result<()> {
        match self {
            Self::Server(server) => server.listen(listener),
            Self::Passing(passing) => passing.listen(listener),
        }
    }

    fn refused(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Server(server) => server.refused(),
            Self::Passing(passing) => passing.refused(),
        }
    }
}

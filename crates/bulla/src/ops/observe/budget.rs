//! How much a step may ask for while it is observed.

use std::sync::atomic::{AtomicU64, Ordering};

use bulla_model::{Fault, Kind};

/// How much each step may ask for. Its time is that of its stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Requests.
    pub requests: u64,
    /// Bytes of answers.
    pub bytes: u64,
    /// Different paths that no registry has. They are what a step could write a message with.
    pub absent: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { requests: 20_000, bytes: 2 << 30, absent: 200 }
    }
}

/// A step asked for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Over {
    /// Requests.
    #[error("a step that was observed made more than {0} requests")]
    Requests(u64),
    /// Bytes.
    #[error("a step that was observed asked for more than {0} bytes")]
    Bytes(u64),
    /// Paths that are not there.
    #[error("a step that was observed asked for more than {0} things that no registry has")]
    Absent(u64),
}

impl Fault for Over {
    fn kind(&self) -> Kind {
        Kind::Policy
    }

    fn hints(&self) -> Vec<String> {
        let option = match self {
            Self::Requests(_) => "--requests",
            Self::Bytes(_) => "--bytes",
            Self::Absent(_) => "--absent",
        };
        vec![format!(
            "nothing is pinned: look at what the step does (the requests that were refused are shown above), and if all of it is meant, allow more by `{option}`"
        )]
    }
}

/// What was used of a budget.
#[derive(Debug, Default)]
pub(super) struct Used {
    requests: AtomicU64,
    bytes: AtomicU64,
    absent: AtomicU64,
}

impl Used {
    /// Counts a request.
    pub(super) fn request(&self, budget: &Budget) -> Result<(), Over> {
        spend(&self.requests, 1, budget.requests).map_err(|()| Over::Requests(budget.requests))
    }

    /// Counts bytes that came.
    pub(super) fn bytes(&self, count: u64, budget: &Budget) -> Result<(), Over> {
        spend(&self.bytes, count, budget.bytes).map_err(|()| Over::Bytes(budget.bytes))
    }

    /// Says whether more came than may.
    pub(super) fn over(&self, budget: &Budget) -> Option<Over> {
        (self.bytes.load(Ordering::Relaxed) > budget.bytes).then_some(Over::Bytes(budget.bytes))
    }

    /// Counts a path that is not there.
    pub(super) fn absent(&self, budget: &Budget) -> Result<(), Over> {
        spend(&self.absent, 1, budget.absent).map_err(|()| Over::Absent(budget.absent))
    }
}

fn spend(used: &AtomicU64, count: u64, most: u64) -> Result<(), ()> {
    let before = used.fetch_add(count, Ordering::Relaxed);
    if before.saturating_add(count) > most { Err(()) } else { Ok(()) }
}

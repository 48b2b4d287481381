//! Does the same for several members, one after the other: what one build leaves in the store serves the next, and each has
//! all processors for its stages.

use bulla_build::event::Event;
use bulla_model::{Fault, Kind};

use super::Member;
use crate::{
    error::{CommandError, Result},
    session::Session,
};

/// The most members that are named at the end.
const MAX_NAMED: usize = 20;

/// Some members failed; why was told of each.
#[derive(Debug, thiserror::Error)]
#[error("{failed} of {all} members failed: {names}")]
struct SomeFailed {
    failed: usize,
    all: usize,
    names: String,
    kind: Kind,
}

impl Fault for SomeFailed {
    fn kind(&self) -> Kind {
        self.kind
    }
}

/// Does something for each member. A failure is told, and does not stop the others unless that is wished; in the end the kind of
/// the error is that with the highest exit code. An interruption stops all.
///
/// # Errors
/// When something failed.
pub(crate) fn each(
    session: &Session,
    members: &[Member],
    fail_fast: bool,
    mut work: impl FnMut(&Member) -> Result<()>,
) -> Result<()> {
    let mut failed: Vec<(String, Kind)> = Vec::new();
    for (number, member) in members.iter().enumerate() {
        session.interrupt.check()?;
        if members.len() > 1 {
            let (name, number, of) = (member.name(), number + 1, members.len());
            session.observer().event(&Event::Member { member: &name, number, of });
        }
        let Err(error) = work(member) else { continue };
        if error.kind == Kind::Interrupted {
            return Err(error);
        }
        if members.len() == 1 {
            return Err(error);
        }
        session.report(&error);
        failed.push((member.name(), error.kind));
        if fail_fast {
            break;
        }
    }
    let Some(kind) = failed.iter().map(|(_, kind)| *kind).max_by_key(|kind| kind.exit_code()) else { return Ok(()) };
    let mut names: Vec<&str> = failed.iter().map(|(name, _)| name.as_str()).take(MAX_NAMED).collect();
    if failed.len() > MAX_NAMED {
        names.push("…");
    }
    let names = names.join(", ");
    Err(CommandError::from(SomeFailed { failed: failed.len(), all: members.len(), names, kind }))
}

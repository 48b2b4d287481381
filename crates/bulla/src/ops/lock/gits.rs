//! Sources that are commits of git repositories: pins each that is to be pinned.

use std::collections::BTreeMap;

use bulla_model::{
    lock::{Lock, SourcePin},
    spec::{Name, Source},
};

use super::{Wish, urls::may_move};
use crate::{
    error::Result,
    ops::{self, git::Git, project::Project},
    session::Session,
};

/// Gives the pins of all sources of the spec that are of git: those of the old lock where they are of this spec and need not
/// move, else new ones.
///
/// # Errors
/// When one cannot be fetched, or is not what it should be.
pub(super) fn pins(
    session: &Session,
    project: &Project,
    old: Option<&Lock>,
    wish: &Wish,
) -> Result<BTreeMap<Name, SourcePin>> {
    let mut pins = BTreeMap::new();
    let mut git = None;
    for (name, source) in &project.spec.sources {
        let Source::Git(source) = source else { continue };
        let known = old.and_then(|lock| match lock.sources.get(name) {
            Some(SourcePin::Git(pin)) if pin.is_of(source) && !may_move(name, &wish.update) => Some(pin.clone()),
            _ => None,
        });
        let pin = match known {
            Some(pin) => pin,
            None => {
                let asked = match git.take() {
                    Some(git) => git,
                    None => Git::new(session, ops::store::open(session)?)?,
                };
                git.insert(asked).pin(project, name, source)?
            }
        };
        pins.insert(name.clone(), SourcePin::Git(pin));
    }
    Ok(pins)
}

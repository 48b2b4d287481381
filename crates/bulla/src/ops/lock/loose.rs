//! The pins of what native lock files name without a hash: added when such a file is met, dropped when none needs them.

use std::collections::BTreeSet;

use bulla_model::lock::{Lock, Loose, LooseEvidence, LooseKey, LoosePin};

use super::{read, write};
use crate::{
    error::Result,
    neutral,
    ops::project::{self, Project},
    session::Session,
};

/// Adds pins to the project's lock, and says so. Gives the lock, where there was something to add.
///
/// # Errors
/// When the lock cannot be read or written.
pub(in crate::ops) fn add_loose(session: &Session, project: &Project, pinned: Loose) -> Result<Option<Lock>> {
    if pinned.is_empty() {
        return Ok(None);
    }
    let mut lock = read(project)?.unwrap_or_default();
    let lines: Vec<String> = pinned.iter().map(|(key, pin)| format!("  + {key} {}", told(pin))).collect();
    lock.loose.extend(pinned);
    write(&project.lock_path, &lock)?;
    let file = project::shown(&project.lock_path);
    session.say(&format!("Amended {file}:\n{}", neutral::lines(&lines.join("\n"))));
    Ok(Some(lock))
}

/// Drops the pins that no lock file needs, and says so.
///
/// # Errors
/// When the lock cannot be written.
pub(in crate::ops) fn drop_loose(
    session: &Session,
    project: &Project,
    lock: &mut Lock,
    used: &BTreeSet<LooseKey>,
) -> Result<()> {
    let gone: Vec<LooseKey> = lock.loose.keys().filter(|key| !used.contains(key)).cloned().collect();
    if gone.is_empty() {
        return Ok(());
    }
    lock.loose.retain(|key, _| used.contains(key));
    write(&project.lock_path, lock)?;
    let lines: Vec<String> = gone.iter().map(|key| format!("  - {key}")).collect();
    let file = project::shown(&project.lock_path);
    session.say(&format!("Amended {file}:\n{}", neutral::lines(&lines.join("\n"))));
    Ok(())
}

/// Says what vouches for a pin.
fn told(pin: &LoosePin) -> String {
    let digest = pin.digest.short();
    match pin.evidence {
        LooseEvidence::Commit => format!("{digest}, by the commit in the lock file"),
        LooseEvidence::FirstUse => format!("{digest}, seen for the first time and believed: nothing vouches for it"),
    }
}

//! The lock: reads it, compares it with the spec, and makes it anew where it must be, as little as can be.

mod changes;
mod gits;
mod images;
pub(super) mod keys;
mod loose;
mod remember;
mod resolve;
mod signatures;
mod urls;

use std::{io::Write, path::Path};

use bulla_model::{
    Fault, Kind,
    lock::{Change, Lock, Stale},
    spec::Source,
};

use self::resolve::Resolved;
pub(crate) use self::resolve::now;
pub(super) use self::{
    changes::described,
    loose::{add_loose, drop_loose},
    remember::Dates,
};
use super::project::{self, Project};
use crate::{
    error::{CliError, CommandError, Result},
    session::Session,
};

/// The most bytes that are read of a lock.
const MAX_LOCK: u64 = 64 << 20;

/// Which versions may move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Update {
    /// Those alone that must.
    Nothing,
    /// Those of these packages, sources and images.
    Packages(Vec<String>),
    /// All.
    Everything,
}

impl Update {
    /// Says whether something is named by itself.
    fn names(&self, name: &str) -> bool {
        matches!(self, Self::Packages(names) if names.iter().any(|known| known == name))
    }
}

/// How a lock is made.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    /// Which versions may move.
    pub update: Update,
    /// Whether an index may be older than one that was seen.
    pub allow_downgrade: bool,
}

/// Why a lock that may not be changed cannot be used as it is.
#[derive(Debug, thiserror::Error)]
enum LockedError {
    #[error("there is no {file}, and `--locked` forbids to make one")]
    Missing { file: String },
    #[error("{file} is not of this spec, and `--locked` forbids to change it:\n{changes}")]
    Stale { file: String, changes: String },
    #[error("{file} has no package, source or image `{name}` to update")]
    NoSuchPackage { file: String, name: String },
}

impl Fault for LockedError {
    fn kind(&self) -> Kind {
        match self {
            Self::Missing { .. } | Self::Stale { .. } => Kind::Policy,
            Self::NoSuchPackage { .. } => Kind::Spec,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Missing { .. } | Self::Stale { .. } => {
                vec!["run `bulla lock`, and commit what it writes; `--locked` is the default where `CI=true`".into()]
            }
            Self::NoSuchPackage { .. } => {
                vec!["`bulla lock --update` without a name moves all packages, sources and images".into()]
            }
        }
    }
}

/// Reads the project's lock; `None` where there is none.
///
/// # Errors
/// When it is unreadable, was edited or cut off.
pub(crate) fn read(project: &Project) -> Result<Option<Lock>> {
    let Some(bytes) = project::read(&project.lock_path, MAX_LOCK)? else { return Ok(None) };
    Ok(Some(Lock::parse_bytes(&bytes)?))
}

/// Gives what of a lock does not fit the spec. What the spec has no longer does no harm, and is left out.
pub(crate) fn stale(lock: &Lock, project: &Project) -> Vec<Stale> {
    let mut stale = lock.check(&project.spec);
    stale.retain(|stale| stale.changes != [Change::Gone]);
    stale
}

/// Gives the lock as it stands, for a build that may not change it.
///
/// # Errors
/// When there is none, or it is not of this spec.
pub(crate) fn require(project: &Project) -> Result<Lock> {
    let file = project::shown(&project.lock_path);
    let lock = read(project)?.ok_or_else(|| LockedError::Missing { file: file.clone() })?;
    let stale = stale(&lock, project);
    if stale.is_empty() {
        return Ok(lock);
    }
    Err(LockedError::Stale { file, changes: list(&stale) }.into())
}

/// Gives the project's lock, after it was made or amended where that was needed, and written.
///
/// # Errors
/// When something cannot be resolved, or the lock not be written.
pub(crate) fn ensure(session: &Session, project: &Project, wish: &Wish) -> Result<Lock> {
    let file = project::shown(&project.lock_path);
    let old = read(project)?;
    check_names(old.as_ref(), &wish.update, &file)?;
    let differences = old.as_ref().map(|lock| lock.check(&project.spec)).unwrap_or_default();
    let mut lock = match &old {
        Some(lock) if differences.is_empty() && wish.update == Update::Nothing => return Ok(lock.clone()),
        Some(lock) if !needs_indexes(lock, project, &differences, &wish.update) => {
            let mut lock = lock.clone();
            lock.drop_gone(&project.spec);
            lock
        }
        _ => resolve_anew(session, project, old.as_ref(), wish)?,
    };
    lock.sources.retain(|name, _| matches!(project.spec.sources.get(name), Some(Source::Debian(_))));
    lock.sources.extend(urls::pins(session, project, old.as_ref(), wish)?);
    lock.sources.extend(gits::pins(session, project, old.as_ref(), wish)?);
    lock.images = images::resolve(session, project, old.as_ref(), &wish.update)?;
    lock.observed = old.as_ref().map(|old| old.observed.clone()).unwrap_or_default();
    lock.observed.retain(|key, _| key.is_of(&project.spec));
    lock.loose = old.as_ref().map(|old| old.loose.clone()).unwrap_or_default();
    lock.loose.retain(|key, _| key.is_of(&project.spec) && !wish.update.names(&key.name));
    lock.settle();
    session.interrupt.check()?;
    write(&project.lock_path, &lock)?;
    match &old {
        Some(old) if *old == lock => session.say(&format!("{file} stays as it is: there is nothing newer.")),
        Some(old) => session.say(&format!("Amended {file}:\n{}", changes::between(old, &lock, &differences))),
        None => {
            let sources = changes::sources(&Lock::default(), &lock);
            let text = format!("Wrote {file}: {}. Keep it in version control.", changes::summary(&lock));
            session.say(&sources.iter().fold(text, |text, line| format!("{text}\n{line}")));
        }
    }
    Ok(lock)
}

/// Says whether something must be looked for in the indexes of packages.
fn needs_indexes(lock: &Lock, project: &Project, differences: &[Stale], update: &Update) -> bool {
    let is_url = |name: &str| {
        let of_url = |kind: &Source| matches!(kind, Source::Url(_) | Source::Git(_));
        project.spec.sources.iter().any(|(source, kind)| source.as_str() == name && of_url(kind))
    };
    let is_image =
        |name: &str| project.spec.base_images().into_iter().any(|(reference, _)| images::is_meant(reference, name));
    let of_others = |stale: &Stale| stale.source().is_some_and(is_url) || stale.is_of_image();
    let has_package = |name: &String| lock.packages.keys().any(|key| key.name == *name);
    let updates = match update {
        Update::Nothing => false,
        Update::Packages(names) => names.iter().any(|name| has_package(name) || !(is_url(name) || is_image(name))),
        Update::Everything => true,
    };
    updates || differences.iter().any(|stale| stale.changes != [Change::Gone] && !of_others(stale))
}

fn resolve_anew(session: &Session, project: &Project, old: Option<&Lock>, wish: &Wish) -> Result<Lock> {
    let remembered = remember::read(session)?;
    let Resolved { lock, dates } = resolve::run(session, project, old, wish, &remembered)?;
    remember::write(session, remembered, &dates)?;
    Ok(lock)
}

/// Gives the newest date that was seen of each suite, by the keys that signed it.
///
/// # Errors
/// When the file of them is unreadable or damaged.
pub(super) fn seen(session: &Session) -> Result<Dates> {
    remember::read(session)
}

/// Remembers the dates of indexes that were just used.
///
/// # Errors
/// When the file of them cannot be written.
pub(super) fn remember(session: &Session, dates: &Dates) -> Result<()> {
    remember::write(session, Dates::new(), dates)
}

fn check_names(lock: Option<&Lock>, update: &Update, file: &str) -> Result<()> {
    let Update::Packages(names) = update else { return Ok(()) };
    match names.iter().find(|name| !knows(lock, name)) {
        Some(name) => Err(LockedError::NoSuchPackage { file: file.to_owned(), name: name.clone() }.into()),
        None => Ok(()),
    }
}

/// Says whether a lock has a package, source or image of this name.
pub(crate) fn knows(lock: Option<&Lock>, name: &str) -> bool {
    lock.is_some_and(|lock| {
        lock.packages.keys().any(|key| key.name == *name)
            || lock.sources.keys().any(|key| key.as_str() == name)
            || lock.images.keys().any(|key| images::is_meant(&key.reference, name))
            || lock.loose.keys().any(|key| key.name == *name)
    })
}

/// Writes what differs, one a line.
pub(crate) fn list(stale: &[Stale]) -> String {
    stale.iter().map(|stale| format!("  {stale}")).collect::<Vec<_>>().join("\n")
}

/// Writes a lock whole, or not at all.
pub(super) fn write(path: &Path, lock: &Lock) -> Result<()> {
    write_whole(path, lock.render().as_bytes())
}

/// Writes a file whole or not at all: beside its place, synced, then renamed over what is there.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let fail = |source: std::io::Error| -> CommandError { CliError::Write { path: path.to_owned(), source }.into() };
    let folder = project::parent(path);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    let mut file = tempfile::Builder::new().prefix(".bulla-").permissions(mode).tempfile_in(folder).map_err(fail)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(fail)?;
    file.persist(path).map_err(|error| fail(error.error))?;
    Ok(())
}

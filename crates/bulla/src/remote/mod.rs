//! Stores of others: folders of stores that are read, and one remote store, which is written from some branches.
//!
//! A remote store is a [`Shelf`]: artifacts with tags, as registries have them, in a registry or a folder. Each input and each
//! result is one artifact ([`artifact`]). What a build needs and its store does not have is looked for in the shared stores,
//! then in the remote one, then at its origin ([`inputs`], [`lender`]); when the build has ended, what the remote store does not
//! have is brought there ([`push`], [`jobs`], [`pack`]).
//!
//! Nothing is believed: an input has its digest from the lock, a result its signature. The place of a remote store comes from the
//! configuration, or from a workspace where the configuration permits that very place ([`permit`]).

mod artifact;
mod branch;
mod folder;
mod inputs;
mod jobs;
mod lender;
mod pack;
mod packages;
mod permit;
mod push;
mod registry;
mod shelf;
mod told;
mod workers;

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use bulla_model::{
    CleanPath, Digest,
    spec::{AbsolutePath, StorePlace},
};
use bulla_store::{PublicKey, SharedStore, SigningKey};

use self::{
    folder::FolderShelf,
    registry::RegistryShelf,
    shelf::{Shelf, ShelfError},
};
pub(crate) use self::{inputs::Input, lender::Lender, permit::Permit};
use crate::{
    error::Result,
    ops::{self, project::Project},
    session::Session,
};

/// The place of a remote store.
pub(crate) type Place = StorePlace;

/// What the configuration says of stores of others.
#[derive(Debug, Clone, Default)]
pub(crate) struct Others {
    /// The remote store.
    pub remote: Option<Place>,
    /// The branches from which it is written; `*` is any.
    pub write_from: Vec<String>,
    /// The folders of stores that are read.
    pub shared: Vec<PathBuf>,
    /// The keys whose results are used.
    pub trusted_keys: Vec<PublicKey>,
    /// The file of the key that signs results.
    pub signing_key: Option<PathBuf>,
    /// The remote stores that workspaces may name.
    pub workspace: Vec<Permit>,
    /// Whether results of steps that had secrets, and of what stands on them, stay in the own store.
    pub secret_steps_stay: bool,
}

/// The stores of others, as one build sees them.
pub(crate) struct Tiers {
    shared: Vec<SharedStore>,
    remote: Option<Remote>,
    /// The keys whose results are used: those that the configuration names, and the own one.
    keys: Vec<PublicKey>,
    /// The key that results are signed with, where this build writes.
    signing: Option<SigningKey>,
    /// Whether this build writes to the remote store.
    writes: bool,
    /// Whether it signs what it keeps in its own store, which may be the shared store of others.
    signs: bool,
}

/// The remote store, until it fails.
pub(crate) struct Remote {
    shelf: Box<dyn Shelf>,
    place: Place,
    down: AtomicBool,
    /// The digests of what was found to be damaged there: blobs, trees, actions. It is brought anew.
    spoiled: Mutex<BTreeSet<Digest>>,
}

impl Tiers {
    /// Opens what the configuration names; `None` where it names nothing.
    ///
    /// # Errors
    /// When the configuration or the signing key cannot be read. A store that cannot be read is a warning.
    pub(crate) fn open(session: &Session, project: &Project) -> Result<Option<Self>> {
        let own = &session.config()?.others;
        let others = permit::settle(session, own, project);
        if others.remote.is_none() && others.shared.is_empty() && own.write_from.is_empty() {
            return Ok(None);
        }
        let branch = session.environment.branch.clone().or_else(|| branch::of(&project.folder));
        let writes = others.remote.is_some() && branch::allows(&others.write_from, branch.as_deref());
        let key = ops::store::signing_key(session)?;
        let signs = own.remote.is_none() && key.is_some() && branch::allows(&own.write_from, branch.as_deref());
        if others.remote.is_none() && others.shared.is_empty() && !signs {
            return Ok(None);
        }
        let mut shared = Vec::new();
        for path in &others.shared {
            match SharedStore::open(path) {
                Ok(store) => shared.push(store),
                Err(error) => session.warn(&format!("a shared store is not used: {}", with_cause(&error))),
            }
        }
        let mut keys = others.trusted_keys.clone();
        keys.extend(key.as_ref().map(SigningKey::public).filter(|own| !others.trusted_keys.contains(own)));
        let remote = others.remote.clone().map(|place| Remote::open(session, place, writes)).transpose()?;
        Ok(Some(Self { shared, remote, keys, signing: key.filter(|_| writes || signs), writes, signs }))
    }

    /// Names what was looked into, for people.
    pub(crate) fn shown(&self) -> Option<String> {
        let shared = self.shared.iter().map(|store| format!("the shared store {}", store.path().display()));
        let remote = self.remote.as_ref().map(|remote| format!("the remote store {}", remote.place));
        let all: Vec<String> = shared.chain(remote).collect();
        (!all.is_empty()).then(|| all.join(", nor "))
    }

    /// Gives the remote store while it answers.
    fn remote(&self) -> Option<&Remote> {
        self.remote.as_ref().filter(|remote| !remote.down.load(Ordering::Relaxed))
    }
}

impl Remote {
    fn open(session: &Session, place: Place, writes: bool) -> Result<Self> {
        let shelf: Box<dyn Shelf> = match &place {
            Place::Folder(path) => Box::new(FolderShelf::new(&folder(path))),
            Place::Registry(reference) => {
                Box::new(RegistryShelf::new(ops::registries::client(session)?, reference.clone(), writes))
            }
        };
        Ok(Self { shelf, place, down: AtomicBool::new(false), spoiled: Mutex::default() })
    }

    /// Takes note of what went wrong: a store that cannot be reached is not asked again, and that is said once; what is wrong
    /// with one thing is said of that thing.
    fn failed(&self, session: &Session, (what, digest): (&str, &Digest), error: &ShelfError) {
        if session.interrupt.is_set() {
            return;
        }
        let (place, error_text) = (&self.place, with_cause(&*error.error.error));
        if !error.unreachable {
            lock(&self.spoiled).insert(*digest);
            session.warn(&format!("{what} of the remote store {place} is not used: {error_text}"));
        } else if !self.down.swap(true, Ordering::Relaxed) {
            session.warn(&format!("the build goes on without the remote store {place}: {error_text}"));
        }
    }
}

/// Gives a folder as the system takes it.
fn folder(path: &AbsolutePath) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    let inner = path.clean().map_or(&[][..], CleanPath::as_bytes);
    std::path::Path::new("/").join(std::ffi::OsStr::from_bytes(inner))
}

/// Writes an error and its causes on one line.
fn with_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    crate::neutral::line(&text).into_owned()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

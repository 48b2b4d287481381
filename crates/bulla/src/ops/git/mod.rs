//! Commits of git repositories: asked for, checked out into one archive of the store, and pinned.

mod checkout;
mod keys;
mod large;
mod remote;

use std::time::Instant;

use bulla_build::event::{Activity, ActivityId, Ending, Event};
use bulla_ecosystems::git::{
    Bare, Commit, GitError, Kind, Pack, Tag,
    signed::{self, Signed, SignedError},
};
use bulla_model::{
    Fault, GitId, GitRevision, Kind as FaultKind,
    lock::{GitEvidence, GitPin, GitSignature},
    spec::{GitSource, GitTrust, Name},
};
use bulla_net::{Client, SshConfig};
use bulla_store::Store;

pub(crate) use self::keys::read_keys;
use self::{checkout::Modules, remote::Remote};
use super::project::Project;
use crate::{error::Result, ops, registry::Apt, session::Session};

/// How many tags may lie on one another.
const MAX_TAGS: usize = 8;

/// Says why a commit cannot be pinned.
#[derive(Debug, thiserror::Error)]
enum GitSourceError {
    #[error("taking {what} from {url}")]
    Git { what: String, url: String, source: GitError },
    #[error("the source `{name}` from {url} cannot be trusted")]
    Signature { name: Name, url: String, source: SignedError },
}

impl Fault for GitSourceError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Git { source, .. } => source.kind(),
            Self::Signature { source, .. } => source.kind(),
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Git { source, .. } => source.hints(),
            Self::Signature { source, .. } => source.hints(),
        }
    }
}

/// What asks git servers.
pub(crate) struct Git<'a> {
    session: &'a Session,
    store: Store,
    client: Client,
    ssh: SshConfig,
}

/// What is being taken, in words: a source, or a commit that a lock file names.
struct Taken<'a> {
    what: &'a str,
    url: &'a str,
}

impl Taken<'_> {
    fn failed(&self, source: GitError) -> GitSourceError {
        GitSourceError::Git { what: self.what.to_owned(), url: self.url.to_owned(), source }
    }
}

/// The commit that something leads to, and the tag that led there.
struct Peeled {
    id: GitId,
    commit: Commit,
    tag: Option<(GitId, Tag)>,
}

impl<'a> Git<'a> {
    /// Makes one that keeps what comes in the store.
    pub(crate) fn new(session: &'a Session, store: Store) -> Result<Self> {
        Self::with(session, store, &Apt::read(session)?)
    }

    /// Makes one that asks over HTTP as nobody: for addresses that a stranger may have chosen.
    pub(crate) fn as_nobody(session: &'a Session, store: Store) -> Result<Self> {
        let mut machine = Apt::read(session)?;
        machine.credentials.clear();
        Self::with(session, store, &machine)
    }

    fn with(session: &'a Session, store: Store, machine: &Apt) -> Result<Self> {
        let client = ops::network::client(session, machine)?;
        Ok(Self { session, store, client, ssh: ops::network::ssh(session)? })
    }

    /// Pins what a source of the spec asks for now, and brings its files into the store.
    ///
    /// # Errors
    /// When it is not there, not what it should be, or not signed as the spec wants.
    pub(crate) fn pin(&self, project: &Project, name: &Name, source: &GitSource) -> Result<GitPin> {
        self.told(name, |progress| self.pin_quietly(project, name, source, progress))
    }

    /// Brings the files of a pinned commit into the store.
    ///
    /// # Errors
    /// When they are not there, or have another SHA-256 than the lock says.
    pub(crate) fn fetch(&self, name: &Name, pin: &GitPin) -> Result<()> {
        self.told(name, |progress| {
            let what = format!("the source `{name}`");
            let taken = Taken { what: &what, url: &pin.url };
            let mut remote = Remote::open(self, &taken, &pin.url)?;
            let wanted = remote.wanted(&pin.commit, &pin.asked);
            let pack = self.pack(&taken, &mut remote, &wanted, progress)?;
            let commit = read_commit(&pack, &pin.commit).map_err(|error| taken.failed(error))?;
            let modules = pin.submodules.as_ref().map_or(Modules::None, Modules::Pinned);
            let (files, _) = self.check_out(&taken, pack, &commit, &modules, pin.lfs, progress)?;
            self.keep(&files, Some(&pin.digest)).map(|_| ())
        })
    }

    /// Gives the files of a commit that a lock file names, as a repository of that alone.
    ///
    /// # Errors
    /// When it is not there, or damaged.
    pub(crate) fn bare(&self, what: &str, url: &str, commit: &GitId) -> Result<Bare> {
        self.session.interrupt.check()?;
        let taken = Taken { what, url };
        let mut remote = Remote::open(self, &taken, url)?;
        let wanted = remote.wanted(commit, &GitRevision::Commit(*commit));
        let pack = self.pack(&taken, &mut remote, &wanted, &|_| ())?;
        Ok(Bare::of(pack, *commit).map_err(|error| taken.failed(error))?)
    }

    fn told<T>(&self, name: &Name, work: impl FnOnce(&dyn Fn(u64)) -> Result<T>) -> Result<T> {
        self.session.interrupt.check()?;
        let observer = self.session.observer();
        let (id, start) = (ActivityId::fresh(), Instant::now());
        observer.event(&Event::Started { id, activity: Activity::Fetch, title: &format!("fetch: source {name}") });
        let progress = |done| observer.event(&Event::Progress { id, done, total: None, unit: "bytes" });
        let done = work(&progress);
        let ending = if done.is_ok() { Ending::Done } else { Ending::Failed };
        observer.event(&Event::Finished { id, ending, took: start.elapsed() });
        done
    }

    fn pin_quietly(
        &self,
        project: &Project,
        name: &Name,
        source: &GitSource,
        progress: &dyn Fn(u64),
    ) -> Result<GitPin> {
        let what = format!("the source `{name}`");
        let taken = Taken { what: &what, url: &source.url };
        let keys = match &source.trust {
            GitTrust::Signature { key } => Some((key, read_keys(project, name, key)?)),
            GitTrust::Commit | GitTrust::FirstUse { .. } => None,
        };
        let mut remote = Remote::open(self, &taken, &source.url)?;
        let object = match (&source.revision, source.revision.reference()) {
            (GitRevision::Commit(id), _) => *id,
            (_, reference) => {
                let found = remote.reference(&taken, &reference.unwrap_or_default())?;
                found.ok_or_else(|| taken.failed(GitError::NoSuchRef { wanted: source.revision.to_string() }))?
            }
        };
        let pack = self.pack(&taken, &mut remote, &object, progress)?;
        let peeled = peel(&pack, &object, &source.revision).map_err(|error| taken.failed(error))?;
        let evidence = match (&source.trust, keys) {
            (GitTrust::Signature { .. }, Some((key, keys))) => {
                let (object, signed) = check(&peeled, &keys).map_err(|source| GitSourceError::Signature {
                    name: name.clone(),
                    url: taken.url.to_owned(),
                    source,
                })?;
                let Signed { by: signed_by, signer, at: signed_at } = signed;
                GitEvidence::Signature(GitSignature { object, key: key.clone(), signed_by, signer, signed_at })
            }
            (GitTrust::Commit, _) => GitEvidence::Commit,
            _ => GitEvidence::FirstUse,
        };
        let modules = if source.submodules { Modules::Found } else { Modules::None };
        let (files, submodules) = self.check_out(&taken, pack, &peeled.commit, &modules, source.lfs, progress)?;
        let (digest, size) = self.keep(&files, None)?;
        Ok(GitPin {
            url: source.url.clone(),
            asked: source.revision.clone(),
            commit: peeled.id,
            size,
            digest,
            evidence,
            submodules: source.submodules.then_some(submodules),
            lfs: source.lfs,
        })
    }

    fn pack(&self, taken: &Taken<'_>, remote: &mut Remote<'_>, id: &GitId, progress: &dyn Fn(u64)) -> Result<Pack> {
        let bytes = remote.pack(taken, id, progress)?;
        self.session.interrupt.check()?;
        Ok(Pack::read(bytes).map_err(|error| taken.failed(error))?)
    }
}

fn read_commit(pack: &Pack, id: &GitId) -> Result<Commit, GitError> {
    Commit::parse(*id, &pack.get(Kind::Commit, id)?)
}

/// Follows tags to the commit that they lead to. The first must have the name that was asked for: else an old tag that somebody
/// signed could be given under the name of a new one.
fn peel(pack: &Pack, object: &GitId, asked: &GitRevision) -> Result<Peeled, GitError> {
    let (mut id, mut outer) = (*object, None);
    for _ in 0..MAX_TAGS {
        if pack.kind(&id) != Some(Kind::Tag) {
            break;
        }
        let GitRevision::Tag(name) = asked else {
            return Err(GitError::NotACommit { tag: asked.to_string(), kind: Kind::Tag.word() });
        };
        let tag = Tag::parse(id, &pack.get(Kind::Tag, &id)?)?;
        if outer.is_none() && tag.name != name.as_bytes() {
            return Err(GitError::OtherTag { asked: name.clone(), found: tag.shown() });
        }
        if !matches!(tag.kind, Kind::Commit | Kind::Tag) {
            return Err(GitError::NotACommit { tag: name.clone(), kind: tag.kind.word() });
        }
        let next = tag.object;
        outer.get_or_insert((id, tag));
        id = next;
    }
    if pack.kind(&id) == Some(Kind::Tag) {
        return Err(GitError::TooLarge { what: "longer chains of tags", limit: MAX_TAGS as u64 });
    }
    Ok(Peeled { id, commit: read_commit(pack, &id)?, tag: outer })
}

/// Verifies the signature of the tag, or where that has none, of the commit. One that is there and not good is never passed over.
fn check(peeled: &Peeled, keys: &[u8]) -> Result<(GitId, Signed), SignedError> {
    let now = ops::lock::now();
    if let Some((id, tag)) = &peeled.tag
        && let Some(signed) = signed::tag(tag, keys, now)?
    {
        return Ok((*id, signed));
    }
    match signed::commit(&peeled.commit, keys, now)? {
        Some(signed) => Ok((peeled.id, signed)),
        None => Err(SignedError::None),
    }
}

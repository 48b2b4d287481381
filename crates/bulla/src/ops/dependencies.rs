//! Brings what native lock files name into the store, from the registries that the user's configuration names, verified by the lock
//! files' own hashes. Which SHA-256 such a hash stands for is kept, sealed, so that nothing is hashed or fetched twice.

use std::{
    collections::VecDeque,
    io::Write as _,
    sync::{Mutex, OnceLock, PoisonError},
    time::Instant,
};

use bulla_build::{
    event::{Activity, ActivityId, Ending, Event, Observer},
    run,
};
use bulla_ecosystems::dependencies::{Artifact, Native, Place};
use bulla_model::{Digest, Ecosystem, Fault, Kind, login::without_logins};
use bulla_net::{Client, Get, NetError, Reach, Secret, Url};
use bulla_store::Store;

use crate::{
    error::{CommandError, Result},
    ops,
    registry::{Apt, NpmRegistries},
    session::Session,
};

/// The most bytes of one file that a lock file names.
const MAX_ARTIFACT: u64 = 1 << 30;
/// How many are fetched at once, where the configuration does not say it.
const AT_ONCE: usize = 8;

/// Has what lock files name.
pub(crate) struct Dependencies<'a> {
    session: &'a Session,
    store: &'a Store,
    /// The clients, made when something is fetched for the first time.
    npm: OnceLock<(NpmRegistries, Client)>,
    /// One lock file at a time: each uses all connections that there may be.
    turn: Mutex<()>,
}

/// Something that a lock file names cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("fetching {name} {version}, which {file}:{line} names")]
struct NotHad {
    name: String,
    version: String,
    file: String,
    line: u32,
    kind: Kind,
    hints: Vec<String>,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl Fault for NotHad {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn hints(&self) -> Vec<String> {
        self.hints.clone()
    }
}

/// What came is something else.
#[derive(Debug, thiserror::Error)]
#[error("{url} gives other bytes than the lock file says: they have not the hash {expected}")]
struct OtherBytes {
    url: String,
    expected: String,
}

/// Where something is asked for, and as whom.
struct Asked<'a> {
    get: Get,
    authorization: Option<&'a Secret>,
}

impl<'a> Dependencies<'a> {
    pub(crate) fn new(session: &'a Session, store: &'a Store) -> Self {
        Self { session, store, npm: OnceLock::new(), turn: Mutex::default() }
    }

    /// Makes sure that all files of a lock file are in the store, and gives the digest of each.
    ///
    /// # Errors
    /// When one cannot be had, or is another than the lock file says.
    pub(crate) fn bring(&self, native: &mut dyn Native) -> Result<Vec<Digest>> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut digests: Vec<Option<Digest>> = Vec::new();
        for artifact in &native.locked().artifacts {
            digests.push(self.had(artifact)?);
        }
        if digests.iter().any(Option::is_none) {
            for question in native.questions() {
                let bytes = self.ask(native.locked().ecosystem, &question)?;
                native.answer(&question, bytes.as_deref())?;
            }
            self.fetch(native, &mut digests)?;
        }
        Ok(digests.into_iter().flatten().collect())
    }

    /// Gives the digest of an artifact that is in the store.
    fn had(&self, artifact: &Artifact) -> Result<Option<Digest>> {
        let Some(hash) = artifact.hashes.first() else { return Ok(None) };
        Ok(match run::pinned(self.store, hash)? {
            Some(digest) if self.store.has_blob(&digest)? => Some(digest),
            _ => None,
        })
    }

    fn registries(&self, ecosystem: Ecosystem) -> Result<&(NpmRegistries, Client)> {
        if ecosystem != Ecosystem::Npm {
            return Err(crate::error::CliError::Option(format!("packages of {ecosystem} are not fetched yet")).into());
        }
        if let Some(made) = self.npm.get() {
            return Ok(made);
        }
        let registries = NpmRegistries::read(self.session)?;
        let mut machine = Apt::read(self.session)?;
        // Of the machine's settings its proxies and authorities count; its logins are for others.
        machine.credentials.clear();
        machine.ca_files.extend(registries.ca_files.iter().cloned());
        let client = ops::network::client(self.session, &machine)?;
        Ok(self.npm.get_or_init(|| (registries, client)))
    }

    /// Says where a place is. What a lock file chose itself is asked as nobody, and is no place of this machine.
    fn asked(&self, ecosystem: Ecosystem, name: &str, place: &Place, limit: u64) -> Result<Asked<'_>> {
        let (registries, _) = self.registries(ecosystem)?;
        Ok(match place {
            Place::Registry(path) => {
                let url = registries.of(name)?.beneath(path).map_err(NetError::from)?;
                let authorization = registries.login(&url);
                Asked { get: Get { urls: vec![url], reach: Reach::Configured, max_size: limit }, authorization }
            }
            Place::Url(text) => {
                let url = Url::parse(text).map_err(NetError::from)?;
                Asked { get: Get { urls: vec![url], reach: Reach::Public, max_size: limit }, authorization: None }
            }
        })
    }

    fn ask(
        &self,
        ecosystem: Ecosystem,
        question: &bulla_ecosystems::dependencies::Question,
    ) -> Result<Option<Vec<u8>>> {
        let asked = self.asked(ecosystem, &question.name, &question.place, question.limit)?;
        let (_, client) = self.registries(ecosystem)?;
        match client.get_into_with(&asked.get, asked.authorization, || Ok(Vec::new()), &|_| {}) {
            Ok((bytes, _)) => Ok(Some(bytes)),
            Err(NetError::Status { status: 404 | 410, .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Fetches what is not there, several at once. After a failure nothing further is begun.
    fn fetch(&self, native: &dyn Native, digests: &mut [Option<Digest>]) -> Result<()> {
        let locked = native.locked();
        let missing: Vec<usize> = (0..digests.len()).filter(|at| digests[*at].is_none()).collect();
        let observer = self.session.observer();
        let told = Told::begin(&*observer, &locked.file.to_string(), missing.len());
        let queue: Mutex<VecDeque<usize>> = Mutex::new(missing.iter().copied().collect());
        let done: Mutex<Vec<(usize, Digest)>> = Mutex::default();
        let failed: Mutex<Option<CommandError>> = Mutex::default();
        let threads = self.session.config()?.network.connections.unwrap_or(AT_ONCE).min(missing.len());
        let work = || {
            while lock(&failed).is_none() {
                let Some(at) = lock(&queue).pop_front() else { return };
                let Some(artifact) = locked.artifacts.get(at) else { return };
                match self.fetch_one(locked.ecosystem, &locked.file.to_string(), artifact) {
                    Ok(digest) => {
                        lock(&done).push((at, digest));
                        told.one();
                    }
                    // The first failure is the one that is told: the others may only follow from it.
                    Err(error) => {
                        lock(&failed).get_or_insert(error);
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(work);
            }
        });
        let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        told.end(failed.is_none());
        if let Some(error) = failed {
            return Err(error);
        }
        for (at, digest) in done.into_inner().unwrap_or_else(PoisonError::into_inner) {
            digests[at] = Some(digest);
        }
        Ok(())
    }

    /// Fetches one artifact from the first of its places that gives the right bytes.
    fn fetch_one(&self, ecosystem: Ecosystem, file: &str, artifact: &Artifact) -> Result<Digest> {
        let mut last: Option<CommandError> = None;
        for place in &artifact.places {
            match self.fetch_from(ecosystem, artifact, place) {
                Ok(digest) => return Ok(digest),
                Err(error) if error.kind == Kind::Interrupted => return Err(error),
                Err(error) => last = Some(error),
            }
        }
        let CommandError { kind, error, mut hints, .. } = last.unwrap_or_else(|| {
            crate::error::CliError::Option(format!("nothing says where {} {} is", artifact.name, artifact.version))
                .into()
        });
        if kind == Kind::Integrity {
            hints.push(format!(
                "either the registry or {file} is not what it was: compare them before you take over a new hash, and say so to whoever runs the registry"
            ));
        } else if let (Some((scope, _)), true) = (artifact.name.split_once('/'), artifact.is_of_registry()) {
            hints.push(format!(
                "if `{scope}` has a registry of its own, write `{scope}:registry=https://HOST/` into your own `~/.npmrc`; that of the project is not believed"
            ));
        }
        let (name, version) = (artifact.name.clone(), artifact.version.clone());
        Err(NotHad { name, version, file: file.to_owned(), line: artifact.line, kind, hints, source: error }.into())
    }

    fn fetch_from(&self, ecosystem: Ecosystem, artifact: &Artifact, place: &Place) -> Result<Digest> {
        let asked = self.asked(ecosystem, &artifact.name, place, MAX_ARTIFACT)?;
        let (_, client) = self.registries(ecosystem)?;
        let open = || self.store.blob_writer().map_err(std::io::Error::other);
        let (mut writer, _) = client.get_into_with(&asked.get, asked.authorization, open, &|_| {})?;
        writer.flush().map_err(crate::error::CliError::File)?;
        for hash in &artifact.hashes {
            let mut reader = writer.reader()?;
            if !hash.matches(&mut reader).map_err(crate::error::CliError::File)? {
                let url = asked.get.urls.first().map(Url::shown).unwrap_or_default();
                return Err(OtherBytes { url: without_logins(&url).to_string(), expected: hash.to_string() }.into());
            }
        }
        let digest = writer.finish(None)?;
        for hash in &artifact.hashes {
            run::keep_pinned(self.store, hash, &digest)?;
        }
        Ok(digest)
    }
}

impl Fault for OtherBytes {
    fn kind(&self) -> Kind {
        Kind::Integrity
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells how far the fetching is.
struct Told<'a> {
    observer: &'a dyn Observer,
    id: ActivityId,
    start: Instant,
    total: usize,
    done: Mutex<usize>,
}

impl<'a> Told<'a> {
    fn begin(observer: &'a dyn Observer, file: &str, total: usize) -> Self {
        let id = ActivityId::fresh();
        let title = format!("fetch: {total} package{} of {file}", if total == 1 { "" } else { "s" });
        observer.event(&Event::Started { id, activity: Activity::Fetch, title: &title });
        Self { observer, id, start: Instant::now(), total, done: Mutex::new(0) }
    }

    fn one(&self) {
        let mut done = lock(&self.done);
        *done += 1;
        let (done, total) = (*done as u64, Some(self.total as u64));
        self.observer.event(&Event::Progress { id: self.id, done, total, unit: "packages" });
    }

    fn end(&self, good: bool) {
        let ending = if good { Ending::Done } else { Ending::Failed };
        self.observer.event(&Event::Finished { id: self.id, ending, took: self.start.elapsed() });
    }
}

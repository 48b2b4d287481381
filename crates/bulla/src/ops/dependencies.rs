//! Brings what native lock files name into the store, from the registries that the user's configuration names, verified by the lock
//! files' own hashes. Which SHA-256 such a hash stands for is kept, sealed, so that nothing is hashed or fetched twice.

mod resumed;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use bulla_build::{
    event::{Activity, ActivityId, Ending, Event, Observer},
    run::{self, Asked},
};
use bulla_ecosystems::dependencies::{Artifact, Hash, Native, Place, Question};
use bulla_model::{
    Digest, Ecosystem, Fault, GitId, Kind,
    lock::{Loose, LooseEvidence, LoosePin},
    login::without_logins,
};
use bulla_net::{Client, NetError, Url};
use bulla_store::Store;

use self::resumed::Resumed;
use crate::{
    error::{CommandError, Result},
    ops::{self, git::Git},
    registry::{
        Apt, AptRegistries, CargoRegistries, Found, GoRegistries, MavenRegistries, NpmRegistries, PackageRegistries,
        PypiRegistries,
    },
    session::Session,
};

/// The most bytes of one file that a lock file names.
pub(crate) const MAX_ARTIFACT: u64 = 1 << 30;
/// How many are fetched at once, where the configuration does not say it.
const AT_ONCE: usize = 8;

/// Gives what others were told by a registry, where they have it.
pub(crate) type Lent<'a> = dyn Fn(&Asked) -> Option<Vec<u8>> + 'a;

/// Has what lock files name.
pub(crate) struct Dependencies<'a> {
    session: &'a Session,
    store: &'a Store,
    /// The registries of each ecosystem, read when something is fetched for the first time.
    known: Mutex<BTreeMap<Ecosystem, Arc<Known>>>,
    /// One lock file at a time: each uses all connections that there may be.
    turn: Mutex<()>,
    /// Whether the lock may be added to, and what was pinned and is not in it yet.
    may_pin: bool,
    pinned: Mutex<Loose>,
}

/// The registries of an ecosystem, and the client that asks them.
pub(crate) struct Known {
    pub(crate) registries: Box<dyn PackageRegistries>,
    pub(crate) client: Client,
}

impl Known {
    /// Says where a place is. What a lock file chose itself is asked as nobody, and is no place of this machine.
    pub(crate) fn find(&self, package: &str, place: &Place) -> Result<Vec<Found>> {
        match place {
            Place::Registry(path) => self.registries.find(package, path),
            Place::Url(text) => Ok(vec![self.registries.at(Url::parse(text).map_err(NetError::from)?)]),
            // Nothing of a registry.
            Place::Git { .. } => Ok(Vec::new()),
        }
    }
}

/// Something that a lock file names cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("fetching {name} {version}, which {file}{} names", if *line == 0 { String::new() } else { format!(":{line}") })]
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

/// Something is pinned by nothing, and the lock may not be added to.
#[derive(Debug, thiserror::Error)]
#[error(
    "{file}:{line} has no hash of {name} {version}, bulla.lock has no pin of it, and `--locked` forbids to add one"
)]
struct NotPinned {
    file: String,
    line: u32,
    name: String,
    version: String,
}

impl Fault for NotPinned {
    fn kind(&self) -> Kind {
        Kind::Policy
    }

    fn hints(&self) -> Vec<String> {
        vec!["run `bulla lock`, and commit bulla.lock: it fetches what such lock files name, and pins it".to_owned()]
    }
}

/// What came is something else.
#[derive(Debug, thiserror::Error)]
#[error("{url} gives other bytes than the lock file says: they have not the hash {expected}")]
struct OtherBytes {
    url: String,
    expected: String,
}

impl<'a> Dependencies<'a> {
    /// `may_pin` is whether the lock may be added to.
    pub(crate) fn new(session: &'a Session, store: &'a Store, may_pin: bool) -> Self {
        let (known, turn, pinned) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { session, store, known, turn, may_pin, pinned }
    }

    /// Gives what was pinned and is not in the lock yet.
    pub(crate) fn pinned(&self) -> Loose {
        lock(&self.pinned).clone()
    }

    /// Pins what a lock file names without a hash, by what is there now.
    ///
    /// # Errors
    /// When the lock may not be added to, or it cannot be had.
    pub(crate) fn pin(&self, ecosystem: Ecosystem, file: &str, artifact: &Artifact) -> Result<Digest> {
        let _turn = lock(&self.turn);
        let key = artifact.loose_key(ecosystem);
        if let Some(pin) = lock(&self.pinned).get(&key) {
            return Ok(pin.digest);
        }
        if !self.may_pin {
            let Artifact { name, version, line, .. } = artifact.clone();
            return Err(NotPinned { file: file.to_owned(), line, name, version }.into());
        }
        let digest = match self.has(artifact)? {
            Some(digest) => digest,
            None => self.fetch_one(ecosystem, file, artifact)?,
        };
        let evidence = match artifact.places.first() {
            Some(Place::Git { .. }) => LooseEvidence::Commit,
            _ => LooseEvidence::FirstUse,
        };
        let blob = self.store.open_blob(&digest)?.ok_or(std::io::ErrorKind::NotFound).map_err(std::io::Error::from);
        let size = blob.and_then(|blob| blob.metadata()).map_err(crate::error::CliError::File)?.len();
        lock(&self.pinned).insert(key, LoosePin { size, digest, evidence });
        Ok(digest)
    }

    /// Makes sure that all files of a lock file are in the store, and gives the digest of each. `lent` has answers of registries that others were given.
    ///
    /// # Errors
    /// When one cannot be had, or is another than the lock file says.
    pub(crate) fn bring(&self, native: &mut dyn Native, lent: &Lent<'_>) -> Result<Vec<Digest>> {
        let _turn = lock(&self.turn);
        if native.knows_all() {
            let digests = self.had(native)?;
            if digests.iter().all(Option::is_some) {
                return Ok(digests.into_iter().flatten().collect());
            }
        }
        self.settle(native, lent)?;
        let mut digests = self.had(native)?;
        if digests.iter().any(Option::is_none) {
            self.look_for_offers(native, &digests)?;
            self.fetch(native, &mut digests)?;
        }
        Ok(digests.into_iter().flatten().collect())
    }

    /// Gives the digests of those artifacts that are in the store.
    fn had(&self, native: &dyn Native) -> Result<Vec<Option<Digest>>> {
        native.locked().artifacts.iter().map(|artifact| self.has(artifact)).collect()
    }

    /// Gives the digest of an artifact that is in the store.
    fn has(&self, artifact: &Artifact) -> Result<Option<Digest>> {
        let Some(hash) = artifact.hashes.first() else { return Ok(None) };
        Ok(match run::pinned(self.store, hash)? {
            Some(digest) if self.store.has_blob(&digest)? => Some(digest),
            _ => None,
        })
    }

    /// Has the questions of a lock file answered: by what is kept of earlier answers or lent, else by the registry. What is locked is known then.
    fn settle(&self, native: &mut dyn Native, lent: &Lent<'_>) -> Result<()> {
        let ecosystem = native.locked().ecosystem;
        let mut open = Vec::new();
        for (asked, question) in Asked::of(native) {
            let mut known = false;
            for bytes in [run::kept_answer(self.store, &asked)?, lent(&asked)].into_iter().flatten() {
                // What does not verify is asked for again, whoever said it.
                match native.answer(&question, Some(&bytes)) {
                    Ok(()) => known = true,
                    Err(error) => {
                        self.session
                            .warn(&format!("what an earlier build was told of {} is not used: {error}", asked.name));
                        continue;
                    }
                }
                break;
            }
            if !known {
                open.push((asked, question));
            }
        }
        if open.is_empty() {
            return Ok(());
        }
        let observer = self.session.observer();
        let title = format!("ask: {} of the packages of {}", counted(open.len(), "document"), native.locked().file);
        let told = Told::begin(&*observer, (&title, "documents"), open.len());
        let answers = self.each(&open, &told, |(_, question)| self.ask(ecosystem, question));
        for ((asked, question), bytes) in open.iter().zip(answers?) {
            native.answer(question, bytes.as_deref())?;
            if let Some(used) = native.kept(question) {
                run::keep_answer(self.store, asked, &used)?;
            }
        }
        Ok(())
    }

    /// Asks the user's registry for what a lock file has foreign addresses of.
    fn look_for_offers(&self, native: &mut dyn Native, digests: &[Option<Digest>]) -> Result<()> {
        let offers = native.offers();
        if offers.is_empty() {
            return Ok(());
        }
        let ecosystem = native.locked().ecosystem;
        let known = self.known(ecosystem)?;
        let artifacts = native.locked().artifacts.iter().zip(digests);
        let missing: std::collections::HashSet<&str> =
            artifacts.filter(|(_, digest)| digest.is_none()).map(|(artifact, _)| artifact.name.as_str()).collect();
        let worth = |offer: &Question| missing.contains(offer.name.as_str()) && known.registries.has(&offer.name);
        let offers: Vec<Question> = offers.into_iter().filter(worth).collect();
        if offers.is_empty() {
            return Ok(());
        }
        let observer = self.session.observer();
        let title = format!("ask: {} of the packages of {}", counted(offers.len(), "document"), native.locked().file);
        let told = Told::begin(&*observer, (&title, "documents"), offers.len());
        let answers = self.each(&offers, &told, |offer| self.ask(ecosystem, offer))?;
        for (offer, bytes) in offers.iter().zip(answers) {
            native.answer(offer, bytes.as_deref())?;
        }
        Ok(())
    }

    /// Gives the registries of an ecosystem.
    ///
    /// # Errors
    /// When settings cannot be read.
    pub(crate) fn known(&self, ecosystem: Ecosystem) -> Result<Arc<Known>> {
        let mut all = lock(&self.known);
        if let Some(known) = all.get(&ecosystem) {
            return Ok(Arc::clone(known));
        }
        let registries: Box<dyn PackageRegistries> = match ecosystem {
            Ecosystem::Npm => Box::new(NpmRegistries::read(self.session)?),
            Ecosystem::Go => Box::new(GoRegistries::read(self.session)?),
            Ecosystem::Pypi => Box::new(PypiRegistries::read(self.session)?),
            Ecosystem::Cargo => Box::new(CargoRegistries::read(self.session)?),
            Ecosystem::Maven | Ecosystem::Gradle => Box::new(MavenRegistries::read(self.session)?),
            Ecosystem::Apt => Box::new(AptRegistries::read(self.session)?),
        };
        let mut machine = Apt::read(self.session)?;
        // Of the machine's settings its proxies and authorities count; its logins are for archives of Debian alone.
        if ecosystem != Ecosystem::Apt {
            machine.credentials.clear();
        }
        machine.ca_files.extend(registries.ca_files().iter().cloned());
        let client = ops::network::client(self.session, &machine)?;
        let known = Arc::new(Known { registries, client });
        all.insert(ecosystem, Arc::clone(&known));
        Ok(known)
    }

    fn ask(&self, ecosystem: Ecosystem, question: &Question) -> Result<Option<Vec<u8>>> {
        let known = self.known(ecosystem)?;
        let places = known.find(&question.name, &question.place)?;
        let last = places.len().saturating_sub(1);
        for (number, found) in places.into_iter().enumerate() {
            let get = found.get(question.limit, Some(question.accept));
            match known.client.get_into_with(&get, found.login.as_ref(), || Ok(Vec::new()), &|_| {}) {
                Ok((bytes, _)) => return Ok(Some(bytes)),
                Err(NetError::Status { status: 404 | 410, .. }) => {}
                Err(error) if number == last || !found.else_next || error.kind() == Kind::Interrupted => {
                    return Err(error.into());
                }
                Err(_) => {}
            }
        }
        Ok(None)
    }

    /// Fetches what is not there.
    fn fetch(&self, native: &dyn Native, digests: &mut [Option<Digest>]) -> Result<()> {
        let locked = native.locked();
        let file = locked.file.to_string();
        // Several packages may be of the same bytes, as those of one commit are.
        let mut missing: BTreeMap<&[Hash], Vec<usize>> = BTreeMap::new();
        for at in (0..digests.len()).filter(|at| digests[*at].is_none()) {
            missing.entry(&locked.artifacts[at].hashes).or_default().push(at);
        }
        let missing: Vec<Vec<usize>> = missing.into_values().collect();
        let observer = self.session.observer();
        let title = format!("fetch: {} of {file}", counted(missing.len(), "package"));
        let told = Told::begin(&*observer, (&title, "packages"), missing.len());
        let fetched =
            self.each(&missing, &told, |of| self.fetch_one(locked.ecosystem, &file, &locked.artifacts[of[0]]))?;
        for (of, digest) in missing.into_iter().zip(fetched) {
            of.into_iter().for_each(|at| digests[at] = Some(digest));
        }
        Ok(())
    }

    /// Does something with each, several at once, and gives the results in their order. After a failure nothing further is begun.
    fn each<T: Sync, R: Send>(
        &self,
        all: &[T],
        told: &Told<'_>,
        work: impl Fn(&T) -> Result<R> + Sync,
    ) -> Result<Vec<R>> {
        let next = AtomicUsize::new(0);
        let done: Mutex<Vec<(usize, R)>> = Mutex::default();
        let failed: Mutex<Option<CommandError>> = Mutex::default();
        let threads = self.session.config()?.network.connections.unwrap_or(AT_ONCE).min(all.len());
        let run = || {
            while lock(&failed).is_none() {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(one) = all.get(at) else { return };
                match work(one) {
                    Ok(result) => {
                        lock(&done).push((at, result));
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
                scope.spawn(run);
            }
        });
        let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        told.end(failed.is_none());
        if let Some(error) = failed {
            return Err(error);
        }
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|(at, _)| *at);
        Ok(done.into_iter().map(|(_, result)| result).collect())
    }

    /// Fetches one artifact from the first of its places that gives the right bytes.
    fn fetch_one(&self, ecosystem: Ecosystem, file: &str, artifact: &Artifact) -> Result<Digest> {
        let mut last: Option<CommandError> = None;
        let known = self.known(ecosystem)?;
        let moved_on = |place: &Place| match place {
            Place::Registry(path) => known.registries.moved_on(path),
            Place::Url(_) | Place::Git { .. } => None,
        };
        for place in &artifact.places {
            if let Place::Git { url, commit } = place {
                match self.fetch_commit(artifact, url, commit) {
                    Ok(digest) => return Ok(digest),
                    Err(error) if error.kind == Kind::Interrupted => return Err(error),
                    // That SSH is not allowed is said where nothing else helps.
                    Err(error) => last = Some(first_of(last, error)),
                }
            }
            for found in known.find(&artifact.name, place)? {
                let error = match self.fetch_from(&known, artifact, &found) {
                    Ok(digest) => return Ok(digest),
                    Err(error) if error.kind == Kind::Interrupted => return Err(error),
                    Err(error) => error,
                };
                // Whoever has other bytes is not made up for by the next, but where they are only newer ones.
                let ends = error.kind == Kind::Integrity && moved_on(place).is_none()
                    || !found.else_next && !is_absence(&error);
                last = Some(error);
                if ends {
                    break;
                }
            }
        }
        let last = last.unwrap_or_else(|| {
            crate::error::CliError::Option(format!("nothing says where {} {} is", artifact.name, artifact.version))
                .into()
        });
        let moved_on = artifact.places.iter().find_map(moved_on);
        let moved_on = moved_on.filter(|_| last.kind == Kind::Integrity || is_absence(&last));
        let CommandError { kind, error, mut hints, .. } = last;
        if let Some(moved_on) = moved_on {
            hints.extend(moved_on);
        } else if kind == Kind::Integrity {
            hints.push(format!(
                "either the registry or {file} is not what it was: compare them before you take over a new hash, and say so to whoever runs the registry"
            ));
        } else if artifact.is_of_registry() {
            hints.extend(known.registries.hint(&artifact.name));
        }
        let (name, version) = (artifact.name.clone(), artifact.version.clone());
        Err(NotHad { name, version, file: file.to_owned(), line: artifact.line, kind, hints, source: error }.into())
    }

    /// Fetches a commit, and keeps what can be made a repository of it.
    fn fetch_commit(&self, artifact: &Artifact, url: &str, commit: &GitId) -> Result<Digest> {
        let git = Git::as_nobody(self.session, self.store.clone())?;
        let bare = git.bare(&format!("the commit {}", commit.short()), url, commit)?;
        let digest = Digest::of(bare.pack());
        for hash in artifact.hashes.iter().filter(|hash| hash.is_strong()) {
            if *hash != Hash::Sha256(*digest.as_bytes()) {
                return Err(OtherBytes { url: without_logins(url).to_string(), expected: hash.to_string() }.into());
            }
        }
        let digest = self.store.put_blob(bare.pack())?;
        for hash in &artifact.hashes {
            run::keep_pinned(self.store, hash, &digest)?;
        }
        Ok(digest)
    }

    /// Fetches what has no hash yet, for the first time.
    fn fetch_first(&self, known: &Known, found: &Found) -> Result<Digest> {
        let get = found.get(MAX_ARTIFACT, None);
        let open = || self.store.blob_writer().map_err(std::io::Error::other);
        let (mut writer, _) = known.client.get_into_with(&get, found.login.as_ref(), open, &|_| {})?;
        std::io::Write::flush(&mut writer).map_err(crate::error::CliError::File)?;
        Ok(writer.finish(None)?)
    }

    /// Fetches one artifact from a place. It goes on where an earlier attempt ended, wherever that was from: what it is, its hashes say.
    fn fetch_from(&self, known: &Known, artifact: &Artifact, found: &Found) -> Result<Digest> {
        if artifact.hashes.is_empty() {
            return self.fetch_first(known, found);
        }
        let mut sink = Resumed::open(self.store, &artifact.hashes)?;
        if !sink.take_whole()? {
            let get = found.get(MAX_ARTIFACT, None);
            let stands_for = sink.stands_for();
            let fetched = known.client.download_with(&get, found.login.as_ref(), stands_for, &mut sink, &|_| {});
            fetched.map_err(|error| match (error, artifact.hashes.first()) {
                (NetError::WrongDigest { url, .. }, Some(hash)) => {
                    let url = without_logins(&url).to_string();
                    CommandError::from(OtherBytes { url, expected: hash.to_string() })
                }
                (error, _) => error.into(),
            })?;
        }
        let digest = sink.kept()?;
        for hash in &artifact.hashes {
            run::keep_pinned(self.store, hash, &digest)?;
        }
        Ok(digest)
    }
}

/// Gives the error that is told of two places: that of the first, unless it is that SSH is not allowed.
fn first_of(first: Option<CommandError>, second: CommandError) -> CommandError {
    let is_ssh =
        |error: &CommandError| matches!(error.error.downcast_ref::<NetError>(), Some(NetError::SshHost { .. }));
    match first {
        Some(first) if is_ssh(&first) => CommandError { hints: [second.hints, first.hints].concat(), ..second },
        Some(first) => first,
        None => second,
    }
}

/// Says whether a registry answered that it does not have something.
fn is_absence(error: &CommandError) -> bool {
    let status = error.error.downcast_ref::<NetError>();
    matches!(status, Some(NetError::Status { status: 404 | 410, .. }))
}

impl Fault for OtherBytes {
    fn kind(&self) -> Kind {
        Kind::Integrity
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Tells how far the fetching is.
struct Told<'a> {
    observer: &'a dyn Observer,
    id: ActivityId,
    start: Instant,
    unit: &'static str,
    total: usize,
    done: Mutex<usize>,
}

impl<'a> Told<'a> {
    fn begin(observer: &'a dyn Observer, (title, unit): (&str, &'static str), total: usize) -> Self {
        let id = ActivityId::fresh();
        observer.event(&Event::Started { id, activity: Activity::Fetch, title });
        Self { observer, id, start: Instant::now(), unit, total, done: Mutex::new(0) }
    }

    fn one(&self) {
        let mut done = lock(&self.done);
        *done += 1;
        let (done, total) = (*done as u64, Some(self.total as u64));
        self.observer.event(&Event::Progress { id: self.id, done, total, unit: self.unit });
    }

    fn end(&self, good: bool) {
        let ending = if good { Ending::Done } else { Ending::Failed };
        self.observer.event(&Event::Finished { id: self.id, ending, took: self.start.elapsed() });
    }
}

//! Brings what the lock names into the store: several downloads at once, each resumed where an earlier attempt ended.

mod nowhere;

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use bulla_build::event::{Activity, ActivityId, Ending, Event, Observer};
use bulla_model::{
    Digest,
    lock::{DebianPin, GitPin, ImageKey, ImagePin, Lock, PackagePin, SourcePin},
    oci::{self, Manifest},
};
use bulla_net::{Client, Download, DownloadSink, Finish, Progress, Reach, SinkError, Url};
use bulla_store::{Partial, Store};

use self::nowhere::Nowhere;
use crate::{
    error::{CliError, Result},
    ops::{
        git::Git,
        project::Project,
        registries::Bases,
        transfer::{self, Referrers, StoreTarget},
    },
    registry::{Place, REGISTRY, Registry},
    remote::{Input, Tiers},
    session::Session,
};

/// Makes sure that every package and source of the lock is in the store.
///
/// # Errors
/// When a suite is nowhere configured, or a download fails. What came is kept for the next attempt.
pub(crate) fn packages(
    store: &Store,
    client: impl FnOnce() -> Result<Client>,
    registry: impl FnOnce() -> Result<Registry>,
    lock: &Lock,
    observer: &dyn Observer,
    elsewhere: Option<&str>,
) -> Result<()> {
    let mut missing = missing(store, lock)?;
    // A commit is no file that is somewhere.
    missing.retain(|wanted| !matches!(wanted.place, From::Git(_)));
    if missing.is_empty() {
        return Ok(());
    }
    let registry = registry()?;
    let mut places = BTreeMap::new();
    let downloads = missing.iter().filter_map(|wanted| wanted.download(&registry, &mut places).transpose());
    let downloads = downloads.collect::<Result<Vec<_>>>()?;
    let progress = Told::begin(observer, &missing);
    let fetched = client()?.download_all(&downloads, &|download| Sink::open(store, &download.digest), &|news| {
        progress.take(news);
    });
    progress.end(fetched.is_ok());
    fetched.map_err(|error| match Nowhere::of(&error, &missing, elsewhere) {
        Some(nowhere) => nowhere.into(),
        None => error.into(),
    })
}

/// Makes sure that every image which the spec starts from is in the store, whole.
///
/// # Errors
/// When one cannot be fetched, or has other bytes than the lock says.
pub(crate) fn images(
    session: &Session,
    store: &Store,
    project: &Project,
    lock: &Lock,
    others: Option<&Tiers>,
) -> Result<()> {
    let mut bases = None;
    for (reference, platform) in project.spec.base_images() {
        let Some(pin) = lock.images.get(&ImageKey::new(reference, platform)) else { continue };
        if is_whole(store, pin)? {
            continue;
        }
        if let Some(others) = others {
            others.image(session, store, &reference.to_string(), pin)?;
            if is_whole(store, pin)? {
                continue;
            }
        }
        let known = match bases.take() {
            Some(known) => known,
            None => Bases::new(session, project)?,
        };
        let source = bases.insert(known).pinned(reference, pin)?;
        transfer::run(session, &*source, &StoreTarget { store, reference }, Referrers::LEFT)?;
    }
    Ok(())
}

/// Makes sure that the files of every commit of the lock are in the store.
///
/// # Errors
/// When one cannot be fetched, or has other files than the lock says.
pub(crate) fn commits(session: &Session, store: &Store, lock: &Lock) -> Result<()> {
    let mut git = None;
    for (name, pin) in &lock.sources {
        let SourcePin::Git(pin) = pin else { continue };
        if store.has_blob(&pin.digest)? {
            continue;
        }
        let asked = match git.take() {
            Some(git) => git,
            None => Git::new(session, store.clone())?,
        };
        git.insert(asked).fetch(name, pin)?;
    }
    Ok(())
}

/// Says whether an image is in the store with all that its manifest names.
fn is_whole(store: &Store, pin: &ImagePin) -> Result<bool> {
    let Some(bytes) = store.read_blob(&pin.manifest, oci::MAX_MANIFEST)? else { return Ok(false) };
    // What is no manifest is said by who fetches it.
    let Ok(manifest) = serde_json::from_slice::<Manifest>(&bytes) else { return Ok(false) };
    for blob in std::iter::once(&manifest.config).chain(&manifest.layers) {
        if !store.has_blob(&blob.digest)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Something that is not in the store yet.
#[derive(Debug, Clone)]
pub(crate) struct Wanted<'a> {
    digest: Digest,
    size: u64,
    place: From<'a>,
    /// What `bulla lock --update` calls it.
    name: String,
}

/// Where something comes from.
#[derive(Debug, Clone, Copy)]
enum From<'a> {
    Package(&'a PackagePin),
    /// A file of a source package, by its name.
    DebianSource(&'a DebianPin, &'a str),
    Url(&'a str),
    /// The files of a commit: `commits` asks for them, in another way than all others.
    Git(&'a GitPin),
}

/// Gives the packages and the files of sources that a lock names, each once.
fn wanted(lock: &Lock) -> Vec<Wanted<'_>> {
    let new = |digest, size, place, name: String| Wanted { digest, size, place, name };
    let packages =
        lock.packages.iter().map(|(key, pin)| new(pin.digest, pin.size, From::Package(pin), key.name.clone()));
    let sources = lock.sources.iter().flat_map(|(name, pin)| match pin {
        SourcePin::Url(pin) => vec![new(pin.digest, pin.size, From::Url(&pin.url), name.to_string())],
        SourcePin::Git(pin) => vec![new(pin.digest, pin.size, From::Git(pin), name.to_string())],
        SourcePin::Debian(pin) => (pin.files.iter())
            .map(|(file_name, file)| new(file.digest, file.size, From::DebianSource(pin, file_name), name.to_string()))
            .collect(),
    });
    let mut seen = BTreeSet::new();
    packages.chain(sources).filter(|wanted| seen.insert(wanted.digest)).collect()
}

/// Gives what of a lock is not in the store, each once.
pub(crate) fn missing<'a>(store: &Store, lock: &'a Lock) -> Result<Vec<Wanted<'a>>> {
    let mut missing = Vec::new();
    for wanted in wanted(lock) {
        if !store.has_blob(&wanted.digest)? {
            missing.push(wanted);
        }
    }
    Ok(missing)
}

/// Gives the packages and the files of sources that a lock names, as other stores know them.
pub(crate) fn inputs(lock: &Lock) -> Vec<Input> {
    wanted(lock).iter().map(Wanted::input).collect()
}

impl<'a> Wanted<'a> {
    /// Gives it as other stores know it.
    pub(crate) fn input(&self) -> Input {
        Input { digest: self.digest, size: self.size, title: self.title() }
    }

    /// Says what it is, for people.
    fn title(&self) -> String {
        match self.place {
            From::Package(pin) => pin.path.rsplit('/').next().unwrap_or_default().to_owned(),
            From::DebianSource(_, file) => file.to_owned(),
            From::Url(url) => bulla_model::login::without_logins(url),
            From::Git(pin) => bulla_model::login::without_logins(&pin.url),
        }
    }

    /// Says where it comes from, if it is a file that is somewhere; `places` are the suites that were looked for already.
    fn download(&self, registry: &Registry, places: &mut BTreeMap<&'a str, Place>) -> Result<Option<Download>> {
        let (urls, reach) = match self.place {
            // A spec or lock chose it: it leads to no place of this machine, unless the user says so.
            From::Url(url) => (vec![Url::parse(url).map_err(bulla_net::NetError::from)?], Reach::Public),
            From::Git(_) => return Ok(None),
            From::Package(pin) => (mirrors(&pin.registry, &pin.suite, &pin.path, registry, places)?, Reach::Configured),
            From::DebianSource(pin, name) => {
                let path = format!("{}/{name}", pin.directory);
                (mirrors(&pin.registry, &pin.suite, &path, registry, places)?, Reach::Configured)
            }
        };
        Ok(Some(Download { urls, reach, size: Some(self.size), digest: self.digest }))
    }
}

fn mirrors<'a>(
    named: &str,
    suite: &'a str,
    path: &str,
    registry: &Registry,
    places: &mut BTreeMap<&'a str, Place>,
) -> Result<Vec<Url>> {
    if named != REGISTRY {
        let known = format!("the lock names the registry `{named}`; the only one is `{REGISTRY}`");
        return Err(CliError::Option(known).into());
    }
    let place = match places.entry(suite) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(unknown) => unknown.insert(registry.suite(suite)?),
    };
    let urls = place.mirrors.iter().map(|mirror| mirror.beneath(path)).collect::<Result<Vec<_>, _>>();
    Ok(urls.map_err(bulla_net::NetError::from)?)
}

/// A download that goes into the store.
pub(crate) struct Sink<'a> {
    store: &'a Store,
    digest: Digest,
    partial: Option<Partial>,
}

impl<'a> Sink<'a> {
    /// Opens the download of a digest, with what an earlier attempt left.
    pub(crate) fn open(store: &'a Store, digest: &Digest) -> Result<Self, SinkError> {
        Ok(Self { store, digest: *digest, partial: Some(store.partial(digest)?) })
    }

    /// Gives the open download; it is opened again after it was found to be wrong and removed.
    fn partial(&mut self) -> Result<&mut Partial, SinkError> {
        if self.partial.is_none() {
            self.partial = Some(self.store.partial(&self.digest)?);
        }
        Ok(self.partial.as_mut().expect("it was just set"))
    }
}

impl DownloadSink for Sink<'_> {
    fn have(&self) -> u64 {
        self.partial.as_ref().map_or(0, Partial::len)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        use std::io::Write;
        Ok(self.partial()?.write_all(bytes)?)
    }

    fn restart(&mut self) -> Result<(), SinkError> {
        Ok(self.partial()?.restart()?)
    }

    fn finish(&mut self, expected: &Digest) -> Result<Finish, SinkError> {
        self.partial()?;
        let Some(partial) = self.partial.take() else { return Err("the download is not open".into()) };
        debug_assert_eq!(*expected, self.digest);
        match partial.finish() {
            Ok(()) => Ok(Finish::Kept),
            Err(bulla_store::Error::Mismatch { found, .. }) => Ok(Finish::Mismatch(found)),
            Err(error) => Err(error.into()),
        }
    }
}

/// Tells how far all downloads are together.
struct Told<'a> {
    observer: &'a dyn Observer,
    id: ActivityId,
    start: Instant,
    total: u64,
    state: Mutex<State>,
}

/// How far the downloads are.
struct State {
    have: BTreeMap<usize, u64>,
    done: u64,
    said: Instant,
}

/// How often progress is told.
const EVERY: Duration = Duration::from_millis(100);

impl<'a> Told<'a> {
    fn begin(observer: &'a dyn Observer, missing: &[Wanted<'_>]) -> Self {
        let id = ActivityId::fresh();
        let packages = missing.iter().filter(|wanted| matches!(wanted.place, From::Package(_))).count();
        let counted = [(packages, "package"), (missing.len() - packages, "source file")];
        let named = |(count, what): (usize, &str)| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let named: Vec<String> = counted.into_iter().filter(|(count, _)| *count > 0).map(named).collect();
        let title = format!("fetch: {}", named.join(", "));
        observer.event(&Event::Started { id, activity: Activity::Fetch, title: &title });
        let total = missing.iter().map(|wanted| wanted.size).sum();
        let start = Instant::now();
        let state = State { have: BTreeMap::new(), done: 0, said: start };
        Self { observer, id, start, total, state: Mutex::new(state) }
    }

    fn take(&self, news: Progress) {
        let Progress::Bytes { at, have } = news else { return };
        // A thread that panicked while it held the lock has left whole numbers behind.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.have.insert(at, have).unwrap_or(0);
        state.done = (state.done + have).saturating_sub(before);
        if state.said.elapsed() >= EVERY || state.done == self.total {
            state.said = Instant::now();
            let progress = Event::Progress { id: self.id, done: state.done, total: Some(self.total), unit: "bytes" };
            self.observer.event(&progress);
        }
    }

    fn end(&self, good: bool) {
        let ending = if good { Ending::Done } else { Ending::Failed };
        self.observer.event(&Event::Finished { id: self.id, ending, took: self.start.elapsed() });
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicUsize, time::SystemTime};

    use bulla_build::event::Silent;
    use bulla_model::{Kind, lock::PackageKey};
    use bulla_net::{NetConfig, Timeouts, Url};
    use bulla_store::Options;
    use bulla_testkit::{Fault, Mirror, Project};

    use super::*;
    use crate::{config::Debian, registry::Apt};

    /// A mirror with two packages, a lock of them, and an empty store.
    struct Scene {
        mirror: Mirror,
        lock: Lock,
        store: Store,
        _folders: (Project, tempfile::TempDir),
    }

    const LARGE: usize = 700_000;

    fn scene() -> Scene {
        let large: Vec<u8> = (0..LARGE).map(|n| u8::try_from(n % 251).unwrap_or(0)).collect();
        let files = Project::new().file("pool/a.deb", "small").file("pool/b.deb", &large);
        let mirror = Mirror::serve(files.root());
        let folder = tempfile::tempdir().expect("a folder");
        let options = Options::new(folder.path().join("store"), folder.path().join("key"), SystemTime::now);
        let store = Store::open(options).expect("a store");
        let mut lock = Lock::default();
        for (name, bytes) in [("a", b"small".as_slice()), ("b", &large)] {
            let key = PackageKey::new(name, "1", "all");
            lock.packages.insert(key, pin(name, bytes));
        }
        Scene { mirror, lock, store, _folders: (files, folder) }
    }

    fn pin(name: &str, bytes: &[u8]) -> PackagePin {
        PackagePin {
            architecture: "all".into(),
            registry: REGISTRY.into(),
            suite: "trixie".into(),
            component: "main".into(),
            path: format!("pool/{name}.deb"),
            size: bytes.len() as u64,
            digest: Digest::of(bytes),
            source: name.into(),
            source_version: "1".into(),
        }
    }

    fn fetch(scene: &Scene, observer: &dyn Observer) -> Result<()> {
        let client = || {
            let timeouts = Timeouts { pause: Duration::from_millis(10), ..Timeouts::default() };
            Ok(Client::new(NetConfig { timeouts, ..NetConfig::default() })?)
        };
        let registry = || {
            let mirrors = vec![Url::parse(&scene.mirror.url()).expect("a URL")];
            Ok(Registry::new(&Debian { mirrors, ..Debian::default() }, Apt::default()))
        };
        packages(&scene.store, client, registry, &scene.lock, observer, None)
    }

    #[test]
    fn what_is_missing_comes_and_what_is_there_is_not_asked_for() {
        let scene = scene();
        fetch(&scene, &Silent).expect("all comes");
        assert!(missing(&scene.store, &scene.lock).expect("a sound store").is_empty());
        scene.mirror.forget_requests();
        fetch(&scene, &Silent).expect("all is there");
        assert!(scene.mirror.requests().is_empty());
    }

    #[test]
    fn a_download_goes_on_where_it_was_cut_off() {
        let scene = scene();
        scene.mirror.fault("/pool/b.deb", Fault::CutOff { after: 400_000, times: 2 });
        fetch(&scene, &Silent).expect("all comes");
        let requests = scene.mirror.requests();
        assert!(requests.iter().any(|request| request.header("range").is_some()), "{requests:?}");
    }

    #[test]
    fn other_bytes_under_the_name_are_refused() {
        let scene = scene();
        scene.mirror.fault("/pool/a.deb", Fault::Bytes(b"other".to_vec()));
        let error = fetch(&scene, &Silent).expect_err("refused");
        assert_eq!(error.kind, Kind::Integrity);
        let left = missing(&scene.store, &scene.lock).expect("a sound store");
        assert!(left.iter().any(|wanted| wanted.digest == Digest::of("small")), "{left:?}");
    }

    #[test]
    fn a_lock_cannot_name_another_registry_or_leave_the_mirror() {
        for change in
            [|pin: &mut PackagePin| pin.registry = "other".into(), |pin: &mut PackagePin| pin.path = "../x".into()]
        {
            let mut scene = scene();
            scene.lock.packages.values_mut().for_each(change);
            fetch(&scene, &Silent).expect_err("refused");
            assert!(scene.mirror.requests().is_empty());
        }
    }

    #[test]
    fn progress_ends_with_all_bytes() {
        /// Notes the last progress and counts the ends.
        #[derive(Default)]
        struct Noted {
            last: Mutex<(u64, Option<u64>)>,
            ends: AtomicUsize,
        }
        impl Observer for Noted {
            fn event(&self, event: &Event<'_>) {
                match *event {
                    Event::Progress { done, total, .. } => *self.last.lock().expect("no panic") = (done, total),
                    Event::Finished { ending: Ending::Done, .. } => {
                        self.ends.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                    _ => {}
                }
            }
        }
        let noted = Noted::default();
        fetch(&scene(), &noted).expect("all comes");
        let all = LARGE as u64 + 5;
        assert_eq!(*noted.last.lock().expect("no panic"), (all, Some(all)));
        assert_eq!(noted.ends.into_inner(), 1);
    }
}

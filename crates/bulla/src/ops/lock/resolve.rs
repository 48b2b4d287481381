//! Resolves what a spec asks for: lets the ecosystem say what it needs, fetches that, and makes pins of the answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::{Instant, SystemTime},
};

use bulla_build::event::{Activity, ActivityId, Ending, Event};
use bulla_ecosystems::debian::resolve::{
    Inquiry, Need, Pin, Resolution, ResolveError, Resolver, Root, SourceRoot, Suite,
};
use bulla_ecosystems::debian::solve::Locked;
use bulla_model::{
    Epoch,
    lock::{DebianPin, FilePin, IndexKey, IndexPin, Lock, PackageKey, PackagePin, RootPin, SourcePin},
    spec::{self, DebianSource, Name, Release, RootKind, Side, Source},
};
use bulla_net::{Client, Get, NetError, Reach, Url};
use bulla_store::Store;

use super::{Update, Wish, remember::Dates};
use crate::{
    error::{CliError, CommandError, Result},
    ops::{self, project::Project},
    registry::{Apt, Place, REGISTRY, Registry},
    session::Session,
};

/// What came of it.
pub(super) struct Resolved {
    /// The new lock.
    pub lock: Lock,
    /// The dates of the indexes that were used, to be remembered.
    pub dates: Dates,
}

/// Resolves all roots of the spec. Packages keep the versions that the old lock has where they can and may.
pub(super) fn run(
    session: &Session,
    project: &Project,
    old: Option<&Lock>,
    wish: &Wish,
    remembered: &Dates,
) -> Result<Resolved> {
    let observer = session.observer();
    let (id, start) = (ActivityId::fresh(), Instant::now());
    observer.event(&Event::Started { id, activity: Activity::Lock, title: "lock: choosing packages" });
    let resolved = attempt(session, project, old, wish, remembered);
    let ending = if resolved.is_ok() { Ending::Done } else { Ending::Failed };
    observer.event(&Event::Finished { id, ending, took: start.elapsed() });
    resolved
}

fn attempt(
    session: &Session,
    project: &Project,
    old: Option<&Lock>,
    wish: &Wish,
    remembered: &Dates,
) -> Result<Resolved> {
    let roots = project.spec.roots();
    let sources: BTreeMap<&Name, &DebianSource> = (project.spec.sources.iter())
        .filter_map(|(name, source)| match source {
            Source::Debian(source) => Some((name, source)),
            Source::Folder(_) | Source::Url(_) | Source::Git(_) => None,
        })
        .collect();
    if roots.is_empty() && sources.is_empty() {
        return Ok(Resolved { lock: Lock::default(), dates: Dates::new() });
    }
    let apt = Apt::read(session)?;
    let registry = Registry::new(&session.config()?.debian, apt.clone());
    let releases =
        roots.values().map(|root| &root.debian.release).chain(sources.values().map(|source| &source.release));
    let (suites, places) = suites(releases, &registry)?;
    let inquiry = Inquiry {
        roots: roots.iter().map(|(name, root)| question(name, root, &suites, old, wish)).collect::<Result<_>>()?,
        sources: sources
            .iter()
            .map(|(name, source)| source_question(name, source, &suites, old, wish))
            .collect::<Result<_>>()?,
        suites,
        now: now(),
        remembered: remembered.clone(),
        allow_downgrade: wish.allow_downgrade,
    };
    let source =
        Bytes { session, store: ops::store::open(session)?, client: ops::network::client(session, &apt)?, places };
    let resolution = source.drive(inquiry)?;
    let dates = resolution.indexes.iter().map(|index| {
        let signed = index.primary_keys.iter().map(|key| (key.clone(), index.date)).collect();
        (format!("{} {}", index.repository, index.suite), signed)
    });
    Ok(Resolved { lock: to_lock(&roots, &sources, &resolution)?, dates: dates.collect() })
}

/// Gives the time, in whole seconds.
pub(crate) fn now() -> Epoch {
    let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Epoch::new(seconds).unwrap_or_default()
}

/// Gives the suites of all that is asked for, each once for each set of components, and where they are.
fn suites<'a>(releases: impl Iterator<Item = &'a Release>, registry: &Registry) -> Result<(Vec<Suite>, Vec<Place>)> {
    let wanted: BTreeSet<(&String, &Vec<String>)> =
        releases.flat_map(|release| release.suites.iter().map(|suite| (suite, &release.components))).collect();
    let (mut suites, mut places): (Vec<Suite>, Vec<Place>) = (Vec::new(), Vec::new());
    for (suite, components) in wanted {
        let place = registry.suite(suite)?;
        // Checking keys takes a while, and most suites have the same.
        let same = places.iter().position(|other| other.same_keys(&place)).and_then(|at| suites.get(at));
        let keyring = match same {
            Some(same) => same.keyring.clone(),
            None => place.keyring()?,
        };
        suites.push(Suite {
            repository: REGISTRY.to_owned(),
            suite: suite.clone(),
            components: components.clone(),
            keyring,
        });
        places.push(place);
    }
    Ok((suites, places))
}

fn question(name: &str, root: &spec::Root, suites: &[Suite], old: Option<&Lock>, wish: &Wish) -> Result<Root> {
    let release = &root.debian.release;
    Ok(Root {
        name: name.to_owned(),
        suites: places_of(release, suites),
        platform: root.native,
        foreign: Some(root.target).filter(|target| *target != root.native && asks(root, Side::Target)),
        requests: (root.debian.packages.iter())
            .map(|request| parsed(request, &request.resolved(root.native, root.target)))
            .collect::<Result<_>>()?,
        scripts: root.kind == RootKind::Stage,
        locked: old.map(|lock| locked(name, lock, &wish.update)).unwrap_or_default(),
    })
}

fn asks(root: &spec::Root, side: Side) -> bool {
    root.debian.packages.iter().any(|request| request.side == side)
}

/// Gives the positions of a release's suites.
fn places_of(release: &Release, suites: &[Suite]) -> Vec<usize> {
    let place = |suite: &String| suites.iter().position(|s| s.suite == *suite && s.components == release.components);
    release.suites.iter().filter_map(place).collect()
}

fn parsed(request: &spec::PackageRequest, text: &str) -> Result<bulla_ecosystems::debian::relation::Request> {
    let bad = |error: bulla_ecosystems::debian::relation::ParseRequestError| {
        CliError::Option(format!("{}:{}: {error}", request.at.line, request.at.column))
    };
    Ok(text.parse().map_err(bad)?)
}

fn source_question(
    name: &Name,
    source: &DebianSource,
    suites: &[Suite],
    old: Option<&Lock>,
    wish: &Wish,
) -> Result<SourceRoot> {
    let pin = old.and_then(|lock| lock.sources.get(name)?.debian());
    let may_move = super::urls::may_move(name, &wish.update);
    Ok(SourceRoot {
        name: name.to_string(),
        suites: places_of(&source.release, suites),
        request: parsed(&source.package, &source.package.to_string())?,
        locked: pin
            .filter(|pin| !may_move && pin.package.name == source.package.name)
            .map(|pin| pin.package.version.clone()),
    })
}

/// Gives the versions to keep: those of the root itself where the lock has it, else those of all roots.
fn locked(name: &str, lock: &Lock, update: &Update) -> Vec<Locked> {
    let may_move = |package: &str| match update {
        Update::Nothing => false,
        Update::Packages(names) => names.iter().any(|name| name == package),
        Update::Everything => true,
    };
    let all = match lock.roots.get(name) {
        Some(root) => lock.packages_of(root).collect::<Vec<_>>(),
        None => lock.packages.iter().collect(),
    };
    all.into_iter()
        .filter(|(key, _)| !may_move(&key.name))
        .map(|(key, pin)| Locked {
            name: key.name.clone(),
            version: key.version.clone(),
            architecture: pin.architecture.clone(),
        })
        .collect()
}

/// Where the bytes come from that the resolver needs.
struct Bytes<'a> {
    session: &'a Session,
    store: Store,
    client: Client,
    places: Vec<Place>,
}

/// What one mirror said.
enum Answer {
    Bytes(Vec<u8>),
    Absent,
}

impl Bytes<'_> {
    /// Gives the resolver what it needs, several files at once, until it has an answer.
    fn drive(&self, inquiry: Inquiry) -> Result<Resolution> {
        let mut resolver = Resolver::new(inquiry)?;
        loop {
            self.session.interrupt.check()?;
            let needs = resolver.needs();
            if needs.is_empty() {
                return Ok(resolver.finish()?);
            }
            // The first mirrors are asked at once; what they give and the resolver refuses is asked of the next, in turn.
            let answers: Vec<Result<Answer, NetError>> = thread::scope(|scope| {
                let threads: Vec<_> =
                    needs.iter().map(|need| scope.spawn(move || self.ask(need, self.mirror(need, 0)))).collect();
                threads.into_iter().map(|thread| thread.join().expect("asking does not panic")).collect()
            });
            for (need, answer) in needs.iter().zip(answers) {
                self.settle(&mut resolver, need, answer)?;
            }
        }
    }

    /// Takes the first mirror's answer to the resolver, and when that does not do, the next mirrors'.
    fn settle(&self, resolver: &mut Resolver, need: &Need, first: Result<Answer, NetError>) -> Result<()> {
        let mut answer = first;
        let mut next = 1;
        let mut refused: Option<(ResolveError, Option<&Url>)> = None;
        loop {
            let failure = match answer {
                Ok(Answer::Bytes(bytes)) => {
                    let keep = need.expected.is_some().then(|| bytes.clone());
                    match resolver.got(need, bytes) {
                        Ok(()) => {
                            if let Some(bytes) = keep {
                                self.store.put_blob(&bytes)?;
                            }
                            return Ok(());
                        }
                        Err(error) => {
                            refused.get_or_insert((error, self.mirror(need, next - 1)));
                            None
                        }
                    }
                }
                Ok(Answer::Absent) => None,
                Err(error) => Some(error),
            };
            match self.mirror(need, next) {
                Some(mirror) => answer = self.ask(need, Some(mirror)),
                None => {
                    return match (refused, failure) {
                        (Some((refused, mirror)), _) => Err(refused_from(refused, mirror, need)),
                        (None, Some(failure)) => Err(failure.into()),
                        (None, None) => Ok(resolver.absent(need)?),
                    };
                }
            }
            next += 1;
        }
    }

    fn mirror(&self, need: &Need, at: usize) -> Option<&Url> {
        self.places.get(need.suite)?.mirrors.get(at)
    }

    /// Asks the store for what is known by digest, else a mirror.
    fn ask(&self, need: &Need, mirror: Option<&Url>) -> Result<Answer, NetError> {
        if let Some((digest, size)) = &need.expected
            && let Ok(Some(bytes)) = self.store.read_blob(digest, *size)
        {
            return Ok(Answer::Bytes(bytes));
        }
        let Some(mirror) = mirror else { return Ok(Answer::Absent) };
        let get = Get {
            urls: vec![mirror.beneath(&need.path)?],
            reach: Reach::Configured,
            max_size: need.max_size,
            accept: None,
        };
        match self.client.get_bytes(&get) {
            Ok(body) => Ok(Answer::Bytes(body.bytes)),
            Err(error) if error.is_not_found() => Ok(Answer::Absent),
            Err(error) => Err(error),
        }
    }
}

/// Says also where the refused bytes came from.
fn refused_from(refused: ResolveError, mirror: Option<&Url>, need: &Need) -> CommandError {
    let url = mirror.and_then(|mirror| mirror.beneath(&need.path).ok());
    let mut error = CommandError::from(refused);
    error.hints.extend(url.map(|url| format!("it came from {url}")));
    error
}

/// Makes a lock of the answer.
fn to_lock(
    roots: &BTreeMap<String, spec::Root>,
    sources: &BTreeMap<&Name, &DebianSource>,
    resolution: &Resolution,
) -> Result<Lock> {
    let mut lock = Lock { epoch: resolution.epoch, ..Lock::default() };
    for index in &resolution.indexes {
        let mut signed_by = index.keys.clone();
        signed_by.sort();
        lock.indexes.insert(
            IndexKey { registry: index.repository.clone(), suite: index.suite.clone() },
            IndexPin { digest: index.digest, date: index.date, valid_until: index.valid_until, signed_by },
        );
    }
    for (name, root) in roots {
        let pins = resolution.roots.get(name).into_iter().flatten().filter_map(|at| resolution.packages.get(*at));
        let asked = |pin: &&Pin| root.debian.packages.iter().any(|request| request.name == pin.name);
        let pins: Vec<&Pin> = pins.filter(|pin| root.kind != RootKind::Files || asked(pin)).collect();
        let keys = pins.iter().map(|pin| PackageKey::new(&pin.name, &pin.version, &pin.architecture));
        lock.roots.insert(name.clone(), RootPin::new(root, REGISTRY, keys.collect()));
        for pin in pins {
            add(&mut lock, pin)?;
        }
    }
    for (name, source) in sources {
        let Some(pin) = resolution.sources.get(name.as_str()) else { continue };
        let files = pin.package.files.iter();
        let debian = DebianPin {
            registry: pin.repository.clone(),
            release: source.release.codename.clone(),
            suites: source.release.suites.clone(),
            components: source.release.components.clone(),
            asked: source.package.to_string(),
            package: PackageKey::new(&pin.package.name, &pin.package.version, ""),
            suite: pin.suite.clone(),
            component: pin.component.clone(),
            directory: pin.package.directory.clone(),
            files: files
                .map(|(name, (digest, size))| (name.clone(), FilePin { size: *size, digest: *digest }))
                .collect(),
        };
        lock.sources.insert((*name).clone(), SourcePin::Debian(debian));
    }
    lock.settle();
    Ok(lock)
}

fn add(lock: &mut Lock, pin: &Pin) -> Result<()> {
    let key = PackageKey::new(&pin.name, &pin.version, &pin.architecture);
    let package = PackagePin {
        architecture: pin.architecture.clone(),
        registry: pin.repository.clone(),
        suite: pin.suite.clone(),
        component: pin.component.clone(),
        path: pin.path.clone(),
        size: pin.size,
        digest: pin.sha256,
        source: pin.source.clone(),
        source_version: pin.source_version.clone(),
    };
    match lock.packages.get(&key) {
        Some(known) if known.digest != package.digest => {
            let message = format!("two suites have different files for {key}: {} and {}", known.suite, package.suite);
            Err(CliError::Option(message).into())
        }
        Some(_) => Ok(()),
        None => {
            lock.packages.insert(key, package);
            Ok(())
        }
    }
}

//! Builds: brings what is missing into the store, runs the plan, writes the image out, and keeps a record of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant, SystemTime},
};

use bulla_build::{
    assemble::{Assembled, Joined, LayerInfo},
    run::{Anew, Build, BuildError, Built, Had, Journal, Settings, StepRecord, Supply, Unsupplied, Variation},
    secret::Secrets,
};
use bulla_model::{
    Digest, Fault, Kind, Platform,
    lock::Lock,
    oci::{BaseReference, Reference},
    plan::{self, Plan},
    spec::{Base, Name, Stage},
};
use bulla_net::Reach;
use bulla_store::{BuildRecord, Outcome, Store};

use super::{
    compare::NotReproducible,
    export,
    export::Output,
    fetch::Wanted,
    keyless::Signing,
    project::Project,
    statements::{Invocation, Level},
    supply::Own,
    transfer::{self, Referrers, RegistryTarget, StoreSource},
};
use crate::{
    error::{CliError, CommandError, Result},
    ops,
    registry::{Apt, Registry},
    remote::{Lender, Tiers},
    secret::{Keeper, SecretOption},
    session::Session,
    terminal,
};

/// What a build is asked for, beside what the spec says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wishes {
    /// Whether git must know every file of the sources as it is.
    pub clean: bool,
    /// Whether the lock may be added to: what lock files name without a hash is pinned then, and is an error else.
    pub may_pin: bool,
    /// How many stages run at once; `None` is the configuration's number, else that of the processors.
    pub jobs: Option<usize>,
    /// The platforms that are wanted; all of the spec where none is named.
    pub platforms: BTreeSet<Platform>,
    /// The stage that is wanted, and no image.
    pub target: Option<Name>,
    /// What is done again, though results of earlier builds are there.
    pub anew: Anew,
    /// Set where the run is the second of a comparison: what is otherwise around its steps.
    pub again: Option<BTreeSet<Variation>>,
    /// Whether the image is made a second time, in other surroundings, and must come out the same.
    pub compare: bool,
    /// Where the image is written.
    pub outputs: Vec<Output>,
    /// Whether it is loaded into an engine.
    pub load: bool,
    /// Its names there.
    pub names: Vec<String>,
    /// Where it is pushed to.
    pub push: Option<Reference>,
    /// Where the secrets of steps come from.
    pub secrets: Vec<SecretOption>,
    /// How much evidence goes with the image.
    pub evidence: Level,
    /// What signs it, and its evidence.
    pub sign: Option<Signing>,
}

/// Builds the image, and gives it; `None` where a stage alone was wanted.
///
/// # Errors
/// When a package cannot be fetched, a step fails, or the image cannot be written.
pub(crate) fn run(
    session: &Session,
    store: &Store,
    project: &Project,
    lock: &Lock,
    wishes: &Wishes,
) -> Result<Option<Joined>> {
    let (began, start) = (SystemTime::now(), Instant::now());
    let journal = Journal::default();
    let built = attempt(session, store, project, lock, wishes, (began, &journal));
    record(session, store, project, (began, start.elapsed()), built.as_ref(), journal);
    built.map(|built| built.image)
}

fn attempt(
    session: &Session,
    store: &Store,
    project: &Project,
    lock: &Lock,
    wishes: &Wishes,
    (began, journal): (SystemTime, &Journal),
) -> Result<Built> {
    let start = Instant::now();
    let plans = plans(project, lock, wishes)?;
    let keeper = Keeper::gather(session, &wishes.secrets, &project.spec.secrets(), &plans)?;
    let made = make(session, store, project, lock, (&plans, wishes), (journal, &keeper.secrets));
    let built = made.and_then(|(lock, built)| {
        let varied = match wishes.compare {
            true => Some(again(session, store, project, (&lock, &plans), wishes, (&built, &keeper.secrets))?),
            false => None,
        };
        let invocation = Invocation { began, secrets: &keeper.secrets, varied };
        let built = ops::statements::with(
            session,
            store,
            (project, &lock, &plans),
            built,
            &invocation,
            wishes.evidence,
            wishes.sign.as_ref(),
        )?;
        hand_out(session, store, project, (&lock, &built), wishes)?;
        Ok(built)
    });
    if let Ok(built) = &built {
        session.say(&summary(built, wishes, start.elapsed()));
    }
    match (built, keeper.end()) {
        (built, Ok(())) => built,
        // What was built is where it was to be: but whoever relies on the exit code must know.
        (Ok(_), Err(error)) => Err(error.into()),
        (Err(why), Err(error)) => {
            session.warn(&error.to_string());
            Err(why)
        }
    }
}

/// Does what a build does while there are secrets.
fn make(
    session: &Session,
    store: &Store,
    project: &Project,
    lock: &Lock,
    (plans, wishes): (&[Plan], &Wishes),
    (journal, secrets): (&Journal, &Secrets),
) -> Result<(Lock, Built)> {
    let pins = pins_for(lock, plans, wishes);
    ops::layouts::check(project, &pins)?;
    let (pinned, built) = match Tiers::open(session, project)? {
        None => {
            fetch_for(session, store, project, &pins, None)?;
            let own = Own::new(session, store, wishes.may_pin);
            let built = execute(session, store, project, (plans, wishes), (journal, secrets, &own));
            (ops::lock::add_loose(session, project, own.pinned())?, built?)
        }
        Some(others) => {
            // What is needed is fetched when it is: results of others may need nothing.
            let lender = Lender::new(session, store, &others, project, pins, wishes.may_pin);
            let built = execute(session, store, project, (plans, wishes), (journal, secrets, &lender));
            lender.give();
            (ops::lock::add_loose(session, project, lender.pinned())?, built?)
        }
    };
    Ok((pinned.unwrap_or_else(|| lock.clone()), built))
}

/// Makes an image with nothing of earlier builds and without secrets, for platforms of its spec, and keeps nothing of it.
///
/// # Errors
/// As [`run`].
pub(crate) fn once_more(
    session: &Session,
    store: &Store,
    project: &Project,
    lock: &Lock,
    platforms: &BTreeSet<Platform>,
    varied: &BTreeSet<Variation>,
) -> Result<Built> {
    let wishes = Wishes { again: Some(varied.clone()), platforms: platforms.clone(), ..Wishes::default() };
    let plans = plans(project, lock, &wishes)?;
    let around = (&Journal::default(), &Secrets::default());
    Ok(make(session, store, project, lock, (&plans, &wishes), around)?.1)
}

/// Makes an image once more in other surroundings, and gives what was otherwise.
///
/// # Errors
/// When it does not come out the same; as [`run`].
fn again(
    session: &Session,
    store: &Store,
    project: &Project,
    (lock, plans): (&Lock, &[Plan]),
    wishes: &Wishes,
    (built, secrets): (&Built, &Secrets),
) -> Result<BTreeSet<Variation>> {
    let Some(first) = &built.image else { return Ok(BTreeSet::new()) };
    let varied = BTreeSet::from(Variation::USUAL);
    let second = Wishes { again: Some(varied.clone()), may_pin: false, ..wishes.clone() };
    session.say("The same once more, later and in other surroundings:");
    let (_, second) = make(session, store, project, lock, (plans, &second), (&Journal::default(), secrets))?;
    let second = second.image.ok_or_else(|| CliError::Option("a second run without an image".to_owned()))?;
    if second.index.digest == first.index.digest {
        session.say("It came out the same.");
        return Ok(varied);
    }
    let differences = ops::compare::of_store(store, first, &second)?;
    Err(NotReproducible { first: first.index.digest, second: second.index.digest, differences, varied }.into())
}

/// Writes an image to where it is wanted, and says what has to be said of the build.
fn hand_out(
    session: &Session,
    store: &Store,
    project: &Project,
    (lock, built): (&Lock, &Built),
    wishes: &Wishes,
) -> Result<()> {
    if let Some(image) = &built.image {
        export::all(session, store, image, &wishes.outputs, &wishes.names, wishes.load)?;
        if let Some(reference) = &wishes.push {
            push(session, store, project, (lock, image), reference, wishes.sign.as_ref())?;
        }
    }
    // Once for all platforms.
    let lines: BTreeSet<String> = built.image.iter().flat_map(|image| &image.parts).flat_map(dropped).collect();
    for line in lines {
        session.say(&line);
    }
    for line in [tainted(built), observed(built)].into_iter().flatten() {
        session.say(&line);
    }
    Ok(())
}

/// Says which steps read a cache, and what follows from that.
fn tainted(built: &Built) -> Option<String> {
    let steps = built.steps.iter().filter(|step| step.record.read_a_cache());
    let steps: Vec<String> = steps.map(|step| format!("{}/{}", step.stage, step.step)).collect();
    let what = if built.image.as_ref().is_some_and(|image| image.parts.iter().any(|part| part.tainted)) {
        "the image"
    } else {
        "what came of it"
    };
    let told = format!(
        "Read from caches by {}: {what} is not called reproducible, and its results are not shared.",
        steps.join(", ")
    );
    Some(told).filter(|_| !steps.is_empty())
}

/// Says which steps were given what was only observed.
fn observed(built: &Built) -> Option<String> {
    let steps = built.steps.iter().filter(|step| !step.record.observed.is_empty());
    let told = |step: &StepRecord| {
        let registries: Vec<&str> = step.record.observed.iter().map(String::as_str).collect();
        format!("{}/{} ({})", step.stage, step.step, registries.join(", "))
    };
    let steps: Vec<String> = steps.map(told).collect();
    Some(format!("Pinned by what was observed, and by no lock file: {}.", steps.join(", ")))
        .filter(|_| !steps.is_empty())
}

/// The most files that a line names.
const MAX_NAMED: usize = 4;

/// Says what the files of an image could do where they come from, and cannot in the image.
fn dropped(image: &Assembled) -> Vec<String> {
    let mut lines = Vec::new();
    let count = image.stripped.len();
    if count > 0 {
        let mut names: Vec<String> = image.stripped.iter().take(MAX_NAMED).map(|path| format!("/{path}")).collect();
        names.extend((count > MAX_NAMED).then(|| format!("{} more", count - MAX_NAMED)));
        let names = names.join(", ");
        lines.push(format!("Dropped set-id bits, which `image.allow.setuid` does not keep: {names}."));
    }
    for asked in &image.withheld {
        let (package, path, capabilities) = (crate::neutral::line(&asked.package), &asked.path, &asked.capabilities);
        lines.push(format!(
            "Dropped {capabilities} of /{path}, which {package} asks for and `image.allow.capabilities` does not give."
        ));
    }
    lines
}

/// Makes the plan for each platform that is wanted.
///
/// # Errors
/// When the spec has not a platform, or the lock lacks something.
pub(super) fn plans(project: &Project, lock: &Lock, wishes: &Wishes) -> Result<Vec<Plan>> {
    let spec = &project.spec;
    if let Some(platform) = wishes.platforms.iter().find(|platform| !spec.platforms.contains(platform)) {
        let known = spec.platforms.iter().map(ToString::to_string).collect();
        return Err(NoSuchPlatform { platform: *platform, known }.into());
    }
    let wanted = if wishes.platforms.is_empty() { &spec.platforms } else { &wishes.platforms };
    let plan = |platform: &Platform| {
        let mut plan = plan::plan(spec, lock, *platform)?;
        if let Some(stage) = &wishes.target {
            plan.narrow(stage);
        }
        Ok(plan)
    };
    wanted.iter().map(plan).collect()
}

/// A platform that the spec does not build for.
#[derive(Debug, thiserror::Error)]
#[error("the spec does not build for {platform}; it builds for {}", known.join(", "))]
struct NoSuchPlatform {
    platform: Platform,
    known: Vec<String>,
}

impl Fault for NoSuchPlatform {
    fn kind(&self) -> Kind {
        Kind::Spec
    }

    fn hints(&self) -> Vec<String> {
        let all: Vec<&str> = self.known.iter().map(String::as_str).collect();
        vec![format!("write `platforms: [{}, {}]` in the spec", all.join(", "), self.platform)]
    }
}

/// Pushes an image that was built.
///
/// # Errors
/// When the registry does not take it, or what arrived is not what was sent.
pub(crate) fn push(
    session: &Session,
    store: &Store,
    project: &Project,
    (lock, image): (&Lock, &Joined),
    reference: &Reference,
    sign: Option<&Signing>,
) -> Result<()> {
    let registries = ops::registries::client(session)?;
    let target = RegistryTarget::open(&registries, reference)?;
    let mut source = StoreSource::new(store, image);
    if let Base::Image(BaseReference::Registry(base)) = &project.spec.image.base
        // Layers of an image in the same registry need not be sent to it. Nothing is asked of another.
        && registries.read_at(base).host() == reference.host()
    {
        let pins = lock.images.iter().filter(|(key, _)| key.reference.registry() == Some(base));
        let manifests = pins.map(|(_, pin)| pin.manifest);
        source = source.on(registries.repository(base, Reach::Configured)?, manifests)?;
    }
    transfer::run(session, &source, &target, Referrers::TAKEN)?;
    let key = sign.and_then(Signing::as_key);
    key.map_or(Ok(()), |key| ops::statements::put_beside(session, store, image, reference, key))
}

fn summary(built: &Built, wishes: &Wishes, took: Duration) -> String {
    let took = terminal::duration(took);
    let cached = built.steps.iter().filter(|step| step.cached).count();
    let steps = match (built.steps.len() - cached, cached) {
        (0, 0) => None,
        (run, cached) => Some(format!("{run} of {} steps run", run + cached)),
    };
    let layers = built.image.as_ref().map(|image| {
        let layers: BTreeMap<Digest, u64> = layers(image).map(|layer| (layer.digest, layer.size)).collect();
        let size = terminal::bytes(layers.values().sum());
        match image.parts.len() {
            1 => format!("{} layers, {size}", layers.len()),
            platforms => format!("{platforms} platforms, {} layers, {size}", layers.len()),
        }
    });
    let what = match &wishes.target {
        Some(stage) => format!("Ran the stage {stage}"),
        None => format!("Built {}", wishes.names.join(", ")),
    };
    let told: Vec<String> = steps.into_iter().chain(layers).collect();
    format!("{what} in {took}: {}.", told.join(", "))
}

fn layers(image: &Joined) -> impl Iterator<Item = &LayerInfo> {
    image.parts.iter().flat_map(|part| &part.layers)
}

/// Gives what plans need of the lock: all that it has, unless a part alone is wanted.
pub(super) fn pins_for(lock: &Lock, plans: &[Plan], wishes: &Wishes) -> Lock {
    let mut lock = lock.clone();
    if wishes.target.is_some() || !wishes.platforms.is_empty() {
        let wanted: BTreeSet<Digest> = plans.iter().flat_map(Plan::packages).collect();
        lock.packages.retain(|_, pin| wanted.contains(&pin.digest));
        lock.images.retain(|key, _| plans.iter().any(|plan| plan.images.contains_key(&key.to_string())));
    }
    lock
}

/// Brings inputs into the store.
pub(super) fn fetch_for(
    session: &Session,
    store: &Store,
    project: &Project,
    pins: &Lock,
    others: Option<&Tiers>,
) -> Result<()> {
    fetch(session, store, pins, others)?;
    ops::fetch::images(session, store, project, pins, others)?;
    session.interrupt.check()
}

/// Brings all that a build needs into the store, and runs nothing. Says of each native lock file what it named.
///
/// # Errors
/// When something cannot be had, or a source or a lock file cannot be read.
pub(crate) fn fetch_all(session: &Session, project: &Project, lock: &Lock, wishes: &Wishes) -> Result<Vec<Had>> {
    let store = ops::store::open(session)?;
    let plans = plans(project, lock, wishes)?;
    let pins = pins_for(lock, &plans, wishes);
    let others = Tiers::open(session, project)?;
    fetch_for(session, &store, project, &pins, others.as_ref())?;
    let own = Own::new(session, &store, wishes.may_pin);
    let (journal, secrets) = (Journal::default(), Secrets::default());
    let had = with_build(session, &store, project, (&plans, wishes), (&journal, &secrets, &own), |build| {
        build.fetch_dependencies()
    });
    ops::lock::add_loose(session, project, own.pinned())?;
    had
}

/// Pins what lock files name without a hash, and forgets such pins that none needs any more. Of the inputs sources alone are brought.
///
/// # Errors
/// When a source or a lock file cannot be read, or something cannot be had.
pub(crate) fn pin_loose(session: &Session, project: &Project, lock: &Lock) -> Result<Lock> {
    let with_them = |stage: &Stage| stage.dependencies.keys().any(|ecosystem| ecosystem.can_be_loose());
    if !project.spec.stages.values().any(with_them) {
        return Ok(lock.clone());
    }
    let store = ops::store::open(session)?;
    let wishes = Wishes { may_pin: true, ..Wishes::default() };
    let plans = plans(project, lock, &wishes)?;
    let mut sources = lock.clone();
    sources.packages.clear();
    fetch(session, &store, &sources, None)?;
    let own = Own::new(session, &store, true);
    let (journal, secrets) = (Journal::default(), Secrets::default());
    let used =
        with_build(session, &store, project, (&plans, &wishes), (&journal, &secrets, &own), |build| build.pin_loose());
    let mut lock = ops::lock::add_loose(session, project, own.pinned())?.unwrap_or_else(|| lock.clone());
    let used = used?;
    ops::lock::drop_loose(session, project, &mut lock, &used)?;
    Ok(lock)
}

/// Brings packages and sources into the store: from the stores of others, and what they do not have from where it comes from.
pub(crate) fn fetch(session: &Session, store: &Store, lock: &Lock, others: Option<&Tiers>) -> Result<()> {
    if let Some(others) = others {
        let missing = ops::fetch::missing(store, lock)?;
        others.inputs(session, store, &missing.iter().map(Wanted::input).collect::<Vec<_>>())?;
    }
    let registry = || Ok(Registry::new(&session.config()?.debian, Apt::read(session)?));
    let client = || ops::network::client(session, &Apt::read(session)?);
    let elsewhere = others.and_then(Tiers::shown);
    ops::fetch::packages(store, client, registry, lock, &*session.observer(), elsewhere.as_deref())?;
    ops::fetch::commits(session, store, lock)
}

fn execute(
    session: &Session,
    store: &Store,
    project: &Project,
    (plans, wishes): (&[Plan], &Wishes),
    around: Around<'_>,
) -> Result<Built> {
    with_build(session, store, project, (plans, wishes), around, |build| {
        if wishes.target.is_some() { build.run_stages() } else { build.run() }
    })
}

/// What stands around a build: what notes its inputs, its secrets, and what gives what the store does not have.
pub(super) type Around<'a> = (&'a Journal, &'a Secrets, &'a dyn Supply);

/// Puts a build together, and does something with it.
pub(crate) fn with_build<T>(
    session: &Session,
    store: &Store,
    project: &Project,
    (plans, wishes): (&[Plan], &Wishes),
    (journal, secrets, supply): Around<'_>,
    work: impl FnOnce(&Build<'_>) -> Result<T, BuildError>,
) -> Result<T> {
    let cancel = session.cancel()?;
    let settings = settings(session, wishes)?;
    let observer = session.observer();
    let stopped = session.interrupt.flag();
    let build = Build {
        store,
        project: &project.folder,
        spec: &project.spec,
        plans,
        settings: &settings,
        cancel,
        stopped: &stopped,
        observer: &*observer,
        journal,
        secrets,
        supply,
    };
    work(&build).map_err(of_build)
}

fn settings(session: &Session, wishes: &Wishes) -> Result<Settings> {
    let config = session.config()?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let default = bulla_sandbox::Limits::default();
    let limits = config.limits;
    Ok(Settings {
        sandbox: bulla_sandbox::Options {
            service_uid: config.store_uid.unwrap_or(ops::store::SERVICE_UID),
            ..bulla_sandbox::Options::default()
        },
        limits: bulla_sandbox::Limits {
            memory: limits.memory.unwrap_or(default.memory),
            disk: limits.disk.unwrap_or(default.disk),
            time: limits.time.unwrap_or(default.time),
            processes: limits.processes.unwrap_or(default.processes),
            ..default
        },
        jobs: wishes.jobs.or(config.jobs).unwrap_or(processors),
        anew: wishes.anew.clone(),
        again: wishes.again.clone(),
        clean: wishes.clean,
        secret_steps_stay: config.others.secret_steps_stay,
    })
}

/// Takes the last lines of a failed step along.
fn of_build(error: BuildError) -> CommandError {
    match error {
        BuildError::Unsupplied(Unsupplied { kind, hints, source }) => {
            CommandError { kind, error: source, hints, excerpts: Vec::new(), log: None }
        }
        BuildError::Step { ref tail, .. } => {
            let log = tail.clone();
            CommandError::from(error).with_log(&log)
        }
        error => error.into(),
    }
}

/// Adds the build and its steps to the history. A build does not fail because that cannot be done.
fn record(
    session: &Session,
    store: &Store,
    project: &Project,
    (began, duration): (SystemTime, Duration),
    built: Result<&Built, &CommandError>,
    journal: Journal,
) {
    let record = BuildRecord {
        id: 0,
        project: project.folder.display().to_string(),
        name: project.spec.name.to_string(),
        started: began.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        duration,
        outcome: match built {
            Ok(_) => Outcome::Succeeded,
            Err(error) if error.kind == Kind::Interrupted => Outcome::Interrupted,
            Err(_) => Outcome::Failed,
        },
        digest: built.ok().and_then(|built| built.image.as_ref()).map(|image| image.index.digest),
        details: details(project, built).to_string(),
    };
    if let Err(error) = store.record_build(&record, &ops::journal::rows(journal.into_notes())) {
        session.warn(&format!("the build is not in the history: {error}"));
    }
}

/// What the history has beside the outcome.
fn details(project: &Project, built: Result<&Built, &CommandError>) -> serde_json::Value {
    let mut details = match built {
        Ok(built) => {
            let refusals = |step: &StepRecord| step.record.refusals.len() as u64 + step.record.refusals_dropped;
            serde_json::json!({
                "steps": built.steps.len(),
                "cached": built.steps.iter().filter(|step| step.cached).count(),
                "refusals": built.steps.iter().map(refusals).sum::<u64>(),
                "tainted": built.steps.iter().any(|step| step.tainted),
                "layers": built.image.as_ref().map(|image| layers(image).count()),
            })
        }
        Err(error) => serde_json::json!({ "error": crate::neutral::lines(&error.error.to_string()) }),
    };
    // For `bulla explain`: where the sources were from that do not lie in the project.
    let lock = ops::lock::read(project).ok().flatten().unwrap_or_default();
    let sources: BTreeMap<String, String> =
        lock.sources.iter().map(|(name, pin)| (name.to_string(), ops::lock::described(pin))).collect();
    if !sources.is_empty() {
        details["sources"] = serde_json::json!(sources);
    }
    details
}

//! Runs one command on layers of the store, and takes what it changed into the store.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs::File,
    io::{self, Seek as _, Write as _},
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use bulla_model::{
    CleanPath, Digest, Epoch, Platform, Tree,
    spec::{StepRef, StepSecret},
    tree::{Mode, Node, Owner},
};
use bulla_sandbox::{Attended, Bind, Emulation, Exit, Limit, Outcome, Privileges, Request, Root, Stream as Pipe};
use bulla_store::{Adopted, Attributes, Inspector, RootCopy, Scratch, UpperEntry, UpperRules};

use super::{
    BuildError, confidential,
    context::Context,
    dependencies::{self, LockFile},
    error::FailedStep,
    observe::{Attendant, Passage},
    perturb,
    record::{Enforced, Program, Refused, RunRecord, RunResult, Used},
    stack::Stack,
};
use crate::{
    event::{ActivityId, Event, Stream},
    secret::{Hit, Search},
};

/// The host name that every step sees.
pub(crate) const HOST_NAME: &str = "bulla";
/// The mask of permissions that every step has.
pub(crate) const UMASK: u16 = 0o022;
/// How much of a failed step's output its error shows, in bytes.
const TAIL: usize = 4096;

/// The most files of which it is kept that they were given capabilities.
const MAX_CAPABLE: usize = 1000;

/// A command with everything resolved.
pub(crate) struct Run<'a> {
    /// What it is, for people.
    pub(crate) title: &'a str,
    /// The step, where it is one, and the platform that it is run for, where that is not the machine's own.
    pub(crate) at: Option<(StepRef, Option<Platform>)>,
    /// The layers that it runs on.
    pub(crate) stack: &'a Stack,
    /// What they show together.
    pub(crate) below: &'a Tree,
    /// What is bound in.
    pub(crate) binds: Vec<Bind>,
    /// What is executed.
    pub(crate) argv: Vec<OsString>,
    /// The whole environment.
    pub(crate) env: &'a BTreeMap<String, String>,
    /// Where it runs.
    pub(crate) cwd: PathBuf,
    /// What it may do.
    pub(crate) privileges: Privileges,
    /// Whether it may seem to change its user.
    pub(crate) identity_fake: bool,
    /// The emulator that programs of another platform run under.
    pub(crate) emulation: Option<Emulation>,
    /// Whether it is ended when something is refused for the first time.
    pub(crate) stop_on_refusal: bool,
    /// What it may use.
    pub(crate) limits: bulla_sandbox::Limits,
    /// The latest time of what it makes.
    pub(crate) epoch: Epoch,
    /// The secrets that it is given.
    pub(crate) secrets: &'a [StepSecret],
    /// The lock files whose packages it finds.
    pub(crate) lock_files: &'a [Arc<LockFile>],
    /// Who passes on what it asks for, where it is observed.
    pub(crate) passage: Option<&'a dyn Passage>,
}

/// The last bytes of a stream of bytes.
struct Tail(Vec<u8>);

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        if self.0.len() > 2 * TAIL {
            self.0.drain(..self.0.len() - TAIL);
        }
    }

    fn text(&self) -> String {
        let from = self.0.len().saturating_sub(TAIL);
        String::from_utf8_lossy(self.0.get(from..).unwrap_or_default()).into_owned()
    }
}

/// Runs the command to its end.
///
/// # Errors
/// When the sandbox cannot be had, the command fails, or what it left cannot be read.
pub(crate) fn run(context: &Context<'_>, id: ActivityId, run: Run<'_>) -> Result<RunResult, BuildError> {
    let store = context.store;
    let sandbox = |source| BuildError::Sandbox { title: run.title.to_owned(), source };
    let mut ground = Ground::new(context, run.stack)?;
    let secrets = confidential::given(context, run.at.as_ref().map(|(at, _)| at), run.secrets)?;
    // Without secrets there is nothing to look for.
    let search = if secrets.is_empty() { None } else { context.secrets.search() };
    let (mut env, mut binds) = (run.env.clone(), run.binds);
    let given = dependencies::give(context, run.lock_files, &mut env)?;
    let search = Searches { secrets: search, marks: given.as_ref().and_then(|given| given.marks.search()) };
    binds.extend(given.iter().flat_map(|given| given.binds.iter().cloned()));
    let mut request = Request {
        root: ground.root(run.stack),
        binds,
        secrets,
        argv: run.argv,
        env,
        cwd: run.cwd,
        hostname: HOST_NAME.to_owned(),
        umask: UMASK,
        privileges: run.privileges,
        identity_fake: run.identity_fake,
        emulation: run.emulation,
        stop_on_refusal: run.stop_on_refusal,
        listen: given.as_ref().map(|_| dependencies::PORT),
        limits: run.limits,
    };
    perturb::apply(context.settings.again.as_ref(), &mut request);
    let mut log = store.blob_writer()?;
    let mut written = Ok(());
    let mut tail = Tail(Vec::new());
    let mut take = |stream: Stream, bytes: &[u8]| {
        tail.push(bytes);
        if written.is_ok() {
            written = log.write_all(bytes);
        }
        context.observer.event(&Event::Output { id, stream, bytes });
    };
    let mut masked = confidential::Masked::new(context.secrets);
    let mut sink = |pipe: Pipe, bytes: &[u8]| masked.push(pipe, bytes, &mut take);
    let launcher = context.launcher(run.title)?;
    let passage = run.passage.zip(run.at.as_ref().map(|(at, _)| at));
    let start =
        |given: &dependencies::Given| Attendant::start(run.title, &launcher, (&given.table, &given.mirrored), passage);
    let mut server = given.as_ref().map(start).transpose()?;
    let mut ran = launcher.run_with(&request, context.cancel, attended(&mut server), &mut sink);
    if let Some(why) = ran.as_ref().err().and_then(bulla_sandbox::Error::overlay_refused)
        && matches!(ground, Ground::Overlay(_))
    {
        context.overlay_refused(&why);
        ground = Ground::Copy(run.stack.copy(store)?);
        request.root = ground.root(run.stack);
        ran = launcher.run_with(&request, context.cancel, attended(&mut server), &mut sink);
    }
    masked.finish(&mut take);
    let outcome = ran.map_err(sandbox)?;
    let report = server.map(|server| server.finish(run.title, &outcome.connections)).transpose()?;
    let unserved = report.iter().flat_map(|report| dependencies::refused(run.lock_files, report));
    let refusals =
        outcome.refusals.iter().map(Refused::from).chain(unserved).map(|refused| refused.masked(context.secrets));
    let refusals: Vec<Refused> = refusals.collect();
    for refused in &refusals {
        context.observer.event(&Event::Refused {
            id,
            what: &refused.to_string(),
            executable: &refused.executable,
            command_line: &refused.command_line,
        });
    }
    let scripts = dependencies::scripts(run.lock_files, &outcome.executed);
    for script in scripts.iter().filter(|script| !script.ran) {
        let what = context.secrets.masked(&format!("{} of {}", script.event, script.place)).into_owned();
        let command_line = context.secrets.masked(&script.command).into_owned();
        context.observer.event(&Event::Refused {
            id,
            what: &what,
            executable: &command_line,
            command_line: &command_line,
        });
    }
    if outcome.exit == Exit::Refused {
        return Err(BuildError::Refused { title: run.title.to_owned(), refusals, word: "stop" });
    }
    if let Some(how) = failure(&outcome)? {
        // Whoever looks for the reason wants to see what the step left. Where it is something that no tree can hold, there is
        // only what the step began with; and what filled the disk is not kept.
        let full = outcome.exit == Exit::Limit(Limit::Disk);
        let step = run.at.map(|(at, platform)| {
            let inspector = search.inspector();
            let left = if full { None } else { adopt(context, ground, run.below, &outcome, run.epoch, inspector).ok() };
            Box::new(FailedStep { at, platform, left: left.map(|left| left.tree.digest()) })
        });
        let (secrets, marks) = search.tell(context, run.title);
        for hit in secrets.into_iter().chain(marks) {
            let message = format!("what the failed step {} left is not kept: {hit}", run.title);
            context.observer.event(&Event::Warning { message: &message });
        }
        let (title, tail) = (run.title.to_owned(), tail.text());
        let denied = dependencies::denied(&scripts);
        let advice = dependencies::said(run.lock_files, &tail).into_iter().chain(denied).collect();
        return Err(BuildError::Step { title, how, tail, refusals, advice, step });
    }
    if let Err(e) = written {
        context.observer.event(&Event::Warning { message: &format!("the log of {} is not complete: {e}", run.title) });
    }
    let record = RunRecord { scripts, ..record(&outcome, refusals) };
    let mut record = record.masked(context.secrets);
    if let (Some(given), Some(report)) = (&given, &report) {
        record.pulled = given.pulled(report);
        record.laid.clone_from(&given.laid);
        record.observed = dependencies::observed(run.lock_files);
    }
    if let Some(search) = &search.secrets {
        confidential::search_kept(search, run.title, &record, &log)?;
    }
    let adopted = adopt(context, ground, run.below, &outcome, run.epoch, search.inspector());
    let (hits, marks) = search.tell(context, run.title);
    if !hits.is_empty() {
        return Err(BuildError::SecretFound { title: run.title.to_owned(), hits });
    }
    if !marks.is_empty() {
        let places = marks.into_iter().map(|hit| format!("{}, {}", hit.place, hit.how)).collect();
        return Err(BuildError::CertificateFound { title: run.title.to_owned(), places });
    }
    let adopted = adopted.map_err(|error| confidential::without_secrets(error, context.secrets))?;
    let dropped = adopted.dropped.iter().map(|dropped| format!("{} {}", dropped.what, dropped.path));
    record.dropped = dropped.collect();
    let given = |file: bulla_store::Stripped| Some((file.path, file.capabilities?.everywhere().to_string()));
    record.capabilities = adopted.stripped.into_iter().filter_map(given).take(MAX_CAPABLE).collect();
    Ok(RunResult { delta: adopted.tree.digest(), log: log.finish(None)?, record })
}

/// What is looked for in what a run left.
struct Searches<'s> {
    /// The values of secrets, where it was given some.
    secrets: Option<Search<'s>>,
    /// The certificates of its proxy, where it had one.
    marks: Option<Search<'s>>,
}

impl Searches<'_> {
    /// Gives what the store asks while it reads; without anything to look for it asks nobody.
    fn inspector(&self) -> Option<&dyn Inspector> {
        (self.secrets.is_some() || self.marks.is_some()).then_some(self as &dyn Inspector)
    }

    fn all(&self) -> impl Iterator<Item = &Search<'_>> {
        self.secrets.iter().chain(&self.marks)
    }

    /// Tells what is not sure, and gives the secrets and certificates that were found.
    fn tell(self, context: &Context<'_>, title: &str) -> (Vec<Hit>, Vec<Hit>) {
        let tell = |search: Option<Search<'_>>| search.map(|search| confidential::tell(context, title, search));
        (tell(self.secrets).unwrap_or_default(), tell(self.marks).unwrap_or_default())
    }
}

impl Inspector for Searches<'_> {
    fn path(&self, path: &CleanPath) {
        self.all().for_each(|search| Inspector::path(search, path));
    }

    fn link(&self, path: &CleanPath, target: &[u8]) {
        self.all().for_each(|search| Inspector::link(search, path, target));
    }

    fn file(&self, path: &CleanPath, file: &mut File) -> io::Result<()> {
        for search in self.all() {
            file.rewind()?;
            Inspector::file(search, path, file)?;
        }
        Ok(())
    }

    fn admits(&self) -> bool {
        self.all().all(Inspector::admits)
    }
}

/// Gives what attends to a run: the server, where there is one.
fn attended<'s>(server: &'s mut Option<Attendant<'_>>) -> Attended<'s> {
    Attended { terminal: None, server: server.as_mut().map(|server| server as &mut dyn bulla_sandbox::Serve) }
}

/// Where a command's root is made.
pub(crate) enum Ground {
    /// What it changes comes into this folder.
    Overlay(Scratch),
    /// It changes this copy.
    Copy(RootCopy),
}

impl Ground {
    pub(crate) fn new(context: &Context<'_>, stack: &Stack) -> Result<Self, BuildError> {
        if context.without_overlay.load(Ordering::Relaxed) {
            return Ok(Self::Copy(stack.copy(context.store)?));
        }
        Ok(Self::Overlay(context.store.scratch("run")?))
    }

    pub(crate) fn root(&self, stack: &Stack) -> Root {
        match self {
            Self::Overlay(scratch) => Root::Overlay { lowers: stack.lowers(), scratch: scratch.path().to_owned() },
            Self::Copy(copy) => Root::Copy { dir: copy.path() },
        }
    }

    /// Gives the folder that has what the command changed.
    fn changed(&self) -> PathBuf {
        match self {
            Self::Overlay(scratch) => scratch.path().join("upper"),
            Self::Copy(copy) => copy.path(),
        }
    }
}

/// Says how a command failed; `None` when it did not.
pub(crate) fn failure(outcome: &Outcome) -> Result<Option<String>, BuildError> {
    // What a limit did to a process of it, the command may have survived, or failed for.
    let reached: Vec<&str> = outcome.isolation.limits_reached.iter().map(|limit| word_of(*limit)).collect();
    let also = match reached.as_slice() {
        [] => String::new(),
        words => format!(", after it had reached its limit of {}", words.join(" and ")),
    };
    Ok(match outcome.exit {
        Exit::Code(0) => None,
        Exit::Code(code) => Some(format!("ended with exit code {code}{also}")),
        Exit::Signal(signal) => Some(format!("was ended by signal {signal}{also}")),
        Exit::Limit(limit) => Some(format!("went over its limit of {}", word_of(limit))),
        Exit::Refused => Some("was ended when something was refused".to_owned()),
        Exit::Cancelled => return Err(BuildError::Stopped),
    })
}

const fn word_of(limit: Limit) -> &'static str {
    match limit {
        Limit::Memory => "memory",
        Limit::Processes => "processes",
        Limit::Disk => "disk space",
        Limit::Time => "time",
        Limit::Output => "output",
    }
}

fn adopt(
    context: &Context<'_>,
    ground: Ground,
    below: &Tree,
    outcome: &Outcome,
    epoch: Epoch,
    inspector: Option<&dyn Inspector>,
) -> Result<Adopted, BuildError> {
    let upper = ground.changed();
    // Without an entry in the journal, what was there before keeps its owner, as it would under a real root.
    let attributes = |entry: &UpperEntry<'_>| {
        let given = || outcome.owners.of(&upper.join(entry.path).symlink_metadata().ok()?);
        let given = (!outcome.owners.is_empty()).then(given).flatten();
        let before = below.get(entry.path).filter(|node| node.is_directory() == entry.is_directory);
        let before = before.and_then(Node::owner).unwrap_or(Owner::ROOT);
        let owner = match given {
            Some(owned) => Owner { uid: owned.uid.unwrap_or(before.uid), gid: owned.gid.unwrap_or(before.gid) },
            None => before,
        };
        Attributes { owner, mode: entry.mode }
    };
    let rules = UpperRules { clamp: epoch, attributes: &attributes, below, inspector };
    Ok(match ground {
        Ground::Overlay(_scratch) => context.store.adopt_upper(&upper, &rules)?,
        Ground::Copy(copy) => context.store.adopt_copy(copy, &rules)?,
    })
}

fn record(outcome: &Outcome, refusals: Vec<Refused>) -> RunRecord {
    RunRecord {
        refusals,
        refusals_dropped: outcome.refusals_dropped,
        executed: outcome.executed.iter().map(Program::from).collect(),
        executed_dropped: outcome.executed_dropped,
        usage: Used::from(&outcome.usage),
        isolation: Enforced::from(&outcome.isolation),
        dropped: Vec::new(),
        capabilities: BTreeMap::new(),
        caches: Vec::new(),
        pulled: BTreeMap::new(),
        laid: BTreeMap::new(),
        observed: BTreeSet::new(),
        scripts: BTreeSet::new(),
    }
}

/// Makes a tree of a few nodes and files that are in memory.
pub(crate) fn small_tree(
    context: &Context<'_>,
    nodes: impl IntoIterator<Item = (CleanPath, Made)>,
    time: Epoch,
) -> Result<Digest, BuildError> {
    let mut builder = context.store.tree_builder()?;
    for (path, made) in nodes {
        match made {
            Made::Directory(mode, owner) => builder.directory(&path, mode, owner)?,
            Made::File(mode, owner, bytes) => {
                builder.file(&path, mode, owner, time, &mut bytes.as_slice())?;
            }
            Made::Symlink(target) => builder.symlink(&path, Owner::ROOT, &target)?,
        }
    }
    Ok(builder.finish(None)?.digest())
}

/// Something that is made rather than read.
pub(crate) enum Made {
    /// A directory.
    Directory(Mode, Owner),
    /// A file.
    File(Mode, Owner, Vec<u8>),
    /// A symbolic link.
    Symlink(Vec<u8>),
}

impl Made {
    /// A directory of root that everyone may read.
    pub(crate) const fn directory() -> Self {
        Self::Directory(Mode::new(0o755), Owner::ROOT)
    }
}

//! Opens the file system of a step or stage for a person, in the sandbox that steps have. What is changed in it is thrown
//! away with its upper directory.

use std::{collections::BTreeMap, ffi::OsString};

use bulla_model::{
    Digest, Tree,
    plan::{PlannedPackage, PlannedStage, PlannedStep},
    spec::{Identity, Name},
};
use bulla_sandbox::{Attended, Exit, Privileges, Request, Serve, Stream, Terminal};
use bulla_serve::Server;

use super::{
    BuildError, caches,
    context::Context,
    dependencies::{self, Given},
    emulation,
    journal::StepInputs,
    record::Refused,
    sandboxed::{self, Ground, HOST_NAME, UMASK},
    stack::{Sheet, Stack},
    stages::{Ended, Stages, internal, limits},
};
/// What is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// What a stage leaves when its first so many steps have ended; `None` is all of them.
    After(Option<usize>),
    /// What a failed step left, if it still is the same step; else what it would begin with.
    Failed {
        /// The step, from 1.
        step: usize,
        /// The action that failed.
        action: Digest,
        /// What it left, as a delta tree.
        left: Option<Digest>,
    },
}

/// What was opened indeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// What is there after these steps of the stage.
    After(usize),
    /// What a step left when it failed.
    Left(usize),
    /// What a step begins with, since what it left is not there.
    Before(usize),
}

/// What is run in it.
pub struct Shell<'a> {
    /// The words of a command; `None` is the root's own shell.
    pub command: Option<Vec<OsString>>,
    /// The terminal at which a person sits.
    pub terminal: Option<Terminal>,
    /// `TERM`, where there is a terminal.
    pub term: Option<String>,
    /// Is told what was opened, before anything runs.
    pub opened: &'a dyn Fn(Opened),
    /// Is given what the command prints.
    pub sink: &'a mut dyn FnMut(Stream, &[u8]),
}

/// A person at a terminal is not ended by the time that a step may take.
const SITTING: std::time::Duration = std::time::Duration::from_secs(7 * 24 * 3600);

/// Runs a shell or command where a stage is.
pub(super) fn run(
    stages: &Stages<'_>,
    stage: &PlannedStage,
    place: &Place,
    before: &BTreeMap<Name, Ended>,
    shell: Shell<'_>,
) -> Result<(Exit, Vec<Refused>), BuildError> {
    let context = stages.context;
    let (now, step, left, opened) = find(stages, stage, place, before)?;
    let view = |source: &_| match step {
        Some(step) => stages.view(source, step).map(Some),
        None => stages.whole(source).map(Some),
    };
    let mut stack = stages.stack(&now, view)?;
    let below = stack.merged();
    stages.with_workdir(&mut stack, &below, stage)?;
    if let Some(left) = left {
        stack.push(Sheet::Tree(left));
    }
    (shell.opened)(opened);
    let Shell { command, terminal, term, sink, .. } = shell;
    let mut request = request(context, stage, step, &stack, command)?;
    let native = stage.platform.native(stages.plan.platform);
    request.emulation = emulation::get(context, emulator(stages, stage), native)?;
    if terminal.is_some() {
        request.limits.time = SITTING;
        request.limits.output = u64::MAX;
        request.env.extend(term.map(|term| ("TERM".to_owned(), term)));
    }
    let given = dependencies::give(context, &stages.lock_files(stage)?, &mut request.env)?;
    request.binds.extend(given.iter().flat_map(|given| given.binds.iter().cloned()));
    request.listen = given.as_ref().map(|_| dependencies::PORT);
    sit(context, &stage.name, (&stack, given.as_ref()), request, terminal, sink)
}

fn emulator<'a>(stages: &Stages<'a>, stage: &PlannedStage) -> Option<&'a PlannedPackage> {
    stages.plan.emulator_for(stage.platform.native(stages.plan.platform))
}

/// What a place is: the layers, the step whose view it has, what lies on top, and what that is.
type Found<'a> = (Ended, Option<&'a PlannedStep>, Option<bulla_store::StoredTree>, Opened);

fn find<'a>(
    stages: &Stages<'_>,
    stage: &'a PlannedStage,
    place: &Place,
    before: &BTreeMap<Name, Ended>,
) -> Result<Found<'a>, BuildError> {
    match place {
        Place::After(count) => {
            let count = count.unwrap_or(stage.steps.len()).min(stage.steps.len());
            let now = stages.run_steps(stage, before, count)?;
            // A single step sees what it sees; at the end of a stage there is all.
            let step = if count < stage.steps.len() { stage.steps.get(count.saturating_sub(1)) } else { None };
            Ok((now, step, None, Opened::After(count)))
        }
        Place::Failed { step: number, action, left } => {
            let step = stage.steps.get(number - 1).ok_or_else(|| internal("a step that is not in the plan"))?;
            let now = stages.run_steps(stage, before, number - 1)?;
            let sources = stages.seen(step)?;
            let inputs = StepInputs {
                stage,
                step,
                emulator: emulator(stages, stage).map(|package| package.digest),
                root: now.root.action,
                deltas: &now.deltas,
                sources: &sources,
                epoch: stages.plan.epoch,
                caches: caches::keys(stages.context.project, stage, step, now.root.action),
                dependencies: dependencies::pins(&stages.lock_files(stage)?),
            };
            let same = inputs.action() == *action;
            let left = match left.filter(|_| same) {
                Some(left) => stages.context.store.tree(&left)?.filter(|left| left.check().is_ok()),
                None => None,
            };
            let opened = if left.is_some() { Opened::Left(*number) } else { Opened::Before(*number) };
            Ok((now, Some(step), left, opened))
        }
    }
}

fn request(
    context: &Context<'_>,
    stage: &PlannedStage,
    step: Option<&PlannedStep>,
    stack: &Stack,
    command: Option<Vec<OsString>>,
) -> Result<Request, BuildError> {
    // A stage without steps has no environment of its own that would be needed.
    let env = step.or(stage.steps.last()).map(|step| step.env.clone()).unwrap_or_default();
    Ok(Request {
        // It is put in its place when it is run.
        root: bulla_sandbox::Root::Copy { dir: "/".into() },
        binds: Vec::new(),
        // A person at a shell has their own ways to them.
        secrets: Vec::new(),
        argv: command.unwrap_or_else(|| vec![shell_of(&stack.merged()).into()]),
        env,
        cwd: stage.workdir.to_string().into(),
        hostname: HOST_NAME.to_owned(),
        umask: UMASK,
        privileges: Privileges::Step,
        identity_fake: stage.identity == Identity::Fake,
        emulation: None,
        stop_on_refusal: false,
        listen: None,
        limits: limits(context, stage),
    })
}

/// The shell that people know, where the root has it.
fn shell_of(root: &Tree) -> &'static str {
    let bash = "usr/bin/bash".parse().is_ok_and(|path| root.file(&path).is_some());
    if bash { "/usr/bin/bash" } else { "/bin/sh" }
}

fn sit(
    context: &Context<'_>,
    stage: &Name,
    (stack, given): (&Stack, Option<&Given>),
    mut request: Request,
    terminal: Option<Terminal>,
    sink: &mut dyn FnMut(Stream, &[u8]),
) -> Result<(Exit, Vec<Refused>), BuildError> {
    let title = format!("a shell in {stage}");
    let launcher = context.launcher(&title)?;
    // Whether overlays can be had is tried without the terminal, which can be given away once.
    let ground = ground(context, stack, &launcher, &request, &title)?;
    request.root = ground.root(stack);
    let unserved = |source| BuildError::Serve { title: title.clone(), source };
    let mut server = given.map(|given| Server::start(&launcher, &given.table)).transpose().map_err(unserved)?;
    let attended = Attended { terminal, server: server.as_mut().map(|server| server as &mut dyn Serve) };
    let ran = launcher.run_with(&request, context.cancel, attended, sink);
    let outcome = ran.map_err(|source| BuildError::Sandbox { title: title.clone(), source })?;
    if outcome.exit == Exit::Cancelled {
        return Err(BuildError::Stopped);
    }
    let refusals: Vec<Refused> = outcome.refusals.iter().map(Refused::from).collect();
    if let (Exit::Limit(_), Some(how)) = (outcome.exit, sandboxed::failure(&outcome)?) {
        return Err(BuildError::Step { title, how, tail: String::new(), refusals, advice: Box::default(), step: None });
    }
    Ok((outcome.exit, refusals))
}

/// Finds out whether an overlay can be mounted, by a run of nothing, and else makes a copy.
fn ground(
    context: &Context<'_>,
    stack: &Stack,
    launcher: &bulla_sandbox::Launcher,
    request: &Request,
    title: &str,
) -> Result<Ground, BuildError> {
    let trial = Ground::new(context, stack)?;
    let nothing = Request {
        root: trial.root(stack),
        argv: vec!["/bin/sh".into(), "-c".into(), ":".into()],
        listen: None,
        ..request.clone()
    };
    match launcher.run(&nothing, context.cancel, &mut |_, _| ()) {
        Err(error) if error.overlay_refused().is_some() => {
            context.overlay_refused(&error.overlay_refused().unwrap_or_default());
        }
        Err(source) => return Err(BuildError::Sandbox { title: title.to_owned(), source }),
        Ok(_) => {}
    }
    Ground::new(context, stack)
}

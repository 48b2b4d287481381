//! `bulla shell`: the file system of a step or stage, from inside.

use std::{collections::BTreeMap, ffi::OsString, process::ExitCode};

use bulla_build::run::{Place, StepNote, StepOutcome};
use bulla_model::{
    Fault, Kind, Platform,
    spec::{StepRef, of_stage_label, stage_label},
};
use bulla_sandbox::Exit;
use clap::Args;

use super::build::assignment;
use crate::{
    error::Result,
    ops::{
        self,
        journal::Noted,
        lock::{Update, Wish},
    },
    session::Session,
};

const EXAMPLES: &str = "\
Examples:
  bulla shell                        where the last build failed, as the step left it
  bulla shell build                  where the stage `build` ended, or failed
  bulla shell build/2                after its second step, or where that failed
  bulla shell build -- cat out/log   one command, whose output goes to standard output

The exit code is that of the shell or command; 128 and the signal's number when a signal ended it.";

/// Open the file system of a failed step or of a stage, in the sandbox that steps have
///
/// Runs what the stage needs, as a build does, and then a shell: without network, with the same system calls and limits,
/// but for the time. A failed step's file system is the one that it left, as long as what the step depends on is the same;
/// else the one that it would begin with, and it is said which. What is changed in it is thrown away.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Options {
    /// The stage, or a step of it [default: the step that failed in the last build]
    #[arg(value_name = "STAGE[/STEP]")]
    step: Option<StepRef>,

    /// A command in place of a shell, without a terminal and with nothing to read
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,

    /// The platform that the stage is run for, where it is run for several: linux/amd64 or linux/arm64
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,

    /// Give a param of the spec a value; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
}

/// Nothing failed that could be opened.
#[derive(Debug, thiserror::Error)]
#[error("no step failed in the last build of this project")]
struct NothingFailed;

impl Fault for NothingFailed {
    fn kind(&self) -> Kind {
        Kind::Spec
    }

    fn hints(&self) -> Vec<String> {
        vec!["`bulla shell STAGE` opens where a stage ended".into()]
    }
}

/// Runs the command; the exit code is that of the shell.
pub(crate) fn run(session: &Session, options: &Options) -> Result<ExitCode> {
    let set: BTreeMap<String, String> = options.set.iter().cloned().collect();
    let project = ops::project::load(session, &set)?;
    let builds = {
        let store = ops::store::open(session)?;
        ops::journal::read(&store, &ops::project::identity(session)?)?
    };
    let (step, failed_for) = match &options.step {
        Some(step) => (step.clone(), None),
        None => failed_last(&builds).map(|(step, platform)| (step, Some(platform)))?,
    };
    step.check(&project.spec)?;
    // A stage that is the same for all can be opened for any.
    let platforms = &project.spec.platforms;
    let failed_for = failed_for.filter(|platform| platforms.contains(platform));
    let platform = options.platform.or(failed_for).or(platforms.first().copied()).unwrap_or(Platform::BUILD);
    let label = project
        .spec
        .stages
        .get(&step.stage)
        .map_or_else(String::new, |stage| stage_label(&step.stage, stage.platform, platform));
    let lock = if session.environment.ci {
        ops::lock::require(&project)?
    } else {
        ops::lock::ensure(session, &project, &Wish { update: Update::Nothing, allow_downgrade: false })?
    };
    let wish = ops::shell::Wish {
        place: place(&builds, &label, step.step),
        may_pin: !session.environment.ci,
        stage: step.stage,
        platform,
        command: (!options.command.is_empty()).then(|| options.command.clone()),
    };
    Ok(match ops::shell::run(session, &project, &lock, wish)? {
        Exit::Code(code) => ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)),
        Exit::Signal(signal) => ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX)),
        // The others are errors of the library.
        Exit::Limit(_) | Exit::Cancelled | Exit::Refused => ExitCode::FAILURE,
    })
}

/// Finds the step that failed in the latest build.
fn failed_last(builds: &[Noted]) -> Result<(StepRef, Platform), NothingFailed> {
    let notes = builds.first().map(|noted| noted.notes.as_slice()).unwrap_or_default();
    let failed = notes.iter().find(|note| note.step > 0 && note.outcome == StepOutcome::Failed);
    let named = |note: &StepNote| {
        let (stage, platform) = of_stage_label(&note.stage)?;
        Some((StepRef { stage, step: Some(note.step) }, platform))
    };
    failed.and_then(named).ok_or(NothingFailed)
}

/// Says what is opened for a step: where it failed, if it did when it was run last.
fn place(builds: &[Noted], stage: &str, wanted: Option<usize>) -> Place {
    let of_stage = |note: &&StepNote| note.stage == stage && note.step > 0;
    let last = builds.iter().find(|noted| noted.notes.iter().any(|note| of_stage(&note)));
    let failed = last
        .into_iter()
        .flat_map(|noted| &noted.notes)
        .filter(of_stage)
        .find(|note| note.outcome == StepOutcome::Failed && wanted.is_none_or(|step| step == note.step));
    match failed {
        Some(note) => Place::Failed { step: note.step, action: note.action, left: note.delta },
        None => Place::After(wanted),
    }
}

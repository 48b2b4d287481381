//! `bulla explain`: why a step ran again.

mod text;

use std::collections::BTreeMap;

use bulla_build::{
    explain::{self, Reason},
    run::{StepNote, StepOutcome},
};
use bulla_model::{
    Fault, Kind, Platform,
    spec::{StagePlatform, StepRef, stage_label},
};
use bulla_store::Store;
use clap::Args;
use serde::Serialize;

use crate::{
    error::Result,
    ops::{self, journal::Noted},
    report,
    session::Session,
};

const EXAMPLES: &str = "\
Examples:
  bulla explain               what the last build ran, and why, a line a step
  bulla explain build         why each step of the stage `build` ran when it ran last
  bulla explain build/2       … one step: every file, variable and package that differs
  bulla explain --json        one JSON object a step, for programs";

/// Say why a step ran again: what it depends on, compared with its last result
///
/// A step runs again when something that it depends on has changed: files that it sees, its command and environment, the
/// packages of its root, or what the steps before it left. Names each of them, files by their path, downloaded sources also
/// by what the lock pinned them to and who signed. Values of variables that look like secrets are not kept, and so not shown.
/// Nothing is run, and the spec is not read.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Options {
    /// The stage, or one step of it [default: all steps of the last build, briefly]
    #[arg(value_name = "STAGE[/STEP]")]
    step: Option<StepRef>,

    /// The platform that the stage was run for, where it was run for several: linux/amd64 or linux/arm64
    #[arg(long, value_name = "OS/ARCH", requires = "step")]
    platform: Option<Platform>,

    /// Write one JSON object a step
    #[arg(long)]
    json: bool,
}

/// Nothing is known of what was asked for.
#[derive(Debug, thiserror::Error)]
enum Unknown {
    #[error("no build of this project is in the history of this store")]
    Project,
    #[error("no build in the history has the step `{step}`")]
    Step { step: StepRef, known: Vec<String> },
}

impl Fault for Unknown {
    fn kind(&self) -> Kind {
        Kind::Spec
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Project => vec!["`bulla build` first: it notes what each step depends on".into()],
            Self::Step { known, .. } => vec![format!("the last build has {}", known.join(", "))],
        }
    }
}

/// Why a step ran, and with what it was compared.
struct Explained<'a> {
    note: &'a StepNote,
    build: &'a Noted,
    before: Option<(&'a StepNote, &'a Noted)>,
    reason: Reason,
}

/// Runs the command.
pub(crate) fn run(session: &Session, options: &Options) -> Result<()> {
    let store = ops::store::open(session)?;
    let builds = ops::journal::read(&store, &ops::project::identity(session)?)?;
    let Some(last) = builds.first() else { return Err(Unknown::Project.into()) };
    let wanted: Vec<(String, usize)> = match &options.step {
        None => last.notes.iter().map(|note| (note.stage.clone(), note.step)).collect(),
        Some(step) => steps(&builds, step, options.platform)?,
    };
    // In an overview a step that the last build did not run is left at that; else its last run is looked for.
    let overview = options.step.is_none();
    let explained = wanted.iter().filter_map(|(stage, step)| explained(&store, &builds, stage, *step, overview));
    let explained: Vec<Explained<'_>> = explained.collect();
    if options.json {
        return explained.iter().try_for_each(|one| session.print(&report::json_line(&Document::of(one))));
    }
    let text: String = match overview {
        true => text::overview(last, &explained),
        false => explained.iter().map(text::whole).collect::<Vec<_>>().join("\n"),
    };
    session.print(&text)
}

/// Lists the steps that are meant: those of the latest build that has any.
fn steps(builds: &[Noted], wanted: &StepRef, platform: Option<Platform>) -> Result<Vec<(String, usize)>, Unknown> {
    // A stage that is the same for all platforms has its bare name.
    let label = stage_label(&wanted.stage, StagePlatform::Cross, platform.unwrap_or(Platform::BUILD));
    let is_known = builds.iter().flat_map(|noted| &noted.notes).any(|note| note.stage == label);
    let stage = if is_known { label.as_str() } else { wanted.stage.as_str() };
    let meant = |note: &StepNote| note.stage == stage && wanted.step.is_none_or(|step| step == note.step);
    let found = builds.iter().find_map(|noted| {
        let steps: Vec<_> = noted.notes.iter().filter(|note| meant(note)).collect();
        (!steps.is_empty()).then(|| steps.iter().map(|note| (note.stage.clone(), note.step)).collect())
    });
    found.ok_or_else(|| Unknown::Step {
        step: wanted.clone(),
        known: builds.iter().take(1).flat_map(|noted| &noted.notes).map(name).collect(),
    })
}

/// Finds the latest run of a step, or with `overview` what the last build made of it, and compares it.
fn explained<'a>(
    store: &Store,
    builds: &'a [Noted],
    stage: &str,
    step: usize,
    overview: bool,
) -> Option<Explained<'a>> {
    let all = builds.iter().enumerate().filter_map(|(at, noted)| {
        let note = noted.notes.iter().find(|note| note.stage == stage && note.step == step)?;
        Some((at, noted, note))
    });
    let mut all = all.peekable();
    let first = *all.peek()?;
    let ran = if overview { None } else { all.find(|(.., note)| note.outcome != StepOutcome::Cached) };
    let (at, noted, note) = ran.unwrap_or(first);
    let (mut before, mut failed) = (None, false);
    for earlier in builds.iter().skip(at + 1) {
        let Some(other) = explain::counterpart(note, &earlier.notes) else { continue };
        if other.outcome != StepOutcome::Failed {
            before = Some((other, earlier));
            break;
        }
        failed |= other.action == note.action;
    }
    let reason = explain::reason(note, before.map(|(before, _)| before), failed, store);
    Some(Explained { note, build: noted, before, reason })
}

/// Names a step as it is typed; the root of a stage by the stage.
fn name(note: &StepNote) -> String {
    if note.step == 0 { note.stage.clone() } else { format!("{}/{}", note.stage, note.step) }
}

/// What programs read.
#[derive(Serialize)]
struct Document<'a> {
    stage: &'a str,
    step: usize,
    title: &'a str,
    outcome: StepOutcome,
    action: String,
    build: Build<'a>,
    compared_with: Option<Compared<'a>>,
    reason: &'a Reason,
}

#[derive(Serialize)]
struct Build<'a> {
    id: i64,
    started: u64,
    digest: Option<&'a bulla_model::Digest>,
    /// Where its sources were from that did not lie in the project.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    sources: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Compared<'a> {
    build: Build<'a>,
    step: usize,
    action: String,
}

impl<'a> Build<'a> {
    fn of(noted: &'a Noted) -> Self {
        let record = &noted.build;
        Self { id: record.id, started: record.started, digest: record.digest.as_ref(), sources: &noted.sources }
    }
}

impl<'a> Document<'a> {
    fn of(one: &'a Explained<'_>) -> Self {
        let compared = |(note, build): &(&'a StepNote, &'a Noted)| Compared {
            build: Build::of(build),
            step: note.step,
            action: note.action.to_string(),
        };
        Self {
            stage: &one.note.stage,
            step: one.note.step,
            title: &one.note.title,
            outcome: one.note.outcome,
            action: one.note.action.to_string(),
            build: Build::of(one.build),
            compared_with: one.before.as_ref().map(compared),
            reason: &one.reason,
        }
    }
}

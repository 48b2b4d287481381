//! Keeps what a build's steps depended on beside the history, and reads it again. For people: no build consults it.

use std::collections::BTreeMap;

use bulla_build::run::{StepNote, StepOutcome};
use bulla_model::Digest;
use bulla_store::{BuildRecord, KEPT_BUILDS, StepRow, Store};
use serde::{Deserialize, Serialize};

use crate::error::Result;

/// What is kept of a note, beside what its action depends on.
#[derive(Serialize, Deserialize)]
struct Details {
    title: String,
    outcome: StepOutcome,
    forced: bool,
    delta: Option<Digest>,
}

/// What is kept of a build beside its outcome, as far as it is of interest here.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Beside {
    sources: BTreeMap<String, String>,
}

/// Gives the notes of a build as they are kept.
pub(crate) fn rows(notes: Vec<StepNote>) -> Vec<StepRow> {
    notes.into_iter().map(row).collect()
}

fn row(note: StepNote) -> StepRow {
    let StepNote { stage, step, title, action, outcome, forced, delta, inputs } = note;
    let details = Details { title, outcome, forced, delta };
    let json = "notes have string keys only";
    StepRow {
        stage,
        step: u32::try_from(step).unwrap_or(u32::MAX),
        action,
        details: serde_json::to_string(&details).expect(json),
        inputs: serde_json::to_string(&inputs).expect(json),
    }
}

/// A build of a project with its notes.
pub(crate) struct Noted {
    /// The build.
    pub build: BuildRecord,
    /// Where its sources were from that did not lie in the project, by name.
    pub sources: BTreeMap<String, String>,
    /// Its steps, in the order of stages and steps.
    pub notes: Vec<StepNote>,
}

/// Reads the builds of a project of which notes are kept, the newest first.
///
/// # Errors
/// When the index cannot be read.
pub(crate) fn read(store: &Store, project: &str) -> Result<Vec<Noted>> {
    let mut noted = Vec::new();
    for build in store.builds(KEPT_BUILDS, Some(project))? {
        let notes: Vec<StepNote> = store.steps(build.id)?.into_iter().filter_map(note).collect();
        if !notes.is_empty() {
            let sources = serde_json::from_str::<Beside>(&build.details).unwrap_or_default().sources;
            noted.push(Noted { build, sources, notes });
        }
    }
    Ok(noted)
}

/// Reads a row; what another version wrote in another way is left out.
fn note(row: StepRow) -> Option<StepNote> {
    let Details { title, outcome, forced, delta } = serde_json::from_str(&row.details).ok()?;
    let inputs = serde_json::from_str(&row.inputs).ok()?;
    let (stage, step, action) = (row.stage, usize::try_from(row.step).ok()?, row.action);
    Some(StepNote { stage, step, title, action, outcome, forced, delta, inputs })
}

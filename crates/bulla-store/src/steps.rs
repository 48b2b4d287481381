//! What the steps of each build depended on, beside the history and for people as that is (`bulla explain`, `bulla why`).
//! What is kept is JSON that the store does not look into; it is never consulted for trust.

use bulla_model::Digest;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::{error::Result, store::Store};

/// The tables; part of the index's schema.
pub(crate) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS steps (
        build INTEGER NOT NULL,
        stage TEXT NOT NULL,
        step INTEGER NOT NULL,
        action TEXT NOT NULL,
        details TEXT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS steps_by_build ON steps (build, stage, step);
    CREATE INDEX IF NOT EXISTS steps_by_action ON steps (action);
    CREATE TABLE IF NOT EXISTS inputs (action TEXT PRIMARY KEY, details TEXT NOT NULL) WITHOUT ROWID;
";

/// For how many of the latest builds of a project this is kept.
pub const KEPT_BUILDS: u32 = 50;

/// A step of a build, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRow {
    /// The stage.
    pub stage: String,
    /// Which step of it; 0 is the root.
    pub step: u32,
    /// The digest of the action.
    pub action: Digest,
    /// What happened, as JSON.
    pub details: String,
    /// What the action depends on, as JSON; kept once for all builds that have the action.
    pub inputs: String,
}

/// Adds the steps of a build, and forgets those of builds of its project long ago.
pub(crate) fn add(index: &Connection, build: i64, steps: &[StepRow]) -> rusqlite::Result<()> {
    let mut add =
        index.prepare("INSERT INTO steps (build, stage, step, action, details) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    let mut keep = index.prepare("INSERT OR IGNORE INTO inputs (action, details) VALUES (?1, ?2)")?;
    for row in steps {
        let action = row.action.to_string();
        add.execute(params![build, row.stage, row.step, action, row.details])?;
        keep.execute(params![action, row.inputs])?;
    }
    let forgotten = index.execute(
        "DELETE FROM steps WHERE build IN (
             SELECT id FROM builds WHERE project = (SELECT project FROM builds WHERE id = ?1)
             ORDER BY id DESC LIMIT -1 OFFSET ?2)",
        params![build, KEPT_BUILDS],
    )?;
    if forgotten > 0 {
        index.execute("DELETE FROM inputs WHERE action NOT IN (SELECT action FROM steps)", [])?;
    }
    Ok(())
}

impl Store {
    /// Gives the steps of a build, in the order of stages and steps.
    ///
    /// # Errors
    /// When no database can be made.
    pub fn steps(&self, build: i64) -> Result<Vec<StepRow>> {
        self.with_index(|index| {
            let mut query = index.prepare(
                "SELECT stage, step, steps.action, steps.details, inputs.details
                 FROM steps JOIN inputs ON inputs.action = steps.action WHERE build = ?1 ORDER BY stage, step",
            )?;
            let rows = query.query_map(params![build], |row| {
                let action: String = row.get(2)?;
                let step = (row.get(0)?, row.get(1)?, row.get(3)?, row.get(4)?);
                Ok((action.parse().ok(), step))
            })?;
            let read = rows.collect::<rusqlite::Result<Vec<(Option<Digest>, _)>>>()?;
            // What no digest is was not written by this program; nothing depends on it.
            let rows = read.into_iter().filter_map(|(action, (stage, step, details, inputs))| {
                Some(StepRow { stage, step, action: action?, details, inputs })
            });
            Ok(rows.collect())
        })
    }

    /// Gives what an action depends on, as JSON, where it is kept.
    ///
    /// # Errors
    /// When no database can be made.
    pub fn inputs_of(&self, action: &Digest) -> Result<Option<String>> {
        self.with_index(|index| {
            let mut query = index.prepare("SELECT details FROM inputs WHERE action = ?1")?;
            query.query_row(params![action.to_string()], |row| row.get(0)).optional()
        })
    }
}

//! The index of builds, for people (`bulla history`). Nothing trusts it, and a build never fails by it: a database that
//! cannot be used is put aside and begun anew.

use std::time::Duration;

use bulla_model::Digest;
use rusqlite::{Connection, OptionalExtension as _, params};
use rustix::fs::RenameFlags;

use crate::{
    error::{Error, Result},
    steps::{self, StepRow},
    store::{Store, settle},
};

const NAME: &str = "index.sqlite";
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS builds (
        id INTEGER PRIMARY KEY,
        project TEXT NOT NULL,
        name TEXT NOT NULL,
        started INTEGER NOT NULL,
        milliseconds INTEGER NOT NULL,
        outcome TEXT NOT NULL,
        digest TEXT,
        details TEXT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS by_project ON builds (project, started);
";

/// The number of the schema: 1 had no steps.
const VERSION: i64 = 2;

/// How a build ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It made its image.
    Succeeded,
    /// It failed.
    Failed,
    /// The user stopped it.
    Interrupted,
}

impl Outcome {
    const fn text(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }

    fn parse(text: &str) -> Self {
        match text {
            "succeeded" => Self::Succeeded,
            "interrupted" => Self::Interrupted,
            _ => Self::Failed,
        }
    }
}

/// One build, as the history shows it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct BuildRecord {
    /// The number of the build in this store; 0 before it is recorded.
    pub id: i64,
    /// The folder of the project, as text.
    pub project: String,
    /// The name in the spec.
    pub name: String,
    /// When it began, in seconds since 1970.
    pub started: u64,
    /// How long it took.
    pub duration: Duration,
    /// How it ended.
    pub outcome: Outcome,
    /// The digest of the image, when there is one.
    pub digest: Option<Digest>,
    /// Whatever else is to be shown, as JSON.
    pub details: String,
}

impl Store {
    /// Adds a build to the history with what its steps depended on, and gives its number.
    ///
    /// # Errors
    /// When no database can be made; the caller may well go on.
    pub fn record_build(&self, build: &BuildRecord, rows: &[StepRow]) -> Result<i64> {
        self.with_index(|index| {
            // One for all, for each waits for the disk, and every build waits for it.
            let all = index.unchecked_transaction()?;
            all.execute(
                "INSERT INTO builds (project, name, started, milliseconds, outcome, digest, details)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![
                    build.project,
                    build.name,
                    i64::try_from(build.started).unwrap_or(i64::MAX),
                    i64::try_from(build.duration.as_millis()).unwrap_or(i64::MAX),
                    build.outcome.text(),
                    build.digest.map(|digest| digest.to_string()),
                    build.details,
                ],
            )?;
            let number = all.last_insert_rowid();
            steps::add(&all, number, rows)?;
            all.commit()?;
            Ok(number)
        })
    }

    /// Gives the latest builds, the newest first; of one project, or of all.
    ///
    /// # Errors
    /// When no database can be made.
    pub fn builds(&self, limit: u32, project: Option<&str>) -> Result<Vec<BuildRecord>> {
        self.with_index(|index| {
            let mut query = index.prepare(
                "SELECT id, project, name, started, milliseconds, outcome, digest, details FROM builds
                 WHERE ?1 IS NULL OR project = ?1 ORDER BY started DESC, id DESC LIMIT ?2",
            )?;
            let rows = query.query_map(params![project, limit], |row| {
                let number = |value: i64| u64::try_from(value).unwrap_or(0);
                Ok(BuildRecord {
                    id: row.get(0)?,
                    project: row.get(1)?,
                    name: row.get(2)?,
                    started: number(row.get(3)?),
                    duration: Duration::from_millis(number(row.get(4)?)),
                    outcome: Outcome::parse(&row.get::<_, String>(5)?),
                    digest: row.get::<_, Option<String>>(6)?.and_then(|text| text.parse().ok()),
                    details: row.get(7)?,
                })
            })?;
            rows.collect()
        })
    }

    /// Runs a query; when the database cannot be used it is put aside, and the query runs on a new one.
    pub(crate) fn with_index<T>(&self, query: impl Fn(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        let path = self.root().join(NAME);
        let attempt = || self.open_index().and_then(|index| query(&index));
        let error = match attempt() {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        let fail = |source| Error::History { path: path.clone(), source };
        if !is_corrupt(&error) {
            return Err(fail(error));
        }
        self.0.warn(format!("the index of builds cannot be read and is begun anew: {error}"));
        let root = &self.0.root;
        let aside = format!("{NAME}.damaged");
        let moved = rustix::fs::renameat_with(root, NAME, root, &aside, RenameFlags::empty());
        moved.map_err(|e| Error::io("putting aside", &path, e))?;
        for left in [format!("{NAME}-journal"), format!("{NAME}-wal"), format!("{NAME}-shm")] {
            let _ = rustix::fs::unlinkat(root, left, rustix::fs::AtFlags::empty());
        }
        attempt().map_err(fail)
    }

    fn open_index(&self) -> rusqlite::Result<Connection> {
        use rusqlite::OpenFlags;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NOFOLLOW
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let index = Connection::open_with_flags(self.root().join(NAME), flags)?;
        index.busy_timeout(Duration::from_secs(5))?;
        let version: Option<i64> = index.query_row("PRAGMA user_version", [], |row| row.get(0)).optional()?;
        if version.is_none_or(|version| version < VERSION) {
            index.execute_batch(SCHEMA)?;
            index.execute_batch(steps::SCHEMA)?;
            index.pragma_update(None, "user_version", VERSION)?;
            if let (Some(owner), Ok(Some(file))) = (self.0.owner, self.0.root.read(NAME)) {
                // Root can read it in any case; the service user cannot write it until root has opened it again.
                let _ = settle(&file, 0o600, Some(owner));
            }
        }
        Ok(index)
    }
}

fn is_corrupt(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode;
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => matches!(
            failure.code,
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::CannotOpen | ErrorCode::Unknown
        ),
        rusqlite::Error::SqlInputError { .. }
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..) => true,
        _ => false,
    }
}

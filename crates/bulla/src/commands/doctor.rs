//! `bulla doctor`: what this machine allows, and how to allow more.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use bulla_model::{Fault, Kind};
use bulla_sandbox::{Finding, Options as SandboxOptions, State};
use clap::Args;
use serde::Serialize;

use crate::{
    error::Result,
    neutral, ops,
    registry::{Apt, Registry},
    report,
    session::Session,
    terminal::{self, Ink},
};

const EXAMPLES: &str = "\
Examples:
  bulla doctor                what this machine allows, as a table with remedies
  bulla doctor --json         one JSON object a line, for programs";

/// Say what this machine allows, and the exact setting for what is missing
///
/// Looks at the kernel, the sandbox, the store, the mirrors, the proxies and the engines. Each thing is `ok`, `weaker` (a
/// build runs, and its evidence names the weaker way) or `missing` (no build runs).
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Options {
    /// Write JSON, one object a line
    #[arg(long)]
    json: bool,
}

/// Something that was looked at.
#[derive(Debug, Serialize)]
struct Row {
    what: String,
    state: &'static str,
    why: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

const OK: &str = "ok";
const WEAKER: &str = "weaker";
const MISSING: &str = "missing";

/// Something is missing that every build needs.
#[derive(Debug, thiserror::Error)]
#[error("{count} thing{s} that builds need {are} missing on this machine", s = plural(*.count), are = if *.count == 1 { "is" } else { "are" })]
struct Missing {
    count: usize,
}

impl Fault for Missing {
    fn kind(&self) -> Kind {
        Kind::Environment
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// Runs the command.
pub(crate) fn run(session: &Session, options: &Options) -> Result<()> {
    let mut rows = vec![version()];
    let folder = session.store_folder()?;
    let place = nearest(&folder);
    let uid = session.config()?.store_uid.unwrap_or(ops::store::SERVICE_UID);
    let sandbox = SandboxOptions { service_uid: uid, ..SandboxOptions::default() };
    rows.extend(bulla_sandbox::diagnose(&place, &sandbox).into_iter().map(Row::from));
    rows.extend(store(&folder, &place));
    rows.push(configuration(session)?);
    rows.extend(mirrors(session)?);
    rows.push(engines(session));
    for row in &rows {
        session.print(&if options.json { report::json_line(row) } else { row.text(session) })?;
    }
    match rows.iter().filter(|row| row.state == MISSING).count() {
        0 => Ok(()),
        count => Err(Missing { count }.into()),
    }
}

impl Row {
    fn new(what: impl Into<String>, state: &'static str, why: impl Into<String>) -> Self {
        Self { what: what.into(), state, why: why.into(), remedy: None }
    }

    fn text(&self, session: &Session) -> String {
        let ink = match self.state {
            OK => Ink::Good,
            WEAKER => Ink::Warning,
            _ => Ink::Error,
        };
        let state = session.stdout.paint(ink, &format!("{:<8}", self.state));
        let why = neutral::lines(&self.why).replace('\n', "\n          ");
        let mut text = format!("{state}{}: {why}\n", neutral::line(&self.what));
        if let Some(remedy) = &self.remedy {
            let remedy = neutral::lines(remedy).replace('\n', "\n          ");
            text.push_str(&format!("        {} {remedy}\n", session.stdout.paint(Ink::Hint, "→")));
        }
        text
    }
}

impl From<Finding> for Row {
    fn from(finding: Finding) -> Self {
        let state = match finding.state {
            State::Ok => OK,
            State::Degraded => WEAKER,
            State::Missing => MISSING,
        };
        Self { what: finding.what.to_owned(), state, why: finding.why, remedy: finding.remedy }
    }
}

fn version() -> Row {
    Row::new("bulla", OK, concat!("version ", env!("CARGO_PKG_VERSION")))
}

/// Finds the nearest folder at or above a path that exists.
fn nearest(folder: &Path) -> PathBuf {
    folder.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

/// The least free space that a build of a usual stage needs, in bytes.
const LEAST_FREE: u64 = 2_000_000_000;

fn store(folder: &Path, place: &Path) -> Vec<Row> {
    let Ok(found) = rustix::fs::statfs(place) else {
        return vec![Row::new("store", MISSING, format!("{} cannot be examined", place.display()))];
    };
    let kind = file_system(found.f_type);
    let there = if place == folder { "" } else { ", which is made when it is needed" };
    let mut rows = vec![if usable(folder, place) {
        Row::new("store", OK, format!("{} on {kind}{there}", folder.display()))
    } else {
        Row {
            remedy: Some("name a folder of your own: `--store DIR` or $BULLA_STORE".into()),
            ..Row::new("store", MISSING, format!("{} is not yours to write into", folder.display()))
        }
    }];
    if kind == "tmpfs" {
        rows.push(Row {
            remedy: Some("name a folder on a disk: `--store DIR`, $BULLA_STORE, or `path` under `[store]`".into()),
            ..Row::new(
                "store's disk",
                WEAKER,
                "it is in memory: it is gone after a restart, and takes memory from builds",
            )
        });
    }
    if kind == "nfs" || kind == "overlay" {
        rows.push(Row {
            remedy: Some(
                "name a folder on a local disk: `--store DIR`, $BULLA_STORE, or `path` under `[store]`".into(),
            ),
            ..Row::new("store's disk", WEAKER, format!("an overlay cannot stand on {kind}, so roots are copied"))
        });
    }
    let free = found.f_bavail.saturating_mul(u64::try_from(found.f_bsize).unwrap_or(0));
    let enough = free >= LEAST_FREE;
    rows.push(Row {
        remedy: (!enough).then(|| "`bulla store gc` frees what was not used lately".into()),
        ..Row::new("free space", if enough { OK } else { WEAKER }, format!("{} for the store", terminal::bytes(free)))
    });
    rows
}

/// Says whether this user may write into the store, or make it.
fn usable(folder: &Path, place: &Path) -> bool {
    let user = rustix::process::geteuid();
    let owner = fs_err::metadata(place).map(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata));
    let own = place != folder || owner.is_ok_and(|owner| owner == user.as_raw());
    user.is_root() || (own && rustix::fs::access(place, rustix::fs::Access::WRITE_OK).is_ok())
}

/// Names a file system by its magic number (`statfs(2)`).
fn file_system(magic: i64) -> &'static str {
    match magic {
        0xef53 => "ext4",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x0102_1994 => "tmpfs",
        0x794c_7630 => "overlay",
        0x6969 => "nfs",
        0x2fc1_2fc1 => "zfs",
        0xf2f5_2010 => "f2fs",
        _ => "another file system",
    }
}

fn configuration(session: &Session) -> Result<Row> {
    let config = session.config()?;
    let files: Vec<String> = config.files.iter().map(|path| path.display().to_string()).collect();
    let text = if files.is_empty() { "no file; the defaults hold".to_owned() } else { files.join(", ") };
    Ok(Row::new("configuration", OK, text))
}

/// Says where the suites of the project's spec are, or else what apt's settings name.
fn mirrors(session: &Session) -> Result<Vec<Row>> {
    let apt = Apt::read(session)?;
    let registry = Registry::new(&session.config()?.debian, apt.clone());
    let mut rows: Vec<Row> = apt.notes.iter().map(|note| Row::new("apt", WEAKER, note.clone())).collect();
    for (name, proxy) in [("http", &apt.http_proxy), ("https", &apt.https_proxy)] {
        rows.extend(proxy.as_ref().map(|_| Row::new("proxy", OK, format!("apt names one for {name}"))));
    }
    let suites: BTreeSet<String> = ops::project::load(session, &BTreeMap::new())
        .map(|project| project.spec.roots().into_values().flat_map(|root| root.debian.release.suites).collect())
        .unwrap_or_default();
    for suite in &suites {
        rows.push(match registry.suite(suite) {
            Ok(place) => {
                let mirrors: Vec<String> = place.mirrors.iter().map(bulla_net::Url::shown).collect();
                Row::new(format!("suite {suite}"), OK, format!("{} (by {})", mirrors.join(", "), place.from))
            }
            Err(error) => Row {
                remedy: error.hints.first().cloned(),
                ..Row::new(format!("suite {suite}"), MISSING, error.error.to_string())
            },
        });
    }
    if suites.is_empty() {
        let known: BTreeSet<&str> = apt.entries.iter().flat_map(|entry| &entry.suites).map(String::as_str).collect();
        let known: Vec<&str> = known.into_iter().collect();
        let text =
            if known.is_empty() { "apt names no suites".to_owned() } else { format!("apt names {}", known.join(", ")) };
        rows.push(Row::new("mirrors", OK, text));
    }
    Ok(rows)
}

/// Says which engines `--load` would find.
fn engines(session: &Session) -> Row {
    let path = session.environment.path.clone().unwrap_or_default();
    let found: Vec<&str> = ["docker", "podman"]
        .into_iter()
        .filter(|name| std::env::split_paths(&path).any(|folder| folder.join(name).is_file()))
        .collect();
    match found.is_empty() {
        false => Row::new("engines", OK, format!("{} for `--load`", found.join(", "))),
        true => Row::new("engines", WEAKER, "neither docker nor podman is there, so `--load` loads into nothing"),
    }
}

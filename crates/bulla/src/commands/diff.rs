//! `bulla diff`: what differs between two images.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use bulla_build::{
    compare::{self, Comparison, FileChange, FileState, LayerChange, LayerState, ValueChange},
    explain::How,
    inspect::{self, Image, Limits},
};
use bulla_model::{Fault, Kind, Platform};
use clap::Args;
use serde::Serialize;

use crate::{error::Result, neutral, ops, report, session::Session, terminal};

const EXAMPLES: &str = "\
Examples:
  bulla diff old.oci.tar bulla-out      an archive that was kept, and what was just built
  bulla diff a b --json | jq .packages  for programs: one JSON object
  bulla diff a b --quiet                nothing but the exit code

Exit codes, as those of diff: 0 nothing differs, 1 something does; 3 and above as everywhere.";

/// Say what differs between two images: packages, files, configuration, layers
///
/// Reads OCI layouts and oci-archives, also those of other programs. Files are compared as a container sees them, by content,
/// mode and owner, whichever layer they are in. Every digest is checked, and nothing is unpacked.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Options {
    /// The OCI layout folder or oci-archive of the first image
    #[arg(value_name = "A")]
    before: PathBuf,

    /// That of the second image
    #[arg(value_name = "B")]
    now: PathBuf,

    /// The platform, where the image is for several: linux/amd64 or linux/arm64 [default: that of this machine]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,

    /// Write one JSON object, with all files
    #[arg(long)]
    json: bool,
}

/// The most files that are listed for people.
const MAX_FILES: usize = 200;
/// The exit code for images that differ, as that of `diff`. No step runs here, so that it means nothing else.
const DIFFERENT: u8 = 1;

/// A place that has not one image in it.
#[derive(Debug, thiserror::Error)]
#[error("{} holds {count} images, and two single ones can be compared", path.display())]
struct NotOne {
    path: PathBuf,
    count: usize,
}

impl Fault for NotOne {
    fn kind(&self) -> Kind {
        Kind::Spec
    }

    fn hints(&self) -> Vec<String> {
        vec!["`bulla inspect` lists them; write each to a place of its own, as `skopeo copy` does".into()]
    }
}

/// Runs the command; the exit code says whether they differ.
pub(crate) fn run(session: &Session, options: &Options) -> Result<ExitCode> {
    let (before, now) = (read(&options.before, options.platform)?, read(&options.now, options.platform)?);
    let found = compare::compare(&before, &now);
    let quiet = session.globals.verbosity() == crate::progress::Verbosity::Quiet;
    if options.json {
        let document =
            Document { before: &before.digest, now: &now.digest, same: found.is_empty(), differences: &found };
        session.print(&report::json_line(&document))?;
    } else if !quiet {
        session.print(&text(&found))?;
    }
    Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
}

fn read(path: &Path, platform: Option<Platform>) -> Result<Image> {
    let images = inspect::inspect(path, true, &Limits::default())?;
    Ok(ops::platform::one_of(images, platform).map_err(|count| NotOne { path: path.to_owned(), count })?)
}

/// What programs read.
#[derive(Serialize)]
struct Document<'a> {
    before: &'a bulla_model::Digest,
    now: &'a bulla_model::Digest,
    same: bool,
    #[serde(flatten)]
    differences: &'a Comparison,
}

fn text(found: &Comparison) -> String {
    let mut out = String::new();
    for change in &found.configuration {
        out.push_str(&format!("configuration  {}\n", neutral::line(&value(change))));
    }
    for change in found.packages.iter().flatten() {
        let (before, now) = (change.before.as_deref().unwrap_or("-"), change.now.as_deref().unwrap_or("-"));
        let text = format!("{:<7}  {}  {before} → {now}", change.how, change.name);
        out.push_str(&format!("package        {}\n", neutral::line(&text)));
    }
    if found.packages.is_none() && !found.is_empty() {
        out.push_str("package        (an image does not say which packages it has)\n");
    }
    for change in found.files.iter().take(MAX_FILES) {
        out.push_str(&format!("file           {}\n", neutral::line(&file(change))));
    }
    if let Some(more) = found.files.len().checked_sub(MAX_FILES).filter(|more| *more > 0) {
        out.push_str(&format!("file           … and {more} more; `--json` has all\n"));
    }
    for change in &found.layers {
        out.push_str(&format!("layer          {}\n", neutral::line(&layer(change))));
    }
    out
}

fn value(change: &ValueChange) -> String {
    let shown = |value: &Option<serde_json::Value>| value.as_ref().map_or("-".to_owned(), ToString::to_string);
    format!("{:<7}  {}  {} → {}", change.how, change.key, shown(&change.before), shown(&change.now))
}

fn file(change: &FileChange) -> String {
    let place = |state: &FileState| format!("layer {}", state.layer);
    let told = match (&change.before, &change.now) {
        (Some(before), Some(now)) => {
            let mut told: Vec<String> = change.of.iter().map(|what| differing(what, before, now)).collect();
            told.push(if before.layer == now.layer {
                place(now)
            } else {
                format!("layer {} → {}", before.layer, now.layer)
            });
            told.join(", ")
        }
        (Some(state), None) | (None, Some(state)) => format!("{}, {}", described(state), place(state)),
        (None, None) => String::new(),
    };
    format!("{:<7}  /{}  ({told})", change.how, change.path)
}

fn described(state: &FileState) -> String {
    let told = match (state.size, &state.target) {
        (Some(size), _) => format!("{}, {}", state.kind, terminal::bytes(size)),
        (None, Some(target)) => format!("{} to {target}", state.kind),
        (None, None) => state.kind.to_owned(),
    };
    match &state.capabilities {
        Some(capabilities) => format!("{told}, {capabilities}"),
        None => told,
    }
}

fn differing(what: &str, before: &FileState, now: &FileState) -> String {
    let owner = |state: &FileState| format!("{}:{}", state.uid, state.gid);
    let size = |state: &FileState| state.size.map_or_else(|| "?".to_owned(), |size| format!("{size} bytes"));
    let target = |state: &FileState| state.target.clone().unwrap_or_default();
    let rights = |state: &FileState| state.capabilities.clone().unwrap_or_else(|| "none".to_owned());
    match what {
        "mode" => format!("mode {} → {}", before.mode, now.mode),
        "owner" => format!("owner {} → {}", owner(before), owner(now)),
        "capabilities" => format!("capabilities {} → {}", rights(before), rights(now)),
        "target" => format!("target {} → {}", target(before), target(now)),
        "kind" => format!("{} → {}", described(before), described(now)),
        _ if before.size == now.size => "content".to_owned(),
        _ => format!("content, {} → {}", size(before), size(now)),
    }
}

fn layer(change: &LayerChange) -> String {
    let title = change.title.as_deref().unwrap_or("without a title");
    let shown = |state: &Option<LayerState>| {
        state.as_ref().map_or_else(
            || "-".to_owned(),
            |state| format!("{} {} {}", state.number, state.digest.short(), terminal::bytes(state.size)),
        )
    };
    let same = |(before, now): (&LayerState, &LayerState)| before.diff_id == now.diff_id;
    let note = match (change.how, change.before.as_ref().zip(change.now.as_ref()).is_some_and(same)) {
        (How::Changed, true) => ", the same uncompressed",
        _ => "",
    };
    format!("{:<7}  {title}  {} → {}{note}", change.how, shown(&change.before), shown(&change.now))
}

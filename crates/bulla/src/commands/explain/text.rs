//! What people read of it.

use bulla_build::{
    explain::{Difference, FileChange, How, Reason},
    run::{BaseInput, LayerOrigin, StepOutcome},
};
use bulla_model::Epoch;
use bulla_store::BuildRecord;

use super::{Explained, name};
use crate::{neutral, ops::journal::Noted};

/// The most files that are named of one source or layer.
const MAX_FILES: usize = 20;
/// The most differences that an overview names of a step.
const MAX_BRIEF: usize = 3;

/// Writes a line a step.
pub(super) fn overview(last: &Noted, explained: &[Explained<'_>]) -> String {
    let mut out = format!("The build of {}:\n", when(&last.build));
    let wide = explained.iter().map(|one| name(one.note).len()).max().unwrap_or(0);
    for one in explained {
        let outcome = match one.note.outcome {
            StepOutcome::Ran => "ran",
            StepOutcome::Cached => "unchanged",
            StepOutcome::Failed => "failed",
        };
        let title = neutral::line(&one.note.title);
        let why = brief(one);
        let why = if why.is_empty() { why } else { format!("\n{:wide$}               {why}", "") };
        out.push_str(&format!("  {:wide$}  {outcome:<9}  {title}{why}\n", name(one.note)));
    }
    out
}

fn brief(one: &Explained<'_>) -> String {
    match &one.reason {
        Reason::Unchanged => String::new(),
        Reason::First => "for the first time".to_owned(),
        Reason::Forced => "because `--no-cache` said so".to_owned(),
        Reason::FailedBefore => "because it had failed".to_owned(),
        Reason::ResultGone => "because its result was no longer in the store".to_owned(),
        Reason::Inputs { differences } => {
            let named: Vec<String> = differences.iter().take(MAX_BRIEF).map(short).collect();
            let more = differences.len().saturating_sub(MAX_BRIEF);
            let more = if more == 0 { String::new() } else { format!("; and {more} more") };
            format!("because of {}{more}", named.join("; "))
        }
    }
}

fn short(difference: &Difference) -> String {
    let text = match difference {
        Difference::Format { .. } => "this version of Bulla".to_owned(),
        Difference::Command { .. } => "its command".to_owned(),
        Difference::Environment { name, .. } => format!("the variable {name}"),
        Difference::Workdir { .. } => "its directory".to_owned(),
        Difference::Identity { .. } => "`identity`".to_owned(),
        Difference::Secrets { .. } => "its secrets".to_owned(),
        Difference::Caches { .. } => "its caches".to_owned(),
        Difference::Epoch { .. } => "the epoch".to_owned(),
        Difference::Package { name, .. } => format!("the package {name}"),
        Difference::Dependency { name, .. } => format!("the package {name}"),
        Difference::LockFile { file, .. } => format!("the lock file {file}"),
        Difference::Base { before, now, .. } => match now.as_ref().or(before.as_ref()) {
            Some(base) => format!("the base {}", base.reference),
            None => "its base".to_owned(),
        },
        Difference::Root => "its root".to_owned(),
        Difference::Source { at, files, .. } => format!("{} of {at}", count(files.as_deref())),
        Difference::Layer { origin, files, .. } => format!("{} of {origin}", count(files.as_deref())),
        Difference::Order => "the order of its layers".to_owned(),
    };
    neutral::line(&text).into_owned()
}

fn count(files: Option<&[FileChange]>) -> String {
    match files {
        None => "files".to_owned(),
        Some([one]) => one.path.clone(),
        Some(files) => format!("{} files", files.len()),
    }
}

/// Writes all that is known of a step.
pub(super) fn whole(one: &Explained<'_>) -> String {
    let mut out = format!("{}: {}\n", name(one.note), neutral::line(&one.note.title));
    let ended = if one.note.outcome == StepOutcome::Failed { "ran, and failed," } else { "ran" };
    let now = when(&one.build.build);
    let before = one.before.map(|(note, build)| {
        let moved = if note.step == one.note.step { String::new() } else { format!(", where it was {}", name(note)) };
        format!("that of {}{moved}", when(&build.build))
    });
    let before = before.unwrap_or_default();
    out.push_str(&match &one.reason {
        Reason::Unchanged => format!("  did not run in any build that is noted: its result is used, last at {now}\n"),
        Reason::First => format!("  {ended} at {now}, as far as is noted for the first time\n"),
        Reason::Forced => format!("  {ended} at {now}, because `--no-cache` said so\n"),
        Reason::FailedBefore => format!("  {ended} at {now}: the same had failed before, and what failed has no result\n"),
        Reason::ResultGone => format!(
            "  {ended} at {now}; nothing differs from {before}: its result was no longer in the store, or did not verify\n"
        ),
        Reason::Inputs { .. } => format!("  {ended} at {now}; this differs from {before}:\n"),
    });
    if let Reason::Inputs { differences } = &one.reason {
        differences.iter().for_each(|difference| detail(&mut out, difference, one));
    }
    out
}

fn when(build: &BuildRecord) -> String {
    Epoch::new(build.started).unwrap_or_default().rfc3339()
}

fn detail(out: &mut String, difference: &Difference, one: &Explained<'_>) {
    let mut line = |text: &str| out.push_str(&format!("    {}\n", neutral::line(text)));
    match difference {
        Difference::Format { before, now } => {
            line(&format!("this version of Bulla does it otherwise: {before} → {now}"))
        }
        Difference::Command { before, now } => {
            line("command");
            line(&format!("  before  {}", words(before)));
            line(&format!("  now     {}", words(now)));
        }
        Difference::Environment { name, how, before, now } => {
            line(&format!("variable {name} {}", values(*how, before.as_deref(), now.as_deref())));
        }
        Difference::Workdir { before, now } => line(&format!("directory {before} → {now}")),
        Difference::Caches { before, now } => line(&format!("caches {} → {}", before.join(", "), now.join(", "))),
        Difference::Identity { before, now } => line(&format!("identity {before} → {now}")),
        Difference::Secrets { before, now } => {
            let list = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            line(&format!("secrets {} → {}", list(before), list(now)));
        }
        Difference::Epoch { before, now } => {
            let date = |seconds| Epoch::new(seconds).unwrap_or_default().rfc3339();
            line(&format!("epoch {} → {}", date(*before), date(*now)));
        }
        Difference::Package { name, how, before, now } => line(&match (how, before, now) {
            (How::Changed, Some(before), Some(now)) if before == now => {
                format!("package {name} {now}: another file of the same version")
            }
            _ => format!("package {name} {}", values(*how, before.as_deref(), now.as_deref())),
        }),
        Difference::Dependency { file, name, how, before, now } => line(&match (how, before, now) {
            (How::Changed, Some(before), Some(now)) if before == now => {
                format!("package {name} {now} of {file}: another file of the same version")
            }
            _ => format!("package {name} of {file} {}", values(*how, before.as_deref(), now.as_deref())),
        }),
        Difference::LockFile { file, how } => line(&format!("lock file {file} {how}; which packages is not kept")),
        Difference::Base { before, now, .. } => {
            let moved = matches!((before, now), (Some(before), Some(now)) if before.reference == now.reference);
            let shown = |base: Option<&BaseInput>| match base {
                Some(base) => format!("{}@{}", base.reference, base.digest),
                None => "packages".to_owned(),
            };
            line(if moved { "base: the reference led to another image when it was locked" } else { "base" });
            line(&format!("  before  {}", shown(before.as_ref())));
            line(&format!("  now     {}", shown(now.as_ref())));
        }
        Difference::Root => line("root: another one; what it was made of is not noted"),
        Difference::Source { at, how, files } => {
            line(&format!("source /{at} {how}"));
            let name = at.strip_prefix("src/").unwrap_or(at);
            let before = one.before.and_then(|(_, build)| build.sources.get(name));
            let now = one.build.sources.get(name);
            for (word, pin) in [("before", before), ("now", now)] {
                if let Some(pin) = pin.filter(|_| before != now) {
                    line(&format!("  {word:<7} {pin}"));
                }
            }
            list(out, files.as_deref());
        }
        Difference::Layer { origin, how, files } => {
            let hint = match origin {
                LayerOrigin::Step { .. } => format!(": see `bulla explain {origin}`"),
                _ => String::new(),
            };
            line(&format!("what {origin} left {how}{hint}"));
            list(out, files.as_deref());
        }
        Difference::Order => line("the order of its layers"),
    }
}

fn values(how: How, before: Option<&str>, now: Option<&str>) -> String {
    match (how, before, now) {
        (How::Added, _, Some(now)) => format!("added: {now}"),
        (How::Removed, Some(before), _) => format!("removed: {before}"),
        (How::Changed, Some(before), Some(now)) => format!("{before} → {now}"),
        _ => format!("{how} (its value is not kept)"),
    }
}

/// Writes words as a shell would take them, a script as its lines in one.
fn words(words: &[String]) -> String {
    let quoted = |word: &String| match word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c)) {
        true if !word.is_empty() => word.clone(),
        _ => format!("'{}'", word.replace('\'', "'\\''")),
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

fn list(out: &mut String, files: Option<&[FileChange]>) {
    let Some(files) = files else {
        out.push_str("      which files is not kept any more\n");
        return;
    };
    for file in files.iter().take(MAX_FILES) {
        let of = if file.of.is_empty() { String::new() } else { format!(" ({})", file.of.join(", ")) };
        out.push_str(&format!("      {:<7}  {}{of}\n", file.how, neutral::line(&file.path)));
    }
    if let Some(more) = files.len().checked_sub(MAX_FILES).filter(|more| *more > 0) {
        out.push_str(&format!("      … and {more} more; `--json` has all\n"));
    }
}

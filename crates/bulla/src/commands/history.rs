//! `bulla history`: the builds that this store saw.

use bulla_model::Epoch;
use bulla_store::{BuildRecord, Outcome};
use clap::Args;

use crate::{error::Result, neutral, ops, report, session::Session, terminal};

const EXAMPLES: &str = "\
Examples:
  bulla history               the last 20 builds of this project
  bulla history --all -n 100  the last 100 builds of all projects
  bulla history --json        one JSON object a line, for programs";

/// List the builds that this store saw, the newest first
///
/// The history is for people: nothing that a build uses depends on it.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Options {
    /// Builds of all projects, not of this one alone
    #[arg(long)]
    all: bool,

    /// How many builds
    #[arg(long, short = 'n', value_name = "NUMBER", default_value_t = 20)]
    number: u32,

    /// Write one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(session: &Session, options: &Options) -> Result<()> {
    let store = ops::store::open(session)?;
    let project = if options.all { None } else { Some(ops::project::identity(session)?) };
    let builds = store.builds(options.number, project.as_deref())?;
    if options.json {
        return builds.iter().try_for_each(|build| session.print(&report::json_line(build)));
    }
    if builds.is_empty() {
        session.say("No builds yet.");
    }
    session.print(&builds.iter().map(|build| line(build, options.all)).collect::<String>())
}

fn line(build: &BuildRecord, with_project: bool) -> String {
    let when = Epoch::new(build.started).unwrap_or_default().rfc3339();
    let digest = build.digest.map_or_else(|| "-".to_owned(), |digest| digest.to_string());
    let project = if with_project { format!("  {}", neutral::line(&build.project)) } else { String::new() };
    format!(
        "{when}  {:<11}  {:>10}  {}  {digest}{project}\n",
        match build.outcome {
            Outcome::Succeeded => "succeeded",
            Outcome::Failed => "failed",
            Outcome::Interrupted => "interrupted",
        },
        terminal::duration(build.duration),
        neutral::line(&build.name),
    )
}

//! `bulla check`: is everything that a person wrote good?

use std::{collections::BTreeMap, path::PathBuf};

use bulla_model::{Fault, Kind, spec::Spec};
use clap::Args;

use crate::{
    error::{CliError, CommandError, Result},
    ops::{
        self,
        project::{Place, Project},
        workspace,
    },
    session::Session,
};

const EXAMPLES: &str = "\
Examples:
  bulla check                 the spec, its sources and its lock
  bulla check --locked        … and fail where the lock is missing or not of this spec
  bulla check services/shop   one member of a workspace
  bulla check --expand        print the spec with what `language` stands for written out";

/// Check the spec, its sources and its lock, without network
///
/// Names the line and what to write instead for each mistake of the spec. Nothing is downloaded, run or written. In the folder of
/// a bulla.workspace.yaml it checks all members, and what they may not loosen.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Options {
    /// The folders of the workspace's members to check [default: in the workspace's folder all, else the project]
    #[arg(value_name = "MEMBER")]
    members: Vec<PathBuf>,

    /// Fail where the lock is missing or not of this spec [default where CI=true]
    #[arg(long)]
    locked: bool,

    /// Print the spec with what presets (`from: {language: …}`) stand for in their place
    #[arg(long, conflicts_with_all = ["members", "locked"])]
    expand: bool,
}

/// A source that is not there.
#[derive(Debug, thiserror::Error)]
#[error("the source `{name}` is {}, which {problem}", path.display())]
struct SourceError {
    name: String,
    path: PathBuf,
    problem: &'static str,
}

impl Fault for SourceError {
    fn kind(&self) -> Kind {
        Kind::Spec
    }
}

/// Runs the command.
pub(crate) fn run(session: &Session, options: &Options) -> Result<()> {
    if options.expand {
        return expand(session);
    }
    match workspace::choose(session, &options.members)? {
        Some(chosen) => workspace::each(session, &chosen.members, false, |member| one(session, options, &member.place)),
        None => one(session, options, &Place::at_hand(session)),
    }
}

/// Prints the spec at hand without presets.
fn expand(session: &Session) -> Result<()> {
    let project = ops::project::load_at(session, &Place::at_hand(session), &BTreeMap::new())?;
    let text = fs_err::read_to_string(&project.spec_path).map_err(CliError::file)?;
    let name = ops::project::shown(&project.spec_path);
    let written = Spec::without_presets(&name, &text);
    session.print(&written.map_err(|errors| ops::project::wrong(&name, text.as_bytes(), &errors))?)
}

fn one(session: &Session, options: &Options, place: &Place) -> Result<()> {
    let project = ops::project::load_at(session, place, &BTreeMap::new())?;
    check_sources(&project)?;
    workspace::tell(session, &project);
    let spec = ops::project::shown(&project.spec_path);
    let (stages, steps) =
        (project.spec.stages.len(), project.spec.stages.values().map(|s| s.steps.len()).sum::<usize>());
    if options.locked || session.environment.ci {
        ops::lock::require(&project)?;
    }
    let lock = match ops::lock::read(&project)? {
        None => "there is no lock yet: `bulla build` or `bulla lock` writes it".to_owned(),
        Some(lock) => {
            let stale = ops::lock::stale(&lock, &project);
            if stale.is_empty() {
                format!("the lock is of this spec, with {} packages", lock.packages.len())
            } else {
                format!(
                    "the lock is not of this spec; `bulla build` or `bulla lock` amends it:\n{}",
                    ops::lock::list(&stale)
                )
            }
        }
    };
    session.say(&format!("{spec} is good: {}, {}; {lock}", count(stages, "stage"), count(steps, "step")));
    Ok(())
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Looks whether the sources are folders of the project, and not elsewhere by a link.
fn check_sources(project: &Project) -> Result<()> {
    for (name, source) in project.spec.folders() {
        let mut path = project.folder.clone();
        if let Some(inner) = &source.path {
            path.push(inner.to_string());
        }
        let fail =
            |problem| -> CommandError { SourceError { name: name.to_string(), path: path.clone(), problem }.into() };
        let real = fs_err::canonicalize(&path).map_err(|_| fail("does not exist"))?;
        if !real.starts_with(&project.folder) {
            return Err(fail("is outside of the project"));
        }
        if !real.is_dir() {
            return Err(fail("is not a folder"));
        }
    }
    Ok(())
}

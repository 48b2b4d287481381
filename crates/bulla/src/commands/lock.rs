//! `bulla lock`: the lock, made or brought up to date.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use bulla_model::{CleanPath, spec::Name};
use clap::Args;

use crate::{
    error::{CliError, Result},
    ops::{
        self,
        lock::{Update, Wish},
        observe::Budget,
        project::Place,
        workspace::{self, Member},
    },
    quantity,
    session::Session,
};

const EXAMPLES: &str = "\
Examples:
  bulla lock                  add what the spec asks for and the lock does not have
  bulla lock --update         move all packages, sources and images to their newest versions
  bulla lock --update openssl move one package, and what must move with it
  bulla lock --update registry.example/team/base
                              move one image that the spec starts from
  bulla lock --observe build  run the stage once, and pin what it asks registries for (Maven, apt)
  bulla lock --member services/shop --update
                              one member of a workspace alone";

/// Write bulla.lock, or amend it to what the spec asks for
///
/// Every package is pinned by its SHA-256, with the signed index that vouches for it, every source from a URL with its
/// signature, if it has one, and every source of git by its commit and the SHA-256 of its files, with who signed. An image is pinned by the digest that its tag, or its name in a layout of the project, has. Versions that are locked stay,
/// unless they must move or are told to. Of packages and images nothing but indexes and manifests is downloaded.
///
/// What has no lock file of its own (`dependencies: [{maven: pom.xml}]`, `[{apt: trixie}]`) is observed: with --observe the stage is run once, without secrets, what its
/// client asks the registry for is passed on to the one of your configuration and verified, and the answers are pinned. Nothing that the steps leave
/// is kept. This is the only time that a step reaches anything: only GET and HEAD of the registry's own paths, and within a budget.
///
/// Lock files of package managers are locks of their own. What they name without a hash, such as commits of git, is fetched and pinned here.
///
/// In the folder of a bulla.workspace.yaml it is for all members; a name to update is for those whose lock has it.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Options {
    /// Move packages, sources and images of registries to their newest versions: the named ones, or all
    #[arg(long, value_name = "NAME", num_args = 0..)]
    update: Option<Vec<String>>,

    /// The folder of a member of the workspace; may be repeated [default: in the workspace's folder all, else the project]
    #[arg(long, value_name = "MEMBER")]
    member: Vec<PathBuf>,

    /// Run stages once, and pin what they ask registries for: the named ones, or all that have something to be observed
    #[arg(long, value_name = "STAGE", num_args = 0.., conflicts_with = "update")]
    observe: Option<Vec<String>>,

    /// How many requests each step may make while it is observed
    #[arg(long, value_name = "N", requires = "observe", default_value_t = Budget::default().requests)]
    requests: u64,

    /// How much each step may be given while it is observed, as 2GiB
    #[arg(long, value_name = "SIZE", requires = "observe", value_parser = quantity::bytes, default_value = "2GiB")]
    bytes: u64,

    /// How many things that no registry has each step may ask for while it is observed
    #[arg(long, value_name = "N", requires = "observe", default_value_t = Budget::default().absent)]
    absent: u64,

    #[command(flatten)]
    downgrade: AllowDowngrade,
}

/// The leave to go back in time, as several commands have it.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct AllowDowngrade {
    /// Accept an index that is older than one that was seen before
    ///
    /// The newest date of every suite's index is remembered, so that a mirror cannot bring back packages with known holes.
    #[arg(long)]
    pub allow_downgrade: bool,
}

/// Runs the command.
pub(crate) fn run(session: &Session, options: &Options) -> Result<()> {
    let update = match &options.update {
        None => Update::Nothing,
        Some(names) if names.is_empty() => Update::Everything,
        Some(names) => Update::Packages(names.clone()),
    };
    let Some(chosen) = workspace::choose(session, &options.member)? else {
        return one(session, options, &Place::at_hand(session), update);
    };
    let spread = spread(session, &chosen.members, &update)?;
    workspace::each(session, &chosen.members, false, |member| {
        one(session, options, &member.place, spread.get(&member.folder).cloned().unwrap_or_else(|| update.clone()))
    })
}

/// Says what is updated in each of several members: the names that its lock has. One that is in no lock is an error; what else is
/// wrong with a member is told when its turn comes.
fn spread(session: &Session, members: &[Member], update: &Update) -> Result<BTreeMap<Option<CleanPath>, Update>> {
    let (Update::Packages(names), [_, _, ..]) = (update, members) else { return Ok(BTreeMap::new()) };
    let mut unknown: BTreeSet<&String> = names.iter().collect();
    let mut spread = BTreeMap::new();
    for member in members {
        let lock = ops::project::load_at(session, &member.place, &BTreeMap::new())
            .and_then(|project| ops::lock::read(&project));
        let Ok(lock) = lock else { continue };
        let own: Vec<String> = names.iter().filter(|name| ops::lock::knows(lock.as_ref(), name)).cloned().collect();
        unknown.retain(|name| !own.contains(name));
        let update = if own.is_empty() { Update::Nothing } else { Update::Packages(own) };
        spread.insert(member.folder.clone(), update);
    }
    match unknown.first() {
        Some(name) => {
            Err(CliError::Option(format!("no member's lock has a package, source or image `{name}` to update")).into())
        }
        None => Ok(spread),
    }
}

fn one(session: &Session, options: &Options, place: &Place, update: Update) -> Result<()> {
    let project = ops::project::load_at(session, place, &BTreeMap::new())?;
    workspace::tell(session, &project);
    let wish = Wish { update: update.clone(), allow_downgrade: options.downgrade.allow_downgrade };
    if let Some(stages) = &options.observe {
        let name =
            |text: &String| Name::parse(text).map_err(|_| CliError::Option(format!("`{text}` is no name of a stage")));
        let stages = stages.iter().map(name).collect::<Result<Vec<_>, _>>()?;
        let budget = Budget { requests: options.requests, bytes: options.bytes, absent: options.absent };
        return ops::observe::run(session, &project, &stages, budget, &wish);
    }
    let before = ops::lock::read(&project)?;
    let after = ops::lock::ensure(session, &project, &wish)?;
    let after = ops::build::pin_loose(session, &project, &after)?;
    if update == Update::Nothing && before.as_ref() == Some(&after) {
        session.say(&format!("{} is of this spec.", ops::project::shown(&project.lock_path)));
    }
    Ok(())
}

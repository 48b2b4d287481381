//! `bulla fetch`: everything that a build needs, brought into the store.

use std::{collections::BTreeMap, path::PathBuf};

use bulla_model::Platform;
use clap::Args;

use super::build::assignment;
use crate::{
    error::Result,
    ops::{
        self,
        build::Wishes,
        lock::{Update, Wish},
        project::Place,
        workspace,
    },
    session::Session,
};

const EXAMPLES: &str = "\
Examples:
  bulla fetch                 after this a build needs no network
  bulla fetch services/shop   one member of a workspace alone";

/// Bring all that a build needs into the store
///
/// Packages, sources and images of bulla.lock, and all that the lock files name which stages have under `dependencies`. Each is verified by
/// its digest. What is there is not asked for again. After it `bulla build` works without a network.
///
/// In the folder of a bulla.workspace.yaml it is for all members.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Options {
    /// The folders of the workspace's members [default: in the workspace's folder all, else the project]
    #[arg(value_name = "MEMBER")]
    members: Vec<PathBuf>,

    /// Fetch for this platform of the spec alone: linux/amd64 or linux/arm64; may be repeated [default: all of the spec]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Vec<Platform>,

    /// Give a param of the spec a value; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,

    /// Fail where the lock would have to change [default where CI=true]
    #[arg(long)]
    locked: bool,
}

/// Runs the command.
pub(crate) fn run(session: &Session, options: &Options) -> Result<()> {
    match workspace::choose(session, &options.members)? {
        Some(chosen) => workspace::each(session, &chosen.members, false, |member| one(session, options, &member.place)),
        None => one(session, options, &Place::at_hand(session)),
    }
}

fn one(session: &Session, options: &Options, place: &Place) -> Result<()> {
    let set: BTreeMap<String, String> = options.set.iter().cloned().collect();
    let project = ops::project::load_at(session, place, &set)?;
    let locked = options.locked || session.environment.ci;
    let lock = if locked {
        ops::lock::require(&project)?
    } else {
        ops::lock::ensure(session, &project, &Wish { update: Update::Nothing, allow_downgrade: false })?
    };
    let platforms = options.platform.iter().copied().collect();
    let wishes = Wishes { platforms, may_pin: !locked, ..Wishes::default() };
    ops::build::fetch_all(session, &project, &lock, &wishes).map(drop)
}

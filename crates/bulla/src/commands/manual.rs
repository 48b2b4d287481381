//! `bulla manual`: the manual pages.

use std::path::PathBuf;

use clap::{Args, CommandFactory};

use crate::{
    cli::Cli,
    error::{CliError, Result},
    session::Session,
};

const EXAMPLES: &str = "\
Examples:
  bulla manual ~/.local/share/man/man1
  bulla manual /tmp/pages && man /tmp/pages/bulla-build.1";

/// Write the manual pages into a folder
///
/// One page for each command, in section 1. The folder is made; pages that are there are replaced.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Options {
    /// The folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Runs the command.
pub(crate) fn run(session: &Session, options: &Options) -> Result<()> {
    fs_err::create_dir_all(&options.folder).map_err(CliError::file)?;
    clap_mangen::generate_to(Cli::command(), &options.folder).map_err(CliError::file)?;
    session.say(&format!("The manual pages are in {}.", options.folder.display()));
    Ok(())
}

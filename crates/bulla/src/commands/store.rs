//! `bulla store`: the store's upkeep.

use std::{
    collections::BTreeMap,
    io::{BufWriter, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use bulla_model::{Fault, Kind};
use bulla_store::{GcPolicy, Section, SigningKey};
use clap::{Args, Subcommand};

use crate::{
    error::{CliError, Result},
    neutral, ops, quantity, report,
    session::Session,
    terminal,
};

const EXAMPLES: &str = "\
Examples:
  bulla store du                    what the store takes
  bulla store gc --older-than 30d   remove what was not used for 30 days
  bulla store gc --keep 20GB        remove what was not used for longest, until 20 GB are left
  bulla store verify --full         hash all that is in the store, and remove what is damaged
  bulla store export -o shop.tar    write all that a build needs into one file
  bulla store import shop.tar --into shop
                                    take it on a machine without a network
  bulla store key --new             make the key that signs results for a remote store";

/// Say what the store takes, remove what is not used, verify what is there, take it elsewhere
///
/// The store holds downloaded packages, unpacked trees, results of steps and layers. All of it can be made again: it may be
/// removed at any time, also while builds run, which keep what they use.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what the store takes
    Du {
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove what is not used
    ///
    /// Without options, what was not used for 30 days.
    Gc {
        /// What was not used for so long: 12h, 30d, 8w
        #[arg(long, value_name = "TIME", value_parser = quantity::time)]
        older_than: Option<Duration>,
        /// What was not used for longest, until so much is left: 500MB, 20GB
        #[arg(long, value_name = "SIZE", value_parser = quantity::bytes)]
        keep: Option<u64>,
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// Verify what is there, and remove what is damaged
    Verify {
        /// Hash every byte, for a store that was restored, copied or shared
        #[arg(long)]
        full: bool,
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// Write one file with all that a build needs, for a machine without a network
    ///
    /// Spec, lock, all that the lock names, the keys that vouched for it, and the project's own sources. The lock must be of the
    /// spec; what is not in the store is fetched first. The same project gives the same bytes.
    Export {
        /// The file [default: standard output]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Leave the project's own sources out: they come another way
        #[arg(long)]
        without_sources: bool,
    },
    /// Take what `export` wrote: the inputs into the store, the project into a new folder
    ///
    /// Every input is hashed; nothing is taken of a file that is not whole. `bulla build --locked` in DIR/project then needs no
    /// network. DIR/keys has the keys for who wants to lock again; nothing trusts them by itself.
    Import {
        /// The file
        file: PathBuf,
        /// The folder that is made, with `project` and `keys` in it; without it, only the inputs are taken
        #[arg(long, value_name = "DIR")]
        into: Option<PathBuf>,
    },
    /// Show the public key of the key that signs results, or make one
    ///
    /// Results go to a remote store, and are used from one, only when they are signed. The private key stays in its file, which
    /// `$BULLA_SIGNING_KEY`, or `signing-key` of the configuration, names; else it is `signing.key` beside the configuration.
    Key {
        /// Make a new key; one that is there is not overwritten
        #[arg(long)]
        new: bool,
    },
}

/// What `gc` removes when it is not told.
const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);

/// Something in the store was damaged.
#[derive(Debug, thiserror::Error)]
#[error("{count} things in the store were damaged, and were removed")]
struct Damaged {
    count: usize,
}

impl Fault for Damaged {
    fn kind(&self) -> Kind {
        Kind::Integrity
    }

    fn hints(&self) -> Vec<String> {
        vec!["the next build makes them again; if it happens again, look at the disk and at who may write there".into()]
    }
}

/// Runs the command.
pub(crate) fn run(session: &Session, options: &Options) -> Result<()> {
    match &options.command {
        Command::Key { new } => key(session, *new),
        Command::Export { output, without_sources } => export(session, output.as_deref(), *without_sources),
        Command::Import { file, into } => import(session, file, into.as_deref()),
        upkeep => keep_up(session, upkeep),
    }
}

fn export(session: &Session, output: Option<&Path>, without_sources: bool) -> Result<()> {
    let project = ops::project::load(session, &BTreeMap::new())?;
    let lock = ops::lock::require(&project)?;
    let Some(output) = output else {
        let mut stdout = std::io::stdout().lock();
        if stdout.is_terminal() {
            let text = "a bundle is not for a terminal: name a file with `--output FILE`, or send it into one";
            return Err(CliError::Option(text.to_owned()).into());
        }
        ops::bundle::export(session, &project, &lock, (!without_sources, &mut stdout))?;
        return stdout.flush().map_err(|error| CliError::Stdout(error).into());
    };
    let write = |source| CliError::Write { path: output.to_owned(), source };
    let folder = ops::project::parent(output);
    let mut draft = tempfile::Builder::new().prefix(".bulla-").tempfile_in(folder).map_err(write)?;
    let mut writer = BufWriter::with_capacity(1 << 20, draft.as_file_mut());
    ops::bundle::export(session, &project, &lock, (!without_sources, &mut writer))?;
    writer.flush().map_err(write)?;
    drop(writer);
    draft.persist(output).map_err(|error| write(error.error))?;
    session.say(&format!("Wrote {}: `bulla store import` takes it.", output.display()));
    Ok(())
}

fn import(session: &Session, file: &Path, into: Option<&Path>) -> Result<()> {
    let imported = ops::bundle::import(session, file, into)?;
    let count = imported.inputs;
    let name = neutral::line(&imported.name).into_owned();
    let rest = match into {
        Some(into) => format!(": `bulla build --locked --project {}` builds it.", into.join("project").display()),
        None => ".".to_owned(),
    };
    session.say(&format!("Took {count} input{} of {name} into the store{rest}", if count == 1 { "" } else { "s" }));
    Ok(())
}

fn keep_up(session: &Session, command: &Command) -> Result<()> {
    let store = ops::store::open(session)?;
    match *command {
        Command::Key { .. } | Command::Export { .. } | Command::Import { .. } => Ok(()),
        Command::Du { json } => {
            let usage = store.du()?;
            if json {
                return session.print(&report::json_line(&usage));
            }
            let rows = [
                ("blobs", usage.blobs),
                ("partial downloads", usage.partial),
                ("trees", usage.trees),
                ("farms", usage.farms),
                ("sources", usage.sources),
                ("actions", usage.actions),
                ("caches", usage.caches),
            ];
            let total = Section { count: rows.iter().map(|(_, section)| section.count).sum(), bytes: usage.bytes() };
            let rows = rows.into_iter().chain([("all", total)]).map(|(name, section)| row(name, section));
            session.print(&rows.collect::<String>())
        }
        Command::Gc { older_than, keep, json } => {
            let max_age = older_than.or(keep.is_none().then_some(MONTH));
            let freed = store.gc(GcPolicy { max_age, max_bytes: keep })?;
            if json {
                return session.print(&report::json_line(&freed));
            }
            let left = Section { count: freed.left.blobs.count + freed.left.trees.count, bytes: freed.left.bytes() };
            session.print(&(row("removed", freed.removed) + &row("in use", freed.in_use) + &row("left", left)))
        }
        Command::Verify { full, json } => {
            let verified = store.verify(full)?;
            if json {
                session.print(&report::json_line(&verified))?;
            } else {
                let looked_at = format!(
                    "{} blobs, {} trees, {} farms and {} results looked at\n",
                    verified.blobs, verified.trees, verified.farms, verified.actions
                );
                let damaged = verified.damaged.iter().map(|what| format!("damaged: {}\n", neutral::line(what)));
                session.print(&damaged.chain([looked_at]).collect::<String>())?;
            }
            match verified.damaged.len() {
                0 => Ok(()),
                count => Err(Damaged { count }.into()),
            }
        }
    }
}

/// There is no key that signs results.
#[derive(Debug, thiserror::Error)]
#[error("there is no signing key at {}", .0.display())]
struct NoKey(PathBuf);

impl Fault for NoKey {
    fn kind(&self) -> Kind {
        Kind::Environment
    }

    fn hints(&self) -> Vec<String> {
        vec!["`bulla store key --new` makes one".into()]
    }
}

/// Shows the public key, of a key that is made first where that is wanted.
fn key(session: &Session, new: bool) -> Result<()> {
    let none = || CliError::NoHome { what: "the signing key", variable: "$XDG_CONFIG_HOME" };
    let (path, _) = ops::store::signing_key_file(session)?.ok_or_else(none)?;
    let key = if new {
        SigningKey::create(&path)?
    } else if path.exists() {
        SigningKey::open(&path)?
    } else {
        return Err(NoKey(path).into());
    };
    if new {
        session.say(&format!("Made {}: keep it, and let nobody read it.", path.display()));
    }
    session.print(&format!("{}\n", key.public()))
}

fn row(name: &str, section: Section) -> String {
    format!("{name:<18}{:>8}  {:>8}\n", section.count, terminal::bytes(section.bytes))
}

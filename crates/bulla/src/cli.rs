//! The command line: what can be typed, and the way from there to an exit code.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::{
    commands,
    environment::Environment,
    error::Result,
    progress::{Progress, Verbosity},
    session::Session,
    terminal::Color,
};

const EXAMPLES: &str = "\
Examples:
  bulla init                  write a bulla.yaml for this folder
  bulla build                 build the image into bulla-out/, and print its digest
  bulla build --load          … and load it into Docker or Podman
  bulla push REF              push the image to a registry
  bulla lock --update         move all packages to their newest versions
  bulla doctor                say what this machine allows, and how to allow more

Files:
  bulla.yaml                  the spec: what you write
  bulla.lock                  the lock: every input by digest, written by Bulla; commit it
  ~/.config/bulla/config.toml mirrors, proxies, keys: see docs/configuration.md

Exit codes: 0 done, 1 a step failed (`diff`: something differs), 2 wrong usage, 3 spec or lock, 4 environment, 5 integrity,
6 hermeticity, 7 policy, 70 a mistake in Bulla, 130 interrupted. See docs/exit-codes.md.";

/// Builds hermetic, reproducible OCI images from one spec.
///
/// One bulla.yaml says from which Debian packages and local sources an image is made. Bulla locks every input by digest,
/// runs each step in a sandbox that reaches nothing else, and gives the same image, bit for bit, wherever it runs. It needs
/// no daemon and no root.
#[derive(Debug, Parser)]
#[command(name = "bulla", version, after_long_help = EXAMPLES, max_term_width = 100, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub globals: Globals,
    #[command(subcommand)]
    command: Command,
}

/// The options that every command has.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// The project's folder
    #[arg(long, global = true, value_name = "DIR", default_value = ".")]
    pub project: PathBuf,

    /// The spec [default: bulla.yaml in the project's folder]
    #[arg(long, short, global = true, value_name = "FILE")]
    pub file: Option<PathBuf>,

    /// The store's folder
    ///
    /// Also $BULLA_STORE, or `path` under `[store]` in the configuration; else ~/.cache/bulla, or /var/lib/bulla for root.
    #[arg(long, global = true, value_name = "DIR")]
    pub store: Option<PathBuf>,

    /// How progress is shown, on standard error
    #[arg(long, global = true, value_name = "HOW", value_enum, default_value_t)]
    pub progress: Progress,

    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t)]
    pub color: Color,

    /// Show warnings and errors alone
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    quiet: bool,

    /// Show all that steps print, and all that was refused
    #[arg(long, short, global = true)]
    verbose: bool,
}

impl Globals {
    /// Says how much is shown.
    pub(crate) const fn verbosity(&self) -> Verbosity {
        match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    Build(commands::build::Options),
    Init(commands::init::Options),
    Lock(commands::lock::Options),
    Check(commands::check::Options),
    Diff(commands::diff::Options),
    Doctor(commands::doctor::Options),
    Explain(commands::explain::Options),
    Fetch(commands::fetch::Options),
    Inspect(commands::inspect::Options),
    Push(commands::push::Options),
    Pull(commands::pull::Options),
    Copy(commands::copy::Options),
    Index(commands::index::Options),
    Sbom(commands::sbom::Options),
    Why(commands::why::Options),
    Shell(commands::shell::Options),
    Sign(commands::sign::Options),
    Attest(commands::attest::Options),
    Verify(commands::verify::Options),
    Reproduce(commands::reproduce::Options),
    Checklist(commands::checklist::Options),
    Policy(commands::policy::Options),
    Key(commands::key::Options),
    Store(commands::store::Options),
    History(commands::history::Options),
    Completions(commands::completions::Options),
    Manual(commands::manual::Options),
}

/// Runs the command that was typed.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(stop) => {
            // Help and version come this way too. Nobody can be told when their printing fails.
            let _ = stop.print();
            return ExitCode::from(u8::try_from(stop.exit_code()).unwrap_or(2));
        }
    };
    let color = cli.globals.color;
    let session = match Session::new(cli.globals, Environment::read()) {
        Ok(session) => session,
        Err(error) => {
            let terminal = crate::terminal::Terminal::of_stderr(color, &Environment::read());
            crate::terminal::to_stderr(&crate::report::as_text(&error, terminal));
            return ExitCode::from(error.kind.exit_code());
        }
    };
    match run(&cli.command, &session) {
        Ok(code) => code,
        Err(error) => {
            session.report(&error);
            ExitCode::from(error.kind.exit_code())
        }
    }
}

fn run(command: &Command, session: &Session) -> Result<ExitCode> {
    let done = match command {
        // Their exit codes say more than that they went well.
        Command::Diff(options) => return commands::diff::run(session, options),
        Command::Shell(options) => return commands::shell::run(session, options),
        Command::Verify(options) => return commands::verify::run(session, options),
        Command::Reproduce(options) => return commands::reproduce::run(session, options),
        Command::Checklist(options) => return commands::checklist::run(session, options),
        Command::Build(options) => commands::build::run(session, options),
        Command::Init(options) => commands::init::run(session, options),
        Command::Lock(options) => commands::lock::run(session, options),
        Command::Check(options) => commands::check::run(session, options),
        Command::Doctor(options) => commands::doctor::run(session, options),
        Command::Explain(options) => commands::explain::run(session, options),
        Command::Fetch(options) => commands::fetch::run(session, options),
        Command::Inspect(options) => commands::inspect::run(session, options),
        Command::Push(options) => commands::push::run(session, options),
        Command::Pull(options) => commands::pull::run(session, options),
        Command::Copy(options) => commands::copy::run(session, options),
        Command::Index(options) => commands::index::run(session, options),
        Command::Sbom(options) => commands::sbom::run(session, options),
        Command::Why(options) => commands::why::run(session, options),
        Command::Sign(options) => commands::sign::run(session, options),
        Command::Attest(options) => commands::attest::run(session, options),
        Command::Policy(options) => commands::policy::run(session, options),
        Command::Key(options) => commands::key::run(session, options),
        Command::Store(options) => commands::store::run(session, options),
        Command::History(options) => commands::history::run(session, options),
        Command::Completions(options) => commands::completions::run(session, options),
        Command::Manual(options) => commands::manual::run(session, options),
    };
    done.map(|()| ExitCode::SUCCESS)
}

//! What every command has at hand: the global options, the environment, the terminal, and the wish to be interrupted.

use std::{
    collections::BTreeSet,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use bulla_build::event::{Event, Observer};
use bulla_evidence::key::Signer;
use bulla_sandbox::Cancel;

use crate::{
    cli::Globals,
    config::Config,
    environment::Environment,
    error::{CliError, CommandError, Result},
    interrupt::Interrupt,
    ops::keys::{self, Passphrase},
    progress::{self, Progress, Verbosity},
    report, terminal,
    terminal::Terminal,
};

/// The running command's surroundings.
pub(crate) struct Session {
    /// The options that every command has.
    pub globals: Globals,
    /// The process's environment.
    pub environment: Environment,
    /// Standard error.
    pub terminal: Terminal,
    /// Standard output.
    pub stdout: Terminal,
    /// Whether the user wants to stop.
    pub interrupt: Interrupt,
    observer: Arc<dyn Observer>,
    config: OnceLock<Config>,
    cancel: OnceLock<Cancel>,
    key: OnceLock<Arc<dyn Signer>>,
    warned: Mutex<BTreeSet<String>>,
}

impl Session {
    /// Puts the surroundings together.
    ///
    /// # Errors
    /// When the signals cannot be taken over.
    pub(crate) fn new(globals: Globals, environment: Environment) -> Result<Self> {
        let terminal = Terminal::of_stderr(globals.color, &environment);
        let stdout = Terminal::of_stdout(globals.color, &environment);
        let observer = progress::observer(globals.progress, globals.verbosity(), terminal);
        let interrupt = Interrupt::install()?;
        Ok(Self {
            globals,
            environment,
            terminal,
            stdout,
            interrupt,
            observer,
            config: OnceLock::new(),
            cancel: OnceLock::new(),
            key: OnceLock::new(),
            warned: Mutex::default(),
        })
    }

    /// Gives the configuration, which is read when it is first asked for.
    ///
    /// # Errors
    /// When a file is unreadable or wrong.
    pub(crate) fn config(&self) -> Result<&Config> {
        if let Some(config) = self.config.get() {
            return Ok(config);
        }
        let config = Config::read(&self.environment)?;
        Ok(self.config.get_or_init(|| config))
    }

    /// Gives the handle that ends what runs in a sandbox when the user wants to stop: one for all builds of the process.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub(crate) fn cancel(&self) -> Result<&Cancel> {
        if let Some(cancel) = self.cancel.get() {
            return Ok(cancel);
        }
        let cancel = Cancel::new()?;
        let canceller = cancel.clone();
        self.interrupt.when_set(move || canceller.cancel())?;
        Ok(self.cancel.get_or_init(|| cancel))
    }

    /// Opens the private key that signs what this process builds: once, so that nobody is asked for its passphrase again.
    ///
    /// # Errors
    /// When it cannot be read, or the passphrase is another one.
    pub(crate) fn signing_key(&self, name: &Path, passphrase: &Passphrase) -> Result<Arc<dyn Signer>> {
        if let Some(key) = self.key.get() {
            return Ok(Arc::clone(key));
        }
        let key = keys::signer(self, name, passphrase)?;
        Ok(Arc::clone(self.key.get_or_init(|| key)))
    }

    /// Gives who is told what happens.
    pub(crate) fn observer(&self) -> Arc<dyn Observer> {
        Arc::clone(&self.observer)
    }

    /// Gives the project's folder.
    pub(crate) fn project(&self) -> &Path {
        &self.globals.project
    }

    /// Gives the path of the spec: `--file`, which is relative to the current folder, else `bulla.yaml` in the project.
    pub(crate) fn spec_path(&self) -> PathBuf {
        self.globals.file.clone().unwrap_or_else(|| self.project().join("bulla.yaml"))
    }

    /// Gives the folder of the store: `--store`, else `$BULLA_STORE`, else the configuration's, else the usual one.
    ///
    /// # Errors
    /// When there is no home to have it in, or the configuration is wrong.
    pub(crate) fn store_folder(&self) -> Result<PathBuf> {
        if let Some(folder) = self.globals.store.as_ref().or(self.environment.store.as_ref()) {
            return std::path::absolute(folder).map_err(CliError::file);
        }
        if let Some(folder) = &self.config()?.store {
            return Ok(folder.clone());
        }
        let none = || CliError::NoHome { what: "the store", variable: "$XDG_CACHE_HOME" };
        Ok(self.environment.default_store().ok_or_else(none)?)
    }

    /// Gives the folder for what outlives the store.
    ///
    /// # Errors
    /// When there is no home to have it in.
    pub(crate) fn state_folder(&self) -> Result<PathBuf> {
        let none = || CliError::NoHome { what: "the key of the store", variable: "$XDG_STATE_HOME" };
        Ok(self.environment.state_folder().ok_or_else(none)?)
    }

    /// Says something that the user should know.
    pub(crate) fn warn(&self, message: &str) {
        self.observer.event(&Event::Warning { message });
    }

    /// Says something that the user should know, and that is the same for all members of a workspace, for the first of them.
    pub(crate) fn warn_once(&self, message: &str) {
        if self.warned.lock().unwrap_or_else(PoisonError::into_inner).insert(message.to_owned()) {
            self.warn(message);
        }
    }

    /// Says how something ended, to people: not with `--quiet`, and not among lines of JSON.
    pub(crate) fn say(&self, text: &str) {
        if self.globals.verbosity() > Verbosity::Quiet && self.globals.progress != Progress::Json {
            terminal::to_stderr(&format!("{text}\n"));
        }
    }

    /// Writes a result to standard output. A reader that went away (`bulla inspect … | head`) is no error.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub(crate) fn print(&self, text: &str) -> Result<()> {
        let mut stdout = std::io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(CliError::Stdout(error).into()),
            _ => Ok(()),
        }
    }

    /// Shows why the command failed.
    pub(crate) fn report(&self, error: &CommandError) {
        terminal::to_stderr(&match self.globals.progress {
            Progress::Json => report::as_json(error),
            Progress::Auto | Progress::Plain => report::as_text(error, self.terminal),
        });
    }
}

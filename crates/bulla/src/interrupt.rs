//! Ctrl-C and SIGTERM. The first one asks the running command to end: everything it started is ended, temporary files
//! are removed, and the exit code is 130. The second one ends the process at once.

use std::{
    io::Read,
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use bulla_model::Kind;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::error::{CliError, Result};

/// A flag that the first signal sets.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes over SIGINT and SIGTERM for the rest of the process.
    ///
    /// # Errors
    /// When the kernel refuses the handlers.
    pub(crate) fn install() -> Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // The order matters: the check for a second signal must run before the flag of the first is set.
            signal_hook::flag::register_conditional_shutdown(
                signal,
                i32::from(Kind::Interrupted.exit_code()),
                Arc::clone(&flag),
            )
            .map_err(CliError::file)?;
            signal_hook::flag::register(signal, Arc::clone(&flag)).map_err(CliError::file)?;
        }
        Ok(Self(flag))
    }

    /// Says whether the user asked to stop.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Gives the flag, for libraries that look at it while they work.
    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }

    /// Calls something once, from a thread of its own, when the first signal comes: for what waits and cannot look at a flag.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub(crate) fn when_set(&self, act: impl FnOnce() + Send + 'static) -> Result<()> {
        let (mut wakes, woken) = UnixStream::pair().map_err(CliError::file)?;
        for signal in [SIGINT, SIGTERM] {
            let end = woken.try_clone().map_err(CliError::file)?;
            signal_hook::low_level::pipe::register(signal, end).map_err(CliError::file)?;
        }
        if self.is_set() {
            act();
            return Ok(());
        }
        thread::spawn(move || {
            // The other end lives as long as the process: the read ends with a signal, or never.
            if matches!(wakes.read(&mut [0]), Ok(1)) {
                act();
            }
        });
        Ok(())
    }

    /// Fails when the user asked to stop.
    ///
    /// # Errors
    /// [`CliError::Interrupted`].
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_set() { Err(CliError::Interrupted.into()) } else { Ok(()) }
    }
}

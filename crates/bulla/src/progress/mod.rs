//! Shows what a build does while it goes on, on standard error: live on a terminal, as plain lines elsewhere, or as lines
//! of JSON for programs (documented in `docs/commands.md`).

mod json;
pub(crate) mod lines;
mod live;
mod plain;

use std::sync::Arc;

use bulla_build::event::Observer;
use clap::ValueEnum;

use crate::terminal::Terminal;

/// How progress is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Progress {
    /// Live on a terminal, plain elsewhere.
    #[default]
    Auto,
    /// One line for each thing that happens.
    Plain,
    /// One JSON object a line for each thing that happens, and for the error.
    Json,
}

/// How much is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verbosity {
    /// Warnings and errors.
    Quiet,
    /// What most people want.
    Normal,
    /// All that steps print, and all that was refused.
    Verbose,
}

/// Makes the observer that shows progress as asked for.
pub(crate) fn observer(progress: Progress, verbosity: Verbosity, terminal: Terminal) -> Arc<dyn Observer> {
    match progress {
        Progress::Json => Arc::new(json::Json::new(verbosity)),
        Progress::Auto if terminal.live && verbosity != Verbosity::Quiet => {
            Arc::new(live::Live::new(verbosity, terminal))
        }
        Progress::Auto | Progress::Plain => {
            Arc::new(plain::Plain::new(verbosity, terminal, crate::terminal::to_stderr))
        }
    }
}

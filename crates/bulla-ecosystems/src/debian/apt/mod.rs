//! Reads the files in which a machine tells apt where its mirrors are.
//!
//! Only text comes in: which files there are, and in which order they count, is the caller's knowledge (`sources.list(5)`,
//! `apt_auth.conf(5)`, `apt.conf(5)`).

pub mod auth;
pub mod settings;
pub mod sources;

pub use auth::Login;
pub use settings::Settings;
pub use sources::{Repository, SignedBy};

use bulla_model::{Fault, Kind};

/// The most bytes that one of the files may have.
const MAX_FILE: usize = 4 << 20;

/// Says which line of which file was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("reading {file}, line {line}: {problem}")]
pub struct AptError {
    /// The name of the file, as the caller gave it.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong, with the value. A password is never in it.
    pub problem: String,
}

impl AptError {
    fn new(file: &str, line: usize, problem: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, problem: problem.into() }
    }
}

impl Fault for AptError {
    fn kind(&self) -> Kind {
        Kind::Environment
    }
}

fn bounded<'t>(file: &str, text: &'t str) -> Result<&'t str, AptError> {
    if text.len() > MAX_FILE { Err(AptError::new(file, 1, "the file is larger than 4 MiB")) } else { Ok(text) }
}

/// Shortens a value for a message.
fn quote(value: &str) -> String {
    format!("`{}`", value.chars().take(100).flat_map(char::escape_debug).collect::<String>())
}

//! Shows a [`CommandError`]: as text for people, or as one line of JSON for programs. This is the only place where
//! errors are rendered.

mod json;
mod text;

use std::error::Error;

use clap::ValueEnum;

use crate::{error::CommandError, neutral};

#[cfg(test)]
pub(crate) use json::kind_name;
pub(crate) use json::{error as as_json, line as json_line};
pub(crate) use text::error as as_text;

/// How a command writes what it found on standard output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// The most causes that are shown of one error.
const MAX_CAUSES: usize = 16;

/// Gives the messages of an error's sources, outermost first, without those that only repeat what was said before.
fn causes(error: &CommandError) -> Vec<String> {
    let mut said = neutral::lines(&error.error.to_string());
    let mut causes = Vec::new();
    let mut next: Option<&(dyn Error + 'static)> = error.error.source();
    while let Some(cause) = next {
        let message = neutral::lines(&cause.to_string());
        if !said.ends_with(&message) && causes.len() < MAX_CAUSES {
            causes.push(message.clone());
        }
        said = message;
        next = cause.source();
    }
    causes
}

//! Lock files that are TOML.

use bulla_model::CleanPath;
use serde::de::DeserializeOwned;

use super::{
    super::LockFileError,
    package::{unmerged, wrong},
};

/// Where the lines of a text begin.
pub(super) struct Lines(Vec<usize>);

impl Lines {
    pub(super) fn of(text: &str) -> Self {
        Self(memchr::memchr_iter(b'\n', text.as_bytes()).collect())
    }

    /// Gives the line, from 1, that a byte is in.
    pub(super) fn at(&self, byte: usize) -> u32 {
        self.0.partition_point(|end| *end < byte) as u32 + 1
    }
}

/// Reads a document.
pub(super) fn parsed<T: DeserializeOwned>(
    text: &str,
    path: &CleanPath,
    lines: &Lines,
    hint: &str,
) -> Result<T, LockFileError> {
    if let Some(line) = unmerged(text) {
        return Err(wrong(path, line, "a merge left its marks", hint));
    }
    toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(0, |span| lines.at(span.start));
        wrong(path, line, error.message().lines().next().unwrap_or("it is no TOML").to_owned(), hint)
    })
}

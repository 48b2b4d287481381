//! What is wrong with a spec, as data; whoever shows it draws the line.

use std::{fmt, ops::Range};

use crate::fault::{Fault, Kind};

/// A place in the spec, for people: both count from 1; 0 is a place that is not in the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

/// One mistake in a spec.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}", line = .at.line, column = .at.column)]
pub struct SpecError {
    /// The name of the file.
    pub file: String,
    /// Where it is.
    pub at: Position,
    /// The bytes of the text that it is about; empty where something is missing.
    pub span: Range<usize>,
    /// The text itself, shortened to a line.
    pub text: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
    /// A second place that has to do with it, with what it is (`first written here`).
    pub related: Option<(Range<usize>, Position, String)>,
}

/// All the mistakes that were found in a spec, in the order of the file; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecErrors {
    errors: Vec<SpecError>,
}

impl SpecError {
    /// Writes the mistake in plain lines, with the place, the offending text and what to write instead.
    pub fn plain(&self) -> String {
        let mut text = self.to_string();
        if !self.text.is_empty() {
            text.push_str(&format!("\n  | {}", self.text));
        }
        if let Some((_, at, what)) = &self.related {
            text.push_str(&format!("\n  {what}: line {}, column {}", at.line, at.column));
        }
        if let Some(help) = &self.help {
            text.push_str(&format!("\n  help: {help}"));
        }
        text
    }
}

impl SpecErrors {
    /// Takes mistakes, and puts them in the order of the file; `None` when there are none.
    pub fn new(mut errors: Vec<SpecError>) -> Option<Self> {
        errors.sort_by_key(|error| (error.span.start, error.span.end));
        errors.dedup();
        (!errors.is_empty()).then_some(Self { errors })
    }

    /// Iterates over the mistakes.
    pub fn iter(&self) -> std::slice::Iter<'_, SpecError> {
        self.errors.iter()
    }
}

impl<'a> IntoIterator for &'a SpecErrors {
    type Item = &'a SpecError;
    type IntoIter = std::slice::Iter<'a, SpecError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl From<SpecError> for SpecErrors {
    fn from(error: SpecError) -> Self {
        Self { errors: vec![error] }
    }
}

impl fmt::Display for SpecErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, error) in self.errors.iter().enumerate() {
            write!(f, "{}{}", if n == 0 { "" } else { "\n" }, error.plain())?;
        }
        Ok(())
    }
}

impl std::error::Error for SpecErrors {}

impl Fault for SpecErrors {
    fn kind(&self) -> Kind {
        Kind::Spec
    }
}

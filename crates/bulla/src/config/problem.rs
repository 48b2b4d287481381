//! What is wrong with a configuration file, with the place.

use bulla_model::{Fault, Kind, login::without_logins};

use crate::error::{CommandError, Excerpt, Mark};

/// A configuration file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the configuration {file} has {count} mistake{s}", s = if *.count == 1 { "" } else { "s" })]
struct ConfigError {
    file: String,
    count: usize,
}

impl Fault for ConfigError {
    fn kind(&self) -> Kind {
        Kind::Environment
    }

    fn hints(&self) -> Vec<String> {
        vec!["docs/configuration.md lists the keys".into()]
    }
}

/// Makes the error for mistakes in a file.
pub(super) fn error(file: &str, text: &str, marks: Vec<Mark>) -> CommandError {
    let excerpt = Excerpt { file: file.to_owned(), text: without_logins(text), marks };
    let error = ConfigError { file: file.to_owned(), count: excerpt.marks.len() };
    CommandError::from(error).with_excerpt(excerpt)
}

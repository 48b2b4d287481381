//! Secrets that a step asks for. The spec has their names alone: where a value comes from, only the command line says.

use std::fmt;

use serde::Serialize;

use super::{AbsolutePath, Name};

/// The folder in which a step finds its secrets, each under its name.
pub const SECRETS_FOLDER: &str = "/run/secrets";

/// A secret that a step is given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct StepSecret {
    /// The name that the command line has for it.
    pub id: Name,
    /// Where the step finds it.
    #[serde(flatten)]
    pub place: SecretPlace,
}

/// Where a step finds a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretPlace {
    /// In a file of mode 0400 on a tmpfs.
    File(AbsolutePath),
    /// In a variable of its environment, less a line end at the end of the value.
    Env(String),
}

impl fmt::Display for StepSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            SecretPlace::File(path) => write!(f, "{} at {path}", self.id),
            SecretPlace::Env(name) => write!(f, "{} in ${name}", self.id),
        }
    }
}

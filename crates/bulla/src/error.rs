//! The one error of the command line. Every error of the libraries becomes a [`CommandError`], with the kind, hints and
//! excerpts that it brings; [`crate::report`] shows it.

use std::{error::Error, ops::Range, path::PathBuf};

use bulla_model::{Fault, Kind};

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct CommandError {
    /// Whose fault it is, and so the exit code.
    pub kind: Kind,
    /// The error itself, with its sources.
    pub error: Box<dyn Error + Send + Sync>,
    /// What the user can do.
    pub hints: Vec<String>,
    /// The files that the error is about, with the places in them.
    pub excerpts: Vec<Excerpt>,
    /// The last lines of what a step printed, as it printed them.
    pub log: Option<String>,
}

/// A text file and the places in it that are wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Excerpt {
    /// The file's name, as the user wrote it.
    pub file: String,
    /// The whole text of the file.
    pub text: String,
    /// The places, in the order to be shown.
    pub marks: Vec<Mark>,
}

/// A place in a text, and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The bytes that are meant.
    pub span: Range<usize>,
    /// What is wrong, a sentence.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
    /// A second place that has to do with it, and what it is.
    pub related: Option<(Range<usize>, String)>,
}

/// The result of a command.
pub(crate) type Result<T, E = CommandError> = std::result::Result<T, E>;

impl<E: Fault + Send + Sync + 'static> From<E> for CommandError {
    fn from(error: E) -> Self {
        Self { kind: error.kind(), hints: error.hints(), error: Box::new(error), excerpts: Vec::new(), log: None }
    }
}

impl CommandError {
    /// Adds the last lines of a step.
    pub(crate) fn with_log(mut self, log: &str) -> Self {
        self.log = Some(log.to_owned()).filter(|log| !log.trim().is_empty());
        self
    }

    /// Adds a file with the places that are wrong.
    pub(crate) fn with_excerpt(mut self, excerpt: Excerpt) -> Self {
        self.excerpts.push(excerpt);
        self
    }
}

/// What can go wrong in the command line itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// A file could not be read or written; fs-err's message has the verb and the path.
    #[error(transparent)]
    File(std::io::Error),
    /// A file could not be written whole.
    #[error("writing {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Standard output could not be written.
    #[error("writing to standard output")]
    Stdout(#[source] std::io::Error),
    /// There is no home folder to put the store or the state into.
    #[error("there is no place for {what}: neither `$HOME` nor `{variable}` is set to an absolute path")]
    NoHome {
        /// What has no place.
        what: &'static str,
        /// The variable that would give it one.
        variable: &'static str,
    },
    /// A file that was to be made exists.
    #[error("{} exists, and is not overwritten", .0.display())]
    Exists(PathBuf),
    /// There is no spec.
    #[error("there is no spec at {}", .0.display())]
    NoSpec(PathBuf),
    /// A file of the project that is elsewhere, or no file.
    #[error("{} {problem}", path.display())]
    NotOwnFile {
        /// The file.
        path: PathBuf,
        /// What it is.
        problem: &'static str,
    },
    /// An option is wrong.
    #[error("{0}")]
    Option(String),
    /// A person is to sit at something, and there is no terminal.
    #[error("{0}")]
    NoTerminal(&'static str),
    /// The user stopped the command.
    #[error("interrupted")]
    Interrupted,
}

impl CliError {
    /// Wraps an error of fs-err.
    pub(crate) fn file(error: std::io::Error) -> CommandError {
        Self::File(error).into()
    }
}

impl Fault for CliError {
    fn kind(&self) -> Kind {
        match self {
            Self::File(_) | Self::Write { .. } | Self::Stdout(_) | Self::NoHome { .. } => Kind::Environment,
            Self::Exists(_) | Self::NoSpec(_) | Self::NotOwnFile { .. } | Self::Option(_) | Self::NoTerminal(_) => {
                Kind::Spec
            }
            Self::Interrupted => Kind::Interrupted,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::NoHome { .. } => vec!["set it, or give the store's folder by `--store DIR`".into()],
            Self::Exists(_) => vec!["remove it first, or write the new one elsewhere with `--file FILE`".into()],
            Self::NoSpec(_) => {
                vec![
                    "`bulla init` writes one for this folder; `--project DIR` or `--file FILE` names another place"
                        .into(),
                ]
            }
            Self::NoTerminal(_) => vec!["give a command: `bulla shell STAGE -- COMMAND`".into()],
            _ => Vec::new(),
        }
    }
}

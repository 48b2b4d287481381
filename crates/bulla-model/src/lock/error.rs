//! Why a lock cannot be used.

use super::VERSION;
use crate::fault::{Fault, Kind};

/// A lock that was refused. `file` is left to whoever read it; places count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// It is too large to be a lock.
    #[error("bulla.lock has {0} bytes, more than a lock may have")]
    TooLarge(usize),
    /// Its bytes are not UTF-8.
    #[error("bulla.lock is not UTF-8 from byte {0} on")]
    NotUtf8(usize),
    /// A merge left its marks.
    #[error("bulla.lock:{line}: a merge conflict is left in the lock")]
    Conflict {
        /// The line of the first mark.
        line: usize,
    },
    /// Another version wrote it.
    #[error("bulla.lock has format {found}, and this program reads format {VERSION}")]
    Version {
        /// The version that it has.
        found: u64,
    },
    /// Its end is missing.
    #[error("bulla.lock is cut off: its last line is missing after line {lines}")]
    Truncated {
        /// How many lines there are.
        lines: usize,
    },
    /// It is not TOML, or has a key or value that a lock has not.
    #[error("bulla.lock:{line}:{column}: {message}")]
    Syntax {
        /// The line.
        line: usize,
        /// The column, in characters.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// Its checksum does not fit.
    #[error("bulla.lock was changed by hand or by a merge: its checksum is {found}, and the rest of it has {computed}")]
    Edited {
        /// The checksum that it has.
        found: String,
        /// The checksum that fits.
        computed: String,
    },
    /// A value in it cannot be.
    #[error("bulla.lock: {entry}: {problem}")]
    Invalid {
        /// The entry: `package gcc=4:12.2.0-3`.
        entry: String,
        /// What is wrong.
        problem: String,
    },
}

impl Fault for LockError {
    fn kind(&self) -> Kind {
        match self {
            Self::Edited { .. } | Self::Truncated { .. } => Kind::Integrity,
            _ => Kind::Spec,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Conflict { .. } => {
                "take one side (`git checkout --ours bulla.lock` or `--theirs`), then run `bulla lock` to add what is missing"
            }
            Self::Version { found } if *found > VERSION => "use the release of Bulla that wrote it, or a newer one",
            Self::TooLarge(_) => "is this the right file?",
            _ => "restore it with `git checkout bulla.lock`, or delete it and run `bulla lock` to make it anew",
        };
        vec![hint.to_owned()]
    }
}

//! What can go wrong with evidence and the places that it is in.

use std::path::PathBuf;

use bulla_evidence::{json::JsonError, key::SignError};
use bulla_model::{Digest, Fault, Kind, Platform};

use crate::ops::transfer::TransferError;

/// Why something was not signed, or not looked into.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EvidenceError {
    /// The text names nothing.
    #[error(transparent)]
    Place(#[from] TransferError),
    /// An archive cannot be added to.
    #[error("an oci-archive is not added to: `bulla copy` makes a layout of it, or `file:{}` signs it as a file", .0.display())]
    Archive(PathBuf),
    /// The older form is for registries.
    #[error(
        "the older form of signatures is kept under tags of a registry, and {0} has none: `--form bundle` is for it"
    )]
    NoTags(String),
    /// It is longer than what is signed.
    #[error("{} has more than {most} bytes, and is not signed as one file", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most bytes.
        most: u64,
    },
    /// Another bundle lies where one is to be written.
    #[error("{} is there already, and is no bundle by this key", .0.display())]
    Occupied(PathBuf),
    /// A statement that was made here cannot be read.
    #[error("a statement of the store is none")]
    Own(#[source] bulla_evidence::StatementError),
    /// The key does not sign.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// What a tag of the older form has is no manifest.
    #[error("what the tag {tag} has is no manifest of signatures")]
    Tag {
        /// The tag.
        tag: String,
        /// What is wrong with it.
        source: JsonError,
    },
    /// The predicate is no JSON, or too long.
    #[error("reading the predicate {}", path.display())]
    Predicate {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        source: JsonError,
    },
    /// A file has a statement of another type, or about something else.
    #[error("the statement in {} is of the type {found}, and either that or what it is about is not what was asked for", path.display())]
    OtherStatement {
        /// The file.
        path: PathBuf,
        /// Its type.
        found: String,
    },
    /// The image is not for a platform.
    #[error("the image is not for {0}")]
    NoPlatform(Platform),
    /// What was written is not there afterwards.
    #[error("what was written for {subject} is not there afterwards, or does not verify: {what}")]
    ReadBack {
        /// What it was written for.
        subject: Digest,
        /// What it is.
        what: String,
    },
}

impl Fault for EvidenceError {
    fn kind(&self) -> Kind {
        match self {
            Self::Place(error) => error.kind(),
            Self::Sign(error) => error.kind(),
            Self::Archive(_)
            | Self::NoTags(_)
            | Self::TooLarge { .. }
            | Self::Occupied(_)
            | Self::Predicate { .. }
            | Self::OtherStatement { .. }
            | Self::NoPlatform(_) => Kind::Spec,
            Self::Own(_) | Self::Tag { .. } | Self::ReadBack { .. } => Kind::Integrity,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Place(error) => error.hints(),
            Self::Occupied(_) => vec!["remove it, or name another file by `--output FILE`".into()],
            Self::ReadBack { .. } => {
                vec!["somebody else may write there at the same time: sign again, and look who it is".into()]
            }
            Self::OtherStatement { .. } => {
                vec!["name the type that it has by `--type`, and the image that it is about, by digest".into()]
            }
            _ => Vec::new(),
        }
    }
}

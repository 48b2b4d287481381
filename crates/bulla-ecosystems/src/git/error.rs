//! Why what a git server gave was refused.

use bulla_model::{Fault, GitId, Kind, path::printable};

/// Says why a commit cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GitError {
    /// The answer is not what git's protocol has there.
    #[error("the server does not speak git's protocol: {problem}")]
    Protocol {
        /// What is wrong.
        problem: &'static str,
    },
    /// The server says why it gives nothing.
    #[error("the git server refuses: {message}")]
    Refused {
        /// Its words, made printable.
        message: String,
    },
    /// The repository has objects of another kind of id.
    #[error("the repository names its objects by {format}, and only those of SHA-1 are supported yet")]
    ObjectFormat {
        /// The kind of id.
        format: String,
    },
    /// There is no such tag or branch.
    #[error("the repository has no {wanted}")]
    NoSuchRef {
        /// What was asked for.
        wanted: String,
    },
    /// The pack is not one, or is damaged.
    #[error("the pack of objects is damaged: {problem}")]
    Pack {
        /// What is wrong.
        problem: &'static str,
    },
    /// There is more than is accepted.
    #[error("the repository has {what} than {limit}, the most that is accepted")]
    TooLarge {
        /// What is too much: `larger objects`.
        what: &'static str,
        /// The limit, in bytes or pieces.
        limit: u64,
    },
    /// Bytes were made to have the id of other bytes.
    #[error("an object was made so that its SHA-1 is that of another: this is an attack")]
    Collision,
    /// What was asked for did not come.
    #[error("the server gave other objects than were asked for: {what} {id} is not among them")]
    Missing {
        /// What it is.
        what: &'static str,
        /// Its id.
        id: GitId,
    },
    /// An object is not well formed.
    #[error("the {what} {id} is not well formed: {problem}")]
    Object {
        /// What it is.
        what: &'static str,
        /// Its id.
        id: GitId,
        /// What is wrong.
        problem: &'static str,
    },
    /// A tag is that of something else.
    #[error("the tag that the server gives as `{asked}` was made as `{found}`: it is not the one that was asked for")]
    OtherTag {
        /// The name that was asked for.
        asked: String,
        /// The name in the tag, made printable.
        found: String,
    },
    /// A tag leads to what is no commit.
    #[error("the tag `{tag}` leads to a {kind}, and only commits have the files of a source")]
    NotACommit {
        /// The tag.
        tag: String,
        /// What it leads to.
        kind: &'static str,
    },
    /// A file may not be checked out.
    #[error("the repository has an entry that may not be checked out: `{path}` {problem}")]
    Entry {
        /// The path, made printable.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A submodule has no address that may be asked.
    #[error("the submodule `{path}` {problem}")]
    Module {
        /// Its path, made printable.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// Git LFS gives something else.
    #[error("the server of Git LFS {problem}")]
    Lfs {
        /// What is wrong.
        problem: String,
    },
}

impl GitError {
    pub(crate) fn entry(path: &[u8], problem: &'static str) -> Self {
        Self::Entry { path: printable(path.get(..path.len().min(300)).unwrap_or_default()), problem }
    }

    pub(crate) const fn pack(problem: &'static str) -> Self {
        Self::Pack { problem }
    }
}

impl Fault for GitError {
    fn kind(&self) -> Kind {
        match self {
            Self::Protocol { .. } | Self::Refused { .. } => Kind::Environment,
            Self::ObjectFormat { .. } | Self::NoSuchRef { .. } | Self::NotACommit { .. } | Self::Module { .. } => {
                Kind::Spec
            }
            _ => Kind::Integrity,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Protocol { .. } => "does the URL name a git repository, as `git clone URL` takes it?",
            Self::Refused { .. } => {
                "a commit that no branch or tag leads to may be gone; `bulla lock --update NAME` takes what is there now"
            }
            Self::NoSuchRef { .. } => "`git ls-remote URL` lists the tags and branches",
            Self::Entry { .. } => {
                "leave it as it is in the repository only if you know why it is there; it is never checked out"
            }
            Self::OtherTag { .. } => "a tag that was signed for another name or release says nothing of this one",
            Self::Module { .. } => "delete `submodules` from the source if it is not needed",
            Self::Collision | Self::Missing { .. } | Self::Pack { .. } | Self::Object { .. } => {
                "do not use what this server gives before you know why"
            }
            _ => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}

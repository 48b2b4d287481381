//! What can go wrong in the store, and whose fault it is.

use std::{
    io,
    path::{Path, PathBuf},
};

use bulla_model::{CleanPath, Digest, Fault, Kind, path::CleanPathError, tree::DecodeTreeError};
use rustix::io::Errno;

/// An error of the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed.
    #[error("{verb} {}", path.display())]
    Io {
        /// What was being done: `reading`.
        verb: &'static str,
        /// What it was done to.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The root of the store is a symbolic link.
    #[error("the store {} is a symbolic link", path.display())]
    SymlinkedRoot {
        /// The root of the store.
        path: PathBuf,
    },
    /// The root of the store belongs to someone else, or others may write to it.
    #[error("the store {} belongs to user {found} (mode {mode:04o}), not to user {expected} alone", path.display())]
    Foreign {
        /// The root of the store.
        path: PathBuf,
        /// The user that it belongs to.
        found: u32,
        /// The user that it has to belong to.
        expected: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// A directory has things in it and is not a store.
    #[error("{} has other things in it and is not a store", path.display())]
    NotAStore {
        /// The directory.
        path: PathBuf,
    },
    /// The store was written by a version of Bulla with another layout.
    #[error("the store {} has the layout `{found}`, and this version of Bulla reads `{expected}`", path.display())]
    Version {
        /// The root of the store.
        path: PathBuf,
        /// The layout that it has.
        found: String,
        /// The layout that this version reads.
        expected: &'static str,
    },
    /// The key file cannot be trusted or used.
    #[error("the key file {}: {reason}", path.display())]
    Key {
        /// The key file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Bytes have another digest than they should.
    #[error("{what} has the digest {found}, not {expected}")]
    Mismatch {
        /// What was hashed.
        what: String,
        /// The digest that it should have.
        expected: Digest,
        /// The digest that it has.
        found: Digest,
    },
    /// Trees that were asked for are not in the store, or did not verify and were removed: make them again.
    #[error("{} of the trees asked for are not in the store, the first is {}", digests.len(), digests.first().map_or_else(String::new, Digest::to_string))]
    TreesMissing {
        /// Which.
        digests: Vec<Digest>,
    },
    /// Something of a tree did not verify; the tree was removed from the store.
    #[error("the tree {digest} did not verify and was removed: {problem}")]
    Damaged {
        /// The tree.
        digest: Digest,
        /// What differed.
        problem: String,
    },
    /// A tree has no such file.
    #[error("the tree {digest} has no regular file `{path}`")]
    NoSuchFile {
        /// The tree.
        digest: Digest,
        /// The path.
        path: CleanPath,
    },
    /// Two trees of one farm have different things at the same path.
    #[error("the trees {first} and {second} both have `{path}`")]
    Conflict {
        /// The path.
        path: CleanPath,
        /// The tree that came first.
        first: Digest,
        /// The tree that came later.
        second: Digest,
    },
    /// A tree of a farm is a delta: it has a whiteout or an opaque directory.
    #[error("the tree {digest} cannot be part of a root: it hides `{path}`")]
    NotAPackage {
        /// The tree.
        digest: Digest,
        /// The whiteout or opaque directory.
        path: CleanPath,
    },
    /// An entry of a tree that is being built is impossible.
    #[error("the entry `{path}` cannot be made: {reason}")]
    Entry {
        /// The path.
        path: CleanPath,
        /// Why not.
        reason: &'static str,
    },
    /// A step left something that no tree can hold.
    #[error("the step left `{path}`, which cannot be kept: {reason}")]
    Upper {
        /// The path, made printable.
        path: String,
        /// Why not.
        reason: &'static str,
    },
    /// Whoever looked at what a step left did not admit it; what is wrong with it they know.
    #[error("what the step left was not admitted to the store")]
    NotAdmitted,
    /// A source has something that is neither file, directory nor symbolic link.
    #[error("the source {} has `{path}`, which is a {found}", dir.display())]
    SourceSpecial {
        /// The folder of the source.
        dir: PathBuf,
        /// The path in it.
        path: CleanPath,
        /// What stands there: `FIFO`.
        found: &'static str,
    },
    /// A source file went on changing while it was read.
    #[error("the source {} changed while it was read: `{path}`", dir.display())]
    SourceChanged {
        /// The folder of the source.
        dir: PathBuf,
        /// The path in it.
        path: CleanPath,
    },
    /// A path of a listing lies beneath something that is not a directory.
    #[error("the source {} has `{path}` beneath something that is not a directory", dir.display())]
    SourceShape {
        /// The folder of the source.
        dir: PathBuf,
        /// The path in it.
        path: CleanPath,
    },
    /// A path is not clean, or became too long.
    #[error(transparent)]
    Path(#[from] CleanPathError),
    /// The manifest of a tree is not valid.
    #[error("reading the manifest of the tree {digest}")]
    Manifest {
        /// The tree.
        digest: Digest,
        /// What is wrong with it.
        #[source]
        source: DecodeTreeError,
    },
    /// The index of builds cannot be used, even after it was made anew.
    #[error("using the index of builds {}", path.display())]
    History {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
}

/// A result of the store.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn io(verb: &'static str, path: impl AsRef<Path>, source: impl Into<io::Error>) -> Self {
        Self::Io { verb, path: path.as_ref().to_owned(), source: source.into() }
    }

    fn errno(&self) -> Option<Errno> {
        match self {
            Self::Io { source, .. } => Errno::from_io_error(source),
            _ => None,
        }
    }
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Io { .. }
            | Self::SymlinkedRoot { .. }
            | Self::Foreign { .. }
            | Self::NotAStore { .. }
            | Self::Version { .. }
            | Self::Key { .. }
            | Self::History { .. }
            | Self::SourceChanged { .. } => Kind::Environment,
            Self::Mismatch { .. } | Self::TreesMissing { .. } | Self::Damaged { .. } | Self::Manifest { .. } => {
                Kind::Integrity
            }
            Self::Conflict { .. } | Self::SourceSpecial { .. } | Self::SourceShape { .. } | Self::Path(_) => Kind::Spec,
            Self::NotAPackage { .. } | Self::Entry { .. } => Kind::Integrity,
            Self::NoSuchFile { .. } => Kind::Internal,
            Self::Upper { .. } => Kind::Step,
            Self::NotAdmitted => Kind::Hermeticity,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Io { .. } => match self.errno() {
                Some(Errno::NOSPC | Errno::DQUOT) => {
                    "the disk is full: free some space, or shrink the store with `bulla store gc`"
                }
                Some(Errno::ROFS) => "the store is on a read-only file system: name another folder for the store",
                Some(Errno::ACCESS | Errno::PERM) => {
                    "the store has to belong to the user that runs the build: name another folder for the store"
                }
                Some(Errno::MFILE | Errno::NFILE) => "raise the limit of open files (`ulimit -n`)",
                _ => return Vec::new(),
            },
            Self::SymlinkedRoot { .. } => "name the folder that the link points to",
            Self::Foreign { .. } => "run as the user that the store belongs to, or name another folder for the store",
            Self::NotAStore { .. } => "name an empty folder, or one that does not exist yet",
            Self::Version { .. } => "remove the store, for everything in it can be made again, or name another folder",
            Self::Key { .. } => "remove the key file: a new one is made, and the store is verified anew",
            Self::Damaged { .. } | Self::TreesMissing { .. } => "run the build again: what was removed is made anew",
            Self::Conflict { .. } => "two packages ship the same file: ask for one of them only",
            Self::SourceChanged { .. } => "run the build again when nothing writes to the source any more",
            Self::SourceSpecial { .. } => "add the path to `ignore` of the source",
            _ => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}

//! What differs between a commit and the working tree of a git checkout, without running git or anything that it names.
//!
//! The commit is where the history of a revision and that of what is checked out part, as for `git diff REVISION...`, but with the
//! working tree on the other side: a change that others made since on that branch is not ours.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use bulla_model::{CleanPath, Fault, Kind};
use gix::{ObjectId, Repository, objs::tree::EntryKind, status::index_worktree::iter::Summary};

use super::{MAX_DEPTH, checkout::open_repository};

/// The most files that a commit may have, and the most folders: a repository may say that it has no end.
const MAX_ENTRIES: usize = 4_000_000;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// How a file differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileChange {
    /// It is there now, and was not.
    New,
    /// It is another one, or has another mode.
    Changed,
    /// It was there, and is not.
    Gone,
}

/// What differs in a checkout.
#[derive(Debug, Clone)]
pub struct Changes {
    /// The folder with `.git` in it.
    pub top: PathBuf,
    /// The commit that is compared with, in hexadecimal.
    pub base: String,
    /// The files, symbolic links and submodules that differ, relative to the top.
    pub files: BTreeMap<CleanPath, FileChange>,
}

/// Says why it could not be found out what differs.
#[derive(Debug, thiserror::Error)]
pub enum ChangesError {
    /// There is no git checkout.
    #[error("{folder} is in no git checkout, so nothing is known of revisions")]
    NoCheckout {
        /// The folder.
        folder: String,
    },
    /// Nothing was committed.
    #[error("the git checkout at {top} has no commit")]
    NoCommit {
        /// The folder with `.git` in it.
        top: String,
    },
    /// The revision names no commit that is here.
    #[error("the git checkout at {top} has no commit `{revision}`")]
    NoSuchCommit {
        /// The folder with `.git` in it.
        top: String,
        /// As it was asked for.
        revision: String,
        /// Whether the history was cut off when it was fetched.
        shallow: bool,
        /// Why not.
        #[source]
        source: Error,
    },
    /// There is no commit that both histories have.
    #[error("`{revision}` and what is checked out at {top} have no commit in common")]
    Unrelated {
        /// The folder with `.git` in it.
        top: String,
        /// As it was asked for.
        revision: String,
        /// Whether the history was cut off when it was fetched.
        shallow: bool,
    },
    /// The commit has no end.
    #[error(
        "the commit {base} of the git checkout at {top} has more than {MAX_ENTRIES} files, or folders more than {MAX_DEPTH} deep"
    )]
    TooLarge {
        /// The folder with `.git` in it.
        top: String,
        /// The commit.
        base: String,
    },
    /// The checkout cannot be read.
    #[error("reading the git checkout at {top}")]
    Git {
        /// The folder with `.git` in it.
        top: String,
        /// Why not.
        #[source]
        source: Error,
    },
}

impl Fault for ChangesError {
    fn kind(&self) -> Kind {
        match self {
            Self::NoCheckout { .. } | Self::NoCommit { .. } | Self::NoSuchCommit { .. } => Kind::Spec,
            Self::Unrelated { .. } | Self::TooLarge { .. } | Self::Git { .. } => Kind::Environment,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::NoSuchCommit { shallow: true, .. } | Self::Unrelated { shallow: true, .. } => vec![
                "the clone is shallow: `git fetch --unshallow`, or `git fetch --deepen 100` and the branch, brings what is \
                 missing; in CI, `fetch-depth: 0` or `GIT_DEPTH: 0`"
                    .into(),
            ],
            Self::NoSuchCommit { .. } => {
                vec!["a branch that only the remote has is written `origin/main`; `git fetch` brings what is missing".into()]
            }
            Self::NoCheckout { .. } | Self::NoCommit { .. } => vec!["build without `--since`".into()],
            _ => Vec::new(),
        }
    }
}

/// Finds what differs between a revision and the working tree of the checkout that a folder lies in.
///
/// # Errors
/// When there is no checkout, the revision is not in it, or it cannot be read.
pub fn changes(folder: &Path, revision: &str) -> Result<Changes, ChangesError> {
    let no_checkout = || ChangesError::NoCheckout { folder: folder.display().to_string() };
    let top = super::checkout_top(folder).ok_or_else(no_checkout)?;
    let shown = top.display().to_string();
    let git = |source: Error| ChangesError::Git { top: shown.clone(), source };
    let mut repo = open_repository(&top).map_err(|source| git(source.into()))?;
    repo.object_cache_size_if_unset(4 << 20);
    let base = base(&repo, &shown, revision)?;
    let before = files_of(&repo, base).map_err(|problem| match problem {
        Problem::TooLarge => ChangesError::TooLarge { top: shown.clone(), base: base.to_string() },
        Problem::Git(source) => git(source),
    })?;
    let mut files = BTreeMap::new();
    against_index(&repo, before, &mut files).map_err(git)?;
    against_files(&repo, &mut files).map_err(git)?;
    Ok(Changes { top, base: base.to_string(), files })
}

/// Finds the commit to compare with.
fn base(repo: &Repository, top: &str, revision: &str) -> Result<ObjectId, ChangesError> {
    let git = |source: Error| ChangesError::Git { top: top.to_owned(), source };
    let shallow = repo.is_shallow().map_err(|source| git(source.into()))?;
    let none = |source: Error| ChangesError::NoSuchCommit {
        top: top.to_owned(),
        revision: revision.to_owned(),
        shallow,
        source,
    };
    let head = repo.head_id().map_err(|_| ChangesError::NoCommit { top: top.to_owned() })?;
    let object = repo.rev_parse_single(revision).map_err(|source| none(source.into()))?.object();
    let commit =
        object.map_err(|source| none(source.into()))?.peel_to_commit().map_err(|source| none(source.into()))?;
    let unrelated = ChangesError::Unrelated { top: top.to_owned(), revision: revision.to_owned(), shallow };
    match repo.merge_base(commit.id, head) {
        Ok(Some(base)) => Ok(base.detach()),
        Ok(None) => Err(unrelated),
        // Where a history is cut off, its next commit is not there to be read.
        Err(_) if shallow => Err(unrelated),
        Err(source) => Err(git(source.into())),
    }
}

/// The files of a commit: what each is, and its object.
type Files = BTreeMap<Vec<u8>, (EntryKind, ObjectId)>;

enum Problem {
    TooLarge,
    Git(Error),
}

impl Problem {
    fn of_folder(self) -> Error {
        match self {
            Self::TooLarge => Error::from("the index has a folder without an end"),
            Self::Git(error) => error,
        }
    }
}

impl<E: Into<Error>> From<E> for Problem {
    fn from(error: E) -> Self {
        Self::Git(error.into())
    }
}

fn files_of(repo: &Repository, commit: ObjectId) -> Result<Files, Problem> {
    let tree = repo.find_commit(commit)?.tree_id()?.detach();
    let mut files = Files::new();
    collect(repo, tree, b"", &BTreeSet::new(), &mut files)?;
    Ok(files)
}

/// Says whether an index has the very files of a tree. Folders that a sparse index has as one entry are compared as one.
pub(super) fn is_tree(repo: &Repository, index: &gix::index::State, tree: ObjectId) -> Result<bool, Error> {
    let (mut staged, mut folders) = (Files::new(), BTreeSet::new());
    for entry in index.entries() {
        let kind = kind_of(entry);
        let path: &[u8] = entry.path(index).as_ref();
        if kind == EntryKind::Tree {
            folders.insert(path.to_vec());
        }
        staged.insert(path.to_vec(), (kind, entry.id));
    }
    let mut files = Files::new();
    collect(repo, tree, b"", &folders, &mut files).map_err(Problem::of_folder)?;
    Ok(files == staged)
}

fn kind_of(entry: &gix::index::Entry) -> EntryKind {
    entry.mode.to_tree_entry_mode().map_or(EntryKind::Blob, |mode| mode.kind())
}

/// Collects the files of a tree; of some folders, whose paths end with a slash, only the folder itself. Objects are not rehashed
/// when they are read, so that a tree may lie in itself.
fn collect(
    repo: &Repository,
    tree: ObjectId,
    prefix: &[u8],
    whole: &BTreeSet<Vec<u8>>,
    files: &mut Files,
) -> Result<(), Problem> {
    let mut open = vec![(tree, prefix.to_vec())];
    let mut folders = 0;
    while let Some((tree, prefix)) = open.pop() {
        folders += 1;
        let depth = prefix.iter().filter(|byte| **byte == b'/').count();
        if depth > MAX_DEPTH || files.len() > MAX_ENTRIES || folders > MAX_ENTRIES {
            return Err(Problem::TooLarge);
        }
        let tree = repo.find_tree(tree)?;
        for entry in tree.iter() {
            let entry = entry?;
            let path = [prefix.as_slice(), entry.filename().as_ref()].concat();
            match entry.mode().kind() {
                EntryKind::Tree => {
                    let inner = [path.as_slice(), b"/"].concat();
                    if whole.contains(&inner) {
                        files.insert(inner, (EntryKind::Tree, entry.object_id()));
                    } else {
                        open.push((entry.object_id(), inner));
                    }
                }
                kind => drop(files.insert(path, (kind, entry.object_id()))),
            }
        }
    }
    Ok(())
}

/// Notes where the index differs from a commit.
fn against_index(
    repo: &Repository,
    mut before: Files,
    changes: &mut BTreeMap<CleanPath, FileChange>,
) -> Result<(), Error> {
    let index = repo.index_or_empty()?;
    let mut staged = Files::new();
    for entry in index.entries() {
        let path: &[u8] = entry.path(&index).as_ref();
        match kind_of(entry) {
            // A sparse index has whole folders as one entry.
            EntryKind::Tree => {
                collect(repo, entry.id, path, &BTreeSet::new(), &mut staged).map_err(Problem::of_folder)?;
            }
            kind => drop(staged.insert(path.to_vec(), (kind, entry.id))),
        }
    }
    for (path, now) in &staged {
        match before.remove(path) {
            None => note(changes, path, FileChange::New)?,
            Some(then) if then != *now => note(changes, path, FileChange::Changed)?,
            Some(_) => {}
        }
    }
    before.keys().try_for_each(|path| note(changes, path, FileChange::Gone))
}

/// Notes where files differ from the index, and what is there untracked and not ignored.
fn against_files(repo: &Repository, changes: &mut BTreeMap<CleanPath, FileChange>) -> Result<(), Error> {
    // What the repository itself says of its submodules could hide a change in one.
    let submodules = gix::status::Submodule::Given { ignore: gix::submodule::config::Ignore::None, check_dirty: true };
    let status = repo
        .status(gix::progress::Discard)?
        .untracked_files(gix::status::UntrackedFiles::Files)
        .index_worktree_rewrites(None)
        .index_worktree_submodules(submodules);
    for item in status.into_index_worktree_iter(Vec::new())? {
        let item = item?;
        let change = match item.summary() {
            None => continue,
            Some(Summary::Removed) => FileChange::Gone,
            Some(Summary::Added | Summary::Copied | Summary::IntentToAdd) => FileChange::New,
            Some(_) => FileChange::Changed,
        };
        note(changes, item.rela_path().as_ref(), change)?;
    }
    Ok(())
}

fn note(changes: &mut BTreeMap<CleanPath, FileChange>, path: &[u8], change: FileChange) -> Result<(), Error> {
    changes.insert(CleanPath::parse(path.strip_suffix(b"/").unwrap_or(path))?, change);
    Ok(())
}

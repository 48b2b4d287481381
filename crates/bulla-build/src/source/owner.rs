//! Whose git checkout a folder lies in, and whether it is believed (git's `safe.directory`): another user may have put a `.git`
//! above a project, in `/tmp` for one, and could say with it which files are ignored and that nothing changed.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// A checkout of a user who is not believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// The folder with `.git` in it.
    pub top: PathBuf,
    /// Who owns the `.git`.
    pub owner: u32,
}

impl std::fmt::Display for Foreign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the git checkout at {} belongs to the user {}", self.top.display(), self.owner)
    }
}

/// Finds the folder above (or at) this one that has a `.git` in it, whose ever.
pub fn checkout_top(folder: &Path) -> Option<PathBuf> {
    folder.ancestors().find(|above| above.join(".git").exists()).map(Path::to_owned)
}

/// Finds the checkout that a folder of a project lies in, where it is believed; `None` where there is none.
///
/// # Errors
/// When it belongs to somebody who is not believed.
pub fn believed_top(project: &Path, folder: &Path) -> Result<Option<PathBuf>, Foreign> {
    let Some(top) = checkout_top(folder) else { return Ok(None) };
    let Some(owner) = owner_of(&top.join(".git")) else { return Ok(None) };
    let of_project = owner_of(project).unwrap_or(owner);
    if is_trusted(owner, of_project) { Ok(Some(top)) } else { Err(Foreign { top, owner }) }
}

/// Gives who owns a file, folder or link.
pub fn owner_of(path: &Path) -> Option<u32> {
    fs_err::symlink_metadata(path).ok().map(|metadata| metadata.uid())
}

/// Says whether what a user owns is believed for a project of another: it is where it is root's, or one's own, or where it is that
/// of who owns the project, who can say the same in its spec.
pub fn is_trusted(owner: u32, of_project: u32) -> bool {
    owner == 0 || owner == of_project || owner == rustix::process::geteuid().as_raw()
}

//! Finds the workspace's file above a project, and decides whether it may be believed.
//!
//! It is looked for up to the top of the git checkout, and outside of one up to the border of the file system, as git does.
//! Somebody else may own a folder above a project (`/tmp`), so the file has to belong to who owns the project, to who runs
//! this, or to root: the first could write the spec itself, and the others need not.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use bulla_build::source::{Foreign, believed_top, is_trusted, owner_of};
use bulla_model::{
    Fault, Kind,
    spec::{WORKSPACE_FILE, Workspace},
};

use super::{Found, near};
use crate::{
    error::{CliError, Result},
    ops::project,
    session::Session,
};

/// The most bytes that are read of a workspace's file: more than are accepted, so that the reader says what is wrong.
const MAX_FILE: u64 = 4 << 20;

/// Why a workspace's file cannot be used.
#[derive(Debug, thiserror::Error)]
enum FindError {
    #[error("{} belongs to the user {owner}, and not to you, to root, or to who owns {}", file.display(), folder.display())]
    Foreign { file: PathBuf, owner: u32, folder: PathBuf },
    #[error("{} lies in the workspace of {}, and workspaces do not lie in one another", inner.display(), outer.display())]
    Nested { inner: PathBuf, outer: PathBuf },
    #[error("{foreign}, and not to you, to root, or to who owns {}", folder.display())]
    ForeignCheckout { foreign: Foreign, folder: PathBuf },
}

impl Fault for FindError {
    fn kind(&self) -> Kind {
        match self {
            Self::Foreign { .. } | Self::ForeignCheckout { .. } => Kind::Policy,
            Self::Nested { .. } => Kind::Spec,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Foreign { .. } => {
                vec![
                    "it says what holds for this project, so another user's is not believed: `chown` it, or delete it"
                        .into(),
                ]
            }
            Self::ForeignCheckout { .. } => {
                vec![
                    "another user's repository could say that nothing changed: `chown` it, or build without `--since`"
                        .into(),
                ]
            }
            Self::Nested { .. } => vec!["delete one of them: a member has its settings from one workspace".into()],
        }
    }
}

/// Finds the workspace above a folder, which is absolute and without symbolic links; whether the folder is a member is not asked.
///
/// # Errors
/// When its file is another user's, there are two, or it has mistakes.
pub(crate) fn find(session: &Session, folder: &Path) -> Result<Option<Found>> {
    let metadata = fs_err::metadata(folder).map_err(CliError::file)?;
    let trusted = |owner| is_trusted(owner, metadata.uid());
    // A `.git` that somebody else put above a project makes it no checkout.
    let top = believed_top(folder, folder).ok().flatten();
    let mut found: Option<(PathBuf, Vec<u8>)> = None;
    for above in folder.ancestors() {
        if fs_err::metadata(above).map_or(true, |other| other.dev() != metadata.dev()) {
            break;
        }
        let file = above.join(WORKSPACE_FILE);
        match look(&file, trusted)? {
            Look::Nothing => {}
            Look::Foreign(owner) if top.is_some() => {
                let (file, folder) = (near(&file), near(folder));
                return Err(FindError::Foreign { file, owner, folder }.into());
            }
            Look::Foreign(owner) => {
                session.warn(&format!("{} belongs to the user {owner}, and is not used", near(&file).display()));
            }
            Look::Own(bytes) => match &found {
                Some((inner, _)) => {
                    return Err(FindError::Nested { inner: near(inner), outer: near(&file) }.into());
                }
                None => found = Some((file, bytes)),
            },
        }
        if top.as_deref() == Some(above) {
            break;
        }
    }
    found.map(|(file, bytes)| read(&file, bytes)).transpose()
}

/// What is at a place where a workspace's file may be.
enum Look {
    Nothing,
    /// Something of a user who is not believed.
    Foreign(u32),
    Own(Vec<u8>),
}

/// Looks at a place. What somebody else put there is not opened: it may be a pipe, or lead elsewhere.
fn look(file: &Path, trusted: impl Fn(u32) -> bool) -> Result<Look> {
    if let Some(owner) = owner_of(file).filter(|owner| !trusted(*owner)) {
        return Ok(Look::Foreign(owner));
    }
    let Some((bytes, owner)) = project::read_with_owner(file, MAX_FILE)? else { return Ok(Look::Nothing) };
    Ok(if trusted(owner) { Look::Own(bytes) } else { Look::Foreign(owner) })
}

/// Reads a workspace's file.
fn read(file: &Path, bytes: Vec<u8>) -> Result<Found> {
    let shown = project::shown(&near(file));
    let workspace = Workspace::parse_bytes(&shown, &bytes).map_err(|errors| project::wrong(&shown, &bytes, &errors))?;
    Ok(Found { root: project::parent(file).to_owned(), shown, bytes, workspace })
}

/// Refuses a checkout of another user (git's `safe.directory`).
///
/// # Errors
/// When the `.git` above the folder belongs to somebody who is not believed.
pub(super) fn check_checkout(folder: &Path) -> Result<()> {
    let foreign = |foreign| FindError::ForeignCheckout { foreign, folder: near(folder) };
    Ok(believed_top(folder, folder).map(drop).map_err(foreign)?)
}

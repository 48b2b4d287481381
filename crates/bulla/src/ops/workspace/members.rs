//! The members of a workspace, as they lie on the disk.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use bulla_build::source::OUTPUT_FOLDER;
use bulla_model::{
    CleanPath, Fault, Kind,
    spec::{MemberKind, folder_name},
};

use super::Found;
use crate::{
    error::{CliError, CommandError, Excerpt, Mark, Result},
    ops::project::Place,
    session::Session,
};

/// The most members.
const MAX_MEMBERS: usize = 5000;
/// The most files and folders that are looked at to find them.
const MAX_SEEN: usize = 500_000;

/// A member of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// Its folder; `None` is the workspace's own.
    pub folder: Option<CleanPath>,
    /// Its spec and lock.
    pub place: Place,
}

impl Member {
    /// Makes one.
    pub(super) fn new(found: &Found, folder: Option<CleanPath>) -> Self {
        let path = path_of(&found.root, folder.as_ref());
        Self { folder, place: Place::of_spec(super::near(&path).join("bulla.yaml")) }
    }

    /// Gives its folder as commands take it.
    pub(crate) fn name(&self) -> String {
        folder_name(self.folder.as_ref())
    }
}

/// Why the members cannot be found.
#[derive(Debug, thiserror::Error)]
pub(super) enum MembersError {
    #[error("{file} names a member that cannot be one")]
    Wrong { file: String },
    #[error("the patterns of {file} match more than {MAX_MEMBERS} members")]
    TooMany { file: String },
    #[error("more than {MAX_SEEN} files and folders would be looked at to find the members of {file}")]
    TooMuch { file: String },
    #[error("{file} has no member: no folder that it names has a bulla.yaml")]
    None { file: String },
    #[error("the member {} {problem}", folder.escape_debug())]
    Folder { folder: String, problem: &'static str },
}

impl Fault for MembersError {
    fn kind(&self) -> Kind {
        Kind::Spec
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::TooMany { .. } | Self::TooMuch { .. } => {
                vec!["write patterns that match less, or leave folders out under `ignore:`".into()]
            }
            Self::None { .. } => vec!["`bulla init` in a folder writes one".into()],
            Self::Folder { .. } => vec!["leave it out under `ignore:`".into()],
            Self::Wrong { .. } => Vec::new(),
        }
    }
}

/// Finds the members that are there, in the order of their names. Symbolic links are not followed.
///
/// # Errors
/// When a folder that is named is not there, or leads elsewhere, or there is none or too many.
pub(crate) fn members(session: &Session, found: &Found) -> Result<Vec<Member>> {
    let mut folders = named(found)?;
    walk(found, &mut folders)?;
    if folders.is_empty() {
        return Err(MembersError::None { file: found.shown.clone() }.into());
    }
    for waiver in &found.workspace.waivers {
        if !folders.contains(&waiver.member) {
            let (name, at) = (folder_name(waiver.member.as_ref()), waiver.at);
            let place = format!("{}:{}:{}", found.shown, at.line, at.column);
            session.warn(&format!("there is no member {name}, for which `{}` is waived ({place})", waiver.setting));
        }
    }
    Ok(folders.into_iter().map(|folder| Member::new(found, folder)).collect())
}

/// Takes the folders that are named one by one.
fn named(found: &Found) -> Result<BTreeSet<Option<CleanPath>>> {
    let (mut folders, mut marks) = (BTreeSet::new(), Vec::new());
    for pattern in &found.workspace.members.patterns {
        let MemberKind::Folder(folder) = &pattern.kind else { continue };
        match problem(&found.root, folder.as_ref()) {
            None => drop(folders.insert(folder.clone())),
            Some((message, help)) => marks.push(Mark {
                span: pattern.span.clone(),
                message: format!("`{}` {message}", folder_name(folder.as_ref())),
                help: Some(help.to_owned()),
                related: None,
            }),
        }
    }
    if marks.is_empty() {
        return Ok(folders);
    }
    let text = String::from_utf8_lossy(&found.bytes).into_owned();
    let error = CommandError::from(MembersError::Wrong { file: found.shown.clone() });
    Err(error.with_excerpt(Excerpt { file: found.shown.clone(), text, marks }))
}

/// Says why a folder cannot be a member, and what can be done.
fn problem(root: &Path, folder: Option<&CleanPath>) -> Option<(&'static str, &'static str)> {
    let mut path = root.to_owned();
    for name in folder.into_iter().flat_map(CleanPath::components) {
        path.push(OsStr::from_bytes(name));
        match fs_err::symlink_metadata(&path) {
            Err(_) => return Some(("does not exist", "delete it here, or make the folder")),
            Ok(metadata) if metadata.is_symlink() => {
                return Some(("is, or lies behind, a symbolic link", "name the folder that the link leads to"));
            }
            Ok(metadata) if !metadata.is_dir() => return Some(("is not a folder", "name the folder of the spec")),
            Ok(_) if is_checkout(&path) => {
                return Some((
                    "lies in a git checkout of its own",
                    "there it would not find this workspace: leave it out",
                ));
            }
            Ok(_) => {}
        }
    }
    let has_spec = fs_err::symlink_metadata(path.join("bulla.yaml")).is_ok();
    (!has_spec).then_some(("has no bulla.yaml", "`bulla init` writes one to begin with"))
}

/// Finds the folders that patterns mean.
fn walk(found: &Found, folders: &mut BTreeSet<Option<CleanPath>>) -> Result<()> {
    let patterns = &found.workspace.members;
    let mut open: Vec<Option<CleanPath>> = vec![None];
    let mut seen = 0_usize;
    while let Some(folder) = open.pop() {
        if !patterns.may_be_beneath(folder.as_ref()) {
            continue;
        }
        for entry in fs_err::read_dir(path_of(&found.root, folder.as_ref())).map_err(CliError::file)? {
            let entry = entry.map_err(CliError::file)?;
            seen += 1;
            if seen > MAX_SEEN {
                return Err(MembersError::TooMuch { file: found.shown.clone() }.into());
            }
            let name = entry.file_name();
            // Of a symbolic link it is not asked where it leads.
            let is_folder = entry.file_type().map_err(CliError::file)?.is_dir();
            if !is_folder || [".git", OUTPUT_FOLDER].iter().any(|other| name == *other) {
                continue;
            }
            let above = folder.iter().flat_map(|folder| [folder.as_bytes(), b"/"]).flatten().copied();
            let Ok(inner) = CleanPath::parse(above.chain(name.as_bytes().iter().copied()).collect::<Vec<u8>>()) else {
                continue;
            };
            if patterns.contains(Some(&inner)) && entry.path().join("bulla.yaml").symlink_metadata().is_ok() {
                check(&found.root, &inner)?;
                folders.insert(Some(inner.clone()));
                if folders.len() > MAX_MEMBERS {
                    return Err(MembersError::TooMany { file: found.shown.clone() }.into());
                }
            }
            open.push(Some(inner));
        }
    }
    Ok(())
}

/// Refuses a folder that a pattern means and that cannot be a member.
pub(super) fn check(root: &Path, folder: &CleanPath) -> Result<()> {
    let bare = |c: char| !c.is_whitespace() && !c.is_control();
    let problem = match folder.as_str() {
        Some(name) if name.chars().all(bare) => problem(root, Some(folder)).map(|(message, _)| message),
        _ => Some("has white space in its name, or what is no text"),
    };
    match problem {
        Some(problem) => Err(MembersError::Folder { folder: folder.to_string(), problem }.into()),
        None => Ok(()),
    }
}

fn is_checkout(folder: &Path) -> bool {
    folder.join(".git").symlink_metadata().is_ok()
}

fn path_of(root: &Path, folder: Option<&CleanPath>) -> PathBuf {
    folder.map_or_else(|| root.to_owned(), |folder| root.join(OsStr::from_bytes(folder.as_bytes())))
}

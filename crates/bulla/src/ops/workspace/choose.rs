//! Which projects a command is for: the one at hand, members that are named, or all of a workspace.

use std::path::PathBuf;

use bulla_model::{Fault, Kind, spec::WORKSPACE_FILE};

use super::{Found, Member, find, members};
use crate::{
    error::{CliError, Result},
    session::Session,
};

/// The members that a command is for.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// The workspace.
    pub found: Found,
    /// The members, in the order that they were named, else in that of their names; at least one.
    pub members: Vec<Member>,
    /// Whether what is printed of a member has its name before it: not where one is named alone.
    pub labelled: bool,
}

/// Why no members can be chosen.
#[derive(Debug, thiserror::Error)]
enum ChooseError {
    #[error("{} lies in no workspace, so it has no members to name", .0.display())]
    NoWorkspace(PathBuf),
    #[error("{} is no member of {workspace}", folder.display())]
    NoMember { folder: PathBuf, workspace: String },
    #[error("`--file` names one spec, and members are named by their folders")]
    File,
}

impl Fault for ChooseError {
    fn kind(&self) -> Kind {
        Kind::Spec
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::NoWorkspace(_) => vec!["`--project DIR` names a project outside of a workspace".into()],
            Self::NoMember { .. } => {
                vec!["a member is named by its folder, and the workspace lists it under `members:`".into()]
            }
            Self::File => vec!["leave one of them out".into()],
        }
    }
}

/// Says which members a command is for: those that are named; all, in the folder of a workspace; `None`, the project at hand, elsewhere.
///
/// # Errors
/// When a member is named that is none, or the workspace cannot be read.
pub(crate) fn choose(session: &Session, named: &[PathBuf]) -> Result<Option<Chosen>> {
    if session.globals.file.is_some() {
        return if named.is_empty() { Ok(None) } else { Err(ChooseError::File.into()) };
    }
    let here = || fs_err::canonicalize(session.project()).map_err(CliError::file);
    if named.is_empty() {
        let at_root = session.project().join(WORKSPACE_FILE).symlink_metadata().is_ok();
        let Some(found) = at_root.then(|| find(session, &here()?)).transpose()?.flatten() else { return Ok(None) };
        let members = members(session, &found)?;
        return Ok(Some(Chosen { found, members, labelled: true }));
    }
    let found = find(session, &here()?)?.ok_or_else(|| ChooseError::NoWorkspace(session.project().to_owned()))?;
    let mut members: Vec<Member> = Vec::new();
    for folder in named {
        let real = fs_err::canonicalize(session.project().join(folder)).map_err(CliError::file)?;
        let none = || ChooseError::NoMember { folder: folder.clone(), workspace: found.shown.clone() };
        let place =
            found.member(&real).filter(|_| real.join("bulla.yaml").symlink_metadata().is_ok()).ok_or_else(none)?;
        if let Some(place) = &place {
            super::members::check(&found.root, place)?;
        }
        let member = Member::new(&found, place);
        if !members.contains(&member) {
            members.push(member);
        }
    }
    let labelled = members.len() > 1;
    Ok(Some(Chosen { found, members, labelled }))
}

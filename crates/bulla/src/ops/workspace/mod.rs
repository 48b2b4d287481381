//! The workspace that a project lies in: which file says so, who may have written it, and what its members are.

mod affected;
mod choose;
mod each;
mod find;
mod members;

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use bulla_model::{
    CleanPath, Epoch,
    spec::{Inherited, MemberSpec, Waiver, Workspace, WorkspaceStore, folder_name},
};

pub(crate) use self::{
    affected::{Since, is_affected},
    choose::{Chosen, choose},
    each::each,
    find::find,
    members::{Member, members},
};
use super::project::Project;
use crate::{neutral, session::Session};

/// A workspace's file that may be believed.
#[derive(Debug)]
pub(crate) struct Found {
    /// The folder that it is in, absolute and without symbolic links.
    pub root: PathBuf,
    /// The file, as people are shown it.
    pub shown: String,
    /// What is in it.
    pub bytes: Vec<u8>,
    /// What it means.
    pub workspace: Workspace,
}

/// What a project has of its workspace.
#[derive(Debug, Clone)]
pub(crate) struct Membership {
    /// The folder of the workspace.
    pub root: PathBuf,
    /// The workspace's file, as people are shown it.
    pub shown: String,
    /// Its text.
    pub text: Vec<u8>,
    /// The member's folder; `None` is the workspace's own.
    pub folder: Option<CleanPath>,
    /// The waivers that the member needs.
    pub waived: Vec<Waiver>,
    /// Those that it does not need.
    pub idle: Vec<Waiver>,
    /// The remote store that the workspace asks for.
    pub store: Option<WorkspaceStore>,
}

impl Found {
    /// Gives the place of a folder in the workspace, where it is a member by its name; `Some(None)` is the workspace's own.
    pub(crate) fn member(&self, folder: &Path) -> Option<Option<CleanPath>> {
        let place = place_in(&self.root, folder)?;
        self.workspace.members.contains(place.as_ref()).then_some(place)
    }

    /// Gives what a member inherits today.
    pub(crate) fn inherited<'w>(&'w self, member: &'w Option<CleanPath>) -> Inherited<'w> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Inherited { workspace: &self.workspace, member: member.as_ref(), now: Epoch::new(now).unwrap_or_default() }
    }

    /// Takes apart what a member's spec came out as.
    pub(crate) fn membership(&self, folder: Option<CleanPath>, spec: MemberSpec) -> (bulla_model::Spec, Membership) {
        let MemberSpec { spec, waived, idle } = spec;
        let (root, shown, store) = (self.root.clone(), self.shown.clone(), self.workspace.store.clone());
        let text = self.bytes.clone();
        (spec, Membership { root, shown, text, folder, waived, idle, store })
    }
}

/// Gives where a folder lies in another; `None` where it lies elsewhere, `Some(None)` where it is that folder.
pub(crate) fn place_in(root: &Path, folder: &Path) -> Option<Option<CleanPath>> {
    let rest = std::os::unix::ffi::OsStrExt::as_bytes(folder.strip_prefix(root).ok()?.as_os_str());
    if rest.is_empty() { Some(None) } else { CleanPath::parse(rest).ok().map(Some) }
}

/// Says what of the workspace is waived for a project, and which of its waivers are for nothing.
pub(crate) fn tell(session: &Session, project: &Project) {
    let Some(membership) = &project.membership else { return };
    let name = folder_name(membership.folder.as_ref());
    for waiver in &membership.waived {
        let Waiver { setting, reason, .. } = waiver;
        session.say(&neutral::line(&format!("{name}: `{setting}` is waived until {}: {reason}", waiver.last_day())));
    }
    for waiver in &membership.idle {
        let place = format!("{}:{}:{}", membership.shown, waiver.at.line, waiver.at.column);
        session.warn(&format!("the waiver of `{}` for {name} is for nothing: delete it ({place})", waiver.setting));
    }
}

/// Writes a path as people are shown it: relative to the current folder where it lies there or above it.
pub(super) fn near(path: &Path) -> PathBuf {
    let Ok(here) = std::env::current_dir().and_then(fs_err::canonicalize) else { return path.to_owned() };
    if let Ok(rest) = path.strip_prefix(&here) {
        return rest.to_owned();
    }
    for (up, above) in here.ancestors().enumerate().skip(1) {
        if let Ok(rest) = path.strip_prefix(above)
            && above.parent().is_some()
            && rest.components().count() == 1
        {
            return std::iter::repeat_n(Path::new(".."), up).collect::<PathBuf>().join(rest);
        }
    }
    path.to_owned()
}

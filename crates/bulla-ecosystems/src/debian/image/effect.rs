//! What a maintainer script would have done, as data; and how that is laid over the packages.

use bulla_model::{
    Capabilities,
    tree::{Mode, Owner},
};

use super::{
    accounts::{Accounts, SystemUser},
    alternatives::Alternative,
    mode::Changes,
    overlay::{Overlay, Stands},
};

/// One change that a script makes to the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    User(SystemUser),
    Group {
        name: String,
        gid: Option<u32>,
    },
    Member {
        user: String,
        group: String,
    },
    Directory {
        path: String,
        mode: u32,
    },
    File {
        path: String,
        content: Vec<u8>,
    },
    Copy {
        from: String,
        to: String,
        /// Whether mode and owner are copied too.
        keep: bool,
    },
    Symlink {
        path: String,
        target: String,
    },
    Mode {
        path: String,
        mode: u32,
    },
    /// A change of a file's mode that says what is added or taken away.
    Change {
        path: String,
        changes: Changes,
    },
    /// Capabilities that a script would give to a file. Only the spec gives any; it is said what was asked for.
    Capabilities {
        path: String,
        capabilities: Capabilities,
    },
    /// Users and groups by name or number.
    Owner {
        path: String,
        user: Option<String>,
        group: Option<String>,
    },
    Alternative(Alternative),
}

/// Makes an effect on files. Says what is wrong when a user or group is not known.
pub(super) fn lay(overlay: &mut Overlay<'_>, accounts: &mut Accounts, effect: &Effect) -> Result<(), String> {
    let unknown = |kind: &str, name: &str| format!("the {kind} `{}` is not known", name.escape_debug());
    match effect {
        Effect::User(_) | Effect::Group { .. } | Effect::Alternative(_) | Effect::Capabilities { .. } => {}
        Effect::Member { user, group } => {
            if !accounts.join(user, group) {
                return Err(unknown("user or group", &format!("{user}, {group}")));
            }
        }
        Effect::Directory { path, mode } => {
            if let Some(place) = overlay.place(path) {
                overlay.directory(&place, Mode::new(*mode), Owner::ROOT);
            }
        }
        Effect::File { path, content } => {
            if let Some(place) = overlay.place(path) {
                // A file that is there gets another content, and keeps the rest.
                let is_there = overlay.stands(&place) == Some(Stands::File);
                let (mode, owner) =
                    overlay.attributes(&place).filter(|_| is_there).unwrap_or((Mode::new(0o644), Owner::ROOT));
                overlay.file(&place, mode.bits(), owner, content.clone());
            }
        }
        Effect::Copy { from, to, keep } => {
            let source = overlay.place(from).and_then(|from| overlay.follow(&from, true));
            let attributes = source.as_ref().and_then(|source| overlay.attributes(source));
            let content = source.as_ref().and_then(|source| overlay.read(source, 64 << 20));
            let (Some((mode, owner)), Some(content), Some(to)) = (attributes, content, overlay.place(to)) else {
                return Err(format!("the file `{}` cannot be copied", from.escape_debug()));
            };
            // What the umask of scripts leaves of it.
            let (mode, owner) = if *keep { (mode.bits(), owner) } else { (mode.bits() & 0o755, Owner::ROOT) };
            overlay.file(&to, mode, owner, content);
        }
        Effect::Symlink { path, target } => {
            if let Some(place) = overlay.place(path) {
                overlay.symlink(&place, target.as_bytes());
            }
        }
        Effect::Mode { path, mode } => {
            if let Some(place) = overlay.place(path) {
                changed(path, overlay.set_attributes(&place, Some(Mode::new(*mode)), None))?;
            }
        }
        Effect::Change { path, changes } => {
            let place = overlay.place(path).and_then(|place| overlay.follow(&place, true));
            let mode = place.as_ref().and_then(|place| overlay.attributes(place)).map(|(mode, _)| mode);
            let (Some(place), Some(mode)) = (place, mode) else { return changed(path, false) };
            let new = Mode::new(changes.apply(mode.bits()));
            // What stays as it is need not be written once more.
            if new != mode {
                changed(path, overlay.set_attributes(&place, Some(new), None))?;
            }
        }
        Effect::Owner { path, user, group } => {
            let Some(place) = overlay.place(path) else { return Ok(()) };
            let Some((_, old)) = overlay.follow(&place, true).and_then(|place| overlay.attributes(&place)) else {
                return Ok(());
            };
            let uid = user.as_ref().map(|user| accounts.uid(user).ok_or_else(|| unknown("user", user))).transpose()?;
            let gid = group.as_ref().map(|group| accounts.gid(group).ok_or_else(|| unknown("group", group)));
            let owner = Owner { uid: uid.unwrap_or(old.uid), gid: gid.transpose()?.unwrap_or(old.gid) };
            changed(path, overlay.set_attributes(&place, None, Some(owner)))?;
        }
    }
    Ok(())
}

fn changed(path: &str, done: bool) -> Result<(), String> {
    if done { Ok(()) } else { Err(format!("the owner or mode of `{}` cannot be set", path.escape_debug())) }
}

impl Effect {
    /// Gives the call of `update-alternatives`, if it is one.
    pub(super) const fn alternative(&self) -> Option<&Alternative> {
        match self {
            Self::Alternative(call) => Some(call),
            _ => None,
        }
    }
}

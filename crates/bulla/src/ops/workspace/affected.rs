//! Which projects a change affects, and why: a file that a build of it reads differs from what it was.

use std::path::{Path, PathBuf};

use bulla_build::{
    event::Event,
    source::{Changes, FileChange, changes, checkout_top, is_part},
};
use bulla_model::{
    CleanPath,
    spec::{Folder, Source, Trust, folder_name},
};

use super::place_in;
use crate::{error::Result, ops::project::Project, session::Session};

/// What differs since a revision.
#[derive(Debug)]
pub(crate) struct Since {
    changes: Changes,
    /// The revision as it was asked for, and the commit.
    revision: String,
}

impl Since {
    /// Finds what differs in the checkout that a folder lies in, which is absolute and without symbolic links.
    ///
    /// # Errors
    /// When there is no checkout, it is another user's, or it has no such revision.
    pub(crate) fn read(folder: &Path, revision: &str) -> Result<Self> {
        super::find::check_checkout(folder)?;
        let changes = changes(folder, revision)?;
        let short = changes.base.get(..10).unwrap_or(&changes.base);
        let revision = match changes.base.starts_with(revision) {
            true => short.to_owned(),
            false => format!("{revision} ({short})"),
        };
        Ok(Self { changes, revision })
    }

    /// Gives the revision with its commit, as people are shown it.
    pub(crate) fn revision(&self) -> &str {
        &self.revision
    }

    fn tell(&self, file: &CleanPath) -> String {
        let what = match self.changes.files.get(file) {
            Some(FileChange::New) => "is new",
            Some(FileChange::Gone) => "is gone",
            _ => "changed",
        };
        format!("{file} {what} since {}", self.revision)
    }
}

/// Says whether a project is affected, and tells why.
pub(crate) fn is_affected(
    session: &Session,
    since: &Since,
    folder: Option<&CleanPath>,
    project: &Result<Project>,
) -> bool {
    let reason = match project {
        Ok(project) => affected(since, project),
        Err(_) => Some("its spec cannot be read".to_owned()),
    };
    if let Some(reason) = &reason {
        session.observer().event(&Event::Affected { member: &folder_name(folder), reason });
    }
    reason.is_some()
}

/// Says why a project is affected; `None` where it is not.
fn affected(since: &Since, project: &Project) -> Option<String> {
    steering(since, project).or_else(|| sources(since, project))
}

/// Looks at the files that say what is built.
fn steering(since: &Since, project: &Project) -> Option<String> {
    let workspace =
        project.membership.as_ref().map(|membership| membership.root.join(bulla_model::spec::WORKSPACE_FILE));
    let keys = project.spec.sources.values().filter_map(|source| match source {
        Source::Url(source) => match &source.trust {
            Trust::Signature { key, .. } => Some(project.folder.join(key)),
            _ => None,
        },
        _ => None,
    });
    let own =
        [&project.spec_path, &project.lock_path].map(|path| project.folder.join(path.file_name().unwrap_or_default()));
    let files: Vec<PathBuf> = workspace.into_iter().chain(own).chain(keys).collect();
    // A link to another file of the project is read there.
    let real = files.iter().filter_map(|file| fs_err::canonicalize(file).ok());
    let differs = |file: &CleanPath| since.changes.files.contains_key(file);
    let mut places = files.iter().cloned().chain(real).filter_map(|file| place_in(&since.changes.top, &file).flatten());
    places.find(differs).map(|file| since.tell(&file))
}

/// Looks at the sources.
fn sources(since: &Since, project: &Project) -> Option<String> {
    for (name, folder) in project.spec.folders() {
        let path = folder.path.as_ref().map_or_else(|| project.folder.clone(), |inner| project.folder.join(inner));
        let Ok(real) = fs_err::canonicalize(&path) else {
            return Some(format!("its source `{name}` cannot be read"));
        };
        // What lies in another checkout has another history: what changed there is not known here.
        let (Some(place), true) = (place_in(&since.changes.top, &path), is_in(&since.changes.top, &real)) else {
            return Some(format!("its source `{name}` lies in another git checkout, which is not compared"));
        };
        let mut found = since.changes.files.keys().filter(|file| concerns(place.as_ref(), folder, file));
        if let Some(first) = found.next() {
            let more = match found.count() {
                0 => String::new(),
                more => format!(", and {more} more"),
            };
            return Some(format!("{}{more}", since.tell(first)));
        }
    }
    None
}

fn is_in(top: &Path, folder: &Path) -> bool {
    checkout_top(folder).as_deref() == Some(top)
}

/// Says whether a file that differs is a part of a source, which lies at a place of the checkout.
fn concerns(place: Option<&CleanPath>, source: &Folder, file: &CleanPath) -> bool {
    let inner = match place {
        None => Some(file.clone()),
        // A link or submodule that differs has all in it.
        Some(place) if place.starts_with(file) => return true,
        Some(place) => file.strip_prefix(place),
    };
    inner.is_some_and(|inner| is_part(source, source.path.is_none(), &inner))
}

//! Which folders are members.

use std::{collections::BTreeSet, ops::Range};

use crate::{
    path::CleanPath,
    spec::{Glob, Position},
};

/// Which folders of the workspace are members.
#[derive(Debug, Clone)]
pub struct Members {
    /// Folders and patterns, in the order of the file.
    pub patterns: Vec<MemberPattern>,
    /// Folders that patterns do not mean.
    pub ignore: Vec<Glob>,
}

/// One entry of the list of members.
#[derive(Debug, Clone)]
pub struct MemberPattern {
    /// What it means.
    pub kind: MemberKind,
    /// The bytes of the file that it stands in.
    pub span: Range<usize>,
    /// Where that is.
    pub at: Position,
}

/// What an entry means.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberKind {
    /// One folder; `None` is the workspace's own.
    Folder(Option<CleanPath>),
    /// All folders of this name that have a spec.
    Pattern(Glob),
}

impl Members {
    /// Says whether a folder is a member by its name; `None` is the workspace's own. Whether it has a spec is not known here.
    pub fn contains(&self, folder: Option<&CleanPath>) -> bool {
        self.patterns.iter().any(|pattern| match &pattern.kind {
            MemberKind::Folder(own) => own.as_ref() == folder,
            MemberKind::Pattern(glob) => {
                folder.is_some_and(|folder| glob.matches_whole(folder) && !self.ignores(folder))
            }
        })
    }

    /// Says whether patterns pass over a folder, and all beneath it.
    pub fn ignores(&self, folder: &CleanPath) -> bool {
        self.ignore.iter().any(|glob| glob.matches(folder))
    }

    /// Says whether a member that a pattern means may lie beneath a folder, so that it has to be looked into; `None` is the
    /// workspace's own folder.
    pub fn may_be_beneath(&self, folder: Option<&CleanPath>) -> bool {
        self.patterns.iter().any(|pattern| match (&pattern.kind, folder) {
            (MemberKind::Pattern(glob), Some(folder)) => glob.may_match_whole_beneath(folder) && !self.ignores(folder),
            (MemberKind::Pattern(_), None) => true,
            (MemberKind::Folder(_), _) => false,
        })
    }

    /// Gives the folders that are named one by one, each once.
    pub fn named(&self) -> BTreeSet<Option<&CleanPath>> {
        let folders = self.patterns.iter().filter_map(|pattern| match &pattern.kind {
            MemberKind::Folder(folder) => Some(folder.as_ref()),
            MemberKind::Pattern(_) => None,
        });
        folders.collect()
    }
}

/// Writes the folder of a member as commands take it; `None`, the workspace's own, is `.`.
pub fn folder_name(folder: Option<&CleanPath>) -> String {
    folder.map_or_else(|| ".".to_owned(), ToString::to_string)
}

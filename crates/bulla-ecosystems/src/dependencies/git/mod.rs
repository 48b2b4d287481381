//! Packages that lock files have from git repositories, each by its commit, whose files nothing pins but `bulla.lock`. [`GitAddress`] reads how a lock
//! file writes one; [`Repositories`] has those that clients clone by git themselves. cargo finds crates of them unpacked.

mod address;
mod repositories;

pub(super) use self::{
    address::GitAddress,
    repositories::{
        ARCHIVES, Repositories, check_submodules, is_repository, is_settings, joined, unpack, with_submodule,
    },
};

/// Why a commit of a lock file cannot be taken.
#[derive(Debug)]
pub(super) struct Refusal {
    /// What is wrong.
    pub(super) what: String,
    pub(super) why: Unserved,
}

/// What is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unserved {
    /// It is no commit of a repository that can be asked, or another one than is taken already.
    Commit,
    /// It has a login.
    Login,
}

/// Gives a text for people: not too long, and without what a terminal would take for its own.
pub(super) fn shortened(text: &str) -> String {
    const LONGEST: usize = 120;
    let mut shown: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(LONGEST).collect();
    if text.chars().count() > LONGEST {
        shown.push('…');
    }
    shown
}

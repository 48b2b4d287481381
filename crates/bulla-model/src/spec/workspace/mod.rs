//! The workspace: `bulla.workspace.yaml`, which names the projects of a repository and what holds for all of them.
//!
//! A setting is inherited by each member, and is a bound at the same time: a member may be stricter, and looser only where
//! the workspace waives it, with a reason and a last day. Reading goes in two steps, as that of a spec does; what is
//! inherited is put in while a member's spec is evaluated ([`Spec::parse_member`](super::Spec::parse_member)).

mod evaluate;
mod member;
mod reference;
mod setting;
mod store;
pub(super) mod written;

use std::collections::BTreeMap;

pub use self::{
    member::{MemberKind, MemberPattern, Members, folder_name},
    setting::Setting,
    store::{StorePlace, StorePlaceError, WorkspaceStore, is_branch},
};
use super::{Glob, OnRefusal, Position, Release, SpecErrors, evaluate::File};
use crate::{path::CleanPath, time::Epoch, yaml::Document};

/// The name of the file.
pub const WORKSPACE_FILE: &str = "bulla.workspace.yaml";

/// A day in seconds.
const DAY: u64 = 86_400;

/// What a `bulla.workspace.yaml` means.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// What errors call the file.
    pub file: String,
    /// Which folders are members.
    pub members: Members,
    /// The waivers, in the order of the file.
    pub waivers: Vec<Waiver>,
    /// The remote store that it asks for.
    pub store: Option<WorkspaceStore>,
    pub(super) settings: Settings,
}

/// What members inherit; what is `None` is left to them.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    pub(super) epoch: Option<Epoch>,
    pub(super) on_refusal: Option<Bound<OnRefusal>>,
    pub(super) memory: Option<Bound<u64>>,
    pub(super) time: Option<Bound<std::time::Duration>>,
    pub(super) processes: Option<Bound<u32>>,
    pub(super) disk: Option<Bound<u64>>,
    /// The releases of Debian that may be used, by codename, each with its suites and components.
    pub(super) debian: Option<Bound<BTreeMap<String, Release>>>,
    /// The images of registries that may be started from, by name without a tag.
    pub(super) images: Option<Bound<Vec<Glob>>>,
    /// What no member may do.
    pub(super) forbid: BTreeMap<Setting, Position>,
}

/// A value that may not be gone beyond.
#[derive(Debug, Clone)]
pub(super) struct Bound<T> {
    pub(super) value: T,
    /// As it was written.
    pub(super) text: String,
    pub(super) at: Position,
}

/// The leave for one member to be looser in one setting, until a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiver {
    /// The member's folder; `None` is the workspace's own.
    pub member: Option<CleanPath>,
    /// What is waived.
    pub setting: Setting,
    /// Why.
    pub reason: String,
    /// The last day on which it holds, in UTC: its first second.
    pub until: Epoch,
    /// Where it stands in the file.
    pub at: Position,
}

impl Waiver {
    /// Says whether the last day is over.
    pub fn is_over(&self, now: Epoch) -> bool {
        now.seconds() >= self.until.seconds() + DAY
    }

    /// Gives the last day as `2026-12-31`.
    pub fn last_day(&self) -> String {
        self.until.rfc3339().chars().take(10).collect()
    }
}

/// What one member has of its workspace, on a day.
#[derive(Debug, Clone, Copy)]
pub struct Inherited<'w> {
    /// The workspace.
    pub workspace: &'w Workspace,
    /// The member's folder in it; `None` is the workspace's own.
    pub member: Option<&'w CleanPath>,
    /// The time of asking. It decides whether a waiver still holds, so whether a spec is good, and never what it means.
    pub now: Epoch,
}

impl<'w> Inherited<'w> {
    /// Gives the waivers of the member.
    pub fn waivers(&self) -> impl Iterator<Item = &'w Waiver> + use<'w> {
        let member = self.member;
        self.workspace.waivers.iter().filter(move |waiver| waiver.member.as_ref() == member)
    }
}

impl Workspace {
    /// Reads a workspace. `name` is what errors call the file.
    ///
    /// # Errors
    /// All the mistakes that were found.
    pub fn parse(name: &str, text: &str) -> Result<Self, SpecErrors> {
        let file = File::new(name, text);
        let keys = Document::parse(text).map_err(|problem| vec![*problem]).and_then(|document| document.read());
        keys.and_then(|keys| evaluate::workspace(&file, &keys)).map_err(|problems| file.errors(problems))
    }

    /// Does as [`Workspace::parse`] for the bytes of a file.
    ///
    /// # Errors
    /// As [`Workspace::parse`], and when the bytes are not UTF-8.
    pub fn parse_bytes(name: &str, bytes: &[u8]) -> Result<Self, SpecErrors> {
        super::evaluate::text_of(name, bytes).and_then(|text| Self::parse(name, text))
    }

    /// Gives the JSON schema (draft 2020-12) of `bulla.workspace.yaml`, as text that ends with a line feed.
    pub fn json_schema() -> String {
        super::schema::text_of::<written::WorkspaceKeys>()
    }
}

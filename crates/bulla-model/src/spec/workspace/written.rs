//! The keys of `bulla.workspace.yaml`. The JSON schema and `docs/workspace.md` are made from the types and comments here.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Setting,
    member::MemberKind,
    store::{StorePlace, is_branch},
};
use crate::{
    path::CleanPath,
    spec::{
        Glob,
        written::{
            Codename, Component, FormatNumber, LimitKeys, Map, Moment, OnRefusalWord, Reason, Scalar, Suite, scalars,
        },
    },
    time::Epoch,
    yaml::{At, nearest},
};

/// A whole `bulla.workspace.yaml`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "the keys of a workspace")]
#[schemars(title = "bulla.workspace.yaml", rename = "Workspace")]
pub(in crate::spec) struct WorkspaceKeys {
    /// The version of this format: always `1`.
    #[schemars(extend("x-example" = "bulla: 1"))]
    #[expect(dead_code, reason = "reading it is what checks it")]
    pub(in crate::spec) bulla: FormatNumber,
    /// The members: folders of the workspace that have a `bulla.yaml`, and patterns for such folders, in which `*`, `?` and
    /// `[a-z]` match within a name and `**` matches any number of names. `.` is the workspace's own folder. A folder
    /// without a `bulla.yaml` that a pattern matches is no member; symbolic links are not followed.
    #[schemars(extend("x-example" = "members: [services/*, tools/builder]"))]
    pub(in crate::spec) members: At<Vec<At<MemberText>>>,
    /// Folders that no pattern of `members` means, with all beneath them.
    #[schemars(extend("x-example" = "ignore: [services/old-*]"))]
    #[serde(default)]
    pub(in crate::spec) ignore: Vec<At<Glob>>,
    /// What every member inherits. A member may be stricter, and looser where the workspace waives it.
    #[schemars(extend("x-example" = "settings:\n  on-refusal: fail\n  limits: {memory: 4GiB}\n  forbid: [root-user]"))]
    #[serde(default)]
    pub(in crate::spec) settings: SettingKeys,
    /// Where a member may be looser, why, and for how long.
    #[schemars(extend("x-example" = "waivers:\n  - member: services/legacy\n    setting: root-user\n    reason: it binds port 80 until the proxy is there\n    until: 2026-12-31"))]
    #[serde(default)]
    pub(in crate::spec) waivers: Vec<At<WaiverKeys>>,
    /// The remote store in which inputs and results are kept, for members whose builders permit it in their own configuration. Until
    /// they do, nothing is asked of it, and a line says what to write there. A `remote` of the configuration holds over it.
    #[schemars(extend("x-example" = "store: {remote: oci://registry.example/team/bulla, write-from: [main]}"))]
    #[serde(default)]
    pub(in crate::spec) store: Option<StoreKeys>,
}

/// A store that outlives the machine.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    expecting = "a map such as `{remote: oci://registry.example/team/bulla}`"
)]
#[schemars(rename = "WorkspaceStore")]
pub(in crate::spec) struct StoreKeys {
    /// Where it is: a repository of a registry, or a folder as `file:///PATH`.
    #[schemars(extend("x-example" = "remote: oci://registry.example/team/bulla"))]
    pub(in crate::spec) remote: At<PlaceText>,
    /// The branches from which it is written; `*` is any. It is written from those alone that the configuration of who builds
    /// names too. By default those that the configuration names.
    #[schemars(extend("x-example" = "write-from: [main]"))]
    #[serde(default)]
    pub(in crate::spec) write_from: Option<At<Vec<At<Branch>>>>,
}

/// What every member inherits: it is as if the spec said it, and what the spec says itself may only be stricter.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "the settings that members inherit")]
#[schemars(rename = "Settings")]
pub(in crate::spec) struct SettingKeys {
    /// The epoch of members that say none. A member may say another one: none is stricter.
    #[schemars(extend("x-example" = "epoch: 2026-01-02T03:04:05Z"))]
    #[serde(default)]
    pub(in crate::spec) epoch: Option<At<Moment>>,
    /// What happens in every stage when a step is refused something. `stop` and `fail` are stricter than `record`, and neither
    /// is stricter than the other.
    #[schemars(extend("x-example" = "on-refusal: fail"))]
    #[serde(default)]
    pub(in crate::spec) on_refusal: Option<At<OnRefusalWord>>,
    /// What each step of a stage may use at most. Less is stricter.
    #[schemars(extend("x-example" = "limits: {memory: 4GiB, time: 30m}"))]
    #[serde(default)]
    pub(in crate::spec) limits: Option<At<LimitKeys>>,
    /// The only releases of Debian that packages and sources may come from, each with the suites and components that a member
    /// has where it names none, and the only ones that it may name: without them, the usual ones. Fewer are stricter.
    #[schemars(extend("x-example" = "debian:\n  trixie: {suites: [trixie, trixie-security]}\n  bookworm: {}"))]
    #[serde(default)]
    pub(in crate::spec) debian: Option<At<Map<Codename, ReleaseKeys>>>,
    /// The only images of registries that stages and images may start from: patterns for `HOST/REPOSITORY`. A pattern that
    /// matches the beginning matches all beneath it. An empty list is none at all.
    #[schemars(extend("x-example" = "images: [registry.example/base]"))]
    #[serde(default)]
    pub(in crate::spec) images: Option<At<Vec<At<Glob>>>>,
    /// Words of a spec that no member may use: `root-user`, `toolchain`, `setuid`, `capabilities` (of `image.allow`), `unsigned` (of a source),
    /// `scripts` (that run for an image), `fake-identity` (of a stage).
    #[schemars(extend("x-example" = "forbid: [root-user, unsigned]"))]
    #[serde(default)]
    pub(in crate::spec) forbid: Vec<At<ForbidWord>>,
}

/// What of a release of Debian may be used.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as `{}` or `{suites: [trixie, trixie-security]}`")]
#[schemars(rename = "AllowedRelease")]
pub(in crate::spec) struct ReleaseKeys {
    /// The suites: by default the release, its `-updates` and its `-security`.
    #[schemars(extend("x-example" = "suites: [trixie, trixie-security]"))]
    #[serde(default)]
    pub(in crate::spec) suites: Option<At<Vec<At<Suite>>>>,
    /// The components: by default `main`.
    #[schemars(extend("x-example" = "components: [main, contrib]"))]
    #[serde(default)]
    pub(in crate::spec) components: Option<At<Vec<At<Component>>>>,
}

/// The leave for a member to be looser in one setting. When its last day is over, the member's looser word is a mistake.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "the keys of a waiver")]
#[schemars(rename = "Waiver")]
pub(in crate::spec) struct WaiverKeys {
    /// The folder of the member.
    #[schemars(extend("x-example" = "member: services/legacy"))]
    pub(in crate::spec) member: At<MemberFolder>,
    /// What is waived.
    #[schemars(extend("x-example" = "setting: limits.memory"))]
    pub(in crate::spec) setting: At<SettingWord>,
    /// Why, in some words. It is shown with each build that needs it.
    #[schemars(extend("x-example" = "reason: the linker needs more until it is split"))]
    pub(in crate::spec) reason: At<WaiverReason>,
    /// The last day on which it holds, in UTC.
    #[schemars(extend("x-example" = "until: 2026-12-31"))]
    pub(in crate::spec) until: At<Day>,
}

scalars!(MemberText, MemberFolder, ForbidWord, SettingWord, WaiverReason, Day, PlaceText, Branch);

/// Makes the error of a scalar.
fn wrong<T>(message: impl std::fmt::Display, help: impl std::fmt::Display) -> Result<T, String> {
    Err(format!("{message}\n{help}"))
}

/// Reads a folder of the workspace. One with white space could not stand in lines that have more than it.
fn folder(text: &str) -> Result<Option<CleanPath>, String> {
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return wrong(
            format_args!("`{text}` has white space in it, which no member's folder can have"),
            "rename the folder",
        );
    }
    match CleanPath::from_archive(text.as_bytes()) {
        Ok(path) => Ok(path),
        Err(_) if text.starts_with('/') || text.split('/').any(|part| part == "..") => wrong(
            format_args!("`{text}` leads out of the workspace"),
            "a member lies beneath the folder of bulla.workspace.yaml; put that further up",
        ),
        Err(_) => wrong(format_args!("`{text}` is not a folder"), "write a relative path, such as `services/shop`"),
    }
}

/// A folder, or a pattern for folders.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::spec) struct MemberText(pub(in crate::spec) MemberKind);

impl Scalar for MemberText {
    const NAME: &'static str = "Member";
    const ABOUT: &'static str =
        "A folder relative to the workspace, without `..`, or a pattern for folders: `services/*`";

    fn read(text: &str) -> Result<Self, String> {
        let folder = folder(text)?;
        if !text.contains(['*', '?', '[']) {
            return Ok(Self(MemberKind::Folder(folder)));
        }
        let text = text.strip_prefix("./").unwrap_or(text);
        match Glob::parse(text) {
            Ok(glob) => Ok(Self(MemberKind::Pattern(glob))),
            Err(error) => wrong(format_args!("`{text}` is not a pattern for folders"), error),
        }
    }
}

/// The folder of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::spec) struct MemberFolder(pub(in crate::spec) Option<CleanPath>);

impl Scalar for MemberFolder {
    const NAME: &'static str = "MemberFolder";
    const ABOUT: &'static str = "The folder of one member, relative to the workspace; `.` is the workspace's own";

    fn read(text: &str) -> Result<Self, String> {
        folder(text).map(Self)
    }
}

/// Finds a setting by its name.
fn setting(text: &str, among: &[Setting]) -> Result<Setting, String> {
    let words: Vec<&str> = among.iter().map(|setting| setting.word()).collect();
    let found = among.iter().copied().find(|setting| setting.word() == text);
    found.ok_or_else(|| {
        let near = nearest(text, words.iter().copied()).map(|near| format!("did you mean `{near}`?"));
        format!("`{text}` is not one of them\n{}", near.unwrap_or_else(|| format!("write one of {}", words.join(", "))))
    })
}

/// A word that can be forbidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::spec) struct ForbidWord(pub(in crate::spec) Setting);

impl Scalar for ForbidWord {
    const NAME: &'static str = "ForbiddenWord";
    const ABOUT: &'static str =
        "`root-user`, `toolchain`, `setuid`, `capabilities`, `unsigned`, `scripts` or `fake-identity`";
    const PATTERN: Option<&'static str> =
        Some("^(root-user|toolchain|setuid|capabilities|unsigned|scripts|fake-identity)$");

    fn read(text: &str) -> Result<Self, String> {
        setting(text, &Setting::FORBIDDABLE).map(Self)
    }
}

/// The name of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::spec) struct SettingWord(pub(in crate::spec) Setting);

impl Scalar for SettingWord {
    const NAME: &'static str = "Setting";
    const ABOUT: &'static str = "`on-refusal`, `limits.memory`, `limits.time`, `limits.processes`, `limits.disk`, `debian`, \
                                 `images`, or a word that `forbid` can have";
    const PATTERN: Option<&'static str> = Some(
        r"^(on-refusal|limits\.(memory|time|processes|disk)|debian|images|root-user|toolchain|setuid|capabilities|unsigned|scripts|fake-identity)$",
    );

    fn read(text: &str) -> Result<Self, String> {
        setting(text, &Setting::ALL).map(Self)
    }
}

/// Why something is waived.
#[derive(Debug, Clone)]
pub(in crate::spec) struct WaiverReason(pub(in crate::spec) String);

impl Scalar for WaiverReason {
    const NAME: &'static str = "WaiverReason";
    const ABOUT: &'static str = "Why a member may be looser, in some words";
    const PATTERN: Option<&'static str> = Reason::PATTERN;

    fn read(text: &str) -> Result<Self, String> {
        let reason = Reason::read(text).map(|reason| Self(reason.0));
        reason.map_err(|_| format!("`{text}` is no reason\nsay in some words why the member has to be looser"))
    }
}

/// A day.
#[derive(Debug, Clone, Copy)]
pub(in crate::spec) struct Day(pub(in crate::spec) Epoch);

impl Scalar for Day {
    const NAME: &'static str = "Day";
    const ABOUT: &'static str = "A day: `2026-12-31`";
    const PATTERN: Option<&'static str> = Some("^[0-9]{4}-[0-9]{2}-[0-9]{2}$");
    const LOOKS_LIKE_A_NUMBER: bool = true;

    fn read(text: &str) -> Result<Self, String> {
        let day = Some(text).filter(|text| text.len() == 10).and_then(|text| text.parse().ok());
        day.map_or_else(
            || wrong(format_args!("`{text}` is not a day"), "write it as `2026-12-31`"),
            |day| Ok(Self(day)),
        )
    }
}

/// The place of a remote store.
#[derive(Debug, Clone)]
pub(in crate::spec) struct PlaceText(pub(in crate::spec) StorePlace);

impl Scalar for PlaceText {
    const NAME: &'static str = "StorePlace";
    const ABOUT: &'static str = "The place of a remote store: `oci://HOST/NAME` or `file:///PATH`";
    const PATTERN: Option<&'static str> = Some("^(oci://[^/]+/.+|file:///.+)$");

    fn read(text: &str) -> Result<Self, String> {
        let place = text.parse().map(Self);
        place.map_err(|error| format!("{error}\nwrite `oci://HOST/NAME` or `file:///PATH`"))
    }
}

/// A branch, or any.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::spec) struct Branch(pub(in crate::spec) String);

impl Scalar for Branch {
    const NAME: &'static str = "Branch";
    const ABOUT: &'static str = "The whole name of a branch, or `*` for any";
    const PATTERN: Option<&'static str> = Some(r"^(\*|[^*]+)$");

    fn read(text: &str) -> Result<Self, String> {
        match is_branch(text) {
            true => Ok(Self(text.to_owned())),
            false => wrong(format_args!("`{text}` is no branch"), "write the whole name of a branch, or `*` for any"),
        }
    }
}

//! Stages: a root filesystem and the steps that run on it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::Serialize;

use super::{AbsolutePath, Debian, Glob, Name, Position, Release, StepSecret};
use crate::{ecosystem::Ecosystem, oci::BaseReference, path::CleanPath, platform::Platform, tree::Owner};

/// A named root filesystem and the commands run on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stage {
    /// What it starts from.
    pub base: StageBase,
    /// On which platform its steps run, and for which.
    #[serde(skip_serializing_if = "StagePlatform::is_build")]
    pub platform: StagePlatform,
    /// Where steps run: by default what the continued stage has, else the only source.
    pub workdir: AbsolutePath,
    /// The environment of every step, beside the params; that of a continued stage is already in it.
    pub env: BTreeMap<String, String>,
    /// What is brought in from other stages before the first step.
    pub copy: Vec<StageCopy>,
    /// The lock files whose packages steps find, and the projects whose dependencies are observed; those of a continued stage are already in it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub dependencies: BTreeMap<Ecosystem, Vec<Dependency>>,
    /// The steps, in their order.
    pub steps: Vec<Step>,
    /// What other stages and the image may take, by name.
    pub outputs: BTreeMap<Name, CleanPath>,
    /// Who owns what the steps made: a path and all beneath it; the longest path counts. The rest is root's.
    pub owners: BTreeMap<AbsolutePath, Owner>,
    /// What is written anew of its outputs: a file, or the archives of a format in a folder.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub normalise: BTreeMap<AbsolutePath, Normaliser>,
    /// The folders that each step finds as it left them when it ran last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cache: Vec<CleanPath>,
    /// Why locked builds use them too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locked_cache: Option<String>,
    /// Why locked builds use what was observed, where some dependencies have no other pins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locked_observed: Option<String>,
    /// What calls that change the process's user do.
    pub identity: Identity,
    /// What a step may use.
    pub limits: Limits,
    /// What happens when a step was refused something.
    pub on_refusal: OnRefusal,
    /// Where it stands in the spec.
    #[serde(skip)]
    pub at: Position,
}

impl Stage {
    /// Says whether some of its dependencies have no pins but observed ones.
    pub fn is_observed(&self) -> bool {
        self.observed().next().is_some()
    }

    /// Gives the ecosystems of those.
    pub fn observed(&self) -> impl Iterator<Item = Ecosystem> {
        observed(&self.dependencies)
    }

    /// Gives the stages that must be done before this one; a stage may come more than once.
    pub fn needs(&self) -> impl Iterator<Item = &Name> {
        let base = match &self.base {
            StageBase::Stage(name) => Some(name),
            StageBase::Debian(_) | StageBase::Image(_) => None,
        };
        base.into_iter().chain(self.copy.iter().map(|copy| &copy.from.stage))
    }
}

/// Gives the ecosystems of which some dependencies have no pins but observed ones.
pub fn observed(dependencies: &BTreeMap<Ecosystem, Vec<Dependency>>) -> impl Iterator<Item = Ecosystem> {
    let is = |(ecosystem, all): &(&Ecosystem, &Vec<Dependency>)| all.iter().any(|one| one.is_observed(**ecosystem));
    dependencies.iter().filter(is).map(|(ecosystem, _)| *ecosystem)
}

/// On which platform the steps of a stage run, and for which.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StagePlatform {
    /// On that of the machine that builds; what it makes is the same for every platform of the image.
    #[default]
    Build,
    /// On that of the machine that builds, once for each platform of the image.
    Cross,
    /// On each platform of the image, emulated where it is not the machine's own.
    Target,
}

impl StagePlatform {
    /// Says whether it is the same for every platform of the image.
    pub fn is_build(&self) -> bool {
        *self == Self::Build
    }

    /// Gives the platform whose programs run in the stage when an image is made for a platform.
    pub const fn native(self, target: Platform) -> Platform {
        match self {
            Self::Build | Self::Cross => Platform::BUILD,
            Self::Target => target,
        }
    }
}

/// What a stage starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StageBase {
    /// Packages of Debian.
    Debian(Debian),
    /// The layers of an image of a registry or layout.
    Image(BaseReference),
    /// Where another stage ended.
    Stage(Name),
}

/// An output of a stage, written `STAGE.OUTPUT`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct OutputRef {
    /// The stage.
    pub stage: Name,
    /// The output's name in it.
    pub output: Name,
}

impl std::fmt::Display for OutputRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.stage, self.output)
    }
}

/// An output of another stage that is brought in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StageCopy {
    /// What is copied.
    pub from: OutputRef,
    /// The path that it has then; not the folder it goes into.
    pub to: AbsolutePath,
}

/// What a stage depends on, beside the packages that it starts from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Dependency {
    /// What names the packages.
    #[serde(flatten)]
    pub named: Named,
    /// What becomes of the scripts of its packages.
    #[serde(skip_serializing_if = "InstallScripts::is_run")]
    pub scripts: InstallScripts,
    /// What says which packages building from source takes.
    #[serde(skip_serializing_if = "BuildDependencies::is_locked")]
    pub build: BuildDependencies,
}

impl Dependency {
    /// Says whether something of it has no pins but observed ones.
    pub fn is_observed(&self, ecosystem: Ecosystem) -> bool {
        ecosystem.is_observed() || !self.build.is_locked()
    }
}

/// What says which packages building others from source takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BuildDependencies {
    /// Lock files, as of all others.
    #[default]
    Locked,
    /// What was observed of the stage.
    Observed,
}

impl BuildDependencies {
    /// Says whether lock files have them.
    pub const fn is_locked(&self) -> bool {
        matches!(self, Self::Locked)
    }
}

/// What names packages that a stage depends on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum Named {
    /// A native lock file, or a project that is observed.
    File {
        /// The source that it lies in.
        source: Name,
        /// Where, relative to the source's top.
        file: CleanPath,
    },
    /// A release of Debian, of which steps choose packages.
    Release(Release),
}

/// What becomes of the scripts that packages have run when they are installed.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstallScripts {
    /// They run, in the sandbox of the step.
    #[default]
    Run,
    /// They do not run.
    Deny {
        /// Those packages whose scripts run all the same, as the lock file names them.
        allow: BTreeSet<String>,
    },
}

impl InstallScripts {
    /// Says whether all scripts run.
    pub const fn is_run(&self) -> bool {
        matches!(self, Self::Run)
    }
}

impl std::fmt::Display for Dependency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.named {
            Named::File { source, file } => write!(f, "/src/{source}/{file}"),
            Named::Release(release) => write!(f, "apt of {}", release.codename),
        }
    }
}

/// One command of a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The name to show for it, where one is given.
    pub name: Option<String>,
    /// What runs.
    pub run: Command,
    /// The only files of the sources that the step sees; `None` is all. A step runs again only when these change.
    pub sees: Option<Vec<Seen>>,
    /// The environment of this step alone, on top of the stage's.
    pub env: BTreeMap<String, String>,
    /// The secrets that this step alone is given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<StepSecret>,
    /// Where it stands in the spec.
    #[serde(skip)]
    pub at: Position,
}

/// What a step runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// A text for `/bin/sh -eu -c`.
    Shell(String),
    /// A program and its arguments; no shell.
    Arguments(Vec<String>),
}

impl Command {
    /// Gives the arguments to execute.
    pub fn argv(&self) -> Vec<String> {
        match self {
            Self::Shell(text) => ["/bin/sh", "-eu", "-c", text].map(str::to_owned).to_vec(),
            Self::Arguments(list) => list.clone(),
        }
    }
}

impl std::fmt::Display for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Shell(text) => f.write_str(text.trim_end()),
            Self::Arguments(list) => f.write_str(&list.join(" ")),
        }
    }
}

/// Files of one source that a step sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// The source.
    pub source: Name,
    /// Which files of it, relative to the source; `None` is all of them.
    pub files: Option<Glob>,
}

/// How an archive of an output is written anew, without what differs from one run to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Normaliser {
    /// What it is.
    #[serde(rename = "as")]
    pub format: ArchiveFormat,
    /// Why what makes it cannot do so itself.
    pub reason: String,
}

/// The format of an archive that can be written anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ArchiveFormat {
    /// zip, and what is built on it: jar, wheel (PKWARE's APPNOTE).
    Zip,
    /// gzip (RFC 1952).
    Gzip,
    /// ar, of which static libraries are (deb(5) and ar(5) describe it).
    Ar,
}

impl std::fmt::Display for ArchiveFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Zip => "zip",
            Self::Gzip => "gzip",
            Self::Ar => "ar",
        })
    }
}

/// What calls that change the process's user or group do in a stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Identity {
    /// They fail, for a stage has one user.
    #[default]
    Real,
    /// They are answered with success and change nothing.
    Fake,
}

/// What a step may use at most; `None` is what the host's configuration says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// Time on the wall.
    pub time: Option<Duration>,
    /// Processes and threads at once.
    pub processes: Option<u32>,
    /// Bytes written.
    pub disk: Option<u64>,
}

/// What happens when a step tried something and was not given it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnRefusal {
    /// The step is ended at once, and the build fails.
    Stop,
    /// It is recorded and shown, and the step goes on.
    #[default]
    Record,
    /// The step goes on to its end, and then the build fails.
    Fail,
}

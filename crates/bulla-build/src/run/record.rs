//! Actions and their results, as the store keeps them.
//!
//! An [`Action`] holds all its inputs by digest, and its own digest is the key of its result. A result that the store
//! cannot authenticate, or whose trees are gone, is a miss.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use bulla_ecosystems::dependencies::Script;
use bulla_model::{CleanPath, Digest, Epoch};
use bulla_sandbox::{Executed, Isolation, Refusal, RefusalKind, Rung, Usage};
use bulla_store::Store;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::secret::Secrets;

/// What affects the result of an action beside its inputs: raised when unpacking, the sandbox's surroundings or the
/// reading of upper directories change.
pub const FORMAT: u32 = 1;

/// Something that is done once for the same inputs.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub(crate) enum Action<'a> {
    /// Unpacking one package.
    Unpack {
        /// [`FORMAT`].
        format: u32,
        /// The `.deb`.
        package: Digest,
    },
    /// Unpacking an image of a registry.
    Base {
        /// [`FORMAT`].
        format: u32,
        /// The manifest.
        manifest: Digest,
    },
    /// Following a path through the links of an image of a registry.
    Through {
        /// [`FORMAT`].
        format: u32,
        /// The manifest.
        manifest: Digest,
        /// The path.
        to: &'a str,
    },
    /// Unpacking a source that does not lie in the project.
    Source {
        /// [`FORMAT`].
        format: u32,
        /// What it is made of, and what of it is taken.
        source: &'a bulla_model::plan::PlannedSource,
    },
    /// Putting packages together and running their maintainer scripts.
    Root {
        /// [`FORMAT`].
        format: u32,
        /// How they are configured.
        driver: Digest,
        /// The `.deb`s, sorted.
        packages: &'a [Digest],
        /// The package of the emulator that scripts run under, where they do.
        #[serde(skip_serializing_if = "Option::is_none")]
        emulator: Option<Digest>,
        /// `SOURCE_DATE_EPOCH`, and the latest time of what scripts make.
        epoch: Epoch,
    },
    /// Running a step.
    Step {
        /// [`FORMAT`].
        format: u32,
        /// The layers that it runs on, the lowest first: the root's, then each delta.
        layers: &'a [Digest],
        /// The sources that it sees, by the path that they have.
        sources: &'a BTreeMap<String, Digest>,
        /// What is executed.
        argv: &'a [String],
        /// The whole environment.
        env: &'a BTreeMap<String, String>,
        /// Where it runs.
        workdir: &'a str,
        /// What calls that change the user do.
        identity: bulla_model::spec::Identity,
        /// The package of the emulator that it runs under, where it does.
        #[serde(skip_serializing_if = "Option::is_none")]
        emulator: Option<Digest>,
        /// The latest time of what it makes.
        epoch: Epoch,
        /// The secrets that it is given: names and places. Their values decide nothing.
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        secrets: &'a [bulla_model::spec::StepSecret],
        /// What its lock files pin, by where they are.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        dependencies: &'a BTreeMap<String, Digest>,
        /// Its caches, by the digests of [`Action::Cache`]. What is in them is not among the inputs, which taints the result; whose
        /// they are is, so that nobody gets what came of a stranger's.
        #[serde(skip_serializing_if = "<[Digest]>::is_empty")]
        caches: &'a [Digest],
    },
    /// A cache of a step: all that the step is but the sources and what earlier steps changed.
    Cache {
        /// [`FORMAT`].
        format: u32,
        /// The folder of the project.
        project: &'a str,
        /// The stage.
        stage: &'a str,
        /// The path that it has.
        path: &'a str,
        /// The action that made the root.
        root: Digest,
        /// What is executed.
        argv: &'a [String],
        /// The whole environment.
        env: &'a BTreeMap<String, String>,
        /// Where it runs.
        workdir: &'a str,
        /// What calls that change the user do.
        identity: bulla_model::spec::Identity,
    },
    /// Taking a directory out of the layers that a stage ended with.
    Output {
        /// [`FORMAT`].
        format: u32,
        /// The layers, the lowest first.
        layers: &'a [Digest],
        /// The sources that the stage saw.
        sources: &'a BTreeMap<String, Digest>,
        /// The path.
        path: &'a str,
        /// Who owns what.
        owners: &'a BTreeMap<String, bulla_model::tree::Owner>,
        /// What is written anew.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        normalise: &'a BTreeMap<String, bulla_model::spec::ArchiveFormat>,
    },
    /// Putting an output at a path of another stage.
    Place {
        /// [`FORMAT`].
        format: u32,
        /// The output's tree.
        output: Digest,
        /// Whether it is a single file.
        single: bool,
        /// The directory's own mode.
        mode: u32,
        /// The path.
        to: &'a str,
        /// The time of its files.
        epoch: Epoch,
    },
    /// Merging deltas into one.
    Merge {
        /// [`FORMAT`].
        format: u32,
        /// The deltas, the lowest first.
        deltas: &'a [Digest],
        /// The time of the files.
        epoch: Epoch,
    },
    /// Finding out which bytes a hash of a lock file stands for.
    Pin {
        /// [`FORMAT`].
        format: u32,
        /// The hash, as the lock file has it.
        hash: &'a str,
    },
    /// Asking a registry where the files of one package are.
    Page {
        /// [`FORMAT`].
        format: u32,
        /// The kind of packages.
        ecosystem: bulla_model::Ecosystem,
        /// The package.
        name: &'a str,
        /// What was asked for: a path of the registry, or an address.
        place: &'a str,
        /// What the lock file says of the package's files.
        hashes: &'a [String],
    },
    /// Unpacking a package of a lock file for a folder.
    Folder {
        /// [`FORMAT`].
        format: u32,
        /// The kind of packages.
        ecosystem: bulla_model::Ecosystem,
        /// Its name.
        name: &'a str,
        /// Its version.
        version: &'a str,
        /// Its bytes.
        package: Digest,
        /// The time of its files, in seconds since 1970.
        time: u64,
    },
    /// Saying who owns what in an image.
    Ownership {
        /// The number of the document's form.
        format: u32,
        /// The image's manifest.
        manifest: &'a Digest,
        /// What its steps were made from.
        materials: &'a [String],
    },
    /// Finding that by the image alone: the newest that this store made.
    OwnershipOf {
        /// The number of the document's form.
        format: u32,
        /// The image's manifest.
        manifest: &'a Digest,
    },
    /// Putting an image together.
    Image {
        /// [`FORMAT`].
        format: u32,
        /// The project's name.
        name: &'a str,
        /// The platform, where it is not that of the machine that builds.
        #[serde(skip_serializing_if = "bulla_model::Platform::is_build")]
        platform: bulla_model::Platform,
        /// The image as the spec has it.
        image: &'a serde_json::Value,
        /// The `.deb`s, sorted.
        packages: &'a [Digest],
        /// The manifest of the image below.
        #[serde(skip_serializing_if = "Option::is_none")]
        base: Option<Digest>,
        /// What is copied, in order.
        copies: &'a [String],
        /// The image's time.
        epoch: Epoch,
    },
}

impl Action<'_> {
    /// Gives the digest of the canonical JSON of the action.
    pub(crate) fn digest(&self) -> Digest {
        Digest::of(serde_json::to_vec(self).expect("an action has no key that JSON cannot have"))
    }
}

/// What came of a run in the sandbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunResult {
    /// What it changed, as a delta tree.
    pub delta: Digest,
    /// What it wrote on standard output and standard error.
    pub log: Digest,
    /// What was seen and enforced.
    pub record: RunRecord,
}

/// What was seen of a run, and what was enforced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// What it tried and was not given.
    pub refusals: Vec<Refused>,
    /// Refusals beyond those in the list.
    pub refusals_dropped: u64,
    /// The programs that it started; best effort.
    pub executed: Vec<Program>,
    /// Programs beyond those in the list.
    pub executed_dropped: u64,
    /// What it used up.
    pub usage: Used,
    /// What was enforced.
    pub isolation: Enforced,
    /// Sockets, FIFOs and the like in what it made, which no tree can hold.
    pub dropped: Vec<String>,
    /// The capabilities that it gave to files, as `getcap` writes them. Only a spec gives any: no tree holds them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub capabilities: BTreeMap<CleanPath, String>,
    /// The packages of lock files that it asked for and was given, by package URL, with their SHA-256. With [`Self::laid`] its materials.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pulled: BTreeMap<String, Digest>,
    /// The packages of lock files that lay in folders which it could read, in the same way. Which of them it read is not observed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub laid: BTreeMap<String, Digest>,
    /// The registries whose answers were pinned when the step was observed, by no lock file.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub observed: BTreeSet<String>,
    /// The scripts of packages that ran and that were denied, where its stage denies some; best effort, as [`Self::executed`] is.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub scripts: BTreeSet<Script>,
    /// The caches that it had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caches: Vec<CacheUse>,
}

impl RunRecord {
    /// Says whether it found something in a cache, so that what came of it does not follow from its inputs alone.
    pub fn read_a_cache(&self) -> bool {
        self.caches.iter().any(|cache| cache.found)
    }
}

/// A cache that a run had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheUse {
    /// The path that it had.
    pub path: String,
    /// Whether anything was kept there by an earlier run.
    pub found: bool,
}

/// A refusal, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// `connect`, `send`, `lookup`, or `request` for what was asked of the locked repository.
    pub kind: String,
    /// The address and port, or the name.
    pub target: String,
    /// The program that tried.
    pub executable: String,
    /// Its words.
    pub command_line: String,
    /// How often.
    pub times: u64,
    /// What is to be done about it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind, self.target)
    }
}

/// A program that was started, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The path that was asked for.
    pub executable: String,
    /// The words.
    pub argv: Vec<String>,
    /// How often the same.
    pub times: u64,
}

/// What a run used up, as it is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// Processor time in milliseconds.
    pub cpu_ms: u64,
    /// Time on the wall in milliseconds.
    pub wall_ms: u64,
    /// The largest resident size of one process in bytes.
    pub max_rss: u64,
    /// Bytes of output.
    pub output: u64,
    /// Bytes of output that were dropped.
    pub output_dropped: u64,
}

/// What was enforced during a run, as it is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enforced {
    /// The namespaces that were new.
    pub namespaces: Vec<String>,
    /// The digest of the system-call filter.
    pub filter: String,
    /// How limits were enforced: `cgroup-v2`, `cgroup-v1`, `rlimits`.
    pub limits: String,
    /// Whether the root was an overlay, or else a copy.
    pub overlay: bool,
    /// The capabilities inside the user namespace.
    pub capabilities: u64,
    /// The machine that was emulated, where one was: `aarch64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emulated: Option<String>,
}

impl RunRecord {
    /// Hides values of secrets in all that came from the command.
    pub(crate) fn masked(mut self, secrets: &Secrets) -> Self {
        let mask = |text: &mut String| {
            if let Cow::Owned(masked) = secrets.masked(text) {
                *text = masked;
            }
        };
        for program in &mut self.executed {
            mask(&mut program.executable);
            program.argv.iter_mut().for_each(mask);
        }
        self.dropped.iter_mut().for_each(mask);
        let masked = |mut script: Script| {
            [&mut script.place, &mut script.event, &mut script.command].into_iter().for_each(mask);
            script
        };
        self.scripts = self.scripts.into_iter().map(masked).collect();
        self.refusals = self.refusals.into_iter().map(|refused| refused.masked(secrets)).collect();
        self
    }
}

impl Refused {
    /// Hides values of secrets in it.
    pub(crate) fn masked(self, secrets: &Secrets) -> Self {
        let mask = |text: String| secrets.masked(&text).into_owned();
        let Self { kind, target, executable, command_line, times, advice } = self;
        let (executable, command_line) = (mask(executable), mask(command_line));
        Self { kind, target: mask(target), executable, command_line, times, advice: advice.map(mask) }
    }
}

fn ms(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl From<&Refusal> for Refused {
    fn from(refusal: &Refusal) -> Self {
        let kind = match refusal.kind {
            RefusalKind::Connect => "connect",
            RefusalKind::Send => "send",
            RefusalKind::Lookup => "lookup",
        };
        Self {
            kind: kind.to_owned(),
            target: refusal.target.clone(),
            executable: refusal.executable.clone(),
            command_line: refusal.command_line.clone(),
            times: refusal.times,
            advice: None,
        }
    }
}

impl From<&Executed> for Program {
    fn from(executed: &Executed) -> Self {
        Self { executable: executed.executable.clone(), argv: executed.argv.clone(), times: executed.times }
    }
}

impl From<&Usage> for Used {
    fn from(usage: &Usage) -> Self {
        Self {
            cpu_ms: ms(usage.cpu),
            wall_ms: ms(usage.wall),
            max_rss: usage.max_rss,
            output: usage.output,
            output_dropped: usage.output_dropped,
        }
    }
}

impl From<&Isolation> for Enforced {
    fn from(isolation: &Isolation) -> Self {
        let limits = match isolation.rung {
            Rung::CgroupV2 => "cgroup-v2",
            Rung::CgroupV1 => "cgroup-v1",
            Rung::Rlimits => "rlimits",
        };
        Self {
            namespaces: isolation.namespaces.iter().map(ToString::to_string).collect(),
            filter: isolation.filter.to_string(),
            limits: limits.to_owned(),
            overlay: isolation.overlay,
            capabilities: isolation.capabilities,
            emulated: isolation.emulated.clone(),
        }
    }
}

/// Looks up the result of an action; what cannot be read is a miss.
pub(crate) fn lookup<T: DeserializeOwned>(store: &Store, action: &Digest) -> Result<Option<T>, bulla_store::Error> {
    Ok(lookup_tainted(store, action)?.map(|(result, _)| result))
}

/// As [`lookup`], with whether the result is tainted.
pub(crate) fn lookup_tainted<T: DeserializeOwned>(
    store: &Store,
    action: &Digest,
) -> Result<Option<(T, bool)>, bulla_store::Error> {
    let found = store.action_result(action)?;
    Ok(found.and_then(|found| Some((serde_json::from_slice(&found.json).ok()?, found.tainted))))
}

/// Keeps the result of an action.
pub(crate) fn keep<T: Serialize>(store: &Store, action: &Digest, result: &T) -> Result<(), bulla_store::Error> {
    keep_as(store, action, result, false)
}

/// Keeps the result of an action, which may stand on what was read from a cache.
pub(crate) fn keep_as<T: Serialize>(
    store: &Store,
    action: &Digest,
    result: &T,
    tainted: bool,
) -> Result<(), bulla_store::Error> {
    let json = serde_json::to_vec(result).expect("a result has no key that JSON cannot have");
    if tainted { store.put_tainted_result(action, &json) } else { store.put_result(action, &json) }
}

//! What the steps of a build depended on, kept for people: `bulla explain` compares it with what they depend on later.
//!
//! Nothing of a build consults it. Values that look like secrets are not in it, though no secret ever is an input of an
//! action: people give them as params all the same.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use bulla_model::{
    Digest,
    lock::PackageKey,
    plan::{PlannedImage, PlannedRoot, PlannedStage, PlannedStep},
    spec::Identity,
};
use bulla_store::Store;
use serde::{Deserialize, Serialize};

use super::{
    BuildError,
    record::{Action, FORMAT},
};

/// The notes of one build, also of one that fails.
#[derive(Debug, Default)]
pub struct Journal(Mutex<Vec<StepNote>>);

impl Journal {
    pub(crate) fn push(&self, note: StepNote) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(note);
    }

    /// Gives the notes, each stage's in the order of its steps. Of a step that was tried twice the later note stays.
    pub fn into_notes(self) -> Vec<StepNote> {
        let notes = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let last: BTreeMap<(String, usize), StepNote> =
            notes.into_iter().map(|note| ((note.stage.clone(), note.step), note)).collect();
        last.into_values().collect()
    }
}

/// What happened to a step, and what it depended on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepNote {
    /// The stage.
    pub stage: String,
    /// Which step of it, from 1; 0 is the root that the stage starts from.
    pub step: usize,
    /// What it is, for people.
    pub title: String,
    /// The digest of the action.
    pub action: Digest,
    /// What happened.
    pub outcome: StepOutcome,
    /// Whether it was asked for that it runs, whatever results there are.
    pub forced: bool,
    /// What it changed, as a delta tree.
    pub delta: Option<Digest>,
    /// What it depended on.
    pub inputs: Inputs,
}

/// What happened to a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepOutcome {
    /// It ran.
    Ran,
    /// The result of an earlier build was used.
    Cached,
    /// It failed, or was stopped.
    Failed,
}

/// All that decides what comes of a step or a root: what its action holds, with names for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Inputs {
    /// Packages, put together and configured.
    Root {
        /// The version of the way in which this is done.
        format: u32,
        /// `SOURCE_DATE_EPOCH`, in seconds.
        epoch: u64,
        /// The packages by name.
        packages: BTreeMap<String, PackageInput>,
    },
    /// An image of a registry, unpacked.
    Base {
        /// The version of the way in which this is done.
        format: u32,
        /// The image.
        #[serde(flatten)]
        image: BaseInput,
    },
    /// A command.
    Step {
        /// The version of the way in which this is done.
        format: u32,
        /// `SOURCE_DATE_EPOCH`, in seconds.
        epoch: u64,
        /// The layers that it runs on, the lowest first.
        layers: Vec<LayerInput>,
        /// What it sees of each source, by path: the digest of a manifest, which is a blob of the store.
        sources: BTreeMap<String, Digest>,
        /// What is executed.
        argv: Vec<String>,
        /// The environment.
        env: BTreeMap<String, Value>,
        /// Where it runs.
        workdir: String,
        /// Whether it may seem to change its user.
        identity: String,
        /// The secrets that it is given, by name and place.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        secrets: Vec<String>,
        /// Where it has caches.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        caches: Vec<String>,
        /// What its lock files pin, by where they are: the digest of a list, which is a blob of the store.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        dependencies: BTreeMap<String, Digest>,
    },
}

/// A package that a root is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageInput {
    /// Its version.
    pub version: String,
    /// The file.
    pub digest: Digest,
}

/// An image of a registry that a stage starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseInput {
    /// Its reference, as the spec has it.
    pub reference: String,
    /// What the reference led to when it was locked: an index, or the manifest itself.
    pub digest: Digest,
    /// The manifest for the platform.
    pub manifest: Digest,
}

/// A layer that a step runs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerInput {
    /// Where it comes from.
    pub origin: LayerOrigin,
    /// The delta; of a root, the action that made it.
    pub digest: Digest,
}

/// Where a layer comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "kebab-case")]
pub enum LayerOrigin {
    /// The root of a stage.
    Root,
    /// The output of another stage.
    Copy {
        /// `build.dist`.
        output: String,
        /// Where it was put.
        to: String,
    },
    /// What an earlier step changed.
    Step {
        /// The stage.
        stage: String,
        /// The step.
        step: usize,
    },
    /// Many layers, made into one.
    Merged,
}

impl std::fmt::Display for LayerOrigin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Root => f.write_str("the root"),
            Self::Copy { output, to } => write!(f, "the output {output} at {to}"),
            Self::Step { stage, step } => write!(f, "{stage}/{step}"),
            Self::Merged => f.write_str("the layers below"),
        }
    }
}

/// The value of a variable, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    /// As it is.
    Plain(String),
    /// A keyed digest: it tells whether two values are the same, and nothing to whoever has not the store's key.
    Fingerprint(Digest),
}

impl Value {
    fn of(store: &Store, name: &str, value: &str) -> Self {
        if is_private(name, value) {
            Self::Fingerprint(store.fingerprint(value.as_bytes()))
        } else {
            Self::Plain(value.to_owned())
        }
    }
}

/// Parts of names of variables whose values nobody should find in a record.
const PRIVATE: [&str; 9] =
    ["SECRET", "TOKEN", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIAL", "APIKEY", "PRIVATE", "AUTH"];

/// Says whether a value of a variable should be in no record: by its name, or because it is an address with a password in it.
pub fn is_private(name: &str, value: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let named = PRIVATE.iter().any(|word| name.contains(word)) || name == "KEY" || name.ends_with("_KEY");
    let user = |rest: &str| rest.split(['/', ' ', '\n']).next().is_some_and(|host| host.contains('@'));
    named || value.split("://").skip(1).any(user)
}

/// A delta of a stage, and where it comes from.
#[derive(Debug, Clone)]
pub(crate) struct Delta {
    pub(crate) origin: LayerOrigin,
    pub(crate) digest: Digest,
}

/// What a step is made from, in the form in which its action is.
pub(crate) struct StepInputs<'a> {
    pub(crate) stage: &'a PlannedStage,
    pub(crate) step: &'a PlannedStep,
    pub(crate) emulator: Option<Digest>,
    pub(crate) root: Digest,
    pub(crate) deltas: &'a [Delta],
    pub(crate) sources: &'a BTreeMap<String, Digest>,
    pub(crate) epoch: bulla_model::Epoch,
    /// See [`super::caches::keys`].
    pub(crate) caches: Vec<Digest>,
    /// See [`super::dependencies::LockFile::digest`].
    pub(crate) dependencies: BTreeMap<String, Digest>,
}

impl StepInputs<'_> {
    /// Gives the digest of the action.
    pub(crate) fn action(&self) -> Digest {
        let layers: Vec<Digest> = [self.root].into_iter().chain(self.deltas.iter().map(|delta| delta.digest)).collect();
        Action::Step {
            format: FORMAT,
            layers: &layers,
            sources: self.sources,
            argv: &self.step.argv,
            env: &self.step.env,
            workdir: &self.stage.workdir.to_string(),
            identity: self.stage.identity,
            emulator: self.emulator,
            epoch: self.epoch,
            secrets: &self.step.secrets,
            dependencies: &self.dependencies,
            caches: &self.caches,
        }
        .digest()
    }

    /// Gives what is kept of it.
    pub(crate) fn kept(&self, store: &Store) -> Inputs {
        let root = LayerInput { origin: LayerOrigin::Root, digest: self.root };
        let above = self.deltas.iter().map(|delta| LayerInput { origin: delta.origin.clone(), digest: delta.digest });
        let value = |(name, value): (&String, &String)| (name.clone(), Value::of(store, name, value));
        Inputs::Step {
            format: FORMAT,
            epoch: self.epoch.seconds(),
            layers: [root].into_iter().chain(above).collect(),
            sources: self.sources.clone(),
            argv: self.step.argv.clone(),
            env: self.step.env.iter().map(value).collect(),
            workdir: self.stage.workdir.to_string(),
            identity: match self.stage.identity {
                Identity::Real => "real",
                Identity::Fake => "fake",
            }
            .to_owned(),
            secrets: self.step.secrets.iter().map(ToString::to_string).collect(),
            caches: self.stage.cache.iter().map(|path| format!("/{path}")).collect(),
            dependencies: self.dependencies.clone(),
        }
    }
}

/// Gives what is kept of a root.
pub(crate) fn root_inputs(planned: &PlannedRoot, epoch: bulla_model::Epoch) -> Inputs {
    let package = |package: &bulla_model::plan::PlannedPackage| {
        let name = PackageKey::new(&package.name, "", &package.architecture);
        (name.label(), PackageInput { version: package.version.clone(), digest: package.digest })
    };
    Inputs::Root { format: FORMAT, epoch: epoch.seconds(), packages: planned.packages.iter().map(package).collect() }
}

/// Gives what is kept of an image that a stage starts from.
pub(crate) fn base_inputs(reference: &str, planned: &PlannedImage) -> Inputs {
    let (digest, manifest) = (planned.digest, planned.manifest);
    Inputs::Base { format: FORMAT, image: BaseInput { reference: reference.to_owned(), digest, manifest } }
}

/// Names what an earlier step of a stage left.
pub(crate) fn left_by(stage: &str, step: usize) -> LayerOrigin {
    LayerOrigin::Step { stage: stage.to_owned(), step }
}

/// Says what happened, from how it ended.
pub(crate) fn outcome<T>(ran: &Result<T, BuildError>, cached: impl FnOnce(&T) -> bool) -> StepOutcome {
    match ran {
        Ok(done) if cached(done) => StepOutcome::Cached,
        Ok(_) => StepOutcome::Ran,
        Err(_) => StepOutcome::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_look_like_secrets_are_known() {
        for (name, value) in [
            ("API_TOKEN", "x"),
            ("npm_password", "x"),
            ("SIGNING_KEY", "x"),
            ("AWS_SECRET_ACCESS_KEY", "x"),
            ("INDEX", "https://user:word@mirror.example/simple"),
            ("LINES", "first\nhttp://word@mirror.example"),
        ] {
            assert!(is_private(name, value), "{name}={value}");
        }
        for (name, value) in [
            ("VERSION", "1.4.2"),
            ("KEYBOARD", "us"),
            ("MAIL", "someone@mirror.example"),
            ("INDEX", "https://mirror.example/a@b"),
        ] {
            assert!(!is_private(name, value), "{name}={value}");
        }
    }
}

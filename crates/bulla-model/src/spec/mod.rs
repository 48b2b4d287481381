//! The spec: `bulla.yaml`, as a person wrote it, and as it is meant.
//!
//! Reading goes in two steps, each with types of its own. `written` has the keys as they stand in the file, with the
//! place of each; the JSON schema and `docs/spec.md` are made from it. Evaluating checks all that can be checked without
//! a network (names, references, cycles, paths), puts in the params and the defaults, and gives a [`Spec`], in which
//! nothing is left to be looked up. Both report every mistake that they find, not only the first.

mod debian;
mod error;
mod evaluate;
mod glob;
mod image;
mod name;
mod place;
mod platforms;
mod preset;
mod reference;
mod schema;
mod source;
mod stage;
mod starter;
mod step_ref;
mod step_secret;
mod workspace;
mod written;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

pub use self::{
    debian::{Debian, PackageRequest, Release, Root, RootKind, Scripts, Side, asked_name},
    error::{Position, SpecError, SpecErrors},
    evaluate::MemberSpec,
    glob::{Glob, GlobError},
    image::{Allow, Base, Compression, Copy, Grant, Id, Image, Origin, Port, Protocol, Scratch, User, UserEntry},
    name::{Name, NameError},
    place::AbsolutePath,
    platforms::{EMULATION, of_stage_label, root_name, stage_label},
    source::{DebianSource, Folder, GitSource, GitTrust, Packing, Portion, Source, Trust, Unpack, UrlSource},
    stage::{
        ArchiveFormat, BuildDependencies, Command, Dependency, Identity, InstallScripts, Limits, Named, Normaliser,
        OnRefusal, OutputRef, Seen, Stage, StageBase, StageCopy, StagePlatform, Step, observed,
    },
    starter::TELLING_FILES,
    step_ref::{NoSuchStep, StepRef, StepRefError},
    step_secret::{SECRETS_FOLDER, SecretPlace, StepSecret},
    workspace::{
        Inherited, MemberKind, MemberPattern, Members, Setting, StorePlace, StorePlaceError, WORKSPACE_FILE, Waiver,
        Workspace, WorkspaceStore, folder_name, is_branch,
    },
};
pub use crate::yaml::At;
use crate::{oci::BaseReference, path::CleanPath, platform::Platform, time::Epoch};

/// Reads another document in the YAML of specs into a type, with the places of all mistakes: a policy is one. `name` is what errors call
/// the file.
///
/// # Errors
/// All the mistakes that were found.
pub fn read_keys<T: serde::de::DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, SpecErrors> {
    let text = evaluate::text_of(name, bytes)?;
    let keys = crate::yaml::Document::parse(text).map_err(|problem| vec![*problem]);
    keys.and_then(|document| document.read()).map_err(|problems| evaluate::File::new(name, text).errors(problems))
}

/// A mistake that whoever reads a document with [`read_checked`] found in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The bytes that it is about.
    pub span: std::ops::Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

/// Reads a document as [`read_keys`] does, and looks for further mistakes in what was read.
///
/// # Errors
/// All the mistakes that were found.
pub fn read_checked<T: serde::de::DeserializeOwned>(
    name: &str,
    bytes: &[u8],
    check: impl FnOnce(&T) -> Vec<Mistake>,
) -> Result<T, SpecErrors> {
    let keys = read_keys(name, bytes)?;
    let problem = |one: Mistake| crate::yaml::Problem::new(one.span, one.message, one.help);
    let problems: Vec<_> = check(&keys).into_iter().map(problem).collect();
    match problems.is_empty() {
        true => Ok(keys),
        false => Err(evaluate::File::new(name, evaluate::text_of(name, bytes)?).errors(problems)),
    }
}

/// What a `bulla.yaml` means: everything checked, params put in, defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Spec {
    /// The project's name; also the image's name where none is given.
    pub name: Name,
    /// The platforms that the image is built for; that of the machine that builds where the spec names none.
    #[serde(skip_serializing_if = "platforms::is_usual")]
    pub platforms: BTreeSet<Platform>,
    /// The time that steps and layers see, when the spec sets it; else the lock's newest index decides.
    pub epoch: Option<Epoch>,
    /// What is built from; source NAME is at `/src/NAME` in every stage.
    pub sources: BTreeMap<Name, Source>,
    /// The params with the values that hold now; they are in the environment of every step.
    pub params: BTreeMap<String, String>,
    /// The stages. They form a graph without cycles: see [`Spec::order`].
    pub stages: BTreeMap<Name, Stage>,
    /// The image that comes out.
    pub image: Image,
    /// The files of the project with the keys that must have signed images of registries.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub image_keys: BTreeMap<BaseReference, CleanPath>,
}

impl Spec {
    /// Gives the stages that must be done before a stage: the one it continues, and those whose outputs it copies.
    pub fn needs(&self, stage: &Name) -> BTreeSet<&Name> {
        self.stages.get(stage).into_iter().flat_map(Stage::needs).collect()
    }

    /// Gives the stages in an order in which each comes after all that it needs; the same for the same spec.
    pub fn order(&self) -> Vec<&Name> {
        let mut order = Vec::new();
        let mut done = BTreeSet::new();
        while order.len() < self.stages.len() {
            let before = order.len();
            for (name, stage) in &self.stages {
                if !done.contains(name) && stage.needs().all(|need| done.contains(need)) {
                    done.insert(name);
                    order.push(name);
                }
            }
            assert!(order.len() > before, "the stages of an evaluated spec have no cycle");
        }
        order
    }

    /// Gives the stages that something of the image comes from, directly or through other stages. The others are
    /// tests: they are run, and their failure fails the build, but they ship nothing.
    pub fn shipped(&self) -> BTreeSet<&Name> {
        let mut found = BTreeSet::new();
        let mut open: Vec<&Name> = self.image.copy.iter().filter_map(|copy| copy.from.stage()).collect();
        while let Some(name) = open.pop() {
            if let Some((name, stage)) = self.stages.get_key_value(name)
                && found.insert(name)
            {
                open.extend(stage.needs());
            }
        }
        found
    }

    /// Gives the images of registries and layouts that stages and the image start from, each with the platform that is taken of it.
    pub fn base_images(&self) -> BTreeSet<(&BaseReference, Platform)> {
        self.platforms.iter().flat_map(|target| self.base_images_for(*target)).collect()
    }

    /// Gives the images of registries and layouts that stages and the image start from when the image is made for a platform.
    pub fn base_images_for(&self, target: Platform) -> BTreeSet<(&BaseReference, Platform)> {
        let stages = self.stages.values().filter_map(|stage| match &stage.base {
            StageBase::Image(reference) => Some((reference, stage.platform.native(target))),
            StageBase::Debian(_) | StageBase::Stage(_) => None,
        });
        let own = match &self.image.base {
            Base::Image(reference) => Some((reference, target)),
            Base::Debian { .. } | Base::Scratch(_) => None,
        };
        stages.chain(own).collect()
    }

    /// Gives the names of the secrets that steps ask for.
    pub fn secrets(&self) -> BTreeSet<&Name> {
        let steps = self.stages.values().flat_map(|stage| &stage.steps);
        steps.flat_map(|step| &step.secrets).map(|secret| &secret.id).collect()
    }

    /// Gives the folders of the project that are sources.
    pub fn folders(&self) -> impl Iterator<Item = (&Name, &Folder)> {
        self.sources.iter().filter_map(|(name, source)| Some((name, source.folder()?)))
    }
}

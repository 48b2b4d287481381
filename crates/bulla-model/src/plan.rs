//! The plan: spec, lock and source trees made into a graph of what has to be done. Pure data; no environment is left in it.
//!
//! [`plan`] resolves everything that a build would otherwise consult on the way: which artifacts a root is made of, the
//! whole environment of each step, the order of the stages. The executor only does what stands here.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    digest::Digest,
    ecosystem::Ecosystem,
    fault::{Fault, Kind},
    lock::{Answers, ImageKey, Lock, Loose, PackageKey, PackagePin, SourcePin},
    path::CleanPath,
    platform::Platform,
    spec::{
        AbsolutePath, ArchiveFormat, Command, Dependency, EMULATION, Identity, Limits, Name, OnRefusal, Portion,
        RootKind, Seen, Source, Spec, Stage, StageBase, StageCopy, StagePlatform, Step, StepSecret, Unpack, root_name,
    },
    time::Epoch,
    tree::Owner,
};

/// The search path of every step.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a build has to do for one platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The platform that the image is made for.
    pub platform: Platform,
    /// The package of the emulator that runs what is of the platform, where that is not the machine's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emulator: Option<PlannedPackage>,
    /// The time that steps see in `SOURCE_DATE_EPOCH`, and the newest that a layer has.
    pub epoch: Epoch,
    /// The sources that do not lie in the project, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<Name, PlannedSource>,
    /// The files that native lock files name without a hash: they count for what names them.
    #[serde(skip)]
    pub loose: Loose,
    /// The sets of packages, by the names that the lock has for them.
    pub roots: BTreeMap<String, PlannedRoot>,
    /// The stages, each after all that it needs.
    pub stages: Vec<PlannedStage>,
    /// The images of registries, by their names in the lock.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, PlannedImage>,
}

/// An image of a registry by digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedImage {
    /// Its full reference.
    pub reference: String,
    /// The platform that is taken of it.
    pub platform: Platform,
    /// The digest that its reference led to.
    pub digest: Digest,
    /// The manifest for the platform.
    pub manifest: Digest,
}

impl Plan {
    /// Leaves only what a stage needs: itself, the stages before it, and their packages. Nothing is left of an unknown stage.
    pub fn narrow(&mut self, target: &Name) {
        self.narrow_to(&BTreeSet::from([target.clone()]));
    }

    /// As [`Plan::narrow`], for several stages.
    pub fn narrow_to(&mut self, targets: &BTreeSet<Name>) {
        let mut wanted = targets.clone();
        // Each stage stands after all that it needs.
        for stage in self.stages.iter().rev() {
            if wanted.contains(&stage.name) {
                wanted.extend(stage.needs.iter().cloned());
            }
        }
        self.stages.retain(|stage| wanted.contains(&stage.name));
        let bases: BTreeSet<&PlannedBase> = self.stages.iter().map(|stage| &stage.base).collect();
        self.roots.retain(|name, _| bases.contains(&PlannedBase::Root(name.clone())));
        self.images.retain(|name, _| bases.contains(&PlannedBase::Image(name.clone())));
        let is_foreign = |stage: &PlannedStage| !stage.platform.native(self.platform).is_build();
        if !self.stages.iter().any(is_foreign) {
            self.emulator = None;
        }
    }

    /// Gives the digests of all packages.
    pub fn packages(&self) -> BTreeSet<Digest> {
        let packages = self.roots.values().flat_map(|root| &root.packages).chain(&self.emulator);
        packages.map(|package| package.digest).collect()
    }

    /// Gives the emulator's package for what runs on a platform; `None` where the machine runs it itself.
    pub fn emulator_for(&self, native: Platform) -> Option<&PlannedPackage> {
        self.emulator.as_ref().filter(|_| !native.is_build())
    }
}

/// A source by digest, and what is taken of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedSource {
    /// What there is.
    pub artifact: SourceArtifact,
    /// What of it is taken.
    pub portion: Portion,
}

/// What a source is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceArtifact {
    /// A file or archive.
    Url {
        /// Its SHA-256.
        digest: Digest,
        /// What becomes of it.
        unpack: Unpack,
    },
    /// The files of a commit of a git repository.
    Git {
        /// The SHA-256 of the tar archive of them.
        digest: Digest,
    },
    /// A source package of Debian.
    Debian {
        /// Its name and version.
        package: String,
        /// The SHA-256 of its files, by name.
        files: BTreeMap<String, Digest>,
    },
}

/// A set of packages by digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedRoot {
    /// What it is for.
    #[serde(skip)]
    pub kind: Option<RootKind>,
    /// The platform whose programs run in it.
    pub native: Platform,
    /// The packages, in the lock's order.
    pub packages: Vec<PlannedPackage>,
}

/// A package to be unpacked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct PlannedPackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture, `amd64`, `arm64` or `all`.
    pub architecture: String,
    /// The source package that it was made from.
    pub source: String,
    /// The SHA-256 of the `.deb`.
    pub digest: Digest,
    /// The size of the `.deb` in bytes.
    pub size: u64,
}

/// A stage in which nothing is left to be looked up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedStage {
    /// Its name.
    pub name: Name,
    /// On which platform its steps run, and for which.
    pub platform: StagePlatform,
    /// What it starts from.
    pub base: PlannedBase,
    /// Where steps run.
    pub workdir: AbsolutePath,
    /// What is brought in before the first step.
    pub copy: Vec<StageCopy>,
    /// The lock files whose packages the steps find.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub dependencies: BTreeMap<Ecosystem, Vec<Dependency>>,
    /// What was observed of those that no lock file pins; nothing of a kind that was never observed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub observed: BTreeMap<Ecosystem, Answers>,
    /// The steps.
    pub steps: Vec<PlannedStep>,
    /// What may be taken from it.
    pub outputs: BTreeMap<Name, CleanPath>,
    /// Who owns what the steps made.
    pub owners: BTreeMap<AbsolutePath, Owner>,
    /// What is written anew of its outputs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub normalise: BTreeMap<AbsolutePath, ArchiveFormat>,
    /// The folders that each step finds as it left them when it ran last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cache: Vec<CleanPath>,
    /// What calls that change the user do.
    pub identity: Identity,
    /// What a step may use.
    #[serde(skip)]
    pub limits: Limits,
    /// What happens on a refusal.
    pub on_refusal: OnRefusal,
    /// Whether something of the image comes from it; else it is a test.
    pub ships: bool,
    /// The stages that must be done before.
    pub needs: BTreeSet<Name>,
}

/// What a stage starts from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlannedBase {
    /// A set of packages, by its name in [`Plan::roots`], which is its name in the spec.
    Root(String),
    /// An image of a registry, by its name in [`Plan::images`].
    Image(String),
    /// Where another stage ended.
    Stage(Name),
}

/// A step with all of its environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedStep {
    /// What to show for it.
    pub title: String,
    /// What is executed.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// The only files of the sources that it sees; `None` is all.
    pub sees: Option<Vec<Seen>>,
    /// The secrets that it is given: names and places; values are in no plan.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<StepSecret>,
}

/// Says why no plan can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The lock has no entry for a set of packages.
    #[error("bulla.lock has nothing for `{root}`")]
    NotLocked {
        /// The set's name.
        root: String,
    },
    /// The lock has no entry for a source.
    #[error("bulla.lock has nothing for the source `{source_name}`")]
    SourceNotLocked {
        /// The source's name.
        source_name: Name,
    },
    /// The lock names a package in a set, and has no pin for it.
    #[error("bulla.lock names {package} in `{root}`, and does not pin it")]
    NoPin {
        /// The package.
        package: PackageKey,
        /// The set's name.
        root: String,
    },
}

impl Fault for PlanError {
    fn kind(&self) -> Kind {
        Kind::Spec
    }

    fn hints(&self) -> Vec<String> {
        vec!["run `bulla lock`, and commit bulla.lock".to_owned()]
    }
}

/// Makes the plan of a build for a platform of the spec. The lock must be one that [`Lock::check`](crate::lock::Lock) found to be of this spec.
///
/// # Errors
/// When the lock lacks something that the spec asks for.
pub fn plan(spec: &Spec, lock: &Lock, platform: Platform) -> Result<Plan, PlanError> {
    let epoch = spec.epoch.unwrap_or(lock.epoch);
    let roots = spec
        .roots_for(platform)
        .into_iter()
        .map(|(name, root)| Ok((name.clone(), planned_root(lock, &root_name(&name, root.target))?)))
        .collect::<Result<BTreeMap<_, _>, PlanError>>()?;
    let emulator = match spec.is_emulated(platform) {
        true => planned_root(lock, EMULATION)?.packages.into_iter().next(),
        false => None,
    };
    let sources = spec
        .sources
        .iter()
        .filter(|(_, source)| source.folder().is_none())
        .map(|(name, source)| Ok((name.clone(), planned_source(lock, name, source)?)))
        .collect::<Result<BTreeMap<_, _>, PlanError>>()?;
    let shipped = spec.shipped();
    let stages = spec
        .order()
        .into_iter()
        .filter_map(|name| Some((name, spec.stages.get(name)?)))
        .map(|(name, stage)| planned_stage(spec, lock, (epoch, platform), name, stage, shipped.contains(name)))
        .collect();
    let images = spec
        .base_images_for(platform)
        .into_iter()
        .map(|(reference, platform)| {
            let key = ImageKey::new(reference, platform);
            let name = key.to_string();
            let pin = lock.images.get(&key).ok_or_else(|| PlanError::NotLocked { root: name.clone() })?;
            let (reference, digest, manifest) = (reference.to_string(), pin.digest, pin.manifest);
            Ok((name, PlannedImage { reference, platform, digest, manifest }))
        })
        .collect::<Result<BTreeMap<_, _>, PlanError>>()?;
    Ok(Plan { platform, emulator, epoch, sources, roots, stages, images, loose: lock.loose.clone() })
}

fn planned_source(lock: &Lock, name: &Name, source: &Source) -> Result<PlannedSource, PlanError> {
    let not_locked = || PlanError::SourceNotLocked { source_name: name.clone() };
    let pin = lock.sources.get(name).filter(|pin| pin.is_of(source)).ok_or_else(not_locked)?;
    match (source, pin) {
        (Source::Url(source), SourcePin::Url(pin)) => Ok(PlannedSource {
            artifact: SourceArtifact::Url { digest: pin.digest, unpack: source.unpack.clone() },
            portion: source.portion.clone(),
        }),
        (Source::Git(source), SourcePin::Git(pin)) => {
            Ok(PlannedSource { artifact: SourceArtifact::Git { digest: pin.digest }, portion: source.portion.clone() })
        }
        (Source::Debian(source), SourcePin::Debian(pin)) => Ok(PlannedSource {
            artifact: SourceArtifact::Debian {
                package: pin.package.to_string(),
                files: pin.files.iter().map(|(name, file)| (name.clone(), file.digest)).collect(),
            },
            portion: source.portion.clone(),
        }),
        _ => Err(not_locked()),
    }
}

fn planned_root(lock: &Lock, name: &str) -> Result<PlannedRoot, PlanError> {
    let pin = lock.roots.get(name).ok_or_else(|| PlanError::NotLocked { root: name.to_owned() })?;
    let packages = pin
        .packages
        .iter()
        .map(|key| {
            let package = lock
                .packages
                .get(key)
                .ok_or_else(|| PlanError::NoPin { package: key.clone(), root: name.to_owned() })?;
            Ok(planned_package(key, package))
        })
        .collect::<Result<Vec<_>, PlanError>>()?;
    Ok(PlannedRoot { kind: Some(pin.kind), native: pin.native, packages })
}

fn planned_package(key: &PackageKey, pin: &PackagePin) -> PlannedPackage {
    PlannedPackage {
        name: key.name.clone(),
        version: key.version.clone(),
        architecture: pin.architecture.clone(),
        source: pin.source.clone(),
        digest: pin.digest,
        size: pin.size,
    }
}

fn planned_stage(
    spec: &Spec,
    lock: &Lock,
    (epoch, target): (Epoch, Platform),
    name: &Name,
    stage: &Stage,
    ships: bool,
) -> PlannedStage {
    let base = match &stage.base {
        StageBase::Debian(_) => PlannedBase::Root(format!("stage.{name}")),
        StageBase::Image(reference) => {
            PlannedBase::Image(ImageKey::new(reference, stage.platform.native(target)).to_string())
        }
        StageBase::Stage(other) => PlannedBase::Stage(other.clone()),
    };
    PlannedStage {
        name: name.clone(),
        platform: stage.platform,
        base,
        workdir: stage.workdir.clone(),
        copy: stage.copy.clone(),
        dependencies: stage.dependencies.clone(),
        observed: lock
            .observed
            .iter()
            .filter(|(key, _)| key.stage == *name)
            .map(|(key, pins)| (key.ecosystem, pins.clone()))
            .collect(),
        steps: stage.steps.iter().map(|step| planned_step(spec, (epoch, target), stage, step)).collect(),
        outputs: stage.outputs.clone(),
        owners: stage.owners.clone(),
        normalise: stage.normalise.iter().map(|(path, how)| (path.clone(), how.format)).collect(),
        cache: stage.cache.clone(),
        identity: stage.identity,
        limits: stage.limits,
        on_refusal: stage.on_refusal,
        ships,
        needs: stage.needs().cloned().collect(),
    }
}

fn planned_step(spec: &Spec, (epoch, target): (Epoch, Platform), stage: &Stage, step: &Step) -> PlannedStep {
    let surroundings = surroundings(epoch).chain(platform_variables(stage.platform, target));
    let env = surroundings.chain(spec.params.clone()).chain(stage.env.clone()).chain(step.env.clone()).collect();
    PlannedStep {
        title: step.name.clone().unwrap_or_else(|| title(&step.run)),
        argv: step.run.argv(),
        env,
        sees: step.sees.clone(),
        secrets: step.secrets.clone(),
    }
}

/// Gives the variables that say what is built for; none where that makes no difference.
fn platform_variables(stage: StagePlatform, target: Platform) -> impl Iterator<Item = (String, String)> {
    let variables = [
        ("TARGETPLATFORM", target.to_string()),
        ("TARGETOS", target.os().to_owned()),
        ("TARGETARCH", target.architecture().to_owned()),
        ("TARGETTRIPLET", target.triplet().to_owned()),
        ("BUILDPLATFORM", Platform::BUILD.to_string()),
    ];
    variables.into_iter().filter(move |_| !stage.is_build()).map(|(name, value)| (name.to_owned(), value))
}

/// Gives the variables that every step has, whatever the host's are.
pub fn surroundings(epoch: Epoch) -> impl Iterator<Item = (String, String)> {
    [
        ("PATH", PATH.to_owned()),
        ("HOME", "/root".to_owned()),
        ("USER", "root".to_owned()),
        ("SHELL", "/bin/sh".to_owned()),
        ("LC_ALL", "C.UTF-8".to_owned()),
        ("TZ", "UTC".to_owned()),
        ("SOURCE_DATE_EPOCH", epoch.seconds().to_string()),
        ("PYTHONHASHSEED", "0".to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
}

/// The first line of a command, shortened.
fn title(command: &Command) -> String {
    const LONGEST: usize = 60;
    let text = command.to_string();
    let first = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let more = text.trim().contains('\n') || first.chars().count() > LONGEST;
    let mut shown: String = first.chars().take(LONGEST).collect();
    if more {
        shown.push('…');
    }
    shown
}

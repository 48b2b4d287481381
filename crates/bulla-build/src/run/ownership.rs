//! Whose each path of an image is: the packages, steps, sources and rules that the cut gave it to, with what steps were made from.
//!
//! The document lies in the store as a blob, and is found by the image's manifest. It has an action of its own: an image can come out the same
//! of other inputs, and then its owners are others.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bulla_model::{
    CleanPath, Digest, Tree,
    image::{ImagePlan, Origin as Part},
    layers,
    oci::Descriptor,
    ownership::{self, Owner, Owners, Ownership},
    plan::{PlannedBase, PlannedPackage, PlannedStage},
    spec::{AbsolutePath, Base, Name, Origin, OutputRef, Scripts, stage_label},
    tree::Node,
};
use bulla_store::Store;
use serde::{Deserialize, Serialize};

use super::{
    BuildError,
    image::{Bytes, Ingredients, Placed, ROOT},
    journal::LayerOrigin,
    outputs, packages,
    record::{self, Action},
    stages::{StepRecord, internal, place_of},
    supply::{Shared, Standing},
};

/// The most bytes of a document.
const MAX_DOCUMENT: u64 = 256 << 20;
/// How many outputs a path is followed through: a spec's stages have no cycle, and far fewer.
const MAX_STAGES: usize = 64;
/// The media type of the document in the store.
const MEDIA_TYPE: &str = "application/vnd.bulla.ownership.v1+json";

/// The document of an image.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    document: Digest,
    size: u64,
}

impl Shared for Kept {
    fn trees(&self) -> Vec<Digest> {
        Vec::new()
    }

    fn blobs(&self) -> Vec<Descriptor> {
        vec![Descriptor::new(MEDIA_TYPE, self.document, self.size)]
    }
}

/// Gives who owns what in an image that this store built, by the digest of its manifest for one platform; `None` where that is not known
/// any more.
///
/// # Errors
/// When the store cannot be read.
pub fn ownership_of(store: &Store, manifest: &Digest) -> Result<Option<Ownership>, bulla_store::Error> {
    let Some(kept) = record::lookup::<Kept>(store, &by_manifest(manifest))? else { return Ok(None) };
    let bytes = store.read_blob(&kept.document, MAX_DOCUMENT)?;
    let read: Option<Ownership> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    Ok(read.filter(|read| read.format == ownership::FORMAT))
}

fn by_manifest(manifest: &Digest) -> Digest {
    Action::OwnershipOf { format: ownership::FORMAT, manifest }.digest()
}

/// A stage as paths are followed through it.
struct Walked<'a> {
    stage: &'a PlannedStage,
    label: String,
    /// What was laid on its root, the topmost first.
    deltas: Vec<(LayerOrigin, Arc<Tree>)>,
}

/// Finds owners, with what was loaded on the way.
pub(super) struct Tracer<'a> {
    ingredients: &'a Ingredients<'a>,
    stages: BTreeMap<Name, Walked<'a>>,
    roots: BTreeMap<String, Vec<(&'a PlannedPackage, Arc<Tree>)>>,
}

impl Ingredients<'_> {
    /// Makes sure that the document of an image is in the store. `made` gives the inputs and the plan, where they have to be looked into.
    pub(super) fn keep_ownership(
        &self,
        manifest: &Digest,
        stands: Standing,
        made: impl FnOnce() -> Result<(Vec<Placed>, ImagePlan), BuildError>,
    ) -> Result<Digest, BuildError> {
        let context = self.context;
        let materials = self.all_materials();
        let action = Action::Ownership { format: ownership::FORMAT, manifest, materials: &materials }.digest();
        let known = context.earlier::<Kept>(&action, stands)?;
        let kept = match known {
            Some(kept) if context.blob(&kept.document)? => kept,
            _ => {
                let (placed, plan) = made()?;
                let bytes = self.owners(&placed, &plan)?.to_bytes();
                let kept = Kept { document: context.store.put_blob(&bytes)?, size: bytes.len() as u64 };
                context.keep(&action, &kept, stands)?;
                kept
            }
        };
        let by_manifest = by_manifest(manifest);
        let noted = record::lookup::<Kept>(context.store, &by_manifest)?;
        if noted.is_none_or(|noted| noted.document != kept.document) {
            record::keep_as(context.store, &by_manifest, &kept, stands.tainted)?;
        }
        Ok(kept.document)
    }

    /// Gives what decides the document beside the image: the steps, and what they could read.
    fn all_materials(&self) -> Vec<String> {
        let one = |step: &StepRecord| {
            let read = || step.record.pulled.iter().chain(&step.record.laid);
            let read: BTreeMap<&String, &Digest> = read().collect();
            Digest::of(format!("{} {} {} {read:?}", step.stage, step.step, step.title)).to_string()
        };
        self.steps.iter().filter(|step| step.step > 0).map(one).collect()
    }

    fn owners(&self, placed: &[Placed], plan: &ImagePlan) -> Result<Ownership, BuildError> {
        let settled = layers::settle(&plan.inputs, &plan.keep_set_id).map_err(crate::assemble::AssembleError::from)?;
        let mut tracer = Tracer { ingredients: self, stages: BTreeMap::new(), roots: BTreeMap::new() };
        let mut owners = Owners::default();
        if let Some(base) = &plan.base {
            let layers = base.layers.iter().map(|layer| layer.descriptor.digest).collect();
            owners.note(Owner::Base { reference: base.reference.clone(), digest: base.digest, layers });
        }
        let planned = self.plan.roots.get(ROOT).into_iter().flat_map(|root| &root.packages);
        planned.clone().for_each(|package| owners.note(package_owner(package)));
        for (one, tree) in placed.iter().zip(&settled.trees) {
            let all = match &one.input.origin {
                Part::Package { name, version, .. } => {
                    let found = planned.clone().find(|package| package.name == *name && package.version == *version);
                    Some(package_owner(
                        found.ok_or_else(|| internal("a package of the image that is not in the plan"))?,
                    ))
                }
                Part::Derived { name } => Some(self.derived(name)),
                Part::Copy { .. } => None,
            };
            for (path, node) in tree.iter().filter(|(_, node)| !node.is_directory()) {
                let owner = match &all {
                    Some(owner) => owner.clone(),
                    None => tracer.copied(one, path)?,
                };
                let digest = match tree.file(path) {
                    Some((_, Node::File { digest, .. })) => Some(*digest),
                    _ => None,
                };
                if *node != Node::Whiteout {
                    owners.own(path.clone(), owner, digest);
                }
            }
        }
        Ok(owners.finish(self.spec.name.as_str(), self.plan.platform))
    }

    /// Says what made something that comes from no input alone.
    fn derived(&self, name: &str) -> Owner {
        match &self.spec.image.base {
            Base::Debian { scripts: Scripts::Run { reason }, .. } if name == super::image::CONFIGURED => {
                Owner::Scripts { reason: reason.clone() }
            }
            _ => Owner::Native { what: name.to_owned() },
        }
    }

    fn source_owner(&self, name: &Name) -> Result<Owner, BuildError> {
        let read = self.sources.get(name).ok_or_else(|| internal("a source that was not read"))?;
        Ok(Owner::Source { name: name.to_string(), digest: read.source.digest() })
    }
}

fn package_owner(package: &PlannedPackage) -> Owner {
    Owner::Package {
        name: package.name.clone(),
        version: package.version.clone(),
        architecture: package.architecture.clone(),
        source: package.source.clone(),
        digest: package.digest,
    }
}

impl<'a> Tracer<'a> {
    /// Finds whose a path of a copy is.
    fn copied(&mut self, placed: &Placed, path: &CleanPath) -> Result<Owner, BuildError> {
        match &placed.bytes {
            Bytes::View(_, copy, ..) | Bytes::Output(_, _, copy) if matches!(copy.from, Origin::Source { .. }) => {
                let Origin::Source { source, .. } = &copy.from else { return Err(internal("a copy of two kinds")) };
                self.ingredients.source_owner(source)
            }
            Bytes::Output(stored, output, copy) => {
                let Origin::Output(from) = &copy.from else { return Err(internal("a copy of two kinds")) };
                let short = outputs::unplaced(output, stored.manifest(), &copy.to, path);
                let short = short.filter(|_| !output.single);
                self.of_output(from, short.as_ref(), 0)
            }
            Bytes::Tree(_) | Bytes::View(..) => Err(internal("a copy that is none")),
        }
    }

    /// Finds whose a path in an output is; `None` is the output itself.
    fn of_output(&mut self, from: &OutputRef, inside: Option<&CleanPath>, depth: usize) -> Result<Owner, BuildError> {
        let walked = self.walked(&from.stage)?;
        let base = walked.stage.outputs.get(&from.output).ok_or_else(|| internal("an output that was not made"))?;
        let path = match inside {
            Some(inside) => base.join(inside)?,
            None => base.clone(),
        };
        let has = |tree: &Tree| tree.get(&path).is_some_and(|node| *node != Node::Whiteout);
        let origin = walked.deltas.iter().find(|(_, tree)| has(tree)).map(|(origin, _)| origin.clone());
        match origin {
            Some(LayerOrigin::Copy { output, to }) if depth < MAX_STAGES => {
                let copies = &self.ingredients.spec.stages;
                let copies = copies.values().flat_map(|stage| &stage.copy).map(|copy| &copy.from);
                let from = copies.clone().find(|from| from.to_string() == output);
                let from = from.cloned().ok_or_else(|| internal("an output that no stage copies"))?;
                let inside = beneath(&to, &path)?;
                self.of_output(&from, inside.as_ref(), depth + 1)
            }
            Some(LayerOrigin::Step { stage, step }) => Ok(self.step(&from.stage, &stage, Some(step))),
            Some(_) => {
                let label = walked.label.clone();
                Ok(self.step(&from.stage, &label, None))
            }
            None => self.below(&from.stage, &path),
        }
    }

    /// Finds whose a path is that lies below all steps: a source's, or one of the root.
    fn below(&mut self, name: &Name, path: &CleanPath) -> Result<Owner, BuildError> {
        for source in self.ingredients.sources.keys() {
            if path.starts_with(&place_of(source)?) {
                return self.ingredients.source_owner(source);
            }
        }
        let mut stage = self.walked(name)?.stage;
        for _ in 0..MAX_STAGES {
            match &stage.base {
                PlannedBase::Stage(before) => stage = self.walked(&before.clone())?.stage,
                PlannedBase::Image(name) => {
                    let image =
                        self.ingredients.plan.images.get(name).ok_or_else(|| internal("an image without a plan"))?;
                    return Ok(Owner::Base {
                        reference: image.reference.clone(),
                        digest: image.digest,
                        layers: Vec::new(),
                    });
                }
                PlannedBase::Root(root) => {
                    let has = |tree: &Tree| tree.get(path).is_some_and(|node| !node.is_directory());
                    let found = self.root(root)?.iter().find(|(_, tree)| has(tree));
                    let scripts = || Owner::Native { what: format!("the packages' scripts in the stage {name}") };
                    return Ok(found.map_or_else(scripts, |(package, _)| package_owner(package)));
                }
            }
        }
        Err(internal("stages that stand on each other"))
    }

    fn root(&mut self, name: &str) -> Result<&[(&'a PlannedPackage, Arc<Tree>)], BuildError> {
        if !self.roots.contains_key(name) {
            let ingredients = self.ingredients;
            let planned = ingredients.plan.roots.get(name).ok_or_else(|| internal("a root without a plan"))?;
            let unpacked = packages::unpack(ingredients.context, &planned.packages, &|_| {})?;
            let tree = |digest: &Digest| Ok::<_, BuildError>(Arc::clone(ingredients.context.tree(digest)?.manifest()));
            let all = planned.packages.iter().zip(unpacked).map(|(package, one)| Ok((package, tree(&one.tree)?)));
            self.roots.insert(name.to_owned(), all.collect::<Result<_, BuildError>>()?);
        }
        Ok(self.roots.get(name).map(Vec::as_slice).unwrap_or_default())
    }

    fn walked(&mut self, name: &Name) -> Result<&Walked<'a>, BuildError> {
        if !self.stages.contains_key(name) {
            let ingredients = self.ingredients;
            let stage = self.planned(name).ok_or_else(|| internal("a stage that is not in the plan"))?;
            let ended = ingredients.ended.get(name).ok_or_else(|| internal("a stage that had not ended"))?;
            let deltas = ended.deltas.iter().rev().map(|delta| {
                Ok((delta.origin.clone(), Arc::clone(ingredients.context.tree(&delta.digest)?.manifest())))
            });
            let deltas = deltas.collect::<Result<_, BuildError>>()?;
            let label = stage_label(&stage.name, stage.platform, ingredients.plan.platform);
            self.stages.insert(name.clone(), Walked { stage, label, deltas });
        }
        self.stages.get(name).ok_or_else(|| internal("a stage that was just looked into"))
    }

    fn planned(&self, name: &Name) -> Option<&'a PlannedStage> {
        self.ingredients.plan.stages.iter().find(|stage| stage.name == *name)
    }

    /// Makes the owner that a step is. `label` is the stage that it stands in, which may be one before.
    fn step(&self, name: &Name, label: &str, step: Option<usize>) -> Owner {
        let steps = self.ingredients.steps;
        let is_it = |one: &&StepRecord| one.stage == label && Some(one.step) == step;
        let title = steps.iter().find(is_it).map(|one| one.title.clone()).unwrap_or_default();
        let (mut materials, mut seen) = (BTreeMap::new(), BTreeSet::new());
        self.materials(name, Some((label, step)), &mut materials, &mut seen);
        let planned = self.ingredients.plan.stages.iter();
        let mut planned =
            planned.filter(|stage| stage_label(&stage.name, stage.platform, self.ingredients.plan.platform) == label);
        let step_of = planned.next().zip(step).and_then(|(stage, step)| stage.steps.get(step.checked_sub(1)?));
        let sees = step_of.and_then(|step| step.sees.as_ref());
        let is_seen = |name: &&Name| sees.is_none_or(|sees| sees.iter().any(|seen| seen.source == **name));
        let sources = self.ingredients.sources.keys().filter(is_seen).map(ToString::to_string).collect();
        Owner::Step { stage: label.to_owned(), step, title, materials, sources }
    }

    /// Collects what the steps of a stage could read of lock files, up to one of them, and what was made of such in what it stands on.
    fn materials(
        &self,
        name: &Name,
        until: Option<(&str, Option<usize>)>,
        all: &mut BTreeMap<String, Digest>,
        seen: &mut BTreeSet<Name>,
    ) {
        let Some(stage) = self.planned(name).filter(|_| seen.insert(name.clone())) else { return };
        let label = stage_label(&stage.name, stage.platform, self.ingredients.plan.platform);
        let last = until.filter(|(at, _)| *at == label).and_then(|(_, step)| step);
        let of_stage = self.ingredients.steps.iter().filter(|one| one.stage == label);
        // Where the step stands in a stage before, nothing of this one was read for it.
        let is_before = until.is_some_and(|(at, _)| at != label);
        let read = of_stage.filter(|one| !is_before && last.is_none_or(|last| one.step <= last));
        for (purl, digest) in read.flat_map(|one| one.record.pulled.iter().chain(&one.record.laid)) {
            all.insert(purl.clone(), *digest);
        }
        if let PlannedBase::Stage(before) = &stage.base {
            self.materials(before, until.filter(|_| is_before), all, seen);
        }
        for copy in stage.copy.iter().filter(|_| !is_before) {
            self.materials(&copy.from.stage, None, all, seen);
        }
    }
}

/// Gives what is left of a path beneath the place that an output was laid at.
fn beneath(to: &str, path: &CleanPath) -> Result<Option<CleanPath>, BuildError> {
    let Some(to) = CleanPath::from_absolute(to)? else { return Ok(Some(path.clone())) };
    let places =
        [to.clone(), outputs::in_debian(&AbsolutePath::from(to)).clean().cloned().unwrap_or_else(|| path.clone())];
    if places.contains(path) {
        return Ok(None);
    }
    Ok(places.iter().find_map(|place| path.strip_prefix(place)))
}

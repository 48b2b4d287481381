//! Runs stages: what is brought in, the steps one after the other, and the outputs at the end.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use bulla_model::{
    CleanPath, Digest, Epoch, Tree,
    plan::{Plan, PlannedBase, PlannedImage, PlannedStage, PlannedStep},
    spec::{Identity, Name, OnRefusal, Seen, StepRef, stage_label},
};
use bulla_sandbox::Privileges;
use bulla_store::{Source, SourceCache, SourceView};
use serde::{Deserialize, Serialize};

use super::{
    BuildError, base,
    caches::{self, Caches},
    context::Context,
    dependencies, emulation,
    journal::{self, Delta, Journal, LayerOrigin, StepInputs, StepNote, StepOutcome},
    outputs::{self, OutputResult},
    record::{Action, FORMAT, RunRecord, RunResult},
    roots::{Root, Roots},
    sandboxed::{self, Run},
    stack::{Sheet, Stack},
    supply::{Standing, Whose},
};
use crate::event::{Activity, Ending, Event};

/// How many deltas are laid one over the other before they are merged into one; more make a walk slow.
pub(crate) const MAX_DELTAS: usize = 64;

/// A source as it was read at the start of the build.
pub(crate) struct ReadSource {
    pub(crate) cache: SourceCache,
    pub(crate) source: Source,
    /// Where it is in every stage: `src/NAME`.
    pub(crate) at: CleanPath,
}

/// The sources of a build.
pub(crate) type Sources = BTreeMap<Name, ReadSource>;

/// A stage that has ended.
#[derive(Clone)]
pub(crate) struct Ended {
    pub(crate) root: Arc<Root>,
    /// What was brought in and what steps changed, the lowest first.
    pub(crate) deltas: Vec<Delta>,
    pub(crate) outputs: BTreeMap<Name, OutputResult>,
    /// What it stands on.
    pub(crate) stands: Standing,
}

/// A step that was run, or whose earlier result was used.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StepRecord {
    /// The stage.
    pub stage: String,
    /// Which step of it, from 1; 0 is the root's maintainer scripts.
    pub step: usize,
    /// What it is.
    pub title: String,
    /// The digest of the action.
    pub action: Digest,
    /// Whether an earlier result was used.
    pub cached: bool,
    /// What was seen of it, and what was enforced.
    pub record: RunRecord,
    /// Whether it read a cache, or stands on what a step left that did.
    #[serde(default)]
    pub tainted: bool,
}

/// What stages are run with.
pub(crate) struct Stages<'a> {
    pub(crate) context: &'a Context<'a>,
    pub(crate) plan: &'a Plan,
    pub(crate) sources: &'a Sources,
    pub(crate) roots: &'a Roots,
    pub(crate) records: &'a Mutex<Vec<StepRecord>>,
    pub(crate) journal: &'a Journal,
}

impl Stages<'_> {
    /// Runs a stage; all that it needs has ended.
    pub(crate) fn run(&self, stage: &PlannedStage, ended: &BTreeMap<Name, Ended>) -> Result<Ended, BuildError> {
        let mut now = self.run_steps(stage, ended, stage.steps.len())?;
        now.outputs = self.outputs(stage, &now)?;
        Ok(now)
    }

    /// Names a stage in records.
    pub(crate) fn label(&self, stage: &PlannedStage) -> String {
        stage_label(&stage.name, stage.platform, self.plan.platform)
    }

    /// Runs the first steps of a stage, and takes no outputs.
    pub(crate) fn run_steps(
        &self,
        stage: &PlannedStage,
        ended: &BTreeMap<Name, Ended>,
        count: usize,
    ) -> Result<Ended, BuildError> {
        let now = self.start(stage, ended)?;
        let root = Arc::clone(&now.root);
        let ran = self.run_steps_on(stage, ended, count, now);
        if let PlannedBase::Image(name) = &stage.base
            && let Some(planned) = self.plan.images.get(name)
            && root.was_unpacked()
        {
            self.note_base(stage, planned, StepOutcome::Ran);
        }
        ran
    }

    fn run_steps_on(
        &self,
        stage: &PlannedStage,
        ended: &BTreeMap<Name, Ended>,
        count: usize,
        mut now: Ended,
    ) -> Result<Ended, BuildError> {
        for copy in &stage.copy {
            let output = output_of(ended, &copy.from.stage, &copy.from.output)?;
            now.stands = now.stands.and(output.stands);
            let digest =
                outputs::place(self.context, output, &now.root.place(self.context, &copy.to)?, self.plan.epoch)?;
            let origin = LayerOrigin::Copy { output: copy.from.to_string(), to: copy.to.to_string() };
            now.deltas.push(Delta { origin, digest });
        }
        for (index, step) in stage.steps.iter().take(count).enumerate() {
            let (digest, stands) = self.step(stage, index, step, &now)?;
            now.stands = stands;
            now.deltas.push(Delta { origin: journal::left_by(&self.label(stage), index + 1), digest });
            if now.deltas.len() > MAX_DELTAS {
                let digests: Vec<Digest> = now.deltas.iter().map(|delta| delta.digest).collect();
                let digest = outputs::merge(self.context, &digests, now.stands, self.plan.epoch)?;
                now.deltas = vec![Delta { origin: LayerOrigin::Merged, digest }];
            }
        }
        Ok(now)
    }

    /// Lays the directory that steps run in on top, where nothing has it.
    pub(crate) fn with_workdir(&self, stack: &mut Stack, below: &Tree, stage: &PlannedStage) -> Result<(), BuildError> {
        if let Some(workdir) = stage.workdir.clean()
            && below.get(workdir).is_none()
        {
            let made = [(workdir.clone(), sandboxed::Made::directory())];
            stack.push_tree(self.context, &sandboxed::small_tree(self.context, made, Epoch::default())?)?;
        }
        Ok(())
    }

    fn start(&self, stage: &PlannedStage, ended: &BTreeMap<Name, Ended>) -> Result<Ended, BuildError> {
        match &stage.base {
            PlannedBase::Stage(name) => ended.get(name).cloned().ok_or_else(|| internal("a stage that had not ended")),
            PlannedBase::Image(name) => {
                let planned = self.plan.images.get(name).ok_or_else(|| internal("an image without a plan"))?;
                let root = self.roots.image(planned);
                // When something reads it, it may turn out that it has to be unpacked.
                self.note_base(stage, planned, StepOutcome::Cached);
                Ok(Ended { root, deltas: Vec::new(), outputs: BTreeMap::new(), stands: Standing::default() })
            }
            PlannedBase::Root(name) => {
                let planned = self.plan.roots.get(name).ok_or_else(|| internal("a root without a plan"))?;
                let emulator = self.plan.emulator_for(planned.native);
                let name = format!("stage.{}", self.label(stage));
                let root = self.roots.get(self.context, &name, planned, emulator, self.plan.epoch);
                self.journal.push(StepNote {
                    stage: self.label(stage),
                    step: 0,
                    title: "maintainer scripts".to_owned(),
                    action: Roots::action(planned, emulator, self.plan.epoch),
                    outcome: journal::outcome(&root, |root| root.configured().is_none_or(|root| root.cached)),
                    forced: self.context.is_forced_wholly(),
                    delta: None,
                    inputs: journal::root_inputs(planned, self.plan.epoch),
                });
                let root = root?;
                if let Some(made) = root.configured() {
                    self.note(stage, 0, "maintainer scripts", (root.action, made.cached, false), &made.result.record);
                }
                Ok(Ended { root, deltas: Vec::new(), outputs: BTreeMap::new(), stands: Standing::default() })
            }
        }
    }

    fn note_base(&self, stage: &PlannedStage, planned: &PlannedImage, outcome: StepOutcome) {
        self.journal.push(StepNote {
            stage: self.label(stage),
            step: 0,
            title: format!("base {}", planned.reference),
            action: base::action(planned),
            outcome,
            forced: false,
            delta: None,
            inputs: journal::base_inputs(&planned.reference, planned),
        });
    }

    /// Runs a step, or takes its earlier result. Gives what it changed, and what that stands on.
    fn step(
        &self,
        stage: &PlannedStage,
        index: usize,
        step: &PlannedStep,
        now: &Ended,
    ) -> Result<(Digest, Standing), BuildError> {
        let context = self.context;
        let title = format!("{} {}/{}: {}", self.label(stage), index + 1, stage.steps.len(), step.title);
        let platform = Some(self.plan.platform).filter(|one| !one.is_build() && !stage.platform.is_build());
        let native = stage.platform.native(self.plan.platform);
        let emulator = self.plan.emulator_for(native);
        let sources = self.seen(step)?;
        let lock_files = self.lock_files(stage)?;
        let inputs = StepInputs {
            stage,
            step,
            emulator: emulator.map(|package| package.digest),
            root: now.root.action,
            deltas: &now.deltas,
            sources: &sources,
            epoch: self.plan.epoch,
            caches: caches::keys(context.project, stage, step, now.root.action),
            dependencies: dependencies::pins(&lock_files),
        };
        let (action, forced) = (inputs.action(), context.is_forced(&stage.name, index + 1));
        // Whoever is observed has no secret, finds nothing of earlier runs, and leaves nothing for later ones.
        let observing = context.observing.filter(|observing| observing.covers(stage));
        let (secrets, kept_caches) = match observing {
            Some(_) => (&[][..], &[][..]),
            None if context.settings.again.is_some() => (step.secrets.as_slice(), &[][..]),
            None => (step.secrets.as_slice(), inputs.caches.as_slice()),
        };
        let given = now.stands.and(Standing { tainted: false, secret: !step.secrets.is_empty() });
        let with = |result: &RunResult| given.and(Standing { tainted: result.record.read_a_cache(), secret: false });
        let ran = context.told(Activity::Step, &title, |id| {
            if !forced
                && observing.is_none()
                && let Some((result, whose)) = context.earlier_of::<RunResult>(&action, given)?
            {
                // What is of the own store was noted when it ran.
                if whose == Whose::Others {
                    self.keep_manifests(step, &sources);
                }
                return Ok(((result, true), Ending::Cached));
            }
            let (stack, caches, below) = context.ready(&title, || {
                let mut stack = self.stack(now, |source| Ok(Some(self.view(source, step)?)))?;
                let caches = Caches::open(context, stage, kept_caches, &mut stack, self.plan.epoch)?;
                let below = stack.merged();
                self.with_workdir(&mut stack, &below, stage)?;
                Ok::<_, BuildError>((stack, caches, below))
            })?;
            let run = Run {
                title: &title,
                at: Some((StepRef { stage: stage.name.clone(), step: Some(index + 1) }, platform)),
                stack: &stack,
                below: &below,
                binds: caches.binds(),
                argv: step.argv.iter().map(Into::into).collect(),
                env: &step.env,
                cwd: stage.workdir.to_string().into(),
                privileges: Privileges::Step,
                identity_fake: stage.identity == Identity::Fake,
                emulation: emulation::get(context, emulator, native)?,
                stop_on_refusal: stage.on_refusal == OnRefusal::Stop,
                limits: limits(context, stage),
                epoch: self.plan.epoch,
                secrets,
                lock_files: &lock_files,
                passage: observing.map(|observing| observing.passage),
            };
            let mut result = sandboxed::run(context, id, run)?;
            result.record.caches = caches.uses();
            if observing.is_none() {
                context.keep(&action, &result, with(&result))?;
            }
            caches.keep(context, limits(context, stage).disk);
            Ok(((result, false), Ending::Done))
        });
        let outcome = journal::outcome(&ran, |(_, cached)| *cached);
        if outcome != StepOutcome::Cached && observing.is_none() {
            self.keep_manifests(step, &sources);
            self.keep_pins(&lock_files);
        }
        self.journal.push(StepNote {
            stage: self.label(stage),
            step: index + 1,
            title: step.title.clone(),
            action,
            outcome,
            forced,
            delta: match &ran {
                Ok((result, _)) => Some(result.delta),
                Err(BuildError::Step { step: Some(step), .. }) => step.left,
                Err(_) => None,
            },
            inputs: inputs.kept(context.store),
        });
        let (result, cached) = ran?;
        let stands = with(&result);
        self.note(stage, index + 1, &step.title, (action, cached, stands.tainted), &result.record);
        let word = match stage.on_refusal {
            OnRefusal::Record => None,
            OnRefusal::Fail => Some("fail"),
            OnRefusal::Stop => Some("stop"),
        };
        match word {
            Some(word) if !result.record.refusals.is_empty() => {
                Err(BuildError::Refused { title, refusals: result.record.refusals, word })
            }
            _ => Ok((result.delta, stands)),
        }
    }

    fn note(
        &self,
        stage: &PlannedStage,
        step: usize,
        title: &str,
        (action, cached, tainted): (Digest, bool, bool),
        record: &RunRecord,
    ) {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).push(StepRecord {
            stage: self.label(stage),
            step,
            title: title.to_owned(),
            action,
            cached,
            record: record.clone(),
            tainted,
        });
    }

    /// The layers by digest: the root by the action that made it, then what came on top.
    fn layers(&self, now: &Ended) -> Vec<Digest> {
        [now.root.action].into_iter().chain(now.deltas.iter().map(|delta| delta.digest)).collect()
    }

    /// The sources that a step sees, by the digest of what it sees of each.
    pub(crate) fn seen(&self, step: &PlannedStep) -> Result<BTreeMap<String, Digest>, BuildError> {
        let mut seen = BTreeMap::new();
        for (name, source) in self.sources {
            let digest = match &step.sees {
                None => source.source.digest(),
                Some(patterns) => self.part_of(name, source, patterns)?.digest(),
            };
            seen.insert(source.at.to_string(), digest);
        }
        Ok(seen)
    }

    fn part_of(&self, name: &Name, source: &ReadSource, patterns: &[Seen]) -> Result<Tree, BuildError> {
        Ok(source.cache.view_manifest(&source.source, &|path| sees(patterns, name, path), &source.at)?)
    }

    /// Keeps what a step saw of the sources, so that what is changed later can be named file by file. A build goes on when
    /// that cannot be done: it only tells less.
    fn keep_manifests(&self, step: &PlannedStep, sources: &BTreeMap<String, Digest>) {
        let store = self.context.store;
        for (name, source) in self.sources {
            let digest = sources.get(&source.at.to_string());
            if digest.is_none_or(|digest| store.has_blob(digest).unwrap_or(true)) {
                continue;
            }
            let manifest = match &step.sees {
                None => source.source.manifest().map(|manifest| manifest.encode()).map_err(BuildError::from),
                Some(patterns) => self.part_of(name, source, patterns).map(|manifest| manifest.encode()),
            };
            let kept = manifest.and_then(|text| Ok(store.put_blob(text.as_bytes())?));
            if let Err(error) = kept {
                let message = format!("`bulla explain` will not name changed files of the source {name}: {error}");
                self.context.observer.event(&Event::Warning { message: &message });
            }
        }
    }

    pub(crate) fn view(&self, name: &Name, step: &PlannedStep) -> Result<SourceView, BuildError> {
        let source = self.sources.get(name).ok_or_else(|| internal("a source that was not read"))?;
        let filter = |path: &CleanPath| step.sees.as_ref().is_none_or(|patterns| sees(patterns, name, path));
        Ok(source.cache.view(&source.source, &filter, &source.at)?)
    }

    /// Gives all files of a source.
    pub(crate) fn whole(&self, name: &Name) -> Result<SourceView, BuildError> {
        let source = self.sources.get(name).ok_or_else(|| internal("a source that was not read"))?;
        Ok(source.cache.view(&source.source, &|_| true, &source.at)?)
    }

    /// Puts the physical layers together: the root, the sources, then what came on top.
    pub(crate) fn stack(
        &self,
        now: &Ended,
        view: impl Fn(&Name) -> Result<Option<SourceView>, BuildError>,
    ) -> Result<Stack, BuildError> {
        let mut stack = now.root.stack(self.context)?;
        stack.ends_root();
        for name in self.sources.keys() {
            if let Some(view) = view(name)? {
                stack.push(Sheet::View(view));
            }
        }
        for delta in &now.deltas {
            stack.push_tree(self.context, &delta.digest)?;
        }
        Ok(stack)
    }

    fn outputs(&self, stage: &PlannedStage, now: &Ended) -> Result<BTreeMap<Name, OutputResult>, BuildError> {
        let all: BTreeMap<String, Digest> =
            self.sources.values().map(|source| (source.at.to_string(), source.source.digest())).collect();
        let layers = self.layers(now);
        let owners = stage.owners.iter().map(|(path, owner)| (path.to_string(), *owner)).collect();
        let normalise = stage.normalise.iter().map(|(path, format)| (path.to_string(), *format)).collect();
        let mut stack = None;
        let mut found = BTreeMap::new();
        for (name, path) in &stage.outputs {
            let text = path.to_string();
            let action = Action::Output {
                format: FORMAT,
                layers: &layers,
                sources: &all,
                path: &text,
                owners: &owners,
                normalise: &normalise,
            }
            .digest();
            let context = self.context;
            let mut result = match context.earlier::<OutputResult>(&action, now.stands)? {
                Some(result) => result,
                None => {
                    if stack.is_none() {
                        let made = self.stack(now, |source| self.whole(source).map(Some))?;
                        let merged = made.merged();
                        stack = Some((made, merged));
                    }
                    let Some((stack, merged)) = &stack else { continue };
                    let result = outputs::take(context, stage, name, path, stack, merged, self.plan.epoch)?;
                    context.keep(&action, &result, now.stands)?;
                    result
                }
            };
            result.stands = now.stands;
            found.insert(name.clone(), result);
        }
        Ok(found)
    }
}

/// Gives an output of a stage that has ended.
pub(crate) fn output_of<'a>(
    ended: &'a BTreeMap<Name, Ended>,
    stage: &Name,
    output: &Name,
) -> Result<&'a OutputResult, BuildError> {
    ended.get(stage).and_then(|stage| stage.outputs.get(output)).ok_or_else(|| internal("an output that was not made"))
}

/// The spec was checked, so that this cannot be; it is told rather than hidden all the same.
pub(crate) fn internal(what: &str) -> BuildError {
    BuildError::Internal { what: what.to_owned() }
}

fn sees(patterns: &[Seen], source: &Name, path: &CleanPath) -> bool {
    patterns.iter().any(|seen| seen.source == *source && seen.files.as_ref().is_none_or(|files| files.matches(path)))
}

pub(crate) fn limits(context: &Context<'_>, stage: &PlannedStage) -> bulla_sandbox::Limits {
    let mut limits = context.settings.limits;
    limits.memory = stage.limits.memory.unwrap_or(limits.memory);
    limits.time = stage.limits.time.unwrap_or(limits.time);
    limits.processes = stage.limits.processes.unwrap_or(limits.processes);
    limits.disk = stage.limits.disk.unwrap_or(limits.disk);
    limits
}

/// Gives the place of a source in every stage.
pub(crate) fn place_of(source: &Name) -> Result<CleanPath, BuildError> {
    Ok(CleanPath::parse(format!("src/{source}"))?)
}

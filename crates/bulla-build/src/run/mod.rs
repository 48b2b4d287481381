//! Runs a plan: sources, roots, stages and outputs, then the image. The order is the plan's; stages that need nothing of
//! each other run side by side.

mod anew;
mod answers;
mod base;
mod caches;
mod confidential;
mod context;
mod dependencies;
mod emulation;
mod error;
mod folders;
mod image;
mod journal;
mod observe;
mod outputs;
mod ownership;
mod packages;
mod perturb;
mod proxy;
mod record;
mod rights;
mod roots;
mod sandboxed;
mod shell;
mod stack;
mod stages;
mod supply;
mod unpacked;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Condvar, Mutex, PoisonError, atomic::AtomicBool},
};

use bulla_model::{
    Spec,
    lock::LooseKey,
    plan::{Plan, PlannedStage},
    spec::{Base, BuildDependencies, Name, Scripts, Source, StepRef},
};
use bulla_sandbox::Cancel;
use bulla_store::{SourceCache, Store};

pub use answers::{Answered, Asked, answered, keep_answer, keep_answered, kept_answer};
pub use context::{Anew, Settings};
pub use dependencies::{Had, keep_pinned, pin_action, pinned};
pub use error::{BuildError, FailedStep};
pub use journal::{
    BaseInput, Inputs, Journal, LayerInput, LayerOrigin, PackageInput, StepNote, StepOutcome, Value, is_private,
};
pub use observe::{Mirrored, Observing, Passage, Passing};
pub use ownership::ownership_of;
pub use packages::{PackageWriter, unpacked};
pub use perturb::{NoVariation, Variation};
pub use record::{CacheUse, Enforced, FORMAT, Program, Refused, RunRecord, RunResult, Used};
pub use shell::{Opened, Place, Shell};
pub use stages::StepRecord;
pub use supply::{Made, Need, Supply, Unsupplied};

use self::{
    context::Context,
    image::Ingredients,
    roots::Roots,
    stages::{Ended, ReadSource, Sources, Stages, place_of},
};
use crate::{
    assemble::{self, Joined},
    event::{Activity, Ending, Event, Observer},
    secret::Secrets,
    source::{self, CheckoutState, SourceError},
};

/// What a build needs from its caller.
pub struct Build<'a> {
    /// The store, with all locked artifacts in it.
    pub store: &'a Store,
    /// The folder of the spec.
    pub project: &'a Path,
    /// The spec.
    pub spec: &'a Spec,
    /// Its plans, one for each platform, or the parts of them that are wanted. At least one.
    pub plans: &'a [Plan],
    /// How it is run.
    pub settings: &'a Settings,
    /// Ends what runs in a sandbox.
    pub cancel: &'a Cancel,
    /// Set when the user stopped it.
    pub stopped: &'a AtomicBool,
    /// Is told what happens.
    pub observer: &'a dyn Observer,
    /// Is told what steps depended on.
    pub journal: &'a Journal,
    /// The secrets that steps may ask for.
    pub secrets: &'a Secrets,
    /// Gives what the store does not have.
    pub supply: &'a dyn Supply,
}

/// What came of a build.
#[derive(Debug, Clone)]
pub struct Built {
    /// The image, whose blobs are in the store; `None` where stages alone were wanted.
    pub image: Option<Joined>,
    /// The steps, in the order of stages and steps.
    pub steps: Vec<StepRecord>,
    /// The sources as they were read: the digest of each tree, and its checkout's state.
    pub sources: BTreeMap<Name, SourceRecord>,
}

/// How far a build goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    Image,
    Stages,
}

/// A source as it was read.
#[derive(Debug, Clone)]
pub struct SourceRecord {
    /// The digest of its tree.
    pub digest: bulla_model::Digest,
    /// The git checkout that it lies in.
    pub checkout: Option<CheckoutState>,
}

impl Build<'_> {
    /// Runs the build to its image.
    ///
    /// # Errors
    /// When a source cannot be read, a step fails, or anything that is used does not verify.
    pub fn run(&self) -> Result<Built, BuildError> {
        self.to(Goal::Image)
    }

    /// Runs the stages of the plan, and makes no image.
    ///
    /// # Errors
    /// As [`Build::run`].
    pub fn run_stages(&self) -> Result<Built, BuildError> {
        self.to(Goal::Stages)
    }

    /// Has all that the lock files of the stages name, and runs nothing. Says of each lock file what that was.
    ///
    /// # Errors
    /// When a source or a lock file cannot be read, or something cannot be had.
    pub fn fetch_dependencies(&self) -> Result<Vec<Had>, BuildError> {
        let context = self.context(false);
        let (sources, _) = self.sources(&context, self.first()?)?;
        let (roots, records) = (Roots::default(), Mutex::new(Vec::new()));
        let mut had = Vec::new();
        for plan in self.plans {
            let stages = self.stages(&context, plan, &sources, &roots, &records);
            for stage in &plan.stages {
                for file in stages.lock_files(stage)? {
                    had.push(file.had(&context)?);
                }
            }
        }
        Ok(had)
    }

    /// Reads the lock files that may name something without a hash, has that pinned, and says what it is.
    ///
    /// # Errors
    /// When a source or a lock file cannot be read, or something cannot be had.
    pub fn pin_loose(&self) -> Result<BTreeSet<LooseKey>, BuildError> {
        let context = self.context(false);
        let (sources, _) = self.sources(&context, self.first()?)?;
        let (roots, records) = (Roots::default(), Mutex::new(Vec::new()));
        let mut all = BTreeSet::new();
        for plan in self.plans {
            let stages = self.stages(&context, plan, &sources, &roots, &records);
            for stage in &plan.stages {
                let mut stage = stage.clone();
                stage.dependencies.retain(|kind, _| kind.can_be_loose());
                // What builds packages is pinned otherwise.
                stage.dependencies.values_mut().flatten().for_each(|one| one.build = BuildDependencies::Locked);
                for file in stages.lock_files(&stage)? {
                    all.extend(file.loose());
                }
            }
        }
        Ok(all)
    }

    /// Runs stages with what their steps ask for passed on, and makes nothing of what they leave. What they need beside is run as ever.
    ///
    /// # Errors
    /// As [`Build::run_stages`]; and when a step asked for more than may be passed on.
    pub fn observe(&self, observing: Observing<'_>) -> Result<(), BuildError> {
        let context = Context { observing: Some(observing), ..self.context(false) };
        let (sources, _) = self.sources(&context, self.first()?)?;
        let (roots, records) = (Roots::default(), Mutex::new(Vec::new()));
        let mut shared = BTreeMap::new();
        for plan in self.plans {
            let stages = self.stages(&context, plan, &sources, &roots, &records);
            shared = run_all(&stages, self.settings.jobs, None, std::mem::take(&mut shared))?;
            keep_shared(&mut shared, plan);
        }
        Ok(())
    }

    /// Runs what a place in a stage needs, opens its file system in a sandbox, and runs a shell or command there. Gives how that
    /// ended, and what it was refused. What it changes is thrown away.
    ///
    /// # Errors
    /// As [`Build::run`]; and when the command went over a limit, or the user stopped it from outside.
    pub fn shell(
        &self,
        stage: &Name,
        place: &Place,
        shell: Shell<'_>,
    ) -> Result<(bulla_sandbox::Exit, Vec<Refused>), BuildError> {
        let context = self.context(false);
        let plan = self.first()?;
        let (sources, _) = self.sources(&context, plan)?;
        let (roots, records) = (Roots::default(), Mutex::new(Vec::new()));
        let stages = self.stages(&context, plan, &sources, &roots, &records);
        let target = plan.stages.iter().find(|planned| planned.name == *stage);
        let target = target.ok_or_else(|| stages::internal("a stage that is not in the plan"))?;
        let before = run_all(&stages, self.settings.jobs, Some(stage), BTreeMap::new())?;
        shell::run(&stages, target, place, &before, shell)
    }

    fn to(&self, goal: Goal) -> Result<Built, BuildError> {
        self.check_secrets()?;
        match self.attempt(goal, false) {
            // Something that earlier results stand on was removed or damaged: once more, with every result looked into.
            Err(error) if error.is_gone() => self.attempt(goal, true),
            other => other,
        }
    }

    /// Looks, before anything runs, whether every secret is there that a step asks for, and none where the records would keep it.
    fn check_secrets(&self) -> Result<(), BuildError> {
        for stage in self.plans.iter().flat_map(|plan| &plan.stages) {
            for (index, step) in stage.steps.iter().enumerate() {
                if let Some(secret) = self.secrets.missing(&step.secrets).first() {
                    let at = StepRef { stage: stage.name.clone(), step: Some(index + 1) };
                    return Err(BuildError::NoSecret { at, secret: (*secret).clone() });
                }
            }
        }
        match self.secrets.in_spec(self.spec) {
            hits if hits.is_empty() => Ok(()),
            hits => Err(BuildError::SecretFound { title: "this build".to_owned(), hits }),
        }
    }

    fn attempt(&self, goal: Goal, thorough: bool) -> Result<Built, BuildError> {
        let context = self.context(thorough);
        let (sources, records) = self.sources(&context, self.first()?)?;
        let roots = Roots::default();
        let (mut parts, mut steps, mut shared) = (Vec::new(), Vec::new(), BTreeMap::new());
        for plan in self.plans {
            let noted = Mutex::new(Vec::new());
            let stages = self.stages(&context, plan, &sources, &roots, &noted);
            let ended = run_all(&stages, self.settings.jobs, None, std::mem::take(&mut shared))?;
            let mut noted = std::mem::take(&mut *noted.lock().unwrap_or_else(PoisonError::into_inner));
            let place = |name: &str| plan.stages.iter().position(|stage| stages.label(stage) == name);
            noted.sort_by_key(|step: &StepRecord| (place(&step.stage), step.step));
            steps.extend(noted);
            let ingredients = Ingredients {
                context: &context,
                spec: self.spec,
                plan,
                ended: &ended,
                sources: &sources,
                roots: &roots,
                steps: &steps,
            };
            if goal == Goal::Image {
                let is_last = parts.len() + 1 == self.plans.len();
                let runs_scripts = matches!(self.spec.image.base, Base::Debian { scripts: Scripts::Run { .. }, .. });
                parts.push(match is_last && !runs_scripts {
                    true => context.ended(|| ingredients.assemble())?,
                    false => ingredients.assemble()?,
                });
            }
            // What is the same for every platform is not run again for the next one.
            shared = ended;
            keep_shared(&mut shared, plan);
        }
        let image = match goal {
            Goal::Image => Some(assemble::join(self.store, parts)?),
            Goal::Stages => None,
        };
        Ok(Built { image, steps, sources: records })
    }

    fn first(&self) -> Result<&Plan, BuildError> {
        self.plans.first().ok_or_else(|| stages::internal("a build without a plan"))
    }

    fn context(&self, thorough: bool) -> Context<'_> {
        Context {
            store: self.store,
            project: self.project,
            settings: self.settings,
            cancel: self.cancel,
            stopped: self.stopped,
            observer: self.observer,
            secrets: self.secrets,
            supply: self.supply,
            lock_files: dependencies::LockFiles::default(),
            launcher: Mutex::new(None),
            without_overlay: AtomicBool::new(
                self.settings.again.as_ref().is_some_and(|varied| varied.contains(&Variation::DirectoryOrder)),
            ),
            thorough,
            observing: None,
        }
    }

    /// Gives the stages of a plan, as they are run.
    fn stages<'s>(
        &'s self,
        context: &'s Context<'s>,
        plan: &'s Plan,
        sources: &'s Sources,
        roots: &'s Roots,
        records: &'s Mutex<Vec<StepRecord>>,
    ) -> Stages<'s> {
        Stages { context, plan, sources, roots, records, journal: self.journal }
    }

    fn sources(
        &self,
        context: &Context<'_>,
        plan: &Plan,
    ) -> Result<(Sources, BTreeMap<Name, SourceRecord>), BuildError> {
        let mut sources = Sources::new();
        let mut records = BTreeMap::new();
        for (name, source) in &self.spec.sources {
            let folder = match source {
                Source::Folder(folder) => folder,
                Source::Url(_) | Source::Git(_) | Source::Debian(_) => {
                    let (read, record) = self.unpacked(context, plan, name)?;
                    sources.insert(name.clone(), read);
                    records.insert(name.clone(), record);
                    continue;
                }
            };
            let (read, record) = context.told(Activity::Source, &format!("source {name}"), |_| {
                let cache = SourceCache::open(self.store, self.project, name.as_str(), plan.epoch)?;
                let path = source::folder(name.as_str(), self.project, folder)?;
                // What files looked like last is compared while it is found out which files there are now.
                let (listing, examined) = std::thread::scope(|scope| {
                    let examined = scope.spawn(|| cache.examine(&path));
                    let listing = source::list(name.as_str(), self.project, folder);
                    (listing, examined.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                });
                let listing = listing?;
                if let Some(foreign) = &listing.foreign {
                    let message = format!(
                        "{foreign}, and not to you, to root, or to who owns the project: it is not used, and files that it ignores are \
                         a part of the source `{name}`"
                    );
                    context.observer.event(&Event::Warning { message: &message });
                }
                let read = cache.ingest_examined(&listing.folder, &listing.files, examined?)?;
                let checkout = listing.checkout.map(|checkout| checkout.state(read.looks())).transpose()?;
                // Of the very files that were just read.
                if self.settings.clean && checkout.as_ref().is_some_and(|state| state.dirty) {
                    return Err(SourceError::Dirty { name: name.to_string() }.into());
                }
                let record = SourceRecord { digest: read.digest(), checkout };
                Ok(((ReadSource { cache, source: read, at: place_of(name)? }, record), Ending::Done))
            })?;
            sources.insert(name.clone(), read);
            records.insert(name.clone(), record);
        }
        Ok((sources, records))
    }

    /// Unpacks a source that does not lie in the project.
    fn unpacked(
        &self,
        context: &Context<'_>,
        plan: &Plan,
        name: &Name,
    ) -> Result<(ReadSource, SourceRecord), BuildError> {
        let planned = plan.sources.get(name).ok_or_else(|| stages::internal("a source without a plan"))?;
        context.told(Activity::Source, &format!("source {name}"), |_| {
            let (cache, source, cached) = unpacked::read(context, name, planned, plan.epoch)?;
            let record = SourceRecord { digest: source.digest(), checkout: None };
            let ending = if cached { Ending::Cached } else { Ending::Done };
            Ok(((ReadSource { cache, source, at: place_of(name)? }, record), ending))
        })
    }
}

/// Leaves those stages that are the same for every platform.
fn keep_shared(ended: &mut BTreeMap<Name, Ended>, plan: &Plan) {
    let is_shared = |name: &Name| plan.stages.iter().any(|stage| stage.name == *name && stage.platform.is_build());
    ended.retain(|name, _| is_shared(name));
}

/// What the threads that run stages share.
struct Board<'a> {
    waiting: Vec<&'a PlannedStage>,
    running: usize,
    ended: BTreeMap<Name, Ended>,
    failed: Option<BuildError>,
}

/// Runs every stage but one, and but those that have ended, after those that it needs, as many at once as there are jobs.
/// After a failure nothing new is begun.
fn run_all(
    stages: &Stages<'_>,
    jobs: usize,
    except: Option<&Name>,
    ended: BTreeMap<Name, Ended>,
) -> Result<BTreeMap<Name, Ended>, BuildError> {
    let is_open = |stage: &&PlannedStage| Some(&stage.name) != except && !ended.contains_key(&stage.name);
    let waiting = stages.plan.stages.iter().filter(is_open).collect();
    let board = Board { waiting, running: 0, ended, failed: None };
    let (board, changed) = (Mutex::new(board), Condvar::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1).min(stages.plan.stages.len()) {
            scope.spawn(|| work(stages, &board, &changed));
        }
    });
    let board = board.into_inner().unwrap_or_else(PoisonError::into_inner);
    match board.failed {
        Some(error) => Err(error),
        None => Ok(board.ended),
    }
}

fn work(stages: &Stages<'_>, board: &Mutex<Board<'_>>, changed: &Condvar) {
    let mut held = board.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if held.failed.is_some() || held.waiting.is_empty() {
            return;
        }
        let ready = held.waiting.iter().position(|stage| stage.needs.iter().all(|need| held.ended.contains_key(need)));
        let Some(index) = ready else {
            held = changed.wait(held).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        let stage = held.waiting.remove(index);
        held.running += 1;
        let before = held.ended.clone();
        drop(held);
        let result = stages.run(stage, &before);
        held = board.lock().unwrap_or_else(PoisonError::into_inner);
        held.running -= 1;
        match result {
            Ok(end) => {
                held.ended.insert(stage.name.clone(), end);
            }
            // The first failure is the one that is told: the others may only follow from it.
            Err(error) => {
                held.failed.get_or_insert(error);
            }
        }
        changed.notify_all();
    }
}

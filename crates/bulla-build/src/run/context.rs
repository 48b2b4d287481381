//! What every part of a run stands on.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use bulla_model::spec::{Name, StepRef};
use bulla_sandbox::{Cancel, Launcher};
use bulla_store::{Scratch, Store};

use super::{BuildError, Variation, dependencies::LockFiles, observe::Observing, supply::Supply};
use crate::{
    event::{Activity, ActivityId, Ending, Event, Observer},
    secret::Secrets,
};

/// How a build is run; nothing in it changes what comes out.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How sandboxes are started.
    pub sandbox: bulla_sandbox::Options,
    /// What a step may use, where the spec says nothing.
    pub limits: bulla_sandbox::Limits,
    /// How many stages run, packages are unpacked and parts are compressed at once.
    pub jobs: usize,
    /// What is done again, though results of earlier builds are there.
    pub anew: Anew,
    /// Set for a second run that is only to be compared, with what is otherwise around its steps: everything is done again, no result
    /// is kept, and no cache is there.
    pub again: Option<BTreeSet<Variation>>,
    /// Whether sources that lie in a git checkout must be as they were committed.
    pub clean: bool,
    /// Whether results of steps that had secrets, and of what stands on them, are for no other store.
    pub secret_steps_stay: bool,
}

/// What is done again, though results of earlier builds are there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Anew {
    /// Nothing: every result that verifies is used.
    #[default]
    Nothing,
    /// These steps. What follows is done again where they leave something else than before.
    Steps(Vec<StepRef>),
    /// All that there is.
    Everything,
}

/// What every part of a run stands on.
pub(crate) struct Context<'a> {
    pub(crate) store: &'a Store,
    /// The folder of the spec.
    pub(crate) project: &'a std::path::Path,
    pub(crate) settings: &'a Settings,
    pub(crate) cancel: &'a Cancel,
    pub(crate) stopped: &'a AtomicBool,
    pub(crate) observer: &'a dyn Observer,
    pub(crate) secrets: &'a Secrets,
    pub(crate) supply: &'a dyn Supply,
    /// The lock files that were read.
    pub(crate) lock_files: LockFiles,
    /// Started when something has to run, for a build that runs nothing does without.
    /// The folder has the mount points that runs share: one of this build alone, for what an earlier one left would have
    /// to be verified.
    pub(crate) launcher: Mutex<Option<(Launcher, Scratch)>>,
    /// Set when this host was found to mount no overlays: what runs after that runs on copies.
    pub(crate) without_overlay: AtomicBool,
    /// Set for a second try: a result counts only when its trees are there and verify.
    pub(crate) thorough: bool,
    /// What is observed, where something is.
    pub(crate) observing: Option<Observing<'a>>,
}

impl Context<'_> {
    /// Gives the launcher of sandboxes.
    pub(crate) fn launcher(&self, title: &str) -> Result<Launcher, BuildError> {
        // Held while it is started, for there is one of it.
        let mut kept = self.launcher.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((launcher, _)) = &*kept {
            return Ok(launcher.clone());
        }
        let skeletons = self.store.scratch("skeletons")?;
        let mut options = self.settings.sandbox.clone();
        options.skeletons.get_or_insert_with(|| skeletons.path().to_owned());
        let started =
            Launcher::start(options).map_err(|source| BuildError::Sandbox { title: title.to_owned(), source })?;
        Ok(kept.insert((started, skeletons)).0.clone())
    }

    /// Gets ready what something will run on, and starts the launcher beside that. Whoever runs something is told when the
    /// launcher cannot be started.
    pub(crate) fn ready<T>(&self, title: &str, work: impl FnOnce() -> T) -> T {
        std::thread::scope(|scope| {
            if self.launcher.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
                scope.spawn(|| drop(self.launcher(title)));
            }
            work()
        })
    }

    /// Ends the launcher beside some work that runs nothing. What would run after all gets a new one.
    pub(crate) fn ended<T>(&self, work: impl FnOnce() -> T) -> T {
        let launcher = self.launcher.lock().unwrap_or_else(PoisonError::into_inner).take();
        std::thread::scope(|scope| {
            if launcher.is_some() {
                scope.spawn(|| drop(launcher));
            }
            work()
        })
    }

    /// Notes that this host mounts no overlays, and tells it once.
    pub(crate) fn overlay_refused(&self, why: &str) {
        if !self.without_overlay.swap(true, Ordering::Relaxed) {
            let message = format!(
                "no overlay can be mounted here, so what runs gets a copy of its root, which takes longer: {why}"
            );
            self.observer.event(&Event::Warning { message: &message });
        }
    }

    /// Fails when the user stopped the build.
    pub(crate) fn check(&self) -> Result<(), BuildError> {
        if self.stopped.load(Ordering::Relaxed) { Err(BuildError::Stopped) } else { Ok(()) }
    }

    /// Does something, and tells that it begins and how it ends. `work` says whether it used an earlier result.
    pub(crate) fn told<T>(
        &self,
        activity: Activity,
        title: &str,
        work: impl FnOnce(ActivityId) -> Result<(T, Ending), BuildError>,
    ) -> Result<T, BuildError> {
        self.check()?;
        let (id, start) = (ActivityId::fresh(), Instant::now());
        self.observer.event(&Event::Started { id, activity, title });
        let done = work(id);
        let ending = done.as_ref().map_or(Ending::Failed, |(_, ending)| *ending);
        self.observer.event(&Event::Finished { id, ending, took: start.elapsed() });
        done.map(|(value, _)| value)
    }

    /// Looks up the result of an action, unless the settings say that none counts.
    pub(crate) fn result<T: serde::de::DeserializeOwned>(
        &self,
        action: &bulla_model::Digest,
    ) -> Result<Option<T>, BuildError> {
        Ok(self.result_tainted(action)?.map(|(result, _)| result))
    }

    /// As [`Context::result`], with whether the result is tainted.
    pub(crate) fn result_tainted<T: serde::de::DeserializeOwned>(
        &self,
        action: &bulla_model::Digest,
    ) -> Result<Option<(T, bool)>, BuildError> {
        if self.is_forced_wholly() {
            return Ok(None);
        }
        Ok(super::record::lookup_tainted(self.store, action)?)
    }

    /// Says whether no result of an earlier build is used at all.
    pub(crate) fn is_forced_wholly(&self) -> bool {
        self.settings.anew == Anew::Everything || self.settings.again.is_some()
    }

    /// Says whether a step, counted from 1, is to run whatever results there are.
    pub(crate) fn is_forced(&self, stage: &Name, step: usize) -> bool {
        if self.settings.again.is_some() {
            return true;
        }
        match &self.settings.anew {
            Anew::Nothing => false,
            Anew::Steps(steps) => steps.iter().any(|named| named.covers(stage, step)),
            Anew::Everything => true,
        }
    }

    /// Says whether a tree is there, when this try wants to know.
    pub(crate) fn there(&self, tree: &bulla_model::Digest) -> Result<bool, BuildError> {
        if !self.thorough {
            return Ok(true);
        }
        match self.store.tree(tree)? {
            Some(tree) => Ok(tree.check().is_ok()),
            None => Ok(false),
        }
    }
}

//! Caches of a step: mounted as copies, kept when the step succeeded.
//!
//! A cache belongs to a project, a stage, and all that a step is but its sources and what earlier steps changed: another compiler,
//! flag or variable begins with an empty one. Compilers tell by times what has changed. All that lies in a cache, and all that
//! a step sees of sources and earlier steps, has one time; so what differs from what the step saw that left the cache is laid on
//! top once more with a later one.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use bulla_model::{
    CleanPath, Digest, Epoch, Tree,
    plan::{PlannedStage, PlannedStep},
    tree::Node,
};
use bulla_sandbox::Bind;
use bulla_store::CacheCopy;

use super::{
    BuildError,
    context::Context,
    record::{Action, CacheUse, FORMAT},
    stack::Stack,
};
use crate::event::Event;

/// The caches of one run of a step.
pub(super) struct Caches {
    copies: Vec<(CleanPath, CacheCopy)>,
    /// What the step sees above its root.
    seen: Tree,
    epoch: Epoch,
}

impl Caches {
    /// Copies the caches of a step, and lays on top what has changed since they were left.
    pub(super) fn open(
        context: &Context<'_>,
        stage: &PlannedStage,
        keys: &[Digest],
        stack: &mut Stack,
        epoch: Epoch,
    ) -> Result<Self, BuildError> {
        if stage.cache.is_empty() {
            return Ok(Self { copies: Vec::new(), seen: Tree::new(), epoch });
        }
        let below = stack.merged();
        let mut copies = Vec::new();
        for (path, key) in stage.cache.iter().zip(keys) {
            check(stage, path, &below)?;
            // By the store's key, so that a name tells nothing of a project and cannot be foreseen.
            let key = context.store.fingerprint(key.as_bytes());
            copies.push((path.clone(), context.store.cache(&key)?));
        }
        let seen = stack.above_root();
        let mut changed = BTreeSet::new();
        for before in copies.iter().filter_map(|(_, copy)| copy.seen()) {
            let differs = |path: &&CleanPath| {
                seen.file(path).is_some_and(|now| Some(now.1) != before.file(path).map(|(_, node)| node))
            };
            changed.extend(seen.iter().map(|(path, _)| path).filter(differs).cloned());
        }
        if !changed.is_empty() {
            let later = Epoch::new(epoch.seconds().saturating_add(1)).unwrap_or(epoch);
            stack.freshen(context.store, &changed, later)?;
        }
        Ok(Self { copies, seen, epoch })
    }

    /// Gives what is bound into the step's root.
    pub(super) fn binds(&self) -> Vec<Bind> {
        let bind = |(path, copy): &(CleanPath, CacheCopy)| Bind {
            source: copy.path(),
            target: PathBuf::from(format!("/{path}")),
            writable: true,
        };
        self.copies.iter().map(bind).collect()
    }

    /// Says what was found.
    pub(super) fn uses(&self) -> Vec<CacheUse> {
        let of =
            |(path, copy): &(CleanPath, CacheCopy)| CacheUse { path: format!("/{path}"), found: copy.seen().is_some() };
        self.copies.iter().map(of).collect()
    }

    /// Keeps what the step left, after it succeeded. That it cannot be kept does not fail a build.
    pub(super) fn keep(self, context: &Context<'_>, most: u64) {
        let Self { copies, seen, epoch } = self;
        for (path, copy) in copies {
            let message = match copy.keep(&seen, epoch, most) {
                Ok(bytes) if bytes <= most => continue,
                Ok(bytes) => {
                    format!("the cache /{path} has {bytes} bytes, more than a step may write, and is not kept")
                }
                Err(error) => format!("the cache /{path} is not kept: {error}"),
            };
            context.observer.event(&Event::Warning { message: &message });
        }
    }
}

/// Names the caches of a step, in the order of the stage's paths.
pub(super) fn keys(project: &Path, stage: &PlannedStage, step: &PlannedStep, root: Digest) -> Vec<Digest> {
    let (project, workdir) = (project.display().to_string(), stage.workdir.to_string());
    let key = |path: &CleanPath| {
        Action::Cache {
            format: FORMAT,
            project: &project,
            stage: stage.name.as_str(),
            path: &path.to_string(),
            root,
            argv: &step.argv,
            env: &step.env,
            workdir: &workdir,
            identity: stage.identity,
        }
        .digest()
    };
    stage.cache.iter().map(key).collect()
}

/// Sees that a cache covers nothing but a folder, at the very place that the spec names.
fn check(stage: &PlannedStage, path: &CleanPath, below: &Tree) -> Result<(), BuildError> {
    let in_the_way = path.ancestors().chain([path.clone()]).find_map(|above| match below.get(&above) {
        None | Some(Node::Directory { .. }) => None,
        Some(Node::Symlink { .. }) => Some(format!("/{above} is a symbolic link")),
        Some(_) => Some(format!("/{above} is a file")),
    });
    match in_the_way {
        Some(why) => Err(BuildError::NoCache { stage: stage.name.clone(), path: path.clone(), why }),
        None => Ok(()),
    }
}

//! Observing: runs stages once with what their steps ask for passed on to the registries that the user's configuration names, and pins the
//! answers in the lock. It is the one exception to the rule that foreign code chooses no bytes which leave the machine, so each request
//! is one that the ecosystem's own client makes, within a [`Budget`], and what steps leave is thrown away.

mod answers;
mod archives;
mod budget;
mod index;
mod passing;
mod sent;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bulla_build::{
    run::{Journal, Mirrored, Observing, Passage, Passing, Unsupplied},
    secret::Secrets,
};
use bulla_model::{
    Fault, Kind,
    lock::{AnswerPin, Answers, ObservedKey, Verified},
    spec::{Name, Named, StepRef},
};
use bulla_serve::Table;
use bulla_store::Store;

pub(crate) use self::budget::Budget;
use self::{answers::Book, archives::Archives};
use super::{
    build::{self, Wishes},
    dependencies::Dependencies,
    lock::{self, Wish},
    project::{self, Project},
    supply::{Own, unsupplied},
};
use crate::{
    error::{CommandError, Result},
    ops,
    remote::Tiers,
    session::Session,
};

/// A stage cannot be observed.
#[derive(Debug, thiserror::Error)]
enum NothingToObserve {
    #[error("there is no stage `{stage}`")]
    Unknown { stage: Name, known: Vec<Name> },
    #[error("nothing of the stage `{stage}` is observed: what its dependencies are, lock files say")]
    Pinned { stage: Name },
    #[error("no stage has dependencies that are observed")]
    Nowhere,
}

impl Fault for NothingToObserve {
    fn kind(&self) -> Kind {
        Kind::Spec
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Unknown { known, .. } => {
                let known: Vec<&str> = known.iter().map(Name::as_str).collect();
                vec![format!("stages of the spec are: {}", known.join(", "))]
            }
            Self::Pinned { .. } | Self::Nowhere => {
                vec!["what has no lock file of its own is named so: `dependencies: [{maven: pom.xml}]`, `dependencies: [{apt: trixie}]`, `dependencies: [{pypi: requirements.txt, build-dependencies: observed}]`".into()]
            }
        }
    }
}

/// Observes stages, all that can be where none is named, and writes the answers into the lock.
///
/// # Errors
/// When a stage cannot be observed, a step fails, more was asked for than may be, or an answer is not what its registry says.
pub(crate) fn run(session: &Session, project: &Project, named: &[Name], budget: Budget, wish: &Wish) -> Result<()> {
    let stages = chosen(project, named)?;
    let mut lock = lock::ensure(session, project, wish)?;
    let store = ops::store::open(session)?;
    let mut plans = build::plans(project, &lock, &Wishes::default())?;
    plans.iter_mut().for_each(|plan| plan.narrow_to(&stages));
    // Of a stage for one platform alone the others' plans have nothing.
    plans.retain(|plan| !plan.stages.is_empty());
    let wishes = Wishes { target: stages.first().cloned(), ..Wishes::default() };
    let pins = build::pins_for(&lock, &plans, &wishes);
    let others = Tiers::open(session, project)?;
    build::fetch_for(session, &store, project, &pins, others.as_ref())?;
    let (journal, secrets, own) = (Journal::default(), Secrets::default(), Own::new(session, &store, true));
    let registries = Registries {
        dependencies: Dependencies::new(session, &store, true),
        store: &store,
        budget,
        books: books(session, &stages, project, wish)?,
    };
    build::with_build(session, &store, project, (&plans, &wishes), (&journal, &secrets, &own), |build| {
        build.observe(Observing { stages: &stages, passage: &registries })
    })?;
    session.interrupt.check()?;
    lock.loose.extend(own.pinned());
    let mut said = Vec::new();
    for (key, book) in &registries.books {
        let now = book.answers();
        let before = lock.observed.insert(key.clone(), now.clone());
        said.push(told(key, before.as_ref(), &now));
    }
    lock::write(&project.lock_path, &lock)?;
    for archives in registries.books.values().filter_map(|book| book.archives.as_ref()) {
        lock::remember(session, &archives.dates())?;
    }
    session.say(&format!("Wrote {}:\n{}", project::shown(&project.lock_path), said.join("\n")));
    Ok(())
}

/// Says which stages are meant.
fn chosen(project: &Project, named: &[Name]) -> Result<BTreeSet<Name>> {
    let stages = &project.spec.stages;
    for stage in named {
        match stages.get(stage) {
            None => {
                let known = stages.keys().cloned().collect();
                return Err(NothingToObserve::Unknown { stage: stage.clone(), known }.into());
            }
            Some(known) if !known.is_observed() => return Err(NothingToObserve::Pinned { stage: stage.clone() }.into()),
            Some(_) => {}
        }
    }
    let all = || stages.iter().filter(|(_, stage)| stage.is_observed()).map(|(name, _)| name.clone()).collect();
    let chosen: BTreeSet<Name> = if named.is_empty() { all() } else { named.iter().cloned().collect() };
    if chosen.is_empty() { Err(NothingToObserve::Nowhere.into()) } else { Ok(chosen) }
}

/// One empty book for each kind of dependencies of each stage.
///
/// # Errors
/// When the archives that apt is to ask are nowhere configured.
fn books(
    session: &Session,
    stages: &BTreeSet<Name>,
    project: &Project,
    wish: &Wish,
) -> Result<BTreeMap<ObservedKey, Book>> {
    let mut books = BTreeMap::new();
    for name in stages {
        let Some(stage) = project.spec.stages.get(name) else { continue };
        for ecosystem in stage.observed() {
            let mut book = Book::default();
            let first = stage.dependencies.get(&ecosystem).and_then(|all| all.first());
            if let Some(Named::Release(release)) = first.map(|one| &one.named) {
                book.archives = Some(Arc::new(Archives::of(session, release, wish.allow_downgrade)?));
            }
            books.insert(ObservedKey { stage: name.clone(), ecosystem }, book);
        }
    }
    Ok(books)
}

/// Says what was observed, and what is new about it.
fn told(key: &ObservedKey, before: Option<&Answers>, now: &Answers) -> String {
    let given = now.values().filter(|answer| matches!(answer, AnswerPin::Given { .. })).count();
    let unverified = |answer: &&AnswerPin| matches!(answer, AnswerPin::Given { verified: Verified::Nothing, .. });
    let mut text =
        format!("  {}: {given} files of {}, {} that are not there", key.stage, key.ecosystem, now.len() - given);
    match now.values().filter(unverified).count() {
        0 => {}
        count => text.push_str(&format!("; {count} of them have no checksum in the registry")),
    }
    if let Some(before) = before {
        let changed = now.iter().filter(|(path, answer)| before.get(*path) != Some(*answer));
        let gone = before.keys().filter(|path| !now.contains_key(*path)).count();
        text.push_str(&format!("; {} new or changed, {gone} gone", changed.count()));
    }
    text
}

/// Passes on what steps ask of registries.
struct Registries<'a> {
    dependencies: Dependencies<'a>,
    store: &'a Store,
    budget: Budget,
    books: BTreeMap<ObservedKey, Book>,
}

impl Registries<'_> {
    fn of(&self, step: &StepRef, table: Table, mirrored: Mirrored) -> Result<Box<dyn Passing>, CommandError> {
        let mut kinds = Vec::new();
        for (key, book) in self.books.iter().filter(|(key, _)| key.stage == step.stage) {
            kinds.push((key.ecosystem, self.dependencies.known(key.ecosystem)?, book.clone()));
        }
        passing::start(kinds, self.store.clone(), (table, mirrored), self.budget)
    }
}

impl Passage for Registries<'_> {
    fn open(&self, step: &StepRef, table: Table, mirrored: Mirrored) -> Result<Box<dyn Passing + '_>, Unsupplied> {
        self.of(step, table, mirrored).map(|passing| passing as Box<dyn Passing>).map_err(unsupplied)
    }
}

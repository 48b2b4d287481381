//! Images on their way between layouts, archives, the store and registries.
//!
//! One way for all: the manifests are read and walked through ([`graph`]); blobs that the target does not have go over side by
//! side; then the manifests, the inner ones first, and what refers to them; then what arrived is read back and compared; the name comes last. So a
//! name never leads to half an image, and what was cut off is gone on with.

mod error;
mod graph;
mod joined;
mod layout;
mod place;
mod source;
mod target;

use std::{
    collections::VecDeque,
    num::NonZero,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use bulla_build::event::{ActivityId, Ending, Event, Observer};
use bulla_model::oci::Descriptor;
use clap::Args;

pub(crate) use self::{
    error::TransferError,
    graph::Graph,
    joined::JoinedSource,
    layout::LayoutSource,
    place::Place,
    source::{Beside, RegistrySource, Source, StoreSource},
    target::{ArchiveTarget, LayoutTarget, RegistryTarget, StoreTarget, Target},
};
use crate::{error::Result, session::Session};

/// How many blobs go over at once.
const PARALLEL: usize = 4;
/// How often progress is told.
const EVERY: Duration = Duration::from_millis(100);

/// The most things that are named one by one as left out.
const MAX_NAMED: usize = 4;

/// Whether what refers to an image goes with it: its signatures, lists of packages and the like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub(crate) struct Referrers {
    /// Take the image alone, without what refers to it
    ///
    /// Signatures, lists of packages and other evidence refer to an image as their subject, and are taken along otherwise.
    #[arg(long)]
    no_referrers: bool,
}

impl Referrers {
    /// The image goes with all that refers to it.
    pub(crate) const TAKEN: Self = Self { no_referrers: false };
    /// The image goes alone.
    pub(crate) const LEFT: Self = Self { no_referrers: true };
}

/// Brings an image over, and gives what it is.
///
/// # Errors
/// When the source does not have it whole and sound, or the target does not take it.
pub(crate) fn run(
    session: &Session,
    source: &dyn Source,
    target: &dyn Target,
    referrers: Referrers,
) -> Result<Descriptor> {
    let observer = session.observer();
    let (root, bytes) = source.root()?;
    target.accept(&root)?;
    let graph = Graph::walk(&root, bytes, source, !referrers.no_referrers)?;
    session.interrupt.check()?;
    tell(session, &graph);
    let told = Told::begin(&*observer, target, &graph.blobs);
    let done = blobs(session, source, target, &graph, &told).and_then(|()| {
        session.interrupt.check()?;
        let manifests = || graph.manifests.iter().chain(&graph.referrers);
        manifests().try_for_each(|(entry, bytes)| target.put_manifest(entry, bytes))?;
        target.list_referrers()?;
        manifests().try_for_each(|(entry, bytes)| target.check(entry, bytes))?;
        session.interrupt.check()?;
        target.name(&root, graph.root())
    });
    told.end(done.is_ok());
    done.map(|()| root)
}

/// Says what goes with the image, and what was listed and does not.
fn tell(session: &Session, graph: &Graph) {
    match graph.referrers.len() {
        0 => {}
        1 => session.say("One manifest that refers to the image goes with it."),
        count => session.say(&format!("{count} manifests that refer to the image go with it.")),
    }
    for left in graph.left.iter().take(MAX_NAMED) {
        session.warn(&format!("left out: {left}"));
    }
    if graph.left.len() > MAX_NAMED {
        session.warn(&format!("left out: {} more of that kind", graph.left.len() - MAX_NAMED));
    }
}

/// Brings the blobs over, several at once; after a failure no further one begins.
fn blobs(session: &Session, source: &dyn Source, target: &dyn Target, graph: &Graph, told: &Told<'_>) -> Result<()> {
    let queue: Mutex<VecDeque<(usize, &Descriptor)>> = Mutex::new(graph.blobs.iter().enumerate().collect());
    let failure = Mutex::new(None);
    let most = thread::available_parallelism().map_or(PARALLEL, NonZero::get).max(PARALLEL);
    thread::scope(|scope| {
        for _ in 0..most.min(PARALLEL).min(graph.blobs.len()) {
            scope.spawn(|| {
                while lock(&failure).is_none() {
                    let Some((at, blob)) = lock(&queue).pop_front() else { return };
                    let done =
                        session.interrupt.check().and_then(|()| one(source, target, blob, &|have| told.take(at, have)));
                    match done {
                        Ok(()) => told.take(at, blob.size),
                        Err(error) => drop(lock(&failure).get_or_insert(error)),
                    }
                }
            });
        }
    });
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

fn one(source: &dyn Source, target: &dyn Target, blob: &Descriptor, progress: &dyn Fn(u64)) -> Result<()> {
    if target.has(blob)? { Ok(()) } else { target.put(blob, source, progress) }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells how far all blobs are together.
struct Told<'a> {
    observer: &'a dyn Observer,
    id: ActivityId,
    start: Instant,
    total: u64,
    state: Mutex<(Vec<u64>, Instant)>,
}

impl<'a> Told<'a> {
    fn begin(observer: &'a dyn Observer, target: &dyn Target, blobs: &[Descriptor]) -> Self {
        let (id, start) = (ActivityId::fresh(), Instant::now());
        observer.event(&Event::Started { id, activity: target.activity(), title: &target.title() });
        let total = blobs.iter().fold(0, |sum: u64, blob| sum.saturating_add(blob.size));
        Self { observer, id, start, total, state: Mutex::new((vec![0; blobs.len()], start)) }
    }

    fn take(&self, at: usize, have: u64) {
        let mut state = lock(&self.state);
        if let Some(known) = state.0.get_mut(at) {
            *known = have;
        }
        let done = state.0.iter().fold(0, |sum: u64, have| sum.saturating_add(*have));
        if state.1.elapsed() >= EVERY || done == self.total {
            state.1 = Instant::now();
            self.observer.event(&Event::Progress { id: self.id, done, total: Some(self.total), unit: "bytes" });
        }
    }

    fn end(&self, good: bool) {
        let ending = if good { Ending::Done } else { Ending::Failed };
        self.observer.event(&Event::Finished { id: self.id, ending, took: self.start.elapsed() });
    }
}

//! Tells how far many things are together.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use bulla_build::event::{Activity, ActivityId, Ending, Event, Observer};

use super::lock;

/// How often progress is told.
const EVERY: Duration = Duration::from_millis(100);

/// One activity in which many bytes come or go.
pub(super) struct Told<'a> {
    observer: &'a dyn Observer,
    id: ActivityId,
    start: Instant,
    total: u64,
    state: Mutex<(Vec<u64>, Instant)>,
}

impl<'a> Told<'a> {
    /// Says that it begins; `sizes` are those of the things.
    pub(super) fn begin(observer: &'a dyn Observer, activity: Activity, title: &str, sizes: &[u64]) -> Self {
        let (id, start) = (ActivityId::fresh(), Instant::now());
        observer.event(&Event::Started { id, activity, title });
        let total = sizes.iter().fold(0, |sum: u64, size| sum.saturating_add(*size));
        Self { observer, id, start, total, state: Mutex::new((vec![0; sizes.len()], start)) }
    }

    /// Takes note of how many bytes of a thing there are.
    pub(super) fn take(&self, at: usize, have: u64) {
        let mut state = lock(&self.state);
        if let Some(known) = state.0.get_mut(at) {
            *known = have;
        }
        if state.1.elapsed() >= EVERY {
            state.1 = Instant::now();
            let done = state.0.iter().fold(0, |sum: u64, have| sum.saturating_add(*have)).min(self.total);
            self.observer.event(&Event::Progress { id: self.id, done, total: Some(self.total), unit: "bytes" });
        }
    }

    /// Says how it ended.
    pub(super) fn end(self, good: bool) {
        let ending = if good { Ending::Done } else { Ending::Failed };
        self.observer.event(&Event::Finished { id: self.id, ending, took: self.start.elapsed() });
    }
}

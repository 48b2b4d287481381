//! Does the same with many things, some at once.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How many things come or go at once.
const PARALLEL: usize = 8;

/// Does something with each of many things. After one has said false, nothing new is begun.
pub(super) fn each<T: Sync>(things: &[T], work: impl Fn(usize, &T) -> bool + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..PARALLEL.min(things.len()) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(thing) = things.get(at) else { return };
                    if !work(at, thing) {
                        next.store(things.len(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
}

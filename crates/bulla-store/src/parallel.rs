//! Work on many items by as many threads as the machine has for us, up to eight.

use std::sync::{
    OnceLock,
    atomic::{AtomicUsize, Ordering},
};

/// The most threads that are started.
const MOST: usize = 8;

/// How many items a thread takes at once.
const BATCH: usize = 64;

/// Says how many threads are worth starting for so many batches.
fn threads(batches: usize) -> usize {
    // Asked once, for the answer is in several files of the kernel, and most trees are small.
    static AVAILABLE: OnceLock<usize> = OnceLock::new();
    if batches <= 1 {
        return 1;
    }
    let available = *AVAILABLE.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from));
    available.min(MOST).min(batches)
}

/// Applies a function to each item and gives the results in the items' order. The first error (in that order) is given;
/// after an error no new batch is begun.
pub(crate) fn map<T: Sync, R: Send, E: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    map_by(items, BATCH, work)
}

/// As [`map`], with another number of items that a thread takes at once.
pub(crate) fn map_by<T: Sync, R: Send, E: Send>(
    items: &[T],
    batch_size: usize,
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let count = threads(items.len().div_ceil(batch_size));
    if count == 1 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let run = || {
        let mut done: Vec<(usize, Result<Vec<R>, E>)> = Vec::new();
        loop {
            let batch = next.fetch_add(1, Ordering::Relaxed);
            let Some(items) = items.chunks(batch_size).nth(batch) else { return done };
            let results: Result<Vec<R>, E> = items.iter().map(&work).collect();
            let failed = results.is_err();
            done.push((batch, results));
            if failed {
                next.store(usize::MAX / 2, Ordering::Relaxed);
                return done;
            }
        }
    };
    let mut batches: Vec<(usize, Result<Vec<R>, E>)> = std::thread::scope(|scope| {
        let helpers: Vec<_> = (1..count).map(|_| scope.spawn(run)).collect();
        let mut all = run();
        for helper in helpers {
            match helper.join() {
                Ok(done) => all.extend(done),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    });
    batches.sort_by_key(|(batch, _)| *batch);
    let mut results = Vec::with_capacity(items.len());
    for (_, batch) in batches {
        results.extend(batch?);
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_of_the_items() {
        let items: Vec<u32> = (0..10_000).collect();
        let doubled = map(&items, |item| Ok::<_, ()>(item * 2)).expect("no error");
        assert!(doubled.iter().zip(&items).all(|(d, i)| *d == i * 2));
        assert_eq!(doubled.len(), items.len());
    }

    #[test]
    fn an_error_is_given() {
        let items: Vec<u32> = (0..10_000).collect();
        assert_eq!(map(&items, |item| if *item == 7777 { Err(*item) } else { Ok(()) }), Err(7777));
    }
}

//! Politeness: so many connections to one host, and no more.

use std::{
    collections::BTreeMap,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Counts the connections to each host.
#[derive(Debug)]
pub(crate) struct Gate {
    most: usize,
    busy: Mutex<BTreeMap<String, usize>>,
    freed: Condvar,
}

/// The right to one connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit<'a> {
    gate: &'a Gate,
    host: String,
}

impl Gate {
    pub(crate) fn new(most: usize) -> Self {
        Self { most: most.max(1), busy: Mutex::default(), freed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a connection to a host to be free; `None` when `stopped` became true meanwhile.
    pub(crate) fn enter(&self, host: String, stopped: impl Fn() -> bool) -> Option<Permit<'_>> {
        let mut busy = self.lock();
        loop {
            if stopped() {
                return None;
            }
            let count = busy.entry(host.clone()).or_default();
            if *count < self.most {
                *count += 1;
                return Some(Permit { gate: self, host });
            }
            let waited = self.freed.wait_timeout(busy, Duration::from_millis(100));
            busy = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut busy = self.gate.lock();
        if let Some(count) = busy.get_mut(&self.host) {
            *count -= 1;
            if *count == 0 {
                busy.remove(&self.host);
            }
        }
        drop(busy);
        self.gate.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_so_many_enter() {
        let gate = Gate::new(2);
        let first = gate.enter("a".into(), || false);
        let second = gate.enter("a".into(), || false);
        assert!(first.is_some() && second.is_some());
        let polls = std::cell::Cell::new(0);
        let stop_soon = || {
            polls.set(polls.get() + 1);
            polls.get() > 1
        };
        assert!(gate.enter("a".into(), stop_soon).is_none(), "the host is busy");
        assert!(gate.enter("b".into(), || false).is_some(), "another host is not");
        drop(first);
        assert!(gate.enter("a".into(), || false).is_some());
    }
}

//! Reads a body while its pace is watched: a mirror that trickles is as good as one that is down.

use std::{
    io::{self, Read},
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use crate::{config::Timeouts, error::NetError, url::Url};

/// A body, and when its bytes came.
pub(crate) struct Paced<'a, R> {
    body: R,
    url: &'a Url,
    timeouts: &'a Timeouts,
    cancel: &'a AtomicBool,
    window: Instant,
    in_window: u64,
    received: u64,
}

impl<'a, R: Read> Paced<'a, R> {
    /// Begins to read; `received` bytes of the whole were there before.
    pub(crate) fn new(body: R, url: &'a Url, timeouts: &'a Timeouts, cancel: &'a AtomicBool, received: u64) -> Self {
        Self { body, url, timeouts, cancel, window: Instant::now(), in_window: 0, received }
    }

    /// Reads the next bytes; 0 at the end.
    pub(crate) fn next(&mut self, buffer: &mut [u8]) -> Result<usize, NetError> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(NetError::Cancelled);
        }
        let count = match self.body.read(buffer) {
            Ok(count) => count,
            Err(error) => return Err(self.failed(error)),
        };
        self.received += count as u64;
        self.in_window += count as u64;
        let elapsed = self.window.elapsed();
        if elapsed >= self.timeouts.stall {
            if self.in_window < self.timeouts.slowest.saturating_mul(elapsed.as_secs()) {
                return Err(self.stalled());
            }
            self.window = Instant::now();
            self.in_window = 0;
        }
        Ok(count)
    }

    fn stalled(&self) -> NetError {
        let seconds = self.window.elapsed().as_secs();
        NetError::Stalled { url: self.url.shown(), received: self.in_window, seconds }
    }

    fn failed(&self, error: io::Error) -> NetError {
        if self.cancel.load(Ordering::Relaxed) {
            return NetError::Cancelled;
        }
        let timed_out = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>());
        if matches!(timed_out, Some(ureq::Error::Timeout(_))) || error.kind() == io::ErrorKind::TimedOut {
            return self.stalled();
        }
        NetError::CutOff { url: self.url.shown(), received: self.received, source: Some(error) }
    }
}

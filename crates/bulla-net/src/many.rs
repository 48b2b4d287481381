//! Many downloads side by side.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

use crate::{
    client::Client,
    download::{Download, DownloadSink, SinkError},
    error::{FetchErrors, NetError},
};

/// What is told while many downloads go on. `at` is the place of the download in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// A download begins.
    Began {
        /// Its place in the list.
        at: usize,
    },
    /// So many of its bytes are there; fewer than before when it started again.
    Bytes {
        /// Its place in the list.
        at: usize,
        /// The bytes there are.
        have: u64,
    },
    /// A download is complete and verified.
    Done {
        /// Its place in the list.
        at: usize,
    },
}

/// What the threads share.
struct Work<'a> {
    queue: Mutex<VecDeque<(usize, &'a Download)>>,
    failures: Mutex<Vec<(usize, NetError)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Client {
    /// Downloads everything of a list, the largest first, as many at once as the configuration allows. After a failure no
    /// further download begins; those that go on are ended well.
    ///
    /// # Errors
    /// When a sink cannot be made or a download fails; all that failed are in the error.
    pub fn download_all<S: DownloadSink>(
        &self,
        downloads: &[Download],
        make_sink: &(dyn Fn(&Download) -> Result<S, SinkError> + Sync),
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<(), FetchErrors> {
        let mut order: Vec<(usize, &Download)> = downloads.iter().enumerate().collect();
        order.sort_by_key(|(at, download)| (std::cmp::Reverse(download.size), *at));
        let threads = self.inner.config.parallelism.clamp(1, 64).min(order.len());
        let work = Work { queue: Mutex::new(order.into()), failures: Mutex::default() };
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| self.work(&work, make_sink, progress));
            }
        });
        let mut failures = work.failures.into_inner().unwrap_or_else(PoisonError::into_inner);
        failures.sort_by_key(|(at, _)| *at);
        if failures.is_empty() {
            return Ok(());
        }
        let (places, errors) = failures.into_iter().unzip();
        Err(FetchErrors { errors, places, left: lock(&work.queue).len() })
    }

    fn work<S: DownloadSink>(
        &self,
        work: &Work<'_>,
        make_sink: &(dyn Fn(&Download) -> Result<S, SinkError> + Sync),
        progress: &(dyn Fn(Progress) + Sync),
    ) {
        loop {
            if !lock(&work.failures).is_empty() {
                return;
            }
            let Some((at, download)) = lock(&work.queue).pop_front() else { return };
            progress(Progress::Began { at });
            let url = || download.urls.first().map(crate::Url::shown).unwrap_or_default();
            let result =
                make_sink(download).map_err(|source| NetError::Sink { url: url(), source }).and_then(|mut sink| {
                    self.download(download, &mut sink, &|have| progress(Progress::Bytes { at, have }))
                });
            match result {
                Ok(()) => progress(Progress::Done { at }),
                Err(error) => lock(&work.failures).push((at, error)),
            }
        }
    }
}

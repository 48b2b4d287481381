//! The client, and the fetching of small things into memory.

use std::{
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    agents::Agents,
    config::{NetConfig, Reach},
    error::NetError,
    exchange::Question,
    gate::{Gate, Permit},
    pace::Paced,
    retry,
    url::Url,
};

/// The HTTP client. It is cheap to clone, and may be used by several threads at once.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: NetConfig,
    pub(crate) agents: Agents,
    gate: Gate,
    watch: OnceLock<()>,
}

/// Something small that is wanted in memory: an index, a signature.
#[derive(Debug, Clone)]
pub struct Get {
    /// Where it may be had, the first choice first.
    pub urls: Vec<Url>,
    /// Who chose the URLs.
    pub reach: Reach,
    /// The most bytes that are accepted.
    pub max_size: u64,
    /// The media types that are wanted, as `Accept` has them; nothing for all.
    pub accept: Option<&'static str>,
}

/// What came.
#[derive(Debug, Clone)]
pub struct Body {
    /// The bytes as the server sent them, not decompressed.
    pub bytes: Vec<u8>,
    /// The mirror's URL that was asked, before redirects.
    pub url: Url,
}

/// How often the flag of the user's stop is looked at while something may be waiting.
const WATCH: Duration = Duration::from_millis(50);
/// The size of a read.
pub(crate) const CHUNK: usize = 64 * 1024;

impl Client {
    /// Makes a client. Nothing is connected, and no system authority read, before it is needed.
    ///
    /// # Errors
    /// When an authority or a proxy of the configuration is not valid.
    pub fn new(config: NetConfig) -> Result<Self, NetError> {
        let agents = Agents::new(&config)?;
        let gate = Gate::new(config.parallelism);
        Ok(Self { inner: Arc::new(Inner { config, agents, gate, watch: OnceLock::new() }) })
    }

    /// Fetches something small, from the first mirror that gives it.
    ///
    /// # Errors
    /// When no mirror gives it, when it is too large, or when the user stops it.
    pub fn get_bytes(&self, get: &Get) -> Result<Body, NetError> {
        let mut failures = Vec::new();
        for url in &get.urls {
            match self.get_from(url, get) {
                Ok(bytes) => return Ok(Body { bytes, url: url.clone() }),
                Err(error) if error.is_final() => return Err(error),
                Err(error) => failures.push(error),
            }
        }
        Err(NetError::of_mirrors(failures, || "an index".to_owned()))
    }

    fn get_from(&self, url: &Url, get: &Get) -> Result<Vec<u8>, NetError> {
        let mut attempts = Attempts::new(self);
        loop {
            match self.get_once(url, get) {
                Ok(bytes) => return Ok(bytes),
                Err(error) => attempts.after(error)?,
            }
        }
    }

    fn get_once(&self, url: &Url, get: &Get) -> Result<Vec<u8>, NetError> {
        let _permit = self.enter(url)?;
        let config = &self.inner.config;
        let answer = self.inner.agents.ask(&Question::new(url, get.reach), config)?;
        let too_large = || NetError::TooLarge { url: url.shown(), limit: get.max_size };
        if answer.length.is_some_and(|length| length > get.max_size) {
            return Err(too_large());
        }
        let mut body = Paced::new(answer.body.into_reader(), url, &config.timeouts, &config.cancel, 0);
        let mut bytes = Vec::new();
        let mut chunk = vec![0; CHUNK];
        loop {
            match body.next(&mut chunk)? {
                0 => return Ok(bytes),
                count => bytes.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            }
            if bytes.len() as u64 > get.max_size {
                return Err(too_large());
            }
        }
    }

    /// Waits until the host of a URL may get one more connection.
    pub(crate) fn enter(&self, url: &Url) -> Result<Permit<'_>, NetError> {
        self.watch();
        self.inner.gate.enter(url.origin(), || self.is_cancelled()).ok_or(NetError::Cancelled)
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.inner.config.cancel.load(Ordering::Relaxed)
    }

    /// Lets a thread break the connections when the user stops the program, so that no one waits for a timeout first.
    fn watch(&self) {
        self.inner.watch.get_or_init(|| {
            let (inner, cancel) = (Arc::downgrade(&self.inner), self.inner.config.cancel.clone());
            // Without the thread stopping is only slower.
            let _ = thread::Builder::new().name("bulla-net-stop".into()).spawn(move || wait_for_stop(&inner, &cancel));
        });
    }
}

fn wait_for_stop(inner: &Weak<Inner>, cancel: &AtomicBool) {
    loop {
        thread::sleep(WATCH);
        let Some(inner) = inner.upgrade() else { return };
        if cancel.load(Ordering::Relaxed) {
            inner.agents.shut_down();
            return;
        }
    }
}

/// The attempts at one mirror.
pub(crate) struct Attempts<'a> {
    client: &'a Client,
    count: u32,
    start: Instant,
}

impl<'a> Attempts<'a> {
    pub(crate) fn new(client: &'a Client) -> Self {
        Self { client, count: 0, start: Instant::now() }
    }

    /// Counts anew, since the last attempt brought the download on.
    pub(crate) fn reset(&mut self) {
        self.count = 0;
    }

    /// Counts an attempt that is made again at once; says whether there may be one.
    pub(crate) fn may_go_on(&mut self) -> bool {
        self.count += 1;
        self.count <= self.client.inner.config.retries
    }

    /// Waits before the next attempt, or gives the error back when there is to be none.
    pub(crate) fn after(&mut self, error: NetError) -> Result<(), NetError> {
        let config = &self.client.inner.config;
        if self.client.is_cancelled() {
            return Err(NetError::Cancelled);
        }
        let asked = match error {
            NetError::Later { seconds, .. } => Some(Duration::from_secs(seconds)),
            _ => None,
        };
        let too_long = asked.is_some_and(|pause| pause > config.timeouts.longest_pause);
        if self.count >= config.retries || too_long || !(error.is_passing() || asked.is_some()) {
            return Err(error);
        }
        let seed = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(0);
        let pause = retry::pause(&config.timeouts, self.count, seed).max(asked.unwrap_or_default());
        self.count += 1;
        self.sleep(pause)
    }

    fn sleep(&self, pause: Duration) -> Result<(), NetError> {
        let end = Instant::now() + pause;
        loop {
            if self.client.is_cancelled() {
                return Err(NetError::Cancelled);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(WATCH));
        }
    }
}

//! The downloading of one large thing, which is known by its digest: resumed where it was cut off, checked while it comes.

use bulla_model::{Digest, Hasher};
use ureq::http::HeaderValue;

use crate::{
    client::{Attempts, CHUNK, Client, Get},
    config::{Reach, Secret},
    error::NetError,
    exchange::{Access, Answer, Question},
    pace::Paced,
    url::Url,
};

/// An error of a sink, of whatever kind it has.
pub type SinkError = Box<dyn std::error::Error + Send + Sync>;

/// Something that is wanted, and known by its digest.
#[derive(Debug, Clone)]
pub struct Download {
    /// Where it may be had, the first choice first.
    pub urls: Vec<Url>,
    /// Who chose the URLs.
    pub reach: Reach,
    /// Its size in bytes, where it is known.
    pub size: Option<u64>,
    /// Its digest.
    pub digest: Digest,
}

/// What became of the bytes when all had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// They are the right ones, and are kept.
    Kept,
    /// They are others, with this digest.
    Mismatch(Digest),
}

/// Where the bytes of a download go.
pub trait DownloadSink {
    /// Says how many bytes are there already, from an earlier attempt.
    fn have(&self) -> u64;

    /// Adds the next bytes.
    ///
    /// # Errors
    /// When they cannot be kept: the disk is full.
    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError>;

    /// Forgets all bytes.
    ///
    /// # Errors
    /// When that cannot be done.
    fn restart(&mut self) -> Result<(), SinkError>;

    /// Compares the digest of all bytes, those of earlier attempts too, and keeps them for good if it is the right one.
    ///
    /// # Errors
    /// When they cannot be kept.
    fn finish(&mut self, expected: &Digest) -> Result<Finish, SinkError>;
}

/// A sink in memory.
#[derive(Debug, Default)]
pub struct MemorySink {
    bytes: Vec<u8>,
    kept: bool,
}

impl MemorySink {
    /// Starts with what an earlier attempt left.
    pub fn with(bytes: Vec<u8>) -> Self {
        Self { bytes, kept: false }
    }

    /// Gives the bytes, once they were found to be the right ones.
    pub fn into_verified(self) -> Option<Vec<u8>> {
        self.kept.then_some(self.bytes)
    }
}

impl DownloadSink for MemorySink {
    fn have(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn restart(&mut self) -> Result<(), SinkError> {
        self.bytes.clear();
        Ok(())
    }

    fn finish(&mut self, expected: &Digest) -> Result<Finish, SinkError> {
        let mut hasher = Hasher::new();
        hasher.update(&self.bytes);
        let actual = hasher.finish();
        self.kept = actual == *expected;
        Ok(if self.kept { Finish::Kept } else { Finish::Mismatch(actual) })
    }
}

/// An attempt that brought so many bytes does not count as failed: a connection that breaks every minute still ends.
pub(crate) const PROGRESS: u64 = 256 * 1024;
/// The most bytes of a download whose size is not known.
const MAX_SIZE: u64 = 64 << 30;

impl Client {
    /// Downloads into a sink, from the first mirror that gives the right bytes. `progress` is told how many of them are
    /// there; that number goes back when a download starts again.
    ///
    /// # Errors
    /// When no mirror gives the right bytes, the sink fails, or the user stops it.
    pub fn download(
        &self,
        download: &Download,
        sink: &mut dyn DownloadSink,
        progress: &dyn Fn(u64),
    ) -> Result<(), NetError> {
        self.download_as(download, Access::Logins, sink, progress)
    }

    /// Downloads something of which the sink knows what it must be, by whatever it is pinned: [`DownloadSink::finish`] is given
    /// `stands_for`, which need not be its digest. The requests have this value of `Authorization`, or none, as those of
    /// [`Client::get_into_with`].
    ///
    /// # Errors
    /// As [`Client::download`]; when it is larger than [`Get::max_size`], and when the value is none that a header can have.
    pub fn download_with(
        &self,
        get: &Get,
        authorization: Option<&Secret>,
        stands_for: Digest,
        sink: &mut dyn DownloadSink,
        progress: &dyn Fn(u64),
    ) -> Result<(), NetError> {
        if authorization.is_some_and(|value| HeaderValue::from_str(value.reveal()).is_err()) {
            let url = get.urls.first().map(Url::shown).unwrap_or_default();
            return Err(NetError::Nonsense { url, reason: "the login for it is none that can be sent" });
        }
        let download = Download { urls: get.urls.clone(), reach: get.reach, size: None, digest: stands_for };
        self.download_bounded(&download, Access::Given(authorization), get.max_size, sink, progress)
    }

    /// As [`Client::download`], with what the requests say of who asks.
    pub(crate) fn download_as(
        &self,
        download: &Download,
        access: Access<'_>,
        sink: &mut dyn DownloadSink,
        progress: &dyn Fn(u64),
    ) -> Result<(), NetError> {
        self.download_bounded(download, access, MAX_SIZE, sink, progress)
    }

    fn download_bounded(
        &self,
        download: &Download,
        access: Access<'_>,
        limit: u64,
        sink: &mut dyn DownloadSink,
        progress: &dyn Fn(u64),
    ) -> Result<(), NetError> {
        let mut failures = Vec::new();
        for url in &download.urls {
            let mut one = One { client: self, download, url, access, limit, sink, progress, tag: None };
            match one.run() {
                Ok(()) => return Ok(()),
                Err(error) if error.is_final() => return Err(error),
                Err(error) => failures.push(error),
            }
        }
        Err(NetError::of_mirrors(failures, || download.digest.to_string()))
    }
}

/// A download from one mirror.
struct One<'a> {
    client: &'a Client,
    download: &'a Download,
    url: &'a Url,
    access: Access<'a>,
    /// The most bytes, where the size is not known.
    limit: u64,
    sink: &'a mut dyn DownloadSink,
    progress: &'a dyn Fn(u64),
    tag: Option<String>,
}

impl One<'_> {
    fn run(&mut self) -> Result<(), NetError> {
        // Bytes that were there before may come from another version or a mirror that lied: if the whole is wrong, this
        // mirror gets one chance to give all of it.
        let mut doubtful = self.sink.have() > 0;
        loop {
            self.bring_all()?;
            let finish = self.sink.finish(&self.download.digest).map_err(|source| self.sink_error(source))?;
            let Finish::Mismatch(actual) = finish else { return Ok(()) };
            self.restart()?;
            if !std::mem::take(&mut doubtful) {
                let (url, expected) = (self.url.shown(), self.download.digest);
                return Err(NetError::WrongDigest { url, expected, actual });
            }
        }
    }

    /// Asks until all bytes are there.
    fn bring_all(&mut self) -> Result<(), NetError> {
        let mut attempts = Attempts::new(self.client);
        loop {
            let before = self.sink.have();
            if self.download.size.is_some_and(|size| size == before && before > 0) {
                return Ok(());
            }
            let Err(error) = self.bring_some() else { return Ok(()) };
            if self.sink.have() >= before.saturating_add(PROGRESS) {
                attempts.reset();
            }
            attempts.after(error)?;
        }
    }

    fn bring_some(&mut self) -> Result<(), NetError> {
        if self.download.size.is_some_and(|size| self.sink.have() > size) {
            self.restart()?;
        }
        let _permit = self.client.enter(self.url)?;
        let have = self.sink.have();
        let from = (have > 0).then_some((have, self.tag.as_deref()));
        let question = Question { from, access: self.access, ..Question::new(self.url, self.download.reach) };
        let answer = self.client.inner.agents.ask(&question, &self.client.inner.config)?;
        self.check_head(&answer)?;
        self.tag = answer.tag.clone();
        self.copy(answer)
    }

    /// Compares what the head of the answer says with what is known, before any of the body is read.
    fn check_head(&mut self, answer: &Answer) -> Result<(), NetError> {
        let whole = match answer.status {
            200 => {
                self.restart()?;
                answer.length
            }
            206 if answer.range.is_some_and(|(first, _)| first == self.sink.have()) => {
                answer.range.and_then(|(_, whole)| whole)
            }
            _ => {
                // Another part than was asked for, or a beginning that is longer than the file.
                self.restart()?;
                self.tag = None;
                return Err(NetError::CutOff { url: self.url.shown(), received: 0, source: None });
            }
        };
        match (whole, self.download.size) {
            (Some(whole), Some(size)) if whole != size => Err(self.wrong_size(size, whole.to_string())),
            (Some(whole), None) if whole > self.limit => Err(self.too_large()),
            _ => Ok(()),
        }
    }

    fn copy(&mut self, answer: Answer) -> Result<(), NetError> {
        let config = &self.client.inner.config;
        let limit = self.download.size.unwrap_or(self.limit);
        let mut body =
            Paced::new(answer.body.into_reader(), self.url, &config.timeouts, &config.cancel, self.sink.have());
        let mut chunk = vec![0; CHUNK];
        loop {
            let count = body.next(&mut chunk)?;
            let have = self.sink.have();
            if count == 0 {
                let short = self.download.size.is_some_and(|size| have < size);
                let cut_off = || NetError::CutOff { url: self.url.shown(), received: have, source: None };
                return if short { Err(cut_off()) } else { Ok(()) };
            }
            if have + count as u64 > limit {
                self.restart()?;
                return Err(match self.download.size {
                    Some(size) => self.wrong_size(size, "more".to_owned()),
                    None => self.too_large(),
                });
            }
            let bytes = chunk.get(..count).unwrap_or_default();
            self.sink.write(bytes).map_err(|source| self.sink_error(source))?;
            (self.progress)(have + count as u64);
        }
    }

    fn restart(&mut self) -> Result<(), NetError> {
        if self.sink.have() > 0 {
            self.sink.restart().map_err(|source| self.sink_error(source))?;
            (self.progress)(0);
        }
        Ok(())
    }

    fn wrong_size(&self, expected: u64, got: String) -> NetError {
        NetError::WrongSize { url: self.url.shown(), expected, got }
    }

    fn too_large(&self) -> NetError {
        NetError::TooLarge { url: self.url.shown(), limit: self.limit }
    }

    fn sink_error(&self, source: SinkError) -> NetError {
        NetError::Sink { url: self.url.shown(), source }
    }
}

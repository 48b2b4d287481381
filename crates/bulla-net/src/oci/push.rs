//! What goes into a registry: blobs, resumed where they were cut off, and manifests.

use std::{
    io::{self, Read, Seek, SeekFrom},
    sync::atomic::{AtomicBool, Ordering},
};

use bulla_model::{
    Digest,
    oci::{self, Descriptor},
};
use ureq::http::{HeaderName, Method, Response, header};

use super::{
    RegistryError, Repository,
    repository::{Answered, Tried},
};
use crate::{client::Attempts, config::Secret, error::NetError, exchange::header_text, url::Url};

/// A blob that is to be sent: it may be read from any place of it, several times.
pub trait BlobSource: Read + Seek {}

impl<T: Read + Seek> BlobSource for T {}

/// What became of a wish to take a blob over from another repository.
#[derive(Debug)]
pub enum Mounted {
    /// It is there now.
    Done,
    /// It must be sent; where, the registry has said.
    Upload(Upload),
}

/// A place that a registry gave to send a blob to.
#[derive(Debug)]
pub struct Upload {
    url: Url,
    chunk: u64,
}

/// The bytes of one part of a large blob. What is cut off is sent again from the last part that the registry has.
const CHUNK: u64 = 16 << 20;
/// The largest part that a registry may ask for.
const MAX_CHUNK: u64 = 1 << 30;

impl Repository {
    /// Asks the registry to take a blob over from another of its repositories ("Mounting a blob from another repository").
    ///
    /// # Errors
    /// When the registry does not answer as it should.
    pub fn mount(&self, blob: &Descriptor, from: &Self) -> Result<Mounted, RegistryError> {
        let scope = format!("{} {}", self.push_scope(), from.pull_scope());
        let url = self.uploads()?.with_parameter("mount", &blob.digest.to_string()).with_parameter("from", &from.name);
        self.start(&scope, &url)
    }

    /// Begins to send a blob ("Pushing blobs").
    ///
    /// # Errors
    /// When the registry does not allow it.
    pub fn begin(&self) -> Result<Upload, RegistryError> {
        match self.start(&self.push_scope(), &self.uploads()?)? {
            Mounted::Upload(upload) => Ok(upload),
            Mounted::Done => Err(self.nonsense("take a blob", "it says that it has a blob that it was not told of")),
        }
    }

    fn uploads(&self) -> Result<Url, RegistryError> {
        let url = self.url("blobs/uploads")?;
        Ok(Url::parse(&format!("{url}/")).map_err(NetError::from)?)
    }

    fn start(&self, scope: &str, url: &Url) -> Result<Mounted, RegistryError> {
        let what = format!("push to {}", self.name);
        self.attempt(scope, &what, |value| {
            let answered = self.deliver(Method::POST, url, value, &[], (0, &mut io::empty()))?;
            Ok(match self.judge(&what, &[201, 202], answered)? {
                Tried::Done((_, response)) if response.status() == 201 => Tried::Done(Mounted::Done),
                Tried::Done((at, response)) => Tried::Done(Mounted::Upload(self.upload_at(&what, &at, &response)?)),
                Tried::Unknown => Tried::Unknown,
            })
        })
    }

    fn upload_at(&self, what: &str, at: &Url, response: &Response<ureq::Body>) -> Result<Upload, RegistryError> {
        let location = header_text(response, header::LOCATION);
        let location = location.ok_or_else(|| self.nonsense(what, "it does not say where to"))?;
        let url = at.join(location).map_err(NetError::from)?;
        if at.is_secure() && !url.is_secure() {
            let reason = "that would leave the encrypted connection";
            return Err(NetError::Redirect { url: at.shown(), target: url.shown(), reason }.into());
        }
        let least = response.headers().get("oci-chunk-min-length").and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(Upload { url, chunk: least.unwrap_or(0).clamp(CHUNK, MAX_CHUNK) })
    }

    /// Sends a blob: in one piece when it is small, else in parts, which are resumed where they were cut off. `progress` is told
    /// how many bytes were sent.
    ///
    /// # Errors
    /// When the registry does not take it, or it cannot be read.
    pub fn upload(
        &self,
        blob: &Descriptor,
        mut upload: Upload,
        source: &mut dyn BlobSource,
        progress: &dyn Fn(u64),
    ) -> Result<(), RegistryError> {
        let mut attempts = Attempts::new(&self.host.client);
        loop {
            let sent = if blob.size > CHUNK { self.send_parts(blob, &mut upload, source, progress)? } else { 0 };
            match self.close(blob, &upload, sent, source, progress) {
                Err(RegistryError::Net(error)) => attempts.after(error)?,
                // An answer that was lost, or a place that was forgotten with it.
                Err(error) if is_lost(&error) && self.has_blob(blob)? => return Ok(()),
                Err(error) if is_lost(&error) && attempts.may_go_on() => {}
                other => return other,
            }
            if self.has_blob(blob)? {
                return Ok(());
            }
            upload = self.begin()?;
            progress(0);
        }
    }

    /// Sends part after part; gives how many bytes the registry has then.
    fn send_parts(
        &self,
        blob: &Descriptor,
        upload: &mut Upload,
        source: &mut dyn BlobSource,
        progress: &dyn Fn(u64),
    ) -> Result<u64, RegistryError> {
        let mut attempts = Attempts::new(&self.host.client);
        let mut sent = 0;
        while sent < blob.size {
            match self.send_part(blob, upload, sent, source, progress) {
                Ok(Some(now)) => {
                    attempts.reset();
                    sent = now;
                }
                // It takes no parts.
                Ok(None) => {
                    *upload = self.begin()?;
                    return Ok(0);
                }
                Err(error) => {
                    let passing = match error {
                        RegistryError::Net(error) => error,
                        error if is_lost(&error) && attempts.may_go_on() => {
                            *upload = self.begin()?;
                            sent = 0;
                            progress(0);
                            continue;
                        }
                        error => return Err(error),
                    };
                    attempts.after(passing)?;
                    sent = self.state(blob, upload)?;
                    progress(sent);
                }
            }
        }
        Ok(sent)
    }

    fn send_part(
        &self,
        blob: &Descriptor,
        upload: &mut Upload,
        first: u64,
        source: &mut dyn BlobSource,
        progress: &dyn Fn(u64),
    ) -> Result<Option<u64>, RegistryError> {
        let what = format!("take a part of {} for {}", blob.digest, self.name);
        let length = upload.chunk.min(blob.size - first);
        let headers = [
            (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
            (header::CONTENT_RANGE, format!("{first}-{}", first + length - 1)),
        ];
        let answered = self
            .once(|value| self.send(Method::PATCH, &upload.url, value, &headers, (first, length), source, progress))?;
        match answered.1.status().as_u16() {
            404 | 405 | 501 if first == 0 => return Ok(None),
            _ => {}
        }
        let Tried::Done((at, response)) = self.judge(&what, &[201, 202, 204], answered)? else {
            return Err(self.denied(&what, String::new()));
        };
        *upload = Upload { chunk: upload.chunk, ..self.upload_at(&what, &at, &response)? };
        let now = range_end(&response).unwrap_or(first + length);
        if now <= first || now > blob.size {
            return Err(self.nonsense(&what, format!("it says that it has {now} bytes after {first} of {}", blob.size)));
        }
        Ok(Some(now))
    }

    /// Asks how much of an upload the registry has.
    fn state(&self, blob: &Descriptor, upload: &mut Upload) -> Result<u64, RegistryError> {
        let what = format!("say what it has of {} for {}", blob.digest, self.name);
        if upload.url.origin() != self.host.base.origin() {
            *upload = self.begin()?;
            return Ok(0);
        }
        let url = upload.url.clone();
        let state = self.ask(&what, &url, (false, None), &[204, 404], |(at, response)| {
            if response.status() == 404 {
                return Ok(None);
            }
            Ok(Some((self.upload_at(&what, &at, &response)?, range_end(&response).unwrap_or(0))))
        })?;
        match state {
            Some((next, have)) if have <= blob.size => {
                *upload = Upload { chunk: upload.chunk, ..next };
                Ok(have)
            }
            _ => {
                *upload = self.begin()?;
                Ok(0)
            }
        }
    }

    /// Sends what is left of a blob, and tells its digest.
    fn close(
        &self,
        blob: &Descriptor,
        upload: &Upload,
        sent: u64,
        source: &mut dyn BlobSource,
        progress: &dyn Fn(u64),
    ) -> Result<(), RegistryError> {
        let what = format!("take {} for {}", blob.digest, self.name);
        let url = upload.url.with_parameter("digest", &blob.digest.to_string());
        let headers = [(header::CONTENT_TYPE, "application/octet-stream".to_owned())];
        let length = blob.size - sent;
        let answered =
            self.once(|value| self.send(Method::PUT, &url, value, &headers, (sent, length), source, progress))?;
        let Tried::Done((_, response)) = self.judge(&what, &[201], answered)? else {
            return Err(self.denied(&what, String::new()));
        };
        match self.said_digest(&what, &response)? {
            Some(actual) if actual != blob.digest => {
                Err(RegistryError::WrongDigest { what: "what the registry took".into(), expected: blob.digest, actual })
            }
            _ => Ok(()),
        }
    }

    /// Does something with a token that may have run out since the upload began.
    fn once(
        &self,
        mut work: impl FnMut(Option<&Secret>) -> Result<Answered, RegistryError>,
    ) -> Result<Answered, RegistryError> {
        let scope = self.push_scope();
        let first = work(self.host.authorization(&self.name, &scope)?.as_ref())?;
        if first.1.status() != 401 {
            return Ok(first);
        }
        self.host.forget(&scope);
        work(self.host.authorization(&self.name, &scope)?.as_ref())
    }

    #[expect(clippy::too_many_arguments, reason = "a request is made of this much")]
    fn send(
        &self,
        method: Method,
        url: &Url,
        value: Option<&Secret>,
        headers: &[(HeaderName, String)],
        (first, length): (u64, u64),
        source: &mut dyn BlobSource,
        progress: &dyn Fn(u64),
    ) -> Result<Answered, RegistryError> {
        let fail = |source| RegistryError::Source { host: self.host.name.clone(), source };
        source.seek(SeekFrom::Start(first)).map_err(fail)?;
        let cancel = &self.host.client.inner.config.cancel;
        let mut body = Counted { source, left: length, sent: first, progress, cancel, failure: None };
        let answered = self.deliver(method, url, value, headers, (length, &mut body));
        match body.failure {
            Some(source) => Err(fail(source)),
            None => answered,
        }
    }

    /// Puts a manifest under a tag or its digest, and says whether the registry has taken note of its subject.
    ///
    /// # Errors
    /// When it is longer than 4 MiB, the registry does not take it, or took something else.
    pub fn put_manifest(&self, wanted: &str, media_type: &str, bytes: &[u8]) -> Result<bool, RegistryError> {
        let what = format!("take the manifest {wanted} of {}", self.name);
        if bytes.len() as u64 > oci::MAX_MANIFEST {
            let what = format!("the manifest {wanted} of {}", self.name);
            return Err(RegistryError::TooLarge { what, limit: oci::MAX_MANIFEST });
        }
        let url = self.url(&format!("manifests/{wanted}"))?;
        let headers = [(header::CONTENT_TYPE, media_type.to_owned())];
        let response = self.attempt(&self.push_scope(), &what, |value| {
            let mut body = bytes;
            let answered = self.deliver(Method::PUT, &url, value, &headers, (bytes.len() as u64, &mut body))?;
            self.judge(&what, &[201, 202, 200], answered)
        })?;
        let expected = Digest::of(bytes);
        match self.said_digest(&what, &response.1)? {
            Some(actual) if actual != expected => Err(RegistryError::WrongDigest {
                what: format!("what {} took as {wanted}", self.host.name),
                expected,
                actual,
            }),
            _ => Ok(response.1.headers().contains_key("oci-subject")),
        }
    }
}

/// Says whether a registry knows nothing of an upload any more, or is at another place of it.
fn is_lost(error: &RegistryError) -> bool {
    matches!(error, RegistryError::Refused { status: 404 | 416, .. })
}

/// Reads the bytes that a registry has of an upload: `Range: 0-99` is 100.
fn range_end(response: &Response<ureq::Body>) -> Option<u64> {
    let text = header_text(response, header::RANGE)?;
    let (first, last) = text.trim().trim_start_matches("bytes=").split_once('-')?;
    let last: u64 = last.parse().ok()?;
    // An upload of no bytes is written `0-0` by some and `0--1` by others; one of a single byte is seldom seen.
    (first == "0").then(|| if last == 0 { 0 } else { last.saturating_add(1) })
}

/// A part of a blob on its way, counted.
struct Counted<'a> {
    source: &'a mut dyn BlobSource,
    left: u64,
    sent: u64,
    progress: &'a dyn Fn(u64),
    cancel: &'a AtomicBool,
    failure: Option<io::Error>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = match self.source.read(buffer.get_mut(..most).unwrap_or_default()) {
            Ok(0) if most > 0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            other => other,
        };
        match count {
            Ok(count) => {
                self.left -= count as u64;
                self.sent += count as u64;
                (self.progress)(self.sent);
                Ok(count)
            }
            Err(error) => {
                let kind = error.kind();
                self.failure = Some(error);
                Err(kind.into())
            }
        }
    }
}

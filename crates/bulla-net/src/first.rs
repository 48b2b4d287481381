//! The downloading of something large that no digest is known of yet: it is seen for the first time.

use std::io::Write;

use ureq::http::HeaderValue;

use crate::{
    client::{Attempts, CHUNK, Client, Get},
    config::Secret,
    download::PROGRESS,
    error::NetError,
    exchange::{Access, Question},
    pace::Paced,
    url::Url,
};

/// What has come so far of something new.
struct Begun<W> {
    writer: W,
    have: u64,
    /// The strong tag of the version that it is the beginning of. Without one nothing can be added to it: what follows
    /// might be that of another version, and no digest would tell.
    tag: Option<String>,
}

impl Client {
    /// Downloads something of which no digest is known into a writer, and gives that back with the number of its bytes. `open`
    /// makes a new writer whenever it has to begin again. `progress` is told how many bytes are there.
    ///
    /// # Errors
    /// When no URL gives it, it is larger than [`Get::max_size`], a writer fails, or the user stops it.
    pub fn get_into<W: Write>(
        &self,
        get: &Get,
        open: impl FnMut() -> std::io::Result<W>,
        progress: &dyn Fn(u64),
    ) -> Result<(W, u64), NetError> {
        self.get_into_as(get, Access::Logins, open, progress)
    }

    /// As [`Client::get_into`], with this value of `Authorization`, or none, in place of the configuration's logins. It goes to the
    /// origins of the URLs alone: a redirect elsewhere drops it.
    ///
    /// # Errors
    /// As there, and when the value is none that a header can have.
    pub fn get_into_with<W: Write>(
        &self,
        get: &Get,
        authorization: Option<&Secret>,
        open: impl FnMut() -> std::io::Result<W>,
        progress: &dyn Fn(u64),
    ) -> Result<(W, u64), NetError> {
        if authorization.is_some_and(|value| HeaderValue::from_str(value.reveal()).is_err()) {
            let url = get.urls.first().map(Url::shown).unwrap_or_default();
            return Err(NetError::Nonsense { url, reason: "the login for it is none that can be sent" });
        }
        self.get_into_as(get, Access::Given(authorization), open, progress)
    }

    fn get_into_as<W: Write>(
        &self,
        get: &Get,
        access: Access<'_>,
        mut open: impl FnMut() -> std::io::Result<W>,
        progress: &dyn Fn(u64),
    ) -> Result<(W, u64), NetError> {
        let mut failures = Vec::new();
        for url in &get.urls {
            match self.get_into_from(url, (get, access), &mut open, progress) {
                Ok(done) => return Ok(done),
                Err(error) if error.is_final() => return Err(error),
                Err(error) => failures.push(error),
            }
        }
        Err(NetError::of_mirrors(failures, || "a source".to_owned()))
    }

    fn get_into_from<W: Write>(
        &self,
        url: &Url,
        (get, access): (&Get, Access<'_>),
        open: &mut impl FnMut() -> std::io::Result<W>,
        progress: &dyn Fn(u64),
    ) -> Result<(W, u64), NetError> {
        let mut attempts = Attempts::new(self);
        let mut begun: Option<Begun<W>> = None;
        loop {
            let before = begun.as_ref().map_or(0, |begun| begun.have);
            match self.go_on(url, (get, access), &mut begun, open, progress) {
                Ok(done) => return Ok((done.writer, done.have)),
                Err(error) => {
                    if begun.as_ref().is_some_and(|begun| begun.have >= before.saturating_add(PROGRESS)) {
                        attempts.reset();
                    }
                    attempts.after(error)?;
                }
            }
        }
    }

    /// Asks once; what has come when that is cut off is left in `begun`.
    fn go_on<W: Write>(
        &self,
        url: &Url,
        (get, access): (&Get, Access<'_>),
        begun: &mut Option<Begun<W>>,
        open: &mut impl FnMut() -> std::io::Result<W>,
        progress: &dyn Fn(u64),
    ) -> Result<Begun<W>, NetError> {
        let sink = |error: std::io::Error| NetError::Sink { url: url.shown(), source: error.into() };
        let _permit = self.enter(url)?;
        let config = &self.inner.config;
        let from = begun.as_ref().and_then(|begun| Some((begun.have, Some(begun.tag.as_deref()?))));
        let from = from.filter(|(have, _)| *have > 0);
        let question = Question { from, access, accept: get.accept, ..Question::new(url, get.reach) };
        let answer = self.inner.agents.ask(&question, config)?;
        let goes_on = |begun: &Begun<W>| {
            answer.status == 206
                && answer.range.is_some_and(|(first, _)| first == begun.have)
                && answer.tag.is_some()
                && answer.tag == begun.tag
        };
        let mut now = match begun.take() {
            Some(begun) if goes_on(&begun) => begun,
            _ if answer.status != 200 => {
                // Another part than was asked for: the next attempt asks for all of it.
                return Err(NetError::CutOff { url: url.shown(), received: 0, source: None });
            }
            _ => Begun { writer: open().map_err(sink)?, have: 0, tag: answer.tag.clone() },
        };
        let too_large = || NetError::TooLarge { url: url.shown(), limit: get.max_size };
        if answer.length.is_some_and(|length| length.saturating_add(now.have) > get.max_size) {
            return Err(too_large());
        }
        let mut body = Paced::new(answer.body.into_reader(), url, &config.timeouts, &config.cancel, now.have);
        let mut chunk = vec![0; CHUNK];
        loop {
            let count = match body.next(&mut chunk) {
                Ok(count) => count,
                Err(error) => {
                    *begun = Some(now);
                    return Err(error);
                }
            };
            if count == 0 {
                return Ok(now);
            }
            now.have += count as u64;
            if now.have > get.max_size {
                return Err(too_large());
            }
            now.writer.write_all(chunk.get(..count).unwrap_or_default()).map_err(sink)?;
            progress(now.have);
        }
    }
}

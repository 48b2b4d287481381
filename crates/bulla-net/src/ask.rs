//! Questions to services that are neither mirrors nor registries: a header or a body goes out, and the answer into a writer.

use std::io::Write;

use ureq::{
    SendBody,
    http::{HeaderName, HeaderValue, Method, header},
};

use crate::{
    client::{Attempts, CHUNK, Client},
    config::{Reach, Secret, Timeouts},
    error::NetError,
    exchange::{Access, Delivery, Question, bad_status, header_text, reach_of_hop},
    pace::Paced,
    url::Url,
};

/// Over how much more time the pace of an answer at length to something that was sent is measured.
const PATIENCE: u32 = 10;
/// The most bytes of an answer that nobody has to work for.
const SHORT: u64 = 1 << 20;

/// A question to a service.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    /// Where it goes.
    pub url: &'a Url,
    /// Who chose the URL.
    pub reach: Reach,
    /// What is sent: nothing for GET, else POST, which follows no redirects.
    pub body: Option<&'a [u8]>,
    /// What else is said, by name.
    pub headers: &'a [(&'static str, &'a str)],
    /// Whether the configuration's login for the URL is sent.
    pub logins: bool,
    /// A value of `Authorization` that is sent in place of that.
    pub authorization: Option<&'a Secret>,
    /// The most bytes of the answer.
    pub max_size: u64,
}

/// What came with an answer.
#[derive(Debug, Clone)]
pub struct Heard {
    /// Who answered, after redirects.
    pub url: Url,
    /// The media type, without parameters.
    pub media_type: Option<String>,
    /// How many bytes there were.
    pub size: u64,
}

impl Client {
    /// Asks, and writes the answer into what `open` makes anew for each attempt. `progress` is told how many bytes there are.
    ///
    /// # Errors
    /// When there is no answer, one that is an error or too long, the writer fails ([`NetError::Sink`]), or the user stops it.
    pub fn ask<W: Write>(
        &self,
        ask: &Ask<'_>,
        mut open: impl FnMut() -> W,
        progress: &dyn Fn(u64),
    ) -> Result<(W, Heard), NetError> {
        let headers = ask.headers.iter().map(|(name, value)| (HeaderName::from_static(name), (*value).to_owned()));
        let headers: Vec<(HeaderName, String)> = headers.collect();
        let mut attempts = Attempts::new(self);
        loop {
            let mut writer = open();
            match self.ask_once(ask, &headers, &mut writer, progress) {
                Ok(heard) => return Ok((writer, heard)),
                Err(error) => attempts.after(error)?,
            }
        }
    }

    fn ask_once(
        &self,
        ask: &Ask<'_>,
        headers: &[(HeaderName, String)],
        writer: &mut dyn Write,
        progress: &dyn Fn(u64),
    ) -> Result<Heard, NetError> {
        let _permit = self.enter(ask.url)?;
        let config = &self.inner.config;
        let access = match ask.authorization {
            // What a server wants to be told is checked: a line feed would begin a header of its own.
            Some(value) if HeaderValue::from_str(value.reveal()).is_err() => {
                let reason = "it wants an `Authorization` that is none";
                return Err(NetError::Nonsense { url: ask.url.shown(), reason });
            }
            Some(value) => Access::Given(Some(value)),
            None if ask.logins => Access::Logins,
            None => Access::Given(None),
        };
        let (url, response) = match ask.body {
            None => {
                let question = Question { access, headers, ..Question::new(ask.url, ask.reach) };
                self.inner.agents.follow(&question, config)?
            }
            Some(body) => {
                let (mut left, length) = (body, body.len() as u64);
                let reach = config.reach(ask.url, ask.reach);
                let delivery = Delivery { method: Method::POST, url: ask.url, reach, access, headers, length };
                (ask.url.clone(), self.inner.agents.deliver(&delivery, SendBody::from_reader(&mut left), config)?)
            }
        };
        // What was sent may have made something.
        let is_answer = matches!((response.status().as_u16(), ask.body), (200, _) | (201, Some(_)));
        if !is_answer {
            return Err(bad_status(&url, &response));
        }
        let media_type = header_text(&response, header::CONTENT_TYPE);
        let media_type =
            media_type.and_then(|text| text.split(';').next()).map(|text| text.trim().to_ascii_lowercase());
        let too_large = || NetError::TooLarge { url: url.shown(), limit: ask.max_size };
        let body = response.into_body();
        if body.content_length().is_some_and(|length| length > ask.max_size) {
            return Err(too_large());
        }
        // Who was sent something may have to work before it answers at length, and says until then only that it is still there.
        let works = ask.body.is_some() && ask.max_size > SHORT;
        let stall = if works { config.timeouts.stall * PATIENCE } else { config.timeouts.stall };
        let timeouts = Timeouts { stall, ..config.timeouts.clone() };
        let mut body = Paced::new(body.into_reader(), &url, &timeouts, &config.cancel, 0);
        let mut chunk = vec![0; CHUNK];
        let mut size = 0;
        loop {
            let count = body.next(&mut chunk)?;
            if count == 0 {
                break;
            }
            size += count as u64;
            if size > ask.max_size {
                return Err(too_large());
            }
            let sink = |error: std::io::Error| NetError::Sink { url: url.shown(), source: error.into() };
            writer.write_all(chunk.get(..count).unwrap_or_default()).map_err(sink)?;
            progress(size);
        }
        drop(body);
        Ok(Heard { url, media_type, size })
    }

    /// Gives how far a service may be asked to which a redirect of another led.
    pub fn reach_after(&self, from: &Url, to: &Url, reach: Reach) -> Reach {
        if from.origin() == to.origin() { reach } else { reach_of_hop(from, reach) }
    }
}

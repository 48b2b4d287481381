//! One question and its answer, with the redirects between them.

use std::sync::atomic::{AtomicBool, Ordering};

use ureq::{
    AsSendBody, SendBody,
    http::{HeaderName, Method, Request, Response, StatusCode, header},
};

use crate::{
    agents::Agents,
    config::{NetConfig, Reach, Secret},
    error::NetError,
    guard::{self, LeadsHome},
    retry,
    url::Url,
};

/// The most redirects that are followed.
const MAX_REDIRECTS: usize = 5;

/// What is asked.
pub(crate) struct Question<'a> {
    pub(crate) url: &'a Url,
    pub(crate) reach: Reach,
    /// The first byte that is wanted, and the tag of the version whose beginning is there already.
    pub(crate) from: Option<(u64, Option<&'a str>)>,
    /// Whether the head of the answer is enough.
    pub(crate) head_only: bool,
    /// The media types that are wanted; nothing for all.
    pub(crate) accept: Option<&'a str>,
    pub(crate) access: Access<'a>,
    /// What else is said.
    pub(crate) headers: &'a [(HeaderName, String)],
}

impl<'a> Question<'a> {
    /// Asks for the whole of something, with the configuration's login for it.
    pub(crate) const fn new(url: &'a Url, reach: Reach) -> Self {
        Self { url, reach, from: None, head_only: false, accept: None, access: Access::Logins, headers: &[] }
    }
}

/// What a request says of who asks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Access<'a> {
    /// The login of the configuration for this very place, if there is one.
    Logins,
    /// This value of `Authorization`, or none. It is for the origin of the question.
    Given(Option<&'a Secret>),
}

/// Something that is sent to a server: a request that has a body and follows no redirects.
pub(crate) struct Delivery<'a> {
    pub(crate) method: Method,
    pub(crate) url: &'a Url,
    pub(crate) reach: Reach,
    pub(crate) access: Access<'a>,
    pub(crate) headers: &'a [(HeaderName, String)],
    /// The length of the body in bytes.
    pub(crate) length: u64,
}

/// An answer: 200, or 206 or 416 where only a part was asked for.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The strong entity tag (RFC 9110, section 8.8.3).
    pub(crate) tag: Option<String>,
    /// The length of this body in bytes, where it is said.
    pub(crate) length: Option<u64>,
    /// The first byte of a part, and the length of the whole.
    pub(crate) range: Option<(u64, Option<u64>)>,
    pub(crate) body: ureq::Body,
}

impl Agents {
    /// Asks, follows redirects that lead nowhere bad, and reads the head of an answer that is none but good.
    pub(crate) fn ask(&self, question: &Question<'_>, config: &NetConfig) -> Result<Answer, NetError> {
        let (url, response) = self.follow(question, config)?;
        answer(&url, question.from.is_some(), &response).and_then(|read| read.with_body(response, &url))
    }

    /// Asks, and follows redirects that lead nowhere bad; gives any other answer, and the place that gave it.
    pub(crate) fn follow(
        &self,
        question: &Question<'_>,
        config: &NetConfig,
    ) -> Result<(Url, Response<ureq::Body>), NetError> {
        let mut url = question.url.clone();
        let mut at_home = true;
        for _ in 0..=MAX_REDIRECTS {
            // A redirect drops credentials: they are looked up anew, and only while the origin was never left.
            let reach = if at_home { question.reach } else { reach_of_hop(question.url, question.reach) };
            let reach = config.reach(&url, reach);
            let access = if at_home { question.access } else { Access::Given(None) };
            let response = self.send(&url, reach, access, question, config)?;
            if !is_redirect(response.status()) {
                return Ok((url, response));
            }
            let next = target(&url, &response)?;
            at_home &= next.origin() == url.origin();
            url = next;
        }
        let reason = "that is more than 5 redirects in a row";
        Err(NetError::Redirect { url: question.url.shown(), target: url.shown(), reason })
    }

    fn send(
        &self,
        url: &Url,
        reach: Reach,
        access: Access<'_>,
        question: &Question<'_>,
        config: &NetConfig,
    ) -> Result<Response<ureq::Body>, NetError> {
        let method = if question.head_only { Method::HEAD } else { Method::GET };
        let mut request = request(method, url, access, config);
        if let Some((first, tag)) = question.from {
            request = request.header(header::RANGE, format!("bytes={first}-"));
            if let Some(tag) = tag {
                request = request.header(header::IF_RANGE, tag);
            }
        }
        if let Some(accept) = question.accept {
            request = request.header(header::ACCEPT, accept);
        }
        for (name, value) in question.headers {
            request = request.header(name, value);
        }
        let agent = self.pick(url, reach, config)?;
        run(request.body(()), url, config, |request| agent.run(request))
    }

    /// Sends something, and gives the answer, whatever it is.
    pub(crate) fn deliver(
        &self,
        delivery: &Delivery<'_>,
        body: SendBody<'_>,
        config: &NetConfig,
    ) -> Result<Response<ureq::Body>, NetError> {
        let mut request = request(delivery.method.clone(), delivery.url, delivery.access, config);
        for (name, value) in delivery.headers {
            request = request.header(name, value);
        }
        request = request.header(header::CONTENT_LENGTH, delivery.length);
        let agent = self.pick(delivery.url, delivery.reach, config)?;
        // A server that takes nothing any more must not hold the program for ever: as for what comes, there is a pace.
        let timeouts = &config.timeouts;
        let longest = timeouts.stall + std::time::Duration::from_secs(delivery.length / timeouts.slowest.max(1));
        run(request.body(body), delivery.url, config, |request| {
            agent.run(agent.configure_request(request).timeout_send_body(Some(longest)).build())
        })
    }
}

/// Begins a request, with what is said of who asks.
fn request(method: Method, url: &Url, access: Access<'_>, config: &NetConfig) -> ureq::http::request::Builder {
    let mut request = Request::builder().method(method).uri(url.to_string());
    match access {
        Access::Logins => {
            if let Some(login) = config.credentials.iter().find(|login| login.is_for(url)) {
                request = request.header(header::AUTHORIZATION, basic(&login.login, login.password.reveal()));
            }
        }
        Access::Given(Some(value)) => request = request.header(header::AUTHORIZATION, value.reveal()),
        Access::Given(None) => {}
    }
    // A tunnel has its login in the request for the tunnel.
    let absolute = config.proxies.for_url(url).filter(|proxy| !url.is_secure() && !proxy.url.is_secure());
    if let Some((name, password)) = absolute.and_then(|proxy| proxy.login.as_ref()) {
        request = request.header(header::PROXY_AUTHORIZATION, basic(name, password.reveal()));
    }
    request
}

fn run<B: AsSendBody>(
    request: Result<Request<B>, ureq::http::Error>,
    url: &Url,
    config: &NetConfig,
    send: impl FnOnce(Request<B>) -> Result<Response<ureq::Body>, ureq::Error>,
) -> Result<Response<ureq::Body>, NetError> {
    let sent = request.map_err(ureq::Error::from).and_then(send);
    sent.map_err(|error| explain(url, error, &config.cancel))
}

/// A hop away from the origin may only lead home when the user's own configuration started there.
pub(crate) fn reach_of_hop(from: &Url, reach: Reach) -> Reach {
    if reach == Reach::Configured && guard::is_local_text(from) { Reach::Configured } else { Reach::Public }
}

pub(crate) const fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn target(url: &Url, response: &Response<ureq::Body>) -> Result<Url, NetError> {
    let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    let fail = |target: String, reason| NetError::Redirect { url: url.shown(), target, reason };
    let location = location.ok_or_else(|| fail("nowhere".to_owned(), "it has no readable `Location`"))?;
    let next = url.join(location).map_err(|error| fail(error.to_string(), "only `http` and `https` are followed"))?;
    if url.is_secure() && !next.is_secure() {
        return Err(fail(next.shown(), "that would leave the encrypted connection"));
    }
    Ok(next)
}

pub(crate) fn header_text(response: &Response<ureq::Body>, name: header::HeaderName) -> Option<&str> {
    response.headers().get(name).and_then(|value| value.to_str().ok())
}

fn answer(url: &Url, partial: bool, response: &Response<ureq::Body>) -> Result<Head, NetError> {
    let status = response.status().as_u16();
    if !(status == 200 || partial && matches!(status, 206 | 416)) {
        return Err(bad_status(url, response));
    }
    let range = header_text(response, header::CONTENT_RANGE).and_then(content_range);
    if status == 206 && range.is_none() {
        return Err(NetError::Nonsense { url: url.shown(), reason: "a part without a readable `Content-Range`" });
    }
    let strong = |tag: &&str| tag.starts_with('"') && tag.len() <= 1024;
    let tag = header_text(response, header::ETAG).filter(strong).map(str::to_owned);
    Ok(Head { status, tag, range })
}

/// Makes the error of a status that is not good.
pub(crate) fn bad_status(url: &Url, response: &Response<ureq::Body>) -> NetError {
    let status = response.status().as_u16();
    match header_text(response, header::RETRY_AFTER).and_then(retry::retry_after) {
        Some(pause) if matches!(status, 429 | 503) => {
            NetError::Later { url: url.shown(), status, seconds: pause.as_secs() }
        }
        _ => NetError::Status { url: url.shown(), status },
    }
}

/// The answer before its body.
struct Head {
    status: u16,
    tag: Option<String>,
    range: Option<(u64, Option<u64>)>,
}

impl Head {
    fn with_body(self, response: Response<ureq::Body>, url: &Url) -> Result<Answer, NetError> {
        let body = response.into_body();
        let length = body.content_length();
        let Self { status, tag, range } = self;
        if status == 206 && length.is_some_and(|length| length > u64::MAX / 2) {
            return Err(NetError::Nonsense { url: url.shown(), reason: "a part of impossible length" });
        }
        Ok(Answer { status, tag, length, range, body })
    }
}

/// Reads `bytes 5-9/10` (RFC 9110, section 14.4).
fn content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (part, whole) = value.strip_prefix("bytes ")?.split_once('/')?;
    let first = part.split_once('-')?.0.parse().ok()?;
    Some((first, if whole == "*" { None } else { Some(whole.parse().ok()?) }))
}

/// RFC 7617.
pub(crate) fn basic(login: &str, password: &str) -> String {
    format!("Basic {}", base64(format!("{login}:{password}").as_bytes()))
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| chunk.get(at).copied().map_or(0, u32::from);
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let letter = ALPHABET[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

/// Says what an error of the HTTP library means here.
pub(crate) fn explain(url: &Url, error: ureq::Error, cancel: &AtomicBool) -> NetError {
    if cancel.load(Ordering::Relaxed) {
        return NetError::Cancelled;
    }
    if let ureq::Error::Other(inner) = &error
        && inner.is::<LeadsHome>()
    {
        return NetError::Local { url: url.shown() };
    }
    let shown = url.shown();
    let is_tls = match &error {
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::TlsRequired | ureq::Error::Pem(_) => true,
        ureq::Error::Io(io) => io.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()),
        _ => false,
    };
    let source = Box::new(error);
    match *source {
        _ if is_tls => NetError::Tls { url: shown, source },
        ureq::Error::ConnectProxyFailed(_) | ureq::Error::InvalidProxyUrl => NetError::Proxy { url: shown, source },
        ureq::Error::Io(_) | ureq::Error::Timeout(_) | ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => {
            NetError::Connect { url: shown, source }
        }
        _ => NetError::Protocol { url: shown, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        let pairs =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")];
        for (plain, coded) in pairs {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert_eq!(basic("Aladdin", "open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }

    #[test]
    fn the_range_of_a_part_is_read() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
        for text in ["", "bytes", "bytes */10", "bytes -9/10", "items 5-9/10", "bytes 5-9/x"] {
            assert_eq!(content_range(text), None, "{text}");
        }
    }
}

//! The head of a request, read out of what a client has sent so far (RFC 9112). Nothing here touches a socket.
//!
//! What is read is strict: one request is understood in one way or not at all, since the path decides what a client gets.
//! Targets are paths, or those of proxies: a whole address of plain HTTP, and `host:port` to be connected to. Bodies are never read
//! as part of a request: after one that has a body the connection ends.

use bulla_model::{
    Address, Origin,
    address::{AddressError, decoded},
};

/// The longest head, in bytes.
pub const MAX_HEAD: usize = 16 << 10;
const MAX_HEADERS: usize = 64;
const MAX_TYPES: usize = 64;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What is to be done.
    pub method: Method,
    /// The path, percent-decoded once, with a query as it stands; empty for [`Method::Connect`].
    pub path: String,
    /// Of whom it is asked, where the client takes this for a proxy.
    pub origin: Option<Origin>,
    /// The host that the client says it asks, as it stands.
    pub host: Option<String>,
    /// Whether the client goes on with this connection.
    pub keep: bool,
    /// Whether a body follows, which is not read.
    pub body: bool,
    /// The media types that the client names, in lower case and without those that it refuses; `None` when it says nothing.
    pub accept: Option<Vec<String>>,
    /// The one range of bytes that is asked for.
    pub range: Option<Range>,
    /// The entity tags of which the client has the bytes, as they stand.
    pub if_none_match: Option<String>,
    /// The entity tag under which the range counts.
    pub if_range: Option<String>,
}

/// What is to be done with what is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// Give it.
    Get,
    /// Say what would be given.
    Head,
    /// Connect to [`Request::origin`], with which TLS is spoken then.
    Connect,
    /// Anything else, which is not done here.
    Other(String),
}

impl Method {
    /// Gives its word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Connect => "CONNECT",
            Self::Other(word) => word,
        }
    }
}

/// One range of bytes (RFC 9110, section 14.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// From the first on, to the last or the end.
    From(u64, Option<u64>),
    /// So many at the end.
    Last(u64),
}

impl Range {
    /// Gives start and length within a body; `None` when nothing of it is there.
    pub fn within(self, length: u64) -> Option<(u64, u64)> {
        match self {
            Self::From(first, last) => {
                let left = length.checked_sub(first).filter(|left| *left > 0)?;
                let asked = last.map_or(left, |last| (last - first).saturating_add(1));
                Some((first, asked.min(left)))
            }
            Self::Last(count) => {
                let count = count.min(length);
                (count > 0).then_some((length - count, count))
            }
        }
    }
}

/// A request that is not answered from the table. The connection ends after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// The status that says so.
    pub status: u16,
    /// Why, for a person.
    pub why: &'static str,
    /// The method, as far as it was read.
    pub method: String,
    /// What was asked for, as far as it was read; nothing in it is a control character.
    pub target: String,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and it is read at once")]
pub enum Read {
    /// The head is not complete.
    More,
    /// A head of so many bytes.
    Head(usize, Result<Request, Malformed>),
}

/// Reads the first head in what a client sent. `seen` is how much of it was there at the last call, when that gave
/// [`Read::More`], so that what comes byte by byte is not looked through again each time.
pub fn read(bytes: &[u8], seen: usize) -> Read {
    let empty = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let from = seen.saturating_sub(3).max(empty);
    let window = bytes.get(..bytes.len().min(MAX_HEAD)).unwrap_or_default();
    let Some(end) = end_of_head(window, from) else {
        if bytes.len() < MAX_HEAD {
            return Read::More;
        }
        let why = "the head of the request is longer than 16 KiB";
        return Read::Head(bytes.len(), Err(malformed(431, why, window.get(empty..).unwrap_or_default())));
    };
    let head = window.get(empty..end).unwrap_or_default();
    Read::Head(end, parse(head))
}

/// Finds the empty line; lines end with LF, and a CR before it belongs to them.
fn end_of_head(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += bytes.get(at..)?.iter().position(|byte| *byte == b'\n')? + 1;
        match bytes.get(at..)? {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => (),
        }
    }
}

fn parse(head: &[u8]) -> Result<Request, Malformed> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(_)) => (),
        Ok(httparse::Status::Partial) => return Err(malformed(400, "this is no request", head)),
        Err(httparse::Error::TooManyHeaders) => return Err(malformed(431, "more than 64 headers", head)),
        Err(httparse::Error::Version) => return Err(malformed(505, "only HTTP/1.1 is spoken here", head)),
        Err(_) => return Err(malformed(400, "this is no request", head)),
    }
    let (method, target) = (parsed.method.unwrap_or_default(), parsed.path.unwrap_or_default());
    let fail =
        |status, why| Err(Malformed { status, why, method: method.to_owned(), target: shown(target.as_bytes()) });
    let fields = Fields(parsed.headers);
    let modern = parsed.version == Some(1);
    if fields.count("host") > 1 || (modern && fields.count("host") == 0) {
        return fail(400, "a request names its host once");
    }
    if ["content-length", "expect", "range", "if-range"].iter().any(|name| fields.count(name) > 1) {
        return fail(400, "a header is there twice that may be there once");
    }
    let chunked = fields.count("transfer-encoding") > 0;
    let body = match fields.one("content-length").map(number) {
        Some(None) => return fail(400, "the length of the body is not a number"),
        Some(Some(length)) => length > 0 || chunked,
        // One that is there, and is no text.
        None if fields.count("content-length") > 0 => return fail(400, "the length of the body is not a number"),
        None => chunked,
    };
    if fields.one("expect").is_some_and(|value| !value.eq_ignore_ascii_case("100-continue")) {
        return fail(417, "nothing but 100-continue can be expected");
    }
    let host = fields.one("host");
    let (origin, path) = match asked(method, target, host) {
        Ok(asked) => asked,
        Err((status, why)) => return fail(status, why),
    };
    if method == "CONNECT" && body {
        return fail(400, "what follows a request to be connected is no body");
    }
    let words = |name: &str| fields.list(name).map(str::to_ascii_lowercase).collect::<Vec<_>>();
    let connection = words("connection");
    let says = |word: &str| connection.iter().any(|one| one == word);
    Ok(Request {
        method: match method {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "CONNECT" => Method::Connect,
            other => Method::Other(other.to_owned()),
        },
        path,
        origin,
        host: host.map(str::to_owned),
        keep: !says("close") && (modern || says("keep-alive")) && !body,
        body,
        accept: accepted(&fields),
        range: fields.one("range").and_then(range),
        if_none_match: fields.any("if-none-match"),
        if_range: fields.one("if-range").map(str::to_owned),
    })
}

/// The header fields of a request; those whose value is not text are not there.
struct Fields<'a>(&'a [httparse::Header<'a>]);

impl<'a> Fields<'a> {
    fn of(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let fields = self.0.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
        fields.filter_map(|field| std::str::from_utf8(field.value).ok()).map(str::trim)
    }

    fn count(&self, name: &str) -> usize {
        self.0.iter().filter(|field| field.name.eq_ignore_ascii_case(name)).count()
    }

    fn one(&self, name: &str) -> Option<&'a str> {
        self.of(name).next()
    }

    /// Gives all values of a list together.
    fn any(&self, name: &str) -> Option<String> {
        let all: Vec<_> = self.of(name).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }

    fn list(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.of(name).flat_map(|value| value.split(',')).map(str::trim).filter(|word| !word.is_empty())
    }
}

/// Reads the media types that are named, without the refused ones; ranges of types keep their star.
fn accepted(fields: &Fields<'_>) -> Option<Vec<String>> {
    if fields.count("accept") == 0 {
        return None;
    }
    let types = fields.list("accept").filter_map(|one| {
        let mut parts = one.split(';').map(str::trim);
        let name = parts.next()?.to_ascii_lowercase();
        let refused = parts.filter_map(|part| part.split_once('=')).any(|(key, value)| {
            key.trim().eq_ignore_ascii_case("q") && value.trim().parse::<f32>().is_ok_and(|quality| quality == 0.0)
        });
        (!refused && !name.is_empty()).then_some(name)
    });
    Some(types.take(MAX_TYPES).collect())
}

/// Reads one range; `None` for several, and for what is none, which is as if nothing was said.
fn range(value: &str) -> Option<Range> {
    let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
    match (first, last) {
        ("", last) => Some(Range::Last(number(last)?)),
        (first, "") => Some(Range::From(number(first)?, None)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Range::From(first, Some(last)))
        }
    }
}

/// Reads a number of digits alone.
fn number(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// Reads a target: whom it asks, where that is somebody else, and the path.
fn asked(method: &str, target: &str, host: Option<&str>) -> Result<(Option<Origin>, String), (u16, &'static str)> {
    let bad = |error: AddressError| (400, error.why());
    if method == "CONNECT" {
        let port = target.rsplit(']').next().unwrap_or_default().contains(':');
        let origin = Origin::parse(target, true).map_err(bad)?;
        return match port {
            true => Ok((Some(origin), String::new())),
            false => Err((400, "whoever wants to be connected names a port")),
        };
    }
    if target.starts_with('/') {
        return Ok((None, decoded(target).map_err(bad)?));
    }
    if !target.contains("://") {
        return Err((403, "what is asked for is neither a path nor an address"));
    }
    let Address { origin, path } = Address::parse(target).map_err(bad)?;
    if origin.is_tls() {
        return Err((403, "what is asked for by TLS is had by CONNECT"));
    }
    // Two names for one request are one too many.
    match host.map(|host| Origin::parse(host, false)) {
        Some(Ok(host)) if host == origin => Ok((Some(origin), path)),
        None => Ok((Some(origin), path)),
        Some(_) => Err((400, "the host is another one than that of the address")),
    }
}

fn malformed(status: u16, why: &'static str, head: &[u8]) -> Malformed {
    let line = head.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let mut words = line.splitn(2, |byte| *byte == b' ');
    let mut word = || shown(words.next().unwrap_or_default());
    Malformed { status, why, method: word(), target: word() }
}

/// Writes bytes so that they can be shown; what is long is cut.
fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 1024;
    bytes.get(..bytes.len().min(MOST)).unwrap_or_default().escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(target: &str, rest: &str) -> Result<Request, Malformed> {
        one(&format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{rest}\r\n"))
    }

    fn one(text: &str) -> Result<Request, Malformed> {
        match read(text.as_bytes(), 0) {
            Read::Head(length, read) => {
                assert_eq!(length, text.len());
                read
            }
            Read::More => panic!("not complete: {text:?}"),
        }
    }

    #[test]
    fn a_path_is_decoded_once() {
        let path = |target: &str| get(target, "").map(|request| request.path).map_err(|bad| bad.status);
        assert_eq!(path("/npm/@scope%2fname"), Ok("/npm/@scope/name".to_owned()));
        assert_eq!(path("/npm/@scope%2Fname"), Ok("/npm/@scope/name".to_owned()));
        assert_eq!(
            path("/go/github.com/!burnt!sushi/toml/@v/list"),
            Ok("/go/github.com/!burnt!sushi/toml/@v/list".to_owned())
        );
        assert_eq!(path("/a%252fb"), Ok("/a%2fb".to_owned()), "not twice");
        assert_eq!(path("/a+b%20c"), Ok("/a+b c".to_owned()));
        assert_eq!(path("/a?q=%2f"), Ok("/a?q=%2f".to_owned()), "a query stays as it is");
        assert_eq!(path("//a"), Ok("//a".to_owned()), "another path");
        for bad in [
            "/a/../b",
            "/%2e%2e/b",
            "/a%2f..%2fb",
            "/..",
            "/.",
            "/a%00b",
            "/a%0ab",
            "/a%",
            "/a%4",
            "/a%zz",
            "/%ff",
            "/a#b",
        ] {
            assert_eq!(path(bad), Err(400), "{bad}");
        }
        for nothing in ["registry.example:443", "*", "a", "https://registry.example/a"] {
            assert_eq!(path(nothing), Err(403), "{nothing}");
        }
    }

    #[test]
    fn a_proxy_is_asked_of_one_host() {
        let asked = |line: &str, host: &str| {
            let read = one(&format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
            let shown = |request: Request| (request.origin.map(|origin| origin.to_string()), request.path);
            read.map(shown).map_err(|bad| bad.status)
        };
        let of = |origin: &str, path: &str| Ok((Some(origin.to_owned()), path.to_owned()));
        assert_eq!(asked("GET http://A.example/x%2by", "a.example:80"), of("http://a.example", "/x+y"));
        assert_eq!(asked("GET http://a.example:81", "a.example:81"), of("http://a.example:81", "/"));
        assert_eq!(asked("CONNECT A.example:443", "whatever"), of("https://a.example", ""));
        assert_eq!(asked("CONNECT [::1]:8443", "h"), of("https://[::1]:8443", ""));
        for host in ["b.example", "a.example:81", "a.example, b.example", ""] {
            assert_eq!(asked("GET http://a.example/x", host), Err(400), "{host}");
        }
        for line in
            ["CONNECT a.example", "CONNECT a.example:", "CONNECT /a", "CONNECT [::1]", "GET http://u@a.example/x"]
        {
            assert_eq!(asked(line, "a.example"), Err(400), "{line}");
        }
    }

    #[test]
    fn a_head_is_complete_with_its_empty_line() {
        let text = "GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b";
        for cut in 0..text.len() - 6 {
            assert_eq!(read(&text.as_bytes()[..cut], 0), Read::More, "{cut}");
            assert_eq!(read(&text.as_bytes()[..cut], cut.saturating_sub(1)), Read::More, "{cut}");
        }
        assert!(matches!(read(text.as_bytes(), text.len() - 7), Read::Head(length, Ok(_)) if length == text.len() - 6));
        assert!(
            matches!(read(b"\r\n\r\nGET / HTTP/1.1\nHost: h\n\n", 0), Read::Head(28, Ok(_))),
            "empty lines in front"
        );
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let status = |rest: &str| get("/a", rest).map(|_| 0).map_err(|bad| bad.status);
        assert_eq!(status("Host: other\r\n"), Err(400));
        assert_eq!(status("Content-Length: 0\r\nContent-Length: 5\r\n"), Err(400));
        assert_eq!(status("Content-Length: +5\r\n"), Err(400));
        assert_eq!(status("Content-Length: x\r\n"), Err(400));
        assert_eq!(status("Content-Length : 5\r\n"), Err(400));
        assert_eq!(status(" folded\r\n"), Err(400));
        assert_eq!(status("Expect: miracles\r\n"), Err(417));
        assert_eq!(one("GET /a HTTP/1.1\r\n\r\n").map_err(|bad| bad.status), Err(400), "no host");
        assert_eq!(one("GET /a HTTP/2.0\r\n\r\n").map_err(|bad| bad.status), Err(505));
        let many: String = (0..65).map(|number| format!("X-{number}: y\r\n")).collect();
        assert_eq!(status(&many), Err(431));
        let long = format!("GET /{} HTTP/1.1\r\nHost: h\r\n", "a".repeat(MAX_HEAD));
        let Read::Head(length, Err(bad)) = read(long.as_bytes(), 0) else { panic!("read") };
        assert_eq!((length, bad.status, bad.method.as_str(), bad.target.len()), (long.len(), 431, "GET", 1024));
        assert!(get("/a", "Content-Length: 5\r\n").is_ok_and(|request| request.body && !request.keep));
        assert!(get("/a", "Transfer-Encoding: chunked\r\n").is_ok_and(|request| request.body && !request.keep));
        assert!(get("/a", "Content-Length: 0\r\n").is_ok_and(|request| !request.body && request.keep));
    }

    #[test]
    fn the_connection_goes_on_when_both_sides_know_how() {
        assert!(get("/a", "").expect("read").keep);
        assert!(!get("/a", "Connection: close\r\n").expect("read").keep);
        assert!(!get("/a", "Connection: TE, Close\r\n").expect("read").keep);
        assert!(!one("GET /a HTTP/1.0\r\n\r\n").expect("read").keep);
        assert!(one("GET /a HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").expect("read").keep);
    }

    #[test]
    fn ranges_and_types_are_read() {
        let of = |value: &str| get("/a", &format!("Range: {value}\r\n")).expect("read").range;
        assert_eq!(of("bytes=0-0"), Some(Range::From(0, Some(0))));
        assert_eq!(of("bytes=5-"), Some(Range::From(5, None)));
        assert_eq!(of("bytes=-5"), Some(Range::Last(5)));
        for nothing in
            ["bytes=5-4", "bytes=", "bytes=-", "bytes=0-1,3-4", "items=0-1", "bytes=a-b", "bytes=99999999999999999999-"]
        {
            assert_eq!(of(nothing), None, "{nothing}");
        }
        assert_eq!(Range::From(2, Some(u64::MAX)).within(5), Some((2, 3)));
        assert_eq!(Range::From(0, Some(u64::MAX)).within(5), Some((0, 5)));
        assert_eq!(Range::From(5, None).within(5), None);
        assert_eq!(Range::Last(9).within(5), Some((0, 5)));
        assert_eq!(Range::Last(0).within(5), None);
        assert_eq!(Range::Last(2).within(0), None);
        let accept = get("/a", "Accept: Application/JSON; q=1.0, text/html;q=0, */*;q=0.1\r\nAccept: x/y\r\n");
        let expected = ["application/json", "*/*", "x/y"].map(str::to_owned);
        assert_eq!(accept.expect("read").accept.as_deref(), Some(expected.as_slice()));
        assert_eq!(get("/a", "").expect("read").accept, None);
    }

    proptest::proptest! {
        #[test]
        fn foreign_bytes_do_no_harm(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let mut head = b"GET /".to_vec();
            head.extend(&bytes);
            head.extend(b"\r\n\r\n");
            let _ = read(&bytes, 0);
            let _ = read(&head, 0);
        }
    }
}

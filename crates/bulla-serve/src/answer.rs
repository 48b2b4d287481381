//! What is answered: a pure function of the table and the request.

use bulla_model::Origin;

use crate::{
    request::{Malformed, Method, Range, Request},
    table::{Entry, Index, Place},
};

/// An answer, ready to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The status line and the header fields.
    pub(crate) head: Vec<u8>,
    pub(crate) body: Content,
    /// Whether the connection ends after it.
    pub(crate) close: bool,
    /// The route that it comes from; `None` for what is not there.
    pub(crate) route: Option<usize>,
    /// With whom the client speaks when it has this answer, if not with the server itself.
    pub(crate) connects: Option<Origin>,
}

/// What follows the head.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Words for a person, or nothing.
    Text(Vec<u8>),
    /// A part of a route's body.
    Part { route: usize, start: u64, length: u64 },
}

/// Answers a request; `within` is what the client was connected to before.
pub(crate) fn answer(index: &Index, request: &Request, within: Option<&Origin>) -> Answer {
    let close = !request.keep;
    let head_only = request.method == Method::Head;
    if request.method == Method::Connect {
        return connect(index, request, within);
    }
    if let Method::Other(_) = request.method {
        let words = format!("{} is not done here: the locked repository is only read\n", request.method.as_str());
        return said(405, "Allow: GET, HEAD\r\n", &words, false, close);
    }
    if let Some(origin) = within {
        let named = request.host.as_deref().and_then(|host| Origin::parse(host, true).ok());
        if request.origin.is_some() || named.as_ref() != Some(origin) {
            let words = format!("what is asked for here is of {origin}, and of no other host\n");
            return said(421, "", &words, head_only, true);
        }
    }
    let name = name(request, within);
    if let Some(origin) = request.origin.as_ref().filter(|origin| !index.origins.contains(origin)) {
        return said(403, "", &format!("the lock has nothing of {origin}\n"), head_only, close);
    }
    let Some(routes) = index.paths.get(&name) else {
        return said(404, "", &format!("the lock has nothing at {name}\n"), head_only, close);
    };
    let Some(number) = choose(index, routes, request.accept.as_deref()) else {
        let words = format!("{name} is there in other media types than those that are accepted\n");
        return said(406, "", &words, head_only, close);
    };
    found(&index.routes[number], number, request, routes.len() > 1)
}

/// Gives what a request asks for: a path, after its origin where that is not the server itself.
pub(crate) fn name(request: &Request, within: Option<&Origin>) -> String {
    match (request.origin.as_ref(), within) {
        (Some(origin), _) if request.method == Method::Connect => format!("{}:{}", origin.host(), origin.port()),
        (Some(origin), _) | (None, Some(origin)) => format!("{origin}{}", request.path),
        (None, None) => request.path.clone(),
    }
}

/// Connects a client to a host that the table has, which the server itself is then.
fn connect(index: &Index, request: &Request, within: Option<&Origin>) -> Answer {
    let known = request.origin.as_ref().filter(|origin| within.is_none() && index.origins.contains(origin));
    let Some(origin) = known else {
        let words = format!("the lock has nothing of {}\n", name(request, None));
        return said(403, "", &words, false, true);
    };
    Answer {
        status: 200,
        head: b"HTTP/1.1 200 Connected\r\n\r\n".to_vec(),
        body: Content::Text(Vec::new()),
        close: false,
        route: None,
        connects: Some(origin.clone()),
    }
}

/// Refuses what is no request for a path.
pub(crate) fn refuse(bad: &Malformed) -> Answer {
    said(bad.status, "", &format!("{}\n", bad.why), bad.method == "HEAD", true)
}

/// Chooses among the routes of one path: the first whose type the client names, else the first that has none. A client that
/// names no type of them, but takes any, gets the first.
fn choose(index: &Index, routes: &[usize], accept: Option<&[String]>) -> Option<usize> {
    let of = |number: &&usize| index.routes.get(**number).and_then(|entry| entry.accept.as_deref());
    let named = |kind: &str| accept.is_some_and(|types| types.iter().any(|one| one.eq_ignore_ascii_case(kind)));
    let by_name = routes.iter().find(|number| of(number).is_some_and(named));
    let plain = || routes.iter().find(|number| of(number).is_none());
    let ranged = |kind: &str| {
        let group = kind.split_once('/').map_or(kind, |(group, _)| group);
        accept.is_none_or(|types| {
            types
                .iter()
                .any(|one| one == "*/*" || one.strip_suffix("/*").is_some_and(|of| of.eq_ignore_ascii_case(group)))
        })
    };
    let any = || routes.iter().find(|number| of(number).is_some_and(ranged));
    by_name.or_else(plain).or_else(any).copied()
}

fn found(entry: &Entry, number: usize, request: &Request, varies: bool) -> Answer {
    let tag = format!("\"{}\"", entry.digest);
    let close = !request.keep;
    let mut fields = format!("Content-Type: {}\r\nETag: {tag}\r\n", entry.content_type);
    if varies {
        fields.push_str("Vary: Accept\r\n");
    }
    let answer = |status: u16, fields: &str, body: Content| Answer {
        status,
        head: head(status, fields, close),
        body,
        close,
        route: Some(number),
        connects: None,
    };
    let nothing = || Content::Text(Vec::new());
    let whole = entry.status == 200;
    if whole && request.if_none_match.as_deref().is_some_and(|tags| matches(tags, &tag)) {
        return answer(304, &fields, nothing());
    }
    if whole {
        fields.push_str("Accept-Ranges: bytes\r\n");
    }
    let range = request.range.filter(|_| whole && request.method == Method::Get);
    let range = range.filter(|_| request.if_range.as_deref().is_none_or(|one| one == tag));
    let (status, start, length) = match range.map(|range| Range::within(range, entry.length)) {
        None => (entry.status, 0, entry.length),
        Some(Some((start, length))) => {
            let last = start + length - 1;
            fields.push_str(&format!("Content-Range: bytes {start}-{last}/{}\r\n", entry.length));
            (206, start, length)
        }
        Some(None) => {
            fields.push_str(&format!("Content-Range: bytes */{}\r\nContent-Length: 0\r\n", entry.length));
            return answer(416, &fields, nothing());
        }
    };
    fields.push_str(&format!("Content-Length: {length}\r\n"));
    let body = match request.method {
        Method::Head => nothing(),
        _ => Content::Part { route: number, start, length },
    };
    answer(status, &fields, body)
}

/// Says whether a list of entity tags has this one (RFC 9110, section 13.1.2).
fn matches(tags: &str, tag: &str) -> bool {
    tags.trim() == "*" || tags.split(',').map(str::trim).any(|one| one.strip_prefix("W/").unwrap_or(one) == tag)
}

fn said(status: u16, fields: &str, words: &str, head_only: bool, close: bool) -> Answer {
    let fields = format!("{fields}Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n", words.len());
    let body = if head_only { Vec::new() } else { words.as_bytes().to_vec() };
    Answer { status, head: head(status, &fields, close), body: Content::Text(body), close, route: None, connects: None }
}

fn head(status: u16, fields: &str, close: bool) -> Vec<u8> {
    let reason = match status {
        200 => "OK",
        206 => "Partial Content",
        304 => "Not Modified",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        410 => "Gone",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        505 => "HTTP Version Not Supported",
        _ => "Answer",
    };
    let connection = if close { "close" } else { "keep-alive" };
    format!("HTTP/1.1 {status} {reason}\r\n{fields}Connection: {connection}\r\n\r\n").into_bytes()
}

impl Entry {
    /// Gives the name of the blob that has the body.
    pub(crate) fn blob(&self) -> Option<&str> {
        (self.place == Place::Blob).then_some(self.digest.as_str())
    }
}

#[cfg(test)]
mod tests {
    use bulla_model::Digest;

    use super::*;
    use crate::{
        request::{Read, read},
        table::{Body, Route, Table},
    };

    fn index() -> Index {
        let route = |path: &str, accept: Option<&str>, status, body: &str| Route {
            origin: None,
            path: path.to_owned(),
            accept: accept.map(str::to_owned),
            status,
            content_type: accept.unwrap_or("text/plain").to_owned(),
            body: Body::Bytes(body.as_bytes().to_vec()),
        };
        let routes = vec![
            route("/a", None, 200, "0123456789"),
            route("/simple/x/", Some("application/vnd.x+json"), 200, "{}"),
            route("/simple/x/", Some("text/html"), 200, "<a>"),
            route("/simple/x/", None, 200, "plain"),
            route("/only", Some("x/y"), 200, "typed"),
            route("/gone", None, 410, "gone"),
        ];
        Index::read(Table { routes, ..Table::default() }.seal().expect("sealed")).expect("a table")
    }

    fn ask(index: &Index, method: &str, path: &str, fields: &str) -> (Answer, String) {
        let text = format!("{method} {path} HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        let Read::Head(_, Ok(request)) = read(text.as_bytes(), 0) else { panic!("{text}") };
        let answer = answer(index, &request, None);
        let head = String::from_utf8(answer.head.clone()).expect("text");
        (answer, head)
    }

    #[test]
    fn what_is_there_is_given_and_nothing_else() {
        let index = index();
        let (one, head) = ask(&index, "GET", "/a", "");
        assert_eq!((one.status, one.route, one.close), (200, Some(0), false));
        assert_eq!(one.body, Content::Part { route: 0, start: 0, length: 10 });
        let tag = Digest::of(b"0123456789").hex();
        assert!(head.contains("Content-Length: 10\r\n") && head.contains(&format!("ETag: \"{tag}\"\r\n")), "{head}");
        for unknown in ["/A", "/a/", "/a?x", "/", "/b", "//a"] {
            let (one, _) = ask(&index, "GET", unknown, "");
            assert_eq!((one.status, one.route), (404, None), "{unknown}");
        }
        let (one, head) = ask(&index, "POST", "/a", "Content-Length: 3\r\n");
        assert_eq!((one.status, one.route, one.close), (405, None, true));
        assert!(head.contains("Allow: GET, HEAD\r\n"));
        let (one, _) = ask(&index, "GET", "/gone", "Range: bytes=0-1\r\n");
        assert_eq!((one.status, one.route), (410, Some(5)), "known, and no range of it");
    }

    #[test]
    fn a_head_is_that_of_the_answer() {
        let index = index();
        for path in ["/a", "/gone", "/b"] {
            let (get, with) = ask(&index, "GET", path, "");
            let (head, without) = ask(&index, "HEAD", path, "");
            assert_eq!((with, get.status), (without, head.status));
            assert_eq!(head.body, Content::Text(Vec::new()));
        }
    }

    #[test]
    fn the_type_that_the_client_names_decides() {
        let index = index();
        let of = |accept: &str| ask(&index, "GET", "/simple/x/", accept).0.route;
        assert_eq!(of(""), Some(3));
        assert_eq!(of("Accept: */*\r\n"), Some(3), "as registries do");
        assert_eq!(of("Accept: application/vnd.x+json, text/html;q=0.1\r\n"), Some(1));
        assert_eq!(of("Accept: text/html\r\n"), Some(2));
        assert_eq!(of("Accept: application/vnd.x+json;q=0, text/html\r\n"), Some(2));
        assert!(ask(&index, "GET", "/simple/x/", "").1.contains("Vary: Accept\r\n"));
        let only = |accept: &str| ask(&index, "GET", "/only", accept).0.status;
        assert_eq!((only(""), only("Accept: x/*\r\n"), only("Accept: text/html\r\n")), (200, 200, 406));
    }

    #[test]
    fn a_part_is_given_where_it_is_asked_for() {
        let index = index();
        let of = |fields: &str| ask(&index, "GET", "/a", fields);
        let (part, head) = of("Range: bytes=2-4\r\n");
        assert_eq!((part.status, part.body), (206, Content::Part { route: 0, start: 2, length: 3 }));
        assert!(head.contains("Content-Range: bytes 2-4/10\r\n") && head.contains("Content-Length: 3\r\n"), "{head}");
        let (past, head) = of("Range: bytes=10-\r\n");
        assert_eq!((past.status, past.route), (416, Some(0)));
        assert!(head.contains("Content-Range: bytes */10\r\n"), "{head}");
        let tag = Digest::of(b"0123456789").hex();
        assert_eq!(of(&format!("Range: bytes=2-4\r\nIf-Range: \"{tag}\"\r\n")).0.status, 206);
        assert_eq!(of("Range: bytes=2-4\r\nIf-Range: \"other\"\r\n").0.status, 200);
        assert_eq!(of("Range: bytes=0-1,3-4\r\n").0.status, 200, "several are as none");
        assert_eq!(of(&format!("If-None-Match: \"x\", W/\"{tag}\"\r\n")).0.status, 304);
        assert_eq!(of("If-None-Match: \"x\"\r\n").0.status, 200);
        assert_eq!(ask(&index, "GET", "/gone", "If-None-Match: *\r\n").0.status, 410);
    }
}

//! What a step sends to the server of the locked repository, and what that server's process tells of it.

use bulla_model::{Address, Origin};
use bulla_serve::{
    Heard,
    request::{MAX_HEAD, Method, Range, Read, Request, read},
};

/// The bytes of one connection, which are read whole, and then as if they had come one by one.
pub(crate) fn request(bytes: &[u8]) {
    let whole = requests(bytes, bytes.len().max(1));
    assert_eq!(requests(bytes, 1), whole, "what is read does not depend on how it came");
    for request in whole.iter().flatten() {
        let path = request.path.split_once('?').map_or(request.path.as_str(), |(path, _)| path);
        let connects = request.method == Method::Connect;
        assert_eq!(path.is_empty(), connects, "{request:?}");
        assert!(!connects || (request.origin.is_some() && !request.body), "{request:?}");
        if let (Some(origin), false) = (&request.origin, connects) {
            let host = request.host.as_deref().map(|host| Origin::parse(host, false));
            assert!(!origin.is_tls() && host.is_none_or(|host| host.as_ref() == Ok(origin)), "{request:?}");
        }
        assert!((connects || path.starts_with('/')) && !request.path.contains(char::is_control), "{request:?}");
        assert!(path.split('/').all(|part| part != "." && part != ".."), "{request:?}");
        assert!(!(request.body && request.keep), "what follows a body is never a request");
        let other = matches!(&request.method, Method::Other(word) if word == "GET" || word == "HEAD");
        assert!(!other, "{request:?}");
        for length in [0, 1, 10, u64::MAX] {
            if let Some((start, count)) = request.range.and_then(|range| Range::within(range, length)) {
                assert!(
                    count > 0 && start.checked_add(count).is_some_and(|end| end <= length),
                    "{request:?} of {length}"
                );
            }
        }
    }
}

/// Reads what comes in pieces of `step` bytes, until a request ends the connection; `None` for what is no request.
fn requests(bytes: &[u8], step: usize) -> Vec<Option<Request>> {
    let (mut all, mut inbox, mut seen) = (Vec::new(), Vec::new(), 0);
    for piece in bytes.chunks(step) {
        inbox.extend_from_slice(piece);
        loop {
            match read(&inbox, seen) {
                Read::More => {
                    assert!(inbox.len() < MAX_HEAD, "a head has an end");
                    seen = inbox.len();
                    break;
                }
                Read::Head(length, Ok(request)) => {
                    assert!(length > 0 && length <= inbox.len());
                    inbox.drain(..length);
                    seen = 0;
                    let goes_on = request.keep;
                    all.push(Some(request));
                    if !goes_on {
                        return all;
                    }
                }
                Read::Head(_, Err(bad)) => {
                    assert!((400..600).contains(&bad.status) && !bad.why.is_empty());
                    assert!(!bad.target.contains(char::is_control), "{bad:?}");
                    all.push(None);
                    return all;
                }
            }
        }
    }
    all
}

/// What may be a whole address, and may be a host and a port.
pub(crate) fn address(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(address) = Address::parse(text) {
        let origin = address.origin.to_string();
        let again = Address::parse(&origin).expect("its own form");
        assert_eq!((&again.origin, again.path.as_str()), (&address.origin, "/"));
        assert!(address.path.starts_with('/') && !address.path.contains(char::is_control), "{address:?}");
        assert!(!origin.contains(['@', '#', '?']) && origin.matches('/').count() == 2, "{origin}");
    }
    for tls in [false, true] {
        if let Ok(origin) = Origin::parse(text, tls) {
            let authority = format!("{}:{}", origin.host(), origin.port());
            assert_eq!(Origin::parse(&authority, tls).as_ref(), Ok(&origin), "one form");
            assert!(origin.port() != 0 && origin.is_tls() == tls);
        }
    }
}

/// Messages, each after its length in two bytes.
pub(crate) fn served(bytes: &[u8]) {
    let (mut heard, mut rest) = (Heard::default(), bytes);
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes(*length)).min(after.len());
        let (message, after) = after.split_at(length);
        rest = after;
        if heard.take(message).is_none() {
            return;
        }
    }
    let path = |route: usize| (route < 3).then_some("/a");
    if let Some(report) = heard.report(&path, &[]) {
        assert!(report.served.is_sorted_by_key(|one| one.at));
        assert!(report.served.iter().all(|one| one.path.len() <= 1024 && one.refused() == one.route.is_none()));
    }
}

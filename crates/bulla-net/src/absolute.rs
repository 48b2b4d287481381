//! Plain HTTP through an HTTP proxy in absolute form (RFC 9112, section 3.2.2). The HTTP library would open a tunnel even
//! for port 80, which the usual proxy refuses.

use std::fmt;

use ureq::{
    Error,
    unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport},
};

/// Makes the connections of its chain speak in absolute form.
#[derive(Debug, Default)]
pub(crate) struct AbsoluteConnector;

impl<In: Transport> Connector<In> for AbsoluteConnector {
    type Out = AbsoluteTransport<In>;

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        let Some(inner) = chained else { return Ok(None) };
        let scheme = details.uri.scheme_str().unwrap_or("http");
        let authority = details.uri.authority().map_or("", |authority| authority.as_str());
        let origin = format!("{scheme}://{authority}").into_bytes();
        Ok(Some(AbsoluteTransport { inner, origin, state: State::default() }))
    }
}

/// A connection to a proxy, for the requests of one origin.
pub(crate) struct AbsoluteTransport<In> {
    inner: In,
    origin: Vec<u8>,
    state: State,
}

/// Where in what is written the next write is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// Before a request, or at further lines of its head.
    #[default]
    Head,
    /// In a body that has so many bytes left.
    Body(u64),
}

/// Every request of this client begins with one of these; what follows in later writes of a head are lines, which cannot.
const METHODS: [&[u8]; 5] = [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"PATCH "];

impl<In: Transport> Transport for AbsoluteTransport<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if let State::Body(left @ 1..) = self.state {
            self.state = State::Body(left.saturating_sub(amount as u64));
            return self.inner.transmit_output(amount, timeout);
        }
        let output = self.inner.buffers().output();
        if let Some(length) = output.get(..amount).and_then(body_length) {
            self.state = State::Body(length);
        }
        let longer = insert(output, amount, &self.origin).ok_or(Error::BadUri("too long for the proxy".into()))?;
        self.inner.transmit_output(longer, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }
}

/// Reads the length of the body that follows, where a head says it: the next writes are then no head, whatever they look like.
fn body_length(head: &[u8]) -> Option<u64> {
    head.split(|byte| *byte == b'\n').find_map(|line| {
        let (name, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    })
}

/// Puts the origin between method and path, and gives the new length; `None` when the buffer is too short.
fn insert(buffer: &mut [u8], amount: usize, origin: &[u8]) -> Option<usize> {
    let request = buffer.get(..amount)?;
    let method = METHODS.into_iter().find(|method| request.starts_with(method));
    let Some(start) = method.map(<[u8]>::len).filter(|start| request.get(*start) == Some(&b'/')) else {
        return Some(amount);
    };
    let longer = amount.checked_add(origin.len()).filter(|longer| *longer <= buffer.len())?;
    buffer.copy_within(start..amount, start + origin.len());
    buffer.get_mut(start..start + origin.len())?.copy_from_slice(origin);
    Some(longer)
}

impl<In: Transport> fmt::Debug for AbsoluteTransport<In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbsoluteTransport").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_body_is_known_from_its_head() {
        assert_eq!(body_length(b"PUT /x HTTP/1.1\r\nContent-Length: 12\r\n\r\n"), Some(12));
        assert_eq!(body_length(b"GET /x HTTP/1.1\r\nHost: m\r\n\r\n"), None);
        let mut buffer = *b"PATCH /x HTTP/1.1\r\n........";
        assert_eq!(insert(&mut buffer, 19, b"http://m"), Some(27));
        assert_eq!(&buffer, b"PATCH http://m/x HTTP/1.1\r\n");
    }

    #[test]
    fn the_origin_is_put_before_the_path() {
        let mut buffer = *b"GET /x HTTP/1.1\r\n.........";
        assert_eq!(insert(&mut buffer, 17, b"http://m"), Some(25));
        assert_eq!(&buffer[..25], b"GET http://m/x HTTP/1.1\r\n");
        assert_eq!(insert(&mut buffer, 25, b"http://m"), Some(25), "not twice");
        let mut short = *b"GET /x HTTP/1.1\r\n";
        assert_eq!(insert(&mut short, 17, b"http://m"), None);
    }
}

//! Whole addresses of HTTP, as clients tell them to a proxy and as lock files have them: an origin and a path, each in one form.
//!
//! Two addresses that mean the same are equal, and an address that could be understood in two ways is none: what a step is given
//! depends on it.

use std::{fmt, net::Ipv6Addr};

/// The longest address, in bytes.
pub const MAX_ADDRESS: usize = 4096;
const MAX_HOST: usize = 253;

/// Who answers: a protocol, a host and a port (RFC 6454).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    tls: bool,
    host: String,
    port: u16,
}

/// What is asked of whom.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// Who answers.
    pub origin: Origin,
    /// The path, percent-decoded once, with a query as it stands.
    pub path: String,
}

/// Something is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AddressError(&'static str);

impl AddressError {
    /// Gives what is wrong, for a person.
    pub const fn why(self) -> &'static str {
        self.0
    }
}

impl Origin {
    /// Reads `HOST` or `HOST:PORT`; without a port it is that of the protocol.
    ///
    /// # Errors
    /// When it is neither a name, nor an address of IPv4, nor one of IPv6 in brackets, or the port is no number of one.
    pub fn parse(text: &str, tls: bool) -> Result<Self, AddressError> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or(AddressError("a bracket of the host is not closed"))?;
                let host: Ipv6Addr = host.parse().map_err(|_| AddressError("the host is no address of IPv6"))?;
                (format!("[{host}]"), rest)
            }
            None => {
                let end = text.find(':').unwrap_or(text.len());
                let (host, rest) = text.split_at(end);
                let label = |label: &str| {
                    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
                    !label.is_empty() && label.len() <= 63 && label.bytes().all(plain)
                };
                if host.len() > MAX_HOST || !host.split('.').all(label) {
                    return Err(AddressError("the host is no name of one"));
                }
                (host.to_ascii_lowercase(), rest)
            }
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => usual(tls),
            Some(digits) if !digits.is_empty() && digits.len() <= 5 && digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().ok().filter(|port| *port != 0).ok_or(AddressError("the port is out of range"))?
            }
            _ => return Err(AddressError("the port is no number")),
        };
        Ok(Self { tls, host, port })
    }

    /// Says whether TLS is spoken there.
    pub const fn is_tls(&self) -> bool {
        self.tls
    }

    /// Gives the host: a name in lower case, or an address, that of IPv6 in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Gives the port.
    pub const fn port(&self) -> u16 {
        self.port
    }
}

const fn usual(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tls, host, port } = self;
        write!(f, "{}{host}", if *tls { "https://" } else { "http://" })?;
        if *port == usual(*tls) { Ok(()) } else { write!(f, ":{port}") }
    }
}

impl Address {
    /// Reads a whole address without a fragment.
    ///
    /// # Errors
    /// When it is of another protocol, has a login in it, or its path has no one meaning.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.len() > MAX_ADDRESS {
            return Err(AddressError("the address is longer than 4096 bytes"));
        }
        let scheme = |name: &str| {
            let (found, rest) = text.split_at_checked(name.len())?;
            found.eq_ignore_ascii_case(name).then_some(rest)
        };
        let (tls, rest) = match (scheme("https://"), scheme("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(AddressError("the address begins neither with http:// nor with https://")),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.contains('@') {
            return Err(AddressError("the address has a login in it"));
        }
        let origin = Origin::parse(authority, tls)?;
        let path = match target.starts_with('/') {
            true => decoded(target)?,
            false => decoded(&format!("/{target}"))?,
        };
        Ok(Self { origin, path })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
}

/// Decodes the target of a request, once: a path that begins with a slash, and a query that stays as it is.
///
/// # Errors
/// When it has bytes that no path has, or parts that lead elsewhere (`.`, `..`).
pub fn decoded(target: &str) -> Result<String, AddressError> {
    if target.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b'#') {
        return Err(AddressError("the path has bytes that no path has"));
    }
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let mut decoded = Vec::with_capacity(target.len());
    let mut rest = path.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            decoded.push(*first);
            continue;
        }
        const TWO: AddressError = AddressError("a percent sign without two digits");
        let [high, low, after @ ..] = rest else { return Err(TWO) };
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let (Some(high), Some(low)) = (digit(*high), digit(*low)) else { return Err(TWO) };
        decoded.push((high * 16 + low) as u8);
        rest = after;
    }
    let Ok(mut decoded) = String::from_utf8(decoded) else { return Err(AddressError("the path is not UTF-8")) };
    if decoded.contains(char::is_control) {
        return Err(AddressError("the path has control characters in it"));
    }
    if decoded.split('/').any(|part| part == "." || part == "..") {
        return Err(AddressError("the path has `.` or `..` in it"));
    }
    if let Some(query) = query {
        decoded.push('?');
        decoded.push_str(query);
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, &'static str> {
        Address::parse(text).map(|address| address.to_string()).map_err(AddressError::why)
    }

    #[test]
    fn one_address_has_one_form() {
        let same = ["https://Files.Example/a%2Bb", "HTTPS://files.example:443/a+b", "https://files.example:0443/a%2bb"];
        for text in same {
            assert_eq!(shown(text).as_deref(), Ok("https://files.example/a+b"), "{text}");
        }
        assert_eq!(shown("http://files.example:443/").as_deref(), Ok("http://files.example:443/"), "another port");
        assert_eq!(shown("http://files.example").as_deref(), Ok("http://files.example/"));
        assert_eq!(shown("http://files.example?x=%2f").as_deref(), Ok("http://files.example/?x=%2f"));
        assert_eq!(shown("https://[0:0::1]:8443/x").as_deref(), Ok("https://[::1]:8443/x"));
        assert_ne!(Address::parse("http://a.example/"), Address::parse("https://a.example/"), "another protocol");
    }

    #[test]
    fn what_can_be_understood_in_two_ways_is_no_address() {
        let bad = [
            "ftp://a.example/",
            "//a.example/",
            "a.example:443",
            "http://",
            "http:///x",
            "http://user@a.example/",
            "http://a.example@b.example/",
            "http://a.example:80:81/",
            "http://a.example:/",
            "http://a.example:0/",
            "http://a.example:65536/",
            "http://a.example:+80/",
            "http://a.example./",
            "http://a..example/",
            "http://a.example\\b.example/",
            "http://a.ex%61mple/",
            "http://\u{e4}.example/",
            "http://[::1/",
            "http://[::1]x/",
            "http://[a]/",
            "http://a.example/#b",
            "http://a.example#b",
            "http://a.example/../b",
            "http://a.example/%2e%2e/b",
            "http://a.example/a b",
            "http://a.example/%0a",
        ];
        for text in bad {
            assert!(Address::parse(text).is_err(), "{text}");
        }
        assert!(shown(&format!("http://{}/", "a".repeat(64))).is_err());
        assert!(shown(&format!("http://a.example/{}", "a".repeat(MAX_ADDRESS))).is_err());
    }

    proptest::proptest! {
        #[test]
        fn what_is_read_is_read_again(host in "[a-zA-Z0-9._:\\[\\]-]{0,20}", path in "[ -~]{0,20}") {
            if let Ok(address) = Address::parse(&format!("https://{host}/{path}")) {
                let origin = address.origin.to_string();
                let again = Address::parse(&origin).expect("its own form");
                proptest::prop_assert_eq!(&again.origin, &address.origin);
                proptest::prop_assert_eq!(again.origin.to_string(), origin);
            }
        }
    }
}

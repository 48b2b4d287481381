//! Absolute `http` and `https` URLs without a login in them: what has one is split before it becomes a [`Url`], so that no
//! message can show it.

use std::{fmt, net::Ipv4Addr, net::Ipv6Addr, str::FromStr};

use crate::{
    config::{Credential, Secret},
    guard,
};

/// The most bytes that a URL may have.
const MAX_URL: usize = 8192;

/// An absolute `http` or `https` URL (RFC 3986) without login and fragment, in normal form: host in lower case, default
/// port left out, no `.` or `..` in the path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Url {
    secure: bool,
    host: String,
    port: u16,
    path: String,
    query: Option<String>,
}

/// Says why a text is not a URL that Bulla would ask.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a URL that can be fetched: {reason}")]
pub struct UrlError {
    text: String,
    reason: &'static str,
}

impl Url {
    /// Reads a URL that has no login in it.
    ///
    /// # Errors
    /// When it is not `http` or `https`, has a login, a bad host or port, or characters that RFC 3986 does not allow.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let (url, login) = split(text)?;
        match login {
            Some(_) => Err(error(text, "it has a login in it; put the login into the configuration, for its host")),
            None => Ok(url),
        }
    }

    /// Reads a URL that may have a login in it (`https://user:word@host/`), as apt's sources may, and gives both apart.
    ///
    /// # Errors
    /// As [`Url::parse`].
    pub fn parse_with_login(text: &str) -> Result<(Self, Option<Credential>), UrlError> {
        let (url, login) = split(text)?;
        let credential = login
            .map(|login| {
                let (name, password) = login.split_once(':').unwrap_or((login, ""));
                let decode = |part| percent_decode(part).ok_or_else(|| error(text, "its login is not valid"));
                Ok(Credential {
                    origin: url.origin(),
                    path: url.path.clone(),
                    login: decode(name)?,
                    password: Secret::new(decode(password)?),
                })
            })
            .transpose()?;
        Ok((url, credential))
    }

    /// Says whether the URL is `https`.
    pub const fn is_secure(&self) -> bool {
        self.secure
    }

    /// Says whether its host is loopback, by its text: an address, or a name that stands for it.
    pub fn is_loopback(&self) -> bool {
        guard::is_loopback_text(self)
    }

    /// Gives the host in lower case; an IPv6 address is in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Gives the port, which may be the scheme's own.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Gives the path, which starts with `/`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Gives scheme, host and port (`https://mirror.example:8443`): what credentials belong to (RFC 6454).
    pub fn origin(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        let default = if self.secure { 443 } else { 80 };
        if self.port == default {
            format!("{scheme}://{}", self.host)
        } else {
            format!("{scheme}://{}:{}", self.host, self.port)
        }
    }

    /// Gives the URL of a file beneath this one: `http://m/debian` and `dists/x` make `http://m/debian/dists/x`.
    ///
    /// # Errors
    /// When the path is absolute, climbs with `..`, or has a query or characters that a URL cannot have.
    pub fn beneath(&self, path: &str) -> Result<Self, UrlError> {
        if path.is_empty()
            || path.contains(['?', '#', '\\'])
            || path.split('/').any(|part| matches!(part, "" | "." | ".."))
        {
            return Err(error(path, "it does not stay beneath the mirror"));
        }
        let whole = format!("{}{}/{path}", self.origin(), self.path.trim_end_matches('/'));
        Self::parse(&whole)
    }

    /// Adds a parameter to the query.
    pub(crate) fn with_parameter(&self, name: &str, value: &str) -> Self {
        let pair = format!("{name}={}", percent_encode(value));
        let query = match &self.query {
            Some(query) if !query.is_empty() => format!("{query}&{pair}"),
            _ => pair,
        };
        Self { query: Some(query), ..self.clone() }
    }

    /// Resolves a reference as a `Location` header has it (RFC 3986, section 5.2).
    ///
    /// # Errors
    /// When the result is not a URL that can be fetched.
    pub fn join(&self, reference: &str) -> Result<Self, UrlError> {
        let reference = reference.split('#').next().unwrap_or_default();
        let scheme = if self.secure { "https" } else { "http" };
        if has_scheme(reference) {
            return Self::parse(reference);
        }
        if let Some(rest) = reference.strip_prefix("//") {
            return Self::parse(&format!("{scheme}://{rest}"));
        }
        let origin = self.origin();
        let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let whole = match reference.as_bytes().first() {
            Some(b'/') => format!("{origin}{reference}"),
            Some(b'?') => format!("{origin}{}{reference}", self.path),
            Some(_) => format!("{origin}{folder}/{reference}"),
            None => format!("{origin}{}", self.path),
        };
        Self::parse(&whole)
    }

    /// Writes the URL for people: without the query, where download services put their tokens.
    pub fn shown(&self) -> String {
        let query = if self.query.is_some() { "?…" } else { "" };
        format!("{}{}{query}", self.origin(), self.path)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.path)?;
        self.query.iter().try_for_each(|query| write!(f, "?{query}"))
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// Makes an error whose text has neither login nor query.
fn error(text: &str, reason: &'static str) -> UrlError {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let end = text.find("//").map_or(0, |at| at + 2);
    let (scheme, rest) = text.split_at(end);
    let authority = rest.split('/').next().unwrap_or_default();
    let hidden = authority.rfind('@').map_or(rest, |at| &rest[at + 1..]);
    let text: String = scheme.chars().chain(hidden.chars()).flat_map(char::escape_debug).take(200).collect();
    UrlError { text, reason }
}

fn has_scheme(reference: &str) -> bool {
    reference.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    })
}

/// Splits a text into the URL and its login.
fn split(text: &str) -> Result<(Url, Option<&str>), UrlError> {
    let fail = |reason| error(text, reason);
    if text.len() > MAX_URL {
        return Err(fail("it is longer than 8192 bytes"));
    }
    let (scheme, rest) = text.split_once("://").ok_or_else(|| fail("it is not `http://…` or `https://…`"))?;
    let secure = match scheme.to_ascii_lowercase().as_str() {
        "http" => false,
        "https" => true,
        _ => return Err(fail("only `http` and `https` are fetched")),
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let (login, place) = match authority.rsplit_once('@') {
        Some((login, place)) => (Some(login), place),
        None => (None, authority),
    };
    let (host, port) = host_and_port(place).ok_or_else(|| fail("its host or port is not valid"))?;
    let (path, query) = match tail.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (tail, None),
    };
    let allowed = |c: char| c.is_ascii_graphic() && !"\"<>\\^`{|}".contains(c);
    if !path.chars().chain(query.iter().flat_map(|query| query.chars())).all(allowed) {
        return Err(fail("it has characters that must be written as %XX"));
    }
    let port = port.unwrap_or(if secure { 443 } else { 80 });
    Ok((Url { secure, host, port, path: without_dots(path), query }, login))
}

fn host_and_port(place: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = if place.starts_with('[') {
        let end = place.find(']')?;
        let address: Ipv6Addr = place.get(1..end)?.parse().ok()?;
        (format!("[{address}]"), place.get(end + 1..)?)
    } else {
        let end = place.find(':').unwrap_or(place.len());
        let host = place.get(..end)?.to_ascii_lowercase();
        (is_host(&host).then_some(host)?, place.get(end..)?)
    };
    let port = match port.strip_prefix(':') {
        Some(digits) if digits.bytes().all(|c| c.is_ascii_digit()) => {
            Some(digits.parse().ok().filter(|port| *port != 0)?)
        }
        None if port.is_empty() => None,
        _ => return None,
    };
    Some((host, port))
}

/// Says whether a text is a host name or an IPv4 address in its usual form. `0x7f.1` and `127.1` are neither: resolvers
/// would take them for addresses that no check here has seen.
fn is_host(host: &str) -> bool {
    let labels = host.trim_end_matches('.').split('.');
    let last = labels.clone().next_back().unwrap_or_default();
    let numeric = last.starts_with("0x") || last.bytes().all(|c| c.is_ascii_digit());
    let plain = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'))
    };
    host.len() <= 253 && labels.clone().all(plain) && (!numeric || host.parse::<Ipv4Addr>().is_ok())
}

/// Takes `.` and `..` out of a path (RFC 3986, section 5.2.4).
fn without_dots(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let mut folder = true;
    for part in path.split('/').skip(1) {
        folder = matches!(part, "." | "..");
        match part {
            "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let mut clean = String::with_capacity(path.len() + 1);
    for part in &parts {
        clean.push('/');
        clean.push_str(part);
    }
    if folder || clean.is_empty() {
        clean.push('/');
    }
    clean
}

/// Writes everything but letters, digits and `-._~` as `%XX` (RFC 3986, section 2.3).
pub(crate) fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Reads `%XX`; `None` when the digits are wrong or the result is not UTF-8.
pub(crate) fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'%' => {
                let digit = |c: u8| char::from(c).to_digit(16);
                u8::try_from(digit(rest.next()?)? * 16 + digit(rest.next()?)?).ok()?
            }
            other => other,
        };
        bytes.push(byte);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL")
    }

    #[test]
    fn urls_are_brought_into_normal_form() {
        for (text, normal) in [
            ("HTTP://Mirror.Example", "http://mirror.example/"),
            ("http://mirror.example:80/a/./b/../c#x", "http://mirror.example/a/c"),
            ("https://[::1]:443/a?b=/../c", "https://[::1]/a?b=/../c"),
            ("http://127.0.0.1:8080/../..", "http://127.0.0.1:8080/"),
        ] {
            assert_eq!(url(text).to_string(), normal);
        }
    }

    #[test]
    fn what_is_not_http_or_hides_an_address_is_refused() {
        for text in [
            "file:///etc/passwd",
            "ftp://m/x",
            "http:/x",
            "http://",
            "http:///x",
            "http://m:0/",
            "http://m:99999/",
            "http://m:+80/",
            "http://0x7f.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://[::1/",
            "http://[::1%25eth0]/",
            "http://a b/",
            "http://m/a b",
            "http://m/\r\nx",
            "http://m/é",
            "http://m..example/",
            "http://-@m/",
            "http://m\\@n/",
        ] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_login_is_split_off_and_never_shown() {
        let (url, credential) = Url::parse_with_login("https://u%40x:p:w@m.example/debian").expect("a URL");
        let credential = credential.expect("a login");
        assert_eq!((url.to_string().as_str(), credential.login.as_str()), ("https://m.example/debian", "u@x"));
        assert_eq!(credential.password.reveal(), "p:w");
        assert!(!format!("{credential:?}").contains("p:w"));
        let refused = Url::parse("https://user:hush@m.example/?token=hush").expect_err("refused").to_string();
        assert!(!refused.contains("hush") && refused.contains("m.example"), "{refused}");
    }

    #[test]
    fn a_parameter_is_added_to_what_is_there() {
        let upload = url("http://m/v2/x?_state=a%2Bb").with_parameter("digest", "sha256:00");
        assert_eq!(upload.to_string(), "http://m/v2/x?_state=a%2Bb&digest=sha256%3A00");
        assert!(Url::parse(&url("http://m/x").with_parameter("scope", "a b&c=é").to_string()).is_ok());
    }

    #[test]
    fn references_are_resolved_as_the_rfc_says() {
        let base = url("http://m.example/b/c/d?q");
        for (reference, whole) in [
            ("g", "http://m.example/b/c/g"),
            ("/g", "http://m.example/g"),
            ("//n.example/g", "http://n.example/g"),
            ("?y", "http://m.example/b/c/d?y"),
            ("../../../g", "http://m.example/g"),
            ("https://n.example", "https://n.example/"),
            ("", "http://m.example/b/c/d"),
        ] {
            assert_eq!(base.join(reference).expect("a URL").to_string(), whole, "{reference}");
        }
        assert!(base.join("file:///etc/passwd").is_err());
        assert!(base.join("javascript:x").is_err());
    }

    #[test]
    fn a_file_stays_beneath_its_mirror() {
        let base = url("http://m.example/debian/");
        assert_eq!(base.beneath("dists/x").expect("beneath").to_string(), "http://m.example/debian/dists/x");
        for path in ["../x", "/x", "a//b", "a?b", "", "a/..", "a\\b"] {
            assert!(base.beneath(path).is_err(), "{path}");
        }
    }

    proptest! {
        #[test]
        fn a_url_is_read_back_as_it_is_written(text in "https?://[a-z.0-9:@\\[\\]]{0,20}/[!-~]{0,30}") {
            if let Ok(url) = Url::parse(&text) {
                prop_assert_eq!(Url::parse(&url.to_string()), Ok(url));
            }
        }

        #[test]
        fn no_text_makes_the_reader_fail_badly(text in ".{0,60}") {
            let _ = Url::parse(&text);
            let _ = url("http://m/").join(&text);
        }
    }
}

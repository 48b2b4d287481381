//! References to images in registries: `HOST[:PORT]/REPOSITORY[:TAG][@DIGEST]` (distribution specification 1.1, "Pulling
//! manifests"; the grammar is that of the reference implementation).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Digest;

/// The tag where neither tag nor digest is said.
const DEFAULT_TAG: &str = "latest";

/// The most bytes of a reference.
const MAX_TEXT: usize = 1024;
/// The most bytes of host and repository together.
const MAX_NAME: usize = 255;
/// The most bytes of a tag.
const MAX_TAG: usize = 128;

/// A reference to an image in a registry. The registry is always named: a short name means one image to one client and
/// another to the next, and so may be taken by a stranger.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    host: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Says why a text is not a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a reference to an image: {reason}")]
pub struct ReferenceError {
    text: String,
    reason: &'static str,
}

impl ReferenceError {
    /// Says what is wrong with a text.
    pub(super) fn new(text: &str, reason: &'static str) -> Self {
        Self { text: text.chars().flat_map(char::escape_debug).take(200).collect(), reason }
    }
}

impl Reference {
    /// Reads a reference; where there is neither tag nor digest, the tag is `latest`, as for the usual clients.
    ///
    /// # Errors
    /// When the text does not follow the grammar, or is too long.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let fail = |reason| ReferenceError::new(text, reason);
        if text.is_empty() || text.len() > MAX_TEXT {
            return Err(fail("it is empty or longer than 1024 bytes"));
        }
        if text.contains("://") {
            return Err(fail("it has a scheme; write it without `https://`"));
        }
        let (text_of_name, digest) = match text.split_once('@') {
            Some((name, digest)) => {
                let digest = digest.parse().map_err(|_| {
                    fail("after `@` stands `sha256:` and 64 lower-case hexadecimal digits, and no login before it")
                })?;
                (name, Some(digest))
            }
            None => (text, None),
        };
        let slash = text_of_name.rfind('/').map_or(0, |at| at + 1);
        let colon = text_of_name.get(slash..).and_then(|last| last.find(':')).map(|at| slash + at);
        // `host:5000` alone is a name with a tag, as it is for the clients that this grammar comes from.
        let (name, tag) = match colon {
            Some(at) => (text_of_name.get(..at).unwrap_or_default(), text_of_name.get(at + 1..)),
            None => (text_of_name, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(fail("a tag is 1 to 128 letters, digits and `._-`, and starts with no `.` or `-`"));
        }
        let Some((host, repository)) = split_host(name) else {
            return Err(fail("it names no registry; write HOST/REPOSITORY, as in `registry.example/team/shop:1.2`"));
        };
        if !is_host(&host) {
            return Err(fail("its host is not `HOST` or `HOST:PORT`"));
        }
        if !repository.split('/').all(is_component) {
            return Err(fail(
                "a repository is lower-case letters and digits in parts with `/`, and `.`, `_`, `__` or `-` between them",
            ));
        }
        if host.len() + repository.len() + 1 > MAX_NAME {
            return Err(fail("host and repository are longer than 255 bytes"));
        }
        let tag = match (tag, &digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, Some(_)) => None,
            (None, None) => Some(DEFAULT_TAG.to_owned()),
        };
        Ok(Self { host, repository, tag, digest })
    }

    /// Gives `HOST` or `HOST:PORT`, in lower case: what logins and configurations name.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Gives the repository, without the host: `team/shop`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Gives the tag; `None` where only the digest is said.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Gives the digest, where it is said.
    pub const fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// Gives `HOST/REPOSITORY`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.host, self.repository)
    }

    /// Gives what is asked for in the repository: the digest, else the tag.
    pub fn wanted(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.clone().unwrap_or_else(|| DEFAULT_TAG.to_owned()),
        }
    }

    /// Gives the same reference, pinned to a digest.
    #[must_use]
    pub fn pinned(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }
}

/// Brings the name of a registry, as a configuration of Docker or Podman may write it (`https://HOST/v1/`), into the form of
/// [`Reference::host`].
pub fn registry_host(text: &str) -> &str {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
    rest.split('/').next().unwrap_or_default()
}

/// Splits `HOST/REPOSITORY`; `None` where the first part can only be a folder.
fn split_host(name: &str) -> Option<(String, String)> {
    let (first, rest) = name.split_once('/')?;
    let is_host =
        first.contains(['.', ':', '[']) || first == "localhost" || first.bytes().any(|c| c.is_ascii_uppercase());
    is_host.then(|| (first.to_ascii_lowercase(), rest.to_owned()))
}

fn is_tag(tag: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-');
    (1..=MAX_TAG).contains(&tag.len()) && !tag.starts_with(['.', '-']) && tag.bytes().all(plain)
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
fn is_component(part: &str) -> bool {
    let word = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let good_ends = part.bytes().next().is_some_and(word) && part.bytes().next_back().is_some_and(word);
    let separators = part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    good_ends
        && separators
            .into_iter()
            .all(|between| matches!(between, "" | "." | "_" | "__") || between.bytes().all(|c| c == b'-'))
}

fn is_host(host: &str) -> bool {
    let (name, port) = if let Some(rest) = host.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        if address.parse::<std::net::Ipv6Addr>().is_err() {
            return false;
        }
        (None, port)
    } else {
        let end = host.find(':').unwrap_or(host.len());
        (host.get(..end), host.get(end..).unwrap_or_default())
    };
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let good_port = match port.strip_prefix(':') {
        Some(digits) => digits.bytes().all(|c| c.is_ascii_digit()) && digits.parse::<u16>().is_ok_and(|port| port != 0),
        None => port.is_empty(),
    };
    good_port && name.is_none_or(|name| name.split('.').all(label))
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.repository)?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl Serialize for Reference {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn full(text: &str) -> String {
        Reference::parse(text).map_or_else(|error| error.to_string(), |found| found.to_string())
    }

    #[test]
    fn the_tag_alone_may_be_left_out() {
        for (text, whole) in [
            ("localhost/shop", "localhost/shop:latest"),
            ("LocalHost/shop", "localhost/shop:latest"),
            ("127.0.0.1:5000/a/b:c", "127.0.0.1:5000/a/b:c"),
            ("[::1]:5000/a", "[::1]:5000/a:latest"),
            ("r.example/a__b/c---d.e_f", "r.example/a__b/c---d.e_f:latest"),
        ] {
            assert_eq!(full(text), whole, "{text}");
        }
        let pinned = format!("r.example/a@sha256:{HEX}");
        assert_eq!(full(&pinned), pinned, "a digest needs no tag");
        let both = format!("r.example/a:1@sha256:{HEX}");
        assert_eq!(full(&both), both);
        assert!(Reference::parse(&both).is_ok_and(|found| found.wanted() == format!("sha256:{HEX}")));
    }

    #[test]
    fn a_name_without_a_registry_is_refused_with_the_way_out() {
        // The last is a name with a tag, and no host with a port.
        for text in ["debian", "debian:12", "team/shop", "library/debian", "shop:5000"] {
            assert!(full(text).contains("it names no registry; write HOST/REPOSITORY"), "{}", full(text));
        }
        assert_eq!(registry_host("https://r.example:8443/v2/"), "r.example:8443");
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for text in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "r.example/",
            "r.example/A",
            "r.example/a:",
            "r.example/a:.x",
            "r.example/a:-x",
            "r.example/a:b:c",
            "r.example/a@sha512:00",
            "r.example/a@",
            "r.example/a@sha256:E3",
            "r.example/../a",
            "r.example/a..b",
            "r.example/a___b",
            "r.example/-a",
            "r.example/a b",
            "r.example/a?x",
            "r.example/a%2fb",
            "r.example:0/a",
            "r.example:99999/a",
            "r.example:+1/a",
            "r..example/a",
            "-r.example/a",
            "user:word@r.example/a",
            "https://r.example/a",
            "[::1/a",
            "[::1%25eth0]/a",
            "r.example\n/a",
            "é.example/a",
        ] {
            assert!(Reference::parse(text).is_err(), "{text:?}");
        }
        assert!(Reference::parse(&format!("r.example/{}", "a".repeat(250))).is_err());
        assert!(Reference::parse(&format!("r.example/a:{}", "b".repeat(129))).is_err());
    }

    proptest! {
        #[test]
        fn a_full_reference_is_read_back(text in "[a-z.:0-9/@_\\[\\]-]{1,40}") {
            if let Ok(found) = Reference::parse(&text) {
                prop_assert_eq!(Reference::parse(&found.to_string()), Ok(found));
            }
        }

        #[test]
        fn no_text_makes_the_reader_fail_badly(text in ".{0,60}") {
            let _ = Reference::parse(&text);
            let _ = registry_host(&text);
        }
    }
}

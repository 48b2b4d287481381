//! Package URLs: what a package is called wherever it is spoken of (the purl specification, "PURL-SPECIFICATION").

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The most bytes of a package URL that is read.
const MAX_PURL: usize = 4096;

/// A package URL in its canonical form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Purl {
    /// The kind of packages: `deb`, `npm`.
    pub kind: String,
    /// What the name is beneath: the distribution, the scope, the group.
    pub namespace: Vec<String>,
    /// The name.
    pub name: String,
    /// The version.
    pub version: Option<String>,
    /// What tells packages of one version apart: `arch`, `distro`.
    pub qualifiers: BTreeMap<String, String>,
    /// What is meant within the package, its parts in order. Makers of lists have the rest of a Go module's path here (`v2`).
    pub subpath: Vec<String>,
}

/// A text that is no package URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is no package URL")]
pub struct NoPurl;

impl Purl {
    /// Makes the URL of a package whose name may have its namespace before the last slash.
    pub fn new(kind: &str, name: &str, version: Option<&str>) -> Self {
        let mut parts: Vec<String> = name.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        let name = parts.pop().unwrap_or_default();
        let version = version.filter(|version| !version.is_empty()).map(str::to_owned);
        Self {
            kind: kind.to_owned(),
            namespace: parts,
            name,
            version,
            qualifiers: BTreeMap::new(),
            subpath: Vec::new(),
        }
    }

    /// Puts its name beneath something.
    pub fn within(self, namespace: &str) -> Self {
        Self { namespace: namespace.split('/').map(str::to_owned).collect(), ..self }
    }

    /// Adds what tells it from others. Nothing is added where the value is empty.
    pub fn with(mut self, key: &str, value: &str) -> Self {
        if !value.is_empty() {
            self.qualifiers.insert(key.to_owned(), value.to_owned());
        }
        self
    }

    /// Gives the name as its package manager writes it: with the namespace, where that is a part of the name.
    pub fn full_name(&self) -> String {
        let separator = if self.kind == "maven" { ":" } else { "/" };
        match self.kind.as_str() {
            "deb" | "apk" | "rpm" => self.name.clone(),
            _ if self.namespace.is_empty() => self.name.clone(),
            _ => {
                format!("{}{separator}{}", self.namespace.join(if self.kind == "maven" { "." } else { "/" }), self.name)
            }
        }
    }
}

impl fmt::Display for Purl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pkg:{}/", self.kind)?;
        for part in &self.namespace {
            write!(f, "{}/", Encoded(part))?;
        }
        Encoded(&self.name).fmt(f)?;
        if let Some(version) = &self.version {
            write!(f, "@{}", Encoded(version))?;
        }
        for (at, (key, value)) in self.qualifiers.iter().enumerate() {
            write!(f, "{}{key}={}", if at == 0 { '?' } else { '&' }, Encoded(value))?;
        }
        for (at, part) in self.subpath.iter().enumerate() {
            write!(f, "{}{}", if at == 0 { '#' } else { '/' }, Encoded(part))?;
        }
        Ok(())
    }
}

/// A text with all but the unreserved characters and the colon percent-encoded ("Character encoding").
struct Encoded<'a>(&'a str);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' | b':' => {
                    write!(f, "{}", char::from(byte))?;
                }
                _ => write!(f, "%{byte:02X}")?,
            }
        }
        Ok(())
    }
}

impl FromStr for Purl {
    type Err = NoPurl;

    fn from_str(text: &str) -> Result<Self, NoPurl> {
        if text.len() > MAX_PURL {
            return Err(NoPurl);
        }
        let rest = text.strip_prefix("pkg:").ok_or(NoPurl)?;
        let (rest, within) = rest.split_once('#').unwrap_or((rest, ""));
        let (rest, asked) = rest.split_once('?').unwrap_or((rest, ""));
        let (path, version) = match rest.rsplit_once('@') {
            Some((path, version)) if !version.contains('/') => (path, Some(decoded(version)?)),
            _ => (rest, None),
        };
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        let kind = parts.next().filter(|kind| kind.bytes().all(|byte| byte.is_ascii_alphanumeric())).ok_or(NoPurl)?;
        let mut namespace = parts.map(decoded).collect::<Result<Vec<_>, _>>()?;
        let name = namespace.pop().filter(|name| !name.is_empty()).ok_or(NoPurl)?;
        let mut qualifiers = BTreeMap::new();
        for (key, value) in asked.split('&').filter_map(|pair| pair.split_once('=')) {
            let is_key =
                !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
            if !is_key || qualifiers.insert(key.to_ascii_lowercase(), decoded(value)?).is_some() {
                return Err(NoPurl);
            }
        }
        qualifiers.retain(|_, value| !value.is_empty());
        // "Subpath": parts that are empty or lead elsewhere are left out.
        let mut subpath = within.split('/').map(decoded).collect::<Result<Vec<_>, _>>()?;
        subpath.retain(|part| !["", ".", ".."].contains(&part.as_str()));
        Ok(Self { kind: kind.to_ascii_lowercase(), namespace, name, version, qualifiers, subpath })
    }
}

fn decoded(text: &str) -> Result<String, NoPurl> {
    let (mut out, mut bytes) = (Vec::with_capacity(text.len()), text.bytes());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16)).ok_or(NoPurl);
        out.push(u8::try_from(digit()? * 16 + digit()?).map_err(|_| NoPurl)?);
    }
    String::from_utf8(out).map_err(|_| NoPurl)
}

impl Serialize for Purl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Purl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn urls_are_written_as_the_specification_has_them() {
        let deb = Purl::new("deb", "libstdc++6", Some("1:12.2.0-14+deb12u1~x")).within("debian").with("arch", "amd64");
        assert_eq!(deb.to_string(), "pkg:deb/debian/libstdc%2B%2B6@1:12.2.0-14%2Bdeb12u1~x?arch=amd64");
        assert_eq!(Purl::new("npm", "@angular/core", Some("1.0.0")).to_string(), "pkg:npm/%40angular/core@1.0.0");
        let go = Purl::new("golang", "github.com/a/b", Some("v1.2.3"));
        assert_eq!(
            (go.to_string().as_str(), go.full_name().as_str()),
            ("pkg:golang/github.com/a/b@v1.2.3", "github.com/a/b")
        );
        let maven = Purl::new("maven", "c", Some("1")).within("a/b");
        assert_eq!(maven.full_name(), "a.b:c");
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for text in [
            "",
            "pkg:",
            "pkg:deb",
            "pkg:deb/",
            "http://x/y",
            "pkg:a b/c",
            "pkg:deb/%zz",
            "pkg:deb/a?x=1&x=2",
            "pkg:deb/%ff",
        ] {
            assert_eq!(text.parse::<Purl>(), Err(NoPurl), "{text}");
        }
        let within: Purl = "pkg:npm/%40a/b@1?arch=x#/sub/.././%2e%2e//pa%20th/".parse().expect("a purl");
        assert_eq!(within.to_string(), "pkg:npm/%40a/b@1?arch=x#sub/pa%20th");
    }

    proptest! {
        #[test]
        fn a_url_is_read_as_it_was_written(name in "[a-zA-Z@+ %?#/é]{0,12}x", version in "[0-9a-z+:~@/.]{1,8}", value in "[a-z/&=]{0,5}") {
            let purl = Purl::new("npm", &name, Some(&version)).with("arch", &value);
            prop_assert_eq!(purl.to_string().parse(), Ok(purl));
        }
    }
}

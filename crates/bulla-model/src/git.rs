//! What names things in a git repository: ids of objects, tags and branches.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The id of a git object: the SHA-1 of its kind, length and content, written as 40 lower-case hexadecimal digits. It finds an
/// object; that the bytes are the right ones for good, a [`crate::Digest`] says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GitId([u8; 20]);

/// Says why a text is not the id of a git object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not the id of a git object: expected 40 hexadecimal digits")]
pub struct ParseGitIdError {
    text: String,
}

impl GitId {
    /// Takes the 20 bytes of a SHA-1.
    pub const fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// Gives the 20 bytes.
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// Gives the first 12 digits, for people.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl fmt::Display for GitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for GitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for GitId {
    type Err = ParseGitIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || ParseGitIdError { text: text.chars().take(100).collect() };
        if text.len() != 40 || !text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return Err(bad());
        }
        let mut bytes = [0; 20];
        for (at, byte) in bytes.iter_mut().enumerate() {
            let pair = text.get(2 * at..2 * at + 2).ok_or_else(bad)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| bad())?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for GitId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GitId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What is asked of a repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum GitRevision {
    /// A tag, by its name behind `refs/tags/`.
    Tag(String),
    /// A branch, by its name behind `refs/heads/`.
    Branch(String),
    /// A commit, by its id.
    Commit(GitId),
}

impl GitRevision {
    /// Reads `tag NAME`, `branch NAME` or `commit ID`, as a lock has it.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, name) = text.split_once(' ')?;
        match kind {
            "tag" => is_ref_name(name).then(|| Self::Tag(name.to_owned())),
            "branch" => is_ref_name(name).then(|| Self::Branch(name.to_owned())),
            "commit" => name.parse().ok().map(Self::Commit),
            _ => None,
        }
    }

    /// Gives the whole name of the reference; a commit has none.
    pub fn reference(&self) -> Option<String> {
        match self {
            Self::Tag(name) => Some(format!("refs/tags/{name}")),
            Self::Branch(name) => Some(format!("refs/heads/{name}")),
            Self::Commit(_) => None,
        }
    }
}

impl fmt::Display for GitRevision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(name) => write!(f, "tag {name}"),
            Self::Branch(name) => write!(f, "branch {name}"),
            Self::Commit(id) => write!(f, "commit {id}"),
        }
    }
}

/// The most bytes of a tag's or branch's name.
const MAX_REF: usize = 250;

/// Says whether a text can name a tag or branch (git-check-ref-format(1)). Beyond its rules, only printable ASCII is taken.
pub fn is_ref_name(text: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    text.len() <= MAX_REF
        && text.bytes().all(|b| b.is_ascii_graphic() && !b"~^:?*[\\\"".contains(&b))
        && text.split('/').all(plain)
        && !text.contains("..")
        && !text.contains("@{")
        && !text.ends_with('.')
        && !text.starts_with('-')
        && text != "@"
}

/// Says whether a text can be the address of a git repository: an `https`, `http` or `ssh` URL, or `USER@HOST:PATH`. Only
/// `ssh` addresses have a user, and none has a password.
pub fn is_git_address(text: &str) -> bool {
    let plain = text.bytes().all(|b| b.is_ascii_graphic() && !b"\"'<>\\^`{|}$".contains(&b));
    if !plain || text.len() > MAX_ADDRESS {
        return false;
    }
    match text.split_once("://") {
        Some(("https" | "http", rest)) => {
            let host = rest.split('/').next().unwrap_or_default();
            !host.is_empty() && !host.contains('@') && !text.contains(['?', '#'])
        }
        Some(("ssh", _)) => SshAddress::parse(text).is_some(),
        Some(_) => false,
        None => SshAddress::parse(text).is_some(),
    }
}

/// The most bytes of an address.
const MAX_ADDRESS: usize = 2000;

/// The address of a repository that is reached by SSH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshAddress {
    /// The user, where one is named.
    pub user: Option<String>,
    /// The host.
    pub host: String,
    /// The port, where one is named.
    pub port: Option<u16>,
    /// The path on the host.
    pub path: String,
}

impl SshAddress {
    /// Reads `ssh://[USER@]HOST[:PORT]/PATH` or `[USER@]HOST:PATH`; `None` for anything else. Nothing in it begins with a
    /// dash, which `ssh` would take for an option.
    pub fn parse(text: &str) -> Option<Self> {
        let (place, path, is_url) = match text.strip_prefix("ssh://") {
            Some(rest) => {
                let slash = rest.find('/')?;
                (&rest[..slash], &rest[slash..], true)
            }
            None if text.contains("://") => return None,
            None => {
                let (place, path) = text.split_once(':')?;
                (place, path, false)
            }
        };
        // `~user` stands behind the slash of a URL.
        let path = if is_url && path.starts_with("/~") { &path[1..] } else { path };
        let (user, place) = place.split_once('@').map_or((None, place), |(user, place)| (Some(user), place));
        let (host, port) = match place.split_once(':') {
            Some((host, port)) if is_url => (host, Some(port.parse().ok().filter(|port| *port > 0)?)),
            Some(_) => return None,
            None => (place, None),
        };
        let word = |text: &str, more: &[u8]| {
            !text.is_empty()
                && text.len() <= 255
                && !text.starts_with('-')
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b) || more.contains(&b))
        };
        let good_path = word_of_path(path);
        let good = word(host, b"") && user.is_none_or(|user| word(user, b"+")) && good_path;
        good.then(|| Self {
            user: user.map(str::to_owned),
            host: host.to_ascii_lowercase(),
            port,
            path: path.to_owned(),
        })
    }
}

fn word_of_path(path: &str) -> bool {
    !path.is_empty()
        && path != "/"
        && !path.starts_with('-')
        && path.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~/+@=,%".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_forty_digits() {
        let text = "0123456789abcdef0123456789abcdef01234567";
        let id: GitId = text.parse().expect("an id");
        assert_eq!((id.to_string().as_str(), id.short().as_str()), (text, &text[..12]));
        for bad in ["", "0123", &text[1..], &text.to_uppercase(), &format!("{}é", &text[2..])] {
            assert!(bad.parse::<GitId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn names_that_git_refuses_are_none() {
        for good in ["v1.2", "release/1.0", "a", "1.10", "v1-rc.1", "@x"] {
            assert!(is_ref_name(good), "{good}");
        }
        for bad in [
            "", "/a", "a/", "a//b", ".a", "a/.b", "a..b", "a.lock", "a.lock/b", "a b", "a\nb", "a\0", "a~1", "a^",
            "a:b", "a?", "a*", "a[", "a\\b", "a@{1}", "@", "a.", "-a", "ä", "a\u{7f}",
        ] {
            assert!(!is_ref_name(bad), "{bad:?}");
        }
        for text in ["tag v1", "branch main", "commit 0123456789abcdef0123456789abcdef01234567"] {
            assert_eq!(GitRevision::parse(text).expect(text).to_string(), text);
        }
        for text in ["tag", "tag ", "tag a b", "head main", "commit main", ""] {
            assert_eq!(GitRevision::parse(text), None, "{text}");
        }
    }

    #[test]
    fn addresses_are_of_https_and_ssh_alone() {
        for good in [
            "https://git.example/shop.git",
            "http://git.example:8080/shop",
            "ssh://git@git.example:2222/shop.git",
            "ssh://git.example/~me/shop",
            "git@git.example:team/shop.git",
        ] {
            assert!(is_git_address(good), "{good}");
        }
        for bad in [
            "file:///srv/shop.git",
            "/srv/shop.git",
            "../shop.git",
            "ext::sh -c id",
            "git://git.example/shop",
            "https://me:word@git.example/shop",
            "https:///shop",
            "ssh://git.example",
            "ssh://me:word@git.example/x",
            "ssh://-oProxyCommand=id/x",
            "-oProxyCommand=id:x",
            "git@-oProxyCommand=id:x",
            "-l@git.example:x",
            "git@git.example:-x",
            "git@git.example:a'b",
            "git@git.example:a b",
            "git@git.example:$(id)",
            "ssh://git.example:0/x",
            "https://git.example/x?y",
        ] {
            assert!(!is_git_address(bad), "{bad}");
        }
        let address = SshAddress::parse("ssh://me@Git.example:2222/~me/x").expect("an address");
        assert_eq!((address.host.as_str(), address.port, address.path.as_str()), ("git.example", Some(2222), "~me/x"));
    }
}

//! Paths inside a tree: relative, without `.`, `..`, empty components or NUL, and never absolute.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The most bytes that a path may have (Linux's `PATH_MAX` less the NUL).
pub const MAX_PATH: usize = 4095;
/// The most bytes that one component of a path may have (Linux's `NAME_MAX`).
pub const MAX_NAME: usize = 255;

/// A path that stays beneath the directory it is used in. Its bytes need not be UTF-8, as on Linux.
///
/// Paths order as their bytes do with `/` before every other byte, so that a directory is directly followed by all that
/// is in it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CleanPath(Box<[u8]>);

/// Says why a path is not clean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathProblem {
    /// The path has no component.
    #[error("it is empty")]
    Empty,
    /// The path starts with `/`.
    #[error("it is absolute")]
    Absolute,
    /// A component is `..`.
    #[error("it has a `..` in it")]
    Parent,
    /// A component is `.` or empty.
    #[error("it has an empty or `.` component")]
    NotNormal,
    /// The path has a NUL byte.
    #[error("it has a NUL byte in it")]
    Nul,
    /// The path or a component is longer than Linux allows.
    #[error("it is longer than 4095 bytes, or a component of it than 255")]
    TooLong,
}

/// A path that was refused, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` is not a clean relative path: {problem}")]
pub struct CleanPathError {
    /// The path, shortened and made printable.
    pub path: String,
    /// What is wrong with it.
    pub problem: PathProblem,
}

impl CleanPath {
    /// Takes a path that is clean as it stands; nothing is normalised.
    ///
    /// # Errors
    /// When the path is empty, absolute or too long, or has `.`, `..`, an empty component or a NUL.
    pub fn parse(bytes: impl AsRef<[u8]>) -> Result<Self, CleanPathError> {
        let bytes = bytes.as_ref();
        match problem_of(bytes) {
            None => Ok(Self(bytes.into())),
            Some(problem) => Err(CleanPathError { path: printable(&bytes[..bytes.len().min(200)]), problem }),
        }
    }

    /// Takes a path as archives write it: `./` in front and `/` behind are dropped, and so are doubled slashes.
    /// The archive's own root (`.` or `./`) is `None`.
    ///
    /// # Errors
    /// As [`CleanPath::parse`].
    pub fn from_archive(bytes: &[u8]) -> Result<Option<Self>, CleanPathError> {
        if bytes.first() == Some(&b'/') || bytes.is_empty() {
            return Self::parse(bytes).map(Some);
        }
        let parts: Vec<&[u8]> = bytes.split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
        if parts.is_empty() { Ok(None) } else { Self::parse(parts.join(&b'/')).map(Some) }
    }

    /// Takes an absolute path as specs write it (`/src/app/dist`), and drops the leading slash; `/` is `None`.
    ///
    /// # Errors
    /// When it is not absolute, or not clean after the slash.
    pub fn from_absolute(text: &str) -> Result<Option<Self>, CleanPathError> {
        match text.strip_prefix('/') {
            Some("") => Ok(None),
            Some(rest) => Self::parse(rest.strip_suffix('/').unwrap_or(rest)).map(Some),
            None => Err(CleanPathError { path: text.chars().take(200).collect(), problem: PathProblem::NotNormal }),
        }
    }

    /// Gives the bytes of the path.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Gives the path as text, when it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// Iterates over the components, outermost first.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|b| *b == b'/')
    }

    /// Gives the last component.
    pub fn name(&self) -> &[u8] {
        self.0.rsplit(|b| *b == b'/').next().unwrap_or(&self.0)
    }

    /// Gives the path of the directory that holds this one; `None` at the top.
    pub fn parent(&self) -> Option<Self> {
        self.0.iter().rposition(|b| *b == b'/').map(|slash| Self(self.0[..slash].into()))
    }

    /// Iterates over the directories above this path, outermost first, without the path itself.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> + '_ {
        self.0.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(slash, _)| Self(self.0[..slash].into()))
    }

    /// Appends one path to another.
    ///
    /// # Errors
    /// When the whole would be too long.
    pub fn join(&self, tail: &Self) -> Result<Self, CleanPathError> {
        Self::parse([&self.0, b"/".as_slice(), &tail.0].concat())
    }

    /// Says whether this path is `base` or lies beneath it.
    pub fn starts_with(&self, base: &Self) -> bool {
        self.0.strip_prefix(&*base.0).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }

    /// Gives what is left of this path below `base`; `None` when it is `base` itself or elsewhere.
    pub fn strip_prefix(&self, base: &Self) -> Option<Self> {
        let rest = self.0.strip_prefix(&*base.0)?.strip_prefix(b"/")?;
        Some(Self(rest.into()))
    }
}

fn problem_of(bytes: &[u8]) -> Option<PathProblem> {
    if bytes.is_empty() {
        return Some(PathProblem::Empty);
    }
    if bytes[0] == b'/' {
        return Some(PathProblem::Absolute);
    }
    if bytes.contains(&0) {
        return Some(PathProblem::Nul);
    }
    if bytes.len() > MAX_PATH {
        return Some(PathProblem::TooLong);
    }
    bytes.split(|b| *b == b'/').find_map(|part| match part {
        b".." => Some(PathProblem::Parent),
        b"" | b"." => Some(PathProblem::NotNormal),
        _ if part.len() > MAX_NAME => Some(PathProblem::TooLong),
        _ => None,
    })
}

/// Writes bytes so that each can be read back and none does harm to a terminal: what is not printable ASCII, and the
/// backslash, becomes `\xHH`.
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if (b' '..=b'~').contains(&byte) && byte != b'\\' {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// Reads back what [`printable`] wrote, or what it wrote with the spaces escaped as well; `None` for any other text, so that
/// no two texts give the same bytes but for the spaces.
pub fn unprintable(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f').then(|| char::from(byte).to_digit(16)).flatten();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        rest = match rest {
            [] => return Some(bytes),
            [b'\\', b'x', high, low, tail @ ..] => {
                let byte = u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?;
                if (b'!'..=b'~').contains(&byte) && byte != b'\\' {
                    return None;
                }
                bytes.push(byte);
                tail
            }
            [byte @ b' '..=b'~', tail @ ..] if *byte != b'\\' => {
                bytes.push(*byte);
                tail
            }
            _ => return None,
        }
    }
}

impl Ord for CleanPath {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let key = |b: u8| if b == b'/' { 0 } else { b };
        let (ours, theirs) = (&*self.0, &*other.0);
        let shared = ours.len().min(theirs.len());
        // Most paths that are compared share a long start, which is skipped eight bytes at a time. Trees are sorted by this: plain
        // loops are as fast as iterators when they are optimised, and many times faster when not.
        let (wide, other_wide) = (ours.as_chunks::<8>().0, theirs.as_chunks::<8>().0);
        let mut at = 0;
        while at < shared / 8 && u64::from_ne_bytes(wide[at]) == u64::from_ne_bytes(other_wide[at]) {
            at += 1;
        }
        at *= 8;
        while at < shared && ours[at] == theirs[at] {
            at += 1;
        }
        if at == shared { ours.len().cmp(&theirs.len()) } else { key(ours[at]).cmp(&key(theirs[at])) }
    }
}

impl PartialOrd for CleanPath {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for CleanPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_str() {
            Some(text) if !text.chars().any(char::is_control) => f.write_str(text),
            _ => f.write_str(&printable(&self.0)),
        }
    }
}

impl fmt::Debug for CleanPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", printable(&self.0))
    }
}

impl FromStr for CleanPath {
    type Err = CleanPathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl AsRef<[u8]> for CleanPath {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<std::ffi::OsStr> for CleanPath {
    fn as_ref(&self) -> &std::ffi::OsStr {
        std::os::unix::ffi::OsStrExt::from_bytes(&self.0)
    }
}

impl AsRef<std::path::Path> for CleanPath {
    fn as_ref(&self) -> &std::path::Path {
        std::path::Path::new(AsRef::<std::ffi::OsStr>::as_ref(self))
    }
}

impl Serialize for CleanPath {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&printable(&self.0))
    }
}

impl<'de> Deserialize<'de> for CleanPath {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let bytes = unprintable(&text).ok_or_else(|| serde::de::Error::custom("a bad escape in a path"))?;
        Self::parse(bytes).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_that_escape_or_are_not_normal_are_refused() {
        let long = "x".repeat(256);
        let deep = "x/".repeat(2048) + "x";
        for bad in ["", "/", "/etc", "..", "a/..", "../a", "a/../b", ".", "a/.", "a//b", "a/", "a\0b", &long, &deep] {
            assert!(CleanPath::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn archives_may_write_dots_and_slashes_around_a_path() {
        let clean = |s: &str| CleanPath::from_archive(s.as_bytes()).map(|p| p.map(|p| p.to_string()));
        assert_eq!(clean("./usr/bin/"), Ok(Some("usr/bin".into())));
        assert_eq!(clean("./"), Ok(None));
        assert!(clean("./../x").is_err());
        assert!(clean("/x").is_err());
        assert!(clean("").is_err());
    }

    #[test]
    fn a_directory_is_followed_by_what_is_in_it() {
        let mut paths: Vec<CleanPath> =
            ["a.b", "a/c", "a", "a-b", "a/b/c"].iter().map(|p| p.parse().expect("clean")).collect();
        paths.sort();
        let text: Vec<String> = paths.iter().map(ToString::to_string).collect();
        assert_eq!(text, ["a", "a/b/c", "a/c", "a-b", "a.b"]);
    }

    proptest! {
        #[test]
        fn printable_bytes_are_read_back(bytes: Vec<u8>) {
            prop_assert_eq!(unprintable(&printable(&bytes)), Some(bytes));
        }

        #[test]
        fn the_order_is_that_of_bytes_with_the_slash_before_all(
            a in "(aaaaaaa/){0,3}[a/.]{1,6}",
            b in "(aaaaaaa/){0,3}[a/.]{1,6}",
        ) {
            if let (Ok(a), Ok(b)) = (CleanPath::parse(&a), CleanPath::parse(&b)) {
                let key = |path: &CleanPath| path.as_bytes().iter().map(|b| if *b == b'/' { 0 } else { *b }).collect::<Vec<_>>();
                prop_assert_eq!(a.cmp(&b), key(&a).cmp(&key(&b)));
            }
        }

        #[test]
        fn what_parses_stays_beneath(bytes: Vec<u8>) {
            if let Ok(path) = CleanPath::parse(&bytes) {
                prop_assert!(path.components().all(|c| !matches!(c, b"" | b"." | b"..")));
            }
        }
    }
}

//! Absolute paths inside a stage or image.

use std::fmt;

use serde::Serialize;

use crate::path::{CleanPath, CleanPathError};

/// A clean absolute path inside a stage or image; `/` is one too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AbsolutePath(Option<CleanPath>);

impl AbsolutePath {
    /// The root directory.
    pub const ROOT: Self = Self(None);

    /// Takes a text such as `/src/app`. It must be normal: no `..`, no doubled slash, none at the end.
    ///
    /// # Errors
    /// When it is not absolute or not clean.
    pub fn parse(text: &str) -> Result<Self, CleanPathError> {
        match text.strip_prefix('/') {
            Some(rest) if rest.ends_with('/') => CleanPath::parse(rest).map(Some),
            _ => CleanPath::from_absolute(text),
        }
        .map(Self)
    }

    /// Gives the path as trees have it, without the slash in front; `None` is the root.
    pub const fn clean(&self) -> Option<&CleanPath> {
        self.0.as_ref()
    }

    /// Says whether this path is `base` or lies beneath it.
    pub fn starts_with(&self, base: &Self) -> bool {
        match (&self.0, &base.0) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(path), Some(base)) => path.starts_with(base),
        }
    }
}

impl From<CleanPath> for AbsolutePath {
    fn from(path: CleanPath) -> Self {
        Self(Some(path))
    }
}

impl fmt::Display for AbsolutePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(path) => write!(f, "/{path}"),
            None => f.write_str("/"),
        }
    }
}

impl Serialize for AbsolutePath {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_normal_absolute_paths_are_taken() {
        for bad in ["", "a", "/a/", "//", "/a//b", "/..", "/a/../b", "/./a", "~"] {
            assert!(AbsolutePath::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(AbsolutePath::parse("/"), Ok(AbsolutePath::ROOT));
        assert_eq!(AbsolutePath::parse("/a/b").map(|p| p.to_string()), Ok("/a/b".to_owned()));
    }

    #[test]
    fn everything_lies_beneath_the_root() {
        let path = |text| AbsolutePath::parse(text).expect("clean");
        assert!(path("/a").starts_with(&AbsolutePath::ROOT));
        assert!(path("/a/b").starts_with(&path("/a")));
        assert!(!path("/ab").starts_with(&path("/a")));
        assert!(!AbsolutePath::ROOT.starts_with(&path("/a")));
    }
}

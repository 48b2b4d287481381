//! The remote store that a workspace asks for. Whether anything is read or written there is the user's to say.

use std::{fmt, str::FromStr};

use crate::{
    oci::Reference,
    spec::{AbsolutePath, Position},
};

/// The remote store that a workspace asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkspaceStore {
    /// Where it is.
    pub remote: StorePlace,
    /// The branches from which it is written, `*` being any; `None` leaves that to the user.
    pub write_from: Option<Vec<String>>,
    /// Where it stands in the file.
    pub at: Position,
}

/// The place of a remote store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorePlace {
    /// `oci://HOST/NAME`: a repository of a registry.
    Registry(Reference),
    /// `file:///PATH`: a folder, which is not the root of the file system.
    Folder(AbsolutePath),
}

/// Says why a text is not the place of a remote store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not the place of a remote store: {reason}")]
pub struct StorePlaceError {
    text: String,
    reason: String,
}

impl FromStr for StorePlace {
    type Err = StorePlaceError;

    fn from_str(text: &str) -> Result<Self, StorePlaceError> {
        let shown = || text.chars().flat_map(char::escape_debug).take(200).collect();
        let fail = |reason: String| StorePlaceError { text: shown(), reason };
        if let Some(rest) = text.strip_prefix("oci://") {
            let reference = Reference::parse(rest).map_err(|error| fail(error.to_string()))?;
            if reference.name() != rest {
                return Err(fail(
                    "each thing in it has its own tag, and a registry is written in lower case".to_owned(),
                ));
            }
            return Ok(Self::Registry(reference));
        }
        let Some(path) = text.strip_prefix("file://").filter(|path| !path.chars().any(char::is_control)) else {
            return Err(fail("expected `oci://HOST/NAME` or `file:///PATH`".to_owned()));
        };
        match AbsolutePath::parse(path.strip_suffix('/').unwrap_or(path)) {
            Ok(path) if path.clean().is_some() => Ok(Self::Folder(path)),
            _ => Err(fail("expected the whole path of a folder behind `file://`, without `..`".to_owned())),
        }
    }
}

impl fmt::Display for StorePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => write!(f, "oci://{}", reference.name()),
            Self::Folder(path) => write!(f, "file://{path}"),
        }
    }
}

/// Says whether a text names branches of those that write: one whole name, or `*` for any.
pub fn is_branch(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control) && (text == "*" || !text.contains('*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_written() {
        for good in ["oci://r.example/team/bulla", "oci://127.0.0.1:5000/x", "file:///srv/bulla"] {
            assert_eq!(good.parse::<StorePlace>().expect("a place").to_string(), good);
        }
        assert_eq!("file:///srv/bulla/".parse::<StorePlace>().expect("a place").to_string(), "file:///srv/bulla");
        for bad in [
            "",
            "r.example/x",
            "oci://",
            "oci://short",
            "oci://R.example/x",
            "oci://r.example/x:1",
            "oci://user:word@r.example/x",
            "oci://r.example/../x",
            "file://relative",
            "file:///",
            "file:///srv/../etc",
            "file:///srv//x",
            "file:///srv/./x",
            "file:///srv/x\n",
            "https://r.example/x",
        ] {
            assert!(bad.parse::<StorePlace>().is_err(), "{bad}");
        }
    }
}

//! Where a remote store is.

use std::{fmt, path::PathBuf, str::FromStr};

use bulla_model::oci::Reference;

/// The place of a remote store, as the configuration has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// `oci://HOST/NAME`: a repository of a registry.
    Registry(Reference),
    /// `file:///PATH`: a folder.
    Folder(PathBuf),
}

/// Says why a text is not the place of a remote store.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not the place of a remote store: {reason}")]
pub(crate) struct PlaceError {
    text: String,
    reason: String,
}

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let fail = |reason: String| PlaceError { text: text.chars().take(200).collect(), reason };
        if let Some(rest) = text.strip_prefix("oci://") {
            let reference = Reference::parse(rest).map_err(|error| fail(error.to_string()))?;
            if reference.name() != rest {
                return Err(fail("each thing in it has its own tag".to_owned()));
            }
            return Ok(Self::Registry(reference));
        }
        match text.strip_prefix("file://").map(PathBuf::from) {
            Some(path) if path.is_absolute() => Ok(Self::Folder(path)),
            _ => Err(fail("expected `oci://HOST/NAME` or `file:///PATH`".to_owned())),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => write!(f, "oci://{}", reference.name()),
            Self::Folder(path) => write!(f, "file://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_written() {
        for good in ["oci://r.example/team/bulla", "oci://127.0.0.1:5000/x", "file:///srv/bulla"] {
            assert_eq!(good.parse::<Place>().expect("a place").to_string(), good);
        }
        for bad in [
            "",
            "r.example/x",
            "oci://",
            "oci://short",
            "oci://r.example/x:1",
            "file://relative",
            "https://r.example/x",
        ] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }
}

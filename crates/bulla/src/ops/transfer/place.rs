//! The places that images are copied from and to, as they are typed.

use std::{path::PathBuf, str::FromStr};

use bulla_model::oci::Reference;

use super::TransferError;

/// A place of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A folder with an OCI layout, and the image's name in it: `oci:DIR[:NAME]`.
    Layout(PathBuf, Option<String>),
    /// A file with an OCI layout, and the image's name in it: `oci-archive:FILE[:NAME]`.
    Archive(PathBuf, Option<String>),
    /// A repository of a registry: `HOST/REPOSITORY[:TAG][@DIGEST]`.
    Registry(Reference),
}

impl FromStr for Place {
    type Err = TransferError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = |reason: &str| TransferError::Place {
            text: text.chars().flat_map(char::escape_debug).take(200).collect(),
            reason: reason.to_owned(),
        };
        if let Some(rest) = text.strip_prefix("docker://") {
            return Ok(Self::Registry(rest.parse()?));
        }
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        if !matches!(kind, "oci" | "oci-archive") {
            return Ok(Self::Registry(text.parse()?));
        }
        // What follows the last colon is a name, unless it goes on as a path.
        let (path, name) = match rest.rsplit_once(':') {
            Some((path, name)) if !name.contains('/') => (path, Some(name)),
            _ => (rest, None),
        };
        if path.is_empty() {
            return Err(fail("there is no path after the colon"));
        }
        if let Some(name) = name
            && let Err(error) = bulla_build::export::check_name(name)
        {
            return Err(fail(&error.to_string()));
        }
        let (path, name) = (PathBuf::from(path), name.map(str::to_owned));
        Ok(if kind == "oci" { Self::Layout(path, name) } else { Self::Archive(path, name) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_say_what_they_are() {
        let read = |text: &str| text.parse::<Place>().expect("a place");
        assert_eq!(read("oci:out"), Place::Layout("out".into(), None));
        assert_eq!(read("oci:a/b:1.4"), Place::Layout("a/b".into(), Some("1.4".into())));
        assert_eq!(read("oci:a:b/c"), Place::Layout("a:b/c".into(), None));
        assert_eq!(read("oci-archive:x.tar"), Place::Archive("x.tar".into(), None));
        let shop = Place::Registry(Reference::parse("r.example/shop:1").expect("a reference"));
        assert_eq!(read("r.example/shop:1"), shop);
        assert_eq!(read("docker://r.example/shop:1"), shop);
        for bad in ["", "oci:", "oci::x", "oci:out:", "oci-archive:", "R.example/Shop", "https://r.example/shop"] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }
}

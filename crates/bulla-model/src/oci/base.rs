//! What a build may start from: an image of a registry, or one of an OCI layout that lies in the project.

use std::{fmt, str::FromStr};

use serde::Serialize;

use super::{Reference, ReferenceError};
use crate::{digest::Digest, path::CleanPath};

/// What the name of a layout begins with, as for skopeo, Podman and Buildah.
pub const LAYOUT: &str = "oci:";

/// The most bytes of a text.
const MAX_TEXT: usize = 1024;
/// The most bytes of an image's name in a layout.
const MAX_NAME: usize = 255;
/// What stands before a digest.
const PIN: &str = "@sha256:";

/// Names an image that stages and images start from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BaseReference {
    /// An image of a registry.
    Registry(Reference),
    /// An image of a layout of the project.
    Layout(LayoutReference),
}

/// Names an image of an OCI layout that lies in the project: `oci:FOLDER[:NAME][@DIGEST]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayoutReference {
    folder: CleanPath,
    name: Option<String>,
    digest: Option<Digest>,
}

impl BaseReference {
    /// Reads what a spec or lock has.
    ///
    /// # Errors
    /// When it names neither.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        if let Some(rest) = text.strip_prefix(LAYOUT) {
            return LayoutReference::read(text, rest).map(Self::Layout);
        }
        let kind = text.split(':').next().unwrap_or_default();
        if ["oci-archive", "docker-archive", "docker-daemon", "dir", "containers-storage"].contains(&kind) {
            let reason = "images are of registries, or of OCI layouts in the project; `skopeo copy` or `bulla copy` makes a layout of it";
            return Err(ReferenceError::new(text, reason));
        }
        Reference::parse(text).map(Self::Registry)
    }

    /// Gives the image of a registry that it is.
    pub const fn registry(&self) -> Option<&Reference> {
        match self {
            Self::Registry(reference) => Some(reference),
            Self::Layout(_) => None,
        }
    }

    /// Gives the image of a layout of the project that it is.
    pub const fn layout(&self) -> Option<&LayoutReference> {
        match self {
            Self::Registry(_) => None,
            Self::Layout(layout) => Some(layout),
        }
    }

    /// Gives the digest, where it is said.
    pub const fn digest(&self) -> Option<Digest> {
        match self {
            Self::Registry(reference) => reference.digest(),
            Self::Layout(layout) => layout.digest,
        }
    }

    /// Gives `HOST/REPOSITORY` or `oci:FOLDER`: the name of all versions.
    pub fn name(&self) -> String {
        match self {
            Self::Registry(reference) => reference.name(),
            Self::Layout(layout) => format!("{LAYOUT}{}", layout.folder),
        }
    }

    /// Gives the `HOST/REPOSITORY` that signatures of the image may be asked to name. A layout has one where the image's name in it
    /// is a whole reference, as Podman writes it.
    pub fn signed_name(&self) -> Option<String> {
        match self {
            Self::Registry(reference) => Some(reference.name()),
            Self::Layout(layout) => {
                layout.name.as_ref().and_then(|name| Reference::parse(name).ok()).map(|named| named.name())
            }
        }
    }
}

impl LayoutReference {
    /// Reads what stands behind `oci:`. A folder has no colon in its name, so that a name can have some.
    fn read(text: &str, rest: &str) -> Result<Self, ReferenceError> {
        let fail = |reason| Err(ReferenceError::new(text, reason));
        if text.len() > MAX_TEXT {
            return fail("it is longer than 1024 bytes");
        }
        let (rest, digest) = match rest.rfind(PIN) {
            Some(at) => match rest.get(at + 1..).map(str::parse) {
                Some(Ok(digest)) => (rest.get(..at).unwrap_or_default(), Some(digest)),
                _ => return fail("after `@sha256:` stand 64 lower-case hexadecimal digits"),
            },
            None => (rest, None),
        };
        let (folder, name) = match rest.split_once(':') {
            Some((folder, name)) => (folder, Some(name)),
            None => (rest, None),
        };
        let Ok(clean) = CleanPath::parse(folder) else {
            return fail(
                "after `oci:` stands the folder of an OCI layout, relative to the spec and within its folder, without `.` or `..`",
            );
        };
        if folder.chars().any(char::is_control) {
            return fail("the name of its folder has control characters in it");
        }
        if name.is_some_and(|name| !is_name(name)) {
            return fail(
                "the name of an image in a layout is 1 to 255 letters, digits and `-._:@+/`, and begins and ends with a letter or digit",
            );
        }
        Ok(Self { folder: clean, name: name.map(str::to_owned), digest })
    }

    /// Gives the folder, relative to the project's.
    pub const fn folder(&self) -> &CleanPath {
        &self.folder
    }

    /// Gives the name of the image in the layout.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Gives the digest, where it is said.
    pub const fn digest(&self) -> Option<Digest> {
        self.digest
    }
}

/// The grammar of `org.opencontainers.image.ref.name` (`annotations.md`), less its rule of how often what may stand beside what.
fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric();
    (1..=MAX_NAME).contains(&name.len())
        && name.starts_with(plain)
        && name.ends_with(plain)
        && name.chars().all(|c| plain(c) || "-._:@+/".contains(c))
}

impl From<Reference> for BaseReference {
    fn from(reference: Reference) -> Self {
        Self::Registry(reference)
    }
}

impl fmt::Display for BaseReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => reference.fmt(f),
            Self::Layout(layout) => layout.fmt(f),
        }
    }
}

impl fmt::Display for LayoutReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{LAYOUT}{}", self.folder)?;
        self.name.iter().try_for_each(|name| write!(f, ":{name}"))?;
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}

impl Serialize for BaseReference {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for BaseReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn layout(text: &str) -> LayoutReference {
        let found = BaseReference::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(found.to_string(), text);
        found.layout().cloned().unwrap_or_else(|| panic!("{text} is a layout"))
    }

    #[test]
    fn a_layout_is_written_as_for_skopeo() {
        for (rest, folder, name) in [
            ("vendor/base", "vendor/base", None),
            ("vendor/base:1.2", "vendor/base", Some("1.2")),
            ("base:registry.example/team/base:1.2", "base", Some("registry.example/team/base:1.2")),
            ("5000/x", "5000/x", None),
            ("a@b/c:d@e", "a@b/c", Some("d@e")),
        ] {
            let plain = layout(&format!("oci:{rest}"));
            assert_eq!((plain.folder().to_string().as_str(), plain.name()), (folder, name), "{rest}");
            let pinned = layout(&format!("oci:{rest}@sha256:{HEX}"));
            assert_eq!((pinned.folder(), pinned.name()), (plain.folder(), name), "{rest}");
            assert!(pinned.digest().is_some() && plain.digest().is_none());
        }
        let name = |text: &str| BaseReference::parse(text).expect("a reference").signed_name();
        assert_eq!(name("oci:base:1.2"), None);
        assert_eq!(name("oci:base:r.example/team/base:1.2").as_deref(), Some("r.example/team/base"));
        assert_eq!(name("r.example/team/base:1.2").as_deref(), Some("r.example/team/base"));
    }

    #[test]
    fn what_leads_out_of_the_project_or_is_something_else_is_refused() {
        for text in [
            "oci:",
            "oci::x",
            "oci:/srv/base:1",
            "oci:../base:1",
            "oci:a/../b",
            "oci:./base",
            "oci:.",
            "oci:base/",
            "oci:base:",
            "oci:base:-x",
            "oci:base:x ",
            "oci:base:x\u{7f}",
            "oci:ba\nse",
            "oci:base@sha256:",
            "oci:base@sha256:E3",
            "oci-archive:base.tar:1",
            "docker-archive:base.tar",
            "dir:base",
            "containers-storage:x/y",
        ] {
            assert!(BaseReference::parse(text).is_err(), "{text}");
        }
        assert!(BaseReference::parse(&format!("oci:base:{}", "x".repeat(256))).is_err());
        assert!(BaseReference::parse(&format!("oci:{}", "x/".repeat(600))).is_err());
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_the_same(text in "oci:[a-z./:@]{1,12}(@sha256:[0-9a-f]{64})?") {
            if let Ok(found) = BaseReference::parse(&text) {
                prop_assert_eq!(found.to_string(), text.clone());
            }
        }
    }
}

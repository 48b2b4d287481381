//! Who owns each path of an image that was built here: the closed world that an image's list of components is checked against.
//!
//! The cut into layers gives every path to one input ([`crate::layers`]); this says what that input is, down to the step and the packages
//! that it could read.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{CleanPath, Digest, Platform};

/// The number of this form. It goes up when the same build gives another document.
pub const FORMAT: u32 = 1;

/// Who owns what in an image for one platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ownership {
    /// [`FORMAT`].
    pub format: u32,
    /// The image's name in the spec.
    pub name: String,
    /// The platform.
    pub platform: String,
    /// The owners, sorted, each once.
    pub owners: Vec<Owner>,
    /// The paths, sorted; no directories. Those of an image below are not among them: its layers are.
    pub files: Vec<Owned>,
}

/// A path and its owner.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Owned {
    /// The path.
    pub path: CleanPath,
    /// The place of the owner in [`Ownership::owners`].
    pub owner: usize,
    /// The SHA-256 of the bytes that are read there; none for a symbolic link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// An owner of paths.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Owner {
    /// A locked package of the distribution.
    Package {
        /// Its name.
        name: String,
        /// Its version.
        version: String,
        /// Its architecture: `amd64`, `all`.
        architecture: String,
        /// The source package that it was made from.
        source: String,
        /// The SHA-256 of the package.
        digest: Digest,
    },
    /// A step of a stage, by way of an output that the spec copies.
    Step {
        /// The stage.
        stage: String,
        /// The step, from 1; none where the steps were laid together.
        step: Option<usize>,
        /// What it is, for people.
        title: String,
        /// The packages of lock files that it could read, and those that what it stands on was made from: purl and SHA-256.
        materials: BTreeMap<String, Digest>,
        /// The sources that it could read.
        sources: BTreeSet<String>,
    },
    /// A source that is copied as it is.
    Source {
        /// Its name in the spec.
        name: String,
        /// The digest of its tree.
        digest: Digest,
    },
    /// What the builder makes in place of maintainer scripts, or for the spec.
    Native {
        /// What it is: `system files`, `accounts`.
        what: String,
    },
    /// What maintainer scripts made: an exception in the spec.
    Scripts {
        /// The reason that the spec gives.
        reason: String,
    },
    /// A locked image that the image, or a stage of it, stands on.
    Base {
        /// Its reference.
        reference: String,
        /// What the reference led to.
        digest: Digest,
        /// The digests of its layers, where the image stands on them.
        layers: Vec<Digest>,
    },
}

/// Collects paths and their owners.
#[derive(Debug, Default)]
pub struct Owners {
    files: BTreeMap<CleanPath, (Owner, Option<Digest>)>,
    without_files: BTreeSet<Owner>,
}

impl Owners {
    /// Gives a path to an owner.
    pub fn own(&mut self, path: CleanPath, owner: Owner, digest: Option<Digest>) {
        self.files.insert(path, (owner, digest));
    }

    /// Notes an owner that may have no path here.
    pub fn note(&mut self, owner: Owner) {
        self.without_files.insert(owner);
    }

    /// Gives the document.
    pub fn finish(self, name: &str, platform: Platform) -> Ownership {
        let mut owners: BTreeSet<Owner> = self.without_files;
        owners.extend(self.files.values().map(|(owner, _)| owner.clone()));
        let owners: Vec<Owner> = owners.into_iter().collect();
        let files = self.files.into_iter().filter_map(|(path, (owner, digest))| {
            let owner = owners.binary_search(&owner).ok()?;
            Some(Owned { path, owner, digest })
        });
        let files = files.collect();
        Ownership { format: FORMAT, name: name.to_owned(), platform: platform.to_string(), owners, files }
    }
}

impl Ownership {
    /// Gives the entry of a path.
    pub fn get(&self, path: &CleanPath) -> Option<&Owned> {
        self.files.binary_search_by(|owned| owned.path.cmp(path)).ok().and_then(|at| self.files.get(at))
    }

    /// Gives its bytes, which are the same for the same content.
    ///
    /// # Panics
    /// Never: no key of it is anything but a text.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("owners have texts as keys")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_the_same_in_whatever_order_it_was_collected() {
        let native = |what: &str| Owner::Native { what: what.to_owned() };
        let path = |text: &str| text.parse::<CleanPath>().expect("clean");
        let mut entries = vec![("etc/passwd", "b"), ("etc/a", "a"), ("etc.x", "b")];
        let document = |entries: &[(&str, &str)]| {
            let mut owners = Owners::default();
            owners.note(native("c"));
            entries.iter().for_each(|(at, what)| owners.own(path(at), native(what), Some(Digest::of(at))));
            owners.finish("x", Platform::LinuxAmd64)
        };
        let one = document(&entries);
        entries.reverse();
        assert_eq!(document(&entries).to_bytes(), one.to_bytes());
        assert_eq!(one.owners.len(), 3, "also one without files");
        for (at, what) in entries {
            let owned = one.get(&path(at)).expect("owned");
            assert_eq!((&one.owners[owned.owner], owned.digest), (&native(what), Some(Digest::of(at))));
        }
        assert_eq!(one.get(&path("etc")), None);
        let read: Ownership = serde_json::from_slice(&one.to_bytes()).expect("JSON");
        assert_eq!(read, one);
    }
}

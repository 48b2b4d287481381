//! Lists of what an image is made of, as one model and the documents that tools read.
//!
//! [`Bom`] has every component and every file of an image, who owns each file, and what needs what. It is put together by
//! [`compose`](compose()) out of what the layers hold ([`crate::inventory`]) and, for an image of Bulla's own, what the build knows of every path. The
//! documents are written from it: [`Format`] names them. Nothing in them is of the machine or the moment: numbers and names come
//! from the content, the time is the image's.

mod compose;
mod cyclonedx;
mod held;
mod identity;
mod overlay;
mod spdx2;
mod spdx3;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use bulla_model::{Digest, Epoch, purl::Purl};

pub use self::{
    compose::compose,
    held::{Held, NoList, Stated},
};
use crate::licence::Licence;

/// The version of this program, which the documents name as their tool.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What an image is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bom {
    /// The image.
    pub subject: Subject,
    /// The components. A place in this list is what the others mean by a component.
    pub components: Vec<Component>,
    /// The files of the image, in the order of their paths; no directories.
    pub files: Vec<File>,
    /// What could not be looked into, for people.
    pub notes: Vec<String>,
}

/// The image that a list is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Its name, for people.
    pub name: String,
    /// The digest of its manifest.
    pub manifest: Digest,
    /// Its operating system and architecture, as its configuration has them.
    pub os: String,
    /// See `os`.
    pub architecture: String,
    /// When it was made, as its configuration says; for an image of Bulla's the epoch.
    pub created: Epoch,
    /// Who supplies it, where that is known.
    pub supplier: Option<Party>,
    /// Its layers, lowest first.
    pub layers: Vec<Digest>,
    /// Whether the list was made by who built the image, and not by looking at it alone (CISA, "Types of Software Bill of Material
    /// Documents").
    pub built: bool,
}

/// What a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A distribution.
    System,
    /// A package.
    Package,
    /// What a step of the build made, or a source that was copied.
    Made,
}

/// One thing that an image is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its version, where it has one.
    pub version: Option<String>,
    /// Its package URL, where it is a package.
    pub purl: Option<Purl>,
    /// Who supplies it.
    pub supplier: Option<Party>,
    /// Its licence.
    pub licence: Licence,
    /// Digests of the package as it was fetched, by algorithm, in hexadecimal.
    pub digests: BTreeMap<Algorithm, String>,
    /// How it is known to be there: `dpkg`, `go`, `lock`.
    pub found_by: String,
    /// Where it was found: paths of the image.
    pub found_at: BTreeSet<String>,
    /// The place of the layer that it is in, from 0; none where no file of it is known.
    pub layer: Option<usize>,
    /// The place of the layer that removed what told of it, though it may still be there.
    pub removed: Option<usize>,
    /// The place among the files of the one that holds it.
    pub inside: Option<usize>,
    /// The components that it needs.
    pub needs: BTreeSet<usize>,
    /// The components that it was made from.
    pub made_from: BTreeSet<usize>,
    /// Further facts, by name.
    pub facts: BTreeMap<String, String>,
}

/// Somebody who supplies something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Party {
    /// The name, of an organisation unless it is known to be a person's.
    pub name: String,
    /// The address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

/// An algorithm of digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// MD5.
    Md5,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

/// A file of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path, made printable.
    pub path: String,
    /// What it is.
    pub content: Content,
    /// The place of its layer, from 0.
    pub layer: usize,
    /// Who owns it.
    pub owner: Ownership,
}

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A regular file.
    Bytes {
        /// Its SHA-256.
        sha256: Digest,
        /// Its SHA-1, in hexadecimal.
        sha1: String,
        /// Its length in bytes.
        size: u64,
    },
    /// A symbolic link, or a device.
    Other,
}

/// Who owns a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ownership {
    /// A component.
    Component(usize),
    /// The builder itself, in place of a maintainer script or the spec: what it is.
    Native(String),
    /// The spec says so, with this reason.
    Exception(String),
    /// Nobody is known to.
    Unowned,
}

impl Party {
    /// Reads `NAME <ADDRESS>` or a name.
    pub fn read(text: &str) -> Option<Self> {
        let text: String = text.chars().filter(|c| !c.is_control()).take(300).collect();
        let (name, email) = match text.split_once('<') {
            Some((name, rest)) => (name, rest.split('>').next()),
            None => (text.as_str(), None),
        };
        let name = name.trim().trim_matches('"').trim();
        let email = email.map(str::trim).filter(|email| email.contains('@')).map(str::to_owned);
        let name = if name.is_empty() { email.as_deref()? } else { name };
        Some(Self { name: name.to_owned(), email })
    }
}

impl Bom {
    /// Counts the files that nobody is known to own.
    pub fn unowned(&self) -> u64 {
        self.files.iter().filter(|file| file.owner == Ownership::Unowned).count() as u64
    }

    /// Gives the document in a format. The same list gives the same bytes.
    pub fn write(&self, format: Format) -> Vec<u8> {
        match format {
            Format::Spdx23 => spdx2::write(self),
            Format::Spdx30 => spdx3::write(self),
            Format::CycloneDx16 => cyclonedx::write(self, "1.6"),
            Format::CycloneDx17 => cyclonedx::write(self, "1.7"),
        }
    }
}

/// A format of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// SPDX 2.3 as JSON.
    Spdx23,
    /// SPDX 3.0 as JSON-LD.
    Spdx30,
    /// CycloneDX 1.6 as JSON.
    CycloneDx16,
    /// CycloneDX 1.7 as JSON.
    CycloneDx17,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 4] = [Self::Spdx23, Self::Spdx30, Self::CycloneDx16, Self::CycloneDx17];

    /// Gives its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spdx23 => "spdx-2.3",
            Self::Spdx30 => "spdx-3.0",
            Self::CycloneDx16 => "cyclonedx-1.6",
            Self::CycloneDx17 => "cyclonedx-1.7",
        }
    }

    /// Gives the predicate type by which statements say that they have such a document.
    pub const fn predicate_type(self) -> &'static str {
        match self {
            Self::Spdx23 | Self::Spdx30 => "https://spdx.dev/Document",
            Self::CycloneDx16 | Self::CycloneDx17 => "https://cyclonedx.org/bom",
        }
    }

    /// Gives the media type of a document.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Spdx23 => "application/spdx+json",
            Self::Spdx30 => "application/spdx+json;version=3.0",
            Self::CycloneDx16 | Self::CycloneDx17 => "application/vnd.cyclonedx+json",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A format that is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the formats are spdx-2.3, spdx-3.0, cyclonedx-1.6 and cyclonedx-1.7")]
pub struct UnknownFormat;

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        Self::ALL.into_iter().find(|format| format.name() == text).ok_or(UnknownFormat)
    }
}

#[cfg(test)]
mod tests;

//! What an image's layers say that they have in them: packages, by the databases, manifests and sections that package managers and compilers leave.
//!
//! A [`Scanner`] is given the entries of one layer in their order, with the bytes of each file once; what it gives follows from the layer
//! alone, so that it can be kept by the layer's digest. Each kind of packages has a file here, with a reader of a path and bytes; the layers are laid
//! over each other by [`crate::sbom::compose`](crate::sbom::compose()).
//!
//! All of it is a stranger's: sizes, counts and depths have limits, and what is beyond them is said and left out.

mod apk;
mod composer;
mod dotnet;
mod dpkg;
mod gem;
mod go;
mod java;
mod npm;
mod python;
mod release;
mod rpm;
mod rust;
mod scanner;

use std::collections::BTreeMap;

use bulla_model::{CleanPath, Digest, purl::Purl};
use serde::{Deserialize, Serialize};

pub use self::scanner::{Limits, Scanner};
use crate::{
    licence::Licence,
    sbom::{Algorithm, Party},
};

/// The number of the way in which layers are read. It goes up when the same layer gives something else.
pub const FORMAT: u32 = 3;

/// The fact of a package whose name nothing in the image says: another reader may call it something else.
pub const GUESSED: &str = "named";

/// What a layer holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerContents {
    /// Its entries, in the order of the archive.
    pub entries: Vec<Entry>,
    /// What files of it say.
    pub findings: Vec<Finding>,
}

/// An entry of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The path.
    pub path: CleanPath,
    /// What it is.
    pub what: What,
}

/// What an entry of a layer is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// Its length in bytes.
        size: u64,
        /// Its SHA-256.
        sha256: Digest,
        /// Its SHA-1, in hexadecimal.
        sha1: String,
    },
    /// A symbolic link, with what it says, made printable.
    Symlink(String),
    /// A further name of another entry.
    Hardlink(CleanPath),
    /// What lower layers have here is gone.
    Whiteout,
    /// What lower layers have beneath here is gone.
    Opaque,
    /// A device or FIFO.
    Special,
}

/// Something that a file of a layer says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The file.
    pub path: CleanPath,
    /// By what it was read: `dpkg`, `go`.
    pub by: String,
    /// What it says.
    pub says: Says,
}

/// What a file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Says {
    /// That there are packages.
    Packages(Vec<Found>),
    /// Which files a package has, by the package's name (and `:` and its architecture, where it has that).
    Files(String, Vec<CleanPath>),
    /// What the licence of a package is, by its name.
    Licence(String, Licence),
    /// Which distribution it is: the fields of `os-release`.
    Release(BTreeMap<String, String>),
    /// Nothing, for it could not be read, and why.
    Unread(String),
}

/// A package that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// What it is.
    pub purl: Purl,
    /// Who supplies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supplier: Option<Party>,
    /// Its licence.
    #[serde(default, skip_serializing_if = "Licence::is_unknown")]
    pub licence: Licence,
    /// Digests of the package as it was fetched.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub digests: BTreeMap<Algorithm, String>,
    /// The names of the packages that it needs, in its own ecosystem; of several that would do, all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// Further names that it is needed by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provides: Vec<String>,
    /// Which files are its own.
    pub owns: Owns,
    /// Further facts, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, String>,
}

/// Which files are a package's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owns {
    /// It is inside of the file that tells of it.
    Inside,
    /// All beneath a folder.
    Beneath(CleanPath),
    /// These.
    Files(Vec<CleanPath>),
    /// Those that [`Says::Files`] lists by this name.
    Listed(String),
    /// The file that tells of it, and no other.
    Teller,
}

impl Found {
    /// Makes a package of which nothing else is known.
    pub fn new(purl: Purl, owns: Owns) -> Self {
        Self {
            purl,
            supplier: None,
            licence: Licence::default(),
            digests: BTreeMap::new(),
            needs: Vec::new(),
            provides: Vec::new(),
            owns,
            facts: BTreeMap::new(),
        }
    }
}

/// Why a file could not be read, for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unread(pub(crate) String);

impl Unread {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl From<crate::json::JsonError> for Unread {
    fn from(error: crate::json::JsonError) -> Self {
        Self(error.to_string())
    }
}

/// The most packages that one file may tell of.
pub(crate) const MAX_PACKAGES: usize = 100_000;
/// The most files that one file may list.
pub(crate) const MAX_FILES: usize = 1_000_000;
/// The most bytes of a name or version that is taken.
const MAX_WORD: usize = 512;

/// Takes a name or version: one that is empty, huge or not on one line is none.
pub(crate) fn word(text: &str) -> Option<&str> {
    let text = text.trim();
    (!text.is_empty() && text.len() <= MAX_WORD && !text.chars().any(char::is_control)).then_some(text)
}

/// Gives the fields of a paragraph of `Name: value` lines, as Debian's control files, Python's metadata and Java's manifests have them:
/// of each name the first, with the lines that continue it. It ends at the first empty line.
pub(crate) fn fields(text: &str) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    for line in text.lines().take_while(|line| !line.trim_end_matches('\r').is_empty()) {
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = all.last_mut() {
                value.push('\n');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            all.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    all
}

/// Gives the first of the fields with a name.
pub(crate) fn field<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

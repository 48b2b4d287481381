//! Where the files come from that are built: a folder of the project, a URL, a git repository, or a source package of Debian.

use std::fmt;

use serde::Serialize;

use super::{Glob, PackageRequest, Release};
use crate::{digest::Digest, git::GitRevision, path::CleanPath};

/// A source, as the spec means it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A folder of the project.
    Folder(Folder),
    /// A file or archive that is downloaded.
    Url(UrlSource),
    /// A commit of a git repository.
    Git(GitSource),
    /// A source package of Debian.
    Debian(DebianSource),
}

impl Source {
    /// Gives the folder of the project, where it is one.
    pub const fn folder(&self) -> Option<&Folder> {
        match self {
            Self::Folder(folder) => Some(folder),
            Self::Url(_) | Self::Git(_) | Self::Debian(_) => None,
        }
    }
}

/// A folder of the project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Folder {
    /// Where it is in the project; `None` is the project's own folder.
    pub path: Option<CleanPath>,
    /// What of it is left out, relative to the folder itself.
    pub ignore: Vec<Glob>,
}

/// What is taken of something that is unpacked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Portion {
    /// The folder that becomes the source, in what was unpacked; `None` is all of it.
    pub subfolder: Option<CleanPath>,
    /// What is left out, relative to that folder.
    pub ignore: Vec<Glob>,
}

/// A file or archive that is downloaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UrlSource {
    /// Where it is; `http` or `https`, without a login.
    pub url: String,
    /// Its SHA-256, where the spec has it.
    pub sha256: Option<Digest>,
    /// Why its bytes are the right ones.
    pub trust: Trust,
    /// What becomes of it.
    pub unpack: Unpack,
    /// What of it is taken.
    pub portion: Portion,
}

/// A commit of a git repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GitSource {
    /// The repository: an `https`, `http` or `ssh` URL, or `USER@HOST:PATH`.
    pub url: String,
    /// What of it is wanted.
    pub revision: GitRevision,
    /// Why that is the right one.
    pub trust: GitTrust,
    /// Whether the submodules are checked out too, and theirs.
    pub submodules: bool,
    /// Whether what Git LFS keeps elsewhere is put in place of its pointers.
    pub lfs: bool,
    /// What of it is taken.
    pub portion: Portion,
}

/// Why a commit is the right one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum GitTrust {
    /// The spec has its id.
    Commit,
    /// The tag or the commit is signed.
    Signature {
        /// The project's file with the keys that may have signed.
        key: CleanPath,
    },
    /// It is believed when it is seen first, and pinned from then on.
    FirstUse {
        /// Why the spec wants that.
        reason: String,
    },
}

/// Why the bytes behind a URL are the right ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// The spec has their SHA-256.
    Digest,
    /// Somebody signed them.
    Signature {
        /// Where the signature is.
        url: String,
        /// The project's file with the keys that may have signed.
        key: CleanPath,
    },
    /// They are believed when they are seen first, and pinned from then on.
    FirstUse {
        /// Why the spec wants that.
        reason: String,
    },
}

/// What becomes of something that was downloaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unpack {
    /// It is a file of this name.
    No {
        /// The only file of the source.
        file: CleanPath,
    },
    /// It is an archive.
    Archive {
        /// How it is packed.
        packing: Packing,
        /// How many folders are taken off the front of each name.
        strip: u32,
    },
}

/// How an archive is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Packing {
    /// tar, as it is.
    Tar,
    /// tar and gzip.
    TarGz,
    /// tar and xz.
    TarXz,
    /// tar and zstd.
    TarZst,
    /// tar and bzip2.
    TarBz2,
    /// zip.
    Zip,
}

impl Packing {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Tar, Self::TarGz, Self::TarXz, Self::TarZst, Self::TarBz2, Self::Zip];

    /// Gives the word for it, which is also the usual ending of a file's name.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tar => "tar",
            Self::TarGz => "tar.gz",
            Self::TarXz => "tar.xz",
            Self::TarZst => "tar.zst",
            Self::TarBz2 => "tar.bz2",
            Self::Zip => "zip",
        }
    }

    /// Says how a file of a name is packed, where its ending tells.
    pub fn of_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let short = [(".tgz", Self::TarGz), (".txz", Self::TarXz), (".tzst", Self::TarZst), (".tbz2", Self::TarBz2)];
        let long = Self::ALL.into_iter().find(|packing| name.ends_with(&format!(".{}", packing.word())));
        long.or_else(|| short.into_iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, packing)| packing))
    }
}

impl fmt::Display for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A source package of Debian.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DebianSource {
    /// Where it comes from.
    pub release: Release,
    /// The source package, perhaps with its version.
    pub package: PackageRequest,
    /// What of it is taken.
    pub portion: Portion,
}

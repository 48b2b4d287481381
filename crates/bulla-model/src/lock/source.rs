//! What the lock keeps of sources that do not lie in the project.

use std::collections::BTreeMap;

use super::PackageKey;
use crate::{
    digest::Digest,
    git::{GitId, GitRevision},
    path::CleanPath,
    spec::{DebianSource, GitSource, GitTrust, Source, Trust, UrlSource},
    time::Epoch,
};

/// A source, pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourcePin {
    /// What a URL gives.
    Url(UrlPin),
    /// A commit of a git repository.
    Git(GitPin),
    /// A source package of Debian.
    Debian(DebianPin),
}

/// What a URL gave, and why that is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlPin {
    /// The URL.
    pub url: String,
    /// The size in bytes.
    pub size: u64,
    /// The SHA-256 of the bytes.
    pub digest: Digest,
    /// By what they were found to be the right ones.
    pub evidence: Evidence,
}

/// By what the bytes of a URL were found to be the right ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// The spec has their SHA-256.
    Digest,
    /// They are signed.
    Signature {
        /// The URL of the signature.
        url: String,
        /// The SHA-256 of the signature.
        digest: Digest,
        /// The project's file that the keys were in.
        key: CleanPath,
        /// The keys whose signatures were good, sorted: fingerprints of OpenPGP keys in upper-case hexadecimal, or public keys
        /// of minisign in base64.
        signed_by: Vec<String>,
    },
    /// They were seen first when the lock was written.
    FirstUse,
}

/// A commit of a git repository, and why that is the right one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitPin {
    /// The repository.
    pub url: String,
    /// What of it was asked for.
    pub asked: GitRevision,
    /// The commit.
    pub commit: GitId,
    /// The size in bytes of its files, as one tar archive in canonical form.
    pub size: u64,
    /// The SHA-256 of that archive.
    pub digest: Digest,
    /// By what the commit was found to be the right one.
    pub evidence: GitEvidence,
    /// The submodules whose files are in the archive, by their paths, where the spec wants them.
    pub submodules: Option<BTreeMap<CleanPath, ModulePin>>,
    /// Whether what Git LFS keeps elsewhere is in the archive in place of its pointers.
    pub lfs: bool,
}

/// A submodule, pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModulePin {
    /// The repository.
    pub url: String,
    /// The commit.
    pub commit: GitId,
}

/// By what a commit was found to be the right one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GitEvidence {
    /// The spec has its id.
    Commit,
    /// It or its tag is signed.
    Signature(GitSignature),
    /// It was seen first when the lock was written.
    FirstUse,
}

/// A signature of a tag or a commit that was found to be good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitSignature {
    /// The tag or commit that is signed.
    pub object: GitId,
    /// The project's file that the keys were in.
    pub key: CleanPath,
    /// The keys whose signatures were good, sorted: fingerprints of OpenPGP keys in upper-case hexadecimal, or `SHA256:` and the
    /// fingerprint of an SSH key in base64.
    pub signed_by: Vec<String>,
    /// Whom the signed object names as the one who made it, made printable. Only the key vouches for that.
    pub signer: String,
    /// When the signed object says it was made.
    pub signed_at: Epoch,
}

/// A source package of Debian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebianPin {
    /// The logical registry: `debian`.
    pub registry: String,
    /// The release that it was asked of.
    pub release: String,
    /// The suites that were looked in.
    pub suites: Vec<String>,
    /// The components that were looked in.
    pub components: Vec<String>,
    /// The request as the spec wrote it: `redis=5:7.*`.
    pub asked: String,
    /// The source package and its version.
    pub package: PackageKey,
    /// The suite whose index has it.
    pub suite: String,
    /// The component that it is in.
    pub component: String,
    /// The folder that its files are in, beneath the registry's base address.
    pub directory: String,
    /// Its files by name: the `.dsc` and what that names.
    pub files: BTreeMap<String, FilePin>,
}

/// A file of a source package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilePin {
    /// The size in bytes.
    pub size: u64,
    /// The SHA-256.
    pub digest: Digest,
}

impl SourcePin {
    /// Gives the source package of Debian, where it is one.
    pub const fn debian(&self) -> Option<&DebianPin> {
        match self {
            Self::Debian(pin) => Some(pin),
            Self::Url(_) | Self::Git(_) => None,
        }
    }

    /// Says whether a source of the spec asks for what this pins.
    pub fn is_of(&self, source: &Source) -> bool {
        match (self, source) {
            (Self::Url(pin), Source::Url(source)) => pin.is_of(source),
            (Self::Git(pin), Source::Git(source)) => pin.is_of(source),
            (Self::Debian(pin), Source::Debian(source)) => pin.is_of(source),
            _ => false,
        }
    }
}

impl UrlPin {
    /// Says whether a source of the spec asks for what this pins.
    pub fn is_of(&self, source: &UrlSource) -> bool {
        let evidence = match (&self.evidence, &source.trust) {
            (Evidence::Digest, Trust::Digest) | (Evidence::FirstUse, Trust::FirstUse { .. }) => true,
            (Evidence::Signature { url, key, .. }, Trust::Signature { url: asked_url, key: asked_key }) => {
                url == asked_url && key == asked_key
            }
            _ => false,
        };
        evidence && self.url == source.url && source.sha256.is_none_or(|digest| digest == self.digest)
    }
}

impl GitPin {
    /// Says whether a source of the spec asks for what this pins.
    pub fn is_of(&self, source: &GitSource) -> bool {
        let evidence = match (&self.evidence, &source.trust) {
            (GitEvidence::Commit, GitTrust::Commit) | (GitEvidence::FirstUse, GitTrust::FirstUse { .. }) => true,
            (GitEvidence::Signature(signature), GitTrust::Signature { key }) => signature.key == *key,
            _ => false,
        };
        evidence
            && (&self.url, &self.asked) == (&source.url, &source.revision)
            && (self.submodules.is_some(), self.lfs) == (source.submodules, source.lfs)
    }
}

impl DebianPin {
    /// Says whether a source of the spec asks for what this pins.
    pub fn is_of(&self, source: &DebianSource) -> bool {
        let release = &source.release;
        (&self.release, &self.suites, &self.components) == (&release.codename, &release.suites, &release.components)
            && self.asked == source.package.to_string()
    }
}

//! Where something of an image comes from: from the file to the layer, the copy, the step or package, the pin of the lock
//! and the keys that signed the index. All of it is read out of what is there; nothing is run, and what is not known is
//! said to be unknown.

mod downloads;
mod files;
mod packages;

use std::collections::BTreeMap;

use bulla_build::inspect::Image;
use bulla_model::{
    Digest, Epoch, GitId, Platform,
    lock::{Lock, PackageKey},
};
use bulla_store::Store;
use serde::Serialize;

use super::{journal::Noted, project::Project};

/// What a trace is looked for in.
pub(crate) struct Ground<'a> {
    /// The image.
    pub image: &'a Image,
    /// The project's spec, where it can be read.
    pub project: Option<&'a Project>,
    /// Its lock, where there is one.
    pub lock: Option<&'a Lock>,
    /// The builds of which notes are kept, the newest first.
    pub builds: &'a [Noted],
    /// The store.
    pub store: &'a Store,
}

impl Ground<'_> {
    /// Gives the platform of the image.
    fn platform(&self) -> Platform {
        Platform::of_debian(&self.image.config.architecture).unwrap_or(Platform::BUILD)
    }

    /// Names a package of the image: as the lock has it, of the image's own platform or of all.
    fn key(&self, name: &str, version: &str) -> PackageKey {
        let own = PackageKey::new(name, version, self.platform().debian());
        let is_locked = self.lock.is_some_and(|lock| lock.packages.contains_key(&own));
        if is_locked { own } else { PackageKey::new(name, version, "all") }
    }
}

/// One link of the chain that leads from a thing to where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "link", rename_all = "kebab-case")]
pub(crate) enum Link {
    /// A layer of the image.
    Layer {
        /// Which, from 1.
        number: usize,
        /// How many there are.
        of: usize,
        /// What it is called; foreign text.
        title: Option<String>,
        /// The digest of its blob.
        digest: Digest,
    },
    /// A copy of the spec's image or of a stage.
    Copy {
        /// What is copied: `output build.dist`.
        from: String,
        /// Where it lies there, with a slash in front.
        path: String,
    },
    /// A step that wrote it.
    Step {
        /// The stage.
        stage: String,
        /// The step.
        step: usize,
        /// What it is.
        title: String,
    },
    /// A file of a source that is a folder of the project.
    Source {
        /// The source.
        source: String,
        /// The path, relative to the project.
        path: String,
    },
    /// A file of a source that was downloaded.
    Download(Box<Downloaded>),
    /// A package.
    Package(Box<Pinned>),
    /// Something that Bulla, or maintainer scripts, made out of the packages.
    Derived {
        /// What.
        what: String,
    },
    /// Where it is not known further.
    Unknown {
        /// Why not.
        why: String,
    },
}

/// A source that was downloaded, with what the lock says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Downloaded {
    /// The source.
    pub source: String,
    /// The path, relative to the source.
    pub path: String,
    /// Where it is from.
    pub from: DownloadedFrom,
}

/// Where a source is from, as the lock has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum DownloadedFrom {
    /// A URL.
    Url {
        /// The URL.
        url: String,
        /// The SHA-256 of what it gave.
        digest: Digest,
        /// By what that was found to be right.
        evidence: Vouched,
    },
    /// A commit of a git repository.
    Git {
        /// The repository.
        url: String,
        /// What of it was asked for.
        asked: String,
        /// The commit.
        commit: GitId,
        /// The SHA-256 of the archive of its files.
        digest: Digest,
        /// The submodules by path: their repositories and commits.
        submodules: BTreeMap<String, String>,
        /// By what the commit was found to be right.
        evidence: VouchedCommit,
    },
    /// A source package of Debian.
    Debian {
        /// The source package, `name=version`.
        package: String,
        /// The SHA-256 of each of its files.
        files: BTreeMap<String, Digest>,
        /// Where they are beneath the registry's address.
        directory: String,
        /// The logical registry.
        registry: String,
        /// The suite whose index has it.
        suite: String,
        /// The component.
        component: String,
        /// The index that vouches for it.
        index: Option<SignedIndex>,
    },
}

/// By what a commit was found to be right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub(crate) enum VouchedCommit {
    /// Its id in the spec.
    Commit,
    /// A signature.
    Signature {
        /// The tag or commit that is signed.
        object: GitId,
        /// The project's file with the keys.
        key: String,
        /// The keys whose signatures are good.
        signed_by: Vec<String>,
        /// Whom the signed object names.
        signer: String,
        /// When it says that it was made.
        signed_at: Epoch,
    },
    /// It was seen first when the lock was written.
    FirstUse,
}

/// By what the bytes of a URL were found to be right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub(crate) enum Vouched {
    /// The SHA-256 in the spec.
    Digest,
    /// A signature.
    Signature {
        /// Its URL.
        url: String,
        /// Its SHA-256.
        digest: Digest,
        /// The project's file that the keys were in.
        key: String,
        /// The keys whose signatures were good.
        signed_by: Vec<String>,
    },
    /// Nothing: it was believed when it was seen first.
    FirstUse,
}

/// A package with what the lock says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Pinned {
    /// Its name.
    pub package: String,
    /// Its version.
    pub version: String,
    /// Its architecture.
    pub architecture: String,
    /// The source package that it was made from, `name=version`.
    pub source: String,
    /// The SHA-256 of the file.
    pub digest: Digest,
    /// Where it is beneath the registry's address.
    pub path: String,
    /// The logical registry.
    pub registry: String,
    /// The suite whose index has it.
    pub suite: String,
    /// The component.
    pub component: String,
    /// The index that vouches for it.
    pub index: Option<SignedIndex>,
    /// Why it is there, by the name of the root.
    pub roots: BTreeMap<String, Wanted>,
}

/// A signed index, as the lock has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct SignedIndex {
    /// The SHA-256 of `InRelease`.
    pub digest: Digest,
    /// Its date.
    pub date: String,
    /// The fingerprints of the keys whose signatures were good.
    pub signed_by: Vec<String>,
}

/// Why a package is in a root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "because", rename_all = "kebab-case")]
pub(crate) enum Wanted {
    /// The spec asks for it.
    Asked {
        /// As it asks.
        request: String,
    },
    /// It is Essential: every root has it.
    Essential,
    /// Others need it: from one that is asked for, or Essential, down to it.
    Needed {
        /// The names, this one last.
        by: Vec<String>,
    },
    /// The packages are not in the store, so that nobody can say which of them needs it.
    Unknown,
}

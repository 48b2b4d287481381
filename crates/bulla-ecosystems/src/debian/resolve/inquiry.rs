//! What is asked, what is fetched, and what is answered: plain data.

use std::collections::BTreeMap;

use bulla_model::{Digest, Epoch, Platform};
use serde::{Deserialize, Serialize};

use crate::debian::{keyring::Keyring, packages::SourcePackage, relation::Request, release::FileSum, solve::Locked};

/// One suite of one repository, and who may sign its index.
#[derive(Debug, Clone)]
pub struct Suite {
    /// The logical name of the repository. Where its mirrors are is the caller's knowledge.
    pub repository: String,
    /// The directory beneath `dists`, such as `trixie` or `trixie-security`.
    pub suite: String,
    /// The components, such as `main`.
    pub components: Vec<String>,
    /// The keys that may sign.
    pub keyring: Keyring,
}

impl Suite {
    /// Names the suite in errors, and in [`Inquiry::remembered`].
    pub fn key(&self) -> String {
        format!("{} {}", self.repository, self.suite)
    }
}

/// One root to choose packages for.
#[derive(Debug, Clone)]
pub struct Root {
    /// The name of the root in the answer.
    pub name: String,
    /// Positions in [`Inquiry::suites`]. Of equal versions, the first suite's is taken.
    pub suites: Vec<usize>,
    /// What runs in it.
    pub platform: Platform,
    /// The platform whose packages a request may name beside, where it is another one.
    pub foreign: Option<Platform>,
    /// What was asked for.
    pub requests: Vec<Request>,
    /// Whether scripts run in it: then every `Essential` package comes with it, and else what only scripts need is left out
    /// ([`PRUNED`](crate::debian::pruned::PRUNED)).
    pub scripts: bool,
    /// What the lock has for this root, without what is to be updated.
    pub locked: Vec<Locked>,
}

/// One source package to choose.
#[derive(Debug, Clone)]
pub struct SourceRoot {
    /// Its name in the answer.
    pub name: String,
    /// Positions in [`Inquiry::suites`]. Of equal versions, the first suite's is taken.
    pub suites: Vec<usize>,
    /// What was asked for.
    pub request: Request,
    /// The version that the lock has, unless it is to be updated.
    pub locked: Option<String>,
}

/// What is to be resolved.
#[derive(Debug, Clone)]
pub struct Inquiry {
    /// The suites that roots choose from.
    pub suites: Vec<Suite>,
    /// The roots.
    pub roots: Vec<Root>,
    /// The source packages.
    pub sources: Vec<SourceRoot>,
    /// The time at which the indexes must be good.
    pub now: Epoch,
    /// The newest date that was seen of each suite, by [`Suite::key`] and the primary key that signed it.
    pub remembered: BTreeMap<String, BTreeMap<String, Epoch>>,
    /// Whether an index may be older than that.
    pub allow_downgrade: bool,
}

/// One file that the resolver needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// The position of the suite in [`Inquiry::suites`].
    pub suite: usize,
    /// The path beneath the base of the repository.
    pub path: String,
    /// The most bytes to accept.
    pub max_size: u64,
    /// What the bytes must be, where a signed index says so. [`Resolver::got`](super::Resolver::got) checks it too.
    pub expected: Option<FileSum>,
}

/// One package, pinned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pin {
    /// The name.
    pub name: String,
    /// The version.
    pub version: String,
    /// Debian's name of the architecture, or `all`.
    pub architecture: String,
    /// The path beneath the base of the repository.
    pub path: String,
    /// The size of the file in bytes.
    pub size: u64,
    /// The digest of the file.
    pub sha256: Digest,
    /// The name of the source package.
    pub source: String,
    /// The version of the source package.
    pub source_version: String,
    /// The logical name of the repository.
    pub repository: String,
    /// The suite, as configured.
    pub suite: String,
    /// The component.
    pub component: String,
}

/// One source package, pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePin {
    /// The package, with its files.
    pub package: SourcePackage,
    /// The logical name of the repository.
    pub repository: String,
    /// The suite, as configured.
    pub suite: String,
    /// The component.
    pub component: String,
}

/// The evidence by which a suite's packages are trusted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Evidence {
    /// The logical name of the repository.
    pub repository: String,
    /// The suite, as configured.
    pub suite: String,
    /// The code name that the index gives itself.
    pub codename: String,
    /// The digest of `InRelease`, or of `Release`.
    pub digest: Digest,
    /// When the index was made.
    pub date: Epoch,
    /// When it ceases to be good.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub valid_until: Option<Epoch>,
    /// The fingerprints of the keys that signed, each in upper-case hexadecimal digits.
    pub keys: Vec<String>,
    /// The primary keys that they belong to.
    pub primary_keys: Vec<String>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// The indexes that were used, in the order of [`Inquiry::suites`].
    pub indexes: Vec<Evidence>,
    /// All packages of all roots, each once, in order.
    pub packages: Vec<Pin>,
    /// The positions in `packages` of each root's packages, by its name.
    pub roots: BTreeMap<String, Vec<usize>>,
    /// The source packages, by their names in the inquiry.
    pub sources: BTreeMap<String, SourcePin>,
    /// The newest date of the indexes: the default epoch of what is built from them.
    pub epoch: Epoch,
}

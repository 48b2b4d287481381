//! Descriptors of things: how statements name what was used or made (in-toto Attestation Framework, `spec/v1/resource_descriptor.md`).

use std::collections::BTreeMap;

use bulla_model::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Something by its address, its digest, or both.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// What it is called, which proves nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What names it everywhere: a package URL, or the address of a repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Its digests by algorithm, in hexadecimal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub digest: BTreeMap<String, String>,
    /// Where its bytes are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub download_location: Option<String>,
    /// What its bytes are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What else is known of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, Value>,
}

impl Resource {
    /// Names something by its SHA-256.
    pub fn new(name: &str, digest: &Digest) -> Self {
        Self { name: Some(name.to_owned()), ..Self::default() }.with_digest("sha256", &digest.hex())
    }

    /// Adds what names it everywhere.
    #[must_use]
    pub fn at(self, uri: impl Into<String>) -> Self {
        Self { uri: Some(uri.into()), ..self }
    }

    /// Adds a digest of some algorithm: `gitCommit` for a commit (in-toto, `spec/v1/digest_set.md`).
    #[must_use]
    pub fn with_digest(mut self, algorithm: &str, hex: &str) -> Self {
        self.digest.insert(algorithm.to_owned(), hex.to_owned());
        self
    }

    /// Notes something.
    #[must_use]
    pub fn noting(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.annotations.insert(name.to_owned(), value.into());
        self
    }

    /// Gives its SHA-256, where it has one that is one.
    pub fn sha256(&self) -> Option<Digest> {
        self.digest.get("sha256").and_then(|hex| Digest::from_hex(hex).ok())
    }
}

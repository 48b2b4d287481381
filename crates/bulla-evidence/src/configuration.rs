//! The configuration of a build: what it takes to do the same again, beside the sources.

use serde::{Deserialize, Serialize};

/// The predicate's type.
pub const CONFIGURATION: &str = "urn:bulla:configuration:1";

/// The texts that a build was asked for by. Their digests are in its provenance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Configuration {
    /// `bulla.yaml`.
    pub spec: String,
    /// `bulla.lock`.
    pub lock: String,
    /// `bulla.workspace.yaml`, where the project is a member of a workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// The project's folder in that; absent where it is the workspace's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
}

//! The image configuration (image specification, `config.md`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{DiffId, Epoch, Platform};

/// The image configuration: what runs, on which file system, and how that came about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// When the image was made, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The processor, as in Go's `GOARCH`.
    pub architecture: String,
    /// The operating system, as in Go's `GOOS`.
    pub os: String,
    /// How a container of the image runs.
    #[serde(default)]
    pub config: Runtime,
    /// The layers by the digests of their uncompressed bytes.
    pub rootfs: RootFs,
    /// What made each layer, lowest first.
    #[serde(default)]
    pub history: Vec<History>,
}

impl ImageConfig {
    /// Makes a configuration without layers.
    pub fn new(platform: Platform, created: Epoch, config: Runtime) -> Self {
        Self {
            created: Some(created.rfc3339()),
            architecture: platform.architecture().to_owned(),
            os: platform.os().to_owned(),
            config,
            rootfs: RootFs { kind: "layers".to_owned(), diff_ids: Vec::new() },
            history: Vec::new(),
        }
    }
}

/// An empty JSON object, Go's way to write a set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// How a container of an image runs: the object `config` of the configuration. Foreign configurations may have `null` where
/// nothing is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Runtime {
    /// The user, `UID`, `UID:GID` or names of the image's `/etc/passwd`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// The ports that the program listens on, `8080/tcp`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "nullable")]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// The environment, `NAME=VALUE`, in order.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub env: Vec<String>,
    /// The command and the first of its arguments.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub entrypoint: Vec<String>,
    /// The arguments that a user may replace; the command itself where there is no entrypoint.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub cmd: Vec<String>,
    /// The folders that hold data.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "nullable")]
    pub volumes: BTreeMap<String, Empty>,
    /// The folder that the command starts in.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// What the image is said to be, for the tools that look here and not at annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "nullable")]
    pub labels: BTreeMap<String, String>,
    /// The signal that ends the program, `SIGTERM`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
}

fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// The object `rootfs` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The digests of the uncompressed layers, lowest first.
    pub diff_ids: Vec<DiffId>,
}

/// What made a layer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// When, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The command, or in images of Bulla the origins of the layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// A remark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether there is no layer for this entry.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

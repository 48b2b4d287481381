//! What an image is made of, with everything resolved: the plain data that assembly turns into layers and documents.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{CleanPath, DiffId, Digest, Epoch, Platform, Tree, oci, tar::FileCapabilities};

/// Everything that decides the bytes of an image, but for the contents of its files, which the trees name by digest.
#[derive(Debug, Clone)]
pub struct ImagePlan {
    /// Where the image runs.
    pub platform: Platform,
    /// The date of the image, and the latest time in its layers.
    pub epoch: Epoch,
    /// What lies in the image, in order of precedence: see [`crate::layers`].
    pub inputs: Vec<Input>,
    /// How a container of the image runs.
    pub runtime: oci::Runtime,
    /// Annotations of the manifest and the index, beside those that assembly sets.
    pub annotations: oci::Annotations,
    /// The files that keep their set-user-id and set-group-id bits.
    pub keep_set_id: BTreeSet<CleanPath>,
    /// The files that get capabilities. No other has any, whatever its input says.
    pub capabilities: FileCapabilities,
    /// How many layers the image may have; the layers that a spec names are made even above it.
    pub budget: usize,
    /// How layers are compressed.
    pub compression: Compression,
    /// The image that this one stands on.
    pub base: Option<BaseImage>,
}

/// An image of a registry that another stands on. Its layers stay as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseImage {
    /// Its full reference.
    pub reference: String,
    /// What the reference led to.
    pub digest: Digest,
    /// Its layers, lowest first.
    pub layers: Vec<BaseLayer>,
    /// What made its layers, as its configuration says.
    pub history: Vec<oci::History>,
}

/// A layer of an image of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseLayer {
    /// The blob as the manifest describes it.
    pub descriptor: oci::Descriptor,
    /// The digest of its uncompressed bytes, which was compared with them.
    pub diff_id: DiffId,
    /// The size of these in bytes.
    pub plain_size: u64,
}

/// The number of layers of an image when nobody says another. Registries and clients move ten or so at once.
pub const DEFAULT_BUDGET: usize = 10;

impl ImagePlan {
    /// Makes the plan of an empty image with everything at its default.
    pub fn new(platform: Platform, epoch: Epoch) -> Self {
        Self {
            platform,
            epoch,
            inputs: Vec::new(),
            runtime: oci::Runtime::default(),
            annotations: BTreeMap::new(),
            keep_set_id: BTreeSet::new(),
            capabilities: FileCapabilities::new(),
            budget: DEFAULT_BUDGET,
            compression: Compression::Gzip,
            base: None,
        }
    }
}

/// A tree that goes into an image, with where it comes from.
#[derive(Debug, Clone)]
pub struct Input {
    /// Where it comes from.
    pub origin: Origin,
    /// What is in it, at the paths that it has in the image.
    pub tree: Tree,
    /// The time of its files, held at the image's epoch. For a package the newest date in its archive, so that its part of a
    /// layer stays the same when only the epoch moves.
    pub time: Epoch,
}

/// Where a part of an image comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A distribution package.
    Package {
        /// Its name.
        name: String,
        /// Its version.
        version: String,
        /// The name of its source package: packages of one source change together.
        source: String,
    },
    /// Files that Bulla or maintainer scripts made from the packages, and so change when any of them does. It may be a delta,
    /// and is laid over what comes before it as overlayfs would.
    Derived {
        /// What they are, in a word or two: `system files`.
        name: String,
    },
    /// A copy of a stage's output or of a source.
    Copy {
        /// What was copied, as the spec says it: `build.dist`.
        name: String,
        /// The layer that the spec asks for.
        layer: Option<String>,
    },
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Package { name, version, .. } => write!(f, "{name}={version}"),
            Self::Derived { name } | Self::Copy { name, .. } => f.write_str(name),
        }
    }
}

/// How layers are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// gzip, which every client reads.
    #[default]
    Gzip,
    /// zstd, which is smaller and faster to read; Docker 23 and containerd 1.5 read it.
    Zstd,
}

impl Compression {
    /// Gives the media type of a layer.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Gzip => oci::LAYER_GZIP,
            Self::Zstd => oci::LAYER_ZSTD,
        }
    }
}

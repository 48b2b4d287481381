//! What can be wrong with a foreign image.

use std::{io, path::PathBuf};

use bulla_model::{Digest, Fault, Kind};

/// Says why an image could not be read.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// A file or folder cannot be read.
    #[error("reading {}", path.display())]
    Io {
        /// What was to be read.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It is not what this command reads.
    #[error("{} is neither an OCI layout nor an oci-archive: it has no {missing}", path.display())]
    NotALayout {
        /// The file or folder.
        path: PathBuf,
        /// What it lacks.
        missing: &'static str,
    },
    /// The archive has an entry twice, so that readers could see different images.
    #[error("{} has more than one `{name}`", path.display())]
    Twice {
        /// The archive.
        path: PathBuf,
        /// The entry.
        name: String,
    },
    /// A document is not what it should be.
    #[error("`{name}` is not a document of the OCI image specification")]
    Document {
        /// The file or digest.
        name: String,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// A blob is not there.
    #[error("the blob {digest} is missing")]
    Missing {
        /// The blob.
        digest: Digest,
    },
    /// A blob has another size than its descriptor says.
    #[error("the blob {digest} has {found} bytes, and its descriptor says {expected}")]
    Size {
        /// The blob.
        digest: Digest,
        /// What the descriptor says.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// Bytes have another digest than their descriptor or configuration says.
    #[error("{what} {expected} has the digest {found}")]
    Digest {
        /// What was hashed: `the blob`, `the uncompressed layer`.
        what: &'static str,
        /// What it should be.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// Manifest and configuration speak of different layers.
    #[error("the manifest has {manifest} layers and the configuration {config}")]
    LayerCount {
        /// The layers of the manifest.
        manifest: usize,
        /// The layers of the configuration.
        config: usize,
    },
    /// The layer's bytes are not a compressed tar.
    #[error("reading the layer {digest}")]
    Layer {
        /// The layer.
        digest: Digest,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The layer is of a kind that is not known.
    #[error("the layer {digest} is of the unknown type `{media_type}`")]
    MediaType {
        /// The layer.
        digest: Digest,
        /// Its type, shortened.
        media_type: String,
    },
    /// A name that would leave the image's root.
    #[error("the layer {digest} has a bad name in it")]
    Name {
        /// The layer.
        digest: Digest,
        /// What is bad.
        #[source]
        source: bulla_model::path::CleanPathError,
    },
    /// Something is larger than any honest image.
    #[error("the image has too many {what}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
    },
}

impl Fault for InspectError {
    fn kind(&self) -> Kind {
        match self {
            Self::Io { .. } => Kind::Environment,
            Self::NotALayout { .. } => Kind::Spec,
            _ => Kind::Integrity,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::NotALayout { .. } => {
                vec!["name the folder with `oci-layout` and `index.json` in it, or a file that `--output oci-archive:` wrote".into()]
            }
            Self::Size { .. } | Self::Digest { .. } | Self::Missing { .. } => {
                vec!["the image was changed or cut off after it was made; get it again".into()]
            }
            _ => Vec::new(),
        }
    }
}

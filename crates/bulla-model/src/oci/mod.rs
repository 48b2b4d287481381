//! The documents of an OCI image (image specification 1.1), as they are written and as they are read.
//!
//! Fields are written in the order of their declaration and maps in the order of their keys, so that one document has one
//! sequence of bytes and one digest ([`encode`]). Unknown fields of foreign documents are ignored, as the specification
//! wants ("Extensibility", `considerations.md`).

mod base;
mod config;
mod descriptor;
mod join;
mod manifest;
mod reference;
mod referrer;

pub use base::{BaseReference, LAYOUT, LayoutReference};
pub use config::{Empty, History, ImageConfig, RootFs, Runtime};
pub use descriptor::{Annotations, Descriptor, PlatformFields};
pub use join::{JoinError, join};
pub use manifest::{Index, LayoutMarker, Manifest, SchemaVersion};
pub use reference::{Reference, ReferenceError, registry_host};
pub use referrer::Referrer;

use crate::digest::Digest;

/// `application/vnd.oci.image.index.v1+json`.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// `application/vnd.oci.image.manifest.v1+json`.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// `application/vnd.oci.image.config.v1+json`.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// A layer that is not compressed.
pub const LAYER_TAR: &str = "application/vnd.oci.image.layer.v1.tar";
/// A layer that is compressed with gzip (RFC 1952).
pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// A layer that is compressed with zstd (RFC 8478).
pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// The configuration of a manifest that is an artifact and no image: two bytes, `{}`.
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// What Docker calls an index.
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// What Docker calls a manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// What Docker calls a configuration.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// What Docker calls a layer that is compressed with gzip.
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// The most bytes of a manifest or index (distribution specification, "Pushing Manifests": registries take 4 MiB at least,
/// and clients need take no more).
pub const MAX_MANIFEST: u64 = 4 << 20;
/// The name of an image in a layout's index (`annotations.md`).
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The date of an image in its annotations (`annotations.md`).
pub const CREATED: &str = "org.opencontainers.image.created";

/// The reference of the image below, in an image's annotations (`annotations.md`).
pub const BASE_NAME: &str = "org.opencontainers.image.base.name";
/// The digest of the image below, in an image's annotations (`annotations.md`).
pub const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";

/// Writes a document: JSON without spaces, fields in the order of their declaration.
pub fn encode<T: serde::Serialize>(document: &T) -> Vec<u8> {
    serde_json::to_vec(document).expect("documents have text keys and no failing serializer")
}

/// Writes a document, and describes it.
pub fn encode_described<T: serde::Serialize>(media_type: &str, document: &T) -> (Descriptor, Vec<u8>) {
    let bytes = encode(document);
    (Descriptor::new(media_type, Digest::of(&bytes), bytes.len() as u64), bytes)
}

#[cfg(test)]
mod tests;

//! Inputs and results as artifacts (image specification 1.1, `manifest.md`, "Guidelines for Artifact Usage"): one manifest each,
//! whose tag says what it is.
//!
//! An input's only layer is its bytes; an image that a build starts from is its own manifest, as it came. A result's first
//! layer is its signed statement, the others are the packed trees and the blobs that the statement names.

use bulla_model::{
    Digest,
    oci::{self, Descriptor, Manifest},
};

/// What an input is.
const INPUT: &str = "application/vnd.bulla.input.v1";
/// What a result is.
const RESULT: &str = "application/vnd.bulla.result.v1";
/// A signed statement (`secure-systems-lab/dsse`).
const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
/// A packed tree.
pub(super) const TREE: &str = "application/vnd.bulla.tree.v1+zstd";
/// Bytes of any kind.
const BYTES: &str = "application/octet-stream";
/// The name of an input, for people (`annotations.md`).
const TITLE: &str = "org.opencontainers.image.title";
/// The most bytes of a statement that is fetched.
pub(super) const MAX_ENVELOPE: u64 = 64 << 20;

/// The configuration of an artifact that has none (`manifest.md`, "Guidance for an Empty Descriptor").
pub(super) const NOTHING: &[u8] = b"{}";

/// Describes the configuration of an artifact that has none.
pub(super) fn nothing() -> Descriptor {
    Descriptor::new(oci::EMPTY, Digest::of(NOTHING), NOTHING.len() as u64)
}

/// Gives the tag of an input.
pub(super) fn input_tag(digest: &Digest) -> String {
    format!("input-{}", digest.hex())
}

/// Gives the tag of an action's result.
pub(super) fn result_tag(action: &Digest) -> String {
    format!("result-{}", action.hex())
}

/// Describes bytes by what the lock says of them.
pub(super) fn bytes(digest: Digest, size: u64) -> Descriptor {
    Descriptor::new(BYTES, digest, size)
}

/// Writes the manifest of an input.
pub(super) fn input(digest: Digest, size: u64, title: &str) -> Vec<u8> {
    let mut layer = bytes(digest, size);
    layer.annotations.insert(TITLE.to_owned(), title.to_owned());
    artifact(INPUT, vec![layer])
}

/// Describes a signed statement.
pub(super) fn envelope(bytes: &[u8]) -> Descriptor {
    Descriptor::new(ENVELOPE, Digest::of(bytes), bytes.len() as u64)
}

/// Writes the manifest of a result.
pub(super) fn result(envelope: Descriptor, belongs: impl IntoIterator<Item = Descriptor>) -> Vec<u8> {
    let mut layers = vec![envelope];
    for blob in belongs {
        // One of several equal trees is enough.
        if !layers.iter().any(|known| known.digest == blob.digest) {
            layers.push(blob);
        }
    }
    artifact(RESULT, layers)
}

fn artifact(kind: &str, layers: Vec<Descriptor>) -> Vec<u8> {
    let mut manifest = Manifest::new(nothing(), layers);
    manifest.artifact_type = Some(kind.to_owned());
    oci::encode(&manifest)
}

/// Finds the signed statement in what may be the manifest of a result.
pub(super) fn envelope_of(manifest: &[u8]) -> Option<Descriptor> {
    let manifest: Manifest = serde_json::from_slice(manifest).ok()?;
    let first = manifest.layers.into_iter().next()?;
    let good = manifest.artifact_type.as_deref() == Some(RESULT) && first.media_type == ENVELOPE;
    (good && first.size <= MAX_ENVELOPE).then_some(first)
}

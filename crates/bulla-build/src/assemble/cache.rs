//! What is remembered of parts and layers that were compressed before: authenticated results of the store, by keys that
//! name everything that decided the bytes.

use std::collections::BTreeMap;

use bulla_model::{
    DiffId, Digest,
    image::Compression,
    layers::{Layer, Part},
    oci,
};
use bulla_store::Store;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{AssembleError, FORMAT};

/// What decides the bytes of a part.
#[derive(Serialize)]
struct PartKey {
    part: &'static str,
    format: u32,
    compression: Compression,
    tree: Digest,
    time: u64,
    /// Left out where there are none, so that what was kept before stays valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    capabilities: Option<Given>,
}

/// The files of a part that get capabilities.
type Given = BTreeMap<String, String>;

/// What decides the bytes of a layer.
#[derive(Serialize)]
struct LayerKey {
    layer: &'static str,
    format: u32,
    compression: Compression,
    skeleton: Digest,
    time: u64,
    parts: Vec<(Digest, u64)>,
    /// By the place of the part.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    capabilities: BTreeMap<usize, Given>,
}

fn given(part: &Part) -> Option<Given> {
    let all = part.capabilities.iter().map(|(path, capabilities)| (path.to_string(), capabilities.to_string()));
    Some(all.collect()).filter(|all: &Given| !all.is_empty())
}

/// A compressed part: its blob, and for each member the uncompressed and the compressed length in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PartRecord {
    pub(super) blob: Digest,
    pub(super) members: Vec<(u32, u32)>,
}

/// A compressed layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LayerRecord {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) diff_id: DiffId,
    pub(super) plain_size: u64,
}

/// Gives the key of a part.
pub(super) fn part_key(compression: Compression, part: &Part) -> Digest {
    let (tree, time) = (part.tree.digest(), part.time.seconds());
    let capabilities = given(part);
    Digest::of(oci::encode(&PartKey { part: "bulla", format: FORMAT, compression, tree, time, capabilities }))
}

/// Gives the key of a layer.
pub(super) fn layer_key(compression: Compression, layer: &Layer) -> Digest {
    let parts = layer.parts.iter().map(|part| (part.tree.digest(), part.time.seconds())).collect();
    let (skeleton, time) = (layer.skeleton.digest(), layer.time.seconds());
    let given = |(at, part)| given(part).map(|given| (at, given));
    let capabilities = layer.parts.iter().enumerate().filter_map(given).collect();
    Digest::of(oci::encode(&LayerKey {
        layer: "bulla",
        format: FORMAT,
        compression,
        skeleton,
        time,
        parts,
        capabilities,
    }))
}

/// Looks a record up. What cannot be read is a miss: another version may have written it.
pub(super) fn find<R: DeserializeOwned>(store: &Store, key: &Digest) -> Result<Option<R>, AssembleError> {
    let bytes = store.result(key)?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// Keeps a record.
pub(super) fn keep<R: Serialize>(store: &Store, key: &Digest, record: &R) -> Result<(), AssembleError> {
    Ok(store.put_result(key, &oci::encode(record))?)
}

//! Makes an image of trees: layers, configuration, manifest and index, as blobs of the store.
//!
//! The order of things: [`bulla_model::layers::cut`] decides what each layer holds; a layer whose parts are the same as once
//! before is taken from the store; else its parts go through the `pipe`, where those of packages come compressed out
//! of the store and the others are written as tar and compressed by several threads; last come the `documents`.
//! What comes out depends on nothing but the plan, the contents and [`FORMAT`].

mod cache;
mod codec;
mod contents;
mod documents;
mod error;
mod join;
mod layer;
mod pipe;

use std::collections::BTreeSet;

use bulla_model::{
    CleanPath, DiffId, Digest,
    image::{BaseImage, ImagePlan},
    layers,
    oci::{self, Descriptor},
};
use bulla_store::Store;
use serde::{Deserialize, Serialize};

pub(crate) use self::documents::HISTORY;
pub use self::{
    contents::{Contents, Folder},
    error::AssembleError,
    join::{Attached, Joined, join},
};

/// The number of the way in which layers are written. It goes up when the bytes of a compressed layer change, as they may
/// with another release of the compressors; golden digests in the tests notice.
pub const FORMAT: u32 = 1;

/// What assembly gives for one platform: everything is in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assembled {
    /// The index of the image for this platform alone.
    pub index: Descriptor,
    /// The manifest for the platform.
    pub manifest: Descriptor,
    /// The image configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<LayerInfo>,
    /// The files that lost their set-user-id or set-group-id bits.
    pub stripped: BTreeSet<CleanPath>,
    /// The capabilities that packages ask for and the image does not have.
    #[serde(default)]
    pub withheld: Vec<Withheld>,
    /// Whether something of it stands on what was read from a cache: then it is not called reproducible.
    #[serde(default)]
    pub tainted: bool,
    /// The blob that says who owns each path, of a build that knows it ([`bulla_model::ownership`]). It is no part of what is kept: the same
    /// image can come of other inputs.
    #[serde(skip)]
    pub ownership: Option<Digest>,
}

/// Capabilities that a package's script would have given to a file, and that the spec does not give.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withheld {
    /// The package.
    pub package: String,
    /// The file.
    pub path: CleanPath,
    /// What it would have had, as `getcap` writes it.
    pub capabilities: String,
}

/// One layer of an assembled image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerInfo {
    /// The digest of the compressed layer.
    pub digest: Digest,
    /// The digest of the uncompressed layer.
    pub diff_id: DiffId,
    /// The media type.
    pub media_type: String,
    /// The size of the compressed layer in bytes.
    pub size: u64,
    /// The size of the uncompressed layer in bytes.
    pub plain_size: u64,
    /// What the layer is, for people.
    pub title: String,
    /// Where its files come from, in the order in which they were written.
    pub origins: Vec<String>,
    /// Whether the whole layer was in the store.
    pub cached: bool,
}

/// Assembles an image. `threads` compress, at least one; the result does not depend on their number.
///
/// # Errors
/// When the inputs contradict each other, a content is not what its tree says, or the store cannot be written.
pub fn assemble(
    store: &Store,
    plan: &ImagePlan,
    contents: &dyn Contents,
    threads: usize,
) -> Result<Assembled, AssembleError> {
    let cut = layers::cut(plan)?;
    if cut.layers.is_empty() && plan.base.is_none() {
        return Err(AssembleError::Empty);
    }
    let mut infos: Vec<LayerInfo> = plan.base.iter().flat_map(of_base).collect();
    for one in &cut.layers {
        infos.push(layer::write(store, plan, one, contents, threads)?);
    }
    let documents = documents::write(store, plan, &infos)?;
    Ok(Assembled {
        index: documents.index,
        manifest: documents.manifest,
        config: documents.config,
        layers: infos,
        stripped: cut.stripped,
        withheld: Vec::new(),
        tainted: false,
        ownership: None,
    })
}

/// Tells of the layers of the image below, which stay as they are. Of their media types only Docker's name for gzip is replaced
/// by that of the specification: the manifest that they are now in is one of the specification.
fn of_base(base: &BaseImage) -> impl Iterator<Item = LayerInfo> {
    base.layers.iter().map(|layer| LayerInfo {
        digest: layer.descriptor.digest,
        diff_id: layer.diff_id,
        media_type: match layer.descriptor.media_type.as_str() {
            oci::DOCKER_LAYER_GZIP => oci::LAYER_GZIP.to_owned(),
            other => other.to_owned(),
        },
        size: layer.descriptor.size,
        plain_size: layer.plain_size,
        title: "base".to_owned(),
        origins: vec![base.reference.clone()],
        cached: true,
    })
}

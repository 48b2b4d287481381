//! The documents of an image: configuration, manifest and index.

use bulla_model::{
    image::ImagePlan,
    oci::{self, Annotations, Descriptor, History, ImageConfig, Index, Manifest},
};
use bulla_store::Store;

use super::{AssembleError, LayerInfo};

/// What an entry of the history starts with, when its layer was made by Bulla.
pub(crate) const HISTORY: &str = "bulla: ";

/// The documents, described.
pub(super) struct Documents {
    pub(super) index: Descriptor,
    pub(super) manifest: Descriptor,
    pub(super) config: Descriptor,
}

/// Writes the documents into the store.
pub(super) fn write(store: &Store, plan: &ImagePlan, layers: &[LayerInfo]) -> Result<Documents, AssembleError> {
    let put = |(descriptor, bytes): (Descriptor, Vec<u8>)| -> Result<Descriptor, AssembleError> {
        store.put_blob(&bytes)?;
        Ok(descriptor)
    };
    let config = put(oci::encode_described(oci::CONFIG, &configuration(plan, layers)))?;
    let blobs = layers.iter().map(|layer| Descriptor::new(&layer.media_type, layer.digest, layer.size)).collect();
    let annotations = annotations(plan);
    let manifest = Manifest { annotations: annotations.clone(), ..Manifest::new(config.clone(), blobs) };
    let mut manifest = put(oci::encode_described(oci::MANIFEST, &manifest))?;
    manifest.platform = Some(plan.platform.into());
    let index = Index { annotations, ..Index::new(vec![manifest.clone()]) };
    let index = put(oci::encode_described(oci::INDEX, &index))?;
    Ok(Documents { index, manifest, config })
}

fn annotations(plan: &ImagePlan) -> Annotations {
    let mut annotations = Annotations::from([(oci::CREATED.to_owned(), plan.epoch.rfc3339())]);
    if let Some(base) = &plan.base {
        // It is for references that others can follow.
        if !base.reference.starts_with(oci::LAYOUT) {
            annotations.insert(oci::BASE_NAME.to_owned(), base.reference.clone());
        }
        annotations.insert(oci::BASE_DIGEST.to_owned(), base.digest.to_string());
    }
    annotations.extend(plan.annotations.clone());
    annotations
}

fn configuration(plan: &ImagePlan, layers: &[LayerInfo]) -> ImageConfig {
    let mut config = ImageConfig::new(plan.platform, plan.epoch, plan.runtime.clone());
    let below = plan.base.as_ref().map_or(0, |base| base.layers.len());
    config.history.extend(plan.base.iter().flat_map(|base| base.history.clone()));
    config.rootfs.diff_ids.extend(layers.iter().take(below).map(|layer| layer.diff_id));
    for layer in layers.iter().skip(below) {
        config.rootfs.diff_ids.push(layer.diff_id);
        config.history.push(History {
            created: Some(plan.epoch.rfc3339()),
            created_by: Some(format!("{HISTORY}{}: {}", layer.title, layer.origins.join(", "))),
            ..History::default()
        });
    }
    config
}

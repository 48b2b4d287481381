//! Joins the images of several platforms into one.

use bulla_model::{
    Digest, Platform,
    oci::{self, Descriptor, Index},
};
use bulla_store::Store;
use serde::{Deserialize, Serialize};

use super::{AssembleError, Assembled};

/// An image for one platform or several: everything is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The image index, whose digest is the image's.
    pub index: Descriptor,
    /// The image for each platform, at least one, in the order of the index.
    pub parts: Vec<Assembled>,
    /// What refers to the image: its evidence.
    pub attached: Vec<Attached>,
}

/// A manifest that refers to an image, in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// What it refers to.
    pub subject: Digest,
    /// The manifest, as lists of referrers have it.
    pub entry: Descriptor,
    /// Its configuration and its layers.
    pub blobs: Vec<Descriptor>,
}

impl Joined {
    /// Gives the image for a platform, or else the first.
    pub fn part_for(&self, platform: Platform) -> Option<&Assembled> {
        let fields = Some(platform.into());
        self.parts.iter().find(|part| part.manifest.platform == fields).or(self.parts.first())
    }
}

impl From<Assembled> for Joined {
    fn from(image: Assembled) -> Self {
        Self { index: image.index.clone(), parts: vec![image], attached: Vec::new() }
    }
}

/// Joins images of different platforms; what their indexes say of them all, the index of the whole says too.
///
/// # Errors
/// When the store cannot be read or written, or two images are for the same platform.
pub fn join(store: &Store, parts: Vec<Assembled>) -> Result<Joined, AssembleError> {
    let indexes = parts
        .iter()
        .map(|part| {
            let bytes = store.read_blob(&part.index.digest, oci::MAX_MANIFEST)?;
            let bytes = bytes.ok_or(AssembleError::Lost { digest: part.index.digest })?;
            serde_json::from_slice(&bytes).map_err(|_| AssembleError::Lost { digest: part.index.digest })
        })
        .collect::<Result<Vec<Index>, AssembleError>>()?;
    let (index, bytes) = oci::encode_described(oci::INDEX, &oci::join(indexes)?);
    // That of a single image is there, and that of an unchanged build too.
    if !store.has_blob(&index.digest)? {
        store.put_blob(&bytes)?;
    }
    Ok(Joined { index, parts, attached: Vec::new() })
}

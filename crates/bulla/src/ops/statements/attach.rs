//! Manifests by which statements refer to an image, in the store.

use std::collections::BTreeMap;

use bulla_build::assemble::{Attached, Joined};
use bulla_evidence::{
    carrier::{self, CONFIG, IN_TOTO_PREDICATE},
    statement,
};
use bulla_model::{
    Digest,
    oci::{self, Descriptor},
};
use bulla_store::Store;

use super::Piece;
use crate::error::Result;

/// Makes a manifest for each statement and each thing that it is about.
///
/// # Errors
/// When the store cannot be written.
pub(super) fn all(store: &Store, image: &Joined, pieces: &[Piece]) -> Result<Vec<Attached>> {
    let manifests = image.parts.iter().map(|part| &part.manifest);
    let subjects: BTreeMap<Digest, &Descriptor> =
        manifests.chain([&image.index]).map(|entry| (entry.digest, entry)).collect();
    let mut all = Vec::new();
    for piece in pieces {
        for subject in piece.about.iter().filter_map(|digest| subjects.get(digest)) {
            all.push(one(store, subject, piece)?);
        }
    }
    Ok(all)
}

fn one(store: &Store, subject: &Descriptor, piece: &Piece) -> Result<Attached> {
    let config = Descriptor::new(oci::EMPTY, store.put_blob(CONFIG)?, CONFIG.len() as u64);
    let layer = Descriptor::new(statement::MEDIA_TYPE, piece.digest, piece.size);
    let (entry, manifest) = carrier::referring(&layer, subject, [(IN_TOTO_PREDICATE, &piece.predicate_type)], None);
    store.put_blob(&manifest)?;
    Ok(Attached { subject: subject.digest, entry, blobs: vec![config, layer] })
}

//! Manifests by which statements refer to an image, in the store.

use std::collections::BTreeMap;

use bulla_build::assemble::{Attached, Joined};
use bulla_evidence::statement;
use bulla_model::{
    Digest,
    oci::{self, Descriptor, Manifest, Referrer},
};
use bulla_store::Store;

use super::Piece;
use crate::error::Result;

/// The annotation that says what a statement which nobody signed states, as BuildKit has it.
const PREDICATE: &str = "in-toto.io/predicate-type";

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
    let config = Descriptor::new(oci::EMPTY, store.put_blob(b"{}")?, 2);
    let layer = Descriptor::new(statement::MEDIA_TYPE, piece.digest, piece.size);
    let mut manifest = Manifest::new(config.clone(), vec![layer.clone()]);
    manifest.artifact_type = Some(statement::MEDIA_TYPE.to_owned());
    manifest.subject = Some(Descriptor::new(&subject.media_type, subject.digest, subject.size));
    manifest.annotations.insert(PREDICATE.to_owned(), piece.predicate_type.clone());
    let bytes = oci::encode(&manifest);
    store.put_blob(&bytes)?;
    let entry = Referrer::read(oci::MANIFEST, &bytes).expect("it was just made, with a subject").entry;
    Ok(Attached { subject: subject.digest, entry, blobs: vec![config, layer] })
}

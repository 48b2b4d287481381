//! Manifests by which statements refer to an image, in the store: signed where there is a key.

use std::collections::BTreeMap;

use bulla_build::assemble::{Attached, Joined};
use bulla_evidence::{
    Statement, Subject,
    bundle::{self, BUNDLE},
    carrier::{self, CONFIG, CONTENT, IN_TOTO_PREDICATE, PREDICATE},
    image::SIGNS,
    key::PrivateKey,
    statement::{self, MAX_STATEMENT},
};
use bulla_model::{
    Digest,
    oci::{self, Descriptor},
};
use bulla_store::Store;

use super::Piece;
use crate::{error::Result, ops::evidence::EvidenceError};

/// Makes a manifest for each statement and each thing that it is about; with a key also for the signature of each thing.
///
/// # Errors
/// When the store cannot be read or written, or the key does not sign.
pub(super) fn all(store: &Store, image: &Joined, pieces: &[Piece], key: Option<&PrivateKey>) -> Result<Vec<Attached>> {
    let manifests = image.parts.iter().map(|part| &part.manifest);
    let subjects: BTreeMap<Digest, &Descriptor> =
        manifests.chain([&image.index]).map(|entry| (entry.digest, entry)).collect();
    let mut all = Vec::new();
    if let Some(key) = key {
        for subject in subjects.values() {
            let statement = Statement::new(vec![Subject::new(None, &subject.digest)], SIGNS, serde_json::json!({}));
            all.push(one(store, subject, SIGNS, &signed(store, &statement, key)?)?);
        }
    }
    for piece in pieces {
        let layer = match key {
            None => Descriptor::new(statement::MEDIA_TYPE, piece.digest, piece.size),
            Some(key) => {
                let missing = || bulla_build::export::ExportError::Missing { digest: piece.digest };
                let bytes = store.read_blob(&piece.digest, MAX_STATEMENT as u64)?.ok_or_else(missing)?;
                signed(store, &Statement::parse(&bytes).map_err(EvidenceError::Own)?, key)?
            }
        };
        for subject in piece.about.iter().filter_map(|digest| subjects.get(digest)) {
            all.push(one(store, subject, &piece.predicate_type, &layer)?);
        }
    }
    Ok(all)
}

fn signed(store: &Store, statement: &Statement, key: &PrivateKey) -> Result<Descriptor> {
    let bundle = bundle::sign(statement, key).map_err(EvidenceError::Sign)?;
    Ok(Descriptor::new(BUNDLE, store.put_blob(&bundle)?, bundle.len() as u64))
}

fn one(store: &Store, subject: &Descriptor, predicate_type: &str, layer: &Descriptor) -> Result<Attached> {
    let config = Descriptor::new(oci::EMPTY, store.put_blob(CONFIG)?, CONFIG.len() as u64);
    let (entry, manifest) = match layer.media_type == BUNDLE {
        true => carrier::referring(layer, subject, [CONTENT, (PREDICATE, predicate_type)], None),
        false => carrier::referring(layer, subject, [(IN_TOTO_PREDICATE, predicate_type)], None),
    };
    store.put_blob(&manifest)?;
    Ok(Attached { subject: subject.digest, entry, blobs: vec![config, layer.clone()] })
}

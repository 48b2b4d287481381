//! Manifests by which statements refer to an image, in the store: signed where there is a key.

use std::collections::{BTreeMap, BTreeSet};

use bulla_build::assemble::{Attached, Joined};
use bulla_evidence::{
    Statement, Subject,
    bundle::BUNDLE,
    carrier::{self, CONFIG, CONTENT, IN_TOTO_PREDICATE, PREDICATE},
    image::SIGNS,
    statement::{self, MAX_STATEMENT},
};
use bulla_model::{
    Digest,
    oci::{self, Descriptor},
};
use bulla_store::Store;

use super::{FORMAT, Piece};
use crate::{
    error::Result,
    ops::{
        evidence::EvidenceError,
        keyless::{Seal, Signing},
    },
    session::Session,
};

/// Makes a manifest for each statement and each thing that it is about; where it is signed also for the signature of each thing. What was made of the
/// same once is found again: an unchanged build writes and signs nothing.
///
/// # Errors
/// When the store cannot be read or written, or what signs does not.
pub(super) fn all(
    session: &Session,
    store: &Store,
    image: &Joined,
    pieces: &[Piece],
    sign: Option<&Signing>,
) -> Result<Vec<Attached>> {
    let manifests = image.parts.iter().map(|part| &part.manifest);
    let subjects: BTreeMap<Digest, &Descriptor> =
        manifests.chain([&image.index]).map(|entry| (entry.digest, entry)).collect();
    let known = ("attached", FORMAT, subjects.keys().collect::<Vec<_>>(), pieces, sign.map(Signing::name));
    let known = Digest::of(oci::encode(&known));
    let earlier = store.result(&known)?.and_then(|json| serde_json::from_slice::<Vec<Attached>>(&json).ok());
    if let Some(earlier) = earlier
        && is_there(store, &earlier)?
    {
        return Ok(earlier);
    }
    let seal = sign.map(|sign| sign.seal(session)).transpose()?;
    let config = Descriptor::new(oci::EMPTY, store.put_blob(CONFIG)?, CONFIG.len() as u64);
    let mut all = Vec::new();
    if let Some(seal) = &seal {
        for subject in subjects.values() {
            let statement = Statement::new(vec![Subject::new(None, &subject.digest)], SIGNS, serde_json::json!({}));
            all.push(one(store, subject, SIGNS, [&config, &signed(store, &statement, &subject.digest, seal)?])?);
        }
    }
    for piece in pieces {
        let layer = match (&seal, piece.about.first()) {
            (None, _) | (_, None) => Descriptor::new(statement::MEDIA_TYPE, piece.digest, piece.size),
            (Some(seal), Some(about)) => {
                let missing = || bulla_build::export::ExportError::Missing { digest: piece.digest };
                let bytes = store.read_blob(&piece.digest, MAX_STATEMENT as u64)?.ok_or_else(missing)?;
                signed(store, &Statement::parse(&bytes).map_err(EvidenceError::Own)?, about, seal)?
            }
        };
        for subject in piece.about.iter().filter_map(|digest| subjects.get(digest)) {
            all.push(one(store, subject, &piece.predicate_type, [&config, &layer])?);
        }
    }
    store.put_result(&known, &oci::encode(&all))?;
    Ok(all)
}

/// Says whether all blobs are still there.
fn is_there(store: &Store, attached: &[Attached]) -> Result<bool> {
    let blobs = attached.iter().flat_map(|one| one.blobs.iter().chain([&one.entry]));
    let digests: BTreeSet<Digest> = blobs.map(|blob| blob.digest).collect();
    for digest in digests {
        if !store.has_blob(&digest)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn signed(store: &Store, statement: &Statement, about: &Digest, seal: &Seal) -> Result<Descriptor> {
    let bundle = seal.statement(statement, about)?;
    Ok(Descriptor::new(BUNDLE, store.put_blob(&bundle)?, bundle.len() as u64))
}

fn one(
    store: &Store,
    subject: &Descriptor,
    predicate_type: &str,
    [config, layer]: [&Descriptor; 2],
) -> Result<Attached> {
    let (entry, manifest) = match layer.media_type == BUNDLE {
        true => carrier::referring(layer, subject, [CONTENT, (PREDICATE, predicate_type)], None),
        false => carrier::referring(layer, subject, [(IN_TOTO_PREDICATE, predicate_type)], None),
    };
    store.put_blob(&manifest)?;
    Ok(Attached { subject: subject.digest, entry, blobs: vec![config.clone(), layer.clone()] })
}

//! What was signed, once more in the form that cosign had before bundles: many admission controllers read no other.

use bulla_build::assemble::{Attached, Joined};
use bulla_evidence::{
    Statement,
    bundle::{BUNDLE, Bundle, Content, MAX_BUNDLE},
    image::SIGNS,
    key::{Signer, elsewhere::Again},
    simple,
    verify::TrustedKey,
};
use bulla_model::oci::Reference;
use bulla_store::Store;

use crate::{
    error::Result,
    ops::{
        evidence::{EvidenceError, Image, Published, put, signatures},
        transfer::{Beside, Place},
    },
    session::Session,
};

/// Puts the signatures and statements that refer to an image beside it in a registry, and reads them back.
///
/// # Errors
/// When the registry does not take them, or does not have them afterwards.
pub(crate) fn put_beside(
    session: &Session,
    store: &Store,
    image: &Joined,
    reference: &Reference,
    key: &dyn Signer,
) -> Result<()> {
    let place = Place::Registry(reference.pinned(image.index.digest));
    let again = Again::new(key, signatures(session, &Image::open(session, &place)?, key)?);
    let mut published = Published::default();
    for attached in image.attached.iter().filter(|one| one.entry.artifact_type.as_deref() == Some(BUNDLE)) {
        let Some(statement) = statement(store, attached)? else { continue };
        let (what, layer) = match statement.predicate_type.as_str() {
            SIGNS => (Beside::Signatures, simple::sign(&reference.name(), &attached.subject, &again)),
            _ => (Beside::Attestations, simple::attest(&statement, &again)),
        };
        published.legacy.push((what, attached.subject, layer.map_err(EvidenceError::Sign)?));
    }
    let keys = [TrustedKey { name: String::new(), key: key.public().clone() }];
    put(session, &place, &published, &keys)
}

/// Reads a statement out of the bundle that was made of it.
fn statement(store: &Store, attached: &Attached) -> Result<Option<Statement>> {
    let Some(layer) = attached.blobs.iter().find(|blob| blob.media_type == BUNDLE) else { return Ok(None) };
    let Some(bytes) = store.read_blob(&layer.digest, MAX_BUNDLE as u64)? else { return Ok(None) };
    let Ok(Bundle { content: Content::Envelope(envelope), .. }) = Bundle::parse(&bytes, MAX_BUNDLE) else {
        return Ok(None);
    };
    Ok(envelope.payload().ok().and_then(|payload| Statement::parse(&payload).ok()))
}

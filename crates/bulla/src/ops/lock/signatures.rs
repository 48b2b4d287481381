//! Looks for a signature of an image by a key: under the tag that cosign gives to it, and among what refers to the image; in
//! registries and in layouts.

use std::collections::BTreeSet;

use bulla_evidence::{
    bundle::{BUNDLE, BUNDLES},
    carrier,
    image::{self, ImageSignatureError},
    key::PublicKey,
    simple,
};
use bulla_model::{
    Digest,
    lock::Signed,
    oci::{self, Descriptor, Manifest},
};
use bulla_net::NetError;
use bulla_store::Store;

use crate::{
    error::Result,
    ops::{
        fetch::Sink,
        transfer::{Beside, Source},
    },
    session::Session,
};

/// How many manifests are looked into for signatures of an image, and how many signatures are tried.
const MAX_SIGNATURES: usize = 100;

/// What may be a signature.
enum Candidate {
    /// A document, and the signature of it.
    Simple(Descriptor, String),
    /// A bundle.
    Bundle(Descriptor),
}

/// What came of looking for a signature.
pub(super) enum Found {
    /// A good one.
    Good(Signed),
    /// None; with what was wrong with one that was there.
    None(Option<ImageSignatureError>),
}

/// Looks for a signature of an image by a key. Where the image has a name, a signature that has one must have the same.
///
/// # Errors
/// When what may be a signature cannot be read.
pub(super) fn find(
    (session, store): (&Session, &Store),
    source: &dyn Source,
    (name, digest): (Option<&str>, &Digest),
    key: &PublicKey,
) -> Result<Found> {
    let mut problem: Option<ImageSignatureError> = None;
    for candidate in candidates(source, digest)? {
        session.interrupt.check()?;
        let tried = match &candidate {
            Candidate::Simple(layer, signature) => read(store, source, layer, simple::MAX_PAYLOAD)?
                .and_then(|payload| image::verify_document(key, (&payload, signature), name, digest))
                .map(|()| Signed::Payload(layer.digest)),
            Candidate::Bundle(layer) => read(store, source, layer, image::MAX_BUNDLE)?
                .and_then(|bytes| image::verify_bundle(key, &bytes, digest))
                .map(|()| Signed::Bundle(layer.digest)),
        };
        match tried {
            Ok(signed) => return Ok(Found::Good(signed)),
            Err(error) if problem.as_ref().is_some_and(|known| known.weight() > error.weight()) => {}
            Err(error) => problem = Some(error),
        }
    }
    Ok(Found::None(problem))
}

/// Gives what may be signatures of an image, each once.
fn candidates(source: &dyn Source, digest: &Digest) -> Result<Vec<Candidate>> {
    let mut manifests = source.beside(digest, Beside::Signatures)?;
    manifests.truncate(MAX_SIGNATURES);
    let mut referring: Vec<(u8, Descriptor)> =
        source.referrers(digest)?.into_iter().filter_map(|entry| Some((rank(&entry)?, entry))).collect();
    referring.sort_by_key(|(rank, _)| *rank);
    for (_, entry) in referring.into_iter().take(MAX_SIGNATURES) {
        manifests.extend(source.listed(&entry)?.map(|(_, bytes)| bytes));
    }
    let mut seen = BTreeSet::new();
    manifests.retain(|bytes| seen.insert(Digest::of(bytes)));
    // What is no manifest is no signature either.
    let read = manifests.iter().filter_map(|bytes| serde_json::from_slice::<Manifest>(bytes).ok());
    Ok(read.flat_map(|manifest| manifest.layers).filter_map(candidate).take(MAX_SIGNATURES).collect())
}

fn candidate(layer: Descriptor) -> Option<Candidate> {
    match layer.media_type.as_str() {
        simple::PAYLOAD => {
            let signature = layer.annotations.get(simple::SIGNATURE)?.clone();
            Some(Candidate::Simple(layer, signature))
        }
        media_type if media_type.starts_with(BUNDLES) => Some(Candidate::Bundle(layer)),
        _ => None,
    }
}

/// Says how likely it is that something which refers to an image is a signature: the least is looked at first, and `None` not at
/// all. An image that is scanned each day has more bundles than are tried.
fn rank(entry: &Descriptor) -> Option<u8> {
    let states = entry.annotations.get(carrier::PREDICATE).map(String::as_str);
    match entry.artifact_type.as_deref() {
        Some(simple::ARTIFACT) => Some(0),
        Some(BUNDLE) if states == Some(image::SIGNS) => Some(0),
        Some(BUNDLE) if states.is_none() => Some(1),
        // What wrote the list of the tag that stands for the interface did not know the kind: cosign does so.
        None | Some(oci::EMPTY) => Some(2),
        Some(kind) if kind.starts_with(BUNDLES) => Some(3),
        Some(_) => None,
    }
}

/// Brings a signed document into the store, where it stays with the image.
fn read(
    store: &Store,
    source: &dyn Source,
    layer: &Descriptor,
    most: u64,
) -> Result<Result<Vec<u8>, ImageSignatureError>> {
    if layer.size > most {
        return Ok(Err(ImageSignatureError::TooLarge { size: layer.size, most }));
    }
    if !store.has_blob(&layer.digest)? {
        let mut sink = Sink::open(store, &layer.digest)
            .map_err(|source| NetError::Sink { url: layer.digest.to_string(), source })?;
        source.save(layer, &mut sink, &|_| ())?;
    }
    Ok(Ok(store.read_blob(&layer.digest, most)?.unwrap_or_default()))
}

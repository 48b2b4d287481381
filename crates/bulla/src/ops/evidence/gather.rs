//! Finds what lies beside an image and may be evidence of it. All of it is a stranger's: counts and sizes are bounded, and what cannot be read
//! is said to be so.

use std::collections::BTreeSet;

use bulla_evidence::{
    bundle::{BUNDLES, MAX_BUNDLE},
    carrier, image,
    key::Signer,
    simple, statement,
    verify::{About, Claim, Content, Piece, Verdict},
};
use bulla_model::{
    Digest, Hasher,
    oci::{self, Descriptor, Manifest, Referrer},
};
use bulla_net::{DownloadSink, Finish, SinkError};

use super::Image;
use crate::{
    error::Result,
    ops::transfer::{Beside, Source},
    session::Session,
};

/// The most manifests that are looked into for each subject.
const MAX_MANIFESTS: usize = 256;
/// The most pieces of each subject.
const MAX_PIECES: usize = 512;
/// The most bytes of all pieces together.
const MAX_TOTAL: u64 = 1 << 30;

/// Finds the evidence that lies beside an image and beside each of its platforms, each piece once.
///
/// # Errors
/// When what is there cannot be listed.
pub(crate) fn pieces(session: &Session, image: &Image) -> Result<Vec<Piece>> {
    let mut left = MAX_TOTAL;
    let mut found = Vec::new();
    for subject in image.subjects() {
        session.interrupt.check()?;
        let mut seen = BTreeSet::new();
        for layer in layers(&*image.source, &subject.digest)?.into_iter().take(MAX_PIECES) {
            let signature = layer.annotations.get(simple::SIGNATURE).cloned();
            if seen.insert((layer.digest, signature)) {
                session.interrupt.check()?;
                let content = content_of(&*image.source, &layer, &mut left);
                found.push(Piece { subject: subject.digest, content });
            }
        }
    }
    Ok(found)
}

/// Gives the signatures that lie beside an image already, for a key that would sign otherwise each time.
///
/// # Errors
/// When what is there cannot be listed.
pub(crate) fn signatures(session: &Session, image: &Image, key: &dyn Signer) -> Result<Vec<(Digest, Vec<u8>)>> {
    let found = if key.repeats() { Vec::new() } else { pieces(session, image)? };
    Ok(found.iter().flat_map(|piece| piece.content.signatures()).collect())
}

/// Lists the layers of all manifests that may have evidence of a subject.
fn layers(source: &dyn Source, subject: &Digest) -> Result<Vec<Descriptor>> {
    let mut manifests = Vec::new();
    let mut entries: Vec<Descriptor> = source.referrers(subject)?.into_iter().filter(may_be).collect();
    // An image that is scanned each day has more statements than are looked into, and one signature.
    let signs =
        |entry: &Descriptor| entry.annotations.get(carrier::PREDICATE).is_some_and(|states| states == image::SIGNS);
    entries.sort_by_key(|entry| !signs(entry));
    for entry in entries.into_iter().take(MAX_MANIFESTS) {
        if let Some((entry, bytes)) = source.listed(&entry)? {
            // What is listed may refer to something else.
            if Referrer::read(&entry.media_type, &bytes).is_some_and(|referrer| referrer.subject == *subject) {
                manifests.push(bytes);
            }
        }
    }
    for what in [Beside::Signatures, Beside::Attestations] {
        manifests.extend(source.beside(subject, what)?);
    }
    let read = manifests.iter().filter_map(|bytes| serde_json::from_slice::<Manifest>(bytes).ok());
    Ok(read.flat_map(|manifest| manifest.layers).filter(|layer| is_evidence(&layer.media_type)).collect())
}

/// Says whether something that refers to an image may be evidence that is known here.
fn may_be(entry: &Descriptor) -> bool {
    match entry.artifact_type.as_deref() {
        // What wrote the list of the tag that stands for the interface did not know the kind: cosign does so.
        None | Some(oci::EMPTY | oci::CONFIG) => true,
        Some(kind) => is_evidence(kind) || kind == simple::ARTIFACT,
    }
}

fn is_evidence(media_type: &str) -> bool {
    media_type.starts_with(BUNDLES) || [statement::MEDIA_TYPE, simple::PAYLOAD, simple::ENVELOPE].contains(&media_type)
}

fn content_of(source: &dyn Source, layer: &Descriptor, left: &mut u64) -> Content {
    let most = match layer.media_type.as_str() {
        simple::PAYLOAD => simple::MAX_PAYLOAD,
        _ => MAX_BUNDLE as u64,
    };
    if layer.size > most.min(*left) {
        return Content::Unread(format!("it has {} bytes, which is more than is read", layer.size));
    }
    *left -= layer.size;
    let mut memory = Memory::default();
    if let Err(error) = source.save(layer, &mut memory, &|_| ()) {
        return Content::Unread(format!("it cannot be read: {}", error.error));
    }
    let keyless = layer.annotations.contains_key(simple::CERTIFICATE);
    match layer.media_type.as_str() {
        simple::PAYLOAD => {
            let signature = layer.annotations.get(simple::SIGNATURE).cloned().unwrap_or_default();
            Content::Document { payload: memory.bytes, signature, keyless }
        }
        simple::ENVELOPE => Content::Envelope { bytes: memory.bytes, keyless },
        statement::MEDIA_TYPE => Content::Statement(memory.bytes),
        _ => Content::Bundle(memory.bytes),
    }
}

/// Reads a document of an image; `None` where it is too long, or not there.
pub(crate) fn small(source: &dyn Source, blob: &Descriptor) -> Option<Vec<u8>> {
    let mut memory = Memory::default();
    let is_small = blob.size <= oci::MAX_MANIFEST;
    is_small.then(|| source.save(blob, &mut memory, &|_| ()).ok()).flatten().map(|()| memory.bytes)
}

/// A blob that is brought into memory; how long it may be was looked at before.
#[derive(Default)]
struct Memory {
    bytes: Vec<u8>,
    hasher: Hasher,
}

impl DownloadSink for Memory {
    fn have(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        self.bytes.extend_from_slice(bytes);
        self.hasher.update(bytes);
        Ok(())
    }

    fn restart(&mut self) -> Result<(), SinkError> {
        *self = Self::default();
        Ok(())
    }

    fn finish(&mut self, expected: &Digest) -> Result<Finish, SinkError> {
        let actual = self.hasher.clone().finish();
        Ok(if actual == *expected { Finish::Kept } else { Finish::Mismatch(actual) })
    }
}

/// Says whether the bytes of an image are what its digests say. Its manifests were held against theirs when they were read; with `full`
/// all other blobs are read too.
///
/// # Errors
/// When the user stops it.
pub(crate) fn content(session: &Session, image: &Image, full: bool) -> Result<Claim> {
    let claim = |verdict, detail: String, advice: Option<&str>| Claim {
        subject: image.root.digest,
        about: About::Content,
        verdict,
        form: None,
        key: None,
        signed: None,
        detail,
        advice: advice.map(str::to_owned),
    };
    let (manifests, blobs) = (image.graph.manifests.len(), &image.graph.blobs);
    if !full {
        let detail =
            format!("{manifests} manifests are what their digests say; {} other blobs were not fetched", blobs.len());
        return Ok(claim(Verdict::NotChecked, detail, Some("`--full` fetches and hashes them")));
    }
    for blob in blobs {
        session.interrupt.check()?;
        let mut sink = Discarded::default();
        if let Err(error) = image.source.save(blob, &mut sink, &|_| ()) {
            let detail = format!("the blob {} is not what its digest says, or not there: {}", blob.digest, error.error);
            return Ok(claim(Verdict::Failed, detail, Some("get the image again, from where it was signed")));
        }
    }
    let detail = format!("{manifests} manifests and {} other blobs are what their digests say", blobs.len());
    Ok(claim(Verdict::Proven, detail, None))
}

/// A blob that is hashed and not kept.
#[derive(Default)]
struct Discarded(Hasher);

impl DownloadSink for Discarded {
    fn have(&self) -> u64 {
        self.0.length()
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        self.0.update(bytes);
        Ok(())
    }

    fn restart(&mut self) -> Result<(), SinkError> {
        self.0 = Hasher::new();
        Ok(())
    }

    fn finish(&mut self, expected: &Digest) -> Result<Finish, SinkError> {
        let actual = self.0.clone().finish();
        Ok(if actual == *expected { Finish::Kept } else { Finish::Mismatch(actual) })
    }
}

//! Puts evidence beside an image, and reads it back: what is not there afterwards, or does not verify, was not written.

use std::{io::Cursor, path::Path};

use bulla_build::export::Draft;
use bulla_evidence::{
    Statement,
    carrier::{self, Carrier},
    simple::{self, Layer, Tagged},
    verify::{Content, Form, Piece, Trust, Verdict, assess},
};
use bulla_model::{
    Digest,
    oci::{self, Annotations, Descriptor, Reference},
};
use bulla_net::oci::Repository;

use super::{EvidenceError, Image, pieces};
use crate::{
    error::Result,
    ops::{
        keyless::Seal,
        registries,
        transfer::{Beside, Place},
    },
    session::Session,
};

/// What is to lie beside an image.
#[derive(Default)]
pub(crate) struct Published {
    /// Bundles, each with the digest of what it is about.
    pub(crate) carriers: Vec<(Digest, Carrier)>,
    /// What cosign wrote before bundles, each with where it lies and what it is about.
    pub(crate) legacy: Vec<(Beside, Digest, Layer)>,
}

impl Published {
    /// Adds a statement about one thing, signed, as a bundle, in the older form, or in both.
    ///
    /// # Errors
    /// When it is not signed.
    pub(crate) fn attest(
        &mut self,
        statement: &Statement,
        subject: &Descriptor,
        forms: &[Form],
        seal: &Seal,
    ) -> Result<()> {
        if forms.contains(&Form::Bundle) {
            let bundle = seal.statement(statement, &subject.digest)?;
            self.carriers.push((subject.digest, carrier::of_bundle(bundle, &statement.predicate_type, subject, None)));
        }
        if forms.contains(&Form::Legacy) {
            let layer = simple::attest(statement, &seal.of_legacy()?).map_err(EvidenceError::Sign)?;
            self.legacy.push((Beside::Attestations, subject.digest, layer));
        }
        Ok(())
    }
}

/// Puts evidence beside an image, and verifies by what signed it that it is there.
///
/// # Errors
/// When the place does not take it, or does not have it afterwards.
pub(crate) fn put<'a>(
    session: &Session,
    place: &Place,
    published: &Published,
    trust: impl Into<Trust<'a>>,
) -> Result<()> {
    match place {
        Place::Layout(folder, _) => layout(folder, published)?,
        Place::Archive(file, _) => return Err(EvidenceError::Archive(file.clone()).into()),
        Place::Registry(reference) => registry(session, reference, published)?,
    }
    verify(session, place, published, trust.into())
}

fn layout(folder: &Path, published: &Published) -> Result<()> {
    if !published.legacy.is_empty() {
        return Err(EvidenceError::NoTags(format!("the layout {}", folder.display())).into());
    }
    let draft = Draft::open(folder)?;
    let mut entries = Vec::new();
    for (_, carrier) in &published.carriers {
        for (_, bytes) in &carrier.blobs {
            draft.put(bytes)?;
        }
        draft.put(&carrier.manifest)?;
        // Its annotations would be the index's: with them it could take the name of an image.
        entries.push(Descriptor { annotations: Annotations::new(), ..carrier.entry.clone() });
    }
    Ok(draft.refer(&entries)?)
}

fn registry(session: &Session, reference: &Reference, published: &Published) -> Result<()> {
    let repository = registries::client(session)?.repository_to_push(reference)?;
    for (subject, carrier) in &published.carriers {
        session.interrupt.check()?;
        carrier.blobs.iter().try_for_each(|(blob, bytes)| send(&repository, blob, bytes))?;
        let digest = carrier.entry.digest.to_string();
        // Registries that do not list referrers by themselves have a tag for that.
        if !repository.put_manifest(&digest, oci::MANIFEST, &carrier.manifest)? {
            repository.add_referrers(subject, std::slice::from_ref(&carrier.entry))?;
        }
    }
    for (what, subject, (layer, bytes)) in &published.legacy {
        session.interrupt.check()?;
        let tag = what.tag(subject);
        let known = match repository.manifest(&tag) {
            Ok(document) => Some(document.bytes),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error.into()),
        };
        let added =
            simple::add(known.as_deref(), layer).map_err(|source| EvidenceError::Tag { tag: tag.clone(), source })?;
        if let Some(Tagged { manifest, config }) = added {
            send(&repository, layer, bytes)?;
            let described = Descriptor::new(oci::CONFIG, Digest::of(&config), config.len() as u64);
            send(&repository, &described, &config)?;
            repository.put_manifest(&tag, oci::MANIFEST, &manifest)?;
        }
    }
    Ok(())
}

fn send(repository: &Repository, blob: &Descriptor, bytes: &[u8]) -> Result<()> {
    if !repository.has_blob(blob)? {
        repository.upload(blob, repository.begin()?, &mut Cursor::new(bytes), &|_| ())?;
    }
    Ok(())
}

/// Reads back what was put, as whoever verifies it later will find it.
fn verify(session: &Session, place: &Place, published: &Published, trust: Trust<'_>) -> Result<()> {
    let found = pieces(session, &Image::open(session, place)?)?;
    let check = |subject: Digest, content: Content| {
        let piece = Piece { subject, content };
        let claim = assess(&piece, trust).claim;
        if found.contains(&piece) && claim.verdict == Verdict::Proven {
            return Ok(());
        }
        Err(EvidenceError::ReadBack { subject, what: claim.detail })
    };
    for (subject, carrier) in &published.carriers {
        let bundle = carrier.blobs.last().map(|(_, bytes)| bytes.clone()).unwrap_or_default();
        check(*subject, Content::Bundle(bundle))?;
    }
    for (what, subject, (layer, bytes)) in &published.legacy {
        check(
            *subject,
            match what {
                Beside::Signatures => Content::Document {
                    payload: bytes.clone(),
                    signature: layer.annotations.get(simple::SIGNATURE).cloned().unwrap_or_default(),
                    keyless: false,
                },
                Beside::Attestations => Content::Envelope { bytes: bytes.clone(), keyless: false },
            },
        )?;
    }
    Ok(())
}

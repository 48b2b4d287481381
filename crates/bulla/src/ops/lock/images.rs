//! Pins the images that a spec starts from: what a reference leads to now, by digest.

use std::{collections::BTreeMap, time::Instant};

use bulla_build::event::{Activity, ActivityId, Ending, Event};
use bulla_evidence::{
    image::ImageSignatureError,
    key::{KeyError, MAX_KEY, PublicKey},
};
use bulla_model::{
    CleanPath, Digest, Fault, Kind, Platform,
    lock::{ImageKey, ImagePin, ImageSignature, Lock},
    oci::{self, BaseReference, Index, PlatformFields},
};

use super::{
    Update, keys,
    signatures::{self, Found},
};
use crate::{
    error::Result,
    ops::{self, project::Project, registries::Bases},
    session::Session,
};

/// An image that nothing can start from.
#[derive(Debug, thiserror::Error)]
enum ImageError {
    #[error("the image {reference} is not for {platform}")]
    Platform { reference: BaseReference, platform: Platform },
    #[error("the index of the image {reference} is not a document of the OCI image specification")]
    Index { reference: BaseReference, source: serde_json::Error },
    #[error("the keys of the image, {file}, {problem}")]
    KeyFile { file: CleanPath, problem: &'static str },
    #[error("reading the key {file}")]
    Key { file: CleanPath, source: KeyError },
    #[error("the image {reference} has no signature by the key {file}")]
    NotSigned { reference: BaseReference, file: CleanPath, source: Option<ImageSignatureError> },
}

impl Fault for ImageError {
    fn kind(&self) -> Kind {
        match self {
            Self::Platform { .. } | Self::KeyFile { .. } | Self::Key { .. } => Kind::Spec,
            Self::Index { .. } | Self::NotSigned { .. } => Kind::Integrity,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::NotSigned { source: None, .. } => vec!["`cosign sign --key KEY` makes one".into()],
            Self::NotSigned { source: Some(error), .. } if error.is_of_another_kind() => {
                vec!["signatures by a key alone are verified: `cosign sign --key KEY` makes one".into()]
            }
            Self::NotSigned { .. } => vec!["do not use the image before you know who signed it, and as what".into()],
            _ => Vec::new(),
        }
    }
}

/// Gives the pins of all images that the spec starts from: those of the old lock where they may stay, else what the registries
/// say now.
pub(super) fn resolve(
    session: &Session,
    project: &Project,
    old: Option<&Lock>,
    update: &Update,
) -> Result<BTreeMap<ImageKey, ImagePin>> {
    let mut pins: BTreeMap<ImageKey, ImagePin> = BTreeMap::new();
    let mut known_bases = None;
    for (reference, platform) in project.spec.base_images() {
        session.interrupt.check()?;
        let key = ImageKey::new(reference, platform);
        let known = old.and_then(|lock| lock.images.get(&key)).filter(|_| !moves(reference, update));
        let signer = project.spec.image_keys.get(reference);
        if let Some(pin) = known.filter(|pin| pin.signature.as_ref().map(|signature| &signature.key) == signer) {
            pins.insert(key, pin.clone());
            continue;
        }
        let bases = match known_bases.take() {
            Some(bases) => bases,
            None => Bases::new(session, project)?,
        };
        // All platforms are those of one image.
        let of_others = pins.iter().find(|(other, _)| other.reference == *reference).map(|(_, pin)| pin.digest);
        let in_lock = || {
            let all = old.iter().flat_map(|lock| &lock.images);
            all.into_iter().find(|(other, _)| other.reference == *reference).map(|(_, pin)| pin.digest)
        };
        let index = of_others.or_else(|| in_lock().filter(|_| !moves(reference, update)));
        // Another key is no reason to take another image.
        let mut pin = match known {
            Some(pin) => pin.clone(),
            None => told(session, &bases, &key, index)?,
        };
        let signed = |key| signed(session, project, &bases, reference, &pin.digest, key);
        pin.signature = signer.map(signed).transpose()?;
        known_bases = Some(bases);
        pins.insert(key, pin);
    }
    Ok(pins)
}

/// Says whether a name of `bulla lock --update NAME` means an image.
pub(super) fn is_meant(reference: &BaseReference, name: &str) -> bool {
    BaseReference::parse(name).is_ok_and(|named| named == *reference) || reference.name() == name
}

fn moves(reference: &BaseReference, update: &Update) -> bool {
    match update {
        Update::Nothing => false,
        Update::Everything => true,
        Update::Packages(names) => names.iter().any(|name| is_meant(reference, name)),
    }
}

fn told(session: &Session, bases: &Bases, key: &ImageKey, index: Option<Digest>) -> Result<ImagePin> {
    let observer = session.observer();
    let (id, start) = (ActivityId::fresh(), Instant::now());
    let title = format!("lock: image {key}");
    observer.event(&Event::Started { id, activity: Activity::Lock, title: &title });
    let pinned = pin(bases, key, index);
    let ending = if pinned.is_ok() { Ending::Done } else { Ending::Failed };
    observer.event(&Event::Finished { id, ending, took: start.elapsed() });
    pinned
}

fn pin(bases: &Bases, key: &ImageKey, index: Option<Digest>) -> Result<ImagePin> {
    let ImageKey { reference, platform } = key;
    let source = bases.open(reference, reference.digest().or(index))?;
    let (top, bytes) = source.root()?;
    let digest = top.digest;
    if ![oci::INDEX, oci::DOCKER_INDEX].contains(&top.media_type.as_str()) {
        return Ok(ImagePin { digest, manifest: digest, size: top.size, signature: None });
    }
    let index: Index =
        serde_json::from_slice(&bytes).map_err(|source| ImageError::Index { reference: reference.clone(), source })?;
    let wanted = PlatformFields::from(*platform);
    // What a processor has without a variant.
    let usual = match platform {
        Platform::LinuxAmd64 => "v1",
        Platform::LinuxArm64 => "v8",
    };
    let fits = |platform: &PlatformFields| {
        (&platform.os, &platform.architecture) == (&wanted.os, &wanted.architecture)
            && platform.variant.as_deref().is_none_or(|variant| variant == usual)
    };
    let found = index.manifests.into_iter().find(|entry| entry.platform.as_ref().is_some_and(fits));
    let found = found.ok_or_else(|| ImageError::Platform { reference: reference.clone(), platform: *platform })?;
    // Fetched already here: a lock names no manifest that nobody has seen.
    let manifest = source.manifest(&found)?;
    Ok(ImagePin { digest, manifest: found.digest, size: manifest.len() as u64, signature: None })
}

/// Looks for a signature of an image by the key that the spec names.
fn signed(
    session: &Session,
    project: &Project,
    bases: &Bases,
    reference: &BaseReference,
    digest: &Digest,
    file: &CleanPath,
) -> Result<ImageSignature> {
    let fail = |problem| ImageError::KeyFile { file: file.clone(), problem };
    let bytes = keys::read(project, file, MAX_KEY, fail)?;
    let key = PublicKey::parse(&bytes).map_err(|source| ImageError::Key { file: file.clone(), source })?;
    let store = ops::store::open(session)?;
    let source = bases.open(reference, Some(*digest))?;
    let name = reference.signed_name();
    match signatures::find((session, &store), &*source, (name.as_deref(), digest), &key)? {
        Found::Good(signed) => Ok(ImageSignature { key: file.clone(), signed_by: key.digest(), signed }),
        Found::None(problem) => {
            Err(ImageError::NotSigned { reference: reference.clone(), file: file.clone(), source: problem }.into())
        }
    }
}

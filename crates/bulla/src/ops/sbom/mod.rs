//! Lists of what images are made of: reads their layers once, and puts together what is in them and what the store knows of the build.

mod image;
mod layers;

use bulla_build::{assemble::Assembled, run::ownership_of};
use bulla_evidence::sbom::{self, Bom, Format};
use bulla_model::{
    Digest, Platform,
    oci::{self, Descriptor},
};
use bulla_store::Store;
use serde::Serialize;

use self::image::Found;
pub(crate) use self::image::SbomError;
use super::transfer::Source;
use crate::{error::Result, session::Session};

/// What decides the bytes of a document.
#[derive(Serialize)]
struct Key<'a> {
    sbom: &'static str,
    version: &'static str,
    inventory: u32,
    manifest: &'a Digest,
    ownership: Option<Digest>,
}

/// Makes the list of an image that this store built, and keeps the document as a blob: it is made once for the same image and owners. Gives
/// its digest, and how many files have no owner.
///
/// # Errors
/// When a layer is missing or not what it should be, or the store cannot be written.
pub(crate) fn of_build(store: &Store, image: &Assembled, format: Format) -> Result<(Digest, u64)> {
    let key = Key {
        sbom: format.name(),
        version: sbom::VERSION,
        inventory: bulla_evidence::inventory::FORMAT,
        manifest: &image.manifest.digest,
        ownership: image.ownership,
    };
    let key = Digest::of(oci::encode(&key));
    let known = store.result(&key)?.and_then(|bytes| serde_json::from_slice::<(Digest, u64)>(&bytes).ok());
    if let Some((digest, unowned)) = known
        && store.has_blob(&digest)?
    {
        return Ok((digest, unowned));
    }
    let found = Found::of_store(store, &image.manifest)?;
    let bom = compose(store, found, &|blob| {
        let file = store.open_blob(&blob.digest)?.ok_or(SbomError::Missing { digest: blob.digest })?;
        Ok(Box::new(file))
    })?;
    let made = (store.put_blob(&bom.write(format))?, bom.unowned());
    store.put_result(&key, &oci::encode(&made))?;
    Ok(made)
}

/// Makes the list of an image, by whomever it was built. Where this store built it, every file has an owner.
///
/// # Errors
/// When the image is not whole, is for several platforms of which none was chosen, or its layers cannot be read.
pub(crate) fn of_source(session: &Session, source: &dyn Source, platform: Option<Platform>) -> Result<Bom> {
    let store = super::store::open(session)?;
    let found = Found::of_source(source, platform)?;
    compose(&store, found, &|blob| Ok(Box::new(source.open(blob)?)))
}

/// Reads what the layers of an image for one platform show by themselves, whatever the store knows of the build.
///
/// # Errors
/// When the image is not whole, or its layers cannot be read.
pub(crate) fn of_manifest(session: &Session, source: &dyn Source, manifest: (&Descriptor, &[u8])) -> Result<Bom> {
    let store = super::store::open(session)?;
    let found = Found::of_manifest(source, manifest)?;
    let contents = layers::read_all(&store, &found, &|blob| Ok(Box::new(source.open(blob)?)))?;
    Ok(sbom::compose(found.subject(false), &contents, None))
}

fn compose(store: &Store, found: Found, open: layers::Open<'_>) -> Result<Bom> {
    let contents = layers::read_all(store, &found, open)?;
    let built = ownership_of(store, &found.descriptor.digest)?;
    Ok(sbom::compose(found.subject(built.is_some()), &contents, built.as_ref()))
}

//! Holds the lists that are stated of an image against what its own layers show.

use std::collections::BTreeMap;

use bulla_evidence::{
    sbom::Bom,
    verify::{Assessed, Shown, consistency, is_list},
};
use bulla_model::Digest;

use super::Image;
use crate::{
    error::Result,
    ops::{
        registries, sbom, store,
        transfer::{Place, RegistrySource, Source},
    },
    session::Session,
};

const FETCH: &str = "`--full` fetches the layers and looks";

/// What was seen of the layers of a manifest, or why nothing was.
type Seen = Result<Bom, (String, &'static str)>;

/// Says of each list of what the image is made of whether it is as the image is. The layers of a registry are fetched with `full` alone.
///
/// # Errors
/// When the user stops it. Layers that cannot be read are said not to be.
pub(crate) fn consistent(
    session: &Session,
    place: &Place,
    image: &Image,
    assessed: &[Assessed],
    full: bool,
) -> Result<Vec<Assessed>> {
    let mut seen = BTreeMap::<Digest, Seen>::new();
    let mut found = Vec::new();
    for list in assessed.iter().filter(|one| is_list(one)) {
        session.interrupt.check()?;
        let about = about(image, list.claim.subject);
        let shown = seen.entry(about).or_insert_with(|| look(session, place, image, &about, full));
        session.interrupt.check()?;
        let shown = match shown {
            Ok(bom) => Shown::Image(bom),
            Err((why, advice)) => Shown::Unseen { why, advice },
        };
        found.extend(consistency(list, shown));
    }
    Ok(found)
}

/// Gives the manifest that a list is about: that of an index with one.
fn about(image: &Image, subject: Digest) -> Digest {
    match image.platforms.as_slice() {
        [only] if subject == image.root.digest => only.digest,
        _ => subject,
    }
}

/// Looks at the layers of a manifest.
fn look(session: &Session, place: &Place, image: &Image, about: &Digest, full: bool) -> Seen {
    if image.platforms.len() > 1 && *about == image.root.digest {
        let why = "it is of an image for several platforms, whose files differ".to_owned();
        return Err((why, "ask for a list of each platform's manifest"));
    }
    if matches!(place, Place::Registry(_)) && !full {
        return Err(("its layers were not fetched".to_owned(), FETCH));
    }
    let manifest = image.graph.manifests.iter().find(|(entry, _)| entry.digest == *about);
    let Some((entry, bytes)) = manifest else {
        return Err(("its manifest is not there".to_owned(), FETCH));
    };
    let read = || -> Result<Bom> {
        let own: Box<dyn Source>;
        let source = match place {
            // Layers lie in the store's folder while they are read.
            Place::Registry(reference) => {
                let scratch = store::open(session)?.scratch("verify")?;
                own = Box::new(RegistrySource::open(&registries::client(session)?, reference, Some(scratch))?);
                &*own
            }
            Place::Layout(..) | Place::Archive(..) => &*image.source,
        };
        sbom::of_manifest(session, source, (entry, bytes))
    };
    read().map_err(|error| {
        (format!("its layers cannot be read: {}", error.error), "see whether it is an image of files at all")
    })
}

//! Images of OCI layouts and oci-archives, and what refers to them there.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::OnceLock,
};

use bulla_build::inspect;
use bulla_model::{
    Digest,
    lock::ImagePin,
    oci::{self, Descriptor, Index, Referrer},
};
use bulla_net::oci::{BlobSource, fallback_tag};
use serde::Deserialize;

use super::{Beside, Source, TransferError};
use crate::error::Result;

/// The most entries of a layout's index that are looked into for what they refer to.
const MAX_ENTRIES: usize = 4096;
/// The most blobs of a layout that are looked into, and the most bytes of each.
const MAX_BLOBS: (usize, u64) = (4096, 16 << 10);
/// The annotation by which `cosign save` says what something in a layout is.
const SAVED: &str = "kind";
/// What cosign calls the signatures and the attestations that it saves beside an image.
const SAVED_BESIDE: [&str; 2] = ["dev.cosignproject.cosign/sigs", "dev.cosignproject.cosign/atts"];

/// An image of an OCI layout directory or oci-archive.
#[derive(Debug)]
pub(crate) struct LayoutSource {
    place: inspect::Place,
    root: Descriptor,
    index: Index,
    /// What the layout's index names that refers to something, by that.
    referrers: OnceLock<BTreeMap<Digest, Vec<Descriptor>>>,
}

/// What a manifest says of itself.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    media_type: Option<String>,
}

impl LayoutSource {
    /// Opens a layout, and finds the image with a digest in it; without one, does as [`LayoutSource::open`].
    pub(crate) fn open_as(path: &Path, name: Option<&str>, digest: Option<Digest>) -> Result<Self> {
        let Some(digest) = digest else { return Self::open(path, name) };
        let place = inspect::Place::open(path)?;
        let index = place.index()?;
        let found = index.manifests.iter().find(|entry| entry.digest == digest);
        let Some(found) = found else {
            return Err(
                TransferError::NoImage { place: path.display().to_string(), name: Some(digest.to_string()) }.into()
            );
        };
        let root = Descriptor::new(&found.media_type, digest, found.size);
        Ok(Self { place, root, index, referrers: OnceLock::new() })
    }

    /// Gives the digest of the image.
    pub(crate) const fn digest(&self) -> Digest {
        self.root.digest
    }

    /// Opens a layout for a manifest of it, wherever in an image that is.
    pub(crate) fn of_manifest(path: &Path, pin: &ImagePin) -> Result<Self> {
        let place = inspect::Place::open(path)?;
        let index = place.index()?;
        let plain = Descriptor::new(oci::MANIFEST, pin.manifest, pin.size);
        let said: Option<Said> = serde_json::from_slice(&place.manifest(&plain)?).ok();
        let media_type = said.and_then(|said| said.media_type);
        let root = Descriptor::new(media_type.as_deref().unwrap_or(oci::MANIFEST), pin.manifest, pin.size);
        Ok(Self { place, root, index, referrers: OnceLock::new() })
    }

    /// Opens a layout, and finds the image in it: the one of the name, or the only one that is none of another's referrers.
    pub(crate) fn open(path: &Path, name: Option<&str>) -> Result<Self> {
        let place = inspect::Place::open(path)?;
        let index = place.index()?;
        let shown = || path.display().to_string();
        let named = |entry: &&Descriptor| {
            name.is_none_or(|name| entry.annotations.get(oci::REF_NAME).is_some_and(|known| known == name))
        };
        let mut seen = BTreeSet::new();
        let mut found: Vec<&Descriptor> =
            index.manifests.iter().filter(named).filter(|entry| seen.insert(entry.digest)).collect();
        if name.is_none() && found.len() > 1 {
            let referring = referring(&place, &index)?;
            let refers: BTreeSet<Digest> = referring.values().flatten().map(|entry| entry.digest).collect();
            let images = found
                .iter()
                .filter(|entry| list_of(entry).is_none() && !is_beside(entry) && !refers.contains(&entry.digest));
            let images: Vec<&Descriptor> = images.copied().collect();
            if !images.is_empty() {
                found = images;
            }
        }
        let root = match found.as_slice() {
            [] => return Err(TransferError::NoImage { place: shown(), name: name.map(str::to_owned) }.into()),
            [one] => Descriptor::new(&one.media_type, one.digest, one.size),
            several => return Err(TransferError::Which { place: shown(), count: several.len() }.into()),
        };
        Ok(Self { place, root, index, referrers: OnceLock::new() })
    }
}

/// Finds what the index of a layout names that refers to something. The specification of layouts says nothing of referrers:
/// most programs name them in the index without a name, others write the list of the tag that stands for the interface.
fn referring(place: &inspect::Place, index: &Index) -> Result<BTreeMap<Digest, Vec<Descriptor>>> {
    let mut found = BTreeMap::<Digest, Vec<Descriptor>>::new();
    let mut seen = BTreeSet::new();
    for entry in index.manifests.iter().filter(|entry| seen.insert(entry.digest)).take(MAX_ENTRIES) {
        let bytes = match place.manifest(entry) {
            Ok(bytes) => bytes,
            // Another image, of which not all is there.
            Err(inspect::InspectError::Missing { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        if let Some(subject) = list_of(entry)
            && let Ok(list) = serde_json::from_slice::<Index>(&bytes)
        {
            found.entry(subject).or_default().extend(list.manifests);
        }
        if let Some(referrer) = Referrer::read(&entry.media_type, &bytes) {
            found.entry(referrer.subject).or_default().push(referrer.entry);
        }
    }
    Ok(found)
}

/// Says whether an entry is something that cosign put beside an image, in the form before bundles.
fn is_beside(entry: &Descriptor) -> bool {
    let name = entry.annotations.get(oci::REF_NAME).and_then(|name| name.rsplit([':', '/']).next()).unwrap_or_default();
    let (subject, kind) = name.strip_prefix("sha256-").and_then(|rest| rest.split_once('.')).unwrap_or_default();
    let tagged = Digest::from_hex(subject).is_ok() && ["sig", "att", "sbom"].contains(&kind);
    tagged || entry.annotations.get(SAVED).is_some_and(|kind| SAVED_BESIDE.contains(&kind.as_str()))
}

/// Says whose referrers an entry lists, where it has the name of such a list.
fn list_of(entry: &Descriptor) -> Option<Digest> {
    let name = entry.annotations.get(oci::REF_NAME)?;
    let subject = Digest::from_hex(name.strip_prefix("sha256-")?).ok()?;
    (entry.media_type == oci::INDEX && *name == fallback_tag(&subject)).then_some(subject)
}

impl Source for LayoutSource {
    fn root(&self) -> Result<(Descriptor, Vec<u8>)> {
        Ok((self.root.clone(), self.place.manifest(&self.root)?))
    }

    fn manifest(&self, entry: &Descriptor) -> Result<Vec<u8>> {
        Ok(self.place.manifest(entry)?)
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        let known = match self.referrers.get() {
            Some(known) => known,
            None => {
                let found = referring(&self.place, &self.index)?;
                self.referrers.get_or_init(|| found)
            }
        };
        Ok(known.get(subject).cloned().unwrap_or_default())
    }

    fn beside(&self, subject: &Digest, what: Beside) -> Result<Vec<Vec<u8>>> {
        let tag = what.tag(subject);
        let saved = match what {
            Beside::Signatures => SAVED_BESIDE[0],
            Beside::Attestations => SAVED_BESIDE[1],
        };
        // Podman's names are whole references.
        let is_tag = |name: &String| name.strip_suffix(&tag).is_some_and(|rest| rest.is_empty() || rest.ends_with(':'));
        let is_meant = |entry: &&Descriptor| {
            entry.annotations.get(oci::REF_NAME).is_some_and(is_tag)
                || entry.annotations.get(SAVED).is_some_and(|kind| kind == saved)
        };
        let mut found = Vec::new();
        for entry in self.index.manifests.iter().filter(is_meant).take(MAX_ENTRIES) {
            found.push(self.place.manifest(entry)?);
        }
        if what == Beside::Attestations {
            return Ok(found);
        }
        // What `cosign save` writes has bundles that its index does not name.
        let (count, size) = MAX_BLOBS;
        for blob in self.place.blobs(count, size)? {
            let Ok(bytes) = self.place.manifest(&blob) else { continue };
            if Referrer::read(oci::MANIFEST, &bytes).is_some_and(|referrer| referrer.subject == *subject) {
                found.push(bytes);
            }
        }
        Ok(found)
    }

    fn listed(&self, entry: &Descriptor) -> Result<Option<(Descriptor, Vec<u8>)>> {
        match self.place.manifest(entry) {
            Ok(bytes) => Ok(Some((Descriptor::new(&entry.media_type, entry.digest, entry.size), bytes))),
            Err(inspect::InspectError::Missing { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn open(&self, blob: &Descriptor) -> Result<Box<dyn BlobSource + '_>> {
        Ok(Box::new(self.place.verified(blob)?))
    }
}

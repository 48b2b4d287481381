//! Reads what an image is made of, out of an OCI layout or an oci-archive, for `bulla inspect`.
//!
//! The image is a stranger's: every size, count and depth has a limit, every blob is hashed, nothing is unpacked, and
//! names are kept as bytes that printing makes harmless.

mod attributes;
mod contents;
mod error;
mod flat;
pub(crate) mod layer;
mod packages;
mod padded;
mod place;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use bulla_model::{
    CleanPath, DiffId, Digest,
    oci::{self, Annotations, Descriptor, ImageConfig, Index, Manifest},
};
use serde::de::DeserializeOwned;

pub use self::{
    contents::contents,
    error::InspectError,
    flat::Flat,
    place::{Place, Span},
};
use crate::assemble::HISTORY;

/// How much of an image is read before it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The size of a document in bytes.
    pub document: u64,
    /// The number of manifests that are reached.
    pub manifests: usize,
    /// The number of layers of an image.
    pub layers: usize,
    /// The uncompressed size of all layers together, in bytes.
    pub plain: u64,
    /// The number of entries of all layers together.
    pub entries: u64,
    /// The length of all names and link targets together, in bytes.
    pub names: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { document: 4 << 20, manifests: 64, layers: 512, plain: 64 << 30, entries: 1_000_000, names: 64 << 20 }
    }
}

/// The most manifests that are reached and are no images: what refers to them, for one.
const MAX_OTHERS: usize = 1024;
/// How deep indexes may lie in each other.
const MAX_DEPTH: usize = 4;

/// An image as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The digest of the entry of the layout that led here: that of an index or of the manifest.
    pub digest: Digest,
    /// The names that the layout's index gives it; foreign text.
    pub names: Vec<String>,
    /// The manifest.
    pub manifest: Descriptor,
    /// The annotations of the manifest; foreign text.
    pub annotations: Annotations,
    /// The digest of the configuration.
    pub config_digest: Digest,
    /// The configuration.
    pub config: ImageConfig,
    /// The layers, lowest first.
    pub layers: Vec<Layer>,
}

/// A layer as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The compressed blob.
    pub descriptor: Descriptor,
    /// The digest of the uncompressed bytes, checked when the entries were read.
    pub diff_id: DiffId,
    /// What made it, as the history says; foreign text.
    pub created_by: Option<String>,
    /// What Bulla calls the layer, where Bulla made it.
    pub title: Option<String>,
    /// Where its files come from, where Bulla made it: `libc6=2.41-12`, `build.dist`.
    pub origins: Vec<String>,
    /// What is in it; `None` where only the documents were read.
    pub listing: Option<Listing>,
}

/// What is in a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The uncompressed size in bytes.
    pub plain_size: u64,
    /// The entries in the order of the archive.
    pub entries: Vec<Entry>,
    /// The packages that each of dpkg's status files in it names, with their versions; foreign text.
    pub packages: BTreeMap<CleanPath, BTreeMap<String, String>>,
}

/// An entry of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The path.
    pub path: CleanPath,
    /// What it is.
    pub what: What,
    /// The permission bits.
    pub mode: u32,
    /// The user.
    pub uid: u64,
    /// The group.
    pub gid: u64,
    /// The digest of a regular file's bytes.
    pub digest: Option<Digest>,
    /// Its file capabilities, as `getcap` would write them; or that they are not valid.
    pub capabilities: Option<String>,
    /// The names of its other extended attributes, made printable, in their order.
    pub attributes: Vec<String>,
}

/// What an entry of a layer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A directory.
    Directory,
    /// A regular file with its size in bytes.
    File(u64),
    /// A symbolic link and its text.
    Symlink(Box<[u8]>),
    /// A further name of another entry.
    Hardlink(Box<[u8]>),
    /// What lower layers have at this path is gone.
    Whiteout,
    /// What lower layers have in this directory is gone.
    Opaque,
    /// A device or FIFO.
    Special,
}

/// Reads the images of an OCI layout directory or oci-archive. With `entries`, layers are read through as well; else only
/// the documents.
///
/// # Errors
/// When it is no OCI layout, when a blob is missing or not what its digest says, or when a limit is passed.
pub fn inspect(path: &Path, entries: bool, limits: &Limits) -> Result<Vec<Image>, InspectError> {
    let place = Place::open(path)?;
    let mut reader = Reader { place: &place, limits, seen: BTreeSet::new(), others: 0, images: Vec::new() };
    let top: Index = parse("index.json", &place.document("index.json", limits.document)?)?;
    let mut named = BTreeMap::<Digest, (&Descriptor, Vec<String>)>::new();
    for entry in &top.manifests {
        let (_, names) = named.entry(entry.digest).or_insert((entry, Vec::new()));
        names.extend(entry.annotations.get(oci::REF_NAME).cloned());
    }
    for (entry, names) in named.into_values() {
        reader.reach(entry, entry.digest, &names, 0)?;
    }
    let mut images = reader.images;
    if entries {
        let mut budget = layer::Budget::new(limits);
        for layer in images.iter_mut().flat_map(|image| &mut image.layers) {
            layer.listing = Some(layer::list(&place, layer, &mut budget)?);
        }
    }
    Ok(images)
}

/// Reads one layer through, hands out its entries with the bytes of their files, and checks both its digests. What was handed out is only to
/// be believed when no error comes.
///
/// # Errors
/// When the bytes are not that layer, are no layer, or a limit is passed; and what `visit` says.
pub fn read_layer(
    packed: impl std::io::Read,
    (descriptor, diff_id): (&Descriptor, DiffId),
    limits: &Limits,
    visit: &mut dyn FnMut(Entry, &mut dyn std::io::Read) -> std::io::Result<()>,
) -> Result<(), InspectError> {
    let layer = layer_of(descriptor, diff_id, None);
    let mut budget = layer::Budget::new(limits);
    layer::walk(packed, &layer, &mut budget, &mut |entry, _, content| visit(entry, content)).map(drop)
}

/// Collects the images that an index leads to.
struct Reader<'a> {
    place: &'a Place,
    limits: &'a Limits,
    seen: BTreeSet<Digest>,
    /// How many manifests were no images.
    others: usize,
    images: Vec<Image>,
}

impl Reader<'_> {
    fn reach(&mut self, entry: &Descriptor, top: Digest, names: &[String], depth: usize) -> Result<(), InspectError> {
        // What is reached a second time was read already; so a web of indexes costs no more than its documents.
        if !self.seen.insert(entry.digest) {
            return Ok(());
        }
        if self.seen.len() - self.others > self.limits.manifests || self.others > MAX_OTHERS || depth > MAX_DEPTH {
            return Err(InspectError::Limit { what: "manifests, or indexes within indexes" });
        }
        match entry.media_type.as_str() {
            oci::INDEX | "application/vnd.docker.distribution.manifest.list.v2+json" => {
                let index: Index = self.blob(entry)?;
                index.manifests.iter().try_for_each(|inner| self.reach(inner, top, names, depth + 1))
            }
            oci::MANIFEST | "application/vnd.docker.distribution.manifest.v2+json" => self.image(entry, top, names),
            // What is not an image (evidence, for one) is none of this command's.
            _ => Ok(()),
        }
    }

    fn image(&mut self, entry: &Descriptor, top: Digest, names: &[String]) -> Result<(), InspectError> {
        let manifest: Manifest = self.blob(entry)?;
        let is_image = [oci::CONFIG, "application/vnd.docker.container.image.v1+json"]
            .contains(&manifest.config.media_type.as_str());
        if !is_image {
            self.others += 1;
            return Ok(());
        }
        if manifest.layers.len() > self.limits.layers {
            return Err(InspectError::Limit { what: "layers" });
        }
        let config: ImageConfig = self.blob(&manifest.config)?;
        let ids = &config.rootfs.diff_ids;
        if ids.len() != manifest.layers.len() {
            return Err(InspectError::LayerCount { manifest: manifest.layers.len(), config: ids.len() });
        }
        let histories: Vec<Option<&String>> =
            config.history.iter().filter(|made| !made.empty_layer).map(|made| made.created_by.as_ref()).collect();
        // A history that does not tell of every layer tells of none for certain.
        let history =
            |at: usize| (histories.len() == ids.len()).then(|| histories.get(at).copied().flatten()).flatten();
        let layers = manifest
            .layers
            .iter()
            .zip(ids)
            .enumerate()
            .map(|(at, (descriptor, diff_id))| layer_of(descriptor, *diff_id, history(at)))
            .collect();
        self.images.push(Image {
            digest: top,
            names: names.to_vec(),
            manifest: entry.clone(),
            annotations: manifest.annotations,
            config_digest: manifest.config.digest,
            layers,
            config,
        });
        Ok(())
    }

    fn blob<T: DeserializeOwned>(&self, entry: &Descriptor) -> Result<T, InspectError> {
        if entry.size > self.limits.document {
            return Err(InspectError::Limit { what: "bytes in one document" });
        }
        let bytes = self.place.blob(entry, self.limits.document)?;
        parse(&entry.digest.to_string(), &bytes)
    }
}

fn layer_of(descriptor: &Descriptor, diff_id: DiffId, created_by: Option<&String>) -> Layer {
    let told = created_by.and_then(|text| text.strip_prefix(HISTORY)).and_then(|text| text.split_once(": "));
    Layer {
        descriptor: descriptor.clone(),
        diff_id,
        created_by: created_by.cloned(),
        title: told.map(|(title, _)| title.to_owned()),
        origins: told.map(|(_, origins)| origins.split(", ").map(ToOwned::to_owned).collect()).unwrap_or_default(),
        listing: None,
    }
}

fn parse<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, InspectError> {
    serde_json::from_slice(bytes).map_err(|source| InspectError::Document { name: name.to_owned(), source })
}

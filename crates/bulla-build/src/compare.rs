//! What differs between two images: packages, files, configuration and layers, for `bulla diff`.
//!
//! Both images may be a stranger's; they were read within the limits of [`crate::inspect`], and nothing is unpacked.

use std::collections::{BTreeMap, BTreeSet};

use bulla_model::{Digest, path::printable};
use serde::Serialize;
use serde_json::Value;

use crate::{
    explain::How,
    inspect::{Entry, Flat, Image, Layer, What},
};

/// All that differs between two images.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// The packages that one of the images says it has; `None` where an image says nothing of packages.
    pub packages: Option<Vec<PackageChange>>,
    /// The files, links and directories that a container sees.
    pub files: Vec<FileChange>,
    /// The values of the configuration and of the manifest's annotations.
    pub configuration: Vec<ValueChange>,
    /// The layers.
    pub layers: Vec<LayerChange>,
}

impl Comparison {
    /// Says whether nothing differs.
    pub fn is_empty(&self) -> bool {
        let packages = self.packages.as_ref().is_none_or(Vec::is_empty);
        packages && self.files.is_empty() && self.configuration.is_empty() && self.layers.is_empty()
    }
}

/// A package that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackageChange {
    /// Its name; foreign text.
    pub name: String,
    /// How it changed.
    pub how: How,
    /// Its version in the first image.
    pub before: Option<String>,
    /// Its version in the second image.
    pub now: Option<String>,
}

/// A file that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileChange {
    /// Its path, made printable, without the slash in front.
    pub path: String,
    /// How it changed.
    pub how: How,
    /// What differs of it, when it changed: `content`, `mode`, `owner`, `target`, `kind`, `capabilities`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub of: Vec<&'static str>,
    /// What it is in the first image.
    pub before: Option<FileState>,
    /// What it is in the second image.
    pub now: Option<FileState>,
}

/// What a file is in one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileState {
    /// `directory`, `file`, `symlink`, `hardlink`, `special`.
    pub kind: &'static str,
    /// The permission bits in octal.
    pub mode: String,
    /// The user.
    pub uid: u64,
    /// The group.
    pub gid: u64,
    /// The size of a file in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The digest of the bytes that are read there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Where a link leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Its file capabilities, as `getcap` writes them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<String>,
    /// The layer that it comes from, from 1.
    pub layer: usize,
}

/// A value of the configuration that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ValueChange {
    /// Its place: `config.User`; foreign text.
    pub key: String,
    /// How it changed.
    pub how: How,
    /// The value in the first image.
    pub before: Option<Value>,
    /// The value in the second image.
    pub now: Option<Value>,
}

/// A layer that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayerChange {
    /// What it is called; foreign text.
    pub title: Option<String>,
    /// How it changed; `changed` with equal uncompressed digests is another compression or place.
    pub how: How,
    /// The layer of the first image.
    pub before: Option<LayerState>,
    /// The layer of the second image.
    pub now: Option<LayerState>,
}

/// A layer of one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayerState {
    /// Its number, from 1.
    pub number: usize,
    /// The digest of the blob.
    pub digest: Digest,
    /// The digest of the uncompressed bytes.
    pub diff_id: Digest,
    /// The size of the blob in bytes.
    pub size: u64,
}

/// Compares two images that were read with their entries.
pub fn compare(before: &Image, now: &Image) -> Comparison {
    let (flat, flat_now) = (Flat::of(before), Flat::of(now));
    Comparison {
        packages: packages(before, &flat).zip(packages(now, &flat_now)).map(|(before, now)| {
            let change = |name: &String| {
                let (before, now) = (before.get(name), now.get(name));
                let how = How::of(before, now)?;
                Some(PackageChange { name: name.clone(), how, before: before.cloned(), now: now.cloned() })
            };
            both(&before, &now).into_iter().filter_map(change).collect()
        }),
        files: files(&flat, &flat_now),
        configuration: configuration(before, now),
        layers: layers(&before.layers, &now.layers),
    }
}

/// Gives the packages that an image says it has: by dpkg's status, else by the history of an image that Bulla made.
pub fn packages(image: &Image, flat: &Flat<'_>) -> Option<BTreeMap<String, String>> {
    let mut found: Option<BTreeMap<String, String>> = None;
    for (number, layer) in image.layers.iter().enumerate() {
        for (path, packages) in layer.listing.iter().flat_map(|listing| &listing.packages) {
            // A file that a higher layer replaced or removed says nothing any more.
            if flat.get(path).is_some_and(|(at, _)| at == number) {
                found.get_or_insert_default().extend(packages.clone());
            }
        }
    }
    found.or_else(|| {
        let made = image.layers.iter().any(|layer| layer.title.is_some());
        let origins = image.layers.iter().flat_map(|layer| &layer.origins);
        let packages = origins.filter_map(|origin| origin.split_once('='));
        made.then(|| packages.map(|(name, version)| (name.to_owned(), version.to_owned())).collect())
    })
}

fn both<'a, K: Ord, V>(before: &'a BTreeMap<K, V>, now: &'a BTreeMap<K, V>) -> BTreeSet<&'a K> {
    before.keys().chain(now.keys()).collect()
}

fn files(before: &Flat<'_>, now: &Flat<'_>) -> Vec<FileChange> {
    let states = |flat: &Flat<'_>| -> BTreeMap<Vec<u8>, FileState> {
        flat.iter().map(|(layer, entry)| (entry.path.as_bytes().to_vec(), state(flat, layer, entry))).collect()
    };
    let (before, now) = (states(before), states(now));
    let change = |path: &Vec<u8>| {
        let (before, now) = (before.get(path), now.get(path));
        let of = before.zip(now).map(|(before, now)| differing(before, now)).unwrap_or_default();
        let how = match (before, now) {
            (None, _) => How::Added,
            (_, None) => How::Removed,
            _ if of.is_empty() => return None,
            _ => How::Changed,
        };
        Some(FileChange { path: printable(path), how, of, before: before.cloned(), now: now.cloned() })
    };
    both(&before, &now).into_iter().filter_map(change).collect()
}

fn state(flat: &Flat<'_>, layer: usize, entry: &Entry) -> FileState {
    let (kind, size, target) = match &entry.what {
        What::Directory => ("directory", None, None),
        What::File(size) => ("file", Some(*size), None),
        What::Symlink(target) => ("symlink", None, Some(printable(target))),
        What::Hardlink(target) => ("hardlink", None, Some(printable(target))),
        What::Whiteout | What::Opaque | What::Special => ("special", None, None),
    };
    FileState {
        kind,
        mode: format!("{:04o}", entry.mode),
        uid: entry.uid,
        gid: entry.gid,
        size,
        digest: flat.content(entry),
        target,
        capabilities: entry.capabilities.clone(),
        layer: layer + 1,
    }
}

/// Says what differs; in which layer a file is makes no difference to it.
fn differing(before: &FileState, now: &FileState) -> Vec<&'static str> {
    if before.kind != now.kind {
        return vec!["kind"];
    }
    let mut of = Vec::new();
    of.extend((before.digest != now.digest).then_some("content"));
    of.extend((before.target != now.target).then_some("target"));
    // A link's own mode means nothing.
    of.extend((before.mode != now.mode && before.kind != "symlink").then_some("mode"));
    of.extend((before.capabilities != now.capabilities).then_some("capabilities"));
    of.extend(((before.uid, before.gid) != (now.uid, now.gid)).then_some("owner"));
    of
}

fn configuration(before: &Image, now: &Image) -> Vec<ValueChange> {
    let (before, now) = (values(before), values(now));
    let change = |key: &String| {
        let (before, now) = (before.get(key), now.get(key));
        let how = How::of(before, now)?;
        Some(ValueChange { key: key.clone(), how, before: before.cloned(), now: now.cloned() })
    };
    both(&before, &now).into_iter().filter_map(change).collect()
}

fn values(image: &Image) -> BTreeMap<String, Value> {
    let mut values = BTreeMap::new();
    let mut config = serde_json::to_value(&image.config).unwrap_or_default();
    if let Some(config) = config.as_object_mut() {
        // They follow from the layers, which are compared by themselves.
        config.remove("rootfs");
        config.remove("history");
    }
    leaves(&mut values, String::new(), config);
    let annotations = serde_json::to_value(&image.annotations).unwrap_or_default();
    leaves(&mut values, "annotations".to_owned(), annotations);
    values
}

fn leaves(values: &mut BTreeMap<String, Value>, key: String, value: Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let key = if key.is_empty() { name } else { format!("{key}.{name}") };
                leaves(values, key, value);
            }
        }
        Value::Null => {}
        value => _ = values.insert(key, value),
    }
}

fn layers(before: &[Layer], now: &[Layer]) -> Vec<LayerChange> {
    let mut changes = Vec::new();
    let mut left: Vec<(usize, &Layer)> = before.iter().enumerate().collect();
    let mut take = |wanted: &dyn Fn(&Layer) -> bool| {
        let at = left.iter().position(|(_, layer)| wanted(layer))?;
        Some(left.remove(at))
    };
    // Equal bytes first, so that a layer which was only moved is known as such; then what has the same name.
    let mut pairs: Vec<Option<(usize, &Layer)>> =
        now.iter().map(|layer| take(&|other| other.diff_id == layer.diff_id)).collect();
    for (layer, pair) in now.iter().zip(&mut pairs) {
        if pair.is_none() && layer.title.is_some() {
            *pair = take(&|other| other.title == layer.title);
        }
    }
    for ((number, layer), pair) in now.iter().enumerate().zip(pairs) {
        let before = pair.map(|(number, layer)| layer_state(number, layer));
        let now = layer_state(number, layer);
        let how = match &before {
            None => How::Added,
            Some(before) if *before == now => continue,
            Some(_) => How::Changed,
        };
        changes.push(LayerChange { title: layer.title.clone(), how, before, now: Some(now) });
    }
    for (number, layer) in left {
        let before = Some(layer_state(number, layer));
        changes.push(LayerChange { title: layer.title.clone(), how: How::Removed, before, now: None });
    }
    changes
}

fn layer_state(number: usize, layer: &Layer) -> LayerState {
    let descriptor = &layer.descriptor;
    LayerState { number: number + 1, digest: descriptor.digest, diff_id: layer.diff_id.0, size: descriptor.size }
}

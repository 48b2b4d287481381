//! What a container of an image sees: the entries of all layers, laid over each other.

use std::{collections::BTreeMap, ops::Bound};

use bulla_model::{CleanPath, Digest};

use super::{Entry, Image, What};

/// How many links are followed on the way to a path, as in the kernel.
const MAX_LINKS: usize = 40;

/// The file system of an image.
#[derive(Debug)]
pub struct Flat<'a> {
    /// The entries by path, with the number of their layer, from 0.
    entries: BTreeMap<&'a [u8], (usize, &'a Entry)>,
}

impl<'a> Flat<'a> {
    /// Lays the layers over each other (image specification, `layer.md`). The image must have been read with its entries.
    pub fn of(image: &'a Image) -> Self {
        let mut flat = Self { entries: BTreeMap::new() };
        for (number, layer) in image.layers.iter().enumerate() {
            let entries = || layer.listing.iter().flat_map(|listing| &listing.entries);
            // What a layer hides is what the layers below it have.
            for entry in entries() {
                match entry.what {
                    What::Whiteout => {
                        flat.entries.remove(entry.path.as_bytes());
                        flat.clear(&entry.path);
                    }
                    What::Opaque => flat.clear(&entry.path),
                    _ => {}
                }
            }
            for entry in entries().filter(|entry| !matches!(entry.what, What::Whiteout | What::Opaque)) {
                if entry.what != What::Directory {
                    flat.clear(&entry.path);
                }
                flat.entries.insert(entry.path.as_bytes(), (number, entry));
            }
        }
        flat
    }

    /// Removes what lies beneath a path.
    fn clear(&mut self, path: &CleanPath) {
        let prefix = [path.as_bytes(), b"/"].concat();
        let from = (Bound::Included(prefix.as_slice()), Bound::Unbounded);
        let beneath = self.entries.range::<[u8], _>(from).take_while(|(path, _)| path.starts_with(&prefix));
        let beneath: Vec<&'a [u8]> = beneath.map(|(path, _)| *path).collect();
        beneath.into_iter().for_each(|path| _ = self.entries.remove(path));
    }

    /// Iterates over the entries in the order of their paths, with the number of the layer.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &'a Entry)> {
        self.entries.values().copied()
    }

    /// Gives the entry at a path.
    pub fn get(&self, path: &CleanPath) -> Option<(usize, &'a Entry)> {
        self.entries.get(path.as_bytes()).copied()
    }

    /// Gives the digest of the bytes that are read at an entry: its own, or those of the entry that it is a further name of.
    pub fn content(&self, entry: &Entry) -> Option<Digest> {
        match &entry.what {
            What::Hardlink(target) => {
                let target = CleanPath::from_archive(target).ok()??;
                self.get(&target).and_then(|(_, target)| target.digest)
            }
            _ => entry.digest,
        }
    }

    /// Finds where a path leads when the links of the directories above it are followed: `bin/sh` to `usr/bin/sh`.
    pub fn resolve(&self, path: &CleanPath) -> Option<CleanPath> {
        let mut links = 0;
        let mut left: Vec<Vec<u8>> = path.components().map(<[u8]>::to_vec).rev().collect();
        let mut at: Vec<Vec<u8>> = Vec::new();
        while let Some(part) = left.pop() {
            if part == b".." {
                at.pop();
                continue;
            }
            at.push(part);
            let here = CleanPath::parse(at.join(&b'/')).ok()?;
            let Some((_, entry)) = self.get(&here) else { continue };
            // The last part is what was asked for, be it a link.
            if let (What::Symlink(target), false) = (&entry.what, left.is_empty()) {
                links += 1;
                if links > MAX_LINKS {
                    return None;
                }
                at.pop();
                if target.first() == Some(&b'/') {
                    at.clear();
                }
                let parts = target.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
                left.extend(parts.rev().map(<[u8]>::to_vec));
            }
        }
        CleanPath::parse(at.join(&b'/')).ok()
    }
}

#[cfg(test)]
mod tests {
    use bulla_model::{DiffId, oci};

    use super::*;
    use crate::inspect::{Layer, Listing};

    fn entry(path: &str, what: What) -> Entry {
        Entry {
            path: path.parse().expect("clean"),
            what,
            mode: 0o644,
            uid: 0,
            gid: 0,
            digest: Some(Digest::of(path)),
            capabilities: None,
            attributes: Vec::new(),
        }
    }

    fn image(layers: Vec<Vec<Entry>>) -> Image {
        let descriptor = oci::Descriptor::new(oci::LAYER_TAR, Digest::of("x"), 1);
        let layer = |entries| Layer {
            descriptor: descriptor.clone(),
            diff_id: DiffId(Digest::of("x")),
            created_by: None,
            title: None,
            origins: Vec::new(),
            listing: Some(Listing { plain_size: 0, entries, packages: BTreeMap::new() }),
        };
        let platform = bulla_model::Platform::LinuxAmd64;
        Image {
            digest: Digest::of("x"),
            names: Vec::new(),
            manifest: descriptor.clone(),
            annotations: oci::Annotations::new(),
            config_digest: Digest::of("x"),
            config: oci::ImageConfig::new(platform, bulla_model::Epoch::default(), oci::Runtime::default()),
            layers: layers.into_iter().map(layer).collect(),
        }
    }

    fn paths(image: &Image) -> Vec<String> {
        Flat::of(image).iter().map(|(layer, entry)| format!("{layer} {}", entry.path)).collect()
    }

    #[test]
    fn what_a_layer_hides_is_what_the_layers_below_have() {
        let file = || What::File(1);
        let below = vec![
            entry("d", What::Directory),
            entry("d/a", file()),
            entry("d/b", file()),
            entry("e", What::Directory),
            entry("e/x", file()),
            entry("f", What::Directory),
            entry("f/x", file()),
            entry("da", file()),
        ];
        let above = vec![
            entry("d/new", file()),
            entry("d", What::Opaque),
            entry("e", What::Whiteout),
            entry("f", What::Symlink(Box::from(*b"d"))),
        ];
        assert_eq!(paths(&image(vec![below, above])), ["0 d", "1 d/new", "0 da", "1 f"]);
    }

    #[test]
    fn links_above_a_path_are_followed_and_circles_are_none() {
        let link = |path: &str, to: &str| entry(path, What::Symlink(to.as_bytes().into()));
        let image = image(vec![vec![
            link("bin", "usr/bin"),
            link("usr/lib64", "../lib"),
            link("one", "/two"),
            link("two", "one"),
            link("usr/bin/sh", "dash"),
        ]]);
        let flat = Flat::of(&image);
        let resolve = |path: &str| flat.resolve(&path.parse().expect("clean")).map(|path| path.to_string());
        assert_eq!(resolve("bin/sh").as_deref(), Some("usr/bin/sh"), "the last link is what was asked for");
        assert_eq!(resolve("usr/lib64/x").as_deref(), Some("lib/x"));
        assert_eq!(resolve("one/x"), None);
    }
}

//! The layers of an image, laid over each other: what a container sees, and which layer has each of it.

use std::{collections::BTreeMap, ops::Bound};

use bulla_model::CleanPath;

use crate::inventory::{LayerContents, What};

/// How many links are followed on the way to a path, as in the kernel.
const MAX_LINKS: usize = 40;

/// What a container of an image sees.
#[derive(Debug, Default)]
pub(super) struct Overlay<'a> {
    /// By path, with the place of the layer.
    entries: BTreeMap<&'a CleanPath, (usize, &'a What)>,
    /// What was hidden or replaced, by path and the place of the layer that had it, with the place of the one that hid it.
    hidden: BTreeMap<(&'a CleanPath, usize), usize>,
}

impl<'a> Overlay<'a> {
    /// Lays the layers over each other (image specification, `layer.md`).
    pub(super) fn of(layers: &'a [LayerContents]) -> Self {
        let mut overlay = Self::default();
        for (at, layer) in layers.iter().enumerate() {
            // What a layer hides is what the layers below it have.
            for entry in &layer.entries {
                match entry.what {
                    What::Whiteout => overlay.remove(&entry.path, at),
                    What::Opaque => overlay.clear(&entry.path, at),
                    _ => {}
                }
            }
            for entry in layer.entries.iter().filter(|entry| !matches!(entry.what, What::Whiteout | What::Opaque)) {
                if entry.what != What::Directory {
                    overlay.remove(&entry.path, at);
                }
                overlay.entries.insert(&entry.path, (at, &entry.what));
            }
        }
        overlay
    }

    fn remove(&mut self, path: &CleanPath, by: usize) {
        if let Some((path, (layer, _))) = self.entries.remove_entry(path) {
            self.hidden.insert((path, layer), by);
        }
        self.clear(path, by);
    }

    /// Hides what lies beneath a path.
    fn clear(&mut self, path: &CleanPath, by: usize) {
        let from = (Bound::Excluded(path), Bound::Unbounded);
        let beneath = self.entries.range::<CleanPath, _>(from).take_while(|(found, _)| found.starts_with(path));
        let beneath: Vec<&'a CleanPath> = beneath.map(|(path, _)| *path).collect();
        for path in beneath {
            if let Some((layer, _)) = self.entries.remove(path) {
                self.hidden.insert((path, layer), by);
            }
        }
    }

    /// Gives what stands at a path, with the place of its layer.
    pub(super) fn get(&self, path: &CleanPath) -> Option<(usize, &'a What)> {
        self.entries.get(path).copied()
    }

    /// Gives the place of the layer that hid what a layer has at a path; `None` where a container sees it.
    pub(super) fn hidden_by(&self, path: &CleanPath, layer: usize) -> Option<usize> {
        self.hidden.get(&(path, layer)).copied()
    }

    /// Gives everything but directories, in the order of the paths.
    pub(super) fn files(&self) -> impl Iterator<Item = (&'a CleanPath, usize, &'a What)> {
        self.entries
            .iter()
            .filter(|(_, (_, what))| **what != What::Directory)
            .map(|(path, (layer, what))| (*path, *layer, *what))
    }

    /// Gives the paths beneath a folder that are no directories.
    pub(super) fn beneath(&self, folder: &CleanPath) -> impl Iterator<Item = &'a CleanPath> {
        let from = (Bound::Excluded(folder), Bound::Unbounded);
        let folder = folder.clone();
        let beneath = self.entries.range::<CleanPath, _>(from).take_while(move |(path, _)| path.starts_with(&folder));
        beneath.filter(|(_, (_, what))| **what != What::Directory).map(|(path, _)| *path)
    }

    /// Gives the file that holds the bytes of an entry: itself, or what it is a further name of.
    pub(super) fn bytes(&self, what: &'a What) -> Option<&'a What> {
        match what {
            What::File { .. } => Some(what),
            What::Hardlink(target) => match self.get(target) {
                Some((_, file @ What::File { .. })) => Some(file),
                _ => None,
            },
            _ => None,
        }
    }

    /// Finds where a path lies when the links above it are followed: `bin/sh` is `usr/bin/sh` where `/bin` is a link.
    pub(super) fn real(&self, path: &CleanPath) -> Option<CleanPath> {
        let mut links = 0;
        let mut left: Vec<Vec<u8>> = path.components().map(<[u8]>::to_vec).rev().collect();
        let mut at: Vec<Vec<u8>> = Vec::new();
        while let Some(part) = left.pop() {
            match part.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    at.pop();
                    continue;
                }
                _ => at.push(part),
            }
            if left.is_empty() {
                break;
            }
            let here = CleanPath::parse(at.join(&b'/')).ok()?;
            if let Some((_, What::Symlink(target))) = self.get(&here) {
                links += 1;
                if links > MAX_LINKS {
                    return None;
                }
                at.pop();
                if target.starts_with('/') {
                    at.clear();
                }
                left.extend(target.split('/').rev().map(|part| part.as_bytes().to_vec()));
            }
        }
        CleanPath::parse(at.join(&b'/')).ok()
    }
}

//! What is laid over the packages, and how both look from inside the image.

use std::collections::{BTreeMap, BTreeSet};

use bulla_model::{
    CleanPath, Tree,
    tree::{Mode, Node, Owner},
};

use super::{Entry, Reader};

/// The most symbolic links that are followed for one path, as the kernel has it (path_resolution(7)).
const MAX_LINKS: usize = 40;
/// The most components that a path may have while its links are followed.
const MAX_PARTS: usize = 4096;
/// The most bytes of a file that is read as text.
const MAX_TEXT: u64 = 4 << 20;

/// The most bytes of a file whose owner or mode is changed, for it is laid over with its content.
const MAX_CHANGED: u64 = 256 << 20;

/// The packages' tree with entries laid over it.
pub(super) struct Overlay<'a> {
    tree: &'a Tree,
    reader: Reader<'a>,
    entries: BTreeMap<CleanPath, Entry>,
}

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stands {
    Directory,
    File,
    Link,
}

/// Takes a path that is known to be clean.
pub(super) fn clean(text: &str) -> CleanPath {
    text.parse().expect("a path in the program is clean")
}

impl<'a> Overlay<'a> {
    pub(super) fn new(tree: &'a Tree, reader: Reader<'a>) -> Self {
        Self { tree, reader, entries: BTreeMap::new() }
    }

    pub(super) fn into_entries(self) -> Vec<(CleanPath, Entry)> {
        self.entries.into_iter().collect()
    }

    /// Iterates over the paths of the packages.
    pub(super) fn shipped(&self) -> impl Iterator<Item = (&CleanPath, &Node)> {
        self.tree.iter()
    }

    /// Says what stands at a path, whose links are not followed.
    pub(super) fn stands(&self, path: &CleanPath) -> Option<Stands> {
        if let Some(entry) = self.entries.get(path) {
            return Some(match entry {
                Entry::Directory { .. } => Stands::Directory,
                Entry::File { .. } => Stands::File,
                Entry::Symlink { .. } => Stands::Link,
            });
        }
        match self.tree.get(path)? {
            Node::Directory { .. } => Some(Stands::Directory),
            Node::File { .. } | Node::Hardlink { .. } => Some(Stands::File),
            Node::Symlink { .. } => Some(Stands::Link),
            Node::Whiteout => None,
        }
    }

    /// Says what a path leads to, links followed.
    pub(super) fn leads_to(&self, path: &CleanPath) -> Option<Stands> {
        self.stands(&self.follow(path, true)?).filter(|stands| *stands != Stands::Link)
    }

    fn link(&self, path: &CleanPath) -> Option<&[u8]> {
        match (self.entries.get(path), self.tree.get(path)) {
            (Some(Entry::Symlink { target }), _) => Some(target),
            (Some(_), _) => None,
            (None, Some(Node::Symlink { target, .. })) => Some(target),
            _ => None,
        }
    }

    /// Gives the path without links on the way, and with `last` not at its end either. `None` for the root, and where the
    /// links are endless. What does not exist is taken as it stands.
    pub(super) fn follow(&self, path: &CleanPath, last: bool) -> Option<CleanPath> {
        let mut todo: Vec<Vec<u8>> = path.components().rev().map(<[u8]>::to_vec).collect();
        let mut done: Vec<Vec<u8>> = Vec::new();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            match part.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    done.pop();
                    continue;
                }
                _ => done.push(part),
            }
            if todo.is_empty() && !last {
                break;
            }
            let here = CleanPath::parse(done.join(&b'/')).ok()?;
            if let Some(target) = self.link(&here) {
                links += 1;
                if target.first() == Some(&b'/') {
                    done.clear();
                } else {
                    done.pop();
                }
                todo.extend(target.split(|b| *b == b'/').rev().map(<[u8]>::to_vec));
                if links > MAX_LINKS || todo.len() > MAX_PARTS {
                    return None;
                }
            }
        }
        CleanPath::parse(done.join(&b'/')).ok()
    }

    /// Takes an absolute path as a script or a configuration file writes it, links on the way followed; the last component
    /// stays. `None` when it is no such path, or goes up with `..`.
    pub(super) fn place(&self, text: &str) -> Option<CleanPath> {
        let rest = text.strip_prefix('/')?;
        let path = CleanPath::from_archive(rest.as_bytes()).ok().flatten()?;
        self.follow(&path, false)
    }

    /// Gives the bytes of a file of the packages or the overlay, links followed, if it is no larger than `limit`.
    pub(super) fn read(&self, path: &CleanPath, limit: u64) -> Option<Vec<u8>> {
        let path = self.follow(path, true)?;
        if let Some(Entry::File { content, .. }) = self.entries.get(&path) {
            return Some(content.clone());
        }
        match self.tree.file(&path)? {
            (path, Node::File { size, .. }) if *size <= limit => (self.reader)(path),
            _ => None,
        }
    }

    /// Gives the size of a file of the packages or the overlay, links followed.
    pub(super) fn size(&self, path: &CleanPath) -> Option<u64> {
        let path = self.follow(path, true)?;
        if let Some(Entry::File { content, .. }) = self.entries.get(&path) {
            return Some(content.len() as u64);
        }
        match self.tree.file(&path)? {
            (_, Node::File { size, .. }) => Some(*size),
            _ => None,
        }
    }

    /// Gives a file as text; bytes that are not UTF-8 are replaced.
    pub(super) fn text(&self, path: &CleanPath) -> Option<String> {
        Some(String::from_utf8_lossy(&self.read(path, MAX_TEXT)?).into_owned())
    }

    /// Lists what is directly in a directory, links followed, in the order of the paths.
    pub(super) fn list(&self, directory: &CleanPath) -> BTreeSet<CleanPath> {
        let Some(directory) = self.follow(directory, true) else { return BTreeSet::new() };
        let shipped = self.tree.beneath(&directory).map(|(path, _)| path);
        let laid = self.entries.range(&directory..).map(|(path, _)| path);
        let laid = laid.take_while(|path| path.starts_with(&directory));
        shipped.chain(laid).filter(|path| path.parent().as_ref() == Some(&directory)).cloned().collect()
    }

    /// Gives mode and owner of a directory or file.
    pub(super) fn attributes(&self, path: &CleanPath) -> Option<(Mode, Owner)> {
        if let Some(Entry::Directory { mode, owner } | Entry::File { mode, owner, .. }) = self.entries.get(path) {
            return Some((*mode, *owner));
        }
        match self.tree.file(path).map(|(_, node)| node).or_else(|| self.tree.get(path))? {
            Node::Directory { mode, owner, .. } | Node::File { mode, owner, .. } => Some((*mode, *owner)),
            _ => None,
        }
    }

    /// Sets mode and owner of a directory or file, links followed. False when there is none, or it cannot be read.
    pub(super) fn set_attributes(&mut self, path: &CleanPath, mode: Option<Mode>, owner: Option<Owner>) -> bool {
        let Some(path) = self.follow(path, true) else { return false };
        let Some((old_mode, old_owner)) = self.attributes(&path) else { return false };
        let (mode, owner) = (mode.unwrap_or(old_mode), owner.unwrap_or(old_owner));
        let entry = match self.stands(&path) {
            Some(Stands::Directory) => Entry::Directory { mode, owner },
            Some(Stands::File) => match self.read(&path, MAX_CHANGED) {
                Some(content) => Entry::File { mode, owner, content },
                None => return false,
            },
            _ => return false,
        };
        self.entries.insert(path, entry);
        true
    }

    /// Makes a directory and those above it; one that is there stays as it is.
    pub(super) fn directory(&mut self, path: &CleanPath, mode: Mode, owner: Owner) {
        if self.leads_to(path).is_none() {
            self.parents(path);
            self.entries.insert(path.clone(), Entry::Directory { mode, owner });
        }
    }

    /// Puts a file, in place of what is there.
    pub(super) fn file(&mut self, path: &CleanPath, mode: u32, owner: Owner, content: impl Into<Vec<u8>>) {
        self.parents(path);
        self.entries.insert(path.clone(), Entry::File { mode: Mode::new(mode), owner, content: content.into() });
    }

    /// Puts a link, in place of a link or file that is there; a directory stays.
    pub(super) fn symlink(&mut self, path: &CleanPath, target: impl Into<Vec<u8>>) {
        if self.stands(path) != Some(Stands::Directory) {
            self.parents(path);
            self.entries.insert(path.clone(), Entry::Symlink { target: target.into().into() });
        }
    }

    fn parents(&mut self, path: &CleanPath) {
        for above in path.ancestors() {
            if self.stands(&above).is_none() {
                self.entries.insert(above, Entry::Directory { mode: Mode::new(0o755), owner: Owner::ROOT });
            }
        }
    }
}

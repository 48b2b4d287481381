//! The layers that a stage stands on: trees of the store, one over the other.

use std::{collections::BTreeSet, fs::File, path::PathBuf, sync::Arc};

use bulla_model::{CleanPath, Digest, Epoch, Tree, tree::Node};
use bulla_store::{Layer, RootCopy, SourceView, Store, StoredTree};

use super::{BuildError, context::Context};

/// One layer that is there, as a physical directory with its manifest.
#[derive(Clone)]
pub(crate) enum Sheet {
    /// A merged root: its directory, and the trees that it was merged from.
    Root(PathBuf, Arc<Tree>, Arc<Vec<StoredTree>>),
    /// A delta or a tree of its own.
    Tree(StoredTree),
    /// The files of a source that a step sees.
    View(SourceView),
    /// Files of the layers below with another time.
    Fresh(Arc<RootCopy>, Arc<Tree>),
}

impl Sheet {
    /// Gives the physical directory.
    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Self::Root(path, ..) => path.clone(),
            Self::Tree(tree) => tree.path().to_owned(),
            Self::View(view) => view.path().to_owned(),
            Self::Fresh(copy, _) => copy.path(),
        }
    }

    /// Gives the manifest.
    pub(crate) fn manifest(&self) -> &Tree {
        match self {
            Self::Root(_, manifest, _) => manifest,
            Self::Tree(tree) => tree.manifest(),
            Self::View(view) => view.manifest(),
            Self::Fresh(_, manifest) => manifest,
        }
    }

    fn open(&self, path: &CleanPath, digest: &Digest) -> Result<Option<File>, BuildError> {
        let has =
            |tree: &Tree| matches!(tree.file(path), Some((_, Node::File { digest: found, .. })) if found == digest);
        match self {
            Self::Root(_, _, trees) => match trees.iter().rev().find(|tree| has(tree.manifest())) {
                Some(tree) => Ok(Some(tree.open_file(path)?)),
                None => Ok(None),
            },
            Self::Tree(tree) if has(tree.manifest()) => Ok(Some(tree.open_file(path)?)),
            Self::View(view) if has(view.manifest()) => {
                let folder = crate::assemble::Folder::new(view.path()).and_then(|folder| folder.open(path));
                Ok(folder.ok())
            }
            _ => Ok(None),
        }
    }
}

/// Layers, the lowest first.
#[derive(Clone, Default)]
pub(crate) struct Stack(Vec<Sheet>, usize);

impl Stack {
    /// Lays a layer on top.
    pub(crate) fn push(&mut self, sheet: Sheet) {
        self.0.push(sheet);
    }

    /// Notes that all that is here is the root, on which the sources and what steps changed are laid.
    pub(crate) fn ends_root(&mut self) {
        self.1 = self.0.len();
    }

    /// Gives what the layers above the root show together.
    pub(crate) fn above_root(&self) -> Tree {
        let mut tree = Tree::new();
        self.0.iter().skip(self.1).for_each(|sheet| tree.apply(sheet.manifest()));
        tree
    }

    /// Lays files of the layers above the root, which show there, on top once more, with another time.
    pub(crate) fn freshen(
        &mut self,
        store: &Store,
        files: &BTreeSet<CleanPath>,
        time: Epoch,
    ) -> Result<(), BuildError> {
        let above: BTreeSet<CleanPath> = files.iter().flat_map(CleanPath::ancestors).collect();
        let kept = |sheet: &Sheet| -> Tree {
            let wanted = |path: &CleanPath, node: &Node| match node {
                Node::Directory { .. } => above.contains(path),
                Node::File { .. } | Node::Hardlink { .. } => files.contains(path),
                Node::Symlink { .. } | Node::Whiteout => false,
            };
            let kept = sheet.manifest().iter().filter(|(path, node)| wanted(path, node));
            kept.map(|(path, node)| (path.clone(), shown(sheet.manifest(), path, node))).collect()
        };
        let sheets = self.0.get(self.1..).unwrap_or_default();
        let kept: Vec<(PathBuf, Tree)> = sheets.iter().map(|sheet| (sheet.path(), kept(sheet))).collect();
        let layers: Vec<Layer<'_>> = kept.iter().map(|(path, manifest)| Layer { path, manifest }).collect();
        let copy = store.copy_root(&layers)?;
        copy.set_times(files, time)?;
        let mut manifest = Tree::new();
        kept.iter().for_each(|(_, kept)| manifest.apply(kept));
        self.push(Sheet::Fresh(Arc::new(copy), Arc::new(manifest)));
        Ok(())
    }

    /// Takes a tree of the store and lays it on top.
    pub(crate) fn push_tree(&mut self, context: &Context<'_>, digest: &Digest) -> Result<(), BuildError> {
        let tree = context.tree(digest)?;
        tree.check()?;
        self.push(Sheet::Tree(tree));
        Ok(())
    }

    /// Gives the physical directories, the topmost first.
    ///
    /// An overlay takes each directory once (else ELOOP), and two steps may have changed the same. Of equal layers the
    /// topmost decides all that any of them says, so the lower ones are left out, and so is one that says nothing.
    pub(crate) fn lowers(&self) -> Vec<PathBuf> {
        let mut seen = BTreeSet::new();
        let said = self.0.iter().rev().filter(|sheet| !sheet.manifest().is_empty());
        said.map(Sheet::path).filter(|path| seen.insert(path.clone())).collect()
    }

    /// Makes a writable copy of what the layers show together.
    pub(crate) fn copy(&self, store: &Store) -> Result<RootCopy, BuildError> {
        let paths: Vec<PathBuf> = self.0.iter().map(Sheet::path).collect();
        let layers = self.0.iter().zip(&paths).map(|(sheet, path)| Layer { path, manifest: sheet.manifest() });
        Ok(store.copy_root(&layers.collect::<Vec<_>>())?)
    }

    /// Gives what the layers show together.
    pub(crate) fn merged(&self) -> Tree {
        let mut sheets = self.0.iter();
        let mut tree = sheets.next().map(|sheet| sheet.manifest().clone()).unwrap_or_default();
        for sheet in sheets {
            tree.apply(sheet.manifest());
        }
        tree
    }

    /// Opens the bytes of a file, verified, wherever in the layers they are.
    pub(crate) fn open(&self, path: &CleanPath, digest: &Digest) -> Result<File, BuildError> {
        for sheet in self.0.iter().rev() {
            if let Some(file) = sheet.open(path, digest)? {
                return Ok(file);
            }
        }
        Err(BuildError::Gone { what: path.to_string() })
    }
}

/// Gives the node of a further name as that of a file of its own, and a directory as one that hides nothing.
fn shown(tree: &Tree, path: &CleanPath, node: &Node) -> Node {
    match node {
        Node::Hardlink { .. } => tree.file(path).map_or_else(|| node.clone(), |(_, file)| file.clone()),
        Node::Directory { mode, owner, .. } => Node::Directory { mode: *mode, owner: *owner, opaque: false },
        other => other.clone(),
    }
}

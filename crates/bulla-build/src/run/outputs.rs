//! Takes outputs out of the layers of a stage, and puts them where they are wanted.

use bulla_model::{
    CleanPath, Digest, Epoch, Tree,
    plan::PlannedStage,
    spec::{AbsolutePath, Name},
    tree::{Node, Owner},
};
use bulla_store::{StoredTree, TreeBuilder};
use serde::{Deserialize, Serialize};

use super::{
    BuildError,
    anew::Anew,
    context::Context,
    record::{Action, FORMAT},
    stack::{Sheet, Stack},
    supply::Standing,
};

/// An output that is in the store.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct OutputResult {
    /// The tree: what the directory holds, or the file under its own name.
    pub(crate) tree: Digest,
    /// Whether the output is a single file or link.
    pub(crate) single: bool,
    /// The directory's own node is not in its tree: its mode and owner.
    pub(crate) mode: u32,
    /// See `mode`.
    pub(crate) owner: Owner,
    /// What it stands on. It is known where it is taken, and is no part of what is kept.
    #[serde(skip)]
    pub(crate) stands: Standing,
}

/// Takes a file or directory out of the layers that a stage ended with.
pub(crate) fn take(
    context: &Context<'_>,
    stage: &PlannedStage,
    name: &Name,
    path: &CleanPath,
    stack: &Stack,
    merged: &Tree,
    epoch: Epoch,
) -> Result<OutputResult, BuildError> {
    let missing = |why: Option<String>| BuildError::NoOutput {
        stage: stage.name.clone(),
        output: name.clone(),
        path: path.clone(),
        why,
    };
    for above in path.ancestors() {
        if let Some(Node::Symlink { target, .. }) = merged.get(&above) {
            let target = bulla_model::path::printable(target);
            return Err(missing(Some(format!(
                "/{above} is a symbolic link to {target}; name the path that it leads to"
            ))));
        }
    }
    let node = merged.get(path).ok_or_else(|| missing(None))?;
    let single = !node.is_directory();
    let mut tree = if single {
        let (_, node) = merged.file(path).unwrap_or((path, node));
        let base = CleanPath::parse(path.name())?;
        [(base, node.clone())].into_iter().collect()
    } else {
        merged.subtree(path)
    };
    let inside = |short: &CleanPath| if single { Ok(path.clone()) } else { path.join(short) };
    let mut owned = Tree::new();
    for (short, mut node) in std::mem::take(&mut tree) {
        if let Some(owner) = owner_of(stage, &inside(&short)?) {
            node.set_owner(owner);
        }
        owned.insert(short, node);
    }
    let open = |short: &CleanPath, digest: &Digest| {
        let place = inside(short)?;
        // Behind a hard link the bytes stand under another name.
        let real = merged.file(&place).map_or(&place, |(real, _)| real).clone();
        stack.open(&real, digest)
    };
    let anew = Anew::write(context, stage, &mut owned, &inside, &open)?;
    let digest = write(context, &owned, epoch, &|short, digest| match anew.open(short) {
        Some(file) => file,
        None => open(short, digest),
    })?;
    let (mode, owner) = match node {
        Node::Directory { mode, owner, .. } => (mode.bits(), owner_of(stage, path).unwrap_or(*owner)),
        _ => (0o755, Owner::ROOT),
    };
    Ok(OutputResult { tree: digest, single, mode, owner, stands: Standing::default() })
}

/// The owner that the spec gives to a path: that of the longest of `owners` that it lies beneath.
fn owner_of(stage: &PlannedStage, path: &CleanPath) -> Option<Owner> {
    let path = AbsolutePath::from(path.clone());
    let beneath = stage.owners.iter().filter(|(base, _)| path.starts_with(base));
    beneath.max_by_key(|(base, _)| base.to_string().len()).map(|(_, owner)| *owner)
}

/// Writes a tree whose files are read from elsewhere.
pub(crate) fn write(
    context: &Context<'_>,
    tree: &Tree,
    time: Epoch,
    open: &dyn Fn(&CleanPath, &Digest) -> Result<std::fs::File, BuildError>,
) -> Result<Digest, BuildError> {
    let mut builder = context.store.tree_builder()?;
    for (path, node) in tree.iter() {
        put(&mut builder, path, node, time, open)?;
    }
    // A hard link may stand before its file in the order of paths.
    for (path, node) in tree.iter() {
        if let Node::Hardlink { target } = node {
            builder.hardlink(path, target)?;
        }
    }
    Ok(builder.finish(Some(&tree.digest()))?.digest())
}

fn put(
    builder: &mut TreeBuilder,
    path: &CleanPath,
    node: &Node,
    time: Epoch,
    open: &dyn Fn(&CleanPath, &Digest) -> Result<std::fs::File, BuildError>,
) -> Result<(), BuildError> {
    match node {
        Node::Directory { mode, owner, opaque: false } => builder.directory(path, *mode, *owner)?,
        Node::Directory { mode, owner, opaque: true } => builder.opaque_directory(path, *mode, *owner)?,
        Node::File { mode, owner, digest, .. } => {
            builder.file(path, *mode, *owner, time, &mut open(path, digest)?)?;
        }
        Node::Symlink { owner, target } => builder.symlink(path, *owner, target)?,
        Node::Whiteout => builder.whiteout(path)?,
        Node::Hardlink { .. } => {}
    }
    Ok(())
}

/// Gives the path that something has in a root of Debian packages, whose `/bin`, `/lib` and `/sbin` are links.
pub(crate) fn in_debian(to: &AbsolutePath) -> AbsolutePath {
    to.clean().map_or(AbsolutePath::ROOT, |path| bulla_ecosystems::debian::deb::usrmerged(path).into())
}

/// Gives the path that something has in an image of a registry: through its symbolic links, as far as they lead to directories
/// of it.
pub(crate) fn through(base: &Tree, to: &AbsolutePath) -> AbsolutePath {
    /// As Linux has it (path_resolution(7)).
    const MOST: usize = 40;
    let Some(wanted) = to.clean() else { return AbsolutePath::ROOT };
    let mut left: Vec<Vec<u8>> = wanted.components().map(<[u8]>::to_vec).collect();
    left.reverse();
    let mut done: Vec<Vec<u8>> = Vec::new();
    let mut links = 0;
    while let Some(part) = left.pop() {
        match part.as_slice() {
            b"" | b"." => continue,
            b".." => {
                done.pop();
                continue;
            }
            _ => done.push(part),
        }
        let here = CleanPath::parse(done.join(&b'/'));
        if let Some(Node::Symlink { target, .. }) = here.ok().as_ref().and_then(|here| base.get(here)) {
            links += 1;
            if links > MOST {
                return to.clone();
            }
            done.pop();
            if target.starts_with(b"/") {
                done.clear();
            }
            left.extend(target.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
        }
    }
    CleanPath::parse(done.join(&b'/')).map_or(AbsolutePath::ROOT, Into::into)
}

/// Gives the manifest that an output has at a path of an image or stage.
pub(crate) fn placed(output: &OutputResult, tree: &Tree, to: &AbsolutePath) -> Result<Tree, BuildError> {
    let Some(to) = to.clean() else { return Ok(tree.clone()) };
    let mut placed = if output.single {
        let only = tree.iter().next().map(|(_, node)| node.clone());
        only.into_iter().map(|node| (to.clone(), node)).collect()
    } else {
        let mut placed = tree.beneath_prefix(to)?;
        placed.insert(
            to.clone(),
            Node::Directory { mode: bulla_model::tree::Mode::new(output.mode), owner: output.owner, opaque: false },
        );
        placed
    };
    placed.complete();
    Ok(placed)
}

/// Gives the path that a file of a placed output has in the output's own tree.
pub(crate) fn unplaced(output: &OutputResult, tree: &Tree, to: &AbsolutePath, path: &CleanPath) -> Option<CleanPath> {
    match to.clean() {
        None => Some(path.clone()),
        Some(_) if output.single => tree.iter().next().map(|(only, _)| only.clone()),
        Some(to) => path.strip_prefix(to),
    }
}

/// Makes a tree that has an output at a path, to be laid over a stage.
pub(crate) fn place(
    context: &Context<'_>,
    output: &OutputResult,
    to: &AbsolutePath,
    epoch: Epoch,
) -> Result<Digest, BuildError> {
    let text = to.to_string();
    let action = Action::Place {
        format: FORMAT,
        output: output.tree,
        single: output.single,
        mode: output.mode,
        to: &text,
        epoch,
    }
    .digest();
    if let Some(digest) = context.earlier::<Digest>(&action, output.stands)? {
        return Ok(digest);
    }
    let stored = load(context, &output.tree)?;
    let tree = placed(output, stored.manifest(), to)?;
    let digest = write(context, &tree, epoch, &|path, _| {
        let short = unplaced(output, stored.manifest(), to, path)
            .ok_or_else(|| super::stages::internal("a placed path that is not in the output"))?;
        Ok(stored.open_file(&short)?)
    })?;
    context.keep(&action, &digest, output.stands)?;
    Ok(digest)
}

/// Merges deltas into one that shows the same over any root.
pub(crate) fn merge(
    context: &Context<'_>,
    deltas: &[Digest],
    stands: Standing,
    epoch: Epoch,
) -> Result<Digest, BuildError> {
    let action = Action::Merge { format: FORMAT, deltas, epoch }.digest();
    if let Some(digest) = context.earlier::<Digest>(&action, stands)? {
        return Ok(digest);
    }
    let mut stack = Stack::default();
    let mut merged = Tree::new();
    for delta in deltas {
        let stored = load(context, delta)?;
        merged.stack(stored.manifest());
        stack.push(Sheet::Tree(stored));
    }
    let digest = write(context, &merged, epoch, &|path, digest| stack.open(path, digest))?;
    context.keep(&action, &digest, stands)?;
    Ok(digest)
}

/// Gives a tree that must be there.
pub(crate) fn load(context: &Context<'_>, digest: &Digest) -> Result<StoredTree, BuildError> {
    context.tree(digest)
}

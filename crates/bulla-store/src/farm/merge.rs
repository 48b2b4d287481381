//! Merges manifests: which tree gives what stands at a path.

use std::collections::{BTreeMap, HashMap};

use bulla_model::{CleanPath, tree::Node};

use crate::{
    error::{Error, Result},
    farm::{
        Part,
        plant::{Job, Plan},
    },
    stamp::Stamp,
    tree::{StoredTree, physical_directory},
};

/// For each path the number of the tree that gives it, and what stands there.
pub(crate) type Merged = BTreeMap<CleanPath, (usize, Node)>;

/// Merges the parts in their order.
pub(crate) fn merge(parts: &[Part], trees: &[StoredTree]) -> Result<Merged> {
    let mut merged = Merged::new();
    for (number, (part, tree)) in parts.iter().zip(trees).enumerate() {
        for (path, node) in tree.manifest().iter() {
            if is_hidden(part, path) {
                continue;
            }
            if matches!(node, Node::Whiteout | Node::Directory { opaque: true, .. }) {
                return Err(Error::NotAPackage { digest: part.tree, path: path.clone() });
            }
            let node = match node {
                Node::Hardlink { target } if is_hidden(part, target) => own_file(part, tree, target, path),
                other => other.clone(),
            };
            let agree = match merged.get(path) {
                None => true,
                Some((_, Node::Directory { .. })) => node.is_directory(),
                Some((_, Node::Symlink { target: first, .. })) => {
                    matches!(&node, Node::Symlink { target, .. } if target == first)
                }
                Some(_) => false,
            };
            if !agree {
                let first = merged.get(path).and_then(|(first, _)| parts.get(*first)).map_or(part.tree, |p| p.tree);
                return Err(Error::Conflict { path: path.clone(), first, second: part.tree });
            }
            merged.insert(path.clone(), (number, node));
        }
    }
    // Every tree has all directories above its entries, so a file above another tree's file was met as a conflict.
    Ok(merged)
}

fn is_hidden(part: &Part, path: &CleanPath) -> bool {
    !part.hidden.is_empty()
        && (part.hidden.contains(path) || path.ancestors().any(|above| part.hidden.contains(&above)))
}

/// A hard link whose file is hidden: the first name that is left becomes the file, further ones link to it.
fn own_file(part: &Part, tree: &StoredTree, target: &CleanPath, path: &CleanPath) -> Node {
    let first = tree.manifest().iter().find(|(candidate, node)| {
        matches!(node, Node::Hardlink { target: other } if other == target) && !is_hidden(part, candidate)
    });
    match first {
        Some((first, _)) if first != path => Node::Hardlink { target: first.clone() },
        _ => tree.manifest().get(target).cloned().unwrap_or(Node::Hardlink { target: target.clone() }),
    }
}

/// Turns what was merged into directories to make and links to plant.
/// `stamps` are those of each tree's root and entries, in order.
pub(crate) fn plan<'a>(merged: &'a Merged, trees: &'a [StoredTree], stamps: &[Vec<Stamp>]) -> Plan<'a> {
    let stamps: Vec<HashMap<&CleanPath, Stamp>> = trees
        .iter()
        .zip(stamps)
        .map(|(tree, stamps)| {
            tree.manifest().iter().map(|(path, _)| path).zip(stamps.iter().skip(1).copied()).collect()
        })
        .collect();
    let mut plan = Plan::default();
    for (path, (number, node)) in merged {
        let (Some(tree), Some(stamps)) = (trees.get(*number), stamps.get(*number)) else { continue };
        match node {
            Node::Directory { mode, .. } => plan.directories.push((path.clone(), physical_directory(*mode))),
            _ => {
                let Some(stamp) = stamps.get(path).copied() else { continue };
                plan.jobs.push(Job { from: tree.root(), name: path.as_ref(), to: path, stamp });
            }
        }
    }
    plan
}

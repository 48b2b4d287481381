//! Brings what a step left into one canonical delta, however it was run.
//!
//! An overlay's upper has what was touched, changed or not, and hides by opaque directories; a copy that was changed in
//! place has everything. Compared with the manifest below, both become the same: what differs, the directories above it,
//! and a whiteout for each path that is gone. So the digest of a delta does not tell which way was taken.

use std::collections::{BTreeMap, BTreeSet};

use bulla_model::{CleanPath, Tree, tree::Node};

/// What is to be done with a directory so that it becomes the canonical delta.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// The delta.
    pub(crate) delta: Tree,
    /// Paths of the directory that go, since they differ in nothing from what is below.
    pub(crate) pruned: Vec<CleanPath>,
    /// Whiteouts that are to be made.
    pub(crate) hidden: BTreeSet<CleanPath>,
    /// Directories that are not to be opaque any more.
    pub(crate) cleared: Vec<CleanPath>,
}

/// Compares what was found with what is below. `whole` says that it is a changed copy of all that is below; else it is
/// what lies over it.
pub(crate) fn reconcile(found: &Tree, below: &Tree, whole: bool) -> Changes {
    let hidden = hidden(found, below, whole);
    let moved = moved_groups(found, below);
    let mut kept: BTreeSet<CleanPath> = BTreeSet::new();
    let mut keep = |path: &CleanPath| {
        kept.extend(path.ancestors());
        kept.insert(path.clone());
    };
    for (path, node) in found.iter() {
        let differs = match node {
            Node::Whiteout => below.get(path).is_some(),
            Node::Directory { mode, owner, .. } => {
                below.get(path) != Some(&Node::Directory { mode: *mode, owner: *owner, opaque: false })
            }
            Node::Symlink { .. } => below.get(path) != Some(node),
            Node::File { .. } => moved.contains(path) || !same_file(found, below, path),
            Node::Hardlink { target } => moved.contains(target) || !same_file(found, below, path),
        };
        if differs {
            keep(path);
        }
    }
    hidden.iter().for_each(|path| kept.extend(path.ancestors()));
    let mut changes = Changes { hidden, ..Changes::default() };
    for (path, node) in found.iter() {
        if !kept.contains(path) {
            changes.pruned.push(path.clone());
            continue;
        }
        let node = match node {
            Node::Directory { mode, owner, opaque } => {
                if *opaque {
                    changes.cleared.push(path.clone());
                }
                Node::Directory { mode: *mode, owner: *owner, opaque: false }
            }
            other => other.clone(),
        };
        changes.delta.insert(path.clone(), node);
    }
    for path in &changes.hidden {
        changes.delta.insert(path.clone(), Node::Whiteout);
    }
    changes
}

fn same_file(found: &Tree, below: &Tree, path: &CleanPath) -> bool {
    matches!((found.file(path), below.file(path)), (Some((_, now)), Some((_, before))) if now == before)
}

/// Finds the files with several names that were not one file before, or of which one name is new or differs: an overlay
/// has all their names, and a link of a delta must not lead out of it. Gives the paths of the files.
fn moved_groups(found: &Tree, below: &Tree) -> BTreeSet<CleanPath> {
    let mut groups: BTreeMap<&CleanPath, Vec<&CleanPath>> = BTreeMap::new();
    for (path, node) in found.iter() {
        if let Node::Hardlink { target } = node {
            groups.entry(target).or_default().push(path);
        }
    }
    let stays = |file: &CleanPath, names: &[&CleanPath]| {
        let one = below.file(file).map(|(path, _)| path);
        names.iter().all(|name| below.file(name).map(|(path, _)| path) == one)
            && names.iter().copied().chain([file]).all(|name| same_file(found, below, name))
    };
    groups.into_iter().filter(|(file, names)| !stays(file, names)).map(|(file, _)| file.clone()).collect()
}

/// Finds what is below and does not show any more, without a whiteout that says so: the topmost paths.
fn hidden(found: &Tree, below: &Tree, whole: bool) -> BTreeSet<CleanPath> {
    let gone = |path: &CleanPath| {
        found.get(path).is_none()
            && path.parent().is_none_or(|parent| {
                found.get(&parent).is_some_and(Node::is_directory) && below.get(&parent).is_some_and(Node::is_directory)
            })
    };
    if whole {
        return below.iter().map(|(path, _)| path).filter(|path| gone(path)).cloned().collect();
    }
    let opaque = found.iter().filter(|(_, node)| matches!(node, Node::Directory { opaque: true, .. }));
    opaque
        .filter(|(path, _)| below.get(path).is_some_and(Node::is_directory))
        .flat_map(|(path, _)| below.beneath(path).map(|(path, _)| path).filter(|path| gone(path)))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use bulla_model::{Digest, tree::Mode, tree::Owner};
    use proptest::prelude::*;

    use super::*;

    /// A small tree that has what can be confused: the same few names as files, directories and links.
    fn trees() -> impl Strategy<Value = Tree> {
        let node = prop_oneof![
            (0_u8..3).prop_map(|content| Node::file(0o644, Digest::of([content]), 1)),
            (0_u8..2).prop_map(|mode| Node::directory(0o700 + u32::from(mode) * 0o55)),
            (0_u8..2).prop_map(|target| Node::symlink(if target == 0 { "a" } else { "b" })),
        ];
        let path = prop::collection::vec("[abc]", 1..4).prop_map(|names| names.join("/"));
        prop::collection::vec((path, node), 0..12).prop_map(|entries| {
            let mut tree = Tree::new();
            for (path, node) in entries {
                let path: CleanPath = path.parse().expect("clean");
                if path.ancestors().any(|above| tree.get(&above).is_some_and(|node| !node.is_directory())) {
                    continue;
                }
                tree.remove(&path);
                tree.insert(path, node);
            }
            tree.complete();
            tree
        })
    }

    /// Lays out a tree as an overlay might have it that made it from another: each directory opaque or not.
    fn upper(below: &Tree, after: &Tree, opaque: &[bool]) -> Tree {
        let mut upper = after.clone();
        let directories: Vec<CleanPath> =
            after.iter().filter(|(_, node)| node.is_directory()).map(|(path, _)| path.clone()).collect();
        let mut chosen = opaque.iter().copied().cycle();
        for path in directories {
            if chosen.next() == Some(true)
                && let Some(Node::Directory { opaque, .. }) = upper.get_mut(&path)
            {
                *opaque = true;
            }
        }
        let seen = upper.clone();
        for (path, _) in below.iter().filter(|(path, _)| after.get(path).is_none()) {
            let under =
                path.ancestors().any(|above| matches!(seen.get(&above), Some(Node::Directory { opaque: true, .. })));
            if !under && path.parent().is_none_or(|parent| after.get(&parent).is_some_and(Node::is_directory)) {
                upper.insert(path.clone(), Node::Whiteout);
            }
        }
        upper
    }

    proptest! {
        #[test]
        fn a_delta_leads_from_what_was_to_what_is(below in trees(), after in trees()) {
            let changes = reconcile(&after, &below, true);
            let mut reached = below.clone();
            reached.apply(&changes.delta);
            prop_assert_eq!(reached, after);
        }

        #[test]
        fn an_overlay_and_a_copy_give_the_same_delta(
            below in trees(),
            after in trees(),
            opaque in prop::collection::vec(any::<bool>(), 1..8),
        ) {
            let copied = reconcile(&after, &below, true).delta;
            let over = reconcile(&upper(&below, &after, &opaque), &below, false).delta;
            prop_assert_eq!(copied, over);
        }

        #[test]
        fn nothing_is_left_of_what_did_not_change(tree in trees()) {
            prop_assert!(reconcile(&tree, &tree, true).delta.is_empty());
        }
    }

    #[test]
    fn a_new_name_of_an_old_file_brings_the_file_along() {
        let path = |text: &str| text.parse::<CleanPath>().expect("clean");
        let file = Node::file(0o644, Digest::of("x"), 1);
        let below: Tree =
            [(path("a"), file.clone()), (path("b"), Node::Hardlink { target: path("a") })].into_iter().collect();
        let mut found = below.clone();
        assert!(reconcile(&found, &below, false).delta.is_empty(), "two names of one file, as before");
        found.insert(path("c"), Node::Hardlink { target: path("a") });
        assert_eq!(reconcile(&found, &below, false).delta, found);
        found.insert(
            path("a"),
            Node::File { mode: Mode::new(0o644), owner: Owner { uid: 1, gid: 1 }, digest: Digest::of("x"), size: 1 },
        );
        assert_eq!(reconcile(&found, &below, false).delta, found, "another owner");
    }
}

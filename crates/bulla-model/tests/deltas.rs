//! Deltas laid one over the other: merged into one, they show what they show in their order.

use bulla_model::{
    CleanPath, Digest, Tree,
    tree::{Mode, Node, Owner},
};
use proptest::prelude::*;

/// Makes a tree of few names, so that the same path is a file, a directory and a link in turn.
fn trees(delta: bool) -> impl Strategy<Value = Tree> {
    let path = prop::collection::vec("[abc]", 1..4).prop_map(|names| names.join("/"));
    prop::collection::vec((path, 0_u8..8, any::<prop::sample::Index>()), 0..14).prop_map(move |entries| {
        let mut tree = Tree::new();
        for (path, kind, index) in entries {
            let path: CleanPath = path.parse().expect("clean");
            if path.ancestors().any(|above| tree.get(&above).is_some_and(|node| !node.is_directory())) {
                continue;
            }
            tree.remove(&path);
            let files: Vec<CleanPath> = tree
                .iter()
                .filter(|(_, node)| matches!(node, Node::File { .. }))
                .map(|(path, _)| path.clone())
                .collect();
            let opaque = |opaque| Node::Directory { mode: Mode::new(0o755), owner: Owner::ROOT, opaque };
            let node = match kind {
                0 if delta => Node::Whiteout,
                1 if delta => opaque(true),
                2 => opaque(false),
                3 => Node::symlink("a"),
                4 | 5 if !files.is_empty() => Node::Hardlink { target: index.get(&files).clone() },
                _ => Node::file(0o644, Digest::of([kind]), 1),
            };
            tree.insert(path, node);
        }
        tree.complete();
        whole_links(&tree)
    })
}

/// What was replaced after it was linked leaves links to nothing: they go.
fn whole_links(tree: &Tree) -> Tree {
    tree.iter()
        .filter(|(path, node)| !matches!(node, Node::Hardlink { .. }) || tree.file(path).is_some())
        .map(|(path, node)| (path.clone(), node.clone()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn merged_deltas_show_what_they_show_in_turn(
        base in trees(false),
        deltas in prop::collection::vec(trees(true), 1..6),
    ) {
        let (mut one_by_one, mut merged) = (base.clone(), Tree::new());
        for delta in &deltas {
            one_by_one.apply(delta);
            merged.stack(delta);
        }
        let mut at_once = base;
        at_once.apply(&merged);
        prop_assert_eq!(at_once, one_by_one);
    }

    #[test]
    fn no_link_leads_to_what_is_gone(base in trees(false), deltas in prop::collection::vec(trees(true), 1..6)) {
        let (mut shown, mut merged) = (base, Tree::new());
        for delta in &deltas {
            shown.apply(delta);
            merged.stack(delta);
            for tree in [&shown, &merged] {
                for (path, node) in tree.iter().filter(|(_, node)| matches!(node, Node::Hardlink { .. })) {
                    prop_assert!(tree.file(path).is_some(), "{path}: {node:?}");
                }
            }
            let hides = |node: &Node| matches!(node, Node::Whiteout | Node::Directory { opaque: true, .. });
            let hiding = shown.iter().any(|(_, node)| hides(node));
            prop_assert!(!hiding, "nothing of a whole tree hides");
        }
    }
}

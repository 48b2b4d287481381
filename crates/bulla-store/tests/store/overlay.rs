//! Farms and deltas under a real overlay, as a step sees them.

use std::{os::unix::fs::symlink, path::Path, process::Command};

use bulla_model::{CleanPath, Digest, Epoch, Tree, tree::Node};
use bulla_store::{Attributes, Layer, Part, Store, StoredTree, UpperRules};

use crate::{Home, hosts::in_namespace, kills::home_of_child, options_in, path, tree_of};

#[test]
fn a_delta_of_a_real_overlay_is_what_the_step_saw() {
    let home = Home::new();
    // The store's own folder carries no overlay in a container: a tmpfs does.
    in_namespace("overlay::steps", &home, "mount -t tmpfs -o size=64m none \"$1\"");
}

fn mount(lowers: &[&Path], upper: &Path, work: &Path, at: &Path) -> bool {
    let lowers: Vec<_> = lowers.iter().map(|lower| lower.to_str().unwrap()).collect();
    let options =
        format!("userxattr,lowerdir={},upperdir={},workdir={}", lowers.join(":"), upper.display(), work.display());
    Command::new("mount").args(["-t", "overlay", "overlay", "-o", &options]).arg(at).status().unwrap().success()
}

/// Describes what is at a path, as a manifest does.
fn describe(root: &Path, below: Option<&CleanPath>, into: &mut Vec<(CleanPath, String)>) {
    let dir = below.map_or(root.to_owned(), |below| root.join(below));
    for entry in std::fs::read_dir(dir).unwrap() {
        let name = CleanPath::parse(entry.unwrap().file_name().as_encoded_bytes()).unwrap();
        let path = below.map_or(name.clone(), |below| below.join(&name).unwrap());
        let at = root.join(&path);
        let metadata = std::fs::symlink_metadata(&at).unwrap();
        if metadata.is_dir() {
            into.push((path.clone(), "directory".into()));
            describe(root, Some(&path), into);
        } else if metadata.is_symlink() {
            into.push((path, format!("link {}", std::fs::read_link(&at).unwrap().display())));
        } else {
            into.push((path, format!("file {}", Digest::of(std::fs::read(&at).unwrap()))));
        }
    }
    into.sort();
}

fn expected(tree: &Tree) -> Vec<(CleanPath, String)> {
    let describe = |path: &CleanPath, node: &Node| match node {
        Node::Directory { .. } => "directory".to_owned(),
        Node::Symlink { target, .. } => format!("link {}", String::from_utf8_lossy(target)),
        _ => match tree.file(path) {
            Some((_, Node::File { digest, .. })) => format!("file {digest}"),
            other => panic!("{path}: {other:?}"),
        },
    };
    tree.iter().map(|(path, node)| (path.clone(), describe(path, node))).collect()
}

#[test]
#[ignore = "the child of `a_delta_of_a_real_overlay_is_what_the_step_saw`"]
#[expect(clippy::print_stderr, reason = "a skipped test says why")]
fn steps() {
    let Some(home) = home_of_child() else { return };
    let store = Store::open(options_in(&home)).unwrap();
    let trees = [
        tree_of(&store, &[("etc/a", "a"), ("etc/b", "b"), ("dir/x", "x"), ("dir/sub/y", "y"), ("opt/z", "z")]).digest(),
        tree_of(&store, &[("etc/c", "c"), ("usr/tool", "tool")]).digest(),
    ];
    let farm = store.farm(&trees).unwrap();
    let mut all = store.merged(&trees.map(Part::from)).unwrap();
    let scratch = store.scratch("mount").unwrap();
    let at = scratch.folder("at", 0o755).unwrap();
    let farm_manifest = all.clone();
    let mut deltas: Vec<StoredTree> = Vec::new();
    let steps: [&dyn Fn(&Path); 3] = [
        &|root| {
            std::fs::write(root.join("etc/a"), "changed").unwrap();
            std::fs::remove_file(root.join("etc/b")).unwrap();
            std::fs::remove_dir_all(root.join("dir")).unwrap();
            std::fs::create_dir(root.join("dir")).unwrap();
            std::fs::write(root.join("dir/new"), "new").unwrap();
            symlink("../usr/tool", root.join("etc/link")).unwrap();
        },
        &|root| {
            assert!(!root.join("dir/x").exists() && !root.join("etc/b").exists());
            std::fs::hard_link(root.join("usr/tool"), root.join("usr/alias")).unwrap();
            std::fs::write(root.join("etc/b"), "b again").unwrap();
            std::fs::remove_dir_all(root.join("opt")).unwrap();
            std::fs::write(root.join("opt"), "a file now").unwrap();
        },
        &|root| {
            std::fs::remove_file(root.join("opt")).unwrap();
            std::fs::remove_dir_all(root.join("dir")).unwrap();
            std::fs::rename(root.join("etc/c"), root.join("etc/d")).unwrap();
        },
    ];
    for (number, step) in steps.into_iter().enumerate() {
        let step_scratch = store.scratch("step").unwrap();
        let (upper, work) = (step_scratch.folder("upper", 0o755).unwrap(), step_scratch.folder("work", 0o755).unwrap());
        let lowers: Vec<&Path> = deltas.iter().rev().map(bulla_store::StoredTree::path).chain([farm.path()]).collect();
        if !mount(&lowers, &upper, &work, &at) {
            eprintln!("skipped: this host mounts no overlay");
            return;
        }
        step(&at);
        let mut seen = Vec::new();
        describe(&at, None, &mut seen);
        let farm_layer = Layer { path: farm.path(), manifest: &farm_manifest };
        let layers: Vec<Layer<'_>> = [farm_layer]
            .into_iter()
            .chain(deltas.iter().map(|delta| Layer { path: delta.path(), manifest: delta.manifest() }))
            .collect();
        let copy = store.copy_root(&layers).unwrap();
        step(&copy.path());
        assert!(Command::new("umount").arg(&at).status().unwrap().success());
        let rules = UpperRules {
            clamp: Epoch::default(),
            attributes: &|entry| Attributes { owner: Default::default(), mode: entry.mode },
            below: &all,
            inspector: None,
        };
        let adopted = store.adopt_upper(&upper, &rules).unwrap();
        let copied = store.adopt_copy(copy, &rules).unwrap();
        assert_eq!(copied.tree.manifest(), adopted.tree.manifest(), "step {number}: the two ways give the same");
        assert!(adopted.stripped.is_empty() && adopted.dropped.is_empty(), "step {number}: {adopted:?}");
        all.apply(adopted.tree.manifest());
        assert_eq!(expected(&all), seen, "step {number}");
        adopted.tree.check().unwrap();
        deltas.push(adopted.tree);
    }
    assert_eq!(all.get(&path("etc/d")).map(|node| matches!(node, Node::File { .. })), Some(true));
    assert_eq!(store.farm(&trees).unwrap().path(), farm.path());
    assert_eq!(store.verify(true).unwrap().damaged, [""; 0]);
    assert_eq!(store.warnings(), [""; 0]);
}

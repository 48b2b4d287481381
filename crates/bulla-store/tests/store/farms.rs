use std::{os::unix::fs::MetadataExt as _, path::Path};

use bulla_model::{
    Digest, Epoch,
    tree::{Mode, Node, Owner},
};
use bulla_store::{Error, Layer, Part};

use crate::{Home, content, flip, path, tree_of};

fn ino(path: impl AsRef<Path>) -> u64 {
    std::fs::symlink_metadata(path).unwrap().ino()
}

#[test]
fn a_farm_merges_trees_by_hard_links_and_is_kept() {
    let home = Home::new();
    let store = home.store();
    let first = tree_of(&store, &[("usr/bin/a", "same"), ("etc/a", "a")]);
    let mut builder = store.tree_builder().unwrap();
    let time = Epoch::default();
    builder.file(&path("usr/bin/b"), Mode::new(0o755), Owner::ROOT, time, &mut b"same".as_slice()).unwrap();
    builder.hardlink(&path("usr/bin/c"), &path("usr/bin/b")).unwrap();
    builder.symlink(&path("usr/bin/link"), Owner::ROOT, b"/etc/shadow").unwrap();
    builder.directory(&path("usr"), Mode::new(0o711), Owner::ROOT).unwrap();
    let second = builder.finish(None).unwrap();
    let trees = [first.digest(), second.digest()];

    let farm = store.farm(&trees).unwrap();
    let at = |name: &str| farm.path().join(name);
    assert_eq!(ino(at("usr/bin/a")), ino(first.path().join("usr/bin/a")));
    assert_ne!(ino(at("usr/bin/a")), ino(at("usr/bin/b")), "equal files of two packages are two inodes");
    assert_eq!(ino(at("usr/bin/c")), ino(at("usr/bin/b")));
    assert_eq!(std::fs::read_link(at("usr/bin/link")).unwrap(), Path::new("/etc/shadow"));
    assert_eq!(std::fs::metadata(at("usr")).unwrap().mode() & 0o777, 0o711, "the last tree gives the mode");

    let made = ino(at("usr"));
    let parts: Vec<Part> = trees.iter().copied().map(Part::from).collect();
    assert_eq!(store.merged(&parts).unwrap().len(), 8);
    assert_eq!(home.store().farm(&trees).unwrap().path(), farm.path());
    assert_eq!(ino(at("usr")), made, "it was not made anew");
    first.check().unwrap();
    assert_eq!(content(second.open_file(&path("usr/bin/c")).unwrap()), "same");
    assert_eq!(store.warnings(), [""; 0]);
}

#[test]
fn farms_that_share_trees_do_not_spoil_each_others_receipts() {
    let home = Home::new();
    let store = home.store();
    let [a, b, c] = ["a", "b", "c"].map(|name| tree_of(&store, &[(name, name)]).digest());
    let first = store.farm(&[a, b]).unwrap();
    let made = ino(first.path());
    store.farm(&[b, c]).unwrap();
    store.farm(&[a, c]).unwrap();
    assert_eq!(ino(store.farm(&[a, b]).unwrap().path()), made);
    assert_eq!(home.store().verify(false).unwrap().damaged, [""; 0]);
    assert_eq!(store.warnings(), [""; 0]);
}

/// What a process that was killed leaves: a root in its place whose record was not written yet.
#[test]
fn a_root_that_was_never_finished_makes_no_other_look_damaged() {
    for unfinished in 0..2 {
        let home = Home::new();
        let store = home.store();
        let [a, b, c] = ["a", "b", "c"].map(|name| tree_of(&store, &[(name, name)]).digest());
        let farms = [store.farm(&[a, b]).unwrap(), store.farm(&[b, c]).unwrap()];
        std::fs::remove_file(home.in_store(format!("receipts/f-{}", farms[unfinished].digest().hex()))).unwrap();
        assert_eq!(store.verify(false).unwrap().damaged, [""; 0]);
        assert!(!farms[unfinished].path().exists() && farms[1 - unfinished].path().exists());
        // One that was edited is damaged, and those beside it are not.
        let edited = store.farm(&[a, b, c]).unwrap();
        std::fs::write(edited.path().join("new"), "").unwrap();
        std::fs::remove_file(edited.path().join("new")).unwrap();
        assert_eq!(store.verify(false).unwrap().damaged, [format!("root {}", edited.digest())]);
        assert!(!edited.path().exists() && farms[1 - unfinished].path().exists());
        assert_eq!(store.verify(false).unwrap().damaged, [""; 0]);
    }
}

#[test]
fn two_trees_with_one_path_are_a_conflict_that_names_both() {
    let home = Home::new();
    let store = home.store();
    let (first, second) = (tree_of(&store, &[("usr/x", "1")]), tree_of(&store, &[("usr/x", "2")]));
    match store.farm(&[first.digest(), second.digest()]) {
        Err(Error::Conflict { path: at, first: a, second: b }) => {
            assert_eq!((at, a, b), (path("usr/x"), first.digest(), second.digest()));
        }
        other => panic!("{other:?}"),
    }
    let hidden = Part { tree: first.digest(), hidden: [path("usr/x")].into() };
    let farm = store.farm_of(&[hidden, second.digest().into()]).unwrap();
    assert_eq!(std::fs::read(farm.path().join("usr/x")).unwrap(), b"2");
}

#[test]
fn a_file_above_another_trees_file_is_a_conflict() {
    let home = Home::new();
    let store = home.store();
    let (first, second) = (tree_of(&store, &[("usr", "1")]), tree_of(&store, &[("usr/x", "2")]));
    for order in [[first.digest(), second.digest()], [second.digest(), first.digest()]] {
        assert!(matches!(store.farm(&order), Err(Error::Conflict { .. })));
    }
}

#[test]
fn a_delta_is_no_part_of_a_farm() {
    let home = Home::new();
    let store = home.store();
    let mut builder = store.tree_builder().unwrap();
    builder.whiteout(&path("gone")).unwrap();
    let delta = builder.finish(None).unwrap();
    assert!(matches!(store.farm(&[delta.digest()]), Err(Error::NotAPackage { .. })));
}

#[test]
fn missing_trees_are_named() {
    let home = Home::new();
    let none = Digest::of(b"none");
    match home.store().farm(&[none]) {
        Err(Error::TreesMissing { digests }) => assert_eq!(digests, [none]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_farm_comes_with_its_trees_whether_it_is_there_or_made_anew() {
    let home = Home::new();
    let store = home.store();
    let [a, b] = ["a", "b"].map(|name| tree_of(&store, &[(name, name)]).digest());
    let parts: Vec<Part> = vec![b.into(), a.into()];
    let mut made = Vec::new();
    for edit in [false, false, true] {
        if edit {
            std::fs::remove_file(store.farm_of(&parts).unwrap().path().join("a")).unwrap();
        }
        let (farm, manifest, trees) = store.farm_and_trees(&parts).unwrap();
        assert_eq!(farm.path(), store.farm_of(&parts).unwrap().path());
        assert_eq!(manifest, store.merged(&parts).unwrap());
        assert_eq!(trees.iter().map(bulla_store::StoredTree::digest).collect::<Vec<_>>(), [b, a], "in their order");
        assert_eq!(std::fs::read(farm.path().join("a")).unwrap(), b"a");
        made.push(ino(farm.path()));
    }
    assert_eq!(made[0], made[1], "what is there is used");
    // What was edited was made anew, for `a` was there again; its inode may be one that was freed.
    let told = store.warnings();
    assert!(matches!(told.as_slice(), [told] if told.contains("was changed in the store")), "{told:?}");
    flip(&store.farm_of(&parts).unwrap().path().join("b"));
    match store.farm_and_trees(&parts) {
        Err(Error::TreesMissing { digests }) => assert_eq!(digests, [b]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_hidden_file_leaves_its_other_names() {
    let home = Home::new();
    let store = home.store();
    let mut builder = store.tree_builder().unwrap();
    builder.file(&path("a"), Mode::new(0o644), Owner::ROOT, Epoch::default(), &mut b"x".as_slice()).unwrap();
    builder.hardlink(&path("b"), &path("a")).unwrap();
    builder.hardlink(&path("c"), &path("a")).unwrap();
    let tree = builder.finish(None).unwrap();
    let part = Part { tree: tree.digest(), hidden: [path("a")].into() };
    let merged = store.merged(std::slice::from_ref(&part)).unwrap();
    assert!(matches!(merged.get(&path("b")), Some(Node::File { .. })));
    assert_eq!(merged.get(&path("c")), Some(&Node::Hardlink { target: path("b") }));
    let farm = store.farm_of(&[part]).unwrap();
    assert!(!farm.path().join("a").exists());
    assert_eq!(ino(farm.path().join("b")), ino(farm.path().join("c")));
}

#[test]
fn a_farm_with_an_edited_file_is_thrown_away_with_its_tree_and_made_anew() {
    let home = Home::new();
    let store = home.store();
    let files = [("etc/conf", "setting=1"), ("etc/other", "kept")];
    let (edited, untouched) = (tree_of(&store, &files), tree_of(&store, &[("x", "y")]));
    let trees = [edited.digest(), untouched.digest()];
    let farm = store.farm(&trees).unwrap();
    flip(&farm.path().join("etc/conf"));
    match store.farm(&trees) {
        Err(Error::TreesMissing { digests }) => assert_eq!(digests, [edited.digest()]),
        other => panic!("{other:?}"),
    }
    let warnings = store.warnings();
    assert!(warnings.iter().any(|w| w.contains("etc/conf")), "{warnings:?}");
    assert!(store.tree(&edited.digest()).unwrap().is_none());
    tree_of(&store, &files);
    let farm = store.farm(&trees).unwrap();
    assert_eq!(std::fs::read(farm.path().join("etc/conf")).unwrap(), b"setting=1");
    assert_eq!(store.warnings(), [""; 0]);
}

#[test]
fn a_farm_with_a_file_added_replaced_or_removed_is_made_anew() {
    let home = Home::new();
    let store = home.store();
    let trees = [tree_of(&store, &[("usr/bin/a", "a"), ("usr/bin/b", "b")]).digest()];
    let edits: [fn(&Path); 5] = [
        |farm| std::fs::write(farm.join("usr/bin/evil"), "evil").unwrap(),
        |farm| std::fs::remove_file(farm.join("usr/bin/a")).unwrap(),
        |farm| {
            std::fs::write(farm.join("usr/new"), "evil").unwrap();
            std::fs::rename(farm.join("usr/new"), farm.join("usr/bin/a")).unwrap();
        },
        |farm| {
            std::fs::rename(farm.join("usr/bin"), farm.join("usr/elsewhere")).unwrap();
            std::os::unix::fs::symlink("elsewhere", farm.join("usr/bin")).unwrap();
        },
        |farm| {
            std::fs::rename(farm.join("usr/bin/a"), farm.join("usr/c")).unwrap();
            std::fs::rename(farm.join("usr/bin/b"), farm.join("usr/bin/a")).unwrap();
            std::fs::rename(farm.join("usr/c"), farm.join("usr/bin/b")).unwrap();
        },
    ];
    for edit in edits {
        let farm = store.farm(&trees).unwrap();
        edit(farm.path());
        let farm = store.farm(&trees).unwrap();
        assert_eq!(std::fs::read(farm.path().join("usr/bin/a")).unwrap(), b"a");
        assert_eq!(std::fs::read(farm.path().join("usr/bin/b")).unwrap(), b"b");
        assert!(!farm.path().join("usr/bin/evil").exists());
        assert_eq!(store.warnings().len(), 1);
    }
}

#[test]
fn a_copy_of_a_farm_is_writable_and_its_own() {
    let home = Home::new();
    let store = home.store();
    let mut builder = store.tree_builder().unwrap();
    let time = Epoch::new(1_000_000_000).unwrap();
    builder.file(&path("usr/a"), Mode::new(0o755), Owner::ROOT, time, &mut b"a".as_slice()).unwrap();
    builder.hardlink(&path("usr/b"), &path("usr/a")).unwrap();
    builder.symlink(&path("link"), Owner::ROOT, b"usr/a").unwrap();
    let tree = builder.finish(None).unwrap().digest();
    let farm = store.farm(&[tree]).unwrap();
    let manifest = store.merged(&[Part::from(tree)]).unwrap();
    let copy = store.copy_root(&[Layer { path: farm.path(), manifest: &manifest }]).unwrap();
    let at = |name: &str| copy.path().join(name);
    let metadata = std::fs::metadata(at("usr/a")).unwrap();
    assert_eq!(
        (metadata.mode() & 0o777, metadata.mtime(), metadata.nlink()),
        (0o755, 1_000_000_000, 1),
        "a step that writes to one name writes to no other"
    );
    assert_ne!(ino(at("usr/a")), ino(farm.path().join("usr/a")));
    assert_eq!(std::fs::read_link(at("link")).unwrap(), Path::new("usr/a"));
    std::fs::write(at("usr/a"), "changed").unwrap();
    assert_eq!(std::fs::read(farm.path().join("usr/a")).unwrap(), b"a");
    let path = copy.path().to_owned();
    drop(copy);
    assert!(!path.exists());
}

#[test]
fn several_processes_may_plant_farms_of_the_same_trees() {
    let home = Home::new();
    let trees: Vec<Digest> = {
        let store = home.store();
        (0..6).map(|i| tree_of(&store, &[(&format!("f{i}"), "x"), (&format!("d{i}/g"), "y")]).digest()).collect()
    };
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (home, trees) = (&home, &trees);
            scope.spawn(move || {
                let store = home.store();
                for round in 0..4 {
                    let chosen: Vec<Digest> = (0..3).map(|i| trees[(thread + round + i) % 6]).collect();
                    store.farm(&chosen).unwrap();
                    store.tree(&chosen[0]).unwrap().unwrap().check().unwrap();
                }
                assert_eq!(store.warnings(), [""; 0]);
            });
        }
    });
    assert_eq!(home.store().verify(true).unwrap().damaged, [""; 0]);
}

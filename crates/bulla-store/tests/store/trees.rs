use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, os::unix::fs::MetadataExt as _};

use bulla_model::{
    CleanPath, Digest, Epoch,
    tree::{Mode, Node, Owner},
};
use bulla_store::Error;

use crate::{Home, content, path, tree_of};

#[test]
fn a_tree_is_physical_and_read_back() {
    let home = Home::new();
    let store = home.store();
    let mut builder = store.tree_builder().unwrap();
    let (tool, time) = (path("usr/bin/tool"), Epoch::new(1_234_567_890).unwrap());
    let owner = Owner { uid: 5, gid: 6 };
    builder.file(&tool, Mode::new(0o4750), owner, time, &mut b"tool".as_slice()).unwrap();
    builder.directory(&path("usr"), Mode::new(0o555), Owner::ROOT).unwrap();
    builder.directory(&path("tmp"), Mode::new(0o1777), Owner::ROOT).unwrap();
    builder.file(&path("secret"), Mode::new(0), owner, time, &mut b"".as_slice()).unwrap();
    builder.symlink(&path("bin"), Owner::ROOT, b"usr/bin").unwrap();
    builder.hardlink(&path("usr/bin/alias"), &tool).unwrap();
    let digest = builder.finish(None).unwrap().digest();

    let tree = home.store().tree(&digest).unwrap().unwrap();
    tree.check().unwrap();
    assert_eq!(content(tree.open_file(&tool).unwrap()), "tool");
    assert_eq!(tree.manifest().digest(), digest);
    // The first name of a file is the file, whoever came first.
    assert_eq!(tree.manifest().get(&tool), Some(&Node::Hardlink { target: path("usr/bin/alias") }));
    let file = std::fs::metadata(tree.path().join("usr/bin/tool")).unwrap();
    assert_eq!((file.mode() & 0o7777, file.mtime(), file.nlink()), (0o4750, 1_234_567_890, 2));
    assert_eq!(std::fs::metadata(tree.path().join("secret")).unwrap().mode() & 0o7777, 0o400);
    assert_eq!(std::fs::metadata(tree.path().join("usr")).unwrap().mode() & 0o7777, 0o755);
    assert_eq!(std::fs::metadata(tree.path().join("tmp")).unwrap().mode() & 0o7777, 0o1777);
    assert_eq!(tree.manifest().get(&path("usr")), Some(&Node::directory(0o555)));
}

#[test]
fn the_same_tree_is_kept_once() {
    let home = Home::new();
    let store = home.store();
    let first = tree_of(&store, &[("a", "1"), ("b", "2")]);
    let again = tree_of(&store, &[("b", "2"), ("a", "1")]);
    assert_eq!(first.digest(), again.digest());
    assert_eq!(store.du().unwrap().trees.count, 1);
    let scratch = std::fs::read_dir(home.in_store("scratch")).unwrap().next().unwrap().unwrap();
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0, "no draft is left");
}

#[test]
fn impossible_entries_are_refused() {
    let home = Home::new();
    let store = home.store();
    let mut builder = store.tree_builder().unwrap();
    builder.symlink(&path("link"), Owner::ROOT, b"/etc").unwrap();
    let mut file = |name: &str| {
        builder.file(&path(name), Mode::new(0o644), Owner::ROOT, Epoch::default(), &mut b"x".as_slice()).map(|_| ())
    };
    file("file").unwrap();
    assert!(matches!(file("link/passwd"), Err(Error::Entry { .. })), "through a link");
    assert!(matches!(file("file/inner"), Err(Error::Entry { .. })), "beneath a file");
    assert!(matches!(file("file"), Err(Error::Entry { .. })), "twice");
    assert!(matches!(builder.hardlink(&path("h"), &path("link")), Err(Error::Entry { .. })));
    assert!(matches!(builder.hardlink(&path("h"), &path("none")), Err(Error::Entry { .. })));
    assert!(matches!(builder.symlink(&path("s"), Owner::ROOT, b""), Err(Error::Entry { .. })));
    assert!(matches!(builder.directory(&path("link"), Mode::new(0o755), Owner::ROOT), Err(Error::Entry { .. })));
    let wrong = Digest::of(b"another tree");
    assert!(matches!(builder.finish(Some(&wrong)), Err(Error::Mismatch { .. })));
    assert!(store.tree(&wrong).unwrap().is_none());
}

#[test]
fn names_of_any_bytes_and_of_255_of_them_are_kept() {
    let home = Home::new();
    let store = home.store();
    let odd = CleanPath::parse(b"d\xff/\xfe\n \\x").unwrap();
    let long = CleanPath::parse([b"l".repeat(255), b"/".to_vec(), b"m".repeat(255)].concat()).unwrap();
    let mut builder = store.tree_builder().unwrap();
    for name in [&odd, &long] {
        builder.file(name, Mode::new(0o644), Owner::ROOT, Epoch::default(), &mut b"x".as_slice()).unwrap();
    }
    let digest = builder.finish(None).unwrap().digest();
    let tree = home.store().tree(&digest).unwrap().unwrap();
    assert!(tree.path().join(OsStr::from_bytes(odd.as_bytes())).exists());
    assert_eq!(content(tree.open_file(&long).unwrap()), "x");
    assert_eq!(content(tree.open_file(&odd).unwrap()), "x");
}

#[test]
fn a_delta_keeps_whiteouts_and_opaque_directories() {
    use std::os::unix::fs::FileTypeExt as _;
    let home = Home::new();
    let store = home.store();
    let mut builder = store.tree_builder().unwrap();
    builder.whiteout(&path("gone")).unwrap();
    builder.opaque_directory(&path("new"), Mode::new(0o755), Owner::ROOT).unwrap();
    let digest = builder.finish(None).unwrap().digest();
    let tree = home.store().tree(&digest).unwrap().unwrap();
    tree.check().unwrap();
    let gone = std::fs::symlink_metadata(tree.path().join("gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    std::fs::remove_file(home.in_store("receipts").join(format!("t-{}", digest.hex()))).unwrap();
    tree.check().unwrap();
}

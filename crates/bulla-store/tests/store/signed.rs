//! Trees and results that come from other stores.

use bulla_model::{
    Digest, Epoch, Tree,
    tree::{Mode, Owner},
};
use bulla_store::{Error, SharedStore, SignedTree, SigningKey, Statement, Store, StoredTree};

use crate::{Home, path};

/// A tree with all that a delta may have in it.
fn tree(store: &Store) -> StoredTree {
    let mut builder = store.tree_builder().expect("a builder");
    let owner = Owner { uid: 7, gid: 8 };
    builder.opaque_directory(&path("d"), Mode::new(0o750), owner).expect("made");
    for (name, time) in [("d/a", 100), ("d/b", 200), ("e/empty", 300)] {
        let time = Epoch::new(time).expect("a time");
        let bytes = if name == "e/empty" { String::new() } else { name.repeat(5000) };
        builder.file(&path(name), Mode::new(0o4755), owner, time, &mut bytes.as_bytes()).expect("made");
    }
    builder.symlink(&path("e/link"), owner, b"../d/a").expect("made");
    builder.hardlink(&path("c"), &path("d/b")).expect("made");
    builder.whiteout(&path("gone")).expect("made");
    builder.finish(None).expect("finished")
}

fn packed(tree: &StoredTree) -> (SignedTree, Vec<u8>) {
    let mut bytes = Vec::new();
    tree.pack(&mut bytes).expect("packed");
    (tree.to_sign().expect("examined"), bytes)
}

/// The files of a store with their sizes, leases and scratch left out: those are of processes.
fn listing(home: &Home) -> Vec<(std::path::PathBuf, u64)> {
    let mut found = Vec::new();
    let mut open = vec![home.in_store("")];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let of_a_process = ["leases", "scratch"].iter().any(|name| entry.path() == home.in_store(name));
            match entry.metadata().unwrap() {
                kind if kind.is_dir() && !of_a_process => open.push(entry.path()),
                kind => found.push((entry.path(), kind.len())),
            }
        }
    }
    found.sort();
    found
}

fn modified(tree: &StoredTree, path: &str) -> std::time::SystemTime {
    std::fs::symlink_metadata(tree.path().join(path)).and_then(|m| m.modified()).expect("a time")
}

#[test]
fn a_packed_tree_comes_out_as_it_was_with_its_times() {
    let (one, other) = (Home::new(), Home::new());
    let (from, to) = (one.store(), other.store());
    let tree = tree(&from);
    let (signed, bytes) = packed(&tree);
    assert_eq!(packed(&tree).1, bytes, "the same bytes each time");
    let came = to.unpack_tree(&signed, &mut bytes.as_slice()).expect("unpacked");
    assert_eq!((came.digest(), came.manifest()), (tree.digest(), tree.manifest()));
    came.check().expect("as its manifest says");
    for (name, _) in tree.manifest().iter().filter(|(_, node)| !matches!(node, bulla_model::tree::Node::Whiteout)) {
        let name = name.to_string();
        assert_eq!(modified(&came, &name), modified(&tree, &name), "{name}");
    }
    assert_eq!(packed(&came).1, bytes);
    assert!(to.verify(true).expect("verified").damaged.is_empty());
}

#[test]
fn what_is_not_the_tree_that_was_signed_is_refused_and_leaves_nothing() {
    let (one, other) = (Home::new(), Home::new());
    let (from, to) = (one.store(), other.store());
    let (signed, bytes) = packed(&tree(&from));
    let plain = zstd::decode_all(bytes.as_slice()).expect("zstd");
    let again = |plain: &[u8]| zstd::encode_all(plain, 3).expect("zstd");
    let refuse = |what: &str, signed: &SignedTree, bytes: &[u8]| {
        let error = to.unpack_tree(signed, &mut &*bytes).expect_err(what);
        assert!(matches!(error, Error::Damaged { .. } | Error::Mismatch { .. }), "{what}: {error:?}");
        assert!(to.tree(&signed.tree).expect("a sound store").is_none(), "{what}");
    };
    for cut in (0..plain.len()).step_by(97).chain([plain.len() - 1]) {
        refuse("cut off", &signed, &again(&plain[..cut]));
    }
    for cut in (0..bytes.len()).step_by(13) {
        refuse("cut off while packed", &signed, &bytes[..cut]);
    }
    for at in (0..plain.len()).step_by(61) {
        let mut flipped = plain.clone();
        flipped[at] ^= 1;
        refuse("a flipped bit", &signed, &again(&flipped));
    }
    refuse("more at its end", &signed, &again(&[plain.as_slice(), b"x"].concat()));
    refuse("zeros without end", &signed, &again(&[plain.as_slice(), &vec![0; 1 << 24]].concat()));
    refuse("another length", &SignedTree { content: signed.content - 1, ..signed.clone() }, &bytes);
    refuse("other times", &SignedTree { times: Digest::of("other"), ..signed.clone() }, &bytes);
    refuse("a huge manifest", &SignedTree { manifest: u64::MAX, ..signed.clone() }, &bytes);
    to.unpack_tree(&signed, &mut bytes.as_slice()).expect("the control");
}

#[test]
fn a_store_of_others_is_read_and_not_written() {
    let (one, other) = (Home::new(), Home::new());
    let (signed, blob, action) = (tree(&one.store()).to_sign().expect("examined"), b"a blob", Digest::of("action"));
    let key = SigningKey::fresh().expect("a key");
    let digest = one.store().put_blob(blob).expect("kept");
    let statement = Statement::new(action, "{}".into(), vec![signed.clone()], Vec::new());
    one.store().put_signed(&action, &statement.sign(&key)).expect("kept");
    let before = listing(&one);
    let shared = SharedStore::open(&one.in_store("")).expect("opened");
    let to = other.store();
    let envelope = shared.signed(&action).expect("there");
    assert_eq!(Statement::open(&envelope, &action, &[key.public()]).expect("trusted"), statement);
    assert!(shared.signed(&Digest::of("other")).is_none());
    assert!(to.take_blob(&shared, &digest, blob.len() as u64).expect("taken"));
    assert!(!to.take_blob(&shared, &Digest::of("other"), 5).expect("not there"));
    assert!(to.take_tree(&shared, &signed).expect("taken"));
    assert_eq!(listing(&one), before, "nothing was written there");
    assert!(to.verify(true).expect("verified").damaged.is_empty());
}

#[test]
fn what_was_changed_in_a_store_of_others_is_not_taken() {
    let (one, other) = (Home::new(), Home::new());
    let stored = tree(&one.store());
    let signed = stored.to_sign().expect("examined");
    let digest = one.store().put_blob(b"a blob").expect("kept");
    let shared = SharedStore::open(&one.in_store("")).expect("opened");
    let to = other.store();
    overwrite(&one.in_store("blobs").join(digest.hex()), b"A blob");
    assert!(!to.take_blob(&shared, &digest, 6).expect("not taken"));
    let file = stored.path().join("d/a");
    let bytes = std::fs::read(&file).expect("read");
    let time = std::fs::metadata(&file).and_then(|m| m.modified()).expect("a time");
    let set = |time| std::fs::File::open(&file).and_then(|file| file.set_modified(time)).expect("set");
    overwrite(&file, &bytes.to_ascii_uppercase());
    set(time);
    assert!(!to.take_tree(&shared, &signed).expect("not taken"), "other bytes");
    overwrite(&file, &bytes);
    assert!(!to.take_tree(&shared, &signed).expect("not taken"), "another time, which a step could look at");
    set(time);
    assert!(to.take_tree(&shared, &signed).expect("taken"), "the control");
    let warnings = to.warnings();
    assert!(warnings.len() == 3 && warnings[0].contains("shared store"), "{warnings:?}");
}

fn overwrite(file: &std::path::Path, bytes: &[u8]) {
    use std::os::unix::fs::PermissionsExt as _;
    let before = std::fs::metadata(file).expect("there").permissions();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).expect("opened");
    std::fs::write(file, bytes).expect("written");
    std::fs::set_permissions(file, before).expect("closed");
}

#[test]
fn an_empty_tree_travels() {
    let (one, other) = (Home::new(), Home::new());
    let tree = one.store().tree_builder().expect("a builder").finish(None).expect("finished");
    assert_eq!(tree.manifest().as_ref(), &Tree::new());
    let (signed, bytes) = packed(&tree);
    other.store().unpack_tree(&signed, &mut bytes.as_slice()).expect("unpacked");
}

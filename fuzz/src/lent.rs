//! What comes from the stores of others, and in bundles: statements, packed trees, whole bundles.

use std::{io::Cursor, time::SystemTime};

use bulla_build::bundle::{self, BundleError};
use bulla_model::{Digest, Tree, tree::Node};
use bulla_store::{Options, PublicKey, SignedTree, SigningKey, Statement, Store};

use crate::text;

fn early() -> SystemTime {
    SystemTime::UNIX_EPOCH
}

thread_local! {
    /// A store of this thread in a folder of its own: what one input leaves there is nothing to the next.
    static STORE: (tempfile::TempDir, Store) = {
        let folder = tempfile::tempdir().expect("a folder");
        let options = Options::new(folder.path().join("store"), folder.path().join("key"), early);
        let store = Store::open(options).expect("a store");
        (folder, store)
    };
}

/// A signed statement, a statement that is then signed, and a public key.
pub(crate) fn statement(bytes: &[u8]) {
    let key = SigningKey::fresh().expect("a key");
    assert!(Statement::open(bytes, &Digest::of("action"), &[key.public()]).is_err(), "nobody signed it");
    if let Ok(statement) = serde_json::from_slice::<Statement>(bytes) {
        let opened = Statement::open(&statement.sign(&key), &statement.action, &[key.public()]);
        assert!(opened.is_err() || opened.as_ref() == Ok(&statement), "what was signed is what is read");
    }
    if let Ok(key) = text(bytes).parse::<PublicKey>() {
        assert_eq!(key.to_string().parse::<PublicKey>().ok(), Some(key), "a key is read back");
    }
}

/// A packed tree: a manifest, a NUL, and what follows a manifest, behind a right head and right digests. What becomes of it is
/// that very tree, or nothing.
pub(crate) fn packed(bytes: &[u8]) {
    let at = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (manifest, rest) = bytes.split_at(at);
    let rest = rest.get(1..).unwrap_or_default();
    let tree = std::str::from_utf8(manifest).ok().and_then(|text| Tree::decode(text).ok()).unwrap_or_default();
    let size = |node: &Node| if let Node::File { size, .. } = node { *size } else { 0 };
    let signed = SignedTree {
        tree: Digest::of(manifest),
        times: Digest::of(rest.get(..8 * (tree.len() + 1)).unwrap_or(rest)),
        manifest: manifest.len() as u64,
        content: tree.iter().fold(0, |sum: u64, (_, node)| sum.saturating_add(size(node))),
        pack: None,
    };
    let head = [b"bulla-packed-tree 1\n".as_slice(), &(manifest.len() as u64).to_le_bytes()].concat();
    let whole = zstd::encode_all(&*[head.as_slice(), manifest, rest].concat(), 1).expect("memory");
    STORE.with(|(_, store)| {
        for bytes in [whole.as_slice(), bytes] {
            match store.unpack_tree(&signed, &mut &*bytes) {
                Ok(made) => assert_eq!((made.digest(), made.manifest().as_ref()), (signed.tree, &tree)),
                Err(error) => crate::shown(&error),
            }
        }
    });
}

/// A bundle. It makes one folder or none.
pub(crate) fn bundle(bytes: &[u8]) {
    STORE.with(|(folder, store)| {
        let into = folder.path().join("made");
        let read = bundle::read(&mut Cursor::new(bytes), store, Some(&into), |_, _| Ok::<_, BundleError>(()));
        assert_eq!(read.is_ok(), into.exists());
        match read {
            Ok(_) => fs_err::remove_dir_all(&into).expect("removed"),
            Err(error) => crate::shown(&error),
        }
        let names = fs_err::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(names, 2, "nothing is left beside the store and its key");
    });
}

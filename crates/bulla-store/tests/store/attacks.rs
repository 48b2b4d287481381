use std::os::unix::fs::{PermissionsExt, symlink};

use bulla_model::{Digest, Fault as _, Kind};
use bulla_store::{Error, Options, Store};

use crate::{Home, content, flip, hex, path, tree_of};

#[test]
fn a_flipped_bit_in_a_blob_is_a_miss_and_a_warning() {
    let home = Home::new();
    let store = home.store();
    let digest = store.put_blob(b"bytes of an artifact").unwrap();
    flip(&home.in_store("blobs").join(hex(&digest)));
    assert!(store.open_blob(&digest).unwrap().is_none());
    let warnings = store.warnings();
    assert!(warnings.len() == 1 && warnings[0].contains(&hex(&digest)), "{warnings:?}");
    assert!(!home.in_store("blobs").join(hex(&digest)).exists());
    store.put_blob(b"bytes of an artifact").unwrap();
    assert!(store.has_blob(&digest).unwrap());
}

#[test]
fn a_forged_receipt_does_not_cover_other_bytes() {
    let home = Home::new();
    let store = home.store();
    let (good, other) = (store.put_blob(b"good").unwrap(), store.put_blob(b"evil").unwrap());
    let receipt = |digest: &Digest| home.in_store("receipts").join(format!("b-{}", hex(digest)));
    // The other blob, with its own valid receipt, under the good one's name.
    std::fs::rename(home.in_store("blobs").join(hex(&other)), home.in_store("blobs").join(hex(&good))).unwrap();
    std::fs::copy(receipt(&other), receipt(&good)).unwrap();
    assert!(store.open_blob(&good).unwrap().is_none());
    assert_eq!(store.warnings().len(), 1);
}

#[test]
fn a_lost_or_torn_receipt_costs_a_rehash_only() {
    let home = Home::new();
    let store = home.store();
    let digest = store.put_blob(b"good").unwrap();
    let receipt = home.in_store("receipts").join(format!("b-{}", hex(&digest)));
    std::fs::write(&receipt, "torn").unwrap();
    assert!(store.has_blob(&digest).unwrap());
    assert!(std::fs::metadata(&receipt).unwrap().len() > 40, "it was made anew");
    std::fs::remove_file(home.path("state/store.key")).unwrap();
    assert!(home.store().has_blob(&digest).unwrap(), "another key");
    assert_eq!(store.warnings(), [""; 0]);
}

#[test]
fn links_planted_in_the_store_are_never_followed() {
    let home = Home::new();
    let store = home.store();
    let secret = std::fs::read("/etc/passwd").unwrap();
    let digest = Digest::of(&secret);
    symlink("/etc/passwd", home.in_store("blobs").join(hex(&digest))).unwrap();
    assert!(store.open_blob(&digest).unwrap().is_none(), "even though the digest would be right");
    assert_eq!(store.warnings().len(), 1);

    let tree = tree_of(&store, &[("etc/passwd", std::str::from_utf8(&secret).unwrap())]);
    std::fs::remove_file(tree.path().join("etc/passwd")).unwrap();
    symlink("/etc/passwd", tree.path().join("etc/passwd")).unwrap();
    assert!(matches!(tree.open_file(&path("etc/passwd")), Err(Error::Damaged { .. })));
    let tree = tree_of(&store, &[("etc/passwd", std::str::from_utf8(&secret).unwrap())]);
    std::fs::remove_dir_all(tree.path().join("etc")).unwrap();
    symlink("/etc", tree.path().join("etc")).unwrap();
    assert!(matches!(tree.open_file(&path("etc/passwd")), Err(Error::Damaged { .. })));

    let action = Digest::of(b"action");
    symlink("/etc/passwd", home.in_store("actions").join(hex(&action))).unwrap();
    assert_eq!(store.result(&action).unwrap(), None);
    assert!(std::fs::read("/etc/passwd").unwrap() == secret);
}

#[test]
fn a_fifo_in_place_of_a_blob_does_not_block() {
    let home = Home::new();
    let store = home.store();
    let digest = Digest::of(b"x");
    make_fifo(&home.in_store("blobs").join(hex(&digest)));
    assert!(store.open_blob(&digest).unwrap().is_none());
}

pub(crate) fn make_fifo(path: &std::path::Path) {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
}

#[test]
fn a_tree_edited_in_place_is_never_an_input() {
    let home = Home::new();
    let store = home.store();
    let files = [("bin/tool", "tool"), ("bin/other", "other")];
    type Edit = (&'static str, fn(&std::path::Path));
    let edits: [Edit; 5] = [
        ("bytes", |root| flip(&root.join("bin/tool"))),
        ("an entry more", |root| std::fs::write(root.join("bin/evil"), "evil").unwrap()),
        ("an entry less", |root| std::fs::remove_file(root.join("bin/other")).unwrap()),
        ("mode", |root| {
            std::fs::set_permissions(root.join("bin/tool"), PermissionsExt::from_mode(0o777)).unwrap();
        }),
        ("swapped", |root| {
            std::fs::rename(root.join("bin/tool"), root.join("x")).unwrap();
            std::fs::rename(root.join("bin/other"), root.join("bin/tool")).unwrap();
            std::fs::rename(root.join("x"), root.join("bin/other")).unwrap();
        }),
    ];
    for (what, edit) in edits {
        let tree = tree_of(&store, &files);
        edit(tree.path());
        let loaded = home.store().tree(&tree.digest()).unwrap().unwrap();
        assert!(matches!(loaded.check(), Err(Error::Damaged { .. })), "{what}");
        assert!(store.tree(&tree.digest()).unwrap().is_none(), "{what}");
    }
}

#[test]
fn an_edited_manifest_is_a_miss() {
    let home = Home::new();
    let store = home.store();
    let tree = tree_of(&store, &[("a", "b")]);
    flip(&tree.path().parent().unwrap().join("manifest"));
    assert!(store.tree(&tree.digest()).unwrap().is_none());
    assert_eq!(store.warnings().len(), 1);
}

#[test]
fn a_swapped_forged_or_truncated_result_is_a_miss_and_a_warning() {
    let home = Home::new();
    let store = home.store();
    let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
    let file = |digest: &Digest| home.in_store("actions").join(hex(digest));
    let tampers: [&dyn Fn(); 4] = [
        &|| assert!(std::fs::copy(file(&b), file(&a)).unwrap() > 0),
        &|| std::fs::write(file(&a), br#"{"tree":"forged"}"#).unwrap(),
        &|| {
            let bytes = std::fs::read(file(&a)).unwrap();
            std::fs::write(file(&a), &bytes[..bytes.len() - 1]).unwrap();
        },
        &|| flip(&file(&a)),
    ];
    for tamper in tampers {
        store.put_result(&a, b"{\"of\":\"a\"}").unwrap();
        store.put_result(&b, b"{\"of\":\"b\"}").unwrap();
        tamper();
        assert_eq!(store.result(&a).unwrap(), None);
        assert_eq!(store.warnings().len(), 1);
        assert!(store.result(&b).unwrap().is_some());
    }
}

#[test]
fn a_result_of_another_store_is_a_miss() {
    let (home, other) = (Home::new(), Home::new());
    let action = Digest::of(b"action");
    other.store().put_result(&action, b"{}").unwrap();
    let store = home.store();
    std::fs::copy(other.in_store("actions").join(hex(&action)), home.in_store("actions").join(hex(&action))).unwrap();
    assert_eq!(store.result(&action).unwrap(), None);
}

#[test]
fn roots_that_are_links_foreign_or_no_store_are_refused() {
    let home = Home::new();
    std::fs::create_dir(home.path("real")).unwrap();
    symlink(home.path("real"), home.path("store")).unwrap();
    assert!(matches!(Store::open(home.options()), Err(Error::SymlinkedRoot { .. })));

    std::fs::write(home.path("real/thesis.tex"), "years of work").unwrap();
    let options = |root: &str| Options { root: home.path(root), ..home.options() };
    assert!(matches!(Store::open(options("real")), Err(Error::NotAStore { .. })));
    assert_eq!(std::fs::read_dir(home.path("real")).unwrap().count(), 1);

    drop(Store::open(options("open")).unwrap());
    std::fs::set_permissions(home.path("open"), PermissionsExt::from_mode(0o777)).unwrap();
    let error = Store::open(options("open")).unwrap_err();
    assert!(matches!(error, Error::Foreign { .. }) && !error.hints().is_empty());
    assert_eq!(error.kind(), Kind::Environment);

    drop(Store::open(options("newer")).unwrap());
    std::fs::write(home.path("newer/version"), "bulla-store 99\n").unwrap();
    let error = Store::open(options("newer")).unwrap_err();
    assert!(error.to_string().contains("bulla-store 99"), "{error}");
}

#[test]
fn a_store_of_another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can make a folder of another user");
        return;
    }
    let home = Home::new();
    drop(home.store());
    std::os::unix::fs::chown(home.path("store"), Some(12_345), None).unwrap();
    assert!(matches!(Store::open(home.options()), Err(Error::Foreign { found: 12_345, .. })));
}

#[test]
fn the_key_does_not_lie_in_the_store() {
    let home = Home::new();
    let options = Options { key_file: home.in_store("store.key"), ..home.options() };
    assert!(matches!(Store::open(options), Err(Error::Key { .. })));
}

#[test]
fn a_damaged_index_of_builds_is_begun_anew() {
    let home = Home::new();
    let store = home.store();
    let build = bulla_store::BuildRecord {
        id: 0,
        project: "/project".into(),
        name: "shop".into(),
        started: 1_700_000_000,
        duration: std::time::Duration::from_millis(1500),
        outcome: bulla_store::Outcome::Succeeded,
        digest: Some(Digest::of(b"image")),
        details: "{}".into(),
    };
    let id = store.record_build(&build, &[]).unwrap();
    let listed = store.builds(10, Some("/project")).unwrap();
    assert_eq!(listed, [bulla_store::BuildRecord { id, ..build.clone() }]);
    assert_eq!(store.builds(10, Some("/elsewhere")).unwrap(), []);
    std::fs::write(home.in_store("index.sqlite"), b"not a database at all, but long enough".repeat(100)).unwrap();
    store.record_build(&build, &[]).unwrap();
    assert_eq!(store.builds(10, None).unwrap().len(), 1);
    assert_eq!(store.warnings().len(), 1);
    std::fs::remove_file(home.in_store("index.sqlite")).unwrap();
    assert_eq!(store.builds(10, None).unwrap(), []);
}

#[test]
fn verifying_in_full_finds_what_receipts_cannot_tell() {
    let home = Home::new();
    let store = home.store();
    let (blob, tree) = (store.put_blob(b"blob").unwrap(), tree_of(&store, &[("a", "content")]));
    store.farm(&[tree.digest()]).unwrap();
    let report = store.verify(true).unwrap();
    assert_eq!((report.blobs, report.trees, report.farms, report.damaged.len()), (1, 1, 1, 0));
    assert_eq!(store.verify(false).unwrap(), report);
    flip(&home.in_store("blobs").join(hex(&blob)));
    flip(&tree.path().join("a"));
    let report = store.verify(true).unwrap();
    assert_eq!(report.damaged.len(), 3, "{report:?}");
    assert_eq!(store.verify(true).unwrap().damaged, [""; 0]);
    assert_eq!(content(tree_of(&store, &[("a", "content")]).open_file(&path("a")).unwrap()), "content");
}

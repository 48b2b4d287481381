use std::{
    ffi::OsStr,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
};

use bulla_model::{
    CleanPath, Digest, Epoch, Tree,
    tree::{Mode, Node, Owner},
};
use bulla_store::{Adopted, Attributes, Error, Result, Scratch, Store, UpperEntry, UpperRules};
use rustix::fs::{CWD, FileType, Mode as Bits, XattrFlags, mknodat, setxattr};

use crate::{Home, attacks::make_fifo, content, path};

const CLAMP: u64 = 1_000_000_000;

fn upper(store: &Store) -> (Scratch, PathBuf) {
    let scratch = store.scratch("step").unwrap();
    let upper = scratch.folder("upper", 0o755).unwrap();
    (scratch, upper)
}

fn keep(entry: &UpperEntry<'_>) -> Attributes {
    Attributes { owner: Owner::ROOT, mode: entry.mode }
}

fn adopt(store: &Store, upper: &Path) -> Result<Adopted> {
    let mut below: Tree = ["covered", "gone", "new/old/file", "same"]
        .into_iter()
        .map(|name| (path(name), Node::file(0o644, Digest::of("x"), 1)))
        .collect();
    below.complete();
    let rules = UpperRules { clamp: Epoch::new(CLAMP).unwrap(), attributes: &keep, below: &below, inspector: None };
    store.adopt_upper(upper, &rules)
}

#[test]
fn an_upper_becomes_a_delta_without_a_copy() {
    let home = Home::new();
    let store = home.store();
    let (_scratch, upper) = upper(&store);
    std::fs::create_dir_all(upper.join("usr/bin")).unwrap();
    std::fs::write(upper.join("usr/bin/tool"), "tool").unwrap();
    std::fs::set_permissions(upper.join("usr/bin/tool"), PermissionsExt::from_mode(0o4711)).unwrap();
    std::fs::hard_link(upper.join("usr/bin/tool"), upper.join("usr/bin/alias")).unwrap();
    symlink("/etc/shadow", upper.join("link")).unwrap();
    mknodat(CWD, upper.join("gone"), FileType::CharacterDevice, Bits::empty(), 0).unwrap();
    mknodat(CWD, upper.join("nothing"), FileType::CharacterDevice, Bits::empty(), 0).unwrap();
    std::fs::write(upper.join("same"), "x").unwrap();
    std::fs::set_permissions(upper.join("same"), PermissionsExt::from_mode(0o644)).unwrap();
    std::fs::create_dir(upper.join("new")).unwrap();
    setxattr(upper.join("new"), "user.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
    setxattr(upper.join("usr"), "user.overlay.impure", b"y", XattrFlags::empty()).unwrap();
    setxattr(upper.join("usr/bin/tool"), "user.note", b"hidden input", XattrFlags::empty()).unwrap();
    let ino = std::fs::metadata(upper.join("usr/bin/tool")).unwrap().ino();

    let adopted = adopt(&store, &upper).unwrap();
    assert!(!upper.exists());
    let tree = &adopted.tree;
    let node = |name: &str| tree.manifest().get(&path(name)).unwrap().clone();
    assert_eq!(node("usr/bin/alias"), Node::file(0o4711, Digest::of("tool"), 4));
    assert_eq!(node("usr/bin/tool"), Node::Hardlink { target: path("usr/bin/alias") });
    assert_eq!(node("link"), Node::symlink("/etc/shadow"));
    assert_eq!(node("gone"), Node::Whiteout);
    assert_eq!(node("new"), Node::directory(0o755), "not opaque: what it hides has a whiteout");
    assert_eq!(node("new/old"), Node::Whiteout);
    assert_eq!(tree.manifest().get(&path("same")), None, "what was touched and not changed is not in the delta");
    assert_eq!(tree.manifest().get(&path("nothing")), None, "there is nothing below that this whiteout hides");
    let file = std::fs::metadata(tree.path().join("usr/bin/tool")).unwrap();
    assert_eq!((file.ino(), file.mtime(), file.mtime_nsec()), (ino, i64::try_from(CLAMP).unwrap(), 0));
    assert_eq!(std::fs::metadata(tree.path().join("usr")).unwrap().mtime(), i64::try_from(CLAMP).unwrap());
    let stripped: Vec<_> = adopted.stripped.iter().map(|s| (s.path.to_string(), s.attribute.as_str())).collect();
    assert_eq!(stripped, [("usr/bin/alias".to_owned(), "user.note")]);
    let mut list = [0; 4096];
    assert_eq!(rustix::fs::listxattr(tree.path().join("usr"), &mut list), Ok(0));
    assert_eq!(rustix::fs::listxattr(tree.path().join("usr/bin/tool"), &mut list), Ok(0));
    tree.check().unwrap();
    assert_eq!(
        content(home.store().tree(&tree.digest()).unwrap().unwrap().open_file(&path("usr/bin/tool")).unwrap()),
        "tool"
    );
}

#[test]
fn owners_and_modes_come_from_the_rules() {
    let home = Home::new();
    let store = home.store();
    let (_scratch, upper) = upper(&store);
    std::fs::write(upper.join("mail"), "x").unwrap();
    let ino = std::fs::metadata(upper.join("mail")).unwrap().ino();
    let owner = Owner { uid: 0, gid: 8 };
    let attributes = |entry: &UpperEntry<'_>| {
        assert_eq!((entry.ino, entry.is_directory, entry.path), (ino, false, &path("mail")));
        Attributes { owner, mode: Mode::new(0o2755) }
    };
    let rules = UpperRules { clamp: Epoch::default(), attributes: &attributes, below: &Tree::new(), inspector: None };
    let tree = store.adopt_upper(&upper, &rules).unwrap().tree;
    let expected = Node::File { mode: Mode::new(0o2755), owner, digest: Digest::of("x"), size: 1 };
    assert_eq!(tree.manifest().get(&path("mail")), Some(&expected));
    assert_eq!(std::fs::metadata(tree.path().join("mail")).unwrap().mode() & 0o777, 0o755);
}

#[test]
fn what_no_image_can_hold_is_dropped_and_reported() {
    let home = Home::new();
    let store = home.store();
    let (_scratch, upper) = upper(&store);
    make_fifo(&upper.join("fifo"));
    make_fifo(&upper.join("covered"));
    // A socket's path is short: it is bound through a shorter name.
    let short = home.path("s");
    symlink(&upper, &short).unwrap();
    std::os::unix::net::UnixListener::bind(short.join("sock")).unwrap();
    let adopted = adopt(&store, &upper).unwrap();
    let dropped: Vec<_> = adopted.dropped.iter().map(|d| (d.path.to_string(), d.what)).collect();
    let expected = [("covered", "FIFO"), ("fifo", "FIFO"), ("sock", "socket")];
    assert_eq!(dropped, expected.map(|(name, what)| (name.to_owned(), what)));
    assert_eq!(adopted.tree.manifest().len(), 1);
    assert_eq!(adopted.tree.manifest().get(&path("covered")), Some(&Node::Whiteout));
    adopted.tree.check().unwrap();
}

#[test]
fn what_even_the_owner_may_not_read_is_read() {
    let home = Home::new();
    let store = home.store();
    let (_scratch, upper) = upper(&store);
    std::fs::create_dir(upper.join("closed")).unwrap();
    std::fs::write(upper.join("closed/secret"), "x").unwrap();
    std::fs::set_permissions(upper.join("closed/secret"), PermissionsExt::from_mode(0o000)).unwrap();
    std::fs::set_permissions(upper.join("closed"), PermissionsExt::from_mode(0o000)).unwrap();
    let tree = adopt(&store, &upper).unwrap().tree;
    assert_eq!(tree.manifest().get(&path("closed")), Some(&Node::directory(0)));
    assert_eq!(tree.manifest().get(&path("closed/secret")), Some(&Node::file(0, Digest::of("x"), 1)));
    tree.check().unwrap();
}

#[test]
fn odd_names_are_kept_and_names_that_are_too_deep_are_refused() {
    let home = Home::new();
    let store = home.store();
    let (_scratch, odd) = upper(&store);
    std::fs::write(odd.join(OsStr::from_bytes(b"\xff\xfe\n")), "x").unwrap();
    std::fs::write(odd.join("n".repeat(255)), "x").unwrap();
    let tree = adopt(&store, &odd).unwrap().tree;
    assert!(tree.manifest().get(&CleanPath::parse(b"\xff\xfe\n").unwrap()).is_some());
    assert_eq!(tree.manifest().len(), 2);

    let (scratch, deep) = upper(&store);
    let mut inner = rustix::fs::open(&deep, rustix::fs::OFlags::RDONLY, Bits::empty()).unwrap();
    let name = "d".repeat(250);
    for _ in 0..40 {
        rustix::fs::mkdirat(&inner, &name, Bits::from_raw_mode(0o755)).unwrap();
        inner = rustix::fs::openat(&inner, &name, rustix::fs::OFlags::RDONLY, Bits::empty()).unwrap();
    }
    assert!(matches!(adopt(&store, &deep), Err(Error::Upper { .. })));
    let path = scratch.path().to_owned();
    drop((scratch, inner));
    assert!(!path.exists(), "and removed all the same");
}

#[test]
fn an_upper_outside_the_store_is_refused() {
    let home = Home::new();
    let store = home.store();
    std::fs::create_dir(home.path("elsewhere")).unwrap();
    assert!(adopt(&store, &home.path("elsewhere")).is_err());
    let (_scratch, upper) = upper(&store);
    std::fs::remove_dir(&upper).unwrap();
    symlink(home.path("elsewhere"), &upper).unwrap();
    assert!(adopt(&store, &upper).is_err());
    assert!(home.path("elsewhere").exists());
}

#[test]
fn what_is_swapped_while_it_is_read_never_leads_outside() {
    let home = Home::new();
    let store = home.store();
    let secret = home.path("outside");
    std::fs::create_dir(&secret).unwrap();
    std::fs::write(secret.join("file"), "the secret of the host").unwrap();
    std::fs::set_permissions(secret.join("file"), PermissionsExt::from_mode(0o640)).unwrap();
    let known = Digest::of("the secret of the host");
    for round in 0..40 {
        let (_scratch, upper) = upper(&store);
        for i in 0..40 {
            std::fs::create_dir(upper.join(format!("d{i}"))).unwrap();
            std::fs::write(upper.join(format!("d{i}/file")), "inner").unwrap();
        }
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut i = round;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let dir = upper.join(format!("d{}", i % 40));
                    // A file becomes a link, and a directory becomes a link, and both turn back.
                    let _ = std::fs::remove_file(dir.join("file"));
                    let _ = symlink(secret.join("file"), dir.join("file"));
                    let _ = std::fs::rename(&dir, upper.join("aside"));
                    let _ = symlink(&secret, &dir);
                    let _ = std::fs::remove_file(&dir);
                    let _ = std::fs::rename(upper.join("aside"), &dir);
                    i += 1;
                }
            });
            std::thread::sleep(std::time::Duration::from_micros(200));
            if let Ok(adopted) = adopt(&store, &upper) {
                let leaked = adopted
                    .tree
                    .manifest()
                    .iter()
                    .any(|(_, node)| matches!(node, Node::File { digest, .. } if *digest == known));
                assert!(!leaked, "round {round}");
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        let metadata = std::fs::metadata(secret.join("file")).unwrap();
        assert_eq!(metadata.mode() & 0o777, 0o640, "nothing outside was changed");
        assert!(metadata.mtime() > i64::try_from(CLAMP).unwrap());
    }
}

#[test]
fn attributes_of_an_upper_are_removed() {
    let home = Home::new();
    let store = home.store();
    let tool = |attributed: bool| {
        let (_scratch, upper) = upper(&store);
        std::fs::write(upper.join("tool"), "tool").unwrap();
        let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
        if attributed {
            setxattr(upper.join("tool"), "user.note", b"hidden input", XattrFlags::empty()).unwrap();
            // Only root may; a step never.
            let given = setxattr(upper.join("tool"), "security.capability", capability, XattrFlags::empty());
            assert_eq!(given.is_ok(), rustix::process::geteuid().is_root());
        }
        adopt(&store, &upper).unwrap()
    };
    let (plain, stripped) = (tool(false), tool(true));
    assert_eq!(stripped.tree.digest(), plain.tree.digest());
    assert_eq!(rustix::fs::listxattr(stripped.tree.path().join("tool"), &mut [0; 4096][..]), Ok(0));
    let names: Vec<&str> = stripped.stripped.iter().map(|s| s.attribute.as_str()).collect();
    assert!(names.contains(&"user.note") && plain.stripped.is_empty(), "{names:?}");
}

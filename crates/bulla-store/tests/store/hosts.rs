//! Hosts whose file system is full or read-only, in a mount namespace of a child.

use std::{io::Write as _, process::Command};

use bulla_model::{Fault as _, Kind};
use bulla_store::{Error, Store};

use crate::{
    Home,
    kills::{child, home_of_child},
    options_in, tree_of,
};

/// Runs a test of this program after a mount, in namespaces of its own; false, with the reason said, where the host
/// allows none.
pub(crate) fn in_namespace(test: &str, home: &Home, mount: &str) -> bool {
    let namespaces = if rustix::process::geteuid().is_root() { "-m" } else { "-rm" };
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args([namespaces, "sh", "-c", script, "sh"]).arg(home.path(""));
        command
    };
    let probe = unshare("mount -t tmpfs none \"$1\"").output();
    if !probe.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: this host allows no mount in a namespace of our own");
        return false;
    }
    let inner = child(test, &home.path(""));
    let mut command = unshare(&format!("{mount}; shift; exec \"$@\""));
    command.arg(inner.get_program()).args(inner.get_args());
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
    true
}

#[test]
fn a_full_disk_is_said_and_leaves_a_valid_store() {
    let home = Home::new();
    in_namespace("hosts::fills_the_disk", &home, "mount -t tmpfs -o size=3m none \"$1\"");
}

#[test]
#[ignore = "the child of `a_full_disk_is_said_and_leaves_a_valid_store`"]
fn fills_the_disk() {
    let Some(home) = home_of_child() else { return };
    let store = Store::open(options_in(&home)).unwrap();
    let kept = store.put_blob(b"kept").unwrap();
    let mut writer = store.blob_writer().unwrap();
    let error = (0..100).find_map(|_| writer.write_all(&[0; 100_000]).err()).expect("the disk is full");
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    drop(writer);
    let large = "x".repeat(4 << 20);
    let mut builder = store.tree_builder().unwrap();
    let (mode, owner) = (bulla_model::tree::Mode::new(0o644), bulla_model::tree::Owner::ROOT);
    let error = builder
        .file(&"large".parse().unwrap(), mode, owner, bulla_model::Epoch::default(), &mut large.as_bytes())
        .unwrap_err();
    assert!(matches!(error, Error::Io { .. }) && error.kind() == Kind::Environment);
    assert!(error.hints().iter().any(|hint| hint.contains("full")), "{error:?}");
    drop(builder);
    // What failed took nothing with it, and gave its space back.
    assert!(store.has_blob(&kept).unwrap());
    store.put_blob(&vec![1; 1 << 20]).unwrap();
    tree_of(&store, &[("a", "b")]).check().unwrap();
    assert_eq!(store.verify(true).unwrap().damaged, [""; 0]);
}

#[test]
fn a_read_only_store_is_said() {
    let home = Home::new();
    home.store().put_blob(b"x").unwrap();
    let mount = "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\"";
    in_namespace("hosts::opens_a_read_only_store", &home, mount);
}

#[test]
#[ignore = "the child of `a_read_only_store_is_said`"]
fn opens_a_read_only_store() {
    let Some(home) = home_of_child() else { return };
    let error = Store::open(options_in(&home)).unwrap_err();
    assert_eq!(error.kind(), Kind::Environment);
    assert!(error.hints().iter().any(|hint| hint.contains("read-only")), "{error:?}");
}

#[test]
fn a_store_made_by_root_belongs_to_the_service_user() {
    use std::os::unix::fs::MetadataExt as _;
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can give files away");
        return;
    }
    let home = Home::new();
    let owner = bulla_model::tree::Owner { uid: 61_170, gid: 61_170 };
    let options = bulla_store::Options { service_owner: Some(owner), ..home.options() };
    let store = Store::open(options.clone()).unwrap();
    store.put_blob(b"x").unwrap();
    let mut builder = store.tree_builder().unwrap();
    let mode = bulla_model::tree::Mode::new(0o4755);
    let file = "usr/bin/su".parse().unwrap();
    builder.file(&file, mode, bulla_model::tree::Owner::ROOT, Default::default(), &mut b"x".as_slice()).unwrap();
    builder.symlink(&"link".parse().unwrap(), bulla_model::tree::Owner::ROOT, b"x").unwrap();
    let tree = builder.finish(None).unwrap();
    store.farm(&[tree.digest()]).unwrap();
    let project = home.path("project");
    std::fs::create_dir(&project).unwrap();
    std::fs::write(project.join("a"), "a").unwrap();
    let cache = bulla_store::SourceCache::open(&store, &project, "app", Default::default()).unwrap();
    let source = cache.ingest(&project, &["a".parse().unwrap()]).unwrap();
    cache.view(&source, &|_| true, &"src/app".parse().unwrap()).unwrap();
    let mut waiting = vec![home.path("store")];
    while let Some(path) = waiting.pop() {
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (61_170, 61_170), "{}", path.display());
        if metadata.is_dir() {
            waiting.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    assert_eq!(std::fs::metadata(tree.path().join("usr/bin/su")).unwrap().mode() & 0o7777, 0o4755);
    drop(store);
    Store::open(options).unwrap();
}

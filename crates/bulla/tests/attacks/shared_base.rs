//! Images of registries that builds start from, where another machine has built the same: they are fetched when something first
//! reads them.

use bulla_testkit::{FakeRegistry, Project, TestEnvironment, archive::TarEntry};

use crate::{
    base::{image, knowing},
    remote::{configure, new_key},
    world::{files, usable},
};

/// Two stages and an image on one base, in which something is copied through a link of the base.
fn project(registry: &FakeRegistry) -> Project {
    let reference = format!("{}/team/base:1", registry.address());
    let spec = format!(
        "bulla: 1
name: shop
epoch: 1
sources:
  app: {{path: app}}
stages:
  first:
    from: {{image: '{reference}'}}
    steps:
      - busybox cp /content out
    outputs: {{out: /src/app/out}}
  second:
    from: {{image: '{reference}'}}
    copy:
      - {{output: first.out, to: /link/out}}
    steps:
      - busybox cat /real/out /src/app/page >both
    outputs: {{both: /src/app/both}}
image:
  from: {{image: '{reference}'}}
  copy:
    - {{output: second.both, to: /link/both}}
  user: 65532
"
    );
    Project::with_spec(&spec).file("app/page", "a page\n")
}

fn base(registry: &FakeRegistry, busybox: &std::path::Path) {
    let shell = fs_err::read(busybox).expect("busybox");
    let layer = vec![
        TarEntry::directory("bin/", 0o755),
        TarEntry::file("bin/busybox", 0o755, &shell),
        TarEntry::symlink("bin/sh", "busybox"),
        TarEntry::file("content", 0o644, "of the base\n"),
        TarEntry::directory("real/", 0o755),
        TarEntry::symlink("link", "real"),
    ];
    image(registry, "1", &[layer]);
}

#[test]
fn a_base_is_not_fetched_where_all_that_stands_on_it_is_known() {
    let Some(busybox) = usable("a base whose results are known") else { return };
    let registry = FakeRegistry::start();
    base(&registry, busybox);
    let shelf = tempfile::Builder::new().prefix("bulla-remote-").tempdir().expect("a folder");
    let remote = format!("remote = \"file://{}\"\n", shelf.path().display());
    let environment = knowing(&registry);
    let key = new_key(&environment);
    configure(&environment, &format!("{remote}write-from = [\"*\"]\n"));
    let project = project(&registry);
    let build = |environment: &TestEnvironment| environment.run(&project, &["build", "--locked"]).success();
    environment.run(&project, &["lock"]).success();
    let digest = environment.run(&project, &["build"]).success().stdout;
    let second = || {
        registry.forget_requests();
        let environment = knowing(&registry);
        configure(&environment, &format!("{remote}trusted-keys = [\"{key}\"]\n"));
        environment
    };
    let other = second();
    let ran = build(&other);
    assert!(ran.stdout == digest && ran.stderr.contains("0 of 2 steps run"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("[fetch") && !ran.stderr.contains("warning"), "{}", ran.stderr);
    assert_eq!(registry.requests().len(), 0, "the registry of the base is not asked");
    let told = other.run(&project, &["explain"]).success().stdout;
    assert!(told.contains("unchanged  base "), "{told}");
    // Without results, and with the base gone from the remote store, it is asked: once, whoever needs it.
    let aside = shelf.path().join("aside");
    fs_err::rename(shelf.path().join("manifests"), &aside).expect("set aside");
    let ran = build(&second());
    assert!(ran.stdout == digest && ran.stderr.contains("2 of 2 steps run"), "{}", ran.stderr);
    let blobs = registry.count("GET", "/blobs/");
    assert_eq!((registry.count("GET", "/manifests/sha256"), blobs), (1, 2), "{:?}", registry.requests());
    fs_err::rename(&aside, shelf.path().join("manifests")).expect("back");
    // What runs on the base, where only something else changed, fetches it: from the remote store.
    let other = second();
    project.write("app/page", "another page\n");
    let ran = build(&other);
    assert!(ran.stdout != digest && ran.stderr.contains("[fetch"), "{}", ran.stderr);
    assert_eq!(registry.requests().len(), 0);
    let unpacked = files(&other.store()).iter().any(|path| path.ends_with("content"));
    assert!(unpacked, "the control: it was read");
}

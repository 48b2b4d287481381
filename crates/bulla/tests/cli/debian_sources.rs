//! Source packages of Debian: chosen by the signed index, fetched, put together and built from.

use bulla_testkit::{
    DebianRepo, Fault, Mirror, Project, Release, TestEnvironment,
    archive::{TarEntry, gzip, tar, xz},
};

const PATCH: &str = "--- a/greeting\n+++ b/greeting\n@@ -1 +1 @@\n-hello\n+hello, patched\n";

fn spec(source: &str) -> String {
    format!(
        "bulla: 1\nname: shop\nsources:\n  shop: {{{source}}}\nimage:\n  from: {{scratch: {{}}}}\n  copy:\n    - {{source: shop, to: /shop}}\n  user: 65532\n"
    )
}

const SOURCE: &str = "debian: trixie, source-package: shop, suites: [trixie]";

/// The files of a version of the package.
fn files(version: &str, greeting: &str) -> [(String, Vec<u8>); 2] {
    let file = |name: &str, text: &str| TarEntry::file(name, 0o644, text);
    let upstream = gzip(&tar(&[file("shop/greeting", greeting), TarEntry::file("shop/run", 0o755, "#!/bin/sh\n")]));
    let debian = xz(&tar(&[file("debian/patches/series", "greet\n"), file("debian/patches/greet", PATCH)]));
    [(format!("shop_{version}.orig.tar.gz"), upstream), (format!("shop_{version}-1.debian.tar.xz"), debian)]
}

fn add(repo: &mut DebianRepo, version: &str, greeting: &str) {
    let files = files(version, greeting);
    let files: Vec<(&str, Vec<u8>)> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    repo.add_source("shop", &format!("{version}-1"), "3.0 (quilt)", &files);
}

fn world() -> (DebianRepo, Mirror, TestEnvironment) {
    let mut repo = DebianRepo::new("trixie");
    add(&mut repo, "1.9", "hello\n");
    add(&mut repo, "1.10", "hello\n");
    repo.publish(&Release::default());
    let mirror = Mirror::serve(repo.root());
    let environment = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &repo, &mirror);
    (repo, mirror, environment)
}

fn later() -> Release {
    let mut release = Release::default();
    release.date += 600;
    release
}

#[test]
fn a_source_package_is_locked_fetched_patched_and_built() {
    let (mut repo, mirror, environment) = world();
    let project = Project::with_spec(&spec(SOURCE));
    let ran = environment.run(&project, &["lock"]).success();
    assert!(ran.stderr.contains("+ source shop shop=1.10-1, by the signed index of trixie"), "{}", ran.stderr);
    let asked: Vec<String> = mirror.requests().iter().map(|request| request.path.clone()).collect();
    assert!(asked.iter().all(|path| !path.contains("Packages") && !path.contains("pool/")), "{asked:?}");
    let lock = project.read("bulla.lock");
    assert!(lock.contains("shop_1.10.orig.tar.gz") && lock.contains("signed-by"), "{lock}");
    let digest = environment.run(&project, &["build", "--locked"]).success().stdout;
    let why = environment.run(&project, &["why", "/shop/greeting"]).success().stdout;
    let file = "pool/main/source-shop/shop_1.10.orig.tar.gz";
    for part in
        ["source    shop, there greeting", "package   shop=1.10-1", file, "suite     trixie, main", "signed by "]
    {
        assert!(why.contains(part), "{part} is not in {why}");
    }
    // What it was put together to: the same as these files in a folder of the project.
    let same = Project::with_spec(&spec("path: src"))
        .file("src/greeting", "hello, patched\n")
        .program("src/run", "#!/bin/sh\n")
        .file("src/debian/patches/series", "greet\n")
        .file("src/debian/patches/greet", PATCH);
    let epoch = |project: &Project| {
        let text = project.read("bulla.yaml");
        project.write("bulla.yaml", text.replace("image:", "epoch: 2026-01-01\nimage:"));
    };
    epoch(&same);
    epoch(&project);
    let image = environment.run(&project, &["build", "--locked"]).success().stdout;
    assert_eq!(environment.run(&same, &["build"]).success().stdout, image);
    assert_ne!(image, digest, "the epoch was that of the index");

    // A newer version moves nothing but by an update, and a pin holds.
    add(&mut repo, "1.11", "hello\n");
    repo.publish(&later());
    environment.run(&project, &["lock"]).success();
    assert_eq!(project.read("bulla.lock"), lock);
    let ran = environment.run(&project, &["lock", "--update", "shop"]).success();
    assert!(ran.stderr.contains("~ source shop shop=1.11-1"), "{}", ran.stderr);
    let pinned = Project::with_spec(&spec(&SOURCE.replace("shop, ", "shop=1.9-*, ")));
    environment.run(&pinned, &["lock"]).success();
    assert!(pinned.read("bulla.lock").contains("shop=1.9-1"));
}

#[test]
fn other_bytes_and_lists_are_refused() {
    let (repo, mirror, environment) = world();
    let project = Project::with_spec(&spec(SOURCE));
    environment.run(&project, &["lock"]).success();
    for file in ["shop_1.10.orig.tar.gz", "shop_1.10-1.debian.tar.xz", "shop_1.10-1.dsc"] {
        let _ = fs_err::remove_dir_all(environment.store());
        let path = format!("/pool/main/source-shop/{file}");
        mirror.fault(&path, Fault::Bytes(b"something else".to_vec()));
        let ran = environment.run(&project, &["build", "--locked"]).failure(5);
        assert!(ran.stderr.contains("expected"), "{file}: {}", ran.stderr);
        mirror.heal();
    }
    environment.run(&project, &["build", "--locked"]).success();

    let fresh = Project::with_spec(&spec(SOURCE));
    fs_err::remove_dir_all(environment.store()).expect("removed");
    let lists = fs_err::read_dir(repo.root().join("dists/trixie/main/source/by-hash/SHA256")).expect("lists");
    for list in lists.map(|list| list.expect("a list")) {
        let path = format!("/dists/trixie/main/source/by-hash/SHA256/{}", list.file_name().display());
        mirror.fault(&path, Fault::Bytes(b"Package: shop\nVersion: 9\n".to_vec()));
    }
    let ran = environment.run(&fresh, &["lock"]).failure(5);
    assert!(ran.stderr.contains("is not what the index says"), "{}", ran.stderr);
    assert!(!fresh.path("bulla.lock").exists());
    mirror.heal();
    environment.run(&fresh, &["lock"]).success();
}

#[test]
fn a_source_package_that_is_not_there_is_said_to_be_missing() {
    let (_repo, _mirror, environment) = world();
    let other = Project::with_spec(&spec(&SOURCE.replace("source-package: shop", "source-package: shoop")));
    let ran = environment.run(&other, &["lock"]).failure(3);
    assert!(ran.stderr.contains("there is no source package `shoop` in trixie"), "{}", ran.stderr);
    let version = Project::with_spec(&spec(&SOURCE.replace("package: shop", "package: shop=2.*")));
    let ran = environment.run(&version, &["lock"]).failure(3);
    assert!(ran.stderr.contains("there is 1.10-1, 1.9-1"), "{}", ran.stderr);
}

#[test]
fn a_patch_that_does_not_apply_fails_the_build() {
    let (mut repo, _mirror, environment) = world();
    add(&mut repo, "2.0", "good day\n");
    repo.publish(&later());
    let project = Project::with_spec(&spec(SOURCE));
    let ran = environment.run(&project, &["build"]).failure(5);
    assert!(ran.stderr.contains("the patch greet of the source package does not apply: line 3"), "{}", ran.stderr);
}

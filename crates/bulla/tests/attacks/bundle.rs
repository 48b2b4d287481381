//! Bundles: what was exported builds to the same digest on a machine without any network; and what becomes of bundles that
//! somebody made up.

use std::path::{Path, PathBuf};

use bulla_model::Digest;
use bulla_testkit::{
    FakeRegistry, Project, TestEnvironment,
    archive::{TarEntry, tar},
    hostile, process, skipped,
};

use crate::world::{GOOD, World, files, project};

/// An environment that knows no mirror, in a network with nothing in it where the test may make one.
fn without_network() -> TestEnvironment {
    let environment = TestEnvironment::new(env!("CARGO_BIN_EXE_bulla"));
    let nothing = ["unshare", "--net"];
    if process::is_root() && process::output(std::process::Command::new(nothing[0]).args([nothing[1], "true"])).is_ok()
    {
        return environment.through(&nothing);
    }
    skipped("a machine without a network", "it needs root; the build only knows no mirror");
    environment
}

/// A project in a folder that was imported.
fn imported(folder: &Path) -> Project {
    Project::new().tree(folder)
}

fn export(environment: &TestEnvironment, project: &Project, arguments: &[&str]) -> PathBuf {
    let file = environment.folder().join("bundle.tar");
    let shown = file.display().to_string();
    environment.run(project, &[&["store", "export", "--output", &shown], arguments].concat()).success();
    file
}

/// Imports a bundle into a new folder of an environment, and gives the folder.
fn import(environment: &TestEnvironment, file: &Path) -> PathBuf {
    let folder = environment.folder().join("imported");
    let (file, into) = (file.display().to_string(), folder.display().to_string());
    environment.run(&Project::new(), &["store", "import", &file, "--into", &into]).success();
    folder
}

#[test]
fn a_bundle_builds_to_the_same_digest_without_any_network() {
    let Some(world) = World::new("a bundle") else { return };
    let project = project(&GOOD);
    let digest = world.digest(&project);
    let file = export(&world.environment, &project, &[]);
    let bytes = fs_err::read(&file).expect("a bundle");
    assert_eq!(fs_err::read(export(&world.environment, &project, &[])).expect("a bundle"), bytes, "the same each time");
    let piped = world.environment.command(project.root()).args(["store", "export"]).output().expect("it runs");
    assert_eq!(piped.stdout, bytes, "standard output has the same");
    let second = without_network();
    let folder = import(&second, &file);
    assert!(folder.join("keys/test-key.asc").is_file());
    let ran = second.run(&imported(&folder.join("project")), &["build", "--locked"]).success();
    assert_eq!(ran.stdout.trim_end(), digest);
    assert!(ran.stderr.contains("3 of 3 steps run"), "{}", ran.stderr);
    // The control: without the bundle there is nothing to build of.
    let third = without_network();
    third.run(&imported(&folder.join("project")), &["build", "--locked"]).failure(4);
}

#[test]
fn a_bundle_without_sources_brings_the_inputs_alone() {
    let Some(world) = World::new("a bundle without sources") else { return };
    let project = project(&GOOD);
    let digest = world.digest(&project);
    let file = export(&world.environment, &project, &["--without-sources"]);
    let second = without_network();
    second.run(&project, &["store", "import", &file.display().to_string()]).success();
    assert_eq!(second.run(&project, &["build", "--locked"]).success().stdout.trim_end(), digest);
    let third = TestEnvironment::new(env!("CARGO_BIN_EXE_bulla"));
    let folder = import(&third, &file);
    let names: Vec<String> = files(&folder.join("project"))
        .iter()
        .map(|path| path.strip_prefix(folder.join("project")).expect("inside").display().to_string())
        .collect();
    assert_eq!(names, ["bulla.lock", "bulla.yaml"]);
}

#[test]
fn links_modes_and_the_image_below_come_along() {
    let registry = FakeRegistry::start();
    let reference = format!("{}/team/base:1", registry.address());
    let base = Project::with_spec(
        "bulla: 1\nname: base\nepoch: 1700000000\nsources:\n  app: {path: app}\nimage:\n  from: {scratch: {}}\n  copy:\n    - {source: app, to: /base}\n  user: 65532\n",
    )
    .file("app/file", "base");
    let local = format!("[registry.debian]\napt = false\n[registry.oci]\nlocal = [\"{}\"]\n", registry.address());
    let environment = TestEnvironment::new(env!("CARGO_BIN_EXE_bulla"));
    environment.write_config(&local);
    environment.run(&base, &["build", "--push", &reference]).success();
    let spec = format!(
        "bulla: 1\nname: shop\nsources:\n  app: {{path: ., ignore: [left/**]}}\nimage:\n  from: {{image: '{reference}'}}\n  copy:\n    - {{source: app, to: /srv}}\n  user: 65532\n"
    );
    let shop = Project::with_spec(&spec).program("bin/run", "#!/bin/true\n").file("left/out", "x").file("page", "x");
    let shop = shop.symlink("bin/again", "run").symlink("outward", "/etc/hostname");
    let digest = environment.run(&shop, &["build"]).success().stdout;
    let file = export(&environment, &shop, &[]);
    let second = without_network();
    second.write_config(&local);
    let folder = import(&second, &file);
    assert!(!folder.join("project/left").exists(), "what is ignored stays");
    assert_eq!(fs_err::read_link(folder.join("project/outward")).expect("a link"), Path::new("/etc/hostname"));
    assert_eq!(second.run(&imported(&folder.join("project")), &["build", "--locked"]).success().stdout, digest);
}

/// What a good bundle has in it.
fn good() -> Vec<TarEntry> {
    let input = b"an input";
    let lock = bulla_model::lock::Lock::default().render();
    vec![
        TarEntry::file("bulla-bundle", 0o644, r#"{"format":1,"name":"x","spec":"bulla.yaml"}"#),
        TarEntry::file(format!("inputs/{}", Digest::of(input).hex()), 0o644, input),
        TarEntry::file("keys/key.asc", 0o644, "a key"),
        TarEntry::file("project/bulla.lock", 0o644, lock),
        TarEntry::file("project/bulla.yaml", 0o644, "a spec"),
        TarEntry::file("project/src/main.c", 0o755, "a program"),
    ]
}

/// Imports bytes, and says how that ended; nothing may be left when it failed.
#[track_caller]
fn take(what: &str, bytes: &[u8]) -> Option<i32> {
    let environment = TestEnvironment::new(env!("CARGO_BIN_EXE_bulla"));
    let project = Project::new();
    project.write("bundle.tar", bytes);
    let ran = environment.run(&project, &["store", "import", "bundle.tar", "--into", "sub/made"]);
    // The folder above is missing: nothing is made beside it.
    assert_eq!(ran.code, Some(4), "{what}: {}", ran.stderr);
    let ran = environment.run(&project, &["store", "import", "bundle.tar", "--into", "made"]);
    let left: Vec<PathBuf> =
        fs_err::read_dir(project.root()).expect("a folder").map(|e| e.expect("it").path()).collect();
    if ran.code == Some(0) {
        assert_eq!(left.len(), 2, "{what}: {left:?}");
    } else {
        assert_eq!(left, [project.path("bundle.tar")], "{what}: something is left behind");
        let scratch = files(&environment.store().join("scratch"));
        assert!(scratch.is_empty(), "{what}: {scratch:?}");
    }
    environment.run(&project, &["store", "verify", "--full"]).success();
    ran.code
}

#[test]
fn no_hostile_bundle_is_taken() {
    let whole = tar(&good());
    assert_eq!(take("the control", &whole), Some(0));
    let with = |entry: TarEntry| [good(), vec![entry]].concat();
    let instead = |at: usize, entry: TarEntry| {
        let mut entries = good();
        entries[at] = entry;
        entries
    };
    let input = |bytes: &str| TarEntry::file(format!("inputs/{}", Digest::of("an input").hex()), 0o644, bytes);
    let mut cases: Vec<(&str, Vec<TarEntry>)> = vec![
        ("an input of other bytes", instead(1, input("another"))),
        ("an input that is cut off", instead(1, input("an inp"))),
        ("an input without a digest", with(TarEntry::file("inputs/x", 0o644, "x"))),
        (
            "a link as an input",
            instead(1, TarEntry::symlink(format!("inputs/{}", Digest::of("x").hex()), "/etc/passwd")),
        ),
        ("no marker", good()[1..].to_vec()),
        ("a marker that comes late", good().into_iter().rev().collect()),
        (
            "another format",
            instead(0, TarEntry::file("bulla-bundle", 0o644, r#"{"format":2,"name":"x","spec":"bulla.yaml"}"#)),
        ),
        (
            "a spec elsewhere",
            instead(0, TarEntry::file("bulla-bundle", 0o644, r#"{"format":1,"name":"x","spec":"../x"}"#)),
        ),
        ("a marker without end", instead(0, TarEntry::file("bulla-bundle", 0o644, vec![b' '; 1 << 20]))),
        ("another top", with(TarEntry::file("evil", 0o644, "x"))),
        ("a hard link", with(TarEntry::hardlink("project/link", "project/bulla.yaml"))),
        (
            "a hard link to an input",
            with(TarEntry::hardlink("project/link", format!("inputs/{}", Digest::of("an input").hex()))),
        ),
        ("a key in a folder", with(TarEntry::file("keys/a/b", 0o644, "x"))),
        ("a lock that is none", instead(3, TarEntry::file("project/bulla.lock", 0o644, "x"))),
    ];
    let through = vec![TarEntry::symlink("project/out", "/tmp"), TarEntry::file("project/out/evil", 0o644, "x")];
    cases.push(("a file through a link", [good(), through].concat()));
    for (what, entries) in hostile::tar_entries() {
        let moved =
            entries.into_iter().map(|entry| TarEntry { name: [b"project/", entry.name.as_slice()].concat(), ..entry });
        // Links may lead out of a project, and are never followed; beneath `project/` an absolute name is none.
        if !matches!(what, "an absolute path") && !what.contains("link") {
            cases.push((what, [good(), moved.collect()].concat()));
        }
    }
    for (what, entries) in cases {
        let code = take(what, &tar(&entries));
        assert!(matches!(code, Some(3..=5)), "{what}: {code:?}");
    }
}

#[test]
fn a_bundle_that_is_cut_off_or_lacks_an_input_is_not_taken() {
    let Some(world) = World::new("a bundle that is cut off") else { return };
    let project = project(&GOOD);
    world.environment.run(&project, &["lock"]).success();
    let bytes = fs_err::read(export(&world.environment, &project, &[])).expect("a bundle");
    assert_eq!(take("the control", &bytes), Some(0));
    for part in 1..8 {
        let code = take("cut off", &bytes[..bytes.len() * part / 8]);
        assert!(matches!(code, Some(4 | 5)), "{part}/8: {code:?}");
    }
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    assert_eq!(take("a flipped bit in an input", &flipped), Some(5));
    // The lock names an input that is not there.
    let lock = project.read("bulla.lock");
    let mut entries = good();
    entries[3] = TarEntry::file("project/bulla.lock", 0o644, lock);
    assert_eq!(take("an input is missing", &tar(&entries)), Some(5));
}

#[test]
fn what_exists_is_not_overwritten() {
    let environment = TestEnvironment::new(env!("CARGO_BIN_EXE_bulla"));
    let project = Project::new().file("mine/thesis", "years of work");
    project.write("bundle.tar", tar(&good()));
    let refused = environment.run(&project, &["store", "import", "bundle.tar", "--into", "mine"]).failure(3);
    assert!(refused.stderr.contains("is not overwritten"), "{}", refused.stderr);
    assert_eq!(project.read("mine/thesis"), "years of work");
    environment.run(&project, &["store", "import", "bundle.tar", "--into", "bundle.tar"]).failure(3);
    environment.run(&project, &["store", "export"]).failure(3);
}

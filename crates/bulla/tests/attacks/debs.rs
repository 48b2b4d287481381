//! Packages that no unpacker may follow, as the image or a stage meets them.

use std::process::Command;

use bulla_testkit::{Deb, Project, archive::TarEntry, hostile, process};

use crate::world::{GOOD, World, spec};

/// A project whose stage wants the package `hostile`.
fn project() -> Project {
    let text = spec("", &GOOD, "/src/app/out").replace("packages: [tools]", "packages: [hostile]");
    Project::with_spec(&text).file("app/hello", "hello\n")
}

#[test]
fn no_hostile_package_is_unpacked() {
    let Some(mut world) = World::new("hostile packages") else { return };
    let outside = [std::path::Path::new("/etc/owned"), std::path::Path::new("/tmp/owned")];
    for (what, deb) in hostile::debs() {
        world.publish(&deb);
        let project = project();
        let ran = world.build(&project, &[]);
        assert_eq!(ran.code, Some(5), "{what}: {}", ran.stderr);
        assert!(ran.stderr.contains("hostile=1"), "{what}: the package is not named: {}", ran.stderr);
        assert!(outside.iter().all(|path| !path.exists()), "{what} was written outside");
        world.assert_no_image(&project);
        world.assert_sound(&project);
    }
    // The control: a package of the same name that is as it should be, in the same store.
    world.publish(&Deb::new("hostile", "1").file("usr/share/hostile", 0o644, "x"));
    world.build(&project(), &[]).success();
    world.assert_sound(&project());
}

#[test]
fn packages_that_are_no_archives_are_refused() {
    let good = Deb::new("hostile", "1").file("usr/share/hostile", 0o644, [7; 4096]).build();
    let cases: [(&str, Vec<u8>); 3] = [
        ("nothing", Vec::new()),
        ("text", b"<html>not found</html>".to_vec()),
        ("half of a package", good[..good.len() / 2].to_vec()),
    ];
    let Some(mut world) = World::new("broken packages") else { return };
    for (what, bytes) in cases {
        world.repo.add_bytes("hostile_1_amd64.deb", &Deb::new("hostile", "1").control(), &bytes);
        world.repo.publish(&bulla_testkit::Release::default());
        let project = project();
        let ran = world.build(&project, &[]);
        assert_eq!(ran.code, Some(5), "{what}: {}", ran.stderr);
        assert!(ran.stderr.contains("hostile"), "{what}: {}", ran.stderr);
        world.assert_no_image(&project);
        world.assert_sound(&project);
    }
    world.repo.add_bytes("hostile_1_amd64.deb", &Deb::new("hostile", "1").control(), &good);
    world.repo.publish(&bulla_testkit::Release::default());
    world.build(&project(), &[]).success();
}

#[test]
fn names_that_are_not_utf8_are_kept_or_refused_but_never_changed() {
    let Some(mut world) = World::new("names that are not UTF-8") else { return };
    let deb = Deb::new("hostile", "1").entry(TarEntry::file(b"./odd-\xff\xfe".as_slice(), 0o644, "x"));
    world.publish(&deb);
    let ran = world.build(&project(), &[]);
    assert!(matches!(ran.code, Some(0 | 5)), "{ran:?}");
    assert!(!ran.stderr.contains('\u{fffd}'), "{}", ran.stderr);
    world.assert_sound(&project());
}

#[test]
fn a_maintainer_script_that_fails_is_named() {
    let Some(mut world) = World::new("a failing script") else { return };
    world.publish(&Deb::new("hostile", "1").script("preinst", "#!/bin/sh\necho about to fail\nexit 3\n"));
    let ran = world.build(&project(), &[]).failure(1);
    assert!(ran.stderr.contains("preinst") && ran.stderr.contains("hostile"), "{}", ran.stderr);
    world.publish(&Deb::new("hostile", "2").script("preinst", "#!/bin/sh\nexit 0\n"));
    world.build(&project(), &[]).success();
}

#[test]
fn of_a_path_of_two_packages_an_image_has_the_one_that_replaces_the_other() {
    let Some(mut world) = World::new("a path of two packages") else { return };
    let image = || {
        Project::with_spec(
            "bulla: 1\nname: both\nimage:\n  from: {debian: trixie, suites: [trixie], packages: [new, old]}\n  \
             entrypoint: [/x]\n  user: 65532\n",
        )
    };
    let new = |version: &str| Deb::new("new", version).file("usr/share/x", 0o644, "new");
    world.publish(&Deb::new("old", "1").file("usr/share/x", 0o644, "old").file("usr/share/y", 0o644, "old"));
    // In the order of names the old one would come last.
    world.publish(&new("1").field("Replaces", "old (<< 2)"));
    let project = image();
    world.build(&project, &[]).success();
    let script =
        "for blob in bulla-out/blobs/sha256/*; do tar -xzOf $blob usr/share/x usr/share/y 2>/dev/null; done; true";
    let text = process::output(Command::new("sh").args(["-c", script]).current_dir(project.root())).expect("tar");
    assert_eq!(text.matches("old").count(), 1, "{text}");
    assert_eq!(text.matches("new").count(), 1, "{text}");
    for (version, deb) in [
        ("2", new("2")),
        // It says the word, and moves nothing.
        ("3", new("3").script("preinst", "#!/bin/sh\n# dpkg-divert\nexit 0\n")),
    ] {
        world.publish(&deb);
        let ran = world.build(&image(), &[]).failure(3);
        assert!(ran.stderr.contains("new, old all ship `usr/share/x`"), "{version}: {}", ran.stderr);
    }
    world.publish(&new("4").script("preinst", "#!/bin/sh\ndpkg-divert --package new --rename --add /usr/share/x\n"));
    let ran = world.build(&image(), &[]).failure(3);
    assert!(ran.stderr.contains("dpkg-divert") && ran.stderr.contains("scripts: {run: REASON}"), "{}", ran.stderr);
}

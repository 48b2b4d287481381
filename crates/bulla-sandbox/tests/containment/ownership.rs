//! Owners, identity and privileges.

use std::{fs, os::unix::fs::MetadataExt as _};

use bulla_sandbox::{Bind, Exit, Launcher, Options, Owned, Privileges, Root};

use crate::{
    Case,
    world::{World, give, succeeded},
};

pub(crate) const CASES: &[Case] = &[
    ("a_given_owner_is_in_the_journal", a_given_owner_is_in_the_journal),
    ("an_owner_follows_its_file", an_owner_follows_its_file),
    ("an_owner_is_kept_in_a_copied_root", an_owner_is_kept_in_a_copied_root),
    ("a_missing_file_has_no_owner", a_missing_file_has_no_owner),
    ("another_identity_is_refused", another_identity_is_refused),
    ("another_identity_is_faked_when_asked", another_identity_is_faked_when_asked),
    ("scripts_have_what_they_need_and_no_more", scripts_have_what_they_need_and_no_more),
    ("binds_are_as_writable_as_asked", binds_are_as_writable_as_asked),
    ("an_overlay_is_mounted_in_the_old_way_too", an_overlay_is_mounted_in_the_old_way_too),
    ("mount_points_are_kept_between_runs", mount_points_are_kept_between_runs),
    ("the_lower_directories_are_not_changed", the_lower_directories_are_not_changed),
];

const GIVEN: Owned = Owned { uid: Some(1000), gid: Some(1001) };

/// A lower directory with one file for each way of giving an owner.
fn lower(world: &World) -> tempfile::TempDir {
    let lower = world.scratch();
    crate::world::open_to_all(lower.path());
    let tmp = lower.path().join("tmp");
    fs::create_dir(&tmp).expect("tmp");
    give(&tmp);
    for name in ["plain", "x.fd", "x.group", "x.at"] {
        fs::write(tmp.join(name), name).expect("a file");
        give(&tmp.join(name));
    }
    std::os::unix::fs::symlink("plain", tmp.join("x.link")).expect("a link");
    give(&tmp.join("x.link"));
    lower
}

const PATHS: &[&str] = &["/tmp/plain", "/tmp/x.fd", "/tmp/x.group", "/tmp/x.at", "/tmp/x.link", "/usr/share"];

fn a_given_owner_is_in_the_journal(world: &World) {
    let lower = lower(world);
    let ran = world.run_with(&[&["own"], PATHS].concat(), |request| {
        if let Root::Overlay { lowers, .. } = &mut request.root {
            lowers.insert(0, lower.path().to_owned());
        }
    });
    succeeded(&ran);
    for path in PATHS {
        assert!(ran.stdout.contains(&format!("{path} 0\n")), "{}", ran.stdout);
        let metadata = ran.upper().join(&path[1..]).symlink_metadata().expect("it was copied up");
        let expected = if path.ends_with(".group") { Owned { uid: None, gid: Some(1001) } } else { GIVEN };
        assert_eq!(ran.outcome.owners.of(&metadata), Some(expected), "{path}");
    }
    let untouched = ran.upper().join("tmp").symlink_metadata().expect("the folder");
    assert_eq!(ran.outcome.owners.of(&untouched), None);
}

fn an_owner_follows_its_file(world: &World) {
    let script = "probe own /usr/share/lower && probe move /usr/share/lower /tmp/moved";
    let ran = steps(world, script);
    let moved = ran.upper().join("tmp/moved").symlink_metadata().expect("it is there");
    assert_eq!(ran.outcome.owners.of(&moved), Some(GIVEN));
}

/// Runs probes one after another, by the shell of the tests' own root.
fn steps(world: &World, script: &str) -> crate::world::Ran {
    let words: Vec<&str> = script.split(" && ").collect();
    let first: Vec<&str> = words[0].split(' ').skip(1).collect();
    let second: Vec<&str> = words[1].split(' ').collect();
    let ran = world.run_with(&["chain"], |request| {
        let all = [&["chain"], first.as_slice(), &["&&", "/bin/probe"], second.as_slice()].concat();
        request.argv.truncate(2);
        request.argv.extend(all.iter().map(Into::into));
    });
    succeeded(&ran);
    ran
}

fn an_owner_is_kept_in_a_copied_root(world: &World) {
    let copy = world.scratch();
    crate::world::open_to_all(copy.path());
    let dir = copy.path().join("root");
    let status = std::process::Command::new("cp").arg("-a").args([world.root(), dir.clone()]).status();
    assert!(status.expect("cp runs").success());
    let ran = world.run_with(&["own", "/usr/share/lower"], |request| request.root = Root::Copy { dir: dir.clone() });
    succeeded(&ran);
    let metadata = dir.join("usr/share/lower").symlink_metadata().expect("it is there");
    assert_eq!(ran.outcome.owners.of(&metadata), Some(GIVEN));
    assert!(!ran.outcome.isolation.overlay);
    for made in ["dev", "proc", "etc/hosts", "etc/resolv.conf"] {
        assert!(!dir.join(made).exists(), "the mount point {made} is left");
    }
}

fn a_missing_file_has_no_owner(world: &World) {
    let ran = world.run(&["own", "/tmp/missing", "/tmp/../etc/none"]);
    let enoent = libc::ENOENT;
    assert_eq!(ran.stdout, format!("/tmp/missing {enoent}\n/tmp/../etc/none {enoent}\n"));
    assert!(ran.outcome.owners.is_empty());
}

fn another_identity_is_refused(world: &World) {
    let ran = world.run(&["identity"]);
    let eperm = libc::EPERM;
    for line in [format!("setuid {eperm}"), format!("setresgid {eperm}"), format!("setgroups {eperm}")] {
        assert!(ran.stdout.contains(&line), "{}", ran.stdout);
    }
    assert!(ran.stdout.contains("setuid_root 0\ngetuid 0\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("CapEff:\t0000000000000000"), "{}", ran.stdout);
}

fn another_identity_is_faked_when_asked(world: &World) {
    let ran = world.run_with(&["identity"], |request| request.identity_fake = true);
    assert!(ran.stdout.contains("setuid 0\nsetresgid 0\nsetgroups 0\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("CapEff:\t0000000000000000"), "{}", ran.stdout);
    assert!(ran.stdout.contains(&format!("fsync {}", libc::EBADF)), "{}", ran.stdout);
}

fn scripts_have_what_they_need_and_no_more(world: &World) {
    let ran = world.run_with(&["identity"], |request| request.privileges = Privileges::Scripts);
    assert!(ran.stdout.contains("setuid 0\nsetresgid 0\nsetgroups 0\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("fsync 0\ncapset 0\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("CapEff:\t00000000800001ff"), "{}", ran.stdout);
    assert_eq!(ran.outcome.isolation.capabilities, 0x8000_01ff);
}

fn binds_are_as_writable_as_asked(world: &World) {
    let shared = world.scratch();
    crate::world::open_to_all(shared.path());
    for (writable, expected) in [(true, 0), (false, libc::EROFS)] {
        let ran = world.run_with(&["write", "/run/deep/er/file"], |request| {
            request.binds.push(Bind { source: shared.path().to_owned(), target: "/run/deep/er".into(), writable });
        });
        succeeded(&ran);
        assert_eq!(ran.stdout.trim(), expected.to_string(), "writable: {writable}");
        assert!(!ran.upper().join("run").exists(), "the mount point is not in the upper directory");
        let _ = fs::remove_file(shared.path().join("file"));
    }
}

fn the_lower_directories_are_not_changed(world: &World) {
    let path = world.root().join("usr/share/lower");
    let before = path.metadata().expect("it is there");
    let ran = world.run(&["write", "/usr/share/lower"]);
    assert_eq!(ran.outcome.exit, Exit::Code(0));
    let after = path.metadata().expect("it is there");
    assert_eq!((before.ino(), before.ctime_nsec()), (after.ino(), after.ctime_nsec()));
    assert_eq!(fs::read_to_string(ran.upper().join("usr/share/lower")).expect("changed"), "x");
    // A plain recursive delete must do, as its owner.
    fs::remove_dir_all(ran.scratch.path()).expect("the leftovers can be deleted");
}

fn an_overlay_is_mounted_in_the_old_way_too(world: &World) {
    let launcher = Launcher::start(Options { old_overlay: true, ..Options::default() }).expect("it starts");
    let (lower, many) = (lower(world), world.scratch());
    let scratch = world.scratch();
    let mut request = world.request(scratch.path(), &["own", "/tmp/plain"]);
    if let Root::Overlay { lowers, .. } = &mut request.root {
        lowers.insert(0, lower.path().to_owned());
        for number in 0..100 {
            let path = many.path().join(number.to_string());
            fs::create_dir(&path).expect("a layer");
            give(&path);
            lowers.push(path);
        }
    }
    let mut text = Vec::new();
    let outcome =
        launcher.run(&request, &world.cancel, &mut |_, bytes| text.extend_from_slice(bytes)).expect("it runs");
    assert_eq!(String::from_utf8_lossy(&text), "/tmp/plain 0\n");
    let metadata = scratch.path().join("upper/tmp/plain").symlink_metadata().expect("it was copied up");
    assert_eq!(outcome.owners.of(&metadata), Some(GIVEN));
}

fn mount_points_are_kept_between_runs(world: &World) {
    let kept = world.scratch();
    crate::world::open_to_all(kept.path());
    let options = Options { skeletons: Some(kept.path().to_owned()), ..Options::default() };
    let launcher = Launcher::start(options).expect("it starts");
    for _ in 0..3 {
        let scratch = world.scratch();
        let request = world.request(scratch.path(), &["exit", "0"]);
        let outcome = launcher.run(&request, &world.cancel, &mut |_, _| ()).expect("it runs");
        assert!(outcome.exit.success());
        assert!(!scratch.path().join("skeleton").exists());
        assert_eq!(fs::read_dir(kept.path()).expect("the folder").count(), 1);
    }
}

use std::{fs, os::unix::fs::PermissionsExt};

use crate::{offline, online, project};

#[test]
fn an_empty_store_takes_nothing() {
    let environment = offline();
    let ran = environment.run(&project(), &["store", "du"]).success();
    assert!(ran.stdout.ends_with("all                      0       0 B\n"), "{}", ran.stdout);
    let json = environment.run(&project(), &["store", "du", "--json"]).success();
    assert!(json.stdout.contains(r#""blobs":{"count":0,"bytes":0}"#), "{}", json.stdout);
}

#[test]
fn what_was_not_used_for_long_is_removed() {
    let (_repo, _mirror, environment) = online();
    environment.run(&project(), &["lock"]).success();
    let kept = environment.run(&project(), &["store", "gc"]).success();
    assert!(kept.stdout.starts_with("removed                  0"), "{}", kept.stdout);
    let gone = environment.run(&project(), &["store", "gc", "--keep", "0B"]).success();
    assert!(!gone.stdout.starts_with("removed                  0"), "{}", gone.stdout);
    let empty = environment.run(&project(), &["store", "du"]).success();
    assert!(empty.stdout.contains("blobs                    0"), "{}", empty.stdout);
    environment.run(&project(), &["store", "gc", "--keep", "20"]).failure(2);
}

#[test]
fn a_flipped_bit_is_found_and_removed() {
    let (_repo, _mirror, environment) = online();
    environment.run(&project(), &["lock"]).success();
    let sound = environment.run(&project(), &["store", "verify", "--full"]).success();
    assert!(sound.stdout.contains("blobs"), "{}", sound.stdout);
    let blob = files(&environment.store().join("blobs")).pop().expect("a blob");
    let mut bytes = fs_err::read(&blob).expect("reading it");
    bytes[0] ^= 1;
    fs::set_permissions(&blob, fs::Permissions::from_mode(0o644)).expect("its mode");
    fs_err::write(&blob, bytes).expect("flipping a bit");
    let found = environment.run(&project(), &["store", "verify", "--full"]).failure(5);
    assert!(found.stdout.contains("damaged: blob sha256:"), "{}", found.stdout);
    environment.run(&project(), &["store", "verify", "--full"]).success();
}

#[test]
fn a_history_without_builds_is_empty() {
    let ran = offline().run(&project(), &["history"]).success();
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", "No builds yet.\n"));
    let json = offline().run(&project(), &["history", "--all", "--json"]).success();
    assert_eq!(json.stdout, "");
}

#[test]
fn a_folder_that_is_no_store_is_left_alone() {
    let project = project().file("precious/data", "x");
    let ran = offline().run(&project, &["--store", "precious", "store", "gc", "--keep", "0B"]);
    assert_ne!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(project.read("precious/data"), "x");
}

fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").filter_map(Result::ok) {
        if entry.path().is_dir() { found.extend(files(&entry.path())) } else { found.push(entry.path()) }
    }
    found
}

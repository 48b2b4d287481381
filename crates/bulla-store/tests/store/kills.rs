//! A process that is killed at any moment leaves a valid store.

use std::{
    io::{BufRead as _, Write as _},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use bulla_model::{Digest, Epoch};
use bulla_store::{GcPolicy, SourceCache, Store};

use crate::{Home, options_in, path, tree_of};

const HOME: &str = "BULLA_TEST_HOME";

/// Runs one ignored test of this program as a process of its own, in a home.
pub(crate) fn child(test: &str, home: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"]).env(HOME, home);
    command
}

/// Gives the home that the parent chose.
pub(crate) fn home_of_child() -> Option<std::path::PathBuf> {
    std::env::var_os(HOME).map(Into::into)
}

fn work(store: &Store, home: &Path, round: u32) {
    let mut writer = store.blob_writer().unwrap();
    for _ in 0..20 {
        writer.write_all(&vec![round as u8; 50_000]).unwrap();
    }
    let blob = writer.finish(None).unwrap();
    assert!(store.has_blob(&blob).unwrap());
    let mut partial = store.partial(&Digest::of(vec![b'p'; 300_000])).unwrap();
    while partial.len() < 300_000 {
        // A killed process may have written a part of what it was writing.
        let rest = 300_000 - partial.len() as usize;
        partial.write_all(&vec![b'p'; rest.min(10_000)]).unwrap();
    }
    partial.finish().unwrap();
    let trees: Vec<Digest> = (0..6_u32)
        .map(|i| {
            let names: Vec<String> = (0..30).map(|n| format!("p{i}/d{}/f{n}", n % 5)).collect();
            let content = format!("{i} {}", round % 3);
            let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), content.as_str())).collect();
            tree_of(store, &files).digest()
        })
        .collect();
    store.farm(&trees).unwrap();
    store.farm(&trees[..3]).unwrap();
    store.put_result(&Digest::of(round.to_le_bytes()), b"{\"result\":1}").unwrap();
    let project = home.join("project");
    std::fs::create_dir_all(&project).unwrap();
    let files: Vec<_> = (0..40).map(|n| path(&format!("s{n:02}"))).collect();
    for file in &files {
        std::fs::write(project.join(file), round.to_string()).unwrap();
    }
    let cache = SourceCache::open(store, &project, "app", Epoch::default()).unwrap();
    let source = cache.ingest(&project, &files).unwrap();
    cache.view(&source, &|_| true, &path("src/app")).unwrap();
    if round % 4 == 3 {
        store.gc(GcPolicy { max_age: None, max_bytes: Some(200_000) }).unwrap();
    }
}

#[test]
#[ignore = "the child of `a_process_killed_at_any_moment_leaves_a_valid_store`"]
fn works_until_killed() {
    let Some(home) = home_of_child() else { return };
    println_now("ready");
    for round in 0.. {
        let store = Store::open(options_in(&home)).unwrap();
        work(&store, &home, round);
        assert_eq!(store.warnings(), [""; 0]);
    }
}

fn println_now(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

#[test]
fn a_process_killed_at_any_moment_leaves_a_valid_store() {
    let home = Home::new();
    for round in 0..40_u64 {
        let mut child = child("kills::works_until_killed", home.path("").as_path())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("ready") && out.read_line(&mut line).unwrap() > 0 {}
        // Primes spread the moments over the whole of the work.
        std::thread::sleep(Duration::from_micros(round * 7_919 % 150_000));
        assert!(child.try_wait().unwrap().is_none(), "round {round}: the child ended by itself");
        child.kill().unwrap();
        child.wait().unwrap();
        let store = home.store();
        let report = store.verify(round % 4 == 0).unwrap();
        assert_eq!(report.damaged, [""; 0], "round {round}");
        assert_eq!(store.warnings(), [""; 0], "round {round}");
        assert_eq!(std::fs::read_dir(home.in_store("scratch")).unwrap().count(), 1, "round {round}: only our own");
        assert_eq!(std::fs::read_dir(home.in_store("leases")).unwrap().count(), 1, "round {round}");
    }
    work(&home.store(), &home.path(""), 3);
}

#[test]
#[ignore = "the child of `two_processes_work_in_one_store_at_once`"]
fn works_for_a_while() {
    let Some(home) = home_of_child() else { return };
    for round in 0..8 {
        let store = Store::open(options_in(&home)).unwrap();
        // Its own project folder, for the other process writes to the other one.
        work(&store, &home.join(format!("p{}", std::process::id())), round);
    }
}

#[test]
fn two_processes_work_in_one_store_at_once() {
    let home = Home::new();
    for _ in 0..2 {
        std::fs::create_dir_all(home.path("p")).unwrap();
    }
    let spawn = || child("kills::works_for_a_while", home.path("").as_path()).stdout(Stdio::null()).spawn().unwrap();
    let (mut first, mut second) = (spawn(), spawn());
    assert!(first.wait().unwrap().success());
    assert!(second.wait().unwrap().success());
    let store = home.store();
    assert_eq!(store.verify(true).unwrap().damaged, [""; 0]);
    assert_eq!(store.warnings(), [""; 0]);
}

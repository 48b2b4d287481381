use std::path::Path;

use bulla_testkit::{Project, TestEnvironment, process};
use serde_json::Value;

use crate::world::{Remote, World, build, project};

/// Another host name (where a namespace for it can be had), one processor, and nothing that others may read.
pub(crate) const OTHERWISE: &str =
    "echo other >/proc/sys/kernel/hostname 2>/dev/null || true; umask 077; exec taskset -c 0 \"$@\"";

#[test]
fn whoever_builds_hello_wherever_and_however_gets_the_same_digest() {
    let Some(world) = World::get() else { return };
    let (first, environment, other) = twice(world, "hello", &["hello.c"]);
    // The control: what should count does.
    other.write("hello.c", other.read("hello.c").replace("sealed", "other"));
    assert_ne!(first, build(&environment, &other));
}

#[test]
fn whoever_builds_nginx_wherever_and_however_gets_the_same_digest() {
    let Some(world) = World::get() else { return };
    twice(world, "nginx-light", &["site/nginx.conf", "site/html/index.html"]);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test reads how much it is to do")]
fn whoever_builds_redis_wherever_and_however_gets_the_same_digest() {
    if std::env::var_os("BULLA_REPRODUCE").is_none() {
        return bulla_testkit::skipped("compiling Redis twice", "BULLA_REPRODUCE is not set (.ci/full sets it)");
    }
    let Some(world) = World::get() else { return };
    twice(world, "redis", &[]);
}

/// Builds an example from an empty store, and again from another, by another user in another folder, with another time zone,
/// locale, umask, host name and number of processors. Gives the digest, and what the second was built with.
fn twice(world: &World, name: &str, files_of_it: &[&str]) -> (String, TestEnvironment, Project) {
    let (one, other) = (project(name, files_of_it), project(name, files_of_it));
    assert_ne!(one.root(), other.root());
    let cold = world.cold();
    let remote = Remote::filled_by(&cold);
    let first = build(&cold, &one);
    on_an_empty_machine(world, &remote, &one, &first);

    let around: &[&str] = if process::is_root() { &["unshare", "-u", "sh", "-c"] } else { &["sh", "-c"] };
    let environment = world
        .cold()
        .set("TZ", "Pacific/Kiritimati")
        .set("LC_ALL", "C")
        .set("LANG", "tr_TR.UTF-8")
        .set("USER", "someone")
        .set("CFLAGS", "-DOTHER")
        .set("SOURCE_DATE_EPOCH", "1")
        .through(&[around, &[OTHERWISE, "sh"]].concat())
        .as_user("bulla-test")
        .without_subuid();
    let second = build(&environment, &other);
    assert_eq!(first, second);
    assert_eq!(one.read("bulla.lock"), other.read("bulla.lock"), "the lock is the same too");
    assert_eq!(
        files(&one.path("bulla-out")),
        files(&other.path("bulla-out")),
        "and every byte that is written, but for who built it when"
    );
    (first, environment, other)
}

/// Builds on a machine with nothing but the remote store of another: no mirror is asked, and no step runs.
fn on_an_empty_machine(world: &World, remote: &Remote, project: &Project, digest: &str) {
    let (environment, mirror) = world.elsewhere();
    remote.read_by(&environment);
    let ran = environment.run(project, &["build", "--locked", "--progress", "json"]).success();
    assert_eq!(ran.stdout.trim_end(), digest);
    let events: Vec<serde_json::Value> =
        ran.stderr.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    assert!(events.iter().all(|event| event["event"] != "warning"), "{}", ran.stderr);
    let made = |event: &serde_json::Value| ["root", "step", "assemble"].iter().any(|one| event["activity"] == *one);
    let mut ended = 0;
    for begun in events.iter().filter(|event| event["event"] == "started" && made(event)) {
        let is_end = |event: &&serde_json::Value| event["event"] == "finished" && event["id"] == begun["id"];
        let end = events.iter().find(is_end).expect("it ends");
        assert_eq!(end["ending"], "cached", "{}", begun["title"]);
        ended += 1;
    }
    assert!(ended > 0, "the image at least");
    assert!(mirror.requests().is_empty(), "a mirror was asked: {:?}", mirror.requests());
    environment.run(project, &["store", "verify", "--full"]).success();
}

/// Gives the files of a layout with their contents, in order. Of the provenance only what follows from the project is left, and nothing of
/// the manifests that refer by it: the rest is of one invocation.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs_err::read_dir(next).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else {
                let name = entry.strip_prefix(folder).expect("beneath").display().to_string();
                found.extend(for_everyone(name, fs_err::read(&entry).expect("a file")));
            }
        }
    }
    found.sort();
    found
}

const PROVENANCE: &str = "https://slsa.dev/provenance/v1";

fn for_everyone(name: String, bytes: Vec<u8>) -> Option<(String, Vec<u8>)> {
    let Ok(mut document) = serde_json::from_slice::<Value>(&bytes) else { return Some((name, bytes)) };
    let refers = |entry: &Value| entry["annotations"]["in-toto.io/predicate-type"] == PROVENANCE;
    if refers(&document) {
        return None;
    }
    if document["predicateType"] == PROVENANCE {
        let run = document["predicate"].as_object_mut().and_then(|predicate| predicate.remove("runDetails"));
        assert!(run.is_some_and(|run| run["metadata"]["invocationId"].is_string()));
        return Some(("provenance".to_owned(), document.to_string().into_bytes()));
    }
    if name == "index.json" {
        document["manifests"].as_array_mut().expect("entries").retain(|entry| !refers(entry));
        return Some((name, document.to_string().into_bytes()));
    }
    Some((name, bytes))
}

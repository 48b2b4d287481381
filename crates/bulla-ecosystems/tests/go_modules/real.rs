//! A real program of 51 modules: all that its `go.sum` names is verified, and the real `go` builds it from what is served alone.

#![expect(clippy::print_stdout, reason = "a test says what it measured")]
#![expect(clippy::disallowed_methods, reason = "a test runs the real client")]

use std::{path::Path, process::Command, time::Instant};

use bulla_ecosystems::dependencies::{Native as _, Place, go::Go};
use bulla_testkit::{language, process};

use crate::served::{Folder, Kept, path, serve};

/// Nobody listens at the port for multiplexers (RFC 1078).
const NOWHERE: &str = "http://127.0.0.1:1";

/// A `go` that has no network but loopback, and nothing of the caller's environment.
fn go(source: &Path, cache: &Path, home: &Path) -> Command {
    let mut go = Command::new("go");
    go.env_clear().current_dir(source).env("HOME", home).env("GOCACHE", cache).env("CGO_ENABLED", "0");
    go.env("GOFLAGS", "-modcacherw").env("GOTOOLCHAIN", "local");
    go.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    for name in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"] {
        go.env(name, NOWHERE);
    }
    go
}

#[test]
fn go_builds_a_real_program_from_what_is_served_alone() {
    let Some(project) = language::go_project("github.com/charmbracelet/gum", "v0.17.0") else { return };
    let lock = Go::read(&Folder(project.source.clone()), &path("go.sum")).expect("a real go.sum");
    let started = Instant::now();
    let (bodies, bytes) = Kept::verified(&lock, |artifact| {
        let Place::Registry(place) = &artifact.places[0] else { panic!("it is in a registry") };
        project.fetched.join(place)
    });
    let count = lock.locked().artifacts.len();
    println!("verified {count} files, {} MB, in {:?}", bytes >> 20, started.elapsed());
    assert!(lock.locked().artifacts.iter().filter(|artifact| artifact.file.ends_with(".zip")).count() >= 50);

    let scratch = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| scratch.path().join(name);
    let source = at("source");
    language::copy_writable(&project.source, &source).expect("a copy");
    let started = Instant::now();
    let mirror = serve(&lock, &bodies, &at("served"));
    println!("made the repository in {:?}", started.elapsed());
    let client = lock.client(&mirror.url());
    // What was compiled once is taken for the next run, when its sources are the same.
    let compiled = project.home.join("build");

    // The control: without what is served there is no way to any module.
    let mut cut = go(&source, &compiled, &at("home"));
    let error = process::output(cut.env("GOMODCACHE", at("empty")).args(["mod", "download"])).expect_err("cut off");
    assert!(error.contains("127.0.0.1:1"), "{error}");

    let mut ours = go(&source, &compiled, &at("home"));
    ours.envs(&client.env).env("GOMODCACHE", at("modules"));
    ours.args(["build", "-trimpath", "-o"]).arg(at("ours")).arg(".");
    let started = Instant::now();
    process::output(&mut ours).expect("it is built from what is served");
    println!("built in {:?} with {} requests", started.elapsed(), mirror.requests().len());
    for name in ["go.mod", "go.sum"] {
        let [before, after] = [&project.source, &source].map(|folder| fs_err::read(folder.join(name)).expect("a file"));
        assert!(before == after, "{name} was changed");
    }

    // What the same `go` makes of what it fetched itself.
    let mut theirs = go(&source, &compiled, &at("home"));
    theirs.env("GOMODCACHE", &project.home).env("GOPROXY", "off").env("GOFLAGS", "-mod=readonly");
    theirs.args(["build", "-trimpath", "-o"]).arg(at("theirs")).arg(".");
    process::output(&mut theirs).expect("it is built from the cache");
    let [ours, theirs] = ["ours", "theirs"].map(|name| fs_err::read(at(name)).expect("a program"));
    assert!(ours == theirs, "the programs differ");
    let version = process::output(Command::new(at("ours")).arg("--version")).expect("it runs");
    assert!(version.contains("gum"), "{version}");
}

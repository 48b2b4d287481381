//! Real programs: all that their `Cargo.lock` names is verified, and the real `cargo` builds from the folders that are made of it alone.

#![expect(clippy::print_stdout, reason = "a test says what it measured")]
#![expect(clippy::disallowed_methods, reason = "a test runs the real client")]

use std::{path::Path, process::Command, time::Instant};

use bulla_ecosystems::dependencies::{Native as _, Place, cargo::Cargo};
use bulla_testkit::{
    archive::{TarEntry, gzip, tar},
    language,
    language::RealProject,
    process,
};

use crate::{
    CORP, CRATES_IO, entry,
    served::{Folder, Kept, path, unpack},
};

/// Nobody listens at the port for multiplexers (RFC 1078).
const NOWHERE: &str = "http://127.0.0.1:1";

/// A `cargo` that has no network but loopback.
fn cargo(source: &Path, home: &Path) -> Command {
    let mut cargo = language::cargo(source, home);
    for name in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"] {
        cargo.env(name, NOWHERE);
    }
    cargo.env("no_proxy", "127.0.0.1").env("NO_PROXY", "127.0.0.1").env("CARGO_NET_RETRY", "0");
    cargo
}

/// A project beneath a folder with what its lock file names.
struct Served {
    lock: Cargo,
    folder: tempfile::TempDir,
}

impl Served {
    fn of(project: &RealProject) -> Self {
        let mut lock = Cargo::read(&Folder(project.source.clone()), &path("Cargo.lock")).expect("a real lock file");
        for question in lock.questions() {
            lock.answer(&question, Some(br#"{"dl":"https://dl.example/crates"}"#)).expect("an answer");
        }
        assert!(lock.locked().artifacts.iter().all(|artifact| matches!(artifact.places[..], [Place::Registry(_)])));
        let started = Instant::now();
        let (bodies, bytes) = Kept::verified(&lock, |artifact| project.fetched.join(&artifact.file));
        let count = lock.locked().artifacts.len();
        println!("verified {count} crates, {} MB, in {:?}", bytes >> 20, started.elapsed());
        let folder = tempfile::tempdir().expect("a temporary folder");
        let started = Instant::now();
        lay(&lock, &bodies, folder.path());
        println!("unpacked them in {:?}", started.elapsed());
        let served = Self { lock, folder };
        language::copy_writable(&project.source, &served.at("ours")).expect("a copy");
        served
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }
}

#[test]
fn cargo_resolves_a_real_program_of_more_than_a_hundred_crates() {
    let Some(project) = language::cargo_project("just", "1.42.4") else { return };
    let served = Served::of(&project);
    assert!(served.lock.locked().artifacts.len() >= 100);
    let started = Instant::now();
    process::output(cargo(&served.at("ours"), &served.at("home")).args(["fetch", "--locked"])).expect("it is fetched");
    println!("fetched in {:?}", started.elapsed());
    // What cargo makes of our folders is what it makes of the registry's own index: every feature and dependency of every crate.
    let tree = |source: &Path, home: &Path| {
        let mut tree = cargo(source, home);
        process::output(tree.args([
            "tree",
            "--locked",
            "--offline",
            "--target",
            "all",
            "-e",
            "all,features",
            "--no-dedupe",
        ]))
        .expect("cargo draws the tree")
    };
    let theirs = tempfile::tempdir().expect("a temporary folder");
    let copy = theirs.path().join("ours");
    language::copy_writable(&project.source, &copy).expect("a copy");
    let head = |text: String| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    let [ours, theirs] = [tree(&served.at("ours"), &served.at("home")), tree(&copy, &project.home)].map(head);
    assert!(ours.len() > 500 && ours == theirs, "the trees differ");
    unchanged(&project, &served);
    if std::env::var_os("BULLA_MEASURE").is_some() {
        measure(&project, &served);
    }
}

/// Compares our folders with those that `cargo vendor` makes: until `cargo` would compile.
fn measure(project: &RealProject, served: &Served) {
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    let (vendored, folders) = (elsewhere.path().join("source"), elsewhere.path().join("folders"));
    language::copy_writable(&project.source, &vendored).expect("a copy");
    let mut vendor = cargo(&vendored, &project.home);
    process::output(vendor.args(["vendor", "--locked", "--offline"]).arg(&folders)).expect("cargo vendors");
    fs_err::create_dir_all(vendored.join(".cargo")).expect("a folder");
    let settings = VENDORED.replace("FOLDER", &folders.display().to_string());
    fs_err::write(vendored.join(".cargo/config.toml"), settings).expect("settings");
    let time = |source: &Path, home: &str, command: &[&str]| {
        let started = Instant::now();
        process::output(cargo(source, &served.at(home)).args(command)).expect("it is had");
        started.elapsed()
    };
    for round in 0..3 {
        let ours =
            time(&served.at("ours"), &format!("home{round}"), &["metadata", "--locked", "--format-version", "1"]);
        let theirs = time(&vendored, &format!("homev{round}"), &["metadata", "--locked", "--format-version", "1"]);
        println!("resolved in {ours:?}; from folders of `cargo vendor` in {theirs:?}");
    }
}

/// Unpacks crates beneath a folder that stands for the root of a step, and writes cargo's settings there.
fn lay(lock: &Cargo, bodies: &Kept, root: &Path) {
    unpack(lock, bodies, root).expect("good crates");
    for (place, bytes) in lock.client(NOWHERE).files {
        // Above the project, as in the root of a step.
        let place = root.join(place.as_str().expect("UTF-8"));
        fs_err::create_dir_all(place.parent().expect("a folder")).expect("a folder");
        let text = String::from_utf8(bytes).expect("UTF-8");
        let text = text.replace("\"/run/bulla", &format!("\"{}/run/bulla", root.display()));
        fs_err::write(place, text).expect("the settings");
    }
}

const VENDORED: &str = "[source.crates-io]\nreplace-with = \"folders\"\n[source.folders]\ndirectory = \"FOLDER\"\n";

#[test]
fn cargo_builds_a_real_program_from_what_is_served_alone() {
    let Some(project) = language::cargo_project("hexyl", "0.16.0") else { return };
    let served = Served::of(&project);

    // The control: without the settings there is no way to any crate.
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    let copy = elsewhere.path().join("ours");
    language::copy_writable(&project.source, &copy).expect("a copy");
    let mut cut = cargo(&copy, &elsewhere.path().join("empty"));
    process::output(cut.args(["fetch", "--locked"])).expect_err("cut off");

    // Paths of sources are in a program.
    let build = |source: &Path, crates: &Path, home: &Path, target: &Path| {
        let started = Instant::now();
        let mut build = cargo(source, home);
        let sources = format!("--remap-path-prefix={}=/crates", crates.display());
        let own = format!("--remap-path-prefix={}=/project", source.display());
        build.env("RUSTFLAGS", format!("{sources} {own}")).env("CARGO_TARGET_DIR", target);
        process::output(build.args(["build", "--locked", "--offline"])).expect("it is built");
        println!("built in {:?}", started.elapsed());
        fs_err::read(target.join("debug/hexyl")).expect("a program")
    };
    let crates = served.at("run/bulla/crates/crates-io");
    let ours = build(&served.at("ours"), &crates, &served.at("home"), &served.at("target"));
    let theirs = build(&copy, &registry(&project.home), &project.home, &elsewhere.path().join("target"));
    assert!(ours == theirs, "the programs differ");
    let shown = process::output(Command::new(served.at("target/debug/hexyl")).arg("--version")).expect("it runs");
    assert!(shown.contains("hexyl 0.16.0"), "{shown}");
    unchanged(&project, &served);
}

/// The folder in which a home has its one registry's sources.
fn registry(home: &Path) -> std::path::PathBuf {
    let mut folders =
        fs_err::read_dir(home.join("registry/src")).expect("sources").map(|entry| entry.expect("a folder").path());
    folders.next().expect("a registry")
}

fn unchanged(project: &RealProject, served: &Served) {
    for name in ["Cargo.lock", "Cargo.toml"] {
        let [before, after] =
            [&project.source, &served.at("ours")].map(|folder| fs_err::read(folder.join(name)).expect("a file"));
        assert!(before == after, "{name} was changed");
    }
}

#[test]
fn the_real_cargo_has_crates_of_one_name_from_two_registries() {
    if process::output(Command::new("cargo").arg("--version")).is_err() {
        return bulla_testkit::skipped("two registries", "cargo cannot be run");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    let made = |place: &str, word: &str| {
        let manifest = "[package]\nname = \"a\"\nversion = \"1.0.0\"\nedition = \"2021\"\n";
        let library = format!("pub const WORD: &str = \"{word}\";\n");
        let bytes = gzip(&tar(&[
            TarEntry::file("a-1.0.0/Cargo.toml", 0o644, manifest),
            TarEntry::file("a-1.0.0/src/lib.rs", 0o644, library),
        ]));
        fs_err::write(at(place), &bytes).expect("a crate");
        bytes
    };
    let (public, own) = (made("public", "public"), made("own", "own"));
    fs_err::create_dir_all(at("app/src")).expect("a folder");
    fs_err::create_dir_all(at("app/.cargo")).expect("a folder");
    let file = |place: &str, text: &str| fs_err::write(at(place), text).expect("a file of the project");
    file("app/.cargo/config.toml", &format!("[registries.corp]\nindex = \"{CORP}\"\n"));
    file("app/src/main.rs", "fn main() { print!(\"{} {}\", public::WORD, own::WORD) }\n");
    file(
        "app/Cargo.toml",
        "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\n\
         public = { package = \"a\", version = \"1\" }\nown = { package = \"a\", version = \"1\", registry = \"corp\" }\n",
    );
    let app = format!(
        "version = 4\n\n{}{}[[package]]\nname = \"app\"\nversion = \"0.1.0\"\ndependencies = [\n \"a 1.0.0 ({CRATES_IO})\",\n \"a 1.0.0 ({CORP})\",\n]\n",
        entry("a", "1.0.0", CRATES_IO, &public),
        entry("a", "1.0.0", CORP, &own)
    );
    file("app/Cargo.lock", &app);
    let lock = Cargo::read(&Folder(at("app")), &path("Cargo.lock")).expect("a lock file");
    let bodies = Kept(vec![at("public"), at("own")]);
    lay(&lock, &bodies, folder.path());
    let said =
        process::output(cargo(&at("app"), &at("home")).args(["run", "--quiet", "--locked"])).expect("it is built");
    assert_eq!(said, "public own");
}

//! `Cargo.lock`: read, verified, and served to the real `cargo`.

#[path = "../served/mod.rs"]
mod served;

mod attacks;
mod real;

use std::os::unix::fs::PermissionsExt as _;

use bulla_ecosystems::dependencies::{Folder, LockFileError, Native as _, Place, Question, cargo::Cargo};
use bulla_testkit::archive::{TarEntry, gzip, tar};
use served::{Held, Source, path, refused, unpack};
use sha2::{Digest as _, Sha256};

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";
const CORP: &str = "sparse+https://cargo.example/index/";

fn read(lock: &str) -> Result<Cargo, LockFileError> {
    Cargo::read(&Source::of(&[("Cargo.lock", lock)]), &path("Cargo.lock"))
}

/// Packs a crate.
fn pack(name: &str, version: &str, manifest: &str) -> Vec<u8> {
    let folder = format!("{name}-{version}");
    gzip(&tar(&[
        TarEntry::file(format!("{folder}/Cargo.toml"), 0o644, manifest),
        TarEntry::file(format!("{folder}/src/lib.rs"), 0o644, ""),
    ]))
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An entry of a lock file.
fn entry(name: &str, version: &str, source: &str, bytes: &[u8]) -> String {
    format!(
        "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nsource = \"{source}\"\nchecksum = \"{}\"\n\n",
        hex(bytes)
    )
}

fn places(cargo: &Cargo) -> Vec<Vec<Place>> {
    cargo.locked().artifacts.iter().map(|artifact| artifact.places.clone()).collect()
}

#[test]
fn versions_one_to_four_name_the_same_packages() {
    let sum = hex(b"x");
    let packages = format!(
        "[[package]]\nname = \"app\"\nversion = \"0.1.0\"\ndependencies = [\n \"a\",\n]\n\n{}",
        entry("a", "1.0.0", CRATES_IO, b"x")
    );
    let first = format!(
        "[[package]]\nname = \"app\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"{CRATES_IO}\"\n\n\
         [metadata]\n\"checksum a 1.0.0 ({CRATES_IO})\" = \"{sum}\"\n"
    );
    let texts = [first, packages.clone(), format!("version = 3\n\n{packages}"), format!("version = 4\n\n{packages}")];
    for text in texts {
        let cargo = read(&text).expect("a lock file");
        let [artifact] = &cargo.locked().artifacts[..] else { panic!("one is from a registry") };
        assert_eq!((artifact.name.as_str(), artifact.file.as_str()), ("a", "a-1.0.0.crate"));
        assert_eq!(text.lines().nth(artifact.line as usize - 1), Some("name = \"a\""));
    }
    refused(read(&format!("version = 5\n\n{packages}")), Some(1), "it has version 5, and 4 is the newest that is read");
}

#[test]
fn mistakes_are_named_with_their_line() {
    let good = entry("a", "1.0.0", CRATES_IO, b"x");
    let before = format!("version = 4\n\n{good}");
    let line = before.lines().count() as u32 + 2;
    for (more, text) in [
        (good.clone(), "a 1.0.0 is in it twice, first in line 4".to_owned()),
        (good.replace("\"a\"", "\"../a\""), "`../a` is no name of a crate".to_owned()),
        (good.replace("1.0.0", "1.0"), "`1.0` is no version of a".to_owned()),
        (good.replace("checksum", "other"), "a 1.0.0 has no checksum".to_owned()),
        (good.replace(&hex(b"x"), "0123"), "`0123` is no checksum of a 1.0.0".to_owned()),
        (
            good.replace(CRATES_IO, "git+https://git.example/a?tag=v1#0123"),
            "a 1.0.0: the git repository `https://git.example/a` is named with `0123`, which is no whole commit"
                .to_owned(),
        ),
        (
            good.replace(CRATES_IO, "registry+https://git.example/index"),
            "a registry whose index is a git repository".to_owned(),
        ),
        (good.replace(CRATES_IO, "local+x"), "a source that is not known".to_owned()),
        (good.replace(CRATES_IO, "sparse+https://me:pw@x.example/"), "which is no plain address".to_owned()),
        (good.replace(CRATES_IO, "sparse+file:///etc/"), "which is no plain address".to_owned()),
    ] {
        refused(read(&format!("{before}{more}")), Some(line), &text);
    }
    refused(read(&format!("{before}<<<<<<< HEAD\n")), Some(line - 1), "is left of a merge");
    refused(read(&format!("{before}[[package]]\nname = \"b")), Some(line), "it is no lock file of cargo");
    refused(read(&format!("{before}[[package]]\nname = 3")), Some(line), "it is no lock file of cargo");
    let many: String =
        (0..64).map(|at| entry(&format!("c{at}"), "1.0.0", &format!("sparse+https://r{at}.example/"), b"x")).collect();
    refused(
        read(&format!("version = 4\n{many}")),
        None,
        "its crates are of 65 registries and repositories, and 64 is the most",
    );
    refused(Cargo::read(&Source::of(&[]), &path("Cargo.lock")), None, "Cargo.lock: it is not in the source");
}

#[test]
fn fifty_thousand_packages_are_read() {
    let text: String =
        (0..50_000).map(|at| entry(&format!("crate-{}", at % 5000), &format!("1.{at}.0"), CRATES_IO, b"x")).collect();
    assert_eq!(read(&format!("version = 4\n\n{text}")).expect("a lock file").locked().artifacts.len(), 50_000);
}

#[test]
fn the_registry_says_where_crates_are() {
    let lock =
        format!("version = 4\n{}{}", entry("a", "1.0.0", CRATES_IO, b"x"), entry("Abcd_e", "2.0.0+b", CRATES_IO, b"y"));
    let ask = |config: &str| {
        let mut cargo = read(&lock).expect("a lock file");
        let questions = cargo.questions();
        let [question] = &questions[..] else { panic!("one question, {questions:?}") };
        assert_eq!(question.place, Place::Registry("config.json".to_owned()));
        cargo.answer(question, Some(config.as_bytes())).map(|()| {
            assert!(cargo.questions().is_empty());
            places(&cargo)
        })
    };
    let urls = |a: &str, b: &str| [a, b].map(|text| vec![Place::Registry(text.to_owned())]);
    assert_eq!(
        ask(r#"{"dl":"https://dl.example/crates/"}"#).expect("an answer"),
        urls("https://dl.example/crates/Abcd_e/2.0.0+b/download", "https://dl.example/crates/a/1.0.0/download")
    );
    assert_eq!(
        ask(
            r#"{"dl":"https://dl.example/{prefix}/{lowerprefix}/{crate}-{version}.crate#{sha256-checksum}","api":"x"}"#
        )
        .expect("an answer"),
        urls(
            &format!("https://dl.example/Ab/cd/ab/cd/Abcd_e-2.0.0+b.crate#{}", hex(b"y")),
            &format!("https://dl.example/1/1/a-1.0.0.crate#{}", hex(b"x"))
        )
    );
    assert_eq!(
        ask(r#"{"dl":"https://dl.example/","auth-required":true}"#).expect("an answer")[1],
        [Place::Registry("with-login https://dl.example/a/1.0.0/download".to_owned())]
    );
    for bad in ["", "[]", "{}", r#"{"dl":"file:///etc"}"#, r#"{"dl":"/x"}"#, r#"{"dl":"https://a b"}"#] {
        let error = ask(bad).expect_err(bad).to_string();
        assert!(error.starts_with("config.json: "), "{error}");
    }
    let mut cargo = read(&lock).expect("a lock file");
    let question = cargo.questions().remove(0);
    assert!(cargo.answer(&question, None).is_err());
}

#[test]
fn a_crate_is_unpacked_as_cargo_wants_a_folder() {
    let manifest = "[package]\nname = \"Left_pad\"\nversion = \"1.2.3+b\"\n";
    let file = |name: &str, mode, text: &str| TarEntry::file(format!("Left_pad-1.2.3+b/{name}"), mode, text);
    let bytes = gzip(&tar(&[
        TarEntry::directory("Left_pad-1.2.3+b/", 0o700),
        file("Cargo.toml", 0o600, manifest),
        file("configure", 0o755, "#!/bin/sh\n"),
        file("src/lib.rs", 0o4644, ""),
        // What cargo itself keeps there is not the crate's to say.
        file(".cargo-ok", 0o644, "ok"),
        file(".cargo-checksum.json", 0o644, "{\"files\":{},\"package\":\"0\"}"),
        TarEntry::symlink("Left_pad-1.2.3+b/README", "src/lib.rs"),
    ]));
    let cargo =
        read(&format!("version = 4\n{}", entry("Left_pad", "1.2.3+b", CRATES_IO, &bytes))).expect("a lock file");
    let root = tempfile::tempdir().expect("a temporary folder");
    unpack(&cargo, &Held(vec![bytes.clone()]), root.path()).expect("a good crate");
    let folder = root.path().join("run/bulla/crates/crates-io/Left_pad-1.2.3+b");
    let text = |name: &str| fs_err::read_to_string(folder.join(name)).expect(name);
    assert_eq!(text("Cargo.toml"), manifest);
    assert_eq!(text(".cargo-checksum.json"), format!("{{\"files\":{{}},\"package\":\"{}\"}}", hex(&bytes)));
    assert!(!folder.join(".cargo-ok").exists());
    let mode = |name: &str| fs_err::metadata(folder.join(name)).expect(name).permissions().mode() & 0o7777;
    assert_eq!([mode("configure"), mode("src/lib.rs"), mode("Cargo.toml")], [0o755, 0o644, 0o644]);
    assert_eq!(fs_err::read_link(folder.join("README")).expect("a link"), std::path::Path::new("src/lib.rs"));
    // A step that needs no crate finds the folder all the same.
    let folders = read("version = 4\n").expect("a lock file").folders();
    assert_eq!(folders, [Folder { target: path("run/bulla/crates/crates-io"), artifacts: Vec::new() }]);
}

#[test]
fn a_name_of_one_registry_is_never_given_for_that_of_another() {
    let manifest = |more: &str| format!("[package]\nname = \"a\"\nversion = \"1.0.0\"\n{more}");
    let (public, own) = (pack("a", "1.0.0", &manifest("")), pack("a", "1.0.0", &manifest("[features]\nown = []\n")));
    let lock = format!("version = 4\n{}{}", entry("a", "1.0.0", CRATES_IO, &public), entry("a", "1.0.0", CORP, &own));
    let mut cargo = read(&lock).expect("a lock file");
    let files: Vec<&str> = cargo.locked().artifacts.iter().map(|artifact| artifact.file.as_str()).collect();
    assert_eq!(files, ["a-1.0.0.crate", "https://cargo.example/index/a-1.0.0.crate"]);
    let questions: Vec<Question> = cargo.questions();
    let asked: Vec<&Place> = questions.iter().map(|question| &question.place).collect();
    assert_eq!(
        asked,
        [&Place::Registry("config.json".into()), &Place::Registry("https://cargo.example/index/ config.json".into())]
    );
    cargo.answer(&questions[1], Some(br#"{"dl":"https://cargo.example/dl"}"#)).expect("an answer");
    assert_eq!(
        places(&cargo),
        [
            vec![],
            vec![Place::Registry("https://cargo.example/index/ https://cargo.example/dl/a/1.0.0/download".into())]
        ]
    );
    assert_eq!(cargo.questions(), questions[..1]);

    let client = cargo.client("http://127.0.0.1:1");
    let config = String::from_utf8(client.files[&path(".cargo/config.toml")].clone()).expect("UTF-8");
    let key = config.lines().find_map(|line| line.strip_prefix("replace-with = \"bulla-")).expect("a second registry");
    let key = key.trim_end_matches('"');
    let ours =
        "[source.crates-io]\nreplace-with = \"bulla\"\n\n[source.bulla]\ndirectory = \"/run/bulla/crates/crates-io\"\n";
    assert!(config.contains(ours), "{config}");
    let theirs = format!(
        "registry = \"{CORP}\"\nreplace-with = \"bulla-{key}\"\n\n[source.bulla-{key}]\ndirectory = \"/run/bulla/crates/{key}\"\n"
    );
    assert!(config.contains(&theirs), "{config}");
    let root = tempfile::tempdir().expect("a temporary folder");
    unpack(&cargo, &Held(vec![public, own]), root.path()).expect("good crates");
    let text = |folder: &str| {
        fs_err::read_to_string(root.path().join("run/bulla/crates").join(folder).join("a-1.0.0/Cargo.toml"))
            .expect("a crate")
    };
    assert!(!text("crates-io").contains("own") && text(key).contains("own"));
}

#[test]
fn the_last_words_of_cargo_are_answered() {
    let cargo = read(&format!("version = 4\n{}", entry("serde", "1.0.0", CRATES_IO, b"x"))).expect("a lock file");
    let words = |name: &str| {
        cargo
            .answer_to(&format!("error: failed to select a version for the requirement `{name} = \"^1.1\"`\ncandidate"))
    };
    let told = "cargo asked for serde ^1.1; Cargo.lock has 1.0.0. Run `cargo update -p serde`, commit Cargo.lock, build again.";
    assert_eq!(words("serde").as_deref(), Some(told));
    let told = "cargo asked for other ^1.1; Cargo.lock has no version of it. Run `cargo update --workspace`, commit Cargo.lock, build again.";
    assert_eq!(words("other").as_deref(), Some(told));
    let told = "cargo asked for other; Cargo.lock has no version of it. Run `cargo update --workspace`, commit Cargo.lock, build again.";
    assert_eq!(cargo.answer_to("error: no matching package named `other` found").as_deref(), Some(told));
    assert_eq!(cargo.answer_to("error: failed to select a version for the requirement `"), None);
}

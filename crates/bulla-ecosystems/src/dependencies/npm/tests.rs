use std::io::{self, Cursor, Write as _};

use bulla_model::Platform;

use super::*;
use crate::dependencies::{Hash, Place, ReadSeek};

pub(super) const BASE: &str = "http://127.0.0.1:4873";

/// Files of a source, in memory.
pub(super) struct Source(pub(super) BTreeMap<String, Vec<u8>>);

impl Files for Source {
    fn read(&self, path: &CleanPath, limit: u64) -> io::Result<Option<Vec<u8>>> {
        match self.0.get(&path.to_string()) {
            Some(bytes) if bytes.len() as u64 > limit => Err(io::Error::other("it is longer than it may be")),
            found => Ok(found.cloned()),
        }
    }
}

pub(super) struct Archives(pub(super) Vec<Vec<u8>>);

impl Bodies for Archives {
    fn open(&self, artifact: usize) -> io::Result<Box<dyn ReadSeek + '_>> {
        Ok(Box::new(Cursor::new(self.0.get(artifact).ok_or(io::ErrorKind::NotFound)?)))
    }
}

fn file() -> CleanPath {
    CleanPath::parse("package-lock.json").expect("a clean path")
}

fn read_with(text: &str, others: &[(&str, &str)]) -> Result<Npm, LockFileError> {
    let own = [("package-lock.json", text)];
    let files = own.iter().chain(others).map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect();
    Npm::read(&Source(files), &file(), &Stage::default())
}

fn read(text: &str) -> Result<Npm, LockFileError> {
    read_with(text, &[])
}

/// A lock file with these entries.
fn lock(entries: &str) -> String {
    format!(
        "{{\n  \"name\": \"app\",\n  \"lockfileVersion\": 3,\n  \"packages\": {{\n    \"\": {{\"name\": \"app\"}},\n{entries}\n  }}\n}}\n"
    )
}

pub(super) fn integrity(byte: u8) -> String {
    Hash::Sha512([byte; 64]).to_string()
}

pub(super) fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, text) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        builder.append(&header, text.as_bytes()).expect("it is written");
    }
    let bytes = builder.into_inner().expect("it is written");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&bytes).expect("it is written");
    gzip.finish().expect("it is written")
}

/// Says where an error is and what is wrong.
fn wrong(text: &str) -> String {
    read(text).expect_err("it is refused").to_string()
}

#[test]
fn documents_of_two_lock_files_are_made_one_where_they_agree() {
    let of = |releases: &[(&str, &str)]| {
        let release = |(version, integrity): &(&str, &str)| package::Release {
            version: (*version).to_owned(),
            fields: Default::default(),
            integrity: Some((*integrity).to_owned()),
        };
        package::document(BASE, "a", releases.iter().map(release).collect())
    };
    let (one, other) = (of(&[("1.0.0", "x"), ("9.0.0", "y")]), of(&[("1.0.0", "x"), ("10.0.0", "z")]));
    let all = of(&[("1.0.0", "x"), ("9.0.0", "y"), ("10.0.0", "z")]);
    assert_eq!(package::joined(&one, &other), Some(all.clone()));
    assert_eq!(package::joined(&other, &one), Some(all));
    assert_eq!(package::joined(&one, &of(&[("1.0.0", "other bytes")])), None);
}

#[test]
fn an_archive_of_the_source_is_not_taken_for_one_of_the_registry() {
    let host = |entries: &str| {
        let read = read(&lock(entries)).map_err(|error| error.to_string())?;
        Ok::<_, String>(read.client(BASE).env["npm_config_replace_registry_host"].clone())
    };
    let own = r#""node_modules/own": {"version": "1.0.0", "resolved": "file:own.tgz"}"#;
    let at = |name: &str, host: &str| {
        let integrity = integrity(1);
        format!(
            r#","node_modules/{name}": {{"version": "1.0.0", "resolved": "https://{host}/{name}/-/{name}-1.0.0.tgz", "integrity": "{integrity}"}}"#
        )
    };
    assert_eq!(host(&at("a", "one.example")[1..]), Ok("always".to_owned()));
    assert_eq!(host(own), Ok("never".to_owned()));
    assert_eq!(host(&format!("{own}{}", at("a", "one.example:8443"))), Ok("one.example".to_owned()));
    let both = host(&format!("{own}{}{}", at("a", "one.example"), at("b", "two.example"))).expect_err("two hosts");
    assert!(both.starts_with("package-lock.json:6: this is an archive of the source"), "{both}");
}

fn names(npm: &Npm) -> Vec<String> {
    npm.locked().artifacts.iter().map(|one| format!("{} {} {}", one.name, one.version, one.line)).collect()
}

#[test]
fn each_kind_of_entry_is_told_from_the_others() {
    let (a, b) = (integrity(1), integrity(2));
    let npm = read(&lock(&format!(
        r#"    "packages/web": {{"name": "web", "version": "1.0.0", "dependencies": {{"a": "1"}}}},
    "node_modules/web": {{"resolved": "packages/web", "link": true}},
    "node_modules/a": {{"version": "1.0.0", "integrity": "{a}"}},
    "packages/web/node_modules/a": {{"version": "2.0.0-rc.1", "integrity": "{b}"}},
    "node_modules/b/node_modules/a": {{"version": "1.0.0", "resolved": "https://archives.example/a/-/a-1.0.0.tgz", "integrity": "{a}"}},
    "node_modules/alias": {{"name": "@s/real", "version": "3.0.0", "integrity": "sha1-AAAAAAAAAAAAAAAAAAAAAAAAAAA= {a}"}},
    "node_modules/url": {{"version": "1.0.0", "resolved": "https://archives.example/x/url.tgz?token=1", "integrity": "{a}"}},
    "node_modules/local": {{"version": "1.0.0", "resolved": "file:local-1.0.0.tgz", "integrity": "{a}"}},
    "node_modules/a/node_modules/in": {{"version": "1.0.0", "inBundle": true}},
    "node_modules/mac": {{"version": "1.0.0", "os": ["darwin"], "optional": true}},
    "node_modules/arm": {{"version": "1.0.0", "cpu": ["arm64"], "optional": true}},
    "node_modules/musl": {{"version": "1.0.0", "libc": ["musl"], "optional": true}},
    "node_modules/gnu": {{"version": "1.0.0", "os": ["linux"], "cpu": ["x64"], "libc": ["glibc"], "optional": true, "integrity": "{a}"}}"#
    )))
    .expect("a good lock file");
    assert_eq!(names(&npm), ["@s/real 3.0.0 11", "a 1.0.0 8", "a 2.0.0-rc.1 9", "gnu 1.0.0 18", "url 1.0.0 12"]);
    let places: Vec<&Place> = npm.locked().artifacts.iter().flat_map(|one| &one.places).collect();
    insta::assert_debug_snapshot!(places);
    assert_eq!(npm.foreign.keys().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["arm", "mac", "musl"]);
    let arm = Npm::read(
        &Source([("package-lock.json".to_owned(), lock(&format!(r#""node_modules/arm": {{"version": "1.0.0", "cpu": ["arm64"], "optional": true, "integrity": "{a}"}}"#)).into_bytes())].into()),
        &file(),
        &Stage { platform: Platform::LinuxArm64, ..Stage::default() },
    );
    assert_eq!(names(&arm.expect("a good lock file")), ["arm 1.0.0 6"]);
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let (a, b) = (integrity(1), integrity(2));
    let one = |fields: &str| wrong(&lock(&format!("    \"node_modules/a\": {{\n      {fields}\n    }}")));
    let good = format!("\"integrity\": \"{a}\"");
    let mistakes = [
        wrong(""),
        wrong("{\"lockfileVersion\": 3,\n\"packages\": {"),
        wrong("{\n<<<<<<< HEAD\n"),
        wrong("{\n  nonsense"),
        wrong("[]"),
        wrong("{\"packages\": {}}"),
        wrong("{\n\"lockfileVersion\": 1, \"dependencies\": {}}"),
        wrong("{\n\"lockfileVersion\": 4, \"packages\": {}}"),
        wrong("{\n\"lockfileVersion\": \"3\", \"packages\": {}}"),
        wrong("{\n\"lockfileVersion\": 3}"),
        wrong("{\n\"lockfileVersion\": 3,\n\"packages\": []}"),
        one("\"version\": \"1.0.0\""),
        one(&format!("\"version\": 1, {good}")),
        one(&format!("\"version\": \"1.0\", {good}")),
        one(&format!("\"version\": \"../1\", {good}")),
        one(&format!("\"name\": \"../a\", \"version\": \"1.0.0\", {good}")),
        one("\"version\": \"1.0.0\",\n\"integrity\": \"sha1-AAAAAAAAAAAAAAAAAAAAAAAAAAA=\""),
        one("\"version\": \"1.0.0\",\n\"integrity\": \"sha512-AAAA\""),
        one(&format!("\"version\": \"1.0.0\",\n\"integrity\": \"{a} {b}\"")),
        one("\"version\": \"1.0.0\",\n\"integrity\": \"md5-AAAA\""),
        one(&format!("\"version\": \"1.0.0\",\n\"resolved\": \"git+ssh://git@host.example/a/b.git#0123\", {good}")),
        one(&format!("\"version\": \"1.0.0\",\n\"resolved\": \"ftp://host.example/a.tgz\", {good}")),
        one(&format!("\"version\": \"1.0.0\",\n\"resolved\": \"https://me:word@host.example/a.tgz\", {good}")),
        wrong(&lock(&format!(
            "\"node_modules/a\": {{\"version\": \"1.0.0\", {good}}},\n\"node_modules/a\": {{\"version\": \"1.0.0\", {good}}}"
        ))),
        wrong(&lock(&format!(
            "\"node_modules/a\": {{\"version\": \"1.0.0\", {good}}},\n\"node_modules/b/node_modules/a\": {{\"version\": \"1.0.0\",\n\"integrity\": \"{b}\"}}"
        ))),
        wrong(&lock(&format!(
            "\"node_modules/a\": {{\"version\": \"1.0.0\", \"resolved\": \"https://h.example/x.tgz\", {good}}},\n\"node_modules/b\": {{\"version\": \"1.0.0\", \"resolved\": \"https://i.example/x.tgz\", {good}}}"
        ))),
        wrong(&lock(&format!(
            "\"node_modules/a\": {{\"version\": \"1.0.0\", {good}}},\n\"node_modules/b\": {{\"version\": \"1.0.0\", \"resolved\": \"https://i.example/a\", {good}}}"
        ))),
        wrong(&lock(&format!(
            "\"node_modules/a\": {{\"version\": \"1.0.0\", {good}}},\n\"node_modules/b\": {{\"version\": \"1.0.0\", \"resolved\": \"https://i.example/a/-/a-1.0.0.tgz\", {good}}}"
        ))),
        wrong(&lock(&format!("\"node_modules/..\": {{\"version\": \"1.0.0\", {good}}}"))),
    ];
    insta::assert_snapshot!(mistakes.join("\n"));
}

#[test]
fn fifty_thousand_entries_are_read_and_more_than_may_be_are_not() {
    let many = |count: usize| {
        let entries = (0..count).map(|at| {
            format!("\"node_modules/p{at}\": {{\"version\": \"1.0.0\", \"integrity\": \"{}\"}}", integrity(1))
        });
        lock(&entries.collect::<Vec<_>>().join(",\n"))
    };
    assert_eq!(read(&many(50_000)).expect("a good lock file").locked().artifacts.len(), 50_000);
    assert!(wrong(&many(super::super::MAX_ARTIFACTS + 1)).contains("more than 100000 packages"));
}

#[test]
fn a_scope_that_the_project_sends_elsewhere_is_refused_where_the_lock_does_not_say_where() {
    let entry = |resolved: &str| {
        lock(&format!(r#""node_modules/@s/a": {{"version": "1.0.0", {resolved} "integrity": "{}"}}"#, integrity(1)))
    };
    let settings = [(".npmrc", "save-exact=true\n@s:registry=https://evil.example/\n")];
    let error = read_with(&entry(""), &settings).expect_err("it is refused");
    insta::assert_snapshot!(error, @".npmrc:2: packages of `@s` would be looked for in the registry that this line names, and package-lock.json:6 does not say where they are");
    // With an address the client asks for that, on its loopback.
    assert!(read_with(&entry(r#""resolved": "https://a.example/@s/a/-/a-1.0.0.tgz","#), &settings).is_ok());
    assert!(
        read_with(&entry(""), &[(".npmrc", "@other:registry=https://a.example/\nregistry=https://b.example\n")])
            .is_ok()
    );
}

/// A lock of one package, and the archive of it.
fn served(lock_entries: &str, archives: Vec<Vec<u8>>) -> Result<Repository, ArtifactError> {
    read(&lock(lock_entries)).expect("a good lock file").repository(&Archives(archives), BASE)
}

fn entry(name: &str, version: &str, more: &str) -> String {
    format!(r#"    "node_modules/{name}": {{"version": "{version}", {more} "integrity": "{}"}}"#, integrity(1))
}

#[test]
fn documents_have_the_locked_versions_and_archives_every_path_that_clients_have_for_them() {
    let manifest = r#"{"name": "a", "version": "v1.0.0", "bin": "cli.js", "dependencies": {"b": "^1"}, "bundledDependencies": ["c"],
        "scripts": {"install": "node x"}, "repository": "x", "hasInstallScript": false}"#;
    let entries = [
        entry("a", "1.0.0", r#""resolved": "https://mirror.example/api/npm/a/-/a-1.0.0.tgz","#),
        entry("b/node_modules/a", "1.10.0", r#""resolved": "https://mirror.example/npm/a/-/a-1.10.0.tgz","#),
        entry("u", "1.0.0", r#""resolved": "https://archives.example/d/u%2Dx.tgz","#),
        r#""node_modules/mac": {"version": "1.0.0", "os": ["darwin"], "cpu": ["arm64"], "optional": true, "dev": true, "integrity": "sha512-x"}"#.to_owned(),
    ];
    let plain = |name: &str, version: &str| {
        archive(&[("package/package.json", &format!(r#"{{"name": "{name}", "version": "{version}"}}"#))])
    };
    let archives = vec![
        archive(&[
            ("x/package.json", "{\"name\": \"other\"}"),
            ("x/lib/package.json", "{}"),
            ("x/npm-shrinkwrap.json", "{}"),
            ("x/package.json", manifest),
        ]),
        archive(&[
            ("package/package.json", r#"{"name": "a", "version": "1.10.0+build", "libc": ["glibc"]}"#),
            ("package/binding.gyp", ""),
        ]),
        plain("u", "1.0.0"),
    ];
    let repository = served(&entries.join(",\n"), archives).expect("it is served");
    let shown = repository.routes.iter().map(|route| match &route.answer.body {
        Body::Artifact(place) => format!("{} is {place}", route.path),
        Body::Bytes(bytes) => {
            let json: serde_json::Value = serde_json::from_slice(bytes).expect("it is JSON");
            format!("{} {:#}", route.path, json)
        }
    });
    insta::assert_snapshot!(shown.collect::<Vec<_>>().join("\n"));
}

#[test]
fn an_archive_of_another_package_or_of_none_is_refused() {
    let attempt = |bytes: Vec<u8>| {
        let served = served(&entry("a", "1.0.0", ""), vec![bytes]);
        served.err().map_or_else(|| "served".to_owned(), |error| error.to_string())
    };
    let of = |json: &str| attempt(archive(&[("package/package.json", json)]));
    // The control: the package itself is served.
    assert_eq!(of(r#"{"name": "a", "version": "1.0.0"}"#), "served");
    let long = format!("{{\"name\": \"a\", \"version\": \"1.0.0\", \"x\": \"{}\"}}", "x".repeat(5 << 20));
    let bomb = archive(&[
        ("package/package.json", r#"{"name": "a", "version": "1.0.0"}"#),
        ("package/x", &"\0".repeat(200 << 20)),
    ]);
    let cut = archive(&[("package/package.json", r#"{"name": "a", "version": "1.0.0"}"#)]);
    let refused = [
        of(r#"{"name": "b", "version": "1.0.0"}"#),
        of(r#"{"name": "a", "version": "1.0.1"}"#),
        of(r#"{"version": "1.0.0"}"#),
        of("{"),
        of("[]"),
        of(&long),
        attempt(archive(&[("package/lib/package.json", r#"{"name": "a", "version": "1.0.0"}"#)])),
        attempt(b"nonsense".to_vec()),
        attempt(cut[..cut.len() / 2].to_vec()),
        attempt(bomb),
    ];
    insta::assert_snapshot!(refused.join("\n"));
}

#[test]
fn what_was_not_given_is_explained() {
    let npm = read(&lock(
        &[
            entry("left-pad", "1.3.0", ""),
            r#""node_modules/mac": {"version": "1.0.0", "os": ["darwin"], "optional": true}"#.to_owned(),
        ]
        .join(","),
    ));
    let npm = npm.expect("a good lock file");
    let asked = |method: &str, path: &str| {
        let request = Request { method: method.to_owned(), path: path.to_owned() };
        format!("{method} {path}: {}", npm.diagnose(&request).unwrap_or_else(|| "-".to_owned()))
    };
    let told = [
        asked("GET", "/npm/left-pad/-/left-pad-1.3.1.tgz"),
        asked("GET", "/npm/is-odd"),
        asked("GET", "/npm/@s/is-odd"),
        asked("GET", "/npm/mac/-/mac-1.0.0.tgz"),
        asked("PUT", "/npm/left-pad"),
        asked("POST", "/npm/-/npm/v1/security/audits/quick"),
        asked("GET", "/npm/-/ping"),
        asked("GET", "/npm/../../etc/passwd"),
        asked("GET", "/pypi/simple/"),
    ];
    insta::assert_snapshot!(told.join("\n"));
    let answer = |words: &str| npm.answer_to(words);
    let words = "npm error notarget No matching version found for left-pad@1.3.1.\nnpm error notarget In most cases";
    assert_eq!(
        answer(words).as_deref(),
        Some(
            "npm asked for left-pad 1.3.1; package-lock.json has 1.3.0. Run `npm install`, commit the lock, build again."
        )
    );
    assert_eq!(answer("No matching version found for ../x@1"), None);
    assert_eq!(answer("No matching version found for left-pad@\u{1b}[31m1"), None);
}

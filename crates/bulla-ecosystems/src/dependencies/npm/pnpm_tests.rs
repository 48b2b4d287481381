//! `pnpm-lock.yaml`, as pnpm 8 and pnpm 9 and later write it.

use std::collections::BTreeSet;

use bulla_model::{CleanPath, spec::InstallScripts};

use super::{
    super::Artifact,
    tests::{Archives, BASE, Source, archive, integrity},
    *,
};

fn file() -> CleanPath {
    CleanPath::parse("pnpm-lock.yaml").expect("a clean path")
}

fn read_as(stage: &Stage, text: &str, others: &[(&str, &str)]) -> Result<Npm, LockFileError> {
    let own = [("pnpm-lock.yaml", text)];
    let files = own.iter().chain(others).map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect();
    Npm::read(&Source(files), &file(), stage)
}

fn read(text: &str) -> Result<Npm, LockFileError> {
    read_as(&Stage::default(), text, &[])
}

fn old(packages: &str) -> String {
    format!("lockfileVersion: '6.0'\n\nsettings:\n  autoInstallPeers: true\n\npackages:\n\n{packages}")
}

fn new(packages: &str, snapshots: &str) -> String {
    format!(
        "lockfileVersion: '9.0'\n\nimporters:\n\n  .:\n    dependencies:\n      a:\n        specifier: ^1.0.0\n        version: 1.0.0\n\npackages:\n\n{packages}\nsnapshots:\n\n{snapshots}"
    )
}

fn wrong(text: &str) -> String {
    let error = read(text).expect_err("it is refused");
    format!("{error}\n  {}", error.hints.join("; "))
}

fn shown(npm: &Npm) -> Vec<String> {
    let all = npm.locked().artifacts.iter();
    all.map(|one| format!("{} {} {:?} {}", one.name, one.version, one.places, one.line)).collect()
}

/// The same packages in both versions: one that is installed with another and patched, one of a scope, those of other platforms, and what
/// lies in the source.
fn both() -> [String; 2] {
    let a = integrity(1);
    let archives = "https://archives.example/x/u.tgz";
    [
        old(&format!(
            "  /@s/a@1.0.0(b@2.0.0)(c@1.0.0):\n    resolution: {{integrity: {a}}}\n    dependencies:\n      b: 2.0.0\n    dev: false\n\n  /@s/a@1.0.0(patch_hash=abc):\n    resolution: {{integrity: {a}}}\n\n  /b@2.0.0-rc.1:\n    resolution: {{integrity: {a}, tarball: https://mirror.example/api/b/-/b-2.0.0-rc.1.tgz}}\n\n  /mac@1.0.0:\n    resolution: {{integrity: {a}}}\n    os: [darwin]\n    engines: {{node: '>=12'}}\n    requiresBuild: true\n    optional: true\n\n  /needed-mac@1.0.0:\n    resolution: {{integrity: {a}}}\n    os: [darwin]\n\n  /gnu@1.0.0:\n    resolution: {{integrity: {a}}}\n    os: [linux]\n    cpu: [x64]\n    libc: [glibc]\n    optional: true\n\n  '@archives.example/x/u.tgz':\n    resolution: {{integrity: {a}, tarball: {archives}}}\n    name: u\n    version: 3.0.0\n\n  file:local.tgz:\n    resolution: {{integrity: {a}, tarball: file:local.tgz}}\n    name: local\n    version: 1.0.0\n\n  file:packages/dir:\n    resolution: {{directory: packages/dir, type: directory}}\n    name: dir\n"
        )),
        new(
            &format!(
                "  '@s/a@1.0.0':\n    resolution: {{integrity: {a}}}\n\n  b@2.0.0-rc.1:\n    resolution: {{integrity: {a}, tarball: https://mirror.example/api/b/-/b-2.0.0-rc.1.tgz}}\n\n  mac@1.0.0:\n    resolution: {{integrity: {a}}}\n    os: [darwin]\n    engines: {{node: '>=12'}}\n\n  needed-mac@1.0.0:\n    resolution: {{integrity: {a}}}\n    os: [darwin]\n\n  gnu@1.0.0:\n    resolution: {{integrity: {a}}}\n    os: [linux]\n    cpu: [x64]\n    libc: [glibc]\n\n  u@{archives}:\n    resolution: {{integrity: {a}, tarball: {archives}}}\n    version: 3.0.0\n\n  local@file:local.tgz:\n    resolution: {{integrity: {a}, tarball: file:local.tgz}}\n    version: 1.0.0\n\n  dir@file:packages/dir:\n    resolution: {{directory: packages/dir, type: directory}}\n"
            ),
            &format!(
                "  '@s/a@1.0.0(b@2.0.0(d@1.0.0))': {{}}\n\n  '@s/a@1.0.0(patch_hash=abc)': {{}}\n\n  b@2.0.0-rc.1: {{}}\n\n  mac@1.0.0:\n    optional: true\n\n  needed-mac@1.0.0(x@1.0.0):\n    optional: true\n\n  needed-mac@1.0.0: {{}}\n\n  gnu@1.0.0:\n    optional: true\n\n  u@{archives}: {{}}\n"
            ),
        ),
    ]
}

#[test]
fn both_versions_are_read_alike() {
    let [one, other] = both().map(|text| read(&text).expect("a good lock file"));
    let without_lines = |npm: &Npm| {
        let all = npm.locked().artifacts.iter().cloned();
        all.map(|artifact| Artifact { line: 0, ..artifact }).collect::<Vec<_>>()
    };
    assert_eq!(without_lines(&one), without_lines(&other));
    assert_eq!(one.addresses(), other.addresses());
    assert_eq!(one.foreign, other.foreign);
    let addresses = one.addresses().into_iter().map(|(address, at)| format!("{address} is {at}"));
    insta::assert_snapshot!(shown(&other).into_iter().chain(addresses).collect::<Vec<_>>().join("\n"));
    assert_eq!(one.foreign.len(), 1, "{:?}", one.foreign);
}

#[test]
fn documents_and_archives_are_where_pnpm_looks_for_them() {
    let a = integrity(1);
    let npm = read(&new(
        &format!(
            "  a@1.0.0:\n    resolution: {{integrity: {a}}}\n\n  mac@1.0.0:\n    resolution: {{integrity: {a}}}\n    os: [darwin]\n    engines: {{node: '>=12'}}\n"
        ),
        "  a@1.0.0: {}\n\n  mac@1.0.0:\n    optional: true\n",
    ));
    let npm = npm.expect("a good lock file");
    let bytes = archive(&[("package/package.json", r#"{"name": "a", "version": "1.0.0"}"#)]);
    let repository = npm.repository(&Archives(vec![bytes]), BASE).expect("it is served");
    let shown = repository.routes.iter().map(|route| match &route.answer.body {
        Body::Artifact(place) => format!("{} is {place}", route.path),
        Body::Bytes(bytes) => format!("{} {}", route.path, String::from_utf8_lossy(bytes)),
    });
    insta::assert_snapshot!(shown.collect::<Vec<_>>().join("\n"));
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let (a, b) = (integrity(1), integrity(2));
    let one = |key: &str, fields: &str| wrong(&new(&format!("  {key}:\n    {fields}\n"), ""));
    let good = format!("resolution: {{integrity: {a}}}");
    let mistakes = [
        wrong(""),
        wrong("lockfileVersion: '9.0'\npackages:\n  a@1.0.0:\n    resolution: {integrity: sha512-AB"),
        wrong("lockfileVersion: '9.0'\n<<<<<<< HEAD\npackages:\n"),
        wrong("lockfileVersion: '9.0'\n\tpackages: 1\n"),
        wrong("{}"),
        wrong("lockfileVersion: 5.4\n\npackages:\n"),
        wrong("settings:\n\nlockfileVersion: '10.0'\n"),
        wrong("lockfileVersion: '9.0'\n---\nlockfileVersion: '9.0'\n"),
        wrong("lockfileVersion: '9.0'\npackages: [a]\n"),
        one("a@1.0.0", "engines: {node: '1'}"),
        one("a@1.0.0", "resolution: {}"),
        one("a@1.0.0", "resolution: {integrity: sha1-AAAAAAAAAAAAAAAAAAAAAAAAAAA=}"),
        one("a@1.0.0", "resolution: {integrity: sha512-AAAA}"),
        one("a@1.0.0", "resolution: {integrity: md5-AAAA}"),
        one("a@1.0", &good),
        one("a@../1", &good),
        one("'../a@1.0.0'", &good),
        one("/a@1.0.0", &good),
        one("a@1.0.0", &format!("name: esbuild\n    {good}")),
        one("a@1.0.0", &format!("resolution: {{integrity: {a}, tarball: 'https://h.example/a.tgz'}}")),
        one(
            "a@1.0.0_b",
            &format!("version: 1.0.0\n    resolution: {{integrity: {a}, tarball: 'https://h.example/a.tgz'}}"),
        ),
        one("a@1.0.0", &format!("resolution: {{integrity: {a}, tarball: 'file:a.tgz'}}")),
        one("a@1.0.0", &format!("resolution: {{commit: {COMMIT}, repo: 'https://h.example/a/b.git', type: git}}")),
        one(
            "a@ftp://h.example/a.tgz",
            &format!("version: 1.0.0\n    resolution: {{integrity: {a}, tarball: 'ftp://h.example/a.tgz'}}"),
        ),
        one(
            "a@https://h.example/a.tgz",
            &format!("version: 1.0.0\n    resolution: {{integrity: {a}, tarball: 'https://me:word@h.example/a.tgz'}}"),
        ),
        one(
            "a@https://h.example/a/b.git",
            "version: 1.0.0\n    resolution: {commit: abc, repo: 'https://me:word@h.example/a/b.git', type: git}",
        ),
        one(
            "a@https://h.example/a/b.git",
            &format!(
                "version: 1.0.0\n    resolution: {{commit: {COMMIT}, repo: 'https://me:word@h.example/a/b.git', type: git}}"
            ),
        ),
        wrong(&new(&format!("{}\n{}", commit("a", COMMIT), commit("b", &"0".repeat(40))), "")),
        one("node@runtime:22.0.0", "version: 22.0.0\n    resolution: {type: variations, variants: []}"),
        wrong(&new(&format!("  a@1.0.0:\n    {good}\n\n  a@1.0.0:\n    {good}\n"), "")),
        wrong(&old(&format!(
            "  /a@1.0.0(b@1.0.0):\n    {good}\n\n  /a@1.0.0(b@2.0.0):\n    resolution: {{integrity: {b}}}\n"
        ))),
        wrong(&new(
            &format!(
                "  a@https://h.example/x.tgz:\n    version: 1.0.0\n    resolution: {{integrity: {a}, tarball: 'https://h.example/x.tgz'}}\n\n  b@https://H.example:443/x.tgz:\n    version: 1.0.0\n    resolution: {{integrity: {a}, tarball: 'https://H.example:443/x.tgz'}}\n"
            ),
            "",
        )),
    ];
    insta::assert_snapshot!(mistakes.join("\n"));
}

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn commit(name: &str, commit: &str) -> String {
    format!(
        "  {name}@https://h.example/a/b.git#{commit}:\n    resolution: {{commit: {commit}, repo: 'https://h.example/a/b.git', type: git}}\n    version: 1.0.0\n"
    )
}

#[test]
fn what_has_no_hash_is_left_to_the_lock_and_what_has_one_is_not() {
    let address = "https://h.example/a/tar.gz/0123";
    let archive =
        |more: &str| format!("  a@{address}:\n    resolution: {{{more}tarball: {address}}}\n    version: 1.0.0\n\n");
    let lock = |more: &str| new(&format!("{}{}", archive(more), commit("b", COMMIT)), "");
    let names = |npm: &Npm| {
        let artifacts = &npm.locked().artifacts;
        npm.loose()
            .into_iter()
            .map(|at| format!("{} {}", artifacts[at].name, artifacts[at].version))
            .collect::<Vec<_>>()
    };
    let npm = read(&lock("")).expect("a good lock file");
    assert_eq!(names(&npm), ["a 1.0.0", &format!("h.example/a/b {COMMIT}")]);
    assert_eq!(npm.folders().len(), 1);
    let client = npm.client("http://127.0.0.1:1");
    assert_eq!(client.env.get("GIT_CONFIG_SYSTEM").map(String::as_str), Some("/run/bulla/gitconfig"));
    let npm = read(&lock(&format!("integrity: {}, ", integrity(1)))).expect("a good lock file");
    assert_eq!(names(&npm), [format!("h.example/a/b {COMMIT}")]);
    let npm = read(&new(&archive(&format!("integrity: {}, ", integrity(1))), "")).expect("a good lock file");
    assert!(names(&npm).is_empty() && npm.folders().is_empty());
    assert!(!npm.client("http://127.0.0.1:1").env.contains_key("GIT_CONFIG_SYSTEM"), "the control");
}

#[test]
fn fifty_thousand_entries_are_read() {
    let many = |count: usize| {
        let entry = |at| format!("  p{at}@1.0.0:\n    resolution: {{integrity: {}}}\n\n", integrity(1));
        new(&(0..count).map(entry).collect::<String>(), "")
    };
    assert_eq!(read(&many(50_000)).expect("a good lock file").locked().artifacts.len(), 50_000);
}

#[test]
fn settings_of_the_project_that_no_variable_overrules_are_refused() {
    let a = integrity(1);
    let entry = |more: &str| new(&format!("  '@s/a@1.0.0':\n    resolution: {{integrity: {a}{more}}}\n"), "");
    let attempt = |stage: &Stage, more: &str, name: &str, text: &str| {
        read_as(stage, &entry(more), &[(name, text)]).err().map(|error| error.to_string())
    };
    let (run, deny) =
        (Stage::default(), Stage { scripts: InstallScripts::Deny { allow: BTreeSet::new() }, ..Stage::default() });
    let scope = "save-exact=true\n@s:registry=https://evil.example/\n";
    let refused = [
        attempt(&run, "", ".npmrc", scope),
        attempt(&run, "", "pnpm-workspace.yaml", "packages:\n  - a\nregistries:\n  default: https://evil.example/\n"),
        attempt(&deny, "", "pnpm-workspace.yaml", "shellEmulator: true\n"),
        attempt(&deny, "", "pnpm-workspace.yaml", "scriptShell: /bin/sh\n"),
    ];
    insta::assert_snapshot!(refused.map(Option::unwrap_or_default).join("\n"));
    // The controls: with an address pnpm asks for that, and where scripts run, they may run so.
    assert_eq!(attempt(&run, ", tarball: 'https://a.example/@s/a/-/a-1.0.0.tgz'", ".npmrc", scope), None);
    assert_eq!(attempt(&run, "", "pnpm-workspace.yaml", "shellEmulator: true\n"), None);
    assert_eq!(attempt(&run, "", "pnpm-workspace.yaml", "packages: ["), None);
}

#[test]
fn allowed_packages_are_known_by_their_folders() {
    let allow: BTreeSet<String> = ["@s/a", "u", "absent"].map(str::to_owned).into();
    let stage = Stage { scripts: InstallScripts::Deny { allow }, ..Stage::default() };
    let [one, other] = both().map(|text| read_as(&stage, &text, &[]).expect("a good lock file"));
    for npm in [one, other] {
        let client = npm.client(BASE);
        let list = client.files.values().next().expect("a list");
        assert_eq!(String::from_utf8_lossy(list), "/src/app/node_modules/.pnpm/@s+a@1.0.0/node_modules/@s/a\n");
        // An archive by its address names itself, and is not meant by a name.
        assert_eq!(npm.remarks().len(), 2, "{:?}", npm.remarks());
    }
}

#[test]
fn lock_files_of_other_clients_are_named() {
    let path = CleanPath::parse("bun.lock").expect("a clean path");
    let files = Source([("bun.lock".to_owned(), b"{}".to_vec())].into());
    let error = Npm::read(&files, &path, &Stage::default()).expect_err("it is refused");
    assert!(error.to_string().contains("a lock file of bun, which is not read"), "{error}");
}

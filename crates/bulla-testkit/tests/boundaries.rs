//! Each crate exists to forbid something; this holds them to it, over what cargo itself says of the workspace.
//!
//! What a crate must not *call* is in its `clippy.toml`; what it must not *stand on* is here.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// The crates of the workspace that each may stand on; a crate that is not here is not known to this test, which fails.
const STANDS_ON: &[(&str, &[&str])] = &[
    ("bulla-model", &[]),
    ("bulla-ecosystems", &["bulla-model"]),
    ("bulla-net", &["bulla-model"]),
    ("bulla-store", &["bulla-model"]),
    ("bulla-sandbox", &["bulla-model"]),
    ("bulla-serve", &["bulla-model", "bulla-sandbox"]),
    ("bulla-evidence", &["bulla-model", "bulla-ecosystems"]),
    ("bulla-build", &["bulla-model", "bulla-ecosystems", "bulla-store", "bulla-sandbox", "bulla-serve"]),
    (
        "bulla",
        &[
            "bulla-model",
            "bulla-ecosystems",
            "bulla-store",
            "bulla-sandbox",
            "bulla-serve",
            "bulla-net",
            "bulla-build",
            "bulla-evidence",
        ],
    ),
    ("bulla-testkit", &["bulla-model"]),
    (
        "bulla-fuzz",
        &[
            "bulla-model",
            "bulla-ecosystems",
            "bulla-store",
            "bulla-sandbox",
            "bulla-serve",
            "bulla-net",
            "bulla-build",
            "bulla-evidence",
            "bulla-testkit",
        ],
    ),
];

/// The crates that are for development alone.
const DEVELOPMENT: [&str; 2] = ["bulla-testkit", "bulla-fuzz"];

/// Clients and servers of HTTP, and what brings its own TLS.
const NETWORK: &[&str] = &["ureq", "native-tls", "openssl", "openssl-sys", "hyper", "reqwest", "curl", "h2"];
/// TLS without a socket, and what believes a certificate: the server of the locked repository has it for its own end, and who stands on that.
const TLS: &[&str] = &["rustls"];
const AUTHORITIES: &[&str] = &["rustls-platform-verifier", "rustls-native-certs", "webpki-roots"];
/// Async runtimes: none is used anywhere.
const RUNTIMES: &[&str] = &["tokio", "async-std", "smol", "async-executor", "mio"];
/// What reaches the kernel, the file system or a terminal.
const SYSTEM: &[&str] = &["rustix", "nix", "fs-err", "tempfile", "gix", "rusqlite", "signal-hook", "walkdir"];
/// Arguments, colours and live lines.
const TERMINAL: &[&str] = &["clap", "indicatif", "console", "termcolor", "annotate-snippets"];

/// What no crate beneath this one may be, itself and by way of others.
const NEVER: &[(&str, &[&[&str]])] = &[
    ("bulla-model", &[NETWORK, TLS, RUNTIMES, SYSTEM, TERMINAL]),
    ("bulla-ecosystems", &[NETWORK, TLS, RUNTIMES, SYSTEM, TERMINAL]),
    ("bulla-evidence", &[NETWORK, TLS, RUNTIMES, SYSTEM, TERMINAL]),
    ("bulla-net", &[RUNTIMES, SYSTEM, TERMINAL]),
    ("bulla-store", &[NETWORK, TLS, RUNTIMES, TERMINAL]),
    ("bulla-sandbox", &[NETWORK, TLS, RUNTIMES, TERMINAL, &["fs-err", "tempfile", "gix", "rusqlite"]]),
    ("bulla-serve", &[NETWORK, AUTHORITIES, RUNTIMES, TERMINAL, &["fs-err", "tempfile", "gix", "rusqlite"]]),
    ("bulla-build", &[NETWORK, AUTHORITIES, RUNTIMES, TERMINAL]),
    ("bulla", &[RUNTIMES, &["openssl", "openssl-sys", "native-tls"]]),
];

/// The dependencies of every package, as they are resolved for Linux.
struct Graph {
    /// Package id to name.
    names: BTreeMap<String, String>,
    /// Package id to the ids that it stands on: normal and build dependencies, not those of its tests.
    edges: BTreeMap<String, Vec<String>>,
    /// Name to folder, of the workspace's crates.
    crates: BTreeMap<String, PathBuf>,
}

impl Graph {
    /// `None`, after it was said, where the suite runs as a user who may not run cargo.
    fn read() -> Option<Self> {
        let out = Command::new(std::env::var_os("CARGO").expect("cargo runs the tests"))
            .args(["metadata", "--format-version", "1", "--locked", "--offline"])
            .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output();
        let out = match out {
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                bulla_testkit::skipped("the boundaries of crates", "cargo is in another user's home");
                return None;
            }
            out => out.expect("cargo can be run"),
        };
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let metadata: Value = serde_json::from_slice(&out.stdout).expect("cargo writes JSON");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let list = |value: &Value| value.as_array().expect("a list").clone();
        let members: BTreeSet<String> = list(&metadata["workspace_members"]).iter().map(text).collect();
        let (mut names, mut crates) = (BTreeMap::new(), BTreeMap::new());
        for package in list(&metadata["packages"]) {
            let (id, name) = (text(&package["id"]), text(&package["name"]));
            if members.contains(&id) {
                let manifest = PathBuf::from(text(&package["manifest_path"]));
                crates.insert(name.clone(), manifest.parent().expect("a folder").to_owned());
            }
            names.insert(id, name);
        }
        let mut edges = BTreeMap::new();
        for node in list(&metadata["resolve"]["nodes"]) {
            let shipped = |dependency: &Value| list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"] != "dev");
            let on = list(&node["deps"]).iter().filter(|one| shipped(one)).map(|one| text(&one["pkg"])).collect();
            edges.insert(text(&node["id"]), on);
        }
        Some(Self { names, edges, crates })
    }

    fn id(&self, name: &str) -> &str {
        let folder = self.crates[name].display().to_string();
        let found = self.names.iter().find(|(id, one)| *one == name && id.contains(&folder));
        found.map(|(id, _)| id.as_str()).expect("a crate of the workspace")
    }

    /// The names of all that a crate stands on, itself not among them.
    fn beneath(&self, name: &str) -> BTreeSet<&str> {
        let (mut seen, mut next) = (BTreeSet::new(), vec![self.id(name)]);
        while let Some(id) = next.pop() {
            for below in self.edges.get(id).into_iter().flatten() {
                if seen.insert(below.as_str()) {
                    next.push(below);
                }
            }
        }
        seen.iter().map(|id| self.names[*id].as_str()).collect()
    }
}

#[test]
fn crates_stand_on_what_the_design_allows_them() {
    let Some(graph) = Graph::read() else { return };
    let known: BTreeSet<&str> = STANDS_ON.iter().map(|(name, _)| *name).collect();
    let found: BTreeSet<&str> = graph.crates.keys().map(String::as_str).collect();
    assert!(found.is_subset(&known), "a crate came: say here what it may stand on");
    for (name, allowed) in STANDS_ON.iter().filter(|(name, _)| found.contains(name)) {
        let beneath = graph.beneath(name);
        let wrong: Vec<_> = beneath.iter().filter(|one| known.contains(*one) && !allowed.contains(one)).collect();
        assert!(wrong.is_empty(), "{name} must not stand on {wrong:?}");
    }
}

#[test]
fn crates_stand_on_nothing_that_they_are_there_to_forbid() {
    let Some(graph) = Graph::read() else { return };
    for (name, lists) in NEVER {
        let beneath = graph.beneath(name);
        let wrong: Vec<_> = lists.iter().flat_map(|list| list.iter()).filter(|one| beneath.contains(*one)).collect();
        assert!(wrong.is_empty(), "{name} must not stand on {wrong:?}");
    }
    // The lists are of names: one that was misspelt, or that cargo calls otherwise, would forbid nothing.
    assert!(graph.beneath("bulla-net").contains("ureq") && graph.beneath("bulla-store").contains("rusqlite"));
    assert!(graph.beneath("bulla").contains("clap") && graph.beneath("bulla-build").contains("gix"));
}

#[test]
fn nothing_that_ships_stands_on_the_test_kit() {
    let Some(graph) = Graph::read() else { return };
    for name in graph.crates.keys().filter(|name| !DEVELOPMENT.contains(&name.as_str())) {
        assert!(!graph.beneath(name).contains("bulla-testkit"), "{name} ships the test kit");
    }
}

#[test]
fn every_crate_bans_calls_in_its_own_way() {
    let Some(graph) = Graph::read() else { return };
    for (name, folder) in graph.crates {
        if DEVELOPMENT.contains(&name.as_str()) {
            continue;
        }
        let file = folder.join("clippy.toml");
        let text = fs_err::read_to_string(&file).expect("each crate has a clippy.toml");
        assert!(text.contains("disallowed-methods") && text.contains("std::env::var_os"), "{name} bans too little");
        let starts = text.contains("std::process::Command::new");
        assert!(starts || ["bulla-sandbox", "bulla"].contains(&name.as_str()), "{name} may start programs");
    }
}

#[test]
fn unsafe_code_is_in_the_sandbox_alone() {
    let Some(graph) = Graph::read() else { return };
    for (name, folder) in graph.crates {
        let mut unsafe_files = Vec::new();
        sources(&folder.join("src"), &mut |path, text| {
            if text.contains("allow(unsafe_code") || text.contains("expect(unsafe_code") {
                unsafe_files.push(path.display().to_string());
            }
        });
        // The lint of the workspace denies it; only such a line can lift that.
        assert_eq!(!unsafe_files.is_empty(), name == "bulla-sandbox", "{name}: {unsafe_files:?}");
        let manifest = fs_err::read_to_string(folder.join("Cargo.toml")).expect("a manifest");
        assert!(manifest.contains("[lints]\nworkspace = true"), "{name} does not take the workspace's lints");
    }
}

#[test]
fn no_file_has_a_name_that_says_nothing() {
    let Some(graph) = Graph::read() else { return };
    for folder in graph.crates.into_values() {
        sources(&folder, &mut |path, _| {
            let words = path.strip_prefix(&folder).expect("beneath").display().to_string();
            let bad = ["util", "utils", "common", "helpers", "types"];
            let found = words.split(['/', '.']).find(|word| bad.contains(word));
            assert!(found.is_none(), "{}: name it for what it owns", path.display());
        });
    }
}

/// Reads every Rust file beneath a folder.
fn sources(folder: &Path, each: &mut dyn FnMut(&Path, &str)) {
    for entry in fs_err::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            sources(&entry, each);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            each(&entry, &fs_err::read_to_string(&entry).expect("a source"));
        }
    }
}

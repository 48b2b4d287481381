//! Crates made for a test, and a registry of cargo that has them.

use std::{collections::BTreeMap, path::Path};

use bulla_model::Digest;
use serde_json::json;

use crate::{
    archive::{TarEntry, gzip, tar},
    debian,
    mirror::Mirror,
};

/// What lock files call the registry that cargo has when nothing else is said.
pub const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// A crate made for a test. Its function `word` says its name and version, and the words of what it depends on.
#[derive(Debug, Clone)]
pub struct Crate {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    depends: Vec<(String, String)>,
    more: String,
    files: BTreeMap<String, Vec<u8>>,
}

impl Crate {
    /// Makes a crate that depends on nothing.
    pub fn new(name: &str, version: &str) -> Self {
        let (name, version) = (name.to_owned(), version.to_owned());
        Self { name, version, depends: Vec::new(), more: String::new(), files: BTreeMap::new() }
    }

    /// Depends on another crate, and calls it.
    pub fn depends(mut self, name: &str, requirement: &str) -> Self {
        self.depends.push((name.to_owned(), requirement.to_owned()));
        self
    }

    /// Adds tables to its `Cargo.toml`.
    pub fn manifest(mut self, tables: &str) -> Self {
        self.more.push_str(tables);
        self
    }

    /// Adds a file, or puts another in its place.
    pub fn file(mut self, name: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.files.insert(name.to_owned(), bytes.as_ref().to_vec());
        self
    }

    /// Gives its archive.
    pub fn archive(&self) -> Vec<u8> {
        let own = format!("\"{} {}\".to_owned()", self.name, self.version);
        let library = format!("pub fn word() -> String {{ {} }}\n", words(&own, &self.depends));
        let mut files = BTreeMap::from([
            ("Cargo.toml".to_owned(), manifest(&self.name, &self.version, &self.depends, &self.more).into_bytes()),
            ("src/lib.rs".to_owned(), library.into_bytes()),
        ]);
        files.extend(self.files.clone());
        let entry = |(name, bytes): (&String, &Vec<u8>)| {
            TarEntry::file(format!("{}-{}/{name}", self.name, self.version), 0o644, bytes)
        };
        gzip(&tar(&files.iter().map(entry).collect::<Vec<_>>()))
    }

    /// Gives the checksum that lock files have of it.
    pub fn checksum(&self) -> String {
        Digest::of(self.archive()).hex()
    }

    /// Gives the path of its archive in a registry, with a slash before it.
    pub fn place(&self) -> String {
        format!("/dl/{}/{}/download", self.name, self.version)
    }

    /// Gives its entry of a lock file; `all` has what it depends on.
    fn locked(&self, all: &[&Self], source: &str) -> String {
        let (name, version, checksum) = (&self.name, &self.version, self.checksum());
        let head = format!("\n[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n");
        format!("{head}source = \"{source}\"\nchecksum = \"{checksum}\"\n{}", dependencies(&self.depends, all))
    }
}

fn words(own: &str, depends: &[(String, String)]) -> String {
    let calls: String =
        depends.iter().map(|(name, _)| format!(" + \", \" + &{}::word()", name.replace('-', "_"))).collect();
    format!("{own}{calls}")
}

fn manifest(name: &str, version: &str, depends: &[(String, String)], more: &str) -> String {
    let wanted: String = depends.iter().map(|(name, requirement)| format!("{name} = \"{requirement}\"\n")).collect();
    let package = format!("[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2021\"\n");
    format!("{package}{more}\n[dependencies]\n{wanted}")
}

/// What a lock file says of what a package depends on.
fn dependencies(depends: &[(String, String)], all: &[&Crate]) -> String {
    let one = |(name, _): &(String, String)| {
        assert_eq!(all.iter().filter(|one| one.name == *name).count(), 1, "one version of {name}");
        format!(" \"{name}\",\n")
    };
    let mut names: Vec<String> = depends.iter().map(one).collect();
    names.sort();
    if names.is_empty() { String::new() } else { format!("dependencies = [\n{}]\n", names.concat()) }
}

/// Writes `Cargo.toml` and `src/main.rs` of a program that says the words of crates.
pub fn cargo_program(crates: &[&Crate]) -> [(&'static str, String); 2] {
    let depends: Vec<_> = crates.iter().map(|one| (one.name.clone(), one.version.clone())).collect();
    let main = format!("fn main() {{ println!(\"{{}}\", {}); }}\n", words("\"app\".to_owned()", &depends));
    [("Cargo.toml", manifest("app", "0.1.0", &depends, "")), ("src/main.rs", main)]
}

/// Writes the `Cargo.lock` of such a program; `all` has what its crates depend on too, one version of each.
pub fn cargo_lock(crates: &[&Crate], all: &[&Crate]) -> String {
    cargo_lock_from(crates, all, CRATES_IO)
}

/// As [`cargo_lock`], with all crates from another registry.
pub fn cargo_lock_from(crates: &[&Crate], all: &[&Crate], source: &str) -> String {
    let depends: Vec<_> = crates.iter().map(|one| (one.name.clone(), one.version.clone())).collect();
    let own = format!("\n[[package]]\nname = \"app\"\nversion = \"0.1.0\"\n{}", dependencies(&depends, all));
    let mut entries: BTreeMap<(String, String), String> =
        all.iter().map(|one| ((one.name.clone(), one.version.clone()), one.locked(all, source))).collect();
    entries.insert(("app".to_owned(), "0.1.0".to_owned()), own);
    let entries: String = entries.into_values().collect();
    format!(
        "# This file is automatically @generated by Cargo.\n# It is not intended for manual editing.\nversion = 3\n{entries}"
    )
}

/// A registry of cargo on loopback, with a sparse index at its top.
#[derive(Debug)]
pub struct CrateRegistry {
    /// The server.
    pub mirror: Mirror,
    folder: tempfile::TempDir,
}

impl CrateRegistry {
    /// Serves crates.
    pub fn serve(crates: &[&Crate]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut index: BTreeMap<String, String> = BTreeMap::new();
        for one in crates {
            write(folder.path(), &one.place(), one.archive());
            let dependency = |(name, requirement): &(String, String)| {
                json!({ "name": name, "req": requirement, "features": [], "optional": false, "default_features": true,
                        "target": null, "kind": "normal" })
            };
            let depends: Vec<_> = one.depends.iter().map(dependency).collect();
            let line = json!({ "name": one.name, "vers": one.version, "deps": depends, "cksum": one.checksum(),
                               "features": {}, "yanked": false });
            index.entry(index_path(&one.name)).or_default().push_str(&format!("{line}\n"));
        }
        for (path, text) in index {
            write(folder.path(), &path, text);
        }
        let mirror = Mirror::serve(folder.path());
        let registry = Self { mirror, folder };
        registry.says(&json!({ "dl": format!("{}/dl", registry.mirror.url()) }).to_string());
        registry
    }

    /// Writes its `config.json`.
    pub fn says(&self, config: &str) {
        write(self.folder.path(), "config.json", config);
    }

    /// Gives the address of its index.
    pub fn index(&self) -> String {
        format!("sparse+{}/", self.mirror.url())
    }

    /// Gives the paths that were asked for, and forgets them.
    pub fn asked(&self) -> Vec<String> {
        let mut paths: Vec<String> = self.mirror.requests().into_iter().map(|request| request.path).collect();
        self.mirror.forget_requests();
        paths.sort();
        paths
    }

    /// Writes the settings by which a cargo takes it for its own registry.
    pub fn settings(&self) -> String {
        format!("[source.crates-io]\nreplace-with = \"test\"\n\n[source.test]\nregistry = \"{}\"\n", self.index())
    }
}

fn write(folder: &Path, path: &str, bytes: impl AsRef<[u8]>) {
    let path = folder.join(path.trim_start_matches('/'));
    fs_err::create_dir_all(path.parent().expect("a folder")).expect("making a folder");
    fs_err::write(path, bytes).expect("writing a file");
}

/// The path of a crate in an index.
fn index_path(name: &str) -> String {
    match name.len() {
        1 | 2 => format!("{}/{name}", name.len()),
        3 => format!("3/{}/{name}", &name[..1]),
        _ => format!("{}/{}/{name}", &name[..2], &name[2..4]),
    }
}

/// Gives the package of this machine's release that has a cargo of this decade.
pub fn cargo_package() -> &'static str {
    if debian::codename().as_deref() == Some("bookworm") { "cargo-web" } else { "cargo" }
}

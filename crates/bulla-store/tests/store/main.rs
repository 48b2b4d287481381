//! The store from outside: what it keeps, and what it does when somebody tampers with it.

#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::print_stderr, reason = "skipped tests say why")]
#![expect(clippy::disallowed_methods, reason = "tests mount, kill and start themselves again")]

mod attacks;
mod blobs;
mod caches;
mod farms;
mod gc;
mod hosts;
mod kills;
mod overlay;
mod signed;
mod sources;
mod steps;
mod trees;
mod upper;

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use bulla_model::{
    CleanPath, Digest, Epoch,
    tree::{Mode, Owner},
};
use bulla_store::{Options, Store, StoredTree};

/// A folder with a store in it.
struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn options(&self) -> Options {
        options_in(self.dir.path())
    }

    fn store(&self) -> Store {
        Store::open(self.options()).unwrap()
    }

    fn in_store(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.path("store").join(relative)
    }
}

fn options_in(dir: &Path) -> Options {
    Options::new(dir.join("store"), dir.join("state/store.key"), SystemTime::now)
}

fn path(text: &str) -> CleanPath {
    text.parse().unwrap()
}

/// Puts a tree with some regular files into the store.
fn tree_of(store: &Store, files: &[(&str, &str)]) -> StoredTree {
    let mut builder = store.tree_builder().unwrap();
    for (name, content) in files {
        let time = Epoch::new(1_000_000_000).unwrap();
        builder.file(&path(name), Mode::new(0o644), Owner::ROOT, time, &mut content.as_bytes()).unwrap();
    }
    builder.finish(None).unwrap()
}

/// Changes bytes of a file in place, whatever its mode.
fn flip(file: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(file).unwrap().permissions().mode();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file, bytes).unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn content(mut file: std::fs::File) -> String {
    let mut text = String::new();
    std::io::Read::read_to_string(&mut file, &mut text).unwrap();
    text
}

fn hex(digest: &Digest) -> String {
    digest.hex()
}

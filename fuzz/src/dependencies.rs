//! What package managers' lock files are, and packages of theirs.

use std::io::{self, Cursor};

use bulla_ecosystems::dependencies::{Bodies, Body, Files, Hash, Native, Place, ReadSeek, Request, Stage, npm::Npm};
use bulla_model::CleanPath;

/// One file of a source.
struct OneFile<'a>(&'a [u8]);

impl Files for OneFile<'_> {
    fn read(&self, path: &CleanPath, _: u64) -> io::Result<Option<Vec<u8>>> {
        let is_it = [b"package-lock.json".as_slice(), b"pnpm-lock.yaml", b"yarn.lock"].contains(&path.as_bytes());
        Ok(is_it.then(|| self.0.to_vec()))
    }
}

struct OneBody<'a>(&'a [u8]);

impl Bodies for OneBody<'_> {
    fn open(&self, _: usize) -> io::Result<Box<dyn ReadSeek + '_>> {
        Ok(Box::new(Cursor::new(self.0)))
    }
}

fn read(bytes: &[u8]) -> Option<Npm> {
    read_as("package-lock.json", bytes)
}

fn read_as(name: &str, bytes: &[u8]) -> Option<Npm> {
    let file = CleanPath::parse(name).expect("a clean path");
    match Npm::read(&OneFile(bytes), &file, &Stage::default()) {
        Ok(npm) => Some(npm),
        Err(error) => {
            crate::shown(&error);
            None
        }
    }
}

/// A lock file of npm: names cannot climb, and everything has a hash and a place.
pub(crate) fn npm_lock(bytes: &[u8]) {
    if let Some(npm) = read(bytes) {
        check(&npm);
    }
}

/// A lock file of pnpm: the same.
pub(crate) fn pnpm_lock(bytes: &[u8]) {
    if let Some(npm) = read_as("pnpm-lock.yaml", bytes) {
        check(&npm);
    }
}

/// A lock file of yarn, of either form: the same.
pub(crate) fn yarn_lock(bytes: &[u8]) {
    if let Some(npm) = read_as("yarn.lock", bytes) {
        check(&npm);
    }
}

/// An archive that yarn would make a zip archive of: whatever it is, it can be said that it is another one.
pub(crate) fn yarn_zip(bytes: &[u8]) {
    let some = Hash::YarnZip([0; 64]);
    assert!(!some.matches(&mut Cursor::new(bytes)).expect("it is read"));
}

fn check(npm: &Npm) {
    let count = npm.locked().artifacts.len();
    assert!(npm.addresses().iter().all(|(_, artifact)| *artifact < count));
    let loose = npm.loose();
    for (place, artifact) in npm.locked().artifacts.iter().enumerate() {
        assert_ne!(loose.contains(&place), artifact.hashes.iter().any(Hash::is_strong), "{artifact:?}");
        assert!(!artifact.places.is_empty(), "{artifact:?}");
        for place in &artifact.places {
            if let Place::Registry(path) = place {
                assert!(!path.split('/').any(|part| matches!(part, "" | "." | "..")), "{path}");
            }
        }
        let path = format!("/npm/{}", artifact.name);
        let _ = npm.diagnose(&Request { method: "GET".to_owned(), path });
    }
}

/// An archive of npm that a good lock file names.
pub(crate) fn npm_package(bytes: &[u8]) {
    let lock = format!(
        r#"{{"lockfileVersion": 3, "packages": {{"node_modules/a": {{"version": "1.0.0", "integrity": "sha256-{}="}}}}}}"#,
        "A".repeat(43)
    );
    let npm = read(lock.as_bytes()).expect("a good lock file");
    match npm.repository(&OneBody(bytes), "http://127.0.0.1:1") {
        Ok(repository) => {
            for route in repository.routes {
                if let Body::Bytes(bytes) = route.answer.body {
                    let document: serde_json::Value = serde_json::from_slice(&bytes).expect("a document is JSON");
                    assert_eq!(document["versions"]["1.0.0"]["name"], "a");
                }
            }
        }
        Err(error) => crate::shown(&error),
    }
}

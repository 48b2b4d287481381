//! What lock files of Go and cargo say, and the archives that registries give for them.

use std::{
    collections::BTreeMap,
    io::{self, Cursor},
};

use bulla_ecosystems::{
    archive::{Sink, SinkError},
    debian::keyring::Keyring,
    dependencies::{
        ArtifactError, Bodies, Files, Hash, LockFileError, Native, Place, ReadSeek, Request,
        apt::{Archive, Expected},
        cargo::Cargo,
        go::Go,
        gradle::Gradle,
        maven,
        observe::{self, Wanted},
    },
};
use bulla_model::{CleanPath, Ecosystem, Epoch};

/// Each file of a source has the same bytes.
struct Everywhere<'a>(&'a [u8]);

impl Files for Everywhere<'_> {
    fn read(&self, _: &CleanPath, limit: u64) -> io::Result<Option<Vec<u8>>> {
        Ok((self.0.len() as u64 <= limit).then(|| self.0.to_vec()))
    }
}

impl Bodies for Everywhere<'_> {
    fn open(&self, _: usize) -> io::Result<Box<dyn ReadSeek + '_>> {
        Ok(Box::new(Cursor::new(self.0)))
    }
}

/// One file with other bytes than the artifacts have.
struct Lock<'a>(&'a str);

impl Files for Lock<'_> {
    fn read(&self, path: &CleanPath, _: u64) -> io::Result<Option<Vec<u8>>> {
        let is_lock = matches!(path.name(), b"go.sum" | b"Cargo.lock" | b"gradle.lockfile");
        Ok(is_lock.then(|| self.0.as_bytes().to_vec()))
    }
}

fn path(name: &str) -> CleanPath {
    CleanPath::parse(name).expect("a clean path")
}

fn said<T>(result: Result<T, LockFileError>) -> Option<T> {
    result.inspect_err(crate::shown).ok()
}

/// What holds of every lock file that was read.
fn check(native: &dyn Native, bytes: &[u8]) {
    let artifacts = &native.locked().artifacts;
    let ids: Vec<_> = artifacts.iter().map(|one| (&one.name, &one.version, &one.file)).collect();
    assert!(ids.iter().collect::<std::collections::BTreeSet<_>>().len() == ids.len(), "each is there once");
    for artifact in artifacts {
        assert!(!artifact.hashes.is_empty() && artifact.line > 0);
        let text = format!("{}{}{}", artifact.name, artifact.version, artifact.file);
        assert!(!text.contains(|c: char| c.is_control() || c.is_whitespace()), "{text:?}");
        for place in &artifact.places {
            let Place::Registry(place) = place else { continue };
            // Where a registry of cargo says itself that its crates are may be anywhere of HTTP.
            if ["https://", "http://"].iter().any(|scheme| place.starts_with(scheme)) {
                continue;
            }
            assert!(!place.split('/').any(|part| matches!(part, "" | "." | "..")), "{place}");
        }
    }
    let asked = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]);
    let request = Request { method: "GET".to_owned(), path: format!("/go/{asked}") };
    let words = format!("error: no matching package named `{asked}` found");
    for said in [native.diagnose(&request), native.answer_to(&words), native.answer_to(&asked)].into_iter().flatten() {
        assert!(!said.contains(|c: char| c.is_control()), "{asked:?}");
    }
}

fn served(native: &dyn Native, bodies: &dyn Bodies) {
    let made = native.repository(bodies, "http://127.0.0.1:1");
    let Ok(repository) = made.inspect_err(|error: &ArtifactError| crate::shown(error)) else { return };
    for route in &repository.routes {
        assert!(route.path.starts_with('/') && !route.path.contains("/../"), "{}", route.path);
    }
}

/// Takes what is unpacked; all of it must be in the one folder.
struct InFolder<'a>(&'a str);

impl InFolder<'_> {
    fn check(&self, path: &CleanPath) {
        assert_eq!(path.components().next(), Some(self.0.as_bytes()), "{path}");
    }
}

impl Sink for InFolder<'_> {
    fn directory(&mut self, path: &CleanPath) -> Result<(), SinkError> {
        self.check(path);
        Ok(())
    }

    fn file(&mut self, path: &CleanPath, _: bool, content: &mut dyn io::Read) -> Result<(), SinkError> {
        self.check(path);
        io::copy(content, &mut io::sink())?;
        Ok(())
    }

    fn symlink(&mut self, path: &CleanPath, target: &[u8]) -> Result<(), SinkError> {
        self.check(path);
        assert!(!target.starts_with(b"/"));
        Ok(())
    }

    fn hardlink(&mut self, path: &CleanPath, target: &CleanPath) -> Result<(), SinkError> {
        self.check(path);
        self.check(target);
        Ok(())
    }
}

fn unpacked(native: &dyn Native, bodies: &dyn Bodies, folder: &str) {
    for artifact in native.folders().into_iter().flat_map(|folder| folder.artifacts) {
        let mut body = bodies.open(artifact).expect("memory can be read");
        if let Err(error) = native.unpack(artifact, &mut *body, &mut InFolder(folder)) {
            crate::shown(&error);
        }
    }
}

/// `go.sum`, and the same as `go.work`.
pub(crate) fn go_sum(bytes: &[u8]) {
    for name in ["go.sum", "x/go.work"] {
        if let Some(go) = said(Go::read(&Everywhere(bytes), &path(name))) {
            check(&go, bytes);
        }
    }
}

/// A module's archive.
pub(crate) fn go_zip(bytes: &[u8]) {
    for hash in [Hash::GoZip([0; 32]), Hash::GoMod([0; 32])] {
        assert!(!hash.matches(&mut Cursor::new(bytes)).expect("memory can be read"));
    }
    let lock = "a.b/c v1.0.0 h1:ungWe8M4G15irX2mv1wRkYg4gGNzYKWQp+l2UfIh6Zk=\n";
    served(&Go::read(&Lock(lock), &path("go.sum")).expect("a good lock"), &Everywhere(bytes));
}

/// `Cargo.lock`, and what a registry says of its places.
pub(crate) fn cargo_lock(bytes: &[u8]) {
    let Some(mut cargo) = said(Cargo::read(&Everywhere(bytes), &path("Cargo.lock"))) else { return };
    check(&cargo, bytes);
    for question in cargo.questions() {
        if let Err(error) = cargo.answer(&question, Some(bytes)) {
            crate::shown(&error);
        }
        cargo.answer(&question, Some(br#"{"dl":"https://dl.example/{crate}"}"#)).expect("an answer");
    }
    assert!(cargo.questions().is_empty());
    check(&cargo, bytes);
    let client = cargo.client("http://127.0.0.1:1");
    for text in client.files.values() {
        let text = std::str::from_utf8(text).expect("it is text");
        assert_eq!(text.matches("replace-with").count() * 2, text.matches("[source.").count().max(2), "{text}");
    }
}

/// A crate; the bytes as they come, and as what is packed.
pub(crate) fn crate_file(bytes: &[u8]) {
    let lock = format!(
        "version = 4\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n\
         source = \"registry+https://github.com/rust-lang/crates.io-index\"\nchecksum = \"{}\"\n",
        "0".repeat(64)
    );
    let cargo = Cargo::read(&Lock(&lock), &path("Cargo.lock")).expect("a good lock");
    unpacked(&cargo, &Everywhere(bytes), "a-1.0.0");
    unpacked(&cargo, &Everywhere(&bulla_testkit::archive::gzip(bytes)), "a-1.0.0");
    // Only a manifest is left to be read then.
    let file = bulla_testkit::archive::TarEntry::file("a-1.0.0/Cargo.toml", 0o644, bytes);
    let packed = bulla_testkit::archive::gzip(&bulla_testkit::archive::tar(&[file]));
    unpacked(&cargo, &Everywhere(&packed), "a-1.0.0");
}

/// What a step asks for while it is observed, and what stands beside files of a repository.
pub(crate) fn maven_path(bytes: &[u8]) {
    if let Some(sum) = maven::sha1_in(bytes) {
        assert!(sum.len() == 40 && sum.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
    }
    let text = crate::text(bytes);
    let Ok(asked) = observe::asked(Ecosystem::Maven, text) else { return };
    // What is passed on is a plain path: it has no query, climbs nowhere, and is short.
    assert_eq!(text.strip_prefix("/maven/"), Some(asked.path.as_str()));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+~".contains(&byte);
    assert!(asked.path.bytes().all(plain) && asked.path.len() <= observe::MAX_PATH + ".sha512".len());
    assert!(asked.path.split('/').all(|part| !part.is_empty() && !part.starts_with('.')));
    if let Wanted::Sha1(file) = &asked.wanted {
        assert_eq!(asked.path, format!("{file}.sha1"));
    }
}

/// Verification metadata of Gradle that the lock file among the seeds is good for.
const METADATA: &str = "<verification-metadata><components><component group=\"org.slf4j\" name=\"slf4j-api\" version=\"2.0.17\">\
    <artifact name=\"slf4j-api-2.0.17.jar\"><sha256 value=\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"/></artifact>\
    </component></components></verification-metadata>";

/// A lock file, or metadata, with the other as it should be.
struct Two<'a> {
    lock: &'a [u8],
    metadata: &'a [u8],
}

impl Files for Two<'_> {
    fn read(&self, path: &CleanPath, _: u64) -> io::Result<Option<Vec<u8>>> {
        Ok(Some(if path.name() == b"gradle.lockfile" { self.lock.to_vec() } else { self.metadata.to_vec() }))
    }
}

/// `gradle.lockfile`.
pub(crate) fn gradle_lock(bytes: &[u8]) {
    gradle(&Two { lock: bytes, metadata: METADATA.as_bytes() });
}

/// `gradle/verification-metadata.xml`.
pub(crate) fn gradle_metadata(bytes: &[u8]) {
    gradle(&Two { lock: b"", metadata: bytes });
}

fn gradle(files: &Two<'_>) {
    let Some(gradle) = said(Gradle::read(files, &path("gradle.lockfile"))) else { return };
    check(&gradle, files.metadata);
    let remarks = gradle.remarks();
    assert!(remarks.iter().all(|remark| !remark.contains(|c: char| c.is_control())), "{remarks:?}");
    let repository = gradle.repository(&Everywhere(b"bytes"), "").expect("nothing in a file is looked at");
    for route in &repository.routes {
        let rest = route.path.strip_prefix("/gradle/").expect("it is beneath it");
        assert!(rest.split('/').all(|part| !part.is_empty() && !part.starts_with('.')), "{rest}");
    }
}

/// What apt asks for while it is observed: a plain path of an archive, of which nothing is expected before its index came.
pub(crate) fn apt_path(bytes: &[u8]) {
    let text = crate::text(bytes);
    let Ok(asked) = observe::asked(Ecosystem::Apt, text) else { return };
    assert_eq!(text.strip_prefix("/apt/"), Some(asked.path.as_str()));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+~:%".contains(&byte);
    assert!(asked.path.bytes().all(plain) && asked.path.len() <= observe::MAX_PATH);
    assert!(asked.path.split('/').all(|part| !part.is_empty() && !part.starts_with('.')));
    let suite = asked.package.as_str();
    assert!(
        asked.path.starts_with(&format!("{suite}/dists/{suite}/")) || asked.path.starts_with(&format!("{suite}/pool/"))
    );
    let archive = Archive::new(suite, Keyring::default(), Epoch::default(), BTreeMap::new());
    match archive.expects(&asked.path) {
        Ok(expected) => {
            assert_eq!((expected, asked.path), (Expected::Index, format!("{suite}/dists/{suite}/InRelease")));
        }
        Err(why) => assert!(!why.is_empty()),
    }
}

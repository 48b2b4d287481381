//! Downloads that go on after the program was killed: what has come is not asked for again, and not believed either.

use std::{
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use bulla_model::Digest;
use bulla_testkit::{
    Deb, DebianRepo, Fault, Mirror, Project, PythonIndex, PythonPackage, Release, TestEnvironment, debian::Compression,
    python::requirements,
};

use super::{
    online,
    pypi_attacks::{index_of, project, with_pypi},
    spec,
    world::files,
};

/// So many bytes, of which no archive makes fewer.
const SIZE: usize = 4 << 20;
/// So many of them come before the program is killed.
const BEFORE: u64 = 300 << 10;
/// How fast they come then.
const SLOW: Fault = Fault::Slow { bytes_per_second: 1 << 20 };

fn bytes() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).flatten().take(SIZE).collect()
}

/// The one download of a store that is not complete.
fn partial(environment: &TestEnvironment) -> Option<PathBuf> {
    files(&environment.store().join("partial")).pop()
}

fn length(file: &PathBuf) -> u64 {
    fs_err::metadata(file).map_or(0, |metadata| metadata.len())
}

/// Runs `bulla fetch` until a part of something has come, and kills it; gives the part.
fn killed(environment: &TestEnvironment, project: &Project) -> PathBuf {
    let mut command = environment.command(project.root());
    let mut child = command.arg("fetch").stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("bulla can be run");
    let start = Instant::now();
    loop {
        if let Some(file) = partial(environment).filter(|file| length(file) >= BEFORE) {
            child.kill().expect("it can be killed");
            child.wait().expect("it ends");
            return file;
        }
        assert!(child.try_wait().expect("it can be waited for").is_none(), "it ended before it was killed");
        assert!(start.elapsed() < Duration::from_secs(60), "nothing came");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The parts of a path that a server was asked for: the first byte of each.
fn asked(mirror: &Mirror, path: &str) -> Vec<Option<String>> {
    let of_path = mirror.requests().into_iter().filter(|request| request.path == path);
    of_path.map(|request| request.header("range").map(str::to_owned)).collect()
}

/// A package of Python, an index that gives it slowly, and a store that has a part of it.
struct Begun {
    package: PythonPackage,
    project: Project,
    environment: TestEnvironment,
    part: PathBuf,
    length: u64,
    _servers: (DebianRepo, Mirror),
}

impl Begun {
    fn new() -> Self {
        let (repo, mirror, environment) = online();
        let package = PythonPackage::new("big", "1.0").file("big.bin", bytes());
        let index = PythonIndex::serve(&[&package]);
        index.mirror.fault(&package.path(), SLOW);
        with_pypi(&environment, &index_of(&index));
        let project = project("requirements.txt", &requirements(&[&package]));
        let part = killed(&environment, &project);
        let length = length(&part);
        assert!(length < package.released()[0].1.len() as u64, "a part has come");
        Self { package, project, environment, part, length, _servers: (repo, mirror) }
    }

    /// Another index with the same package, which nothing was asked of.
    fn index(&self) -> PythonIndex {
        let index = PythonIndex::serve(&[&self.package]);
        with_pypi(&self.environment, &index_of(&index));
        index
    }

    fn rest(&self) -> Option<String> {
        Some(format!("bytes={}-", length(&self.part)))
    }

    fn fetch(&self) {
        self.environment.run(&self.project, &["fetch"]).success();
        let (_, bytes) = self.package.released().remove(0);
        let blob = self.environment.store().join("blobs").join(Digest::of(&bytes).hex());
        assert!(fs_err::read(blob).expect("it is in the store") == bytes, "the store has other bytes");
        assert_eq!(partial(&self.environment), None, "nothing is left of the download");
    }
}

#[test]
fn a_package_goes_on_where_a_killed_fetch_ended() {
    let begun = Begun::new();
    let (path, whole) = (begun.package.path(), begun.package.released()[0].1.len() as u64);
    let (index, rest) = (begun.index(), begun.rest());
    begun.fetch();
    assert_eq!(asked(&index.mirror, &path), [rest]);
    assert!(index.mirror.sent() < whole - begun.length + (16 << 10), "{} bytes were sent", index.mirror.sent());
    // The control: whoever has nothing asks for all of it.
    let (_repo, _mirror, fresh) = online();
    let index = PythonIndex::serve(&[&begun.package]);
    with_pypi(&fresh, &index_of(&index));
    fresh.run(&begun.project, &["fetch"]).success();
    assert_eq!(asked(&index.mirror, &path), [None]);
    assert!(index.mirror.sent() >= whole);
}

#[test]
fn a_part_that_was_edited_is_noticed_and_all_is_fetched_anew() {
    let begun = Begun::new();
    let path = begun.package.path();
    let (index, rest) = (begun.index(), begun.rest());
    let mut edited = fs_err::read(&begun.part).expect("the part");
    edited[1000] ^= 1;
    fs_err::write(&begun.part, edited).expect("an edit");
    begun.fetch();
    // In the first test the same part, unedited, was enough.
    assert_eq!(asked(&index.mirror, &path), [rest, None]);
}

#[test]
fn a_part_that_is_longer_than_the_whole_or_complete_is_no_trouble() {
    let begun = Begun::new();
    let path = begun.package.path();
    let index = begun.index();
    let (_, bytes) = begun.package.released().remove(0);
    fs_err::write(&begun.part, [&bytes[..], b"more"].concat()).expect("an edit");
    begun.fetch();
    assert_eq!(asked(&index.mirror, &path).last(), Some(&None), "all of it was asked for at the end");
    // One of which only the end was not noticed is taken as it is, when it is the right one.
    let complete = Begun::new();
    let index = complete.index();
    fs_err::write(&complete.part, &bytes).expect("the rest");
    complete.fetch();
    assert!(asked(&index.mirror, &path).is_empty());
}

#[test]
fn a_server_that_has_something_else_by_now_is_refused_and_leaves_nothing() {
    let begun = Begun::new();
    let path = begun.package.path();
    let index = begun.index();
    let (_, mut other) = begun.package.released().remove(0);
    let at = other.len() - 1000;
    other[at] ^= 1;
    index.mirror.fault(&path, Fault::Bytes(other));
    let ran = begun.environment.run(&begun.project, &["fetch"]).failure(5);
    assert!(ran.stderr.contains("gives other bytes than the lock file says"), "{}", ran.stderr);
    assert_eq!(asked(&index.mirror, &path).len(), 2, "the rest, and once all of it");
    assert_eq!(partial(&begun.environment), None);
    // The control: it is what was given that was refused. A server that knows of no parts gives the whole.
    let index = begun.index();
    index.mirror.fault(&path, Fault::NoRange);
    begun.fetch();
}

#[test]
fn a_package_of_debian_goes_on_where_a_killed_fetch_ended() {
    let mut repo = DebianRepo::new("trixie");
    let big = Deb::new("make", "4.1").compression(Compression::None).file("usr/share/big", 0o644, bytes());
    for deb in [Deb::new("base", "1").field("Essential", "yes"), big, Deb::new("libshop", "2.0")] {
        repo.add(&deb);
    }
    repo.publish(&Release::default());
    let mirror = Mirror::serve(repo.root());
    let environment = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &repo, &mirror);
    let project = Project::with_spec(&spec("make", "libshop"));
    environment.run(&project, &["lock"]).success();
    let lock = project.read("bulla.lock");
    let path = mirror_path(&lock);
    mirror.fault(&path, SLOW);
    let part = killed(&environment, &project);
    let rest = Some(format!("bytes={}-", length(&part)));
    mirror.heal();
    mirror.forget_requests();
    environment.run(&project, &["fetch"]).success();
    assert_eq!(asked(&mirror, &path), [rest]);
    assert_eq!(partial(&environment), None);
}

/// The path of the package `make` on its mirror.
fn mirror_path(lock: &str) -> String {
    let word = lock.split(['"', '\'', ' ', '\n']).find(|word| word.ends_with(".deb") && word.contains("make_"));
    format!("/{}", word.expect("the lock has the path"))
}

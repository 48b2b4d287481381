//! Lock files of Python, the pages of its registries, and the files of its packages.

use std::{
    io::{self, Cursor},
    sync::LazyLock,
};

use bulla_ecosystems::dependencies::{
    Artifact, Bodies, Files, Hash, LockFileError, Native, Place, ReadSeek,
    pypi::{self, Pypi, Stage},
};
use bulla_model::CleanPath;

/// A source of one file.
#[derive(Debug)]
struct One<'a>(&'a str, &'a [u8]);

impl Files for One<'_> {
    fn read(&self, path: &CleanPath, _: u64) -> io::Result<Option<Vec<u8>>> {
        Ok((path.to_string() == self.0).then(|| self.1.to_vec()))
    }
}

fn read(file: &str, bytes: &[u8]) -> Result<Pypi, LockFileError> {
    Pypi::read(&One(file, bytes), &CleanPath::parse(file).expect("a path"), &Stage::default())
}

/// Reads a lock file; each artifact is pinned, and can be a part of a path.
fn lock(file: &str, bytes: &[u8]) {
    match read(file, bytes) {
        Err(error) => crate::shown(&error),
        Ok(pypi) => {
            for artifact in &pypi.locked().artifacts {
                assert!(!artifact.hashes.is_empty(), "{artifact:?}");
                for part in [&artifact.name, &artifact.version, &artifact.file] {
                    assert!(
                        !part.is_empty() && !part.contains(['/', '\\', '\n', '"', '<']) && part != "..",
                        "{artifact:?}"
                    );
                }
                for place in &artifact.places {
                    assert!(matches!(place, Place::Url(url) if url.starts_with("http")), "{artifact:?}");
                }
            }
            assert!(pypi.remarks().iter().all(|remark| !remark.is_empty()));
            let _ = (pypi.questions(), pypi.offers(), pypi.client("http://127.0.0.1:1"));
        }
    }
}

/// `requirements.txt`.
pub(crate) fn requirements(bytes: &[u8]) {
    lock("requirements.txt", bytes);
}

/// `uv.lock`.
pub(crate) fn uv_lock(bytes: &[u8]) {
    lock("uv.lock", bytes);
}

/// `poetry.lock`.
pub(crate) fn poetry_lock(bytes: &[u8]) {
    lock("poetry.lock", bytes);
}

/// `pylock.toml`.
pub(crate) fn pylock(bytes: &[u8]) {
    lock("pylock.toml", bytes);
}

/// The lock file that the page among the seeds is of.
static LOCKED: LazyLock<String> = LazyLock::new(|| {
    let hash = |digit: &str| format!(" --hash=sha256:{}", digit.repeat(64));
    format!("flask==3.0.0{}{}{}\n", hash("a"), hash("b"), hash("c"))
});

/// A page of a registry, JSON or HTML: whatever it says, no hash comes of it that the lock file does not have.
pub(crate) fn simple_index(bytes: &[u8]) {
    let mut pypi = read("requirements.txt", LOCKED.as_bytes()).expect("a lock file");
    let pinned: Vec<Hash> = pypi.locked().artifacts.iter().flat_map(|artifact| artifact.hashes.clone()).collect();
    let question = pypi.questions().remove(0);
    match pypi.answer(&question, Some(bytes)) {
        Err(error) => crate::shown(&error),
        Ok(()) => {
            for Artifact { name, version, file, hashes, places, .. } in &pypi.locked().artifacts {
                assert!(hashes.iter().all(|hash| pinned.contains(hash)), "{hashes:?}");
                assert_eq!((name.as_str(), version.as_str()), ("flask", "3.0.0"));
                assert!(!file.contains('/') && !places.is_empty(), "{file} {places:?}");
            }
        }
    }
}

/// Bytes in memory.
struct Bytes<'a>(&'a [u8]);

impl Bodies for Bytes<'_> {
    fn open(&self, _: usize) -> io::Result<Box<dyn ReadSeek + '_>> {
        Ok(Box::new(Cursor::new(self.0)))
    }
}

/// A wheel, and a source package, of whoever has published them.
pub(crate) fn wheel(bytes: &[u8]) {
    for file in ["flask-3.0.0-py3-none-any.whl", "flask-3.0.0.tar.gz", "flask-3.0.0.zip"] {
        let lock = format!(
            "lock-version = \"1.0\"\n[[packages]]\nname = \"flask\"\nversion = \"3.0.0\"\n\
             wheels = [{{ url = \"https://files.example/{file}\", hashes = {{ sha256 = \"{}\" }} }}]\n",
            "a".repeat(64)
        );
        let pypi = read("pylock.toml", lock.as_bytes()).expect("a lock file");
        let artifact = &pypi.locked().artifacts[0];
        match pypi::check(artifact, &mut Cursor::new(bytes)) {
            Err(error) => crate::shown(&error),
            Ok(()) => {
                let repository = pypi.repository(&Bytes(bytes), "").expect("it was checked");
                assert!(repository.routes.iter().all(|route| route.path.starts_with("/pypi/")));
            }
        }
    }
}

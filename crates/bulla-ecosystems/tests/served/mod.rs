//! Lock files in memory, artifacts in folders, and a repository that is served by a plain server.

#![allow(dead_code, reason = "each test program uses its part")]

use std::{
    collections::BTreeMap,
    fs::Permissions,
    io::{self, Cursor},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use bulla_ecosystems::{
    archive::{Sink, SinkError},
    dependencies::{Artifact, ArtifactError, Bodies, Body, Files, LockFileError, Native, ReadSeek, Repository},
};
use bulla_model::CleanPath;
use bulla_testkit::Mirror;

/// Files of a source.
pub(crate) struct Source(pub(crate) BTreeMap<CleanPath, Vec<u8>>);

impl Source {
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|(name, text)| (path(name), text.as_bytes().to_vec())).collect())
    }
}

impl Files for Source {
    fn read(&self, path: &CleanPath, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let found = self.0.get(path).cloned();
        match found.as_ref().is_some_and(|bytes| bytes.len() as u64 > limit) {
            true => Err(io::Error::other("it is too long")),
            false => Ok(found),
        }
    }
}

pub(crate) fn path(text: &str) -> CleanPath {
    CleanPath::parse(text).expect("a clean path")
}

/// The files of a folder.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Files for Folder {
    fn read(&self, path: &CleanPath, _: u64) -> io::Result<Option<Vec<u8>>> {
        match fs_err::read(self.0.join(path.as_str().expect("UTF-8"))) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Artifacts in memory.
pub(crate) struct Held(pub(crate) Vec<Vec<u8>>);

impl Bodies for Held {
    fn open(&self, artifact: usize) -> io::Result<Box<dyn ReadSeek + '_>> {
        Ok(Box::new(Cursor::new(self.0[artifact].as_slice())))
    }
}

/// Artifacts in files.
pub(crate) struct Kept(pub(crate) Vec<PathBuf>);

impl Kept {
    /// Finds the file of each artifact, and verifies it by each hash that the lock has; gives how many bytes there are.
    pub(crate) fn verified(native: &dyn Native, place: impl Fn(&Artifact) -> PathBuf) -> (Self, u64) {
        let (mut files, mut bytes) = (Vec::new(), 0);
        for artifact in &native.locked().artifacts {
            let path = place(artifact);
            let mut file = fs_err::File::open(&path).expect("the client fetched it");
            assert!(!artifact.hashes.is_empty());
            for hash in &artifact.hashes {
                assert!(hash.matches(&mut file).expect("readable"), "{artifact:?}");
            }
            bytes += file.metadata().expect("a file").len();
            files.push(path);
        }
        (Self(files), bytes)
    }
}

impl Bodies for Kept {
    fn open(&self, artifact: usize) -> io::Result<Box<dyn ReadSeek + '_>> {
        Ok(Box::new(fs_err::File::open(&self.0[artifact])?))
    }
}

/// Lays a repository out as files: what is not there is 404, as is what is known not to exist.
pub(crate) fn lay(repository: &Repository, bodies: &Kept, folder: &Path) {
    for route in repository.routes.iter().filter(|route| route.answer.status == 200) {
        let place = folder.join(route.path.trim_start_matches('/'));
        fs_err::create_dir_all(place.parent().expect("beneath the folder")).expect("a folder");
        match &route.answer.body {
            Body::Artifact(artifact) => symlink(&bodies.0[*artifact], &place).expect("a link"),
            Body::Bytes(bytes) => fs_err::write(&place, bytes).expect("a document"),
        }
    }
}

/// A server whose folder is laid out when its address is known.
pub(crate) fn serve(native: &dyn Native, bodies: &Kept, folder: &Path) -> Mirror {
    let mirror = Mirror::serve(folder);
    lay(&native.repository(bodies, &mirror.url()).expect("good artifacts"), bodies, folder);
    mirror
}

/// Unpacks what lies in folders beneath a folder that stands for the root.
pub(crate) fn unpack(native: &dyn Native, bodies: &dyn Bodies, root: &Path) -> Result<(), ArtifactError> {
    for folder in native.folders() {
        let mut sink = OnDisk(root.join(folder.target.as_str().expect("UTF-8")));
        fs_err::create_dir_all(&sink.0).expect("a folder");
        for artifact in folder.artifacts {
            native.unpack(artifact, &mut *bodies.open(artifact).expect("it is there"), &mut sink)?;
        }
    }
    Ok(())
}

/// Writes files to a disk.
pub(crate) struct OnDisk(pub(crate) PathBuf);

impl OnDisk {
    fn at(&self, path: &CleanPath) -> PathBuf {
        let at = self.0.join(path.as_str().expect("UTF-8"));
        fs_err::create_dir_all(at.parent().expect("beneath the folder")).expect("a folder");
        at
    }
}

impl Sink for OnDisk {
    fn directory(&mut self, path: &CleanPath) -> Result<(), SinkError> {
        Ok(fs_err::create_dir_all(self.at(path))?)
    }

    fn file(&mut self, path: &CleanPath, executable: bool, content: &mut dyn io::Read) -> Result<(), SinkError> {
        let at = self.at(path);
        io::copy(content, &mut fs_err::File::create(&at)?)?;
        Ok(fs_err::set_permissions(at, Permissions::from_mode(if executable { 0o755 } else { 0o644 }))?)
    }

    fn symlink(&mut self, path: &CleanPath, target: &[u8]) -> Result<(), SinkError> {
        Ok(symlink(std::str::from_utf8(target)?, self.at(path))?)
    }

    fn hardlink(&mut self, path: &CleanPath, target: &CleanPath) -> Result<(), SinkError> {
        Ok(fs_err::hard_link(self.at(target), self.at(path))?)
    }
}

/// The text of a repository's document.
pub(crate) fn document(repository: &Repository, path: &str) -> Option<String> {
    let route = repository.routes.iter().find(|route| route.path == path && route.answer.status == 200)?;
    match &route.answer.body {
        Body::Bytes(bytes) => Some(String::from_utf8(bytes.clone()).expect("UTF-8")),
        Body::Artifact(artifact) => Some(format!("artifact {artifact}")),
    }
}

/// Panics unless an error is of this line, has this text, and says what to do.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, LockFileError>, line: Option<u32>, text: &str) {
    let error = result.expect_err(text);
    assert_eq!(error.line, line, "{error}");
    assert!(error.to_string().contains(text), "{error}");
    assert!(!error.hints.is_empty(), "{error}");
}

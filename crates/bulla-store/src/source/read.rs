//! Examining the files of a source, and reading those that look new.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::{AsFd, OwnedFd},
    path::Path,
    time::SystemTime,
};

use bulla_model::{
    CleanPath, Digest, Hasher, Tree,
    tree::{Node, Owner},
};
use rustix::{
    fs::{FileType, OFlags, Stat},
    io::Errno,
};

use crate::{
    blob,
    dir::{self, Dir},
    error::{Error, Result},
    parallel,
    source::{
        Source, SourceCache, object_key, read_manifest,
        table::{Look, Table},
    },
    stamp::Stamp,
    store::{make_draft, settle},
    tree::{Both, at},
};

/// Files up to this size are read into memory before their object is made, in bytes.
const SMALL: u64 = 1 << 20;
/// How many files a thread examines before it looks for more.
const RUN: usize = 1024;

/// A path that was read: what stands there, what it looked like, and the stamp of its object.
struct Seen {
    node: Node,
    look: Look,
    object: Option<(Digest, Stamp)>,
}

impl SourceCache {
    /// Says whether every path still looks as it did, and none was written in the moment in which it was read.
    pub(super) fn is_unchanged(&self, root: &Dir, known: &Table) -> Result<bool> {
        if known.rows.iter().any(|(_, look)| look.is_racy(known.read)) {
            return Ok(false);
        }
        let runs: Vec<&[(CleanPath, Look)]> = known.rows.chunks(RUN).collect();
        let changed = parallel::map_by(&runs, 1, |run| {
            let mut folders = Folders::new(root);
            let same = |(path, look): &(CleanPath, Look)| match folders.stat(path) {
                Ok(stat) => Ok(look.is_same(&Look::of(&stat))),
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(false),
                Err(error) => Err(Some(Error::io("examining", root.path().join(path), error))),
            };
            for same in run.iter().map(same) {
                if !same? {
                    return Err(None);
                }
            }
            Ok(())
        });
        match changed {
            Ok(_) => Ok(true),
            Err(None) => Ok(false),
            Err(Some(error)) => Err(error),
        }
    }

    /// Reads what looks different or racy, and writes manifest and table.
    pub(super) fn read_again(
        &self,
        root: &Dir,
        files: &[CleanPath],
        known: Option<Table>,
        started: SystemTime,
    ) -> Result<Source> {
        let manifest = known.as_ref().map(|known| read_manifest(&self.place, &known.digest)).transpose()?.flatten();
        let known: HashMap<&CleanPath, &Look> = match (&known, &manifest) {
            (Some(known), Some(_)) => {
                let safe = known.rows.iter().filter(|(_, look)| !look.is_racy(known.read));
                safe.map(|(path, look)| (path, look)).collect()
            }
            _ => HashMap::new(),
        };
        let manifest = manifest.unwrap_or_default();
        let runs: Vec<&[CleanPath]> = files.chunks(64).collect();
        let seen = parallel::map_by(&runs, 1, |run| {
            let mut folders = Folders::new(root);
            let look = |path| self.look(&mut folders, path, known.get(path).copied(), manifest.get(path));
            run.iter().map(look).collect::<Result<Vec<Seen>>>()
        })?;
        let (mut tree, mut rows, mut objects) = (Tree::new(), Vec::with_capacity(files.len()), Vec::new());
        for (path, seen) in files.iter().zip(seen.into_iter().flatten()) {
            objects.extend(seen.object);
            rows.push((path.clone(), seen.look));
            tree.insert(path.clone(), seen.node);
        }
        tree.complete();
        if let Some(path) = files
            .iter()
            .find(|path| path.parent().is_some_and(|parent| !tree.get(&parent).is_some_and(Node::is_directory)))
        {
            return Err(Error::SourceShape { dir: root.path().to_owned(), path: path.clone() });
        }
        if !objects.is_empty() {
            self.add_objects(objects)?;
        }
        let text = tree.encode();
        let table = Table::new(started, Digest::of(&text), rows);
        self.write_table(&table, &text)?;
        Ok(self.source(root.path(), table, Some(tree)))
    }

    fn look(
        &self,
        folders: &mut Folders<'_>,
        path: &CleanPath,
        known: Option<&Look>,
        node: Option<&Node>,
    ) -> Result<Seen> {
        for _ in 0..2 {
            let stat = folders.stat(path).map_err(|error| folders.fail(path, error))?;
            let look = Look::of(&stat);
            if let (Some(known), Some(node)) = (known, node)
                && known.is_same(&look)
            {
                return Ok(Seen { node: node.clone(), look, object: None });
            }
            if let Some(seen) = self.read(folders, path, &stat, look)? {
                return Ok(seen);
            }
        }
        Err(Error::SourceChanged { dir: folders.root.path().to_owned(), path: path.clone() })
    }

    /// Reads one path; `None` when it changed meanwhile.
    fn read(&self, folders: &mut Folders<'_>, path: &CleanPath, stat: &Stat, look: Look) -> Result<Option<Seen>> {
        let special = |found| Error::SourceSpecial { dir: folders.root.path().to_owned(), path: path.clone(), found };
        match dir::kind_of(stat) {
            FileType::Directory => Ok(Some(Seen { node: Node::directory(0o755), look, object: None })),
            FileType::RegularFile => self.read_file(folders, path, look),
            FileType::Symlink => {
                let target = folders.target(path).map_err(|e| folders.fail(path, e))?;
                let after = folders.stat(path).map_err(|e| folders.fail(path, e))?;
                let node = Node::Symlink { owner: Owner::ROOT, target: target.into() };
                Ok((Look::of(&after) == look).then_some(Seen { node, look, object: None }))
            }
            FileType::Fifo => Err(special("FIFO")),
            FileType::Socket => Err(special("socket")),
            FileType::CharacterDevice | FileType::BlockDevice => Err(special("device")),
            FileType::Unknown => Err(special("thing of unknown kind")),
        }
    }

    fn read_file(&self, folders: &mut Folders<'_>, path: &CleanPath, look: Look) -> Result<Option<Seen>> {
        let fd = match folders.open(path) {
            Ok(fd) => fd,
            // It was a regular file a moment ago.
            Err(Errno::LOOP | Errno::NXIO | Errno::NOENT) => return Ok(None),
            Err(error) => return Err(folders.fail(path, error)),
        };
        let source = folders.root.path().join(path);
        let failed = |e: io::Error| Error::io("reading", &source, e);
        let stat = rustix::fs::fstat(&fd).map_err(|e| failed(e.into()))?;
        if Look::of(&stat) != look || !dir::kind_of(&stat).is_file() {
            return Ok(None);
        }
        let mut file = File::from(fd);
        let executable = stat.st_mode & 0o100 != 0;
        let written = if look.stamp.size <= SMALL {
            self.small(&mut file, path, executable, look.stamp.size)?
        } else {
            Some(self.large(&mut file, path, executable)?)
        };
        let after = rustix::fs::fstat(&file).map_err(|e| failed(e.into()))?;
        let Some((key, stamp, digest, size)) = written.filter(|_| Look::of(&after) == look) else { return Ok(None) };
        if size != look.stamp.size {
            return Ok(None);
        }
        let node = Node::file(if executable { 0o755 } else { 0o644 }, digest, size);
        Ok(Some(Seen { node, look, object: Some((key, stamp)) }))
    }

    /// Reads a small file whole, then makes its object directly in its place.
    fn small(
        &self,
        file: &mut File,
        path: &CleanPath,
        executable: bool,
        size: u64,
    ) -> Result<Option<(Digest, Stamp, Digest, u64)>> {
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
        file.take(SMALL + 1).read_to_end(&mut bytes).map_err(|e| Error::io("reading the source file", path, e))?;
        if bytes.len() as u64 > SMALL {
            return Ok(None);
        }
        let digest = Digest::of(&bytes);
        let key = object_key(path, executable, &digest);
        let failed = |e: io::Error| Error::io("writing", self.objects.path().join(key.hex()), e);
        let object = match make_draft(&self.objects, key.hex()) {
            Ok(mut object) => {
                object.write_all(&bytes).map_err(failed)?;
                object
            }
            // It was read before, perhaps by a process that was killed before its receipt was written.
            Err(Errno::EXIST) => {
                if let Some(stamp) = self.known(&key, &digest, executable)? {
                    return Ok(Some((key, stamp, digest, bytes.len() as u64)));
                }
                let (draft, mut object) = self.inner.draft("object", 0o600)?;
                object.write_all(&bytes).map_err(failed)?;
                self.inner.place(&draft, &self.objects, &key.hex())?;
                object
            }
            Err(error) => return Err(failed(error.into())),
        };
        Ok(Some((key, self.finish(&object, executable).map_err(|e| failed(e.into()))?, digest, bytes.len() as u64)))
    }

    /// Copies a large file to scratch while hashing it, then moves it to its place.
    fn large(&self, file: &mut File, path: &CleanPath, executable: bool) -> Result<(Digest, Stamp, Digest, u64)> {
        let (draft, object) = self.inner.draft("object", 0o600)?;
        let failed = |e: io::Error| Error::io("copying the source file", path, e);
        let mut hasher = Hasher::new();
        blob::copy(file, &mut Both(&object, &mut hasher)).map_err(failed)?;
        let (size, digest) = (hasher.length(), hasher.finish());
        let key = object_key(path, executable, &digest);
        if let Some(stamp) = self.known(&key, &digest, executable)? {
            self.inner.discard(&draft);
            return Ok((key, stamp, digest, size));
        }
        self.inner.place(&draft, &self.objects, &key.hex())?;
        Ok((key, self.finish(&object, executable).map_err(|e| failed(e.into()))?, digest, size))
    }

    /// Gives the stamp of an object that is there already and is what it should be: views have links to it.
    fn known(&self, key: &Digest, content: &Digest, executable: bool) -> Result<Option<Stamp>> {
        let Ok(stat) = dir::stat_at(&self.objects, key.hex()) else { return Ok(None) };
        let times = (stat.st_mtime, stat.st_mode & 0o7777);
        if times != (self.epoch.seconds().cast_signed(), if executable { 0o755 } else { 0o644 }) {
            return Ok(None);
        }
        self.rehash(key, content)
    }

    fn finish(&self, object: &File, executable: bool) -> rustix::io::Result<Stamp> {
        settle(object, if executable { 0o755 } else { 0o644 }, self.inner.owner)?;
        rustix::fs::futimens(object, &at(self.epoch))?;
        Ok(Stamp::of(&rustix::fs::fstat(object)?))
    }
}

/// Reaches the files of a source through the directories they lie in, keeping the last one open.
struct Folders<'a> {
    root: &'a Dir,
    last: Option<(Vec<u8>, OwnedFd)>,
}

impl<'a> Folders<'a> {
    fn new(root: &'a Dir) -> Self {
        Self { root, last: None }
    }

    fn above(&mut self, path: &CleanPath) -> rustix::io::Result<std::os::fd::BorrowedFd<'_>> {
        let bytes = path.as_bytes();
        let Some(slash) = bytes.iter().rposition(|b| *b == b'/') else { return Ok(self.root.as_fd()) };
        let parent = bytes.get(..slash).unwrap_or_default();
        if self.last.as_ref().is_none_or(|(last, _)| last != parent) {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            let fd = dir::open_at(self.root, dir::name(parent), flags, 0)?;
            self.last = Some((parent.to_vec(), fd));
        }
        Ok(self.last.as_ref().map_or(self.root.as_fd(), |(_, fd)| fd.as_fd()))
    }

    fn stat(&mut self, path: &CleanPath) -> rustix::io::Result<Stat> {
        dir::stat_at(self.above(path)?, dir::name(path.name()))
    }

    fn target(&mut self, path: &CleanPath) -> rustix::io::Result<Vec<u8>> {
        rustix::fs::readlinkat(self.above(path)?, dir::name(path.name()), Vec::new()).map(std::ffi::CString::into_bytes)
    }

    fn open(&mut self, path: &CleanPath) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        dir::open_at(self.above(path)?, dir::name(path.name()), flags, 0)
    }

    fn fail(&self, path: &CleanPath, error: Errno) -> Error {
        let dir = self.root.path();
        match error {
            Errno::LOOP | Errno::NOTDIR => Error::SourceShape { dir: dir.to_owned(), path: path.clone() },
            Errno::NOENT => Error::SourceChanged { dir: dir.to_owned(), path: path.clone() },
            error => Error::io("reading", dir.join(AsRef::<Path>::as_ref(path)), error),
        }
    }
}

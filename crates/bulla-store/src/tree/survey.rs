//! Compares a physical directory with its manifest: quickly by the stamps of its receipt, or thoroughly by names, kinds,
//! link targets and bytes.

use std::{collections::BTreeMap, path::Path};

use bulla_model::{CleanPath, Digest, Tree, tree::Node};
use rustix::{
    fs::{OFlags, Stat},
    io::Errno,
};

use crate::{
    blob,
    dir::{self, Dir},
    error::{Error, Result},
    parallel,
    stamp::Stamp,
    tree::{OPAQUE, whiteout},
};

/// What a survey found: the stamps of the root and of each entry in the manifest's order, or the first difference.
pub(crate) type Survey = std::result::Result<Vec<Stamp>, String>;

/// Gives the stamps as they are now. `None` when something is not there.
pub(crate) fn stamps(root: &Dir, manifest: &Tree) -> Result<Option<Vec<Stamp>>> {
    let mut paths: Vec<&Path> = vec![Path::new(".")];
    paths.extend(manifest.iter().map(|(path, _)| AsRef::<Path>::as_ref(path)));
    let found = parallel::map(&paths, |path| match dir::stat_at(root, path) {
        Ok(stat) => Ok(Stamp::of(&stat)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Err(None),
        Err(error) => Err(Some(Error::io("examining", root.path().join(path), error))),
    });
    match found {
        Ok(stamps) => Ok(Some(stamps)),
        Err(None) => Ok(None),
        Err(Some(error)) => Err(error),
    }
}

/// Compares the directory with the manifest in all that the manifest says. A file whose stamp is that of the receipt is not
/// hashed again, unless `full`.
pub(crate) fn survey(root: &Dir, manifest: &Tree, receipt: Option<&[Stamp]>, full: bool) -> Result<Survey> {
    if let Some(problem) = compare_names(root, manifest)? {
        return Ok(Err(problem));
    }
    let receipt = receipt.filter(|stamps| stamps.len() == manifest.len() + 1 && !full);
    let entries: Vec<(usize, (&CleanPath, &Node))> = manifest.iter().enumerate().collect();
    let found = parallel::map(&entries, |(row, (path, node))| {
        let known = receipt.and_then(|stamps| stamps.get(row + 1));
        compare(root, manifest, path, node, known)
    });
    let mut stamps = vec![Stamp::of(&rustix::fs::fstat(root).map_err(|e| Error::io("examining", root.path(), e))?)];
    match found {
        Ok(rest) => stamps.extend(rest),
        Err(Difference::Found(problem)) => return Ok(Err(problem)),
        Err(Difference::Failed(error)) => return Err(error),
    }
    Ok(Ok(stamps))
}

enum Difference {
    Found(String),
    Failed(Error),
}

/// Compares what each directory lists with what the manifest has in it.
fn compare_names(root: &Dir, manifest: &Tree) -> Result<Option<String>> {
    let mut expected: BTreeMap<Option<CleanPath>, Vec<&[u8]>> = BTreeMap::from([(None, Vec::new())]);
    for (path, node) in manifest.iter() {
        expected.entry(path.parent()).or_default().push(path.name());
        if node.is_directory() {
            expected.entry(Some(path.clone())).or_default();
        }
    }
    for (path, mut names) in expected {
        names.sort_unstable();
        let shown = path.as_ref().map_or_else(|| ".".to_owned(), ToString::to_string);
        let place = path.as_ref().map_or(Path::new("."), AsRef::as_ref);
        let listed = match dir::open_at(root, place, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW, 0) {
            Ok(fd) => dir::list(fd).map_err(|e| Error::io("listing", root.path().join(place), e))?,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => {
                return Ok(Some(format!("`{shown}` is not a directory that can be read")));
            }
            Err(error) => return Err(Error::io("opening", root.path().join(place), error)),
        };
        if listed != names {
            return Ok(Some(format!("the directory `{shown}` has other entries")));
        }
    }
    Ok(None)
}

fn compare(
    root: &Dir,
    manifest: &Tree,
    path: &CleanPath,
    node: &Node,
    known: Option<&Stamp>,
) -> std::result::Result<Stamp, Difference> {
    let failed = |e: Errno| Difference::Failed(Error::io("examining", root.path().join(path), e));
    let differs = |what: &str| Difference::Found(format!("`{path}` {what}"));
    let stat = dir::stat_at(root, path).map_err(failed)?;
    let stamp = Stamp::of(&stat);
    let right = match node {
        Node::Directory { mode, opaque, .. } => {
            dir::kind_of(&stat).is_dir()
                && stat.st_mode & 0o777 == (mode.bits() | 0o700) & 0o777
                && is_opaque(root, path).map_err(failed)? == *opaque
        }
        Node::File { mode, digest, size, .. } => {
            is_file(&stat, *size)
                && stat.st_mode & 0o777 == (mode.bits() | 0o400) & 0o777
                && (known == Some(&stamp) || has_digest(root, path, digest, &stamp).map_err(failed)?)
        }
        Node::Symlink { target, .. } => {
            dir::kind_of(&stat).is_symlink()
                && rustix::fs::readlinkat(root, AsRef::<Path>::as_ref(path), Vec::new()).map_err(failed)?.as_bytes()
                    == &**target
        }
        Node::Hardlink { target } => {
            let first = dir::stat_at(root, target).map_err(failed)?;
            manifest.file(path).is_some() && (first.st_dev, first.st_ino) == (stat.st_dev, stat.st_ino)
        }
        Node::Whiteout => whiteout::is_made(&stat, root).map_err(failed)?,
    };
    if right { Ok(stamp) } else { Err(differs("is not what the manifest says")) }
}

fn is_file(stat: &Stat, size: u64) -> bool {
    dir::kind_of(stat).is_file() && u64::try_from(stat.st_size) == Ok(size)
}

fn has_digest(root: &Dir, path: &CleanPath, digest: &Digest, stamp: &Stamp) -> rustix::io::Result<bool> {
    let fd = dir::open_at(root, path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK, 0)?;
    let mut file = std::fs::File::from(fd);
    let (found, _) = blob::hash(&mut file).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    Ok(found == *digest && Stamp::of(&rustix::fs::fstat(&file)?) == *stamp)
}

fn is_opaque(root: &Dir, path: &CleanPath) -> rustix::io::Result<bool> {
    let fd = dir::open_at(root, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW, 0)?;
    opaque_fd(&fd)
}

/// Says whether an open directory has the attribute that makes it opaque.
pub(crate) fn opaque_fd(fd: impl std::os::fd::AsFd) -> rustix::io::Result<bool> {
    let mut value = [0; 8];
    match rustix::fs::fgetxattr(fd, OPAQUE, &mut value) {
        Ok(length) => Ok(value.get(..length) == Some(b"y")),
        Err(Errno::RANGE) => Ok(false),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(false),
        Err(error) => Err(error),
    }
}

//! Makes a folder that a step left one that can be kept: nothing but folders, files and links in it, all with one time. Nothing is
//! followed on the way.

use std::path::Path;

use bulla_model::{CleanPath, Epoch};
use rustix::{
    fs::{AtFlags, FileType, OFlags, Stat, Timespec, Timestamps},
    io::Errno,
};

use crate::{
    dir::{self, Dir},
    error::{Error, Result},
    farm::Row,
    stamp::Stamp,
};

/// Tidies the folder; gives what is in it, in the order of the paths, and how many bytes its files have.
pub(super) fn tidy(root: &Dir, time: Epoch) -> Result<(Vec<Row>, u64)> {
    let fail = |path: &Path, errno| Error::io("keeping a cache", root.path().join(path), errno);
    let mut found = walk(root)?;
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    let times = {
        let at = Timespec { tv_sec: time.seconds().cast_signed(), tv_nsec: 0 };
        Timestamps { last_access: at, last_modification: at }
    };
    let set = |path: &Path, stat: &Stat| -> rustix::io::Result<()> {
        let (mode, kind) = (stat.st_mode & 0o7777, dir::kind_of(stat));
        let wanted = mode & 0o777 | if kind.is_dir() { 0o700 } else { 0o600 };
        if mode != wanted && !kind.is_symlink() {
            let fd = dir::open_at(root, path, OFlags::PATH | OFlags::NOFOLLOW, 0)?;
            dir::chmod_path_fd(&fd, wanted)?;
        }
        rustix::fs::utimensat(root, path, &times, AtFlags::SYMLINK_NOFOLLOW)
    };
    // What is in a folder before the folder, whose own time changes with it.
    for (path, stat) in found.iter().rev() {
        set(path.as_ref(), stat).map_err(|e| fail(path.as_ref(), e))?;
    }
    let top = Path::new(".");
    set(top, &rustix::fs::fstat(root).map_err(|e| fail(top, e))?).map_err(|e| fail(top, e))?;
    let mut rows = Vec::with_capacity(found.len() + 1);
    let mut bytes = 0;
    for path in [None].into_iter().chain(found.into_iter().map(|(path, _)| Some(path))) {
        let at = path.as_ref().map_or(top, AsRef::as_ref);
        let stat = dir::stat_at(root, at).map_err(|e| fail(at, e))?;
        let stamp = Stamp::of(&stat);
        bytes += if dir::kind_of(&stat).is_file() { stamp.size } else { 0 };
        rows.push(Row { path, stamp, linked: false });
    }
    Ok((rows, bytes))
}

/// Lists all that is in a folder, and removes what cannot be kept: sockets, pipes, and names that no tree can have.
fn walk(root: &Dir) -> Result<Vec<(CleanPath, Stat)>> {
    let mut found = Vec::new();
    let mut waiting: Vec<Option<CleanPath>> = vec![None];
    while let Some(at) = waiting.pop() {
        let place = at.as_ref().map_or(Path::new("."), AsRef::as_ref);
        let fail = |errno: Errno| Error::io("keeping a cache", root.path().join(place), errno);
        if at.is_some() {
            dir::make_enterable(root, place).map_err(fail)?;
        }
        let folder =
            dir::open_at(root, place, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW, 0).map_err(fail)?;
        for name in dir::list(&folder).map_err(fail)? {
            let stat = dir::stat_at(&folder, dir::name(&name)).map_err(fail)?;
            let path = CleanPath::parse(&name).and_then(|short| match &at {
                Some(at) => at.join(&short),
                None => Ok(short),
            });
            match (path, dir::kind_of(&stat)) {
                (Ok(path), FileType::Directory) => {
                    waiting.push(Some(path.clone()));
                    found.push((path, stat));
                }
                (Ok(path), FileType::RegularFile | FileType::Symlink) => found.push((path, stat)),
                _ => dir::remove_all(&folder, dir::name(&name)).map_err(fail)?,
            }
        }
    }
    Ok(found)
}

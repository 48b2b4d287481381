//! Makes the directory of a farm in scratch: directories first, then the links on all threads.

use std::{path::Path, sync::Arc};

use bulla_model::{CleanPath, Epoch};
use rustix::{
    fs::{AtFlags, Mode as Bits, OFlags},
    io::Errno,
};

use crate::{
    blob,
    dir::{self, Dir},
    error::{Error, Result},
    farm::Row,
    parallel,
    stamp::Stamp,
    store::{Inner, Scratch, make_dir, make_file},
    tree::at,
};

/// What a farm is made of.
#[derive(Default)]
pub(crate) struct Plan<'a> {
    /// Paths and modes, each after the directory that it lies in.
    pub(crate) directories: Vec<(CleanPath, u32)>,
    /// Symbolic links that are made for this farm, and their targets.
    pub(crate) symlinks: Vec<(&'a CleanPath, &'a [u8])>,
    /// What is linked from elsewhere.
    pub(crate) jobs: Vec<Job<'a>>,
    /// The time of the directories.
    pub(crate) time: Epoch,
}

/// One link to make.
pub(crate) struct Job<'a> {
    /// The directory that `name` is beneath.
    pub(crate) from: &'a Dir,
    /// What is linked.
    pub(crate) name: &'a Path,
    /// Where to.
    pub(crate) to: &'a CleanPath,
    /// The stamp that it had when it was checked.
    pub(crate) stamp: Stamp,
}

/// Makes the directory; gives the draft, with the directory as `root` in it, and the rows of the record.
pub(crate) fn plant(inner: &Arc<Inner>, plan: &Plan<'_>) -> Result<(Scratch, Vec<Row>)> {
    let draft = Scratch::new(inner, "farm")?;
    draft.folder("root", 0o755)?;
    let root = inner.scratch.sub(Path::new(draft.name()).join("root"))?;
    for (path, mode) in &plan.directories {
        make_dir(&root, path, *mode, inner.owner)
            .map_err(|e| Error::io("making the directory", root.path().join(path), e))?;
    }
    let mut rows = parallel::map(&plan.jobs, |job| link(inner, &root, job))?;
    for (path, target) in &plan.symlinks {
        rows.push(symlink(inner, &root, plan.time, path, target)?);
    }
    for (path, _) in plan.directories.iter().rev() {
        let fail = |e: Errno| Error::io("finishing", root.path().join(path), e);
        rustix::fs::utimensat(&root, AsRef::<Path>::as_ref(path), &at(plan.time), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(fail)?;
        let stat = dir::stat_at(&root, path).map_err(fail)?;
        rows.push(Row { path: Some(path.clone()), stamp: Stamp::of(&stat), linked: false });
    }
    let fail = |e: Errno| Error::io("finishing", root.path(), e);
    rustix::fs::futimens(&root, &at(plan.time)).map_err(fail)?;
    let stat = rustix::fs::fstat(&root).map_err(fail)?;
    rows.push(Row { path: None, stamp: Stamp::of(&stat), linked: false });
    rows.sort_by(|a, b| a.path.cmp(&b.path));
    Ok((draft, rows))
}

fn link(inner: &Inner, root: &Dir, job: &Job<'_>) -> Result<Row> {
    let to: &Path = job.to.as_ref();
    let fail = |e: Errno| Error::io("linking", root.path().join(to), e);
    match rustix::fs::linkat(job.from, job.name, root, to, AtFlags::empty()) {
        Ok(()) => Ok(Row { path: Some(job.to.clone()), stamp: job.stamp, linked: true }),
        Err(Errno::MLINK) => {
            copy(inner, root, job).map_err(fail)?;
            let stamp = Stamp::of(&dir::stat_at(root, to).map_err(fail)?);
            Ok(Row { path: Some(job.to.clone()), stamp, linked: false })
        }
        Err(error) => Err(fail(error)),
    }
}

fn symlink(inner: &Inner, root: &Dir, time: Epoch, path: &CleanPath, target: &[u8]) -> Result<Row> {
    let to: &Path = path.as_ref();
    let fail = |e: Errno| Error::io("making the link", root.path().join(to), e);
    rustix::fs::symlinkat(dir::name(target), root, to).map_err(fail)?;
    if let Some(owner) = inner.owner {
        let (uid, gid) = (rustix::fs::Uid::from_raw(owner.uid), rustix::fs::Gid::from_raw(owner.gid));
        rustix::fs::chownat(root, to, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).map_err(fail)?;
    }
    rustix::fs::utimensat(root, to, &at(time), AtFlags::SYMLINK_NOFOLLOW).map_err(fail)?;
    let stamp = Stamp::of(&dir::stat_at(root, to).map_err(fail)?);
    Ok(Row { path: Some(path.clone()), stamp, linked: false })
}

/// The inode has as many names as the file system allows: the farm gets a copy.
fn copy(inner: &Inner, root: &Dir, job: &Job<'_>) -> rustix::io::Result<()> {
    let from = dir::open_at(job.from, job.name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK, 0)?;
    let stat = rustix::fs::fstat(&from)?;
    let file = make_file(root, job.to, 0o600, inner.owner)?;
    blob::clone_or_copy(&from.into(), &file).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    rustix::fs::fchmod(&file, Bits::from_raw_mode(stat.st_mode & 0o7777))?;
    rustix::fs::futimens(&file, &crate::farm::copy::times(&stat))
}

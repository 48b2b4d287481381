//! Waits until something of a project changes (inotify(7)).
//!
//! The watch is set up before a build reads anything, so that what changes while it runs counts as well. It is made anew for
//! each build, which also finds new folders.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    io::{self, ErrorKind},
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bulla_build::source::OUTPUT_FOLDER;
use bulla_model::{Fault, Kind, spec::WORKSPACE_FILE};
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags},
    io::Errno,
};

use crate::{
    error::{CliError, Result},
    interrupt::Interrupt,
};

/// The most folders that are watched.
const MAX_FOLDERS: usize = 200_000;
/// For how long nothing may change before a build begins: an editor writes a file in several strokes.
const QUIET: Duration = Duration::from_millis(150);
/// For how long a build is put off at most while files go on changing.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often it is looked whether the user wants to stop.
const TICK: Duration = Duration::from_millis(100);

/// The files of a project's folder that Bulla writes itself, and folders that belong to others.
const NOT_WATCHED: [&str; 3] = [OUTPUT_FOLDER, "bulla.lock", ".git"];

/// The host does not let all folders be watched.
#[derive(Debug, thiserror::Error)]
enum WatchError {
    #[error("watching {}", path.display())]
    Refused {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} has more than {MAX_FOLDERS} folders, and they cannot all be watched", path.display())]
    TooMany { path: PathBuf },
}

impl Fault for WatchError {
    fn kind(&self) -> Kind {
        Kind::Environment
    }

    fn hints(&self) -> Vec<String> {
        let full =
            |error: &io::Error| Errno::from_io_error(error).is_some_and(|e| e == Errno::NOSPC || e == Errno::MFILE);
        match self {
            Self::Refused { source, .. } if full(source) => vec![
                "this user watches too much at once: `sysctl fs.inotify.max_user_watches=1048576 fs.inotify.max_user_instances=1024`"
                    .into(),
            ],
            Self::TooMany { .. } => vec!["let `path` of the source name a smaller folder".into()],
            _ => Vec::new(),
        }
    }
}

/// Folders that are watched.
pub(crate) struct Watch {
    inotify: OwnedFd,
    folders: BTreeMap<i32, PathBuf>,
    /// What is written by the build itself.
    outputs: Vec<PathBuf>,
    /// A folder of which the workspace's file alone counts.
    workspace: Option<PathBuf>,
}

impl Watch {
    /// Watches the folder of a spec for itself, these folders with all in them, and the file of a workspace. What lies beneath
    /// `outputs` does not count.
    ///
    /// # Errors
    /// When the host does not let so much be watched.
    pub(crate) fn new(
        spec: &Path,
        trees: &[PathBuf],
        outputs: Vec<PathBuf>,
        workspace: Option<PathBuf>,
    ) -> Result<Self> {
        let flags = CreateFlags::CLOEXEC | CreateFlags::NONBLOCK;
        let inotify = inotify::init(flags)
            .map_err(|errno| WatchError::Refused { path: spec.to_owned(), source: errno.into() })?;
        let mut watch = Self { inotify, folders: BTreeMap::new(), outputs, workspace: None };
        watch.add(spec)?;
        for tree in trees {
            watch.add_all(tree)?;
        }
        if let Some(folder) = workspace.filter(|folder| !watch.folders.values().any(|watched| watched == folder)) {
            watch.add(&folder)?;
            watch.workspace = Some(folder);
        }
        Ok(watch)
    }

    fn add(&mut self, folder: &Path) -> Result<()> {
        let flags = WatchFlags::CLOSE_WRITE
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::ATTRIB
            | WatchFlags::MODIFY
            | WatchFlags::ONLYDIR;
        match inotify::add_watch(&self.inotify, folder, flags) {
            Ok(number) => {
                self.folders.insert(number, folder.to_owned());
                Ok(())
            }
            // It went away meanwhile; the folder above tells that.
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
            Err(errno) => Err(WatchError::Refused { path: folder.to_owned(), source: errno.into() }.into()),
        }
    }

    fn add_all(&mut self, tree: &Path) -> Result<()> {
        let mut open = vec![tree.to_owned()];
        while let Some(folder) = open.pop() {
            if self.folders.len() >= MAX_FOLDERS {
                return Err(WatchError::TooMany { path: tree.to_owned() }.into());
            }
            self.add(&folder)?;
            let entries = match fs_err::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => continue,
                Err(error) => return Err(CliError::file(error)),
            };
            let inner =
                entries.filter_map(io::Result::ok).filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            open.extend(inner.map(|entry| entry.path()).filter(|path| self.counts(path)));
        }
        Ok(())
    }

    /// Says whether a change of a path is one that a build may see.
    fn counts(&self, path: &Path) -> bool {
        let own = path.file_name().and_then(OsStr::to_str).is_some_and(|name| {
            // Files that are written whole have such names before they are renamed.
            NOT_WATCHED.contains(&name) || name.starts_with(".bulla")
        });
        let of_others = self.workspace.as_deref().is_some_and(|folder| path.parent() == Some(folder))
            && path.file_name().is_none_or(|name| name != WORKSPACE_FILE);
        !own && !of_others && !self.outputs.iter().any(|output| path.starts_with(output))
    }

    /// Waits until something has changed and then nothing for a moment; gives what changed first, and how much in all.
    ///
    /// # Errors
    /// [`CliError::Interrupted`], when the user wants to stop.
    pub(crate) fn wait(&self, interrupt: &Interrupt) -> Result<(PathBuf, usize)> {
        let (mut first, mut count) = (None, 0);
        let (mut began, mut last) = (Instant::now(), Instant::now());
        loop {
            interrupt.check()?;
            for path in self.changed()? {
                if first.is_none() {
                    began = Instant::now();
                    first = Some(path);
                }
                (count, last) = (count + 1, Instant::now());
            }
            if let Some(first) = &first
                && (last.elapsed() >= QUIET || began.elapsed() >= PATIENCE)
            {
                return Ok((first.clone(), count));
            }
            let tick = if first.is_some() { QUIET.saturating_sub(last.elapsed()).min(TICK) } else { TICK };
            let timeout = Timespec::try_from(tick + Duration::from_millis(1)).ok();
            match rustix::event::poll(&mut [PollFd::new(&self.inotify, PollFlags::IN)], timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(CliError::file(errno.into())),
            }
        }
    }

    /// Gives the paths that changed since the last call, and count.
    fn changed(&self) -> Result<Vec<PathBuf>> {
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        let mut changed = Vec::new();
        loop {
            match reader.next() {
                Ok(event) if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => changed.push(PathBuf::from("much")),
                Ok(event) => {
                    let folder = self.folders.get(&event.wd());
                    let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
                    if let (Some(folder), Some(name)) = (folder, name) {
                        changed.push(folder.join(name));
                    }
                }
                Err(Errno::AGAIN | Errno::INTR) => break,
                Err(errno) => return Err(CliError::file(errno.into())),
            }
        }
        changed.retain(|path| self.counts(path));
        Ok(changed)
    }
}

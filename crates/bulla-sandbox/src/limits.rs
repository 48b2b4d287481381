//! The ladder of limits: a delegated cgroup of version 2, else cgroups of version 1, else resource limits with a
//! supervisor that measures. Which rung was in force is part of the outcome.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{
    error::Error,
    outcome::{Limit, Rung},
    request::Limits,
};

/// The place where cgroups of sandboxes can be made; found once.
#[derive(Debug, Clone)]
pub(crate) enum Ladder {
    V2 { parent: PathBuf },
    V1 { memory: PathBuf, pids: PathBuf },
    Rlimits,
}

/// The cgroups of one helper and of the sandbox that it runs; they are removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Cage {
    rung: Rung,
    /// The group that limits memory, and the one that limits processes; of version 2 they are one.
    groups: Option<(PathBuf, PathBuf)>,
    /// The files that tell how often the kernel enforced each limit, open for as long as runs are counted.
    told: (Option<File>, Option<File>),
    /// What is set: memory and processes.
    set: Option<(u64, u32)>,
    /// How often the kernel had enforced each limit when the run began.
    before: (u64, u64),
}

impl Ladder {
    /// Finds the best rung by trying.
    pub(crate) fn find() -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let v2 = own_group(&mounts, &own, None).and_then(|own| v2_parent(&own.mount, &own.path));
        if let Some(parent) = v2.filter(|parent| writable(parent)) {
            return Self::V2 { parent };
        }
        let v1 = |controller| {
            own_group(&mounts, &own, Some(controller)).map(|own| own.path).filter(|parent| writable(parent))
        };
        match (v1("memory"), v1("pids")) {
            (Some(memory), Some(pids)) => Self::V1 { memory, pids },
            _ => Self::Rlimits,
        }
    }

    /// Removes the cgroups of callers that were killed before they could.
    pub(crate) fn sweep(&self) {
        let parents: &[&PathBuf] = match self {
            Self::V2 { parent } => &[parent],
            Self::V1 { memory, pids } => &[memory, pids],
            Self::Rlimits => &[],
        };
        for entry in parents.iter().filter_map(|parent| fs::read_dir(parent).ok()).flatten().flatten() {
            let name = entry.file_name();
            let caller = name.to_str().and_then(|name| name.strip_prefix("bulla-")?.split_once('-'));
            let alive = |pid: &str| pid.parse::<u32>().is_err() || Path::new("/proc").join(pid).exists();
            if caller.is_some_and(|(pid, _)| !alive(pid)) {
                // A group that still has processes cannot be removed.
                let _ = fs::remove_dir(entry.path());
            }
        }
    }

    pub(crate) const fn rung(&self) -> Rung {
        match self {
            Self::V2 { .. } => Rung::CgroupV2,
            Self::V1 { .. } => Rung::CgroupV1,
            Self::Rlimits => Rung::Rlimits,
        }
    }

    /// Makes the cgroups for one helper.
    pub(crate) fn cage(&self) -> Result<Cage, Error> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = format!("bulla-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut cage = Cage { rung: self.rung(), groups: None, told: (None, None), set: None, before: (0, 0) };
        match self {
            Self::Rlimits => (),
            Self::V1 { memory, pids } => {
                let memory = made(memory, &name)?;
                // Set at once, so that a failure below removes it.
                cage.groups = Some((memory.clone(), memory.clone()));
                cage.groups = Some((memory, made(pids, &name)?));
            }
            Self::V2 { parent } => {
                let group = made(parent, &name)?;
                cage.groups = Some((group.clone(), group));
            }
        }
        if let Some((memory, pids)) = &cage.groups {
            let kills = if cage.rung == Rung::CgroupV1 { "memory.oom_control" } else { "memory.events" };
            cage.told = (File::open(memory.join(kills)).ok(), File::open(pids.join("pids.events")).ok());
        }
        Ok(cage)
    }
}

impl Cage {
    pub(crate) const fn rung(&self) -> Rung {
        self.rung
    }

    /// Gives the files by which the helper enters the groups itself, before it does anything else; see [`enter`]. There are none
    /// where it is to be put there with [`Cage::hold`].
    pub(crate) fn entrances(&self) -> Result<Vec<PathBuf>, Error> {
        let Some((memory, pids)) = self.groups.as_ref().filter(|_| self.rung == Rung::CgroupV1) else {
            return Ok(Vec::new());
        };
        let entrances = vec![memory.join("tasks"), pids.join("tasks")];
        // What the helper may not write is told here, where somebody hears it.
        for path in &entrances {
            let opened = fs::OpenOptions::new().write(true).open(path);
            opened.map_err(|source| Error::File { verb: "opening the cgroup", path: path.clone(), source })?;
        }
        Ok(entrances)
    }

    /// Puts the helper in, where it does not enter by itself; what it clones is born there.
    pub(crate) fn hold(&self, pid: u32) -> Result<(), Error> {
        match &self.groups {
            Some((group, _)) if self.rung == Rung::CgroupV2 => write(&group.join("cgroup.procs"), &pid.to_string()),
            _ => Ok(()),
        }
    }

    /// Sets the limits of the next run.
    pub(crate) fn limit(&mut self, limits: &Limits) -> Result<(), Error> {
        self.before = self.counts();
        let Some((memory, pids)) = &self.groups else { return Ok(()) };
        if self.set == Some((limits.memory, limits.processes)) {
            return Ok(());
        }
        let bytes = limits.memory.to_string();
        if self.rung == Rung::CgroupV1 {
            // Memory with swap is never below memory, so it is lifted before. It is missing where swap is not counted.
            let with_swap = memory.join("memory.memsw.limit_in_bytes");
            let _ = fs::write(&with_swap, "-1");
            write(&memory.join("memory.limit_in_bytes"), &bytes)?;
            let _ = fs::write(with_swap, &bytes);
        } else {
            write(&memory.join("memory.max"), &bytes)?;
            let _ = fs::write(memory.join("memory.swap.max"), "0");
        }
        // The helper and the first process of the sandbox are ours.
        write(&pids.join("pids.max"), &(u64::from(limits.processes) + 2).to_string())?;
        self.set = Some((limits.memory, limits.processes));
        Ok(())
    }

    /// Says which limits the kernel had to enforce in this run.
    pub(crate) fn reached(&self) -> Vec<Limit> {
        let now = self.counts();
        let reached = [(now.0 > self.before.0, Limit::Memory), (now.1 > self.before.1, Limit::Processes)];
        reached.into_iter().filter(|(reached, _)| *reached).map(|(_, limit)| limit).collect()
    }

    fn counts(&self) -> (u64, u64) {
        let (memory, pids) = &self.told;
        (count(memory.as_ref(), "oom_kill "), count(pids.as_ref(), "max "))
    }
}

/// Enters a cgroup of version 1 by its `tasks`. The caller must have one thread.
///
/// A thread that moves itself does not have to wait until no thread anywhere forks or ends: whoever moves a process waits for
/// that, about ten milliseconds.
pub(crate) fn enter(tasks: &Path) -> io::Result<()> {
    io::Write::write_all(&mut fs::OpenOptions::new().write(true).open(tasks)?, b"0")
}

fn count(file: Option<&File>, key: &str) -> u64 {
    // The files have a few short lines, which the kernel writes anew for each read of their beginning.
    let mut text = [0; 1024];
    let length = file.and_then(|file| file.read_at(&mut text, 0).ok()).unwrap_or(0);
    let text = std::str::from_utf8(text.get(..length).unwrap_or_default()).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok()).unwrap_or(0)
}

impl Drop for Cage {
    fn drop(&mut self) {
        for group in self.groups.iter().flat_map(|(memory, pids)| [memory, pids]) {
            let _ = fs::remove_dir(group);
        }
    }
}

fn made(parent: &Path, name: &str) -> Result<PathBuf, Error> {
    let path = parent.join(name);
    match fs::create_dir(&path) {
        Ok(()) => Ok(path),
        Err(source) => Err(Error::File { verb: "making the cgroup", path, source }),
    }
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|source: io::Error| Error::File {
        verb: "setting the limit",
        path: path.to_owned(),
        source,
    })
}

fn writable(parent: &Path) -> bool {
    let probe = parent.join(format!("bulla-probe-{}", std::process::id()));
    fs::create_dir(&probe).is_ok() && fs::remove_dir(&probe).is_ok()
}

struct OwnGroup {
    mount: PathBuf,
    path: PathBuf,
}

/// Finds this process's cgroup (`cgroups(7)`): of a controller of version 1, or of version 2.
fn own_group(mounts: &str, own: &str, controller: Option<&str>) -> Option<OwnGroup> {
    let mount = mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let (root, point) = left.split(' ').skip(3).next_tuple()?;
        let mut right = right.split(' ');
        let (kind, options) = (right.next()?, right.nth(1)?);
        let fits = match controller {
            None => kind == "cgroup2",
            Some(name) => kind == "cgroup" && options.split(',').any(|option| option == name),
        };
        fits.then(|| (root.to_owned(), PathBuf::from(point)))
    });
    let (root, mount) = mount?;
    let path = own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let fits = match controller {
            None => controllers.is_empty(),
            Some(name) => controllers.split(',').any(|one| one == name),
        };
        fits.then_some(path)
    })?;
    let below = Path::new(path).strip_prefix(&root).unwrap_or(Path::new(path));
    let below = below.strip_prefix("/").unwrap_or(below);
    Some(OwnGroup { path: mount.join(below), mount })
}

trait NextTuple: Iterator + Sized {
    fn next_tuple(mut self) -> Option<(Self::Item, Self::Item)> {
        Some((self.next()?, self.next()?))
    }
}

impl<I: Iterator> NextTuple for I {}

/// Finds the nearest group, from this process's own upwards, whose children may be limited.
fn v2_parent(mount: &Path, own: &Path) -> Option<PathBuf> {
    own.ancestors().take_while(|group| group.starts_with(mount)).find_map(|group| {
        let controllers = fs::read_to_string(group.join("cgroup.subtree_control")).ok()?;
        let has = |name| controllers.split_whitespace().any(|one| one == name);
        (has("memory") && has("pids")).then(|| group.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_group_is_found_in_both_versions() {
        let mounts = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n\
                      31 23 0:27 /docker/1 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let own = "4:memory:/docker/1/x\n0::/user.slice/a.scope\n";
        let v2 = own_group(mounts, own, None).expect("version 2");
        assert_eq!(v2.path, Path::new("/sys/fs/cgroup/user.slice/a.scope"));
        let v1 = own_group(mounts, own, Some("memory")).expect("version 1");
        assert_eq!(v1.path, Path::new("/sys/fs/cgroup/memory/x"));
        assert!(own_group(mounts, own, Some("pids")).is_none());
    }

    #[test]
    fn groups_of_the_dead_are_swept_and_others_are_not() {
        let parent = tempfile::tempdir().expect("a folder");
        let own = format!("bulla-{}-0", std::process::id());
        for name in ["bulla-4294967295-0", own.as_str(), "bulla-other-0", "system.slice"] {
            fs::create_dir(parent.path().join(name)).expect("a folder");
        }
        Ladder::V2 { parent: parent.path().to_owned() }.sweep();
        let mut left: Vec<_> =
            fs::read_dir(parent.path()).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
        left.sort();
        assert_eq!(left, [own.as_str(), "bulla-other-0", "system.slice"]);
    }

    #[test]
    fn a_helper_enters_groups_of_version_1_alone_and_they_must_be_open_to_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let groups = ["memory", "pids"].map(|name| folder.path().join(name));
        groups.iter().for_each(|group| fs::create_dir(group).expect("a folder"));
        let [memory, pids] = groups.clone();
        let mut cage =
            Cage { rung: Rung::CgroupV1, groups: Some((memory, pids)), told: (None, None), set: None, before: (0, 0) };
        let error = cage.entrances().expect_err("there is nothing to write to");
        assert!(error.to_string().contains("memory/tasks"), "{error}");
        groups.iter().for_each(|group| fs::write(group.join("tasks"), "").expect("a file"));
        for entrance in cage.entrances().expect("both") {
            enter(&entrance).expect("entered");
            assert_eq!(fs::read(entrance).expect("written"), b"0");
        }
        cage.rung = Rung::CgroupV2;
        assert!(cage.entrances().expect("none").is_empty(), "it is put there");
    }

    #[test]
    fn only_a_group_with_both_controllers_is_a_parent() {
        let mount = tempfile::tempdir().expect("a folder");
        let own = mount.path().join("user/a.scope");
        fs::create_dir_all(&own).expect("folders");
        fs::write(own.join("cgroup.subtree_control"), "memory\n").expect("file");
        assert_eq!(v2_parent(mount.path(), &own), None);
        let user = mount.path().join("user");
        fs::write(user.join("cgroup.subtree_control"), "cpu memory pids\n").expect("file");
        assert_eq!(v2_parent(mount.path(), &own), Some(user));
    }
}

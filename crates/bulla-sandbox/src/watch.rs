//! What a supervisor measures itself where the kernel does not limit it: disk space always, memory without cgroups.
//!
//! A cheap figure is taken at each tick; only when it goes over the limit is the exact one taken, which costs more.

use std::{
    collections::BTreeSet,
    fs,
    os::{fd::RawFd, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    outcome::{Limit, Rung},
    request::Limits,
};

const TICK: Duration = Duration::from_millis(50);
const SLOWEST_TICK: Duration = Duration::from_secs(2);
/// How many looks at what is free come for each count of what the run wrote: others may give space back meanwhile.
const LOOKS: u32 = 20;
/// What a build always leaves of a disk, in bytes.
const RESERVE: u64 = 64 << 20;

/// Measures one run.
pub(crate) struct Watch {
    /// The directory that shows the processes inside, as a path.
    proc: String,
    /// The shared memory of the processes inside, as a path.
    shared: String,
    /// What the run writes to: the upper directory first.
    disk: Vec<PathBuf>,
    free_at_start: u64,
    memory_limit: Option<u64>,
    disk_limit: u64,
    looks: u32,
    last: Instant,
    tick: Duration,
    page: u64,
}

impl Watch {
    /// Prepares to measure; both descriptors must stay open as long.
    pub(crate) fn new(proc: RawFd, root: RawFd, disk: Vec<PathBuf>, limits: &Limits, rung: Rung) -> Self {
        Self {
            proc: format!("/proc/self/fd/{proc}"),
            shared: format!("/proc/self/fd/{root}/dev/shm"),
            free_at_start: free_of(&disk).unwrap_or(u64::MAX),
            disk,
            memory_limit: (rung == Rung::Rlimits).then_some(limits.memory),
            disk_limit: limits.disk,
            looks: 0,
            last: Instant::now(),
            tick: TICK,
            page: rustix::param::page_size() as u64,
        }
    }

    /// Gives the time until the next measurement.
    pub(crate) fn due(&self) -> Duration {
        self.tick.saturating_sub(self.last.elapsed())
    }

    /// Measures when it is time, and gives the limit that the run has gone over.
    pub(crate) fn check(&mut self) -> Option<Limit> {
        if !self.due().is_zero() {
            return None;
        }
        let begin = Instant::now();
        let limit = if self.memory_is_over() {
            Some(Limit::Memory)
        } else if self.disk_is_over() {
            Some(Limit::Disk)
        } else {
            None
        };
        // Measuring takes at most a twentieth of the time, however many processes or files there are.
        self.tick = TICK.max(begin.elapsed() * 20).min(SLOWEST_TICK);
        self.last = Instant::now();
        limit
    }

    fn memory_is_over(&self) -> bool {
        let Some(limit) = self.memory_limit else { return false };
        let pids = || {
            let entries = fs::read_dir(&self.proc).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).filter(|path| {
                path.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit))
            })
        };
        let shared = used_of_file_system(&self.shared);
        let quick: u64 = pids().filter_map(|path| self.private_pages(&path)).sum::<u64>() * self.page + shared;
        // Pages that processes share after a fork are counted in each of them: ask for their proportional size.
        quick > limit && pids().filter_map(|path| proportional(&path)).sum::<u64>() + shared > limit
    }

    fn private_pages(&self, process: &Path) -> Option<u64> {
        let text = fs::read_to_string(process.join("statm")).ok()?;
        let mut fields = text.split(' ').skip(1).map(|field| field.trim().parse::<u64>().unwrap_or(0));
        let (resident, shared) = (fields.next()?, fields.next()?);
        Some(resident.saturating_sub(shared))
    }

    fn disk_is_over(&mut self) -> bool {
        let Ok(free) = free_of(&self.disk) else { return false };
        if free < RESERVE && free < self.free_at_start {
            return true;
        }
        // Others write to this disk and free it too: only what lies where the run writes counts, and that is counted where it may be too
        // much, and now and then whatever is free.
        self.looks = (self.looks + 1) % LOOKS;
        let is_due = self.looks == 0 || self.free_at_start.saturating_sub(free) > self.disk_limit;
        is_due && self.disk.iter().map(|path| used(path)).sum::<u64>() > self.disk_limit
    }
}

/// Gives what is free where a run writes; all of it lies on one disk.
fn free_of(disk: &[PathBuf]) -> Result<u64, rustix::io::Errno> {
    disk.first().ok_or(rustix::io::Errno::NOENT).and_then(|path| free(path))
}

fn free(path: &Path) -> Result<u64, rustix::io::Errno> {
    rustix::fs::statvfs(path).map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Gives what is used of a file system in memory; 0 when it cannot be asked.
fn used_of_file_system(path: &str) -> u64 {
    rustix::fs::statvfs(path)
        .map(|stat| stat.f_blocks.saturating_sub(stat.f_bfree).saturating_mul(stat.f_frsize))
        .unwrap_or(0)
}

fn proportional(process: &Path) -> Option<u64> {
    let text = fs::read_to_string(process.join("smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss_Anon:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Adds up the blocks of a tree, a file with several names once, without leaving its file system.
fn used(root: &Path) -> u64 {
    let Ok(device) = root.symlink_metadata().map(|metadata| metadata.dev()) else { return 0 };
    let (mut total, mut seen, mut todo) = (0, BTreeSet::new(), vec![root.to_owned()]);
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.path().symlink_metadata() else { continue };
            if metadata.dev() != device || metadata.nlink() > 1 && !metadata.is_dir() && !seen.insert(metadata.ino()) {
                continue;
            }
            total += metadata.blocks() * 512;
            if metadata.is_dir() {
                todo.push(entry.path());
            }
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_two_names_is_counted_once() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("a"), vec![1; 1 << 20]).expect("file");
        let once = used(folder.path());
        fs::hard_link(folder.path().join("a"), folder.path().join("b")).expect("link");
        assert!(once >= 1 << 20);
        assert_eq!(used(folder.path()), once);
    }
}

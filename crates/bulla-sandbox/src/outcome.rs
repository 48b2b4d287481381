//! What a run gives back: how it ended, and the evidence of what it did and was not given.

use std::{collections::BTreeSet, fs::Metadata, time::Duration, time::UNIX_EPOCH};

use bulla_model::Digest;

pub use crate::journal::{Owned, Owners};
use crate::serve::Connection;

/// How a run ended, and what was seen of it.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// How the command ended.
    pub exit: Exit,
    /// What it tried and was not given, in the order of the first time; equal ones are counted once.
    pub refusals: Vec<Refusal>,
    /// Refusals that are not in the list, because it is bounded.
    pub refusals_dropped: u64,
    /// The programs that it started; best effort, since a racing thread can change what is read.
    pub executed: Vec<Executed>,
    /// Started programs that are not in the list, because it is bounded.
    pub executed_dropped: u64,
    /// The connections to the address at which the caller answers, in their order; best effort.
    pub connections: Vec<Connection>,
    /// Connections that are not in the list: it is bounded, or their port could not be told.
    pub connections_dropped: u64,
    /// The owners that it gave to files of the root, by inode of the upper directory (or of the copy).
    pub owners: Owners,
    /// What it used up.
    pub usage: Usage,
    /// What was enforced.
    pub isolation: Isolation,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It ended by itself with this code; 0 is success.
    Code(i32),
    /// It was ended by this signal, which came from inside.
    Signal(i32),
    /// It went over a limit, and was ended with all its processes.
    Limit(Limit),
    /// The caller ended it with [`crate::Cancel`].
    Cancelled,
    /// It was ended at its first refusal, as the request asked.
    Refused,
}

impl Exit {
    /// Says whether the command succeeded.
    pub const fn success(self) -> bool {
        matches!(self, Self::Code(0))
    }
}

/// A limit of [`crate::Limits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// Memory of all processes together.
    Memory,
    /// Processes and threads at one time.
    Processes,
    /// Disk space, or the disk is nearly full.
    Disk,
    /// Wall-clock time.
    Time,
    /// Bytes of output.
    Output,
}

/// What a refusal was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefusalKind {
    /// A connection (`connect`).
    Connect,
    /// A datagram (`sendto`, `sendmsg`, `sendmmsg`).
    Send,
    /// The look-up of a name.
    Lookup,
}

/// Something that the command tried and was not given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What was tried.
    pub kind: RefusalKind,
    /// The address and port, or the name.
    pub target: String,
    /// The process inside that tried; 0 when it is not known.
    pub pid: u32,
    /// The program of that process, as a path inside; empty when it is not known.
    pub executable: String,
    /// The words of that process, joined with spaces and cut at 1 KiB.
    pub command_line: String,
    /// When, since the start of the run.
    pub at: Duration,
    /// How often the same was tried by the same program.
    pub times: u64,
}

/// A program that was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// The path inside that was asked for.
    pub executable: String,
    /// The words, cut at 64 words and 4 KiB.
    pub argv: Vec<String>,
    /// Whether words were cut off.
    pub argv_cut: bool,
    /// The process (or thread) inside that asked first.
    pub pid: u32,
    /// How often the same words were seen.
    pub times: u64,
}

/// What a run used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Processor time of the processes that were waited for, in user and system mode.
    pub cpu: Duration,
    /// The largest resident size of one process, in bytes.
    pub max_rss: u64,
    /// Wall-clock time from the request to the end of the last process.
    pub wall: Duration,
    /// Bytes that came on standard output and standard error, those dropped included.
    pub output: u64,
    /// Bytes of output that went over the limit and were dropped.
    pub output_dropped: u64,
}

/// How limits were enforced, from the best to the weakest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rung {
    /// A cgroup of version 2 that was delegated to the caller.
    CgroupV2,
    /// Cgroups of version 1 for memory and processes.
    CgroupV1,
    /// Resource limits, and a supervisor that measures memory and ends the run.
    Rlimits,
}

/// What was enforced during a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Isolation {
    /// The namespaces that were new.
    pub namespaces: &'static [&'static str],
    /// The digest of the filter program that decided on system calls.
    pub filter: Digest,
    /// How limits were enforced.
    pub rung: Rung,
    /// Whether the root was an overlay (or else a copy).
    pub overlay: bool,
    /// The uid of the host that uid 0 inside was.
    pub host_uid: u32,
    /// The capabilities that the command had inside its user namespace.
    pub capabilities: u64,
    /// The machine that was emulated, where one was.
    pub emulated: Option<String>,
    /// The limits that were reached, though the run may have gone on.
    pub limits_reached: BTreeSet<Limit>,
}

impl Owners {
    /// Gives the owner that the command gave to a file, from the metadata of the file in the upper directory
    /// (taken without following links).
    pub fn of(&self, metadata: &Metadata) -> Option<Owned> {
        use std::os::unix::fs::MetadataExt as _;
        let born = metadata.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        self.lookup(metadata.ino(), born)
    }
}

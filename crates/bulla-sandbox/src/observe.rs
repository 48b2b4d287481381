//! The records of what a command tried and started: equal ones are counted once, and every list is bounded.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    outcome::{Executed, Refusal, RefusalKind},
    serve::Connections,
};

const MAX_REFUSALS: usize = 1000;
const MAX_EXECUTED: usize = 10_000;
const MAX_EXECUTED_BYTES: usize = 4 << 20;
const MAX_TEXT: usize = 1024;

/// A process as it is shown in a record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) executable: String,
    pub(crate) command_line: String,
}

/// The records of one run.
#[derive(Default)]
pub(crate) struct Records {
    pub(crate) refusals: Vec<Refusal>,
    pub(crate) refusals_dropped: u64,
    pub(crate) executed: Vec<Executed>,
    pub(crate) executed_dropped: u64,
    pub(crate) connections: Connections,
    executed_bytes: usize,
    known_refusals: BTreeMap<(RefusalKind, String, String), usize>,
    known_executed: BTreeMap<(String, Vec<String>), usize>,
}

impl Records {
    pub(crate) fn refused(&mut self, kind: RefusalKind, target: String, by: Process, at: Duration) {
        let key = (kind, target.clone(), by.executable.clone());
        if let Some(refusal) = self.known_refusals.get(&key).and_then(|index| self.refusals.get_mut(*index)) {
            refusal.times += 1;
        } else if self.refusals.len() >= MAX_REFUSALS {
            self.refusals_dropped += 1;
        } else {
            self.known_refusals.insert(key, self.refusals.len());
            let Process { pid, executable, command_line } = by;
            self.refusals.push(Refusal { kind, target, pid, executable, command_line, at, times: 1 });
        }
    }

    pub(crate) fn executed(
        &mut self,
        executable: String,
        argv: Vec<String>,
        argv_cut: bool,
        pid: impl FnOnce() -> u32,
    ) {
        let key = (executable, argv);
        if let Some(record) = self.known_executed.get(&key).and_then(|index| self.executed.get_mut(*index)) {
            record.times += 1;
        } else if self.executed.len() >= MAX_EXECUTED || self.executed_bytes >= MAX_EXECUTED_BYTES {
            self.executed_dropped += 1;
        } else {
            let (executable, argv) = key.clone();
            self.executed_bytes += executable.len() + argv.iter().map(String::len).sum::<usize>();
            self.known_executed.insert(key, self.executed.len());
            self.executed.push(Executed { executable, argv, argv_cut, pid: pid(), times: 1 });
        }
    }
}

/// Describes a process by its directory in a `/proc`, which ends with its number.
pub(crate) fn process(directory: &str) -> Process {
    let executable = std::fs::read_link(format!("{directory}/exe")).ok();
    let line = read_some(&format!("{directory}/cmdline"));
    let status = read_some(&format!("{directory}/status"));
    Process {
        pid: inner_pid(&status),
        executable: executable.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default(),
        command_line: words(&line).join(" "),
    }
}

/// Finds the process inside that has a UDP socket at a port of the sandbox's loopback.
///
/// `first` is the sandbox's first process as seen outside, `proc` an open directory of its processes.
pub(crate) fn owner_of_port(first: u32, proc: i32, port: u16) -> Option<Process> {
    let inode = ["udp", "udp6"].iter().find_map(|table| socket_inode(first, table, port))?;
    let wanted = format!("socket:[{inode}]");
    let proc = format!("/proc/self/fd/{proc}");
    let numbers = std::fs::read_dir(&proc).ok()?.flatten().filter_map(|entry| {
        entry.file_name().into_string().ok().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
    });
    numbers.map(|number| format!("{proc}/{number}")).find_map(|directory| {
        let fds = std::fs::read_dir(format!("{directory}/fd")).ok()?;
        let has =
            fds.flatten().any(|fd| std::fs::read_link(fd.path()).is_ok_and(|link| link.as_os_str() == wanted.as_str()));
        has.then(|| process(&directory))
    })
}

fn socket_inode(first: u32, table: &str, port: u16) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{first}/net/{table}")).ok()?;
    let suffix = format!(":{port:04X}");
    text.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let local = fields.nth(1)?;
        local.ends_with(&suffix).then(|| fields.nth(7)?.parse().ok())?
    })
}

/// Gives the process that a thread belongs to, as seen outside.
pub(crate) fn thread_group(pid: u32) -> Option<rustix::process::Pid> {
    let status = read_some(&format!("/proc/{pid}/status"));
    let text = String::from_utf8_lossy(&status);
    let line = text.lines().find_map(|line| line.strip_prefix("Tgid:"))?;
    rustix::process::Pid::from_raw(line.trim().parse().ok()?)
}

/// Gives the number of a process in its innermost namespace.
pub(crate) fn pid_inside(pid: u32) -> u32 {
    inner_pid(&read_some(&format!("/proc/{pid}/status")))
}

fn inner_pid(status: &[u8]) -> u32 {
    let text = String::from_utf8_lossy(status);
    let line = text.lines().find_map(|line| line.strip_prefix("NSpid:"));
    line.and_then(|pids| pids.split_whitespace().last()).and_then(|pid| pid.parse().ok()).unwrap_or(0)
}

fn words(line: &[u8]) -> Vec<String> {
    let line = line.strip_suffix(b"\0").unwrap_or(line);
    line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

fn read_some(path: &str) -> Vec<u8> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    if let Ok(file) = std::fs::File::open(path) {
        let limit = if path.ends_with("cmdline") { MAX_TEXT } else { 8 * MAX_TEXT };
        let _ = file.take(limit as u64).read_to_end(&mut bytes);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_refusals_are_counted_once_and_the_list_is_bounded() {
        let mut records = Records::default();
        for port in 0..2 * MAX_REFUSALS {
            for _ in 0..2 {
                let target = format!("192.0.2.1:{port}");
                records.refused(RefusalKind::Connect, target, Process::default(), Duration::ZERO);
            }
        }
        assert_eq!(records.refusals.len(), MAX_REFUSALS);
        assert!(records.refusals.iter().all(|refusal| refusal.times == 2));
        assert_eq!(records.refusals_dropped, 2 * MAX_REFUSALS as u64);
    }

    #[test]
    fn a_process_describes_itself() {
        let own = process("/proc/self");
        assert_eq!(own.pid, std::process::id());
        assert!(own.executable.contains("bulla_sandbox"), "{own:?}");
        assert!(own.command_line.contains("bulla_sandbox"));
    }
}

//! The answers to the calls that the filter hands over: refuse the network, keep the journal, note programs, give a
//! fixed system name.
//!
//! Other threads of the command can change what is read here. Nothing rests on it: the empty network namespace and the
//! single mapped uid are the enforcement, and this is the record and the courtesy of an answer at once.

use std::{
    ffi::{OsStr, OsString},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxFlags},
    io::Errno,
};

use crate::{
    fixed,
    journal::Owners,
    net,
    observe::{self, Records},
    outcome::RefusalKind,
    request::Request,
    sys::{self, Answer, Notification},
};

const MAX_PATH: usize = 4096;
const MAX_WORDS: usize = 64;
const MAX_ARGV: usize = 4096;
const MAX_MESSAGES: u64 = 64;
const MMSGHDR: u64 = 64;
const UTSNAME_FIELD: usize = 65;

/// Answers the notifications of one run.
pub(crate) struct Watcher {
    pub(crate) listener: OwnedFd,
    /// The root as it is seen inside.
    pub(crate) root: OwnedFd,
    /// The upper directory of the overlay; `None` when the root is a copy.
    pub(crate) upper: Option<OwnedFd>,
    pub(crate) hostname: String,
    /// The memory that the command is told of, in bytes.
    pub(crate) memory: u64,
    pub(crate) start: Instant,
    root_mount: u64,
    /// The port of the loopback on which the caller answers.
    listen: Option<u16>,
    /// The process that last sent something to the name sink.
    pub(crate) resolving: u32,
}

impl Watcher {
    pub(crate) fn new(
        listener: OwnedFd,
        root: OwnedFd,
        upper: Option<OwnedFd>,
        request: &Request,
        start: Instant,
    ) -> io::Result<Self> {
        let root_mount = mount_id(root.as_fd())?;
        sys::wake_in_turns(listener.as_fd());
        let (hostname, memory) = (request.hostname.clone(), request.limits.memory);
        let listen = request.listen;
        Ok(Self { listener, root, upper, hostname, memory, start, root_mount, listen, resolving: 0 })
    }

    /// Takes one notification and answers it.
    pub(crate) fn step(&mut self, records: &mut Records, owners: &mut Owners) -> Result<(), Errno> {
        let notification = match sys::notification(self.listener.as_fd()) {
            Ok(notification) => notification,
            // The process that asked was killed meanwhile.
            Err(Errno::NOENT | Errno::INTR) => return Ok(()),
            Err(errno) => return Err(errno),
        };
        let answer = self.decide(&notification, records, owners);
        sys::answer(self.listener.as_fd(), &notification, answer)
    }

    fn decide(&mut self, asked: &Notification, records: &mut Records, owners: &mut Owners) -> Answer {
        let [a, b, c, d, e, f] = asked.args;
        let fd = |value: u64| value as i32;
        match asked.call {
            libc::SYS_uname => self.system_name(asked.pid, a),
            libc::SYS_sysinfo => written(sys::poke(asked.pid, a, &fixed::sysinfo(self.memory))),
            libc::SYS_connect => self.reach(asked, RefusalKind::Connect, &[(b, c)], records),
            libc::SYS_sendto => self.reach(asked, RefusalKind::Send, &[(e, f)], records),
            libc::SYS_sendmsg => self.reach(asked, RefusalKind::Send, &message_name(asked.pid, b), records),
            libc::SYS_sendmmsg => {
                let names: Vec<_> = (0..(c & 0xffff_ffff).min(MAX_MESSAGES))
                    .flat_map(|index| message_name(asked.pid, b.wrapping_add(index * MMSGHDR)))
                    .collect();
                self.reach(asked, RefusalKind::Send, &names, records)
            }
            libc::SYS_execve => self.execute(asked, libc::AT_FDCWD, a, b, records),
            libc::SYS_execveat => self.execute(asked, fd(a), b, c, records),
            libc::SYS_fchown => self.own(asked, Target::Descriptor(fd(a)), b, c, owners),
            libc::SYS_chown | libc::SYS_lchown => {
                let follow = asked.call == libc::SYS_chown;
                self.own(asked, Target::Path { dir: libc::AT_FDCWD, address: a, follow }, b, c, owners)
            }
            libc::SYS_fchownat => {
                let flags = fd(e);
                let target =
                    if flags & libc::AT_EMPTY_PATH != 0 && path_at(asked.pid, b).is_ok_and(|path| path.is_empty()) {
                        Target::Descriptor(fd(a))
                    } else {
                        Target::Path { dir: fd(a), address: b, follow: flags & libc::AT_SYMLINK_NOFOLLOW == 0 }
                    };
                self.own(asked, target, c, d, owners)
            }
            _ => Answer::Continue,
        }
    }

    fn system_name(&self, pid: u32, address: u64) -> Answer {
        let mut name = [0; 6 * UTSNAME_FIELD];
        let fields = [fixed::SYSTEM, &self.hostname, fixed::RELEASE, fixed::VERSION, fixed::MACHINE, "(none)"];
        for (place, text) in name.chunks_exact_mut(UTSNAME_FIELD).zip(fields) {
            let length = text.len().min(UTSNAME_FIELD - 1);
            place[..length].copy_from_slice(&text.as_bytes()[..length]);
        }
        written(sys::poke(pid, address, &name))
    }

    /// Lets what stays inside go on; all else is recorded and refused at once, as the kernel would do.
    fn reach(
        &mut self,
        asked: &Notification,
        kind: RefusalKind,
        names: &[(u64, u64)],
        records: &mut Records,
    ) -> Answer {
        let addresses: Vec<SocketAddr> =
            names.iter().filter_map(|(at, length)| socket_address(asked.pid, *at, *length)).collect();
        if !addresses.is_empty() && !sys::still_waits(self.listener.as_fd(), asked) {
            return Answer::Continue;
        }
        if addresses.contains(&net::RESOLVER.into()) {
            self.resolving = asked.pid;
        }
        if kind == RefusalKind::Connect
            && let Some(to) = addresses.iter().find(|to| self.listen == Some(to.port()) && stays_inside(to.ip()))
        {
            let by = observe::process(&format!("/proc/{}", asked.pid));
            records.connections.note(asked.pid, asked.args[0] as i32, *to, by);
        }
        let mut answer = Answer::Continue;
        for address in addresses.into_iter().filter(|address| !stays_inside(address.ip())) {
            let by = observe::process(&format!("/proc/{}", asked.pid));
            records.refused(kind, address.to_string(), by, self.start.elapsed());
            answer = Answer::Fail(libc::ENETUNREACH);
        }
        answer
    }

    fn execute(&self, asked: &Notification, dir: i32, path: u64, argv: u64, records: &mut Records) -> Answer {
        let Ok(path) = path_at(asked.pid, path) else { return Answer::Continue };
        let shown = match self.absolute(asked.pid, dir, &path) {
            Ok(shown) => shown,
            Err(_) => return Answer::Continue,
        };
        let (argv, cut) = words(asked.pid, argv);
        let executable = self.open(asked.pid, dir, &path, true).is_ok_and(|file| {
            rustix::fs::fstat(&file)
                .is_ok_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFREG && stat.st_mode & 0o111 != 0)
        });
        // A shell tries every directory of PATH: what is not there was not started.
        if executable && sys::still_waits(self.listener.as_fd(), asked) {
            let pid = || observe::pid_inside(asked.pid);
            records.executed(shown.to_string_lossy().into_owned(), argv, cut, pid);
        }
        Answer::Continue
    }

    fn own(&self, asked: &Notification, target: Target, uid: u64, gid: u64, owners: &mut Owners) -> Answer {
        match self.try_own(asked, target, uid as u32, gid as u32, owners) {
            Ok(answer) => answer,
            Err(errno) => Answer::Fail(errno.raw_os_error()),
        }
    }

    fn try_own(
        &self,
        asked: &Notification,
        target: Target,
        uid: u32,
        gid: u32,
        owners: &mut Owners,
    ) -> Result<Answer, Errno> {
        if (uid, gid) == (u32::MAX, u32::MAX) {
            return Ok(Answer::Continue);
        }
        let file = match target {
            Target::Descriptor(fd) => self.open(asked.pid, fd, b"", true)?,
            Target::Path { dir, address, follow } => {
                let path = path_at(asked.pid, address)?;
                if path.is_empty() {
                    return Err(Errno::NOENT);
                }
                self.open(asked.pid, dir, &path, follow)?
            }
        };
        if !sys::still_waits(self.listener.as_fd(), asked) {
            return Ok(Answer::Continue);
        }
        if mount_id(file.as_fd())? != self.root_mount {
            // A bind, or a file system that ends with the sandbox: nothing of it is exported.
            return Ok(Answer::Success);
        }
        // An owner change that changes nothing: the overlay copies the file up, and set-id bits go as they should.
        rustix::fs::chownat(&file, c"", None, None, AtFlags::EMPTY_PATH)?;
        if let Some((inode, born)) = self.inode(file.as_fd())? {
            owners.record(inode, born, uid, gid);
        }
        Ok(Answer::Success)
    }

    /// Gives the inode of the upper directory that a file of the overlay is; `None` when it has no name any more.
    fn inode(&self, file: BorrowedFd<'_>) -> Result<Option<(u64, Option<Duration>)>, Errno> {
        let wanted = StatxFlags::INO | StatxFlags::BTIME;
        let stat = match &self.upper {
            None => rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, wanted)?,
            Some(upper) => {
                let path = link(&format!("/proc/self/fd/{}", file.as_raw_fd()))?;
                let path = path.strip_prefix("/").unwrap_or(&path);
                let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
                let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                match rustix::fs::openat2(upper, path, flags, Mode::empty(), resolve) {
                    Ok(upper) => rustix::fs::statx(&upper, c"", AtFlags::EMPTY_PATH, wanted)?,
                    Err(Errno::NOENT) => return Ok(None),
                    Err(errno) => return Err(errno),
                }
            }
        };
        let born = (stat.stx_mask & StatxFlags::BTIME.bits() != 0)
            .then(|| Duration::new(stat.stx_btime.tv_sec.unsigned_abs(), stat.stx_btime.tv_nsec));
        Ok(Some((stat.stx_ino, born)))
    }

    /// Opens, without any access, what a path means to a process inside.
    fn open(&self, pid: u32, dir: i32, path: &[u8], follow: bool) -> Result<OwnedFd, Errno> {
        if path.is_empty() {
            return open_magic(&base(pid, dir));
        }
        if let Some(link) = own_link(pid, path) {
            return open_magic(&link);
        }
        let mut flags = OFlags::PATH | OFlags::CLOEXEC;
        if !follow {
            flags |= OFlags::NOFOLLOW;
        }
        let path = self.absolute(pid, dir, path)?;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolve)
    }

    fn absolute(&self, pid: u32, dir: i32, path: &[u8]) -> Result<PathBuf, Errno> {
        if let Some(own) = own_link(pid, path) {
            return link(&own);
        }
        let path = Path::new(OsStr::from_bytes(path));
        if path.is_absolute() {
            return Ok(path.to_owned());
        }
        let base = link(&base(pid, dir))?;
        Ok(if path.as_os_str().is_empty() { base } else { base.join(path.strip_prefix(".").unwrap_or(path)) })
    }
}

fn written(poked: Result<(), Errno>) -> Answer {
    match poked {
        Ok(()) => Answer::Success,
        Err(_) => Answer::Fail(libc::EFAULT),
    }
}

enum Target {
    Descriptor(i32),
    Path { dir: i32, address: u64, follow: bool },
}

fn base(pid: u32, dir: i32) -> String {
    if dir == libc::AT_FDCWD { format!("/proc/{pid}/cwd") } else { format!("/proc/{pid}/fd/{dir}") }
}

fn link(path: &str) -> Result<PathBuf, Errno> {
    let target = rustix::fs::readlink(path, Vec::new()).map_err(|errno| match errno {
        Errno::NOENT => Errno::BADF,
        other => other,
    })?;
    Ok(OsString::from_vec(target.into_bytes()).into())
}

fn open_magic(path: &str) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(|errno| match errno {
        Errno::NOENT => Errno::BADF,
        other => other,
    })
}

/// Sees that a path is a link of the process's own `/proc` folder, which only that process could follow.
fn own_link(pid: u32, path: &[u8]) -> Option<String> {
    let path = std::str::from_utf8(path).ok()?;
    let rest = path.strip_prefix("/proc/self/").or_else(|| path.strip_prefix("/proc/thread-self/"));
    let descriptor = |number: &str| number.parse::<u32>().is_ok().then(|| format!("/proc/{pid}/fd/{number}"));
    match rest {
        Some("exe") => Some(format!("/proc/{pid}/exe")),
        Some(rest) => descriptor(rest.strip_prefix("fd/")?),
        None => descriptor(path.strip_prefix("/dev/fd/")?),
    }
}

fn mount_id(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).map(|stat| stat.stx_mnt_id)
}

/// Says whether an address can be reached inside: the loopback, in all its writings.
fn stays_inside(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_unspecified(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unspecified(),
    }
}

fn message_name(pid: u32, header: u64) -> Vec<(u64, u64)> {
    let mut bytes = [0; 12];
    if sys::peek(pid, header, &mut bytes) != Ok(bytes.len()) {
        return Vec::new();
    }
    let [a, b, c, d, e, f, g, h, length @ ..] = bytes;
    let name = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
    if name == 0 { Vec::new() } else { vec![(name, u32::from_ne_bytes(length).into())] }
}

fn socket_address(pid: u32, address: u64, length: u64) -> Option<SocketAddr> {
    let mut bytes = [0; 28];
    let wanted = usize::try_from(length & 0xffff_ffff).ok()?.min(bytes.len());
    let count = sys::peek(pid, address, bytes.get_mut(..wanted)?).ok()?;
    parse_address(bytes.get(..count)?)
}

/// Reads a `sockaddr`; `None` for what is not of the internet.
fn parse_address(bytes: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(*bytes.first_chunk()?);
    let port = u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
    match i32::from(family) {
        libc::AF_INET => {
            let address: [u8; 4] = *bytes.get(4..)?.first_chunk()?;
            Some((Ipv4Addr::from(address), port).into())
        }
        libc::AF_INET6 => {
            let address: [u8; 16] = *bytes.get(8..)?.first_chunk()?;
            Some((Ipv6Addr::from(address), port).into())
        }
        _ => None,
    }
}

/// Reads a path, which ends within the kernel's own limit.
fn path_at(pid: u32, address: u64) -> Result<Vec<u8>, Errno> {
    match string(pid, address, MAX_PATH)? {
        (path, true) => Ok(path),
        (_, false) => Err(Errno::NAMETOOLONG),
    }
}

/// Reads a string page by page, since the next page may not be there, and says whether its end was found.
fn string(pid: u32, address: u64, limit: usize) -> Result<(Vec<u8>, bool), Errno> {
    const PAGE: u64 = 4096;
    let mut out = Vec::new();
    let mut at = address;
    let mut buffer = [0; PAGE as usize];
    while out.len() < limit {
        let room = (PAGE - at % PAGE).min((limit - out.len()) as u64) as usize;
        let count = sys::peek(pid, at, &mut buffer[..room])?;
        if let Some(end) = buffer[..count].iter().position(|byte| *byte == 0) {
            out.extend_from_slice(&buffer[..end]);
            return Ok((out, true));
        }
        if count == 0 {
            return Err(Errno::FAULT);
        }
        out.extend_from_slice(&buffer[..count]);
        at += count as u64;
    }
    Ok((out, false))
}

/// Reads the words of a command, and says whether some were cut off.
fn words(pid: u32, argv: u64) -> (Vec<String>, bool) {
    let mut bytes = [0; (MAX_WORDS + 1) * 8];
    if argv == 0 {
        return (Vec::new(), false);
    }
    let count = sys::peek(pid, argv, &mut bytes).unwrap_or(0);
    let (mut words, mut room) = (Vec::new(), MAX_ARGV);
    for pointer in bytes[..count].chunks_exact(8) {
        let pointer = u64::from_ne_bytes(pointer.try_into().expect("chunks of eight"));
        if pointer == 0 {
            return (words, false);
        }
        if words.len() == MAX_WORDS || room == 0 {
            break;
        }
        let Ok((word, ended)) = string(pid, pointer, room) else { break };
        room -= word.len();
        words.push(String::from_utf8_lossy(&word).into_owned());
        if !ended {
            break;
        }
    }
    (words, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_loopback_stays_inside() {
        for inside in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::"] {
            assert!(stays_inside(inside.parse().expect("address")), "{inside}");
        }
        for outside in ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "169.254.169.254"] {
            assert!(!stays_inside(outside.parse().expect("address")), "{outside}");
        }
    }

    #[test]
    fn a_cut_address_is_no_address() {
        let full = [2, 0, 0, 80, 192, 0, 2, 1];
        assert_eq!(parse_address(&full), Some("192.0.2.1:80".parse().expect("address")));
        for cut in 0..full.len() {
            assert_eq!(parse_address(&full[..cut]), None);
        }
        assert_eq!(parse_address(&[1, 0, b'/', b'x', 0, 0, 0, 0]), None, "a path");
    }

    #[test]
    fn own_memory_is_read_as_a_string() {
        let text = c"some words";
        let pid = std::process::id();
        assert_eq!(string(pid, text.as_ptr() as u64, 100), Ok((b"some words".to_vec(), true)));
        assert_eq!(string(pid, text.as_ptr() as u64, 4), Ok((b"some".to_vec(), false)));
        assert!(string(pid, 8, 100).is_err());
        let argv = [text.as_ptr() as u64, 0];
        assert_eq!(words(pid, argv.as_ptr() as u64), (vec!["some words".to_owned()], false));
    }
}

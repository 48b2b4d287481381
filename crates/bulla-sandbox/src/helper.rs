//! The helper: this same program, executed again from a sealed copy in memory, which does nothing but clone sandboxes.
//!
//! It clones each sandbox ahead, so that a job finds the namespaces made, which take the kernel longer than all else.
//!
//! It is small, so that cloning it is cheap however large the caller has grown; it has one thread for all of its life,
//! since the kernel ends a sandbox with the thread that cloned it; and started by root it gives up that identity for
//! the service uid first. Its standard input is the socket on which jobs come.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
    str::FromStr,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::MemfdFlags,
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType},
    process::{DumpableBehavior, Signal},
    thread::{Gid, Uid},
};

use crate::{
    examine,
    inside::{self, Identity, Streams},
    limits,
    prepare::Prepared,
    sys::{self, Cloned},
    wire::{self, Message},
};

/// The name under which the program is executed as the helper.
pub(crate) const NAME: &str = "bulla-sandbox-helper";
/// The word in place of a service uid.
pub(crate) const KEEP_UID: &str = "-";

/// All namespaces but that of mounts, which a sandbox makes when it has its job: it shows what is mounted then.
const NAMESPACES: u64 = (libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS) as u64;

/// Serves when this process is the helper, and then never returns; does nothing else. Call it first in `main`.
pub fn intercept() {
    let mut args = std::env::args_os();
    if args.next().is_some_and(|name| name == NAME) {
        let result = serve_as(args);
        sys::exit(i32::from(result.is_err()));
    }
}

/// Does what the words after the name say: whose helper it is, which identity it takes, then a word with a folder to examine,
/// or the files by which it enters its cgroups.
fn serve_as(mut words: impl Iterator<Item = OsString>) -> io::Result<()> {
    let (parent, service) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let rest: Vec<OsString> = words.collect();
    match rest.as_slice() {
        [word, folder] if word == examine::WORD => {
            begin(&parent, &service)?;
            examine::report(Path::new(folder))
        }
        entrances => {
            // With the caller's identity, which made the cgroups.
            entrances.iter().try_for_each(|entrance| limits::enter(Path::new(entrance)))?;
            begin(&parent, &service)?;
            serve()
        }
    }
}

/// A sandbox that has not ended.
struct Running {
    pid: i32,
    pidfd: OwnedFd,
    control: OwnedFd,
    prepared: Prepared,
}

/// Binds the helper's life to the caller's, and takes the identity that sandboxes have.
pub(crate) fn begin(parent: &OsStr, service: &OsStr) -> io::Result<()> {
    let parent = parent.to_str().and_then(|word| i32::from_str(word).ok());
    if service != KEEP_UID {
        let id = service.to_str().and_then(|word| u32::from_str(word).ok()).ok_or(io::ErrorKind::InvalidInput)?;
        let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
        rustix::thread::set_thread_groups(&[])?;
        rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid)?;
        // Without this its own /proc/self/uid_map, and so that of its children, would belong to root.
        rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)?;
    }
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let still = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    if parent != still {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    sys::reset_signals();
    // Ctrl-C in a terminal goes to the whole process group: the caller ends the runs, and must find the helper alive.
    rustix::process::setsid()?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    rustix::process::chdir("/")?;
    Ok(())
}

fn serve() -> io::Result<()> {
    let jobs = io::stdin();
    let mut running: Vec<Running> = Vec::new();
    let mut spare = Spare::start().ok();
    loop {
        let (job, ended) = {
            let mut polled = vec![PollFd::from_borrowed_fd(jobs.as_fd(), PollFlags::IN)];
            polled.extend(running.iter().map(|run| PollFd::new(&run.pidfd, PollFlags::IN)));
            match rustix::event::poll(&mut polled, None) {
                Ok(_) | Err(Errno::INTR) => (),
                Err(errno) => return Err(errno.into()),
            }
            let ready: Vec<bool> = polled.iter().map(|poll| !poll.revents().is_empty()).collect();
            let (job, ended) = ready.split_first().map_or((false, Vec::new()), |(job, ended)| (*job, ended.to_vec()));
            (job, ended)
        };
        let mut index = 0;
        running = running
            .into_iter()
            .filter_map(|run| {
                let over = ended.get(index).copied().unwrap_or(false);
                index += 1;
                if over {
                    finish(run);
                    return None;
                }
                Some(run)
            })
            .collect();
        if job {
            let received = wire::receive(jobs.as_fd())?;
            if received.fds.is_empty() {
                // The caller is gone, or wants no more: what still runs ends with this process.
                spare.into_iter().for_each(Spare::end);
                return Ok(());
            }
            running.extend(accept(received.fds, spare.take()));
        }
        if running.is_empty() && spare.is_none() {
            spare = Spare::start().ok();
        }
    }
}

fn finish(run: Running) {
    let reaped = sys::reap(run.pid);
    run.prepared.clean();
    if let Ok(reaped) = reaped {
        let message = Message::Reaped {
            cpu_us: u64::try_from(reaped.cpu.as_micros()).unwrap_or(u64::MAX),
            max_rss_kib: u32::try_from(reaped.max_rss / 1024).unwrap_or(u32::MAX),
        };
        let _ = wire::send(run.control.as_fd(), message, &[]);
    }
}

fn accept(fds: Vec<OwnedFd>, spare: Option<Spare>) -> Option<Running> {
    let [job, control, stdout, stderr] = <[OwnedFd; 4]>::try_from(fds).ok()?;
    let streams = Streams { control, stdout, stderr };
    // Where nobody is left to hear of it, there is nobody to run it for.
    let _ = match prepare(job.as_fd()) {
        Ok(prepared) => match hand_over(spare, job.as_fd(), &streams) {
            Ok(Spare { pid, pidfd, .. }) => return Some(Running { pid, pidfd, control: streams.control, prepared }),
            Err(errno) => {
                prepared.clean();
                let stage = crate::stage::Stage::Namespaces as u8;
                let message = Message::Failed { stage, errno: errno.raw_os_error() };
                wire::send(streams.control.as_fd(), message, &[])
            }
        },
        Err(text) => {
            spare.into_iter().for_each(Spare::end);
            explain(&streams, &text)
        }
    };
    None
}

/// Makes ready what a job needs of the disk. What is given has no secret of the job.
fn prepare(job: BorrowedFd<'_>) -> Result<Prepared, String> {
    let job = wire::read_job(job)?;
    let mut prepared = Prepared::new(&job)?;
    prepared.forget_secrets();
    Ok(prepared)
}

/// Gives a job to the sandbox that waits, or to a new one where there is none or it was killed.
fn hand_over(spare: Option<Spare>, job: BorrowedFd<'_>, streams: &Streams) -> Result<Spare, Errno> {
    let spare = match spare.map(|spare| spare.submit(job, streams)) {
        Some(Ok(spare)) => spare,
        Some(Err(_)) | None => Spare::start()?.submit(job, streams)?,
    };
    Ok(spare)
}

/// The first process of a sandbox that has no job yet.
struct Spare {
    pid: i32,
    pidfd: OwnedFd,
    ahead: OwnedFd,
}

impl Spare {
    fn start() -> Result<Self, Errno> {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let identity = Identity { uid_map: format!("0 {uid} 1"), gid_map: format!("0 {gid} 1") };
        let flags = SocketFlags::CLOEXEC;
        let (ahead, theirs) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        // SAFETY: the helper has one thread.
        match unsafe { sys::clone_with(NAMESPACES) }? {
            Cloned::Child => inside::await_job(theirs.as_fd(), &identity),
            Cloned::Parent { pid, pidfd } => Ok(Self { pid, pidfd, ahead }),
        }
    }

    /// Tells the caller of the process, and then the process of its job.
    fn submit(self, job: BorrowedFd<'_>, streams: &Streams) -> Result<Self, Errno> {
        let Streams { control, stdout, stderr } = streams;
        // The caller hears of the process before of anything that the process says; so a dead one must be known before.
        let mut dead = [PollFd::new(&self.pidfd, PollFlags::IN)];
        if rustix::event::poll(&mut dead, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? > 0 {
            self.end();
            return Err(Errno::SRCH);
        }
        wire::send(control.as_fd(), Message::Started { pid: self.pid as u32 }, &[self.pidfd.as_fd()])?;
        // Where it has ended just now, its end is what the caller hears of next.
        let _ = wire::send(self.ahead.as_fd(), Message::Go, &[job, control.as_fd(), stdout.as_fd(), stderr.as_fd()]);
        Ok(self)
    }

    /// Ends the process, and waits for that: its cgroups are removed next.
    fn end(self) {
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
        let _ = sys::reap(self.pid);
    }
}

fn explain(streams: &Streams, text: &str) -> Result<(), Errno> {
    let file = rustix::fs::memfd_create("bulla-said", MemfdFlags::CLOEXEC)?;
    rustix::io::pwrite(&file, text.as_bytes(), 0)?;
    wire::send(streams.control.as_fd(), Message::Unprepared, &[file.as_fd()])
}

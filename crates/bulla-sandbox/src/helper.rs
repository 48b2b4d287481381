//! The helper: this same program, executed again from a sealed copy in memory, which does nothing but clone sandboxes.
//!
//! It is small, so that cloning it is cheap however large the caller has grown; it has one thread for all of its life,
//! since the kernel ends a sandbox with the thread that cloned it; and started by root it gives up that identity for
//! the service uid first. Its standard input is the socket on which jobs come.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read as _},
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
    str::FromStr,
};

use rustix::{
    event::{PollFd, PollFlags},
    fs::MemfdFlags,
    io::Errno,
    process::{DumpableBehavior, Signal},
    thread::{Gid, Uid},
};
use zeroize::Zeroizing;

use crate::{
    examine,
    inside::{self, Streams},
    limits,
    prepare::Prepared,
    sys::{self, Cloned},
    wire::{self, Message},
};

/// The name under which the program is executed as the helper.
pub(crate) const NAME: &str = "bulla-sandbox-helper";
/// The word in place of a service uid.
pub(crate) const KEEP_UID: &str = "-";

const NAMESPACES: u64 = (libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
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
                return Ok(());
            }
            running.extend(accept(received.fds));
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

fn accept(fds: Vec<OwnedFd>) -> Option<Running> {
    let [job, control, stdout, stderr] = <[OwnedFd; 4]>::try_from(fds).ok()?;
    let streams = Streams { control, stdout, stderr };
    match launch(job, &streams) {
        Ok((pid, pidfd, prepared)) => {
            let message = Message::Started { pid: pid as u32 };
            let _ = wire::send(streams.control.as_fd(), message, &[pidfd.as_fd()]);
            Some(Running { pid, pidfd, control: streams.control, prepared })
        }
        Err(Refused::Text(text)) => {
            let _ = explain(&streams, &text);
            None
        }
        Err(Refused::Clone(errno)) => {
            let message = Message::Failed { stage: crate::stage::Stage::Namespaces as u8, errno: errno.raw_os_error() };
            let _ = wire::send(streams.control.as_fd(), message, &[]);
            None
        }
    }
}

enum Refused {
    Text(String),
    Clone(Errno),
}

fn launch(job: OwnedFd, streams: &Streams) -> Result<(i32, OwnedFd, Prepared), Refused> {
    let unread = |error: io::Error| Refused::Text(format!("reading the job: {error}"));
    let mut file = File::from(job);
    // With a byte more the end is seen without growing, which would leave what was read where it was.
    let length = usize::try_from(file.metadata().map_err(unread)?.len()).unwrap_or_default();
    let mut bytes = Zeroizing::new(Vec::with_capacity(length + 1));
    file.read_to_end(&mut bytes).map_err(unread)?;
    let job = wire::decode_job(&bytes).ok_or_else(|| Refused::Text("the job is not valid".to_owned()))?;
    let mut prepared = Prepared::new(&job).map_err(Refused::Text)?;
    // The new process is a copy of this one: what it does not need of the secrets it does not get.
    drop((job, bytes));
    // SAFETY: the helper has one thread.
    match unsafe { sys::clone_with(NAMESPACES) } {
        Ok(Cloned::Child) => inside::become_init(&mut prepared, streams),
        Ok(Cloned::Parent { pid, pidfd }) => {
            prepared.forget_secrets();
            Ok((pid, pidfd, prepared))
        }
        Err(errno) => {
            prepared.forget_secrets();
            prepared.clean();
            Err(Refused::Clone(errno))
        }
    }
}

fn explain(streams: &Streams, text: &str) -> Result<(), Errno> {
    let file = rustix::fs::memfd_create("bulla-said", MemfdFlags::CLOEXEC)?;
    rustix::io::pwrite(&file, text.as_bytes(), 0)?;
    wire::send(streams.control.as_fd(), Message::Unprepared, &[file.as_fd()])
}

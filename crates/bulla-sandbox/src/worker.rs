//! One helper process with its cgroups. It serves one run at a time.
//!
//! The helper enters its cgroups once, and every sandbox is born in them: moving a process costs the kernel a grace
//! period, which would be the longest part of a start.

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
        unix::process::CommandExt as _,
    },
    process::{Command, Stdio},
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use rustix::{
    fs::{MemfdFlags, Mode, OFlags, SealFlags},
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType},
    process::{Pid, PidfdFlags, pidfd_open},
};

use crate::{
    error::Error,
    helper,
    limits::{Cage, Ladder},
    wire,
};

/// A helper that waits for jobs.
#[derive(Debug)]
pub(crate) struct Worker {
    jobs: Option<OwnedFd>,
    /// The thread that started the helper: when it ends, the kernel ends the helper.
    keeper: Option<JoinHandle<()>>,
    pub(crate) cage: Cage,
}

impl Worker {
    /// Executes the helper and puts it into cgroups of its own.
    pub(crate) fn start(image: &Arc<File>, identity: String, ladder: &Ladder) -> Result<Self, Error> {
        let cage = ladder.cage()?;
        let (jobs, theirs) = socket_pair().map_err(failed("making its socket"))?;
        let rest = cage.entrances()?.into_iter().map(OsString::from).collect();
        let program = Program { name: helper::NAME, identity, rest };
        let kept = keep(Arc::clone(image), theirs, program)?;
        let worker = Self { jobs: Some(jobs), keeper: Some(kept.keeper), cage };
        worker.cage.hold(kept.pid)?;
        Ok(worker)
    }

    /// Hands a job over: its file, its socket, and the two streams.
    pub(crate) fn submit(&self, fds: [BorrowedFd<'_>; 4]) -> Result<(), Error> {
        let jobs = self.jobs.as_ref().ok_or(Error::HelperGone)?;
        wire::send(jobs.as_fd(), wire::Message::Go, &fds).map_err(|_| Error::HelperGone)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // The end of the socket is the helper's sign to end; the cgroups can be removed after it.
        drop(self.jobs.take());
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

/// What this program is executed as.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    /// A uid, or [`helper::KEEP_UID`].
    pub(crate) identity: String,
    /// Further words.
    pub(crate) rest: Vec<OsString>,
}

/// A process that ends with this one.
pub(crate) struct Kept {
    pub(crate) keeper: JoinHandle<()>,
    pub(crate) pid: u32,
    pub(crate) process: OwnedFd,
}

/// Starts this program from a thread that lives as long as the new process does.
pub(crate) fn keep(image: Arc<File>, socket: OwnedFd, program: Program) -> Result<Kept, Error> {
    let (said, hear) = mpsc::channel();
    let keeper = std::thread::Builder::new()
        .name("bulla-sandbox".to_owned())
        .spawn(move || {
            let mut command = Command::new(format!("/proc/self/fd/{}", image.as_raw_fd()));
            command.arg0(program.name).args([std::process::id().to_string(), program.identity]).args(program.rest);
            let child = command.env_clear().stdin(Stdio::from(socket)).stdout(Stdio::null()).spawn();
            // The command holds the helper's end of the socket.
            drop(command);
            match child {
                Ok(mut child) => {
                    // The number means this process until it is waited for.
                    let number = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
                    let process = number.ok_or(Errno::SRCH).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()));
                    if process.is_err() {
                        let _ = child.kill();
                    }
                    let _ = said.send(process.map(|process| (child.id(), process)).map_err(io::Error::from));
                    let _ = child.wait();
                }
                Err(error) => drop(said.send(Err(error))),
            }
        })
        .map_err(failed("starting its thread"))?;
    match hear.recv() {
        Ok(Ok((pid, process))) => Ok(Kept { keeper, pid, process }),
        Ok(Err(error)) => Err(failed("executing it")(error)),
        Err(_) => Err(failed("executing it")(io::ErrorKind::BrokenPipe.into())),
    }
}

/// Copies this program into memory and seals it, so that nobody can change what helpers run.
pub(crate) fn sealed_image() -> Result<File, Error> {
    let copy = || -> io::Result<File> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        // An executable memory file must say so since Linux 6.3; older kernels do not know the flag.
        let image = rustix::fs::memfd_create("bulla", flags | MemfdFlags::EXEC)
            .or_else(|_| rustix::fs::memfd_create("bulla", flags))?;
        let mut image = File::from(image);
        io::copy(&mut File::open("/proc/self/exe")?, &mut image)?;
        let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&image, seals)?;
        // A file that is open for writing cannot be executed.
        let path = format!("/proc/self/fd/{}", image.as_raw_fd());
        Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?.into())
    };
    copy().map_err(failed("copying this program into memory"))
}

/// Makes a pair of sockets that keep messages apart.
pub(crate) fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

fn failed(doing: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::Helper { doing, source }
}

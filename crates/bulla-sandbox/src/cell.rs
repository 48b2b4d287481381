//! A cell: a process of this program that answers foreign code, and has given up everything that it does not need for it.
//!
//! It is executed from the same sealed copy as the helper, ends with its caller, and shuts itself in before it receives
//! anything: namespaces of its own with nobody in the network, one read-only folder or none at all as its file system, no
//! capabilities, limits, and an allow-list of calls that has no way to open a socket, to write a file, to start a process
//! or a thread, or to make new code. What it works with comes over its socket, as descriptors.

use std::{
    collections::BTreeMap,
    ffi::{CString, OsString},
    io,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::ffi::OsStringExt as _,
    },
    path::Path,
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::{CWD, Mode, OFlags},
    io::Errno,
    mount::{MountPropagationFlags, mount_change},
    net::{RecvFlags, Shutdown},
    process::{DumpableBehavior, Resource, Rlimit, Signal},
};

use crate::{
    bpf::{self, Rule, Verdict},
    error::Error,
    helper,
    inside::{self, At as _, Failure},
    launcher::Launcher,
    root,
    stage::Stage,
    sys,
    wire::{self, Message},
    worker::{self, Program},
};

/// The most descriptors that the process of a cell may have, where the host allows so many.
const MAX_FILES: u64 = 16_384;
/// The most address space.
const MAX_MEMORY: u64 = 4 << 30;
/// The longest message.
pub const MAX_CELL_MESSAGE: usize = 8192;
/// How long a cell may take to shut itself in.
const PATIENCE: Duration = Duration::from_secs(60);

#[rustfmt::skip]
const ALLOWED: &[libc::c_long] = &[
    libc::SYS_read, libc::SYS_write, libc::SYS_close, libc::SYS_fstat, libc::SYS_newfstatat,
    libc::SYS_statx, libc::SYS_lseek, libc::SYS_pread64, libc::SYS_sendfile,
    // Its folder is mounted read-only, and is all that there is.
    libc::SYS_openat2,
    libc::SYS_accept4, libc::SYS_recvfrom, libc::SYS_recvmsg, libc::SYS_shutdown, libc::SYS_getsockname, libc::SYS_setsockopt,
    libc::SYS_poll, libc::SYS_epoll_create1, libc::SYS_epoll_ctl, libc::SYS_epoll_wait, libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2,
    libc::SYS_munmap, libc::SYS_mremap, libc::SYS_brk, libc::SYS_madvise, libc::SYS_futex,
    libc::SYS_rt_sigreturn, libc::SYS_rt_sigprocmask, libc::SYS_sigaltstack, libc::SYS_restart_syscall,
    libc::SYS_exit, libc::SYS_exit_group, libc::SYS_clock_gettime, libc::SYS_getrandom,
];

/// A process of this program, as its caller has it. Dropping it ends the process.
#[derive(Debug)]
pub struct Cell {
    socket: OwnedFd,
    process: OwnedFd,
    /// The thread that started the process: when it ends, the kernel ends the process.
    keeper: Option<JoinHandle<()>>,
}

/// The same process, as it has itself, when it is shut in.
#[derive(Debug)]
pub struct Entered {
    /// What comes from the caller, and goes to it.
    pub socket: OwnedFd,
    /// The folder that it may read, without any access of its own.
    pub folder: Option<OwnedFd>,
    /// How many descriptors it may have.
    pub files: u64,
}

impl Launcher {
    /// Starts this program once more, as `name`, in a cell that sees `folder` and nothing else of the file system. The
    /// program's `main` must call [`Cell::enter`] with that name before anything else.
    ///
    /// # Errors
    /// When it cannot be started, or could not give up what it must not have.
    pub fn cell(&self, name: &'static str, folder: Option<&Path>) -> Result<Cell, Error> {
        let (socket, theirs) = worker::socket_pair().map_err(failed("making its socket"))?;
        let folder = folder.unwrap_or(Path::new(""));
        let program = Program { name, identity: self.options().identity(), rest: vec![folder.as_os_str().to_owned()] };
        let kept = worker::keep(Arc::clone(self.image()), theirs, program)?;
        let cell = Cell { socket, process: kept.process, keeper: Some(kept.keeper) };
        cell.await_message()?;
        match wire::receive(&cell.socket).map(|received| received.message) {
            Ok(Some(Message::Go)) => Ok(cell),
            Ok(Some(Message::Failed { stage, errno })) => Err(Error::Cell {
                stage: Stage::from_byte(stage).unwrap_or(Stage::Handover),
                source: io::Error::from_raw_os_error(errno),
            }),
            Ok(_) => Err(Error::HelperGone),
            Err(errno) => Err(failed("hearing from it")(errno.into())),
        }
    }
}

impl Cell {
    /// Sends descriptors, at most four, in one message.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn send(&self, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        Ok(wire::send(self.socket.as_fd(), Message::Go, fds)?)
    }

    /// Tells the process that nothing more will come: [`receive`] gives `None` there.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn close(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(&self.socket, Shutdown::Write)?)
    }

    /// Receives a message of at most [`MAX_CELL_MESSAGE`] bytes; `None` when the process has ended.
    ///
    /// # Errors
    /// When nothing came in that time.
    pub fn receive(&self, within: Duration) -> io::Result<Option<Vec<u8>>> {
        self.readable(within)?;
        let mut buffer = vec![0; MAX_CELL_MESSAGE];
        match rustix::net::recv(&self.socket, buffer.as_mut_slice(), RecvFlags::empty()) {
            Ok((0, _)) | Err(Errno::CONNRESET) => Ok(None),
            Ok((count, _)) => {
                buffer.truncate(count);
                Ok(Some(buffer))
            }
            Err(errno) => Err(errno.into()),
        }
    }

    fn readable(&self, within: Duration) -> io::Result<()> {
        let timeout = Timespec::try_from(within).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut polled = [PollFd::new(&self.socket, PollFlags::IN)];
        loop {
            match rustix::event::poll(&mut polled, Some(&timeout)) {
                Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => (),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn await_message(&self) -> Result<(), Error> {
        self.readable(PATIENCE).map_err(failed("waiting for it"))
    }

    /// Enters the cell when this process was started to be one of that name, and gives what it has left; `None` in any other
    /// process. Call it first in `main`, while there is one thread. What fails is told to the caller, and ends the process.
    pub fn enter(name: &str) -> Option<Entered> {
        let mut args = std::env::args_os();
        if args.next().is_none_or(|word| word != name) {
            return None;
        }
        // What the caller had open is nobody's here.
        // SAFETY: this process has just begun, and owns no descriptor above the three streams.
        if unsafe { sys::close_from(3) }.is_err() {
            sys::exit(1);
        }
        let socket = io::stdin().as_fd().try_clone_to_owned();
        let Ok(socket) = socket else { sys::exit(1) };
        match shut_in(&mut args) {
            Ok((folder, files)) => {
                let said = wire::send(socket.as_fd(), Message::Go, &[]).and_then(|()| shut_the_door());
                if said.is_err() {
                    sys::exit(1);
                }
                Some(Entered { socket, folder, files })
            }
            Err(Failure { stage, errno }) => {
                let message = Message::Failed { stage: stage as u8, errno: errno.raw_os_error() };
                let _ = wire::send(socket.as_fd(), message, &[]);
                sys::exit(1)
            }
        }
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        let _ = rustix::process::pidfd_send_signal(&self.process, Signal::KILL);
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

impl Entered {
    /// Ends the process.
    pub fn end(code: i32) -> ! {
        sys::exit(code)
    }
}

/// Receives descriptors over the socket of a cell; `None` when nothing more will come.
///
/// # Errors
/// When they cannot be received.
pub fn receive(socket: &OwnedFd) -> io::Result<Option<Vec<OwnedFd>>> {
    let received = wire::receive(socket)?;
    Ok(received.message.map(|_| received.fds))
}

/// Gives up everything but the filter, which comes when the caller has been told.
fn shut_in(args: &mut impl Iterator<Item = OsString>) -> Result<(Option<OwnedFd>, u64), Failure> {
    let errno = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let (parent, service) = (args.next().unwrap_or_default(), args.next().unwrap_or_default());
    helper::begin(&parent, &service).map_err(errno).at(Stage::Descriptors)?;
    let folder = args.next().map(OsString::into_vec).filter(|path| !path.is_empty());
    let folder = folder.map(CString::new).transpose().map_err(|_| Errno::INVAL).at(Stage::Binds)?;
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    // SAFETY: this process has one thread.
    unsafe { sys::unshare() }.at(Stage::Namespaces)?;
    inside::map_ids(&format!("{uid} {uid} 1"), &format!("{gid} {gid} 1")).at(Stage::Identity)?;
    mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).at(Stage::Propagation)?;
    match &folder {
        Some(folder) => {
            let tree = root::clone_tree(CWD, folder, true).at(Stage::Binds)?;
            let flags = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOEXEC | libc::MOUNT_ATTR_NODEV;
            let flags = flags | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOSYMFOLLOW;
            sys::mount_setattr(tree.as_fd(), flags, true).at(Stage::Binds)?;
            root::attach(tree.as_fd(), CWD, folder).at(Stage::Binds)?;
            root::pivot(tree.as_fd()).at(Stage::Pivot)?;
        }
        None => {
            let nothing = root::new_mount(c"tmpfs", &[(c"mode", c"0555"), (c"size", c"4k")]).at(Stage::Binds)?;
            sys::mount_setattr(nothing.as_fd(), libc::MOUNT_ATTR_RDONLY, false).at(Stage::Binds)?;
            root::attach(nothing.as_fd(), CWD, c"/proc").at(Stage::Binds)?;
            root::pivot(nothing.as_fd()).at(Stage::Pivot)?;
        }
    }
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = folder.map(|_| rustix::fs::open(c"/", directory, Mode::empty())).transpose().at(Stage::Binds)?;
    let files = limit().at(Stage::Limits)?;
    inside::drop_privileges(0).at(Stage::Privileges)?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).at(Stage::Privileges)?;
    Ok((folder, files))
}

fn limit() -> Result<u64, Errno> {
    let files = rustix::process::getrlimit(Resource::Nofile).maximum.unwrap_or(MAX_FILES).min(MAX_FILES);
    let limits = [
        (Resource::Nofile, files),
        (Resource::As, MAX_MEMORY),
        // Not a byte of any file, not one process more.
        (Resource::Fsize, 0),
        (Resource::Nproc, 0),
        (Resource::Core, 0),
    ];
    for (resource, limit) in limits {
        let limit = rustix::process::getrlimit(resource).maximum.map_or(limit, |most| most.min(limit));
        rustix::process::setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })?;
    }
    Ok(files)
}

fn shut_the_door() -> Result<(), Errno> {
    sys::ignore_broken_pipes();
    sys::install_plain_filter(&bpf::program(&table(), Verdict::Errno(libc::ENOSYS)))
}

fn table() -> BTreeMap<u32, Rule> {
    let number = |call: libc::c_long| u32::try_from(call).expect("call numbers are small and positive");
    let rule = |verdict| Box::new(Rule::Always(verdict));
    let refused = || rule(Verdict::Errno(libc::EPERM));
    let mut table: BTreeMap<u32, Rule> =
        ALLOWED.iter().map(|call| (number(*call), Rule::Always(Verdict::Allow))).collect();
    // To whom it is connected, and to no other address.
    let plain = Rule::Pointer { argument: 4, yes: refused(), no: rule(Verdict::Allow) };
    table.insert(number(libc::SYS_sendto), plain);
    // The standard library looks, in builds for development, whether a descriptor that it closes is there.
    let looks = Rule::OneOf {
        argument: 1,
        mask: u32::MAX,
        values: vec![libc::F_GETFD as u32],
        yes: rule(Verdict::Allow),
        no: refused(),
    };
    table.insert(number(libc::SYS_fcntl), looks);
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        let executable =
            Rule::Bits { argument: 2, mask: libc::PROT_EXEC as u32, yes: refused(), no: rule(Verdict::Allow) };
        table.insert(number(call), executable);
    }
    table
}

fn failed(doing: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::Helper { doing, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::tests::verdict;

    #[test]
    fn a_cell_opens_no_socket_and_makes_no_code() {
        let program = bpf::program(&table(), Verdict::Errno(libc::ENOSYS));
        let allow = libc::SECCOMP_RET_ALLOW;
        let errno = |errno: i32| libc::SECCOMP_RET_ERRNO | errno as u32;
        let of = |call: libc::c_long, args: &[u64]| {
            let mut six = [0; 6];
            six[..args.len()].copy_from_slice(args);
            verdict(&program, call, six)
        };
        assert_eq!(of(libc::SYS_read, &[]), allow);
        for call in [
            libc::SYS_socket,
            libc::SYS_connect,
            libc::SYS_bind,
            libc::SYS_listen,
            libc::SYS_sendmsg,
            libc::SYS_open,
            libc::SYS_openat,
            libc::SYS_clone,
            libc::SYS_clone3,
            libc::SYS_fork,
            libc::SYS_execve,
            libc::SYS_kill,
            libc::SYS_ptrace,
            libc::SYS_unlink,
            libc::SYS_memfd_create,
        ] {
            assert_eq!(of(call, &[]), errno(libc::ENOSYS), "call {call}");
        }
        assert_eq!(of(libc::SYS_sendto, &[3, 0x1000, 1, 0, 0, 0]), allow);
        assert_eq!(of(libc::SYS_sendto, &[3, 0x1000, 1, 0, 0x2000, 16]), errno(libc::EPERM));
        assert_eq!(of(libc::SYS_mmap, &[0, 4096, 3]), allow);
        assert_eq!(of(libc::SYS_mmap, &[0, 4096, 5]), errno(libc::EPERM));
        assert_eq!(of(libc::SYS_mprotect, &[0, 4096, 7]), errno(libc::EPERM));
    }
}

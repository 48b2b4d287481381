//! The one address inside at which somebody answers: who gets its listening socket, and which processes reached it.
//!
//! A connection is known by its local port. The supervisor sees each `connect` before it is made; it takes a copy of the
//! socket, gives it the port that the kernel would have given it a moment later, and notes the process that asks. The
//! server knows the port of each connection that it accepts, and both have the time of the same clock: so a request is
//! brought together with its process without looking through `/proc` for sockets, and without a word between the two.
//! It is best effort: a process that meddles with its own descriptors at that moment can have itself misnamed.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    os::fd::{BorrowedFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, PidfdGetfdFlags},
    time::ClockId,
};

use crate::observe::Process;

const MAX_CONNECTIONS: usize = 20_000;

/// What answers at [`crate::Request::listen`].
pub trait Serve {
    /// Takes the listening socket, before the command starts; nobody else has it. It is asked once a run, and again when a run is
    /// tried again.
    ///
    /// # Errors
    /// What fails here fails the run ([`crate::Error::Supervise`]).
    fn listen(&mut self, listener: OwnedFd) -> io::Result<()>;

    /// Gives what is readable once something was asked for that is not there. With [`crate::Request::stop_on_refusal`] that ends
    /// the run, as [`crate::Exit::Refused`].
    fn refused(&self) -> Option<BorrowedFd<'_>>;
}

/// A connection to the address at which the caller answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// The port that it comes from.
    pub port: u16,
    /// When it was asked for, by the kernel's monotonic clock, which the server reads as well.
    pub at: Duration,
    /// The process that asked for it, best effort.
    pub by: Arc<Connected>,
}

/// A process that reached the address at which the caller answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Connected {
    /// Its number inside; 0 when it is not known.
    pub pid: u32,
    /// Its program, as a path inside; empty when it is not known.
    pub executable: String,
    /// Its words, joined with spaces and cut at 1 KiB.
    pub command_line: String,
}

/// Reads the clock that stamps connections.
pub fn monotonic() -> Duration {
    let now = rustix::time::clock_gettime(ClockId::Monotonic);
    Duration::try_from(now).unwrap_or_default()
}

/// The connections of one run.
#[derive(Default)]
pub(crate) struct Connections {
    pub(crate) list: Vec<Connection>,
    pub(crate) dropped: u64,
    known: BTreeMap<u32, Arc<Connected>>,
}

impl Connections {
    /// Notes a `connect` that is about to be made with a descriptor of a process (or thread).
    pub(crate) fn note(&mut self, pid: u32, fd: i32, to: SocketAddr, by: Process) {
        if self.list.len() >= MAX_CONNECTIONS {
            self.dropped += 1;
            return;
        }
        let at = monotonic();
        let Some(port) = local_port(pid, fd, to) else {
            self.dropped += 1;
            return;
        };
        let Process { pid, executable, command_line } = by;
        let by = Connected { pid, executable, command_line };
        let known = self.known.entry(by.pid).or_default();
        // A process can execute another program; the number stays.
        if **known != by {
            *known = Arc::new(by);
        }
        self.list.push(Connection { port, at, by: Arc::clone(known) });
    }
}

/// Gives the local port of a socket that is about to be connected to the loopback; it gets one when it has none.
fn local_port(pid: u32, fd: i32, to: SocketAddr) -> Option<u16> {
    let socket = copy(pid, fd).ok()?;
    let any = match to {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv4Addr::LOCALHOST.to_ipv6_mapped(), 0)),
    };
    // One that has an address already keeps it.
    let _ = rustix::net::bind(&socket, &any);
    let address = SocketAddr::try_from(rustix::net::getsockname(&socket).ok()?).ok()?;
    Some(address.port()).filter(|port| *port != 0)
}

fn copy(pid: u32, fd: i32) -> Result<OwnedFd, Errno> {
    /// A thread has its own descriptor since Linux 6.9; before, only the first one of a process has.
    const THREAD: PidfdFlags = PidfdFlags::from_bits_retain(libc::O_EXCL as u32);
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
    let process = rustix::process::pidfd_open(number, THREAD).or_else(|_| {
        let group = crate::observe::thread_group(pid).ok_or(Errno::SRCH)?;
        rustix::process::pidfd_open(group, PidfdFlags::empty())
    })?;
    rustix::process::pidfd_getfd(process, fd, PidfdGetfdFlags::empty())
}

/// Makes the socket on which the caller answers. Does not allocate.
pub(crate) fn listener(port: u16) -> Result<OwnedFd, Errno> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType};
    /// The kernel cuts it at its own limit.
    const BACKLOG: i32 = 4096;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

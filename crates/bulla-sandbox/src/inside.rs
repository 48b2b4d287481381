//! The first process of a sandbox, from the clone to the end of the command. Once it has read its job nothing here allocates.
//!
//! The order matters: identity first (it gives the power over the new namespaces), then network; so far it is the same for each
//! sandbox, and done before there is a job. Then mounts, host name, file system, then limits, then the loss of every power, then the filter; the command is started when the supervisor has
//! the filter's listener and the memory of this process can no longer be read.

use std::{
    ffi::CStr,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType},
    process::{DumpableBehavior, Signal},
    thread::{CapabilitiesSecureBits, CapabilitySet, CapabilitySets, UnshareFlags},
};

use crate::{emulate, net::RESOLVER, prepare::Prepared, root, serve, stage::Stage, sys, wire, wire::Message};

/// Where and why the set-up failed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failure {
    pub(crate) stage: Stage,
    pub(crate) errno: Errno,
}

/// Names the stage at which something failed.
pub(crate) trait At<T> {
    fn at(self, stage: Stage) -> Result<T, Failure>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, stage: Stage) -> Result<T, Failure> {
        self.map_err(|errno| Failure { stage, errno })
    }
}

/// The descriptors that a run brings with it.
pub(crate) struct Streams {
    pub(crate) control: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

const CONTROL: RawFd = 3;
const RESOLVER_SOCKET: RawFd = 4;
const LAST_CAPABILITY: u32 = 63;
const ADDR_NO_RANDOMIZE: u32 = 0x0004_0000;

/// Which identity the sandbox's has outside, as the kernel takes it.
pub(crate) struct Identity {
    pub(crate) uid_map: String,
    pub(crate) gid_map: String,
}

/// Becomes the first process of a sandbox: does what is the same for each, waits for its job, and does that. Call it in the
/// child of a clone only.
pub(crate) fn await_job(ahead: BorrowedFd<'_>, identity: &Identity) -> ! {
    let Ok(ahead) = withdraw(ahead) else { sys::exit(126) };
    let early = begin(identity);
    let Ok(received) = wire::receive(ahead) else { sys::exit(126) };
    // The helper has ended, or needs no more sandboxes.
    let Ok([job, control, stdout, stderr]) = <[OwnedFd; 4]>::try_from(received.fds) else { sys::exit(0) };
    // This process is a copy of one that has one thread, so that it may allocate; with the filter in force it does not.
    let prepared = wire::read_job(job.as_fd()).and_then(|job| Prepared::again(&job));
    let streams = Streams { control, stdout, stderr };
    let Ok(control) = arrange(&streams, early.as_ref().ok()) else { sys::exit(126) };
    std::mem::forget((job, streams));
    // Of the resolver there is another descriptor now, and this one is closed.
    let early = early.map(std::mem::forget);
    let failure = match (early, prepared) {
        (Err(failure), _) => failure,
        // The helper has done the same without an error.
        (Ok(()), Err(_)) => Failure { stage: Stage::Descriptors, errno: Errno::INVAL },
        (Ok(()), Ok(mut prepared)) => {
            let Err(failure) = set_up(&mut prepared, control);
            failure
        }
    };
    report(control, failure);
    sys::exit(126)
}

/// Keeps nothing of the helper's but the socket on which the job comes.
fn withdraw(ahead: BorrowedFd<'_>) -> Result<BorrowedFd<'static>, Errno> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let ahead = sys::dup_above(ahead.as_raw_fd(), 16)?;
    let null = rustix::fs::open(c"/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    // SAFETY: this process is a copy that uses none of the helper's descriptors, and never drops them.
    unsafe {
        sys::dup_to(null.as_raw_fd(), 0, false)?;
        std::mem::forget(null);
        sys::dup_to(ahead, CONTROL, true)?;
        sys::close_from(CONTROL as u32 + 1)?;
        Ok(sys::borrow(CONTROL))
    }
}

/// Does what needs no job. Gives the socket of the resolver.
fn begin(identity: &Identity) -> Result<OwnedFd, Failure> {
    map_ids(&identity.uid_map, &identity.gid_map).at(Stage::Identity)?;
    network()
}

fn report(control: BorrowedFd<'_>, failure: Failure) {
    let message = Message::Failed { stage: failure.stage as u8, errno: failure.errno.raw_os_error() };
    // A plain write: the filter may be in force, and it asks the supervisor about sendmsg.
    let _ = rustix::io::write(control, &message.encode());
}

fn set_up(prepared: &mut Prepared, control: BorrowedFd<'_>) -> Result<std::convert::Infallible, Failure> {
    // SAFETY: no other thread shares anything with this process.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }.at(Stage::Namespaces)?;
    match &prepared.emulation {
        Some(registration) => emulate::register(registration).at(Stage::Emulation)?,
        None => emulate::shut_out(),
    }
    let listener = prepared.listen.map(serve::listener).transpose().at(Stage::Listen)?;
    rustix::system::sethostname(&prepared.hostname).at(Stage::Hostname)?;
    root::enter(prepared)?;
    prepared.forget_secret_files();
    hand_out(control, listener).at(Stage::Handover)?;
    limits(prepared).at(Stage::Limits)?;
    rustix::process::chdir(prepared.cwd.as_c_str()).at(Stage::WorkingDirectory)?;
    drop_privileges(prepared.capabilities).at(Stage::Privileges)?;
    let listener = sys::install_filter(prepared.filter).at(Stage::Filter)?;
    rustix::io::write(control, &Message::Listener { number: listener }.encode()).at(Stage::Handover)?;
    await_go(control).at(Stage::Handover)?;
    start(prepared, control)
}

/// Puts the streams where they belong, and closes every other descriptor but the resolver's.
fn arrange(streams: &Streams, resolver: Option<&OwnedFd>) -> Result<BorrowedFd<'static>, Errno> {
    let above = |fd: &OwnedFd| sys::dup_above(fd.as_raw_fd(), 16);
    let (control, stdout, stderr) = (above(&streams.control)?, above(&streams.stdout)?, above(&streams.stderr)?);
    let resolver = resolver.map(above).transpose()?;
    // SAFETY: this process uses no descriptors but these, and never drops the others.
    unsafe {
        sys::dup_to(stdout, 1, false)?;
        sys::dup_to(stderr, 2, false)?;
        sys::dup_to(control, CONTROL, true)?;
        resolver.map(|resolver| sys::dup_to(resolver, RESOLVER_SOCKET, true)).transpose()?;
        sys::close_from(RESOLVER_SOCKET as u32 + 1)?;
        Ok(sys::borrow(CONTROL))
    }
}

/// Maps the one id of a new user namespace.
pub(crate) fn map_ids(uid_map: &str, gid_map: &str) -> Result<(), Errno> {
    put(c"/proc/self/setgroups", b"deny")?;
    put(c"/proc/self/gid_map", gid_map.as_bytes())?;
    put(c"/proc/self/uid_map", uid_map.as_bytes())
}

fn put(path: &CStr, bytes: &[u8]) -> Result<(), Errno> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, bytes).map(drop)
}

fn network() -> Result<OwnedFd, Failure> {
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None).at(Stage::Loopback)?;
    sys::loopback_up(socket.as_fd()).at(Stage::Loopback)?;
    rustix::net::bind(&socket, &RESOLVER).at(Stage::Resolver)?;
    Ok(socket)
}

/// Gives the supervisor the resolver's socket, the root and the process directory as they are seen inside, and the socket on
/// which the caller answers. None of them stays here.
fn hand_out(control: BorrowedFd<'_>, listener: Option<OwnedFd>) -> Result<(), Errno> {
    // SAFETY: it was put there, and is closed below.
    let resolver = unsafe { sys::borrow(RESOLVER_SOCKET) };
    let root = rustix::fs::open(c"/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let proc = rustix::fs::open(c"/proc", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    match &listener {
        Some(listener) => {
            wire::send(control, Message::Inside, &[resolver, root.as_fd(), proc.as_fd(), listener.as_fd()])?
        }
        None => wire::send(control, Message::Inside, &[resolver, root.as_fd(), proc.as_fd()])?,
    }
    // SAFETY: nothing here uses it any more.
    unsafe { sys::close(RESOLVER_SOCKET) };
    Ok(())
}

fn limits(prepared: &Prepared) -> Result<(), Errno> {
    if prepared.terminal {
        // SAFETY: descriptor 0 is of `/dev/null`, which this process does not use.
        unsafe { sys::dup_to(1, 0, false)? };
    }
    rustix::process::umask(Mode::from_raw_mode((prepared.umask & 0o777).into()));
    for (resource, limit) in &prepared.rlimits {
        rustix::process::setrlimit(*resource, *limit)?;
    }
    rustix::thread::sched_setaffinity(None, &prepared.cpus)?;
    sys::personality(ADDR_NO_RANDOMIZE)
}

fn await_go(control: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut bytes = [0; wire::MESSAGE];
    let count = rustix::io::read(control, &mut bytes)?;
    match Message::decode(bytes.get(..count).unwrap_or_default()) {
        Some(Message::Go) => Ok(()),
        _ => Err(Errno::PIPE),
    }
}

/// Gives up every capability but these, and the ways to get others.
pub(crate) fn drop_privileges(capabilities: u64) -> Result<(), Errno> {
    let keep = CapabilitySet::from_bits_retain(capabilities);
    for number in 0..=LAST_CAPABILITY {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if keep.contains(capability) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => (),
            // Beyond the last capability that this kernel knows.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    rustix::thread::clear_ambient_capability_set()?;
    if capabilities == 0 {
        use CapabilitiesSecureBits as Bits;
        let bits = Bits::NO_ROOT
            | Bits::NO_ROOT_LOCKED
            | Bits::NO_SETUID_FIXUP
            | Bits::NO_SETUID_FIXUP_LOCKED
            | Bits::NO_CAP_AMBIENT_RAISE
            | Bits::NO_CAP_AMBIENT_RAISE_LOCKED;
        rustix::thread::set_capabilities_secure_bits(bits)?;
    }
    rustix::thread::set_no_new_privs(true)?;
    let sets = CapabilitySets { effective: keep, permitted: keep, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets)
}

/// Starts the command and waits for it; the kernel ends all others with this process.
fn start(prepared: &mut Prepared, control: BorrowedFd<'_>) -> Result<std::convert::Infallible, Failure> {
    // The copy of the helper's memory here must not be read from inside. Before there is anything inside: so nothing waits for it.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).at(Stage::Fork)?;
    // SAFETY: this process has one thread, and its child only makes system calls until it executes the command.
    let command = unsafe { sys::fork() }.at(Stage::Fork)?;
    if command == 0 {
        return run(prepared, control);
    }
    prepared.forget_secrets();
    // SAFETY: only the control socket, and the emulator's instance, are used from here on; the owners of the rest never drop them.
    unsafe {
        let kept = emulate::keep(CONTROL + 1).at(Stage::Fork)?;
        sys::close_from(CONTROL as u32 + 1 + u32::from(kept)).at(Stage::Fork)?;
        (0..CONTROL).for_each(|stream| sys::close(stream));
    }
    loop {
        match sys::wait_any() {
            Ok((pid, raw)) if pid == command => {
                let _ = rustix::io::write(control, &Message::Status { raw }.encode());
                sys::exit(0)
            }
            Ok(_) | Err(Errno::INTR) => (),
            Err(errno) => return Err(Failure { stage: Stage::Fork, errno }),
        }
    }
}

/// The command's process: executes the command.
fn run(prepared: &Prepared, control: BorrowedFd<'_>) -> Result<std::convert::Infallible, Failure> {
    // The supervisor reads here what is executed. Nothing else is inside but this process and its parent.
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable).at(Stage::Fork)?;
    rustix::process::setsid().at(Stage::Fork)?;
    if prepared.terminal {
        // SAFETY: descriptor 0 was put there, and stays open.
        rustix::process::ioctl_tiocsctty(unsafe { sys::borrow(0) }).at(Stage::Fork)?;
    }
    sys::cloexec_from(CONTROL as u32).at(Stage::Fork)?;
    let mut worst = Errno::NOENT;
    for program in &prepared.programs {
        // SAFETY: both arrays were made from strings that `prepared` owns, and end with a null pointer.
        match unsafe { sys::execve(program, &prepared.argv, &prepared.envp) } {
            Errno::NOENT | Errno::NOTDIR => (),
            Errno::ACCESS => worst = Errno::ACCESS,
            errno => {
                worst = errno;
                break;
            }
        }
    }
    report(control, Failure { stage: Stage::Execute, errno: worst });
    sys::exit(127)
}

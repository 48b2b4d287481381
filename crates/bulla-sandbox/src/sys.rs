//! The system calls that rustix does not have, and all `unsafe` code of the project.
//!
//! Everything here may be called between `clone` and `execve`: nothing allocates, locks or panics.

use std::{
    ffi::{CStr, c_char, c_long},
    mem,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
    time::Duration,
};

use rustix::io::Errno;

fn check(result: c_long) -> Result<c_long, Errno> {
    if result < 0 {
        // SAFETY: glibc's errno location is always valid for the calling thread.
        Err(Errno::from_raw_os_error(unsafe { *libc::__errno_location() }))
    } else {
        Ok(result)
    }
}

/// Which side of a clone this is.
pub(crate) enum Cloned {
    /// The new process.
    Child,
    /// The process that cloned.
    Parent { pid: i32, pidfd: OwnedFd },
}

/// Clones this process with namespaces (`clone3(2)`), and gives a descriptor of the new process.
///
/// # Safety
/// The process must have a single thread, so that no lock is held by another one in the copy.
pub(crate) unsafe fn clone_with(flags: u64) -> Result<Cloned, Errno> {
    let mut pidfd: RawFd = -1;
    // SAFETY: `clone_args` is plain integers, for which zero is valid and means "not used".
    let mut args: libc::clone_args = unsafe { mem::zeroed() };
    args.flags = flags | libc::CLONE_PIDFD as u64;
    args.pidfd = &raw mut pidfd as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    // SAFETY: the arguments outlive the call; without CLONE_VM the child has its own copy of this stack.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, mem::size_of_val(&args)) })?;
    if pid == 0 {
        return Ok(Cloned::Child);
    }
    // SAFETY: the kernel stored a new descriptor there, and nobody else owns it.
    Ok(Cloned::Parent { pid: pid as i32, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })
}

/// Forks by the plain `clone(2)`, which the filter allows; gives 0 in the child.
///
/// # Safety
/// As [`clone_with`].
pub(crate) unsafe fn fork() -> Result<i32, Errno> {
    // SAFETY: no CLONE_VM, so the child goes on with a copy of this stack.
    check(unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) }).map(|pid| pid as i32)
}

/// Ends this process at once, without destructors.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: always sound; it does not return.
    unsafe { libc::_exit(code) }
}

/// Closes every descriptor from `first` on (`close_range(2)`).
///
/// # Safety
/// No owned descriptor in that range may be used or dropped afterwards.
pub(crate) unsafe fn close_from(first: u32) -> Result<(), Errno> {
    // SAFETY: three integers.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) }).map(drop)
}

/// Marks every descriptor from `first` on to be closed by `execve`.
pub(crate) fn cloexec_from(first: u32) -> Result<(), Errno> {
    // SAFETY: three integers; the flag only changes what a later execve does.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) }).map(drop)
}

/// Puts a copy of a descriptor at a fixed number (`dup3(2)`).
///
/// # Safety
/// Nothing that is still used may own the descriptor `number`.
pub(crate) unsafe fn dup_to(fd: RawFd, number: RawFd, cloexec: bool) -> Result<(), Errno> {
    if fd == number {
        return Err(Errno::INVAL);
    }
    let flags = if cloexec { libc::O_CLOEXEC } else { 0 };
    // SAFETY: integers only; what `number` was is the caller's promise.
    check(unsafe { libc::syscall(libc::SYS_dup3, fd, number, flags) }).map(drop)
}

/// Copies a descriptor to a number that is at least `least`.
pub(crate) fn dup_above(fd: RawFd, least: RawFd) -> Result<RawFd, Errno> {
    // SAFETY: integers only; a bad descriptor gives an error.
    check(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, least) }.into()).map(|fd| fd as RawFd)
}

/// Borrows a descriptor by its number.
///
/// # Safety
/// It must stay open as long as the result is used.
pub(crate) unsafe fn borrow(fd: RawFd) -> BorrowedFd<'static> {
    // SAFETY: the caller's promise.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// Sets attributes of a mount or of all mounts below it (`mount_setattr(2)`).
pub(crate) fn mount_setattr(dir: BorrowedFd<'_>, set: u64, recursive: bool) -> Result<(), Errno> {
    let attributes = libc::mount_attr { attr_set: set, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the structure and the empty path outlive the call, and the size is that of the structure.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            dir.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            mem::size_of_val(&attributes),
        )
    })
    .map(drop)
}

/// Sets the execution domain, which switches address randomisation off (`personality(2)`).
pub(crate) fn personality(persona: u32) -> Result<(), Errno> {
    // SAFETY: an integer.
    check(unsafe { libc::personality(persona.into()) }.into()).map(drop)
}

/// Brings the interface `lo` of this network namespace up (`netdevice(7)`).
pub(crate) fn loopback_up(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: plain integers and bytes, for which zero is valid.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    request.ifr_name[0] = b'l' as c_char;
    request.ifr_name[1] = b'o' as c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: SIOCSIFFLAGS reads an `ifreq`, which outlives the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw mut request) }.into()).map(drop)
}

/// Installs a filter for this process and its descendants, and gives the number of its listener (`seccomp(2)`).
pub(crate) fn install_filter(program: &[libc::sock_filter]) -> Result<RawFd, Errno> {
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    let install = |flags: libc::c_ulong| {
        // SAFETY: the program outlives the call, is not written to, and its length is right.
        check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) })
    };
    let listener = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    // WAIT_KILLABLE_RECV (Linux 5.19): a signal does not restart a call that the supervisor has taken.
    match install(listener | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) {
        Err(Errno::INVAL) => install(listener),
        other => other,
    }
    .map(|fd| fd as RawFd)
}

/// Installs a filter for this process and its descendants that asks nobody (`seccomp(2)`).
pub(crate) fn install_plain_filter(program: &[libc::sock_filter]) -> Result<(), Errno> {
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    // SAFETY: the program outlives the call, is not written to, and its length is right.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) }).map(drop)
}

/// Gives this process namespaces of its own: of users, mounts, network, IPC, host name and cgroups (`unshare(2)`).
///
/// # Safety
/// The process must have a single thread.
pub(crate) unsafe fn unshare() -> Result<(), Errno> {
    let flags = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP;
    // SAFETY: flags only; descriptors stay shared with nobody.
    check(unsafe { libc::unshare(flags) }.into()).map(drop)
}

/// Has writes to a closed socket fail instead of ending this process.
pub(crate) fn ignore_broken_pipes() {
    // SAFETY: SIG_IGN is a valid action for this signal.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// Asks whether the kernel knows user notification.
pub(crate) fn notification_available() -> bool {
    let action: u32 = libc::SECCOMP_RET_USER_NOTIF;
    // SAFETY: the action outlives the call, which only reads it.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action) }).is_ok()
}

/// Executes a program; returns only when it could not.
///
/// # Safety
/// `argv` and `envp` must be arrays of valid strings that end with a null pointer.
pub(crate) unsafe fn execve(path: &CStr, argv: &[*const c_char], envp: &[*const c_char]) -> Errno {
    // SAFETY: the caller's promise.
    let result = unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    check(result.into()).err().unwrap_or(Errno::IO)
}

/// What a process that has ended used.
pub(crate) struct Reaped {
    /// Processor time in user and system mode, with its children that it waited for.
    pub(crate) cpu: Duration,
    /// The largest resident size, in bytes.
    pub(crate) max_rss: u64,
}

/// Waits for a child that has ended.
pub(crate) fn reap(pid: i32) -> Result<Reaped, Errno> {
    let mut status = 0;
    // SAFETY: plain integers, for which zero is valid.
    let mut usage: libc::rusage = unsafe { mem::zeroed() };
    // SAFETY: both places outlive the call.
    check(unsafe { libc::wait4(pid, &raw mut status, libc::__WALL, &raw mut usage) }.into())?;
    let duration = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.unsigned_abs()) + Duration::from_micros(time.tv_usec.unsigned_abs())
    };
    Ok(Reaped {
        cpu: duration(usage.ru_utime) + duration(usage.ru_stime),
        max_rss: usage.ru_maxrss.unsigned_abs() * 1024,
    })
}

/// Waits for any child, and gives its pid and raw status.
pub(crate) fn wait_any() -> Result<(i32, i32), Errno> {
    let mut status = 0;
    // SAFETY: the place outlives the call; no usage is asked for.
    let pid = check(unsafe { libc::wait4(-1, &raw mut status, libc::__WALL, std::ptr::null_mut()) }.into())?;
    Ok((pid as i32, status))
}

/// A system call that waits for the supervisor's answer.
#[derive(Clone, Copy)]
pub(crate) struct Notification {
    pub(crate) id: u64,
    pub(crate) pid: u32,
    pub(crate) call: c_long,
    pub(crate) args: [u64; 6],
}

/// What the supervisor answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// The kernel does what was asked, by its own rules.
    Continue,
    /// The call gives 0.
    Success,
    /// The call fails with this errno.
    Fail(i32),
}

const NOTIF_RECV: libc::Ioctl = 0xc050_2100;
const NOTIF_SEND: libc::Ioctl = 0xc018_2101;
const NOTIF_ID_VALID: libc::Ioctl = 0x4008_2102;
const NOTIF_SET_FLAGS: libc::Ioctl = 0x4008_2104;

/// Asks the kernel to run the supervisor and the asking process on one processor, by turns (Linux 6.6): waking another
/// processor takes longer than most answers. Older kernels do without.
pub(crate) fn wake_in_turns(listener: BorrowedFd<'_>) {
    const SYNC_WAKE_UP: u64 = 1;
    // SAFETY: the request takes its flags by value.
    let _ = check(unsafe { libc::ioctl(listener.as_raw_fd(), NOTIF_SET_FLAGS, SYNC_WAKE_UP) }.into());
}

/// Takes the next notification of a listener (`seccomp_unotify(2)`).
pub(crate) fn notification(listener: BorrowedFd<'_>) -> Result<Notification, Errno> {
    // SAFETY: plain integers; the kernel demands zeroes.
    let mut raw: libc::seccomp_notif = unsafe { mem::zeroed() };
    // SAFETY: the request writes one `seccomp_notif`, which outlives the call.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), NOTIF_RECV, &raw mut raw) }.into())?;
    Ok(Notification { id: raw.id, pid: raw.pid, call: raw.data.nr.into(), args: raw.data.args })
}

/// Says whether the process still waits for this answer, so that its pid still means it.
pub(crate) fn still_waits(listener: BorrowedFd<'_>, notification: &Notification) -> bool {
    // SAFETY: the request reads one u64, which outlives the call.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), NOTIF_ID_VALID, &raw const notification.id) }.into()).is_ok()
}

/// Answers a notification. A process that has ended meanwhile is no error.
pub(crate) fn answer(listener: BorrowedFd<'_>, notification: &Notification, answer: Answer) -> Result<(), Errno> {
    let (error, flags) = match answer {
        Answer::Continue => (0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
        Answer::Success => (0, 0),
        Answer::Fail(errno) => (-errno, 0),
    };
    let mut raw = libc::seccomp_notif_resp { id: notification.id, val: 0, error, flags };
    // SAFETY: the request reads one `seccomp_notif_resp`, which outlives the call.
    match check(unsafe { libc::ioctl(listener.as_raw_fd(), NOTIF_SEND, &raw mut raw) }.into()) {
        Ok(_) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Reads another process's memory into a buffer, and gives how much could be read (`process_vm_readv(2)`).
pub(crate) fn peek(pid: u32, address: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: buffer.len() };
    // SAFETY: the local vector is the buffer; the remote address is only used in the other process.
    let count = unsafe { libc::process_vm_readv(pid as i32, &raw const local, 1, &raw const remote, 1, 0) };
    check(count as c_long).map(|count| count as usize)
}

/// Writes into another process's memory, wholly or with an error (`process_vm_writev(2)`).
pub(crate) fn poke(pid: u32, address: u64, bytes: &[u8]) -> Result<(), Errno> {
    let local = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: bytes.len() };
    // SAFETY: the local vector is only read; the remote address is only used in the other process.
    let count = unsafe { libc::process_vm_writev(pid as i32, &raw const local, 1, &raw const remote, 1, 0) };
    match check(count as c_long)? as usize {
        count if count == bytes.len() => Ok(()),
        _ => Err(Errno::FAULT),
    }
}

/// Gives every signal its default action and lets all of them in, as a new program expects.
pub(crate) fn reset_signals() {
    // SAFETY: SIG_DFL is a valid action for every signal; signals that do not allow it give an error, which is fine.
    // The set is filled by sigemptyset before it is used.
    unsafe {
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Closes a descriptor by its number.
///
/// # Safety
/// Nothing may own it.
pub(crate) unsafe fn close(fd: RawFd) {
    // SAFETY: the caller's promise.
    unsafe { libc::close(fd) };
}

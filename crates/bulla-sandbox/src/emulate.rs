//! Programs of another machine: an instance of `binfmt_misc` for this sandbox alone, in which the emulator is registered, or
//! none.
//!
//! Since Linux 6.7 a user namespace can have an instance of its own, so that nothing is registered on the host and no root is
//! needed. The emulator's program is opened here, before the root is changed, and stays open in the kernel (flag `F` of
//! `Documentation/admin-guide/binfmt-misc.rst`); it is neither seen inside nor could be replaced there. The instance
//! is mounted nowhere: the first process of the sandbox holds it open, and with it ends.

use std::{
    ffi::{CStr, CString},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen},
};

use crate::{request::Machine, sys};

/// The number that the emulator's program has while it is registered; all below are the sandbox's own.
const PROGRAM: i32 = 20;
/// The number that the instance has from then on.
const INSTANCE: i32 = 21;
/// The path under which the kernel finds the program.
const PATH: &str = "/proc/self/fd/20";

/// The file system.
const KIND: &CStr = c"binfmt_misc";

/// What is registered, as it is written.
pub(crate) struct Registration {
    pub(crate) program: CString,
    text: Vec<u8>,
}

impl Registration {
    pub(crate) fn new(program: CString, machine: Machine) -> Self {
        let (name, magic, mask) = match machine {
            // A little-endian ELF of 64 bits, executable or shared, with EM_AARCH64 (183).
            Machine::Aarch64 => (
                "aarch64",
                r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00",
                r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff",
            ),
        };
        // `P`: the first argument stays what the caller gave.
        Self { program, text: format!(":{name}:M::{magic}:{mask}:{PATH}:PF").into_bytes() }
    }
}

/// Registers the emulator. The instance stays open until [`keep`] or the end of the process.
pub(crate) fn register(registration: &Registration) -> Result<(), Errno> {
    let program = rustix::fs::open(registration.program.as_c_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let instance = instance()?;
    let register = rustix::fs::openat(&instance, c"register", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    // SAFETY: this process uses no descriptor of these numbers.
    unsafe {
        sys::dup_to(program.as_raw_fd(), PROGRAM, true)?;
        sys::dup_to(instance.as_raw_fd(), INSTANCE, true)?;
    }
    let done = rustix::io::write(&register, &registration.text).map(drop);
    // SAFETY: it was made above, and the kernel has its own hold on the program now.
    unsafe { sys::close(PROGRAM) };
    done
}

/// Sees that nothing runs under an emulator that the host has registered for all: an instance of the sandbox's own, in which
/// there is none, stands before the host's. Older kernels have one for all.
pub(crate) fn shut_out() {
    // The namespace keeps what its first instance began. A mount of it would cost a grace period of the kernel when it ends.
    if let Ok(context) = fsopen(KIND, FsOpenFlags::FSOPEN_CLOEXEC) {
        let _ = fsconfig_create(context.as_fd());
    }
}

/// Moves the instance to a number, so that all above can be closed. Says whether there is one.
pub(crate) fn keep(number: i32) -> Result<bool, Errno> {
    // SAFETY: the caller has no descriptor of the number.
    match unsafe { sys::dup_to(INSTANCE, number, true) } {
        Ok(()) => Ok(true),
        Err(Errno::BADF) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Mounts an instance. The caller is in a user namespace of its own.
pub(crate) fn instance() -> Result<OwnedFd, Errno> {
    let context = fsopen(KIND, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

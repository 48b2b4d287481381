//! The mounts of a sandbox, made by its first process: root, fixed files, `/dev`, `/proc`, binds, then the change of root.
//!
//! Every target is looked up inside the new root, so that a link in an image cannot point a mount elsewhere. Nothing
//! here allocates.

use std::{
    ffi::CStr,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, IntoRawFd as _, OwnedFd},
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, Timespec, Timestamps},
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
        UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount, mount_change,
        move_mount, open_tree, unmount,
    },
};

use crate::{
    inside::{At as _, Failure},
    prepare::{Layers, Prepared, PreparedBind, PreparedFile, PreparedRoot, PreparedSecrets},
    stage::Stage,
    sys,
};

const DEVICES: &[(&CStr, &CStr)] = &[
    (c"/dev/null", c"null"),
    (c"/dev/zero", c"zero"),
    (c"/dev/full", c"full"),
    (c"/dev/random", c"random"),
    (c"/dev/urandom", c"urandom"),
    (c"/dev/tty", c"tty"),
];

const LINKS: &[(&CStr, &CStr)] = &[
    (c"pts/ptmx", c"ptmx"),
    (c"/proc/self/fd", c"fd"),
    (c"/proc/self/fd/0", c"stdin"),
    (c"/proc/self/fd/1", c"stdout"),
    (c"/proc/self/fd/2", c"stderr"),
];

/// Builds the file system and enters it.
pub(crate) fn enter(prepared: &Prepared) -> Result<(), Failure> {
    mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).at(Stage::Propagation)?;
    let root = match &prepared.root {
        PreparedRoot::Overlay(layers) => overlay(layers).at(Stage::Overlay)?,
        PreparedRoot::Copy { dir } => copied(dir).at(Stage::CopiedRoot)?,
    };
    let root = root.as_fd();
    let dev = dev(root, &prepared.shm_size).at(Stage::Dev)?;
    proc(root).at(Stage::Proc)?;
    fixed_files(root, dev.as_fd(), &prepared.fixed).at(Stage::FixedFiles)?;
    prepared.binds.iter().try_for_each(|bind| attach_bind(root, bind)).at(Stage::Binds)?;
    if let Some(found) = &prepared.secrets {
        secrets(root, found).at(Stage::Secrets)?;
    }
    pivot(root).at(Stage::Pivot)
}

/// Mounts the overlay. Layers are named by descriptors, so that the mount table inside shows no path of the host.
fn overlay(layers: &Layers) -> Result<OwnedFd, Errno> {
    let context = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, c"source", c"root")?;
    let mut lowers = layers.lowers.iter();
    let first = lowers.next().ok_or(Errno::INVAL)?;
    match set_layer(context.as_fd(), c"lowerdir+", first) {
        Ok(()) if !layers.old_way => (),
        // Before Linux 6.7 layers cannot be given one by one.
        Ok(()) | Err(Errno::INVAL) => return old_overlay(layers),
        Err(errno) => return Err(errno),
    }
    for lower in lowers {
        set_layer(context.as_fd(), c"lowerdir+", lower)?;
    }
    set_layer(context.as_fd(), c"upperdir", &layers.upper)?;
    set_layer(context.as_fd(), c"workdir", &layers.work)?;
    fsconfig_set_flag(&context, c"userxattr")?;
    // The upper is thrown away when the machine stops: no sync of the whole disk at the end.
    fsconfig_set_flag(&context, c"volatile")?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOSUID;
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    attach(mount.as_fd(), CWD, &layers.mountpoint)?;
    Ok(mount)
}

/// Mounts the overlay by `mount(2)`, whose options are one page.
fn old_overlay(layers: &Layers) -> Result<OwnedFd, Errno> {
    let mut page = Page { bytes: [0; 4096], length: 0 };
    for (index, lower) in layers.lowers.iter().enumerate() {
        page.push(if index == 0 { b"lowerdir=" } else { b":" })?;
        page.push_layer(lower)?;
    }
    page.push(b",upperdir=")?;
    page.push_layer(&layers.upper)?;
    page.push(b",workdir=")?;
    page.push_layer(&layers.work)?;
    page.push(b",userxattr,volatile")?;
    let options = CStr::from_bytes_until_nul(&page.bytes).map_err(|_| Errno::TOOBIG)?;
    let flags = MountFlags::NODEV | MountFlags::NOSUID;
    mount(c"root", layers.mountpoint.as_c_str(), c"overlay", flags, options)?;
    open_directory(&layers.mountpoint)
}

struct Page {
    bytes: [u8; 4096],
    length: usize,
}

impl Page {
    fn push(&mut self, text: &[u8]) -> Result<(), Errno> {
        // The last byte stays zero.
        let end = self.length + text.len();
        let room = self.bytes.get_mut(self.length..end).filter(|_| end < 4096).ok_or(Errno::TOOBIG)?;
        room.copy_from_slice(text);
        self.length = end;
        Ok(())
    }

    /// Adds a layer by a descriptor that stays open until the command is executed.
    fn push_layer(&mut self, path: &CStr) -> Result<(), Errno> {
        let mut name = [0; 32];
        let layer = open_directory(path)?.into_raw_fd();
        self.push(descriptor_path(layer, &mut name)?.to_bytes())
    }
}

fn open_directory(path: &CStr) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn set_layer(context: BorrowedFd<'_>, key: &CStr, path: &CStr) -> Result<(), Errno> {
    let layer = open_directory(path)?;
    let mut name = [0; 32];
    fsconfig_set_string(context, key, descriptor_path(layer.as_raw_fd(), &mut name)?)
}

/// Writes `/proc/self/fd/N` without allocating.
fn descriptor_path(fd: i32, buffer: &mut [u8; 32]) -> Result<&CStr, Errno> {
    const PREFIX: &[u8] = b"/proc/self/fd/";
    buffer[..PREFIX.len()].copy_from_slice(PREFIX);
    let mut digits = [0_u8; 10];
    let (mut rest, mut count) = (fd.unsigned_abs(), 0);
    loop {
        digits[count] = b'0' + (rest % 10) as u8;
        rest /= 10;
        count += 1;
        if rest == 0 {
            break;
        }
    }
    for (place, digit) in buffer[PREFIX.len()..].iter_mut().zip(digits[..count].iter().rev()) {
        *place = *digit;
    }
    buffer[PREFIX.len() + count] = 0;
    CStr::from_bytes_until_nul(buffer).map_err(|_| Errno::INVAL)
}

fn copied(dir: &CStr) -> Result<OwnedFd, Errno> {
    let tree = clone_tree(CWD, dir, false)?;
    sys::mount_setattr(tree.as_fd(), libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOSUID, false)?;
    attach(tree.as_fd(), CWD, dir)?;
    Ok(tree)
}

/// Covers each fixed file's place with a read-only mount of the file.
///
/// The files are written to `/dev`, mounted from there, and removed again; the mounts keep them. A mount that is made
/// and not attached costs a grace period of the kernel, so the place is looked for first.
fn fixed_files(root: BorrowedFd<'_>, dev: BorrowedFd<'_>, files: &[PreparedFile]) -> Result<(), Errno> {
    const NAME: &CStr = c"fixed";
    const EMPTY: &CStr = c"empty";
    write_file(dev, EMPTY, &[], 0o444)?;
    for file in files {
        // A link at the place is covered, not followed: `/etc/resolv.conf` is often one.
        let target = match inside(root, &file.target, OFlags::PATH | OFlags::NOFOLLOW) {
            Err(Errno::NOENT | Errno::ACCESS) if file.optional => continue,
            target => target?,
        };
        let name = if file.content.is_empty() { EMPTY } else { NAME };
        if name == NAME {
            write_file(dev, NAME, &file.content, 0o444)?;
        }
        let mount = clone_tree(dev, name, false)?;
        sys::mount_setattr(mount.as_fd(), libc::MOUNT_ATTR_RDONLY, false)?;
        attach(mount.as_fd(), target.as_fd(), c"")?;
        if name == NAME {
            rustix::fs::unlinkat(dev, NAME, AtFlags::empty())?;
        }
    }
    rustix::fs::unlinkat(dev, EMPTY, AtFlags::empty())
}

fn write_file(dir: BorrowedFd<'_>, name: &CStr, content: &[u8], mode: u32) -> Result<(), Errno> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(mode))?;
    let mut rest = content;
    while !rest.is_empty() {
        let count = rustix::io::write(&file, rest)?;
        rest = rest.get(count..).unwrap_or_default();
    }
    // What tar or cpio takes along of them is the same in each run.
    const START: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::fs::futimens(&file, &Timestamps { last_access: START, last_modification: START })
}

fn dev(root: BorrowedFd<'_>, shm_size: &CStr) -> Result<OwnedFd, Errno> {
    let target = directory(root, c"dev")?;
    let dev = new_mount(c"tmpfs", &[(c"mode", c"0755"), (c"size", c"1m")])?;
    attach(dev.as_fd(), target.as_fd(), c"")?;
    for (source, name) in DEVICES {
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        rustix::fs::openat(&dev, *name, flags, Mode::from_raw_mode(0o666))?;
        attach(clone_tree(CWD, source, false)?.as_fd(), dev.as_fd(), name)?;
    }
    for (text, name) in LINKS {
        rustix::fs::symlinkat(*text, &dev, *name)?;
    }
    for name in [c"shm", c"pts"] {
        rustix::fs::mkdirat(&dev, name, Mode::from_raw_mode(0o755))?;
    }
    attach(new_mount(c"tmpfs", &[(c"mode", c"1777"), (c"size", shm_size)])?.as_fd(), dev.as_fd(), c"shm")?;
    let terminals = [(c"newinstance", c""), (c"ptmxmode", c"0666"), (c"mode", c"0620")];
    attach(new_mount(c"devpts", &terminals)?.as_fd(), dev.as_fd(), c"pts")?;
    Ok(dev)
}

fn proc(root: BorrowedFd<'_>) -> Result<(), Errno> {
    let target = directory(root, c"proc")?;
    let proc = new_mount(c"proc", &[])?;
    attach(proc.as_fd(), target.as_fd(), c"")?;
    // Settings of the new network namespace belong to uid 0 inside: they are not for a step either.
    let settings = clone_tree(proc.as_fd(), c"sys", false)?;
    sys::mount_setattr(settings.as_fd(), libc::MOUNT_ATTR_RDONLY, false)?;
    attach(settings.as_fd(), proc.as_fd(), c"sys")
}

fn attach_bind(root: BorrowedFd<'_>, bind: &PreparedBind) -> Result<(), Errno> {
    let tree = clone_tree(CWD, &bind.source, true)?;
    let read_only = if bind.writable { 0 } else { libc::MOUNT_ATTR_RDONLY };
    sys::mount_setattr(tree.as_fd(), libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOSUID | read_only, true)?;
    let target = inside(root, &bind.target, OFlags::PATH)?;
    attach(tree.as_fd(), target.as_fd(), c"")
}

/// Mounts a tmpfs with the secrets, which then cannot be written any more, and binds those that have a further place.
fn secrets(root: BorrowedFd<'_>, secrets: &PreparedSecrets) -> Result<(), Errno> {
    let target = inside(root, &secrets.folder, OFlags::PATH | OFlags::DIRECTORY)?;
    let folder = new_mount(c"tmpfs", &[(c"mode", c"0755"), (c"size", &secrets.size)])?;
    attach(folder.as_fd(), target.as_fd(), c"")?;
    for secret in &secrets.files {
        write_file(folder.as_fd(), &secret.name, &secret.content, 0o400)?;
    }
    for (name, target) in &secrets.targets {
        let target = inside(root, target, OFlags::PATH)?;
        let mount = clone_tree(folder.as_fd(), name, false)?;
        sys::mount_setattr(mount.as_fd(), libc::MOUNT_ATTR_RDONLY, false)?;
        attach(mount.as_fd(), target.as_fd(), c"")?;
    }
    sys::mount_setattr(folder.as_fd(), libc::MOUNT_ATTR_RDONLY, false)
}

pub(crate) fn pivot(root: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::process::fchdir(root)?;
    rustix::process::pivot_root(c".", c".")?;
    // The old root lies on top of the new one now; without it no path of the host can be reached.
    unmount(c".", UnmountFlags::DETACH)?;
    rustix::process::chdir(c"/")
}

pub(crate) fn new_mount(kind: &CStr, options: &[(&CStr, &CStr)]) -> Result<OwnedFd, Errno> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        if value.is_empty() {
            fsconfig_set_flag(&context, *key)?;
        } else {
            fsconfig_set_string(&context, *key, *value)?;
        }
    }
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    // Device nodes are bound into /dev, and the mount they are in decides; /proc and terminals have none to open.
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

pub(crate) fn clone_tree(dir: BorrowedFd<'_>, path: &CStr, recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(dir, path, flags)
}

/// Attaches a detached mount at a path below a directory, or at the directory itself when the path is empty.
pub(crate) fn attach(mount: BorrowedFd<'_>, dir: impl AsFd, path: &CStr) -> Result<(), Errno> {
    let mut flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    if path.is_empty() {
        flags |= MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    }
    move_mount(mount, c"", dir, path, flags)
}

fn directory(root: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(root, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty(), resolve)
}

fn inside(root: BorrowedFd<'_>, path: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_has_its_path() {
        let mut buffer = [b'x'; 32];
        assert_eq!(descriptor_path(0, &mut buffer), Ok(c"/proc/self/fd/0"));
        assert_eq!(descriptor_path(i32::MAX, &mut buffer), Ok(c"/proc/self/fd/2147483647"));
    }
}

//! The trials behind the diagnosis: the helper tries each thing that a sandbox needs, in a child of its own.

use std::{
    collections::BTreeMap,
    fs, io,
    os::{fd::AsFd as _, unix::process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::{
    fs::{CWD, Mode, OFlags},
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, fsconfig_create, fsconfig_set_flag,
        fsconfig_set_string, fsmount, fsopen, mount_change,
    },
    net::{AddressFamily, SocketType},
    thread::UnshareFlags,
};

use crate::{emulate, helper, sys};

/// The word that makes the helper examine instead of serve.
pub(crate) const WORD: &str = "examine";

/// What came of each trial: 0, or an errno.
pub(crate) type Trials = BTreeMap<String, i32>;

type Trial = fn(&Path) -> Result<(), Errno>;

const TRIALS: &[(&str, Trial)] = &[
    ("user", |_| enter(UnshareFlags::empty())),
    ("mount", |_| {
        enter(UnshareFlags::NEWNS)?;
        mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
    }),
    ("network", |_| {
        enter(UnshareFlags::NEWNET)?;
        sys::loopback_up(rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None)?.as_fd())
    }),
    ("proc", |_| {
        enter(UnshareFlags::NEWNS | UnshareFlags::NEWPID)?;
        // A process is in the new pid namespace only after a fork.
        in_child(|| mounted("proc", &[]).map(drop))
    }),
    ("overlay", overlay),
    ("emulation", |_| {
        enter(UnshareFlags::NEWNS)?;
        emulate::instance().map(drop)
    }),
    ("notification", |_| if sys::notification_available() { Ok(()) } else { Err(Errno::NOSYS) }),
    ("memory-attributes", |_| {
        enter(UnshareFlags::NEWNS)?;
        let mount = mounted("tmpfs", &[])?;
        let file = rustix::fs::openat(&mount, c"file", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR)?;
        rustix::fs::fsetxattr(&file, c"user.bulla", b"x", rustix::fs::XattrFlags::empty())
    }),
];

/// Runs every trial in a process of its own, under the identity that sandboxes have.
pub(crate) fn examine(place: &Path, service: &str) -> io::Result<Trials> {
    let ground = Ground::new(place, service);
    let output = Command::new("/proc/self/exe")
        .arg0(helper::NAME)
        .args([std::process::id().to_string(), service.to_owned(), WORD.to_owned()])
        .arg(&ground.folder)
        .env_clear()
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let trials = text.lines().filter_map(|line| {
        let (name, errno) = line.split_once(' ')?;
        Some((name.to_owned(), errno.parse().ok()?))
    });
    Ok(trials.collect())
}

/// A folder for the trials, of the identity that sandboxes have, as a store's is: where root alone may write, a store can be
/// made all the same. Where it cannot be made, the trials that need it say why.
struct Ground {
    folder: PathBuf,
    /// Whether it was made here, and so is removed here: others may write in the place.
    made: bool,
}

impl Ground {
    fn new(place: &Path, service: &str) -> Self {
        let folder = place.join(format!(".bulla-doctor-{}", std::process::id()));
        let made = rustix::fs::mkdir(&folder, Mode::RWXU).is_ok();
        if let (true, Ok(uid)) = (made, service.parse()) {
            // Never through a link that somebody put there meanwhile.
            let _ = std::os::unix::fs::lchown(&folder, Some(uid), Some(uid));
        }
        Self { folder, made }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if self.made {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// Tries everything and writes the results; this is the helper's process, which has one thread.
pub(crate) fn report(place: &Path) -> io::Result<()> {
    let mut text = String::new();
    for (name, trial) in TRIALS {
        let errno = in_child(|| trial(place)).err().map_or(0, Errno::raw_os_error);
        text.push_str(&format!("{name} {errno}\n"));
    }
    io::Write::write_all(&mut io::stdout(), text.as_bytes())
}

fn in_child(trial: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
    // SAFETY: the helper has one thread.
    let child = unsafe { sys::fork() }?;
    if child == 0 {
        sys::exit(trial().err().map_or(0, Errno::raw_os_error));
    }
    loop {
        match sys::wait_any()? {
            (pid, raw) if pid == child && raw & 0x7f == 0 => {
                let errno = raw >> 8 & 0xff;
                return if errno == 0 { Ok(()) } else { Err(Errno::from_raw_os_error(errno)) };
            }
            (pid, _) if pid == child => return Err(Errno::FAULT),
            _ => (),
        }
    }
}

fn enter(more: UnshareFlags) -> Result<(), Errno> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    // SAFETY: only namespaces are unshared, no descriptors.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER | more) }?;
    let put = |path: &str, text: &str| -> Result<(), Errno> {
        let file = rustix::fs::open(path, OFlags::WRONLY, Mode::empty())?;
        rustix::io::write(&file, text.as_bytes()).map(drop)
    };
    put("/proc/self/setgroups", "deny")?;
    put("/proc/self/gid_map", &format!("0 {gid} 1"))?;
    put("/proc/self/uid_map", &format!("0 {uid} 1"))
}

fn mounted(kind: &str, options: &[(&str, &Path)]) -> Result<std::os::fd::OwnedFd, Errno> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        fsconfig_set_string(&context, *key, *value)?;
    }
    if kind == "overlay" {
        fsconfig_set_flag(&context, c"userxattr")?;
    }
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_NOSUID)
}

/// Mounts an overlay in a folder, and removes a file of the lower directory, which needs whiteouts to work.
fn overlay(folder: &Path) -> Result<(), Errno> {
    let [lower, upper, work] = ["lower", "upper", "work"].map(|name| folder.join(name));
    let result = in_child(|| {
        for directory in [&lower, &upper, &work] {
            rustix::fs::mkdir(directory, Mode::RWXU)?;
        }
        rustix::fs::openat(CWD, lower.join("file"), OFlags::CREATE | OFlags::WRONLY, Mode::RUSR)?;
        enter(UnshareFlags::NEWNS)?;
        let mount = mounted("overlay", &[("lowerdir", &lower), ("upperdir", &upper), ("workdir", &work)])?;
        rustix::fs::unlinkat(&mount, c"file", rustix::fs::AtFlags::empty())
    });
    for path in [work.join("work"), upper.clone()] {
        let _ = rustix::fs::chmod(path, Mode::RWXU);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_else_put_in_the_place_is_neither_given_away_nor_removed() {
        let place = tempfile::tempdir().expect("a folder");
        let ground = Ground::new(place.path(), "x");
        let folder = ground.folder.clone();
        assert!(folder.is_dir(), "the control");
        drop(ground);
        assert!(!folder.exists(), "what was made here is removed");
        fs::create_dir(&folder).expect("a folder");
        fs::write(folder.join("thesis"), "years of work").expect("a file");
        drop(Ground::new(place.path(), "0"));
        assert!(folder.join("thesis").exists());
    }
}

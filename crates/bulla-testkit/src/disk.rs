//! A small disk, which is soon full.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use crate::{process, skipped};

/// A file system of its own in memory, on a temporary folder. It is unmounted when it is dropped.
#[derive(Debug)]
pub struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// Mounts a disk of so many kibibytes. `None`, after it was said why, where that is not allowed.
    pub fn new(kibibytes: u64) -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("bulla-disk-").tempdir().expect("a temporary folder");
        let options = format!("size={kibibytes}k,mode=0755");
        let mut mount = Command::new("mount");
        match process::output(mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder.path())) {
            Ok(_) => Some(Self { folder }),
            Err(why) => {
                skipped("a small disk", &why);
                None
            }
        }
    }

    /// Gives the folder that the disk is mounted on.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Makes the disk readable alone.
    ///
    /// # Errors
    /// With what `mount` says.
    pub fn make_read_only(&self) -> Result<(), String> {
        process::output(Command::new("mount").args(["-o", "remount,ro"]).arg(self.path())).map(|_| ())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.folder.path()).stderr(Stdio::null()).status();
    }
}

//! Other programs, run for a test.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Runs a command and gives its standard output.
///
/// # Errors
/// When it cannot be run, or fails: with the last of its standard error.
pub fn output(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let out = command.stdin(Stdio::null()).output().map_err(|error| format!("running {name}: {error}"))?;
    if !out.status.success() {
        let text = String::from_utf8_lossy(&out.stderr);
        let tail: Vec<&str> = text.trim().lines().rev().take(5).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        return Err(format!("{name}: {}: {}", out.status, tail.join(" | ")));
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Finds a program on the path. One that is started by its name alone, without this process's environment, is started by
/// a copy of this process, which takes milliseconds; one that is started by its path is not.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Says whether a program is on the path.
pub fn exists(program: &str) -> bool {
    find(program).is_some()
}

/// Says whether the tests run as root.
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs_err::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// Lets every user read a folder, whatever the umask was.
pub fn make_readable(folder: &Path) {
    fs_err::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).expect("the mode of a folder");
}

/// A program that runs in the background, and is ended, by its own id, when it is dropped.
#[derive(Debug)]
pub struct Background {
    child: Child,
}

impl Background {
    /// Starts a program; its standard output and error go to a file.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self, String> {
        let name = command.get_program().to_string_lossy().into_owned();
        let file = std::fs::File::create(log).map_err(|error| format!("making {}: {error}", log.display()))?;
        let other = file.try_clone().map_err(|error| error.to_string())?;
        let child = command.stdin(Stdio::null()).stdout(file).stderr(other).spawn();
        Ok(Self { child: child.map_err(|error| format!("starting {name}: {error}"))? })
    }

    /// Waits until a condition holds; `false` when the program ended or the time is over before.
    pub fn wait_until(&mut self, most: Duration, holds: impl Fn() -> bool) -> bool {
        let end = Instant::now() + most;
        while Instant::now() < end {
            if holds() {
                return true;
            }
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return false;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Asked first, so that it can end what it has started itself.
        let _ = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status();
        let end = Instant::now() + Duration::from_secs(10);
        while Instant::now() < end {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

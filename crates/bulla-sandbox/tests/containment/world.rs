//! What the cases share: a root with this program in it, a launcher, and short ways to run something.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use bulla_sandbox::{Cancel, Error, Exit, Launcher, Limits, Options, Outcome, Privileges, Request, Root, Stream};
use tempfile::TempDir;

/// On a real disk: an overlay needs one, and `/tmp` may be in memory.
pub(crate) const TEMPORARY: &str = "/var/tmp";

/// A root file system with the probe and the C library, a launcher for it, and a folder for upper directories.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) launcher: Launcher,
    pub(crate) cancel: Cancel,
}

/// How a run ended, with what it printed.
pub(crate) struct Ran {
    pub(crate) outcome: Outcome,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// What is left of the run on disk; removed with it.
    pub(crate) scratch: TempDir,
}

impl Ran {
    pub(crate) fn upper(&self) -> PathBuf {
        self.scratch.path().join("upper")
    }
}

pub(crate) fn folder() -> TempDir {
    tempfile::Builder::new().prefix("bulla-sandbox-").tempdir_in(TEMPORARY).expect("a folder")
}

pub(crate) fn open_to_all(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("open it to all");
}

/// Gives a path to the uid that sandboxes run as.
pub(crate) fn give(path: &Path) {
    if rustix::process::geteuid().is_root() {
        let uid = Some(Options::default().service_uid);
        std::os::unix::fs::lchown(path, uid, uid).expect("give it to the service uid");
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::within(folder())
    }

    pub(crate) fn within(folder: TempDir) -> Self {
        open_to_all(folder.path());
        let root = folder.path().join("root");
        for directory in ["bin", "tmp", "etc", "lib64", "lib/x86_64-linux-gnu", "usr/share"] {
            fs::create_dir_all(root.join(directory)).expect("a directory");
        }
        fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).expect("tmp");
        fs::copy("/proc/self/exe", root.join("bin/probe")).expect("the probe");
        for library in
            ["lib/x86_64-linux-gnu/libc.so.6", "lib/x86_64-linux-gnu/libgcc_s.so.1", "lib64/ld-linux-x86-64.so.2"]
        {
            fs::copy(Path::new("/").join(library), root.join(library)).expect("a library");
        }
        fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").expect("passwd");
        fs::write(root.join("usr/share/lower"), "from below\n").expect("a file");
        let launcher = Launcher::start(Options::default()).expect("the launcher starts");
        let world = Self { folder, launcher, cancel: Cancel::new().expect("a handle") };
        world.give_all(&root);
        world
    }

    pub(crate) fn give_all(&self, path: &Path) {
        give(path);
        if path.is_dir() && !path.is_symlink() {
            for entry in fs::read_dir(path).expect("the directory") {
                self.give_all(&entry.expect("an entry").path());
            }
        }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    pub(crate) fn scratch(&self) -> TempDir {
        let scratch = tempfile::tempdir_in(self.folder.path()).expect("a folder");
        give(scratch.path());
        scratch
    }

    pub(crate) fn request(&self, scratch: &Path, words: &[&str]) -> Request {
        let argv = ["/bin/probe", "probe"].iter().chain(words).map(Into::into).collect();
        Request {
            root: Root::Overlay { lowers: vec![self.root()], scratch: scratch.to_owned() },
            binds: Vec::new(),
            secrets: Vec::new(),
            argv,
            env: [("PATH".to_owned(), "/bin".to_owned())].into(),
            cwd: "/tmp".into(),
            hostname: "build".to_owned(),
            umask: 0o022,
            privileges: Privileges::Step,
            identity_fake: false,
            emulation: None,
            stop_on_refusal: false,
            listen: None,
            limits: Limits { time: Duration::from_secs(60), ..Limits::default() },
        }
    }

    /// Runs the probe with these words.
    pub(crate) fn run(&self, words: &[&str]) -> Ran {
        self.run_with(words, |_| ())
    }

    /// Runs the probe after the request was changed.
    pub(crate) fn run_with(&self, words: &[&str], change: impl FnOnce(&mut Request)) -> Ran {
        self.try_run(words, change).unwrap_or_else(|error| panic!("{words:?}: {}", chain(&error)))
    }

    pub(crate) fn try_run(&self, words: &[&str], change: impl FnOnce(&mut Request)) -> Result<Ran, Error> {
        let scratch = self.scratch();
        let mut request = self.request(scratch.path(), words);
        change(&mut request);
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let outcome = self.launcher.run(&request, &self.cancel, &mut |stream, bytes| match stream {
            Stream::Stdout => stdout.extend_from_slice(bytes),
            Stream::Stderr => stderr.extend_from_slice(bytes),
        })?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Ran { outcome, stdout: text(stdout), stderr: text(stderr), scratch })
    }
}

/// Asserts that a run succeeded, and shows what it said when not.
pub(crate) fn succeeded(ran: &Ran) {
    assert_eq!(ran.outcome.exit, Exit::Code(0), "stdout: {}\nstderr: {}", ran.stdout, ran.stderr);
}

pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(&format!(": {inner}"));
        source = inner.source();
    }
    text
}

//! A cleared environment that the real `bulla` runs in.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{debian::DebianRepo, mirror::Mirror, process, project::Project};

/// How a run of `bulla` ended.
#[derive(Debug, Clone)]
pub struct Ran {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Ran {
    /// Panics with all that it said when it did not succeed.
    #[track_caller]
    pub fn success(self) -> Self {
        assert_eq!(self.code, Some(0), "bulla failed\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        self
    }

    /// Panics with all that it said when it did not end with a code.
    #[track_caller]
    pub fn failure(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "another end was expected\n--- stdout\n{}\n--- stderr\n{}",
            self.stdout,
            self.stderr
        );
        self
    }
}

/// A home, a store and a configuration of its own, and nothing else of the environment.
#[derive(Debug)]
pub struct TestEnvironment {
    folder: tempfile::TempDir,
    program: PathBuf,
    user: Option<String>,
    prefix: Vec<String>,
    variables: BTreeMap<String, String>,
}

impl TestEnvironment {
    /// Makes an environment for a program: in a test, `env!("CARGO_BIN_EXE_bulla")`.
    pub fn new(program: impl AsRef<Path>) -> Self {
        let folder = tempfile::Builder::new().prefix("bulla-test-").tempdir().expect("a temporary folder");
        process::make_readable(folder.path());
        let path = |name: &str| folder.path().join(name).display().to_string();
        let mut variables = BTreeMap::from([
            ("PATH".to_owned(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
            ("LC_ALL".to_owned(), "C.UTF-8".to_owned()),
            ("TZ".to_owned(), "UTC".to_owned()),
            ("NO_COLOR".to_owned(), "1".to_owned()),
        ]);
        for (name, place) in [
            ("HOME", "home"),
            ("XDG_CONFIG_HOME", "home/.config"),
            ("XDG_CACHE_HOME", "home/.cache"),
            ("XDG_STATE_HOME", "home/.local/state"),
            ("XDG_RUNTIME_DIR", "run"),
            ("TMPDIR", "tmp"),
            ("BULLA_STORE", "store"),
            ("BULLA_CONFIG", "home/.config/bulla/config.toml"),
        ] {
            let value = path(place);
            let made = if name == "BULLA_CONFIG" { path("home/.config/bulla") } else { value.clone() };
            if name != "BULLA_STORE" {
                fs_err::create_dir_all(made).expect("making a folder");
            }
            variables.insert(name.to_owned(), value);
        }
        let environment =
            Self { folder, program: program.as_ref().to_owned(), user: None, prefix: Vec::new(), variables };
        environment.write_config("[registry.debian]\napt = false\n");
        environment
    }

    /// Makes an environment whose configuration names a mirror and its key.
    pub fn with_mirror(program: impl AsRef<Path>, repo: &DebianRepo, mirror: &Mirror) -> Self {
        let environment = Self::new(program);
        environment.use_mirrors(&[&mirror.url()], &repo.keyring());
        environment
    }

    /// Writes the configuration: these mirrors for all suites, and this keyring. The key is copied beside it.
    pub fn use_mirrors(&self, mirrors: &[&str], keyring: &Path) {
        let key = self.folder.path().join("home/.config/bulla/test-key.asc");
        fs_err::copy(keyring, &key).expect("copying the key");
        self.write_config(&configuration(mirrors, &key));
    }

    /// Writes any configuration.
    pub fn write_config(&self, text: &str) {
        fs_err::write(self.config(), text).expect("writing the configuration");
    }

    /// Gives the configuration file.
    pub fn config(&self) -> PathBuf {
        PathBuf::from(&self.variables["BULLA_CONFIG"])
    }

    /// Gives the store's folder.
    pub fn store(&self) -> PathBuf {
        PathBuf::from(&self.variables["BULLA_STORE"])
    }

    /// Gives the folder that all of the environment is in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Sets a variable.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Takes a variable away.
    pub fn unset(mut self, name: &str) -> Self {
        self.variables.remove(name);
        self
    }

    /// Runs the program by way of another, which is given the program and its arguments: `["taskset", "1"]`, or
    /// `["sh", "-c", "umask 077; exec \"$@\"", "sh"]`. It runs before the user is changed.
    pub fn through(mut self, words: &[&str]) -> Self {
        self.prefix = words.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Runs as an ordinary user, who is made when the test runs as root and the user is missing. When the test does not run
    /// as root it is an ordinary user already, and stays.
    pub fn as_user(mut self, name: &str) -> Self {
        if process::is_root() {
            if process::output(Command::new("id").arg(name)).is_err() {
                process::output(Command::new("useradd").args(["-m", name])).expect("making the user of the test");
            }
            process::output(Command::new("chown").arg("-R").arg(format!("{name}:")).arg(self.folder.path()))
                .expect("giving the user its folders");
            self.user = Some(name.to_owned());
        }
        self
    }

    /// Panics unless the user has no range of subordinate ids: the tests must show that none is needed.
    pub fn without_subuid(self) -> Self {
        let user = self.user.clone().or_else(|| process::output(Command::new("id").arg("-un")).ok());
        let user = user.map(|name| name.trim().to_owned()).expect("the user's name");
        for file in ["/etc/subuid", "/etc/subgid"] {
            let Ok(text) = fs_err::read_to_string(file) else { continue };
            let kept: Vec<&str> = text.lines().filter(|line| line.split(':').next() != Some(user.as_str())).collect();
            if kept.len() != text.lines().count() {
                // `useradd` gives a range to each user it makes.
                assert!(user.starts_with("bulla-test") && process::is_root(), "{user} has a range in {file}");
                fs_err::write(file, kept.iter().map(|line| format!("{line}\n")).collect::<String>())
                    .expect("writing ids");
            }
        }
        self
    }

    /// Gives a command that runs the program in this environment, in a folder.
    pub fn command(&self, folder: &Path) -> Command {
        let mut words = self.prefix.clone();
        if let Some(user) = &self.user {
            let setpriv = ["setpriv", "--reuid", user, "--regid", user, "--init-groups", "--no-new-privs", "--"];
            words.extend(setpriv.map(str::to_owned));
        }
        words.push(self.program.display().to_string());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command.env_clear().envs(&self.variables).current_dir(folder).stdin(Stdio::null());
        command
    }

    /// Gives a project to the user that the program runs as.
    pub fn own(&self, project: &Project) {
        if let Some(user) = &self.user {
            process::output(Command::new("chown").arg("-R").arg(format!("{user}:")).arg(project.root()))
                .expect("giving the user the project");
        }
    }

    /// Runs the program in a project, and waits for its end.
    pub fn run(&self, project: &Project, arguments: &[&str]) -> Ran {
        self.own(project);
        let out = self.command(project.root()).args(arguments).output().expect("bulla can be run");
        Ran {
            code: out.status.code(),
            stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
        }
    }
}

/// Gives the text of a configuration: these mirrors for all suites, this keyring, and nothing of the machine's own apt.
pub fn configuration(mirrors: &[&str], keyring: &Path) -> String {
    let quoted: Vec<String> = mirrors.iter().map(|mirror| format!("{mirror:?}")).collect();
    let (mirrors, keyring) = (quoted.join(", "), keyring.display());
    format!(
        "[registry.debian]\napt = false\nmirrors = [{mirrors}]\nsecurity-mirrors = [{mirrors}]\nkeyrings = [\"{keyring}\"]\n"
    )
}

impl Drop for TestEnvironment {
    fn drop(&mut self) {
        // What the sandbox leaves may be unreadable folders, which a plain removal stumbles over.
        let _ = Command::new("chmod").args(["-R", "u+rwX"]).arg(self.folder.path()).stderr(Stdio::null()).status();
    }
}

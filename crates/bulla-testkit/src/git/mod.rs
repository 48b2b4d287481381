//! Git repositories made by the real `git`, and a server on loopback that gives them by the real `git http-backend`, well or badly.

mod backend;
mod server;

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

pub use server::{GitAsked, GitSaid, GitServer};

use crate::process;

/// Says whether git and its server program are there; says so when they are not.
pub fn has_git(what: &str) -> bool {
    let backend = process::output(Command::new("git").arg("--exec-path"));
    let there = backend.is_ok_and(|path| Path::new(path.trim()).join("git-http-backend").is_file());
    if !there {
        crate::skipped(what, "git, or its `http-backend`, is not installed");
    }
    there
}

/// A command that runs git as nobody in particular: no settings of the machine or its user.
pub fn git_command(folder: &Path) -> Command {
    static GIT: LazyLock<PathBuf> = LazyLock::new(|| process::find("git").unwrap_or_else(|| "git".into()));
    let mut command = Command::new(&*GIT);
    command.current_dir(folder).env_clear().envs(environment(folder));
    command
}

/// The environment of git: dates that stand still, no settings, and the programs of the machine.
fn environment(folder: &Path) -> Vec<(&'static str, String)> {
    vec![
        ("PATH", std::env::var("PATH").unwrap_or_default()),
        ("HOME", folder.display().to_string()),
        ("GIT_CONFIG_NOSYSTEM", "1".into()),
        ("GIT_CONFIG_GLOBAL", "/dev/null".into()),
        ("GIT_AUTHOR_NAME", "A Tester".into()),
        ("GIT_AUTHOR_EMAIL", "tester@shop.example".into()),
        ("GIT_AUTHOR_DATE", "1767323045 +0000".into()),
        ("GIT_COMMITTER_NAME", "A Tester".into()),
        ("GIT_COMMITTER_EMAIL", "tester@shop.example".into()),
        ("GIT_COMMITTER_DATE", "1767323045 +0000".into()),
        ("GIT_TERMINAL_PROMPT", "0".into()),
        ("LC_ALL", "C".into()),
        // Repositories of the test lie in folders of the test, whoever runs it.
        ("GIT_CONFIG_COUNT", "4".into()),
        ("GIT_CONFIG_KEY_0", "safe.directory".into()),
        ("GIT_CONFIG_VALUE_0", "*".into()),
        ("GIT_CONFIG_KEY_1", "protocol.file.allow".into()),
        ("GIT_CONFIG_VALUE_1", "always".into()),
        ("GIT_CONFIG_KEY_2", "core.protectNTFS".into()),
        ("GIT_CONFIG_VALUE_2", "false".into()),
        ("GIT_CONFIG_KEY_3", "init.defaultBranch".into()),
        ("GIT_CONFIG_VALUE_3", "main".into()),
    ]
}

/// A repository that lies in a folder of a test.
#[derive(Debug, Clone)]
pub struct GitRepo {
    folder: PathBuf,
}

impl GitRepo {
    /// Makes an empty repository with the branch `main`.
    pub fn init(folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        fs_err::create_dir_all(&folder).expect("making a folder");
        let repo = Self { folder };
        repo.git(&["init", "-q"]);
        repo
    }

    /// Takes the repository that lies in a folder.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Gives its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs git in it, and gives what it says without the line feed at the end.
    pub fn git(&self, arguments: &[&str]) -> String {
        self.git_with(&[], arguments)
    }

    /// As [`GitRepo::git`], with more in the environment.
    pub fn git_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> String {
        let mut command = git_command(&self.folder);
        command.envs(variables.iter().copied()).args(arguments);
        process::output(&mut command).expect("git does what it is told").trim_end().to_owned()
    }

    /// Writes an object of any bytes, well formed or not, and gives its id.
    pub fn object(&self, kind: &str, bytes: &[u8]) -> String {
        use std::io::Write;
        let mut command = git_command(&self.folder);
        command.args(["hash-object", "-t", kind, "-w", "--literally", "--stdin"]);
        let mut child = command
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("git can be run");
        child.stdin.take().expect("a pipe").write_all(bytes).expect("git reads it");
        let out = child.wait_with_output().expect("git ends");
        assert!(out.status.success(), "writing an object");
        String::from_utf8_lossy(&out.stdout).trim_end().to_owned()
    }

    /// Writes a tree of entries as they are: mode, name, id.
    pub fn tree(&self, entries: &[(&str, &[u8], &str)]) -> String {
        let mut bytes = Vec::new();
        for (mode, name, id) in entries {
            bytes.extend([mode.as_bytes(), b" ", name, b"\0"].concat());
            let digit = |at: usize| u8::from_str_radix(&id[at..at + 2], 16).expect("an id");
            bytes.extend((0..20).map(|at| digit(2 * at)));
        }
        self.object("tree", &bytes)
    }

    /// Makes a commit of a tree, and lets the branch `main` lead there.
    pub fn commit_tree(&self, tree: &str) -> String {
        let text = format!(
            "tree {tree}\nauthor A Tester <tester@shop.example> 1767323045 +0000\n\
             committer A Tester <tester@shop.example> 1767323045 +0000\n\nhostile\n"
        );
        let id = self.object("commit", text.as_bytes());
        self.git(&["update-ref", "refs/heads/main", &id]);
        id
    }

    /// Writes a file.
    pub fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let file = self.folder.join(path);
        fs_err::create_dir_all(file.parent().expect("a folder")).expect("making a folder");
        fs_err::write(&file, bytes).expect("writing a file");
    }

    /// Writes a program.
    pub fn program(&self, path: &str, bytes: impl AsRef<[u8]>) {
        self.write(path, bytes);
        let mode = std::fs::Permissions::from_mode(0o755);
        fs_err::set_permissions(self.folder.join(path), mode).expect("the mode of a file");
    }

    /// Makes a symbolic link.
    pub fn link(&self, path: &str, target: &str) {
        let link = self.folder.join(path);
        fs_err::create_dir_all(link.parent().expect("a folder")).expect("making a folder");
        fs_err::os::unix::fs::symlink(target, link).expect("making a link");
    }

    /// Commits all that is there and a submodule at a path, of any commit.
    pub fn commit_with_submodule(&self, path: &str, commit: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},{path}")]);
        self.git(&["commit", "-q", "-m", "a submodule"]);
        self.head()
    }

    /// Commits all that is there, and gives the commit.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.head()
    }

    /// Gives the newest commit.
    pub fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"])
    }
}

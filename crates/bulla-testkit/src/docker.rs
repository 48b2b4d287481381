//! A private Docker and a private registry, on sockets and ports of their own.

use std::{
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    process::{self, Background},
    skipped,
};

/// A Docker daemon with its own data, socket and no network of its own. It ends when it is dropped.
#[derive(Debug)]
pub struct Docker {
    _daemon: Background,
    folder: tempfile::TempDir,
}

impl Docker {
    /// Starts a daemon. `None`, after it was said why, where there is no Docker, or the test does not run as root.
    pub fn start() -> Option<Self> {
        if !process::is_root() || !process::exists("dockerd") || !process::exists("docker") {
            skipped("Docker", "it needs root, dockerd and docker");
            return None;
        }
        let folder = tempfile::Builder::new().prefix("bulla-docker-").tempdir().expect("a temporary folder");
        let log = folder.path().join("dockerd.log");
        let mut daemon = Background::start(&mut dockerd(folder.path()), &log).ok()?;
        let docker = |daemon| Self { _daemon: daemon, folder };
        let socket = log.with_file_name("docker.sock");
        let answers = || process::output(client(&socket).arg("version")).is_ok();
        if !daemon.wait_until(Duration::from_secs(60), answers) {
            let text = fs_err::read_to_string(&log).unwrap_or_default();
            skipped("Docker", &format!("dockerd did not start: {}", text.lines().last().unwrap_or_default()));
            return None;
        }
        Some(docker(daemon))
    }

    /// Gives the socket's address for `DOCKER_HOST`.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Gives the socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    /// Gives a client of this daemon, to which arguments are added.
    pub fn client(&self) -> Command {
        client(&self.socket())
    }

    /// Runs the client and gives its standard output.
    ///
    /// # Errors
    /// When it fails.
    pub fn run(&self, arguments: &[&str]) -> Result<String, String> {
        process::output(self.client().args(arguments))
    }
}

fn client(socket: &Path) -> Command {
    let mut command = Command::new("docker");
    command.env_remove("DOCKER_CONTEXT").arg("--host").arg(format!("unix://{}", socket.display()));
    command
}

fn dockerd(folder: &Path) -> Command {
    let mut command = Command::new("dockerd");
    let path = |name: &str| folder.join(name).display().to_string();
    command.args([
        "--iptables=false",
        "--ip6tables=false",
        "--bridge=none",
        "--ip-forward=false",
        "--storage-driver=vfs",
    ]);
    command.arg(format!("--host=unix://{}", path("docker.sock")));
    for (option, name) in [("data-root", "data"), ("exec-root", "exec"), ("pidfile", "docker.pid")] {
        command.arg(format!("--{option}={}", path(name)));
    }
    fs_err::write(folder.join("daemon.json"), "{}").expect("writing the daemon's configuration");
    command.arg(format!("--config-file={}", path("daemon.json")));
    command
}

/// A registry (the `docker-registry` package) on a port of loopback. It ends when it is dropped.
#[derive(Debug)]
pub struct Registry {
    _daemon: Background,
    folder: tempfile::TempDir,
    port: u16,
}

impl Registry {
    /// Starts a registry. `None`, after it was said why, where there is none.
    pub fn start() -> Option<Self> {
        Self::start_as(None)
    }

    /// Starts a registry that lets in who has this login alone (`htpasswd`, of the `apache2-utils` package).
    pub fn start_with_login(name: &str, password: &str) -> Option<Self> {
        if !process::exists("htpasswd") {
            skipped("the registry with a login", "htpasswd is not installed");
            return None;
        }
        let line =
            process::output(Command::new("htpasswd").args(["-Bbn", name, password])).expect("a line of htpasswd");
        Self::start_as(Some(&line))
    }

    fn start_as(htpasswd: Option<&str>) -> Option<Self> {
        if !process::exists("docker-registry") {
            skipped("the registry", "docker-registry is not installed");
            return None;
        }
        let folder = tempfile::Builder::new().prefix("bulla-registry-").tempdir().expect("a temporary folder");
        let port = free_port();
        let data = folder.path().join("data").display().to_string();
        let mut config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {data}}}\n  delete: {{enabled: true}}\nhttp:\n  addr: 127.0.0.1:{port}\n"
        );
        if let Some(line) = htpasswd {
            let file = folder.path().join("htpasswd");
            fs_err::write(&file, line).expect("writing the registry's logins");
            config.push_str(&format!("auth:\n  htpasswd: {{realm: test, path: {}}}\n", file.display()));
        }
        let file = folder.path().join("registry.yml");
        fs_err::write(&file, config).expect("writing the registry's configuration");
        let log = folder.path().join("registry.log");
        let mut daemon = Background::start(Command::new("docker-registry").arg("serve").arg(&file), &log).ok()?;
        if !daemon.wait_until(Duration::from_secs(20), || TcpStream::connect(("127.0.0.1", port)).is_ok()) {
            skipped("the registry", "docker-registry did not start");
            return None;
        }
        Some(Self { _daemon: daemon, folder, port })
    }

    /// Gives `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Gives what the registry wrote about its requests, a line each: `… "POST /v2/team/shop/blobs/uploads/ HTTP/1.1" 202 …`.
    pub fn log(&self) -> String {
        fs_err::read_to_string(self.folder.path().join("registry.log")).unwrap_or_default()
    }
}

/// Gives a port of loopback that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
    listener.local_addr().expect("a bound socket has an address").port()
}

//! Verdaccio: a real registry of npm, installed by npm itself and kept in the cache.

use std::{net::TcpStream, path::PathBuf, process::Command, time::Duration};

use crate::{
    NpmPackage, cache,
    docker::free_port,
    process::{self, Background},
    skipped,
};

/// The version that is run.
const VERSION: &str = "6";
/// The name and password of the one user that there is.
const USER: [&str; 2] = ["ada", "correct-horse"];

/// A registry of npm on loopback. What is beneath `@acme` is for its one user, the rest for all. It ends when it is dropped.
#[derive(Debug)]
pub struct Verdaccio {
    _daemon: Background,
    folder: tempfile::TempDir,
    port: u16,
    /// The token of the user.
    pub token: String,
}

impl Verdaccio {
    /// Starts it. `None`, after it was said why, where it cannot be had.
    pub fn start() -> Option<Self> {
        match Self::try_start() {
            Ok(registry) => Some(registry),
            Err(why) => {
                skipped("verdaccio", &why);
                None
            }
        }
    }

    fn try_start() -> Result<Self, String> {
        let program = program()?;
        let folder =
            tempfile::Builder::new().prefix("bulla-verdaccio-").tempdir().map_err(|error| error.to_string())?;
        let config = "storage: ./storage\nauth:\n  htpasswd: {file: ./htpasswd}\nlog: {type: stdout, level: warn}\npackages:\n  '@acme/*': {access: $authenticated, publish: $authenticated}\n  '**': {access: $all, publish: $authenticated}\n";
        let file = folder.path().join("config.yaml");
        fs_err::write(&file, config).map_err(|error| error.to_string())?;
        let port = free_port();
        let log = folder.path().join("verdaccio.log");
        let mut command = Command::new("node");
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", folder.path());
        command.arg(program).arg("--config").arg(&file).args(["--listen", &format!("127.0.0.1:{port}")]);
        let mut daemon = Background::start(&mut command, &log)?;
        if !daemon.wait_until(Duration::from_secs(120), || TcpStream::connect(("127.0.0.1", port)).is_ok()) {
            let text = fs_err::read_to_string(&log).unwrap_or_default();
            return Err(format!("it did not start: {}", text.lines().last().unwrap_or_default()));
        }
        let mut registry = Self { _daemon: daemon, folder, port, token: String::new() };
        registry.token = registry.log_in()?;
        Ok(registry)
    }

    /// Makes the user, and gives its token, as `npm login` has it.
    fn log_in(&self) -> Result<String, String> {
        let script = "const [url, name, password] = process.argv.slice(1);
            fetch(`${url}-/user/org.couchdb.user:${name}`, { method: 'PUT', headers: { 'content-type': 'application/json' },
              body: JSON.stringify({ name, password }) })
              .then(answer => answer.json()).then(json => { if (!json.token) throw new Error(JSON.stringify(json)); console.log(json.token); });";
        let mut node = Command::new("node");
        node.args(["-e", script, &self.url()]).args(USER);
        Ok(process::output(&mut node)?.trim().to_owned())
    }

    /// Gives its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// Gives the line of npm's settings that has the login.
    pub fn login(&self) -> String {
        format!("//127.0.0.1:{}/:_authToken={}\n", self.port, self.token)
    }

    /// Publishes a package, as npm does it.
    pub fn publish(&self, package: &NpmPackage) {
        let file = self.folder.path().join("package.tgz");
        fs_err::write(&file, package.archive()).expect("writing an archive");
        fs_err::write(self.folder.path().join(".npmrc"), self.login()).expect("npm's settings");
        let mut npm = crate::npm::npm(self.folder.path(), self.folder.path(), &self.url());
        process::output(npm.args(["publish", "--ignore-scripts", "--tag", "latest"]).arg(&file)).expect("publishing");
    }
}

/// Gives its main program, which npm installs when it is not there.
fn program() -> Result<PathBuf, String> {
    let folder = cache::folder().join(format!("verdaccio-{VERSION}"));
    let program = folder.join("node_modules/verdaccio/bin/verdaccio");
    let _lock = cache::lock("verdaccio");
    if !folder.join("complete").is_file() {
        fs_err::create_dir_all(&folder).map_err(|error| error.to_string())?;
        // It wants a tag of a package, which not every mirror has.
        let manifest = r#"{"name": "holder", "private": true, "overrides": {"node-fetch": "2.6.7"}}"#;
        fs_err::write(folder.join("package.json"), manifest).map_err(|error| error.to_string())?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--ignore-scripts", "--no-audit", "--no-fund", &format!("verdaccio@{VERSION}")]);
        process::output(npm.current_dir(&folder))?;
        fs_err::write(folder.join("complete"), "").map_err(|error| error.to_string())?;
    }
    if program.is_file() { Ok(program) } else { Err(format!("{} is not there", program.display())) }
}

//! The configuration: what the user and the machine say about mirrors, proxies, keys, the store and the work.
//!
//! It is read from `/etc/bulla/config.toml` and `$XDG_CONFIG_HOME/bulla/config.toml`, each key from the second where it is in
//! both, and never from the project, since a spec may come from a stranger. Documented in `docs/configuration.md`.

mod cargo;
mod evidence;
mod file;
mod go;
mod maven;
mod problem;
mod pypi;
mod store;

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

use bulla_model::spec::Glob;
use bulla_net::Url;

use self::file::File;
pub(crate) use self::{evidence::Evidence, pypi::Pypi};
use crate::{
    environment::Environment,
    error::{CliError, Result},
    registry::Proxies,
    remote::Others,
};

/// The most bytes that a configuration file may have.
const MAX_FILE: u64 = 1 << 20;

/// The configuration, checked, with the defaults filled in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Config {
    /// The files that it was read from.
    pub files: Vec<PathBuf>,
    /// The store's folder.
    pub store: Option<PathBuf>,
    /// The user id that owns the store when Bulla runs as root.
    pub store_uid: Option<u32>,
    /// How many steps run at once.
    pub jobs: Option<usize>,
    /// What a step may use, where the spec says nothing.
    pub limits: Limits,
    /// How the network is reached.
    pub network: Network,
    /// Where Debian's packages are.
    pub debian: Debian,
    /// Where packages of npm are.
    pub npm: Npm,
    /// Where modules of Go are.
    pub go: Go,
    /// Where packages of Python are.
    pub pypi: Pypi,
    /// Where crates are.
    pub cargo: Cargo,
    /// Where artifacts of Maven are.
    pub maven: Maven,
    /// What is said of registries of images.
    pub oci: Oci,
    /// Stores of others.
    pub others: Others,
    /// What is said of evidence.
    pub evidence: Evidence,
}

/// What is said of registries of images, each by `HOST[:PORT]`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Oci {
    /// Those that may be asked without encryption.
    pub insecure: Vec<String>,
    /// Those that a spec may name although they are of this machine or its link.
    pub local: Vec<String>,
    /// Where they are read instead: `HOST[:PORT][/PREFIX]`.
    pub mirrors: BTreeMap<String, String>,
    /// Those of whose repositories a folder has layouts, which specs start from.
    pub layouts: BTreeMap<String, PathBuf>,
}

/// Where packages of npm are.
#[derive(Debug, Clone)]
pub(crate) struct Npm {
    /// Whether npm's own settings of the user and the machine are read for what is not configured here, and for logins.
    pub npmrc: bool,
    /// The base address of the registry.
    pub registry: Option<Url>,
    /// Those of scopes, `@scope`, that have one of their own.
    pub scopes: BTreeMap<String, Url>,
}

impl Default for Npm {
    fn default() -> Self {
        Self { npmrc: true, registry: None, scopes: BTreeMap::new() }
    }
}

/// Where modules of Go are.
#[derive(Debug, Clone)]
pub(crate) struct Go {
    /// Whether Go's own settings of the user are read for what is not configured here.
    pub go_env: bool,
    /// The module proxies, as `GOPROXY` has them.
    pub proxy: Option<Proxies>,
    /// Those of modules whose names fit a pattern, as `GOPRIVATE` has them.
    pub private: BTreeMap<Glob, Proxies>,
}

impl Default for Go {
    fn default() -> Self {
        Self { go_env: true, proxy: None, private: BTreeMap::new() }
    }
}

/// Where crates are.
#[derive(Debug, Clone)]
pub(crate) struct Cargo {
    /// Whether cargo's own settings of the user are read for what is not configured here, and for logins.
    pub cargo_config: bool,
    /// The sparse index of what cargo calls `crates-io`.
    pub registry: Option<Url>,
}

impl Default for Cargo {
    fn default() -> Self {
        Self { cargo_config: true, registry: None }
    }
}

/// Where artifacts of Maven are.
#[derive(Debug, Clone)]
pub(crate) struct Maven {
    /// Whether Maven's own settings of the user and the machine are read for what is not configured here, and for logins.
    pub maven_settings: bool,
    /// The base addresses of repositories: the first that has something counts.
    pub repositories: Vec<Url>,
}

impl Default for Maven {
    fn default() -> Self {
        Self { maven_settings: true, repositories: Vec::new() }
    }
}

/// What a step may use, where the spec says nothing; `None` is the sandbox's own default.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// Disk in bytes.
    pub disk: Option<u64>,
    /// Time on the wall.
    pub time: Option<Duration>,
    /// Processes and threads at once.
    pub processes: Option<u32>,
}

/// How the network is reached.
#[derive(Debug, Clone, Default)]
pub(crate) struct Network {
    /// The proxy for `http` URLs.
    pub http_proxy: Option<String>,
    /// The proxy for `https` URLs.
    pub https_proxy: Option<String>,
    /// The hosts that are asked directly.
    pub no_proxy: Option<Vec<String>>,
    /// Files with certificate authorities that are trusted beside the system's.
    pub ca_files: Vec<PathBuf>,
    /// The hosts of this machine or its link that URLs of a spec may lead to.
    pub local_hosts: Vec<String>,
    /// The hosts that a spec may ask by SSH, with the user's keys.
    pub ssh_hosts: Vec<String>,
    /// The most connections to one host.
    pub connections: Option<usize>,
}

/// Where Debian's packages are.
#[derive(Debug, Clone)]
pub(crate) struct Debian {
    /// Whether the machine's apt settings are read for what is not configured here.
    pub apt: bool,
    /// The folder of apt's settings.
    pub apt_folder: PathBuf,
    /// The base addresses of the main archive, the first first.
    pub mirrors: Vec<Url>,
    /// The base addresses of the security archive, the first first.
    pub security_mirrors: Vec<Url>,
    /// Files with further keys that may sign the indexes.
    pub keyrings: Vec<PathBuf>,
    /// Where single suites are.
    pub repositories: Vec<Repository>,
}

impl Default for Debian {
    fn default() -> Self {
        Self {
            apt: true,
            apt_folder: PathBuf::from("/etc/apt"),
            mirrors: Vec::new(),
            security_mirrors: Vec::new(),
            keyrings: Vec::new(),
            repositories: Vec::new(),
        }
    }
}

/// Where single suites are.
#[derive(Debug, Clone)]
pub(crate) struct Repository {
    /// The suites.
    pub suites: Vec<String>,
    /// Their base addresses, the first first.
    pub mirrors: Vec<Url>,
    /// Files with the keys that may sign their indexes, in place of Debian's own.
    pub keyrings: Vec<PathBuf>,
}

impl Config {
    /// Reads the configuration of this user on this machine.
    ///
    /// # Errors
    /// When a file is unreadable, or wrong: then with the line. A file that `$BULLA_CONFIG` names must exist.
    pub(crate) fn read(environment: &Environment) -> Result<Self> {
        let mut files = Vec::new();
        let mut merged = File::default();
        for path in environment.config_files() {
            let Some(text) = read_file(&path, environment.config.is_some())? else { continue };
            merged = File::parse(&path.display().to_string(), &text)?.over(merged);
            files.push(path);
        }
        Ok(Self { files, ..merged.into_config() })
    }
}

/// Says whether the text of a configuration file is good.
///
/// # Errors
/// When it is not.
#[cfg(test)]
pub(crate) fn check_text(name: &str, text: &str) -> Result<()> {
    File::parse(name, text).map(drop)
}

fn read_file(path: &Path, required: bool) -> Result<Option<String>> {
    use std::io::Read;
    let file = match fs_err::File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound && !required => return Ok(None),
        file => file.map_err(CliError::file)?,
    };
    let mut text = String::new();
    file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(CliError::file)?;
    if text.len() as u64 > MAX_FILE {
        return Err(CliError::Option(format!("{} is larger than {MAX_FILE} bytes", path.display())).into());
    }
    Ok(Some(text))
}

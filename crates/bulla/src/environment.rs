//! The environment of the process, read once and nowhere else.

mod python;

use std::{collections::BTreeMap, ffi::OsString, os::unix::ffi::OsStringExt as _, path::PathBuf};

pub(crate) use self::python::Python;

/// What Bulla takes from environment variables. Empty variables count as absent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    /// `$HOME`, when it is absolute.
    pub home: Option<PathBuf>,
    /// `$XDG_CONFIG_HOME`, when it is absolute (XDG base directory specification: others are to be ignored).
    config_home: Option<PathBuf>,
    /// `$XDG_CACHE_HOME`, when it is absolute.
    cache_home: Option<PathBuf>,
    /// `$XDG_STATE_HOME`, when it is absolute.
    state_home: Option<PathBuf>,
    /// Whether `$CI` says that this is a continuous-integration run.
    pub ci: bool,
    /// Whether `$NO_COLOR` is set.
    pub no_color: bool,
    /// Whether `$TERM` says that the terminal can do nothing.
    pub dumb_terminal: bool,
    /// `$TERM`, where it is a plain word.
    pub term: Option<String>,
    /// `$BULLA_STORE`: the store's folder.
    pub store: Option<PathBuf>,
    /// `$BULLA_BRANCH`: the branch that is built, where the checkout does not tell.
    pub branch: Option<String>,
    /// `$BULLA_SIGNING_KEY`: the file of the key that signs results.
    pub signing_key: Option<PathBuf>,
    /// `$BULLA_CONFIG`: the configuration file to read in place of the two usual ones.
    pub config: Option<PathBuf>,
    /// `$http_proxy` or `$HTTP_PROXY`.
    pub http_proxy: Option<String>,
    /// `$https_proxy` or `$HTTPS_PROXY`.
    pub https_proxy: Option<String>,
    /// `$no_proxy` or `$NO_PROXY`.
    pub no_proxy: Option<String>,
    /// `$npm_config_registry`.
    pub npm_registry: Option<String>,
    /// `$npm_config_userconfig`: the file of the user's settings of npm.
    npm_user: Option<PathBuf>,
    /// `$npm_config_globalconfig`: the file of the machine's settings of npm.
    npm_global: Option<PathBuf>,
    /// `$M2_HOME` or `$MAVEN_HOME`: where Maven is installed.
    maven_home: Option<PathBuf>,
    /// `$GOPROXY`.
    pub go_proxy: Option<String>,
    /// `$GOPRIVATE`.
    pub go_private: Option<String>,
    /// `$GONOPROXY`.
    pub go_no_proxy: Option<String>,
    /// `$GOENV`: the file of Go's settings, or `off`.
    go_env: Option<PathBuf>,
    /// The variables of pip and uv.
    pub python: Python,
    /// The variables of Vault.
    pub vault: Vault,
    /// `$CARGO_HOME`: the folder of cargo's settings.
    cargo_home: Option<PathBuf>,
    /// Each `$CARGO_REGISTRIES_NAME_INDEX`, by `NAME`.
    pub cargo_indexes: BTreeMap<String, String>,
    /// `$NETRC`: the file of logins, in place of `~/.netrc`.
    netrc: Option<PathBuf>,
    /// `$XDG_RUNTIME_DIR`, when it is absolute.
    runtime: Option<PathBuf>,
    /// `$DOCKER_CONFIG`: the folder of Docker's settings.
    docker_config: Option<PathBuf>,
    /// `$REGISTRY_AUTH_FILE`: the file of logins that Podman and its kin read.
    registry_auth_file: Option<PathBuf>,
    /// What `ssh` is told of the user: `$HOME`, `$PATH`, `$USER`, `$LOGNAME`, and `$SSH_AUTH_SOCK`, where the agent is.
    pub ssh: BTreeMap<OsString, OsString>,
    /// `$PATH`, where `docker`, `podman` and `ssh` are looked for.
    pub path: Option<OsString>,
    /// Whether the process runs as root.
    pub root: bool,
}

/// What Bulla takes from the variables of Vault, but its token. Empty variables count as absent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Vault {
    /// `$VAULT_ADDR`: where it is.
    pub address: Option<String>,
    /// `$VAULT_NAMESPACE`.
    pub namespace: Option<String>,
    /// `$TRANSIT_SECRET_ENGINE_PATH`: where its transit engine is.
    pub engine: Option<String>,
}

impl Environment {
    /// Reads the environment of this process.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    pub(crate) fn read() -> Self {
        let mut environment = Self::from_lookup(|name| std::env::var_os(name));
        environment.cargo_indexes = std::env::vars_os().filter_map(|(name, value)| index(&name, value)).collect();
        environment.root = rustix::process::geteuid().is_root();
        environment
    }

    /// Reads a variable that the user names as the origin of a secret, when it is asked for: it is not kept with the others.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    pub(crate) fn secret(&self, name: &str) -> Option<Vec<u8>> {
        std::env::var_os(name).map(OsString::into_vec)
    }

    fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let var = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let absolute = |name: &str| var(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let text = |name: &str| var(name).and_then(|value| value.into_string().ok());
        let either = |lower: &str, upper: &str| text(lower).or_else(|| text(upper));
        Self {
            home: absolute("HOME"),
            config_home: absolute("XDG_CONFIG_HOME"),
            cache_home: absolute("XDG_CACHE_HOME"),
            state_home: absolute("XDG_STATE_HOME"),
            ci: text("CI").is_some_and(|value| !matches!(value.as_str(), "0" | "false" | "no")),
            no_color: var("NO_COLOR").is_some(),
            dumb_terminal: text("TERM").is_some_and(|value| value == "dumb"),
            term: text("TERM").filter(|value| {
                let plain = |c: char| c.is_ascii_alphanumeric() || "+-._".contains(c);
                value.len() <= 64 && !value.is_empty() && value.chars().all(plain)
            }),
            store: var("BULLA_STORE").map(PathBuf::from),
            branch: text("BULLA_BRANCH"),
            signing_key: var("BULLA_SIGNING_KEY").map(PathBuf::from),
            config: var("BULLA_CONFIG").map(PathBuf::from),
            http_proxy: either("http_proxy", "HTTP_PROXY"),
            https_proxy: either("https_proxy", "HTTPS_PROXY"),
            no_proxy: either("no_proxy", "NO_PROXY"),
            npm_registry: either("npm_config_registry", "NPM_CONFIG_REGISTRY"),
            npm_user: either("npm_config_userconfig", "NPM_CONFIG_USERCONFIG").map(PathBuf::from),
            maven_home: absolute("M2_HOME").or_else(|| absolute("MAVEN_HOME")),
            npm_global: either("npm_config_globalconfig", "NPM_CONFIG_GLOBALCONFIG").map(PathBuf::from),
            go_proxy: text("GOPROXY"),
            go_private: text("GOPRIVATE"),
            go_no_proxy: text("GONOPROXY"),
            go_env: var("GOENV").map(PathBuf::from),
            python: Python::from_lookup(&text),
            vault: Vault {
                address: text("VAULT_ADDR"),
                namespace: text("VAULT_NAMESPACE"),
                engine: text("TRANSIT_SECRET_ENGINE_PATH"),
            },
            cargo_home: var("CARGO_HOME").map(PathBuf::from),
            cargo_indexes: BTreeMap::new(),
            netrc: var("NETRC").map(PathBuf::from),
            runtime: absolute("XDG_RUNTIME_DIR"),
            docker_config: var("DOCKER_CONFIG").map(PathBuf::from),
            registry_auth_file: var("REGISTRY_AUTH_FILE").map(PathBuf::from),
            ssh: ["HOME", "PATH", "USER", "LOGNAME", "SSH_AUTH_SOCK"]
                .into_iter()
                .filter_map(|name| Some((name.into(), var(name)?)))
                .collect(),
            path: var("PATH"),
            root: false,
        }
    }

    /// Gives the configuration files to read, the weakest first.
    pub(crate) fn config_files(&self) -> Vec<PathBuf> {
        match &self.config {
            Some(file) => vec![file.clone()],
            None => [Some(PathBuf::from("/etc/bulla")), self.own_folder()]
                .into_iter()
                .flatten()
                .map(|folder| folder.join("config.toml"))
                .collect(),
        }
    }

    /// Gives the folder of the user's configuration; `None` without a home.
    pub(crate) fn own_folder(&self) -> Option<PathBuf> {
        Some(self.xdg(self.config_home.as_ref(), ".config")?.join("bulla"))
    }

    /// Gives the files that may have logins for registries, the first first: those that a variable names, then Podman's
    /// (containers-auth.json(5)), then Docker's.
    pub(crate) fn login_files(&self) -> Vec<PathBuf> {
        let docker = self.docker_config.as_ref().map(|folder| folder.join("config.json"));
        let runtime = self.runtime.as_ref().map(|folder| folder.join("containers/auth.json"));
        let own = self.xdg(self.config_home.as_ref(), ".config").map(|folder| folder.join("containers/auth.json"));
        let home = self.home.as_ref().map(|home| home.join(".docker/config.json")).filter(|_| docker.is_none());
        [self.registry_auth_file.clone(), docker, runtime, own, home].into_iter().flatten().collect()
    }

    /// Gives the files of Maven's settings, the strongest first: the user's, then the machine's.
    pub(crate) fn maven_files(&self) -> Vec<PathBuf> {
        let user = self.home.as_ref().map(|home| home.join(".m2/settings.xml"));
        let machine = self.maven_home.as_ref().map(|home| home.join("conf/settings.xml"));
        let usual = PathBuf::from("/etc/maven/settings.xml");
        user.into_iter().chain([machine.unwrap_or(usual)]).collect()
    }

    /// Gives the files of npm's settings, the strongest first: the user's, then the machine's, which lies where npm was installed
    /// (npmrc(5)).
    pub(crate) fn npm_files(&self) -> Vec<PathBuf> {
        let user = self.npm_user.clone().or_else(|| Some(self.home.as_ref()?.join(".npmrc")));
        let machine = match &self.npm_global {
            Some(file) => vec![file.clone()],
            None => ["/etc/npmrc", "/usr/etc/npmrc", "/usr/local/etc/npmrc"].map(PathBuf::from).to_vec(),
        };
        user.into_iter().chain(machine).collect()
    }

    /// Gives the file that `go env -w` writes; `None` where there is to be none, or no home.
    pub(crate) fn go_env_file(&self) -> Option<PathBuf> {
        match &self.go_env {
            Some(file) => Some(file.clone()).filter(|file| file.as_os_str() != "off"),
            None => Some(self.xdg(self.config_home.as_ref(), ".config")?.join("go/env")),
        }
    }

    /// Gives the files of pip's settings, the weakest first.
    pub(crate) fn pip_files(&self) -> Vec<PathBuf> {
        self.python.pip_files(self.home.as_deref(), self.xdg(self.config_home.as_ref(), ".config").as_deref())
    }

    /// Gives the files of uv's settings, the strongest first.
    pub(crate) fn uv_files(&self) -> Vec<PathBuf> {
        self.python.uv_files(self.xdg(self.config_home.as_ref(), ".config").as_deref())
    }

    /// Gives the folder of cargo's settings; `None` without a home.
    pub(crate) fn cargo_folder(&self) -> Option<PathBuf> {
        self.cargo_home.clone().or_else(|| Some(self.home.as_ref()?.join(".cargo")))
    }

    /// Gives the file of logins that curl and others read; `None` without a home.
    pub(crate) fn netrc(&self) -> Option<PathBuf> {
        self.netrc.clone().or_else(|| Some(self.home.as_ref()?.join(".netrc")))
    }

    /// Gives the folder of the store where nothing else names it; `None` without a home.
    pub(crate) fn default_store(&self) -> Option<PathBuf> {
        if self.root && self.cache_home.is_none() {
            return Some(PathBuf::from("/var/lib/bulla"));
        }
        Some(self.xdg(self.cache_home.as_ref(), ".cache")?.join("bulla"))
    }

    /// Gives the folder for what outlives the store: its key, and the newest dates of the suites; `None` without a home.
    pub(crate) fn state_folder(&self) -> Option<PathBuf> {
        // Root too may keep it elsewhere, when it says so: tests run by root must not share the machine's.
        if self.root && self.state_home.is_none() {
            return Some(PathBuf::from("/var/lib/bulla-key"));
        }
        Some(self.xdg(self.state_home.as_ref(), ".local/state")?.join("bulla"))
    }

    fn xdg(&self, set: Option<&PathBuf>, default: &str) -> Option<PathBuf> {
        set.cloned().or_else(|| Some(self.home.as_ref()?.join(default)))
    }
}

/// Reads a variable that names a registry of cargo.
fn index(name: &OsString, value: OsString) -> Option<(String, String)> {
    let name = name.to_str()?.strip_prefix("CARGO_REGISTRIES_")?.strip_suffix("_INDEX")?;
    Some((name.to_owned(), value.into_string().ok().filter(|value| !value.is_empty())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        Environment::from_lookup(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn logins_are_where_podman_and_docker_keep_them() {
        let files = |pairs: &[(&str, &str)]| {
            let paths = environment(pairs).login_files().into_iter();
            paths.map(|path| path.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(
            files(&[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/r")]),
            ["/r/containers/auth.json", "/h/.config/containers/auth.json", "/h/.docker/config.json"]
        );
        assert_eq!(
            files(&[("HOME", "/h"), ("DOCKER_CONFIG", "/d"), ("REGISTRY_AUTH_FILE", "/a.json")]),
            ["/a.json", "/d/config.json", "/h/.config/containers/auth.json"]
        );
    }

    #[test]
    fn folders_follow_the_xdg_specification() {
        let home = environment(&[("HOME", "/h"), ("XDG_CACHE_HOME", "relative"), ("XDG_STATE_HOME", "/s")]);
        assert_eq!(home.default_store(), Some("/h/.cache/bulla".into()));
        assert_eq!(home.state_folder(), Some("/s/bulla".into()));
        assert_eq!(
            home.config_files(),
            [PathBuf::from("/etc/bulla/config.toml"), PathBuf::from("/h/.config/bulla/config.toml")]
        );
        assert_eq!(environment(&[]).default_store(), None);
    }

    #[test]
    fn the_files_of_pip_and_uv_are_where_they_look_for_them() {
        let shown = |paths: Vec<PathBuf>| paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
        let usual = environment(&[("HOME", "/h")]);
        assert_eq!(
            shown(usual.pip_files()),
            ["/etc/xdg/pip/pip.conf", "/etc/pip.conf", "/h/.pip/pip.conf", "/h/.config/pip/pip.conf"]
        );
        assert_eq!(shown(usual.uv_files()), ["/h/.config/uv/uv.toml", "/etc/xdg/uv/uv.toml", "/etc/uv/uv.toml"]);
        let set = [
            ("HOME", "/h"),
            ("XDG_CONFIG_HOME", "/c"),
            ("XDG_CONFIG_DIRS", "/x:relative:/y"),
            ("PIP_CONFIG_FILE", "/p.conf"),
            ("UV_CONFIG_FILE", "/u.toml"),
        ];
        assert_eq!(
            shown(environment(&set).pip_files()),
            ["/x/pip/pip.conf", "/y/pip/pip.conf", "/etc/pip.conf", "/p.conf"]
        );
        assert_eq!(shown(environment(&set).uv_files()), ["/u.toml"]);
        assert_eq!(
            environment(&[("HOME", "/h"), ("PIP_CONFIG_FILE", "/dev/null")]).pip_files(),
            [""; 0].map(PathBuf::from)
        );
    }

    #[test]
    fn empty_variables_count_as_absent() {
        let none = environment(&[("NO_COLOR", ""), ("CI", ""), ("http_proxy", "")]);
        assert!(!none.no_color && !none.ci && none.http_proxy.is_none());
    }

    #[test]
    fn ci_may_be_denied() {
        assert!(environment(&[("CI", "true")]).ci);
        assert!(environment(&[("CI", "1")]).ci);
        assert!(!environment(&[("CI", "false")]).ci);
    }

    #[test]
    fn the_lower_case_proxy_variable_wins() {
        let both = environment(&[("HTTPS_PROXY", "http://a"), ("https_proxy", "http://b")]);
        assert_eq!(both.https_proxy.as_deref(), Some("http://b"));
    }
}

//! The variables of pip and uv, and where their files of settings are.

use std::path::{Path, PathBuf};

/// What Bulla takes from the variables of pip and uv. Empty variables count as absent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Python {
    /// `$PIP_INDEX_URL`, `$UV_DEFAULT_INDEX`, `$UV_INDEX_URL`: those that are set, by their names, the strongest first.
    pub indexes: Vec<(&'static str, String)>,
    /// Those of `$PIP_EXTRA_INDEX_URL`, `$UV_INDEX`, `$UV_EXTRA_INDEX_URL` that are set.
    pub extra_indexes: Vec<&'static str>,
    /// `$PIP_CERT`: a file with certificate authorities.
    pub cert: Option<PathBuf>,
    /// `$PIP_TRUSTED_HOST`: the hosts that may be asked in the clear.
    pub trusted_hosts: Option<String>,
    /// `$PIP_CONFIG_FILE`.
    pip_config: Option<PathBuf>,
    /// `$UV_CONFIG_FILE`.
    uv_config: Option<PathBuf>,
    /// `$XDG_CONFIG_DIRS`, those that are absolute.
    folders: Vec<PathBuf>,
}

impl Python {
    pub(super) fn from_lookup(text: &dyn Fn(&str) -> Option<String>) -> Self {
        let set = |name: &&'static str| Some((*name, text(name)?));
        let folders = text("XDG_CONFIG_DIRS").unwrap_or_else(|| "/etc/xdg".to_owned());
        Self {
            indexes: ["PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"].iter().filter_map(set).collect(),
            extra_indexes: ["PIP_EXTRA_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL"]
                .into_iter()
                .filter(|name| text(name).is_some())
                .collect(),
            cert: text("PIP_CERT").map(PathBuf::from).filter(|path| path.is_absolute()),
            trusted_hosts: text("PIP_TRUSTED_HOST"),
            pip_config: text("PIP_CONFIG_FILE").map(PathBuf::from),
            uv_config: text("UV_CONFIG_FILE").map(PathBuf::from),
            folders: folders.split(':').map(PathBuf::from).filter(|folder| folder.is_absolute()).collect(),
        }
    }

    /// Gives the files of pip's settings, the weakest first (pip documentation, "Configuration"): the machine's, the user's, and the one that
    /// a variable names, beside which the user's own do not count. That of a virtual environment is not among them: it may lie in the project.
    pub(super) fn pip_files(&self, home: Option<&Path>, config_home: Option<&Path>) -> Vec<PathBuf> {
        if self.pip_config.as_deref() == Some(Path::new("/dev/null")) {
            return Vec::new();
        }
        let mut files: Vec<PathBuf> = self.folders.iter().map(|folder| folder.join("pip/pip.conf")).collect();
        files.push("/etc/pip.conf".into());
        match &self.pip_config {
            Some(file) => files.push(file.clone()),
            None => {
                files.extend(home.map(|home| home.join(".pip/pip.conf")));
                files.extend(config_home.map(|folder| folder.join("pip/pip.conf")));
            }
        }
        files
    }

    /// Gives the files of uv's settings, the strongest first (uv documentation, "Configuration files").
    pub(super) fn uv_files(&self, config_home: Option<&Path>) -> Vec<PathBuf> {
        if let Some(file) = &self.uv_config {
            return vec![file.clone()];
        }
        let machine = self.folders.iter().cloned().chain(["/etc".into()]).map(|folder| folder.join("uv/uv.toml"));
        config_home.map(|folder| folder.join("uv/uv.toml")).into_iter().chain(machine).collect()
    }
}

//! Where packages of Python are, and the logins for there.
//!
//! In this order: `[registry.pypi]` of the configuration; `$PIP_INDEX_URL`, `$UV_DEFAULT_INDEX`, `$UV_INDEX_URL`; the files of pip, of which
//! the machine's are the weakest; those of uv. No host is compiled in. A project's own settings are not read here: a stranger may
//! have written them.
//!
//! A name belongs to one index. Further ones that pip and uv would ask as well are noted and never asked: whoever can publish there could
//! publish under any name. `packages` of the configuration says which names are elsewhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use bulla_ecosystems::dependencies::pypi;
use bulla_model::{Fault, Kind};
use bulla_net::{NetError, Reach, Secret, Url};

use super::{
    Found, PackageRegistries,
    netrc::Netrc,
    packages::{SettingError, settings},
    pip::{self, Value},
    uv,
};
use crate::{error::Result, session::Session};

/// The indexes of Python's packages, as this user on this machine has them.
#[derive(Debug, Clone, Default)]
pub(crate) struct PypiRegistries {
    index: Option<Index>,
    /// Those of single packages, by name, or its beginning and a `*`.
    packages: BTreeMap<String, Index>,
    ca_files: Vec<PathBuf>,
    /// Where further indexes are named that are not asked.
    not_asked: Vec<String>,
}

/// An index.
#[derive(Debug, Clone)]
struct Index {
    /// Its base address, with a slash at the end.
    url: Url,
    login: Option<Secret>,
}

/// Nothing says where packages are.
#[derive(Debug, thiserror::Error)]
#[error("nothing says where the index of Python's packages is, which {package} is looked for in")]
struct NoIndex {
    package: String,
    not_asked: Option<String>,
}

impl Fault for NoIndex {
    fn kind(&self) -> Kind {
        Kind::Environment
    }

    fn hints(&self) -> Vec<String> {
        let own = "write `[registry.pypi]` and `index = \"https://HOST/simple/\"` into `~/.config/bulla/config.toml`";
        let pip = "or `[global]` and `index-url = https://HOST/simple/` into `~/.config/pip/pip.conf`, which pip reads as well";
        [own, pip].into_iter().map(str::to_owned).chain(self.not_asked.clone()).collect()
    }
}

impl PypiRegistries {
    /// Reads the configuration, the environment, and the settings of pip and uv where the configuration does not forbid it.
    ///
    /// # Errors
    /// When a file cannot be read, or an address in it is none.
    pub(crate) fn read(session: &Session) -> Result<Self> {
        let configured = &session.config()?.pypi;
        let environment = &session.environment;
        let mut found = Self::default();
        let (mut netrc, mut trusted) = (Netrc::default(), BTreeSet::new());
        if configured.client_settings {
            netrc = Netrc::read(environment)?;
            let mut pip = pip::Settings::default();
            for file in environment.pip_files() {
                if let Some(text) = settings(&file)? {
                    pip.take(&file, &text)?;
                }
            }
            let python = &environment.python;
            found.ca_files = python.cert.clone().or_else(|| pip.cert()).into_iter().collect();
            trusted = pip.trusted_hosts(python.trusted_hosts.as_deref());
            let mut uv = uv::Settings::default();
            for file in environment.uv_files() {
                if let Some(text) = settings(&file)? {
                    uv.take(&file, &text)?;
                }
            }
            found.not_asked.extend(python.extra_indexes.iter().map(|name| format!("`${name}`")));
            found.not_asked.extend(pip.extra_indexes().chain(uv.not_asked));
            let variable = python.indexes.first().map(|(name, text)| Value {
                text: text.clone(),
                file: PathBuf::from(format!("${name}")),
                line: None,
            });
            if let (None, Some(value)) = (&configured.index, variable.or_else(|| pip.index()).or(uv.index)) {
                found.index = Some(Index::of(&value)?);
            }
        }
        let index = |url: &Url| Ok::<_, NetError>(Index { url: folder(url)?, login: None });
        if let Some(url) = &configured.index {
            found.index = Some(index(url)?);
        }
        for (name, url) in &configured.packages {
            found.packages.insert(name.clone(), index(url)?);
        }
        for index in found.index.iter_mut().chain(found.packages.values_mut()) {
            let in_clear = [index.url.host().to_owned(), format!("{}:{}", index.url.host(), index.url.port())];
            let in_clear = in_clear.iter().any(|host| trusted.contains(host));
            if index.login.is_none() {
                index.login = netrc.login(&index.url, in_clear).cloned();
            }
        }
        Ok(found)
    }

    /// Gives the index that a package belongs to: that of its name, of the longest beginning of it, else the one for all.
    fn of(&self, package: &str) -> Option<&Index> {
        let name = pypi::normalised(package)?;
        let own = self.packages.get(&name).or_else(|| {
            let begins = |pattern: &str| pattern.strip_suffix('*').is_some_and(|start| name.starts_with(start));
            let fits = self.packages.iter().filter(|(pattern, _)| begins(pattern));
            fits.max_by_key(|(pattern, _)| pattern.len()).map(|(_, index)| index)
        });
        own.or(self.index.as_ref())
    }

    fn why_not_asked(&self, package: &str) -> Option<String> {
        (!self.not_asked.is_empty()).then(|| {
            format!(
                "{} {} not asked, for then any package could come from there; if {package} is there, write `[registry.pypi]` and `packages = \
                 {{\"{package}\" = \"https://HOST/simple/\"}}` into `~/.config/bulla/config.toml`",
                self.not_asked.join(" and "),
                if self.not_asked.len() == 1 { "is" } else { "are" },
            )
        })
    }
}

/// Gives an address with a slash at its end, so that references are beneath it.
fn folder(url: &Url) -> std::result::Result<Url, NetError> {
    match url.path().ends_with('/') {
        true => Ok(url.clone()),
        false => Url::parse(&format!("{}{}/", url.origin(), url.path())).map_err(NetError::from),
    }
}

impl Index {
    /// Reads an address of settings, which may have a login in it.
    fn of(value: &Value) -> Result<Self, SettingError> {
        let wrong = |what: String| SettingError { file: value.file.clone(), line: value.line, what };
        let (url, login) = Url::parse_with_login(&value.text).map_err(|error| wrong(error.to_string()))?;
        let url = folder(&url).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { url, login: login.map(|login| login.authorization()) })
    }
}

impl PackageRegistries for PypiRegistries {
    fn has(&self, package: &str) -> bool {
        self.of(package).is_some()
    }

    fn find(&self, package: &str, path: &str) -> Result<Vec<Found>> {
        let no_index = || NoIndex { package: package.to_owned(), not_asked: self.why_not_asked(package) };
        let index = self.of(package).ok_or_else(no_index)?;
        // A page of the index may lead anywhere; what is elsewhere is asked as nobody.
        let url = index.url.join(path).map_err(NetError::from)?;
        if url.origin() != index.url.origin() {
            return Ok(vec![self.at(url)]);
        }
        Ok(vec![Found { url, reach: Reach::Configured, login: index.login.clone(), else_next: false }])
    }

    fn ca_files(&self) -> &[PathBuf] {
        &self.ca_files
    }

    fn hint(&self, package: &str) -> Option<String> {
        self.why_not_asked(package)
    }
}

//! Reads what the machine tells apt: where its mirrors are, who signs them, logins, proxies and authorities. Only files are
//! read here; what they mean is read by [`bulla_ecosystems::debian::apt`].

use std::{
    collections::BTreeSet,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

use bulla_ecosystems::debian::apt::{self, AptError, Login, Repository, Settings, settings::Proxy, sources};
use bulla_net::{Credential, Secret, Url};

use crate::{
    error::{CliError, Result},
    session::Session,
};

/// The most bytes that one of the files may have.
const MAX_FILE: u64 = 4 << 20;
/// The most files that are read of one folder.
const MAX_FILES: usize = 1000;

/// What the machine tells apt.
#[derive(Debug, Clone, Default)]
pub(crate) struct Apt {
    /// The repositories for this platform, in the order of the files.
    pub entries: Vec<Entry>,
    /// The logins, those of Bulla's own `auth.conf` too.
    pub credentials: Vec<Credential>,
    /// The proxy for `http` URLs.
    pub http_proxy: Option<String>,
    /// The proxy for `https` URLs.
    pub https_proxy: Option<String>,
    /// The mirrors' hosts that are asked without a proxy.
    pub direct_hosts: Vec<String>,
    /// Files with further certificate authorities.
    pub ca_files: Vec<PathBuf>,
    /// What could not be used, and why, for people.
    pub notes: Vec<String>,
}

/// A repository of apt's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The base addresses.
    pub mirrors: Vec<Url>,
    /// The suites.
    pub suites: Vec<String>,
    /// Who signs; nobody is named where it is empty.
    pub signed_by: Vec<SignedBy>,
    /// Where it is written, for people.
    pub place: String,
}

/// Who signs a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SignedBy {
    /// A file of keys.
    File(PathBuf),
    /// Keys in armor.
    Inline(String),
    /// The fingerprint of a key that is elsewhere.
    Fingerprint(String),
}

impl Entry {
    /// Says whether it has a suite.
    pub(super) fn has(&self, suite: &str) -> bool {
        self.suites.iter().any(|name| name == suite)
    }
}

impl Apt {
    /// Reads apt's settings, where the configuration does not forbid it, and the logins of Bulla's own `auth.conf`.
    ///
    /// # Errors
    /// When Bulla's own `auth.conf` is wrong. What is wrong with apt's files is noted.
    pub(crate) fn read(session: &Session) -> Result<Self> {
        let mut found = Self::default();
        let own = session.environment.own_folder().map(|folder| folder.join("auth.conf"));
        if let Some(own) = own
            && let Some(text) = read_file(&own).map_err(CliError::file)?
        {
            found.credentials.extend(apt::auth::parse(&own.display().to_string(), &text)?.into_iter().map(credential));
        }
        let debian = &session.config()?.debian;
        if debian.apt {
            found.take_folder(&debian.apt_folder);
        }
        Ok(found)
    }

    fn take_folder(&mut self, folder: &Path) {
        let sources = [folder.join("sources.list")].into_iter().chain(self.files(&folder.join("sources.list.d")));
        for path in sources.collect::<Vec<_>>() {
            let parse = match path.extension().and_then(|extension| extension.to_str()) {
                Some("list") => sources::one_line,
                Some("sources") => sources::deb822,
                _ => continue,
            };
            let repositories = self.parse(&path, parse).unwrap_or_default();
            repositories.into_iter().for_each(|repository| self.take_repository(repository));
        }
        let logins = [folder.join("auth.conf")].into_iter().chain(self.files(&folder.join("auth.conf.d")));
        for path in logins.collect::<Vec<_>>() {
            let logins = self.parse(&path, apt::auth::parse).unwrap_or_default();
            self.credentials.extend(logins.into_iter().map(credential));
        }
        self.take_settings(folder);
    }

    fn take_settings(&mut self, folder: &Path) {
        let mut settings = Settings::default();
        let files = self.files(&folder.join("apt.conf.d")).into_iter().chain([folder.join("apt.conf")]);
        // As apt does, files with another ending than `.conf` are left alone (apt.conf(5)).
        for path in
            files.filter(|path| path.extension().is_none_or(|extension| extension == "conf")).collect::<Vec<_>>()
        {
            if let Some(later) = self.parse(&path, Settings::parse) {
                settings.merge(later);
            }
        }
        let proxy = |scheme| match settings.proxy(scheme, "") {
            Some(Proxy::Url(url)) => Some(url),
            Some(Proxy::Direct) | None => None,
        };
        (self.http_proxy, self.https_proxy) = (proxy("http"), proxy("https"));
        let mut ca_files = BTreeSet::new();
        let mut direct = BTreeSet::new();
        for url in self.entries.iter().flat_map(|entry| &entry.mirrors) {
            let scheme = if url.is_secure() { "https" } else { "http" };
            match settings.proxy(scheme, url.host()) {
                Some(Proxy::Direct) => drop(direct.insert(url.host().to_owned())),
                Some(Proxy::Url(own)) if Some(&own) != proxy(scheme).as_ref() => {
                    self.notes.push(format!("apt's proxy for {} alone is not used: set `{scheme}-proxy`", url.host()));
                }
                _ => {}
            }
            ca_files.extend(settings.ca_info(url.host()).map(PathBuf::from));
        }
        self.ca_files.extend(ca_files);
        self.direct_hosts.extend(direct);
    }

    fn take_repository(&mut self, repository: Repository) {
        let own = bulla_model::Platform::BUILD.debian();
        if !repository.architectures.is_empty() && !repository.architectures.iter().any(|name| name == own) {
            return;
        }
        let place = format!("{}, line {}", repository.place.0, repository.place.1);
        let mut mirrors = Vec::new();
        for uri in &repository.uris {
            match Url::parse_with_login(uri) {
                Ok((url, login)) => {
                    mirrors.push(url);
                    self.credentials.extend(login);
                }
                Err(error) => self.notes.push(format!("{place}: {error}")),
            }
        }
        if mirrors.is_empty() {
            return;
        }
        let signed_by = match repository.signed_by {
            None => Vec::new(),
            Some(apt::SignedBy::Path(path)) => vec![SignedBy::File(path.into())],
            Some(apt::SignedBy::Key(text)) => vec![SignedBy::Inline(text)],
            Some(apt::SignedBy::Fingerprints(all)) => {
                all.iter().map(|one| SignedBy::Fingerprint(one.trim_end_matches('!').to_ascii_uppercase())).collect()
            }
        };
        self.entries.push(Entry { mirrors, suites: repository.suites, signed_by, place });
    }

    /// Reads and parses a file; what is wrong with it is noted.
    fn parse<T>(&mut self, path: &Path, parse: impl Fn(&str, &str) -> Result<T, AptError>) -> Option<T> {
        let text = match read_file(path) {
            Ok(text) => text?,
            Err(error) => {
                self.notes.push(error.to_string());
                return None;
            }
        };
        parse(&path.display().to_string(), &text).inspect_err(|error| self.notes.push(error.to_string())).ok()
    }

    /// Lists the files of a folder, in the order of their names; there may be no folder.
    fn files(&mut self, folder: &Path) -> Vec<PathBuf> {
        let entries = match fs_err::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                self.notes.push(error.to_string());
                return Vec::new();
            }
        };
        let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).take(MAX_FILES).collect();
        files.sort();
        files
    }
}

/// Reads a text file; `None` where there is none.
fn read_file(path: &Path) -> std::io::Result<Option<String>> {
    let file = match fs_err::File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut text = String::new();
    file.take(MAX_FILE).read_to_string(&mut text)?;
    Ok(Some(text))
}

/// Binds a login to its origin. One without a scheme is for `https` alone (`apt_auth.conf(5)`).
fn credential(login: Login) -> Credential {
    let scheme = login.scheme.as_deref().unwrap_or("https");
    Credential {
        origin: format!("{scheme}://{}", login.host),
        path: login.path,
        login: login.login,
        password: Secret::new(login.password),
    }
}

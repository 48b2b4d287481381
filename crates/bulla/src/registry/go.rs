//! Where modules of Go are: which module proxies have them (go.dev/ref/mod, "GOPROXY protocol" and "Private modules").
//!
//! In this order: `[registry.go]` of the configuration, `$GOPROXY`, the file that `go env -w` writes. No host is compiled in, although one is
//! in `go`. A repository of git or of another system is never asked: what `GOPRIVATE` or `GONOPROXY` would have fetched from its origin needs a
//! proxy of its own. Logins are those of the user's netrc, and what is in the addresses of `GOPROXY` itself.

use std::path::Path;

use bulla_model::{
    CleanPath, Fault, Kind,
    spec::{Glob, GlobError},
};
use bulla_net::{Credential, NetError, Reach, Secret, Url, UrlError};

use super::{
    Found, PackageRegistries,
    netrc::{self, Netrc},
};
use crate::{config, environment::Environment, error::Result, session::Session};

/// A list of module proxies, as `GOPROXY` has it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Proxies {
    all: Vec<Proxy>,
    /// What ends the list, where something does: `direct` or `off`.
    end: Option<End>,
}

#[derive(Debug, Clone)]
struct Proxy {
    url: Url,
    login: Option<Secret>,
    /// Whether the next counts after any failure (`|`), and not only where this one has no such module (`,`).
    else_next: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Direct,
    Off,
}

/// A list of proxies is none. The text, which may have a login, is not told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxiesError {
    #[error("a module proxy in a folder cannot be asked; let a server have the folder, and name that")]
    Folder,
    #[error(transparent)]
    Url(#[from] UrlError),
    #[error("it names nothing")]
    Empty,
}

impl Proxies {
    /// Reads `https://a,https://b|direct`. What stands behind `direct` or `off` does not count.
    ///
    /// # Errors
    /// When an address is none, or of a folder.
    pub(crate) fn parse(text: &str) -> Result<Self, ProxiesError> {
        let mut found = Self::default();
        for part in text.split_inclusive([',', '|']) {
            let else_next = part.ends_with('|');
            match part.trim_end_matches([',', '|']).trim() {
                "" => continue,
                "direct" => found.end = Some(End::Direct),
                "off" => found.end = Some(End::Off),
                folder if folder.starts_with("file:") => return Err(ProxiesError::Folder),
                address => {
                    // `go` takes an address without its scheme for one of HTTPS.
                    let https = format!("https://{address}");
                    let (url, login) = Url::parse_with_login(if address.contains("://") { address } else { &https })?;
                    found.all.push(Proxy { url, login: login.as_ref().map(Credential::authorization), else_next });
                }
            }
            if found.end.is_some() {
                break;
            }
        }
        if found.all.is_empty() && found.end.is_none() { Err(ProxiesError::Empty) } else { Ok(found) }
    }

    /// Says whether a login is in one of the addresses.
    pub(crate) fn has_login(&self) -> bool {
        self.all.iter().any(|proxy| proxy.login.is_some())
    }
}

/// The module proxies, as this user on this machine has them.
#[derive(Debug, Clone, Default)]
pub(crate) struct GoRegistries {
    proxies: Option<Proxies>,
    /// By pattern, the longest first.
    private: Vec<(Glob, Proxies)>,
    /// The patterns of modules that `go` would fetch from their origin, and the setting that has them.
    no_proxy: Option<(&'static str, Patterns)>,
    netrc: Netrc,
}

/// A module is had from nowhere.
#[derive(Debug, thiserror::Error)]
enum NoProxy {
    #[error("nothing says which module proxy has {module}")]
    Unknown { module: String },
    #[error("{module} is a private module by `{setting}`, and its origin is never asked")]
    Private { module: String, setting: &'static str },
    #[error("`GOPROXY` says `off`, so that {module} is had from nowhere")]
    Off { module: String },
    #[error("`GOPROXY` says `direct`, and the origin of {module} is never asked")]
    Direct { module: String },
}

impl Fault for NoProxy {
    fn kind(&self) -> Kind {
        Kind::Environment
    }

    fn hints(&self) -> Vec<String> {
        let own = "`~/.config/bulla/config.toml`";
        match self {
            Self::Unknown { .. } | Self::Off { .. } | Self::Direct { .. } => vec![
                "run `go env -w GOPROXY=https://HOST`, with an address that `go env GOPROXY` prints, or that of your own proxy".into(),
                format!("or write `[registry.go]` and `proxy = \"https://HOST\"` into {own}"),
            ],
            Self::Private { module, .. } => vec![format!(
                "name a module proxy that has it: write `[registry.go]` and `private = {{\"{}/*\" = \"https://HOST\"}}` into {own}",
                module.split('/').next().unwrap_or_default()
            )],
        }
    }
}

/// A setting of Go is wrong.
#[derive(Debug, thiserror::Error)]
enum SettingError {
    #[error("reading GOPROXY of {place}")]
    Proxy { place: String, source: ProxiesError },
    #[error("reading the patterns of {setting}")]
    Pattern { setting: &'static str, source: GlobError },
}

impl Fault for SettingError {
    fn kind(&self) -> Kind {
        Kind::Environment
    }
}

/// The settings of Go that count here.
#[derive(Debug, Default)]
struct Settings {
    proxy: Option<(String, String)>,
    private: Option<String>,
    no_proxy: Option<String>,
}

impl Settings {
    /// Reads the variables, and the file for what they do not say.
    fn read(environment: &Environment) -> Result<Self> {
        let mut found = Self {
            proxy: environment.go_proxy.clone().map(|text| ("the environment".to_owned(), text)),
            private: environment.go_private.clone(),
            no_proxy: environment.go_no_proxy.clone(),
        };
        if let Some(file) = environment.go_env_file()
            && let Some(text) = netrc::text(&file)?
        {
            found.take(&file, &text);
        }
        Ok(found)
    }

    /// Takes what a file says: `NAME=VALUE` a line, and nothing is quoted.
    fn take(&mut self, file: &Path, text: &str) {
        for line in text.lines() {
            let Some((name, value)) = line.split_once('=').filter(|(_, value)| !value.trim().is_empty()) else {
                continue;
            };
            let value = || value.trim().to_owned();
            match name.trim() {
                "GOPROXY" => drop(self.proxy.get_or_insert_with(|| (file.display().to_string(), value()))),
                "GOPRIVATE" => drop(self.private.get_or_insert_with(value)),
                "GONOPROXY" => drop(self.no_proxy.get_or_insert_with(value)),
                _ => {}
            }
        }
    }
}

impl GoRegistries {
    /// Reads the configuration, the logins of netrc, and Go's settings where the configuration does not forbid it.
    ///
    /// # Errors
    /// When a file cannot be read, or an address in it is none.
    pub(crate) fn read(session: &Session) -> Result<Self> {
        let configured = &session.config()?.go;
        let netrc = Netrc::read(&session.environment)?;
        let settings = if configured.go_env { Settings::read(&session.environment)? } else { Settings::default() };
        Ok(Self::of(configured, settings, netrc)?)
    }

    fn of(configured: &config::Go, settings: Settings, netrc: Netrc) -> Result<Self, SettingError> {
        let of_settings = |(place, text): (String, String)| {
            Proxies::parse(&text).map_err(|source| SettingError::Proxy { place, source })
        };
        let proxies = match &configured.proxy {
            Some(proxies) => Some(proxies.clone()),
            None => settings.proxy.map(of_settings).transpose()?,
        };
        let mut private: Vec<_> = configured.private.clone().into_iter().collect();
        private.sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.to_string().len()));
        let no_proxy = settings.no_proxy.map(|text| ("GONOPROXY", text));
        let no_proxy = no_proxy.or_else(|| Some(("GOPRIVATE", settings.private?)));
        let patterns = |(setting, text): (&'static str, String)| {
            Patterns::parse(&text)
                .map(|found| (setting, found))
                .map_err(|source| SettingError::Pattern { setting, source })
        };
        Ok(Self { proxies, private, no_proxy: no_proxy.map(patterns).transpose()?, netrc })
    }

    /// Gives the proxies that may be asked for a module.
    ///
    /// # Errors
    /// When there is none.
    fn of_module(&self, module: &str) -> Result<&Proxies, NoProxy> {
        let own = || module.to_owned();
        let is_for = |pattern: &Glob| CleanPath::parse(module).is_ok_and(|path| pattern.matches(&path));
        let proxies = match self.private.iter().find(|(pattern, _)| is_for(pattern)) {
            Some((_, proxies)) => proxies,
            None => match &self.no_proxy {
                Some((setting, patterns)) if patterns.fit(module) => {
                    return Err(NoProxy::Private { module: own(), setting });
                }
                _ => self.proxies.as_ref().ok_or_else(|| NoProxy::Unknown { module: own() })?,
            },
        };
        match proxies.end {
            Some(End::Off) if proxies.all.is_empty() => Err(NoProxy::Off { module: own() }),
            Some(End::Direct) if proxies.all.is_empty() => Err(NoProxy::Direct { module: own() }),
            _ => Ok(proxies),
        }
    }
}

impl PackageRegistries for GoRegistries {
    fn has(&self, package: &str) -> bool {
        self.of_module(package).is_ok()
    }

    fn find(&self, package: &str, path: &str) -> Result<Vec<Found>> {
        let found = |proxy: &Proxy| -> Result<Found> {
            let url = proxy.url.beneath(path).map_err(NetError::from)?;
            let login = proxy.login.as_ref().or_else(|| self.netrc.login(&url, false)).cloned();
            Ok(Found { url, reach: Reach::Configured, login, else_next: proxy.else_next })
        };
        self.of_module(package)?.all.iter().map(found).collect()
    }
    fn hint(&self, package: &str) -> Option<String> {
        let end = self.of_module(package).ok()?.end?;
        (end == End::Direct).then(|| {
            "the list of proxies goes on with `direct`, and origins of modules are never asked: name a proxy that has it"
                .to_owned()
        })
    }
}

/// The patterns of `GOPRIVATE` and `GONOPROXY`: one is for the modules that it is like, and for those beneath them.
#[derive(Debug, Clone, Default)]
struct Patterns(Vec<Glob>);

impl Patterns {
    fn parse(text: &str) -> Result<Self, GlobError> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(Glob::parse).collect::<Result<_, _>>().map(Self)
    }

    fn fit(&self, module: &str) -> bool {
        // The name of a module is one of a path: every lock file is read so.
        CleanPath::parse(module).is_ok_and(|path| self.0.iter().any(|pattern| pattern.matches(&path)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registries(configured: &config::Go, file: &str) -> GoRegistries {
        let mut settings = Settings::default();
        settings.take(Path::new("/h/.config/go/env"), file);
        GoRegistries::of(configured, settings, Netrc::default()).expect("good settings")
    }

    /// Gives the addresses that a module is had from, each with what comes behind it.
    fn asked(found: &GoRegistries, module: &str) -> Vec<String> {
        let found = found.find(module, "x/@v/v1.0.0.zip").expect("it is known");
        found.iter().map(|one| format!("{}{}", one.url, if one.else_next { "|" } else { "" })).collect()
    }

    fn refused(found: &GoRegistries, module: &str) -> (String, String) {
        let error = found.find(module, "x").expect_err("it is had from nowhere");
        assert_eq!(error.kind, Kind::Environment);
        (error.error.to_string(), error.hints.concat())
    }

    #[test]
    fn a_list_of_proxies_goes_on_as_goproxy_says() {
        let found = registries(
            &config::Go::default(),
            "# mine\nGOPROXY=https://me:s3cret@a.example/go|b.example, http://127.0.0.1:3000,direct,https://never.example\nGOFLAGS=-x\n",
        );
        assert_eq!(
            asked(&found, "example.com/x"),
            [
                "https://a.example/go/x/@v/v1.0.0.zip|",
                "https://b.example/x/@v/v1.0.0.zip",
                "http://127.0.0.1:3000/x/@v/v1.0.0.zip"
            ]
        );
        let logins: Vec<bool> =
            found.find("example.com/x", "x").expect("known").iter().map(|one| one.login.is_some()).collect();
        assert_eq!(logins, [true, false, false]);
        assert!(found.hint("example.com/x").is_some_and(|hint| hint.contains("`direct`")));
        assert!(!format!("{found:?}").contains("s3cret"));
        for (text, wrong) in
            [("", "nothing"), (" , ", "nothing"), ("file:///srv", "folder"), ("https://a b", "URL"), ("ftp://a", "URL")]
        {
            let error = Proxies::parse(text).expect_err("no list").to_string();
            assert!(error.contains(wrong), "{error}");
        }
    }

    #[test]
    fn what_ends_the_list_is_told_with_what_to_write() {
        let with = |text: &str| registries(&config::Go::default(), text);
        let (told, hints) = refused(&with(""), "example.com/x");
        assert_eq!(told, "nothing says which module proxy has example.com/x");
        assert!(hints.contains("go env GOPROXY") && hints.contains("[registry.go]"), "{hints}");
        assert!(refused(&with("GOPROXY=off"), "example.com/x").0.contains("`off`"));
        assert!(refused(&with("GOPROXY=direct"), "example.com/x").0.contains("origin of example.com/x"));
    }

    #[test]
    fn a_private_module_is_asked_of_its_own_proxy_alone() {
        let own = |text: &str| Proxies::parse(text).expect("a list");
        let glob = |text: &str| Glob::parse(text).expect("a pattern");
        let configured = config::Go {
            private: [
                (glob("corp.example"), own("https://go.corp.example")),
                (glob("corp.example/*/own"), own("https://own.example")),
            ]
            .into(),
            ..config::Go::default()
        };
        let found =
            registries(&configured, "GOPROXY=https://public.example\nGOPRIVATE=corp.example,*.example/secret\n");
        assert_eq!(asked(&found, "corp.example/a/b"), ["https://go.corp.example/x/@v/v1.0.0.zip"]);
        assert_eq!(asked(&found, "corp.example/a/own/v2"), ["https://own.example/x/@v/v1.0.0.zip"]);
        assert_eq!(asked(&found, "corp.example.evil.example/a"), ["https://public.example/x/@v/v1.0.0.zip"]);
        let (told, hints) = refused(&found, "git.example/secret/x");
        assert_eq!(told, "git.example/secret/x is a private module by `GOPRIVATE`, and its origin is never asked");
        assert!(hints.contains("private = {\"git.example/*\" = "), "{hints}");
        // GONOPROXY in its place.
        let found =
            registries(&configured, "GOPROXY=https://public.example\nGOPRIVATE=*.example/secret\nGONOPROXY=none\n");
        assert_eq!(asked(&found, "git.example/secret/x"), ["https://public.example/x/@v/v1.0.0.zip"]);
        assert!(Patterns::parse("a/[b").is_err());
    }
}

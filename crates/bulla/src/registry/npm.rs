//! Where packages of npm are, and the logins for there.
//!
//! In this order: `[registry.npm]` of the configuration, `$npm_config_registry`, the user's `.npmrc`, the machine's. No host is compiled
//! in. A project's `.npmrc` is not read here: a stranger may have written it, and it would say where names of packages, and logins, go.
//! A login belongs to the addresses that its own line names (npm, "Auth related configuration").

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bulla_model::{Fault, Kind};
use bulla_net::{NetError, Reach, Secret, Url};

use super::{
    Found, PackageRegistries,
    packages::{SettingError, settings},
};
use crate::{environment::Environment, error::Result, session::Session};

/// The registries of npm, as this user on this machine has them.
#[derive(Debug, Clone, Default)]
pub(crate) struct NpmRegistries {
    registry: Option<Url>,
    scopes: BTreeMap<String, Url>,
    /// Values of `Authorization` by the address that they are for, without its scheme: `//npm.example/team/`.
    logins: BTreeMap<String, Secret>,
    /// Files with certificate authorities.
    ca_files: Vec<PathBuf>,
}

/// What one login is made of.
#[derive(Default)]
struct Login {
    token: Option<String>,
    auth: Option<String>,
    name: Option<String>,
    password: Option<String>,
}

/// Nothing says where packages are.
#[derive(Debug, thiserror::Error)]
#[error("nothing says where the registry of npm is, which {package} is looked for in")]
struct NoRegistry {
    package: String,
}

impl Fault for NoRegistry {
    fn kind(&self) -> Kind {
        Kind::Environment
    }

    fn hints(&self) -> Vec<String> {
        vec![
            "write `registry=https://HOST/` into `~/.npmrc`, with the address that `npm config get registry` prints"
                .into(),
            "or write `[registry.npm]` and `registry = \"https://HOST/\"` into `~/.config/bulla/config.toml`".into(),
        ]
    }
}

impl NpmRegistries {
    /// Reads the configuration, the environment, and npm's settings where the configuration does not forbid it.
    ///
    /// # Errors
    /// When a file cannot be read, or an address in it is none.
    pub(crate) fn read(session: &Session) -> Result<Self> {
        let configured = &session.config()?.npm;
        let mut found =
            Self { registry: configured.registry.clone(), scopes: configured.scopes.clone(), ..Self::default() };
        if !configured.npmrc {
            return Ok(found);
        }
        let environment = &session.environment;
        if let (None, Some(text)) = (&found.registry, &environment.npm_registry) {
            let file = PathBuf::from("$npm_config_registry");
            found.registry =
                Some(Url::parse(text).map_err(|error| SettingError { file, line: None, what: error.to_string() })?);
        }
        for file in environment.npm_files() {
            if let Some(text) = settings(&file)? {
                found.take(&file, &text, &|name| lookup(environment, name))?;
            }
        }
        Ok(found)
    }

    /// Takes what a weaker file says.
    fn take(&mut self, file: &Path, text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<(), SettingError> {
        let mut logins: BTreeMap<String, Login> = BTreeMap::new();
        let mut ca_file = None;
        for (number, line) in text.lines().enumerate() {
            let Some((key, value)) = setting(line) else { continue };
            let wrong = |what: String| SettingError { file: file.to_owned(), line: Some(number + 1), what };
            let value = expanded(value, variable);
            let url = || Url::parse(&value).map_err(|error| wrong(error.to_string()));
            if key == "registry" {
                self.registry = Some(self.registry.take().map_or_else(url, Ok)?);
            } else if key == "cafile" {
                ca_file = Some(PathBuf::from(value)).filter(|path| path.is_absolute());
            } else if let Some(scope) = key.strip_suffix(":registry").filter(|scope| scope.starts_with('@')) {
                let known = self.scopes.remove(scope);
                self.scopes.insert(scope.to_owned(), known.map_or_else(url, Ok)?);
            } else if let Some((place, field)) = key.rsplit_once(':').filter(|_| key.starts_with("//")) {
                let login = logins.entry(place.trim_end_matches('/').to_ascii_lowercase()).or_default();
                match field {
                    "_authToken" => login.token = Some(value),
                    "_auth" => login.auth = Some(value),
                    "username" => login.name = Some(value),
                    "_password" => login.password = Some(value),
                    _ => {}
                }
            }
        }
        for (place, login) in logins {
            if let Some(authorization) = login.authorization() {
                self.logins.entry(place).or_insert(authorization);
            }
        }
        self.ca_files.extend(ca_file);
        Ok(())
    }

    /// Gives the registry that has a package.
    ///
    /// # Errors
    /// When nothing says where it is.
    fn of(&self, package: &str) -> Result<&Url> {
        let scope = package.split_once('/').map(|(scope, _)| scope);
        let own = scope.and_then(|scope| self.scopes.get(scope));
        Ok(own.or(self.registry.as_ref()).ok_or_else(|| NoRegistry { package: package.to_owned() })?)
    }

    /// Gives the login for an address of a registry: that of the longest beginning which has one.
    fn login(&self, url: &Url) -> Option<&Secret> {
        let origin = url.origin();
        let (_, host) = origin.split_once("://")?;
        let whole = format!("//{host}{}", url.path());
        let mut place = whole.as_str();
        loop {
            place = place.trim_end_matches('/');
            if let Some(login) = self.logins.get(place).or_else(|| self.logins.get(&place.to_ascii_lowercase())) {
                return Some(login);
            }
            place = &place[..place.rfind('/').filter(|at| *at > 1)?];
        }
    }
}

impl PackageRegistries for NpmRegistries {
    fn has(&self, package: &str) -> bool {
        self.of(package).is_ok()
    }

    fn find(&self, package: &str, path: &str) -> Result<Vec<Found>> {
        let url = self.of(package)?.beneath(path).map_err(NetError::from)?;
        let login = self.login(&url).cloned();
        Ok(vec![Found { url, reach: Reach::Configured, login, else_next: false }])
    }

    fn ca_files(&self) -> &[PathBuf] {
        &self.ca_files
    }

    fn hint(&self, package: &str) -> Option<String> {
        let (scope, _) = package.split_once('/')?;
        Some(format!(
            "if `{scope}` has a registry of its own, write `{scope}:registry=https://HOST/` into your own `~/.npmrc`; that of the project is not believed"
        ))
    }
}

impl Login {
    /// Gives the value of `Authorization`; the strongest way that is whole.
    fn authorization(self) -> Option<Secret> {
        let basic = |name: &str, word: &str| format!("Basic {}", STANDARD.encode(format!("{name}:{word}")));
        let value = match (self.token, self.name, self.password, self.auth) {
            (Some(token), ..) => format!("Bearer {token}"),
            (None, Some(name), Some(password), _) => {
                basic(&name, std::str::from_utf8(&STANDARD.decode(password).ok()?).ok()?)
            }
            (None, _, _, Some(auth)) => format!("Basic {auth}"),
            _ => return None,
        };
        Some(Secret::new(value))
    }
}

/// Reads a line of npm's settings, which are those of `ini`: comments and sections are none.
fn setting(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    if line.starts_with([';', '#', '[']) {
        return None;
    }
    let (key, value) = line.split_once('=')?;

    let value = value.trim();
    let quoted = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    let value = quoted('"').or_else(|| quoted('\'')).unwrap_or(value);
    (!value.is_empty()).then_some((key.trim(), value))
}

/// Puts the values of variables in, as npm does: `${NAME}`, and `${NAME?}` which may be missing. What is not set stays as it is.
fn expanded(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("${") {
        out.push_str(before);
        let Some((name, after)) = behind.split_once('}') else {
            rest = &rest[before.len()..];
            break;
        };
        match (variable(name.trim_end_matches('?')), name.ends_with('?')) {
            (Some(value), _) => out.push_str(&value),
            (None, true) => {}
            (None, false) => out.push_str(&format!("${{{name}}}")),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

fn lookup(environment: &Environment, name: &str) -> Option<String> {
    String::from_utf8(environment.secret(name)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[&str]) -> NpmRegistries {
        let mut found = NpmRegistries::default();
        for text in files {
            let variable = |name: &str| (name == "NPM_TOKEN").then(|| "from-variable".to_owned());
            found.take(Path::new(".npmrc"), text, &variable).expect("good settings");
        }
        found
    }

    fn url(text: &str) -> Url {
        Url::parse(text).expect("an address")
    }

    #[test]
    fn the_stronger_file_and_the_scope_decide_where_a_package_is() {
        let found = read(&[
            "; mine\nregistry = \"https://npm.example/api/\"\n@acme:registry=https://acme.example\n[section]\nsave-exact=true\n",
            "registry=https://weaker.example\n@acme:registry=https://weaker.example\n@other:registry=https://other.example/",
        ]);
        let of = |package: &str| found.of(package).expect("it is known").to_string();
        assert_eq!(of("left-pad"), "https://npm.example/api/");
        assert_eq!(of("@types/node"), "https://npm.example/api/");
        assert_eq!(of("@acme/a"), url("https://acme.example").to_string());
        assert_eq!(of("@other/a"), "https://other.example/");
        let unknown = NpmRegistries::default().of("left-pad").map(drop).expect_err("nothing is known");
        assert_eq!((unknown.kind, unknown.hints.len()), (Kind::Environment, 2));
    }

    #[test]
    fn a_login_is_for_the_addresses_of_its_line_alone() {
        let found = read(&[
            "//npm.example/team/:_authToken=${NPM_TOKEN}\n//npm.example:8443/:username=me\n//npm.example:8443/:_password=d29yZA==\n//basic.example/:_auth=bWU6d29yZA==\n//half.example/:username=me\n_authToken=for-nobody\n",
        ]);
        let login = |text: &str| found.login(&url(text)).is_some();
        assert!(login("https://npm.example/team/a/-/a-1.0.0.tgz") && login("https://npm.example/team"));
        assert!(login("https://npm.example:8443/a") && login("https://basic.example/a/b"));
        for other in [
            "https://npm.example/a",
            "https://npm.example/teams/a",
            "https://npm.example:444/team/a",
            "https://npm.example.evil.example/team/a",
            "https://evil.example/npm.example/team/a",
            "https://half.example/a",
            "https://basic.example:8443/a",
        ] {
            assert!(!login(other), "{other}");
        }
        let token = Login { token: Some("t".to_owned()), ..Login::default() };
        assert_eq!(token.authorization(), Some(Secret::new("Bearer t")));
        let word = Login { name: Some("me".to_owned()), password: Some("d29yZA==".to_owned()), ..Login::default() };
        assert_eq!(word.authorization(), Some(Secret::new("Basic bWU6d29yZA==")));
    }

    #[test]
    fn variables_are_put_in_as_npm_does_it() {
        let one = |text: &str| expanded(text, &|name| (name == "A").then(|| "x".to_owned()));
        assert_eq!(one("a${A}b${B}c${B?}d${A"), "axb${B}cd${A");
    }

    #[test]
    fn nothing_of_a_login_is_printed() {
        let found = read(&["//npm.example/:_authToken=hidden-word\n"]);
        assert!(!format!("{found:?}").contains("hidden-word"));
    }
}

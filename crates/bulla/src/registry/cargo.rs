//! Where crates are: which sparse index is meant, and the logins for there (doc.rust-lang.org/cargo/reference, "Configuration", "Source
//! Replacement" and "Registry Authentication").
//!
//! In this order: `[registry.cargo]` of the configuration, then cargo's own settings of the user: `config.toml` in `$CARGO_HOME`, else
//! `~/.cargo`, and `$CARGO_REGISTRIES_NAME_INDEX`. No host is compiled in, although one is in cargo. A project's `.cargo/config.toml` is not read
//! here: a stranger may have written it.
//!
//! A registry that these settings name may be anywhere, and so may the crates that its `config.json` says where they are. One that a lock file alone
//! names is a stranger's. A token goes to the origin of its registry's index, and only where `config.json` cannot be had without one, or says
//! `auth-required`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use bulla_ecosystems::dependencies::cargo::CargoPlace;
use bulla_model::{Fault, Kind};
use bulla_net::{NetError, Reach, Secret, Url};
use serde::Deserialize;

use super::{
    Found, PackageRegistries,
    netrc::{is_this_machine, text},
};
use crate::{config, error::Result, session::Session};

/// What cargo calls the registry that is meant where nothing else is said.
const OWN: &str = "crates-io";

/// Reads the address of a sparse index, with a slash at its end; `sparse+` may stand before it.
///
/// # Errors
/// With what is wrong.
pub(crate) fn sparse_index(text: &str) -> Result<Url, String> {
    let address = text.strip_prefix("sparse+").unwrap_or(text);
    Url::parse(&format!("{}/", address.trim_end_matches('/'))).map_err(|error| error.to_string())
}

/// The registries of cargo, as this user on this machine has them.
#[derive(Debug, Clone, Default)]
pub(crate) struct CargoRegistries {
    own: Option<Url>,
    /// Where the registries of the settings are, by the index that lock files name: the same one, or what stands for it.
    others: BTreeMap<String, Url>,
    /// Tokens, by index.
    tokens: BTreeMap<String, Secret>,
    ca_files: Vec<PathBuf>,
    /// What of the settings could not be used, and why.
    notes: Vec<String>,
}

/// A file of cargo's settings, as far as it counts here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Settings {
    registries: BTreeMap<String, RegistryKeys>,
    source: BTreeMap<String, SourceKeys>,
    http: HttpKeys,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RegistryKeys {
    index: Option<String>,
    token: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct SourceKeys {
    registry: Option<String>,
    replace_with: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct HttpKeys {
    cainfo: Option<PathBuf>,
}

/// Nothing says where crates are.
#[derive(Debug, thiserror::Error)]
#[error("nothing says where the registry of cargo is, which {package} is looked for in")]
struct NoRegistry {
    package: String,
    notes: Vec<String>,
}

impl Fault for NoRegistry {
    fn kind(&self) -> Kind {
        Kind::Environment
    }

    fn hints(&self) -> Vec<String> {
        let mut hints = vec![
            "write `[registry.cargo]` and `registry = \"sparse+https://HOST/\"` into `~/.config/bulla/config.toml`, with the sparse index that your cargo uses".to_owned(),
            "or let cargo use a mirror: `[source.crates-io]` with `replace-with = \"mirror\"`, and `[source.mirror]` with `registry = \"sparse+https://HOST/\"`, in your own `~/.cargo/config.toml`".to_owned(),
        ];
        hints.extend(self.notes.iter().map(|note| format!("of cargo's settings this was not used: {note}")));
        hints
    }
}

/// A file of cargo's settings is wrong. What is in it may be secret, and is not told.
#[derive(Debug, thiserror::Error)]
#[error("{} is no file of cargo's settings: line {line} is wrong", file.display())]
struct SettingError {
    file: PathBuf,
    line: usize,
}

impl Fault for SettingError {
    fn kind(&self) -> Kind {
        Kind::Environment
    }
}

/// All that cargo's settings say.
#[derive(Debug, Default)]
struct All {
    indexes: BTreeMap<String, String>,
    tokens: BTreeMap<String, Secret>,
    sources: BTreeMap<String, SourceKeys>,
    ca_file: Option<PathBuf>,
}

impl All {
    /// Takes what a weaker file says.
    fn take(&mut self, file: &Path, text: &str) -> Result<(), SettingError> {
        let settings: Settings = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            SettingError { file: file.to_owned(), line: before.lines().count().max(1) }
        })?;
        for (name, keys) in settings.registries {
            if let Some(index) = keys.index {
                self.indexes.entry(name.clone()).or_insert(index);
            }
            if let Some(token) = keys.token {
                self.tokens.entry(name).or_insert(Secret::new(token));
            }
        }
        for (name, keys) in settings.source {
            let known = self.sources.entry(name).or_default();
            known.registry = known.registry.take().or(keys.registry);
            known.replace_with = known.replace_with.take().or(keys.replace_with);
        }
        let ca_file = settings.http.cainfo.filter(|path| path.is_absolute());
        self.ca_file = self.ca_file.take().or(ca_file);
        Ok(())
    }

    /// Takes the variable of an index, which is stronger than any file. Its name has capitals, and `_` for what names may have more.
    fn take_variable(&mut self, name: &str, index: &str) {
        let known: Vec<String> = self.indexes.keys().filter(|known| variable(known) == name).cloned().collect();
        let names = if known.is_empty() { vec![name.to_ascii_lowercase().replace('_', "-")] } else { known };
        for name in names {
            self.indexes.insert(name, index.to_owned());
        }
    }

    /// Follows what stands in the place of a source, as often as that goes on. An error says why it leads to no sparse index.
    fn followed(&self, name: &str) -> Result<Option<Url>, String> {
        let (mut name, mut seen) = (name, BTreeSet::new());
        while let Some(next) = self.sources.get(name).and_then(|source| source.replace_with.as_deref()) {
            if !seen.insert(name) {
                return Err(format!("the source `{name}` stands for itself"));
            }
            name = next;
        }
        let source = self.sources.get(name).and_then(|source| source.registry.as_ref());
        let Some(address) = source.or_else(|| self.indexes.get(name)) else {
            return if seen.is_empty() { Ok(None) } else { Err(format!("the source `{name}` is no registry")) };
        };
        let sparse = address.strip_prefix("sparse+");
        let sparse = sparse.ok_or_else(|| format!("`{name}` has an index in git, and sparse ones alone are asked"))?;
        sparse_index(sparse).map(Some).map_err(|error| format!("`{name}`: {error}"))
    }
}

/// The name of a registry, as variables have it.
fn variable(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

impl CargoRegistries {
    /// Reads the configuration, and cargo's settings where it does not forbid that.
    ///
    /// # Errors
    /// When a file cannot be read, or is none.
    pub(crate) fn read(session: &Session) -> Result<Self> {
        let configured = &session.config()?.cargo;
        let mut all = All::default();
        let environment = &session.environment;
        if let Some(folder) = environment.cargo_folder().filter(|_| configured.cargo_config) {
            // Of each pair cargo takes the first, which is the older one.
            for names in [["credentials", "credentials.toml"], ["config", "config.toml"]] {
                for name in names {
                    let file = folder.join(name);
                    if let Some(text) = text(&file)? {
                        all.take(&file, &text)?;
                        break;
                    }
                }
            }
            for (name, index) in &environment.cargo_indexes {
                all.take_variable(name, index);
            }
            for name in all.indexes.keys() {
                let token = environment.secret(&format!("CARGO_REGISTRIES_{}_TOKEN", variable(name)));
                if let Some(token) = token.and_then(|token| String::from_utf8(token).ok()) {
                    all.tokens.insert(name.clone(), Secret::new(token));
                }
            }
        }
        Ok(Self::of(configured, all))
    }

    fn of(configured: &config::Cargo, all: All) -> Self {
        let mut found = Self { own: configured.registry.clone(), ..Self::default() };
        if found.own.is_none() {
            match all.followed(OWN) {
                Ok(own) => found.own = own,
                Err(note) => found.notes.push(note),
            }
        }
        for (name, address) in &all.indexes {
            let Ok(index) = address.strip_prefix("sparse+").ok_or(()).and_then(|text| sparse_index(text).map_err(drop))
            else {
                continue;
            };
            if let Some(token) = all.tokens.get(name) {
                found.tokens.insert(index.to_string(), token.clone());
            }
            found.others.insert(index.to_string(), index);
        }
        // What stands in the place of a source is asked for what it has.
        for (name, source) in &all.sources {
            let Some(registry) = source.registry.as_ref().or_else(|| all.indexes.get(name)) else { continue };
            let Some(index) = registry.strip_prefix("sparse+").and_then(|text| sparse_index(text).ok()) else {
                continue;
            };
            match all.followed(name) {
                Ok(Some(there)) => drop(found.others.insert(index.to_string(), there)),
                Ok(None) => {}
                Err(note) => found.notes.push(note),
            }
        }
        found.ca_files.extend(all.ca_file);
        found
    }

    /// Gives the index of a place that the settings name; `None` for a stranger's.
    fn index(&self, package: &str, place: &CargoPlace) -> Result<Option<&Url>, NoRegistry> {
        match &place.index {
            None => {
                let none = || NoRegistry { package: package.to_owned(), notes: self.notes.clone() };
                self.own.as_ref().map(Some).ok_or_else(none)
            }
            Some(index) => {
                // As a URL is written: a lock file may have capitals in the host.
                let known = sparse_index(index).ok().and_then(|index| self.others.get(&index.to_string()));
                Ok(known)
            }
        }
    }
}

impl PackageRegistries for CargoRegistries {
    fn has(&self, _: &str) -> bool {
        self.own.is_some()
    }

    fn find(&self, package: &str, path: &str) -> Result<Vec<Found>> {
        let Some(place) = CargoPlace::parse(path) else {
            return Err(NetError::Nonsense { url: path.to_owned(), reason: "it is no place of a crate" }.into());
        };
        let index = self.index(package, &place)?;
        let is_whole = place.path.contains("://");
        let url = match (index, &place.index) {
            _ if is_whole => Url::parse(&place.path).map_err(NetError::from)?,
            (Some(index), _) => index.beneath(&place.path).map_err(NetError::from)?,
            (None, Some(index)) => {
                Url::parse(index).and_then(|index| index.beneath(&place.path)).map_err(NetError::from)?
            }
            (None, None) => unreachable!("cargo's own registry is known, or an error"),
        };
        let Some(index) = index else { return Ok(vec![self.at(url)]) };
        let found =
            |login: Option<Secret>, else_next| Found { url: url.clone(), reach: Reach::Configured, login, else_next };
        let may_go = url.origin() == index.origin() && (url.is_secure() || is_this_machine(url.host()));
        let token = self.tokens.get(&index.to_string()).filter(|_| may_go).cloned();
        Ok(match (token, is_whole, place.login) {
            // Some registries say nothing without a login, and not even that one is wanted.
            (Some(token), false, _) => vec![found(None, true), found(Some(token), false)],
            (Some(token), true, true) => vec![found(Some(token), false)],
            _ => vec![found(None, false)],
        })
    }

    fn ca_files(&self) -> &[PathBuf] {
        &self.ca_files
    }

    fn hint(&self, _: &str) -> Option<String> {
        Some("a registry of your own, and its token, are known by your own `~/.cargo/config.toml` and `credentials.toml` alone; a token goes to the origin of the registry's index, and not to crates elsewhere".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registries(files: &[&str]) -> CargoRegistries {
        let mut all = All::default();
        for text in files {
            all.take(Path::new("config.toml"), text).expect("good settings");
        }
        CargoRegistries::of(&config::Cargo::default(), all)
    }

    fn place(index: Option<&str>, path: &str, login: bool) -> String {
        CargoPlace { index: index.map(str::to_owned), path: path.to_owned(), login }.to_string()
    }

    /// Gives how a place is asked: the address, `*` where it may be anywhere, `!` with a login.
    fn asked(found: &CargoRegistries, place: &str) -> Vec<String> {
        let found = found.find("a", place).expect("it is known").into_iter();
        found
            .map(|one| {
                let reach = if one.reach == Reach::Configured { "*" } else { "" };
                format!("{}{reach}{}", one.url, if one.login.is_some() { "!" } else { "" })
            })
            .collect()
    }

    const SETTINGS: &str = "
        [source.crates-io]
        replace-with = 'corp'
        [registries.corp]
        index = 'sparse+https://crates.corp.example/index'
        [registries.other]
        index = 'sparse+https://other.example/'
        [source.moved]
        registry = 'sparse+https://moved.example/'
        replace-with = 'corp'
        [registries.git]
        index = 'https://git.example/index'
        [build]
        jobs = 3
    ";
    const LOGINS: &str = "[registry]\ntoken = 'for-nobody'\n[registries.corp]\ntoken = 's3cret'\n";

    #[test]
    fn settings_say_which_index_is_asked() {
        let found = registries(&[LOGINS, SETTINGS]);
        let own = "https://crates.corp.example/index/config.json*";
        assert_eq!(asked(&found, "config.json"), [own.to_owned(), format!("{own}!")]);
        let of = |index: &str| asked(&found, &place(Some(index), "config.json", false));
        assert_eq!(of("https://other.example/"), ["https://other.example/config.json*"]);
        assert_eq!(of("https://moved.example/"), [own.to_owned(), format!("{own}!")]);
        assert_eq!(of("https://stranger.example/"), ["https://stranger.example/config.json"]);
        let unknown = registries(&[LOGINS]).find("left-pad", "config.json").expect_err("nothing says it");
        assert_eq!(unknown.kind, Kind::Environment);
        assert!(unknown.hints[0].contains("[registry.cargo]"), "{:?}", unknown.hints);
        for (more, why) in [
            ("[source.crates-io]\nreplace-with = 'git'\n", "an index in git"),
            ("[source.crates-io]\nreplace-with = 'vendored'\n[source.vendored]\ndirectory = 'v'\n", "no registry"),
            ("[source.crates-io]\nreplace-with = 'a'\n[source.a]\nreplace-with = 'crates-io'\n", "stands for itself"),
        ] {
            let found = registries(&[more, "[registries.git]\nindex = 'https://git.example/index'\n"]);
            let hints = found.find("left-pad", "config.json").expect_err("nothing says it").hints;
            assert!(hints.iter().any(|hint| hint.contains(why)), "{hints:?}");
        }
    }

    #[test]
    fn a_token_goes_to_the_origin_of_its_index_and_only_where_one_is_wanted() {
        let found = registries(&[LOGINS, SETTINGS]);
        let dl = |path: &str, login: bool| asked(&found, &place(None, path, login)).concat();
        assert_eq!(dl("https://crates.corp.example/dl/a", true), "https://crates.corp.example/dl/a*!");
        assert_eq!(dl("https://crates.corp.example/dl/a", false), "https://crates.corp.example/dl/a*");
        for elsewhere in [
            "https://dl.corp.example/a",
            "http://crates.corp.example/dl/a",
            "https://crates.corp.example:8443/dl/a",
            "https://crates.corp.example.evil.example/dl/a",
        ] {
            assert_eq!(dl(elsewhere, true), format!("{elsewhere}*"));
        }
        let stranger = place(Some("https://stranger.example/"), "https://crates.corp.example/dl/a", true);
        assert_eq!(asked(&found, &stranger).concat(), "https://crates.corp.example/dl/a");
        let other = place(Some("https://other.example/"), "https://crates.corp.example/dl/a", true);
        assert_eq!(asked(&found, &other).concat(), "https://crates.corp.example/dl/a*");
        assert!(!format!("{found:?}").contains("s3cret"));
    }

    #[test]
    fn variables_are_stronger_than_files_and_files_that_are_none_are_told_without_their_text() {
        let mut all = All::default();
        all.take(Path::new("config.toml"), SETTINGS).expect("good settings");
        all.take_variable("CORP", "sparse+https://new.example/");
        all.take_variable("MY_OWN", "sparse+https://mine.example/");
        let found = CargoRegistries::of(&config::Cargo::default(), all);
        assert_eq!(asked(&found, "config.json"), ["https://new.example/config.json*"]);
        let mine = place(Some("https://mine.example/"), "config.json", false);
        assert_eq!(asked(&found, &mine), ["https://mine.example/config.json*"]);
        let error = All::default().take(Path::new("c"), "\ntoken = s3cret\n").expect_err("no file").to_string();
        assert_eq!(error, "c is no file of cargo's settings: line 2 is wrong");
    }
}

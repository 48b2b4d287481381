//! Where suites are: which base addresses, and which keys sign their indexes.
//!
//! In this order: `[[registry.debian.repository]]` of the configuration, its `mirrors` and `security-mirrors`, the entries of
//! the machine's apt settings for that very suite, and those for another release of the same archive. No host is compiled
//! in: a suite that none of them knows is an error that says what to configure.

mod apt;
mod archives;
mod cargo;
mod go;
mod keys;
mod logins;
mod maven;
mod netrc;
mod npm;
mod packages;
mod pip;
mod pypi;
mod uv;

use std::path::PathBuf;

use bulla_ecosystems::debian::keyring::Keyring;
use bulla_model::{Fault, Kind};
use bulla_net::Url;

pub(crate) use self::{
    apt::{Apt, Entry, SignedBy},
    archives::AptRegistries,
    cargo::{CargoRegistries, sparse_index},
    go::{GoRegistries, Proxies},
    logins::DockerLogins,
    maven::MavenRegistries,
    npm::NpmRegistries,
    packages::{Found, PackageRegistries},
    pypi::PypiRegistries,
};
use crate::{config::Debian, error::Result};

/// The name of the logical registry, as it stands in locks.
pub(crate) const REGISTRY: &str = "debian";

/// The logical registry of Debian, as this user on this machine has it.
#[derive(Debug, Clone)]
pub(crate) struct Registry {
    debian: Debian,
    apt: Apt,
}

/// Where one suite is.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The base addresses, the first choice first.
    pub mirrors: Vec<Url>,
    /// What says so, for people.
    pub from: String,
    keys: Vec<SignedBy>,
    /// Keys that the configuration adds.
    more: Vec<SignedBy>,
    with_debian: WithDebian,
}

/// Whether Debian's own keys, as they ship with the program, may sign too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WithDebian {
    Always,
    Never,
    /// Where no key is named, or one of those that are named is Debian's: then a newer one that ships is good as well.
    WhereTheyAreTrusted,
}

/// A suite that nothing knows.
#[derive(Debug, thiserror::Error)]
#[error("nothing says where the suite `{suite}` is")]
struct UnknownSuite {
    suite: String,
    apt: bool,
    notes: Vec<String>,
}

impl Fault for UnknownSuite {
    fn kind(&self) -> Kind {
        Kind::Environment
    }

    fn hints(&self) -> Vec<String> {
        let key = if is_security(&self.suite) { "security-mirrors" } else { "mirrors" };
        let mut hints = vec![format!(
            "write the address of a mirror into ~/.config/bulla/config.toml:\n[registry.debian]\n{key} = [\"https://mirror.example/debian\"]"
        )];
        if self.apt {
            hints.push("apt's settings were looked at too: no entry of theirs is of this archive".into());
        }
        hints.extend(self.notes.iter().map(|note| format!("of apt's settings this was not used: {note}")));
        hints
    }
}

impl Registry {
    /// Puts together what the configuration and apt's settings say.
    pub(crate) fn new(debian: &Debian, apt: Apt) -> Self {
        Self { debian: debian.clone(), apt }
    }

    /// Says where a suite is.
    ///
    /// # Errors
    /// When nothing knows it.
    pub(crate) fn suite(&self, suite: &str) -> Result<Place> {
        let notes = self.apt.notes.clone();
        let unknown = || UnknownSuite { suite: suite.to_owned(), apt: self.debian.apt, notes };
        Ok(self.configured(suite).or_else(|| self.of_apt(suite)).ok_or_else(unknown)?)
    }

    fn configured(&self, suite: &str) -> Option<Place> {
        let debian = &self.debian;
        let files = |paths: &[PathBuf]| paths.iter().cloned().map(SignedBy::File).collect::<Vec<_>>();
        if let Some(repository) = debian.repositories.iter().find(|r| r.suites.iter().any(|name| name == suite)) {
            return Some(Place {
                mirrors: repository.mirrors.clone(),
                from: "the configuration's repositories".into(),
                keys: files(&repository.keyrings),
                more: Vec::new(),
                with_debian: if repository.keyrings.is_empty() { WithDebian::Always } else { WithDebian::Never },
            });
        }
        let (mirrors, from) = if is_security(suite) {
            (&debian.security_mirrors, "the configuration's security-mirrors")
        } else {
            (&debian.mirrors, "the configuration's mirrors")
        };
        (!mirrors.is_empty()).then(|| Place {
            mirrors: mirrors.clone(),
            from: from.into(),
            keys: files(&debian.keyrings),
            more: Vec::new(),
            with_debian: WithDebian::Always,
        })
    }

    fn of_apt(&self, suite: &str) -> Option<Place> {
        let exact: Vec<&Entry> = self.apt.entries.iter().filter(|entry| entry.has(suite)).collect();
        let found = if exact.is_empty() { self.same_archive(suite) } else { exact };
        // Others publish under the names of Debian's suites too. What is signed by Debian's own keys comes before what
        // names no key, and that before what is signed by somebody else; only the best of these are mirrors of each other.
        // Looking into files of keys takes a while, so it is done only where there is a choice.
        let choice = found.iter().any(|entry| found.first().is_some_and(|first| first.signed_by != entry.signed_by));
        let best = found.iter().map(|entry| if choice { trust(entry) } else { Trust::Unnamed }).max()?;
        let chosen: Vec<&Entry> = found.into_iter().filter(|entry| !choice || trust(entry) == best).collect();
        let first = chosen.first()?;
        let mut mirrors: Vec<Url> = Vec::new();
        for url in chosen.iter().flat_map(|entry| &entry.mirrors) {
            if !mirrors.contains(url) {
                mirrors.push(url.clone());
            }
        }
        let mut keys: Vec<SignedBy> = Vec::new();
        for key in chosen.iter().flat_map(|entry| &entry.signed_by) {
            if !keys.contains(key) {
                keys.push(key.clone());
            }
        }
        let more = self.debian.keyrings.iter().cloned().map(SignedBy::File).collect();
        Some(Place { mirrors, from: first.place.clone(), keys, more, with_debian: WithDebian::WhereTheyAreTrusted })
    }

    /// Finds the entries of the archive that a suite of another release would be in.
    fn same_archive(&self, suite: &str) -> Vec<&Entry> {
        let entries = self.apt.entries.iter().filter(|entry| trust(entry) > Trust::Foreign);
        if is_security(suite) {
            return entries.filter(|entry| entry.suites.iter().any(|name| is_security(name))).collect();
        }
        entries.filter(|entry| entry.suites.iter().any(|name| self.is_main_archive(entry, name))).collect()
    }

    /// Says whether an entry's suite is one of Debian's main archive: the same address has its `-updates` too.
    fn is_main_archive(&self, entry: &Entry, suite: &str) -> bool {
        let updates = format!("{suite}-updates");
        let same_address = |other: &&Entry| other.mirrors.iter().any(|url| entry.mirrors.contains(url));
        self.apt.entries.iter().filter(same_address).any(|other| other.has(&updates))
    }
}

/// Says whose keys an entry of apt's settings names.
fn trust(entry: &Entry) -> Trust {
    if entry.signed_by.is_empty() {
        return Trust::Unnamed;
    }
    let of_debian = entry.signed_by.iter().any(|by| match by {
        SignedBy::Fingerprint(fingerprint) => keys::is_of_debian(fingerprint),
        _ => keys::read(by).is_ok_and(|keyring| keyring.fingerprints().any(keys::is_of_debian)),
    });
    if of_debian { Trust::Debian } else { Trust::Foreign }
}

/// Whose keys sign what an entry of apt's settings names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Trust {
    /// Somebody else's alone.
    Foreign,
    /// The entry does not say.
    Unnamed,
    /// Debian's own, perhaps among others.
    Debian,
}

impl Place {
    /// Gives who may sign the suite's index, beside Debian's own keys.
    pub(crate) fn signed_by(&self) -> impl Iterator<Item = &SignedBy> {
        self.keys.iter().chain(&self.more)
    }

    /// Reads the keys that may sign the suite's index.
    ///
    /// # Errors
    /// When a file of keys is unreadable.
    pub(crate) fn keyring(&self) -> Result<Keyring> {
        let mut keyring = Keyring::default();
        let mut of_debian = self.keys.is_empty();
        for by in &self.keys {
            match by {
                SignedBy::Fingerprint(fingerprint) => of_debian |= keys::is_of_debian(fingerprint),
                _ => keyring.merge(keys::read(by)?),
            }
        }
        of_debian |= keyring.fingerprints().any(keys::is_of_debian);
        if self.with_debian == WithDebian::Always || (self.with_debian == WithDebian::WhereTheyAreTrusted && of_debian)
        {
            keyring.merge(keys::debian().clone());
        }
        for by in &self.more {
            keyring.merge(keys::read(by)?);
        }
        Ok(keyring)
    }

    /// Says whether the keys of two places are the same.
    pub(crate) fn same_keys(&self, other: &Self) -> bool {
        (&self.keys, &self.more, self.with_debian) == (&other.keys, &other.more, other.with_debian)
    }
}

/// Says whether a suite is of the security archive: `bookworm-security`, and `buster/updates` as it was.
fn is_security(suite: &str) -> bool {
    suite.ends_with("-security") || suite.ends_with("/updates")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Repository;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL")
    }

    fn entry(mirror: &str, suites: &[&str], signed_by: Vec<SignedBy>) -> Entry {
        Entry {
            mirrors: vec![url(mirror)],
            suites: suites.iter().map(|&suite| suite.to_owned()).collect(),
            signed_by,
            place: format!("sources.list for {mirror}"),
        }
    }

    fn debian_key() -> Vec<SignedBy> {
        let fingerprint = Keyring::debian().fingerprints().next().expect("a key ships").to_owned();
        vec![SignedBy::Fingerprint(fingerprint)]
    }

    fn foreign_key() -> Vec<SignedBy> {
        vec![SignedBy::Fingerprint("0000000000000000000000000000000000000000".into())]
    }

    fn mirrors(registry: &Registry, suite: &str) -> Vec<String> {
        registry.suite(suite).map_or_else(|_| vec![], |place| place.mirrors.iter().map(Url::to_string).collect())
    }

    fn of_apt(entries: Vec<Entry>) -> Registry {
        Registry::new(&Debian::default(), Apt { entries, ..Apt::default() })
    }

    #[test]
    fn the_configuration_comes_before_apt() {
        let debian = Debian {
            mirrors: vec![url("http://a.example/debian")],
            repositories: vec![Repository {
                suites: vec!["corp".into()],
                mirrors: vec![url("http://corp.example/x")],
                keyrings: vec![],
            }],
            ..Debian::default()
        };
        let apt = Apt {
            entries: vec![entry("http://b.example/debian", &["bookworm", "bookworm-security"], vec![])],
            ..Apt::default()
        };
        let registry = Registry::new(&debian, apt);
        assert_eq!(mirrors(&registry, "bookworm"), ["http://a.example/debian"]);
        assert_eq!(mirrors(&registry, "corp"), ["http://corp.example/x"]);
        assert_eq!(mirrors(&registry, "bookworm-security"), ["http://b.example/debian"]);
    }

    #[test]
    fn a_stranger_with_the_same_suite_is_no_mirror_of_debian() {
        let registry = of_apt(vec![
            entry("http://stranger.example/apt", &["bookworm"], foreign_key()),
            entry("http://m.example/debian", &["bookworm", "bookworm-updates"], debian_key()),
            entry("http://n.example/debian", &["bookworm"], debian_key()),
        ]);
        assert_eq!(mirrors(&registry, "bookworm"), ["http://m.example/debian", "http://n.example/debian"]);
    }

    #[test]
    fn another_release_is_looked_for_in_the_same_archive() {
        let registry = of_apt(vec![
            entry("http://stranger.example/apt", &["bookworm"], vec![]),
            entry("http://m.example/debian", &["bookworm"], vec![]),
            entry("http://m.example/debian", &["bookworm-updates"], vec![]),
            entry("http://m.example/debian-security", &["bookworm-security"], debian_key()),
            entry("http://stranger.example/apt", &["x-security"], foreign_key()),
        ]);
        assert_eq!(mirrors(&registry, "trixie"), ["http://m.example/debian"]);
        assert_eq!(mirrors(&registry, "trixie-backports"), ["http://m.example/debian"]);
        assert_eq!(mirrors(&registry, "trixie-security"), ["http://m.example/debian-security"]);
    }

    #[test]
    fn a_suite_that_nothing_knows_is_explained() {
        let error = of_apt(vec![]).suite("bookworm-security").expect_err("unknown");
        assert_eq!(error.kind, Kind::Environment);
        assert!(error.hints[0].contains("security-mirrors ="), "{:?}", error.hints);
    }
}

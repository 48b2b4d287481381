//! What the readers of pnpm's and yarn's lock files have in common. What a lock file names is collected entry by entry: each artifact once, and
//! addresses that belong to one artifact each.

use std::collections::{BTreeMap, BTreeSet};

use bulla_model::{Address, CleanPath};

use super::{
    lock::Read,
    name,
    words::{self, Source, Unserved, shortened},
    yaml::{self, Node},
};
use crate::dependencies::{
    Artifact, Hash, LockFileError, MAX_ARTIFACTS, Place,
    git::{GitAddress, Refusal, Repositories},
};

/// What one artifact is known by: name, version and the name of its file.
type Key = (String, String, String);

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Collected {
    found: BTreeMap<Key, Artifact>,
    /// The addresses to which the client goes by itself, and the line of each.
    addresses: BTreeMap<Address, (Key, u32)>,
    repositories: Repositories,
}

/// Why an entry cannot be taken.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) what: String,
    /// Whether what is wrong is its address, and why.
    pub(super) address: Option<Unserved>,
}

impl From<String> for Refused {
    fn from(what: String) -> Self {
        Self { what, address: None }
    }
}

impl From<Refusal> for Refused {
    fn from(Refusal { what, why }: Refusal) -> Self {
        Self { what, address: Some(why.into()) }
    }
}

/// A lock file that is being read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading<'a> {
    pub(super) file: &'a CleanPath,
    /// What brings it up to date.
    pub(super) again: &'static str,
    /// What gives an entry a hash that pins it.
    pub(super) unpinned: &'static str,
}

impl Reading<'_> {
    /// Says that something is wrong, and what to do.
    pub(super) fn wrong(&self, line: u32, what: String, hint: &str) -> LockFileError {
        LockFileError { file: self.file.to_string(), line: Some(line), what, hints: vec![hint.to_owned()] }
    }

    /// Says why an entry cannot be taken.
    pub(super) fn refused(&self, line: u32, Refused { what, address }: Refused) -> LockFileError {
        let hint = match address {
            Some(Unserved::Git) => "depend on one whole commit of it: `git+https://HOST/PATH.git#COMMIT`",
            Some(Unserved::Login) => "take the login out of the address, and put it into your own `~/.npmrc`",
            Some(Unserved::Unpinned) => self.unpinned,
            Some(Unserved::Other) | None => self.again,
        };
        self.wrong(line, what, hint)
    }

    /// Reads YAML.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn yaml(&self, text: &str) -> Result<Node, LockFileError> {
        yaml::parse(text).map_err(|error| {
            let cut = format!("it may be cut off: take it from the repository again, or {}", self.again);
            self.wrong(error.line, error.what, if text.ends_with('\n') { self.again } else { &cut })
        })
    }
}

/// One entry.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a str,
    pub(super) version: &'a str,
    /// The address that the lock file has, without a fragment.
    pub(super) resolved: Option<&'a str>,
    pub(super) line: u32,
}

impl Entry<'_> {
    /// Says where its archive is.
    ///
    /// # Errors
    /// When its name or version is none, or its address is not served.
    pub(super) fn source(&self) -> Result<Source<'_>, Refused> {
        let Self { name, version, .. } = *self;
        if !name::is_name(name) {
            return Err(format!("`{}` is no name of a package", shortened(name)).into());
        }
        if semver::Version::parse(version).is_err() {
            return Err(format!("`{name}` has the version `{}`, which is none", shortened(version)).into());
        }
        let Some(resolved) = self.resolved else { return Ok(Source::Registry) };
        words::source(name, version, resolved).map_err(|(what, why)| Refused { what, address: Some(why) })
    }
}

impl Collected {
    /// Takes an entry, whose client goes to the address that it has, where it has one.
    ///
    /// # Errors
    /// When another entry is of the same package with other bytes, or is at the same address.
    pub(super) fn add(&mut self, entry: &Entry<'_>, hashes: Vec<Hash>) -> Result<(), Refused> {
        let Entry { name, version, resolved, line } = *entry;
        let (file, place) = match entry.source()? {
            Source::Registry => {
                (format!("{}-{version}.tgz", name::base(name)), Place::Registry(name::archive_path(name, version)))
            }
            Source::Url(url) => (url.to_owned(), Place::Url(url.to_owned())),
        };
        let key = (name.to_owned(), version.to_owned(), file.clone());
        if let Some(resolved) = resolved {
            let address = Address::parse(resolved)
                .map_err(|error| format!("`{name}` comes from `{}`: {}", shortened(resolved), error.why()))?;
            match self.addresses.get(&address) {
                Some((other, before)) if *other != key => {
                    let what = format!(
                        "`{name}` {version} is at the same address as `{}` {} in line {before}",
                        other.0, other.1
                    );
                    return Err(what.into());
                }
                Some(_) => {}
                None => drop(self.addresses.insert(address, (key.clone(), line))),
            }
        }
        match self.found.get(&key) {
            Some(known) if known.hashes != hashes => {
                return Err(format!("`{name}` {version} has another hash here than in line {}", known.line).into());
            }
            Some(_) => return Ok(()),
            None if self.found.len() >= MAX_ARTIFACTS => {
                return Err(format!("it names more than {MAX_ARTIFACTS} packages").into());
            }
            None => {}
        }
        let (name, version) = (key.0.clone(), key.1.clone());
        self.found.insert(key, Artifact { name, version, file, hashes, places: vec![place], line });
        Ok(())
    }

    /// Takes a commit of a git repository.
    ///
    /// # Errors
    /// When another entry is of another commit of it.
    pub(super) fn add_commit(&mut self, address: &GitAddress, line: u32) -> Result<(), Refused> {
        let artifact = self.repositories.add(address, line)?;
        let key = (artifact.name.clone(), artifact.version.clone(), artifact.file.clone());
        self.found.entry(key).or_insert(artifact);
        Ok(())
    }

    /// Gives the artifacts in their order, and what belongs to them.
    pub(super) fn finish(self) -> Read {
        let places: BTreeMap<&Key, usize> = self.found.keys().zip(0..).collect();
        let of = |(address, (key, _)): (&Address, &(Key, u32))| Some((address.clone(), *places.get(key)?));
        let addresses: Vec<_> = self.addresses.iter().filter_map(of).collect();
        let artifacts: Vec<Artifact> = self.found.into_values().collect();
        let asked_scopes = scopes(&artifacts, &addresses);
        Read { artifacts, addresses, asked_scopes, repositories: self.repositories, ..Read::default() }
    }
}

/// Gives the scopes of which a client has to ask a registry where an archive is, with a line that shows it.
fn scopes(artifacts: &[Artifact], addresses: &[(Address, usize)]) -> BTreeMap<String, u32> {
    let known: BTreeSet<usize> = addresses.iter().map(|(_, place)| *place).collect();
    let mut scopes = BTreeMap::new();
    for (_, artifact) in artifacts.iter().enumerate().filter(|(place, _)| !known.contains(place)) {
        if let Some((scope, _)) = artifact.name.split_once('/') {
            scopes.entry(scope.to_owned()).or_insert(artifact.line);
        }
    }
    scopes
}

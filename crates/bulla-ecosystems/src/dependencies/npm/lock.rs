//! `package-lock.json` and `npm-shrinkwrap.json` of versions 2 and 3 (npm, "package-lock.json"): of each place in `node_modules`, what
//! lies there. Only `packages` is read; `dependencies` of version 2 says the same for older clients.

use std::collections::{BTreeMap, BTreeSet};

use bulla_model::{Address, CleanPath, Platform};
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

use super::{
    collected::Refused,
    json::{Lines, Pairs},
    name,
    platform::{Machines, Words},
    words::{self, Source, Unserved, host_of, path_of, shortened},
};
use crate::dependencies::{
    Artifact, Hash, LockFileError, MAX_ARTIFACTS, Place,
    git::{GitAddress, Repositories},
};

/// What a lock file names.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// What has to be had.
    pub(super) artifacts: Vec<Artifact>,
    /// The further paths that a client may have for an artifact, beneath the registry: those of its `resolved` addresses.
    pub(super) further: BTreeMap<String, usize>,
    /// The addresses to which the client goes by itself.
    pub(super) addresses: Vec<(Address, usize)>,
    /// What other platforms alone need, by name and version: what the lock file says of it.
    pub(super) foreign: BTreeMap<(String, String), Map<String, Value>>,
    /// Scopes of which the client has to ask a registry where an archive is, with a line that shows it.
    pub(super) asked_scopes: BTreeMap<String, u32>,
    /// The places in `node_modules` that have a package, and what it is.
    pub(super) places: BTreeMap<String, Kept>,
    /// The host whose addresses the client takes for those of its registry: `always` for all.
    pub(super) replaced_host: String,
    /// The git repositories.
    pub(super) repositories: Repositories,
}

/// What lies at a place of `node_modules`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kept {
    /// A package of a registry, by the name that it has there: its archive comes from there, whatever its `package.json` says.
    Registry(String),
    /// Something that is in the archive of the package whose `node_modules` it lies in.
    Bundled,
    /// An archive by its address, or of the source: it names itself.
    Other,
}

#[derive(Deserialize)]
struct Keys<'a> {
    #[serde(rename = "lockfileVersion", borrow)]
    version: Option<&'a RawValue>,
    #[serde(borrow)]
    packages: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    name: Option<String>,
    version: Option<String>,
    resolved: Option<String>,
    integrity: Option<String>,
    #[serde(default)]
    link: bool,
    #[serde(default)]
    in_bundle: bool,
    #[serde(default)]
    optional: bool,
    os: Option<Words>,
    cpu: Option<Words>,
    libc: Option<Words>,
}

/// The fields of an entry that a registry's document has too (npm, "Package Metadata", the abbreviated form).
pub(super) const MANIFEST_FIELDS: [&str; 15] = [
    "bin",
    "bundleDependencies",
    "cpu",
    "dependencies",
    "deprecated",
    "directories",
    "engines",
    "funding",
    "hasInstallScript",
    "libc",
    "license",
    "optionalDependencies",
    "os",
    "peerDependencies",
    "peerDependenciesMeta",
];

struct Reader<'a> {
    file: &'a CleanPath,
    lines: Lines<'a>,
    /// What was found, by name, version and the name of the file.
    found: BTreeMap<(String, String, String), Artifact>,
    /// The further paths, and what they are of.
    further: BTreeMap<String, ((String, String, String), u32)>,
    foreign: BTreeMap<(String, String), Map<String, Value>>,
    asked_scopes: BTreeMap<String, u32>,
    places: BTreeMap<String, Kept>,
    /// The hosts of `resolved` addresses.
    hosts: BTreeSet<String>,
    /// The line of an archive that lies in the source.
    own_archive: Option<u32>,
    repositories: Repositories,
}

/// Reads a lock file.
///
/// # Errors
/// When it is damaged, of another version, or names what cannot be served.
pub(super) fn read(file: &CleanPath, text: &str, platform: Platform) -> Result<Read, LockFileError> {
    let keys: Keys<'_> = serde_json::from_str(text).map_err(|error| damaged(file, text, &error))?;
    let mut reader = Reader {
        file,
        lines: Lines::new(text),
        found: BTreeMap::new(),
        further: BTreeMap::new(),
        foreign: BTreeMap::new(),
        asked_scopes: BTreeMap::new(),
        places: BTreeMap::new(),
        hosts: BTreeSet::new(),
        own_archive: None,
        repositories: Repositories::default(),
    };
    reader.check_version(keys.version)?;
    let Some(packages) = keys.packages else {
        return Err(reader.wrong(1, "it has no `packages`", "run `npm install`, and commit the lock file"));
    };
    let at = reader.lines.of(packages);
    let pairs: Pairs<&RawValue> = serde_json::from_str(packages.get()).map_err(|error| {
        reader.wrong(
            at,
            &format!("`packages`: {}", without_place(&error)),
            "run `npm install`, and commit the lock file",
        )
    })?;
    let mut seen = BTreeSet::new();
    for (location, raw) in &pairs.0 {
        let line = reader.lines.of(raw);
        if !seen.insert(location.as_str()) {
            let what = format!("the place `{}` comes twice", shortened(location));
            return Err(reader.wrong(
                line,
                &what,
                "delete `package-lock.json`'s changes of the merge, run `npm install`, and commit the lock file",
            ));
        }
        reader.entry(location, raw, line, platform)?;
    }
    reader.finish()
}

impl Reader<'_> {
    fn wrong(&self, line: u32, what: &str, hint: &str) -> LockFileError {
        let hints = if hint.is_empty() { Vec::new() } else { vec![hint.to_owned()] };
        LockFileError { file: self.file.to_string(), line: Some(line), what: what.to_owned(), hints }
    }

    fn check_version(&self, version: Option<&RawValue>) -> Result<(), LockFileError> {
        let Some(version) = version else {
            return Err(self.wrong(
                1,
                "it has no `lockfileVersion`: it is no lock file of npm",
                "run `npm install`, and commit the lock file",
            ));
        };
        let line = self.lines.of(version);
        match version.get() {
            "2" | "3" => Ok(()),
            "1" => Err(self.wrong(
                line,
                "`lockfileVersion` is 1, which does not say where packages lie",
                "run `npm install --package-lock-only --lockfile-version=3` with npm 7 or newer, and commit the lock file",
            )),
            other => {
                let what = format!("`lockfileVersion` is {}; versions 2 and 3 are read", shortened(other));
                Err(self.wrong(line, &what, "run `npm install --package-lock-only --lockfile-version=3`, and commit the lock file"))
            }
        }
    }

    fn entry(&mut self, location: &str, raw: &RawValue, line: u32, platform: Platform) -> Result<(), LockFileError> {
        let entry: Entry = serde_json::from_str(raw.get()).map_err(|error| {
            let what = format!("the entry `{}`: {}", shortened(location), without_place(&error));
            self.wrong(line, &what, "run `npm install`, and commit the lock file")
        })?;
        // The project itself, its workspaces and folders that it links to are in the source; what is bundled is in what bundles it.
        if !location.contains("node_modules/") || entry.link || entry.in_bundle {
            if entry.in_bundle {
                self.places.insert(location.to_owned(), Kept::Bundled);
            }
            return Ok(());
        }
        let Some(name) =
            entry.name.as_deref().or_else(|| name::of_location(location)).filter(|name| name::is_name(name))
        else {
            let what = format!("the entry `{}` is of no package's name", shortened(location));
            return Err(self.wrong(line, &what, "run `npm install`, and commit the lock file"));
        };
        let resolved = entry.resolved.as_deref();
        if resolved.is_some_and(|resolved| resolved.starts_with("file:")) {
            // An archive of the source, which the client reads there.
            self.places.insert(location.to_owned(), Kept::Other);
            self.own_archive.get_or_insert(line);
            return Ok(());
        }
        let Some(version) = entry.version.as_deref().filter(|version| semver::Version::parse(version).is_ok()) else {
            let what = format!(
                "`{name}` has the version `{}`, which is none",
                shortened(entry.version.as_deref().unwrap_or_default())
            );
            return Err(self.wrong(
                self.lines.of_key(raw, "version"),
                &what,
                "run `npm install`, and commit the lock file",
            ));
        };
        if let Some(address) = resolved.and_then(GitAddress::of) {
            self.places.insert(location.to_owned(), Kept::Other);
            let added = address.and_then(|address| self.repositories.add(&address, line));
            let artifact = added.map_err(Refused::from).map_err(|Refused { what, address }| {
                let hint = match address {
                    Some(Unserved::Login) => "take the login out of `resolved`",
                    _ => "depend on one whole commit of it: `npm install git+https://HOST/PATH.git#COMMIT`, and commit the lock file",
                };
                self.wrong(self.lines.of_key(raw, "resolved"), &what, hint)
            })?;
            let key = (artifact.name.clone(), artifact.version.clone(), artifact.file.clone());
            self.found.entry(key).or_insert(artifact);
            return Ok(());
        }
        let source = self.source(name, version, resolved, raw)?;
        self.hosts.extend(resolved.and_then(host_of).map(str::to_owned));
        let kept = match source {
            Source::Registry => Kept::Registry(name.to_owned()),
            Source::Url(_) => Kept::Other,
        };
        self.places.insert(location.to_owned(), kept);
        let machines = Machines { os: entry.os.as_ref(), cpu: entry.cpu.as_ref(), libc: entry.libc.as_ref() };
        if entry.optional && !machines.admit(platform) {
            let fields: Map<String, Value> = serde_json::from_str(raw.get()).unwrap_or_default();
            let mut kept: Map<String, Value> =
                fields.into_iter().filter(|(key, _)| MANIFEST_FIELDS.contains(&key.as_str())).collect();
            kept.extend(entry.integrity.map(|integrity| ("integrity".to_owned(), integrity.into())));
            self.foreign.insert((name.to_owned(), version.to_owned()), kept);
            return Ok(());
        }
        let hashes = self.hashes(name, version, entry.integrity.as_deref(), raw)?;
        if resolved.is_none()
            && let Some((scope, _)) = name.split_once('/')
        {
            self.asked_scopes.entry(scope.to_owned()).or_insert(line);
        }
        let (file, place) = match source {
            Source::Registry => {
                (format!("{}-{version}.tgz", name::base(name)), Place::Registry(name::archive_path(name, version)))
            }
            Source::Url(url) => (url.to_owned(), Place::Url(url.to_owned())),
        };
        let key = (name.to_owned(), version.to_owned(), file.clone());
        if let Some(path) = resolved.and_then(path_of) {
            self.further(path, &key, line)?;
        }
        let artifact =
            Artifact { name: key.0.clone(), version: key.1.clone(), file, hashes, places: vec![place], line };
        match self.found.get(&key) {
            Some(known) if known.hashes != artifact.hashes => {
                let what = format!("`{name}` {version} has another `integrity` here than in line {}", known.line);
                return Err(self.wrong(
                    self.lines.of_key(raw, "integrity"),
                    &what,
                    "run `npm install`, and commit the lock file",
                ));
            }
            Some(_) => {}
            None if self.found.len() >= MAX_ARTIFACTS => {
                return Err(self.wrong(line, &format!("it names more than {MAX_ARTIFACTS} packages"), ""));
            }
            None => drop(self.found.insert(key, artifact)),
        }
        Ok(())
    }

    /// Says where an archive is.
    fn source<'u>(
        &self,
        name: &str,
        version: &str,
        resolved: Option<&'u str>,
        raw: &RawValue,
    ) -> Result<Source<'u>, LockFileError> {
        let Some(resolved) = resolved else { return Ok(Source::Registry) };
        words::source(name, version, resolved).map_err(|(what, why)| {
            let hint = match why {
                Unserved::Login => "take the login out of `resolved`, and put it into your own `~/.npmrc`",
                Unserved::Git | Unserved::Other | Unserved::Unpinned => "run `npm install`, and commit the lock file",
            };
            self.wrong(self.lines.of_key(raw, "resolved"), &what, hint)
        })
    }

    fn hashes(
        &self,
        name: &str,
        version: &str,
        integrity: Option<&str>,
        raw: &RawValue,
    ) -> Result<Vec<Hash>, LockFileError> {
        let again = "delete `integrity` of this entry and the folder `node_modules`, run `npm install`, and commit the lock file";
        let line = match integrity {
            None => self.lines.of(raw),
            Some(_) => self.lines.of_key(raw, "integrity"),
        };
        words::hashes(name, version, integrity).map_err(|what| self.wrong(line, &what, again))
    }

    /// Notes a path that a client may ask for, which belongs to one artifact alone.
    fn further(&mut self, path: String, key: &(String, String, String), line: u32) -> Result<(), LockFileError> {
        match self.further.get(&path) {
            Some((other, before)) if other != key => {
                let what = format!(
                    "`{}` {} is at the same address as `{}` {} in line {before}",
                    key.0, key.1, other.0, other.1
                );
                Err(self.wrong(line, &what, "run `npm install`, and commit the lock file"))
            }
            _ => {
                self.further.insert(path, (key.clone(), line));
                Ok(())
            }
        }
    }

    /// Says which host's addresses npm takes for those of its registry. Of all is simplest, but then it takes an archive that lies in
    /// the source, or a git repository, for one of them too.
    fn replaced_host(&self) -> Result<String, LockFileError> {
        let mut hosts = self.hosts.iter();
        let archive = self.own_archive.map(|line| (line, "an archive of the source"));
        let other = archive.or_else(|| self.repositories.line().map(|line| (line, "a git repository")));
        let hint = "delete `resolved` of packages of a registry: `npm install --omit-lockfile-registry-resolved`, and commit the lock file";
        match (other, hosts.next(), hosts.next()) {
            (None, ..) => Ok("always".to_owned()),
            (Some(_), None, _) => Ok("never".to_owned()),
            (Some(_), Some(host), None) => match self.repositories.first_of(host) {
                None => Ok(host.clone()),
                Some(line) => Err(self.wrong(
                    line,
                    &format!("this is a git repository of `{}`, at which other packages have addresses too: npm would look for both in the registry", shortened(host)),
                    hint,
                )),
            },
            (Some((line, what)), Some(host), Some(other)) => Err(self.wrong(
                line,
                &format!("this is {what}, and other packages have addresses of several hosts, `{}` and `{}`: npm can look for those of only one in the registry then", shortened(host), shortened(other)),
                hint,
            )),
        }
    }

    fn finish(self) -> Result<Read, LockFileError> {
        let replaced_host = self.replaced_host()?;
        let places: BTreeMap<_, usize> = self.found.keys().cloned().zip(0..).collect();
        // What has a path by its name and version keeps it: no address may stand in its way.
        let mut own: BTreeMap<String, Option<&(String, String, String)>> = BTreeMap::new();
        for key in self.found.keys() {
            own.insert(key.0.clone(), None);
            own.insert(name::archive_path(&key.0, &key.1), Some(key));
        }
        for (path, (key, line)) in &self.further {
            if own.get(path).is_some_and(|owner| owner.is_none_or(|owner| owner != key && owner.2 != key.2)) {
                let what =
                    format!("the address of `{}` {} has the path `{path}`, which another package has", key.0, key.1);
                return Err(self.wrong(*line, &what, "run `npm install`, and commit the lock file"));
            }
        }
        let further = self.further.iter().filter_map(|(path, (key, _))| Some((path.clone(), *places.get(key)?)));
        let further = further.collect();
        let (foreign, asked_scopes, places) = (self.foreign, self.asked_scopes, self.places);
        Ok(Read {
            artifacts: self.found.into_values().collect(),
            further,
            addresses: Vec::new(),
            foreign,
            asked_scopes,
            places,
            replaced_host,
            repositories: self.repositories,
        })
    }
}

/// Says why a text is no JSON: what Git and interrupted downloads leave has names of its own.
fn damaged(file: &CleanPath, text: &str, error: &serde_json::Error) -> LockFileError {
    let line_of_error = u32::try_from(error.line().max(1)).unwrap_or(u32::MAX);
    let (line, what, hint) = match words::conflict(text) {
        Some(line) => (
            line,
            "here is a conflict of a merge that nobody resolved".to_owned(),
            "run `npm install`, which resolves conflicts in its lock file, and commit it",
        ),
        None if error.is_eof() => {
            (line_of_error, "it is cut off".to_owned(), "take it from the repository again, or run `npm install`")
        }
        None => (
            line_of_error,
            format!("it is not JSON: {}", without_place(error)),
            "run `npm install`, and commit the lock file",
        ),
    };
    LockFileError { file: file.to_string(), line: Some(line), what, hints: vec![hint.to_owned()] }
}

/// Gives the message without the place, which is that in a part of the text.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.as_str(), |(before, _)| before).chars().take(200).collect()
}

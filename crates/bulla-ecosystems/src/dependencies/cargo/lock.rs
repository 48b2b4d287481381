//! Reads `Cargo.lock`, versions 1 to 4 (doc.rust-lang.org/cargo, "Cargo.lock"; the format itself is written down in cargo's `resolver/encode.rs`).

use std::collections::{BTreeMap, btree_map::Entry};

use bulla_model::{CleanPath, path::printable};
use semver::Version;
use serde::Deserialize;
use toml::Spanned;

use super::super::{Hash, LockFileError, MAX_ARTIFACTS, git::GitAddress, unescaped};

/// What lock files call the registry that cargo has when nothing else is said, whatever its index is had by.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";
/// The newest version that is read.
const NEWEST: i64 = 4;
/// The first version that has names of branches and tags percent-encoded.
const ENCODED: i64 = 4;
/// The longest name of a branch or tag.
const MAX_REFERENCE: usize = 250;
/// What to do about a git repository that cannot be taken.
const ONE_COMMIT: &str =
    "name the repository by a plain address of HTTPS or SSH, run `cargo update`, and commit Cargo.lock";
/// The longest address of an index.
const MAX_ADDRESS: usize = 500;

/// Where crates come from, by what lock files call it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// The one that cargo has when nothing else is said.
    CratesIo,
    /// Another, by the address of its sparse index, which ends with a slash.
    Sparse(String),
    /// A git repository.
    Git(GitSource),
}

/// A git repository, and what the project asks of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GitSource {
    /// Its address, as the project writes it.
    pub(super) url: String,
    /// `branch`, `tag` or `rev`, and which; without one it is the branch that the repository has itself.
    pub(super) asked: Option<(&'static str, String)>,
}

/// A package: its source, name and version.
pub(super) type Key = (Source, String, String);

/// What a lock file says of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Locked {
    pub(super) hash: Hash,
    /// Its commit, where it is of a git repository.
    pub(super) commit: Option<GitAddress>,
    pub(super) line: u32,
}

#[derive(Deserialize)]
struct Written {
    version: Option<Spanned<i64>>,
    #[serde(default)]
    package: Vec<Package>,
    /// The checksums of version 1.
    #[serde(default)]
    metadata: BTreeMap<String, toml::Value>,
}

#[derive(Deserialize)]
struct Package {
    name: Spanned<String>,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
}

/// Lines by places in a text.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(memchr::memchr_iter(b'\n', text.as_bytes()).collect())
    }

    fn line(&self, at: usize) -> u32 {
        u32::try_from(self.0.partition_point(|end| *end < at) + 1).unwrap_or(u32::MAX)
    }
}

/// Reads the packages that lie not in the project itself.
pub(super) fn read(file: &CleanPath, text: &str) -> Result<BTreeMap<Key, Locked>, LockFileError> {
    let at = |line: u32, what: String, hints: &[&str]| LockFileError {
        file: file.to_string(),
        line: Some(line),
        what,
        hints: hints.iter().map(|&hint| hint.to_owned()).collect(),
    };
    for (line, number) in text.lines().zip(1u32..) {
        if line.starts_with("<<<<<<<") || line.starts_with("=======") || line.starts_with(">>>>>>>") {
            let what = format!("`{}` is left of a merge that was not finished", shown(line));
            return Err(at(number, what, &["take the file of one side, run `cargo metadata`, and commit Cargo.lock"]));
        }
    }
    let lines = Lines::of(text);
    let written: Written = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| lines.line(span.start));
        at(
            line,
            format!("it is no lock file of cargo: {}", shown(error.message())),
            &["cargo writes it anew: run `cargo metadata`, and commit Cargo.lock"],
        )
    })?;
    if let Some(version) = &written.version
        && !(1..=NEWEST).contains(version.get_ref())
    {
        let what = format!("it has version {}, and {NEWEST} is the newest that is read", version.get_ref());
        return Err(at(
            lines.line(version.span().start),
            what,
            &["write it with a cargo that is no newer, or take a newer Bulla"],
        ));
    }
    let (mut packages, mut commits) = (BTreeMap::new(), BTreeMap::new());
    for package in &written.package {
        let line = lines.line(package.name.span().start);
        let encoded = written.version.as_ref().is_some_and(|version| *version.get_ref() >= ENCODED);
        let read = one(package, &written.metadata, encoded).map_err(|(what, hint)| at(line, what, &[&hint]))?;
        let Some((key, hash, commit)) = read else { continue };
        if let Some(address) = &commit {
            let known = commits.entry(key.0.clone()).or_insert((address.commit, line));
            if known.0 != address.commit {
                let what = format!("another commit of the same repository is in line {}", known.1);
                return Err(at(line, what, &["run `cargo update`, and commit Cargo.lock: a source has one commit"]));
            }
        }
        let (name, version) = (key.1.clone(), key.2.clone());
        match packages.entry(key) {
            Entry::Vacant(place) => place.insert(Locked { hash, commit, line }),
            Entry::Occupied(known) => {
                let what = format!("{name} {version} is in it twice, first in line {}", known.get().line);
                return Err(at(line, what, &["take one of the two out, run `cargo metadata`, and commit Cargo.lock"]));
            }
        };
        if packages.len() > MAX_ARTIFACTS {
            return Err(at(line, format!("it has more than {MAX_ARTIFACTS} packages"), &[]));
        }
    }
    Ok(packages)
}

/// What is wrong, and what to do.
type Wrong = (String, String);

/// Reads one package; nothing where it lies in the project itself.
fn one(
    package: &Package,
    metadata: &BTreeMap<String, toml::Value>,
    encoded: bool,
) -> Result<Option<(Key, Hash, Option<GitAddress>)>, Wrong> {
    let (name, version) = (package.name.get_ref(), &package.version);
    let update = || format!("run `cargo update -p {}`, and commit Cargo.lock", shown(name));
    if !is_name(name) {
        return Err((format!("`{}` is no name of a crate", shown(name)), update()));
    }
    if version.len() > 255 || Version::parse(version).is_err() {
        return Err((format!("`{}` is no version of {name}", shown(version)), update()));
    }
    let Some(source) = &package.source else { return Ok(None) };
    if let Some(place) = source.strip_prefix("git+") {
        let read =
            commit_of(place, encoded).map_err(|what| (format!("{name} {version}: {what}"), ONE_COMMIT.into()))?;
        let hash = Hash::GitCommit(*read.1.commit.as_bytes());
        return Ok(Some(((Source::Git(read.0), name.clone(), version.clone()), hash, Some(read.1))));
    }
    let registry = registry_of(source).map_err(|(what, hint)| (format!("{name} {version} {what}"), hint))?;
    let first = || metadata.get(&format!("checksum {name} {version} ({source})")).and_then(toml::Value::as_str);
    let Some(checksum) = package.checksum.as_deref().or_else(first) else {
        return Err((format!("{name} {version} has no checksum"), update()));
    };
    let hash = Hash::from_hex("sha256", checksum)
        .map_err(|_| (format!("`{}` is no checksum of {name} {version}", shown(checksum)), update()))?;
    Ok(Some(((registry, name.clone(), version.clone()), hash, None)))
}

/// Reads the commit of a git repository: `URL?branch=NAME#COMMIT`, with `tag` or `rev` instead, or neither.
fn commit_of(place: &str, encoded: bool) -> Result<(GitSource, GitAddress), String> {
    let (place, commit) = place.split_once('#').unwrap_or((place, ""));
    let (url, query) = place.split_once('?').map_or((place, None), |(url, query)| (url, Some(query)));
    let address = GitAddress::parse(url, commit).map_err(|refusal| refusal.what)?;
    let asked = match query.map(|query| query.split_once('=').unwrap_or((query, ""))) {
        None => None,
        Some((key, value)) => {
            let key = ["branch", "tag", "rev"].into_iter().find(|known| *known == key);
            let value = if encoded { unescaped(value) } else { Some(value.to_owned()) };
            let plain = |value: &String| {
                (1..=MAX_REFERENCE).contains(&value.len())
                    && value.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '&'))
            };
            match (key, value.filter(plain)) {
                (Some(key), Some(value)) => Some((key, value)),
                _ => return Err(format!("`{}` is nothing that can be asked of a git repository", shown(place))),
            }
        }
    };
    Ok((GitSource { url: url.to_owned(), asked }, address))
}

/// Reads where a package comes from.
fn registry_of(source: &str) -> Result<Source, Wrong> {
    if source == CRATES_IO {
        return Ok(Source::CratesIo);
    }
    if let Some(address) = source.strip_prefix("sparse+") {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '/' | '.' | '-' | '_' | '~' | '%');
        let good = ["https://", "http://"].iter().any(|scheme| address.starts_with(scheme))
            && address.len() <= MAX_ADDRESS
            && address.chars().all(plain);
        return match good {
            true => Ok(Source::Sparse(format!("{}/", address.trim_end_matches('/')))),
            false => Err((
                format!("is from `{}`, which is no plain address", shown(source)),
                "name the registry by a plain address".into(),
            )),
        };
    }
    let (what, hint) = match source.split('+').next() {
        Some("registry") => (
            "a registry whose index is a git repository",
            "name the registry by the address of its sparse index, `sparse+https://…`, and run `cargo update`",
        ),
        _ => ("a source that is not known", "take a version of it that is published in a registry"),
    };
    Err((format!("is from {what}: `{}`", shown(source)), hint.to_owned()))
}

/// Says whether a crate may have this name.
pub(super) fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

/// Makes text of a lock file printable, and not too long.
pub(super) fn shown(text: &str) -> String {
    let end = text.char_indices().nth(200).map_or(text.len(), |(end, _)| end);
    printable(&text.as_bytes()[..end])
}

//! Reads `pylock.toml` (PEP 751), version 1.

use std::collections::BTreeMap;

use bulla_model::CleanPath;
use serde::Deserialize;
use toml::Spanned;

use super::{
    super::{Hash, LockFileError, Place},
    marker::Marker,
    name,
    package::{self, File, Formats, Package, Pins, Reading, wrong},
    tags::Pythons,
    text::{Lines, parsed},
};

const LOCK_AGAIN: &str = "make it anew, by `uv export --format pylock.toml` or `pip lock`, commit it, build again";

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Version {
    lock_version: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Document {
    lock_version: Option<String>,
    requires_python: Option<String>,
    #[serde(default)]
    environments: Vec<String>,
    #[serde(default)]
    packages: Vec<Spanned<Entry>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Entry {
    name: String,
    version: Option<String>,
    marker: Option<String>,
    requires_python: Option<String>,
    vcs: Option<Vcs>,
    archive: Option<Archive>,
    sdist: Option<Published>,
    #[serde(default)]
    wheels: Vec<Published>,
}

/// Where a package is had from version control. Its folder in the repository is the client's business.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Vcs {
    #[serde(rename = "type")]
    kind: String,
    url: Option<String>,
    commit_id: Option<String>,
}

#[derive(Deserialize)]
struct Archive {
    url: Option<String>,
}

#[derive(Deserialize)]
struct Published {
    name: Option<String>,
    url: Option<String>,
    path: Option<String>,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
}

/// Reads a lock file.
pub(super) fn read(text: &str, path: &CleanPath, stage: Pythons) -> Result<Reading, LockFileError> {
    let lines = Lines::of(text);
    let document: Result<Document, _> = parsed(text, path, &lines, LOCK_AGAIN);
    // A newer version may be of another shape.
    let version = match &document {
        Ok(document) => document.lock_version.clone(),
        Err(_) => parsed::<Version>(text, path, &lines, LOCK_AGAIN)?.lock_version,
    };
    match version.as_deref() {
        Some(version) if version.split('.').next() == Some("1") => {}
        Some(version) => {
            let what =
                format!("it is of version {}; versions 1 are known", version.chars().take(20).collect::<String>());
            return Err(wrong(path, 1, what, "make it by a program that writes version 1.0, or use a newer Bulla"));
        }
        None => return Err(wrong(path, 1, "it has no `lock-version`, so it is no pylock.toml", LOCK_AGAIN)),
    }
    let document = document?;
    let mut pythons = stage;
    if let Some(text) = &document.requires_python {
        let what = || wrong(path, 0, format!("`requires-python = \"{text}\"` is no list of versions"), LOCK_AGAIN);
        pythons = pythons.and(Pythons::requiring(text).ok_or_else(what)?);
    }
    let mut fits = document.environments.is_empty();
    for environment in &document.environments {
        fits |= Marker::parse(environment).map_err(|what| wrong(path, 0, what, LOCK_AGAIN))?.may_hold(pythons);
    }
    if !fits {
        let what = "it is for other environments than CPython on Linux, x86-64";
        return Err(wrong(path, 0, what, "lock it for that too; its `environments` say for which it is"));
    }
    let mut reading = Reading::of(Vec::new(), pythons);
    for entry in &document.packages {
        let (line, entry) = (lines.at(entry.span().start), entry.get_ref());
        if is_needed(entry, line, path, pythons)? {
            match &entry.vcs {
                Some(vcs) => commit(&mut reading, entry, vcs, line)
                    .map_err(|what| wrong(path, line, what, package::ONE_COMMIT))?,
                None => reading.packages.extend(package(entry, line, path)?),
            }
        }
    }
    Ok(reading)
}

/// Says whether a package may be wanted here.
fn is_needed(entry: &Entry, line: u32, path: &CleanPath, pythons: Pythons) -> Result<bool, LockFileError> {
    if let Some(marker) = &entry.marker
        && !Marker::parse(marker).map_err(|what| wrong(path, line, what, LOCK_AGAIN))?.may_hold(pythons)
    {
        return Ok(false);
    }
    let requiring = entry.requires_python.as_deref().and_then(Pythons::requiring);
    Ok(!requiring.is_some_and(|needed| needed.and(pythons).is_empty()))
}

/// Takes a package of a git repository.
fn commit(reading: &mut Reading, entry: &Entry, vcs: &Vcs, line: u32) -> Result<(), String> {
    match (vcs.kind.as_str(), &vcs.url) {
        ("git", Some(url)) => reading.take_commit(&entry.name, url, vcs.commit_id.as_deref().unwrap_or_default(), line),
        ("git", None) => Err(format!("{} is of a git repository without an address", entry.name)),
        _ => Err(format!("{} is had from version control that is not git, which has no hash", entry.name)),
    }
}

/// Makes a package of an entry; `None` for what lies in the source.
fn package(entry: &Entry, line: u32, path: &CleanPath) -> Result<Option<Package>, LockFileError> {
    let err = |what: String, hint: &str| wrong(path, line, what, hint);
    if entry.archive.as_ref().is_some_and(|archive| archive.url.is_some()) {
        let what = format!("{} is had from an address, where a step has no network", entry.name);
        return Err(err(what, "take it from the registry, or keep it in the project and name its path"));
    }
    let version = entry.version.as_deref().unwrap_or_default();
    let published = || entry.sdist.iter().chain(&entry.wheels).filter(|published| published.path.is_none());
    if published().next().is_none() {
        return Ok(None);
    }
    let (name, meaning) = package::identity(&entry.name, version).map_err(|what| err(what, LOCK_AGAIN))?;
    let mut files = Vec::new();
    for published in published() {
        let file = one(published, &name, &meaning, line);
        files.push(file.map_err(|what| err(format!("{name} {version}: {what}"), LOCK_AGAIN))?);
    }
    let (version, formats) = (version.to_owned(), Formats::default());
    Ok(Some(Package { name, version, meaning, line, formats, pins: Pins::Files(files) }))
}

fn one(published: &Published, name: &str, meaning: &pep440_rs::Version, line: u32) -> Result<File, String> {
    let (file, places) = match &published.url {
        Some(url) => {
            let (file, url) = package::address(url)?;
            (file, vec![Place::Url(url)])
        }
        None => (String::new(), Vec::new()),
    };
    let file = published.name.clone().unwrap_or(file);
    let kind = name::file(&file, name, meaning).ok_or_else(|| format!("`{file}` is no file of it"))?;
    let mut hashes = Vec::new();
    for (algorithm, digits) in &published.hashes {
        // A weak one beside a strong one says nothing.
        if let "sha256" | "sha512" = algorithm.as_str() {
            hashes.push(Hash::from_hex(algorithm, digits).map_err(|error| format!("`{file}`: {error}"))?);
        }
    }
    match hashes.is_empty() {
        true => Err(format!("`{file}` has no hash that can pin it; SHA-256 and SHA-512 can")),
        false => Ok(File { file, kind, hashes, places, line }),
    }
}

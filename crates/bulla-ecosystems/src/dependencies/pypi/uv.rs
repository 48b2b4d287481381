//! Reads `uv.lock`, version 1.

use std::collections::{BTreeMap, BTreeSet};

use bulla_model::{Address, CleanPath};
use serde::Deserialize;
use toml::Spanned;

use super::{
    super::{Hash, LockFileError, Place},
    marker::Marker,
    name,
    package::{self, File, Formats, MAX_INDEXES, Package, Pins, Reading, wrong},
    tags::Pythons,
    text::{Lines, parsed},
};

const LOCK_AGAIN: &str = "make it anew by `uv lock`, commit it, build again";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Document {
    version: Option<i64>,
    requires_python: Option<String>,
    #[serde(default)]
    package: Vec<Spanned<Entry>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Entry {
    name: String,
    version: Option<String>,
    source: Source,
    #[serde(default)]
    dependencies: Vec<Edge>,
    #[serde(default)]
    optional_dependencies: BTreeMap<String, Vec<Edge>>,
    #[serde(default)]
    dev_dependencies: BTreeMap<String, Vec<Edge>>,
    sdist: Option<Published>,
    #[serde(default)]
    wheels: Vec<Published>,
}

#[derive(Debug, Deserialize)]
struct Source {
    registry: Option<String>,
    git: Option<String>,
    url: Option<String>,
}

/// What a package needs.
#[derive(Debug, Deserialize)]
struct Edge {
    name: String,
    version: Option<String>,
    #[serde(default)]
    extra: Vec<String>,
    marker: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Published {
    url: Option<String>,
    hash: Option<String>,
}

/// Reads a lock file.
pub(super) fn read(text: &str, path: &CleanPath, stage: Pythons) -> Result<Reading, LockFileError> {
    let lines = Lines::of(text);
    let document: Result<Document, _> = parsed(text, path, &lines, LOCK_AGAIN);
    // A newer version may be of another shape.
    let version = match &document {
        Ok(document) => document.version,
        Err(_) => parsed::<Version>(text, path, &lines, LOCK_AGAIN)?.version,
    };
    match version {
        Some(1) => {}
        Some(version) => {
            let what = format!("it is of version {version}; versions 1 are known");
            return Err(wrong(path, 1, what, "make it by a uv that writes version 1, or use a newer Bulla"));
        }
        None => return Err(wrong(path, 1, "it has no `version`, so it is no uv.lock", LOCK_AGAIN)),
    }
    let document = document?;
    let pythons = match &document.requires_python {
        Some(text) => Pythons::requiring(text)
            .ok_or_else(|| {
                wrong(path, 0, format!("`requires-python = \"{text}\"` is no list of versions"), LOCK_AGAIN)
            })?
            .and(stage),
        None => stage,
    };
    let entries: Vec<(u32, &Entry)> =
        document.package.iter().map(|entry| (lines.at(entry.span().start), entry.get_ref())).collect();
    let needed =
        Graph::new(&entries).needed(pythons).map_err(|(at, what)| wrong(path, entries[at].0, what, LOCK_AGAIN))?;
    let mut reading = Reading::of(Vec::new(), pythons);
    for ((line, entry), _) in entries.iter().zip(&needed).filter(|(_, needed)| **needed) {
        match entry.source.git.as_deref() {
            Some(git) => {
                commit(&mut reading, entry, git, *line).map_err(|what| wrong(path, *line, what, package::ONE_COMMIT))?
            }
            None => reading.packages.extend(package(entry, *line, path)?),
        }
    }
    let named = entries.iter().filter_map(|(line, entry)| Some((*line, entry.source.registry.as_deref()?)));
    let (mut indexes, mut written) = (Vec::new(), BTreeSet::new());
    for (line, registry) in named {
        // A registry may be a folder of the project; and one with a login in it is no place to go.
        let Ok(index) = Address::parse(registry) else { continue };
        if written.insert(registry) {
            package::note(&mut indexes, index);
        }
        if indexes.len() > MAX_INDEXES {
            let what = format!("its packages are of more than {MAX_INDEXES} registries");
            return Err(wrong(path, line, what, "lock with fewer, or by an index that has all packages"));
        }
    }
    let told = match written.len() {
        1 => written.pop_first().map(str::to_owned),
        _ => None,
    };
    Ok(Reading { indexes, told, ..reading })
}

#[derive(Deserialize)]
struct Version {
    version: Option<i64>,
}

/// Takes a package of a git repository: `URL?rev=…&subdirectory=…#COMMIT`.
fn commit(reading: &mut Reading, entry: &Entry, git: &str, line: u32) -> Result<(), String> {
    let (place, commit) = git.split_once('#').unwrap_or((git, ""));
    let (url, query) = place.split_once('?').unwrap_or((place, ""));
    if query.split('&').any(|pair| pair == "lfs=true") {
        return Err(format!("{}: files that Git LFS keeps elsewhere are not had with a commit", entry.name));
    }
    reading.take_commit(&entry.name, url, commit, line)
}

/// Makes a package of an entry; `None` for what lies in the source.
fn package(entry: &Entry, line: u32, path: &CleanPath) -> Result<Option<Package>, LockFileError> {
    let err = |what: String, hint: &str| wrong(path, line, what, hint);
    if entry.source.url.is_some() {
        let what = format!("{} is had from an address, where a step has no network", entry.name);
        return Err(err(what, "take it from the registry, or keep it in the project and name its path"));
    }
    // A registry may be a folder of the project.
    let Some(registry) = &entry.source.registry else { return Ok(None) };
    if !registry.starts_with("https://") && !registry.starts_with("http://") {
        return Ok(None);
    }
    let version = entry.version.as_deref().unwrap_or_default();
    let (name, meaning) = package::identity(&entry.name, version).map_err(|what| err(what, LOCK_AGAIN))?;
    let mut files = Vec::new();
    for published in entry.sdist.iter().chain(&entry.wheels) {
        let file = one(published, &name, &meaning, line);
        files.extend(file.map_err(|what| err(format!("{name} {version}: {what}"), LOCK_AGAIN))?);
    }
    let (version, formats) = (version.to_owned(), Formats::default());
    Ok(Some(Package { name, version, meaning, line, formats, pins: Pins::Files(files) }))
}

/// Reads one file; `None` when it is of a kind that nobody installs any more.
fn one(published: &Published, name: &str, meaning: &pep440_rs::Version, line: u32) -> Result<Option<File>, String> {
    let url = published.url.as_deref().ok_or("a file has no `url`")?;
    let (file, url) = package::address(url)?;
    let hash = published.hash.as_deref().ok_or_else(|| format!("`{file}` has no hash"))?;
    let (algorithm, digits) = hash.split_once(':').unwrap_or((hash, ""));
    let hash = Hash::from_hex(algorithm, digits).map_err(|error| format!("`{file}`: {error}"))?;
    let kind = name::file(&file, name, meaning).ok_or_else(|| format!("`{file}` is no file of it"))?;
    Ok(Some(File { file, kind, hashes: vec![hash], places: vec![Place::Url(url)], line }))
}

/// What needs what.
struct Graph<'a> {
    entries: &'a [(u32, &'a Entry)],
    by_name: BTreeMap<&'a str, Vec<usize>>,
}

impl<'a> Graph<'a> {
    fn new(entries: &'a [(u32, &'a Entry)]) -> Self {
        let mut by_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, (_, entry)) in entries.iter().enumerate() {
            by_name.entry(&entry.name).or_default().push(at);
        }
        Self { entries, by_name }
    }

    /// Says of each entry whether anything here may need it. What lies in the project is needed with all extras and groups; where
    /// nothing does, as for scripts, all is.
    fn needed(&self, pythons: Pythons) -> Result<Vec<bool>, (usize, String)> {
        let mut needed = vec![false; self.entries.len()];
        let mut extras: BTreeSet<(usize, &str)> = BTreeSet::new();
        let mut markers: BTreeMap<&str, bool> = BTreeMap::new();
        let is_local =
            |entry: &Entry| entry.source.registry.is_none() && entry.source.git.is_none() && entry.source.url.is_none();
        let mut open: Vec<(usize, &'a [Edge])> = Vec::new();
        let any_local = self.entries.iter().any(|(_, entry)| is_local(entry));
        for (at, (_, entry)) in self.entries.iter().enumerate() {
            if !any_local || is_local(entry) {
                needed[at] = true;
                open.push((at, &entry.dependencies));
                let more = entry.optional_dependencies.values().chain(entry.dev_dependencies.values());
                open.extend(more.map(|edges| (at, edges.as_slice())));
            }
        }
        while let Some((from, edges)) = open.pop() {
            for edge in edges {
                if let Some(text) = edge.marker.as_deref() {
                    let known = markers.get(text).copied();
                    let holds = known.map_or_else(|| Marker::parse(text).map(|marker| marker.may_hold(pythons)), Ok);
                    let holds = holds.map_err(|what| (from, what))?;
                    markers.insert(text, holds);
                    if !holds {
                        continue;
                    }
                }
                self.follow(edge, &mut needed, &mut extras, &mut open).map_err(|what| (from, what))?;
            }
        }
        Ok(needed)
    }

    fn follow(
        &self,
        edge: &'a Edge,
        needed: &mut [bool],
        extras: &mut BTreeSet<(usize, &'a str)>,
        open: &mut Vec<(usize, &'a [Edge])>,
    ) -> Result<(), String> {
        let named = self.by_name.get(edge.name.as_str()).map_or(&[][..], Vec::as_slice);
        let fits = |at: &&usize| edge.version.is_none() || self.entries[**at].1.version == edge.version;
        let mut found = false;
        for at in named.iter().filter(fits) {
            found = true;
            let entry = self.entries[*at].1;
            if !std::mem::replace(&mut needed[*at], true) {
                open.push((*at, &entry.dependencies));
            }
            for extra in &edge.extra {
                if let Some((extra, edges)) = entry.optional_dependencies.get_key_value(extra)
                    && extras.insert((*at, extra.as_str()))
                {
                    open.push((*at, edges));
                }
            }
        }
        match found {
            true => Ok(()),
            false => Err(format!(
                "it needs {}{}, of which there is no entry",
                edge.name,
                edge.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default()
            )),
        }
    }
}

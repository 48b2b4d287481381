//! Reads `poetry.lock`, versions 1 (1.0 and 1.1) and 2 (2.0 and 2.1).
//!
//! Which of its packages are installed depends on `pyproject.toml` and on what the command is told: groups, extras. So all are had but
//! those of which the lock file itself says that they cannot be needed here, by `python-versions` and `markers` (since 2.1).
//!
//! It has names and hashes of files and no addresses: the pages of the user's index say where they are. A source that an entry names is
//! answered in the step ([`Reading::indexes`]), and not asked.

use std::collections::BTreeMap;

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

const LOCK_AGAIN: &str = "make it anew by `poetry lock`, commit it, build again";
const PUBLISHED: &str = "take a published version of it, or keep it in the project and name its path";

/// The longest constraint that is looked at.
const MAX_CONSTRAINT: usize = 256;

#[derive(Deserialize)]
struct Document {
    metadata: Option<Metadata>,
    #[serde(default)]
    package: Vec<Spanned<Entry>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Metadata {
    lock_version: Option<String>,
    python_versions: Option<String>,
    /// The files of all packages, by their names, in versions 1: entries have none there.
    #[serde(default)]
    files: BTreeMap<String, Vec<Published>>,
}

/// The one part that says of which version the whole is.
#[derive(Deserialize)]
struct Version {
    metadata: Option<VersionOnly>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct VersionOnly {
    lock_version: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Entry {
    name: String,
    version: Option<String>,
    python_versions: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
    markers: Option<Markers>,
    source: Option<Source>,
    files: Option<Vec<Published>>,
}

/// When a package is needed: the same for all of its groups, or for each one that is named.
#[derive(Deserialize)]
#[serde(untagged)]
enum Markers {
    All(String),
    Groups(BTreeMap<String, String>),
}

#[derive(Deserialize)]
struct Source {
    #[serde(rename = "type")]
    kind: Option<String>,
    url: Option<String>,
    reference: Option<String>,
    resolved_reference: Option<String>,
}

#[derive(Deserialize)]
struct Published {
    file: String,
    hash: String,
}

/// Reads a lock file.
pub(super) fn read(text: &str, path: &CleanPath, stage: Pythons) -> Result<Reading, LockFileError> {
    let lines = Lines::of(text);
    let document: Result<Document, _> = parsed(text, path, &lines, LOCK_AGAIN);
    // A newer version may be of another shape.
    let version = match &document {
        Ok(document) => document.metadata.as_ref().and_then(|metadata| metadata.lock_version.clone()),
        Err(_) => {
            parsed::<Version>(text, path, &lines, LOCK_AGAIN)?.metadata.and_then(|metadata| metadata.lock_version)
        }
    };
    match version.as_deref().map(|version| version.split('.').next().unwrap_or_default()) {
        Some("1" | "2") => {}
        Some(_) => {
            let version: String = version.unwrap_or_default().chars().take(20).collect();
            let what = format!("it is of `lock-version` {version}; versions 1 and 2 are known");
            return Err(wrong(path, 1, what, "make it by a Poetry that writes version 2, or use a newer Bulla"));
        }
        None => return Err(wrong(path, 1, "it has no `lock-version`, so it is no poetry.lock", LOCK_AGAIN)),
    }
    let document = document?;
    let Some(metadata) = document.metadata else {
        return Err(wrong(path, 1, "it has no `metadata`, so it is no poetry.lock", LOCK_AGAIN));
    };
    let pythons = metadata.python_versions.as_deref().map_or(stage, |text| allowed(text).and(stage));
    let mut reading = Reading { poetry: true, ..Reading::of(Vec::new(), pythons) };
    let mut indexes = Vec::new();
    let mut needs = Needs { pythons, constraints: BTreeMap::new(), markers: BTreeMap::new() };
    for entry in &document.package {
        let (line, entry) = (lines.at(entry.span().start), entry.get_ref());
        if !needs.has(entry).map_err(|what| wrong(path, line, what, LOCK_AGAIN))? {
            continue;
        }
        package(&mut reading, entry, line, path, &metadata.files)?;
        // One with a login in it is no place to go.
        let index = entry.source.as_ref().filter(|source| source.is("legacy")).and_then(|source| source.url.as_deref());
        if let Some(index) = index.and_then(|url| Address::parse(url).ok()) {
            package::note(&mut indexes, index);
        }
        if indexes.len() > MAX_INDEXES {
            let what = format!("its packages are of more than {MAX_INDEXES} sources");
            return Err(wrong(path, line, what, "lock with fewer, or by an index that has all packages"));
        }
    }
    Ok(Reading { indexes, ..reading })
}

impl Source {
    fn is(&self, kind: &str) -> bool {
        self.kind.as_deref() == Some(kind)
    }
}

/// What is known of conditions: few are different.
struct Needs<'a> {
    pythons: Pythons,
    constraints: BTreeMap<&'a str, bool>,
    markers: BTreeMap<&'a str, bool>,
}

impl<'a> Needs<'a> {
    /// Says whether one of the Pythons may need a package.
    fn has(&mut self, entry: &'a Entry) -> Result<bool, String> {
        if let Some(text) = entry.python_versions.as_deref()
            && !*self.constraints.entry(text).or_insert_with(|| !allowed(text).and(self.pythons).is_empty())
        {
            return Ok(false);
        }
        match &entry.markers {
            None => Ok(true),
            Some(Markers::All(text)) => self.may_hold(text),
            Some(Markers::Groups(of)) => {
                // A group that is not named there needs it always.
                let mut holds = entry.groups.iter().any(|group| !of.contains_key(group));
                for text in of.values() {
                    holds |= self.may_hold(text)?;
                }
                Ok(holds)
            }
        }
    }

    fn may_hold(&mut self, text: &'a str) -> Result<bool, String> {
        if let Some(holds) = self.markers.get(text) {
            return Ok(*holds);
        }
        let holds = Marker::parse(text)?.may_hold(self.pythons);
        self.markers.insert(text, holds);
        Ok(holds)
    }
}

/// Takes the package of an entry, unless it lies in the source.
fn package(
    reading: &mut Reading,
    entry: &Entry,
    line: u32,
    path: &CleanPath,
    files: &BTreeMap<String, Vec<Published>>,
) -> Result<(), LockFileError> {
    let err = |what: String, hint: &str| wrong(path, line, what, hint);
    let kind = entry.source.as_ref().and_then(|source| source.kind.as_deref());
    let address = match (kind, entry.source.as_ref().and_then(|source| source.url.as_deref())) {
        (None | Some("legacy"), _) => None,
        (Some("file" | "directory"), _) => return Ok(()),
        (Some("git"), Some(url)) => {
            let source = entry.source.as_ref();
            let resolved =
                source.and_then(|source| source.resolved_reference.as_deref().or(source.reference.as_deref()));
            let taken = reading.take_commit(&entry.name, url, resolved.unwrap_or_default(), line);
            return taken.map_err(|what| err(what, package::ONE_COMMIT));
        }
        (Some("url"), Some(url)) => {
            Some(package::address(url).map_err(|what| err(format!("{}: {what}", entry.name), PUBLISHED))?)
        }
        (Some(other), _) => {
            let other: String = other.chars().filter(|c| !c.is_control()).take(40).collect();
            return Err(err(
                format!("{} is of a source of the type `{other}`, which is not known", entry.name),
                PUBLISHED,
            ));
        }
    };
    let version = entry.version.as_deref().unwrap_or_default();
    let (name, meaning) = package::identity(&entry.name, version).map_err(|what| err(what, LOCK_AGAIN))?;
    // Versions 1 have the files of all versions of a package in one list.
    let mixed = entry.files.is_none();
    let published = entry.files.as_ref().or_else(|| files.get(&entry.name)).map_or(&[][..], Vec::as_slice);
    let mut taken = Vec::new();
    for one in published {
        if address.as_ref().is_some_and(|(file, _)| *file != one.file) || name::is_unused(&one.file) {
            continue;
        }
        let Some(kind) = name::file(&one.file, &name, &meaning) else {
            if mixed {
                continue;
            }
            let file: String = one.file.chars().filter(|c| !c.is_control()).take(100).collect();
            return Err(err(format!("{name} {version}: `{file}` is no file of it"), LOCK_AGAIN));
        };
        let (algorithm, digits) = one.hash.split_once(':').unwrap_or((&one.hash, ""));
        let hash = Hash::from_hex(algorithm, digits)
            .map_err(|error| err(format!("{name} {version}: `{}`: {error}", one.file), LOCK_AGAIN))?;
        let places = address.iter().map(|(_, url)| Place::Url(url.clone())).collect();
        taken.push(File { file: one.file.clone(), kind, hashes: vec![hash], places, line });
    }
    match (taken.is_empty(), &address) {
        (false, _) => {
            let (version, formats) = (version.to_owned(), Formats::default());
            reading.packages.push(Package { name, version, meaning, line, formats, pins: Pins::Files(taken) });
            Ok(())
        }
        (true, Some((file, _))) => {
            Err(err(format!("{name} {version} is had from an address, and nothing says what `{file}` is"), PUBLISHED))
        }
        (true, None) => Err(err(format!("{name} {version} has no files, so nothing says what it is"), LOCK_AGAIN)),
    }
}

/// Gives the Pythons that a constraint of Poetry's allows: alternatives (`||`) of lists of bounds, among them `^3.9` and `~3.9`. What is not
/// understood allows all: then more is had than is needed.
fn allowed(text: &str) -> Pythons {
    const ALL: Pythons = Pythons::from(0);
    if text.len() > MAX_CONSTRAINT {
        return ALL;
    }
    let alternatives = text.split('|').filter(|part| !part.trim().is_empty());
    let all = alternatives.map(|part| {
        // An operator may stand apart from its version.
        let operator = |c: char| "<>=!~^".contains(c);
        let mut joined = String::new();
        for word in part.split([',', ' ', '\t']).filter(|word| !word.is_empty()) {
            joined.push_str(word);
            if !word.ends_with(operator) {
                joined.push(' ');
            }
        }
        let bounds: Vec<String> = joined.split_whitespace().filter(|word| *word != "*").map(specifiers).collect();
        Pythons::requiring(&bounds.join(",")).unwrap_or(ALL)
    });
    all.fold(Pythons::NONE, Pythons::or)
}

/// Writes a bound of Poetry's in the words of PEP 440.
fn specifiers(word: &str) -> String {
    let begins = |version: &str, parts: usize| {
        let version = version.trim_end_matches(".*");
        let start = version.split('.').take(parts).collect::<Vec<_>>().join(".");
        format!(">={version},=={start}.*")
    };
    match word.as_bytes() {
        [b'^', ..] => begins(&word[1..], 1),
        [b'~', rest @ ..] if rest.first() != Some(&b'=') => begins(&word[1..], 2),
        // A single version is one of the patches of its minor one.
        [b'0'..=b'9', ..] => {
            format!("=={}.*", word.trim_end_matches(".*").split('.').take(2).collect::<Vec<_>>().join("."))
        }
        _ => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_of_poetry_allow_the_pythons_that_poetry_says() {
        let minors = |text: &str| allowed(text).minors().filter(|minor| (8..=15).contains(minor)).collect::<Vec<_>>();
        assert_eq!(minors(">=3.11,<4"), [11, 12, 13, 14, 15]);
        assert_eq!(minors("^3.13"), [13, 14, 15]);
        assert_eq!(minors("~3.12.4"), [12]);
        assert_eq!(minors("~3.12"), [12]);
        assert_eq!(minors("3.12"), [12]);
        assert_eq!(minors("3.12.*"), [12]);
        assert_eq!(minors("3.*"), [8, 9, 10, 11, 12, 13, 14, 15]);
        assert_eq!(minors("~2.7 || >= 3.12, !=3.13.*"), [12, 14, 15]);
        assert_eq!(minors(">=3.9 <3.11"), [9, 10]);
        assert_eq!(minors("<3.9 | >3.14"), [8, 14, 15]);
        assert_eq!(minors("<3"), [0_u32; 0]);
        for all in ["*", "whatever", "^", ">=3.9.*", &"3".repeat(2000)] {
            assert_eq!(minors(all).len(), 8, "{all}");
        }
    }
}

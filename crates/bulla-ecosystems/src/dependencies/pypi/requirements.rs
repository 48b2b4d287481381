//! Reads `requirements.txt` with hashes, and the files that it includes, as pip does (pip documentation, "Requirements File Format").

use std::collections::{BTreeMap, BTreeSet};

use bulla_model::{Address as Url, CleanPath};

use super::{
    super::{Files, Hash, LockFileError},
    MAX_LOCK,
    marker::Marker,
    name,
    package::{self, Formats, MAX_INDEXES, Package, Pins, Reading, unmerged, wrong},
    tags::Pythons,
};

/// The most files that include one another.
const MAX_FILES: usize = 100;
/// What makes a file with hashes.
const COMPILE: &str =
    "make it by `pip-compile --generate-hashes` or `uv pip compile --generate-hashes`, commit it, build again";
/// What cannot be served until there is a proxy that answers for other hosts.
const BY_NAME: &str = "name it by `NAME==VERSION --hash=…`, so that it comes from the registry; or keep it in the project and name its path";

/// Reads a file and all that it includes.
pub(super) fn read(files: &dyn Files, path: &CleanPath, pythons: Pythons) -> Result<Reading, LockFileError> {
    let mut reader = Reader {
        files,
        pythons,
        open: Vec::new(),
        read: BTreeSet::new(),
        found: Vec::new(),
        rules: Rules::default(),
        remarks: Vec::new(),
        indexes: Vec::new(),
        commits: Vec::new(),
    };
    reader.file(path, false, path, 0)?;
    let Reader { found, rules, remarks, indexes, commits, .. } = reader;
    let mut packages: Vec<Package> = Vec::with_capacity(found.len());
    let mut seen: BTreeMap<String, Vec<(String, usize)>> = BTreeMap::new();
    for Found { mut package, marker, at } in found {
        let entries = seen.entry(package.name.clone()).or_default();
        if let Some((_, same)) = entries.iter().find(|(_, other)| packages[*other].version == package.version) {
            join(&mut packages[*same].pins, package.pins);
            continue;
        }
        if let Some((_, other)) = entries.iter().find(|(text, _)| *text == marker) {
            let other = &packages[*other];
            let what = format!("{} is here beside {} of line {}", package.shown(), other.version, other.line);
            let hint = "leave one of them, or give them markers of which one holds at a time";
            return Err(wrong(&at, package.line, what, hint));
        }
        package.formats = rules.formats(&package.name);
        entries.push((marker, packages.len()));
        packages.push(package);
    }
    let mut reading = Reading { remarks, indexes, ..Reading::of(packages, pythons) };
    for FoundCommit { package, url, commit, at, line } in commits {
        let taken = reading.take_commit(&package, &url, &commit, line);
        taken.map_err(|what| wrong(&at, line, what, package::ONE_COMMIT))?;
    }
    Ok(reading)
}

/// Adds what another entry of the same version allows.
fn join(pins: &mut Pins, others: Pins) {
    if let (Pins::Hashes(hashes), Pins::Hashes(others)) = (pins, others) {
        let all: BTreeSet<Hash> = hashes.drain(..).chain(others).collect();
        hashes.extend(all);
    }
}

struct Found {
    package: Package,
    /// The marker as text: entries of one package differ in it.
    marker: String,
    at: CleanPath,
}

/// A package at a commit of a git repository.
struct FoundCommit {
    package: String,
    url: String,
    commit: String,
    at: CleanPath,
    line: u32,
}

/// Which packages may be had as wheels, and which as sources.
#[derive(Debug, Default)]
struct Rules {
    no_binary: BTreeSet<String>,
    only_binary: BTreeSet<String>,
}

impl Rules {
    fn formats(&self, name: &str) -> Formats {
        let named = |set: &BTreeSet<String>| set.contains(name);
        let all = |set: &BTreeSet<String>| set.contains(":all:");
        let (none, only) = (&self.no_binary, &self.only_binary);
        Formats {
            wheels: !(named(none) || all(none) && !named(only)),
            sources: !(named(only) || all(only) && !named(none)),
        }
    }

    fn note(&mut self, option: &str, value: &str) {
        let (set, other) = match option {
            "--no-binary" => (&mut self.no_binary, &mut self.only_binary),
            _ => (&mut self.only_binary, &mut self.no_binary),
        };
        for word in value.split(',').map(str::trim) {
            match word {
                ":none:" => set.clear(),
                ":all:" => {
                    other.clear();
                    *set = BTreeSet::from([word.to_owned()]);
                }
                word => {
                    let Some(name) = name::normalised(word) else { continue };
                    other.remove(&name);
                    set.insert(name);
                }
            }
        }
    }
}

struct Reader<'a> {
    files: &'a dyn Files,
    pythons: Pythons,
    /// The files that are being read, outermost first.
    open: Vec<CleanPath>,
    read: BTreeSet<(CleanPath, bool)>,
    found: Vec<Found>,
    rules: Rules,
    remarks: Vec<String>,
    indexes: Vec<Url>,
    commits: Vec<FoundCommit>,
}

impl Reader<'_> {
    fn file(&mut self, path: &CleanPath, constrains: bool, from: &CleanPath, line: u32) -> Result<(), LockFileError> {
        if self.open.contains(path) {
            return Err(wrong(from, line, format!("`{path}` includes itself"), ""));
        }
        if !self.read.insert((path.clone(), constrains)) {
            return Ok(());
        }
        if self.read.len() > MAX_FILES {
            return Err(wrong(from, line, format!("more than {MAX_FILES} files are included"), ""));
        }
        let bytes = self
            .files
            .read(path, MAX_LOCK)
            .map_err(|error| wrong(from, line, format!("reading `{path}`: {error}"), ""))?;
        let Some(bytes) = bytes else {
            let what = format!("`{path}` is not in the source");
            return Err(wrong(from, line, what, "it must be a file of the source, and not ignored"));
        };
        let text = std::str::from_utf8(&bytes).map_err(|_| wrong(path, 0, "it is not UTF-8", COMPILE))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if let Some(line) = unmerged(text) {
            return Err(wrong(path, line, "a merge left its marks", "resolve the conflict by compiling it again"));
        }
        self.open.push(path.clone());
        for (line, text) in logical(text) {
            self.line(path, line, &text, constrains)?;
        }
        self.open.pop();
        Ok(())
    }

    fn line(&mut self, path: &CleanPath, line: u32, text: &str, constrains: bool) -> Result<(), LockFileError> {
        let err = |what: String, hint: &str| Err(wrong(path, line, what, hint));
        if text.starts_with('-') {
            return self.option(path, line, text);
        }
        if text.contains("${") {
            return err(format!("`{}` has a variable of somebody's environment", cut(text)), COMPILE);
        }
        match address(text) {
            Address::Name => {}
            _ if constrains => return Ok(()),
            Address::Local => return Ok(()),
            Address::Vcs => return self.version_control(path, line, text),
            Address::Url => {
                return err(format!("`{}` is had from an address, where a step has no network", cut(text)), BY_NAME);
            }
        }
        if !constrains && let Some(found) = self.requirement(path, line, text)? {
            self.found.push(found);
        }
        Ok(())
    }

    fn option(&mut self, path: &CleanPath, line: u32, text: &str) -> Result<(), LockFileError> {
        let (option, value) = split_option(text);
        let value = value.trim_matches(['"', '\'']);
        match option {
            "-r" | "--requirement" | "-c" | "--constraint" => {
                let included = included(path, value).ok_or_else(|| {
                    wrong(
                        path,
                        line,
                        format!("`{}` is not in the source", cut(value)),
                        "only files of the source are included",
                    )
                })?;
                self.file(&included, option.contains('c'), path, line)
            }
            "-i" | "--index-url" | "--pypi-url" | "--extra-index-url" if let Ok(index) = Url::parse(value) => {
                package::note(&mut self.indexes, index);
                if self.indexes.len() > MAX_INDEXES {
                    let what = format!("more than {MAX_INDEXES} indexes are named");
                    return Err(wrong(path, line, what, "have an index that has all packages"));
                }
                Ok(())
            }
            "--trusted-host" => Ok(()),
            "-i" | "--index-url" | "--pypi-url" | "--extra-index-url" | "-f" | "--find-links" => {
                // The value may have a login in it.
                self.remarks.push(format!(
                    "{path}:{line}: `{option}` is not followed: where a registry lives is configuration. pip and uv follow it even in a step, \
                     where nothing answers: leave it out, by `--no-emit-index-url --no-emit-find-links`"
                ));
                Ok(())
            }
            "--no-binary" | "--only-binary" => {
                self.rules.note(option, value);
                Ok(())
            }
            "--require-hashes" | "--pre" | "--prefer-binary" | "--use-feature" => Ok(()),
            // A folder of the project, which the client reads itself.
            "-e" | "--editable" if matches!(address(value), Address::Local | Address::Name) => Ok(()),
            "-e" | "--editable" => self.version_control(path, line, value),
            "--no-index" => {
                let what = "`--no-index` makes pip ask no registry at all".to_owned();
                Err(wrong(
                    path,
                    line,
                    what,
                    "leave it out: a step has no other registry than the one with what is locked",
                ))
            }
            _ => Err(wrong(path, line, format!("the option `{}` is not known", cut(option)), "")),
        }
    }

    /// Takes `NAME @ git+URL@COMMIT#subdirectory=… ; MARKER` and `git+URL@COMMIT#egg=NAME` (pip documentation, "VCS Support").
    fn version_control(&mut self, path: &CleanPath, line: u32, text: &str) -> Result<(), LockFileError> {
        let err = |what: String, hint: &str| Err(wrong(path, line, what, hint));
        // A marker and options stand behind a space (PEP 508).
        let (text, marker) = text.split_once(" ;").unwrap_or((text, ""));
        let text = text.split(" -").next().unwrap_or(text).trim();
        if !marker.trim().is_empty() {
            let read = Marker::parse(marker.trim()).map_err(|what| wrong(path, line, what, ""))?;
            if !read.may_hold(self.pythons) {
                return Ok(());
            }
        }
        let (name, target) = match text.split_once('@') {
            Some((name, target)) if !name.contains(':') => (Some(name.trim()), target.trim()),
            _ => (None, text),
        };
        let Some(address) = target.strip_prefix("git+") else {
            let what = format!("`{}` is had from version control that is not git, which has no hash", cut(text));
            return err(what, BY_NAME);
        };
        let (address, fragment) = address.split_once('#').unwrap_or((address, ""));
        let egg = fragment.split('&').find_map(|pair| pair.strip_prefix("egg="));
        let name = name.and_then(|name| name.split('[').next()).or(egg).unwrap_or_default().trim();
        if name.is_empty() {
            return err(format!("`{}` does not say which package it is", cut(text)), "write `NAME @ git+URL@COMMIT`");
        }
        // What stands behind the last `@` of the path; one before it is a login.
        let path_begins = address.find("://").and_then(|at| address[at + 3..].find('/').map(|slash| at + 3 + slash));
        let at = path_begins.and_then(|begin| address[begin..].rfind('@').map(|at| begin + at));
        let (url, commit) = at.map_or((address, ""), |at| (&address[..at], &address[at + 1..]));
        self.commits.push(FoundCommit {
            package: name.to_owned(),
            url: url.to_owned(),
            commit: commit.to_owned(),
            at: path.clone(),
            line,
        });
        Ok(())
    }

    /// Reads `NAME[EXTRA]==VERSION ; MARKER --hash=…`; `None` for what is not needed here.
    fn requirement(&self, path: &CleanPath, line: u32, text: &str) -> Result<Option<Found>, LockFileError> {
        let err = |what: String, hint: &str| wrong(path, line, what, hint);
        let (requirement, options) = match text.find(" -") {
            Some(at) => text.split_at(at),
            None => (text, ""),
        };
        let (requirement, marker) = requirement.split_once(';').unwrap_or((requirement, ""));
        let marker = marker.trim();
        let (requirement, marker_text) = (requirement.trim(), marker.split_whitespace().collect::<Vec<_>>().join(" "));
        if !marker.is_empty() {
            let read = Marker::parse(marker).map_err(|what| err(what, ""))?;
            if !read.may_hold(self.pythons) {
                return Ok(None);
            }
        }
        let end =
            requirement.find(|c: char| !c.is_ascii_alphanumeric() && !"._-".contains(c)).unwrap_or(requirement.len());
        let (name, rest) = requirement.split_at(end);
        let mut rest = rest.trim();
        if let Some(extras) = rest.strip_prefix('[') {
            rest = extras
                .split_once(']')
                .ok_or_else(|| err(format!("`{}` has extras without an end", cut(text)), ""))?
                .1
                .trim();
        }
        let inner = rest.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(rest).trim();
        let version = inner.strip_prefix("===").or_else(|| inner.strip_prefix("==")).map(str::trim);
        let Some(version) = version.filter(|version| !version.contains(['*', ','])) else {
            return Err(err(format!("`{}` is not pinned by `==`", cut(requirement)), COMPILE));
        };
        let (name, meaning) = super::package::identity(name, version).map_err(|what| err(what, COMPILE))?;
        let hashes = hashes(options).map_err(|what| err(format!("`{}`: {what}", cut(requirement)), COMPILE))?;
        if hashes.is_empty() {
            return Err(err(format!("`{}` has no hash", cut(requirement)), COMPILE));
        }
        let pins = Pins::Hashes(hashes);
        let package = Package { name, version: version.to_owned(), meaning, line, formats: Formats::default(), pins };
        Ok(Some(Found { package, marker: marker_text, at: path.clone() }))
    }
}

fn hashes(options: &str) -> Result<Vec<Hash>, String> {
    let mut hashes = BTreeSet::new();
    let mut words = options.split_whitespace();
    while let Some(word) = words.next() {
        let word = word.trim_matches(['"', '\'']);
        let value = match word.split_once('=') {
            Some(("--hash", value)) => value,
            _ if word == "--hash" => words.next().unwrap_or_default(),
            // How it would be built is the client's business.
            _ => continue,
        };
        let (algorithm, digits) = value.trim_matches(['"', '\'']).split_once(':').unwrap_or((value, ""));
        hashes.insert(Hash::from_hex(algorithm, digits).map_err(|error| error.to_string())?);
    }
    Ok(hashes.into_iter().collect())
}

/// Joins lines that go on, leaves comments out, and gives each with the number of its first line.
fn logical(text: &str) -> Vec<(u32, String)> {
    let mut lines = Vec::new();
    let mut joined: Option<(u32, String)> = None;
    let mut push = |line: u32, text: &str| {
        let text = without_comment(text).trim();
        if !text.is_empty() {
            lines.push((line, text.to_owned()));
        }
    };
    for (at, line) in text.lines().enumerate() {
        let (first, mut whole) = joined.take().unwrap_or((at as u32 + 1, String::new()));
        let comment = line.trim_start().starts_with('#');
        match line.strip_suffix('\\') {
            Some(line) if !comment => {
                whole.push_str(line);
                joined = Some((first, whole));
            }
            _ => {
                // So that it is a comment wherever it is joined to.
                if comment {
                    whole.push(' ');
                }
                whole.push_str(line);
                push(first, &whole);
            }
        }
    }
    if let Some((first, whole)) = joined {
        push(first, &whole);
    }
    lines
}

fn without_comment(line: &str) -> &str {
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        if c == '#' && before.is_whitespace() {
            return &line[..at];
        }
        before = c;
    }
    line
}

/// Splits `--option=value`, `--option value`, `-ovalue`.
fn split_option(text: &str) -> (&str, &str) {
    let end = match text.starts_with("--") {
        true => text.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(text.len()),
        false => text.char_indices().nth(2).map_or(text.len(), |(at, _)| at),
    };
    let (option, value) = text.split_at(end);
    (option, value.trim_start().trim_start_matches('=').trim())
}

enum Address {
    Name,
    Local,
    Url,
    Vcs,
}

/// Says what kind of a requirement it is.
fn address(text: &str) -> Address {
    let first = text.split([' ', ';', '\t']).next().unwrap_or_default();
    let target = match text.split_once('@') {
        // `name @ address`; a path or version has no `@` before its first `/`.
        Some((name, rest)) if !name.contains(['/', '=', '<', '>', '~', '!', ';', ':']) => rest.trim_start(),
        _ => first,
    };
    let lower = target.to_ascii_lowercase();
    let vcs = ["git+", "hg+", "svn+", "bzr+"].iter().any(|scheme| lower.starts_with(scheme));
    let archive = [".whl", ".tar.gz", ".zip", ".tar.bz2", ".tgz"].iter().any(|end| lower.ends_with(end));
    match target {
        _ if vcs || lower.starts_with("git@") => Address::Vcs,
        _ if lower.starts_with("file:") => Address::Local,
        _ if lower.contains("://") => Address::Url,
        _ if target.starts_with(['.', '/']) || first.contains('/') || archive => Address::Local,
        _ => Address::Name,
    }
}

/// Finds the path of an included file beside the one that includes it; `None` when that leaves the source.
fn included(from: &CleanPath, value: &str) -> Option<CleanPath> {
    if value.contains("://") || value.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&[u8]> = from.components().collect();
    parts.pop();
    for part in value.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part.as_bytes()),
        }
    }
    CleanPath::parse(parts.join(&b'/')).ok()
}

/// Shortens what is shown of a line; a login in an address is not shown.
fn cut(text: &str) -> String {
    let shown: String = text.chars().take(120).filter(|c| !c.is_control()).collect();
    match (shown.find("://"), shown.rfind('@')) {
        (Some(start), Some(at)) if at > start => format!("{}://…{}", &shown[..start], &shown[at..]),
        _ => shown,
    }
}

//! What a lock file says of one package, and which of its files are wanted.

use std::collections::BTreeSet;

use bulla_model::{Address, CleanPath};
use pep440_rs::Version;

use super::{
    super::{
        Artifact, Hash, LockFileError, MAX_ARTIFACTS, Place,
        git::{self, GitAddress, Repositories},
        unescaped,
    },
    name::{self, Kind},
    tags::{self, Pythons},
};

/// A lock file as it was read.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) packages: Vec<Package>,
    /// The Pythons that the lock file is for.
    pub(super) pythons: Pythons,
    /// What a user should know though nothing is wrong.
    pub(super) remarks: Vec<String>,
    /// The indexes that the lock file names, each once: clients go there, whatever index they are told.
    pub(super) indexes: Vec<Address>,
    /// The one that uv must be told, as the lock file writes it: another one, and it takes the file for outdated.
    pub(super) told: Option<String>,
    /// Whether it is Poetry's.
    pub(super) poetry: bool,
    /// The packages that are of git repositories, and these.
    pub(super) commits: Vec<Commit>,
    pub(super) repositories: Repositories,
}

/// A package at a commit of a git repository, which a client builds.
#[derive(Debug)]
pub(super) struct Commit {
    /// Its normalised name.
    pub(super) package: String,
    /// The repository.
    pub(super) artifact: Artifact,
}

impl Reading {
    /// A reading of a file that names no index.
    pub(super) fn of(packages: Vec<Package>, pythons: Pythons) -> Self {
        Self {
            packages,
            pythons,
            remarks: Vec::new(),
            indexes: Vec::new(),
            told: None,
            poetry: false,
            commits: Vec::new(),
            repositories: Repositories::default(),
        }
    }

    /// Takes a package at a commit of a git repository.
    ///
    /// # Errors
    /// With what is wrong with its address, or when another commit of the repository was taken.
    pub(super) fn take_commit(&mut self, package: &str, url: &str, commit: &str, line: u32) -> Result<(), String> {
        let shown = |what: String| format!("{}: {what}", git::shortened(package));
        let name = name::normalised(package).ok_or_else(|| shown("it is no name of a package".to_owned()))?;
        let added = GitAddress::parse(url, commit).and_then(|address| self.repositories.add(&address, line));
        let artifact = added.map_err(|refusal| shown(refusal.what))?;
        self.commits.push(Commit { package: name, artifact });
        Ok(())
    }
}

/// What to do about a commit that cannot be taken.
pub(super) const ONE_COMMIT: &str = "name the repository by a plain address of HTTPS or SSH and one commit of it, lock again, and commit the lock file; or keep the package in the project and name its path";

/// Adds an index, each once; with or without a slash at the end it is the same.
pub(super) fn note(indexes: &mut Vec<Address>, index: Address) {
    let path = format!("{}/", index.path.trim_end_matches('/'));
    let index = Address { path, ..index };
    if !indexes.contains(&index) {
        indexes.push(index);
    }
}

/// The most indexes that a lock file may name: all that is served is there once more below each of them.
pub(super) const MAX_INDEXES: usize = 8;

/// A package at one version.
#[derive(Debug)]
pub(super) struct Package {
    /// Its normalised name.
    pub(super) name: String,
    /// Its version as the lock file has it.
    pub(super) version: String,
    /// What that means.
    pub(super) meaning: Version,
    /// The line that names it.
    pub(super) line: u32,
    pub(super) formats: Formats,
    pub(super) pins: Pins,
}

/// How a lock file pins the files of a package.
#[derive(Debug)]
pub(super) enum Pins {
    /// By what they may be, without saying which is which: an index says that.
    Hashes(Vec<Hash>),
    /// By name.
    Files(Vec<File>),
    /// By name, where it was observed that a client takes them.
    Observed(Vec<File>),
}

/// Which kinds of files a client may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Formats {
    pub(super) wheels: bool,
    pub(super) sources: bool,
}

impl Default for Formats {
    fn default() -> Self {
        Self { wheels: true, sources: true }
    }
}

/// A file of a package.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) file: String,
    pub(super) kind: Kind,
    pub(super) hashes: Vec<Hash>,
    pub(super) places: Vec<Place>,
    pub(super) line: u32,
}

impl File {
    /// The Pythons that can run it; a source package is made for any.
    fn pythons(&self) -> Pythons {
        match &self.kind {
            Kind::Wheel { python, abi, platform } => tags::runs_on(python, abi, platform),
            Kind::Source => Pythons::NONE,
        }
    }
}

impl Package {
    /// Chooses what is fetched of files: wheels that any of the Pythons runs, and source packages where one of them has no wheel.
    /// `complete` says whether all files are known that the lock file names: while one is not, that could be the wheel, and
    /// a registry that hides it must not have the source built instead.
    pub(super) fn wanted<'a>(&self, files: &'a [File], pythons: Pythons, complete: bool) -> Vec<&'a File> {
        let runs = |file: &File| self.formats.wheels && !file.pythons().and(pythons).is_empty();
        let mut wanted: Vec<&File> = files.iter().filter(|file| runs(file)).collect();
        let covered = wanted.iter().fold(Pythons::NONE, |all, file| all.or(file.pythons()));
        if self.formats.sources && (complete || !self.formats.wheels) && !covered.covers(pythons) {
            wanted.extend(files.iter().filter(|file| file.kind == Kind::Source));
        }
        wanted
    }

    /// Makes an artifact of a file.
    pub(super) fn artifact(&self, file: &File) -> Artifact {
        Artifact {
            name: self.name.clone(),
            version: self.version.clone(),
            file: file.file.clone(),
            hashes: file.hashes.clone(),
            places: file.places.clone(),
            line: file.line,
        }
    }

    /// Makes what stands for the files while an index has not said which they are.
    pub(super) fn stand_ins<'a>(&'a self, hashes: &'a [Hash]) -> impl Iterator<Item = Artifact> + 'a {
        hashes.iter().map(|hash| Artifact {
            name: self.name.clone(),
            version: self.version.clone(),
            file: format!("{}:{}", algorithm(hash), hex(hash)),
            hashes: vec![*hash],
            places: Vec::new(),
            line: self.line,
        })
    }

    /// How it is called in messages.
    pub(super) fn shown(&self) -> String {
        format!("{} {}", self.name, self.version)
    }
}

/// The name of a hash's algorithm, as Python has it.
pub(super) fn algorithm(hash: &Hash) -> &'static str {
    match hash {
        Hash::Sha256(_) => "sha256",
        Hash::Sha512(_) | Hash::YarnZip(_) => "sha512",
        Hash::GoZip(_) | Hash::GoMod(_) => "h1",
        Hash::GitCommit(_) => "sha1",
    }
}

/// The digits of a hash.
pub(super) fn hex(hash: &Hash) -> String {
    let bytes: &[u8] = match hash {
        Hash::Sha256(bytes) | Hash::GoZip(bytes) | Hash::GoMod(bytes) => bytes,
        Hash::Sha512(bytes) | Hash::YarnZip(bytes) => bytes,
        Hash::GitCommit(bytes) => bytes,
    };
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes an error of a line of a file.
pub(super) fn wrong(file: &CleanPath, line: u32, what: impl Into<String>, hint: &str) -> LockFileError {
    let hints = if hint.is_empty() { Vec::new() } else { vec![hint.to_owned()] };
    LockFileError { file: file.to_string(), line: (line > 0).then_some(line), what: what.into(), hints }
}

/// Reads the address of a file: what it is called, and the address without its fragment.
///
/// # Errors
/// With what is wrong, without any login.
pub(super) fn address(url: &str) -> Result<(String, String), String> {
    let plain = url.split('#').next().unwrap_or_default();
    let rest = plain.strip_prefix("https://").or_else(|| plain.strip_prefix("http://"));
    let Some((host, path)) = rest.and_then(|rest| rest.split_once('/')) else {
        return Err("a file has an address that is no http or https URL".to_owned());
    };
    if host.contains('@') {
        return Err("the address of a file has a login in it; logins belong to the configuration".to_owned());
    }
    if plain.len() > 4096
        || host.is_empty()
        || plain.bytes().any(|b| b <= b' ' || b == 0x7f || b"\\\"<>^`{|}".contains(&b))
    {
        return Err("a file has an address that is no clean URL".to_owned());
    }
    let last = path.split('?').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    match unescaped(last) {
        Some(file) if !file.is_empty() => Ok((file, plain.to_owned())),
        _ => Err(format!("the address `{plain}` names no file")),
    }
}

/// Checks that the files of a lock are few enough, and that none is there twice under one name.
pub(super) fn check(file: &CleanPath, packages: &[Package]) -> Result<(), LockFileError> {
    let mut names = BTreeSet::new();
    let mut count = 0;
    for package in packages {
        match &package.pins {
            Pins::Hashes(hashes) => count += hashes.len(),
            Pins::Files(files) | Pins::Observed(files) => {
                count += files.len();
                for one in files {
                    if !names.insert((&package.name, &package.version, &one.file)) {
                        let what = format!("`{}` of {} is named twice", one.file, package.shown());
                        return Err(wrong(file, one.line, what, "lock again: each package has one entry"));
                    }
                }
            }
        }
    }
    match count > MAX_ARTIFACTS {
        true => Err(wrong(file, 0, format!("it names {count} files; more than {MAX_ARTIFACTS} are not taken"), "")),
        false => Ok(()),
    }
}

/// Says in which line a merge left its marks, if it did.
pub(super) fn unmerged(text: &str) -> Option<u32> {
    let marks = ["<<<<<<< ", "=======", ">>>>>>> "];
    let is_mark = |line: &str| line == marks[1] || line.starts_with(marks[0]) || line.starts_with(marks[2]);
    text.lines().position(|line| is_mark(line.trim_end())).map(|at| at as u32 + 1)
}

/// Reads name and version of an entry.
pub(super) fn identity(name: &str, version: &str) -> Result<(String, Version), String> {
    let shown = |text: &str| text.chars().take(80).collect::<String>();
    let normal = name::normalised(name).ok_or_else(|| format!("`{}` is no name of a package", shown(name)))?;
    let meaning = name::version(version).ok_or_else(|| format!("`{}` is no version", shown(version)))?;
    Ok((normal, meaning))
}

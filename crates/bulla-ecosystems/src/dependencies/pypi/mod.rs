//! PyPI: `requirements.txt` with hashes, `uv.lock`, `poetry.lock` and `pylock.toml`, for pip, uv and Poetry.
//!
//! What is fetched are the wheels that CPython on Linux, x86-64, glibc may run, for every version of Python that the lock file allows, since
//! which one a stage has is not known yet ([`Stage`] says it where it is); and source packages where one of these versions has no wheel.
//!
//! `requirements.txt` says hashes and not files. Until the registry's pages have said which hash is which file ([`Native::questions`]),
//! an artifact stands for each hash; these are what a step's key is made of, whatever the pages say. Of pages nothing is taken
//! but names and places of files whose hash is locked, and while a locked hash is not found, no source package is: what hides a wheel
//! must not have foreign code run that would not have run. The other lock files say addresses; [`Native::offers`] finds the same files in the
//! registry of the user.
//!
//! Packages of git repositories (`uv.lock`, `poetry.lock`) are repositories of one commit that clients clone and build (`dependencies/git`).

mod build;
mod client;
mod contents;
mod index;
mod marker;
mod name;
mod package;
mod pages;
mod poetry;
mod pylock;
mod requirements;
mod tags;
mod text;
mod uv;

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod poetry_tests;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bulla_model::{Address, CleanPath, Digest, Ecosystem, spec::InstallScripts};

pub(super) use self::build::asked;
pub use self::{build::Offer, name::normalised, pages::joined, tags::Pythons};
use self::{
    index::Listed,
    package::{File, Pins, Reading, algorithm, hex, wrong},
};
use super::{
    Artifact, ArtifactError, Bodies, Client, Denied, Files, Folder, Hash, LockFileError, Locked, Native, Observed,
    Place, Question, ReadSeek, Repository, Request, git,
};
use crate::archive::Sink;

/// The most bytes of a lock file.
const MAX_LOCK: u64 = 64 << 20;

/// What is known of the stage that a lock file is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stage {
    /// The Pythons that it may have; by default all that are supported.
    pub pythons: Pythons,
    /// Which packages may be built from source, which runs what they bring.
    pub scripts: InstallScripts,
    /// What was observed that building takes; nothing where lock files have it.
    pub observed: Arc<Observed>,
}

impl From<&super::Stage> for Stage {
    fn from(stage: &super::Stage) -> Self {
        Self { pythons: stage.pythons, scripts: stage.scripts.clone(), observed: Arc::clone(&stage.observed) }
    }
}

/// A lock file of Python's packages.
#[derive(Debug)]
pub struct Pypi {
    locked: Locked,
    reading: Reading,
    /// The places of each name's packages among those of the reading.
    by_name: BTreeMap<String, Vec<usize>>,
    /// The names of which a page has to say where the files are.
    open: BTreeSet<String>,
    /// The names of which a page can say so.
    offered: BTreeSet<String>,
    /// What of the pages was used.
    used: BTreeMap<String, Vec<Listed>>,
    /// Which of them may be built from source.
    scripts: InstallScripts,
    /// Those of which a page was read without all the hashes of the lock file.
    incomplete: BTreeSet<usize>,
    /// The addresses that the lock file has, by name, version and file.
    addresses: BTreeMap<[String; 3], Vec<Address>>,
    /// The stage, where what building takes was observed.
    observed: Option<String>,
}

impl Pypi {
    /// Reads a lock file: `poetry.lock`, `uv.lock` and `NAME.py.lock`, `pylock.toml` and `pylock.NAME.toml`, and else one of requirements.
    ///
    /// # Errors
    /// When it is none, is of a version that is not known, or does not pin what it names.
    pub fn read(files: &dyn Files, path: &CleanPath, stage: &Stage) -> Result<Self, LockFileError> {
        let name = String::from_utf8_lossy(path.name()).into_owned();
        let other = match name.as_str() {
            "Pipfile.lock" => Some("`pipenv requirements --hash`"),
            "pdm.lock" => Some("`pdm export --format requirements`"),
            _ => None,
        };
        if let Some(export) = other {
            let hint = format!("write its content as requirements with hashes by {export}, and name that file");
            return Err(wrong(path, 0, "it is of a kind that is not read yet", &hint));
        }
        let mut reading = match name.as_str() {
            "poetry.lock" => poetry::read(&whole(files, path)?, path, stage.pythons)?,
            name if name.ends_with(".lock") => uv::read(&whole(files, path)?, path, stage.pythons)?,
            name if name.ends_with(".toml") => pylock::read(&whole(files, path)?, path, stage.pythons)?,
            _ => requirements::read(files, path, stage.pythons)?,
        };
        package::check(path, &reading.packages)?;
        if reading.pythons.is_empty() {
            let what = "it is for no Python that the stage may have";
            return Err(wrong(path, 0, what, "its `requires-python` must have the version of the stage"));
        }
        for package in &mut reading.packages {
            package.formats.sources &= may_build(&stage.scripts, &package.name);
        }
        let observed = &stage.observed;
        reading.packages.extend(build::packages(&observed.answers, &|name| may_build(&stage.scripts, name)));
        let observed = Some(observed.stage.clone()).filter(|stage| !stage.is_empty());
        Ok(Self { observed, ..Self::new(path.clone(), reading, stage.scripts.clone()) })
    }

    fn new(file: CleanPath, reading: Reading, scripts: InstallScripts) -> Self {
        let mut by_name: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let (mut open, mut offered) = (BTreeSet::new(), BTreeSet::new());
        for (at, package) in reading.packages.iter().enumerate() {
            by_name.entry(package.name.clone()).or_default().push(at);
            let placed = match &package.pins {
                Pins::Hashes(_) => false,
                Pins::Files(files) | Pins::Observed(files) => files.iter().all(|file| !file.places.is_empty()),
            };
            let set = if placed { &mut offered } else { &mut open };
            set.insert(package.name.clone());
        }
        offered = &offered - &open;
        let locked = Locked { ecosystem: Ecosystem::Pypi, file, artifacts: Vec::new() };
        let mut pypi = Self {
            locked,
            reading,
            by_name,
            open,
            offered,
            used: BTreeMap::new(),
            scripts,
            incomplete: BTreeSet::new(),
            addresses: BTreeMap::new(),
            observed: None,
        };
        pypi.settle();
        for artifact in &pypi.locked.artifacts {
            let of = |place: &Place| match place {
                Place::Url(url) => Address::parse(url).ok(),
                Place::Registry(_) | Place::Git { .. } => None,
            };
            let key = [&artifact.name, &artifact.version, &artifact.file].map(String::clone);
            pypi.addresses.insert(key, artifact.places.iter().filter_map(of).collect());
        }
        pypi
    }

    /// Makes the list of artifacts of what is known.
    fn settle(&mut self) {
        let mut artifacts = Vec::new();
        for (at, package) in self.reading.packages.iter().enumerate() {
            match &package.pins {
                Pins::Hashes(hashes) => artifacts.extend(package.stand_ins(hashes)),
                Pins::Observed(files) => artifacts.extend(files.iter().map(|file| package.artifact(file))),
                Pins::Files(files) => {
                    let wanted = package.wanted(files, self.reading.pythons, !self.incomplete.contains(&at));
                    artifacts.extend(wanted.into_iter().map(|file| package.artifact(file)));
                }
            }
        }
        artifacts.extend(self.reading.commits.iter().map(|commit| commit.artifact.clone()));
        artifacts.sort();
        // Of one commit there may be several packages.
        artifacts.dedup();
        self.locked.artifacts = artifacts;
    }

    /// Takes what a page lists: names of files for hashes, and places for files.
    fn take(&mut self, at: usize, listed: &[Listed]) -> Result<(), ArtifactError> {
        let package = &mut self.reading.packages[at];
        let wrong = |artifact: String, what: String| Err(ArtifactError { artifact, what, source: None });
        let hashes = match &mut package.pins {
            Pins::Hashes(hashes) => hashes.clone(),
            Pins::Observed(files) => {
                for file in files.iter_mut() {
                    place(&mut file.places, &file.file, &file.hashes, listed);
                }
                return match files.iter().find(|file| file.places.is_empty()) {
                    Some(gone) => {
                        let gone = cut(&gone.file);
                        wrong(package.shown(), format!("the registry does not have `{gone}`, which bulla.lock names"))
                    }
                    None => Ok(()),
                };
            }
            Pins::Files(files) => {
                for file in files.iter_mut() {
                    place(&mut file.places, &file.file, &file.hashes, listed);
                }
                let files = files.clone();
                let wanted = package.wanted(&files, self.reading.pythons, true);
                return match wanted.iter().any(|file| file.places.is_empty()) {
                    true => wrong(
                        package.shown(),
                        format!("the registry does not have all files that {} names", self.locked.file),
                    ),
                    false => Ok(()),
                };
            }
        };
        let mut files: BTreeMap<String, File> = BTreeMap::new();
        let mut missing = Vec::new();
        for hash in &hashes {
            let mut found = listed.iter().filter(|listed| listed.hashes.contains(hash)).peekable();
            let Some(first) = found.peek().copied() else {
                missing.push(hash);
                continue;
            };
            let names: BTreeSet<&str> = found.map(|listed| listed.file.as_str()).collect();
            if names.len() > 1 {
                let names = names.into_iter().take(3).map(cut).collect::<Vec<_>>().join("` and `");
                return wrong(package.shown(), format!("the registry has one file under the names `{names}`"));
            }
            let Some(kind) = name::file(&first.file, &package.name, &package.meaning) else {
                // Installers and eggs are pinned as well, and nobody takes them any more.
                if name::is_unused(&first.file) {
                    continue;
                }
                let what =
                    format!("the registry has a file that is pinned for it under the name `{}`", cut(&first.file));
                return wrong(package.shown(), what);
            };
            let file =
                File { file: first.file.clone(), kind, hashes: vec![*hash], places: Vec::new(), line: package.line };
            let known = files.entry(file.file.clone()).or_insert_with(|| file.clone());
            // One file may be pinned by two algorithms, but not be two files.
            if known.hashes != [*hash] {
                if known.hashes.iter().any(|known| algorithm(known) == algorithm(hash)) {
                    return wrong(
                        package.shown(),
                        format!("the registry has two files of the name `{}`", cut(&first.file)),
                    );
                }
                known.hashes.push(*hash);
            }
            place(&mut known.places, &first.file, &[*hash], listed);
        }
        let files: Vec<File> = files.into_values().collect();
        let wanted = package.wanted(&files, self.reading.pythons, missing.is_empty()).len();
        if let (0, [first, ..]) = (wanted, missing.as_slice()) {
            let what = format!(
                "the registry does not list {} of the {} files that {} pins for it (such as {}:{}), and has nothing else that can be used: it hides or \
                 has lost them, or is another registry than the one that was locked with",
                missing.len(),
                hashes.len(),
                self.locked.file,
                algorithm(first),
                hex(first),
            );
            return wrong(package.shown(), what);
        }
        if !missing.is_empty() {
            self.incomplete.insert(at);
        }
        package.pins = Pins::Files(files);
        Ok(())
    }
}

/// Says whether a package may be built from source.
fn may_build(scripts: &InstallScripts, name: &str) -> bool {
    match scripts {
        InstallScripts::Run => true,
        InstallScripts::Deny { allow } => allow.iter().any(|allowed| normalised(allowed).as_deref() == Some(name)),
    }
}

/// Adds the places that a page has for a file, in front of those that are known.
fn place(places: &mut Vec<Place>, file: &str, hashes: &[Hash], listed: &[Listed]) {
    let same = |listed: &&Listed| listed.file == file && hashes.iter().any(|hash| listed.hashes.contains(hash));
    let mut all: Vec<Place> = listed.iter().filter(same).map(|listed| listed.place.clone()).collect();
    all.append(places);
    let mut seen = BTreeSet::new();
    all.retain(|place| seen.insert(place.clone()));
    *places = all;
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

fn whole(files: &dyn Files, path: &CleanPath) -> Result<String, LockFileError> {
    let bytes =
        files.read(path, MAX_LOCK).map_err(|error| wrong(path, 0, format!("it cannot be read: {error}"), ""))?;
    let bytes = bytes
        .ok_or_else(|| wrong(path, 0, "it is not in the source", "it must be a file of the source, and not ignored"))?;
    String::from_utf8(bytes).map_err(|_| wrong(path, 0, "it is not UTF-8", ""))
}

/// Looks into a file of a package, and checks that it is of the package and version that it is locked as.
///
/// # Errors
/// When it is not, or is damaged.
pub fn check(artifact: &Artifact, body: &mut dyn ReadSeek) -> Result<(), ArtifactError> {
    contents::inspect(artifact, body).map(|_| ())
}

fn question(name: &str) -> Question {
    Question {
        name: name.to_owned(),
        place: Place::Registry(format!("{name}/")),
        accept: index::ACCEPT,
        limit: index::MAX_PAGE,
    }
}

impl Native for Pypi {
    fn locked(&self) -> &Locked {
        &self.locked
    }

    fn beside(&self) -> String {
        let odd = self.reading.packages.iter().filter(|package| package.formats != package::Formats::default());
        let odd = odd.map(|package| format!("{} {:?}\n", package.name, package.formats)).collect::<String>();
        format!("{:?}\n{odd}", self.reading.pythons)
    }

    fn remarks(&self) -> Vec<String> {
        self.reading.remarks.clone()
    }

    fn loose(&self) -> Vec<usize> {
        let all = self.locked.artifacts.iter().enumerate();
        all.filter(|(_, artifact)| git::is_repository(artifact)).map(|(at, _)| at).collect()
    }

    fn pin(&mut self, artifact: usize, digest: &Digest) {
        let Some(repository) = self.locked.artifacts.get_mut(artifact) else { return };
        for commit in self.reading.commits.iter_mut().filter(|commit| commit.artifact == *repository) {
            commit.artifact.hashes.insert(0, Hash::Sha256(*digest.as_bytes()));
        }
        repository.hashes.insert(0, Hash::Sha256(*digest.as_bytes()));
    }

    fn denied(&self, _bodies: &dyn Bodies) -> Result<Vec<Denied>, ArtifactError> {
        let commits = self.reading.commits.iter().filter(|commit| !may_build(&self.scripts, &commit.package));
        let denied = commits.map(|commit| Denied {
            package: commit.package.clone(),
            version: commit.artifact.version.chars().take(12).collect(),
            what: "built from a git repository",
        });
        Ok(denied.collect())
    }

    fn folders(&self) -> Vec<Folder> {
        self.reading.repositories.folder(&self.locked.artifacts).into_iter().collect()
    }

    fn unpack(&self, artifact: usize, body: &mut dyn ReadSeek, sink: &mut dyn Sink) -> Result<(), ArtifactError> {
        git::unpack(&self.locked.artifacts[artifact], body, sink)
    }

    fn questions(&self) -> Vec<Question> {
        self.open.iter().map(|name| question(name)).collect()
    }

    fn offers(&self) -> Vec<Question> {
        self.offered.iter().map(|name| question(name)).collect()
    }

    fn knows_all(&self) -> bool {
        self.reading.packages.iter().all(|package| matches!(package.pins, Pins::Files(_)))
    }

    fn answer(&mut self, question: &Question, bytes: Option<&[u8]>) -> Result<(), ArtifactError> {
        let wrong = |what: String| ArtifactError { artifact: question.name.clone(), what, source: None };
        let (is_open, is_offered) = (self.open.contains(&question.name), self.offered.contains(&question.name));
        let Some(bytes) = bytes else {
            self.offered.remove(&question.name);
            return match is_open {
                true => Err(wrong(format!("the registry does not have the package, which {} names", self.locked.file))),
                false => Ok(()),
            };
        };
        let packages = self.by_name.get(&question.name).filter(|_| is_open || is_offered).cloned().unwrap_or_default();
        let mut wanted = BTreeSet::new();
        for at in &packages {
            match &self.reading.packages[*at].pins {
                Pins::Hashes(hashes) => wanted.extend(hashes.iter().copied()),
                Pins::Files(files) | Pins::Observed(files) => {
                    wanted.extend(files.iter().flat_map(|file| file.hashes.iter().copied()));
                }
            }
        }
        let page = index::read(bytes, &question.name, &|hash| wanted.contains(hash)).map_err(wrong)?;
        if is_open && page.hashed == 0 {
            return Err(wrong(format!("the registry's page lists {} files and the SHA-256 of none", page.listed)));
        }
        for at in &packages {
            self.take(*at, &page.files)?;
        }
        self.offered.remove(&question.name);
        if is_offered {
            let first = self.locked.artifacts.partition_point(|artifact| artifact.name < question.name);
            let same = self.locked.artifacts[first..].iter_mut().take_while(|artifact| artifact.name == question.name);
            same.for_each(|artifact| place(&mut artifact.places, &artifact.file, &artifact.hashes, &page.files));
        }
        self.used.insert(question.name.clone(), page.files);
        // The list changes once, when all is known.
        if self.open.remove(&question.name) && self.open.is_empty() {
            self.settle();
        }
        Ok(())
    }

    fn repository(&self, bodies: &dyn Bodies, base: &str) -> Result<Repository, ArtifactError> {
        pages::repository(&self.locked.artifacts, bodies, base)
    }

    fn client(&self, base: &str) -> Client {
        client::client(base, &self.reading, &self.scripts)
    }

    fn addresses(&self) -> Vec<(Address, usize)> {
        let of = |(at, artifact): (usize, &Artifact)| {
            let key = [&artifact.name, &artifact.version, &artifact.file].map(String::clone);
            let addresses = self.addresses.get(&key).into_iter().flatten();
            addresses.map(|address| (address.clone(), at)).collect::<Vec<_>>()
        };
        self.locked.artifacts.iter().enumerate().flat_map(of).collect()
    }

    fn mirrored(&self) -> Vec<(Address, &'static str)> {
        let below = |index: &Address| {
            let top = index.path.trim_end_matches('/');
            // Where the pages' own references lead.
            let beside = top.rfind('/').map_or("", |end| &top[..end]);
            let parts = [(format!("{top}/"), "/pypi/simple/"), (format!("{beside}/files/"), "/pypi/files/")];
            parts.map(|(path, of)| (Address { origin: index.origin.clone(), path }, of))
        };
        self.reading.indexes.iter().flat_map(below).collect()
    }

    fn diagnose(&self, request: &Request) -> Option<String> {
        client::diagnose(self, request)
    }

    fn answer_to(&self, words: &str) -> Option<String> {
        client::answer_to(self, words)
    }

    fn kept(&self, question: &Question) -> Option<Vec<u8>> {
        self.used.get(&question.name).map(|listed| index::kept(listed))
    }
}

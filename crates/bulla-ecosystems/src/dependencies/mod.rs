//! Dependencies of a program: what the lock files of package managers name, where it is had, and how it is served to them.
//!
//! One ecosystem goes this way, without touching a disk or network itself:
//!
//! 1. [`read`] makes [`Locked`] of a native lock file and the files beside it that it needs. Nothing is run or resolved.
//! 2. Where a lock file does not say where its files are, [`Native::questions`] has the documents of the registry that do, and
//!    [`Native::answer`] takes what came. Answers add places and names of files; never a hash.
//! 3. The caller fetches each artifact from the first of its places that has it, and verifies it by [`Hash::matches`].
//! 4. [`Native::repository`] makes of the verified artifacts what a client may ask for: every path, and nothing else exists. A path
//!    belongs to one artifact, by registry, name, version and hash. Where a client reads folders faster than it asks, [`Native::folders`] says
//!    which artifacts lie where, and [`Native::unpack`] unpacks each.
//! 5. [`Native::client`] says how the unmodified client finds it: variables, and files that are mounted where nothing of the project lies.
//!    Where a lock file has whole addresses that its client goes to whatever it is told, [`Native::addresses`] has them.
//! 6. Of projects without a lock file, what a step asks for is passed on once ([`observe`]), and pinned in `bulla.lock`; it goes the same way then.
//! 7. When a client asked for something else, [`Native::diagnose`] says what the lock has instead, and what to do.

pub mod apt;
pub mod cargo;
mod git;
pub mod go;
pub mod gradle;
mod hash;
pub mod maven;
pub mod npm;
pub mod observe;
pub mod pypi;
mod repository;

use std::{io, sync::Arc};

use bulla_model::{
    Address, CleanPath, Digest, Ecosystem, Fault, GitId, Kind, Platform, lock::LooseKey, spec::InstallScripts,
};

use self::git::GitAddress;
pub use self::{
    hash::{Hash, ParseHashError},
    observe::Observed,
    repository::{Answer, Body, CACHE, Client, Folder, Repository, Request, Route, Script},
};
use crate::archive::Sink;

/// The most artifacts that one native lock file may name.
pub const MAX_ARTIFACTS: usize = 100_000;

/// The files that a lock file is read with, as they are in the source. Paths are relative to the source's top.
pub trait Files {
    /// Gives the content of a regular file of at most `limit` bytes; `None` where there is none.
    ///
    /// # Errors
    /// When it cannot be read, or is longer.
    fn read(&self, path: &CleanPath, limit: u64) -> io::Result<Option<Vec<u8>>>;
}

/// A reader of the bytes of an artifact, which is in the store and verified.
pub trait ReadSeek: io::Read + io::Seek {}

impl<T: io::Read + io::Seek> ReadSeek for T {}

/// The verified bytes of artifacts.
pub trait Bodies {
    /// Opens an artifact by its place in [`Locked::artifacts`].
    ///
    /// # Errors
    /// When it is not there or cannot be read.
    fn open(&self, artifact: usize) -> io::Result<Box<dyn ReadSeek + '_>>;
}

/// One file that a native lock file names: one input of the build.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Artifact {
    /// The package's name, as its ecosystem normalises it.
    pub name: String,
    /// Its version, as the lock file has it.
    pub version: String,
    /// The name of the file in its registry, or what stands for it. With name and version it is unique in a lock.
    pub file: String,
    /// What the lock file says that the bytes are; any one is enough, all that are there are checked. What has none that could pin it
    /// ([`Native::loose`]) has its pin of `bulla.lock` before them.
    pub hashes: Vec<Hash>,
    /// Where it may be had, the first that has it counts. Empty while a question is open.
    pub places: Vec<Place>,
    /// The line of the lock file that names it, from 1.
    pub line: u32,
}

impl Artifact {
    /// Says whether it is had from the ecosystem's registry, and not from an address of its own.
    pub fn is_of_registry(&self) -> bool {
        self.places.iter().any(|place| matches!(place, Place::Registry(_)))
    }

    /// Gives what it is known by in `bulla.lock`, where the lock file has no hash that could pin it.
    pub fn loose_key(&self, ecosystem: Ecosystem) -> LooseKey {
        // Several packages may be of one commit.
        let commit = match self.places.first() {
            Some(Place::Git { url, commit }) => GitAddress::parse(url, &commit.to_string()).ok(),
            _ => None,
        };
        let of_commit = commit.map(|address| address.artifact(self.line));
        let Self { name, version, file, .. } = of_commit.unwrap_or_else(|| self.clone());
        LooseKey { ecosystem, name, version, file }
    }

    /// Gives its package URL (purl specification): a name with slashes has its namespace before the last one.
    pub fn purl(&self, ecosystem: Ecosystem) -> String {
        if let Some(Place::Git { commit, .. }) = self.places.first() {
            let LooseKey { name: repository, .. } = self.loose_key(ecosystem);
            let url = escaped(&format!("git+https://{repository}@{commit}")).replace([':'], "%3A").replace('/', "%2F");
            let package = match self.name == repository {
                true => format!("generic/{}@{commit}", escaped(repository.rsplit('/').next().unwrap_or(&repository))),
                false => format!("{}/{}@{}", ecosystem.purl_type(), escaped(&self.name), escaped(&self.version)),
            };
            return format!("pkg:{package}?vcs_url={url}");
        }
        // Several files of one version are told apart by their types.
        if let (Ecosystem::Maven | Ecosystem::Gradle, Some(Place::Registry(path))) = (ecosystem, self.places.first())
            && let Some(purl) = maven::purl(path)
        {
            return purl;
        }
        if ecosystem == Ecosystem::Apt {
            return apt::purl(&self.name, &self.version, &self.file);
        }
        format!("pkg:{}/{}@{}", ecosystem.purl_type(), escaped(&self.name), escaped(&self.version))
    }
}

/// Percent-encodes what a purl may not have as it is.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' | b'/' | b':' => {
                out.push(char::from(byte))
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Undoes percent-encoding; `None` when what comes out is no text.
fn unescaped(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                out.push((digit()? * 16 + digit()?) as u8);
            }
            byte => out.push(byte),
        }
    }
    String::from_utf8(out).ok()
}

/// Where an artifact may be had.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A path of the ecosystem's registry, relative to its base; which registry that is for this name, the configuration says. It is
    /// a relative reference (RFC 3986), percent-encoded as it has to be sent; one that begins with `/` or `../` leads to the same origin
    /// outside of the base, and a whole address elsewhere, as pages of Python's registries do.
    Registry(String),
    /// A whole address that the lock file or the registry gave. A lock file that comes from a stranger can have any: it is asked
    /// without credentials of other origins, and never on this machine's own addresses.
    Url(String),
    /// A commit of a git repository; the bytes are [`Bare::pack`](crate::git::Bare::pack). Places of SSH count where the user allows their host.
    Git {
        /// The address of the repository: of `https`, `http` or `ssh`, or `USER@HOST:PATH`.
        url: String,
        /// The commit.
        commit: GitId,
    },
}

impl Place {
    /// Gives its path or address.
    pub fn text(&self) -> &str {
        match self {
            Self::Registry(text) | Self::Url(text) | Self::Git { url: text, .. } => text,
        }
    }
}

/// A document of a registry that says where artifacts are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    /// The package that it is about: the configuration may have a registry for it alone.
    pub name: String,
    /// Where it is: a path of the ecosystem's registry, or the whole address of a document of another registry, which the lock file names.
    pub place: Place,
    /// The media types that are accepted, as the `Accept` header has them.
    pub accept: &'static str,
    /// The most bytes that an answer may have.
    pub limit: u64,
}

/// What a native lock file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locked {
    /// The kind.
    pub ecosystem: Ecosystem,
    /// The lock file, relative to the top of its source.
    pub file: CleanPath,
    /// What has to be had, in a fixed order, each once. What other platforms alone need is not among it.
    pub artifacts: Vec<Artifact>,
}

/// Something is wrong with a native lock file or what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {what}", line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct LockFileError {
    /// The file, relative to the top of its source.
    pub file: String,
    /// The line, from 1, where it is known.
    pub line: Option<u32>,
    /// What is wrong, with the offending value.
    pub what: String,
    /// What to do about it.
    pub hints: Vec<String>,
}

impl Fault for LockFileError {
    fn kind(&self) -> Kind {
        Kind::Spec
    }

    fn hints(&self) -> Vec<String> {
        self.hints.clone()
    }
}

/// An artifact is not what its lock file or its name says, or a registry's answer is no answer.
#[derive(Debug, thiserror::Error)]
#[error("{artifact}: {what}")]
pub struct ArtifactError {
    /// Name, version and file; or the path of a registry.
    pub artifact: String,
    /// What is wrong.
    pub what: String,
    /// What lies beneath.
    #[source]
    pub source: Option<io::Error>,
}

impl Fault for ArtifactError {
    fn kind(&self) -> Kind {
        Kind::Integrity
    }
}

/// A package that would run something of its own, which the stage denies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// Its name, as the lock file has it.
    pub package: String,
    /// Its version.
    pub version: String,
    /// What it would run.
    pub what: &'static str,
}

/// What each ecosystem knows of its lock files and its client. The values hold what was read.
pub trait Native: std::fmt::Debug + Send + Sync {
    /// Gives what has to be fetched.
    fn locked(&self) -> &Locked;

    /// Gives what of the lock file decides what is served beside [`Locked::artifacts`]: a text, which is a part of a step's key.
    fn beside(&self) -> String {
        String::new()
    }

    /// Gives the artifacts, by their place in [`Locked::artifacts`], that the lock file names without a hash which could pin them.
    /// Before anything else is made of them, each is pinned ([`Native::pin`]).
    fn loose(&self) -> Vec<usize> {
        Vec::new()
    }

    /// Takes the SHA-256 that such an artifact has in `bulla.lock`.
    fn pin(&mut self, _artifact: usize, _digest: &Digest) {}

    /// Gives what a user should know of a lock file though nothing is wrong with it.
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }

    /// Gives the documents that say where the artifacts are which have no place yet; none when all have. Until all of them are answered,
    /// [`Native::locked`] gives what the lock file alone says, and a step's key is made of that.
    fn questions(&self) -> Vec<Question> {
        Vec::new()
    }

    /// Gives the documents by which a registry of the user's own may have artifacts that the lock file has addresses for. They are
    /// worth asking where the configuration names a registry, before the artifacts are fetched: places there come first. An answer of
    /// `None`, or one without the files, changes nothing.
    fn offers(&self) -> Vec<Question> {
        Vec::new()
    }

    /// Says whether all that is locked is known without any answer, so that the questions need none while everything is there.
    fn knows_all(&self) -> bool {
        false
    }

    /// Takes the answer to a question: `None` where the registry has no such document.
    ///
    /// # Errors
    /// When it is not what the protocol says, or does not have what the lock file names.
    fn answer(&mut self, question: &Question, _bytes: Option<&[u8]>) -> Result<(), ArtifactError> {
        let what = "nothing was asked".to_owned();
        Err(ArtifactError { artifact: question.name.clone(), what, source: None })
    }

    /// Gives what of the answer to a question was used, as an answer to the same question: small, and to be kept beside the artifacts, so that
    /// the same lock file needs no network a second time.
    fn kept(&self, _question: &Question) -> Option<Vec<u8>> {
        None
    }

    /// Gives the packages that would run something which the stage denies, where the client cannot be told not to run it: no step is run
    /// then. Reads what is in artifacts.
    ///
    /// # Errors
    /// When an artifact is another package than the lock file says, or is damaged.
    fn denied(&self, _bodies: &dyn Bodies) -> Result<Vec<Denied>, ArtifactError> {
        Ok(Vec::new())
    }

    /// Gives what a client may ask for at `base`, which is that of [`Native::client`]: documents may have whole addresses. Reads what is
    /// in artifacts where the protocol needs it, and checks that each is the package it is said to be.
    ///
    /// # Errors
    /// When an artifact is another package than the lock file says, or is damaged.
    fn repository(&self, bodies: &dyn Bodies, base: &str) -> Result<Repository, ArtifactError>;

    /// Gives the folders in which a client finds artifacts unpacked, instead of asking for them. Each is there, also without any artifact.
    fn folders(&self) -> Vec<Folder> {
        Vec::new()
    }

    /// Unpacks an artifact of [`Native::folders`]. All of its paths begin with a name that no other artifact of the folder has; what comes
    /// of it depends on its bytes, name and version alone.
    ///
    /// # Errors
    /// When it is another package than the lock file says, is damaged, or holds what it may not; or the sink fails. What the sink took before
    /// is to be thrown away then.
    fn unpack(&self, artifact: usize, _body: &mut dyn ReadSeek, _sink: &mut dyn Sink) -> Result<(), ArtifactError> {
        let artifact = self.locked().artifacts.get(artifact).map(|one| one.name.clone()).unwrap_or_default();
        Err(ArtifactError { artifact, what: "it is in no folder".to_owned(), source: None })
    }

    /// Says how the client finds the repository at `base` (`http://127.0.0.1:PORT`, no slash at the end).
    fn client(&self, base: &str) -> Client;

    /// Gives the artifacts, by their place in [`Locked::artifacts`], to which the client goes at addresses that the lock file has, whatever
    /// its settings say. They are served there as well, by the proxy; a step without any has none. They are what the lock file says:
    /// answers to questions change nothing about them, and a step's key is made of them.
    fn addresses(&self) -> Vec<(Address, usize)> {
        Vec::new()
    }

    /// Gives the addresses of registries to which the client goes because the project's own files name them, each with the path of
    /// [`Native::repository`] that is answered below it, by the proxy. They are what the lock file says, as those of [`Native::addresses`].
    fn mirrored(&self) -> Vec<(Address, &'static str)> {
        Vec::new()
    }

    /// Says why a client was not served, when that can be told: what it asked for, what the lock has, what to do.
    fn diagnose(&self, request: &Request) -> Option<String>;

    /// Says whether a variable that a step sets itself would undo what the stage wants of this lock file: then the step does not run.
    fn contradicts(&self, _variable: &str) -> bool {
        false
    }

    /// Says which script of a package a started program stands for, where the client was made to tell.
    fn script(&self, _executable: &str, _argv: &[String]) -> Option<Script> {
        None
    }

    /// Says to the last words of a step that failed what the lock file has instead, where the client found out by a document that something
    /// is not there, and asked for nothing. The words are a stranger's: nothing but what is told depends on them.
    fn answer_to(&self, _words: &str) -> Option<String> {
        None
    }
}

/// What of a stage decides what its lock files stand for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stage {
    /// The platform that its steps run on.
    pub platform: Platform,
    /// Where the top of the lock file's source lies in it, as an absolute path.
    pub place: String,
    /// What becomes of the scripts of the lock file's packages.
    pub scripts: InstallScripts,
    /// The Pythons that it may have, where its lock file is one of Python.
    pub pythons: pypi::Pythons,
    /// What was observed of its dependencies that no lock file pins.
    pub observed: Arc<Observed>,
}

impl Default for Stage {
    fn default() -> Self {
        Self {
            platform: Platform::BUILD,
            place: "/src/app".to_owned(),
            scripts: InstallScripts::default(),
            pythons: pypi::Pythons::default(),
            observed: Arc::default(),
        }
    }
}

/// Reads a native lock file of a source, for a stage.
///
/// # Errors
/// When it is not there, is damaged, or names what cannot be served.
pub fn read(
    ecosystem: Ecosystem,
    files: &dyn Files,
    file: &CleanPath,
    stage: &Stage,
) -> Result<Box<dyn Native>, LockFileError> {
    match ecosystem {
        Ecosystem::Npm => Ok(Box::new(npm::Npm::read(files, file, stage)?)),
        Ecosystem::Pypi => Ok(Box::new(pypi::Pypi::read(files, file, &stage.into())?)),
        Ecosystem::Cargo => Ok(Box::new(cargo::Cargo::read(files, file)?.with_scripts(stage.scripts.clone()))),
        Ecosystem::Go => Ok(Box::new(go::Go::read(files, file)?)),
        Ecosystem::Gradle => Ok(Box::new(gradle::Gradle::read(files, file)?)),
        Ecosystem::Maven => Ok(Box::new(maven::Maven::read(files, file, &stage.observed)?)),
        // No file names packages of it: it is made of a release ([`apt::Apt::new`]).
        Ecosystem::Apt => Err(LockFileError {
            file: file.to_string(),
            line: None,
            what: "no file says what apt installs".to_owned(),
            hints: vec!["name a release of Debian: `{apt: trixie}`".to_owned()],
        }),
    }
}

/// Makes one answer of two to the same request, which two lock files of a stage give: a document that has what both have. `None` where
/// no client could tell them apart, so that only one can be served.
pub fn joined(ecosystem: Ecosystem, content_type: &str, one: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    match ecosystem {
        _ if one == other => Some(one.to_vec()),
        _ if git::is_settings(one) && git::is_settings(other) => git::joined(one, other),
        Ecosystem::Pypi => Some(pypi::joined(content_type, one, other)),
        Ecosystem::Go => go::joined(one, other),
        Ecosystem::Cargo => cargo::joined(content_type, one, other),
        Ecosystem::Npm => npm::package::joined(one, other),
        Ecosystem::Gradle => gradle::joined(one, other),
        // Of one stage there is one set of answers.
        Ecosystem::Maven | Ecosystem::Apt => None,
    }
}

/// Reads a lock file's text.
fn read_text(files: &dyn Files, file: &CleanPath, limit: u64, hint: &str) -> Result<String, LockFileError> {
    let wrong = |what: String, hint: &str| LockFileError {
        file: file.to_string(),
        line: None,
        what,
        hints: vec![hint.to_owned()],
    };
    let bytes = match files.read(file, limit) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Err(wrong("it is not in the source".to_owned(), hint)),
        Err(error) => return Err(wrong(format!("it cannot be read: {error}"), hint)),
    };
    let text = String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8 text".to_owned(), hint))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// The readers of lock files, by the names that they have on disk.
pub fn usual_files(ecosystem: Ecosystem) -> &'static [&'static str] {
    match ecosystem {
        Ecosystem::Npm => &["npm-shrinkwrap.json", "package-lock.json", "pnpm-lock.yaml", "yarn.lock"],
        Ecosystem::Pypi => &["uv.lock", "poetry.lock", "pylock.toml", "requirements.txt"],
        Ecosystem::Cargo => &["Cargo.lock"],
        Ecosystem::Go => &["go.sum"],
        Ecosystem::Maven => &["pom.xml"],
        Ecosystem::Gradle => &["gradle.lockfile"],
        Ecosystem::Apt => &[],
    }
}

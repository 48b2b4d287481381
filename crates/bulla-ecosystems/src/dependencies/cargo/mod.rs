//! Cargo: `Cargo.lock`, and the folders that `cargo build` finds in the place of its registries (doc.rust-lang.org/cargo/reference,
//! "Registry Index" and "Source Replacement", "Directory Sources").
//!
//! The order: the lock file is read (`lock`); the `config.json` of each registry says where its crates are; each crate is unpacked once
//! (`archive`), as `cargo vendor` would, after its `Cargo.toml` was read (`manifest`). Each registry has a folder of its own, so that a crate
//! that is locked from one is never given for one of another. What is not there, cargo says itself (`words`).
//!
//! So has each git repository with what is asked of it (branch, tag, commit): its crates are laid out of one commit (`commit`), where what they take from
//! their workspace is written out (`inherit`).

mod archive;
mod commit;
mod inherit;
mod lock;
mod manifest;
mod place;
mod words;

use std::collections::{BTreeMap, btree_map::Entry};

use bulla_model::{CleanPath, Digest, Ecosystem, spec::InstallScripts};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

pub use self::place::CargoPlace;
use self::{
    commit::Commit,
    lock::{GitSource, Source},
};
use super::{
    Artifact, ArtifactError, Bodies, CACHE, Client, Denied, Files, Folder, Hash, LockFileError, Locked, Native, Place,
    Question, ReadSeek, Repository, Request,
};
use crate::archive::{ArchiveError, Sink};

/// The most bytes of a lock file.
const MAX_LOCK: u64 = 64 << 20;
/// The most bytes of a registry's `config.json`.
const MAX_CONFIG: u64 = 64 << 10;
/// Where the folders lie in every sandbox. It is built into programs, by what they say of their sources.
const CRATES: &str = "run/bulla/crates";
/// The media type of settings.
const SETTINGS: &str = "application/toml";
/// The most registries of one lock file: each has a folder, which is a mount.
const MAX_REGISTRIES: usize = 64;
/// The longest template of a registry's addresses.
const MAX_TEMPLATE: usize = 1000;

/// The crates of a `Cargo.lock`.
#[derive(Debug)]
pub struct Cargo {
    locked: Locked,
    /// Where each artifact is from.
    sources: Vec<Source>,
    scripts: InstallScripts,
}

impl Cargo {
    /// Reads a `Cargo.lock`.
    ///
    /// # Errors
    /// When it is not there, is none or of a newer version, or names what cannot be served.
    pub fn read(files: &dyn Files, file: &CleanPath) -> Result<Self, LockFileError> {
        let wrong = |what: String| LockFileError {
            file: file.to_string(),
            line: None,
            what,
            hints: vec!["run `cargo metadata`, which writes Cargo.lock, and commit it".to_owned()],
        };
        let bytes = files.read(file, MAX_LOCK).map_err(|error| wrong(format!("it cannot be read: {error}")))?;
        let bytes = bytes.ok_or_else(|| wrong("it is not in the source".to_owned()))?;
        let text = String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8".to_owned()))?;
        let (mut artifacts, mut sources) = (Vec::new(), Vec::new());
        for ((source, name, version), package) in lock::read(file, &text)? {
            let file = format!("{name}-{version}.crate");
            let places = package.commit.map(|commit| commit.artifact(package.line).places);
            artifacts.push(Artifact {
                // Two registries may have one name.
                file: match &source {
                    Source::CratesIo => file,
                    Source::Sparse(address) => format!("{address}{file}"),
                    Source::Git(git) => git.shown(),
                },
                name,
                version,
                hashes: vec![package.hash],
                places: places.unwrap_or_default(),
                line: package.line,
            });
            sources.push(source);
        }
        let locked = Locked { ecosystem: Ecosystem::Cargo, file: file.clone(), artifacts };
        let read = Self { locked, sources, scripts: InstallScripts::Run };
        match read.all().len() {
            count if count > MAX_REGISTRIES => Err(wrong(format!(
                "its crates are of {count} registries and repositories, and {MAX_REGISTRIES} is the most"
            ))),
            _ => Ok(read),
        }
    }

    /// Takes what the stage says of code that runs while others are compiled.
    pub fn with_scripts(self, scripts: InstallScripts) -> Self {
        Self { scripts, ..self }
    }

    /// Reads what of a crate counts before it is compiled.
    fn inside(&self, artifact: usize, bodies: &dyn Bodies) -> Result<archive::Inside, ArtifactError> {
        let of = &self.locked.artifacts[artifact];
        let Artifact { name, version, .. } = of;
        let mut body =
            bodies.open(artifact).map_err(|error| self.wrong(artifact, "it cannot be read".to_owned(), Some(error)))?;
        if let Source::Git(_) = self.sources[artifact] {
            let inside = Commit::read(of, &mut *body).and_then(|commit| commit.inside(name, version));
            return inside.map_err(|what| self.wrong(artifact, what, None));
        }
        archive::read(&mut *body, name, version).map_err(|error| self.unreadable(artifact, &error))
    }

    fn wrong(&self, artifact: usize, what: String, source: Option<std::io::Error>) -> ArtifactError {
        let of = &self.locked.artifacts[artifact];
        ArtifactError { artifact: format!("{} {}", of.name, of.version), what, source }
    }

    fn unreadable(&self, artifact: usize, error: &ArchiveError) -> ArtifactError {
        let what = match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        self.wrong(artifact, what, None)
    }

    /// All that packages are from, and cargo's own registry, which a step may ask without any.
    fn all(&self) -> Vec<&Source> {
        let mut all: Vec<&Source> = self.sources.iter().chain([&Source::CratesIo]).collect();
        all.sort();
        all.dedup();
        all
    }
}

impl GitSource {
    /// Names it, as lock files do.
    fn shown(&self) -> String {
        let asked = self.asked.as_ref().map(|(key, value)| format!("?{key}={value}"));
        format!("git+{}{}", self.url, asked.unwrap_or_default())
    }

    /// Gives its lines of cargo's settings.
    fn settings(&self) -> String {
        let asked = self.asked.as_ref().map(|(key, value)| format!("{key} = \"{value}\"\n"));
        format!("git = \"{}\"\n{}", self.url, asked.unwrap_or_default())
    }
}

/// Where the crates of a source lie: its own folder, which no other has.
fn folder(source: &Source) -> CleanPath {
    let name = match source {
        Source::CratesIo => "crates-io".to_owned(),
        Source::Sparse(address) => key(address),
        Source::Git(git) => key(&git.shown()),
    };
    CleanPath::parse(format!("{CRATES}/{name}")).expect("it is clean")
}

/// A short name for an address.
fn key(address: &str) -> String {
    Sha256::digest(address.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// A place of a registry.
fn place_of(registry: &Source, path: String, login: bool) -> Place {
    let index = match registry {
        // Of a commit nothing is asked.
        Source::CratesIo | Source::Git(_) => None,
        Source::Sparse(address) => Some(address.clone()),
    };
    Place::Registry(CargoPlace { index, path, login }.to_string())
}

/// Where the `config.json` of a registry is.
fn config_of(registry: &Source) -> Place {
    place_of(registry, "config.json".to_owned(), false)
}

/// The prefix of a crate, as templates of addresses have it.
fn prefix(name: &str) -> String {
    match name.len() {
        0..=2 => name.len().to_string(),
        3 => format!("3/{}", &name[..1]),
        _ => format!("{}/{}", &name[..2], &name[2..4]),
    }
}

/// Fills in a registry's template of addresses.
fn address(template: &str, name: &str, version: &str, hash: &Hash) -> String {
    let Hash::Sha256(bytes) = hash else { unreachable!("cargo has one kind of checksum") };
    let markers = [
        ("{crate}", name.to_owned()),
        ("{version}", version.to_owned()),
        ("{prefix}", prefix(name)),
        ("{lowerprefix}", prefix(&name.to_ascii_lowercase())),
        ("{sha256-checksum}", bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
    ];
    if !markers.iter().any(|(marker, _)| template.contains(marker)) {
        return format!("{}/{name}/{version}/download", template.trim_end_matches('/'));
    }
    markers.iter().fold(template.to_owned(), |text, (marker, value)| text.replace(marker, value))
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Config {
    dl: String,
    #[serde(default)]
    auth_required: bool,
}

/// Makes one of the settings of two lock files, whose parts stand apart by an empty line.
pub(super) fn joined(content_type: &str, one: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    if content_type != SETTINGS {
        return None;
    }
    let [one, other] = [one, other].map(|text| std::str::from_utf8(text).ok());
    let [one, other] = [one?, other?].map(|text| text.trim_end().split("\n\n"));
    let mut parts: Vec<&str> = Vec::new();
    for part in one.chain(other) {
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    Some(format!("{}\n", parts.join("\n\n")).into_bytes())
}

impl Native for Cargo {
    fn locked(&self) -> &Locked {
        &self.locked
    }

    fn questions(&self) -> Vec<Question> {
        let mut asked = BTreeMap::new();
        for (artifact, registry) in self.locked.artifacts.iter().zip(&self.sources) {
            if artifact.places.is_empty()
                && let Entry::Vacant(place) = asked.entry(registry)
            {
                place.insert(Question {
                    name: artifact.name.clone(),
                    place: config_of(registry),
                    accept: "application/json",
                    limit: MAX_CONFIG,
                });
            }
        }
        asked.into_values().collect()
    }

    fn knows_all(&self) -> bool {
        true
    }

    fn loose(&self) -> Vec<usize> {
        let commits = self.sources.iter().enumerate().filter(|(_, source)| matches!(source, Source::Git(_)));
        commits.map(|(artifact, _)| artifact).collect()
    }

    fn pin(&mut self, artifact: usize, digest: &Digest) {
        if let Some(artifact) = self.locked.artifacts.get_mut(artifact) {
            artifact.hashes.insert(0, Hash::Sha256(*digest.as_bytes()));
        }
    }

    fn answer(&mut self, question: &Question, bytes: Option<&[u8]>) -> Result<(), ArtifactError> {
        let wrong = |what: &str| ArtifactError {
            artifact: question.place.text().to_owned(),
            what: what.to_owned(),
            source: None,
        };
        let bytes = bytes.ok_or_else(|| wrong("the registry has none: it is no sparse registry of cargo"))?;
        let config: Config =
            serde_json::from_slice(bytes).map_err(|_| wrong("it does not say, by `dl`, where crates are"))?;
        let template = config.dl;
        let plain = template.len() <= MAX_TEMPLATE && template.chars().all(|c| c.is_ascii_graphic());
        if !plain || !["https://", "http://"].iter().any(|scheme| template.starts_with(scheme)) {
            return Err(wrong("its `dl` is no address of HTTP"));
        }
        for (artifact, registry) in self.locked.artifacts.iter_mut().zip(&self.sources) {
            if artifact.places.is_empty() && config_of(registry) == question.place {
                let place = address(&template, &artifact.name, &artifact.version, &artifact.hashes[0]);
                artifact.places = vec![place_of(registry, place, config.auth_required)];
            }
        }
        Ok(())
    }

    fn denied(&self, bodies: &dyn Bodies) -> Result<Vec<Denied>, ArtifactError> {
        let InstallScripts::Deny { allow } = &self.scripts else { return Ok(Vec::new()) };
        let mut denied = Vec::new();
        for (place, artifact) in self.locked.artifacts.iter().enumerate() {
            if allow.contains(&artifact.name) {
                continue;
            }
            let inside = self.inside(place, bodies)?;
            let runs =
                manifest::runs(&inside.manifest, inside.build_rs).map_err(|what| self.wrong(place, what, None))?;
            let Some(what) = runs else { continue };
            denied.push(Denied { package: artifact.name.clone(), version: artifact.version.clone(), what });
        }
        Ok(denied)
    }

    fn folders(&self) -> Vec<Folder> {
        let of = |registry: &Source| {
            let own = self.sources.iter().enumerate().filter(|(_, of)| *of == registry);
            Folder { target: folder(registry), artifacts: own.map(|(artifact, _)| artifact).collect() }
        };
        self.all().into_iter().map(of).collect()
    }

    fn unpack(&self, artifact: usize, body: &mut dyn ReadSeek, sink: &mut dyn Sink) -> Result<(), ArtifactError> {
        let of = &self.locked.artifacts[artifact];
        let Artifact { name, version, hashes, .. } = of;
        if let Source::Git(_) = self.sources[artifact] {
            let laid = Commit::read(of, body).and_then(|commit| commit.lay(name, version, sink));
            return laid.map_err(|what| self.wrong(artifact, what, None));
        }
        let manifest = archive::unpack(body, name, version, &hashes[0], sink)
            .map_err(|error| self.unreadable(artifact, &error))?;
        manifest::check(&manifest, name, version).map_err(|what| self.wrong(artifact, what, None))
    }

    fn repository(&self, _bodies: &dyn Bodies, _base: &str) -> Result<Repository, ArtifactError> {
        Ok(Repository::default())
    }

    fn client(&self, _base: &str) -> Client {
        let mut config = "# Written by Bulla: crates come from folders, which have what is locked.\n".to_owned();
        for registry in self.all() {
            let (key, replaced) = match registry {
                Source::CratesIo => ("bulla".to_owned(), "[source.crates-io]\n".to_owned()),
                Source::Sparse(address) => {
                    let key = key(address);
                    let of = format!("[source.bulla-for-{key}]\nregistry = \"sparse+{address}\"\n");
                    (format!("bulla-{key}"), of)
                }
                Source::Git(git) => {
                    let key = key(&git.shown());
                    (format!("bulla-{key}"), format!("[source.bulla-for-{key}]\n{}", git.settings()))
                }
            };
            let folder = folder(registry);
            config.push_str(&format!(
                "\n{replaced}replace-with = \"{key}\"\n\n[source.{key}]\ndirectory = \"/{folder}\"\n"
            ));
        }
        let env = [
            ("CARGO_HOME", format!("{CACHE}/cargo").as_str()),
            // What is not there does not come by waiting.
            ("CARGO_NET_RETRY", "0"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        // Above every project, and beneath its own settings.
        let place = CleanPath::parse(".cargo/config.toml").expect("it is clean");
        Client { env: env.into(), files: BTreeMap::from([(place, config.into_bytes())]), ..Client::default() }
    }

    fn answer_to(&self, words: &str) -> Option<String> {
        let words::Wanted { name, requirement } = words::wanted(words)?;
        let wanted = requirement.map_or_else(|| name.to_owned(), |version| format!("{name} {}", lock::shown(version)));
        let of_name = self.locked.artifacts.iter().filter(|artifact| artifact.name == name);
        let versions: Vec<&str> = of_name.map(|artifact| artifact.version.as_str()).collect();
        let file = &self.locked.file;
        Some(match versions.is_empty() {
            true => format!(
                "cargo asked for {wanted}; {file} has no version of it. Run `cargo update --workspace`, commit Cargo.lock, build again."
            ),
            false => format!(
                "cargo asked for {wanted}; {file} has {}. Run `cargo update -p {name}`, commit Cargo.lock, build again.",
                versions.join(" and ")
            ),
        })
    }

    fn diagnose(&self, _request: &Request) -> Option<String> {
        // cargo has folders, and asks for nothing.
        None
    }
}

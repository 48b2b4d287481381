//! npm's packages: `package-lock.json` and `npm-shrinkwrap.json` of npm, `pnpm-lock.yaml`, `yarn.lock`, and the registry
//! that their clients find.
//!
//! The order: the lock file is read (`lock`, `pnpm`, `yarn1`, `berry`), which says what has to be had and where; of the archives, when a step really runs, the
//! `package.json` is read (`package`), and documents of a registry are made of them that have the locked versions alone. Archives are
//! at the path that every registry has for them, and at that of their `resolved` address: beneath the registry for npm, which looks there
//! for it, and for the others where the address says.

mod berry;
mod client;
mod collected;
mod json;
mod lock;
mod name;
pub(super) mod package;
mod platform;
mod pnpm;
mod scripts;
mod words;
mod yaml;
mod yarn1;
pub(super) mod yarn_zip;

#[cfg(test)]
mod pnpm_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod yarn_tests;

use std::collections::{BTreeMap, BTreeSet};

use bulla_model::{Address, CleanPath, Digest, Ecosystem, spec::InstallScripts};

use self::{client::Tool, lock::Read, package::Release};
use super::{
    Answer, ArtifactError, Bodies, Body, Client, Files, Folder, Hash, LockFileError, Locked, Native, ReadSeek,
    Repository, Request, Route, Script, Stage, git,
};
use crate::archive::Sink;

/// The most bytes of a lock file.
const MAX_LOCK: u64 = 64 << 20;
/// What archives are.
const ARCHIVE: &str = "application/octet-stream";

/// A lock file of npm's packages.
#[derive(Debug)]
pub struct Npm {
    tool: Tool,
    locked: Locked,
    addresses: Vec<(Address, usize)>,
    denies: bool,
    /// What has no hash that could pin it.
    loose: Vec<usize>,
    further: BTreeMap<String, usize>,
    foreign: BTreeMap<(String, String), serde_json::Map<String, serde_json::Value>>,
    scripts: Option<scripts::Allowed>,
    repositories: git::Repositories,
    replaced_host: String,
}

impl Npm {
    /// Reads a lock file, for a stage.
    ///
    /// # Errors
    /// When it is not there, is damaged, or names what cannot be served.
    pub fn read(files: &dyn Files, file: &CleanPath, stage: &Stage) -> Result<Self, LockFileError> {
        let hint = format!("run {}, and commit the lock file", Tool::locking(file));
        let text = super::read_text(files, file, MAX_LOCK, &hint)?;
        let tool = Tool::of(file, &text)?;
        let read = match tool {
            Tool::Npm => lock::read(file, &text, stage.platform)?,
            Tool::Pnpm => pnpm::read(file, &text, stage.platform)?,
            Tool::Yarn1 => yarn1::read(file, &text)?,
            Tool::Yarn => berry::read(file, &text, stage.platform)?,
        };
        let Read { artifacts, further, addresses, foreign, asked_scopes, places, replaced_host, repositories } = read;
        client::check_settings(tool, files, file, &asked_scopes, &stage.scripts)?;
        let scripts = match &stage.scripts {
            InstallScripts::Deny { allow } if tool.has_script_shell() => {
                Some(scripts::Allowed::new(file, &stage.place, &places, allow))
            }
            InstallScripts::Run | InstallScripts::Deny { .. } => None,
        };
        let denies = !stage.scripts.is_run();
        let bare = artifacts.iter().enumerate().filter(|(_, artifact)| !artifact.hashes.iter().any(Hash::is_strong));
        let loose = bare.map(|(place, _)| place).collect();
        let locked = Locked { ecosystem: Ecosystem::Npm, file: file.clone(), artifacts };
        Ok(Self { tool, locked, addresses, denies, loose, further, foreign, scripts, repositories, replaced_host })
    }

    /// Says what there is of a package in place of what was asked for.
    fn lack(&self, name: &str, version: Option<&str>) -> Option<String> {
        let wanted = version.map_or_else(|| name.to_owned(), |version| format!("{name} {version}"));
        let file = &self.locked.file;
        let artifacts = self.locked.artifacts.iter().map(|artifact| (&artifact.name, &artifact.version));
        let foreign = self.foreign.keys().map(|(name, version)| (name, version));
        let known: BTreeSet<&str> =
            artifacts.chain(foreign).filter(|(known, _)| *known == name).map(|(_, version)| version.as_str()).collect();
        let known: Vec<&str> = known.into_iter().collect();
        let lack = match known.as_slice() {
            [] => format!("{file} does not have it"),
            known if version.is_some_and(|version| known.contains(&version)) => {
                return Some(format!(
                    "{} asked for {wanted}, which {file} has for other platforms alone, and which was not fetched.",
                    self.tool.name()
                ));
            }
            known => format!("{file} has {}", known.join(", ")),
        };
        let (tool, install) = (self.tool.name(), self.tool.install());
        Some(format!("{tool} asked for {wanted}; {lack}. Run {install}, commit the lock, build again."))
    }
}

impl Native for Npm {
    fn locked(&self) -> &Locked {
        &self.locked
    }

    fn beside(&self) -> String {
        let of = |((name, version), fields): (&(String, String), &serde_json::Map<String, serde_json::Value>)| {
            format!("{name} {version} {}\n", serde_json::Value::Object(fields.clone()))
        };
        let paths = self.further.iter().map(|(path, place)| format!("{path} {place}\n"));
        self.foreign.iter().map(of).chain(paths).collect()
    }

    fn loose(&self) -> Vec<usize> {
        self.loose.clone()
    }

    fn pin(&mut self, artifact: usize, digest: &Digest) {
        if let Some(artifact) = self.locked.artifacts.get_mut(artifact) {
            artifact.hashes.insert(0, Hash::Sha256(*digest.as_bytes()));
        }
    }

    fn repository(&self, bodies: &dyn Bodies, base: &str) -> Result<Repository, ArtifactError> {
        let mut documents: BTreeMap<&str, Vec<Release>> = BTreeMap::new();
        let mut paths: BTreeMap<String, usize> = BTreeMap::new();
        for (place, artifact) in self.locked.artifacts.iter().enumerate() {
            // Only npm goes for submodules.
            if git::is_repository(artifact) && self.tool != Tool::Npm {
                continue;
            }
            let mut body = bodies.open(place).map_err(|source| ArtifactError {
                artifact: format!("{} {}", artifact.name, artifact.version),
                what: "it cannot be read".to_owned(),
                source: Some(source),
            })?;
            if git::is_repository(artifact) {
                git::check_submodules(artifact, &mut *body)?;
                continue;
            }
            let fields = package::manifest(artifact, body)?;
            if artifact.is_of_registry() {
                let integrity = artifact.hashes.first().map(ToString::to_string);
                let release = Release { version: artifact.version.clone(), fields, integrity };
                documents.entry(&artifact.name).or_default().push(release);
                paths.insert(format!("/npm/{}", name::archive_path(&artifact.name, &artifact.version)), place);
            }
        }
        // What only other platforms need is known by name, so that a client which resolves again comes to the same lock file.
        for ((name, version), fields) in &self.foreign {
            let mut fields = fields.clone();
            let integrity = fields.remove("integrity").and_then(|value| value.as_str().map(str::to_owned));
            documents.entry(name).or_default().push(Release { version: version.clone(), fields, integrity });
        }
        let documents: BTreeMap<String, Vec<u8>> = documents
            .into_iter()
            .map(|(name, releases)| (format!("/npm/{name}"), package::document(base, name, releases)))
            .collect();
        for (path, place) in &self.further {
            // Newer clients leave a path as it is that begins with the registry's own.
            let beneath = [Some(format!("/npm/{path}")), path.strip_prefix("npm/").map(|rest| format!("/npm/{rest}"))];
            for path in beneath.into_iter().flatten().filter(|path| !documents.contains_key(path)) {
                paths.entry(path).or_insert(*place);
            }
        }
        let archives = paths.into_iter().map(|(path, place)| route(path, ARCHIVE, Body::Artifact(place)));
        let documents = documents.into_iter().map(|(path, bytes)| route(path, "application/json", Body::Bytes(bytes)));
        // It is known that these are not there.
        let absent = self.repositories.archives().map(|path| {
            let answer = Answer { status: 404, content_type: "text/plain".to_owned(), body: Body::Bytes(Vec::new()) };
            Route { path, accept: None, answer }
        });
        Ok(Repository { routes: archives.chain(documents).chain(absent).collect() })
    }

    fn client(&self, base: &str) -> Client {
        let proxied = !self.addresses.is_empty() || !self.mirrored().is_empty();
        let mut client = client::settings(self.tool, base, &self.replaced_host, (proxied, self.denies));
        if let Some(allowed) = &self.scripts {
            allowed.enforce(&mut client);
        }
        self.repositories.enforce(&mut client);
        client
    }

    fn folders(&self) -> Vec<Folder> {
        self.repositories.folder(&self.locked.artifacts).into_iter().collect()
    }

    fn unpack(&self, artifact: usize, body: &mut dyn ReadSeek, sink: &mut dyn Sink) -> Result<(), ArtifactError> {
        git::unpack(&self.locked.artifacts[artifact], body, sink)
    }

    fn addresses(&self) -> Vec<(Address, usize)> {
        self.addresses.clone()
    }

    fn mirrored(&self) -> Vec<(Address, &'static str)> {
        let looks = matches!(self.tool, Tool::Npm | Tool::Yarn);
        let hosts = if looks { self.repositories.hosts_of_archives() } else { Vec::new() };
        hosts.into_iter().map(|host| (host, git::ARCHIVES)).collect()
    }

    fn remarks(&self) -> Vec<String> {
        let unknown = self.scripts.iter().flat_map(|allowed| &allowed.unknown);
        unknown
            .map(|name| {
                format!("`scripts` allows those of `{name}`, and no package of the registry has that name here")
            })
            .collect()
    }

    fn contradicts(&self, variable: &str) -> bool {
        self.scripts.is_some() && scripts::is_shell_setting(variable) || self.denies && self.tool.is_denial(variable)
    }

    fn script(&self, executable: &str, argv: &[String]) -> Option<Script> {
        self.scripts.as_ref().and_then(|_| scripts::told(executable, argv))
    }

    fn diagnose(&self, request: &Request) -> Option<String> {
        let path = request.path.strip_prefix("/npm/")?;
        if !matches!(request.method.as_str(), "GET" | "HEAD") {
            return Some(format!(
                "{} sent a {} of {path}: a step may read packages, and nothing more. Publish outside of the build.",
                self.tool.name(),
                request.method
            ));
        }
        if path.starts_with("-/") {
            return None;
        }
        let (name, version) = match path.split_once("/-/") {
            Some((name, file)) => {
                let version = file.strip_suffix(".tgz")?.strip_prefix(name::base(name))?.strip_prefix('-')?;
                (name, Some(version))
            }
            None => (path, None),
        };
        if !name::is_name(name) {
            return None;
        }
        self.lack(name, version)
    }

    fn answer_to(&self, words: &str) -> Option<String> {
        if let Some(answer) =
            Some(&self.repositories).filter(|all| !all.is_empty()).and_then(|all| all.answer_to(words))
        {
            return Some(answer);
        }
        let (_, behind) = words.split_once("No matching version found for ")?;
        let wanted = behind.split_whitespace().next()?.trim_end_matches('.');
        let (name, version) = wanted.rsplit_once('@').filter(|(name, _)| name::is_name(name))?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "^~<>=*.+-".contains(c);
        if version.is_empty() || version.len() > 50 || !version.chars().all(plain) {
            return None;
        }
        self.lack(name, Some(version))
    }
}

fn route(path: String, content_type: &str, body: Body) -> Route {
    Route { path, accept: None, answer: Answer { status: 200, content_type: content_type.to_owned(), body } }
}

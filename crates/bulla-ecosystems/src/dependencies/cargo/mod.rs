//! Cargo: `Cargo.lock`, and the sparse registry that `cargo build` finds in the place of its own (doc.rust-lang.org/cargo/reference,
//! "Registry Index" and "Source Replacement").
//!
//! The order: the lock file is read (`lock`); the `config.json` of each registry says where its crates are; of each crate, when a step
//! really runs, the `Cargo.toml` is read (`archive`), and a line of an index is made of it (`manifest`). Each registry has an index of its
//! own, so that a crate that is locked from one is never given for one of another.

mod archive;
mod lock;
mod manifest;
mod place;

use std::collections::{BTreeMap, btree_map::Entry};

use bulla_model::{CleanPath, Ecosystem, spec::InstallScripts};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use self::lock::Registry;
pub use self::place::CargoPlace;
use super::{
    Answer, Artifact, ArtifactError, Bodies, Body, CACHE, Client, Denied, Files, Hash, LockFileError, Locked, Native,
    Place, Question, Repository, Request, Route,
};

/// The most bytes of a lock file.
const MAX_LOCK: u64 = 64 << 20;
/// The most bytes of a registry's `config.json`.
const MAX_CONFIG: u64 = 64 << 10;
/// The media type of a file of an index.
const INDEX: &str = "text/plain";
/// The media type of settings.
const SETTINGS: &str = "application/toml";
/// The longest template of a registry's addresses.
const MAX_TEMPLATE: usize = 1000;

/// The crates of a `Cargo.lock`.
#[derive(Debug)]
pub struct Cargo {
    locked: Locked,
    /// The registry of each artifact.
    registries: Vec<Registry>,
    /// The artifacts of each name, by registry.
    crates: BTreeMap<(Registry, String), Vec<usize>>,
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
        let (mut artifacts, mut registries) = (Vec::new(), Vec::new());
        let mut crates: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for ((registry, name, version), package) in lock::read(file, &text)? {
            crates.entry((registry.clone(), name.clone())).or_default().push(artifacts.len());
            let file = format!("{name}-{version}.crate");
            artifacts.push(Artifact {
                // Two registries may have one name.
                file: match &registry {
                    Registry::CratesIo => file,
                    Registry::Sparse(address) => format!("{address}{file}"),
                },
                name,
                version,
                hashes: vec![package.hash],
                places: Vec::new(),
                line: package.line,
            });
            registries.push(registry);
        }
        let locked = Locked { ecosystem: Ecosystem::Cargo, file: file.clone(), artifacts };
        Ok(Self { locked, registries, crates, scripts: InstallScripts::Run })
    }

    /// Takes what the stage says of code that runs while others are compiled.
    pub fn with_scripts(self, scripts: InstallScripts) -> Self {
        Self { scripts, ..self }
    }

    /// Reads what of a crate counts before it is compiled.
    fn inside(&self, artifact: usize, bodies: &dyn Bodies) -> Result<archive::Inside, ArtifactError> {
        let Artifact { name, version, .. } = &self.locked.artifacts[artifact];
        let mut body =
            bodies.open(artifact).map_err(|error| self.wrong(artifact, "it cannot be read".to_owned(), Some(error)))?;
        archive::read(&mut *body, name, version).map_err(|error| {
            let what = match std::error::Error::source(&error) {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            };
            self.wrong(artifact, what, None)
        })
    }

    fn wrong(&self, artifact: usize, what: String, source: Option<std::io::Error>) -> ArtifactError {
        let of = &self.locked.artifacts[artifact];
        ArtifactError { artifact: format!("{} {}", of.name, of.version), what, source }
    }

    /// The line of an index for a crate, with its end.
    fn line(&self, artifact: usize, bodies: &dyn Bodies) -> Result<Vec<u8>, ArtifactError> {
        let Artifact { name, version, hashes, .. } = &self.locked.artifacts[artifact];
        let text = self.inside(artifact, bodies)?.manifest;
        let checksum = hashes.iter().find_map(|hash| match hash {
            Hash::Sha256(bytes) => Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
            _ => None,
        });
        let checksum = checksum.expect("cargo has one kind of checksum");
        let mut line = manifest::line(&text, &self.registries[artifact], name, version, &checksum)
            .map_err(|what| self.wrong(artifact, what, None))?;
        line.push(b'\n');
        Ok(line)
    }

    /// All registries that packages are from.
    fn all(&self) -> Vec<&Registry> {
        let mut all: Vec<&Registry> = self.registries.iter().collect();
        all.sort();
        all.dedup();
        all
    }
}

/// Where a registry is served: its own folder, which no other has.
fn folder(registry: &Registry) -> String {
    match registry {
        Registry::CratesIo => "/cargo".to_owned(),
        Registry::Sparse(address) => format!("/cargo/registries/{}", key(address)),
    }
}

/// A short name for an address.
fn key(address: &str) -> String {
    Sha256::digest(address.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// A place of a registry.
fn place_of(registry: &Registry, path: String, login: bool) -> Place {
    let index = match registry {
        Registry::CratesIo => None,
        Registry::Sparse(address) => Some(address.clone()),
    };
    Place::Registry(CargoPlace { index, path, login }.to_string())
}

/// Where the `config.json` of a registry is.
fn config_of(registry: &Registry) -> Place {
    place_of(registry, "config.json".to_owned(), false)
}

/// The path of a crate in an index.
fn index_path(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    match name.len() {
        0..=2 => format!("{}/{name}", name.len()),
        3 => format!("3/{}/{name}", &name[..1]),
        _ => format!("{}/{}/{name}", &name[..2], &name[2..4]),
    }
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

fn found(path: String, content_type: &str, body: Body) -> Route {
    Route { path, accept: None, answer: Answer { status: 200, content_type: content_type.to_owned(), body } }
}

/// Makes one document of those of two lock files: lines of an index, or settings, whose parts stand apart by an empty line.
pub(super) fn joined(content_type: &str, one: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    let between = match content_type {
        INDEX => "\n",
        SETTINGS => "\n\n",
        _ => return None,
    };
    let [one, other] = [one, other].map(|text| std::str::from_utf8(text).ok());
    let [one, other] = [one?, other?].map(|text| text.trim_end().split(between));
    let mut parts: Vec<&str> = Vec::new();
    for part in one.chain(other) {
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    // A version is one crate: two lock files with two sums of it cannot both be given.
    if content_type == INDEX {
        let mut known = std::collections::BTreeSet::new();
        for part in &parts {
            let line: IndexLine = serde_json::from_str(part).ok()?;
            if !known.insert((line.name, line.vers)) {
                return None;
            }
        }
    }
    Some(format!("{}\n", parts.join(between)).into_bytes())
}

#[derive(Deserialize)]
struct IndexLine {
    name: String,
    vers: String,
}

impl Native for Cargo {
    fn locked(&self) -> &Locked {
        &self.locked
    }

    fn questions(&self) -> Vec<Question> {
        let mut asked = BTreeMap::new();
        for (artifact, registry) in self.locked.artifacts.iter().zip(&self.registries) {
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

    fn answer(&mut self, question: &Question, bytes: Option<&[u8]>) -> Result<(), ArtifactError> {
        let wrong = |what: &str| {
            let (Place::Registry(place) | Place::Url(place)) = &question.place;
            ArtifactError { artifact: place.clone(), what: what.to_owned(), source: None }
        };
        let bytes = bytes.ok_or_else(|| wrong("the registry has none: it is no sparse registry of cargo"))?;
        let config: Config =
            serde_json::from_slice(bytes).map_err(|_| wrong("it does not say, by `dl`, where crates are"))?;
        let template = config.dl;
        let plain = template.len() <= MAX_TEMPLATE && template.chars().all(|c| c.is_ascii_graphic());
        if !plain || !["https://", "http://"].iter().any(|scheme| template.starts_with(scheme)) {
            return Err(wrong("its `dl` is no address of HTTP"));
        }
        for (artifact, registry) in self.locked.artifacts.iter_mut().zip(&self.registries) {
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

    fn repository(&self, bodies: &dyn Bodies, base: &str) -> Result<Repository, ArtifactError> {
        let mut routes = Vec::new();
        for registry in self.all() {
            let folder = folder(registry);
            let config = serde_json::json!({ "dl": format!("{base}{folder}/dl"), "api": null }).to_string();
            routes.push(found(format!("{folder}/index/config.json"), "application/json", Body::Bytes(config.into())));
        }
        // Two names that differ in their case have one file.
        let mut documents: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for ((registry, name), artifacts) in &self.crates {
            let folder = folder(registry);
            let document = documents.entry(format!("{folder}/index/{}", index_path(name))).or_default();
            for &artifact in artifacts {
                document.extend(self.line(artifact, bodies)?);
                let path = format!("{folder}/dl/{name}/{}/download", self.locked.artifacts[artifact].version);
                routes.push(found(path, "application/gzip", Body::Artifact(artifact)));
            }
        }
        routes.extend(documents.into_iter().map(|(path, text)| found(path, INDEX, Body::Bytes(text))));
        Ok(Repository { routes })
    }

    fn client(&self, base: &str) -> Client {
        let mut config = format!(
            "# Written by Bulla: crates come from the repository of this step, which has what is locked.\n\
             [source.crates-io]\nreplace-with = \"bulla\"\n\n\
             [source.bulla]\nregistry = \"sparse+{base}/cargo/index/\"\n"
        );
        for registry in self.all() {
            let Registry::Sparse(address) = registry else { continue };
            let (key, folder) = (key(address), folder(registry));
            config.push_str(&format!(
                "\n[source.bulla-for-{key}]\nregistry = \"sparse+{address}\"\nreplace-with = \"bulla-{key}\"\n\n\
                 [source.bulla-{key}]\nregistry = \"sparse+{base}{folder}/index/\"\n"
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
        let (_, rest) = words.split_once("failed to select a version for the requirement `")?;
        let (name, wanted) = rest.split('`').next()?.split_once(" = ")?;
        let wanted = lock::shown(wanted.trim_matches('"'));
        let of_name = self.locked.artifacts.iter().filter(|artifact| artifact.name == name);
        let versions: Vec<&str> = of_name.map(|artifact| artifact.version.as_str()).collect();
        // A name that is not locked was asked for, and is told for that.
        (!versions.is_empty()).then(|| {
            format!(
                "cargo asked for {name} {wanted}; {} has {}. Run `cargo update -p {name}`, commit Cargo.lock, build again.",
                self.locked.file,
                versions.join(" and ")
            )
        })
    }

    fn diagnose(&self, request: &Request) -> Option<String> {
        let all = self.all();
        let (registry, rest) = match request.path.strip_prefix("/cargo/registries/") {
            Some(rest) => {
                let (asked, rest) = rest.split_once('/')?;
                let is = |registry: &&&Registry| matches!(registry, Registry::Sparse(address) if key(address) == asked);
                ((*all.iter().find(is)?).clone(), rest)
            }
            None => (Registry::CratesIo, request.path.strip_prefix("/cargo/")?),
        };
        let (name, version) = match rest.strip_prefix("dl/") {
            Some(rest) => {
                let (name, rest) = rest.split_once('/')?;
                (name, rest.strip_suffix("/download"))
            }
            None => (rest.strip_prefix("index/")?.rsplit('/').next()?, None),
        };
        if !lock::is_name(name) {
            return None;
        }
        let file = self.locked.file.to_string();
        let wanted = version.map_or_else(|| name.to_owned(), |version| format!("{name} {}", lock::shown(version)));
        Some(match self.crates.get(&(registry, name.to_owned())) {
            Some(known) => {
                let versions: Vec<&str> = known.iter().map(|at| self.locked.artifacts[*at].version.as_str()).collect();
                format!(
                    "cargo asked for {wanted}; {file} has {}. Run `cargo update -p {name}`, commit Cargo.lock, build again.",
                    versions.join(" and ")
                )
            }
            None => format!(
                "cargo asked for {wanted}; {file} has no version of it. Run `cargo update --workspace`, commit Cargo.lock, build again."
            ),
        })
    }
}

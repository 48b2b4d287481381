//! Go: `go.sum`, and the module proxy that `go build` finds (go.dev/ref/mod, "GOPROXY protocol").
//!
//! The order: the sums are read (`sum`), with those of a workspace's other modules (`work`); each is an artifact, whose place is its path
//! in a module proxy; of the zip archives the names of the files are checked (`archive`) when a step really runs. `go` checks `go.sum`
//! once more itself. Nothing is resolved: which modules a build needs, `go` says.

mod archive;
pub(super) mod dirhash;
mod module;
mod sum;
mod work;

use std::collections::{BTreeMap, BTreeSet};

use bulla_model::{CleanPath, Ecosystem};
use semver::Version;

use self::sum::Sums;
use super::{
    Answer, Artifact, ArtifactError, Bodies, Body, CACHE, Client, Files, LockFileError, Locked, Native, Place,
    Repository, Request, Route,
};

/// The most bytes of a file of sums.
const MAX_SUMS: u64 = 64 << 20;
/// Go's own toolchains, which are modules too: a step has the one of its root.
const TOOLCHAIN: &str = "golang.org/toolchain";

/// What is locked of one version of a module, by its place in [`Locked::artifacts`].
#[derive(Debug, Clone, Copy, Default)]
struct Parts {
    zip: Option<usize>,
    go_mod: Option<usize>,
}

/// The modules of a `go.sum`.
#[derive(Debug)]
pub struct Go {
    locked: Locked,
    /// By name and version.
    modules: BTreeMap<String, BTreeMap<String, Parts>>,
}

impl Go {
    /// Reads `go.sum`, or `go.work` or `go.work.sum` of a workspace. Where a `go.work` uses the module, what the workspace's other modules
    /// need is read with it, as `go` does.
    ///
    /// # Errors
    /// When it is not there, or a line is no sum or contradicts another.
    pub fn read(files: &dyn Files, file: &CleanPath) -> Result<Self, LockFileError> {
        let mut sums = Sums::new();
        match files.read(file, MAX_SUMS).map_err(|error| work::unreadable(file, &error))? {
            // It has the modules and no sums.
            Some(_) if file.name() == b"go.work" => {}
            Some(bytes) => sum::read(file, &bytes, &mut sums)?,
            None => {
                let hints = vec![format!(
                    "run `go mod tidy`, and commit {}; without any dependency there is none",
                    sum::name_of(file)
                )];
                return Err(LockFileError {
                    file: file.to_string(),
                    line: None,
                    what: "it is not in the source".into(),
                    hints,
                });
            }
        }
        for other in work::beside(file, files)? {
            if let Some(bytes) = files.read(&other, MAX_SUMS).map_err(|error| work::unreadable(&other, &error))? {
                sum::read(&other, &bytes, &mut sums)?;
            }
        }
        Ok(Self::of(file, sums))
    }

    fn of(file: &CleanPath, sums: Sums) -> Self {
        let mut artifacts = Vec::with_capacity(sums.len());
        let mut modules: BTreeMap<String, BTreeMap<String, Parts>> = BTreeMap::new();
        for (key, sum) in sums.into_iter().filter(|(key, _)| key.path != TOOLCHAIN) {
            let parts = modules.entry(key.path.clone()).or_default().entry(key.version.clone()).or_default();
            *if key.go_mod { &mut parts.go_mod } else { &mut parts.zip } = Some(artifacts.len());
            let end = if key.go_mod { "mod" } else { "zip" };
            let place = format!("{}/@v/{}.{end}", module::escaped(&key.path), module::escaped(&key.version));
            artifacts.push(Artifact {
                file: format!("{}.{end}", key.version),
                name: key.path,
                version: key.version,
                hashes: vec![sum.hash],
                places: vec![Place::Registry(place)],
                line: sum.line,
            });
        }
        Self { locked: Locked { ecosystem: Ecosystem::Go, file: file.clone(), artifacts }, modules }
    }

    /// What is wrong with an artifact.
    fn wrong(&self, artifact: usize, problem: dirhash::Problem) -> ArtifactError {
        let of = &self.locked.artifacts[artifact];
        let (what, source) = match problem {
            dirhash::Problem::Read(error) => ("it cannot be read".to_owned(), Some(error)),
            dirhash::Problem::Refused(what) => (what, None),
        };
        ArtifactError { artifact: format!("{} {}", of.name, of.file), what, source }
    }

    /// The routes of one module.
    fn module(&self, path: &str, bodies: &dyn Bodies, routes: &mut Vec<Route>) -> Result<(), ArtifactError> {
        let folder = format!("/go/{}/@v/", module::escaped(path));
        let mut listed: Vec<(Version, &str)> = Vec::new();
        for (text, parts) in &self.modules[path] {
            let version = module::version(text).expect("it was read as a version");
            let file = format!("{folder}{}", module::escaped(text));
            routes.push(found(format!("{file}.info"), "application/json", Body::Bytes(info(text, &version))));
            let mut go_mod = parts.go_mod.map(Body::Artifact);
            if let Some(zip) = parts.zip {
                let mut body = bodies.open(zip).map_err(|error| self.wrong(zip, dirhash::Problem::Read(error)))?;
                let inside = archive::check(&mut *body, path, text, go_mod.is_none());
                let inside = inside.map_err(|problem| self.wrong(zip, problem))?;
                go_mod = go_mod.or(inside.map(Body::Bytes));
                routes.push(found(format!("{file}.zip"), "application/zip", Body::Artifact(zip)));
                listed.push((version, text));
            }
            routes.extend(go_mod.map(|body| found(format!("{file}.mod"), "text/plain; charset=UTF-8", body)));
        }
        // Of a module that is only looked at no version is listed: no client should choose one.
        if listed.is_empty() {
            return Ok(());
        }
        let list = Body::Bytes(list(&mut listed).into_bytes());
        routes.push(found(format!("{folder}list"), "text/plain; charset=UTF-8", list));
        if let Some((version, text)) = latest(&listed) {
            let latest = format!("/go/{}/@latest", module::escaped(path));
            routes.push(found(latest, "application/json", Body::Bytes(info(text, version))));
        }
        Ok(())
    }

    /// The answers for names above modules, at which `go` looks for modules too: they do not exist, and that is known.
    fn above(&self) -> Vec<Route> {
        let mut asked = BTreeSet::new();
        for (path, versions) in &self.modules {
            let mut above = path.as_str();
            while let Some((shorter, _)) = above.rsplit_once('/') {
                above = shorter;
                if self.modules.contains_key(above) {
                    continue;
                }
                let name = module::escaped(above);
                asked.insert(format!("/go/{name}/@latest"));
                asked.insert(format!("/go/{name}/@v/list"));
                let infos = versions.keys().map(|version| format!("/go/{name}/@v/{}.info", module::escaped(version)));
                asked.extend(infos);
            }
        }
        let answer = |path| Route {
            path,
            accept: None,
            answer: Answer {
                status: 404,
                content_type: "text/plain; charset=UTF-8".to_owned(),
                body: Body::Bytes(b"not found: no module of the lock has this name\n".to_vec()),
            },
        };
        asked.into_iter().map(answer).collect()
    }
}

fn found(path: String, content_type: &str, body: Body) -> Route {
    Route { path, accept: None, answer: Answer { status: 200, content_type: content_type.to_owned(), body } }
}

/// Sorts versions, and gives the document that lists those that are no pseudo-versions.
fn list(listed: &mut [(Version, &str)]) -> String {
    listed.sort();
    let tagged = listed.iter().filter(|(version, _)| module::pseudo_time(version).is_none());
    tagged.map(|(_, text)| format!("{text}\n")).collect()
}

/// Gives the latest of versions, as `go` sees it: a released one, else one that is about to be, else a pseudo-version.
fn latest<'a, 'b>(listed: &'a [(Version, &'b str)]) -> Option<&'a (Version, &'b str)> {
    let rank = |version: &Version| (module::pseudo_time(version).is_none(), version.pre.is_empty());
    listed.iter().max_by(|(one, _), (other, _)| rank(one).cmp(&rank(other)).then_with(|| one.cmp(other)))
}

/// Makes one document of those of two lock files: a list of versions, or what says which one is the latest.
pub(super) fn joined(one: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    let [one, other] = [one, other].map(|text| std::str::from_utf8(text).ok());
    let texts: Vec<String> = [one?, other?].iter().flat_map(|text| versions(text)).collect::<Option<_>>()?;
    let mut listed: Vec<(Version, &str)> =
        texts.iter().map(|text| Some((module::version(text)?, text.as_str()))).collect::<Option<_>>()?;
    if one?.starts_with('{') {
        let (version, text) = latest(&listed)?;
        return Some(info(text, version));
    }
    listed.sort();
    listed.dedup();
    Some(list(&mut listed).into_bytes())
}

/// Reads the versions of such a document.
fn versions(text: &str) -> Vec<Option<String>> {
    if text.starts_with('{') {
        let document: Option<serde_json::Value> = serde_json::from_str(text).ok();
        return vec![document.and_then(|document| Some(document["Version"].as_str()?.to_owned()))];
    }
    text.lines().map(|line| Some(line.to_owned())).collect()
}

/// The document about a version. Only pseudo-versions say when they were made.
fn info(text: &str, version: &Version) -> Vec<u8> {
    let time = module::pseudo_time(version).map(|time| format!(",\"Time\":\"{time}\"")).unwrap_or_default();
    format!("{{\"Version\":\"{text}\"{time}}}").into_bytes()
}

impl Native for Go {
    fn locked(&self) -> &Locked {
        &self.locked
    }

    fn repository(&self, bodies: &dyn Bodies, _: &str) -> Result<Repository, ArtifactError> {
        let mut routes = self.above();
        for path in self.modules.keys() {
            self.module(path, bodies, &mut routes)?;
        }
        Ok(Repository { routes })
    }

    fn client(&self, base: &str) -> Client {
        let cache = format!("{CACHE}/go");
        let env = [
            // Without `,direct`: else `go` would look for what the lock does not have at its origin.
            ("GOPROXY", format!("{base}/go").as_str()),
            // For every module, whatever `GOPRIVATE` of an image says.
            ("GONOPROXY", "none"),
            ("GOVCS", "*:off"),
            // The sums are in go.sum, and it is the lock.
            ("GOSUMDB", "off"),
            ("GOTOOLCHAIN", "local"),
            ("GOTELEMETRY", "off"),
            ("GOMODCACHE", &cache),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        Client { env: env.into(), ..Client::default() }
    }

    fn answer_to(&self, words: &str) -> Option<String> {
        let (file, tidy) = (self.locked.file.to_string(), "Run `go mod tidy`, commit go.mod and go.sum, build again.");
        if words.contains("updates to go.mod needed") {
            return Some(format!("go.mod and {file} do not fit together. {tidy}"));
        }
        let (_, rest) = words.split_once("missing go.sum entry for ")?;
        let package = rest.split_once("package ").and_then(|(_, rest)| rest.split([' ', ';', '\n']).next());
        let package = package.filter(|package| module::problem_of_path(package).is_none());
        let of = package.and_then(|package| {
            let is_of =
                |name: &str| package.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            self.modules.iter().filter(|(name, _)| is_of(name)).max_by_key(|(name, _)| name.len())
        });
        Some(match (package, of) {
            (Some(package), Some((name, versions))) => {
                let versions: Vec<&str> = versions.keys().map(String::as_str).collect();
                format!("go has no sum of what has {package}; {file} has {name} {}. {tidy}", versions.join(" and "))
            }
            (Some(package), None) => {
                format!("go has no sum of what has {package}; {file} has no version of it. {tidy}")
            }
            _ => format!("go has no sum of something that go.mod names; {file} is not that of go.mod. {tidy}"),
        })
    }

    fn diagnose(&self, request: &Request) -> Option<String> {
        let (file, tidy) = (self.locked.file.to_string(), "Run `go mod tidy`, commit go.mod and go.sum, build again.");
        let rest = request.path.strip_prefix("/go/")?;
        if rest.starts_with("sumdb/") {
            return Some(format!(
                "go asked for a database of sums; {file} has the sums. Leave GOSUMDB and GOFLAGS as they are."
            ));
        }
        let (path, asked) =
            rest.split_once("/@").map(|(path, asked)| (path, asked.strip_prefix("v/").unwrap_or(asked)))?;
        let path = module::unescaped(path).filter(|path| module::problem_of_path(path).is_none())?;
        let version = asked.rsplit_once('.').and_then(|(version, _)| module::unescaped(version));
        let version = version.filter(|text| module::version(text).is_some());
        if path == TOOLCHAIN {
            return Some("go asked for another toolchain than the stage has. Give the stage that version of Go, or lower the `go` and `toolchain` lines of go.mod; leave GOTOOLCHAIN as it is.".to_owned());
        }
        let wanted = version.as_ref().map(|version| format!("{path} {version}")).unwrap_or_else(|| path.clone());
        let known = self.modules.get(&path);
        let has = match (known, &version) {
            (None, _) => format!("{file} has no version of it"),
            (Some(known), Some(version)) if known.contains_key(version) => {
                format!("{file} has the sum of its go.mod, and none of its files")
            }
            (Some(known), _) => {
                let all: Vec<&str> = known.keys().map(String::as_str).collect();
                let few = if all.len() > 3 {
                    format!("{} and {} others", all[all.len() - 1], all.len() - 1)
                } else {
                    all.join(", ")
                };
                format!("{file} has {few}")
            }
        };
        Some(format!("go asked for {wanted}; {has}. {tidy}"))
    }
}

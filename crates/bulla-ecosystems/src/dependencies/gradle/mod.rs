//! Gradle: `gradle.lockfile` says which modules there are, and `gradle/verification-metadata.xml` which bytes (Gradle's user manual, "Locking
//! versions", "Verifying dependencies").
//!
//! The lock file has no checksums, and neither plugins nor parents of what it names; the metadata have all that Gradle has ever asked for, with a checksum. So
//! what the metadata pin is fetched and served, and each locked module must be among it. The client is told by a script of its user home, which
//! puts the one repository on the loopback in the place of all; the project's own files are read and never changed.

mod lock;
mod metadata;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use bulla_model::{CleanPath, Ecosystem};

use self::metadata::{MAX_METADATA, Metadata, Module};
use super::{
    Answer, Artifact, ArtifactError, Bodies, Body, CACHE, Client, Files, LockFileError, Locked, Native, Place,
    Repository, Request, Route, maven,
};

/// Where the metadata lie, from the top of a project.
const METADATA: &str = "gradle/verification-metadata.xml";
const WITHOUT: &str =
    "make them by `gradle --write-verification-metadata sha256 build`, look at them, commit them, build again";

/// A project of Gradle.
#[derive(Debug)]
pub struct Gradle {
    locked: Locked,
    /// The paths of the artifacts, in their order.
    paths: Vec<String>,
    modules: BTreeSet<Module>,
    /// What the metadata have without a checksum that can pin it.
    unpinned: BTreeSet<String>,
}

impl Gradle {
    /// Reads a lock file and the metadata beside or above it; or the metadata alone, where those are named.
    ///
    /// # Errors
    /// When one is not there or is damaged, or a locked module has no checksum.
    pub fn read(files: &dyn Files, named: &CleanPath) -> Result<Self, LockFileError> {
        if named.name().ends_with(b".xml") {
            let text = super::read_text(files, named, MAX_METADATA, WITHOUT)?;
            return Ok(Self::of(named, metadata::read(&text, named)?));
        }
        let hint = "lock the versions by `gradle dependencies --write-locks`, or name `gradle/verification-metadata.xml` itself";
        let text = super::read_text(files, named, lock::MAX_LOCK, hint)?;
        let modules = lock::read(&text, named)?;
        let (path, text) = beside(files, named)?;
        let metadata = metadata::read(&text, &path)?;
        for (module, line) in &modules {
            if metadata.modules.get(module).is_none_or(BTreeMap::is_empty) {
                let weak = metadata.unpinned.iter().any(|(of, _)| of == module);
                let what = match weak {
                    true => format!(
                        "{module} has neither a SHA-256 nor a SHA-512 in {path}, so nothing says what its bytes are"
                    ),
                    false => format!("{module} is not in {path}, so nothing says what its bytes are"),
                };
                let hint = "run `gradle --write-verification-metadata sha256 build`, look at what is new, commit it, build again";
                return Err(wrong(named, *line, what, hint));
            }
        }
        Ok(Self::of(&path, metadata))
    }

    fn of(file: &CleanPath, metadata: Metadata) -> Self {
        let (mut artifacts, mut paths) = (Vec::new(), Vec::new());
        for (module, files) in &metadata.modules {
            for (name, one) in files {
                let path = module.path(name);
                artifacts.push(Artifact {
                    name: format!("{}/{}", module.group, module.name),
                    version: module.version.clone(),
                    file: name.clone(),
                    hashes: one.hashes.clone(),
                    places: vec![Place::Registry(path.clone())],
                    line: one.line,
                });
                paths.push(path);
            }
        }
        let unpinned = metadata.unpinned.iter().map(|(module, file)| module.path(file)).collect();
        Self {
            locked: Locked { ecosystem: Ecosystem::Gradle, file: file.clone(), artifacts },
            paths,
            modules: metadata.modules.into_keys().collect(),
            unpinned,
        }
    }
}

/// Finds the metadata of a lock file: in its own folder, or the first one above it.
fn beside(files: &dyn Files, named: &CleanPath) -> Result<(CleanPath, String), LockFileError> {
    let text = named.to_string();
    let mut folder = text.rsplit_once('/').map(|(folder, _)| folder);
    loop {
        let path = folder.map_or_else(|| METADATA.to_owned(), |folder| format!("{folder}/{METADATA}"));
        if let Ok(path) = CleanPath::parse(&path) {
            match files.read(&path, MAX_METADATA) {
                Ok(None) => {}
                Ok(Some(_)) => return Ok((path.clone(), super::read_text(files, &path, MAX_METADATA, WITHOUT)?)),
                Err(error) => return Err(wrong(&path, 0, format!("they cannot be read: {error}"), WITHOUT)),
            }
        }
        let Some(inner) = folder else { break };
        folder = inner.rsplit_once('/').map(|(outer, _)| outer);
    }
    let what = format!("there is no {METADATA} beside or above it, and a lock file of Gradle has no checksums");
    Err(wrong(named, 0, what, WITHOUT))
}

/// Makes one list of versions of two, of projects that have the same module.
pub(super) fn joined(one: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    let (one, other) = (std::str::from_utf8(one).ok()?, std::str::from_utf8(other).ok()?);
    let (head, foot) = one.split_at(one.find("    </versions>")?);
    let known: BTreeSet<&str> = head.lines().collect();
    let more = other.lines().filter(|line| line.contains("<version>") && !known.contains(line));
    Some(format!("{head}{}{foot}", more.map(|line| format!("{line}\n")).collect::<String>()).into_bytes())
}

/// Makes an error of a line of a file.
fn wrong(file: &CleanPath, line: u32, what: impl Into<String>, hint: &str) -> LockFileError {
    LockFileError {
        file: file.to_string(),
        line: (line > 0).then_some(line),
        what: what.into(),
        hints: vec![hint.to_owned()],
    }
}

impl Native for Gradle {
    fn locked(&self) -> &Locked {
        &self.locked
    }

    fn beside(&self) -> String {
        // Of a module without a file there are answers too.
        self.modules.iter().map(|module| format!("{module}\n")).collect()
    }

    fn remarks(&self) -> Vec<String> {
        let Some(first) = self.unpinned.first() else { return Vec::new() };
        vec![format!(
            "{}: {} files have no SHA-256 or SHA-512 there (the first is {first}) and are not served; \
             `gradle --write-verification-metadata sha256 build` writes them",
            self.locked.file,
            self.unpinned.len()
        )]
    }

    fn repository(&self, bodies: &dyn Bodies, _base: &str) -> Result<Repository, ArtifactError> {
        let mut routes = Vec::new();
        for (at, path) in self.paths.iter().enumerate() {
            let unreadable = |source| ArtifactError {
                artifact: path.clone(),
                what: "it cannot be read".to_owned(),
                source: Some(source),
            };
            // Gradle compares it with what it has from elsewhere, before it fetches the file.
            let sum = bodies.open(at).and_then(|mut body| maven::sha1_of(&mut *body)).map_err(unreadable)?;
            routes.push(found(path, maven::media_type(path), Body::Artifact(at)));
            routes.push(found(&format!("{path}.sha1"), "text/plain", Body::Bytes(sum.into_bytes())));
            routes.extend(["sha256", "sha512"].map(|kind| not_there(&format!("{path}.{kind}"))));
        }
        let known: BTreeSet<&str> = self.paths.iter().map(String::as_str).collect();
        let mut versions: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
        for module in &self.modules {
            versions.entry((&module.group, &module.name)).or_default().push(&module.version);
            // Of both kinds of descriptions a module has one, as a rule, and Gradle asks for the other before.
            for kind in ["module", "pom"] {
                let path = module.path(&format!("{}-{}.{kind}", module.name, module.version));
                if !known.contains(path.as_str()) && !self.unpinned.contains(&path) {
                    routes.push(not_there(&path));
                }
            }
        }
        for ((group, name), versions) in versions {
            let path = format!("{}/{name}/maven-metadata.xml", group.replace('.', "/"));
            let list: String = versions.iter().map(|version| format!("      <version>{version}</version>\n")).collect();
            let text = format!(
                "<metadata>\n  <groupId>{group}</groupId>\n  <artifactId>{name}</artifactId>\n  <versioning>\n    <versions>\n{list}    </versions>\n  </versioning>\n</metadata>\n"
            );
            routes.push(found(&path, "text/xml", Body::Bytes(text.into_bytes())));
            routes.extend(["sha1", "sha256", "sha512"].map(|kind| not_there(&format!("{path}.{kind}"))));
        }
        Ok(Repository { routes })
    }

    fn client(&self, base: &str) -> Client {
        let home = format!("{CACHE}/gradle");
        let script = include_str!("init.gradle").replace("{base}", base);
        // A daemon would end with the step, and take as long to begin.
        let files = [("init.d/bulla.gradle", script), ("gradle.properties", "org.gradle.daemon=false\n".to_owned())];
        let files = files.map(|(file, text)| {
            let path = CleanPath::parse(format!("{home}/{file}").trim_start_matches('/')).expect("a clean path");
            (path, text.into_bytes())
        });
        Client { env: [("GRADLE_USER_HOME".to_owned(), home)].into(), files: files.into(), ..Client::default() }
    }

    fn diagnose(&self, request: &Request) -> Option<String> {
        let path: String =
            request.path.strip_prefix("/gradle/")?.chars().filter(|c| !c.is_control()).take(300).collect();
        let file = &self.locked.file;
        let again = "Run `gradle --write-verification-metadata sha256` with the tasks of the step, look at what is new, commit it, build again";
        if self.unpinned.contains(&path) {
            return Some(format!("{file} has {path} without a SHA-256 or SHA-512, so it was not fetched. {again}"));
        }
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut of_module = self.modules.iter().filter(|module| {
            let all = format!("{}/{}", module.group.replace('.', "/"), module.name);
            folder.strip_prefix(&all).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        Some(match of_module.next() {
            Some(module) => format!("Gradle asked for {path}, and {file} has {module} without that file. {again}"),
            None => format!("Gradle asked for {path}, of which {file} has nothing. {again}"),
        })
    }
}

fn found(path: &str, content_type: &str, body: Body) -> Route {
    let answer = Answer { status: 200, content_type: content_type.to_owned(), body };
    Route { path: format!("/gradle/{path}"), accept: None, answer }
}

fn not_there(path: &str) -> Route {
    let answer = Answer { status: 404, content_type: "text/plain".to_owned(), body: Body::Bytes(Vec::new()) };
    Route { path: format!("/gradle/{path}"), accept: None, answer }
}

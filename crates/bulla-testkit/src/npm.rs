//! Packages of npm made for a test, a registry that has them, and the machine's own Node as a package of Debian.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha512};

use crate::{
    archive::{self, TarEntry},
    debian::{Compression, Deb},
    mirror::{Fault, Mirror},
    process, skipped,
};

/// A package made for a test.
#[derive(Debug, Clone)]
pub struct NpmPackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    manifest: Map<String, Value>,
    files: Vec<(String, Vec<u8>)>,
}

impl NpmPackage {
    /// Makes a package whose module says its name and version.
    pub fn new(name: &str, version: &str) -> Self {
        let mut manifest = Map::new();
        manifest.insert("name".to_owned(), name.into());
        manifest.insert("version".to_owned(), version.into());
        manifest.insert("main".to_owned(), "index.js".into());
        let module = format!("module.exports = '{name} {version}';\n");
        let files = vec![("index.js".to_owned(), module.into_bytes())];
        Self { name: name.to_owned(), version: version.to_owned(), manifest, files }
    }

    /// Sets a field of its `package.json`.
    pub fn field(mut self, key: &str, value: Value) -> Self {
        self.manifest.insert(key.to_owned(), value);
        self
    }

    /// Adds a dependency.
    pub fn depends(mut self, name: &str, range: &str) -> Self {
        let all = self.manifest.entry("dependencies").or_insert_with(|| json!({}));
        all.as_object_mut().expect("a map").insert(name.to_owned(), range.into());
        self
    }

    /// Adds a file, or puts another in its place.
    pub fn file(mut self, path: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.files.retain(|(known, _)| known != path);
        self.files.push((path.to_owned(), bytes.as_ref().to_vec()));
        self
    }

    fn has_file(&self, path: &str) -> bool {
        self.files.iter().any(|(known, _)| known == path)
    }

    /// Gives its archive.
    pub fn archive(&self) -> Vec<u8> {
        let manifest = Value::Object(self.manifest.clone()).to_string();
        let own = TarEntry::file("package/package.json", 0o644, manifest);
        let files = self.files.iter().map(|(path, bytes)| TarEntry::file(format!("package/{path}"), 0o644, bytes));
        archive::gzip(&archive::tar(&[own].into_iter().chain(files).collect::<Vec<_>>()))
    }

    /// Gives the hash that lock files have of it.
    pub fn integrity(&self) -> String {
        integrity(&self.archive())
    }

    /// Gives the path that it has in every registry, with a slash before it.
    pub fn path(&self) -> String {
        let base = self.name.rsplit('/').next().unwrap_or_default();
        format!("/{}/-/{base}-{}.tgz", self.name, self.version)
    }

    /// Gives its entry of a lock file that says no address.
    pub fn locked(&self) -> Value {
        let mut entry = json!({ "version": self.version, "integrity": self.integrity() });
        let scripts = self.manifest.get("scripts").and_then(Value::as_object);
        let installs = |event: &&str| scripts.is_some_and(|scripts| scripts.contains_key(*event));
        if ["preinstall", "install", "postinstall"].iter().any(installs) || self.has_file("binding.gyp") {
            entry["hasInstallScript"] = true.into();
        }
        for field in ["dependencies", "bundleDependencies", "bin", "os"] {
            if let Some(value) = self.manifest.get(field) {
                entry[field] = value.clone();
            }
        }
        entry
    }
}

/// Gives the hash that lock files have of an archive.
pub fn integrity(archive: &[u8]) -> String {
    format!("sha512-{}", archive::base64(&Sha512::digest(archive)))
}

/// Writes a lock file that has these packages at the top of `node_modules`.
pub fn npm_lock(packages: &[&NpmPackage]) -> String {
    let mut entries = Map::new();
    let wanted: BTreeMap<&str, &str> = packages.iter().map(|one| (one.name.as_str(), one.version.as_str())).collect();
    entries.insert(String::new(), json!({ "name": "app", "version": "1.0.0", "dependencies": wanted }));
    for package in packages {
        entries.insert(format!("node_modules/{}", package.name), package.locked());
    }
    let lock =
        json!({ "name": "app", "version": "1.0.0", "lockfileVersion": 3, "requires": true, "packages": entries });
    format!("{lock:#}\n")
}

/// Writes the `package.json` that belongs to it.
pub fn npm_manifest(packages: &[&NpmPackage]) -> String {
    let wanted: BTreeMap<&str, &str> = packages.iter().map(|one| (one.name.as_str(), one.version.as_str())).collect();
    format!("{:#}\n", json!({ "name": "app", "version": "1.0.0", "dependencies": wanted }))
}

/// A registry on loopback that has packages, as far as npm asks for them.
#[derive(Debug)]
pub struct NpmRegistry {
    /// The server.
    pub mirror: Mirror,
    _folder: tempfile::TempDir,
}

impl NpmRegistry {
    /// Serves packages.
    pub fn serve(packages: &[&NpmPackage]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut documents: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
        for package in packages {
            let path = folder.path().join(package.path().trim_start_matches('/'));
            fs_err::create_dir_all(path.parent().expect("a folder")).expect("making a folder");
            fs_err::write(path, package.archive()).expect("writing an archive");
        }
        let mirror = Mirror::serve(folder.path());
        for package in packages {
            let mut manifest = package.manifest.clone();
            let tarball = format!("{}{}", mirror.url(), package.path());
            manifest.insert("dist".to_owned(), json!({ "tarball": tarball, "integrity": package.integrity() }));
            documents.entry(&package.name).or_default().insert(package.version.clone(), Value::Object(manifest));
        }
        for (name, versions) in documents {
            let latest = versions.keys().next_back().cloned();
            let document = json!({ "name": name, "dist-tags": { "latest": latest }, "versions": versions });
            // A folder has the archives of this name, so that no file can have the document.
            let path = format!("/{}", name.replace('/', "%2f"));
            mirror.fault(&path, Fault::Bytes(document.to_string().into_bytes()));
        }
        Self { mirror, _folder: folder }
    }

    /// Gives its address.
    pub fn url(&self) -> String {
        format!("{}/", self.mirror.url())
    }

    /// Gives the paths that were asked for, and forgets them.
    pub fn asked(&self) -> Vec<String> {
        let mut paths: Vec<String> = self.mirror.requests().into_iter().map(|request| request.path).collect();
        self.mirror.forget_requests();
        paths.sort();
        paths
    }
}

/// Makes a command that runs the machine's npm in a folder, with a registry and a home of its own.
pub fn npm(folder: &Path, home: &Path, registry: &str) -> Command {
    let mut command = Command::new("npm");
    command.current_dir(folder).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", home);
    for (key, value) in [("audit", "false"), ("fund", "false"), ("update_notifier", "false"), ("registry", registry)] {
        command.env(format!("npm_config_{key}"), value);
    }
    // What the machine sets for all its users is not for tests.
    command.env("npm_config_globalconfig", home.join("no-such-file"));
    command
}

/// Makes a package of Debian of the machine's own Node and npm, with the libraries that they need. `None`, after it was said why, where
/// there are none.
pub fn node_deb(test: &str) -> Option<Deb> {
    match node() {
        Ok(deb) => Some(deb),
        Err(why) => {
            skipped(test, &why);
            None
        }
    }
}

fn node() -> Result<Deb, String> {
    let node = fs_err::canonicalize("/usr/bin/node").map_err(|error| error.to_string())?;
    let tool = fs_err::canonicalize("/usr/bin/npm").map_err(|error| error.to_string())?;
    let home =
        tool.ancestors().find(|above| above.ends_with("node_modules/npm")).ok_or("npm is not where it should be")?;
    let read = |path: &Path| fs_err::read(path).map_err(|error| error.to_string());
    let mut deb = Deb::new("node", "1").compression(Compression::None).file("usr/bin/node", 0o755, read(&node)?);
    for library in libraries(&node)? {
        let name = library.file_name().and_then(|name| name.to_str()).ok_or("a library without a name")?;
        let place = if name.starts_with("ld-linux") { "lib64" } else { "usr/lib/x86_64-linux-gnu" };
        deb = deb.file(&format!("{place}/{name}"), 0o755, read(&library)?);
    }
    for file in files(home)? {
        let inside = file.strip_prefix(home).map_err(|error| error.to_string())?.display().to_string();
        deb = deb.file(&format!("usr/lib/node_modules/npm/{inside}"), 0o755, read(&file)?);
    }
    let main = tool.strip_prefix(home).map_err(|error| error.to_string())?.display().to_string();
    Ok(deb.entry(TarEntry::symlink("./usr/bin/npm", format!("../lib/node_modules/npm/{main}"))))
}

/// Makes a package of Debian of the machine's own git, as far as clones of folders need it, for a root that has a program (`node`, `python3`) with
/// what that is linked with. `None`, after it was said why, where there is none.
pub fn git_deb(test: &str, beside: &str) -> Option<Deb> {
    match git(beside) {
        Ok(deb) => Some(deb),
        Err(why) => {
            skipped(test, &why);
            None
        }
    }
}

fn git(beside: &str) -> Result<Deb, String> {
    let git = fs_err::canonicalize("/usr/bin/git").map_err(|error| error.to_string())?;
    let beside = fs_err::canonicalize(format!("/usr/bin/{beside}")).map_err(|error| error.to_string())?;
    let read = |path: &Path| fs_err::read(path).map_err(|error| error.to_string());
    let mut deb = Deb::new("git", "1").compression(Compression::None).file("usr/bin/git", 0o755, read(&git)?);
    for name in ["git", "git-upload-pack", "git-upload-archive"] {
        deb = deb.entry(TarEntry::symlink(format!("./usr/lib/git-core/{name}"), "../../bin/git"));
    }
    // npm clones with submodules, whether there are any or not: that is a script.
    let core = process::output(Command::new("git").arg("--exec-path"))?;
    for name in ["git-submodule", "git-sh-setup", "git-sh-i18n", "git-sh-i18n--envsubst"] {
        let file = Path::new(core.trim()).join(name);
        if file.is_file() {
            deb = deb.file(&format!("usr/lib/git-core/{name}"), 0o755, read(&file)?);
        }
    }
    let mut known = libraries(&beside)?;
    if beside.to_string_lossy().contains("python") {
        // Its modules have this one.
        known.extend(libraries(&git)?.into_iter().filter(|library| library.to_string_lossy().contains("/libz.so")));
    }
    for library in libraries(&git)?.iter().filter(|library| !known.contains(library)) {
        let name = library.file_name().and_then(|name| name.to_str()).ok_or("a library without a name")?;
        deb = deb.file(&format!("usr/lib/x86_64-linux-gnu/{name}"), 0o755, read(library)?);
    }
    Ok(deb)
}

/// Gives what a program is linked with.
fn libraries(program: &Path) -> Result<Vec<PathBuf>, String> {
    let text = process::output(Command::new("ldd").arg(program))?;
    Ok(text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}

pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(folder).map_err(|error| error.to_string())? {
        let entry = entry.map_err(|error| error.to_string())?;
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())?),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found.sort();
    Ok(found)
}

/// Gives a folder that has the archives of all packages of a lock file at the paths of a registry, fetched by npm itself with the
/// machine's own settings, once. `None`, after it was said why, where they cannot be had.
pub fn real_npm(lock: &Path) -> Option<PathBuf> {
    let folder = crate::cache::folder().join("npm");
    let _lock = crate::cache::lock("npm");
    match fetch_real(lock, &folder) {
        Ok(()) => Some(folder),
        Err(why) => {
            skipped("fetching real packages of npm", &why);
            None
        }
    }
}

fn fetch_real(lock: &Path, folder: &Path) -> Result<(), String> {
    let text = fs_err::read_to_string(lock).map_err(|error| error.to_string())?;
    let lock: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let mut missing: BTreeMap<String, PathBuf> = BTreeMap::new();
    for (place, entry) in lock["packages"].as_object().ok_or("no lock file")? {
        let Some((_, name)) = place.rsplit_once("node_modules/") else { continue };
        let version = entry["version"].as_str().unwrap_or_default();
        let base = name.rsplit('/').next().unwrap_or_default();
        let path = folder.join(format!("{name}/-/{base}-{version}.tgz"));
        // Of what is optional, what other platforms alone have is not needed.
        let lacks = |field: &str, own: &str| entry[field].as_array().is_some_and(|all| !all.contains(&own.into()));
        let foreign = lacks("os", "linux") || lacks("cpu", "x64") || lacks("libc", "glibc");
        if !foreign && !path.is_file() {
            missing.insert(format!("{name}@{version}"), path);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut pack = Command::new("npm");
    pack.args(["pack", "--json", "--ignore-scripts", "--pack-destination"]).arg(scratch.path());
    let told = process::output(pack.args(missing.keys()).current_dir(scratch.path()))?;
    let told: Vec<Value> = serde_json::from_str(&told).map_err(|error| error.to_string())?;
    for one in told {
        let id =
            format!("{}@{}", one["name"].as_str().unwrap_or_default(), one["version"].as_str().unwrap_or_default());
        let (Some(path), Some(file)) = (missing.get(&id), one["filename"].as_str()) else { continue };
        fs_err::create_dir_all(path.parent().ok_or("no folder")?).map_err(|error| error.to_string())?;
        fs_err::copy(scratch.path().join(file.replace('/', "-").trim_start_matches('@')), path)
            .map_err(|error| error.to_string())?;
    }
    match missing.iter().find(|(_, path)| !path.is_file()) {
        Some((id, _)) => Err(format!("npm did not give {id}")),
        None => Ok(()),
    }
}

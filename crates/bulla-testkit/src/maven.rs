//! Repositories of Maven on loopback, the machine's own Maven as a package of Debian, and real artifacts that it fetched.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use sha1::{Digest as _, Sha1};

use crate::{
    archive::TarEntry,
    cache,
    debian::{Compression, Deb},
    mirror::Mirror,
    process, skipped,
};

/// A repository on loopback, with a checksum beside each file.
#[derive(Debug)]
pub struct MavenRepository {
    /// The server.
    pub mirror: Mirror,
    folder: tempfile::TempDir,
}

impl MavenRepository {
    /// Serves files by their paths.
    pub fn serve(files: &[(&str, &[u8])]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mirror = Mirror::serve(folder.path());
        let repository = Self { mirror, folder };
        files.iter().for_each(|(path, bytes)| repository.put(path, bytes));
        repository
    }

    /// Adds a file, or puts another in its place, with its checksum.
    pub fn put(&self, path: &str, bytes: &[u8]) {
        self.put_alone(path, bytes);
        self.put_alone(&format!("{path}.sha1"), sha1(bytes).as_bytes());
    }

    /// Adds a file without a checksum.
    pub fn put_alone(&self, path: &str, bytes: &[u8]) {
        let file = self.folder.path().join(path);
        fs_err::create_dir_all(file.parent().expect("a folder")).expect("making a folder");
        fs_err::write(file, bytes).expect("writing a file");
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

/// Gives the SHA-1 of bytes in hexadecimal.
pub fn sha1(bytes: &[u8]) -> String {
    Sha1::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes a package of Debian of the machine's own Maven, with as much of its Java as that needs. `None`, after it was said why, where there are none.
pub fn maven_deb(test: &str) -> Option<Deb> {
    match maven() {
        Ok(deb) => Some(deb),
        Err(why) => {
            skipped(test, &why);
            None
        }
    }
}

fn maven() -> Result<Deb, String> {
    let home = fs_err::canonicalize("/usr/share/maven").map_err(|error| error.to_string())?;
    let java = java()?;
    let mut all: Vec<(PathBuf, String)> = Vec::new();
    // The links of the package lead to where Debian has its jars and settings.
    for (folder, place) in [(&java, "usr/lib/java"), (&home, "usr/share/maven")] {
        for file in files(folder)? {
            let inside = file.strip_prefix(folder).map_err(|error| error.to_string())?.display().to_string();
            all.push((file, format!("{place}/{inside}")));
        }
    }
    let of_java = [java.join("bin/java"), java.join("lib/server/libjvm.so"), java.join("lib/libnet.so")];
    let mut known = BTreeSet::new();
    for library in of_java.iter().map(|program| libraries(program)).collect::<Result<Vec<_>, _>>()?.concat() {
        let name = library.file_name().and_then(|name| name.to_str()).ok_or("a library without a name")?.to_owned();
        let place = if name.starts_with("ld-linux") { "lib64" } else { "usr/lib/x86_64-linux-gnu" };
        if known.insert(name.clone()) {
            all.push((library, format!("{place}/{name}")));
        }
    }
    let mut deb = Deb::new("maven", "1").compression(Compression::None);
    for (file, place) in all {
        let bytes = fs_err::read(&file).map_err(|error| error.to_string())?;
        let is_program = place.contains("/bin/") || place.ends_with("/jspawnhelper") || place.starts_with("lib64/");
        deb = deb.file(&place, if is_program { 0o755 } else { 0o644 }, bytes);
    }
    Ok(deb.entry(TarEntry::symlink("./usr/bin/mvn", "../share/maven/bin/mvn")))
}

/// Gives a folder with a Java that has what Maven needs, made once of the machine's own.
fn java() -> Result<PathBuf, String> {
    let _lock = cache::lock("java");
    let folder = cache::folder().join("java");
    if folder.join("bin/java").is_file() {
        return Ok(folder);
    }
    let scratch = tempfile::tempdir_in(cache::folder()).map_err(|error| error.to_string())?;
    let made = scratch.path().join("java");
    let mut jlink = Command::new("jlink");
    jlink.args([
        "--add-modules",
        "java.base,java.logging,java.xml,java.naming,java.management,java.security.jgss,jdk.unsupported",
    ]);
    jlink.args(["--strip-debug", "--no-header-files", "--no-man-pages", "--output"]).arg(&made);
    process::output(&mut jlink)?;
    fs_err::rename(&made, &folder).map_err(|error| error.to_string())?;
    Ok(folder)
}

/// Gives what a program is linked with.
fn libraries(program: &Path) -> Result<Vec<PathBuf>, String> {
    let text = process::output(Command::new("ldd").arg(program))?;
    // What it has itself lies where it looks.
    let words = text.split_whitespace().filter(|word| word.starts_with("/lib") || word.starts_with("/usr/lib/x86"));
    Ok(words.map(PathBuf::from).collect())
}

/// Gives the files of a folder, links followed.
fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(folder).map_err(|error| error.to_string())? {
        let path = entry.map_err(|error| error.to_string())?.path();
        match fs_err::metadata(&path) {
            Ok(about) if about.is_dir() => found.extend(files(&path)?),
            Ok(about) if about.is_file() => found.push(path),
            // A link that leads nowhere.
            _ => {}
        }
    }
    found.sort();
    Ok(found)
}

/// Gives a folder with a repository of all that a project of Maven needs to be packaged, fetched once by the machine's own Maven with its own
/// settings. `None`, after it was said why, where it cannot be had.
pub fn real_maven(project: &Path) -> Option<PathBuf> {
    let pom = fs_err::read(project.join("pom.xml")).expect("a pom.xml");
    let home = cache::folder().join("maven").join(bulla_model::Digest::of(&pom).short());
    let _lock = cache::lock("maven");
    let complete = home.join("complete");
    if complete.is_file() {
        return Some(home);
    }
    let fetch = || {
        let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
        let (copy, own) = (scratch.path().join("copy"), scratch.path().join("repository"));
        crate::language::copy_writable(project, &copy)?;
        let mut mvn = Command::new("mvn");
        mvn.current_dir(&copy).arg("--batch-mode").arg(format!("-Dmaven.repo.local={}", own.display()));
        process::output(mvn.arg("package"))?;
        for file in files(&own)? {
            let inside = file.strip_prefix(&own).map_err(|error| error.to_string())?;
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            // What Maven notes for itself is none of a repository.
            if name.starts_with('_')
                || name.ends_with(".lastUpdated")
                || name.ends_with(".sha1")
                || name.contains("resolver-status")
            {
                continue;
            }
            let to = home.join(inside);
            fs_err::create_dir_all(to.parent().ok_or("no folder")?).map_err(|error| error.to_string())?;
            let bytes = fs_err::read(&file).map_err(|error| error.to_string())?;
            fs_err::write(format!("{}.sha1", to.display()), sha1(&bytes)).map_err(|error| error.to_string())?;
            fs_err::write(&to, bytes).map_err(|error| error.to_string())?;
        }
        Ok::<_, String>(())
    };
    match fetch() {
        Ok(()) => fs_err::write(complete, "").expect("a mark in the cache"),
        Err(why) => {
            skipped("fetching real artifacts of Maven", &why);
            return None;
        }
    }
    Some(home)
}

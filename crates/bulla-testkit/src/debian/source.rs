//! Real sources, downloaded by apt.

use std::{path::PathBuf, process::Command};

use crate::{cache, process, skipped};

/// Gives the folder of a source package of this machine's release, downloaded by `apt-get source`, unpacked and patched
/// by `dpkg-source`. `None`, after it was said why, where it cannot be had.
pub fn real_source(package: &str) -> Option<PathBuf> {
    let folder = cache::folder().join("sources").join(package);
    let done = folder.join("tree");
    let _lock = cache::lock("sources");
    if done.is_dir() {
        return Some(done);
    }
    match fetch(package, &folder, &done) {
        Ok(()) => Some(done),
        Err(why) => {
            skipped(&format!("fetching the source of {package}"), &why);
            None
        }
    }
}

/// Files with their names.
type Files = Vec<(String, Vec<u8>)>;

/// Gives the version of a real source package, and its files with their names; `None` as for [`real_source`].
pub(super) fn real_source_files(package: &str) -> Option<(String, Files)> {
    let tree = real_source(package)?;
    let (mut version, mut files) = (String::new(), Vec::new());
    for entry in fs_err::read_dir(tree.parent()?).ok()?.filter_map(Result::ok) {
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        let is_part = name.ends_with(".dsc") || name.contains(".tar.") || name.contains(".diff.");
        if !is_part {
            continue;
        }
        let bytes = fs_err::read(entry.path()).ok()?;
        if name.ends_with(".dsc") {
            let text = String::from_utf8_lossy(&bytes);
            version = text.lines().find_map(|line| line.strip_prefix("Version: "))?.to_owned();
        }
        files.push((name, bytes));
    }
    Some((version, files))
}

fn fetch(package: &str, folder: &std::path::Path, done: &std::path::Path) -> Result<(), String> {
    let _ = fs_err::remove_dir_all(folder);
    fs_err::create_dir_all(folder.join("lists/partial")).map_err(|error| error.to_string())?;
    let sources = folder.join("sources.list");
    fs_err::write(&sources, source_lines()?).map_err(|error| error.to_string())?;
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("LC_ALL", "C").current_dir(folder);
        for (key, value) in [
            ("Dir::Etc::sourcelist", sources.display().to_string()),
            ("Dir::Etc::sourceparts", "/dev/null".to_owned()),
            ("Dir::State::lists", folder.join("lists").display().to_string()),
            ("Dir::Cache::pkgcache", String::new()),
            ("Dir::Cache::srcpkgcache", String::new()),
            ("Debug::NoLocking", "1".to_owned()),
            ("APT::Sandbox::User", String::new()),
        ] {
            command.arg("-o").arg(format!("{key}={value}"));
        }
        command
    };
    process::output(apt().args(["-qq", "update"]))?;
    process::output(apt().args(["-qq", "source", "--download-only", package]))?;
    let description = fs_err::read_dir(folder)
        .map_err(|error| error.to_string())?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "dsc"))
        .ok_or("apt downloaded no description")?;
    // apt has compared the digests with its signed index already.
    let unpacked = folder.join("unpacking");
    process::output(Command::new("dpkg-source").args(["--no-check", "-x"]).arg(description).arg(&unpacked))?;
    fs_err::rename(unpacked, done).map_err(|error| error.to_string())
}

/// Writes the machine's own Debian sources again, for source packages.
fn source_lines() -> Result<String, String> {
    let codename = super::codename().ok_or("the machine is not Debian")?;
    let table = process::output(Command::new("apt-get").env("LC_ALL", "C").args([
        "indextargets",
        "--format",
        "$(ORIGIN) $(CODENAME) $(SITE) $(REPO_URI) $(RELEASE) $(SIGNED_BY)",
    ]))?;
    let mut lines: Vec<String> = Vec::new();
    for line in table.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [origin, found, _, uri, release, signed_by @ ..] = words.as_slice() else { continue };
        if *origin != "Debian" || !found.starts_with(&codename) {
            continue;
        }
        let option = signed_by
            .first()
            .filter(|key| key.starts_with(|c: char| c == '/' || c.is_ascii_hexdigit()))
            .map_or(String::new(), |key| format!("[signed-by={key}] "));
        let line = format!("deb-src {option}{uri} {release} main\n");
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    if lines.is_empty() {
        Err("apt has no Debian source (run `apt-get update`)".to_owned())
    } else {
        Ok(lines.concat())
    }
}

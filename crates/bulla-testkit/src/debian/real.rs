//! Real packages, downloaded by apt, the ordinary client, with the machine's own settings, once.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use bulla_model::Digest;

use crate::{cache, process, skipped};

/// Gives the machine's release (`bookworm`); `None` where it is not Debian.
pub fn codename() -> Option<String> {
    let text = fs_err::read_to_string("/etc/os-release").ok()?;
    let name = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))?;
    Some(name.trim_matches('"').to_owned())
}

/// Gives the machine's architecture as Debian calls it (`amd64`).
pub fn machine_architecture() -> Option<String> {
    Some(process::output(Command::new("dpkg").arg("--print-architecture")).ok()?.trim().to_owned())
}

/// Gives the files of real packages: those that are named, all that they need, and the essential ones. `None`, after it
/// was said why, where they cannot be had.
pub fn real_debs(packages: &[&str]) -> Option<Vec<PathBuf>> {
    let folder = cache::folder().join("debs");
    let _lock = cache::lock("debs");
    let key = Digest::of(format!("{} {}", codename()?, packages.join(" "))).short();
    let list = folder.join(format!("{key}.list"));
    if let Some(files) = listed(&folder, &list) {
        return Some(files);
    }
    match download(packages, &folder) {
        Ok(names) => {
            fs_err::write(&list, names.join("\n")).expect("writing the list of packages");
            listed(&folder, &list)
        }
        Err(why) => {
            skipped(&format!("fetching {}", packages.join(" ")), &why);
            None
        }
    }
}

/// Gives the files of real packages of two architectures: of the machine's own as [`real_debs`] does, and of another with all that
/// they need of it; the essential ones of that only where they are wanted. Both are chosen from lists that were fetched together, for copies of a package must have one version. apt is
/// given a state of its own, so that the machine's stays.
pub fn real_debs_of_two(own: &[&str], architecture: &str, foreign: &[&str], essential: bool) -> Option<Vec<PathBuf>> {
    let folder = cache::folder().join("debs");
    let _lock = cache::lock("debs");
    let (own, foreign) = (wanted(own), if essential { wanted(foreign) } else { foreign.to_vec() });
    let key = Digest::of(format!("{} {} {architecture} {}", codename()?, own.join(" "), foreign.join(" "))).short();
    let list = folder.join(format!("{key}.list"));
    if let Some(files) = listed(&folder, &list) {
        return Some(files);
    }
    match download_two(&own, architecture, &foreign, &folder) {
        Ok(names) => {
            fs_err::write(&list, names.join("\n")).expect("writing the list of packages");
            listed(&folder, &list)
        }
        Err(why) => {
            skipped(&format!("fetching {} of {architecture}", foreign.join(" ")), &why);
            None
        }
    }
}

fn download_two(own: &[&str], architecture: &str, foreign: &[&str], folder: &Path) -> Result<Vec<String>, String> {
    fs_err::create_dir_all(folder.join("partial")).expect("the folder of packages");
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let lists = scratch.path().join("lists");
    fs_err::create_dir_all(lists.join("partial")).expect("the folder of lists");
    let sources = debian_sources(scratch.path())?;
    let machine = machine_architecture().ok_or("dpkg does not say which architecture this machine has")?;
    let apt = |first: &str, all: &str, archives: &Path| {
        let mut apt = Command::new("apt-get");
        settings(&mut apt, scratch.path(), archives);
        for (key, value) in [
            ("APT::Architecture", first),
            ("APT::Architectures", all),
            ("Dir::State::lists", &lists.display().to_string()),
            ("Dir::Etc::sourceparts", &sources),
            ("Dir::Etc::sourcelist", "/dev/null"),
        ] {
            apt.arg("-o").arg(format!("{key}={value}"));
        }
        apt
    };
    process::output(apt(&machine, &format!("{machine},{architecture}"), scratch.path()).args(["-qq", "update"]))?;
    let mut names = Vec::new();
    for (architecture, wanted) in [(machine.as_str(), own), (architecture, foreign)] {
        let mut ask = apt(architecture, architecture, scratch.path());
        names.extend(names_in(&process::output(ask.args(["-y", "-qq", "install", "--print-uris"]).args(wanted))?));
        let mut fetch = apt(architecture, architecture, folder);
        process::output(fetch.args(["-y", "-qq", "install", "--download-only"]).args(wanted))?;
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// Copies the machine's sources that are Debian's own: those of others have no such architecture.
fn debian_sources(scratch: &Path) -> Result<String, String> {
    let parts = scratch.join("sources.list.d");
    fs_err::create_dir_all(&parts).map_err(|error| error.to_string())?;
    let all = fs_err::read_dir("/etc/apt/sources.list.d").map_err(|error| error.to_string())?;
    let files = all.filter_map(Result::ok).map(|entry| entry.path()).chain(["/etc/apt/sources.list".into()]);
    for file in files {
        let Some(name) = file.file_name().and_then(|name| name.to_str()) else { continue };
        let text = fs_err::read_to_string(&file).unwrap_or_default();
        if text.contains("debian-archive-keyring") || text.contains(&format!(" {} ", codename().unwrap_or_default())) {
            fs_err::write(parts.join(name), text).map_err(|error| error.to_string())?;
        }
    }
    Ok(parts.display().to_string())
}

/// Reads a list; `None` where it, or a package on it, is not there.
fn listed(folder: &Path, list: &Path) -> Option<Vec<PathBuf>> {
    let text = fs_err::read_to_string(list).ok()?;
    let files: Vec<PathBuf> = text.lines().map(|name| folder.join(name)).collect();
    (!files.is_empty() && files.iter().all(|file| file.is_file())).then_some(files)
}

/// Gives the file names of a closure, in apt's order: what `apt-get install` would fetch onto a machine without packages.
///
/// # Errors
/// With what apt says.
pub fn closure(packages: &[&str]) -> Result<Vec<String>, String> {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let mut apt = apt(scratch.path(), scratch.path());
    let text = process::output(apt.arg("--print-uris").args(wanted(packages)))?;
    Ok(names_in(&text))
}

/// Reads what apt prints of files: `'URL' NAME SIZE HASH`.
fn names_in(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| line.starts_with('\''));
    lines.filter_map(|line| line.split(' ').nth(1)).map(str::to_owned).collect()
}

fn download(packages: &[&str], folder: &Path) -> Result<Vec<String>, String> {
    fs_err::create_dir_all(folder.join("partial")).expect("the folder of packages");
    let names = closure(packages)?;
    let scratch = tempfile::tempdir().expect("a temporary folder");
    process::output(apt(scratch.path(), folder).arg("--download-only").args(wanted(packages)))?;
    Ok(names)
}

fn wanted<'a>(packages: &[&'a str]) -> Vec<&'a str> {
    // A root that apt makes has all essential packages; usr-is-merged or usrmerge is what base-files of a merged /usr wants.
    ["?essential", "usr-is-merged"].into_iter().chain(packages.iter().copied()).collect()
}

/// Makes an apt that knows the machine's sources, and believes that no package is installed.
fn apt(scratch: &Path, archives: &Path) -> Command {
    let mut command = Command::new("apt-get");
    settings(&mut command, scratch, archives);
    command.args(["-y", "-qq", "install"]);
    command
}

fn settings(command: &mut Command, scratch: &Path, archives: &Path) {
    let status = scratch.join("status");
    fs_err::write(&status, "").expect("an empty status");
    // Other archives on the machine may have packages of the same names.
    let preferences = scratch.join("preferences");
    fs_err::write(&preferences, "Package: *\nPin: release o=Debian\nPin-Priority: 990\n").expect("preferences");
    fs_err::create_dir_all(archives.join("partial")).expect("the folder of packages");
    command.env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive");
    for (key, value) in [
        ("Dir::State::status", status.as_path()),
        ("Dir::State::extended_states", &scratch.join("extended_states")),
        ("Dir::Etc::preferences", &preferences),
        ("Dir::Cache::archives", archives),
        ("Dir::Cache::pkgcache", Path::new("")),
        ("Dir::Cache::srcpkgcache", Path::new("")),
    ] {
        command.arg("-o").arg(format!("{key}={}", value.display()));
    }
    let flags =
        ["Debug::NoLocking=1", "APT::Install-Recommends=0", "APT::Sandbox::User=", "APT::Get::AllowUnauthenticated=0"];
    flags.iter().for_each(|flag| {
        command.args(["-o", flag]);
    });
}

/// Unpacks one file of a real package. `None` where the package is not among the files or does not have it.
pub fn file_of(debs: &[PathBuf], package: &str, architecture: &str, path: &str) -> Option<Vec<u8>> {
    let is_wanted = |deb: &&PathBuf| {
        let name = deb.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with(&format!("{package}_")) && name.ends_with(&format!("_{architecture}.deb"))
    };
    let deb = debs.iter().find(is_wanted)?;
    let folder = tempfile::tempdir().expect("a temporary folder");
    // Of the emulators' package one file is a twentieth.
    let script = "dpkg-deb --fsys-tarfile \"$0\" | tar -x -C \"$1\" \"./$2\"";
    process::output(Command::new("sh").args(["-c", script]).arg(deb).arg(folder.path()).arg(path)).ok()?;
    fs_err::read(folder.path().join(path)).ok()
}

/// Gives the control file of a real package.
pub(super) fn control_of(deb: &Path) -> String {
    process::output(Command::new("dpkg-deb").arg("-f").arg(deb)).expect("reading a package's control file")
}

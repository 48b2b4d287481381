//! Real projects of languages, with all that their lock files name, fetched once by the ordinary clients from the registries that they
//! are configured for.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::{cache, process, skipped};

/// A published project, and the files that its client fetched for it.
#[derive(Debug, Clone)]
pub struct RealProject {
    /// Its source, with its lock file.
    pub source: PathBuf,
    /// Where the client keeps what it fetched, as it came.
    pub fetched: PathBuf,
    /// What the client keeps for this project and others, of which it knows everything that this one needs.
    pub home: PathBuf,
}

/// Gives a program written in Go at a version, and a module proxy's tree of all that its `go.sum` names. `None`, after it was said
/// why, where it cannot be had.
pub fn go_project(module: &str, version: &str) -> Option<RealProject> {
    runs("go", "version", module)?;
    let home = cache::folder().join("go");
    let _lock = cache::lock("go");
    // Names without capitals have no escapes.
    let project = RealProject {
        source: home.join(format!("{module}@{version}")),
        fetched: home.join("cache/download"),
        home: home.clone(),
    };
    let complete = home.join(format!("{}-{version}.complete", module.replace('/', "_")));
    if complete.is_file() && project.source.is_dir() {
        return Some(project);
    }
    let go = |folder: &Path, arguments: &[&str]| {
        let mut go = Command::new("go");
        go.args(arguments).current_dir(folder);
        go.env("GOMODCACHE", &home).env("GOFLAGS", "-modcacherw").env("GOTOOLCHAIN", "local");
        process::output(&mut go)
    };
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let fetch = || {
        fs_err::create_dir_all(&home).map_err(|error| error.to_string())?;
        go(scratch.path(), &["mod", "download", &format!("{module}@{version}")])?;
        let copy = scratch.path().join("copy");
        copy_writable(&project.source, &copy)?;
        go(&copy, &["mod", "download", "all"])
    };
    match fetch() {
        Ok(_) => fs_err::write(complete, "").expect("a mark in the cache"),
        Err(why) => {
            skipped(&format!("fetching {module} {version}"), &why);
            return None;
        }
    }
    Some(project)
}

/// Gives a published crate with a `Cargo.lock`, and the crates that this names, as `NAME-VERSION.crate`. `None`, after it was said
/// why, where it cannot be had.
pub fn cargo_project(name: &str, version: &str) -> Option<RealProject> {
    runs("cargo", "--version", name)?;
    let home = cache::folder().join("cargo");
    let _lock = cache::lock("cargo");
    let complete = home.join(format!("{name}-{version}.complete"));
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let fetch = || {
        fs_err::create_dir_all(&home).map_err(|error| error.to_string())?;
        // Which registry is meant, the user's own settings say.
        let own = std::env::var_os("CARGO_HOME").map(PathBuf::from);
        let own = own.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
        if let Ok(config) = fs_err::read(own.unwrap_or_default().join("config.toml")) {
            fs_err::write(home.join("config.toml"), config).map_err(|error| error.to_string())?;
        }
        let manifest = format!(
            "[package]\nname = \"wants\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[lib]\npath = \"lib.rs\"\n\
             [dependencies]\n{name} = \"={version}\"\n"
        );
        fs_err::write(scratch.path().join("Cargo.toml"), manifest).map_err(|error| error.to_string())?;
        fs_err::write(scratch.path().join("lib.rs"), "").map_err(|error| error.to_string())?;
        process::output(cargo(scratch.path(), &home).args(["fetch", "--target", "x86_64-unknown-linux-gnu"]))?;
        let copy = scratch.path().join("copy");
        let source = find(&home.join("registry/src"), &format!("{name}-{version}")).ok_or("cargo did not unpack it")?;
        copy_writable(&source, &copy)?;
        process::output(cargo(&copy, &home).args(["fetch", "--locked"]))
    };
    if !complete.is_file() {
        match fetch() {
            Ok(_) => fs_err::write(&complete, "").expect("a mark in the cache"),
            Err(why) => {
                skipped(&format!("fetching {name} {version}"), &why);
                return None;
            }
        }
    }
    let source = find(&home.join("registry/src"), &format!("{name}-{version}"))?;
    let fetched = find(&home.join("registry/cache"), &format!("{name}-{version}.crate"))?.parent()?.to_owned();
    Some(RealProject { source, fetched, home })
}

/// Says why a client cannot be run: it is missing, or in another user's home.
fn runs(client: &str, argument: &str, what: &str) -> Option<()> {
    let ran = crate::clients().and_then(|()| process::output(Command::new(client).arg(argument)));
    ran.map_err(|why| skipped(&format!("fetching {what}"), &why)).ok().map(|_| ())
}

/// Makes a cargo with a home of its own, and nothing of the one that runs the tests.
pub fn cargo(folder: &Path, home: &Path) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(folder).env("CARGO_HOME", home);
    for name in ["CARGO_TARGET_DIR", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "RUSTC_WRAPPER"] {
        cargo.env_remove(name);
    }
    cargo
}

/// Finds a name one folder below, where the folder's name depends on the registry.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let folders = fs_err::read_dir(folder).ok()?.filter_map(Result::ok);
    folders.map(|entry| entry.path().join(name)).find(|path| path.exists())
}

/// Copies a folder; the copy may be written.
///
/// # Errors
/// With what `cp` says.
pub fn copy_writable(from: &Path, to: &Path) -> Result<(), String> {
    process::output(Command::new("cp").arg("-r").arg(from).arg(to))?;
    process::output(Command::new("chmod").arg("-R").arg("u+w").arg(to)).map(|_| ())
}

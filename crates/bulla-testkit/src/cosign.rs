//! The real cosign, and Sigstore's own verifiers for JavaScript and Python.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::{cache, clients, process, skipped};

/// The version of cosign.
const COSIGN: &str = "v3.1.3";
/// The newest version of Sigstore's verifier that Node 20 runs.
const SIGSTORE: &str = "4.1.1";
/// Sigstore's verifier for Python.
const PYTHON: &str = "sigstore==4.5.1";

/// Gives the program, which `go install` makes when it is not there: that compiles for minutes. `None`, after it was said why, where it cannot be
/// had.
pub fn cosign() -> Option<PathBuf> {
    let make = || {
        clients()?;
        let program = cache::folder().join(format!("cosign-{COSIGN}"));
        let _lock = cache::lock("cosign");
        if !program.is_file() {
            let scratch = tempfile::tempdir_in(cache::folder()).map_err(|error| error.to_string())?;
            let mut go = Command::new("go");
            go.args(["install", &format!("github.com/sigstore/cosign/v3/cmd/cosign@{COSIGN}")]).env("CGO_ENABLED", "0");
            go.env("GOBIN", scratch.path()).env("GOPATH", scratch.path().join("path")).env("GOFLAGS", "-modcacherw");
            process::output(go.env("GOCACHE", scratch.path().join("cache")))?;
            fs_err::rename(scratch.path().join("cosign"), &program).map_err(|error| error.to_string())?;
        }
        Ok(program)
    };
    make().map_err(|why: String| skipped("cosign", &why)).ok()
}

/// Makes a command that runs cosign in a folder, with a home of its own and no passphrase but this.
pub fn command(program: &Path, folder: &Path, passphrase: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env_clear().env("HOME", folder).env("PATH", "/usr/bin:/bin");
    command.env("COSIGN_PASSWORD", passphrase);
    command
}

/// Gives a folder in which Node finds the packages `sigstore` and `@sigstore/verify`. `None`, after it was said why, where they cannot be had.
pub fn node_sigstore() -> Option<PathBuf> {
    let make = || {
        clients()?;
        let folder = cache::folder().join(format!("node-sigstore-{SIGSTORE}"));
        let _lock = cache::lock("node-sigstore");
        if !folder.join("complete").is_file() {
            fs_err::create_dir_all(&folder).map_err(|error| error.to_string())?;
            fs_err::write(folder.join("package.json"), r#"{"name": "holder", "private": true}"#)
                .map_err(|error| error.to_string())?;
            let mut npm = Command::new("npm");
            npm.args(["install", "--ignore-scripts", "--no-audit", "--no-fund", &format!("sigstore@{SIGSTORE}")]);
            process::output(npm.current_dir(&folder))?;
            fs_err::write(folder.join("complete"), "").map_err(|error| error.to_string())?;
        }
        Ok(folder)
    };
    make().map_err(|why: String| skipped("Sigstore's verifier for JavaScript", &why)).ok()
}

/// Gives a Python that has Sigstore's verifier. `None`, after it was said why, where it cannot be had.
pub fn python_sigstore() -> Option<PathBuf> {
    let make = || {
        clients()?;
        let home = cache::folder().join(format!("python-{PYTHON}"));
        let _lock = cache::lock("python-sigstore");
        if !home.join("complete").is_file() {
            process::output(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home))?;
            process::output(Command::new(home.join("bin/pip")).args(["install", "--quiet", PYTHON]))?;
            fs_err::write(home.join("complete"), "").map_err(|error| error.to_string())?;
        }
        Ok(home.join("bin/python"))
    };
    make().map_err(|why: String| skipped("Sigstore's verifier for Python", &why)).ok()
}

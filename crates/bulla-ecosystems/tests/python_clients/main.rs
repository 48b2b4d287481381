//! The real pip and uv, which install what real lock files name from the repository that is made for them, without any other network,
//! and get what they get from their configured registry.
//!
//! Skipped, with what is missing, without python3 with pip and venv, or without a registry at the first run; of uv without uv.

#![expect(clippy::disallowed_methods, reason = "a test runs other programs on the machine that it is on")]

mod cache;
mod server;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use bulla_ecosystems::dependencies::{
    Files, Native,
    pypi::{Pypi, Pythons, Stage},
};
use bulla_model::{CleanPath, Digest};
use bulla_testkit::{process, python::uv as real_uv, skipped};

use self::{
    cache::{Python, Verified},
    server::{Served, Server},
};

/// A variable by which this program knows that it runs without a network, and in which folder.
const INNER: &str = "BULLA_TEST_PYTHON_INNER";
/// Brings the loopback up where nothing else is, and becomes a program.
const LOOPBACK: &str = "import fcntl, os, socket, struct, sys
s = socket.socket()
fcntl.ioctl(s, 0x8914, struct.pack('16sH14x', b'lo', 0x1 | 0x40))
os.execv(sys.argv[1], sys.argv[1:])";

fn locks() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python_clients/locks")
}

/// Files beneath a folder.
struct Folder(PathBuf);

impl Files for Folder {
    fn read(&self, path: &CleanPath, _: u64) -> std::io::Result<Option<Vec<u8>>> {
        match std::fs::read(self.0.join(path.to_string())) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn read(folder: &Path, file: &str, minor: Option<u32>) -> Pypi {
    let stage = Stage { pythons: minor.map_or_else(Pythons::default, Pythons::exactly), ..Stage::default() };
    Pypi::read(&Folder(folder.to_owned()), &CleanPath::parse(file).expect("a path"), &stage).expect("a lock file")
}

/// Runs a test of this program again where there is no network, not even a loopback that anything else is on.
fn without_network(python: &Python, test: &str, folder: &Path) -> Option<Output> {
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "--map-root-user", &python.program, "-c", LOOPBACK]);
    unshare.arg(std::env::current_exe().expect("this program")).args(["--exact", test, "--ignored", "--nocapture"]);
    unshare.env(INNER, folder);
    let probe = Command::new("unshare").args(["--net", "--map-root-user", "true"]).status();
    if !probe.is_ok_and(|status| status.success()) {
        skipped("installing without a network", "unshare (util-linux) cannot make a network namespace here");
        return None;
    }
    Some(unshare.output().expect("unshare runs"))
}

fn passed(output: &Output) {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}

/// What is installed, without what is compiled: names, and digests of the content.
fn tree(folder: &Path) -> BTreeMap<String, String> {
    fn walk(top: &Path, folder: &Path, found: &mut BTreeMap<String, String>) {
        for entry in fs_err::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            let name = path.strip_prefix(top).expect("beneath").display().to_string();
            if path.is_dir() && !path.is_symlink() {
                walk(top, &path, found);
            } else if path.is_file() && !name.ends_with(".pyc") {
                found.insert(name, Digest::of(fs_err::read(&path).expect("a file")).hex());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(folder, folder, &mut found);
    found
}

/// A fresh environment, always at the same path, for scripts name it.
fn environment(python: &Python, work: &Path) -> PathBuf {
    let venv = work.join("venv");
    if venv.exists() {
        fs_err::remove_dir_all(&venv).expect("removing an environment");
    }
    process::output(Command::new(&python.program).args(["-m", "venv"]).arg(&venv)).expect("an environment");
    venv
}

fn installing(venv: &Path, lock: &Path) -> Command {
    let mut pip = Command::new(venv.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--no-compile", "--require-hashes", "--requirement"]).arg(lock);
    pip
}

/// A client in a step: nothing of the caller's environment, a home with settings that must not count, and the variables.
fn in_step(mut command: Command, work: &Path, native: &dyn Native, server: &Server) -> Command {
    let home = work.join("home");
    for (file, text) in [
        (".config/pip/pip.conf", "[global]\nindex-url = http://127.0.0.1:9/base-image/\nno-index = true\n"),
        (".config/uv/uv.toml", "[[index]]\nurl = \"http://127.0.0.1:9/base-image/\"\ndefault = true\n"),
    ] {
        fs_err::create_dir_all(home.join(file).parent().expect("a folder")).expect("a home");
        fs_err::write(home.join(file), text).expect("settings");
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    command
        .env_clear()
        .env("PATH", path)
        .env("HOME", &home)
        .env("LC_ALL", "C.UTF-8")
        .stdin(std::process::Stdio::null());
    // As an image that the stage starts from could have it.
    command
        .env("PIP_EXTRA_INDEX_URL", "http://127.0.0.1:9/base-image/")
        .env("UV_INDEX", "http://127.0.0.1:9/base-image/");
    let client = native.client(&server.base());
    assert!(client.files.is_empty(), "nothing has to be mounted");
    command.envs(client.env);
    command
}

fn inner() -> Option<PathBuf> {
    std::env::var_os(INNER).map(PathBuf::from)
}

fn ready(lock: &str) -> Option<(Python, PathBuf)> {
    let found = Python::find().and_then(|python| {
        let folder = cache::filled(&python, &locks().join(lock))?;
        Ok((python, folder))
    });
    found.map_err(|why| skipped(&format!("installing {lock}"), &why)).ok()
}

#[test]
fn pip_and_uv_install_what_they_install_from_their_registry() {
    let Some((python, files)) = ready("service.txt") else { return };
    let work = tempfile::tempdir().expect("a temporary folder");
    let (work, lock) = (work.path(), locks().join("service.txt"));
    for client in ["pip", "uv"] {
        let Some(uv) = real_uv("uv pip sync") else { return };
        let venv = environment(&python, work);
        // From the registry that is configured; where that does not answer any more, from the files that it gave.
        let ask = |more: &[&str]| {
            let mut command = match client {
                "pip" => installing(&venv, &lock),
                _ => uv_sync(&uv, &venv, &lock),
            };
            process::output(command.args(more))
        };
        if let Err(why) = ask(&[]) {
            skipped("installing from the registry", &why);
            ask(&["--no-index", "--find-links", &files.display().to_string()]).expect("the files are there");
        }
        fs_err::rename(&venv, work.join(format!("{client}-online"))).expect("moving an environment");
    }
    fs_err::write(work.join("files"), files.display().to_string()).expect("a note");
    if let Some(output) = without_network(&python, "inner::service", work) {
        passed(&output);
    }
}

fn uv_sync(uv: &Path, venv: &Path, lock: &Path) -> Command {
    let mut uv = Command::new(uv);
    uv.args(["pip", "sync", "--quiet", "--require-hashes", "--link-mode", "copy", "--python"]);
    uv.arg(venv.join("bin/python")).arg(lock);
    uv
}

#[test]
fn what_is_built_from_source_needs_its_build_requirements_locked_and_pip_is_told_so() {
    let Some((python, source)) = ready("source.txt") else { return };
    let Some((_, build)) = ready("build.txt") else { return };
    let work = tempfile::tempdir().expect("a temporary folder");
    fs_err::write(work.path().join("files"), source.display().to_string()).expect("a note");
    fs_err::write(work.path().join("build"), build.display().to_string()).expect("a note");
    if let Some(output) = without_network(&python, "inner::source", work.path()) {
        passed(&output);
    }
}

#[test]
fn what_uv_locks_is_exported_and_installed() {
    let Some(client) = real_uv("uv export") else { return };
    let python = match Python::find() {
        Ok(python) => python,
        Err(why) => return skipped("uv export", &why),
    };
    let work = tempfile::tempdir().expect("a temporary folder");
    let project = work.path().join("project");
    fs_err::create_dir_all(&project).expect("a folder");
    let text = format!(
        "[project]\nname = \"service\"\nversion = \"0.1\"\nrequires-python = \">=3.{}\"\ndependencies = [\"flask\", \"colorama; sys_platform == 'win32'\"]\n\
         [project.optional-dependencies]\nyaml = [\"pyyaml\"]\n[dependency-groups]\ndev = [\"iniconfig\"]\n",
        python.minor
    );
    fs_err::write(project.join("pyproject.toml"), text).expect("a project");
    let uv = |arguments: &[&str]| {
        process::output(
            Command::new(&client)
                .args(arguments)
                .args(["--quiet", "--python", &python.program, "--project"])
                .arg(&project),
        )
    };
    // The lock file has addresses of the registry, so it is made anew, and nothing of it is in a commit.
    if let Err(why) = uv(&["lock"]) {
        return skipped("uv lock", &why);
    }
    let exported = uv(&["export", "--frozen", "--all-extras", "--no-emit-project", "--no-header"]).expect("an export");
    let pylock =
        uv(&["export", "--frozen", "--all-extras", "--no-emit-project", "--format", "pylock.toml"]).expect("an export");
    fs_err::write(project.join("requirements.txt"), &exported).expect("a file");
    fs_err::write(project.join("pylock.toml"), &pylock).expect("a file");
    let files = match cache::filled(&python, &project.join("requirements.txt")) {
        Ok(files) => files,
        Err(why) => return skipped("uv export", &why),
    };
    fs_err::write(work.path().join("files"), files.display().to_string()).expect("a note");
    if let Some(output) = without_network(&python, "inner::project", work.path()) {
        passed(&output);
    }
}

/// What runs where there is no network.
mod inner {
    use super::*;

    fn noted(work: &Path, name: &str) -> PathBuf {
        PathBuf::from(fs_err::read_to_string(work.join(name)).expect("a note"))
    }

    fn serve(natives: &[(&Pypi, &Path)]) -> Server {
        let repositories = natives.iter().map(|(native, folder)| {
            let bodies = Verified::of(&native.locked().artifacts, folder);
            let repository = native.repository(&bodies, "").expect("a repository");
            (repository, Box::new(bodies) as _)
        });
        Server::start(Served { repositories: repositories.collect() })
    }

    fn same(one: &Path, other: &Path, least: usize) {
        let (one, other) = (tree(one), tree(other));
        assert!(one.len() > least, "{} files", one.len());
        let differs = one.iter().filter(|(name, digest)| other.get(*name) != Some(digest)).map(|(name, _)| name);
        assert_eq!(differs.collect::<Vec<_>>(), Vec::<&String>::new());
        assert_eq!(one.len(), other.len());
    }

    #[test]
    #[ignore = "run by another test, without a network"]
    fn service() {
        let Some(work) = super::inner() else { return };
        let python = Python::find().expect("python");
        let files = noted(&work, "files");
        let lock = locks().join("service.txt");
        let mut native = read(&locks(), "service.txt", None);
        assert!(native.locked().artifacts.len() > 60, "all files of all platforms are pinned");
        cache::answered(&mut native, &files);
        assert_eq!(native.locked().artifacts.len(), 7, "{:?}", native.locked());
        let server = serve(&[(&native, &files)]);
        let venv = environment(&python, &work);
        let mut control = installing(&venv, &lock);
        control.env_remove("PIP_FIND_LINKS").env("PIP_RETRIES", "0").env("PIP_CONFIG_FILE", "/dev/null");
        assert!(
            process::output(&mut control).is_err(),
            "the control: without the repository nothing is to be had here"
        );
        process::output(&mut in_step(installing(&venv, &lock), &work, &native, &server)).expect("pip installs");
        assert_eq!(server.refused(), []);
        same(&work.join("pip-online"), &venv, 200);
        let mut flask = Command::new(venv.join("bin/python"));
        flask.args(["-c", "import flask, markupsafe._speedups; print(flask.Flask('x').name)"]);
        assert_eq!(process::output(&mut flask).expect("it runs"), "x\n");

        // Another version than the locked one is not there, and pip sees which is.
        let mut other = Command::new(venv.join("bin/python"));
        other.args(["-m", "pip", "install", "--upgrade", "flask==3.0.1"]);
        let told = process::output(&mut in_step(other, &work, &native, &server)).expect_err("it is not there");
        assert!(told.contains("from versions: 3.1.3"), "{told}");
        let mut unknown = Command::new(venv.join("bin/python"));
        unknown.args(["-m", "pip", "install", "requests"]);
        process::output(&mut in_step(unknown, &work, &native, &server)).expect_err("it is not there");
        let refused = server.refused();
        let told = native.diagnose(refused.first().expect("a refusal")).expect("a diagnosis");
        assert!(told.contains("requests, which service.txt does not have"), "{told}");

        if work.join("uv-online").exists() {
            let (uv, venv) = (real_uv("uv in a step").expect("it was there"), environment(&python, &work));
            process::output(&mut in_step(uv_sync(&uv, &venv, &lock), &work, &native, &server)).expect("uv installs");
            assert_eq!(server.refused(), []);
            same(&work.join("uv-online"), &venv, 200);
        }
    }

    #[test]
    #[ignore = "run by another test, without a network"]
    fn source() {
        let Some(work) = super::inner() else { return };
        let python = Python::find().expect("python");
        let (files, build) = (noted(&work, "files"), noted(&work, "build"));
        let mut native = read(&locks(), "source.txt", None);
        cache::answered(&mut native, &files);
        assert!(native.locked().artifacts.iter().all(|artifact| artifact.file.ends_with(".tar.gz")));
        let lock = locks().join("source.txt");
        let server = serve(&[(&native, &files)]);
        let venv = environment(&python, &work);
        process::output(&mut in_step(installing(&venv, &lock), &work, &native, &server))
            .expect_err("setuptools is not there");
        let refused = server.refused();
        let told = native.diagnose(refused.first().expect("a refusal")).expect("a diagnosis");
        assert!(told.contains("asked for setuptools") && told.contains("{pypi: build-requirements.txt}"), "{told}");

        let mut second = read(&locks(), "build.txt", None);
        cache::answered(&mut second, &build);
        let server = serve(&[(&native, &files), (&second, &build)]);
        process::output(&mut in_step(installing(&venv, &lock), &work, &native, &server))
            .expect("pip builds and installs");
        assert_eq!(server.refused(), []);
        let mut import = Command::new(venv.join("bin/python"));
        process::output(import.args(["-c", "import markupsafe"])).expect("it is installed");
    }

    #[test]
    #[ignore = "run by another test, without a network"]
    fn project() {
        let Some(work) = super::inner() else { return };
        let python = Python::find().expect("python");
        let (files, project) = (noted(&work, "files"), work.join("project"));
        let native = read(&project, "uv.lock", Some(python.minor));
        let names: Vec<&str> = native.locked().artifacts.iter().map(|artifact| artifact.name.as_str()).collect();
        assert!(names.contains(&"flask") && names.contains(&"pyyaml") && names.contains(&"iniconfig"), "{names:?}");
        assert!(!names.contains(&"colorama"), "what Windows alone needs is not wanted: {names:?}");
        let exported = read(&project, "pylock.toml", Some(python.minor));
        let pins = |native: &Pypi| -> Vec<_> {
            native
                .locked()
                .artifacts
                .iter()
                .map(|artifact| (artifact.file.clone(), artifact.hashes.clone(), artifact.places.clone()))
                .collect()
        };
        assert_eq!(pins(&native), pins(&exported), "pylock.toml names the same");
        let server = serve(&[(&native, &files)]);
        let venv = environment(&python, &work);
        let before = fs_err::read(project.join("uv.lock")).expect("the lock file");
        let client = real_uv("uv in a step").expect("it was there");
        let uv = |arguments: &[&str]| {
            let mut uv = Command::new(&client);
            uv.args(arguments).arg("--project").arg(&project);
            process::output(in_step(uv, &work, &native, &server).env("VIRTUAL_ENV", &venv))
        };
        // What the page of the documentation says: `uv sync` itself wants the addresses of the lock file.
        uv(&["sync", "--frozen", "--no-install-project", "--active"]).expect_err("uv sync has no network");
        assert_eq!(server.refused(), [], "and it does not ask here");
        let requirements =
            uv(&["export", "--frozen", "--all-extras", "--no-emit-project", "--no-header"]).expect("an export");
        let lock = work.join("exported.txt");
        fs_err::write(&lock, requirements).expect("a file");
        // uv is told the registry of a `uv.lock` by its own address, which the proxy of a step answers; what was exported names none.
        let mut native = read(&work, "exported.txt", Some(python.minor));
        cache::answered(&mut native, &files);
        let server = serve(&[(&native, &files)]);
        process::output(&mut in_step(uv_sync(&client, &venv, &lock), &work, &native, &server)).expect("uv installs");
        let mut import = Command::new(venv.join("bin/python"));
        process::output(import.args(["-c", "import flask, yaml, iniconfig"])).expect("it is installed");
        assert_eq!(fs_err::read(project.join("uv.lock")).expect("the lock file"), before, "the lock file is as it was");
        assert_eq!(server.refused(), []);
    }
}

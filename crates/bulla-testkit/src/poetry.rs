//! The real Poetry, fetched by pip once, as a package of Debian; and lock files of it made for a test.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use sha2::{Digest as _, Sha256};

use crate::{
    debian::{Compression, Deb},
    process,
    python::{PythonPackage, debian_python, fetch_real},
    skipped,
};

/// What starts it, from a folder that has it.
const START: &str = "from poetry.console.application import main; sys.exit(main())";

/// Gives a folder that has the real Poetry and what it needs, as `import` wants them, at the versions that a file here pins. `None`, after it
/// was said why, where they cannot be had.
pub fn poetry(test: &str) -> Option<PathBuf> {
    let _lock = crate::cache::lock("python");
    fetch().map_err(|why| skipped(test, &format!("Poetry cannot be had: {why}"))).ok()
}

fn fetch() -> Result<PathBuf, String> {
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/poetry.txt");
    let folder = fetch_real(&[lock])?;
    let unpacked = folder.join("unpacked");
    if unpacked.is_dir() {
        return Ok(unpacked);
    }
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let draft = folder.join("draft");
    for file in fs_err::read_dir(&folder).map_err(|error| said(&error))?.flatten() {
        if file.path().extension() == Some("whl".as_ref()) {
            let wheel = fs_err::File::open(file.path()).map_err(|error| said(&error))?;
            let mut zip = zip::ZipArchive::new(wheel).map_err(|error| said(&error))?;
            zip.extract(&draft).map_err(|error| said(&error))?;
        }
    }
    // Whole or not at all: others look for it without a lock.
    fs_err::rename(&draft, &unpacked).map_err(|error| said(&error))?;
    Ok(unpacked)
}

/// Makes a package of Debian of Poetry, for the Python of [`crate::python::python_deb`]. `None`, after it was said why, where it cannot be had.
pub fn poetry_deb(test: &str) -> Option<Deb> {
    let folder = poetry(test)?;
    let start = format!("#!/usr/bin/python3\nimport sys; sys.path.insert(1, '/usr/lib/poetry'); {START}\n");
    let mut deb = Deb::new("poetry", "1").compression(Compression::None).file("usr/bin/poetry", 0o755, start);
    let mut files = Vec::new();
    walk(&folder, &mut files);
    for file in files {
        let path = file.strip_prefix(&folder).expect("beneath it").to_str().expect("a plain name");
        deb = deb.file(&format!("usr/lib/poetry/{path}"), 0o644, fs_err::read(&file).expect("a file"));
    }
    Some(deb)
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs_err::read_dir(folder).expect("a folder").flatten().collect();
    entries.sort_by_key(fs_err::DirEntry::file_name);
    for entry in entries {
        // Of what it needs for logins nothing is used.
        let left_out = entry.file_name().to_string_lossy().starts_with("cryptography");
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && !left_out => walk(&entry.path(), found),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
}

/// Makes a command that runs Poetry on this machine, with nothing of the caller's settings: it installs into `venv`, which is made.
///
/// # Errors
/// With what is missing.
pub fn command(folder: &Path, home: &Path, venv: &Path) -> Result<Command, String> {
    let (python, _) = debian_python()?;
    process::output(Command::new(&python).args(["-m", "venv", "--without-pip"]).arg(venv))?;
    let mut command = Command::new(python);
    command.args(["-c", &format!("import sys; sys.path.insert(1, {folder:?}); sys.argv[0] = 'poetry'; {START}")]);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", home).env("LC_ALL", "C.UTF-8");
    command.env("VIRTUAL_ENV", venv).env("POETRY_NO_INTERACTION", "1").env("POETRY_KEYRING_ENABLED", "false");
    Ok(command)
}

/// A project of Poetry's that needs these packages: its `pyproject.toml` and its `poetry.lock`. They are of a source where one is named.
pub fn project(packages: &[&PythonPackage], source: Option<&str>) -> (String, String) {
    let mut needs: Vec<(&str, &str)> = packages.iter().map(|one| (one.name.as_str(), one.version.as_str())).collect();
    needs.push(("python", "^3.9"));
    needs.sort_unstable();
    let lines = needs.iter().map(|(name, version)| format!("{name} = \"{version}\"\n")).collect::<String>();
    let table = source
        .map(|url| format!("\n[[tool.poetry.source]]\nname = \"own\"\nurl = \"{url}\"\npriority = \"primary\"\n"));
    let manifest = format!(
        "[tool.poetry]\npackage-mode = false\n\n[tool.poetry.dependencies]\n{lines}{}",
        table.unwrap_or_default()
    );
    // Poetry takes a lock file for outdated that has another hash than that of these parts, as Python writes them.
    let pairs: Vec<String> = needs.iter().map(|(name, version)| format!("\"{name}\": \"{version}\"")).collect();
    let sources = source.map_or("null".to_owned(), |url| {
        format!("[{{\"name\": \"own\", \"priority\": \"primary\", \"url\": \"{url}\"}}]")
    });
    let relevant = format!(
        "{{\"dependencies\": {{{}}}, \"dev-dependencies\": null, \"extras\": null, \"source\": {sources}}}",
        pairs.join(", ")
    );
    let mut lock = String::new();
    for package in packages {
        let files = package.released();
        let files = files
            .iter()
            .map(|(file, bytes)| format!("    {{file = \"{file}\", hash = \"sha256:{}\"}},\n", digits(bytes)));
        let (name, version, files) = (&package.name, &package.version, files.collect::<String>());
        lock.push_str(&format!(
            "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\ndescription = \"\"\noptional = false\npython-versions = \">=3.8\"\ngroups = [\"main\"]\nfiles = [\n{files}]\n\n"
        ));
        if let Some(url) = source {
            lock.push_str(&format!("[package.source]\ntype = \"legacy\"\nurl = \"{url}\"\nreference = \"own\"\n\n"));
        }
    }
    lock.push_str(&format!(
        "[metadata]\nlock-version = \"2.1\"\npython-versions = \"^3.9\"\ncontent-hash = \"{}\"\n",
        digits(relevant.as_bytes())
    ));
    (manifest, lock)
}

/// Writes what a `poetry.lock` pins as a file of requirements, for pip to fetch it.
pub fn required(lock: &str) -> String {
    let mut text = String::new();
    let value =
        |line: &str, key: &str| Some(line.strip_prefix(key)?.strip_prefix(" = \"")?.split('"').next()?.to_owned());
    for entry in lock.split("[[package]]").skip(1) {
        let of = |key: &str| entry.lines().find_map(|line| value(line, key)).expect("it is in every entry");
        let hashes = entry
            .lines()
            .filter(|line| line.trim_start().starts_with('{'))
            .filter_map(|line| line.split("hash = \"").nth(1)?.split('"').next());
        let hashes = hashes.map(|hash| format!(" \\\n    --hash={hash}")).collect::<String>();
        text.push_str(&format!("{}=={}{hashes}\n", of("name"), of("version")));
    }
    text
}

fn digits(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

//! Real packages, downloaded once by pip, the ordinary client, with the settings of whoever runs the tests.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    process::Command,
};

use bulla_ecosystems::dependencies::{Artifact, Bodies, Hash, Native, ReadSeek};
use bulla_testkit::{cache, process};

/// The Python of the machine.
pub(crate) struct Python {
    pub(crate) program: String,
    /// Of version `3.minor`.
    pub(crate) minor: u32,
}

impl Python {
    /// Finds it.
    ///
    /// # Errors
    /// With what is missing.
    pub(crate) fn find() -> Result<Self, String> {
        bulla_testkit::clients()?;
        let script = "import sys, venv, ensurepip; print(sys.executable, sys.version_info.minor)";
        let told = process::output(Command::new("python3").args(["-c", script]))
            .map_err(|why| format!("python3 with pip and venv is missing (python3-pip, python3-venv): {why}"))?;
        process::output(Command::new("python3").args(["-m", "pip", "--version"]))
            .map_err(|why| format!("python3-pip is missing: {why}"))?;
        let (program, minor) = told.trim().rsplit_once(' ').ok_or("python3 does not say what it is")?;
        Ok(Self { program: program.to_owned(), minor: minor.parse().map_err(|_| "python3 has no version")? })
    }
}

/// Gives a folder with the files of a lock that pip downloads here.
///
/// # Errors
/// With what pip says.
pub(crate) fn filled(python: &Python, lock: &Path) -> Result<PathBuf, String> {
    let text = fs_err::read(lock).map_err(|error| error.to_string())?;
    let key = bulla_model::Digest::of(&text).short();
    let folder = cache::folder().join("python").join(format!("{key}-3.{}", python.minor));
    if folder.join("complete").is_file() {
        return Ok(folder);
    }
    fs_err::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let guard = fs_err::File::create(cache::folder().join("python.lock")).map_err(|error| error.to_string())?;
    guard.file().lock().map_err(|error| error.to_string())?;
    let mut pip = Command::new(&python.program);
    pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--requirement"]);
    process::output(pip.arg(lock).arg("--dest").arg(&folder))?;
    fs_err::write(folder.join("complete"), "").map_err(|error| error.to_string())?;
    Ok(folder)
}

/// The files of a folder, with their hashes as a registry tells them.
pub(crate) fn page(folder: &Path, name: &str) -> Vec<u8> {
    let mut page = String::from("<!DOCTYPE html>\n<html><body>\n");
    for entry in fs_err::read_dir(folder).expect("a folder of the cache").flatten() {
        let file = entry.file_name().into_string().expect("a plain name");
        if file.to_ascii_lowercase().replace('_', "-").starts_with(&format!("{name}-")) {
            let bytes = fs_err::read(entry.path()).expect("a file of the cache");
            page += &format!("<a href=\"{file}#sha256={}\">{file}</a>\n", bulla_model::Digest::of(&bytes).hex());
        }
    }
    page.into_bytes()
}

/// Asks all questions of a folder.
pub(crate) fn answered(native: &mut dyn Native, folder: &Path) {
    for question in native.questions() {
        native.answer(&question, Some(&page(folder, &question.name))).expect("an answer");
    }
}

/// The files of artifacts, each verified by its hashes.
pub(crate) struct Verified(Vec<PathBuf>);

impl Verified {
    pub(crate) fn of(artifacts: &[Artifact], folder: &Path) -> Self {
        let files: Vec<PathBuf> = artifacts.iter().map(|artifact| folder.join(&artifact.file)).collect();
        for (artifact, path) in artifacts.iter().zip(&files) {
            let mut file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", artifact.file));
            let good = |hash: &Hash, file: &mut File| hash.matches(file).expect("it is read");
            assert!(artifact.hashes.iter().all(|hash| good(hash, &mut file)), "{}", artifact.file);
            bulla_ecosystems::dependencies::pypi::check(artifact, &mut file)
                .expect("a real file is what it is locked as");
        }
        Self(files)
    }
}

impl Bodies for Verified {
    fn open(&self, artifact: usize) -> io::Result<Box<dyn ReadSeek + '_>> {
        Ok(Box::new(File::open(&self.0[artifact])?))
    }
}

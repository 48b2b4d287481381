//! `bulla init`: a spec to begin with.

use std::{
    collections::BTreeMap,
    io::{ErrorKind, Read, Write},
    path::Path,
};

use bulla_model::spec::{Spec, TELLING_FILES};
use clap::Args;

use crate::{
    error::{CliError, Result},
    ops::project,
    session::Session,
};

const EXAMPLES: &str = "\
Examples:
  bulla init                     for this folder
  bulla init --release bookworm  … from packages of Debian 12
  bulla init --project site      for the folder `site`";

/// Write a bulla.yaml for this folder
///
/// Looks at what is in the folder (package.json, Cargo.toml, go.mod, pom.xml, requirements.txt, poetry.lock, a Makefile, C files, a static site …) and writes a short spec that fits, with comments.
/// A spec that is there is never overwritten.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Options {
    /// The release of Debian [default: this machine's, else trixie]
    #[arg(long, value_name = "CODENAME")]
    release: Option<String>,
}

/// The most entries of the folder that are looked at.
const MAX_ENTRIES: usize = 5000;
/// The most bytes of a telling file.
const MAX_TEXT: u64 = 256 << 10;

/// Runs the command.
pub(crate) fn run(session: &Session, options: &Options) -> Result<()> {
    let path = session.spec_path();
    let folder = fs_err::canonicalize(project::parent(&path)).map_err(CliError::file)?;
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let release = options.release.clone().unwrap_or_else(codename);
    let text = Spec::starter(&name, &release, &files(&folder)?);
    // A codename that is none would make a spec that does not read; it is better said now.
    Spec::parse(&project::shown(&path), &text)
        .map_err(|_| CliError::Option(format!("`{release}` is not a codename of a Debian release")))?;
    write_new(&path, &text)?;
    session.say(&format!("Wrote {}. Look it over, then run `bulla build`.", project::shown(&path)));
    Ok(())
}

fn write_new(path: &Path, text: &str) -> Result<()> {
    let file = fs_err::OpenOptions::new().write(true).create_new(true).open(path);
    match file {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(CliError::Exists(path.to_owned()).into()),
        file => file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(CliError::file),
    }
}

/// Lists the files of the folder, with the text of those that tell how it is built.
fn files(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for entry in fs_err::read_dir(folder).map_err(CliError::file)?.take(MAX_ENTRIES) {
        let entry = entry.map_err(CliError::file)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let kind = entry.file_type().map_err(CliError::file)?;
        if kind.is_dir() && entry.path().join("index.html").is_file() {
            files.insert(format!("{name}/index.html"), String::new());
        }
        if kind.is_file() {
            let telling = TELLING_FILES.contains(&name.as_str());
            let text = if telling { start_of(&entry.path()) } else { String::new() };
            files.insert(name, text);
        }
    }
    Ok(files)
}

/// Reads the start of a file; one that cannot be read tells nothing.
fn start_of(path: &Path) -> String {
    let mut bytes = Vec::new();
    let read = fs_err::File::open(path).and_then(|file| file.take(MAX_TEXT).read_to_end(&mut bytes));
    if read.is_err() {
        return String::new();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Gives the codename of this machine's Debian, else that of the newest stable release whose keys ship with the program.
fn codename() -> String {
    let text = fs_err::read_to_string("/etc/os-release").unwrap_or_default();
    let value = |key: &str| text.lines().find_map(|line| Some(line.strip_prefix(key)?.trim_matches('"').to_owned()));
    let own = value("VERSION_CODENAME=").filter(|_| value("ID=").as_deref() == Some("debian"));
    own.unwrap_or_else(|| "trixie".to_owned())
}

//! Reads a bundle, which may be anyone's.

use std::{
    collections::BTreeMap,
    fs::{DirBuilder, OpenOptions},
    io::{self, Read, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use bulla_ecosystems::{
    archive::{self, Archive, Limits, Rules, Sink, SinkError},
    dependencies::Hash,
};
use bulla_model::{CleanPath, Digest, spec::Packing};
use bulla_store::Store;

use super::{ANSWERS, Answer, BundleError, FORMAT, INPUTS, KEYS, MARKER, Marker, PINS, PROJECT};
use crate::run;

/// The most bytes of what a bundle says of itself.
const MAX_MARKER: u64 = 64 << 10;
/// The most bytes of the file of answers: its hashes are those of lock files.
const MAX_ANSWERS: u64 = 128 << 20;
/// The most bytes of the file of pins.
const MAX_PINS: u64 = 64 << 20;
/// The most bytes of a file of keys.
const MAX_KEYS: u64 = 4 << 20;

/// What came out of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The project's name.
    pub name: String,
    /// The file name of its spec.
    pub spec: String,
    /// How many inputs there were.
    pub inputs: usize,
}

/// Takes the inputs of a bundle into the store, and writes the rest into a folder that does not exist yet: `project/` and
/// `keys/`. The folder is there whole or not at all; `check` may refuse it before.
///
/// # Errors
/// When it is no bundle, has anything that a bundle has not, or cannot be written.
pub fn read<E: From<BundleError>>(
    archive: &mut dyn Archive,
    store: &Store,
    into: Option<&Path>,
    check: impl FnOnce(&Path, &Imported) -> Result<(), E>,
) -> Result<Imported, E> {
    if let Some(into) = into.filter(|into| std::fs::symlink_metadata(into).is_ok()) {
        return Err(BundleError::Exists(into.to_owned()).into());
    }
    let parent = into.and_then(Path::parent).filter(|parent| !parent.as_os_str().is_empty());
    let parent = if into.is_some() { parent.unwrap_or(Path::new(".")) } else { store.root() };
    let scratch = store.scratch("import").map_err(BundleError::from)?;
    let staged = match into {
        Some(_) => tempfile::Builder::new().prefix(".bulla-import-").tempdir_in(parent),
        None => tempfile::tempdir_in(scratch.path()),
    };
    let staged = staged.map_err(BundleError::io("making a folder in", parent))?;
    let mut taken =
        Taken { store, staged: staged.path(), marker: None, inputs: 0, pins: BTreeMap::new(), answers: Vec::new() };
    // It is not compressed, so that nothing unfolds; whatever the file has, it may hold.
    let limits = Limits { bytes: u64::MAX >> 1, ..Limits::default() };
    let rules = Rules { outward_links: true, limits, ..Rules::default() };
    archive::unpack(archive, Packing::Tar, &rules, &mut taken).map_err(BundleError::from)?;
    take_pins(store, &taken.pins)?;
    take_answers(store, std::mem::take(&mut taken.answers))?;
    let marker = taken.marker.ok_or_else(|| BundleError::NotOne("it is empty".to_owned()))?;
    let imported = Imported { name: marker.name, spec: marker.spec, inputs: taken.inputs };
    check(&staged.path().join(PROJECT), &imported)?;
    if let Some(into) = into {
        let place = || -> io::Result<()> {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(staged.path(), std::fs::Permissions::from_mode(0o755))?;
            rustix::fs::renameat_with(
                rustix::fs::CWD,
                staged.path(),
                rustix::fs::CWD,
                into,
                rustix::fs::RenameFlags::NOREPLACE,
            )?;
            Ok(())
        };
        place().map_err(BundleError::io("putting in its place", into))?;
        // What it was is elsewhere now.
        let _ = staged.keep();
    }
    Ok(imported)
}

struct Taken<'a> {
    store: &'a Store,
    staged: &'a Path,
    marker: Option<Marker>,
    inputs: usize,
    pins: BTreeMap<String, Digest>,
    answers: Vec<Answer>,
}

/// Keeps which inputs the hashes of native lock files stand for, once the bytes were seen to be those.
fn take_pins(store: &Store, pins: &BTreeMap<String, Digest>) -> Result<(), BundleError> {
    for (text, digest) in pins {
        let hash: Hash = text.parse().map_err(|error| BundleError::NotOne(format!("its pins: {error}")))?;
        let mut blob = store.open_blob(digest)?.ok_or(BundleError::Missing { digest: *digest })?;
        if !hash.matches(&mut blob).map_err(BundleError::io("reading", digest.to_string()))? {
            return Err(BundleError::NotOne(format!("{digest} has not the hash {hash}, which its pins say")));
        }
        run::keep_pinned(store, &hash, digest)?;
    }
    Ok(())
}

/// Keeps what registries answered. It is of the questions that it says and of nothing else in a store, and whoever reads it holds what it leads to
/// against a lock file.
fn take_answers(store: &Store, answers: Vec<Answer>) -> Result<(), BundleError> {
    for answer in answers {
        let digest = answer.blob;
        if !store.has_blob(&digest)? {
            return Err(BundleError::Missing { digest });
        }
        let wrong = || BundleError::NotOne("it has an answer of an ecosystem that there is not".to_owned());
        run::keep_answered(store, &answer.answered().ok_or_else(wrong)?)?;
    }
    Ok(())
}

/// Where an entry of a bundle belongs.
enum Part {
    Marker,
    Input(Digest),
    Pins,
    Answers,
    Key,
    Project,
}

impl Taken<'_> {
    fn part(&self, path: &CleanPath, directory: bool) -> Result<Part, SinkError> {
        let names: Vec<&[u8]> = path.components().collect();
        let part = match names.as_slice() {
            [name] if *name == MARKER.as_bytes() && self.marker.is_none() => Part::Marker,
            _ if self.marker.is_none() => return Err("a bundle begins with what it is".into()),
            [top, hex] if *top == INPUTS.as_bytes() && !directory => {
                Part::Input(Digest::from_hex(std::str::from_utf8(hex)?)?)
            }
            [name] if *name == PINS.as_bytes() && !directory => Part::Pins,
            [name] if *name == ANSWERS.as_bytes() && !directory => Part::Answers,
            [top, _] if *top == KEYS.as_bytes() && !directory => Part::Key,
            [top, ..] if *top == PROJECT.as_bytes() => Part::Project,
            [top] if directory && (*top == INPUTS.as_bytes() || *top == KEYS.as_bytes()) => Part::Key,
            _ => return Err("no bundle has such an entry".into()),
        };
        Ok(part)
    }

    /// Makes the folders above a path. What lies beneath a link was refused before.
    fn place(&self, path: &CleanPath) -> io::Result<PathBuf> {
        let place = self.staged.join(path);
        if let Some(parent) = place.parent() {
            DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
        }
        Ok(place)
    }

    fn write(&self, path: &CleanPath, mode: u32, content: &mut dyn Read) -> Result<(), SinkError> {
        let place = self.place(path)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(place)?;
        io::copy(content, &mut file)?;
        Ok(())
    }
}

/// Reads a document of JSON.
fn document<T: serde::de::DeserializeOwned>(content: &mut dyn Read, limit: u64) -> Result<T, SinkError> {
    let mut bytes = Vec::new();
    content.take(limit + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > limit {
        true => Err("its pins or answers are longer than they may be".into()),
        false => Ok(serde_json::from_slice(&bytes)?),
    }
}

impl Sink for Taken<'_> {
    fn directory(&mut self, path: &CleanPath) -> Result<(), SinkError> {
        if let Part::Project | Part::Key = self.part(path, true)? {
            DirBuilder::new().recursive(true).mode(0o755).create(self.place(path)?)?;
        }
        Ok(())
    }

    fn file(&mut self, path: &CleanPath, executable: bool, content: &mut dyn Read) -> Result<(), SinkError> {
        match self.part(path, false)? {
            Part::Marker => {
                let mut bytes = Vec::new();
                content.take(MAX_MARKER + 1).read_to_end(&mut bytes)?;
                let marker: Marker = serde_json::from_slice(&bytes)?;
                if marker.format != FORMAT {
                    return Err(
                        format!("its format is {}, and this version of Bulla reads {FORMAT}", marker.format).into()
                    );
                }
                // It becomes the name of a file.
                CleanPath::parse(&marker.spec)
                    .map(|path| path.components().count())
                    .ok()
                    .filter(|count| *count == 1)
                    .ok_or("its spec has no file name")?;
                self.marker = Some(marker);
            }
            Part::Input(digest) => {
                let mut writer = self.store.blob_writer()?;
                let mut chunk = vec![0; 1 << 18];
                loop {
                    match content.read(&mut chunk)? {
                        0 => break,
                        count => writer.write_all(chunk.get(..count).unwrap_or_default())?,
                    }
                }
                writer.finish(Some(&digest))?;
                self.inputs += 1;
            }
            Part::Pins => self.pins = document(content, MAX_PINS)?,
            Part::Answers => self.answers = document(content, MAX_ANSWERS)?,
            Part::Key => self.write(path, 0o644, &mut content.take(MAX_KEYS))?,
            Part::Project => self.write(path, if executable { 0o755 } else { 0o644 }, content)?,
        }
        Ok(())
    }

    fn symlink(&mut self, path: &CleanPath, target: &[u8]) -> Result<(), SinkError> {
        match self.part(path, false)? {
            Part::Project => {
                let target: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(target);
                Ok(std::os::unix::fs::symlink(target, self.place(path)?)?)
            }
            _ => Err("only a project has links".into()),
        }
    }

    fn hardlink(&mut self, _: &CleanPath, _: &CleanPath) -> Result<(), SinkError> {
        Err("no bundle has hard links".into())
    }
}

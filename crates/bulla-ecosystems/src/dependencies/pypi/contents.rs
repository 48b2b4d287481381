//! What is in the files of packages: whose they are, and what a client wants to know before it takes one.

use std::io::{self, Read};

use bulla_model::{CleanPath, spec::Packing};
use zip::{CompressionMethod, ZipArchive};

use super::{
    super::{Artifact, ArtifactError, ReadSeek},
    name::{self, Kind},
};
use crate::archive::{self, ArchiveError, Kind as EntryKind, Limits};

/// The most bytes of the metadata of a package.
const MAX_METADATA: u64 = 16 << 20;
/// The most entries of a file.
const MAX_ENTRIES: u64 = 1 << 20;

/// What is told of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) size: u64,
    /// Its `Requires-Python`.
    pub(super) requires_python: Option<String>,
    /// The `METADATA` of a wheel.
    pub(super) metadata: Option<Vec<u8>>,
}

/// Looks into a file, and checks that it is of the package and version that it is locked as.
///
/// # Errors
/// When it is not, or is damaged.
pub(super) fn inspect(artifact: &Artifact, body: &mut dyn ReadSeek) -> Result<Contents, ArtifactError> {
    let shown = || format!("{} {}: {}", artifact.name, artifact.version, artifact.file);
    let wrong = |what: String| ArtifactError { artifact: shown(), what, source: None };
    let unreadable =
        |source| ArtifactError { artifact: shown(), what: "it cannot be read".to_owned(), source: Some(source) };
    let meaning = name::version(&artifact.version).ok_or_else(|| wrong("its version is none".to_owned()))?;
    let kind = name::file(&artifact.file, &artifact.name, &meaning)
        .ok_or_else(|| wrong("it is not called as a file of that package".to_owned()))?;
    let size = body.seek(io::SeekFrom::End(0)).map_err(unreadable)?;
    body.rewind().map_err(unreadable)?;
    let metadata = match kind {
        Kind::Wheel { .. } => zipped(body, ".dist-info/METADATA"),
        Kind::Source => source(&artifact.file, body),
    };
    let metadata = metadata.map_err(wrong)?;
    let head = Head::read(&metadata).map_err(wrong)?;
    if name::normalised(&head.name).as_deref() != Some(artifact.name.as_str()) {
        return Err(wrong(format!("it is of the package `{}`", cut(&head.name))));
    }
    if name::version(&head.version).as_ref() != Some(&meaning) {
        return Err(wrong(format!("it is of version `{}`", cut(&head.version))));
    }
    let metadata = matches!(kind, Kind::Wheel { .. }).then_some(metadata);
    Ok(Contents { size, requires_python: head.requires_python, metadata })
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

fn source(file: &str, body: &mut dyn ReadSeek) -> Result<Vec<u8>, String> {
    let packing = match file {
        file if file.ends_with(".zip") => return zipped(body, "/PKG-INFO"),
        file if file.ends_with(".tar.bz2") => Packing::TarBz2,
        file if file.ends_with(".tar.xz") => Packing::TarXz,
        file if file.ends_with(".tar") => Packing::Tar,
        _ => Packing::TarGz,
    };
    let mut found = None;
    let (mut entries, limits) = (0, Limits::default());
    let mut body = body;
    archive::read_tar(&mut body, packing, limits, |entry| {
        entries += 1;
        if entries > limits.entries {
            return Err(ArchiveError::TooLarge { limit: limits.entries, unit: "entries" });
        }
        let Ok(Some(path)) = CleanPath::from_archive(&entry.name) else { return Ok(()) };
        if path.name() != b"PKG-INFO" || path.components().count() != 2 {
            return Ok(());
        }
        if entry.kind != EntryKind::File || found.is_some() {
            return Err(ArchiveError::entry(path, "is no file, or comes twice"));
        }
        let mut bytes = Vec::new();
        entry.content.take(MAX_METADATA + 1).read_to_end(&mut bytes).map_err(ArchiveError::read)?;
        if bytes.len() as u64 > MAX_METADATA {
            return Err(ArchiveError::entry(path, "is too large"));
        }
        found = Some(bytes);
        Ok(())
    })
    .map_err(|error| chain(&error))?;
    found.ok_or_else(|| "it has no `PKG-INFO`, as source packages have".to_owned())
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

/// Reads the one entry whose name ends so, with one folder above it or none.
fn zipped(body: &mut dyn ReadSeek, ending: &str) -> Result<Vec<u8>, String> {
    let mut zip =
        ZipArchive::new(io::BufReader::new(body)).map_err(|error| format!("it is no zip archive: {error}"))?;
    if zip.len() as u64 > MAX_ENTRIES {
        return Err(format!("it has more than {MAX_ENTRIES} entries"));
    }
    // No name twice, and each entry as its own head has it: what is read here is what any client reads.
    zip.validate_header_consistency().map_err(|error| format!("its directory is not consistent: {error}"))?;
    let mut found = None;
    for at in 0..zip.len() {
        let name = zip.name_for_index(at).transpose().map_err(|error| error.to_string())?.unwrap_or_default();
        if name.strip_suffix(ending).is_some_and(|folder| !folder.is_empty() && !folder.contains('/'))
            && found.replace(at).is_some()
        {
            return Err(format!("it has more than one `…{ending}`"));
        }
    }
    let at = found.ok_or_else(|| format!("it has no `…{ending}`"))?;
    let entry = zip.by_index(at).map_err(|error| error.to_string())?;
    if !matches!(entry.compression(), CompressionMethod::Stored | CompressionMethod::Deflated) {
        return Err("its metadata are packed in another way than by deflate".to_owned());
    }
    let mut bytes = Vec::new();
    entry
        .take(MAX_METADATA + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("its metadata cannot be read: {error}"))?;
    match bytes.len() as u64 > MAX_METADATA {
        true => Err(format!("its metadata are larger than {} MiB", MAX_METADATA >> 20)),
        false => Ok(bytes),
    }
}

/// The fields of core metadata that are looked at.
struct Head {
    name: String,
    version: String,
    requires_python: Option<String>,
}

impl Head {
    fn read(metadata: &[u8]) -> Result<Self, String> {
        let text = String::from_utf8_lossy(metadata);
        let (mut name, mut version, mut requires_python) = (None, None, None);
        for line in text.lines().take_while(|line| !line.trim_end().is_empty()) {
            let Some((key, value)) = line.split_once(':') else { continue };
            let field = match key.to_ascii_lowercase().as_str() {
                "name" => &mut name,
                "version" => &mut version,
                "requires-python" => &mut requires_python,
                _ => continue,
            };
            if field.replace(value.trim().to_owned()).is_some() {
                return Err(format!("its metadata have `{key}` twice"));
            }
        }
        match (name, version) {
            (Some(name), Some(version)) => Ok(Self { name, version, requires_python }),
            _ => Err("its metadata have no name or version".to_owned()),
        }
    }
}

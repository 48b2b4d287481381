//! Reads a crate, which is a tar archive packed by gzip: its `Cargo.toml`, or all of it into a folder as `cargo vendor` would make it. All of it
//! must be that crate's.

use std::io::Read as _;

use bulla_model::{CleanPath, path::printable, spec::Packing};

use super::super::{Hash, ReadSeek};
use crate::archive::{ArchiveError, Entry, Kind, Limits, Places, Rules, Sink, read_tar};

/// The most bytes of a `Cargo.toml`.
const MAX_MANIFEST: u64 = 4 << 20;
/// What a crate may hold: what cargo itself unpacks.
pub(super) const LIMITS: Limits = Limits { bytes: 4 << 30, entries: 200_000, ratio: 20, unsuspicious: 512 << 20 };

/// What of a crate counts before it is compiled.
pub(super) struct Inside {
    /// The text of its `Cargo.toml`.
    pub(super) manifest: String,
    /// Whether it has a `build.rs`, which is a build script unless the manifest says otherwise.
    pub(super) build_rs: bool,
}

/// What cargo keeps in such a folder itself, sums first: what a crate has of that name is not unpacked.
pub(super) const OWN: [&str; 2] = [".cargo-checksum.json", ".cargo-ok"];

/// Reads the manifest of a crate, and looks at the rest.
pub(super) fn read(body: &mut dyn ReadSeek, name: &str, version: &str) -> Result<Inside, ArchiveError> {
    let script = CleanPath::parse(format!("{name}-{version}/build.rs"))?;
    let mut build_rs = false;
    let manifest = entries(body, name, version, |path, _| {
        build_rs |= *path == script;
        Ok(())
    })?;
    Ok(Inside { manifest, build_rs })
}

/// Unpacks a crate into a folder `NAME-VERSION`, with the sum that cargo wants to see there, and gives its manifest. A sum of single files is
/// not there: who unpacks it has its own.
pub(super) fn unpack(
    body: &mut dyn ReadSeek,
    name: &str,
    version: &str,
    hash: &Hash,
    sink: &mut dyn Sink,
) -> Result<String, ArchiveError> {
    let folder = format!("{name}-{version}");
    let [sums, unpacked] = OWN.map(|file| CleanPath::parse(format!("{folder}/{file}")));
    let (sums, unpacked) = (sums?, unpacked?);
    let own = [&sums, &unpacked];
    let rules = Rules { limits: LIMITS, ..Rules::default() };
    let mut places = Places::new(&rules);
    let manifest = entries(body, name, version, |path, entry| match own.iter().any(|own| path.starts_with(own)) {
        true => Ok(()),
        false => places.take(entry, sink),
    })?;
    places.finish()?;
    let Hash::Sha256(bytes) = hash else { unreachable!("cargo has one kind of checksum") };
    let sum: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = format!("{{\"files\":{{}},\"package\":\"{sum}\"}}");
    sink.file(&sums, false, &mut text.as_bytes())
        .map_err(|source| ArchiveError::Sink { path: sums.to_string(), source })?;
    Ok(manifest)
}

/// Hands on all entries, with clean names, and gives the manifest.
fn entries(
    mut body: &mut dyn ReadSeek,
    name: &str,
    version: &str,
    mut take: impl FnMut(&CleanPath, Entry<'_>) -> Result<(), ArchiveError>,
) -> Result<String, ArchiveError> {
    let folder = CleanPath::parse(format!("{name}-{version}"))?;
    let wanted = folder.join(&CleanPath::parse("Cargo.toml")?)?;
    let mut found: Option<Vec<u8>> = None;
    let mut count = 0;
    read_tar(&mut body, Packing::TarGz, LIMITS, |entry| {
        count += 1;
        if count > LIMITS.entries {
            return Err(ArchiveError::TooLarge { limit: LIMITS.entries, unit: "entries" });
        }
        let Some(path) = CleanPath::from_archive(&entry.name)? else { return Ok(()) };
        if !path.starts_with(&folder) {
            return Err(ArchiveError::entry(
                printable(&entry.name),
                "is not in the crate's own folder: it is another crate",
            ));
        }
        if path != wanted {
            return take(&path, entry);
        }
        if entry.kind != Kind::File || found.is_some() {
            return Err(ArchiveError::entry(path, "is there twice, or is no file"));
        }
        let mut bytes = Vec::new();
        entry.content.take(MAX_MANIFEST + 1).read_to_end(&mut bytes).map_err(ArchiveError::read)?;
        if bytes.len() as u64 > MAX_MANIFEST {
            return Err(ArchiveError::TooLarge { limit: MAX_MANIFEST, unit: "bytes of Cargo.toml" });
        }
        take(&path, Entry { content: &mut bytes.as_slice(), ..entry })?;
        found = Some(bytes);
        Ok(())
    })?;
    let bytes = found.ok_or_else(|| ArchiveError::entry(&wanted, "is not there"))?;
    String::from_utf8(bytes).map_err(|_| ArchiveError::entry(&wanted, "is not UTF-8"))
}

//! Reads the `Cargo.toml` of a crate, which is a tar archive packed by gzip, and checks that all of it is that crate's.

use std::io::Read as _;

use bulla_model::{CleanPath, path::printable, spec::Packing};

use super::super::ReadSeek;
use crate::archive::{ArchiveError, Kind, Limits, read_tar};

/// The most bytes of a `Cargo.toml`.
const MAX_MANIFEST: u64 = 4 << 20;
/// What a crate may hold: what cargo itself unpacks.
const LIMITS: Limits = Limits { bytes: 4 << 30, entries: 200_000, ratio: 20, unsuspicious: 512 << 20 };

/// What of a crate counts before it is compiled.
pub(super) struct Inside {
    /// The text of its `Cargo.toml`.
    pub(super) manifest: String,
    /// Whether it has a `build.rs`, which is a build script unless the manifest says otherwise.
    pub(super) build_rs: bool,
}

/// Reads a crate.
pub(super) fn read(mut body: &mut dyn ReadSeek, name: &str, version: &str) -> Result<Inside, ArchiveError> {
    let folder = CleanPath::parse(format!("{name}-{version}"))?;
    let wanted = folder.join(&CleanPath::parse("Cargo.toml")?)?;
    let script = folder.join(&CleanPath::parse("build.rs")?)?;
    let mut build_rs = false;
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
        build_rs |= path == script;
        if path != wanted {
            return Ok(());
        }
        if entry.kind != Kind::File || found.is_some() {
            return Err(ArchiveError::entry(path, "is there twice, or is no file"));
        }
        let mut bytes = Vec::new();
        entry.content.take(MAX_MANIFEST + 1).read_to_end(&mut bytes).map_err(ArchiveError::read)?;
        if bytes.len() as u64 > MAX_MANIFEST {
            return Err(ArchiveError::TooLarge { limit: MAX_MANIFEST, unit: "bytes of Cargo.toml" });
        }
        found = Some(bytes);
        Ok(())
    })?;
    let bytes = found.ok_or_else(|| ArchiveError::entry(&wanted, "is not there"))?;
    let manifest = String::from_utf8(bytes).map_err(|_| ArchiveError::entry(&wanted, "is not UTF-8"))?;
    Ok(Inside { manifest, build_rs })
}

//! What an archive of npm says of itself, and the document of a registry that is made of that.

use std::collections::BTreeMap;
use std::io::Read as _;

use bulla_model::spec::Packing;
use serde_json::{Map, Value, json};

use super::{lock::MANIFEST_FIELDS, name};
use crate::{
    archive::{self, Archive, ArchiveError, Kind, Limits},
    dependencies::{Artifact, ArtifactError, ReadSeek},
};

/// The most bytes of a `package.json`.
const MAX_MANIFEST: u64 = 4 << 20;
/// What an archive may hold.
const LIMITS: Limits = Limits { bytes: 4 << 30, entries: 1 << 18, ratio: 200, unsuspicious: 64 << 20 };

/// What lies at the top of an archive.
#[derive(Debug, Default)]
struct Top {
    manifest: Option<Vec<u8>>,
    shrinkwrap: bool,
    gyp: bool,
}

/// Reads what an archive says of itself, as a registry would give it.
///
/// # Errors
/// When it is no archive, or one of another package.
pub(super) fn manifest(artifact: &Artifact, body: Box<dyn ReadSeek + '_>) -> Result<Map<String, Value>, ArtifactError> {
    let wrong = |what: String| ArtifactError { artifact: shown(artifact), what, source: None };
    let top = top(body).map_err(|error| {
        let mut what = format!("it is no archive that npm can unpack: {error}");
        if let Some(source) = std::error::Error::source(&error) {
            what = format!("{what}: {source}");
        }
        wrong(what)
    })?;
    let text = top.manifest.ok_or_else(|| wrong("it has no package.json".to_owned()))?;
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
    let mut fields: Map<String, Value> =
        serde_json::from_slice(text).map_err(|error| wrong(format!("its package.json is none: {error}")))?;
    let field =
        |key: &str| fields.get(key).and_then(Value::as_str).unwrap_or_default().chars().take(250).collect::<String>();
    let (name, version) = (field("name"), field("version"));
    if name != artifact.name {
        return Err(wrong(format!("its package.json is of the package `{name}`")));
    }
    if !is_same_version(&version, &artifact.version) {
        return Err(wrong(format!("its package.json is of the version `{version}`")));
    }
    normalise(&mut fields, &artifact.name, top.gyp);
    let mut kept: Map<String, Value> =
        fields.into_iter().filter(|(key, _)| MANIFEST_FIELDS.contains(&key.as_str())).collect();
    if top.shrinkwrap {
        kept.insert("_hasShrinkwrap".to_owned(), true.into());
    }
    Ok(kept)
}

/// Says which artifact is meant.
fn shown(artifact: &Artifact) -> String {
    format!("{} {} ({})", artifact.name, artifact.version, artifact.file)
}

fn top(mut body: Box<dyn ReadSeek + '_>) -> Result<Top, ArchiveError> {
    let mut top = Top::default();
    let archive: &mut dyn Archive = &mut body;
    archive::read_tar(archive, Packing::TarGz, LIMITS, |entry| {
        // As npm unpacks it: without the topmost folder, whatever its name is. Of files with the same name the last stays.
        let Some(slash) = entry.name.iter().position(|byte| *byte == b'/') else { return Ok(()) };
        match (&entry.kind, entry.name.get(slash + 1..).unwrap_or_default()) {
            (Kind::File, b"package.json") => {
                let mut text = Vec::new();
                entry.content.take(MAX_MANIFEST + 1).read_to_end(&mut text).map_err(ArchiveError::read)?;
                if text.len() as u64 > MAX_MANIFEST {
                    return Err(ArchiveError::TooLarge { limit: MAX_MANIFEST, unit: "bytes in its package.json" });
                }
                top.manifest = Some(text);
            }
            (Kind::File, b"npm-shrinkwrap.json") => top.shrinkwrap = true,
            (Kind::File, b"binding.gyp") => top.gyp = true,
            _ => {}
        }
        Ok(())
    })?;
    Ok(top)
}

/// Compares versions as npm cleans them: without `v` or `=` before them, and without what is behind a `+`.
fn is_same_version(found: &str, locked: &str) -> bool {
    let clean = |text: &str| {
        let text = text.trim().trim_start_matches(['v', '=']).trim();
        text.split('+').next().unwrap_or(text).to_owned()
    };
    clean(found) == clean(locked)
}

/// Brings fields into the form that registries give them.
fn normalise(fields: &mut Map<String, Value>, package: &str, gyp: bool) {
    if let Some(Value::String(path)) = fields.get("bin") {
        let bin = json!({ name::base(package): path });
        fields.insert("bin".to_owned(), bin);
    }
    if let Some(bundled) = fields.remove("bundledDependencies") {
        fields.entry("bundleDependencies").or_insert(bundled);
    }
    let script = |key: &str| fields.get("scripts").and_then(|scripts| scripts.get(key)).is_some();
    let runs = ["preinstall", "install", "postinstall"].into_iter().any(script) || gyp;
    fields.remove("hasInstallScript");
    if runs {
        fields.insert("hasInstallScript".to_owned(), true.into());
    }
}

/// One version of a package in a registry's document.
pub(super) struct Release {
    pub(super) version: String,
    pub(super) fields: Map<String, Value>,
    /// What its bytes are, where that is known.
    pub(super) integrity: Option<String>,
}

/// Makes a registry's document of a package: the locked versions, and no other.
pub(super) fn document(base: &str, name: &str, releases: Vec<Release>) -> Vec<u8> {
    let latest = releases.iter().filter_map(|release| semver::Version::parse(&release.version).ok()).max();
    let versions: BTreeMap<String, Value> = releases
        .into_iter()
        .map(|release| {
            let Release { version, mut fields, integrity } = release;
            let mut dist = Map::new();
            dist.insert("tarball".to_owned(), format!("{base}/npm/{}", name::archive_path(name, &version)).into());
            dist.extend(integrity.map(|integrity| ("integrity".to_owned(), integrity.into())));
            fields.insert("name".to_owned(), name.into());
            fields.insert("version".to_owned(), version.clone().into());
            fields.insert("dist".to_owned(), dist.into());
            (version, Value::Object(fields))
        })
        .collect();
    of_versions(name, latest, versions.into_iter().collect())
}

fn of_versions(name: &str, latest: Option<semver::Version>, versions: Map<String, Value>) -> Vec<u8> {
    let tags: BTreeMap<&str, String> = latest.iter().map(|version| ("latest", version.to_string())).collect();
    json!({ "name": name, "dist-tags": tags, "versions": versions }).to_string().into_bytes()
}

/// Makes one document of two lock files' of the same package. `None` where they have a version with different bytes.
pub(in crate::dependencies) fn joined(one: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    let (mut one, mut other): (Value, Value) = (serde_json::from_slice(one).ok()?, serde_json::from_slice(other).ok()?);
    let name = one["name"].as_str()?.to_owned();
    let (versions, more) = (one["versions"].as_object_mut()?, other["versions"].as_object_mut()?);
    for (version, release) in std::mem::take(more) {
        match versions.get(&version) {
            None => drop(versions.insert(version, release)),
            Some(known) if known["dist"] != release["dist"] => return None,
            // What another platform needs, one of them knows by its lock file alone, which says less.
            Some(_) => {}
        }
    }
    let latest = versions.keys().filter_map(|version| semver::Version::parse(version).ok()).max();
    Some(of_versions(&name, latest, std::mem::take(versions)))
}

//! Reads a list that somebody states, of whichever maker: what it says of packages and files, as far as it can be held against an image.

use std::collections::{BTreeMap, BTreeSet};

use bulla_model::{path::printable, purl::Purl};
use serde_json::Value;

use super::Name;
use crate::sbom::compose;

/// The algorithms by which files of an image are known, in the words of SPDX 2.3, SPDX 3.0 and CycloneDX.
const ALGORITHMS: [(&str, Sum); 5] = [
    ("SHA256", Sum::Sha256),
    ("sha256", Sum::Sha256),
    ("SHA-256", Sum::Sha256),
    ("SHA1", Sum::Sha1),
    ("sha1", Sum::Sha1),
];
/// How deep components of CycloneDX may lie in each other.
const MAX_DEPTH: usize = 16;

/// By which digest a file is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sum {
    Sha256,
    Sha1,
}

/// What a list says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stated {
    /// The versions of each package, which are empty where the list has none; with whether it may be there, and need not: what a step could read,
    /// what a lock pins.
    pub(super) packages: BTreeMap<Name, BTreeMap<String, bool>>,
    /// The digests of each file, by its path.
    pub(super) files: BTreeMap<String, BTreeSet<(Sum, String)>>,
    /// Whether it is one of Bulla's, which has what its own readers find.
    pub(super) own: bool,
    /// Whether it has every regular file of the image.
    pub(super) all_files: bool,
    /// How many files it says to have no owner; `None` where it says nothing of that.
    pub(super) unowned: Option<u64>,
}

/// Says why nothing can be held against an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is neither SPDX 2 or 3 nor CycloneDX as JSON")]
pub struct NoList;

impl Stated {
    /// Reads a list: the predicate of a statement.
    ///
    /// # Errors
    /// When it has none of the forms that are known.
    pub fn read(predicate: &Value) -> Result<Self, NoList> {
        if predicate["bomFormat"] == "CycloneDX" {
            return Ok(Self::cyclonedx(predicate));
        }
        if predicate["spdxVersion"].as_str().is_some_and(|version| version.starts_with("SPDX-2.")) {
            return Ok(Self::spdx2(predicate));
        }
        predicate["@graph"].as_array().map(|graph| Self::spdx3(graph)).ok_or(NoList)
    }

    /// Says how many files have no owner, where the list says it.
    pub fn unowned(&self) -> Option<u64> {
        self.unowned
    }

    /// SPDX 2.3, clauses 7 and 8.
    fn spdx2(document: &Value) -> Self {
        let mut creators = list(&document["creationInfo"]["creators"]).filter_map(Value::as_str);
        let own = creators.any(|one| is_own(one, "Tool: "));
        let mut stated = Self { own, all_files: own, ..Self::default() };
        for package in list(&document["packages"]) {
            let is_possible = package["sourceInfo"].as_str().is_some_and(is_possible);
            let references = list(&package["externalRefs"]).filter(|one| one["referenceType"] == "purl");
            references.for_each(|one| stated.package(&one["referenceLocator"], is_possible));
        }
        for file in list(&document["files"]) {
            stated.file(&file["fileName"], &file["checksums"], ["algorithm", "checksumValue"]);
        }
        stated.unowned = own.then(|| unowned(list(&document["files"])));
        stated
    }

    /// SPDX 3.0.1, the classes `/Software/Package` and `/Software/File`.
    fn spdx3(graph: &[Value]) -> Self {
        let of = |kind: &'static str| graph.iter().filter(move |one| one["type"] == kind);
        let own = of("Tool").filter_map(|tool| tool["name"].as_str()).any(|name| is_own(name, ""));
        let mut stated = Self { own, all_files: own, ..Self::default() };
        for package in of("software_Package") {
            let is_possible = package["comment"].as_str().is_some_and(is_possible);
            stated.package(&package["software_packageUrl"], is_possible);
            for reference in
                list(&package["externalIdentifier"]).filter(|one| one["externalIdentifierType"] == "packageUrl")
            {
                stated.package(&reference["identifier"], is_possible);
            }
        }
        for file in of("software_File") {
            stated.file(&file["name"], &file["verifiedUsing"], ["algorithm", "hashValue"]);
        }
        stated.unowned = own.then(|| unowned(of("software_File")));
        stated
    }

    /// CycloneDX 1.4 to 1.7: `components`, at any depth.
    fn cyclonedx(document: &Value) -> Self {
        let tools = &document["metadata"]["tools"];
        let own = list(&tools["components"]).any(|tool| tool["name"] == "bulla");
        let mut stated = Self { own, ..Self::default() };
        let mut left: Vec<(&Value, usize)> = list(&document["components"]).map(|one| (one, 0)).collect();
        while let Some((component, depth)) = left.pop() {
            if component["type"] == "file" {
                // A name that is no path says nothing of where it is.
                let is_path = component["name"].as_str().is_some_and(|name| name.starts_with('/'));
                let name = if is_path { &component["name"] } else { &Value::Null };
                stated.file(name, &component["hashes"], ["alg", "content"]);
            } else {
                let found_by = list(&component["properties"]).find(|one| one["name"] == "bulla:found-by");
                let found_by = found_by.and_then(|one| one["value"].as_str());
                let scope = component["scope"].as_str().is_some_and(|scope| scope != "required");
                stated.package(&component["purl"], scope || found_by.is_some_and(|by| compose::UNSEEN.contains(&by)));
            }
            if depth < MAX_DEPTH {
                left.extend(list(&component["components"]).map(|one| (one, depth + 1)));
            }
        }
        let unowned = list(&document["metadata"]["properties"]).find(|one| one["name"] == "bulla:unowned");
        stated.unowned = unowned.filter(|_| own).and_then(|one| one["value"].as_str()?.parse().ok());
        stated
    }

    fn package(&mut self, purl: &Value, is_possible: bool) {
        let Some(purl) = purl.as_str().and_then(|text| text.parse::<Purl>().ok()) else { return };
        let Some((name, version)) = Name::of(&purl) else { return };
        let versions = self.packages.entry(name).or_default();
        versions.entry(version).and_modify(|known| *known &= is_possible).or_insert(is_possible);
    }

    fn file(&mut self, path: &Value, sums: &Value, [algorithm, value]: [&str; 2]) {
        let Some(path) = path.as_str() else { return };
        let path = path.strip_prefix('.').filter(|rest| rest.starts_with('/')).unwrap_or(path).trim_start_matches('/');
        let sums = list(sums).filter_map(|sum| {
            let (_, kind) = ALGORITHMS.iter().find(|(name, _)| sum[algorithm] == *name)?;
            let hex = sum[value].as_str()?.to_ascii_lowercase();
            // Some makers write zeros where they did not look.
            hex.bytes().any(|byte| byte != b'0').then_some((*kind, hex))
        });
        let sums: BTreeSet<_> = sums.collect();
        if !sums.is_empty() {
            // Bulla's own lists have paths made printable, and others have them as they are.
            let path = if self.own { path.to_owned() } else { printable(path.as_bytes()) };
            self.files.entry(path).or_default().extend(sums);
        }
    }
}

/// Says whether a list of Bulla says of a package that no file of the image tells of it.
fn is_possible(told: &str) -> bool {
    let by = told.strip_prefix(compose::KNOWN_BY).and_then(|rest| rest.split(';').next());
    by.is_some_and(|by| compose::UNSEEN.contains(&by))
}

fn is_own(tool: &str, before: &str) -> bool {
    tool.strip_prefix(before).is_some_and(|name| name.starts_with("bulla-"))
}

/// Counts the files that a list of Bulla says to have no owner.
fn unowned<'a>(files: impl Iterator<Item = &'a Value>) -> u64 {
    files.filter(|file| file["comment"] == compose::NOBODY).count() as u64
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

//! Holds a list that somebody states against what the image itself shows.
//!
//! A list is believed for who signed it; this looks whether it can be true. What an image shows is what its package databases, metadata and programs tell
//! of, and its files. A package that nothing in an image tells of cannot be seen, and is no contradiction unless the list says where it was found.

mod stated;

use std::collections::{BTreeMap, BTreeSet};

use bulla_model::purl::Purl;

use self::stated::Sum;
pub use self::stated::{NoList, Stated};
use super::{Bom, Content};
use crate::{image::shown, inventory::GUESSED};

/// Kinds of packages whose database is all that there is: what it does not have is not there.
const DATABASES: [&str; 2] = ["deb", "apk"];
/// Kinds of packages that an image is searched for.
const READ: [&str; 10] = ["deb", "apk", "pypi", "npm", "golang", "cargo", "maven", "gem", "composer", "nuget"];
/// The most of what differs that is named.
const MAX_NAMED: usize = 3;

/// What a package is called, so that all makers of lists mean the same by it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    kind: String,
    name: String,
}

/// What differs between a list and the image, and how much was compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// How many packages of the image were looked for.
    pub packages: usize,
    /// How many files of the list were looked for.
    pub files: usize,
    /// How many packages of the list nothing in the image tells of, which the list does not say to be seen there.
    pub unseen: usize,
    /// The distribution that the image says it is, where nothing in it tells of packages of that: they may have been hidden.
    pub without_database: Option<String>,
    /// What differs, by what it is. No kind is there without one.
    differences: BTreeMap<Kind, Few>,
}

/// How something differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    PackageLacking,
    PackageVersion,
    PackageNotThere,
    FileLacking,
    FileOther,
    FileNotThere,
}

/// The first of many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Few {
    count: usize,
    first: Vec<String>,
}

impl Kind {
    const fn words(self) -> &'static str {
        match self {
            Self::PackageLacking => "packages of the image that the list lacks",
            Self::PackageVersion => "packages in another version than the list has",
            Self::PackageNotThere => "packages of the list that the image has not",
            Self::FileLacking => "files of the image that the list lacks",
            Self::FileOther => "files that are not what the list says",
            Self::FileNotThere => "files of the list that the image has not",
        }
    }
}

impl Name {
    /// Gives the name and version of a package; `None` for kinds that an image is not searched for.
    fn of(purl: &Purl) -> Option<(Self, String)> {
        if !READ.contains(&purl.kind.as_str()) {
            return None;
        }
        let name = purl.full_name();
        let name = match purl.kind.as_str() {
            // PEP 503, "Normalized Names".
            "pypi" => name.to_ascii_lowercase().replace(['_', '.'], "-"),
            "composer" | "nuget" => name.to_ascii_lowercase(),
            // Syft has what comes after three parts of a module's path as a path within it.
            "golang" => [&[name][..], &purl.subpath[..]].concat().join("/").to_ascii_lowercase(),
            _ => name,
        };
        let version = purl.version.clone().unwrap_or_default();
        let version = match (purl.kind.as_str(), purl.qualifiers.get("epoch")) {
            ("golang", _) => version.strip_prefix('v').map(str::to_owned).unwrap_or(version),
            ("deb", Some(epoch)) if epoch != "0" && !version.contains(':') => format!("{epoch}:{version}"),
            _ => version,
        };
        Some((Self { kind: purl.kind.clone(), name }, version))
    }
}

impl Held {
    /// Holds a list against what an image shows: what [`fn@super::compose`] finds in its layers, without what a build knows of it.
    pub fn of(stated: &Stated, image: &Bom) -> Self {
        let mut held = Self { without_database: without_database(image), ..Self::default() };
        held.hold_packages(stated, image);
        held.hold_files(stated, image);
        held
    }

    /// Says whether nothing differs.
    pub fn is_consistent(&self) -> bool {
        self.differences.is_empty()
    }

    fn hold_packages(&mut self, stated: &Stated, image: &Bom) {
        let mut seen = BTreeMap::<Name, BTreeSet<String>>::new();
        let mut certain = BTreeSet::new();
        for component in &image.components {
            let Some((name, version)) = component.purl.as_ref().and_then(Name::of) else { continue };
            // Bulla's own lists have the same guess.
            if stated.own || !component.facts.contains_key(GUESSED) {
                certain.insert(name.clone());
            }
            seen.entry(name).or_default().insert(version);
        }
        self.packages =
            seen.iter().filter(|(name, _)| certain.contains(name)).map(|(_, versions)| versions.len()).sum();
        let none = BTreeMap::new();
        for (name, versions) in seen.iter().filter(|(name, _)| certain.contains(name)) {
            let listed = stated.packages.get(name).unwrap_or(&none);
            // What says no version of itself is found by its name.
            let lacking: Vec<&String> = versions
                .iter()
                .filter(|version| !listed.contains_key(*version) && (!version.is_empty() || listed.is_empty()))
                .collect();
            let others: Vec<&str> =
                listed.keys().filter(|version| !versions.contains(*version)).map(String::as_str).collect();
            for version in lacking {
                let (kind, text) = match others.as_slice() {
                    [] => (Kind::PackageLacking, format!("{} {version}", name.name)),
                    others => (Kind::PackageVersion, format!("{} {version}, and not {}", name.name, others.join(", "))),
                };
                self.note(kind, &text);
            }
        }
        let nothing = BTreeSet::new();
        for (name, versions) in &stated.packages {
            let there = seen.get(name).unwrap_or(&nothing);
            for (version, possible) in versions {
                // Another version is told of above.
                let known = there.contains(version) || there.contains("") || (!there.is_empty() && version.is_empty());
                let other = there.iter().any(|version| !versions.contains_key(version));
                match known || other {
                    true => {}
                    false if !possible && (stated.own || DATABASES.contains(&name.kind.as_str())) => {
                        self.note(Kind::PackageNotThere, &format!("{} {version}", name.name));
                    }
                    false => self.unseen += 1,
                }
            }
        }
    }

    fn hold_files(&mut self, stated: &Stated, image: &Bom) {
        let mut there = BTreeMap::new();
        for file in &image.files {
            if let Content::Bytes { sha256, sha1, .. } = &file.content {
                there.insert(file.path.as_str(), (sha256.hex(), sha1.as_str()));
            }
        }
        self.files = stated.files.len();
        for (path, sums) in &stated.files {
            let Some((sha256, sha1)) = there.get(path.as_str()) else {
                self.note(Kind::FileNotThere, &format!("/{path}"));
                continue;
            };
            let is_it = |(sum, hex): &(Sum, String)| match sum {
                Sum::Sha256 => hex == sha256,
                Sum::Sha1 => hex == sha1,
            };
            if !sums.iter().all(is_it) {
                self.note(Kind::FileOther, &format!("/{path}"));
            }
        }
        if stated.all_files {
            let lacking = there.keys().filter(|path| !stated.files.contains_key(**path));
            lacking.for_each(|path| self.note(Kind::FileLacking, &format!("/{path}")));
        }
    }

    fn note(&mut self, kind: Kind, text: &str) {
        let few = self.differences.entry(kind).or_default();
        few.count += 1;
        if few.first.len() < MAX_NAMED {
            few.first.push(shown(text));
        }
    }

    /// Says what was found, a sentence.
    pub fn told(&self) -> String {
        if self.is_consistent() {
            let mut told = format!("it has the {} packages that the image shows", self.packages);
            if self.files > 0 {
                told.push_str(&format!(", and {} files with their digests", self.files));
            }
            if self.unseen > 0 {
                told.push_str(&format!("; of {} further packages the image tells nothing", self.unseen));
            }
            return told;
        }
        let parts = self.differences.iter().map(|(kind, few)| {
            let more = if few.count > few.first.len() { ", …" } else { "" };
            format!("{} {} ({}{more})", few.count, kind.words(), few.first.join(", "))
        });
        parts.collect::<Vec<_>>().join("; ")
    }
}

/// Gives the distribution that an image says it is, where it has no package of its.
fn without_database(image: &Bom) -> Option<String> {
    let kinds = image.components.iter().filter_map(|one| Some(one.purl.as_ref()?.kind.as_str()));
    let kinds: BTreeSet<&str> = kinds.collect();
    let systems = image.components.iter().filter(|one| one.kind == super::Kind::System);
    let hidden = |name: &str| match name {
        "debian" | "ubuntu" => !kinds.contains("deb"),
        "alpine" => !kinds.contains("apk"),
        _ => false,
    };
    systems.map(|one| shown(&one.name)).find(|name| hidden(name))
}

#[cfg(test)]
mod tests;

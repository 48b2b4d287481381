//! Java archives: what Maven notes in them, what their manifests say, and the archives within (JAR File Specification; Maven's
//! `META-INF/maven/GROUP/ARTIFACT/pom.properties`).

use std::{
    collections::BTreeMap,
    io::{Cursor, Read},
};

use bulla_model::{CleanPath, purl::Purl};

use super::{Found, GUESSED, MAX_PACKAGES, Owns, Says, Unread, field, fields, word};
use crate::{licence::Licence, sbom::Party};

/// The kinds of archives, by the ends of their names.
const ENDS: [&str; 6] = [".jar", ".war", ".ear", ".jpi", ".hpi", ".par"];
/// How deep archives may lie in each other.
const MAX_DEPTH: usize = 4;
/// The most entries of one archive.
const MAX_ENTRIES: usize = 200_000;
/// The most bytes of a document in an archive.
const MAX_DOCUMENT: u64 = 4 << 20;
/// The most bytes that all inner archives of one archive unfold to.
const MAX_INNER: u64 = 1 << 30;

pub(super) fn is(path: &[u8]) -> bool {
    ENDS.iter().any(|end| path.len() > end.len() && path.to_ascii_lowercase().ends_with(end.as_bytes()))
}

pub(super) fn read(path: &CleanPath, bytes: &[u8]) -> Result<Vec<Says>, Unread> {
    let mut looked = Looked { found: Vec::new(), left: MAX_INNER, cut: None };
    let name = String::from_utf8_lossy(path.name()).into_owned();
    looked.archive(&name, bytes, 0)?;
    let mut says = vec![Says::Packages(looked.found)];
    says.extend(looked.cut.map(Says::Unread));
    Ok(says)
}

struct Looked {
    found: Vec<Found>,
    left: u64,
    cut: Option<String>,
}

impl Looked {
    fn archive(&mut self, name: &str, bytes: &[u8], depth: usize) -> Result<(), Unread> {
        let mut archive =
            zip::ZipArchive::new(Cursor::new(bytes)).map_err(|error| Unread::new(format!("{name}: {error}")))?;
        if archive.len() > MAX_ENTRIES {
            return Err(Unread::new(format!("{name} has more than {MAX_ENTRIES} entries")));
        }
        let (mut own, mut manifest) = (Vec::new(), None);
        for at in 0..archive.len() {
            let entry = archive.by_index(at).and_then(|entry| Ok((entry.name()?.into_owned(), entry)));
            let Ok((inner, mut entry)) = entry else {
                self.cut.get_or_insert_with(|| format!("{name} has entries that cannot be read"));
                continue;
            };
            if inner == "META-INF/MANIFEST.MF" {
                manifest = document(&mut entry);
            } else if inner.starts_with("META-INF/maven/") && inner.ends_with("/pom.properties") {
                own.extend(document(&mut entry).as_deref().and_then(properties));
            } else if is(inner.as_bytes()) {
                let inner = format!("{name}!{inner}");
                self.inner(&inner, &mut entry, depth);
            }
        }
        let manifest = manifest.map(|text| unfolded(&text)).unwrap_or_default();
        if own.is_empty() {
            own.extend(of_manifest(name, &manifest));
        }
        for mut found in own {
            if found.supplier.is_none() {
                found.supplier = ["implementation-vendor", "bundle-vendor"]
                    .iter()
                    .find_map(|key| Party::read(field(&manifest, key)?));
            }
            if found.licence.is_unknown() {
                found.licence = field(&manifest, "bundle-license")
                    .and_then(word)
                    .filter(|text| !text.contains("://"))
                    .map(Licence::read)
                    .unwrap_or_default();
            }
            if name.contains('!') {
                found.facts.insert("archive".to_owned(), name.to_owned());
            }
            if self.found.len() < MAX_PACKAGES {
                self.found.push(found);
            }
        }
        Ok(())
    }

    fn inner(&mut self, name: &str, entry: &mut impl Read, depth: usize) {
        if depth + 1 >= MAX_DEPTH {
            self.cut.get_or_insert_with(|| format!("{name} lies too deep"));
            return;
        }
        let mut bytes = Vec::new();
        let read = entry.take(self.left + 1).read_to_end(&mut bytes);
        let Some(left) = self.left.checked_sub(bytes.len() as u64).filter(|_| read.is_ok()) else {
            self.left = 0;
            self.cut.get_or_insert_with(|| format!("{name} cannot be read, or unfolds to too much"));
            return;
        };
        self.left = left;
        if let Err(why) = self.archive(name, &bytes, depth + 1) {
            self.cut.get_or_insert(why.0);
        }
    }
}

fn document(entry: &mut impl Read) -> Option<String> {
    let mut bytes = Vec::new();
    entry.take(MAX_DOCUMENT).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads `groupId`, `artifactId` and `version` (java.util.Properties, as Maven writes it).
fn properties(text: &str) -> Option<Found> {
    let pairs: BTreeMap<&str, &str> = text
        .lines()
        .filter(|line| !line.starts_with(['#', '!']))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim(), value.trim()))
        .collect();
    let get = |key: &str| pairs.get(key).copied().and_then(word);
    Some(artifact(get("groupId")?, get("artifactId")?, get("version")?))
}

fn artifact(group: &str, name: &str, version: &str) -> Found {
    Found::new(Purl::new("maven", name, Some(version)).within(group), Owns::Inside)
}

/// Joins the lines of a manifest that were cut at 72 bytes.
fn unfolded(text: &str) -> Vec<(String, String)> {
    fields(&text.replace("\r\n", "\n").replace("\n ", ""))
}

/// Names an archive without Maven's notes by its manifest, or else by its own name `NAME-VERSION.jar`.
fn of_manifest(name: &str, manifest: &[(String, String)]) -> Option<Found> {
    let file = name.rsplit(['!', '/']).next()?;
    let stem = file.rsplit_once('.')?.0;
    let at =
        stem.match_indices('-').map(|(at, _)| at).find(|at| stem[at + 1..].starts_with(|c: char| c.is_ascii_digit()));
    let (base, of_name) = at.map_or((stem, None), |at| (&stem[..at], stem.get(at + 1..)));
    let get = |keys: &[&str]| keys.iter().find_map(|key| field(manifest, key).and_then(word));
    let version = of_name.or_else(|| get(&["implementation-version", "bundle-version", "specification-version"]))?;
    let bundle = get(&["bundle-symbolicname", "automatic-module-name"]).and_then(|name| name.split(';').next());
    let group = get(&["implementation-vendor-id"])
        .or_else(|| bundle.and_then(|name| name.strip_suffix(base)).map(|group| group.trim_end_matches('.')));
    let group = group.filter(|group| !group.is_empty() && !group.contains(char::is_whitespace));
    let mut found = artifact(group.unwrap_or(base), word(base)?, word(version)?);
    found.facts.insert(GUESSED.to_owned(), "by its manifest and file, since it has no notes of Maven".to_owned());
    Some(found)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn jar(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in entries {
            writer.start_file(*name, zip::write::SimpleFileOptions::default()).expect("an entry");
            writer.write_all(bytes).expect("bytes");
        }
        writer.finish().expect("an archive").into_inner()
    }

    fn look(name: &str, bytes: &[u8]) -> (Vec<String>, Option<String>) {
        let says = read(&name.parse().expect("clean"), bytes).expect("an archive");
        let (mut purls, mut cut) = (Vec::new(), None);
        for one in says {
            match one {
                Says::Packages(found) => purls = found.iter().map(|found| found.purl.to_string()).collect(),
                Says::Unread(why) => cut = Some(why),
                _ => {}
            }
        }
        (purls, cut)
    }

    #[test]
    fn notes_manifests_and_names_are_read_in_that_order_also_within() {
        let named = jar(&[(
            "META-INF/MANIFEST.MF",
            b"Manifest-Version: 1.0\r\nBundle-SymbolicName: org.exam\r\n ple.thing\r\nImplementation-Vendor: E\r\n\r\n",
        )]);
        let properties = b"#x\nversion=2.0\ngroupId=a.b\nartifactId=c\n";
        let outer = jar(&[("META-INF/maven/a.b/c/pom.properties", properties), ("lib/thing-1.4.jar", &named)]);
        assert_eq!(look("app/c.jar", &outer).0, ["pkg:maven/org.example/thing@1.4", "pkg:maven/a.b/c@2.0"]);
        assert_eq!(look("x/plain.jar", &jar(&[])).0, Vec::<String>::new(), "nothing says its version");
    }

    #[test]
    fn archives_that_lie_too_deep_or_are_none_are_said() {
        let mut inner = jar(&[("META-INF/maven/a/b/pom.properties", b"version=1\ngroupId=a\nartifactId=b\n")]);
        for _ in 0..6 {
            inner = jar(&[("x.jar", &inner)]);
        }
        let (purls, cut) = look("a.jar", &inner);
        assert!(purls.is_empty() && cut.is_some_and(|why| why.contains("too deep")));
        assert!(look("a.jar", &jar(&[("b.jar", b"no archive")])).1.is_some());
        assert!(read(&"a.jar".parse().expect("clean"), b"PK").is_err());
    }
}

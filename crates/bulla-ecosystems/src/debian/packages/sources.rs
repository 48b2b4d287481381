//! The list of the source packages of one component: the `Sources` file. A paragraph is read when it is looked at.

use std::collections::BTreeMap;

use bulla_model::{CleanPath, Digest};

use super::{MAX_PACKAGES, MAX_STANZA, PackagesError};
use crate::debian::{
    control::{Fields, paragraphs},
    release::FileSum,
};

/// The most files of a source package.
const MAX_FILES: usize = 200;

/// A list of source packages.
#[derive(Debug, Default)]
pub struct Sources {
    text: String,
}

/// One source package of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePackage {
    /// The name.
    pub name: String,
    /// The version.
    pub version: String,
    /// The folder that its files are in, beneath the repository; a clean path.
    pub directory: String,
    /// Digest and size of its files, by name: the `.dsc` and what that names.
    pub files: BTreeMap<String, FileSum>,
}

impl Sources {
    /// Reads a list.
    ///
    /// # Errors
    /// When it is too large, or not text.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, PackagesError> {
        if bytes.len() as u64 > MAX_PACKAGES {
            return Err(PackagesError::TooLarge);
        }
        let text = String::from_utf8(bytes).map_err(|e| PackagesError::NotText(e.utf8_error()))?;
        Ok(Self { text })
    }

    /// Iterates over the packages of a name. Those that are there only because a binary package was built with them are left
    /// out (`Extra-Source-Only`).
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Result<SourcePackage, PackagesError>> + 'a {
        let is_named = move |paragraph: &str| {
            let line = format!("Package: {name}");
            paragraph.lines().any(|found| found.trim_end() == line)
        };
        let stanzas = paragraphs(&self.text).map(|(_, paragraph)| paragraph);
        stanzas
            .filter(move |paragraph| is_named(paragraph))
            .filter_map(move |paragraph| read(name, paragraph).transpose())
    }
}

fn read(name: &str, paragraph: &str) -> Result<Option<SourcePackage>, PackagesError> {
    let wrong =
        |field, problem: &str| PackagesError::Field { package: name.to_owned(), field, problem: problem.to_owned() };
    if paragraph.len() > MAX_STANZA {
        return Err(PackagesError::TooLarge);
    }
    let mut fields = BTreeMap::new();
    for field in Fields::new(paragraph) {
        let field = field.map_err(|_| wrong("Package", "in a paragraph that is none"))?;
        if fields.insert(field.name.to_ascii_lowercase(), field.value).is_some() {
            return Err(wrong("Package", "in a paragraph that has a field twice"));
        }
    }
    if fields.get("extra-source-only").is_some_and(|value| *value == "yes") {
        return Ok(None);
    }
    let field =
        |key: &'static str| fields.get(key.to_ascii_lowercase().as_str()).copied().ok_or_else(|| wrong(key, "missing"));
    let directory = field("Directory")?;
    CleanPath::parse(directory).map_err(|_| wrong("Directory", "not a clean path"))?;
    let mut files = BTreeMap::new();
    for line in field("Checksums-Sha256")?.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let bad = || wrong("Checksums-Sha256", "not a list of digests, sizes and names");
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [digest, size, file] = words.as_slice() else { return Err(bad()) };
        let is_name = CleanPath::parse(file).is_ok_and(|path| path.components().count() == 1);
        let digest = Digest::from_hex(digest).map_err(|_| bad())?;
        let size = size.parse().map_err(|_| bad())?;
        if !is_name || files.len() >= MAX_FILES || files.insert((*file).to_owned(), (digest, size)).is_some() {
            return Err(bad());
        }
    }
    let version = field("Version")?.to_owned();
    Ok(Some(SourcePackage { name: name.to_owned(), version, directory: directory.to_owned(), files }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "Package: a\nVersion: 1\nDirectory: pool/a\nChecksums-Sha256:\n \
        0000000000000000000000000000000000000000000000000000000000000000 5 a_1.dsc\n\n\
        Package: b\nVersion: 2\nExtra-Source-Only: yes\nDirectory: pool/b\nChecksums-Sha256:\n\n\
        Package: a\nVersion: 2\nDirectory: pool/a\nChecksums-Sha256:\n";

    fn list(text: &str) -> Sources {
        Sources::parse(text.as_bytes().to_vec()).expect("text")
    }

    #[test]
    fn the_packages_of_a_name_are_found() {
        let list = list(LIST);
        let found: Vec<SourcePackage> = list.named("a").collect::<Result<_, _>>().expect("good");
        assert_eq!(found.iter().map(|package| package.version.as_str()).collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(found[0].files["a_1.dsc"].1, 5);
        assert_eq!(list.named("b").count(), 0, "it is there for another package alone");
        assert_eq!(list.named("c").count(), 0);
    }

    #[test]
    fn what_leads_out_or_is_no_list_is_refused() {
        for (from, to) in [
            ("Directory: pool/a", "Directory: ../a"),
            ("Directory: pool/a", "Directory: /etc"),
            ("a_1.dsc", "../a_1.dsc"),
            ("a_1.dsc", "x/a_1.dsc"),
            (" 5 ", " -5 "),
            ("0000 5", "000 5"),
            ("Version: 1\n", ""),
            ("Version: 1\n", "Version: 1\nVersion: 1\n"),
        ] {
            let list = list(&LIST.replacen(from, to, 1));
            assert!(list.named("a").any(|package| package.is_err()), "{to}");
        }
        assert!(Sources::parse(vec![0xff]).is_err());
    }
}

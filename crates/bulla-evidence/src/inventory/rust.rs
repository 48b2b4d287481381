//! Crates in programs written in Rust, where cargo-auditable noted them (its section `.dep-v0`: JSON, compressed).

use auditable_info::{Error, json_from_slice};
use bulla_model::{CleanPath, purl::Purl};
use serde::Deserialize;

use super::{Found, MAX_PACKAGES, Owns, Says, Unread, word};
use crate::json;

/// The most bytes of the notes, inflated.
const MAX_TEXT: usize = 16 << 20;

/// The notes (cargo-auditable's JSON schema).
#[derive(Deserialize)]
struct Notes {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    source: String,
    /// `build` for what built it alone.
    #[serde(default)]
    kind: Option<String>,
    /// Places in the list.
    #[serde(default)]
    dependencies: Vec<usize>,
    #[serde(default)]
    root: bool,
}

pub(super) fn read(_: &CleanPath, bytes: &[u8]) -> Result<Vec<Says>, Unread> {
    // Who has the section has its name among the sections' names; a program that reads such sections has the name in it, too.
    if memchr::memmem::find(bytes, b".dep-v0").is_none() {
        return Ok(Vec::new());
    }
    let text = match json_from_slice(bytes, MAX_TEXT) {
        Ok(text) => text,
        Err(Error::NoAuditData | Error::BinaryParsing(_)) => return Ok(Vec::new()),
        Err(error) => return Err(Unread::new(error.to_string())),
    };
    let notes: Notes = json::read_as(text.as_bytes(), MAX_TEXT)?;
    if notes.packages.len() > MAX_PACKAGES {
        return Err(Unread::new("it notes too many crates"));
    }
    let name = |at: &usize| notes.packages.get(*at).map(|package| package.name.clone());
    let runtime = notes.packages.iter().filter(|package| package.kind.as_deref() != Some("build"));
    let found = runtime.filter_map(|package| {
        let mut found = Found::new(Purl::new("cargo", word(&package.name)?, word(&package.version)), Owns::Inside);
        found.needs = package.dependencies.iter().filter_map(name).collect();
        found.facts.insert("source".to_owned(), word(&package.source)?.to_owned());
        if package.root {
            found.facts.insert("main".to_owned(), "true".to_owned());
        }
        Some(found)
    });
    Ok(vec![Says::Packages(found.collect())])
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// Makes the smallest ELF file that has such a section: a header, the notes, the names, and three headers of sections.
    fn program(notes: &str) -> Vec<u8> {
        let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(notes.as_bytes()).expect("memory");
        let (packed, names) = (packed.finish().expect("memory"), b"\0.dep-v0\0.shstrtab\0");
        let (at, names_at) = (64_u64, 64 + packed.len() as u64);
        let headers_at = names_at + names.len() as u64;
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.resize(16, 0);
        elf.extend([2, 0, 62, 0, 1, 0, 0, 0]);
        elf.extend([0; 16]);
        elf.extend(headers_at.to_le_bytes());
        elf.extend([0, 0, 0, 0, 64, 0, 56, 0, 0, 0, 64, 0, 3, 0, 2, 0]);
        elf.extend([packed.as_slice(), names].concat());
        elf.extend([0; 64]);
        for (name, kind, offset, size) in [(1_u32, 1_u32, at, packed.len()), (9, 3, names_at, names.len())] {
            elf.extend([name.to_le_bytes(), kind.to_le_bytes()].concat());
            elf.extend([0; 16]);
            elf.extend([offset.to_le_bytes(), (size as u64).to_le_bytes()].concat());
            elf.extend([0; 24]);
        }
        elf
    }

    #[test]
    fn crates_are_read_and_what_only_built_them_is_not() {
        let path = "bin/x".parse().expect("clean");
        let notes = r#"{"packages":[{"name":"a","version":"1.0.0","source":"local","root":true,"dependencies":[1,2,9]},
            {"name":"b","version":"2.1.0","source":"crates.io"},{"name":"cc","version":"1.1.0","source":"crates.io","kind":"build"}]}"#;
        let says = read(&path, &program(notes)).expect("notes");
        let [Says::Packages(found)] = says.as_slice() else { panic!("{says:?}") };
        let purls: Vec<String> = found.iter().map(|found| found.purl.to_string()).collect();
        assert_eq!(purls, ["pkg:cargo/a@1.0.0", "pkg:cargo/b@2.1.0"]);
        assert_eq!(found[0].needs, ["b", "cc"]);
        assert!(read(&path, &program("[]")).is_err(), "notes that are none are said");
        let whole = program(notes);
        (0..whole.len()).for_each(|end| _ = read(&path, &whole[..end]));
    }
}

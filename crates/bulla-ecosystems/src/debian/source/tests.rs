//! Source packages made by hand: what Debian lays over upstream, and what is refused.

use std::{
    collections::BTreeMap,
    io::{Cursor, Read},
};

use bulla_model::{CleanPath, Digest};
use bulla_testkit::{
    archive::{TarEntry, gzip, tar, xz},
    hostile,
};
use proptest::prelude::*;

use super::{Package, SourceError, patch::Patch, unpack};
use crate::archive::{Rules, Sink, SinkError};

#[derive(Default)]
struct Seen(BTreeMap<String, String>);

impl Sink for Seen {
    fn directory(&mut self, _: &CleanPath) -> Result<(), SinkError> {
        Ok(())
    }

    fn file(&mut self, path: &CleanPath, executable: bool, content: &mut dyn Read) -> Result<(), SinkError> {
        let mut text = String::new();
        content.read_to_string(&mut text)?;
        self.0.insert(path.to_string(), format!("{}{text}", if executable { "x " } else { "" }));
        Ok(())
    }

    fn symlink(&mut self, path: &CleanPath, target: &[u8]) -> Result<(), SinkError> {
        self.0.insert(path.to_string(), format!("-> {}", String::from_utf8_lossy(target)));
        Ok(())
    }

    fn hardlink(&mut self, path: &CleanPath, target: &CleanPath) -> Result<(), SinkError> {
        self.0.insert(path.to_string(), format!("= {target}"));
        Ok(())
    }
}

type Files = BTreeMap<String, Vec<u8>>;

/// Writes the `.dsc` of some files, and unpacks them.
fn open(format: &str, files: &[(&str, Vec<u8>)]) -> Result<BTreeMap<String, String>, SourceError> {
    let mut all: Files = files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.clone())).collect();
    all.insert("a_1-1.dsc".to_owned(), dsc(format, &all).into_bytes());
    open_all("a=1-1", all, &Rules::default())
}

fn dsc(format: &str, files: &Files) -> String {
    let sum = |(name, bytes): (&String, &Vec<u8>)| format!(" {} {} {name}\n", Digest::of(bytes).hex(), bytes.len());
    let sums: String = files.iter().map(sum).collect();
    let body = format!("Format: {format}\nSource: a\nVersion: 1-1\nChecksums-Sha256:\n{sums}");
    format!(
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{body}\n-----BEGIN PGP SIGNATURE-----\n\nx\n-----END PGP SIGNATURE-----\n"
    )
}

fn open_all(name: &str, files: Files, rules: &Rules<'_>) -> Result<BTreeMap<String, String>, SourceError> {
    let files = files.into_iter().map(|(name, bytes)| (name, (Digest::of(&bytes), Cursor::new(bytes)))).collect();
    let mut seen = Seen::default();
    unpack(Package { name, files }, rules, &mut seen)?;
    Ok(seen.0)
}

fn file(name: &str, text: &str) -> TarEntry {
    TarEntry::file(name, 0o644, text)
}

fn upstream() -> Vec<u8> {
    gzip(&tar(&[
        TarEntry::directory("a-1/", 0o755),
        file("a-1/one", "1\n2\n3\n4\n5\n6\n7\n8\n"),
        TarEntry::file("a-1/run", 0o755, "old\n"),
        file("a-1/gone", "x\n"),
        file("a-1/debian/upstreams", "x\n"),
        TarEntry::symlink("a-1/link", "/anywhere"),
        TarEntry::hardlink("a-1/other", "a-1/run"),
    ]))
}

const PATCH: &str = "Description: x\n--- a/one\n+++ b/one\n@@ -2,3 +2,3 @@\n 2\n-3\n+three\n 4\n--- a/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n--- /dev/null\n+++ b/new/file\n@@ -0,0 +1 @@\n+made\n\\ No newline at end of file\n";

fn debian(patch: &str) -> Vec<u8> {
    xz(&tar(&[
        TarEntry::directory("debian/", 0o755),
        TarEntry::file("debian/rules", 0o755, "#!make\n"),
        file("debian/patches/series", "# first\nfix.patch -p1 # why\n"),
        file("debian/patches/fix.patch", patch),
    ]))
}

fn quilt(patch: &str) -> Result<BTreeMap<String, String>, SourceError> {
    open("3.0 (quilt)", &[("a_1.orig.tar.gz", upstream()), ("a_1-1.debian.tar.xz", debian(patch))])
}

#[test]
fn a_package_of_quilt_is_put_together_and_patched() {
    let found = quilt(PATCH).expect("good");
    let text = |name: &str| found.get(name).map(String::as_str);
    assert_eq!(text("one"), Some("1\n2\nthree\n4\n5\n6\n7\n8\n"));
    assert_eq!((text("gone"), text("new/file")), (None, Some("made")));
    assert_eq!((text("debian/rules"), text("debian/upstreams")), (Some("x #!make\n"), None));
    assert_eq!((text("link"), text("run"), text("other")), (Some("-> /anywhere"), Some("x old\n"), Some("= run")));
    assert_eq!(text("debian/patches/fix.patch"), Some(PATCH));
}

#[test]
fn further_archives_and_parts_have_their_places() {
    let more = gzip(&tar(&[file("lib-9/x", "from the lib\n")]));
    let files = [("a_1.orig.tar.gz", upstream()), ("a_1.orig-new.tar.gz", more), ("a_1-1.debian.tar.xz", debian(""))];
    let found = open("3.0 (quilt)", &files).expect("good");
    assert_eq!(found.get("new/x").map(String::as_str), Some("from the lib\n"));
    let mut all: Files = files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.clone())).collect();
    all.insert("a_1-1.dsc".to_owned(), dsc("3.0 (quilt)", &all).into_bytes());
    let subfolder = "new".parse().expect("a path");
    let found = open_all("a=1-1", all, &Rules { subfolder: Some(&subfolder), ..Rules::default() }).expect("good");
    assert_eq!(found.keys().collect::<Vec<_>>(), ["x"]);
}

#[test]
fn old_and_native_packages_are_unpacked() {
    let diff = gzip(b"--- a-1.orig/debian/rules\n+++ a-1/debian/rules\n@@ -0,0 +1 @@\n+#!make\n--- a-1.orig/one\n+++ a-1/one\n@@ -1,3 +1,2 @@\n-1\n 2\n 3\n");
    let found = open("1.0", &[("a_1.orig.tar.gz", upstream()), ("a_1-1.diff.gz", diff)]).expect("good");
    assert_eq!(found.get("debian/rules").map(String::as_str), Some("x #!make\n"));
    assert_eq!(found.get("one").map(String::as_str), Some("2\n3\n4\n5\n6\n7\n8\n"));
    assert!(found.contains_key("debian/upstreams"), "a diff changes what is there");
    for format in ["1.0", "3.0 (native)"] {
        assert_eq!(open(format, &[("a_1-1.tar.gz", upstream())]).expect("good").len(), 6, "{format}");
    }
    let flat = gzip(&tar(&[file("one", "1\n"), file("two/x", "2\n")]));
    assert_eq!(open("3.0 (native)", &[("a_1-1.tar.gz", flat)]).expect("good").len(), 2, "no folder around all");
}

#[test]
fn hunks_are_found_where_they_are_and_nowhere_else() {
    let hunk = |body: &str| quilt(&format!("--- a/one\n+++ b/one\n{body}"));
    // Moved down by two lines, and the next one with it.
    let moved = hunk("@@ -2,3 +2,3 @@\n 3\n-4\n+four\n 5\n@@ -5,3 +5,3 @@\n 6\n-7\n+seven\n 8\n").expect("moved");
    assert_eq!(moved["one"], "1\n2\n3\nfour\n5\n6\nseven\n8\n");
    for wrong in [
        "@@ -2,3 +2,3 @@\n 2\n-x\n+three\n 4\n",
        "@@ -2,3 +2,3 @@\n 2\n-3\n+three\n x\n",
        "@@ -2,3 +2,2 @@\n 2\n 3\n+4\n",
        "@@ -2,9 +2,9 @@\n 2\n 3\n",
        "@@ -5,2 +5,3 @@\n 2\n-3\n+three\n 4\n",
        // Without context above it a hunk for the first line is for that alone, and without context below for the end.
        "@@ -1,2 +1,2 @@\n-3\n+three\n 4\n",
        "@@ -2,2 +2,2 @@\n 2\n-3\n+three\n",
        "@@ -2 @@\n-2\n",
        "@@ -99999999999999999999,1 +1 @@\n-2\n+x\n",
    ] {
        assert!(matches!(hunk(wrong), Err(SourceError::Patch { .. })), "{wrong}");
    }
}

#[test]
fn no_hostile_patch_or_package_is_unpacked() {
    for patch in [
        PATCH.replace("b/one", "b/../../one"),
        PATCH.replace("b/one", "b/link"),
        PATCH.replace("b/new/file", "b/link/file"),
        PATCH.replace("b/new/file", "b/run/file"),
        "--- /dev/null\n+++ /dev/null\n@@ -0,0 +1 @@\n+x\n".to_owned(),
        "--- a/../etc/passwd\n+++ b/../../etc/passwd\n@@ -0,0 +1 @@\n+x\n".to_owned(),
        "diff --git a/one b/two\nrename from one\nrename to two\n".to_owned(),
    ] {
        assert!(quilt(&patch).is_err(), "{patch}");
    }
    for (what, entries) in hostile::tar_entries() {
        let bad = gzip(&tar(&entries));
        assert!(open("3.0 (native)", &[("a_1-1.tar.gz", bad.clone())]).is_err(), "{what}");
        let parts = [("a_1.orig.tar.gz", upstream()), ("a_1-1.debian.tar.gz", bad.clone())];
        assert!(
            open("3.0 (quilt)", &parts).is_err() || what == "a hard link to outside" || what.contains("link"),
            "{what}"
        );
        let parts = [("a_1.orig.tar.gz", bad), ("a_1-1.debian.tar.xz", debian(""))];
        assert!(open("3.0 (quilt)", &parts).is_err(), "{what}");
    }
}

#[test]
fn a_description_of_another_package_or_other_files_is_refused() {
    let files: Files = [("a_1-1.tar.gz".to_owned(), upstream())].into();
    let good = dsc("3.0 (native)", &files);
    let with = |text: &str| {
        let mut all = files.clone();
        all.insert("a_1-1.dsc".to_owned(), text.as_bytes().to_vec());
        open_all("a=1-1", all, &Rules::default())
    };
    with(&good).expect("good");
    for (from, to) in [
        ("Source: a", "Source: b"),
        ("Version: 1-1", "Version: 1-2"),
        ("Format: 3.0 (native)", "Format: 9.0"),
        ("a_1-1.tar.gz", "../a_1-1.tar.gz"),
        ("a_1-1.tar.gz", "b.tar.gz"),
        ("Checksums-Sha256:\n ", "Checksums-Sha256:\n f"),
        ("Source: a", "Source: a\nSource: a"),
    ] {
        assert!(with(&good.replace(from, to)).is_err(), "{to}");
    }
    let mut none = files.clone();
    none.insert("b.dsc".to_owned(), Vec::new());
    assert!(open_all("a=1-1", none, &Rules::default()).is_err());
    assert!(open_all("a=1-1", files, &Rules::default()).is_err(), "no description");
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_of_patches_panic(text: Vec<u8>, at in 0_usize..300, byte: u8) {
        let _ = Patch::parse("x", &text);
        let mut patch = PATCH.as_bytes().to_vec();
        let at = at % patch.len();
        patch[at] = byte;
        let _ = quilt(&String::from_utf8_lossy(&patch));
    }
}

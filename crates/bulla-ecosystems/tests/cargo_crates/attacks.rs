//! Crates that are not what they are said to be, each beside one that is.

use std::io::Cursor;

use bulla_ecosystems::dependencies::Native as _;
use bulla_testkit::{
    archive::{TarEntry, gzip, tar},
    hostile,
};

use crate::{
    CRATES_IO, entry, hex, pack, read,
    served::{Held, unpack},
};

/// Unpacks one crate `a` 1.0.0 with these bytes, which the lock means.
fn unpacked(bytes: Vec<u8>) -> Result<(), String> {
    let cargo = read(&format!("version = 4\n{}", entry("a", "1.0.0", CRATES_IO, &bytes))).expect("a lock file");
    let hash = cargo.locked().artifacts[0].hashes[0];
    assert!(hash.matches(&mut Cursor::new(&bytes)).expect("it is read"), "the lock means it");
    let root = tempfile::tempdir().expect("a temporary folder");
    let done = unpack(&cargo, &Held(vec![bytes]), &root.path().join("root")).map_err(|error| error.to_string());
    let outside: Vec<_> =
        fs_err::read_dir(root.path()).expect("a folder").map(|entry| entry.expect("one").file_name()).collect();
    assert_eq!(outside, ["root"], "nothing is written elsewhere");
    done
}

const GOOD: &str = "[package]\nname = \"a\"\nversion = \"1.0.0\"\n";

#[test]
fn other_bytes_are_not_what_the_lock_means() {
    let good = pack("a", "1.0.0", GOOD);
    let cargo = read(&format!("version = 4\n{}", entry("a", "1.0.0", CRATES_IO, &good))).expect("a lock file");
    let hash = cargo.locked().artifacts[0].hashes[0];
    assert!(hash.matches(&mut Cursor::new(&good)).expect("it is read"));
    assert!(!hash.matches(&mut Cursor::new(pack("a", "1.0.1", GOOD))).expect("it is read"));
    assert!(hash.to_string().starts_with("sha256-") && !hex(&good).is_empty());
}

#[test]
fn another_crate_under_the_name_is_refused_though_the_lock_means_its_bytes() {
    unpacked(pack("a", "1.0.0", GOOD)).expect("it is the crate");
    let file = |name: &str, text: &str| TarEntry::file(name, 0o644, text);
    let archive = |entries: &[TarEntry]| gzip(&tar(entries));
    for (bytes, what) in [
        (pack("a", "1.0.0", &GOOD.replace("\"a\"", "\"b\"")), "its Cargo.toml has b 1.0.0"),
        (pack("a", "1.0.0", &GOOD.replace("1.0.0", "1.0.1")), "its Cargo.toml has a 1.0.1"),
        (pack("b", "1.0.0", GOOD), "is not in the crate's own folder"),
        (
            archive(&[file("a-1.0.0/Cargo.toml", GOOD), file("b-1.0.0/x", "")]),
            "`b-1.0.0/x` is not in the crate's own folder",
        ),
        (archive(&[file("a-1.0.0/Cargo.toml", GOOD), file("a-1.0.0/Cargo.toml", GOOD)]), "is there twice"),
        (archive(&[TarEntry::symlink("a-1.0.0/Cargo.toml", "/etc/passwd")]), "is no file"),
        (archive(&[file("a-1.0.0/../x", "")]), "an entry that may not be unpacked"),
        (archive(&[file("a-1.0.0/lib.rs", "")]), "is not there"),
        (archive(&[file("a-1.0.0/Cargo.toml", GOOD), file("a-1.0.0/x", ""), file("a-1.0.0/x", "")]), "comes twice"),
        (
            archive(&[file("a-1.0.0/Cargo.toml", GOOD), TarEntry::symlink("a-1.0.0/x", "../../../escaped")]),
            "leads out of it",
        ),
        (
            archive(&[file("a-1.0.0/Cargo.toml", GOOD), TarEntry::symlink("a-1.0.0/x", "/etc/passwd")]),
            "leads out of it",
        ),
        (
            archive(&[
                file("a-1.0.0/Cargo.toml", GOOD),
                TarEntry::symlink("a-1.0.0/x", "src"),
                file("a-1.0.0/x/y", ""),
            ]),
            "a-1.0.0/x",
        ),
        (archive(&[file("a-1.0.0/Cargo.toml", GOOD), TarEntry::special("a-1.0.0/x", b'3', (1, 3))]), "is a device"),
        (archive(&[file("a-1.0.0/Cargo.toml", GOOD), TarEntry::special("a-1.0.0/x", b'6', (0, 0))]), "is a FIFO"),
        (archive(&[TarEntry::symlink("a-1.0.0", "/etc"), file("a-1.0.0/Cargo.toml", GOOD)]), "a-1.0.0"),
        (pack("a", "1.0.0", "[package"), "its Cargo.toml cannot be read"),
        (pack("a", "1.0.0", "name = 3"), "its Cargo.toml cannot be read"),
        (b"not a crate".to_vec(), "it is not a tar.gz archive"),
        (Vec::new(), "a 1.0.0"),
    ] {
        let error = unpacked(bytes).expect_err(what);
        assert!(error.starts_with("a 1.0.0: ") && error.contains(what), "{what}: {error}");
    }
}

#[test]
fn what_unfolds_without_end_is_not_unfolded() {
    // A good crate, and behind it nothing but zeros: little to fetch, much to read.
    let mut bytes = pack("a", "1.0.0", GOOD);
    bytes.extend(hostile::gzip_bomb(64 << 20));
    unpacked(bytes).expect("so much may be");
    let mut bytes = pack("a", "1.0.0", GOOD);
    bytes.extend(hostile::gzip_bomb(700 << 20));
    assert!(bytes.len() < 4 << 20, "it is small as it comes");
    let error = unpacked(bytes).expect_err("it is too much");
    assert!(error.contains("a 1.0.0: "), "{error}");
    let long = format!("{GOOD}# {}\n", "x".repeat(5 << 20));
    assert!(unpacked(pack("a", "1.0.0", &long)).expect_err("a long manifest").contains("Cargo.toml"));
}

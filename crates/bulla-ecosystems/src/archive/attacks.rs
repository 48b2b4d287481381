//! Archives that attack, and what refuses each of them.

use std::{
    collections::BTreeMap,
    io::{Cursor, Read, Write},
};

use ::zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};
use bulla_model::{
    CleanPath, Fault as _, Kind as FaultKind,
    spec::{Glob, Packing},
};
use bulla_testkit::{
    archive::{self, TarEntry, gzip, tar, xz},
    hostile,
};
use proptest::prelude::*;

use super::{ArchiveError, Limits, Rules, Sink, SinkError, unpack};

/// Takes down what it is handed, and checks that nothing of it leads out.
#[derive(Default)]
struct Seen {
    found: BTreeMap<CleanPath, String>,
}

impl Seen {
    fn add(&mut self, path: &CleanPath, what: String) {
        assert!(path.components().all(|part| !matches!(part, b"" | b"." | b"..")), "{path}");
        for above in path.ancestors() {
            assert!(self.found.get(&above).is_none_or(|what| what == "d"), "{path} lies beneath {above}");
        }
        let before = self.found.insert(path.clone(), what);
        assert!(before.is_none_or(|before| before == "d"), "{path} comes twice");
    }

    fn lines(&self) -> Vec<String> {
        self.found.iter().map(|(path, what)| format!("{path} {what}")).collect()
    }
}

impl Sink for Seen {
    fn directory(&mut self, path: &CleanPath) -> Result<(), SinkError> {
        self.add(path, "d".to_owned());
        Ok(())
    }

    fn file(&mut self, path: &CleanPath, executable: bool, content: &mut dyn Read) -> Result<(), SinkError> {
        let mut start = Vec::new();
        content.take(20).read_to_end(&mut start)?;
        let size = start.len() as u64 + std::io::copy(content, &mut std::io::sink())?;
        let mode = if executable { "x" } else { "f" };
        self.add(path, format!("{mode}{size} {}", String::from_utf8_lossy(&start)));
        Ok(())
    }

    fn symlink(&mut self, path: &CleanPath, target: &[u8]) -> Result<(), SinkError> {
        self.add(path, format!("-> {}", String::from_utf8_lossy(target)));
        Ok(())
    }

    fn hardlink(&mut self, path: &CleanPath, target: &CleanPath) -> Result<(), SinkError> {
        assert!(self.found.get(target).is_some_and(|what| what.starts_with(['f', 'x', '='])), "{target}");
        self.add(path, format!("= {target}"));
        Ok(())
    }
}

fn open_with(bytes: &[u8], packing: Packing, rules: &Rules<'_>) -> Result<Vec<String>, ArchiveError> {
    let mut seen = Seen::default();
    unpack(&mut Cursor::new(bytes), packing, rules, &mut seen)?;
    Ok(seen.lines())
}

fn open(bytes: &[u8], packing: Packing) -> Result<Vec<String>, ArchiveError> {
    open_with(bytes, packing, &Rules::default())
}

fn good() -> Vec<TarEntry> {
    vec![
        TarEntry::directory("top-1/", 0o755),
        TarEntry::file("top-1/run", 0o4755, "#!/bin/sh\n"),
        TarEntry::file("top-1/src/a.c", 0o600, "int a;\n"),
        TarEntry::symlink("top-1/src/link", "../run"),
        TarEntry::hardlink("top-1/src/b.c", "top-1/src/a.c"),
        TarEntry::directory("top-1/empty/", 0o755),
    ]
}

#[test]
fn the_same_files_come_out_of_every_packing() {
    let plain = tar(&good());
    let expected = ["empty d", "run x10 #!/bin/sh\n", "src/a.c f7 int a;\n", "src/b.c = src/a.c", "src/link -> ../run"];
    let rules = Rules { strip: 1, ..Rules::default() };
    for (bytes, packing) in [
        (plain.clone(), Packing::Tar),
        (gzip(&plain), Packing::TarGz),
        (xz(&plain), Packing::TarXz),
        (archive::zstd(&plain), Packing::TarZst),
        ([gzip(&plain[..700]), gzip(&plain[700..])].concat(), Packing::TarGz),
    ] {
        assert_eq!(open_with(&bytes, packing, &rules).expect("good"), expected, "{packing}");
        assert_eq!(open(&bytes, packing).expect("good").len(), 6, "{packing}");
    }
}

#[test]
fn parts_of_an_archive_are_taken_as_the_spec_says() {
    let bytes = tar(&good());
    let (src, ignore) = ("src".parse().expect("a path"), [Glob::parse("*.c").expect("a pattern")]);
    let rules = Rules { strip: 1, subfolder: Some(&src), outward_links: true, ..Rules::default() };
    assert_eq!(
        open_with(&bytes, Packing::Tar, &rules).expect("good"),
        ["a.c f7 int a;\n", "b.c = a.c", "link -> ../run"]
    );
    assert_eq!(open_with(&bytes, Packing::Tar, &Rules { ignore: &ignore, ..rules }).expect("good"), ["link -> ../run"]);
    // What leads out of the part leads out, though it stays in the archive.
    let error = open_with(&bytes, Packing::Tar, &Rules { outward_links: false, ..rules }).expect_err("outward");
    assert!(matches!(&error, ArchiveError::Outward { path, .. } if path == "top-1/src/link"), "{error:?}");
    let links = [Glob::parse("link").expect("a pattern")];
    open_with(&bytes, Packing::Tar, &Rules { outward_links: false, ignore: &links, ..rules }).expect("it is left out");
    for (strip, subfolder) in [(1, "nosuch"), (0, "src"), (9, "src")] {
        let subfolder = subfolder.parse().expect("a path");
        let rules = Rules { strip, subfolder: Some(&subfolder), ..Rules::default() };
        let error = open_with(&bytes, Packing::Tar, &rules).expect_err("nothing");
        assert!(matches!(&error, ArchiveError::Nothing { top } if *top == ["top-1"]), "{error:?}");
        assert_eq!(error.kind(), FaultKind::Spec);
    }
}

#[test]
fn no_hostile_tar_is_unpacked() {
    for (what, entries) in hostile::tar_entries() {
        let error = open(&tar(&entries), Packing::Tar).expect_err(what);
        assert_eq!(error.kind(), FaultKind::Integrity, "{what}: {error:?}");
    }
    let file = |name: &str| TarEntry::file(name, 0o644, "x");
    let more: Vec<(&str, Vec<TarEntry>)> = vec![
        ("a link to the root", vec![TarEntry::symlink("a", "/")]),
        ("a link that climbs", vec![TarEntry::symlink("a/b", "../../x")]),
        ("a link that climbs later", vec![TarEntry::symlink("a/b", "c/../../../x")]),
        ("a link that climbs by another", vec![TarEntry::symlink("d/l", ".."), TarEntry::symlink("m", "d/l/../x")]),
        ("a file beneath a file", vec![file("a"), file("a/b")]),
        ("a link over a directory", vec![file("a/b"), TarEntry::symlink("a", "c")]),
        ("a directory over a link", vec![TarEntry::symlink("a", "c"), TarEntry::directory("a/", 0o755)]),
        ("a hard link to a link", vec![TarEntry::symlink("a", "c"), TarEntry::hardlink("b", "a")]),
        ("a hard link to itself", vec![TarEntry::hardlink("a", "a")]),
        ("a hard link forward", vec![TarEntry::hardlink("a", "b"), file("b")]),
        ("a link to nothing", vec![TarEntry::symlink("a", "")]),
        ("a sparse file", vec![TarEntry::special("a", b'S', (0, 0))]),
        ("a volume", vec![TarEntry::special("a", b'V', (0, 0))]),
        (
            "a name for all",
            vec![TarEntry { kind: b'g', data: b"16 path=/etc/xx\n".to_vec(), ..file("pax") }, file("a")],
        ),
        ("a size apart", vec![TarEntry { kind: b'x', data: b"13 size=9999\n".to_vec(), ..file("pax") }, file("a")]),
        (
            "a climbing name apart",
            vec![TarEntry { kind: b'x', data: b"13 path=../x\n".to_vec(), ..file("pax") }, file("a")],
        ),
        ("a name of another", vec![TarEntry { kind: b'L', data: b"../../x\0".to_vec(), ..file("long") }, file("a")]),
        ("a header without end", vec![TarEntry { kind: b'L', data: vec![b'x'; 70_000], ..file("long") }, file("a")]),
    ];
    for (what, entries) in more {
        let error = open(&tar(&entries), Packing::Tar).expect_err(what);
        assert_eq!(error.kind(), FaultKind::Integrity, "{what}: {error:?}");
    }
    // Folders that are taken off bring two files to one place.
    let twice = tar(&[file("a/x"), file("b/x")]);
    open(&twice, Packing::Tar).expect("apart they are good");
    let error = open_with(&twice, Packing::Tar, &Rules { strip: 1, ..Rules::default() }).expect_err("one place");
    assert!(matches!(error, ArchiveError::Entry { reason: "comes twice", .. }), "{error:?}");
}

#[test]
fn names_that_are_not_utf_8_stay_what_they_are_and_long_ones_are_cut_nowhere() {
    let name = b"d/\xff\xfe name";
    let long = vec!["y".repeat(200); 20].join("/");
    let entries = [TarEntry::file(name, 0o644, "1"), TarEntry::file(&long, 0o644, "2")];
    let mut seen = Seen::default();
    unpack(&mut Cursor::new(tar(&entries)), Packing::Tar, &Rules::default(), &mut seen).expect("good");
    assert!(seen.found.keys().any(|path| path.as_bytes() == name));
    assert!(seen.found.keys().any(|path| path.as_bytes() == long.as_bytes()));
    let too_long = vec!["y".repeat(200); 21].join("/");
    assert!(open(&tar(&[TarEntry::file(too_long, 0o644, "2")]), Packing::Tar).is_err());
}

#[test]
fn what_git_and_old_programs_write_is_read() {
    let pax = |kind, records: &[&str]| {
        let record = |text: &&str| {
            let length = text.len() + 2;
            let digits = (length + length.to_string().len()).to_string().len();
            format!("{} {text}\n", length + digits)
        };
        let data = records.iter().map(record).collect::<String>().into_bytes();
        TarEntry { kind, data, ..TarEntry::file("pax", 0o644, "") }
    };
    let comment = pax(b'g', &["comment=0123456789abcdef0123456789abcdef01234567"]);
    let named = pax(b'x', &["path=longer/name", "uid=999999999999", "mtime=1700000000.5"]);
    let entries = [
        comment,
        named,
        TarEntry::file("short", 0o644, "1"),
        TarEntry { kind: b'\0', ..TarEntry::file("old/", 0o755, "") },
    ];
    assert_eq!(open(&tar(&entries), Packing::Tar).expect("good"), ["longer/name f1 1", "old d"]);
}

#[test]
fn bombs_meet_a_limit() {
    let limits = Limits { bytes: 1 << 20, entries: 50, ratio: 10, unsuspicious: 1 << 18 };
    let rules = Rules { limits, ..Rules::default() };
    let error = |bytes: &[u8], packing| open_with(bytes, packing, &rules).expect_err("a bomb");
    let large = tar(&[TarEntry::file("zeros", 0o644, vec![0; 900_000])]);
    open_with(&large, Packing::Tar, &rules).expect("large, and not packed: no bomb");
    assert!(matches!(error(&gzip(&large), Packing::TarGz), ArchiveError::Read { .. }), "far more than it has bytes");
    assert!(matches!(error(&xz(&large), Packing::TarXz), ArchiveError::Read { .. }));
    assert!(matches!(error(&archive::zstd(&large), Packing::TarZst), ArchiveError::Read { .. }));
    assert!(matches!(error(&hostile::gzip_bomb(64 << 20), Packing::TarGz), ArchiveError::Read { .. }));
    let larger = tar(&[TarEntry::file("zeros", 0o644, vec![0; 1 << 20 | 1])]);
    assert!(matches!(error(&larger, Packing::Tar), ArchiveError::TooLarge { unit: "bytes", .. }));
    let many: Vec<TarEntry> = (0..51).map(|n| TarEntry::file(format!("{n}"), 0o644, "")).collect();
    assert!(matches!(error(&tar(&many), Packing::Tar), ArchiveError::TooLarge { unit: "entries", .. }));
    let deep: Vec<TarEntry> =
        (0..49).map(|n| TarEntry::file(format!("{n}/{}x", "d/".repeat(1900)), 0o644, "")).collect();
    assert!(matches!(error(&tar(&deep), Packing::Tar), ArchiveError::TooLarge { unit: "bytes of names", .. }));

    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("zeros", SimpleFileOptions::default()).expect("to memory");
    zip.write_all(&vec![0; 900_000]).expect("to memory");
    let bomb = zip.finish().expect("to memory").into_inner();
    assert!(matches!(error(&bomb, Packing::Zip), ArchiveError::TooLarge { unit: "bytes", .. }));
    open(&bomb, Packing::Zip).expect("what is small is no bomb, however well it is packed");
    let many: Vec<(String, &[u8])> = (0..51).map(|n| (n.to_string(), b"".as_slice())).collect();
    assert!(matches!(error(&zip_of(&many), Packing::Zip), ArchiveError::TooLarge { unit: "entries", .. }));
}

#[test]
fn what_is_cut_off_or_something_else_is_refused() {
    let plain = tar(&good());
    for (bytes, packing) in
        [(gzip(&plain), Packing::TarGz), (xz(&plain), Packing::TarXz), (archive::zstd(&plain), Packing::TarZst)]
    {
        for cut in [0, 5, bytes.len() / 2, bytes.len() - 1] {
            assert!(open(&bytes[..cut], packing).is_err(), "{packing} {cut}");
        }
        let mut changed = bytes.clone();
        let last = changed.len() - 6;
        changed[last] ^= 1;
        assert!(open(&changed, packing).is_err(), "{packing}: its sums are at its end");
        let error = open(&bytes, Packing::TarBz2).expect_err("another packing");
        assert!(matches!(error, ArchiveError::NotAn { .. }), "{error:?}");
    }
    for page in [b"<html>404</html>".as_slice(), &[b'x'; 2000]] {
        for packing in Packing::ALL {
            assert!(open(page, packing).is_err(), "{packing}");
        }
    }
    assert!(open(&plain[..1100], Packing::Tar).is_err(), "in the middle of a file");
}

fn zip_of(files: &[(String, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        zip.start_file(name.as_str(), SimpleFileOptions::default()).expect("to memory");
        zip.write_all(bytes).expect("to memory");
    }
    zip.finish().expect("to memory").into_inner()
}

/// A zip archive written by hand: each entry's name in its head and in the directory, its bytes, and what it claims to be
/// the size of what is in it. All is stored.
struct Raw {
    local: &'static str,
    central: &'static str,
    bytes: &'static [u8],
    claimed: u32,
    mode: u32,
}

impl Raw {
    fn new(name: &'static str, bytes: &'static [u8]) -> Self {
        Self { local: name, central: name, bytes, claimed: bytes.len() as u32, mode: 0o100_644 }
    }
}

/// Writes it; `overlap` lets all entries of the directory point to the first head.
fn raw_zip(entries: &[Raw], overlap: bool) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        let offset = if overlap { 0 } else { out.len() as u32 };
        let mut crc = flate2::Crc::new();
        crc.update(entry.bytes);
        let fixed = |name: &str| {
            let mut head = Vec::new();
            head.extend([20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0]);
            head.extend(crc.sum().to_le_bytes());
            head.extend((entry.bytes.len() as u32).to_le_bytes());
            head.extend(entry.claimed.to_le_bytes());
            head.extend((name.len() as u16).to_le_bytes());
            head.extend([0, 0]);
            head
        };
        directory.extend(b"PK\x01\x02");
        directory.extend([20, 3]);
        directory.extend(fixed(entry.central));
        directory.extend([0, 0, 0, 0, 0, 0]);
        directory.extend((entry.mode << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(entry.central.as_bytes());
        out.extend(b"PK\x03\x04");
        out.extend(fixed(entry.local));
        out.extend(entry.local.as_bytes());
        out.extend(entry.bytes);
    }
    let (start, count) = (out.len() as u32, (entries.len() as u16).to_le_bytes());
    let length = (directory.len() as u32).to_le_bytes();
    out.extend(directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend([count, count].concat());
    out.extend(length);
    out.extend(start.to_le_bytes());
    out.extend([0, 0]);
    out
}

#[test]
fn a_good_zip_is_unpacked() {
    let raw = [
        Raw::new("top/", b""),
        Raw { mode: 0o100_755, ..Raw::new("top/run", b"#!") },
        Raw { mode: 0o120_777, ..Raw::new("top/link", b"run") },
        Raw { mode: 0, ..Raw::new("top/d/plain", b"text") },
    ];
    let rules = Rules { strip: 1, ..Rules::default() };
    let expected = ["d/plain f4 text", "link -> run", "run x2 #!"];
    assert_eq!(open_with(&raw_zip(&raw, false), Packing::Zip, &rules).expect("good"), expected);
    let packed = zip_of(&[("a".to_owned(), &[7; 5000]), ("b/c".to_owned(), b"text")]);
    assert_eq!(open(&packed, Packing::Zip).expect("good").len(), 2);
}

#[test]
fn no_hostile_zip_is_unpacked() {
    let raw = Raw::new;
    let long: &'static str = Box::leak("x".repeat(4096).into_boxed_str());
    let cases: Vec<(&str, Vec<Raw>)> = vec![
        ("an absolute path", vec![raw("/etc/x", b"1")]),
        ("a path that climbs", vec![raw("a/../../x", b"1")]),
        ("a path that climbs as on Windows", vec![raw("..\\..\\x", b"1")]),
        ("a name of 4096 bytes", vec![raw(long, b"1")]),
        ("a link that climbs", vec![Raw { mode: 0o120_777, ..raw("a", b"../x") }]),
        ("an absolute link", vec![Raw { mode: 0o120_777, ..raw("a", b"/etc/passwd") }]),
        ("a file through a link", vec![Raw { mode: 0o120_777, ..raw("a", b"b") }, raw("a/x", b"1")]),
        ("a link to nothing", vec![Raw { mode: 0o120_777, ..raw("a", b"") }]),
        ("a device", vec![Raw { mode: 0o020_666, ..raw("a", b"") }]),
        ("a directory with content", vec![raw("a/", b"1")]),
        ("a size that is too small", vec![Raw { claimed: 1, ..raw("a", b"12345") }]),
        ("a size that is too large", vec![Raw { claimed: 99, ..raw("a", b"12345") }]),
        ("another name in the head", vec![Raw { local: "b", ..raw("a", b"1") }]),
        ("the same name twice", vec![raw("a", b"1"), raw("a", b"2")]),
        ("the same file by two names", vec![raw("./a", b"1"), raw("a", b"2")]),
    ];
    for (what, entries) in cases {
        let error = open(&raw_zip(&entries, false), Packing::Zip).expect_err(what);
        assert!(!matches!(error, ArchiveError::Sink { .. } | ArchiveError::Nothing { .. }), "{what}: {error:?}");
    }
    let overlapping = [raw("a", b"12345"), raw("a", b"12345")];
    assert!(open(&raw_zip(&overlapping, true), Packing::Zip).is_err(), "overlapping entries");
    let mut nested = raw_zip(&[raw("a", b"1"), raw("b", b"2")], false);
    // The second entry of the directory points into the first.
    let at = nested.windows(4).rposition(|part| part == b"PK\x01\x02").expect("the directory");
    nested[at + 42..at + 46].copy_from_slice(&0_u32.to_le_bytes());
    assert!(open(&nested, Packing::Zip).is_err(), "an entry that points to another");
    let mut encrypted = raw_zip(&[raw("a", b"123456789012345")], false);
    let at = encrypted.windows(4).position(|part| part == b"PK\x01\x02").expect("the directory");
    encrypted[at + 8] |= 1;
    encrypted[6] |= 1;
    assert!(open(&encrypted, Packing::Zip).is_err(), "an encrypted entry");
    let mut changed = zip_of(&[("a".to_owned(), b"some text")]);
    changed[31] ^= 1;
    assert!(open(&changed, Packing::Zip).is_err(), "a wrong sum");
    let mut latin = raw_zip(&[raw("aaaa", b"1")], false);
    for at in 0..latin.len() - 4 {
        if &latin[at..at + 4] == b"aaaa" {
            latin[at] = 0xe9;
        }
    }
    assert!(open(&latin, Packing::Zip).is_err(), "a name in an old code page");
    let method = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("a", method).expect("to memory");
    zip.write_all(b"stored").expect("to memory");
    assert_eq!(open(&zip.finish().expect("to memory").into_inner(), Packing::Zip).expect("good"), ["a f6 stored"]);
}

proptest! {
    #[test]
    fn foreign_bytes_do_no_harm(bytes: Vec<u8>, at in 0_usize..3000, bit in 0_u8..8) {
        for packing in Packing::ALL {
            let _ = open(&bytes, packing);
        }
        let mut zip = raw_zip(&[Raw::new("a/b", b"12"), Raw { mode: 0o120_777, ..Raw::new("c", b"a") }], false);
        let at_zip = at % zip.len();
        zip[at_zip] ^= 1 << bit;
        let _ = open(&zip, Packing::Zip);
        let mut plain = tar(&good());
        let at_tar = at % plain.len();
        plain[at_tar] ^= 1 << bit;
        let _ = open(&plain, Packing::Tar);
    }
}

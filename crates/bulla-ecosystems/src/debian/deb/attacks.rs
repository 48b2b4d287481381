//! Packages that attack, and what refuses each of them.

use std::io::Read;

use bulla_model::{
    CleanPath, Epoch,
    tree::{Mode, Owner},
};
use bulla_testkit::{
    Deb,
    archive::{TarEntry, ar, gzip, tar, xz, zstd},
    debian::Compression,
    hostile,
};
use proptest::prelude::*;

use super::{DebError, Limits, Package, Sink, SinkError, unpack};

/// Takes down what it is handed, and checks that nothing of it leads out.
#[derive(Default)]
struct Seen {
    lines: Vec<String>,
    links: Vec<CleanPath>,
}

impl Seen {
    fn add(&mut self, what: &str, path: &CleanPath) {
        assert!(path.components().all(|part| !matches!(part, b"" | b"." | b"..")), "{path}");
        let through = self.links.iter().find(|link| path.starts_with(link));
        assert_eq!(through, None, "{path} is written through a link");
        self.lines.push(format!("{what} {path}"));
    }
}

impl Sink for Seen {
    fn directory(&mut self, path: &CleanPath, _: Mode, _: Owner) -> Result<(), SinkError> {
        self.add("d", path);
        Ok(())
    }

    fn file(
        &mut self,
        path: &CleanPath,
        mode: Mode,
        _: Owner,
        _: Epoch,
        content: &mut dyn Read,
    ) -> Result<(), SinkError> {
        let size = std::io::copy(content, &mut std::io::sink())?;
        self.add(&format!("f {mode:?} {size}"), path);
        Ok(())
    }

    fn symlink(&mut self, path: &CleanPath, _: Owner, _: &[u8]) -> Result<(), SinkError> {
        self.add("l", path);
        self.links.push(path.clone());
        Ok(())
    }

    fn hardlink(&mut self, path: &CleanPath, target: &CleanPath) -> Result<(), SinkError> {
        assert!(self.lines.iter().any(|line| line.starts_with('f') && line.ends_with(&target.to_string())));
        self.add(&format!("f {target}"), path);
        Ok(())
    }
}

const SMALL: Limits = Limits { bytes: 1 << 20, entries: 100 };

fn open(bytes: &[u8]) -> Result<(Package, Vec<String>), DebError> {
    let mut seen = Seen::default();
    unpack(bytes, SMALL, 2, &mut seen).map(|package| (package, seen.lines))
}

/// Makes a package around any bytes of a data member.
fn around(name: &str, data: &[u8]) -> Vec<u8> {
    let control = tar(&[TarEntry::file("./control", 0o644, Deb::new("odd", "1").control())]);
    ar(&[("debian-binary", b"2.0\n"), ("control.tar", &control), (name, data)])
}

fn plain(entries: &[TarEntry]) -> Vec<u8> {
    around("data.tar", &tar(entries))
}

/// Writes one record of an extended header: the length counts itself.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (rest..).find(|length| length.to_string().len() + rest == *length).expect("some length");
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

fn extended(records: &[u8]) -> TarEntry {
    TarEntry { kind: b'x', data: records.to_vec(), ..TarEntry::file("./PaxHeaders/x", 0o644, "") }
}

fn reason(bytes: &[u8]) -> String {
    let error = open(bytes).map(|(_, lines)| lines).expect_err("it is refused");
    match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[test]
fn what_no_unpacker_may_follow_is_refused() {
    for (what, deb) in hostile::debs() {
        assert!(open(&deb.build()).is_err(), "{what}");
        assert!(open(&deb.compression(Compression::None).build()).is_err(), "{what}, not compressed");
    }
}

#[test]
fn an_honest_package_is_taken_in_each_compression() {
    for compression in [Compression::None, Compression::Gzip, Compression::Xz, Compression::Zstd] {
        let deb = Deb::new("good", "1").file("bin/tool", 0o4755, "12345").compression(compression);
        let (package, lines) = open(&deb.build()).expect("it unpacks");
        assert_eq!(lines, ["f 4755 5 usr/bin/tool"], "{compression:?}");
        assert_eq!(package.paths.iter().map(ToString::to_string).collect::<Vec<_>>(), ["bin", "bin/tool"]);
    }
}

#[test]
fn a_link_may_not_be_exchanged_for_a_directory() {
    let entries = [TarEntry::symlink("./a", "/tmp"), TarEntry::directory("./a/", 0o755)];
    assert!(reason(&plain(&entries)).contains("comes twice"));
    let entries = [TarEntry::directory("./a/", 0o755), TarEntry::symlink("./a", "/tmp")];
    assert!(reason(&plain(&entries)).contains("comes twice"));
    let entries = [TarEntry::file("./a/b", 0o644, ""), TarEntry::symlink("./a", "/tmp")];
    assert!(reason(&plain(&entries)).contains("comes twice"));
}

#[test]
fn one_place_has_one_entry_even_through_the_merged_usr() {
    let entries = [TarEntry::file("./bin/sh", 0o755, "one"), TarEntry::file("./usr/bin/sh", 0o755, "two")];
    assert!(reason(&plain(&entries)).contains("comes twice"));
    let entries = [TarEntry::symlink("./usr/lib", "/tmp"), TarEntry::file("./lib/x.so", 0o644, "")];
    assert!(reason(&plain(&entries)).contains("beneath a symbolic link"));
    assert!(reason(&plain(&[TarEntry::file("./lib64", 0o644, "x")])).contains("where `/usr` is merged"));
}

#[test]
fn a_hard_link_names_a_file_that_came_before() {
    for target in ["./later", "./itself", "./folder", "./link", "", "."] {
        let entries = [
            TarEntry::directory("./folder/", 0o755),
            TarEntry::symlink("./link", "x"),
            TarEntry::hardlink("./itself", target),
            TarEntry::file("./later", 0o644, "x"),
        ];
        assert!(open(&plain(&entries)).is_err(), "{target}");
    }
    let entries = [TarEntry::file("./bin/one", 0o755, "x"), TarEntry::hardlink("./bin/two", "./bin/one")];
    let (_, lines) = open(&plain(&entries)).expect("it unpacks");
    assert_eq!(lines, ["f 0755 1 usr/bin/one", "f usr/bin/one usr/bin/two"]);
}

#[test]
fn long_names_are_held_to_the_same_rules() {
    let climb = [b"./".as_slice(), &b"x/".repeat(60), &b"../".repeat(61), b"owned"].concat();
    assert!(open(&plain(&[TarEntry::file(&climb, 0o644, "x")])).is_err());
    for path in ["../owned", "/etc/owned", "a/../../b", "a\0b", ""] {
        let entries = [extended(&record("path", path.as_bytes())), TarEntry::file("./innocent", 0o644, "x")];
        assert!(open(&plain(&entries)).is_err(), "{path:?}");
    }
    let entries = [extended(&record("linkpath", b"../../etc/shadow")), TarEntry::hardlink("./a", "./b")];
    assert!(open(&plain(&entries)).is_err());
    let name = format!("./{}/{}", "d".repeat(200), "n".repeat(200));
    let entries = [extended(&record("path", name.as_bytes())), TarEntry::file("./short", 0o644, "x")];
    assert_eq!(open(&plain(&entries)).expect("it unpacks").1, [format!("f 0644 1 {}", &name[2..])]);
}

#[test]
fn an_extended_header_cannot_change_sizes_or_owners_or_make_holes() {
    for key in ["size", "uid", "gid", "GNU.sparse.major", "GNU.sparse.name"] {
        let entries = [extended(&record(key, b"1")), TarEntry::file("./a", 0o644, "12345")];
        assert!(matches!(open(&plain(&entries)), Err(DebError::Entry { .. })), "{key}");
    }
    assert!(open(&plain(&[extended(b"99999 path=x\n"), TarEntry::file("./a", 0o644, "")])).is_err());
    assert!(open(&plain(&[TarEntry { kind: b'S', ..TarEntry::file("./a", 0o644, "") }])).is_err());
}

#[test]
fn a_long_name_without_an_end_is_not_read_into_memory() {
    for kind in [b'L', b'K', b'x'] {
        let entry = TarEntry { kind, data: vec![b'x'; 65 << 10], ..TarEntry::file("././@LongLink", 0o644, "") };
        assert!(reason(&plain(&[entry])).contains("64 KiB"));
    }
}

#[test]
fn names_of_any_bytes_are_taken_and_none_is_too_long() {
    let name = [b"./".as_slice(), &[0xff, 0xfe, b'\n', 0x1b]].concat();
    let (package, _) = open(&plain(&[TarEntry::file(&name, 0o644, "")])).expect("it unpacks");
    assert_eq!(package.paths[0].as_bytes(), &name[2..]);
    let deep = format!("{}/", "d".repeat(127)).repeat(31) + &"e".repeat(123) + "/";
    assert!(open(&plain(&[TarEntry::file(deep.clone() + "abc", 0o644, "")])).is_ok());
    assert!(open(&plain(&[TarEntry::file(deep + "abcd", 0o644, "")])).is_err());
    assert!(open(&plain(&[TarEntry::file([b'n'; 256], 0o644, "")])).is_err());
}

#[test]
fn a_bomb_goes_off_at_the_limit() {
    let zeros = vec![0; 2 << 20];
    for (name, data) in [
        ("data.tar.gz", gzip(&tar(&[TarEntry::file("./zeros", 0o644, &zeros)]))),
        ("data.tar.xz", xz(&tar(&[TarEntry::file("./zeros", 0o644, &zeros)]))),
        ("data.tar.zst", zstd(&tar(&[TarEntry::file("./zeros", 0o644, &zeros)]))),
    ] {
        assert!(matches!(open(&around(name, &data)), Err(DebError::TooLarge { unit: "bytes", .. })), "{name}");
    }
    let half = TarEntry::file("./half", 0o644, &zeros[..600 << 10]);
    let other = TarEntry { name: b"./other".to_vec(), ..half.clone() };
    assert!(matches!(open(&plain(&[half, other])), Err(DebError::TooLarge { .. })));
}

#[test]
fn what_is_skipped_has_a_limit_too() {
    let hidden = |kind| TarEntry { kind, ..TarEntry::file("./skipped", 0o755, vec![0; 3 << 20]) };
    for kind in [b'g', b'5', b'2'] {
        let entry = TarEntry { link: b"x".to_vec(), ..hidden(kind) };
        let bytes = around("data.tar.gz", &gzip(&tar(&[entry, TarEntry::file("./after", 0o644, "")])));
        assert!(reason(&bytes).contains("more than a package may hold"), "{}", char::from(kind));
    }
}

#[test]
fn many_entries_and_deep_ones_have_a_limit() {
    let many: Vec<TarEntry> = (0..101).map(|n| TarEntry::file(format!("./{n}"), 0o644, "")).collect();
    assert!(matches!(open(&plain(&many)), Err(DebError::TooLarge { unit: "entries", .. })));
    let deep = |n: usize| TarEntry::file(format!("./{n}/{}x", ("n".repeat(33) + "/").repeat(110)), 0o644, "");
    let deep: Vec<TarEntry> = (0..99).map(deep).collect();
    assert!(matches!(open(&plain(&deep)), Err(DebError::TooLarge { unit: "bytes of names", .. })));
}

#[test]
fn paths_of_thousands_of_components_end_it_at_once() {
    let at = |depth: usize| plain(&[TarEntry::file("d/".repeat(depth - 1) + "f", 0o644, "")]);
    assert!(open(&at(128)).is_ok());
    assert!(reason(&at(129)).contains("more than 128 directories"));
    // As many as there may be, in each of the many entries that there may be.
    let deep = (0..2000).map(|n| TarEntry::directory(format!("./{n}/{}", "a/".repeat(2000)), 0o755));
    let bytes = around("data.tar.gz", &gzip(&tar(&deep.collect::<Vec<_>>())));
    assert!(reason(&bytes).contains("more than 128 directories"));
    let control = tar(&[TarEntry::file("a/".repeat(2000) + "postinst", 0o755, "")]);
    let deb = ar(&[("debian-binary", b"2.0\n"), ("control.tar", &control), ("data.tar", &tar(&[]))]);
    assert!(reason(&deb).contains("more than 128 directories"));
}

#[test]
fn only_a_directory_may_end_with_a_slash() {
    for entry in [
        TarEntry::file("./usr/", 0o644, "x"),
        TarEntry::symlink("./usr/", "/tmp"),
        TarEntry { kind: b'0', ..TarEntry::directory("./usr/./", 0o755) },
        TarEntry { kind: 0, ..TarEntry::directory("./", 0o755) },
    ] {
        assert!(reason(&plain(std::slice::from_ref(&entry))).contains("ends with a slash"), "{entry:?}");
    }
    assert!(open(&plain(&[TarEntry::directory("./usr/", 0o755), TarEntry::directory("./var", 0o755)])).is_ok());
    let long = [TarEntry::file(format!("./{}/", "n".repeat(120)), 0o644, "x")];
    assert!(reason(&plain(&long)).contains("ends with a slash"));
}

#[test]
fn a_package_may_not_unfold_to_much_more_than_it_or_its_size_says() {
    let sized = |kib: &str| {
        let deb = Deb::new("odd", "1").field("Installed-Size", kib);
        deb.file("zeros", 0o644, vec![0; 70 << 20]).compression(Compression::Zstd).build()
    };
    let open = |bytes: &[u8], limits| unpack(bytes, limits, 1, &mut Seen::default()).map(drop);
    let most = Limits::default();
    for (kib, is_good) in
        [("100", false), ("1535", false), ("1536", true), ("71680", true), ("18446744073709551615", true)]
    {
        assert_eq!(open(&sized(kib), most).is_ok(), is_good, "{kib}");
    }
    assert!(open(&sized("unknown"), most).is_ok(), "what says nothing has the other limits");
    let bytes = sized("71680");
    assert!(matches!(open(&bytes, Limits::of_size(1)), Err(DebError::TooLarge { unit: "bytes", .. })));
    assert!(open(&bytes, Limits::of_size(6 << 10)).is_ok());
    assert_eq!(Limits::of_size(u64::MAX), most);
    let many = |kib: &str, count: usize| {
        let deb = Deb::new("odd", "1").field("Installed-Size", kib).compression(Compression::Zstd);
        (0..count).fold(deb, |deb, n| deb.entry(TarEntry::file(format!("./{n}"), 0o644, ""))).build()
    };
    let error = open(&many("1", (64 << 10) + 5), most).expect_err("too many");
    assert!(matches!(error, DebError::TooLarge { unit: "entries", .. }), "{error}");
    assert!(open(&many("2", (64 << 10) + 5), most).is_ok());
}

#[test]
fn a_package_that_is_cut_off_is_refused_wherever_it_is_cut() {
    let deb = Deb::new("cut", "1").script("postinst", "#!/bin/sh\n").file("usr/bin/tool", 0o755, [7; 700]);
    let whole = deb.compression(Compression::None).build();
    for length in 0..whole.len() {
        assert!(open(&whole[..length]).is_err(), "cut at {length}");
    }
    assert!(open(&whole).is_ok());
}

#[test]
fn members_are_those_of_a_package_and_in_their_order() {
    let control = tar(&[TarEntry::file("./control", 0o644, Deb::new("odd", "1").control())]);
    let (version, data): (&[u8], _) = (b"2.0\n", tar(&[]));
    let refused: [&[(&str, &[u8])]; 7] = [
        &[],
        &[("debian-binary", version)],
        &[("debian-binary", version), ("control.tar", &control)],
        &[("debian-binary", version), ("data.tar", &data), ("control.tar", &control)],
        &[("debian-binary", b"3.0\n"), ("control.tar", &control), ("data.tar", &data)],
        &[("debian-binary", version), ("control.tar.lz4", &control), ("data.tar", &data)],
        &[("debian-binary", version), ("control.tar", &data), ("data.tar", &data)],
    ];
    for members in refused {
        assert!(open(&ar(members)).is_err());
    }
    let passed: &[(&str, &[u8])] =
        &[("debian-binary", version), ("control.tar", &control), ("_gpgorigin", b"x"), ("data.tar", &data)];
    assert!(open(&ar(passed)).is_ok());
}

#[test]
fn control_files_are_plain_files_with_plain_names() {
    let fields = Deb::new("odd", "1").control();
    for bad in [
        TarEntry::file("./info/postinst", 0o755, ""),
        TarEntry::symlink("./postinst", "/bin/sh"),
        TarEntry::file("./../postinst", 0o755, ""),
        TarEntry::file("./control", 0o644, "Package: other\n"),
        TarEntry::file(b"./post\xffinst", 0o755, ""),
    ] {
        let control = tar(&[TarEntry::file("./control", 0o644, &fields), bad.clone()]);
        let deb = ar(&[("debian-binary", b"2.0\n"), ("control.tar", &control), ("data.tar", &tar(&[]))]);
        assert!(open(&deb).is_err(), "{bad:?}");
    }
    for name in ["../../etc/passwd", "a/b", "", "a b", "-x"] {
        assert!(open(&Deb::new(name, "1").build()).is_err(), "{name}");
        assert!(open(&Deb::new("good", name).build()).is_err(), "{name}");
    }
}

#[test]
fn numbers_that_are_none_are_refused_and_large_ones_do_no_harm() {
    let mut data = tar(&[TarEntry::file("./a", 0o644, "")]);
    data[136..147].copy_from_slice(&[0x80, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    let sum: u32 =
        data[..512].iter().enumerate().map(|(i, b)| if (148..156).contains(&i) { 32 } else { u32::from(*b) }).sum();
    data[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let _ = open(&around("data.tar", &data));
    let mut data = tar(&[TarEntry::file("./a", 0o644, "")]);
    data[0] ^= 1;
    assert!(open(&around("data.tar", &data)).is_err(), "the sum of the head is checked");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        let _ = open(&bytes);
        let _ = open(&around("data.tar", &bytes));
        let _ = open(&around("data.tar.gz", &bytes));
    }

    #[test]
    fn no_change_of_a_good_package_makes_it_panic(
        places in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        compressed: bool,
    ) {
        let compression = if compressed { Compression::Xz } else { Compression::None };
        let deb = Deb::new("good", "1").file("usr/bin/tool", 0o755, "tool").entry(TarEntry::symlink("./l", "usr"));
        let mut bytes = deb.entry(TarEntry::hardlink("./h", "./usr/bin/tool")).compression(compression).build();
        for (place, value) in places {
            let at = place.index(bytes.len());
            bytes[at] = value;
        }
        let _ = open(&bytes);
    }

    #[test]
    fn no_order_of_entries_leads_out(
        parts in proptest::collection::vec((0_u8..4, "(\\./)?(a|b|bin|usr)(/(a|b|bin|\\.\\.)){0,3}", "/?(a|b|\\.\\.|usr)(/(a|b)){0,2}"), 0..8)
    ) {
        let entries: Vec<TarEntry> = parts.iter().map(|(kind, name, link)| match kind {
            0 => TarEntry::file(name, 0o644, "x"),
            1 => TarEntry::directory(name, 0o755),
            2 => TarEntry::symlink(name, link),
            _ => TarEntry::hardlink(name, link),
        }).collect();
        let _ = open(&plain(&entries));
    }
}

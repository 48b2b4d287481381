//! Bad input that several tests need.

use crate::{archive::TarEntry, debian::Deb};

/// Gives YAML whose aliases would unfold to 10^9 scalars.
pub fn exploding_yaml() -> String {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let alias = format!("*a{}", level - 1);
        text.push_str(&format!("a{level}: &a{level} [{}]\n", vec![alias; 10].join(", ")));
    }
    text
}

/// Gives YAML that is nested so deep.
pub fn deep_yaml(depth: usize) -> String {
    format!("bulla: {}{}", "[".repeat(depth), "]".repeat(depth))
}

/// Gives YAML of at least so many bytes.
pub fn huge_yaml(bytes: usize) -> String {
    let line = "  - echo a line that says nothing at all, many times over\n";
    let mut text = String::from("bulla: 1\nstages:\n  build:\n    steps:\n");
    text.push_str(&line.repeat(bytes / line.len() + 1));
    text
}

/// Gives tar entries that no unpacker may follow, each with the name of what is wrong with it.
pub fn tar_entries() -> Vec<(&'static str, Vec<TarEntry>)> {
    let long = "x".repeat(4096);
    vec![
        ("an absolute path", vec![TarEntry::file("/etc/owned", 0o644, "x")]),
        ("a path that climbs", vec![TarEntry::file("./../../owned", 0o644, "x")]),
        ("a path that climbs inside", vec![TarEntry::file("./usr/../../owned", 0o644, "x")]),
        ("a file through a link", vec![TarEntry::symlink("./out", "/tmp"), TarEntry::file("./out/owned", 0o644, "x")]),
        ("a hard link to outside", vec![TarEntry::hardlink("./shadow", "/etc/shadow")]),
        ("a hard link that climbs", vec![TarEntry::hardlink("./shadow", "../../../etc/shadow")]),
        (
            "a hard link through a link",
            vec![TarEntry::symlink("./out", "/etc"), TarEntry::hardlink("./shadow", "./out/shadow")],
        ),
        ("a character device", vec![TarEntry::special("./dev-mem", b'3', (1, 1))]),
        ("a block device", vec![TarEntry::special("./dev-sda", b'4', (8, 0))]),
        ("a FIFO", vec![TarEntry::special("./fifo", b'6', (0, 0))]),
        ("a duplicate", vec![TarEntry::file("./twice", 0o644, "one"), TarEntry::file("./twice", 0o644, "two")]),
        ("a name of 4096 bytes", vec![TarEntry::file(long, 0o644, "x")]),
        ("a NUL in a long name", vec![TarEntry::file([b"./a\0b".as_slice(), &[b'x'; 120]].concat(), 0o644, "x")]),
        ("a size past the end", vec![TarEntry { claimed_size: Some(1 << 40), ..TarEntry::file("./huge", 0o644, "x") }]),
        ("an unknown type", vec![TarEntry::special("./odd", b'Z', (0, 0))]),
    ]
}

/// Gives a package for each of [`tar_entries`].
pub fn debs() -> Vec<(&'static str, Deb)> {
    tar_entries()
        .into_iter()
        .map(|(what, entries)| (what, entries.into_iter().fold(Deb::new("hostile", "1"), Deb::entry)))
        .collect()
}

/// Gives a compressed file of so many zeros: small as it comes, large when it is unfolded.
pub fn gzip_bomb(bytes: usize) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let zeros = [0; 64 * 1024];
    let mut left = bytes;
    while left > 0 {
        let count = left.min(zeros.len());
        std::io::Write::write_all(&mut encoder, &zeros[..count]).expect("writing to memory");
        left -= count;
    }
    encoder.finish().expect("writing to memory")
}

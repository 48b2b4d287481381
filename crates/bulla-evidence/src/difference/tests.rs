use std::io::Write as _;

use super::*;

fn cause(before: &[u8], now: &[u8]) -> Cause {
    explain(before, now).expect("they differ").cause
}

fn gzip(bytes: &[u8], time: u32) -> Vec<u8> {
    let mut writer = flate2::GzBuilder::new().mtime(time).write(Vec::new(), flate2::Compression::fast());
    writer.write_all(bytes).expect("memory");
    writer.finish().expect("memory")
}

fn zip(members: &[(&str, &[u8], u8)]) -> Vec<u8> {
    let mut writer = ::zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes, hour) in members {
        let time = ::zip::DateTime::from_date_and_time(2026, 1, 2, *hour, 0, 0).expect("a time");
        let options = ::zip::write::SimpleFileOptions::default().last_modified_time(time);
        writer.start_file(*name, options).expect("memory");
        writer.write_all(bytes).expect("memory");
    }
    writer.finish().expect("memory").into_inner()
}

fn ar(members: &[(&str, &[u8], u64)]) -> Vec<u8> {
    let mut out = b"!<arch>\n".to_vec();
    for (name, bytes, time) in members {
        out.extend(format!("{name:<16}{time:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 644, bytes.len()).bytes());
        out.extend_from_slice(bytes);
        out.extend((bytes.len() % 2 == 1).then_some(b'\n'));
    }
    out
}

#[test]
fn the_same_is_not_explained() {
    assert_eq!(explain(b"a", b"a"), None);
}

#[test]
fn texts_that_differ_are_told_apart() {
    for (before, now, wanted) in [
        ("built 2026-01-02 on x", "built 2026-01-03 on x", Cause::Time),
        ("at 10:11:12", "at 10:11:13", Cause::Time),
        ("epoch=1767312000;", "epoch=1767312001;", Cause::Time),
        ("ns 1767312000123456789", "ns 1767312000123456799", Cause::Time),
        ("v20260102", "v20260103", Cause::Time),
        ("a\nb\nc\n", "c\na\nb\n", Cause::Order),
        ("x, y z", "y, x z", Cause::Order),
        ("__FILE__ \"/home/a/shop/main.c\"", "__FILE__ \"/build/shop/main.c\"", Cause::Path),
        ("id d41d8cd98f00b204", "id 9e107d9d372bb682", Cause::Random),
        ("id 3f2504e0-4f89-41d3", "id 7b2504e0-4f89-41d3", Cause::Random),
        ("yes", "no", Cause::Unknown),
        ("one", "one more", Cause::Unknown),
    ] {
        assert_eq!(cause(before.as_bytes(), now.as_bytes()), wanted, "{before} {now}");
    }
}

#[test]
fn what_is_shown_is_short_and_printable() {
    let long = "x".repeat(500);
    let found =
        explain(format!("\u{1b}[31m{long}a").as_bytes(), format!("\u{1b}[31m{long}b").as_bytes()).expect("they differ");
    assert!(!found.to_string().contains('\u{1b}') && found.to_string().len() < 300, "{found}");
    // The head of a member is as foreign as its bytes are.
    let head = |text: &str| {
        ar(&[("a", b"xy", 1)])
            .iter()
            .copied()
            .map(|byte| if byte == b'1' { text.as_bytes()[0] } else { byte })
            .collect::<Vec<_>>()
    };
    let found = explain(&head("\u{1b}"), &head("2")).expect("they differ").to_string();
    assert!(found.contains("its head: `.` and `2`"), "{found}");
}

#[test]
fn packed_files_are_looked_into() {
    let (one, other) = (gzip(b"hello", 1), gzip(b"hello", 2));
    assert_eq!(
        explain(&one, &other).map(|found| (found.cause, found.place)),
        Some((Cause::Time, "the head of gzip".into()))
    );
    let found = explain(&gzip(b"at 10:11:12 it was", 1), &gzip(b"at 10:11:13 it was", 1)).expect("they differ");
    assert_eq!((found.cause, found.place.as_str()), (Cause::Time, "what gzip packs"));
    let (one, other) = (gzip(&one, 0), gzip(&other, 0));
    assert_eq!(explain(&one, &other).expect("they differ").place, "what gzip packs, the head of gzip");
}

#[test]
fn members_of_archives_are_compared_by_name() {
    let (a, b): (&[u8], &[u8]) = (b"one", b"two");
    assert_eq!(cause(&zip(&[("a", a, 1)]), &zip(&[("a", a, 2)])), Cause::Time);
    assert_eq!(cause(&zip(&[("a", a, 1), ("b", b, 1)]), &zip(&[("b", b, 1), ("a", a, 1)])), Cause::Order);
    assert_eq!(cause(&zip(&[("a", a, 1), ("b", b, 1)]), &zip(&[("a", a, 1)])), Cause::Member);
    let found =
        explain(&zip(&[("x/a.txt", b"/home/a/x", 1)]), &zip(&[("x/a.txt", b"/build/x/y", 1)])).expect("they differ");
    assert_eq!((found.cause, found.place.as_str()), (Cause::Path, "member x/a.txt"));
    let found =
        explain(&ar(&[("a.o/", a, 5), ("b.o/", b, 5)]), &ar(&[("a.o/", a, 5), ("b.o/", b, 6)])).expect("they differ");
    assert_eq!((found.cause, found.before.as_str(), found.now.as_str()), (Cause::Time, "5", "6"));
}

#[test]
fn compiled_modules_of_python_have_the_time_of_their_source() {
    let module = |time: u32| [b"\xa7\x0d\r\n\0\0\0\0".as_slice(), &time.to_le_bytes(), b"\x05\0\0\0code"].concat();
    assert_eq!(cause(&module(1), &module(2)), Cause::Time);
}

#[test]
fn bytes_of_no_kind_do_no_harm() {
    for bytes in [b"PK\x03\x04".as_slice(), b"\x1f\x8b", b"\x7fELF", b"!<arch>\nx", b""] {
        let other = [bytes, b"more"].concat();
        assert!(explain(bytes, &other).is_some());
    }
    // What would unfold to far more than it is.
    let bomb = gzip(&vec![0; 80 << 20], 0);
    let other = [bomb.clone(), gzip(b"x", 0)].concat();
    assert!(explain(&bomb, &other).is_some());
}

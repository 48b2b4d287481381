use std::io::{Cursor, Write as _};

use proptest::prelude::*;

use super::*;

const VALUE: &str = "s3cr3t+Value&of=test";
const OTHER: &str = "an0ther+Value&of=test";

fn secrets(values: &[(&str, &str)]) -> Secrets {
    let value =
        |(name, value): &(&str, &str)| (name.parse().expect("a name"), SecretBytes::new(value.as_bytes().to_vec()));
    Secrets::new(values.iter().map(value).collect())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn zip(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut writer = ::zip::ZipWriter::new(Cursor::new(Vec::new()));
    writer.start_file(name, ::zip::write::SimpleFileOptions::default()).expect("an entry");
    writer.write_all(bytes).expect("memory");
    writer.finish().expect("memory").into_inner()
}

fn tar(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut builder = ::tar::Builder::new(Vec::new());
    for (name, bytes) in [("first", &b"nothing"[..]), (name, bytes)] {
        let mut header = ::tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, bytes).expect("an entry");
    }
    builder.into_inner().expect("memory")
}

/// The form of base64 that a program would write, with the bytes that stand before and after.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let byte = |at: usize| group.get(at).copied().map_or(0, u32::from);
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        let digit = |at: usize| char::from(ALPHABET[(bits >> (18 - 6 * at) & 63) as usize]);
        text.extend((0..4).map(|at| if at <= group.len() { digit(at) } else { '=' }));
    }
    text
}

fn lines(text: &str, length: usize) -> String {
    let bytes: Vec<&str> =
        text.as_bytes().chunks(length).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
    bytes.join("\n")
}

/// Every way in which a value is to be found: what it is, the bytes, and what must be said of it.
fn leaks(value: &str) -> Vec<(String, Vec<u8>, &'static str)> {
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    let escaped: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let some: String = value.replace('+', "%2b").replace('&', "%26").replace('=', "%3d");
    let mut leaks = vec![
        ("raw".to_owned(), format!("x={value}\n").into_bytes(), "as it is"),
        ("hex".to_owned(), format!("x {hex} x").into_bytes(), "in hexadecimal"),
        ("HEX".to_owned(), hex.to_uppercase().into_bytes(), "in hexadecimal"),
        (
            "spaced hex".to_owned(),
            lines(&hex, 2).replace('\n', " ").into_bytes(),
            "in hexadecimal, with white space in between",
        ),
        ("all escaped".to_owned(), escaped.clone().into_bytes(), "URL-encoded"),
        ("escaped, in lower case".to_owned(), escaped.to_lowercase().into_bytes(), "URL-encoded"),
        ("some escaped".to_owned(), format!("?a={some}&b").into_bytes(), "URL-encoded"),
        ("a letter a line".to_owned(), lines(value, 1).into_bytes(), "as it is, with white space in between"),
        ("UTF-16".to_owned(), value.encode_utf16().flat_map(u16::to_le_bytes).collect(), "in UTF-16"),
        ("base64 of hex".to_owned(), base64(hex.as_bytes()).into_bytes(), "encoded twice"),
        (
            "hex of base64".to_owned(),
            base64(value.as_bytes()).bytes().map(|b| format!("{b:02x}")).collect::<String>().into_bytes(),
            "encoded twice",
        ),
    ];
    for before in ["", "a", "ab", "abc"] {
        let once = base64(format!("{before}{value} and more").as_bytes());
        leaks.push((format!("base64 behind `{before}`"), once.clone().into_bytes(), "in base64"));
        leaks.push((
            format!("safe base64 behind `{before}`"),
            once.replace('+', "-").replace('/', "_").into_bytes(),
            "in base64",
        ));
        leaks.push((
            format!("short lines of base64 behind `{before}`"),
            lines(&once, 10).into_bytes(),
            "in base64, with white space in between",
        ));
        for second in ["", "a", "ab"] {
            let twice = base64(format!("{second}{once}").as_bytes());
            leaks.push((format!("base64 twice behind `{before}` and `{second}`"), twice.into_bytes(), "encoded twice"));
        }
    }
    leaks
}

#[test]
fn a_value_is_found_in_each_of_its_forms() {
    let (found, not) = (secrets(&[("token", VALUE)]), secrets(&[("token", OTHER)]));
    for (what, bytes, how) in leaks(VALUE) {
        let hits = found.find(&bytes);
        assert_eq!(hits.len(), 1, "{what}: {}", String::from_utf8_lossy(&bytes));
        assert!(hits[0].how.starts_with(how), "{what}: {}", hits[0].how);
        assert_eq!((hits[0].secret.as_str(), hits[0].place.as_str()), ("token", "/file"));
        assert_eq!(not.find(&bytes), [], "the control: it is another value");
    }
}

#[test]
fn a_value_is_found_in_whatever_it_is_packed_in() {
    let found = secrets(&[("token", VALUE)]);
    for (what, bytes, _) in leaks(VALUE) {
        for (packed, place) in [
            (gzip(&bytes), "/file > gzip"),
            (zlib(&bytes), "/file > zlib"),
            (xz(&bytes), "/file > xz"),
            (zstd::encode_all(&*bytes, 1).expect("memory"), "/file > zstd"),
            (zip("in/side", &bytes), "/file > in/side"),
            (gzip(&tar("in/side", &bytes)), "/file > gzip > in/side"),
            (tar("a.gz", &gzip(&bytes)), "/file > a.gz > gzip"),
            (zip("a.tar.xz", &xz(&tar("b.zip", &zip("c", &bytes)))), "/file > a.tar.xz > xz > b.zip > c"),
            ([b"#!/bin/sh\nexit\n", &*zip("self", &bytes)].concat(), "/file > self"),
            ([gzip(b"first"), gzip(&bytes)].concat(), "/file > gzip"),
        ] {
            let hits = found.find(&packed);
            assert!(hits.iter().any(|hit| hit.place == place), "{what} in {place}: {hits:?}");
        }
    }
    assert_eq!(found.find(&gzip(OTHER.as_bytes())), [], "the control");
    assert_eq!(found.find(&zip(VALUE, b"")).len(), 1, "the name of an entry");
    let named = found.find(&zip(&format!("a/{VALUE}"), VALUE.as_bytes()));
    assert!(!format!("{named:?}").contains(VALUE) && named.len() >= 2, "{named:?}");
}

#[test]
fn what_is_damaged_is_searched_as_it_is() {
    let found = secrets(&[("token", VALUE)]);
    let whole = gzip(format!("{VALUE}{}", "x".repeat(100_000)).as_bytes());
    assert_eq!(found.find(&whole[..whole.len() - 20]).len(), 1, "cut off at its end");
    for head in [&b"\x1f\x8b\x08"[..], b"PK\x03\x04", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"\x78\x9c"] {
        assert_eq!(found.find(&[head, VALUE.as_bytes()].concat()).len(), 1, "{head:?}");
    }
}

#[test]
fn what_is_too_deep_or_too_much_is_said_to_be_unsearched() {
    let found = secrets(&[("token", VALUE)]);
    let nested = |times: usize| (0..times).fold(VALUE.as_bytes().to_vec(), |bytes, _| gzip(&bytes));
    assert_eq!(found.find(&nested(8)).len(), 1);
    let search = found.search().expect("there are secrets");
    search.file(&mut Cursor::new(nested(9)), "/deep").expect("memory");
    let findings = search.into_findings();
    assert!(findings.hits.is_empty() && findings.unsearched.len() == 1, "{findings:?}");
    assert!(findings.unsearched[0].starts_with("/deep > gzip"), "{findings:?}");
}

#[test]
fn a_long_stream_has_no_seams() {
    let found = secrets(&[("token", VALUE)]);
    for at in [(1 << 16) - 530, (1 << 16) - 10, (1 << 16) + 500, (1 << 16) + 512 - 10, (1 << 17) + 502] {
        let mut bytes = vec![b'.'; 1 << 18];
        bytes[at..at + VALUE.len()].copy_from_slice(VALUE.as_bytes());
        assert_eq!(found.find(&bytes).len(), 1, "at {at}");
    }
}

#[test]
fn long_values_are_found_by_their_parts() {
    let numbers = |seed: u64| {
        let mut state = seed;
        std::iter::repeat_with(move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b"abcdefghijklmnopqrstuvwxyz0123456789"[(state >> 33) as usize % 36])
        })
    };
    let one: String = numbers(1).take(5000).collect();
    let key: String =
        format!("-----BEGIN KEY-----\n{}\n-----END KEY-----\n", lines(&numbers(2).take(2000).collect::<String>(), 64));
    let found = secrets(&[("one", &one), ("key", &key)]);
    for (what, bytes, name) in [
        ("raw", one.clone().into_bytes(), "one"),
        ("base64", lines(&base64(one.as_bytes()), 76).into_bytes(), "one"),
        (
            "base64 twice, in lines",
            lines(&base64(lines(&base64(one.as_bytes()), 76).as_bytes()), 76).into_bytes(),
            "one",
        ),
        ("gzip", gzip(one.as_bytes()), "one"),
        ("raw", key.clone().into_bytes(), "key"),
        ("a line", key.lines().nth(5).expect("a line").as_bytes().to_vec(), "key"),
        ("base64", lines(&base64(key.as_bytes()), 76).into_bytes(), "key"),
        ("lines joined", key.replace('\n', "").into_bytes(), "key"),
        ("JSON", serde_json::to_vec(&key).expect("JSON"), "key"),
    ] {
        assert!(found.find(&bytes).iter().any(|hit| hit.secret.as_str() == name), "{name}: {what}");
    }
    assert_eq!(found.find(b"-----BEGIN KEY-----\nabc\n-----END KEY-----\n"), [], "the frame of a key is nobody's");
}

#[test]
fn a_short_value_is_found_by_chance_only() {
    let found = secrets(&[("pin", "49382"), ("token", VALUE), ("no", "abc")]);
    assert_eq!(
        found.short().iter().map(|(name, length)| (name.as_str(), *length)).collect::<Vec<_>>(),
        [("no", 3), ("pin", 5)]
    );
    let search = found.search().expect("there are secrets");
    search.bytes(format!("49382 abc {VALUE}").as_bytes(), "/x");
    let findings = search.into_findings();
    assert_eq!((findings.hits.len(), findings.chances.len()), (1, 1), "{findings:?}");
    assert_eq!(findings.chances[0].secret.as_str(), "pin");
}

#[test]
fn nothing_shows_a_value() {
    let found = secrets(&[("token", VALUE)]);
    assert_eq!(format!("{found:?}"), "{Name(\"token\")}");
    assert_eq!(found.masked(&format!("a {VALUE} b")), "a *** b");
    assert!(matches!(found.masked("a b"), Cow::Borrowed("a b")));
    assert_eq!(Secrets::default().masked(VALUE), VALUE, "the control");
}

proptest! {
    #[test]
    fn masked_output_is_the_same_however_it_comes_in_pieces(
        text in "[sS3cr\n3t+Value&of=test]{0,200}",
        cuts in prop::collection::vec(0_usize..400, 0..6),
        at in 0_usize..200,
        form in 0_usize..30,
    ) {
        let found = secrets(&[("token", VALUE)]);
        let leaks = leaks(VALUE);
        let mut bytes = text.into_bytes();
        let at = at.min(bytes.len());
        bytes.splice(at..at, leaks[form % leaks.len()].1.clone());
        let whole = found.0.as_ref().expect("there are secrets").mask.masked(&bytes);
        let mut masker = found.masker().expect("there are secrets");
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).chain([0, bytes.len()]).collect();
        cuts.sort_unstable();
        let mut out: Vec<u8> = cuts.windows(2).flat_map(|pair| masker.push(&bytes[pair[0]..pair[1]])).collect();
        out.extend(masker.finish());
        prop_assert_eq!(&out, &whole);
        prop_assert!(!out.windows(VALUE.len()).any(|part| part == VALUE.as_bytes()));
    }
}

//! The forms in which a value is looked for.
//!
//! A pattern is the part of an encoded value that is the same whatever stands around it: of base64 that is what is left when the
//! characters that share bits with their neighbours are taken off, at each of the three offsets that it can begin at. Of long
//! values and those of several lines parts are looked for: what leaks of a key file is mostly not the file as a whole.

use std::collections::BTreeMap;

use super::{SHORTEST, SHORTEST_AT_ALL};

/// How a value was written.
pub(super) type How = &'static str;

const RAW: How = "as it is";
const HEX: How = "in hexadecimal";
const URL: How = "URL-encoded";
const JSON: How = "as a string of JSON";
const UTF16: How = "in UTF-16";
const BASE64: How = "in base64";
const TWICE: How = "encoded twice, by base64 and otherwise";

/// The longest value that is looked for as a whole.
const WHOLE: usize = 256;
/// The length of the parts of a longer one, and how many of them are looked for.
const PART: usize = 64;
const PARTS: usize = 32;
/// The length of the parts that are encoded twice: short, so that they stand between two line ends of base64.
const SMALL_PART: usize = 24;
const SMALL_PARTS: usize = 8;
/// The shortest line of a value of several lines that is looked for by itself, and the most lines.
const LINE: usize = 16;
const LINES: usize = 1000;
/// The longest value whose encodings are masked as a whole; of a longer one each line is.
const LONGEST_MASKED: usize = 16 << 10;

/// Forms with how they came about; of equal ones the first.
#[derive(Default)]
pub(super) struct Forms(BTreeMap<Vec<u8>, How>);

impl Forms {
    fn add(&mut self, bytes: Vec<u8>, how: How, least: usize) {
        if bytes.len() >= least {
            self.0.entry(bytes).or_insert(how);
        }
    }

    /// Adds what programs make of bytes in one go.
    fn add_once(&mut self, value: &[u8]) {
        self.add(value.to_vec(), RAW, SHORTEST_AT_ALL);
        // Arguments that are no UTF-8 are kept like this.
        self.add(String::from_utf8_lossy(value).into_owned().into_bytes(), RAW, SHORTEST_AT_ALL);
        self.add(hex(value, b"0123456789abcdef"), HEX, SHORTEST);
        self.add(hex(value, b"0123456789ABCDEF"), HEX, SHORTEST);
        for form in [url(value, b"-._~", false), url(value, b"-._~!'()*", false), url(value, b"", true)] {
            let lower: Vec<u8> = lower_escapes(&form);
            self.add(form, URL, SHORTEST_AT_ALL);
            self.add(lower, URL, SHORTEST_AT_ALL);
        }
        if let Ok(text) = std::str::from_utf8(value) {
            let quoted = serde_json::to_string(text).unwrap_or_default();
            let inner = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(&quoted);
            self.add(inner.as_bytes().to_vec(), JSON, SHORTEST_AT_ALL);
            self.add(text.encode_utf16().flat_map(u16::to_le_bytes).collect(), UTF16, SHORTEST);
            self.add(text.encode_utf16().flat_map(u16::to_be_bytes).collect(), UTF16, SHORTEST);
        }
        base64(value).into_iter().for_each(|form| self.add(form, BASE64, SHORTEST));
    }

    /// Adds what comes of encoding twice, where one of both is base64.
    fn add_twice(&mut self, value: &[u8]) {
        let least = SHORTEST + 2;
        let utf16 = std::str::from_utf8(value).map(|text| text.encode_utf16().flat_map(u16::to_le_bytes).collect());
        let inner = [hex(value, b"0123456789abcdef"), hex(value, b"0123456789ABCDEF"), utf16.unwrap_or_default()];
        for form in base64(value).into_iter().chain(inner) {
            base64(&form).into_iter().for_each(|form| self.add(form, TWICE, least));
        }
        for form in base64(value) {
            self.add(hex(&form, b"0123456789abcdef"), TWICE, least);
            self.add(url(&form, b"-._~", false), TWICE, least);
        }
    }

    /// Gives the forms.
    pub(super) fn into_iter(self) -> impl Iterator<Item = (Vec<u8>, How)> {
        self.0.into_iter()
    }
}

/// Gives the forms in which a value is searched for.
pub(super) fn searched(value: &[u8]) -> Forms {
    let value = value.trim_ascii();
    let mut forms = Forms::default();
    if value.len() < SHORTEST_AT_ALL {
        return forms;
    }
    let many_lines = value.contains(&b'\n');
    if value.len() <= WHOLE {
        forms.add_once(value);
    } else {
        parts(value, PART, PARTS).for_each(|part| forms.add_once(part));
    }
    if many_lines {
        telling_lines(value).for_each(|line| forms.add_once(line));
    }
    if value.len() >= SHORTEST {
        match value.len() > 2 * SMALL_PART {
            true => parts(value, SMALL_PART, SMALL_PARTS).for_each(|part| forms.add_twice(part)),
            false => forms.add_twice(value),
        }
    }
    forms
}

/// Gives the forms that are masked.
pub(super) fn masked(value: &[u8]) -> Forms {
    let value = value.trim_ascii();
    let mut forms = Forms::default();
    if value.len() < SHORTEST_AT_ALL {
        return forms;
    }
    match value.len() <= LONGEST_MASKED {
        true => forms.add_once(value),
        false => parts(value, PART, value.len() / PART).for_each(|part| forms.add(part.to_vec(), RAW, SHORTEST)),
    }
    if value.contains(&b'\n') {
        let lines = value.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        lines.filter(|line| line.len() >= SHORTEST).take(LINES).for_each(|line| forms.add_once(line));
    }
    forms
}

/// Gives parts of a long value, evenly spread. Where there is enough, its beginning is left out: that of a key is the same for
/// all keys of its kind.
fn parts(value: &[u8], length: usize, most: usize) -> impl Iterator<Item = &[u8]> {
    let from = if value.len() > WHOLE + 2 * PART { 2 * PART } else { 0 };
    let rest = value.get(from..).unwrap_or_default();
    let step = (rest.len() / most.max(1)).max(length);
    (0..).map(move |n| n * step).map_while(move |at| rest.get(at..at + length))
}

/// Gives the lines of a value that are nobody else's: not those that frame a key, nor the first one within, in which a key tells
/// its kind.
fn telling_lines(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut after_begin = false;
    let lines = value.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let telling = lines.filter(move |line| {
        let (frame, first) = (line.starts_with(b"-----"), after_begin);
        after_begin = line.starts_with(b"-----BEGIN ");
        !frame && !first && line.len() >= LINE
    });
    telling.take(LINES)
}

fn hex(value: &[u8], digits: &[u8; 16]) -> Vec<u8> {
    value.iter().flat_map(|byte| [digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]).collect()
}

/// Escapes all but letters, digits and some others; with `all`, these too.
fn url(value: &[u8], kept: &[u8], all: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for byte in value {
        if !all && (byte.is_ascii_alphanumeric() || kept.contains(byte)) {
            out.push(*byte);
        } else {
            out.push(b'%');
            out.extend(hex(&[*byte], b"0123456789ABCDEF"));
        }
    }
    out
}

/// Writes the hexadecimal digits behind each `%` in lower case.
fn lower_escapes(form: &[u8]) -> Vec<u8> {
    let mut out = form.to_vec();
    let mut at = 0;
    while at < out.len() {
        if out[at] == b'%' {
            out.iter_mut().skip(at + 1).take(2).for_each(|byte| byte.make_ascii_lowercase());
            at += 2;
        }
        at += 1;
    }
    out
}

/// Gives the characters of base64 (RFC 4648, sections 4 and 5) that a value alone decides, at each offset in its group.
fn base64(value: &[u8]) -> Vec<Vec<u8>> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut forms = Vec::new();
    for offset in 0..3 {
        let bytes: Vec<u8> = std::iter::repeat_n(0, offset).chain(value.iter().copied()).chain([0; 3]).collect();
        let (from, to) = ((offset * 8).div_ceil(6), (offset + value.len()) * 8 / 6);
        let digit = |at: usize| {
            let bit = at * 6;
            let pair = u16::from(bytes[bit / 8]) << 8 | u16::from(bytes[bit / 8 + 1]);
            ALPHABET[usize::from(pair >> (10 - bit % 8)) & 63]
        };
        let form: Vec<u8> = (from..to).map(digit).collect();
        let safe = |byte: &u8| match byte {
            b'+' => b'-',
            b'/' => b'_',
            other => *other,
        };
        forms.push(form.iter().map(safe).collect());
        forms.push(form);
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(forms: Forms, bytes: &[u8]) -> bool {
        forms.0.keys().any(|form| bytes.windows(form.len()).any(|part| part == form))
    }

    #[test]
    fn base64_is_known_at_each_offset() {
        // RFC 4648, section 10, and what stands around it.
        assert_eq!(base64(b"foobar")[1], b"Zm9vYmFy");
        for around in ["", "x", "xy", "xyz"] {
            for (text, encoded) in
                [("", "c2VjcmV0IHZhbHVl"), ("x", "eHNlY3JldCB2YWx1ZQ=="), ("xy", "eHlzZWNyZXQgdmFsdWU=")]
            {
                let _ = (around, text);
                assert!(
                    base64(b"secret value")
                        .iter()
                        .any(|form| encoded.as_bytes().windows(form.len()).any(|w| w == form)),
                    "{encoded}"
                );
            }
        }
    }

    #[test]
    fn a_key_is_known_by_what_is_its_own() {
        let body = |n: u8| {
            (0..6).map(|line| format!("{}\n", char::from(b'a' + n + line).to_string().repeat(64))).collect::<String>()
        };
        let key = |n| {
            format!(
                "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ\n{}-----END PRIVATE KEY-----\n",
                body(n)
            )
        };
        assert!(has(searched(key(0).as_bytes()), key(0).as_bytes()));
        assert!(!has(searched(key(0).as_bytes()), key(10).as_bytes()), "another key of the same kind is another key");
        assert!(has(searched(key(0).as_bytes()), &body(0).as_bytes()[130..210]), "a line of it is enough");
    }

    #[test]
    fn what_is_too_short_has_no_forms() {
        assert_eq!(searched(b" abc\n").into_iter().count() + masked(b"abc").into_iter().count(), 0);
        assert!(searched(b"abcd").into_iter().all(|(form, _)| form.len() >= SHORTEST_AT_ALL));
    }
}

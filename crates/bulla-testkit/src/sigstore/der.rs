//! As much of DER (ITU-T X.690) as timestamps and signed certificate timestamps take.

/// Writes a value with its tag.
pub(super) fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = vec![tag];
    match length {
        0..=0x7f => out.push(length as u8),
        0x80..=0xff => out.extend([0x81, length as u8]),
        _ => out.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    out.extend(content);
    out
}

/// Writes a sequence of values.
pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tagged(0x30, &parts.concat())
}

/// Writes a set of values in their order (section 11.6).
pub(super) fn set(mut parts: Vec<Vec<u8>>) -> Vec<u8> {
    parts.sort();
    tagged(0x31, &parts.concat())
}

/// Writes a string of bytes.
pub(super) fn octets(content: &[u8]) -> Vec<u8> {
    tagged(0x04, content)
}

/// Writes a small number that is not negative.
pub(super) fn number(value: u64) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let used = bytes.iter().position(|byte| *byte != 0).unwrap_or(7);
    let mut content = bytes[used..].to_vec();
    if content[0] & 0x80 != 0 {
        content.insert(0, 0);
    }
    tagged(0x02, &content)
}

/// Gives the first value of some bytes, with its tag, and what comes after it.
pub(super) fn first(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (head, length) = head(bytes);
    bytes.split_at(head + length)
}

/// Gives what is in a value.
pub(super) fn content(bytes: &[u8]) -> &[u8] {
    let (head, length) = head(bytes);
    &bytes[head..head + length]
}

fn head(bytes: &[u8]) -> (usize, usize) {
    match bytes[1] {
        0x81 => (3, usize::from(bytes[2])),
        0x82 => (4, usize::from(bytes[2]) << 8 | usize::from(bytes[3])),
        short => (2, usize::from(short)),
    }
}

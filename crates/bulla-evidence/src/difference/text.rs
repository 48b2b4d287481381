//! What differs where bytes are looked at as a text.

use super::{Cause, Difference, MAX_SHOWN};

/// How far around the first bytes that differ is looked.
const AROUND: usize = 48;
/// The most bytes whose lines are sorted to find out whether only their order differs.
const MAX_SORTED: usize = 4 << 20;

/// Explains the first place at which two texts differ.
pub(super) fn explain(before: &[u8], now: &[u8], place: &str) -> Difference {
    let at = before.iter().zip(now).take_while(|(one, other)| one == other).count();
    let (one, other) = (word(before, at), word(now, at));
    let cause = match () {
        () if is_reordered(before, now) => Cause::Order,
        () if has_time(around(before, at)) && has_time(around(now, at)) => Cause::Time,
        () if is_path(one) && is_path(other) => Cause::Path,
        () if is_drawn(one) && is_drawn(other) => Cause::Random,
        () => Cause::Unknown,
    };
    let shown = |bytes: &[u8]| match cause {
        Cause::Order => String::new(),
        _ => super::shown(&String::from_utf8_lossy(bytes), MAX_SHOWN),
    };
    let place = if place.is_empty() { format!("the bytes from {at}") } else { place.to_owned() };
    Difference { cause, place, before: shown(one), now: shown(other) }
}

/// Gives the bytes around a place that stand on its line.
fn around(bytes: &[u8], at: usize) -> &[u8] {
    let start = at.saturating_sub(AROUND);
    let end = bytes.len().min(at + AROUND);
    let (before, after) = (bytes.get(start..at.min(end)).unwrap_or_default(), bytes.get(at..end).unwrap_or_default());
    let is_end = |byte: &u8| matches!(byte, b'\n' | 0);
    let from = before.iter().rposition(is_end).map_or(start, |found| start + found + 1);
    let to = after.iter().position(is_end).map_or(end, |found| at + found);
    bytes.get(from..to).unwrap_or_default()
}

/// Gives the word that a place is in.
fn word(bytes: &[u8], at: usize) -> &[u8] {
    let is_end = |byte: &u8| !byte.is_ascii_graphic() || matches!(byte, b'"' | b'\'' | b'<' | b'>' | b'(' | b')');
    let start = at.saturating_sub(AROUND * 4);
    let before = bytes.get(start..at.min(bytes.len())).unwrap_or_default();
    let from = before.iter().rposition(is_end).map_or(start, |found| start + found + 1);
    let rest = bytes.get(at..bytes.len().min(at + AROUND * 4)).unwrap_or_default();
    let to = at + rest.iter().position(is_end).unwrap_or(rest.len());
    bytes.get(from..to.min(bytes.len())).unwrap_or_default()
}

/// Says whether both have the same lines, or where they are one line each, the same words.
fn is_reordered(before: &[u8], now: &[u8]) -> bool {
    if before.len() != now.len() || before.len() > MAX_SORTED {
        return false;
    }
    let lines = |byte: &u8| *byte == b'\n';
    let words = |byte: &u8| matches!(byte, b' ' | b',' | b'\n' | b'\t' | 0);
    sorted(before, lines) == sorted(now, lines) || sorted(before, words) == sorted(now, words)
}

fn sorted(bytes: &[u8], is_end: fn(&u8) -> bool) -> Vec<&[u8]> {
    let mut parts: Vec<&[u8]> = bytes.split(is_end).collect();
    parts.sort_unstable();
    parts
}

/// Says whether there is a time of day, a date, or a number of seconds since 1970 between 2001 and 2065.
fn has_time(bytes: &[u8]) -> bool {
    let shapes: [&[u8]; 4] = [b"00:00:00", b"0000-00-00", b"0000/00/00", b"00:00"];
    let fits = |window: &[u8], shape: &[u8]| {
        window.iter().zip(shape).all(|(byte, wanted)| match wanted {
            b'0' => byte.is_ascii_digit(),
            other => byte == other,
        })
    };
    if shapes.iter().any(|shape| bytes.windows(shape.len()).any(|window| fits(window, shape))) {
        return true;
    }
    bytes.split(|byte| !byte.is_ascii_digit()).any(|digits| {
        let seconds = match digits.len() {
            10 => digits,
            // With milliseconds or nanoseconds behind them.
            13 | 16 | 19 => digits.get(..10).unwrap_or_default(),
            // As a compiler or a packer writes it: 20260102, with the time of day or without.
            8 | 12 | 14 => return digits.starts_with(b"20") || digits.starts_with(b"19"),
            _ => return false,
        };
        matches!(seconds.first(), Some(b'1' | b'2')) && seconds < b"3000000000".as_slice()
    })
}

fn is_path(word: &[u8]) -> bool {
    word.contains(&b'/') && word.iter().filter(|byte| **byte == b'/').count() > 1
}

/// Says whether a word looks drawn: long, of hexadecimal digits or of letters and digits mixed.
fn is_drawn(word: &[u8]) -> bool {
    let hex = |byte: &u8| byte.is_ascii_hexdigit() || *byte == b'-';
    let runs = word.split(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'-'));
    runs.max_by_key(|run| run.len()).is_some_and(|run| {
        let mixed = run.iter().any(u8::is_ascii_digit) && run.iter().any(u8::is_ascii_alphabetic);
        run.len() >= 6 && (run.iter().all(hex) || mixed)
    })
}

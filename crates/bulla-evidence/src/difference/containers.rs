//! What differs in files that hold others: archives, packed files, programs.

use std::{collections::BTreeMap, io::Read};

use object::{Object as _, ObjectSection as _};

use super::{Cause, Difference, MAX_NAME, MAX_PLAIN, MAX_SHOWN, at, difference, shown, within};

/// What archives of objects begin with (`ar(5)`).
const AR: &[u8] = b"!<arch>\n";
/// How long the head of a member of one is, and where its time and its size stand.
const AR_HEAD: usize = 60;
/// The most members of an archive that are compared.
const MAX_MEMBERS: usize = 100_000;

/// Explains two files that are of one kind; `None` where they are none, or nothing could be made of them.
pub(super) fn explain(before: &[u8], now: &[u8], place: &str, depth: usize) -> Option<Difference> {
    let both = |magic: &[u8]| before.starts_with(magic) && now.starts_with(magic);
    if both(b"\x1f\x8b") {
        return gzip(before, now, place, depth);
    }
    if both(b"PK\x03\x04") {
        return zip(before, now, place, depth);
    }
    if both(AR) {
        return ar(before, now, place, depth);
    }
    if both(b"\x7fELF") {
        return elf(before, now, place, depth);
    }
    compiled_python(before, now, place)
}

fn gzip(before: &[u8], now: &[u8], place: &str, depth: usize) -> Option<Difference> {
    // Bytes 4 to 7 are the time (RFC 1952, section 2.3.1).
    if before.get(4..8) != now.get(4..8) && before.get(8..) == now.get(8..) {
        return Some(difference(Cause::Time, within(place, "the head of gzip")));
    }
    let plain = |bytes: &[u8]| {
        let mut out = Vec::new();
        let mut reader = flate2::read::MultiGzDecoder::new(bytes).take(MAX_PLAIN);
        reader.read_to_end(&mut out).is_ok().then_some(out)
    };
    let (one, other) = (plain(before)?, plain(now)?);
    match at(&one, &other, &within(place, "what gzip packs"), depth + 1) {
        None => Some(difference(Cause::Unknown, within(place, "the compression, of the same content"))),
        found => found,
    }
}

/// A member of an archive: its head without the name, and its bytes.
type Members = Vec<(String, (String, Vec<u8>))>;

/// Compares members: the first that differs explains, else their order.
fn members(before: Members, now: Members, place: &str, depth: usize) -> Option<Difference> {
    let names = |members: &Members| members.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let (order, other_order) = (names(&before), names(&now));
    let (before, now): (BTreeMap<_, _>, BTreeMap<_, _>) = (before.into_iter().collect(), now.into_iter().collect());
    for (name, (head, bytes)) in &before {
        let inside = within(place, &format!("member {}", shown(name, MAX_NAME)));
        let Some((other_head, other)) = now.get(name) else {
            return Some(difference(Cause::Member, inside));
        };
        if let Some(found) = at(bytes, other, &inside, depth + 1) {
            return Some(found);
        }
        if head != other_head {
            let place = within(&inside, "its head");
            let (before, now) = (shown(head, MAX_SHOWN), shown(other_head, MAX_SHOWN));
            return Some(Difference { cause: Cause::Time, place, before, now });
        }
    }
    if let Some(name) = now.keys().find(|name| !before.contains_key(*name)) {
        return Some(difference(Cause::Member, within(place, &format!("member {}", shown(name, MAX_NAME)))));
    }
    (order != other_order).then(|| difference(Cause::Order, within(place, "the members")))
}

fn zip(before: &[u8], now: &[u8], place: &str, depth: usize) -> Option<Difference> {
    let read = |bytes: &[u8]| -> Option<Members> {
        let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).ok()?;
        let mut all = Members::new();
        let mut left = MAX_PLAIN;
        for index in 0..archive.len().min(MAX_MEMBERS) {
            let mut member = archive.by_index(index).ok()?;
            let time = member.last_modified().map(|time| time.to_string()).unwrap_or_default();
            let (name, mut content) = (member.name().ok()?.into_owned(), Vec::new());
            (&mut member).take(left).read_to_end(&mut content).ok()?;
            left = left.saturating_sub(content.len() as u64);
            all.push((name, (time, content)));
        }
        Some(all)
    };
    members(read(before)?, read(now)?, place, depth)
}

fn ar(before: &[u8], now: &[u8], place: &str, depth: usize) -> Option<Difference> {
    let read = |bytes: &[u8]| -> Option<Members> {
        let mut rest = bytes.get(AR.len()..)?;
        let mut all = Members::new();
        while rest.len() >= AR_HEAD && all.len() < MAX_MEMBERS {
            let (head, after) = rest.split_at(AR_HEAD);
            let field =
                |range: std::ops::Range<usize>| Some(std::str::from_utf8(head.get(range)?).ok()?.trim_end().to_owned());
            let (name, time, size) = (field(0..16)?, field(16..28)?, field(48..58)?.parse::<usize>().ok()?);
            let content = after.get(..size)?.to_vec();
            rest = after.get(size + size % 2..).unwrap_or_default();
            // Names come more than once where linkers want that.
            all.push((format!("{name}#{}", all.len()), (time, content)));
        }
        Some(all)
    };
    members(read(before)?, read(now)?, place, depth)
}

fn elf(before: &[u8], now: &[u8], place: &str, depth: usize) -> Option<Difference> {
    let sections = |bytes: &[u8]| -> Option<Vec<(String, Vec<u8>)>> {
        let file = object::File::parse(bytes).ok()?;
        let all = file.sections().take(MAX_MEMBERS);
        Some(all.filter_map(|section| Some((section.name().ok()?.to_owned(), section.data().ok()?.to_vec()))).collect())
    };
    let (one, other) = (sections(before)?, sections(now)?);
    let other: BTreeMap<_, _> = other.into_iter().collect();
    let mut differing = one.iter().filter(|(name, data)| other.get(name) != Some(data));
    // The number is made of all else, so that it tells nothing where anything else differs.
    let is_id = |name: &str| name == ".note.gnu.build-id";
    let (name, data) = differing.clone().find(|(name, _)| !is_id(name)).or_else(|| differing.next())?;
    let inside = within(place, &format!("section {}", shown(name, MAX_NAME)));
    if is_id(name) {
        return Some(difference(Cause::BuildId, inside));
    }
    match other.get(name) {
        None => Some(difference(Cause::Member, inside)),
        Some(other) => at(data, other, &inside, depth + 1),
    }
}

/// Compiled modules of Python: four bytes that begin with the version, the end of a line, no flags, and the time of the source (PEP 552).
fn compiled_python(before: &[u8], now: &[u8], place: &str) -> Option<Difference> {
    let is = |bytes: &[u8]| bytes.get(2..8) == Some(b"\r\n\0\0\0\0".as_slice());
    let differs = before.get(8..12) != now.get(8..12) && before.get(12..) == now.get(12..);
    (is(before) && is(now) && differs)
        .then(|| difference(Cause::Time, within(place, "the head of the compiled module")))
}

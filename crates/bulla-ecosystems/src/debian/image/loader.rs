//! `/etc/ld.so.cache`, as `ldconfig` writes it: format `glibc-ld.so.cache1.1` alone, which glibc reads since 2.2 and which
//! is all that its `ldconfig` writes since 2.32 (glibc's `dl-cache.h`).

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use bulla_model::{CleanPath, tree::Owner};

use super::{
    Error,
    elf::{self, Library},
    overlay::{Overlay, Stands, clean},
};

const MAGIC: &[u8; 20] = b"glibc-ld.so.cache1.1";
const HEADER: usize = 48;
const ENTRY: usize = 24;
/// The flag that says that numbers are little endian.
const LITTLE_ENDIAN: u8 = 2;
/// The most libraries, directories, and bytes of one library.
const MAX_LIBRARIES: usize = 100_000;
const MAX_DIRECTORIES: usize = 1000;
const MAX_LIBRARY: u64 = 1 << 30;
const MAX_INCLUDES: usize = 100;

/// A line of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) soname: String,
    pub(super) path: String,
    pub(super) flags: u32,
}

/// Writes the cache, and the links by soname that are missing, if the tree has glibc's loader configured or any library.
pub(super) fn lay(overlay: &mut Overlay<'_>) -> Result<(), Error> {
    let mut lines = Vec::new();
    let mut links = Vec::new();
    for (written, directory) in directories(overlay) {
        let mut seen: BTreeMap<String, Line> = BTreeMap::new();
        for path in overlay.list(&directory) {
            let Some(library) = library(overlay, &path) else { continue };
            let name = String::from_utf8_lossy(path.name()).into_owned();
            let soname = library.soname.unwrap_or_else(|| name.clone());
            let Ok(place) = CleanPath::parse(&soname).and_then(|tail| directory.join(&tail)) else { continue };
            if soname.contains('/') {
                continue;
            }
            if overlay.stands(&place).is_none() {
                links.push((place, name));
            }
            let line = Line { path: format!("{written}/{soname}"), soname: soname.clone(), flags: library.flags };
            seen.insert(soname, line);
        }
        lines.extend(seen.into_values());
        if lines.len() > MAX_LIBRARIES {
            return Err(Error::TooMuch { what: "shared libraries" });
        }
    }
    // The last in the order of the versions is the newest, and replaces the link to an older one.
    links.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| compare(a.1.as_bytes(), b.1.as_bytes())));
    for (place, name) in links {
        overlay.symlink(&place, name);
    }
    if !lines.is_empty() {
        overlay.file(&clean("etc/ld.so.cache"), 0o644, Owner::ROOT, encode(lines)?);
    }
    Ok(())
}

fn library(overlay: &Overlay<'_>, path: &CleanPath) -> Option<Library> {
    let name = path.name();
    let is_named = name.starts_with(b"lib") || name.starts_with(b"ld-");
    let is_versioned = name.ends_with(b".so") || name.windows(4).any(|part| part == b".so.");
    // A link of another name than the soname is for the linker (`libz.so`); its file is found under its own name.
    if !is_named || !is_versioned || overlay.leads_to(path) != Some(Stands::File) {
        return None;
    }
    let library = elf::read(&overlay.read(path, MAX_LIBRARY)?)?;
    let is_link = overlay.stands(path) == Some(Stands::Link);
    let is_own = library.soname.as_ref().is_none_or(|soname| soname.as_bytes() == name);
    (!is_link || is_own).then_some(library)
}

/// Lists the directories that are searched, as they are written and as they are without links, in `ldconfig`'s order: those
/// of `/etc/ld.so.conf`, then the loader's own. Where it is missing, as in a root without libc-bin, it is taken to include
/// `/etc/ld.so.conf.d/*.conf`.
fn directories(overlay: &Overlay<'_>) -> Vec<(String, CleanPath)> {
    let mut written = Vec::new();
    let main = clean("etc/ld.so.conf");
    let mut includes = 0;
    if overlay.leads_to(&main).is_some() {
        configured(overlay, &main, &mut includes, &mut written);
    } else {
        included(overlay, "/etc/ld.so.conf.d/*.conf", &mut includes, &mut written);
    }
    let usr = overlay.list(&clean("usr/lib"));
    let triplets = usr.iter().filter_map(|path| path.as_str()?.strip_prefix("usr/lib/"));
    let triplets: Vec<&str> = triplets.filter(|name| name.contains("-linux-gnu")).collect();
    for top in ["/lib", "/usr/lib"] {
        written.extend(triplets.iter().map(|triplet| format!("{top}/{triplet}")));
    }
    written.extend(["/lib", "/usr/lib", "/lib64", "/usr/lib64"].map(str::to_owned));
    let mut seen = BTreeSet::new();
    written
        .into_iter()
        .filter_map(|text| {
            let place = overlay.place(&text).and_then(|path| overlay.follow(&path, true))?;
            let is_new = overlay.stands(&place) == Some(Stands::Directory) && seen.insert(place.clone());
            is_new.then(|| (text.trim_end_matches('/').to_owned(), place))
        })
        .take(MAX_DIRECTORIES)
        .collect()
}

fn configured(overlay: &Overlay<'_>, file: &CleanPath, includes: &mut usize, written: &mut Vec<String>) {
    *includes += 1;
    let Some(text) = overlay.text(file).filter(|_| *includes <= MAX_INCLUDES) else { return };
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        match line.split_once(char::is_whitespace) {
            Some(("include", pattern)) => included(overlay, pattern.trim(), includes, written),
            _ if written.len() < MAX_DIRECTORIES => {
                let parts = line.split([':', ',', ' ', '\t']).filter(|part| part.starts_with('/'));
                written.extend(parts.map(str::to_owned));
            }
            _ => {}
        }
    }
}

/// Follows an `include`: a file, or the `*.conf` of a directory; other patterns are not used in Debian.
fn included(overlay: &Overlay<'_>, pattern: &str, includes: &mut usize, written: &mut Vec<String>) {
    let pattern = if pattern.starts_with('/') { pattern.to_owned() } else { format!("/etc/{pattern}") };
    let Some((directory, name)) = pattern.rsplit_once('/') else { return };
    let Some(directory) = overlay.place(directory) else { return };
    for file in overlay.list(&directory) {
        let is_meant = match name.strip_prefix('*') {
            Some(end) => file.name().ends_with(end.as_bytes()),
            None => file.name() == name.as_bytes(),
        };
        if is_meant {
            configured(overlay, &file, includes, written);
        }
    }
}

/// Compares names as the loader does when it searches: runs of digits by their value (glibc's `_dl_cache_libcmp`).
pub(super) fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        match (a, b) {
            ([], []) => return Ordering::Equal,
            ([], _) => return if b[0].is_ascii_digit() { Ordering::Less } else { 0_i8.cmp(&b[0].cast_signed()) },
            ([first, ..], []) => {
                return if first.is_ascii_digit() { Ordering::Greater } else { first.cast_signed().cmp(&0) };
            }
            ([x, rest_a @ ..], [y, rest_b @ ..]) => match (x.is_ascii_digit(), y.is_ascii_digit()) {
                (true, true) => {
                    let (left, after_a) = number(a);
                    let (right, after_b) = number(b);
                    if left != right {
                        return left.cmp(&right);
                    }
                    (a, b) = (after_a, after_b);
                }
                (true, false) => return Ordering::Greater,
                (false, true) => return Ordering::Less,
                (false, false) if x != y => return x.cast_signed().cmp(&y.cast_signed()),
                (false, false) => (a, b) = (rest_a, rest_b),
            },
        }
    }
}

/// Reads digits as the loader does, whose numbers overflow at 32 bits.
fn number(text: &[u8]) -> (i32, &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let add = |sum: i32, digit: &u8| sum.wrapping_mul(10).wrapping_add(i32::from(digit - b'0'));
    (digits.iter().fold(0, add), rest)
}

/// Writes the bytes of the cache. Names go down, for the loader searches by halves; of equal ones the first is found first.
pub(super) fn encode(mut lines: Vec<Line>) -> Result<Vec<u8>, Error> {
    lines.sort_by(|a, b| compare(b.soname.as_bytes(), a.soname.as_bytes()));
    let too_much = |_| Error::TooMuch { what: "names of shared libraries" };
    let mut strings: Vec<u8> = Vec::new();
    let mut entries = Vec::with_capacity(lines.len() * ENTRY);
    let start = HEADER + lines.len() * ENTRY;
    for line in &lines {
        let mut put = |text: &str| {
            let offset = u32::try_from(start + strings.len());
            strings.extend_from_slice(text.as_bytes());
            strings.push(0);
            offset.map_err(too_much)
        };
        let (key, value) = (put(&line.soname)?, put(&line.path)?);
        for number in [line.flags, key, value, 0] {
            entries.extend_from_slice(&number.to_le_bytes());
        }
        entries.extend_from_slice(&0_u64.to_le_bytes());
    }
    let mut bytes = Vec::with_capacity(start + strings.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&u32::try_from(lines.len()).map_err(too_much)?.to_le_bytes());
    bytes.extend_from_slice(&u32::try_from(strings.len()).map_err(too_much)?.to_le_bytes());
    bytes.extend_from_slice(&[LITTLE_ENDIAN, 0, 0, 0]);
    bytes.resize(HEADER, 0);
    bytes.extend_from_slice(&entries);
    bytes.extend_from_slice(&strings);
    Ok(bytes)
}

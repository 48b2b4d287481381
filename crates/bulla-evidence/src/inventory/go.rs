//! Modules in programs written in Go, by what its linker notes in them (Go's `debug/buildinfo`, the format of Go 1.18 and later).
//!
//! The block begins on a multiple of 16 bytes: 14 bytes of mark, the size of pointers, flags; with the second flag two strings follow at 32, each
//! behind its length as a varint: the version of Go, and the modules between two marks of 16 bytes. Programs of Go before 1.18 have pointers instead, and are
//! not read: they are noted.

use bulla_model::{CleanPath, purl::Purl};
use memchr::memmem;

use super::{Found, MAX_PACKAGES, Owns, Says, Unread, word};

const MARK: &[u8] = b"\xff Go buildinf:";
const ALIGN: usize = 16;
const INLINE: u8 = 2;
/// The most bytes of the modules' text.
const MAX_TEXT: usize = 16 << 20;
/// The most marks that are looked at: programs that read such blocks have the mark among their data.
const MAX_MARKS: usize = 1000;

pub(super) fn read(_: &CleanPath, bytes: &[u8]) -> Result<Vec<Says>, Unread> {
    let mut old = false;
    for at in memmem::find_iter(bytes, MARK).filter(|at| at % ALIGN == 0).take(MAX_MARKS) {
        let Some(flags) = bytes.get(at + 15) else { continue };
        if flags & INLINE == 0 {
            old = true;
        } else if let Some((version, modules)) = strings(bytes.get(at + 32..).unwrap_or_default()) {
            return Ok(vec![Says::Packages(packages(version, modules))]);
        }
    }
    match old {
        true => Err(Unread::new("it was made by a Go before 1.18, whose notes are not read")),
        false => Ok(Vec::new()),
    }
}

fn strings(bytes: &[u8]) -> Option<(&str, &str)> {
    let (version, rest) = string(bytes)?;
    let (modules, _) = string(rest)?;
    let version = std::str::from_utf8(version)
        .ok()
        .filter(|version| version.starts_with("go") || version.starts_with("devel"))?;
    // Two marks stand around the text, where there is one.
    let modules = modules.get(16..modules.len().saturating_sub(16)).unwrap_or_default();
    Some((version, std::str::from_utf8(modules).ok()?))
}

fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut length, mut shift) = (0_usize, 0);
    for (at, byte) in bytes.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            let from = at + 1;
            let text = bytes.get(from..from.checked_add(length)?).filter(|_| length <= MAX_TEXT)?;
            return Some((text, bytes.get(from + length..)?));
        }
    }
    None
}

/// Reads the lines of modules: what is main, what it depends on, and what stands in the place of one.
fn packages(version: &str, modules: &str) -> Vec<Found> {
    let release = version.split(' ').next().unwrap_or_default().trim_start_matches("go");
    let mut all: Vec<Found> = vec![found("stdlib", Some(release), None)];
    let mut main = None;
    for line in modules.lines().take(MAX_PACKAGES) {
        let mut parts = line.split('\t');
        let (kind, path, version, sum) = (parts.next(), parts.next(), parts.next(), parts.next());
        let Some(path) = path.and_then(word) else { continue };
        let version = version.and_then(word).filter(|version| *version != "(devel)");
        match kind {
            Some("mod") => main = Some((path, version)),
            Some("dep") => all.push(found(path, version, sum)),
            // The line before it says what it stands for.
            Some("=>") => {
                let replaced = all.pop().map(|one| one.purl.to_string());
                let mut one = found(path, version, sum);
                one.facts.extend(replaced.map(|purl| ("replaces".to_owned(), purl)));
                all.push(one);
            }
            _ => {}
        }
    }
    if let Some((path, version)) = main {
        let mut one = found(path, version, None);
        one.needs = all.iter().map(|needed| needed.purl.full_name()).collect();
        one.facts.insert("main".to_owned(), "true".to_owned());
        all.push(one);
    }
    all
}

fn found(path: &str, version: Option<&str>, sum: Option<&str>) -> Found {
    let mut found = Found::new(Purl::new("golang", path, version), Owns::Inside);
    if let Some(sum) = sum.and_then(word) {
        found.facts.insert("go-sum".to_owned(), sum.to_owned());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(flags: u8, modules: &str) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes.extend(MARK);
        bytes.extend([8, flags]);
        bytes.resize(96, 0);
        let text = [&[b'a'; 16], modules.as_bytes(), &[b'z'; 16]].concat();
        for text in [b"go1.22.1", text.as_slice()] {
            bytes.push(u8::try_from(text.len() & 0x7f | if text.len() > 127 { 0x80 } else { 0 }).expect("small"));
            bytes.extend((text.len() > 127).then_some(u8::try_from(text.len() >> 7).expect("small")));
            bytes.extend(text);
        }
        bytes
    }

    fn path() -> CleanPath {
        "bin/x".parse().expect("clean")
    }

    #[test]
    fn modules_are_read_with_what_replaces_them() {
        let text = "path\tx\nmod\texample.org/x\t(devel)\t\ndep\tgithub.com/a/b\tv1.2.3\th1:abc=\ndep\tc.example/d\tv1.0.0\n=>\tc.example/fork\tv2.0.0\th1:d=\nbuild\t-x=y\n";
        let says = read(&path(), &block(2, text)).expect("a block");
        let [Says::Packages(found)] = says.as_slice() else { panic!("{says:?}") };
        let purls: Vec<String> = found.iter().map(|found| found.purl.to_string()).collect();
        assert_eq!(
            purls,
            [
                "pkg:golang/stdlib@1.22.1",
                "pkg:golang/github.com/a/b@v1.2.3",
                "pkg:golang/c.example/fork@v2.0.0",
                "pkg:golang/example.org/x"
            ]
        );
        assert_eq!(found[2].facts["replaces"], "pkg:golang/c.example/d@v1.0.0");
        assert_eq!(found[1].facts["go-sum"], "h1:abc=");
    }

    #[test]
    fn what_is_cut_off_old_or_no_block_is_no_panic() {
        let whole = block(2, "dep\ta\tv1\n");
        for end in 0..whole.len() {
            let _ = read(&path(), &whole[..end]);
        }
        assert!(read(&path(), &block(0, "")).is_err(), "an old one is said");
        assert_eq!(read(&path(), &[&b"x"[..], &block(2, "")].concat()), Ok(Vec::new()), "not where a linker puts it");
    }
}

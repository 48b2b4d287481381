//! Packages of Debian and its kin: dpkg's status, whole or as a file a package, the lists of files, and copyright files
//! (dpkg(1), "FILES"; Debian Policy 12.5).

use bulla_model::{CleanPath, purl::Purl};

use super::{Found, MAX_FILES, MAX_PACKAGES, Owns, Says, Unread, field, fields, word};
use crate::{licence, sbom::Party};

const STATUS: &[u8] = b"var/lib/dpkg/status";
const SINGLE: &[u8] = b"var/lib/dpkg/status.d/";
const INFO: &[u8] = b"var/lib/dpkg/info/";
const DOCUMENTS: &[u8] = b"usr/share/doc/";

pub(super) fn is_status(path: &[u8]) -> bool {
    path == STATUS || path.strip_prefix(SINGLE).is_some_and(|name| !name.ends_with(b".md5sums"))
}

pub(super) fn is_list(path: &[u8]) -> bool {
    path.starts_with(INFO) && path.ends_with(b".list") || path.starts_with(SINGLE) && path.ends_with(b".md5sums")
}

pub(super) fn is_copyright(path: &[u8]) -> bool {
    path.strip_prefix(DOCUMENTS)
        .and_then(|rest| rest.strip_suffix(b"/copyright"))
        .is_some_and(|name| !name.contains(&b'/'))
}

/// Reads a status file, or one package of `status.d`.
pub(super) fn status(path: &CleanPath, bytes: &[u8]) -> Result<Vec<Says>, Unread> {
    let text = String::from_utf8_lossy(bytes);
    let is_single = path.as_bytes() != STATUS;
    let packages: Vec<Found> = paragraphs(&text).filter_map(|one| package(one, is_single)).take(MAX_PACKAGES).collect();
    if packages.is_empty() && !text.trim().is_empty() && !is_single {
        return Err(Unread::new("it has no paragraph of an installed package"));
    }
    Ok(vec![Says::Packages(packages)])
}

fn paragraphs(text: &str) -> impl Iterator<Item = &str> {
    text.split("\n\n").map(|one| one.trim_start_matches('\n')).filter(|one| !one.trim().is_empty())
}

fn package(text: &str, is_single: bool) -> Option<Found> {
    let fields = fields(text);
    let get = |name: &str| field(&fields, name);
    // What was removed and left its configuration is none.
    let state = get("status").and_then(|status| status.split_whitespace().last());
    if !state.map_or(is_single, |state| !["config-files", "not-installed"].contains(&state)) {
        return None;
    }
    let (name, version) = (word(get("package")?)?, word(get("version")?)?);
    let architecture = get("architecture").and_then(word).unwrap_or_default();
    let purl = Purl::new("deb", name, Some(version)).within("debian").with("arch", architecture);
    let listed = if get("multi-arch").is_some_and(|value| value.trim() == "same") {
        format!("{name}:{architecture}")
    } else {
        name.to_owned()
    };
    let mut found = Found::new(purl, Owns::Listed(listed));
    found.supplier = get("maintainer").and_then(Party::read);
    found.needs = ["pre-depends", "depends"].into_iter().filter_map(get).flat_map(names).collect();
    found.provides = get("provides").map(names).unwrap_or_default();
    let (source, source_version) = source(get("source"), name, version);
    found.purl = found.purl.with("upstream", &upstream((&source, &source_version), (name, version)));
    found.facts.insert("source".to_owned(), format!("{source}@{source_version}"));
    Some(found)
}

/// Gives name and version of the source package: `Source: gcc-12 (12.2.0-14)`.
fn source(field: Option<&str>, name: &str, version: &str) -> (String, String) {
    let Some(text) = field.and_then(word) else { return (name.to_owned(), version.to_owned()) };
    match text.split_once('(') {
        Some((source, rest)) => (source.trim().to_owned(), rest.trim_end_matches(')').trim().to_owned()),
        None => (text.to_owned(), version.to_owned()),
    }
}

/// Gives the qualifier by which scanners know a source package that is called otherwise.
fn upstream(source: (&str, &str), own: (&str, &str)) -> String {
    match (source.0 == own.0, source.1 == own.1) {
        (true, true) => String::new(),
        (false, true) => source.0.to_owned(),
        _ => format!("{}@{}", source.0, source.1),
    }
}

/// Gives the names in a relation, without versions and architectures.
fn names(relation: &str) -> Vec<String> {
    let name = |one: &str| {
        let name = one.trim().split([' ', '(', '[', ':', '<']).next()?;
        word(name).map(str::to_owned)
    };
    relation.split([',', '|']).filter_map(name).collect()
}

/// Reads a list of files: `info/NAME.list`, or the sums of `status.d`.
pub(super) fn list(path: &CleanPath, bytes: &[u8]) -> Result<Vec<Says>, Unread> {
    let name = String::from_utf8_lossy(path.name()).into_owned();
    let is_sums = name.ends_with(".md5sums");
    let package = name.trim_end_matches(".list").trim_end_matches(".md5sums").to_owned();
    let file = |line: &[u8]| {
        let line =
            if is_sums { line.get(line.iter().position(|byte| *byte == b' ')?..)?.trim_ascii_start() } else { line };
        CleanPath::from_archive(line.strip_prefix(b"/").unwrap_or(line)).ok().flatten()
    };
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    Ok(vec![Says::Files(package, lines.filter_map(file).take(MAX_FILES).collect())])
}

/// Reads a copyright file.
pub(super) fn copyright(path: &CleanPath, bytes: &[u8]) -> Result<Vec<Says>, Unread> {
    let folder = path.parent().map(|folder| String::from_utf8_lossy(folder.name()).into_owned());
    let licence = licence::of_copyright(bytes);
    let known = folder.filter(|_| !licence.is_unknown());
    Ok(known.map(|package| Says::Licence(package, licence)).into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str, text: &str) -> Vec<Found> {
        match status(&path.parse().expect("clean"), text.as_bytes()).expect("a status").pop() {
            Some(Says::Packages(packages)) => packages,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_status_gives_its_installed_packages() {
        let text = "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nMulti-Arch: same\nSource: glibc\nVersion: 2.36-9\n\
            Maintainer: GNU Libc Maintainers <debian-glibc@example.org>\nDepends: libgcc-s1, libcrypt1 (>= 1:4.4) | x\nDescription: a\n b\n\n\
            Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n";
        let found = read("var/lib/dpkg/status", text);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].purl.to_string(), "pkg:deb/debian/libc6@2.36-9?arch=amd64&upstream=glibc");
        assert_eq!(found[0].owns, Owns::Listed("libc6:amd64".to_owned()));
        assert_eq!(found[0].needs, ["libgcc-s1", "libcrypt1", "x"]);
        assert_eq!(found[0].supplier.as_ref().map(|party| party.name.as_str()), Some("GNU Libc Maintainers"));
        assert!(
            status(&"var/lib/dpkg/status".parse().expect("clean"), b"garbage").is_err(),
            "an unreadable database is said"
        );
    }

    #[test]
    fn a_package_of_status_d_needs_no_state() {
        let found = read("var/lib/dpkg/status.d/tzdata", "Package: tzdata\nArchitecture: all\nVersion: 2024a\n");
        assert_eq!(found[0].purl.to_string(), "pkg:deb/debian/tzdata@2024a?arch=all");
        assert!(
            read(
                "var/lib/dpkg/status",
                "Package: x\nStatus: a b not-installed\nVersion: 1\n\nPackage: y\nStatus: a b installed\nVersion: 1\n"
            )
            .len()
                == 1
        );
    }

    #[test]
    fn lists_of_both_kinds_give_paths_without_a_slash() {
        let read = |path: &str, text: &str| list(&path.parse().expect("clean"), text.as_bytes()).expect("a list").pop();
        let path = |text: &str| text.parse::<CleanPath>().expect("clean");
        let of = read("var/lib/dpkg/info/libc6:amd64.list", "/.\n/usr\n/usr/lib/x\n/../evil\n");
        assert_eq!(of, Some(Says::Files("libc6:amd64".into(), vec![path("usr"), path("usr/lib/x")])));
        let of = read("var/lib/dpkg/status.d/a.md5sums", "0123  usr/a b\nnonsense\n");
        assert_eq!(of, Some(Says::Files("a".into(), vec![path("usr/a b")])));
    }
}

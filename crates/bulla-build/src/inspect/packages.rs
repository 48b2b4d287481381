//! The packages that an image says it has: dpkg's status (`dpkg-query(1)`), whole or as a file a package.

use std::collections::BTreeMap;

use bulla_model::CleanPath;

/// The most bytes of status files that are read of one layer.
pub(super) const MAX_STATUS: u64 = 16 << 20;

/// Says whether a file lists packages.
pub(super) fn is_status(path: &CleanPath) -> bool {
    let bytes = path.as_bytes();
    let single = || bytes.strip_prefix(b"var/lib/dpkg/status.d/").is_some_and(|name| !name.ends_with(b".md5sums"));
    bytes == b"var/lib/dpkg/status" || single()
}

/// Reads name and version of each installed package. What is no paragraph of a package is left out.
pub(super) fn read(text: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(text);
    text.split("\n\n").filter_map(paragraph).collect()
}

fn paragraph(text: &str) -> Option<(String, String)> {
    let field = |name: &str| text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
    let installed = field("Status:").is_none_or(|status| status.split(' ').next_back() == Some("installed"));
    let (name, version) = (field("Package:")?, field("Version:")?);
    (installed && !name.is_empty()).then_some((name, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installed_packages_are_listed_and_removed_ones_not() {
        let text = b"Package: a\nStatus: install ok installed\nVersion: 1:2-3\n\nPackage: b\n\
            Status: deinstall ok config-files\nVersion: 1\n\nPackage: c\nVersion: 4\n\nno paragraph\n";
        let found: Vec<(String, String)> = read(text).into_iter().collect();
        assert_eq!(found, [("a".into(), "1:2-3".into()), ("c".into(), "4".into())]);
    }

    #[test]
    fn status_files_are_known_by_their_place() {
        let is = |path: &str| is_status(&path.parse().expect("clean"));
        assert!(is("var/lib/dpkg/status") && is("var/lib/dpkg/status.d/base"));
        assert!(!is("var/lib/dpkg/status-old") && !is("var/lib/dpkg/status.d/base.md5sums") && !is("status"));
    }
}

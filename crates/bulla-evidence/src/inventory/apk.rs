//! Packages of Alpine: apk's database (apk-package(5), "the installed database").

use std::collections::BTreeMap;

use bulla_model::{CleanPath, purl::Purl};

use super::{Found, MAX_FILES, MAX_PACKAGES, Owns, Says, Unread, word};
use crate::{licence::Licence, sbom::Party};

pub(super) fn is(path: &[u8]) -> bool {
    path == b"lib/apk/db/installed" || path == b"usr/lib/apk/db/installed"
}

pub(super) fn read(_: &CleanPath, bytes: &[u8]) -> Result<Vec<Says>, Unread> {
    let text = String::from_utf8_lossy(bytes);
    let packages: Vec<Found> = text.split("\n\n").filter_map(package).take(MAX_PACKAGES).collect();
    if packages.is_empty() && !text.trim().is_empty() {
        return Err(Unread::new("it has no paragraph of a package"));
    }
    Ok(vec![Says::Packages(packages)])
}

fn package(text: &str) -> Option<Found> {
    let mut fields = BTreeMap::new();
    let (mut folder, mut files) = ("", Vec::new());
    for (key, value) in text.lines().filter_map(|line| line.split_once(':')) {
        match key {
            "F" => folder = value,
            "R" if files.len() < MAX_FILES => files.extend(
                CleanPath::from_archive(format!("{folder}/{value}").trim_start_matches('/').as_bytes()).ok().flatten(),
            ),
            _ => _ = fields.entry(key).or_insert(value),
        }
    }
    let get = |key: &str| fields.get(key).copied().and_then(word);
    let (name, version) = (get("P")?, get("V")?);
    let purl = Purl::new("apk", name, Some(version)).within("alpine").with("arch", get("A").unwrap_or_default());
    let origin = get("o").filter(|origin| *origin != name).unwrap_or_default();
    let mut found = Found::new(purl.with("upstream", origin), Owns::Files(files));
    found.licence = get("L").map(Licence::read).unwrap_or_default();
    found.supplier = get("m").and_then(Party::read);
    let words = |key: &str| get(key).into_iter().flat_map(str::split_whitespace);
    let bare = |word: &str| word.split(['=', '<', '>', '~']).next().unwrap_or_default().to_owned();
    found.needs = words("D").filter(|word| !word.starts_with('!')).map(bare).collect();
    found.provides = words("p").map(bare).collect();
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_and_their_files_are_read() {
        let text = "C:Q1x\nP:musl\nV:1.2.4-r2\nA:x86_64\nL:MIT\no:musl\nm:A B <a@example.org>\np:so:libc.musl-x86_64.so.1=1\n\
            F:lib\nR:ld-musl-x86_64.so.1\na:0:0:755\nF:../..\nR:evil\n\nP:apk-tools\nV:2\nD:musl>=1.2 so:libc.musl-x86_64.so.1 !old\n";
        let Ok(says) = read(&"lib/apk/db/installed".parse().expect("clean"), text.as_bytes()) else {
            panic!("a database")
        };
        let [Says::Packages(found)] = says.as_slice() else { panic!("{says:?}") };
        assert_eq!(found[0].purl.to_string(), "pkg:apk/alpine/musl@1.2.4-r2?arch=x86_64");
        assert_eq!(found[0].owns, Owns::Files(vec!["lib/ld-musl-x86_64.so.1".parse().expect("clean")]));
        assert_eq!(
            (found[0].licence.expression.as_str(), found[0].provides.as_slice()),
            ("MIT", &["so:libc.musl-x86_64.so.1".to_owned()][..])
        );
        assert_eq!(found[1].needs, ["musl", "so:libc.musl-x86_64.so.1"]);
        assert!(read(&"lib/apk/db/installed".parse().expect("clean"), b"nothing").is_err());
    }
}

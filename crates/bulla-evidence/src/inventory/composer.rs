//! Packages of PHP: what Composer notes of what it installed (`vendor/composer/installed.json`, of Composer 1 and 2).

use bulla_model::{CleanPath, purl::Purl};
use serde_json::Value;

use super::{Found, MAX_PACKAGES, Owns, Says, Unread, word};
use crate::{json, licence::Licence, sbom::Party};

/// The most bytes of such a file.
const MAX_FILE: usize = 16 << 20;

pub(super) fn is(path: &[u8]) -> bool {
    path == b"composer/installed.json" || path.ends_with(b"/composer/installed.json")
}

pub(super) fn read(path: &CleanPath, bytes: &[u8]) -> Result<Vec<Says>, Unread> {
    let document = json::read(bytes, MAX_FILE)?;
    let packages = document.get("packages").unwrap_or(&document).as_array();
    let packages = packages.ok_or_else(|| Unread::new("it has no list of packages"))?;
    let vendor = path.parent().and_then(|folder| folder.parent());
    let found = packages.iter().take(MAX_PACKAGES).filter_map(|one| package(one, vendor.as_ref()));
    Ok(vec![Says::Packages(found.collect())])
}

fn package(one: &Value, vendor: Option<&CleanPath>) -> Option<Found> {
    let text = |name: &str| one.get(name).and_then(Value::as_str).and_then(word);
    let (name, version) = (text("name")?, text("version")?);
    let folder = CleanPath::parse(name).ok().and_then(|name| vendor?.join(&name).ok());
    let purl = Purl::new("composer", &name.to_ascii_lowercase(), Some(version));
    let mut found = Found::new(purl, folder.map_or(Owns::Teller, Owns::Beneath));
    let licences = one.get("license").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    found.licence = Licence::any(licences.take(8).map(Licence::read));
    let author = one.get("authors").and_then(|authors| authors.get(0)?.get("name")?.as_str());
    found.supplier = author.and_then(Party::read);
    let needs = one.get("require").and_then(Value::as_object).into_iter().flatten();
    found.needs = needs.map(|(name, _)| name.to_ascii_lowercase()).filter(|name| name.contains('/')).collect();
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_both_versions_are_read() {
        let path: CleanPath = "app/vendor/composer/installed.json".parse().expect("clean");
        let one =
            r#"{"name":"Monolog/monolog","version":"2.0.0","license":["MIT"],"require":{"php":">=7","psr/log":"^1"}}"#;
        for text in [format!("[{one}]"), format!("{{\"packages\":[{one}]}}")] {
            let says = read(&path, text.as_bytes()).expect("a list");
            let [Says::Packages(found)] = says.as_slice() else { panic!("{says:?}") };
            assert_eq!(
                (found[0].purl.to_string().as_str(), found[0].needs.as_slice()),
                ("pkg:composer/monolog/monolog@2.0.0", &["psr/log".to_owned()][..])
            );
            assert_eq!(found[0].owns, Owns::Beneath("app/vendor/Monolog/monolog".parse().expect("clean")));
        }
        assert!(read(&path, b"{}").is_err() && read(&path, b"[").is_err());
    }
}

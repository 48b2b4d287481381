//! Packages of npm that are unpacked: `package.json` beneath `node_modules` (npm's documentation, "package.json").

use bulla_model::{CleanPath, purl::Purl};
use serde_json::Value;

use super::{Found, Owns, Says, Unread, word};
use crate::{json, licence::Licence, sbom::Party};

/// The most bytes of a `package.json`.
const MAX_MANIFEST: usize = 4 << 20;

pub(super) fn is(path: &[u8]) -> bool {
    let Some(folder) = path.strip_suffix(b"/package.json") else { return false };
    let mut parts = folder.rsplit(|byte| *byte == b'/');
    let (name, above) = (parts.next(), parts.next());
    match (name, above) {
        (Some(_), Some(b"node_modules")) => true,
        (Some(_), Some(scope)) if scope.starts_with(b"@") => parts.next() == Some(b"node_modules"),
        _ => false,
    }
}

pub(super) fn read(path: &CleanPath, bytes: &[u8]) -> Result<Vec<Says>, Unread> {
    let manifest = json::read(bytes, MAX_MANIFEST)?;
    let text = |name: &str| manifest.get(name).and_then(Value::as_str).and_then(word);
    // A folder of a package may have such a file to say how it is loaded.
    let (Some(name), Some(version)) = (text("name"), text("version")) else { return Ok(Vec::new()) };
    let Some(folder) = path.parent() else { return Ok(Vec::new()) };
    let mut found = Found::new(Purl::new("npm", name, Some(version)), Owns::Beneath(folder));
    found.licence = manifest.get("license").or_else(|| manifest.get("licenses")).map(licence).unwrap_or_default();
    found.supplier = manifest.get("author").and_then(author);
    let needs = manifest.get("dependencies").and_then(Value::as_object);
    found.needs = needs.map(|needs| needs.keys().cloned().collect()).unwrap_or_default();
    Ok(vec![Says::Packages(vec![found])])
}

fn licence(value: &Value) -> Licence {
    match value {
        Value::String(text) => Licence::read(text),
        Value::Object(one) => one.get("type").and_then(Value::as_str).map(Licence::read).unwrap_or_default(),
        Value::Array(several) => Licence::any(several.iter().take(16).filter(|one| !one.is_array()).map(licence)),
        _ => Licence::default(),
    }
}

fn author(value: &Value) -> Option<Party> {
    match value {
        Value::String(text) => Party::read(text.split('(').next()?),
        Value::Object(one) => {
            let text = |name: &str| one.get(name).and_then(Value::as_str);
            let name = text("name").and_then(word)?.to_owned();
            Some(Party { name, email: text("email").filter(|email| email.contains('@')).map(str::to_owned) })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_manifests_of_packages_are_read() {
        assert!(is(b"app/node_modules/a/package.json") && is(b"node_modules/@x/a/package.json"));
        assert!(is(b"a/node_modules/b/node_modules/c/package.json"));
        assert!(
            !is(b"app/package.json")
                && !is(b"node_modules/a/lib/package.json")
                && !is(b"node_modules/x/@y/package.json")
        );
    }

    #[test]
    fn manifests_of_all_ages_are_read() {
        let path: CleanPath = "node_modules/@x/a/package.json".parse().expect("clean");
        let read = |text: &str| read(&path, text.as_bytes()).expect("JSON");
        let says = read(
            r#"{"name":"@x/a","version":"1.0.0","licenses":[{"type":"MIT"},{"type":"ISC"}],"author":"A <a@b.example> (https://x)","dependencies":{"b":"^1"}}"#,
        );
        let [Says::Packages(found)] = says.as_slice() else { panic!("{says:?}") };
        assert_eq!(
            (found[0].purl.to_string().as_str(), found[0].licence.expression.as_str()),
            ("pkg:npm/%40x/a@1.0.0", "MIT OR ISC")
        );
        assert_eq!(found[0].supplier, Some(Party { name: "A".into(), email: Some("a@b.example".into()) }));
        assert!(read(r#"{"type":"module"}"#).is_empty());
        assert!(super::read(&path, b"{").is_err());
    }
}

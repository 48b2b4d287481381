//! Packages of .NET: what a published program needs (`NAME.deps.json`; the .NET runtime's "runtime configuration files").

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bulla_model::{CleanPath, purl::Purl};
use serde_json::Value;

use super::{Found, MAX_PACKAGES, Owns, Says, Unread, word};
use crate::{json, sbom::Algorithm};

/// The most bytes of such a file.
const MAX_FILE: usize = 16 << 20;

pub(super) fn is(path: &[u8]) -> bool {
    path.ends_with(b".deps.json")
}

pub(super) fn read(path: &CleanPath, bytes: &[u8]) -> Result<Vec<Says>, Unread> {
    // They begin with a byte order mark now and then.
    let document = json::read(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes), MAX_FILE)?;
    let libraries = document.get("libraries").and_then(Value::as_object);
    let Some(libraries) = libraries else { return Ok(Vec::new()) };
    let targets = document.get("targets").and_then(Value::as_object);
    let found = libraries.iter().take(MAX_PACKAGES).filter_map(|(key, library)| {
        let (name, version) = key.rsplit_once('/')?;
        // Others are the program itself, or projects beside it.
        let is_package = library.get("type").and_then(Value::as_str) == Some("package");
        let mut found = Found::new(Purl::new("nuget", word(name)?, word(version)), Owns::Teller);
        let target = targets.into_iter().flatten().find_map(|(_, target)| target.get(key));
        let needs = target.and_then(|target| target.get("dependencies")?.as_object());
        found.needs = needs.map(|needs| needs.keys().cloned().collect()).unwrap_or_default();
        let files = target.into_iter().flat_map(|target| ["runtime", "native"].map(|kind| target.get(kind)));
        let files = files.flatten().filter_map(Value::as_object).flatten().filter_map(|(file, _)| beside(path, file));
        let files: Vec<CleanPath> = files.collect();
        if !files.is_empty() {
            found.owns = Owns::Files(files);
        }
        if let Some(sum) =
            library.get("sha512").and_then(Value::as_str).and_then(|text| text.strip_prefix("sha512-")).and_then(hex)
        {
            found.digests.insert(Algorithm::Sha512, sum);
        }
        is_package.then_some(found)
    });
    Ok(vec![Says::Packages(found.collect())])
}

/// Gives the file that a published program has of one of a package: it lies beside.
fn beside(path: &CleanPath, file: &str) -> Option<CleanPath> {
    let name = CleanPath::parse(file.rsplit('/').next()?).ok()?;
    path.parent().map_or(Some(name.clone()), |folder| folder.join(&name).ok())
}

/// Gives in hexadecimal what is base64; 64 bytes or nothing.
fn hex(text: &str) -> Option<String> {
    let bytes = STANDARD.decode(text).ok().filter(|bytes| bytes.len() == 64)?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_read_and_the_program_itself_is_none() {
        let path: CleanPath = "app/x.deps.json".parse().expect("clean");
        let sum = "A".repeat(86);
        let text = format!(
            r#"{{"targets":{{"net8":{{"A.B/1.0":{{"dependencies":{{"C":"2"}},"runtime":{{"lib/net8/A.B.dll":{{}}}}}}}}}},
            "libraries":{{"x/1.0":{{"type":"project"}},"A.B/1.0":{{"type":"package","sha512":"sha512-{sum}=="}}}}}}"#
        );
        let says = read(&path, text.as_bytes()).expect("a file");
        let [Says::Packages(found)] = says.as_slice() else { panic!("{says:?}") };
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].purl.to_string().as_str(), found[0].needs.as_slice()),
            ("pkg:nuget/A.B@1.0", &["C".to_owned()][..])
        );
        assert_eq!(found[0].owns, Owns::Files(vec!["app/A.B.dll".parse().expect("clean")]));
        assert_eq!(found[0].digests[&Algorithm::Sha512], "00".repeat(64));
    }
}

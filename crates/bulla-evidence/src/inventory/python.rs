//! Packages of Python: what installers leave in `.dist-info` and `.egg-info` (the core metadata specifications; "Recording installed
//! projects").

use bulla_model::{CleanPath, purl::Purl};

use super::{Found, MAX_PACKAGES, Owns, Says, Unread, field, fields, word};
use crate::{licence::Licence, sbom::Party};

pub(super) fn is_metadata(path: &[u8]) -> bool {
    path.ends_with(b".dist-info/METADATA") || path.ends_with(b".egg-info/PKG-INFO") || path.ends_with(b".egg-info")
}

pub(super) fn is_record(path: &[u8]) -> bool {
    path.ends_with(b".dist-info/RECORD") || path.ends_with(b".egg-info/installed-files.txt")
}

pub(super) fn metadata(path: &CleanPath, bytes: &[u8]) -> Result<Vec<Says>, Unread> {
    let text = String::from_utf8_lossy(bytes);
    let fields = fields(&text);
    let get = |name: &str| field(&fields, name);
    let (Some(name), Some(version)) = (get("name").and_then(word), get("version").and_then(word)) else {
        return Err(Unread::new("it has no name and version"));
    };
    let folder = path.parent().filter(|_| !path.as_bytes().ends_with(b".egg-info"));
    let owns = folder.map_or(Owns::Teller, |folder| Owns::Listed(folder.to_string()));
    let mut found = Found::new(Purl::new("pypi", &normalised(name), Some(version)), owns);
    found.licence = licence(&fields);
    found.supplier =
        ["author", "author-email", "maintainer", "maintainer-email"].into_iter().filter_map(get).find_map(Party::read);
    let needs = fields
        .iter()
        .filter(|(name, value)| name == "requires-dist" && !value.contains("extra ==") && !value.contains("extra=="));
    found.needs = needs.map(|(_, value)| normalised(requirement(value))).filter(|name| !name.is_empty()).collect();
    Ok(vec![Says::Packages(vec![found])])
}

/// Takes the expression, else a short licence, else the classifiers.
fn licence(fields: &[(String, String)]) -> Licence {
    if let Some(expression) = field(fields, "license-expression") {
        return Licence::read(expression);
    }
    // People put whole texts there.
    let short = field(fields, "license").and_then(word).filter(|text| text.len() <= 80);
    if let Some(licence) = short.map(Licence::read).filter(|licence| !licence.is_unknown()) {
        return licence;
    }
    let classifiers = fields.iter().filter(|(name, _)| name == "classifier");
    let named = classifiers.filter_map(|(_, value)| value.strip_prefix("License :: ")?.rsplit(" :: ").next());
    Licence::all(named.filter(|name| *name != "OSI Approved").map(classified))
}

fn classified(name: &str) -> Licence {
    let id = match name {
        "MIT License" => "MIT",
        "Apache Software License" => "Apache-2.0",
        "ISC License (ISCL)" => "ISC",
        "Mozilla Public License 2.0 (MPL 2.0)" => "MPL-2.0",
        "Python Software Foundation License" => "PSF-2.0",
        "GNU General Public License v3 (GPLv3)" => "GPL-3.0-only",
        "GNU General Public License v3 or later (GPLv3+)" => "GPL-3.0-or-later",
        "GNU General Public License v2 (GPLv2)" => "GPL-2.0-only",
        "GNU General Public License v2 or later (GPLv2+)" => "GPL-2.0-or-later",
        "GNU Lesser General Public License v3 (LGPLv3)" => "LGPL-3.0-only",
        other => other,
    };
    Licence::read(id)
}

/// Gives the name in a requirement: `Requires-Dist: a[b] (>=1); python_version < "3"`.
fn requirement(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c)).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

/// Gives a name in its one form (PEP 503).
fn normalised(name: &str) -> String {
    let parts = name.split(['-', '_', '.']).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-").to_ascii_lowercase()
}

/// Reads which files a package installed, beneath the folder that has its own.
pub(super) fn record(path: &CleanPath, bytes: &[u8]) -> Result<Vec<Says>, Unread> {
    let text = String::from_utf8_lossy(bytes);
    let Some(folder) = path.parent() else { return Ok(Vec::new()) };
    let is_record = path.name() == b"RECORD";
    let base = if is_record { folder.parent() } else { Some(folder.clone()) };
    let file = |line: &str| {
        let name = if is_record { first_field(line) } else { line.to_owned() };
        joined(base.as_ref(), &name)
    };
    let files = text.lines().take(MAX_PACKAGES).filter_map(file).collect();
    Ok(vec![Says::Files(folder.to_string(), files)])
}

/// Gives the first field of a line of CSV.
fn first_field(line: &str) -> String {
    match line.strip_prefix('"') {
        Some(rest) => rest.split("\",").next().unwrap_or_default().replace("\"\"", "\""),
        None => line.split(',').next().unwrap_or_default().to_owned(),
    }
}

/// Joins a path that may lead upwards, within the root.
fn joined(base: Option<&CleanPath>, name: &str) -> Option<CleanPath> {
    if let Some(name) = name.strip_prefix('/') {
        return CleanPath::from_archive(name.as_bytes()).ok()?;
    }
    let mut parts: Vec<&[u8]> = base.map(|base| base.components().collect()).unwrap_or_default();
    for part in name.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            parts.pop()?;
        } else {
            parts.push(part.as_bytes());
        }
    }
    CleanPath::parse(parts.join(&b'/')).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Found {
        let path = "usr/lib/python3/site-packages/a.dist-info/METADATA".parse().expect("clean");
        match metadata(&path, text.as_bytes()).expect("metadata").pop() {
            Some(Says::Packages(mut found)) => found.pop().expect("one"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn metadata_of_both_ages_are_read() {
        let found = read(
            "Metadata-Version: 2.4\nName: Typing_Extensions\nVersion: 4.1\nLicense-Expression: PSF-2.0\nAuthor-email: A B <a@example.org>\n\
            Requires-Dist: six (>=1); python_version < \"3\"\nRequires-Dist: x; extra == 'dev'\n\nName: other\n",
        );
        assert_eq!(found.purl.to_string(), "pkg:pypi/typing-extensions@4.1");
        assert_eq!((found.licence.expression.as_str(), found.needs.as_slice()), ("PSF-2.0", &["six".to_owned()][..]));
        let found = read("Name: a\nVersion: 1\nLicense: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License\n");
        assert_eq!(found.licence.expression, "MIT");
        assert!(metadata(&"x.egg-info".parse().expect("clean"), b"Name: a").is_err());
    }

    #[test]
    fn a_record_leads_to_files_within_the_root() {
        let path: CleanPath = "usr/lib/a-1.dist-info/RECORD".parse().expect("clean");
        let text = "a/__init__.py,sha256=x,1\n../../bin/a,,\n\"b,c.py\",,\n../../../../../evil,,\n";
        let says = record(&path, text.as_bytes()).expect("a record");
        let files = ["usr/lib/a/__init__.py", "bin/a", "usr/lib/b,c.py"].map(|path| path.parse().expect("clean"));
        assert_eq!(says, [Says::Files("usr/lib/a-1.dist-info".into(), files.to_vec())]);
    }
}

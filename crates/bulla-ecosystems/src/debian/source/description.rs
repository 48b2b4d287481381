//! The `.dsc`: what the package is, and which of its files is what.

use std::collections::BTreeMap;

use bulla_model::{CleanPath, Digest};

use super::SourceError;
use crate::debian::control::Fields;

/// An archive of upstream.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) name: String,
    /// The folder that it is unpacked into; `None` is the top.
    pub(super) folder: Option<CleanPath>,
}

/// What a `.dsc` says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Description {
    /// The main archive first.
    pub(super) parts: Vec<Part>,
    /// What Debian adds, as an archive.
    pub(super) debian: Option<String>,
    /// What Debian changes, as one patch.
    pub(super) diff: Option<String>,
}

impl Description {
    /// Reads a `.dsc`, and compares it with the package's name and version and the digests of its files. Its own signature is
    /// not looked at: who may sign is said by the index alone, in which the digest of the `.dsc` is.
    pub(super) fn parse(bytes: &[u8], package: &str, files: &BTreeMap<&str, Digest>) -> Result<Self, SourceError> {
        let bad = |reason: &str| SourceError::description(reason);
        let text = std::str::from_utf8(bytes).map_err(|_| bad("it is not UTF-8"))?.replace("\r\n", "\n");
        let mut fields = BTreeMap::new();
        for field in Fields::new(signed_part(&text)) {
            let field = field.map_err(|error| bad(&error.to_string()))?;
            if fields.insert(field.name.to_ascii_lowercase(), field.value).is_some() {
                return Err(bad(&format!("the field `{}` comes twice", field.name)));
            }
        }
        let field = |name: &str| fields.get(name).copied().ok_or_else(|| bad(&format!("it has no field `{name}`")));
        let found = format!("{}={}", field("source")?, field("version")?);
        if found != package {
            return Err(bad(&format!("it is that of {found}, and {package} is locked")));
        }
        let listed = sums(field("checksums-sha256")?)?;
        let others: BTreeMap<&str, Digest> =
            files.iter().filter(|(name, _)| !name.ends_with(".dsc")).map(|(name, digest)| (*name, *digest)).collect();
        if listed.iter().map(|(name, digest)| (name.as_str(), *digest)).ne(others) {
            return Err(bad("it names other files than the index does"));
        }
        let names: Vec<&str> = listed.keys().map(String::as_str).filter(|name| !name.ends_with(".asc")).collect();
        Self::of(field("format")?, &names)
    }

    fn of(format: &str, names: &[&str]) -> Result<Self, SourceError> {
        let bad = |reason: &str| SourceError::description(reason);
        let with = |mark: &str| names.iter().copied().filter(|name| name.contains(mark)).collect::<Vec<_>>();
        let one = |found: &[&str], what: &str| match found {
            [name] => Ok((*name).to_owned()),
            _ => Err(bad(&format!("it does not have one {what}"))),
        };
        let main = |name: String| Part { name, folder: None };
        let (orig, debian, diff) = (with(".orig.tar."), with(".debian.tar."), with(".diff."));
        match format {
            "3.0 (native)" => Ok(Self { parts: vec![main(one(names, "archive")?)], debian: None, diff: None }),
            "1.0" if diff.is_empty() => {
                Ok(Self { parts: vec![main(one(names, "archive")?)], debian: None, diff: None })
            }
            "1.0" => {
                let parts = vec![main(one(&orig, "archive of upstream")?)];
                Ok(Self { parts, debian: None, diff: Some(one(&diff, "diff")?) })
            }
            "3.0 (quilt)" => {
                let mut parts = vec![main(one(&orig, "archive of upstream")?)];
                for name in with(".orig-") {
                    // NAME_VERSION.orig-COMPONENT.tar.EXT
                    let component = name.split_once(".orig-").and_then(|(_, rest)| rest.rsplit_once(".tar."));
                    let (component, _) = component.ok_or_else(|| bad("a further archive has no name"))?;
                    parts.push(Part { name: name.to_owned(), folder: Some(CleanPath::parse(component)?) });
                }
                Ok(Self { parts, debian: Some(one(&debian, "archive of Debian")?), diff: None })
            }
            other => Err(SourceError::Format { format: other.chars().take(50).collect() }),
        }
    }
}

/// Gives what is between the marks of a signature, where there are any.
fn signed_part(text: &str) -> &str {
    let Some(rest) = text.strip_prefix("-----BEGIN PGP SIGNED MESSAGE-----\n") else { return text };
    let body = rest.split_once("\n\n").map_or("", |(_, body)| body);
    body.split_once("\n-----BEGIN PGP SIGNATURE-----").map_or(body, |(body, _)| body)
}

/// Reads the lines of `Checksums-Sha256`: digest, size, name.
pub(crate) fn sums(value: &str) -> Result<BTreeMap<String, Digest>, SourceError> {
    let bad = || SourceError::description("a line of its digests is not one");
    let mut sums = BTreeMap::new();
    for line in value.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [digest, _, name] = words.as_slice() else { return Err(bad()) };
        let path = CleanPath::parse(name)?;
        if path.components().count() > 1
            || sums.insert((*name).to_owned(), Digest::from_hex(digest).map_err(|_| bad())?).is_some()
        {
            return Err(bad());
        }
    }
    Ok(sums)
}

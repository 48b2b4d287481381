//! Reads the entries of sources.

mod git;

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{digest, invalid, is_fingerprint, key, only, render, request, shown, signers, word};
use crate::{
    lock::{DebianPin, Evidence, FilePin, LockError, SourcePin, UrlPin},
    path::CleanPath,
    spec::Name,
};

/// The most files of one source package.
const MAX_FILES: usize = 200;
/// The most bytes of a URL.
const MAX_URL: usize = 2000;

/// An entry as it is written; which keys it must have depends on whether it has `url` or `git`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct SourceText {
    name: String,
    url: Option<String>,
    size: Option<u64>,
    digest: Option<String>,
    evidence: Option<String>,
    signature: Option<String>,
    signature_digest: Option<String>,
    key: Option<String>,
    signed_by: Option<Vec<String>>,
    package: Option<String>,
    registry: Option<String>,
    release: Option<String>,
    suites: Option<Vec<String>>,
    components: Option<Vec<String>>,
    asked: Option<String>,
    suite: Option<String>,
    component: Option<String>,
    directory: Option<String>,
    files: Option<Vec<FileText>>,
    git: Option<String>,
    commit: Option<String>,
    signed_object: Option<String>,
    signer: Option<String>,
    signed_at: Option<String>,
    submodules: Option<Vec<git::ModuleText>>,
    lfs: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    name: String,
    size: u64,
    digest: String,
}

/// Checks an entry. A key that it should not have is found by writing it anew, which is compared with the text.
pub(super) fn source(text: SourceText) -> Result<(Name, SourcePin), LockError> {
    let entry = format!("source {}", shown(&text.name));
    let name = Name::parse(&text.name).map_err(|_| invalid(&entry, "it has no such name as a source has"))?;
    let pin = match (&text.url, &text.git) {
        (Some(_), _) => SourcePin::Url(url_pin(&entry, text)?),
        (None, Some(_)) => SourcePin::Git(git::git_pin(&entry, text)?),
        (None, None) => SourcePin::Debian(debian_pin(&entry, text)?),
    };
    Ok((name, pin))
}

fn url_pin(entry: &str, text: SourceText) -> Result<UrlPin, LockError> {
    let evidence = match need(entry, "evidence", text.evidence)?.as_str() {
        render::DIGEST => Evidence::Digest,
        render::FIRST_USE => Evidence::FirstUse,
        render::SIGNATURE => {
            let signed_by = need(entry, "signed-by", text.signed_by)?;
            signers(entry, &signed_by, |text| is_fingerprint(text) || is_minisign_key(text))?;
            Evidence::Signature {
                url: url(entry, need(entry, "signature", text.signature)?)?,
                digest: digest(entry, &need(entry, "signature-digest", text.signature_digest)?)?,
                key: clean(entry, "key", &need(entry, "key", text.key)?)?,
                signed_by,
            }
        }
        _ => return Err(invalid(entry, "its evidence is of no known kind")),
    };
    Ok(UrlPin {
        url: url(entry, need(entry, "url", text.url)?)?,
        size: need(entry, "size", text.size)?,
        digest: digest(entry, &need(entry, "digest", text.digest)?)?,
        evidence,
    })
}

fn debian_pin(entry: &str, text: SourceText) -> Result<DebianPin, LockError> {
    let package = need(entry, "package", text.package)?;
    let package = package.split_once('=').map(|(name, version)| key(entry, name, version, ""));
    let package = package.unwrap_or_else(|| Err(invalid(entry, "`package` has no version")))?;
    let pin = DebianPin {
        registry: need(entry, "registry", text.registry)?,
        release: need(entry, "release", text.release)?,
        suites: need(entry, "suites", text.suites)?,
        components: need(entry, "components", text.components)?,
        asked: need(entry, "asked", text.asked)?,
        package,
        suite: need(entry, "suite", text.suite)?,
        component: need(entry, "component", text.component)?,
        directory: need(entry, "directory", text.directory)?,
        files: files(entry, need(entry, "files", text.files)?)?,
    };
    let words =
        [("registry", &pin.registry), ("release", &pin.release), ("suite", &pin.suite), ("component", &pin.component)];
    let lists = [("suite", &pin.suites), ("component", &pin.components)];
    let lists = lists.into_iter().flat_map(|(what, list)| list.iter().map(move |value| (what, value)));
    for (what, value) in words.into_iter().chain(lists) {
        word(entry, what, value)?;
    }
    request(entry, &pin.asked)?;
    if !plain(&pin.directory) || CleanPath::parse(&pin.directory).is_err() {
        return Err(invalid(entry, format!("its directory `{}` is not a clean relative path", shown(&pin.directory))));
    }
    Ok(pin)
}

fn files(entry: &str, texts: Vec<FileText>) -> Result<BTreeMap<String, FilePin>, LockError> {
    if texts.len() > MAX_FILES {
        return Err(invalid(entry, format!("it has more than {MAX_FILES} files")));
    }
    let mut files = BTreeMap::new();
    for text in texts {
        let good = plain(&text.name) && !text.name.contains('/') && CleanPath::parse(&text.name).is_ok();
        if !good {
            return Err(invalid(entry, format!("`{}` is not the name of a file", shown(&text.name))));
        }
        let pin = FilePin { size: text.size, digest: digest(entry, &text.digest)? };
        if files.insert(text.name, pin).is_some() {
            return Err(invalid(entry, "a file is there twice"));
        }
    }
    Ok(files)
}

fn need<T>(entry: &str, key: &str, value: Option<T>) -> Result<T, LockError> {
    value.ok_or_else(|| invalid(entry, format!("it has no `{key}`")))
}

fn plain(text: &str) -> bool {
    only(text, |b| b.is_ascii_alphanumeric() || b"/._+~:-=@%".contains(&b))
}

fn url(entry: &str, text: String) -> Result<String, LockError> {
    let good = ["https://", "http://"].iter().any(|scheme| text.len() > scheme.len() && text.starts_with(scheme))
        && only(&text, |b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
        && text.len() <= MAX_URL;
    match good {
        true => Ok(text),
        false => Err(invalid(entry, format!("`{}` is not a URL", shown(&text)))),
    }
}

fn clean(entry: &str, what: &str, text: &str) -> Result<CleanPath, LockError> {
    CleanPath::parse(text)
        .map_err(|_| invalid(entry, format!("its {what} `{}` is not a clean relative path", shown(text))))
}

/// Says whether a text is a public key of minisign: two letters for the algorithm, eight bytes of a number, the key.
fn is_minisign_key(text: &str) -> bool {
    text.len() == 56 && text.starts_with("RW") && only(text, |b| b.is_ascii_alphanumeric() || b"+/".contains(&b))
}

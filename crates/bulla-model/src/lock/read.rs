//! Reads a lock, which may come from a stranger: everything in it is bounded and checked.

mod loose;
mod observed;
mod source;

use std::collections::BTreeSet;

use serde::Deserialize;

use self::{loose::LooseText, observed::ObservedText, source::SourceText};
use super::{
    ImageKey, ImagePin, ImageSignature, IndexKey, IndexPin, Lock, LockError, PackageKey, PackagePin, RootPin, Signed,
    SourcePin, VERSION, render,
};
use crate::{
    digest::Digest,
    oci::{BaseReference, MAX_MANIFEST},
    path::CleanPath,
    platform::Platform,
    spec::RootKind,
    time::Epoch,
};

/// The most bytes of a lock.
const MAX_BYTES: usize = 16 << 20;
/// The most entries of one kind.
const MAX_ENTRIES: usize = 50_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LockText {
    #[expect(dead_code, reason = "looked at before the rest is read")]
    version: u64,
    checksum: String,
    epoch: String,
    #[serde(default)]
    index: Vec<IndexText>,
    #[serde(default)]
    root: Vec<RootText>,
    #[serde(default)]
    source: Vec<SourceText>,
    #[serde(default)]
    package: Vec<PackageText>,
    #[serde(default)]
    image: Vec<ImageText>,
    #[serde(default)]
    observed: Vec<ObservedText>,
    #[serde(default)]
    loose: Vec<LooseText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ImageText {
    reference: String,
    platform: Option<String>,
    digest: String,
    manifest: String,
    size: u64,
    key: Option<String>,
    signed_by: Option<String>,
    payload: Option<String>,
    bundle: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct IndexText {
    registry: String,
    suite: String,
    digest: String,
    date: String,
    valid_until: Option<String>,
    signed_by: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RootText {
    name: String,
    kind: String,
    platform: Option<String>,
    target: Option<String>,
    registry: String,
    release: String,
    suites: Vec<String>,
    components: Vec<String>,
    asked: Vec<String>,
    packages: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PackageText {
    name: String,
    version: String,
    architecture: String,
    registry: String,
    suite: String,
    component: String,
    path: String,
    size: u64,
    digest: String,
    source: String,
}

impl Lock {
    /// Reads the bytes of a lock.
    ///
    /// # Errors
    /// As [`Lock::parse`], and when they are not UTF-8.
    pub fn parse_bytes(bytes: &[u8]) -> Result<Self, LockError> {
        if bytes.len() > MAX_BYTES {
            return Err(LockError::TooLarge(bytes.len()));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| LockError::NotUtf8(error.valid_up_to()))?;
        Self::parse(text)
    }

    /// Reads the text of a lock.
    ///
    /// # Errors
    /// When it is too large, has marks of a merge, another version, no end, is no TOML, does not fit its checksum, or
    /// holds what cannot be; looked at in this order.
    pub fn parse(text: &str) -> Result<Self, LockError> {
        if text.len() > MAX_BYTES {
            return Err(LockError::TooLarge(text.len()));
        }
        refuse_conflicts(text)?;
        refuse_other_versions(text)?;
        if !text.ends_with(render::END) {
            return Err(LockError::Truncated { lines: text.lines().count() });
        }
        let raw: LockText = toml::from_str(text).map_err(|error| syntax(text, &error))?;
        let computed = Digest::of(body(text).unwrap_or_default()).to_string();
        if raw.checksum != computed {
            return Err(LockError::Edited { found: raw.checksum.chars().take(100).collect(), computed });
        }
        let lock = checked(raw)?;
        // What is left is what no checksum shows: another order or layout, made by something that is not Bulla.
        match lock.render() == text {
            true => Ok(lock),
            false => Err(invalid("the text", "it is not written as Bulla writes it")),
        }
    }
}

fn refuse_conflicts(text: &str) -> Result<(), LockError> {
    let marks = ["<<<<<<< ", ">>>>>>> ", "||||||| "];
    match text.lines().position(|line| line == "=======" || marks.iter().any(|mark| line.starts_with(mark))) {
        Some(at) => Err(LockError::Conflict { line: at + 1 }),
        None => Ok(()),
    }
}

fn refuse_other_versions(text: &str) -> Result<(), LockError> {
    let line = text.lines().find_map(|line| line.strip_prefix("version = "));
    match line.and_then(|number| number.trim().parse().ok()) {
        Some(found) if found != VERSION => Err(LockError::Version { found }),
        _ => Ok(()),
    }
}

/// Gives what the checksum is taken of.
fn body(text: &str) -> Option<&str> {
    let (_, tail) = text.split_once("\nchecksum = ")?;
    tail.split_once('\n').map(|(_, body)| body)
}

fn syntax(text: &str, error: &toml::de::Error) -> LockError {
    let at = error.span().map_or(0, |span| span.start);
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    LockError::Syntax {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        message: error.message().lines().next().unwrap_or("it is not TOML").chars().take(300).collect(),
    }
}

fn invalid(entry: impl Into<String>, problem: impl Into<String>) -> LockError {
    LockError::Invalid { entry: entry.into(), problem: problem.into() }
}

fn checked(raw: LockText) -> Result<Lock, LockError> {
    for (what, count) in [
        ("index", raw.index.len()),
        ("root", raw.root.len()),
        ("source", raw.source.len()),
        ("package", raw.package.len()),
        ("image", raw.image.len()),
        ("observed", raw.observed.iter().map(ObservedText::count).sum()),
        ("loose", raw.loose.len()),
    ] {
        if count > MAX_ENTRIES {
            return Err(invalid(what, format!("there are {count}, more than {MAX_ENTRIES}")));
        }
    }
    let mut lock = Lock { epoch: time("epoch", &raw.epoch)?, ..Lock::default() };
    for text in raw.index {
        let (key, index) = index(text)?;
        if lock.indexes.insert(key.clone(), index).is_some() {
            return Err(invalid(format!("index {} {}", key.registry, key.suite), "it is there twice"));
        }
    }
    for text in raw.package {
        let (key, pin) = package(text)?;
        let index = IndexKey { registry: pin.registry.clone(), suite: pin.suite.clone() };
        let entry = format!("package {key}");
        if !lock.indexes.contains_key(&index) {
            return Err(invalid(entry, format!("its suite {} has no index here", index.suite)));
        }
        if lock.packages.insert(key, pin).is_some() {
            return Err(invalid(entry, "it is there twice"));
        }
    }
    for text in raw.root {
        let (name, pin) = root(text)?;
        if let Some(lacking) = pin.packages.iter().find(|key| !lock.packages.contains_key(key)) {
            return Err(invalid(format!("root {name}"), format!("its package {lacking} has no entry")));
        }
        if lock.roots.insert(name.clone(), pin).is_some() {
            return Err(invalid(format!("root {name}"), "it is there twice"));
        }
    }
    for text in raw.source {
        let (name, pin) = source::source(text)?;
        if let SourcePin::Debian(pin) = &pin
            && !lock.indexes.contains_key(&IndexKey { registry: pin.registry.clone(), suite: pin.suite.clone() })
        {
            return Err(invalid(format!("source {name}"), format!("its suite {} has no index here", pin.suite)));
        }
        if lock.sources.insert(name.clone(), pin).is_some() {
            return Err(invalid(format!("source {name}"), "it is there twice"));
        }
    }
    for text in raw.image {
        let (key, pin) = image(text)?;
        let entry = format!("image {key}");
        let moved =
            lock.images.iter().any(|(other, known)| other.reference == key.reference && known.digest != pin.digest);
        if moved {
            return Err(invalid(entry, "another platform of it has another digest"));
        }
        if lock.images.insert(key, pin).is_some() {
            return Err(invalid(entry, "it is there twice"));
        }
    }
    for text in raw.observed {
        let (key, answers) = observed::observed(text)?;
        let entry = format!("what {} was observed to ask of {}", key.stage, key.ecosystem);
        if lock.observed.insert(key, answers).is_some() {
            return Err(invalid(entry, "it is there twice"));
        }
    }
    for text in raw.loose {
        let (key, pin) = loose::loose(text)?;
        let entry = format!("loose {key}");
        if lock.loose.insert(key, pin).is_some() {
            return Err(invalid(entry, "it is there twice"));
        }
    }
    let mut settled = lock.clone();
    settled.settle();
    match settled == lock {
        true => Ok(lock),
        false => Err(invalid("the lock", "it has entries that nothing in it uses, or an epoch that no index has")),
    }
}

fn image(text: ImageText) -> Result<(ImageKey, ImagePin), LockError> {
    let entry = format!("image {}", shown(&text.reference));
    let reference = BaseReference::parse(&text.reference).map_err(|error| invalid(&entry, error.to_string()))?;
    if reference.to_string() != text.reference {
        return Err(invalid(entry, "its reference is not in its full form"));
    }
    let signed = match (text.payload, text.bundle) {
        (None, None) => None,
        (Some(payload), None) => Some(Signed::Payload(digest(&entry, &payload)?)),
        (None, Some(bundle)) => Some(Signed::Bundle(digest(&entry, &bundle)?)),
        (Some(_), Some(_)) => return Err(invalid(entry, "its signature has both `payload` and `bundle`")),
    };
    let signature = match (text.key, text.signed_by, signed) {
        (None, None, None) => None,
        (Some(key), Some(signed_by), Some(signed)) => Some(ImageSignature {
            key: CleanPath::parse(&key).map_err(|error| invalid(&entry, error.to_string()))?,
            signed_by: digest(&entry, &signed_by)?,
            signed,
        }),
        _ => return Err(invalid(entry, "its signature has not all of `key`, `signed-by`, and `payload` or `bundle`")),
    };
    let (top, manifest) = (digest(&entry, &text.digest)?, digest(&entry, &text.manifest)?);
    let pin = ImagePin { digest: top, manifest, size: text.size, signature };
    if reference.digest().is_some_and(|digest| digest != pin.digest) {
        return Err(invalid(entry, "its reference has another digest"));
    }
    match (1..=MAX_MANIFEST).contains(&pin.size) {
        true => {
            Ok((ImageKey { reference, platform: platform(&entry, text.platform.as_deref(), Platform::BUILD)? }, pin))
        }
        false => Err(invalid(entry, format!("a manifest has no {} bytes", pin.size))),
    }
}

fn index(text: IndexText) -> Result<(IndexKey, IndexPin), LockError> {
    let entry = format!("index {} {}", shown(&text.registry), shown(&text.suite));
    word(&entry, "registry", &text.registry)?;
    word(&entry, "suite", &text.suite)?;
    signers(&entry, &text.signed_by, is_fingerprint)?;
    let pin = IndexPin {
        digest: digest(&entry, &text.digest)?,
        date: time(&entry, &text.date)?,
        valid_until: text.valid_until.map(|text| time(&entry, &text)).transpose()?,
        signed_by: text.signed_by,
    };
    Ok((IndexKey { registry: text.registry, suite: text.suite }, pin))
}

/// Checks who signed something: at least one, in order, each once.
fn signers(entry: &str, signed_by: &[String], is_good: fn(&str) -> bool) -> Result<(), LockError> {
    let sorted: BTreeSet<&String> = signed_by.iter().collect();
    match !signed_by.is_empty() && signed_by.iter().all(|text| is_good(text)) && sorted.into_iter().eq(signed_by) {
        true => Ok(()),
        false => Err(invalid(entry, "`signed-by` is not a sorted list of fingerprints")),
    }
}

fn is_fingerprint(text: &str) -> bool {
    (16..=64).contains(&text.len()) && only(text, |b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b))
}

fn root(text: RootText) -> Result<(String, RootPin), LockError> {
    let entry = format!("root {}", shown(&text.name));
    if !only(&text.name, |b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
        || text.name.len() > 80
    {
        return Err(invalid(entry, "it has no such name as a root has"));
    }
    let kinds = [RootKind::Stage, RootKind::Image, RootKind::Files];
    let Some(kind) = kinds.into_iter().find(|kind| render::kind(*kind) == text.kind) else {
        return Err(invalid(entry, "its kind is not `stage`, `image` or `files`"));
    };
    let native = platform(&entry, text.platform.as_deref(), Platform::BUILD)?;
    let target = platform(&entry, text.target.as_deref(), native)?;
    word(&entry, "registry", &text.registry)?;
    word(&entry, "release", &text.release)?;
    for suite in &text.suites {
        word(&entry, "suite", suite)?;
    }
    for component in &text.components {
        word(&entry, "component", component)?;
    }
    for asked in &text.asked {
        request(&entry, asked)?;
    }
    let mut packages = BTreeSet::new();
    for package in &text.packages {
        let key = package.split_once('=').map(|(name, version)| match name.split_once(':') {
            Some((name, architecture)) => key(&entry, name, version, architecture),
            None => key(&entry, name, version, ""),
        });
        let key = key.unwrap_or_else(|| Err(invalid(&entry, "`packages` has an entry without a version")))?;
        packages.insert(key);
    }
    let pin = RootPin {
        kind,
        native,
        target,
        registry: text.registry,
        release: text.release,
        suites: text.suites,
        components: text.components,
        asked: text.asked,
        packages,
    };
    Ok((text.name, pin))
}

fn package(text: PackageText) -> Result<(PackageKey, PackagePin), LockError> {
    let entry = format!("package {}={}", shown(&text.name), shown(&text.version));
    let key = key(&entry, &text.name, &text.version, &text.architecture)?;
    for (what, value) in [
        ("architecture", &text.architecture),
        ("registry", &text.registry),
        ("suite", &text.suite),
        ("component", &text.component),
    ] {
        word(&entry, what, value)?;
    }
    let plain = only(&text.path, |b| b.is_ascii_alphanumeric() || b"/._+~:-=@%".contains(&b));
    if !plain || CleanPath::parse(&text.path).is_err() {
        return Err(invalid(entry, format!("its path `{}` is not a clean relative path", shown(&text.path))));
    }
    let source = text.source.split_once('=').map(|(name, version)| self::key(&entry, name, version, ""));
    let source = source.unwrap_or_else(|| Err(invalid(&entry, "its source has no version")))?;
    let pin = PackagePin {
        architecture: text.architecture,
        registry: text.registry,
        suite: text.suite,
        component: text.component,
        path: text.path,
        size: text.size,
        digest: digest(&entry, &text.digest)?,
        source: source.name,
        source_version: source.version,
    };
    Ok((key, pin))
}

fn platform(entry: &str, text: Option<&str>, usual: Platform) -> Result<Platform, LockError> {
    text.map_or(Ok(usual), |text| text.parse().map_err(|error| invalid(entry, format!("{error}"))))
}

/// Checks a package's name and version (Debian policy, 5.6.1 and 5.6.12).
fn key(entry: &str, name: &str, version: &str, architecture: &str) -> Result<PackageKey, LockError> {
    let good_name = only(name, |b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+.-".contains(&b));
    let good_version = only(version, |b| b.is_ascii_alphanumeric() || b"+.~:-".contains(&b));
    match good_name && good_version && name.len() <= 200 && version.len() <= 200 && !name.starts_with(['.', '-', '+']) {
        true => Ok(PackageKey::new(name, version, architecture)),
        false => Err(invalid(entry, format!("`{}={}` is not a package and version", shown(name), shown(version)))),
    }
}

/// Checks a value that is one plain word, perhaps with slashes within (`updates/main`).
fn word(entry: &str, what: &str, value: &str) -> Result<(), LockError> {
    let good = only(value, |b| b.is_ascii_alphanumeric() || b"._-/".contains(&b));
    match good && value.len() <= 100 && CleanPath::parse(value).is_ok() {
        true => Ok(()),
        false => Err(invalid(entry, format!("its {what} is `{}`", shown(value)))),
    }
}

fn request(entry: &str, text: &str) -> Result<(), LockError> {
    match only(text, |b| b.is_ascii_graphic() && b != b'"' && b != b'\\') && text.len() <= 500 {
        true => Ok(()),
        false => Err(invalid(entry, "`asked` has what is no request for a package")),
    }
}

fn digest(entry: &str, text: &str) -> Result<Digest, LockError> {
    text.parse().map_err(|error| invalid(entry, format!("{error}")))
}

fn time(entry: &str, text: &str) -> Result<Epoch, LockError> {
    text.parse().map_err(|error| invalid(entry, format!("{error}")))
}

fn only(text: &str, allowed: impl Fn(u8) -> bool) -> bool {
    !text.is_empty() && text.bytes().all(allowed)
}

/// Makes a foreign text fit for a message.
fn shown(text: &str) -> String {
    crate::path::printable(text.as_bytes().get(..text.len().min(100)).unwrap_or_default())
}

//! Writes a lock. There is one text for each lock, so that it diffs well and its checksum means something.

use std::fmt::Write as _;

use super::{
    AnswerPin, Answers, Evidence, GitEvidence, GitPin, ImageKey, ImagePin, IndexKey, IndexPin, Lock, LooseKey,
    LoosePin, ObservedKey, PackageKey, PackagePin, RootPin, Signed, SourcePin, VERSION, Verified,
};
use crate::{
    digest::Digest,
    path::printable,
    platform::Platform,
    spec::{Name, RootKind},
};

/// What a lock begins with.
const HEADER: &str = "\
# This file pins every input of the build by digest. Bulla writes it, and notices when something else does:
# change bulla.yaml and run `bulla lock`, or `bulla lock --update [NAME]` for newer versions. Keep it in version control.
";
/// What a lock ends with, so that one that was cut off is known as such.
pub(super) const END: &str = "\n# end of bulla.lock\n";

impl Lock {
    /// Writes the lock; the same text for the same lock.
    pub fn render(&self) -> String {
        let body = self.body();
        format!("{HEADER}\nversion = {VERSION}\nchecksum = \"{}\"\n{body}", Digest::of(&body))
    }

    /// Writes all that comes after the checksum.
    fn body(&self) -> String {
        let mut out = format!("epoch = {}\n", quoted(&self.epoch.rfc3339()));
        for (key, index) in &self.indexes {
            write_index(&mut out, key, index);
        }
        for (name, root) in &self.roots {
            write_root(&mut out, name, root);
        }
        for (name, source) in &self.sources {
            write_source(&mut out, name, source);
        }
        for (key, package) in &self.packages {
            write_package(&mut out, key, package);
        }
        for (key, image) in &self.images {
            write_image(&mut out, key, image);
        }
        for (key, answers) in &self.observed {
            write_observed(&mut out, key, answers);
        }
        for (key, pin) in &self.loose {
            write_loose(&mut out, key, pin);
        }
        out.push_str(END);
        out
    }
}

fn write_index(out: &mut String, key: &IndexKey, index: &IndexPin) {
    out.push_str("\n[[index]]\n");
    line(out, "registry", &key.registry);
    line(out, "suite", &key.suite);
    line(out, "digest", &index.digest.to_string());
    line(out, "date", &index.date.rfc3339());
    if let Some(valid_until) = index.valid_until {
        line(out, "valid-until", &valid_until.rfc3339());
    }
    lines(out, "signed-by", index.signed_by.iter().map(String::as_str));
}

fn write_root(out: &mut String, name: &str, root: &RootPin) {
    out.push_str("\n[[root]]\n");
    line(out, "name", name);
    line(out, "kind", kind(root.kind));
    platform(out, "platform", root.native, Platform::BUILD);
    platform(out, "target", root.target, root.native);
    line(out, "registry", &root.registry);
    line(out, "release", &root.release);
    row(out, "suites", &root.suites);
    row(out, "components", &root.components);
    lines(out, "asked", root.asked.iter().map(String::as_str));
    let packages: Vec<String> = root.packages.iter().map(ToString::to_string).collect();
    lines(out, "packages", packages.iter().map(String::as_str));
}

fn write_source(out: &mut String, name: &Name, source: &SourcePin) {
    out.push_str("\n[[source]]\n");
    line(out, "name", name.as_str());
    match source {
        SourcePin::Url(pin) => {
            line(out, "url", &pin.url);
            let _ = writeln!(out, "size = {}", pin.size);
            line(out, "digest", &pin.digest.to_string());
            match &pin.evidence {
                Evidence::Digest => line(out, "evidence", DIGEST),
                Evidence::FirstUse => line(out, "evidence", FIRST_USE),
                Evidence::Signature { url, digest, key, signed_by } => {
                    line(out, "evidence", SIGNATURE);
                    line(out, "signature", url);
                    line(out, "signature-digest", &digest.to_string());
                    line(out, "key", &key.to_string());
                    lines(out, "signed-by", signed_by.iter().map(String::as_str));
                }
            }
        }
        SourcePin::Git(pin) => write_git(out, pin),
        SourcePin::Debian(pin) => {
            line(out, "package", &pin.package.to_string());
            line(out, "registry", &pin.registry);
            line(out, "release", &pin.release);
            row(out, "suites", &pin.suites);
            row(out, "components", &pin.components);
            line(out, "asked", &pin.asked);
            line(out, "suite", &pin.suite);
            line(out, "component", &pin.component);
            line(out, "directory", &pin.directory);
            let files: Vec<String> = (pin.files.iter())
                .map(|(name, file)| {
                    let (name, digest) = (quoted(name), quoted(&file.digest.to_string()));
                    format!("    {{ name = {name}, size = {}, digest = {digest} }},\n", file.size)
                })
                .collect();
            let _ = writeln!(out, "files = [\n{}]", files.concat());
        }
    }
}

fn write_git(out: &mut String, pin: &GitPin) {
    line(out, "git", &pin.url);
    line(out, "asked", &pin.asked.to_string());
    line(out, "commit", &pin.commit.to_string());
    let _ = writeln!(out, "size = {}", pin.size);
    line(out, "digest", &pin.digest.to_string());
    match &pin.evidence {
        GitEvidence::Commit => line(out, "evidence", COMMIT),
        GitEvidence::FirstUse => line(out, "evidence", FIRST_USE),
        GitEvidence::Signature(signature) => {
            line(out, "evidence", SIGNATURE);
            line(out, "signed-object", &signature.object.to_string());
            line(out, "key", &signature.key.to_string());
            lines(out, "signed-by", signature.signed_by.iter().map(String::as_str));
            line(out, "signer", &signature.signer);
            line(out, "signed-at", &signature.signed_at.rfc3339());
        }
    }
    if let Some(modules) = &pin.submodules {
        let modules: Vec<String> = (modules.iter())
            .map(|(path, module)| {
                let (path, url) = (quoted(&printable(path.as_bytes())), quoted(&module.url));
                format!("    {{ path = {path}, git = {url}, commit = \"{}\" }},\n", module.commit)
            })
            .collect();
        match modules.is_empty() {
            true => out.push_str("submodules = []\n"),
            false => _ = writeln!(out, "submodules = [\n{}]", modules.concat()),
        }
    }
    if pin.lfs {
        out.push_str("lfs = true\n");
    }
}

/// The words for what the bytes of a URL were found to be right by.
pub(super) const DIGEST: &str = "digest of the spec";
pub(super) const COMMIT: &str = "commit of the spec";
pub(super) const FIRST_USE: &str = "first use";
pub(super) const SIGNATURE: &str = "signature";

fn write_package(out: &mut String, key: &PackageKey, package: &PackagePin) {
    out.push_str("\n[[package]]\n");
    line(out, "name", &key.name);
    line(out, "version", &key.version);
    line(out, "architecture", &package.architecture);
    line(out, "registry", &package.registry);
    line(out, "suite", &package.suite);
    line(out, "component", &package.component);
    line(out, "path", &package.path);
    let _ = writeln!(out, "size = {}", package.size);
    line(out, "digest", &package.digest.to_string());
    line(out, "source", &format!("{}={}", package.source, package.source_version));
}

/// Writes a platform that is not the usual one.
fn platform(out: &mut String, key: &str, platform: Platform, usual: Platform) {
    if platform != usual {
        line(out, key, &platform.to_string());
    }
}

fn write_image(out: &mut String, key: &ImageKey, image: &ImagePin) {
    out.push_str("\n[[image]]\n");
    line(out, "reference", &key.reference.to_string());
    platform(out, "platform", key.platform, Platform::BUILD);
    line(out, "digest", &image.digest.to_string());
    line(out, "manifest", &image.manifest.to_string());
    let _ = writeln!(out, "size = {}", image.size);
    if let Some(signature) = &image.signature {
        line(out, "key", &signature.key.to_string());
        line(out, "signed-by", &signature.signed_by.to_string());
        match signature.signed {
            Signed::Payload(digest) => line(out, "payload", &digest.to_string()),
            Signed::Bundle(digest) => line(out, "bundle", &digest.to_string()),
        }
    }
}

fn write_observed(out: &mut String, key: &ObservedKey, answers: &Answers) {
    out.push_str("\n[[observed]]\n");
    line(out, "stage", key.stage.as_str());
    line(out, "registry", key.ecosystem.registry());
    out.push_str("answers = [\n");
    for (path, answer) in answers {
        let _ = write!(out, "    {{ path = {}, status = {}", quoted(path), answer.status());
        if let AnswerPin::Given { size, digest, purl, verified } = answer {
            let _ = write!(out, ", size = {size}, digest = \"{digest}\"");
            if let Some(purl) = purl {
                let _ = write!(out, ", purl = {}", quoted(purl));
            }
            let _ = write!(out, ", verified = {}", quoted(verified.words()));
            if let Verified::Signature(signature) = verified {
                let _ = write!(out, ", date = {}", quoted(&signature.date.rfc3339()));
                if let Some(end) = signature.valid_until {
                    let _ = write!(out, ", valid-until = {}", quoted(&end.rfc3339()));
                }
                let keys: Vec<String> = signature.signed_by.iter().map(|key| quoted(key)).collect();
                let _ = write!(out, ", signed-by = [{}]", keys.join(", "));
            }
        }
        out.push_str(" },\n");
    }
    out.push_str("]\n");
}

fn write_loose(out: &mut String, key: &LooseKey, pin: &LoosePin) {
    out.push_str("\n[[loose]]\n");
    line(out, "registry", key.ecosystem.name());
    line(out, "name", &key.name);
    line(out, "version", &key.version);
    line(out, "file", &key.file);
    let _ = writeln!(out, "size = {}", pin.size);
    line(out, "digest", &pin.digest.to_string());
    line(out, "evidence", pin.evidence.words());
}

/// Gives the word for a kind of root.
pub(super) const fn kind(kind: RootKind) -> &'static str {
    match kind {
        RootKind::Stage => "stage",
        RootKind::Image => "image",
        RootKind::Files => "files",
    }
}

fn line(out: &mut String, key: &str, value: &str) {
    let _ = writeln!(out, "{key} = {}", quoted(value));
}

/// Writes a short list in one line.
fn row(out: &mut String, key: &str, values: &[String]) {
    let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
    let _ = writeln!(out, "{key} = [{}]", values.join(", "));
}

/// Writes a list with one value a line, so that a diff shows single values.
fn lines<'a>(out: &mut String, key: &str, values: impl Iterator<Item = &'a str>) {
    let values: Vec<String> = values.map(|value| format!("    {},\n", quoted(value))).collect();
    match values.is_empty() {
        true => _ = writeln!(out, "{key} = []"),
        false => _ = writeln!(out, "{key} = [\n{}]", values.concat()),
    }
}

/// Writes a basic string (TOML 1.0, "String").
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => _ = write!(out, "\\u{:04X}", u32::from(c)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

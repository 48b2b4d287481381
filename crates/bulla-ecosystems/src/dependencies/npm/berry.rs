//! `yarn.lock` of yarn 2 and later, which is YAML: under one or more patterns, what they stand for. Its checksums are of the zip archives
//! that yarn makes of packages, not of what registries have; those without compression can be compared ([`super::yarn_zip`]).
//! What is for one platform alone has none at all: `bulla.lock` pins that.

use bulla_model::{CleanPath, Platform};

use super::{
    collected::{Collected, Entry, Reading, Refused},
    lock::Read,
    platform::{Machines, Words},
    words::{Unserved, shortened},
    yaml::{self, Node},
};
use crate::dependencies::{Hash, LockFileError, git::GitAddress};

const AGAIN: &str = "run `yarn install`, and commit the lock file";
/// The versions of the form that are read.
const VERSIONS: [&str; 5] = ["6", "7", "8", "9", "10"];
/// What a key of the cache ends with where nothing is compressed.
const PLAIN: &str = "c0";

/// Reads a lock file.
///
/// # Errors
/// When it is damaged, of another version, or names what cannot be served.
pub(super) fn read(file: &CleanPath, text: &str, platform: Platform) -> Result<Read, LockFileError> {
    let reading = Reading {
        file,
        again: AGAIN,
        unpinned: "write `compressionLevel: 0` into `.yarnrc.yml` (usual since yarn 4), run `yarn install`, and commit the lock file",
    };
    let wrong = |line, what, hint| reading.wrong(line, what, hint);
    let tree = reading.yaml(text)?;
    let Some(metadata) = tree.get("__metadata") else {
        return Err(wrong(1, "it has no `__metadata`: it is no lock file of yarn".to_owned(), AGAIN));
    };
    let version = metadata.text_of("version").unwrap_or_default();
    if !VERSIONS.contains(&version) {
        let what = format!("its `version` is {}; 6 to 10 are read", shortened(version));
        let hint = "run `yarn install` with yarn 3 or 4, and commit the lock file";
        return Err(wrong(metadata.get("version").map_or(metadata.line, |node| node.line), what, hint));
    }
    if let Some((key, line)) = yaml::twice(&tree) {
        return Err(wrong(line, format!("`{}` comes twice", shortened(key)), AGAIN));
    }
    let key = metadata.text_of("cacheKey").unwrap_or_default();
    let mut reader = Reader { key, platform, collected: Collected::default() };
    for (_, node) in tree.entries().iter().filter(|(key, _)| key != "__metadata") {
        reader.entry(node).map_err(|(line, refused)| reading.refused(line, refused))?;
    }
    Ok(reader.collected.finish())
}

struct Reader<'a> {
    /// What all checksums are made by that do not say it themselves.
    key: &'a str,
    platform: Platform,
    collected: Collected,
}

impl Reader<'_> {
    fn entry(&mut self, node: &Node) -> Result<(), (u32, Refused)> {
        let at = |key: &str| node.get(key).map_or(node.line, |value| value.line);
        let wrong = |key: &str, what: String, address: Option<Unserved>| Err((at(key), Refused { what, address }));
        let resolution = node.text_of("resolution").unwrap_or_default();
        let Some((name, reference)) = located(resolution) else {
            return wrong("resolution", format!("`{}` is no `resolution`", shortened(resolution)), None);
        };
        let (protocol, rest) = reference.split_once(':').unwrap_or(("", reference));
        let own = ["workspace", "link", "portal", "file", "patch", "exec", "npm"].contains(&protocol);
        if let Some(address) = GitAddress::of(reference).filter(|_| !own) {
            let added =
                address.map_err(Refused::from).and_then(|address| self.collected.add_commit(&address, node.line));
            return added.map_err(|refused| (at("resolution"), refused));
        }
        let version = node.text_of("version").unwrap_or_default();
        let archive;
        let resolved = match protocol {
            // What lies in the source, and what is made of other entries or by the project itself.
            "workspace" | "link" | "portal" | "file" | "patch" | "exec" => return Ok(()),
            "npm" => match rest.split_once("::") {
                None => None,
                Some((_, bound)) => {
                    let Some(address) = bound.split('&').find_map(|pair| pair.strip_prefix("__archiveUrl=")) else {
                        return wrong(
                            "resolution",
                            format!("`{}` is bound to something unknown", shortened(resolution)),
                            None,
                        );
                    };
                    archive = decoded(address);
                    Some(archive.as_str())
                }
            },
            "http" | "https" => Some(reference.split('#').next().unwrap_or(reference)),
            _ => {
                let shown = shortened(&bulla_model::login::without_logins(reference));
                let what = format!("`{}` comes from `{shown}`, which is not served to steps", shortened(name));
                return wrong("resolution", what, Some(Unserved::Git));
            }
        };
        if protocol == "npm" && rest.split("::").next() != Some(version) {
            return wrong(
                "version",
                format!("`{}` is said to be of version {}", shortened(resolution), shortened(version)),
                None,
            );
        }
        let entry = Entry { name, version, resolved, line: node.line };
        entry.source().map_err(|refused| (at("resolution"), refused))?;
        let Some(checksum) = node.text_of("checksum") else {
            // Yarn writes none for what is for one platform alone.
            let Some(conditions) = node.text_of("conditions") else {
                let what = format!("`{name}` {version} has no `checksum`: nothing says what its bytes are");
                return wrong("resolution", what, None);
            };
            return match admits(conditions, self.platform) {
                true => self.collected.add(&entry, Vec::new()).map_err(|refused| (node.line, refused)),
                false => Ok(()),
            };
        };
        let (key, digits) = checksum.split_once('/').unwrap_or((self.key, checksum));
        if !key.ends_with(PLAIN) {
            let what = format!(
                "the `checksum` of `{name}` {version} is of an archive that yarn compressed (`{}`), which nothing else makes the same",
                shortened(key)
            );
            return wrong("checksum", what, Some(Unserved::Unpinned));
        }
        let hash = match Hash::from_hex("sha512", digits) {
            Ok(Hash::Sha512(bytes)) => Hash::YarnZip(bytes),
            _ => {
                let what = format!("`{name}` {version} has the `checksum` `{}`, which is none", shortened(checksum));
                return wrong("checksum", what, None);
            }
        };
        self.collected.add(&entry, vec![hash]).map_err(|refused| (node.line, refused))
    }
}

/// Parts `@scope/name@npm:1.0.0` at its first `@` that is not the first character.
fn located(resolution: &str) -> Option<(&str, &str)> {
    let at = resolution.get(1..)?.find('@')? + 1;
    Some((&resolution[..at], &resolution[at + 1..]))
}

/// Decodes what `encodeURIComponent` wrote.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let digits = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match digits.filter(|_| first == b'%').and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Says whether conditions, such as `os=linux & cpu=x64 & libc=glibc`, may hold for a platform. Those that are more than a list are taken for
/// ones that may.
fn admits(conditions: &str, platform: Platform) -> bool {
    if conditions.contains(['|', '(', ')', '!']) {
        return true;
    }
    let of = |key: &str| {
        let values = conditions.split('&').filter_map(|one| one.trim().split_once('='));
        let values: Vec<String> =
            values.filter(|(known, _)| *known == key).map(|(_, value)| value.to_owned()).collect();
        (!values.is_empty()).then_some(Words::Many(values))
    };
    let (os, cpu, libc) = (of("os"), of("cpu"), of("libc"));
    Machines { os: os.as_ref(), cpu: cpu.as_ref(), libc: libc.as_ref() }.admit(platform)
}

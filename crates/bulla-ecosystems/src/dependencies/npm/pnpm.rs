//! `pnpm-lock.yaml` of versions 6 and 9 (pnpm 8, and 9 and later): under `packages`, what each package is, by name and version; with what
//! others it is installed, version 6 has in the same keys behind a bracket, and version 9 under `snapshots`.

use std::collections::BTreeMap;

use bulla_model::{CleanPath, Platform};
use serde_json::{Map, Value};

use super::{
    collected::{Collected, Entry, Reading, Refused},
    lock::{Kept, Read},
    name,
    platform::{Machines, Words},
    words::{self, shortened},
    yaml::{self, Node},
};
use crate::dependencies::{LockFileError, git::GitAddress};

const AGAIN: &str = "run `pnpm install`, and commit the lock file";
/// The fields that documents have of what other platforms need.
const FOREIGN_FIELDS: [&str; 5] = ["cpu", "deprecated", "engines", "libc", "os"];

/// Reads a lock file.
///
/// # Errors
/// When it is damaged, of another version, or names what cannot be served.
pub(super) fn read(file: &CleanPath, text: &str, platform: Platform) -> Result<Read, LockFileError> {
    let reading = Reading { file, again: AGAIN, unpinned: AGAIN };
    let wrong = |line, what, hint| reading.wrong(line, what, hint);
    let tree = reading.yaml(text)?;
    let newer = version(&tree).map_err(|(line, what, hint)| wrong(line, what, hint))?;
    if let Some((key, line)) = yaml::twice(&tree) {
        let hint = "delete `pnpm-lock.yaml`'s changes of the merge, run `pnpm install`, and commit the lock file";
        return Err(wrong(line, format!("`{}` comes twice", shortened(key)), hint));
    }
    let needed = if newer { Needed::of_snapshots(&tree) } else { Needed::default() };
    let mut reader = Reader {
        newer,
        platform,
        needed,
        collected: Collected::default(),
        foreign: BTreeMap::new(),
        places: BTreeMap::new(),
    };
    for section in ["packages", "snapshots", "importers"] {
        if let Some(node) = tree.get(section).filter(|node| !node.is_map()) {
            return Err(wrong(node.line, format!("`{section}` is no map"), AGAIN));
        }
    }
    for (key, node) in tree.get("packages").map(Node::entries).unwrap_or_default() {
        reader.package(key, node).map_err(|refused| reading.refused(node.line, refused))?;
    }
    let Reader { collected, foreign, places, .. } = reader;
    Ok(Read { foreign, places, ..collected.finish() })
}

/// Says whether a lock file is of version 9, and not of version 6.
fn version(tree: &Node) -> Result<bool, (u32, String, &'static str)> {
    let Some(version) = tree.get("lockfileVersion") else {
        return Err((1, "it has no `lockfileVersion`: it is no lock file of pnpm".to_owned(), AGAIN));
    };
    let text = version.text().unwrap_or_default();
    match text {
        "6.0" | "6.1" => Ok(false),
        "9.0" => Ok(true),
        _ => {
            let what = format!("`lockfileVersion` is {}; 6.0 and 9.0 are read", shortened(text));
            Err((version.line, what, "run `pnpm install` with pnpm 8, 9 or 10, and commit the lock file"))
        }
    }
}

/// Which packages are optional wherever they are needed: of version 9.
#[derive(Debug, Default)]
struct Needed<'a>(BTreeMap<&'a str, bool>);

impl<'a> Needed<'a> {
    fn of_snapshots(tree: &'a Node) -> Self {
        let mut optional: BTreeMap<&str, bool> = BTreeMap::new();
        for (key, node) in tree.get("snapshots").map(Node::entries).unwrap_or_default() {
            let is = node.text_of("optional") == Some("true");
            optional.entry(plain(key)).and_modify(|all| *all &= is).or_insert(is);
        }
        Self(optional)
    }
}

/// Gives a key without what the package is installed with, which stands in brackets behind it.
fn plain(key: &str) -> &str {
    match key.find('(') {
        Some(at) if key.ends_with(')') => &key[..at],
        _ => key,
    }
}

struct Reader<'a> {
    newer: bool,
    platform: Platform,
    needed: Needed<'a>,
    collected: Collected,
    foreign: BTreeMap<(String, String), Map<String, Value>>,
    places: BTreeMap<String, Kept>,
}

impl Reader<'_> {
    fn package(&mut self, key: &str, node: &Node) -> Result<(), Refused> {
        let id = plain(key);
        let id = if self.newer { id } else { id.strip_prefix('/').unwrap_or(id) };
        let Some(resolution) = node.get("resolution") else {
            return Err(format!("`{}` has no `resolution`", shortened(key)).into());
        };
        // A folder of the source.
        if resolution.get("directory").is_some() {
            return Ok(());
        }
        let kind = resolution.text_of("type").unwrap_or_default();
        if kind == "git" || resolution.get("repo").is_some() {
            if is_of_a_version(id) {
                return Err(format!("`{}` is of a version, and comes from a git repository", shortened(id)).into());
            }
            let text = |key: &str| resolution.text_of(key).unwrap_or_default();
            let address = GitAddress::parse(text("repo"), text("commit"))?;
            if let Some(name) = Some(node.text_of("name").unwrap_or(parted(id).0)).filter(|name| name::is_name(name)) {
                self.places.insert(format!("node_modules/.pnpm/{}/node_modules/{name}", folder(id)), Kept::Other);
            }
            return self.collected.add_commit(&address, node.line);
        }
        if !kind.is_empty() {
            return Err(format!("`{}` is of a kind (`{}`) that is not served", shortened(id), shortened(kind)).into());
        }
        let (id_name, id_version) = parted(id);
        let name = node.text_of("name").unwrap_or(id_name);
        let tarball = resolution.text_of("tarball");
        let place = |name: &str| format!("node_modules/.pnpm/{}/node_modules/{name}", folder(id));
        if tarball.is_some_and(|tarball| tarball.starts_with("file:")) {
            if is_of_a_version(id) || !name::is_name(name) {
                return Err(
                    format!("`{}` is of a version, and comes from an archive of the source", shortened(id)).into()
                );
            }
            self.places.insert(place(name), Kept::Other);
            return Ok(());
        }
        let version = node.text_of("version").unwrap_or(id_version);
        let entry = Entry { name, version, resolved: tarball, line: node.line };
        let of_registry = entry.source()? == words::Source::Registry;
        // The key is what pnpm goes by; of a package of the registry it says all.
        if of_registry && (id_name, id_version) != (name, version) {
            return Err(format!("`{}` is said to be {} {}", shortened(id), shortened(name), shortened(version)).into());
        }
        if !of_registry && is_of_a_version(id) {
            return Err(format!("`{}` is of a version, and comes from an address", shortened(id)).into());
        }
        self.places.insert(place(name), if of_registry { Kept::Registry(name.to_owned()) } else { Kept::Other });
        let words = |key: &str| node.get(key).map(|node| Words::Many(node.texts()));
        let (os, cpu, libc) = (words("os"), words("cpu"), words("libc"));
        let machines = Machines { os: os.as_ref(), cpu: cpu.as_ref(), libc: libc.as_ref() };
        let optional = match self.newer {
            true => self.needed.0.get(id).copied().unwrap_or(false),
            false => node.text_of("optional") == Some("true"),
        };
        let integrity = resolution.text_of("integrity");
        if optional && !machines.admit(self.platform) {
            let fields = FOREIGN_FIELDS.iter().filter_map(|key| Some(((*key).to_owned(), node.get(key)?.json())));
            let integrity = integrity.map(|integrity| ("integrity".to_owned(), integrity.into()));
            self.foreign.insert((name.to_owned(), version.to_owned()), fields.chain(integrity).collect());
            return Ok(());
        }
        // Of what is at an address, and of hosts of repositories above all, it need not note what it is: `bulla.lock` does.
        let hashes = match integrity {
            None if !of_registry => Vec::new(),
            _ => words::hashes(name, version, integrity)?,
        };
        self.collected.add(&entry, hashes)
    }
}

/// Parts `@scope/name@1.0.0` at its last `@` that is not the first character.
fn parted(id: &str) -> (&str, &str) {
    match id.rfind('@') {
        Some(at) if at > 0 => (&id[..at], &id[at + 1..]),
        _ => (id, ""),
    }
}

/// Says whether a key has the form of those of a registry's packages: its folder would be taken for that of such a package, with
/// what it is installed with behind an underscore.
fn is_of_a_version(id: &str) -> bool {
    let Some(at) = id.get(1..).and_then(|rest| rest.find('@')) else { return false };
    let rest = &id[at + 2..];
    let version = rest.split('_').next().unwrap_or(rest);
    semver::Version::parse(version).is_ok()
}

/// Gives the folder that a package has under `node_modules/.pnpm`, without what it is installed with (pnpm, `depPathToFilename`).
fn folder(id: &str) -> String {
    id.chars().map(|c| if "\\/:*?\"<>|#".contains(c) { '+' } else { c }).collect()
}

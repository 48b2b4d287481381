//! Reads a crate out of a commit of a git repository, and lays it into a folder as `cargo vendor` would.
//!
//! cargo looks for it in the whole repository, by its name. Its files are those beneath its `Cargo.toml`, but for what is another
//! package's; links are followed, so that a licence or a text at the top of the repository is there too.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read as _,
};

use bulla_model::{CleanPath, path::printable, tree::Node};
use toml::{Table, Value};

use super::{
    super::{Artifact, Place, ReadSeek, git::with_submodule},
    archive::{Inside, LIMITS, OWN},
    inherit::{self, Workspace},
    lock::shown,
};
use crate::{
    archive::Sink,
    git::{MAX_PACK, files::Checkout},
};

/// The name of every manifest.
const MANIFEST: &str = "Cargo.toml";
/// The most bytes of one.
const MAX_MANIFEST: usize = 4 << 20;
/// The most of them in a repository.
const MAX_MANIFESTS: usize = 20_000;
/// How many links may lead to one another.
const MAX_LINKS: usize = 8;
/// What cargo keeps in a folder itself: no checksum of the whole, since a commit has none.
const SUMS: &str = "{\"files\":{},\"package\":null}";

/// The files of a commit, and the manifests among them that can be read, by their folders.
pub(super) struct Commit {
    files: Checkout,
    manifests: BTreeMap<Option<CleanPath>, Table>,
}

/// A crate in it.
struct Found {
    folder: Option<CleanPath>,
    manifest: String,
}

impl Commit {
    /// Reads the commit of a crate.
    ///
    /// # Errors
    /// With what is wrong, when it is none, or has submodules.
    pub(super) fn read(artifact: &Artifact, body: &mut dyn ReadSeek) -> Result<Self, String> {
        let Some(Place::Git { commit, .. }) = artifact.places.first() else { return Err("it is no commit".to_owned()) };
        let mut bytes = Vec::new();
        body.take(MAX_PACK + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        let files = Checkout::of(bytes, *commit).map_err(|error| error.to_string())?;
        if let Some(path) = files.submodules().keys().next() {
            return Err(with_submodule(path));
        }
        let mut manifests = BTreeMap::new();
        let is_manifest = |(path, _): &(&CleanPath, &Node)| path.name() == MANIFEST.as_bytes();
        for (count, (path, _)) in files.beneath(None).filter(is_manifest).enumerate() {
            if count >= MAX_MANIFESTS {
                return Err(format!("the repository has more than {MAX_MANIFESTS} crates"));
            }
            let text = files.read(path).ok().flatten().filter(|bytes| bytes.len() <= MAX_MANIFEST);
            // What is none, for a test of somebody's, is not asked for.
            let table = text.and_then(|text| toml::from_str(std::str::from_utf8(&text).ok()?).ok());
            manifests.extend(table.map(|table| (path.parent(), table)));
        }
        Ok(Self { files, manifests })
    }

    /// Gives the workspace of a package.
    fn workspace(&self, folder: Option<&CleanPath>, manifest: &Table) -> Option<Workspace<'_>> {
        let depth = |folder: Option<&CleanPath>| folder.map_or(0, |folder| folder.components().count());
        inherit::places(folder, manifest).into_iter().find_map(|place| {
            let found = self.manifests.get(&place).filter(|manifest| manifest.contains_key("workspace"))?;
            Some(Workspace { manifest: found, below: depth(folder) - depth(place.as_ref()) })
        })
    }

    /// Finds a crate by its name and version.
    fn find(&self, name: &str, version: &str) -> Result<Found, String> {
        let mut found: Option<(&Option<CleanPath>, &Table)> = None;
        let mut others = Vec::new();
        let named = |manifest: &Table| {
            let own = manifest.get("package").and_then(|package| package.get("name"));
            own.and_then(Value::as_str) == Some(name)
        };
        for (folder, manifest) in self.manifests.iter().filter(|(_, manifest)| named(manifest)) {
            let workspace = self.workspace(folder.as_ref(), manifest);
            let own = inherit::of_package(manifest, "version", workspace)?.and_then(Value::as_str).unwrap_or("0.0.0");
            match found {
                _ if own != version => others.push(shown(own)),
                None => found = Some((folder, manifest)),
                Some((first, _)) => {
                    let at =
                        |folder: &Option<CleanPath>| folder.as_ref().map_or("its top".to_owned(), ToString::to_string);
                    return Err(format!("the repository has it twice, in {} and in {}", at(first), at(folder)));
                }
            }
        }
        let (folder, manifest) = found.ok_or_else(|| match others.as_slice() {
            [] => "the repository has no crate of that name at this commit".to_owned(),
            others => format!("the repository has it in version {} at this commit", others.join(" and ")),
        })?;
        let alone = inherit::alone(manifest, self.workspace(folder.as_ref(), manifest))?;
        let manifest = toml::to_string(&alone).map_err(|error| format!("its Cargo.toml: {error}"))?;
        Ok(Found { folder: folder.clone(), manifest })
    }

    /// Reads what of a crate counts before it is compiled.
    ///
    /// # Errors
    /// With what is wrong, when the commit does not have it.
    pub(super) fn inside(&self, name: &str, version: &str) -> Result<Inside, String> {
        let Found { folder, manifest } = self.find(name, version)?;
        let script = within(folder.as_ref(), "build.rs")?;
        Ok(Inside { manifest, build_rs: self.files.node(&script).is_some() })
    }

    /// Lays a crate into a folder `NAME-VERSION`.
    ///
    /// # Errors
    /// With what is wrong, when the commit does not have it, or the sink fails.
    pub(super) fn lay(&self, name: &str, version: &str, sink: &mut dyn Sink) -> Result<(), String> {
        let Found { folder, manifest } = self.find(name, version)?;
        let target = CleanPath::parse(format!("{name}-{version}")).map_err(|error| error.to_string())?;
        let failed = |error: crate::archive::SinkError| error.to_string();
        sink.directory(&target).map_err(failed)?;
        let mut laying = Laying { commit: self, sink, entries: 0, bytes: 0 };
        laying.folder(folder.as_ref(), &target, 0)?;
        for (file, text) in [(MANIFEST, manifest.as_str()), (OWN[0], SUMS)] {
            sink.file(&within(Some(&target), file)?, false, &mut text.as_bytes()).map_err(failed)?;
        }
        Ok(())
    }

    /// Follows a link; `None` where it leads to nothing of the repository.
    ///
    /// # Errors
    /// When it leads to the top of the repository, and so to itself.
    fn led(&self, link: &CleanPath) -> Result<Option<CleanPath>, String> {
        let mut at = link.clone();
        for _ in 0..=MAX_LINKS {
            let Some(Node::Symlink { target, .. }) = self.files.node(&at) else { return Ok(Some(at)) };
            let mut parts: Vec<&[u8]> = at.components().collect();
            parts.pop();
            if target.starts_with(b"/") {
                return Ok(None);
            }
            for part in target.split(|byte| *byte == b'/') {
                match part {
                    b"" | b"." => {}
                    b".." if parts.pop().is_none() => return Ok(None),
                    b".." => {}
                    part => parts.push(part),
                }
            }
            if parts.is_empty() {
                return Err(circle(link));
            }
            let Ok(next) = CleanPath::parse(parts.join(&b'/')) else { return Ok(None) };
            at = next;
        }
        Ok(None)
    }
}

fn within(folder: Option<&CleanPath>, name: &str) -> Result<CleanPath, String> {
    let path = folder.map_or_else(|| name.to_owned(), |folder| format!("{folder}/{name}"));
    CleanPath::parse(path).map_err(|error| error.to_string())
}

fn circle(path: &CleanPath) -> String {
    format!("{} is a link in a circle", printable(path.as_bytes()))
}

/// What of a crate is laid so far.
struct Laying<'a> {
    commit: &'a Commit,
    sink: &'a mut dyn Sink,
    entries: u64,
    bytes: u64,
}

impl Laying<'_> {
    /// Lays what is in a folder of the repository; `links` were followed to it.
    fn folder(&mut self, from: Option<&CleanPath>, to: &CleanPath, links: usize) -> Result<(), String> {
        let commit = self.commit;
        let mut others: BTreeSet<&CleanPath> = BTreeSet::new();
        for (path, node) in commit.files.beneath(from) {
            if !others.is_empty() && path.ancestors().any(|above| others.contains(&above)) {
                continue;
            }
            let rest = from.map_or_else(|| Some(path.clone()), |from| path.strip_prefix(from));
            let Some(rest) = rest else { continue };
            if OWN.iter().any(|own| rest.as_bytes() == own.as_bytes()) || rest.as_bytes() == MANIFEST.as_bytes() {
                continue;
            }
            let place = to.join(&rest).map_err(|error| error.to_string())?;
            match node {
                // Another package.
                Node::Directory { .. } if commit.files.node(&within(Some(path), MANIFEST)?).is_some() => {
                    others.insert(path);
                }
                Node::Symlink { .. } => self.link(path, &place, links)?,
                node => self.entry(path, node, &place)?,
            }
        }
        Ok(())
    }

    fn link(&mut self, path: &CleanPath, place: &CleanPath, links: usize) -> Result<(), String> {
        let Some(led) = self.commit.led(path)? else { return Ok(()) };
        let Some(node) = self.commit.files.node(&led) else { return Ok(()) };
        let is_folder = matches!(node, Node::Directory { .. });
        if is_folder && (links >= MAX_LINKS || path.starts_with(&led)) {
            return Err(circle(path));
        }
        self.entry(&led, node, place)?;
        if is_folder { self.folder(Some(&led), place, links + 1) } else { Ok(()) }
    }

    fn entry(&mut self, path: &CleanPath, node: &Node, place: &CleanPath) -> Result<(), String> {
        self.entries += 1;
        let laid = match node {
            Node::File { mode, size, .. } => {
                self.bytes = self.bytes.saturating_add(*size);
                let read = self.commit.files.read(path).map_err(|error| error.to_string())?;
                let content = read.ok_or_else(|| format!("{} is gone", printable(path.as_bytes())))?;
                let executable = mode.is_executable();
                if self.entries > LIMITS.entries || self.bytes > LIMITS.bytes {
                    return Err("it has more files or bytes than are accepted".to_owned());
                }
                self.sink.file(place, executable, &mut content.as_slice())
            }
            _ => self.sink.directory(place),
        };
        laid.map_err(|error| error.to_string())
    }
}

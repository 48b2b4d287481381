//! Reads `gradle/verification-metadata.xml` (Gradle's user manual, "Verifying dependencies"): which bytes each file of a module has.

use std::collections::{BTreeMap, BTreeSet};

use bulla_model::CleanPath;
use roxmltree::{Document, Node, ParsingOptions};

use super::{
    super::{Hash, LockFileError, MAX_ARTIFACTS},
    wrong,
};

/// The most bytes of it.
pub(super) const MAX_METADATA: u64 = 16 << 20;
/// The most bytes between `<` and `>`: the reader compares each attribute of an element with all others of it.
const MAX_TAG: usize = 4096;
/// The most declarations of namespaces: each element has a list of all those above it.
const MAX_NAMESPACES: usize = 16;
/// The most nodes of the document.
const MAX_NODES: u32 = 2_000_000;

const AGAIN: &str = "make it anew by `gradle --write-verification-metadata sha256 build`, commit it, build again";

/// A module at a version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Module {
    pub(super) group: String,
    pub(super) name: String,
    pub(super) version: String,
}

impl std::fmt::Display for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.group, self.name, self.version)
    }
}

impl Module {
    /// Makes one of parts that may stand in a path.
    pub(super) fn new(group: &str, name: &str, version: &str) -> Option<Self> {
        let all = group.split('.').all(is_part) && is_part(name) && is_part(version);
        let [group, name, version] = [group, name, version].map(str::to_owned);
        (all && group.len() <= MAX_PART).then_some(Self { group, name, version })
    }

    /// Gives the path of a file of it in a repository.
    pub(super) fn path(&self, file: &str) -> String {
        format!("{}/{}/{}/{file}", self.group.replace('.', "/"), self.name, self.version)
    }
}

/// The longest part of a path.
const MAX_PART: usize = 200;

/// Says whether text may be a part of a path.
pub(super) fn is_part(text: &str) -> bool {
    let letters = |b: u8| b.is_ascii_alphanumeric() || b"._-+~".contains(&b);
    !text.is_empty() && text.len() <= MAX_PART && !text.starts_with('.') && text.bytes().all(letters)
}

/// A file, and what its bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) hashes: Vec<Hash>,
    pub(super) line: u32,
}

/// What is known of all modules.
#[derive(Debug, Default)]
pub(super) struct Metadata {
    /// The files of each that something pins, by their names.
    pub(super) modules: BTreeMap<Module, BTreeMap<String, File>>,
    /// Files that a signature or a weak checksum is all there is for.
    pub(super) unpinned: BTreeSet<(Module, String)>,
}

/// Reads the document.
pub(super) fn read(text: &str, path: &CleanPath) -> Result<Metadata, LockFileError> {
    let ends: Vec<usize> = memchr::memchr_iter(b'\n', text.as_bytes()).collect();
    let line_at = |at: usize| ends.partition_point(|end| *end < at) as u32 + 1;
    let err = |at: usize, what: String| wrong(path, line_at(at), what, AGAIN);
    bounded(text).map_err(|(at, what)| err(at, what))?;
    let options = ParsingOptions { nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options)
        .map_err(|error| wrong(path, error.pos().row, "it is no XML that can be read here", AGAIN))?;
    let root = document.root_element();
    if root.tag_name().name() != "verification-metadata" {
        return Err(err(
            0,
            format!("it begins with `{}`, so it is no verification metadata", cut(root.tag_name().name())),
        ));
    }
    let mut metadata = Metadata::default();
    let mut count = 0;
    let components = named(root, "components").flat_map(|list| named(list, "component"));
    for component in components {
        let at = component.range().start;
        let attribute = |name: &str| component.attribute(name).unwrap_or_default();
        let (group, name, version) = (attribute("group"), attribute("name"), attribute("version"));
        let module = Module::new(group, name, version)
            .ok_or_else(|| err(at, format!("`{}:{}:{}` is no module", cut(group), cut(name), cut(version))))?;
        let files = metadata.modules.entry(module.clone()).or_default();
        for artifact in named(component, "artifact") {
            let at = artifact.range().start;
            let file = artifact.attribute("name").unwrap_or_default();
            if !is_part(file) {
                return Err(err(at, format!("{module}: `{}` is no name of a file", cut(file))));
            }
            count += 1;
            if count > MAX_ARTIFACTS {
                return Err(err(at, format!("it names more than {MAX_ARTIFACTS} files")));
            }
            let hashes = hashes(artifact).map_err(|what| err(at, format!("{module}: `{file}`: {what}")))?;
            if hashes.is_empty() {
                metadata.unpinned.insert((module.clone(), file.to_owned()));
                continue;
            }
            match files.get(file) {
                Some(known) if known.hashes != hashes => {
                    return Err(err(at, format!("{module}: `{file}` is there twice, with other checksums")));
                }
                Some(_) => {}
                None => drop(files.insert(file.to_owned(), File { hashes, line: line_at(at) })),
            }
        }
    }
    Ok(metadata)
}

/// Gives the strong checksums of a file; `also-trust` names others that Gradle takes as well, and that are not looked for.
fn hashes(artifact: Node<'_, '_>) -> Result<Vec<Hash>, String> {
    let mut hashes = Vec::new();
    for algorithm in ["sha256", "sha512"] {
        let mut found = named(artifact, algorithm);
        let (Some(one), None) = (found.next(), found.next()) else {
            match named(artifact, algorithm).next() {
                Some(_) => return Err(format!("it has `{algorithm}` twice")),
                None => continue,
            }
        };
        let digits = one.attribute("value").unwrap_or_default();
        hashes.push(Hash::from_hex(algorithm, &digits.to_ascii_lowercase()).map_err(|error| error.to_string())?);
    }
    Ok(hashes)
}

fn named<'a, 'input: 'a>(node: Node<'a, 'input>, name: &'a str) -> impl Iterator<Item = Node<'a, 'input>> + 'a {
    node.children().filter(move |child| child.is_element() && child.tag_name().name() == name)
}

/// Refuses a document that would take the reader of XML long, or much memory: with the place and what is wrong.
fn bounded(text: &str) -> Result<(), (usize, String)> {
    let mut from = 0;
    while let Some(start) = text[from..].find('<').map(|at| from + at) {
        let rest = &text[start..];
        if let Some(comment) = rest.strip_prefix("<!--") {
            let Some(end) = comment.find("-->") else { return Err((start, "a comment has no end".to_owned())) };
            from = start + end + 7;
            continue;
        }
        match rest.find('>') {
            None => return Err((start, "a tag has no end".to_owned())),
            Some(length) if length > MAX_TAG => {
                return Err((start, format!("a tag has more than {MAX_TAG} bytes")));
            }
            Some(length) => from = start + length + 1,
        }
    }
    if let Some((at, _)) = text.match_indices("xmlns").nth(MAX_NAMESPACES) {
        return Err((at, format!("it declares more than {MAX_NAMESPACES} namespaces")));
    }
    Ok(())
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

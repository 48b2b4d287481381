//! A directory by digest: names, modes, owners, link targets and file digests; no times, no inodes.
//!
//! A [`Tree`] describes a whole directory, or a *delta*: what a step changed, with whiteouts and opaque directories in the
//! sense of overlayfs. [`Tree::apply`] lays a delta over a tree. The canonical text of a tree ([`Tree::encode`]) is what
//! its digest is taken of; it is versioned in its first line and pinned by golden digests.

use std::{collections::BTreeMap, fmt};

use crate::{
    digest::Digest,
    path::{CleanPath, printable, unprintable},
};

/// The first line of a tree's canonical text.
const HEADER: &str = "bulla-tree 1";

/// The permission bits of a file or directory with set-user-id, set-group-id and sticky: 12 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mode(u16);

impl Mode {
    /// Takes the low 12 bits of a `st_mode`.
    pub const fn new(bits: u32) -> Self {
        Self((bits & 0o7777) as u16)
    }

    /// Gives the 12 bits.
    pub const fn bits(self) -> u32 {
        self.0 as u32
    }

    /// Gives the same mode without set-user-id and set-group-id.
    pub const fn without_set_id(self) -> Self {
        Self(self.0 & 0o1777)
    }

    /// Says whether set-user-id or set-group-id is among the bits.
    pub const fn is_set_id(self) -> bool {
        self.0 & 0o6000 != 0
    }

    /// Says whether the owner may execute it.
    pub const fn is_executable(self) -> bool {
        self.0 & 0o100 != 0
    }
}

impl fmt::Debug for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// The numeric user and group that an entry belongs to inside the image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Owner {
    /// The user id.
    pub uid: u32,
    /// The group id.
    pub gid: u32,
}

impl Owner {
    /// `root:root`.
    pub const ROOT: Self = Self { uid: 0, gid: 0 };
}

/// What stands at a path of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Node {
    /// A directory. In a delta, `opaque` says that nothing of what was there before shows through.
    Directory {
        /// Its permission bits.
        mode: Mode,
        /// Its owner.
        owner: Owner,
        /// Whether it hides what lies below it in an overlay; always false outside deltas.
        opaque: bool,
    },
    /// A regular file.
    File {
        /// Its permission bits.
        mode: Mode,
        /// Its owner.
        owner: Owner,
        /// The SHA-256 of its content.
        digest: Digest,
        /// The length of its content in bytes.
        size: u64,
    },
    /// A symbolic link; the target is kept as it is, and never followed by Bulla.
    Symlink {
        /// Its owner.
        owner: Owner,
        /// The text of the link.
        target: Box<[u8]>,
    },
    /// A further name of a regular file in the same tree.
    Hardlink {
        /// The path of the [`Node::File`] that it is a name of.
        target: CleanPath,
    },
    /// In a delta: what was at this path is gone.
    Whiteout,
}

impl Node {
    /// Makes a directory that belongs to root.
    pub const fn directory(mode: u32) -> Self {
        Self::Directory { mode: Mode::new(mode), owner: Owner::ROOT, opaque: false }
    }

    /// Makes a file that belongs to root.
    pub const fn file(mode: u32, digest: Digest, size: u64) -> Self {
        Self::File { mode: Mode::new(mode), owner: Owner::ROOT, digest, size }
    }

    /// Makes a symbolic link that belongs to root.
    pub fn symlink(target: impl AsRef<[u8]>) -> Self {
        Self::Symlink { owner: Owner::ROOT, target: target.as_ref().into() }
    }

    /// Says whether it is a directory.
    pub const fn is_directory(&self) -> bool {
        matches!(self, Self::Directory { .. })
    }

    /// Gives the owner, where the node has one of its own.
    pub const fn owner(&self) -> Option<Owner> {
        match self {
            Self::Directory { owner, .. } | Self::File { owner, .. } | Self::Symlink { owner, .. } => Some(*owner),
            Self::Hardlink { .. } | Self::Whiteout => None,
        }
    }

    /// Sets the owner, where the node has one of its own.
    pub const fn set_owner(&mut self, new: Owner) {
        match self {
            Self::Directory { owner, .. } | Self::File { owner, .. } | Self::Symlink { owner, .. } => *owner = new,
            Self::Hardlink { .. } | Self::Whiteout => {}
        }
    }

    /// Sets the permission bits, where the node has them.
    pub const fn set_mode(&mut self, new: Mode) {
        match self {
            Self::Directory { mode, .. } | Self::File { mode, .. } => *mode = new,
            Self::Symlink { .. } | Self::Hardlink { .. } | Self::Whiteout => {}
        }
    }
}

/// A directory by digest. The root itself has no entry: it is 0755 and belongs to root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    nodes: BTreeMap<CleanPath, Node>,
}

/// Says why the text of a tree was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the tree is not valid: {reason}")]
pub struct DecodeTreeError {
    line: usize,
    reason: &'static str,
}

impl Tree {
    /// Makes an empty directory.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Counts the entries.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Gives what stands at a path.
    pub fn get(&self, path: &CleanPath) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// Gives what stands at a path, to be changed.
    pub fn get_mut(&mut self, path: &CleanPath) -> Option<&mut Node> {
        self.nodes.get_mut(path)
    }

    /// Puts a node at a path, and gives what stood there. Directories above it are not made: see [`Tree::complete`].
    pub fn insert(&mut self, path: CleanPath, node: Node) -> Option<Node> {
        self.nodes.insert(path, node)
    }

    /// Takes a path, and all beneath it, out of the tree.
    pub fn remove(&mut self, path: &CleanPath) {
        let doomed: Vec<CleanPath> = self.beneath(path).map(|(path, _)| path.clone()).collect();
        for path in doomed {
            self.nodes.remove(&path);
        }
    }

    /// Iterates in the order of the paths: each directory directly before what is in it.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&CleanPath, &Node)> {
        self.nodes.iter()
    }

    /// Iterates over a path and all beneath it.
    pub fn beneath<'a>(&'a self, path: &'a CleanPath) -> impl Iterator<Item = (&'a CleanPath, &'a Node)> {
        self.nodes.range(path..).take_while(move |(candidate, _)| candidate.starts_with(path))
    }

    /// Adds the directories (0755, root) that entries lie in and that have no entry of their own.
    pub fn complete(&mut self) {
        let missing: Vec<CleanPath> =
            self.nodes.keys().flat_map(CleanPath::ancestors).filter(|path| !self.nodes.contains_key(path)).collect();
        for path in missing {
            self.nodes.entry(path).or_insert(Node::directory(0o755));
        }
    }

    /// Gives the regular file that a path names, itself or through a hard link.
    pub fn file(&self, path: &CleanPath) -> Option<(&CleanPath, &Node)> {
        let (path, node) = self.nodes.get_key_value(path)?;
        match node {
            Node::File { .. } => Some((path, node)),
            Node::Hardlink { target } => {
                self.nodes.get_key_value(target).filter(|(_, node)| matches!(node, Node::File { .. }))
            }
            _ => None,
        }
    }

    /// Lays a delta over this tree, as overlayfs would show it.
    ///
    /// A hard link of this tree whose file the delta replaces becomes a file of its own, for overlayfs copies up one name.
    pub fn apply(&mut self, delta: &Self) {
        self.detach_links(delta);
        for (path, node) in &delta.nodes {
            match node {
                Node::Whiteout => self.remove(path),
                Node::Directory { mode, owner, opaque } => {
                    if *opaque || !self.nodes.get(path).is_some_and(Node::is_directory) {
                        self.remove(path);
                    }
                    self.nodes.insert(path.clone(), Node::Directory { mode: *mode, owner: *owner, opaque: false });
                }
                _ => {
                    if self.nodes.get(path).is_some_and(Node::is_directory) {
                        self.remove(path);
                    }
                    self.nodes.insert(path.clone(), node.clone());
                }
            }
        }
    }

    /// Lays a delta over this delta, so that both together are one: what they hide stays hidden.
    pub fn stack(&mut self, delta: &Self) {
        self.detach_links(delta);
        for (path, node) in &delta.nodes {
            let before = self.nodes.get(path);
            let node = match node {
                Node::Directory { mode, owner, opaque: false } => {
                    let opaque = match before {
                        Some(Node::Directory { opaque, .. }) => *opaque,
                        Some(_) => true,
                        None => false,
                    };
                    Node::Directory { mode: *mode, owner: *owner, opaque }
                }
                other => {
                    self.remove(path);
                    other.clone()
                }
            };
            self.nodes.insert(path.clone(), node);
        }
    }

    fn detach_links(&mut self, delta: &Self) {
        let touched = |target: &CleanPath| {
            delta.nodes.contains_key(target)
                || target.ancestors().any(|above| {
                    matches!(
                        delta.nodes.get(&above),
                        Some(
                            Node::Whiteout
                                | Node::Directory { opaque: true, .. }
                                | Node::File { .. }
                                | Node::Symlink { .. }
                                | Node::Hardlink { .. }
                        )
                    )
                })
        };
        let detached: Vec<(CleanPath, Node)> = self
            .nodes
            .iter()
            .filter_map(|(path, node)| match node {
                Node::Hardlink { target } if touched(target) => Some((path.clone(), self.nodes.get(target)?.clone())),
                _ => None,
            })
            .collect();
        self.nodes.extend(detached);
    }

    /// Gives what lies beneath a path as a tree of its own. Hard links to files outside become files.
    pub fn subtree(&self, path: &CleanPath) -> Self {
        let mut tree = Self::new();
        for (inner, node) in self.beneath(path) {
            let Some(short) = inner.strip_prefix(path) else { continue };
            let node = match node {
                Node::Hardlink { target } => match (target.strip_prefix(path), self.nodes.get(target)) {
                    (Some(target), _) => Node::Hardlink { target },
                    (None, Some(file)) => file.clone(),
                    (None, None) => continue,
                },
                other => other.clone(),
            };
            tree.nodes.insert(short, node);
        }
        tree
    }

    /// Gives the same tree moved beneath a path, with the directories above it (0755, root).
    ///
    /// # Errors
    /// When a path becomes too long.
    pub fn beneath_prefix(&self, prefix: &CleanPath) -> Result<Self, crate::path::CleanPathError> {
        let mut tree = Self::new();
        for (path, node) in &self.nodes {
            let node = match node {
                Node::Hardlink { target } => Node::Hardlink { target: prefix.join(target)? },
                other => other.clone(),
            };
            tree.nodes.insert(prefix.join(path)?, node);
        }
        tree.nodes.entry(prefix.clone()).or_insert(Node::directory(0o755));
        tree.complete();
        Ok(tree)
    }

    /// Adds up the sizes of the regular files, in bytes.
    pub fn size(&self) -> u64 {
        self.nodes.values().map(|node| if let Node::File { size, .. } = node { *size } else { 0 }).sum()
    }

    /// Gives the digest of the canonical text.
    pub fn digest(&self) -> Digest {
        Digest::of(self.encode())
    }

    /// Writes the canonical text: a header, then one line an entry in the order of the paths.
    ///
    /// `d MODE UID GID PATH`, `D …` for an opaque directory, `f MODE UID GID SIZE SHA256 PATH`, `l UID GID PATH TARGET`,
    /// `h PATH TARGET`, `w PATH`; names are escaped as [`printable`] does, with a space as `\x20`.
    pub fn encode(&self) -> String {
        use fmt::Write as _;
        let mut text = String::with_capacity(32 + self.nodes.len() * 128);
        text.push_str(HEADER);
        text.push('\n');
        for (path, node) in &self.nodes {
            let path = escape(path.as_bytes());
            let written = match node {
                Node::Directory { mode, owner, opaque } => {
                    let letter = if *opaque { 'D' } else { 'd' };
                    writeln!(text, "{letter} {mode:?} {} {} {path}", owner.uid, owner.gid)
                }
                Node::File { mode, owner, digest, size } => {
                    writeln!(text, "f {mode:?} {} {} {size} {} {path}", owner.uid, owner.gid, digest.hex())
                }
                Node::Symlink { owner, target } => {
                    writeln!(text, "l {} {} {path} {}", owner.uid, owner.gid, escape(target))
                }
                Node::Hardlink { target } => writeln!(text, "h {path} {}", escape(target.as_bytes())),
                Node::Whiteout => writeln!(text, "w {path}"),
            };
            written.expect("writing to a string cannot fail");
        }
        text
    }

    /// Reads the canonical text, and nothing that differs from it by a byte.
    ///
    /// # Errors
    /// When the text is not what [`Tree::encode`] writes: another header, a bad line, entries out of order.
    pub fn decode(text: &str) -> Result<Self, DecodeTreeError> {
        let mut tree = Self::new();
        let mut lines = text.split('\n').enumerate();
        let fail = |line: usize, reason| DecodeTreeError { line: line + 1, reason };
        if lines.next().map(|(_, line)| line) != Some(HEADER) {
            return Err(fail(0, "the header is another one"));
        }
        let mut ended = false;
        for (number, line) in lines {
            if ended {
                return Err(fail(number, "an empty line"));
            }
            if line.is_empty() {
                ended = true;
                continue;
            }
            let (path, node) = decode_line(line).ok_or_else(|| fail(number, "it is not an entry"))?;
            if tree.nodes.last_key_value().is_some_and(|(last, _)| *last >= path) {
                return Err(fail(number, "it is out of order"));
            }
            tree.nodes.insert(path, node);
        }
        if ended { Ok(tree) } else { Err(fail(text.lines().count(), "the text is cut off")) }
    }
}

fn escape(bytes: &[u8]) -> String {
    printable(bytes).replace(' ', "\\x20")
}

fn decode_line(line: &str) -> Option<(CleanPath, Node)> {
    let fields: Vec<&str> = line.split(' ').collect();
    let path = |text: &str| CleanPath::parse(unprintable(text)?).ok();
    let is_mode = |text: &str| text.len() == 4 && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let mode = |text: &str| is_mode(text).then(|| u32::from_str_radix(text, 8).ok().map(Mode::new)).flatten();
    let owner = |uid: &str, gid: &str| Some(Owner { uid: number(uid)?, gid: number(gid)? });
    let (found, node) = match *fields.as_slice() {
        [letter @ ("d" | "D"), bits, uid, gid, name] => {
            (path(name)?, Node::Directory { mode: mode(bits)?, owner: owner(uid, gid)?, opaque: letter == "D" })
        }
        ["f", bits, uid, gid, size, digest, name] => {
            let digest = Digest::from_hex(digest).ok()?;
            (path(name)?, Node::File { mode: mode(bits)?, owner: owner(uid, gid)?, digest, size: number(size)? })
        }
        ["l", uid, gid, name, target] => {
            (path(name)?, Node::Symlink { owner: owner(uid, gid)?, target: unprintable(target)?.into() })
        }
        ["h", name, target] => (path(name)?, Node::Hardlink { target: path(target)? }),
        ["w", name] => (path(name)?, Node::Whiteout),
        _ => return None,
    };
    Some((found, node))
}

/// Reads a number in its one form: no sign, no zeros in front.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    let one_form = text == "0" || text.starts_with(|first: char| ('1'..='9').contains(&first));
    one_form.then(|| text.parse().ok()).flatten()
}

impl FromIterator<(CleanPath, Node)> for Tree {
    fn from_iter<I: IntoIterator<Item = (CleanPath, Node)>>(entries: I) -> Self {
        Self { nodes: entries.into_iter().collect() }
    }
}

impl IntoIterator for Tree {
    type Item = (CleanPath, Node);
    type IntoIter = std::collections::btree_map::IntoIter<CleanPath, Node>;

    fn into_iter(self) -> Self::IntoIter {
        self.nodes.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> CleanPath {
        text.parse().expect("clean")
    }

    fn sample() -> Tree {
        let mut tree: Tree = [
            (path("usr/bin/tool"), Node::file(0o4755, Digest::of(b"tool"), 4)),
            (path("usr/bin/alias"), Node::Hardlink { target: path("usr/bin/tool") }),
            (path("bin"), Node::symlink("usr/bin")),
            (path("with space"), Node::directory(0o1777)),
        ]
        .into_iter()
        .collect();
        tree.complete();
        tree
    }

    #[test]
    fn a_text_that_differs_by_a_byte_is_not_read() {
        let digest = "ab".repeat(32);
        let good = format!("bulla-tree 1\nd 0755 0 10 a\\x20b\nf 0644 0 0 3 {digest} a\\x20b/c\n");
        assert_eq!(Tree::decode(&good).expect("it is canonical").encode(), good);
        let changes = [
            ("0755", "+755"),
            ("0 10", "0 +10"),
            ("0 10", "00 10"),
            (" 3 ", " 03 "),
            ("/c", "/\u{202e}"),
            ("/c", "/\\x63"),
            ("/c", "/\\x+f"),
            ("/c", "/\\xFF"),
            ("/c", "/\t"),
        ];
        for (from, to) in changes {
            let text = good.replacen(from, to, 1);
            assert_ne!(text, good);
            assert!(Tree::decode(&text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_canonical_text_is_pinned() {
        let digest = sample().digest().to_string();
        assert_eq!(digest, "sha256:5116ef7f91bfad3f8e00bb6cef96c85ad809b2a3633db12d66d89e802b7fd7b7");
    }

    #[test]
    fn a_tree_is_read_back_and_nothing_else_is() {
        let text = sample().encode();
        assert_eq!(Tree::decode(&text), Ok(sample()));
        assert!(Tree::decode(&text[..text.len() - 1]).is_err(), "cut off");
        assert!(Tree::decode(&text.replace("bulla-tree 1", "bulla-tree 2")).is_err(), "another version");
        assert!(Tree::decode(&format!("{text}w bin\n")).is_err(), "out of order");
        assert!(Tree::decode(&format!("{text}f 0644 0 0 x y zz\n")).is_err(), "bad fields");
        assert!(Tree::decode(&format!("{text}w ../x\n")).is_err(), "not clean");
    }

    #[test]
    fn a_delta_is_laid_over_as_overlayfs_shows_it() {
        let mut tree = sample();
        let delta: Tree = [
            (path("usr/bin/tool"), Node::file(0o755, Digest::of(b"new"), 3)),
            (path("bin"), Node::Whiteout),
            (path("with space"), Node::Directory { mode: Mode::new(0o700), owner: Owner::ROOT, opaque: true }),
        ]
        .into_iter()
        .collect();
        tree.insert(path("with space/old"), Node::symlink("x"));
        tree.apply(&delta);
        assert_eq!(tree.get(&path("bin")), None);
        assert_eq!(tree.get(&path("with space/old")), None);
        assert_eq!(tree.get(&path("with space")), Some(&Node::directory(0o700)));
        assert_eq!(tree.get(&path("usr/bin/alias")), Some(&Node::file(0o4755, Digest::of(b"tool"), 4)));
    }

    #[test]
    fn a_subtree_keeps_its_own_links_and_copies_foreign_ones() {
        let mut tree = sample();
        tree.insert(path("out/link"), Node::Hardlink { target: path("usr/bin/tool") });
        assert_eq!(tree.subtree(&path("out")).get(&path("link")), Some(&Node::file(0o4755, Digest::of(b"tool"), 4)));
        assert_eq!(
            tree.subtree(&path("usr")).get(&path("bin/alias")),
            Some(&Node::Hardlink { target: path("bin/tool") })
        );
    }
}

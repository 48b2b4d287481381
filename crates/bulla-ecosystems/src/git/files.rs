//! Checks commits out: walks their trees, gives each file its place, and writes all as one tar archive in canonical form.
//!
//! The archive is what the lock pins and the store keeps. It has the bytes as they were committed: no line ends are changed, no
//! keywords put in, no filters run, whatever `.gitattributes` says.

mod name;

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
};

use bulla_model::{
    CleanPath, Digest, Epoch, GitId,
    path::MAX_PATH,
    tar::{self, TarError},
    tree::{Node, Tree},
};

use self::name::{check_name, means};
use super::{
    Commit, GitError, Kind, Pack,
    lfs::Pointer,
    object::{EntryMode, entries},
    pack::MAX_PACK,
};

/// What a checkout may have at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Entries.
    pub(super) entries: usize,
    /// Bytes of all files.
    pub(super) bytes: u64,
    /// Bytes of all paths.
    pub(super) names: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 1 << 20, bytes: 16 << 30, names: 128 << 20 }
    }
}

/// The most directories that may lie in one another.
const MAX_DEPTH: usize = 250;

/// Opens what Git LFS keeps elsewhere, by its SHA-256.
pub type OpenLarge<'a> = dyn FnMut(&Digest) -> io::Result<Box<dyn Read>> + 'a;

/// The files of a commit, and of its submodules.
#[derive(Debug, Default)]
pub struct Checkout {
    packs: Vec<Pack>,
    tree: Tree,
    /// Where the content of a file is: the pack, and the object in it.
    contents: BTreeMap<CleanPath, (usize, GitId)>,
    submodules: BTreeMap<CleanPath, GitId>,
    pointers: BTreeMap<CleanPath, Pointer>,
    bytes: u64,
    names: u64,
    pub(super) limits: Limits,
}

impl Checkout {
    /// Begins without files.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a commit and its files out of the bytes of a pack.
    ///
    /// # Errors
    /// As [`Checkout::add`], and when it is no pack that has this commit.
    pub fn of(bytes: Vec<u8>, commit: GitId) -> Result<Self, GitError> {
        let pack = Pack::read(bytes)?;
        let tree = Commit::parse(commit, &pack.get(Kind::Commit, &commit)?)?.tree;
        let mut checkout = Self::new();
        checkout.add(pack, &tree, None)?;
        Ok(checkout)
    }

    /// Gives all that is in it, in order of the paths, or what is beneath one.
    pub fn beneath<'a>(
        &'a self,
        path: Option<&'a CleanPath>,
    ) -> Box<dyn Iterator<Item = (&'a CleanPath, &'a Node)> + 'a> {
        match path {
            None => Box::new(self.tree.iter()),
            Some(path) => Box::new(self.tree.beneath(path)),
        }
    }

    /// Gives what stands at a path.
    pub fn node(&self, path: &CleanPath) -> Option<&Node> {
        self.tree.get(path)
    }

    /// Adds the files of a tree beneath a path; `None` is the top.
    ///
    /// # Errors
    /// When an object is missing or not well formed, a name may not be checked out, or there is more than is accepted.
    pub fn add(&mut self, pack: Pack, tree: &GitId, under: Option<&CleanPath>) -> Result<(), GitError> {
        let held: u64 = self.packs.iter().map(Pack::bytes).sum::<u64>() + pack.bytes();
        if held > 2 * MAX_PACK {
            return Err(GitError::TooLarge { what: "larger packs", limit: 2 * MAX_PACK });
        }
        if let Some(path) = under {
            self.submodules.remove(path);
        }
        self.packs.push(pack);
        let at = self.packs.len() - 1;
        self.directory(at, tree, under)
    }

    fn directory(&mut self, pack: usize, id: &GitId, under: Option<&CleanPath>) -> Result<(), GitError> {
        let bytes = self.object(pack, Kind::Tree, id)?;
        for entry in entries(*id, &bytes)? {
            let shown = || [under.map_or(b"".as_slice(), CleanPath::as_bytes), b"/", entry.name].concat();
            check_name(entry.name).map_err(|problem| GitError::entry(&shown(), problem))?;
            let too_long = |_| GitError::entry(&shown(), "has a path that is too long, or a name that is none");
            let name = CleanPath::parse(entry.name).map_err(too_long)?;
            let path = under.map_or_else(|| Ok(name.clone()), |under| under.join(&name)).map_err(too_long)?;
            if path.components().count() > MAX_DEPTH {
                return Err(GitError::entry(path.as_bytes(), "lies in too many directories"));
            }
            let node = match entry.mode {
                EntryMode::Directory => Node::directory(0o755),
                EntryMode::File { executable } => self.file(pack, &path, &entry.id, executable)?,
                EntryMode::Symlink => self.symlink(pack, &path, &entry.id)?,
                EntryMode::Submodule => {
                    self.submodules.insert(path.clone(), entry.id);
                    Node::directory(0o755)
                }
            };
            self.place(&path, node)?;
            if entry.mode == EntryMode::Directory {
                self.directory(pack, &entry.id, Some(&path))?;
            }
        }
        Ok(())
    }

    fn place(&mut self, path: &CleanPath, node: Node) -> Result<(), GitError> {
        self.names = self.names.saturating_add(path.as_bytes().len() as u64);
        if self.tree.insert(path.clone(), node).is_some() {
            return Err(GitError::entry(path.as_bytes(), "comes twice"));
        }
        let limits = self.limits;
        if self.tree.len() > limits.entries {
            return Err(GitError::TooLarge { what: "more entries", limit: limits.entries as u64 });
        }
        match self.names > limits.names {
            true => Err(GitError::TooLarge { what: "more bytes of names", limit: limits.names }),
            false => Ok(()),
        }
    }

    fn file(&mut self, pack: usize, path: &CleanPath, id: &GitId, executable: bool) -> Result<Node, GitError> {
        let content = self.object(pack, Kind::Blob, id)?;
        self.count(content.len() as u64)?;
        if let Some(pointer) = Pointer::parse(&content) {
            self.pointers.insert(path.clone(), pointer);
        }
        self.contents.insert(path.clone(), (pack, *id));
        Ok(Node::file(if executable { 0o755 } else { 0o644 }, Digest::of(&content), content.len() as u64))
    }

    fn symlink(&mut self, pack: usize, path: &CleanPath, id: &GitId) -> Result<Node, GitError> {
        // A list of submodules that is a link would be read from wherever that leads.
        if means(path.name(), ".gitmodules") {
            return Err(GitError::entry(
                path.as_bytes(),
                "is a symbolic link, which the list of submodules may not be",
            ));
        }
        let target = self.object(pack, Kind::Blob, id)?;
        match target.is_empty() || target.len() > MAX_PATH || target.contains(&0) {
            true => Err(GitError::entry(path.as_bytes(), "is a link to what is no name")),
            false => Ok(Node::symlink(target)),
        }
    }

    fn count(&mut self, bytes: u64) -> Result<(), GitError> {
        self.bytes = self.bytes.saturating_add(bytes);
        match self.bytes > self.limits.bytes {
            true => Err(GitError::TooLarge { what: "more bytes of files", limit: self.limits.bytes }),
            false => Ok(()),
        }
    }

    fn object(&self, pack: usize, kind: Kind, id: &GitId) -> Result<Vec<u8>, GitError> {
        let pack = self.packs.get(pack).ok_or(GitError::Missing { what: kind.word(), id: *id })?;
        pack.get(kind, id)
    }

    /// Gives the submodules that were not added yet, with the commits that are wanted of them.
    pub const fn submodules(&self) -> &BTreeMap<CleanPath, GitId> {
        &self.submodules
    }

    /// Gives the pointers of Git LFS in place of which nothing was put yet.
    pub const fn pointers(&self) -> &BTreeMap<CleanPath, Pointer> {
        &self.pointers
    }

    /// Gives the content of a file that was committed; `None` where there is no such file.
    ///
    /// # Errors
    /// When the object is larger than it may be.
    pub fn read(&self, path: &CleanPath) -> Result<Option<Vec<u8>>, GitError> {
        self.contents.get(path).map(|(pack, id)| self.object(*pack, Kind::Blob, id)).transpose()
    }

    /// Puts what pointers of Git LFS stand for in their places.
    ///
    /// # Errors
    /// When there is more than is accepted, or a pointer needs a program to be read.
    pub fn put_large(&mut self) -> Result<(), GitError> {
        for (path, pointer) in std::mem::take(&mut self.pointers) {
            if pointer.extended {
                return Err(GitError::entry(path.as_bytes(), "is kept by Git LFS in a form that an extension made"));
            }
            self.count(pointer.size)?;
            self.contents.remove(&path);
            if let Some(Node::File { digest, size, .. }) = self.tree.get_mut(&path) {
                (*digest, *size) = (pointer.digest, pointer.size);
            }
        }
        Ok(())
    }

    /// Writes the files as one tar archive: the same bytes for the same files, with owner 0 and time 0.
    ///
    /// # Errors
    /// When it cannot be written, a name is not UTF-8, or a content is not there.
    pub fn write(&self, out: &mut dyn Write, large: &mut OpenLarge<'_>) -> Result<(), TarError> {
        let mut content = |path: &CleanPath, node: &Node| -> io::Result<Box<dyn Read>> {
            match (self.contents.get(path), node) {
                (Some((pack, id)), _) => {
                    let bytes = self.object(*pack, Kind::Blob, id).map_err(io::Error::other)?;
                    Ok(Box::new(io::Cursor::new(bytes)))
                }
                (None, Node::File { digest, .. }) => large(digest),
                (None, _) => Err(io::ErrorKind::NotFound.into()),
            }
        };
        tar::write_part(out, &self.tree, &BTreeMap::new(), Epoch::default(), &mut content)?;
        let end = |source| TarError::Write { path: CleanPath::parse("end").expect("a name"), source };
        out.write_all(&tar::END).map_err(end)
    }
}

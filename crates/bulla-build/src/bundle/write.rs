//! Writes a bundle.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read, Write},
    path::PathBuf,
};

use bulla_ecosystems::dependencies::Hash;
use bulla_model::{
    CleanPath, Digest, Epoch, Hasher, Tree, oci, tar,
    tree::{Mode, Node, Owner},
};
use bulla_store::Store;

use super::{ANSWERS, Answer, BundleError, FORMAT, INPUTS, KEYS, MARKER, Marker, PINS, PROJECT};
use crate::run::Answered;

/// What goes into a bundle.
#[derive(Debug, Default)]
pub struct Contents {
    /// The project's name.
    pub name: String,
    /// The file name of the spec.
    pub spec: String,
    /// Files of the project that are in memory, by path: spec and lock.
    pub documents: BTreeMap<CleanPath, Vec<u8>>,
    /// Further files and symbolic links of the project, by path.
    pub files: BTreeMap<CleanPath, PathBuf>,
    /// The inputs, which are in the store.
    pub inputs: BTreeMap<Digest, u64>,
    /// Which of the inputs each hash of a native lock file stands for.
    pub pins: BTreeMap<Hash, Digest>,
    /// Which of the inputs say where files of a lock file are.
    pub answers: BTreeSet<Answered>,
    /// The keys, by name.
    pub keys: BTreeMap<String, Vec<u8>>,
}

enum Content {
    Bytes(Vec<u8>),
    File(PathBuf),
    Blob(Digest),
}

#[derive(Default)]
struct Files {
    tree: Tree,
    contents: BTreeMap<CleanPath, Content>,
}

impl Files {
    fn bytes(&mut self, path: CleanPath, bytes: Vec<u8>) {
        self.tree.insert(path.clone(), Node::file(0o644, Digest::of(&bytes), bytes.len() as u64));
        self.contents.insert(path, Content::Bytes(bytes));
    }

    fn file(&mut self, path: CleanPath, from: PathBuf) -> Result<(), BundleError> {
        use std::os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _};
        let fail = |verb| BundleError::io(verb, from.clone());
        let metadata = std::fs::symlink_metadata(&from).map_err(fail("examining"))?;
        if metadata.is_symlink() {
            let target = std::fs::read_link(&from).map_err(fail("reading"))?;
            self.tree.insert(path, Node::symlink(target.as_os_str().as_bytes()));
            return Ok(());
        }
        if !metadata.is_file() {
            return Err(BundleError::Special { path: from });
        }
        let mut hasher = Hasher::new();
        let mut file = std::fs::File::open(&from).map_err(fail("opening"))?;
        let mut chunk = vec![0; 1 << 18];
        loop {
            match file.read(&mut chunk).map_err(fail("reading"))? {
                0 => break,
                count => hasher.update(chunk.get(..count).unwrap_or_default()),
            }
        }
        // As in a source, of a mode only counts whether it may be executed.
        let mode = Mode::new(if metadata.permissions().mode() & 0o100 != 0 { 0o755 } else { 0o644 });
        let (size, owner) = (hasher.length(), Owner::ROOT);
        self.tree.insert(path.clone(), Node::File { mode, owner, digest: hasher.finish(), size });
        self.contents.insert(path, Content::File(from));
        Ok(())
    }

    fn open(&self, store: &Store, path: &CleanPath) -> io::Result<Box<dyn Read>> {
        match self.contents.get(path) {
            Some(Content::Bytes(bytes)) => Ok(Box::new(io::Cursor::new(bytes.clone()))),
            Some(Content::File(file)) => Ok(Box::new(std::fs::File::open(file)?)),
            Some(Content::Blob(digest)) => {
                let gone = || io::Error::new(io::ErrorKind::NotFound, format!("{digest} is not in the store"));
                Ok(Box::new(store.open_blob(digest).map_err(io::Error::other)?.ok_or_else(gone)?))
            }
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// Writes a bundle. The same contents give the same bytes.
///
/// # Errors
/// When something cannot be read, changes meanwhile, or the bundle cannot be written.
pub fn write(store: &Store, contents: Contents, out: &mut dyn Write) -> Result<(), BundleError> {
    let mut files = Files::default();
    let marker = Marker { format: FORMAT, name: contents.name, spec: contents.spec };
    files.bytes(CleanPath::parse(MARKER)?, oci::encode(&marker));
    for (digest, size) in contents.inputs {
        if !store.has_blob(&digest)? {
            return Err(BundleError::Missing { digest });
        }
        let path = CleanPath::parse(format!("{INPUTS}/{}", digest.hex()))?;
        files.tree.insert(path.clone(), Node::file(0o644, digest, size));
        files.contents.insert(path, Content::Blob(digest));
    }
    if !contents.pins.is_empty() {
        let pins: BTreeMap<String, Digest> =
            contents.pins.into_iter().map(|(hash, digest)| (hash.to_string(), digest)).collect();
        files.bytes(CleanPath::parse(PINS)?, oci::encode(&pins));
    }
    if !contents.answers.is_empty() {
        let answers: Vec<Answer> = contents.answers.into_iter().map(Answer::from).collect();
        files.bytes(CleanPath::parse(ANSWERS)?, oci::encode(&answers));
    }
    for (name, bytes) in contents.keys {
        files.bytes(CleanPath::parse(format!("{KEYS}/{name}"))?, bytes);
    }
    let project = CleanPath::parse(PROJECT)?;
    for (path, from) in contents.files {
        files.file(project.join(&path)?, from)?;
    }
    for (path, bytes) in contents.documents {
        files.bytes(project.join(&path)?, bytes);
    }
    files.tree.complete();
    let mut open = |path: &CleanPath, _: &Node| files.open(store, path);
    tar::write_part(out, &files.tree, &BTreeMap::default(), Epoch::default(), &mut open)?;
    out.write_all(&tar::END).map_err(BundleError::io("writing", "the end of the bundle"))
}

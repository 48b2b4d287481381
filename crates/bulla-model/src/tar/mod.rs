//! The canonical tar writer: one sequence of bytes for one tree, whoever writes it and wherever.
//!
//! Entries are `ustar` (POSIX.1-1988) with `pax` headers (POSIX.1-2001) only for what `ustar` cannot hold. Owners are numbers,
//! the names of owners are empty, and every entry of a part has the same time. A layer is written as *parts*: a skeleton
//! with all its directories, then one part for each origin with files and links, then the [`END`] of the archive. A part's
//! bytes do not depend on its neighbours, so compressed parts can be kept and concatenated.

mod header;

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
};

use self::header::{Entry, Kind as EntryKind};
use crate::{
    capability::Capabilities,
    digest::{Digest, Hasher},
    fault::{Fault, Kind},
    path::CleanPath,
    time::Epoch,
    tree::{Mode, Node, Owner, Tree},
};

/// The length of a tar block in bytes.
pub const BLOCK: usize = 512;

/// What stands at the end of an archive: two blocks of zeros (POSIX.1-2001, `pax`, "ustar Interchange Format").
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// What stands before the name of an extended attribute in a `pax` record: star's keyword, which Docker, containerd, Podman and
/// umoci read, with the value as it is behind it.
pub const ATTRIBUTES: &str = "SCHILY.xattr.";

/// The file capabilities of the files of a part that have any.
pub type FileCapabilities = BTreeMap<CleanPath, Capabilities>;

/// Opens the content of a regular file of a tree.
pub type Content<'a> = dyn FnMut(&CleanPath, &Node) -> io::Result<Box<dyn Read>> + 'a;

/// Says why a part could not be written.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The archive cannot be written to.
    #[error("writing the tar entry of {path}")]
    Write {
        /// The entry.
        path: CleanPath,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The content of a file cannot be read.
    #[error("reading the content of {path}")]
    Read {
        /// The file.
        path: CleanPath,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The content has another length than the tree says.
    #[error("the content of {path} has {found} bytes, and its tree says {expected}")]
    Size {
        /// The file.
        path: CleanPath,
        /// What the tree says.
        expected: u64,
        /// What was read, cut off one byte after what was expected.
        found: u64,
    },
    /// The content has another digest than the tree says.
    #[error("the content of {path} is {found}, and its tree says {expected}")]
    Content {
        /// The file.
        path: CleanPath,
        /// What the tree says.
        expected: Digest,
        /// What was read.
        found: Digest,
    },
    /// A name that an image cannot hold: `pax` headers are UTF-8, and so are the paths in a container's configuration.
    #[error("the name or link target `{path}` is not UTF-8, which an image cannot hold")]
    NotUtf8 {
        /// The path, made printable.
        path: CleanPath,
    },
    /// A hard link whose file is not in the same part.
    #[error("{path} is a hard link to {target}, which is not a file of the same part")]
    DanglingLink {
        /// The link.
        path: CleanPath,
        /// What it should be a name of.
        target: CleanPath,
    },
    /// A whiteout or opaque directory: deltas are laid over their tree before it is written.
    #[error("{path} is a whiteout or an opaque directory, which only a delta has")]
    Delta {
        /// Where it stands.
        path: CleanPath,
    },
}

impl Fault for TarError {
    fn kind(&self) -> Kind {
        match self {
            Self::Write { .. } | Self::Read { .. } => Kind::Environment,
            Self::Size { .. } | Self::Content { .. } => Kind::Integrity,
            Self::NotUtf8 { .. } => Kind::Spec,
            Self::DanglingLink { .. } | Self::Delta { .. } => Kind::Internal,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Size { .. } | Self::Content { .. } => {
                vec!["a file of the store was changed; `bulla store verify` finds and removes what is damaged".into()]
            }
            Self::NotUtf8 { .. } => vec!["rename the file, or leave it out of the output".into()],
            _ => Vec::new(),
        }
    }
}

/// Writes the entries of a tree: directories, files and symbolic links in the order of their paths, then hard links, so that
/// each link stands behind its file. Every entry gets the same time, and a file its capabilities, which all its names then have. Contents are hashed while they are written.
///
/// # Errors
/// When a content cannot be read or is not what the tree says, when a name is not UTF-8, and when the tree is a delta.
pub fn write_part(
    out: &mut dyn Write,
    tree: &Tree,
    capabilities: &FileCapabilities,
    time: Epoch,
    content: &mut Content<'_>,
) -> Result<(), TarError> {
    let plain = |kind, mode, owner| Attributes { kind, mode, owner, time, capabilities: None };
    for (path, node) in tree.iter().filter(|(_, node)| !matches!(node, Node::Hardlink { .. })) {
        match node {
            Node::Directory { mode, owner, opaque: false } => {
                entry(out, path, plain(EntryKind::Directory, *mode, *owner))?;
            }
            Node::Symlink { owner, target } => {
                let target = std::str::from_utf8(target).map_err(|_| TarError::NotUtf8 { path: path.clone() })?;
                entry(out, path, plain(EntryKind::Symlink(target), Mode::new(0o777), *owner))?;
            }
            Node::File { mode, owner, digest, size } => {
                let capabilities = capabilities.get(path).copied();
                entry(out, path, Attributes { capabilities, ..plain(EntryKind::File(*size), *mode, *owner) })?;
                let reader = content(path, node).map_err(|source| TarError::Read { path: path.clone(), source })?;
                copy(out, path, reader, *size, digest)?;
            }
            Node::Directory { .. } | Node::Whiteout | Node::Hardlink { .. } => {
                return Err(TarError::Delta { path: path.clone() });
            }
        }
    }
    for (path, node) in tree.iter() {
        let Node::Hardlink { target } = node else { continue };
        let Some(Node::File { mode, owner, .. }) = tree.get(target) else {
            return Err(TarError::DanglingLink { path: path.clone(), target: target.clone() });
        };
        let name = target.as_str().ok_or_else(|| TarError::NotUtf8 { path: target.clone() })?;
        entry(out, path, plain(EntryKind::Hardlink(name), *mode, *owner))?;
    }
    Ok(())
}

/// What an entry has beside its name.
struct Attributes<'a> {
    kind: EntryKind<'a>,
    mode: Mode,
    owner: Owner,
    time: Epoch,
    capabilities: Option<Capabilities>,
}

fn entry(out: &mut dyn Write, path: &CleanPath, attributes: Attributes<'_>) -> Result<(), TarError> {
    let Attributes { kind, mode, owner, time, capabilities } = attributes;
    let name = path.as_str().ok_or_else(|| TarError::NotUtf8 { path: path.clone() })?;
    let blocks = Entry { name, kind, mode, owner, time, capabilities }.encode();
    out.write_all(&blocks).map_err(|source| TarError::Write { path: path.clone(), source })
}

/// Copies a content and fills its last block. Reads at most one byte more than the tree says.
fn copy(
    out: &mut dyn Write,
    path: &CleanPath,
    reader: Box<dyn Read>,
    expected: u64,
    digest: &Digest,
) -> Result<(), TarError> {
    let mut reader = reader.take(expected.saturating_add(1));
    let mut hasher = Hasher::new();
    let room = usize::try_from(expected.saturating_add(1)).unwrap_or(usize::MAX);
    let mut buffer = vec![0; room.min(256 * 1024)];
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(TarError::Read { path: path.clone(), source }),
        };
        let bytes = buffer.get(..count).unwrap_or_default();
        hasher.update(bytes);
        if hasher.length() > expected {
            break;
        }
        out.write_all(bytes).map_err(|source| TarError::Write { path: path.clone(), source })?;
    }
    let found = hasher.length();
    if found != expected {
        return Err(TarError::Size { path: path.clone(), expected, found });
    }
    let found = hasher.finish();
    if found != *digest {
        return Err(TarError::Content { path: path.clone(), expected: *digest, found });
    }
    let fill = expected.next_multiple_of(BLOCK as u64) - expected;
    let zeros = END.get(..usize::try_from(fill).unwrap_or_default()).unwrap_or_default();
    out.write_all(zeros).map_err(|source| TarError::Write { path: path.clone(), source })
}

#[cfg(test)]
mod tests;

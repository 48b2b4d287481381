//! A commit without its history as a bare repository, which git itself can clone: what lock files of package managers name is served so.
//!
//! The artifact is one pack, always of the same bytes: the commit, its trees and its files, in the order of their ids, each in full and
//! stored without compression (gitformat-pack(5); RFC 1950, RFC 1951 3.2.4). Everything else of the repository follows from that.

use std::collections::BTreeSet;

use bulla_model::{CleanPath, GitId};

use super::{
    Commit, GitError, Kind, MAX_PACK, Pack,
    files::Checkout,
    hash::IdHasher,
    object::{EntryMode, entries},
};

/// The branch that the commit is at.
const BRANCH: &str = "refs/heads/locked";
/// The settings: whoever asks for the commit by its id is given it, also as an archive.
const CONFIG: &str = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n[uploadpack]\n\tallowAnySHA1InWant = true\n[uploadarchive]\n\tallowUnreachable = true\n";
/// The most bytes of a stored block of deflate.
const BLOCK: usize = 0xffff;
/// What Adler-32 is taken by.
const ADLER: u32 = 65_521;
/// How many bytes may be added up before the sums have to be taken by that.
const ADLER_RUN: usize = 5552;

/// A commit without its history.
#[derive(Debug)]
pub struct Bare {
    commit: GitId,
    pack: Vec<u8>,
    /// Each object with where it is in the pack, and the CRC-32 of it there.
    places: Vec<(GitId, u32, u32)>,
    sum: [u8; 20],
    has_parents: bool,
    submodules: Vec<CleanPath>,
}

impl Bare {
    /// Takes a commit and all that it stands for out of a pack. What could not be checked out is refused.
    ///
    /// # Errors
    /// When an object is missing or not well formed, or there is more than is accepted.
    pub fn of(pack: Pack, id: GitId) -> Result<Self, GitError> {
        let bytes = pack.get(Kind::Commit, &id)?;
        let commit = Commit::parse(id, &bytes)?;
        let has_parents = bytes.split(|byte| *byte == b'\n').nth(1).is_some_and(|line| line.starts_with(b"parent "));
        let mut objects = BTreeSet::from([(id, Kind::Commit)]);
        let mut open = vec![commit.tree];
        while let Some(tree) = open.pop() {
            if !objects.insert((tree, Kind::Tree)) {
                continue;
            }
            for entry in entries(tree, &pack.get(Kind::Tree, &tree)?)? {
                match entry.mode {
                    EntryMode::Directory => open.push(entry.id),
                    EntryMode::File { .. } | EntryMode::Symlink => _ = objects.insert((entry.id, Kind::Blob)),
                    EntryMode::Submodule => {}
                }
            }
        }
        let mut bare = Self {
            commit: id,
            pack: [b"PACK".as_slice(), &2u32.to_be_bytes(), &(objects.len() as u32).to_be_bytes()].concat(),
            places: Vec::new(),
            sum: [0; 20],
            has_parents,
            submodules: Vec::new(),
        };
        for (id, kind) in objects {
            bare.add(id, kind, &pack.get(kind, &id)?)?;
        }
        bare.sum = sum(&bare.pack)?;
        bare.pack.extend(bare.sum);
        let mut files = Checkout::new();
        files.add(pack, &commit.tree, None)?;
        bare.submodules = files.submodules().keys().cloned().collect();
        Ok(bare)
    }

    /// Reads what [`Bare::pack`] gave. Whatever else has a commit in it is refused.
    ///
    /// # Errors
    /// When it is another pack, or not of this commit alone.
    pub fn read(bytes: Vec<u8>, commit: GitId) -> Result<Self, GitError> {
        let bare = Self::of(Pack::read(bytes.clone())?, commit)?;
        match bare.pack == bytes {
            true => Ok(bare),
            false => Err(GitError::pack("it is not the one that is made of its commit")),
        }
    }

    /// Gives the pack.
    pub fn pack(&self) -> &[u8] {
        &self.pack
    }

    /// Gives where submodules are, whose files are not among those of the commit.
    pub fn submodules(&self) -> &[CleanPath] {
        &self.submodules
    }

    fn add(&mut self, id: GitId, kind: Kind, bytes: &[u8]) -> Result<(), GitError> {
        if self.pack.len() as u64 + bytes.len() as u64 + 64 > MAX_PACK {
            return Err(GitError::TooLarge { what: "more bytes of files", limit: MAX_PACK });
        }
        let start = self.pack.len();
        self.pack.extend(header(kind, bytes.len()));
        // No compression, and none of its preset words.
        self.pack.extend([0x78, 0x01]);
        let mut blocks = bytes.chunks(BLOCK).peekable();
        if blocks.peek().is_none() {
            self.pack.extend([1, 0, 0, 0xff, 0xff]);
        }
        while let Some(block) = blocks.next() {
            let length = block.len() as u16;
            self.pack.push(u8::from(blocks.peek().is_none()));
            self.pack.extend(length.to_le_bytes());
            self.pack.extend((!length).to_le_bytes());
            self.pack.extend(block);
        }
        self.pack.extend(adler(bytes).to_be_bytes());
        let mut crc = flate2::Crc::new();
        crc.update(&self.pack[start..]);
        self.places.push((id, start as u32, crc.sum()));
        Ok(())
    }

    /// Gives the index of the pack (gitformat-pack(5), version 2).
    fn index(&self) -> Result<Vec<u8>, GitError> {
        let mut out = vec![0xff, b't', b'O', b'c', 0, 0, 0, 2];
        for first in 0..=255u8 {
            let up_to = self.places.partition_point(|(id, ..)| id.as_bytes()[0] <= first);
            out.extend((up_to as u32).to_be_bytes());
        }
        self.places.iter().for_each(|(id, ..)| out.extend(id.as_bytes()));
        self.places.iter().for_each(|(_, _, crc)| out.extend(crc.to_be_bytes()));
        self.places.iter().for_each(|(_, place, _)| out.extend(place.to_be_bytes()));
        out.extend(self.sum);
        let own = sum(&out)?;
        out.extend(own);
        Ok(out)
    }

    /// Gives the files of the repository, by their paths in it. Their folders follow from that.
    ///
    /// # Errors
    /// When hashing fails.
    pub fn files(self) -> Result<Vec<(String, Vec<u8>)>, GitError> {
        let name = format!("objects/pack/pack-{}", GitId::from_bytes(self.sum));
        let line = format!("{}\n", self.commit).into_bytes();
        let mut files = vec![
            ("HEAD".to_owned(), format!("ref: {BRANCH}\n").into_bytes()),
            ("config".to_owned(), CONFIG.as_bytes().to_vec()),
            (BRANCH.to_owned(), line.clone()),
            (format!("{name}.idx"), self.index()?),
        ];
        if self.has_parents {
            files.push(("shallow".to_owned(), line));
        }
        files.push((format!("{name}.pack"), self.pack));
        Ok(files)
    }
}

/// What stands before an object: its kind, and its size in groups of seven bits, the first of four.
fn header(kind: Kind, size: usize) -> Vec<u8> {
    let kind = match kind {
        Kind::Commit => 1u8,
        Kind::Tree => 2,
        Kind::Blob => 3,
        Kind::Tag => 4,
    };
    let mut out = vec![kind << 4 | (size & 15) as u8];
    let mut rest = size >> 4;
    while rest > 0 {
        if let Some(last) = out.last_mut() {
            *last |= 0x80;
        }
        out.push((rest & 0x7f) as u8);
        rest >>= 7;
    }
    out
}

fn sum(bytes: &[u8]) -> Result<[u8; 20], GitError> {
    let mut hasher = IdHasher::plain();
    hasher.update(bytes);
    Ok(*hasher.finish()?.as_bytes())
}

/// Gives the checksum of zlib (RFC 1950, 8.2).
fn adler(bytes: &[u8]) -> u32 {
    let (mut one, mut two) = (1u32, 0u32);
    for run in bytes.chunks(ADLER_RUN) {
        for byte in run {
            one += u32::from(*byte);
            two += one;
        }
        one %= ADLER;
        two %= ADLER;
    }
    two << 16 | one
}

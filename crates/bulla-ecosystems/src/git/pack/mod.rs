//! Packs: the objects that a server sends, some as differences from others (gitformat-pack(5)).
//!
//! A pack is read twice. First every entry is inflated and gets the id that its bytes have; differences are applied from their
//! bases on, so that one without a base, or in a circle, is left over and refused. Later an object is made again when it is wanted.
//! What a pack says of sizes is believed only as far as the bytes bear it out.

mod delta;
mod entry;

use std::{cell::Cell, collections::BTreeMap};

use bulla_model::GitId;

use self::entry::{Base, Header, inflate};
use super::{
    GitError, Kind,
    hash::{IdHasher, id_of},
};

/// The most bytes of a pack.
pub const MAX_PACK: u64 = 1 << 30;
/// The most objects of a pack.
const MAX_OBJECTS: u32 = 1 << 22;
/// The most bytes of one object.
pub(super) const MAX_OBJECT: u64 = 512 << 20;
/// The most bytes of all objects of a pack.
const MAX_TOTAL: u64 = 8 << 30;
/// The most bytes of objects that are held at once while differences are applied.
const MAX_HELD: u64 = 1 << 30;
/// The most differences that may lie between an object and what stands in full. Git writes 50, and 250 when told to try harder.
const MAX_DEPTH: usize = 300;
/// The most bytes that are made anew when objects are wanted, beyond those of the pack itself.
const MAX_MADE: u64 = 64 << 30;

/// A pack, every object of which was hashed.
#[derive(Debug, Clone)]
pub struct Pack {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    by_id: BTreeMap<GitId, usize>,
    made: Cell<u64>,
}

/// Where an object is in the pack, and how it is made.
#[derive(Debug, Clone, Copy)]
struct Entry {
    header: Header,
    /// The entry that it is a difference from.
    base: Option<usize>,
    /// What it is, once that is known.
    kind: Option<Kind>,
}

impl Pack {
    /// Reads a pack.
    ///
    /// # Errors
    /// When it is none, damaged, larger than it may be, or has a difference without a base.
    pub fn read(bytes: Vec<u8>) -> Result<Self, GitError> {
        if bytes.len() as u64 > MAX_PACK {
            return Err(GitError::TooLarge { what: "a larger pack", limit: MAX_PACK });
        }
        let count = check_frame(&bytes)?;
        let mut reader = Reader::default();
        let end = bytes.len() - SUM;
        let mut at = HEAD;
        for _ in 0..count {
            at = reader.first(bytes.get(..end).unwrap_or_default(), at)?;
        }
        if at != end {
            return Err(GitError::pack("there is something behind its last object"));
        }
        reader.apply(&bytes)?;
        let Reader { entries, by_id, .. } = reader;
        Ok(Self { bytes, entries, by_id, made: Cell::new(0) })
    }

    /// Gives how many objects there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Gives how many bytes the pack has.
    pub const fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Says whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Iterates over the ids of the objects.
    pub fn ids(&self) -> impl Iterator<Item = GitId> + '_ {
        self.by_id.keys().copied()
    }

    /// Says what an object is; `None` for one that is not there.
    pub fn kind(&self, id: &GitId) -> Option<Kind> {
        self.entries.get(*self.by_id.get(id)?)?.kind
    }

    /// Gives an object of a kind.
    ///
    /// # Errors
    /// When it is not there, or something else.
    pub fn get(&self, kind: Kind, id: &GitId) -> Result<Vec<u8>, GitError> {
        let missing = || GitError::Missing { what: kind.word(), id: *id };
        let at = *self.by_id.get(id).filter(|_| self.kind(id) == Some(kind)).ok_or_else(missing)?;
        self.make(at)
    }

    fn make(&self, at: usize) -> Result<Vec<u8>, GitError> {
        let mut deltas = Vec::new();
        let mut entry = self.entry(at)?;
        while let Some(base) = entry.base {
            deltas.push(entry.header);
            entry = self.entry(base)?;
        }
        let mut object = inflate(&self.bytes, &entry.header)?.0;
        self.count(object.len())?;
        for delta in deltas.iter().rev() {
            object = delta::apply(&object, &inflate(&self.bytes, delta)?.0)?;
            self.count(object.len())?;
        }
        Ok(object)
    }

    /// Counts what is made: a few bytes of differences can be made into the same gigabytes again and again.
    fn count(&self, bytes: usize) -> Result<(), GitError> {
        self.made.set(self.made.get().saturating_add(bytes as u64));
        match self.made.get() > MAX_MADE {
            true => Err(GitError::TooLarge { what: "larger objects", limit: MAX_MADE }),
            false => Ok(()),
        }
    }

    fn entry(&self, at: usize) -> Result<&Entry, GitError> {
        self.entries.get(at).ok_or_else(|| GitError::pack("a difference has no base"))
    }
}

/// The bytes before the first object, and those behind the last.
const HEAD: usize = 12;
const SUM: usize = 20;

/// Checks what stands before and behind the objects, and gives how many there are.
fn check_frame(bytes: &[u8]) -> Result<u32, GitError> {
    let cut = || GitError::pack("it is cut off");
    let word = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    if bytes.get(..4) != Some(b"PACK") {
        return Err(GitError::pack("it does not begin as packs do"));
    }
    if !matches!(word(4).ok_or_else(cut)?, 2 | 3) {
        return Err(GitError::pack("it has a version that is not known"));
    }
    let count = word(8).ok_or_else(cut)?;
    if count > MAX_OBJECTS {
        return Err(GitError::TooLarge { what: "more objects", limit: u64::from(MAX_OBJECTS) });
    }
    let (body, sum) =
        bytes.len().checked_sub(SUM).filter(|at| *at >= HEAD).map(|at| bytes.split_at(at)).ok_or_else(cut)?;
    let mut hasher = IdHasher::plain();
    hasher.update(body);
    match hasher.finish()?.as_bytes().as_slice() == sum {
        true => Ok(count),
        false => Err(GitError::pack("the sum at its end is another")),
    }
}

/// What is known of a pack while it is read.
#[derive(Default)]
struct Reader {
    entries: Vec<Entry>,
    by_offset: BTreeMap<usize, usize>,
    by_id: BTreeMap<GitId, usize>,
    /// The differences from each entry, and from each object by its id.
    from_entry: BTreeMap<usize, Vec<usize>>,
    from_id: BTreeMap<GitId, Vec<usize>>,
    total: u64,
}

/// An object whose differences are being applied.
struct Open {
    object: Vec<u8>,
    kind: Kind,
    from: usize,
    left: Vec<usize>,
}

impl Reader {
    /// Reads the entry at a place, and gives the place of the next.
    fn first(&mut self, bytes: &[u8], at: usize) -> Result<usize, GitError> {
        let header = Header::read(bytes, at)?;
        self.count(header.size)?;
        let index = self.entries.len();
        let mut kind = None;
        let mut base = None;
        match header.base {
            Base::None(whole) => kind = Some(whole),
            Base::Back(distance) => {
                let place = at.checked_sub(distance).and_then(|place| self.by_offset.get(&place));
                let place = *place.ok_or_else(|| GitError::pack("a difference is from what is no object"))?;
                self.from_entry.entry(place).or_default().push(index);
                base = Some(place);
            }
            Base::Id(id) => self.from_id.entry(id).or_default().push(index),
        }
        let (object, end) = inflate(bytes, &header)?;
        if let Some(kind) = kind {
            self.by_id.entry(id_of(kind, &object)?).or_insert(index);
        }
        self.by_offset.insert(at, index);
        self.entries.push(Entry { header, base, kind });
        Ok(end)
    }

    fn count(&mut self, size: u64) -> Result<(), GitError> {
        self.total = self.total.saturating_add(size);
        match self.total > MAX_TOTAL {
            true => Err(GitError::TooLarge { what: "more bytes of objects", limit: MAX_TOTAL }),
            false => Ok(()),
        }
    }

    /// Applies all differences, from the objects on that stand in full.
    fn apply(&mut self, bytes: &[u8]) -> Result<(), GitError> {
        let whole: Vec<(GitId, usize)> = self.by_id.iter().map(|(id, at)| (*id, *at)).collect();
        // An object that is there twice has differences of its own from each.
        let ids: BTreeMap<usize, GitId> = whole.iter().map(|(id, at)| (*at, *id)).collect();
        for at in 0..self.entries.len() {
            let Some(Entry { kind: Some(kind), header, base: None }) = self.entries.get(at).copied() else { continue };
            let left = self.take(at, ids.get(&at));
            if !left.is_empty() {
                let object = inflate(bytes, &header)?.0;
                self.descend(bytes, Open { object, kind, from: at, left })?;
            }
        }
        match self.entries.iter().all(|entry| entry.kind.is_some()) {
            true => Ok(()),
            false => Err(GitError::pack("a difference has no base, or is one from itself")),
        }
    }

    /// Takes the differences from an object off the lists.
    fn take(&mut self, at: usize, id: Option<&GitId>) -> Vec<usize> {
        let mut left = self.from_entry.remove(&at).unwrap_or_default();
        left.extend(id.and_then(|id| self.from_id.remove(id)).unwrap_or_default());
        left
    }

    fn descend(&mut self, bytes: &[u8], first: Open) -> Result<(), GitError> {
        let mut held = first.object.len() as u64;
        let mut open = vec![first];
        while let Some(top) = open.last_mut() {
            let Some(at) = top.left.pop() else {
                held -= top.object.len() as u64;
                open.pop();
                continue;
            };
            let entry = self.entries.get_mut(at).ok_or_else(|| GitError::pack("a difference has no base"))?;
            let object = delta::apply(&top.object, &inflate(bytes, &entry.header)?.0)?;
            (entry.kind, entry.base) = (Some(top.kind), Some(top.from));
            let (kind, size) = (top.kind, object.len() as u64);
            let id = id_of(kind, &object)?;
            let known = *self.by_id.entry(id).or_insert(at);
            self.count(size)?;
            let left = self.take(at, (known == at).then_some(&id));
            if left.is_empty() {
                continue;
            }
            held += size;
            if open.len() >= MAX_DEPTH {
                return Err(GitError::TooLarge { what: "longer chains of differences", limit: MAX_DEPTH as u64 });
            }
            if held > MAX_HELD {
                return Err(GitError::TooLarge { what: "larger objects", limit: MAX_HELD });
            }
            open.push(Open { object, kind, from: at, left });
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests;

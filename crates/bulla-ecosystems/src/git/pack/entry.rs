//! One entry of a pack: its header, and its bytes inflated.

use bulla_model::GitId;
use flate2::{Decompress, FlushDecompress, Status};

use super::MAX_OBJECT;
use crate::git::{GitError, Kind};

/// The header of an entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    /// What it is a difference from, or what it is.
    pub(super) base: Base,
    /// The bytes when inflated: of the object, or of the difference.
    pub(super) size: u64,
    /// Where the deflated bytes begin.
    pub(super) data: usize,
}

/// What an entry is a difference from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Base {
    /// It stands in full.
    None(Kind),
    /// The entry so many bytes before.
    Back(usize),
    /// The object of this id.
    Id(GitId),
}

impl Header {
    /// Reads the header at a place.
    pub(super) fn read(bytes: &[u8], at: usize) -> Result<Self, GitError> {
        let cut = || GitError::pack("an object is cut off");
        let mut at = at;
        let mut next = || {
            let byte = bytes.get(at).copied().ok_or_else(cut);
            at += 1;
            byte
        };
        let first = next()?;
        let (mut size, mut shift, mut byte) = (u64::from(first & 15), 4, first);
        while byte & 0x80 != 0 {
            byte = next()?;
            // Four bits and seven for each further byte; what an object may have fits into five of them.
            if shift > 32 {
                return Err(GitError::TooLarge { what: "larger objects", limit: MAX_OBJECT });
            }
            size |= u64::from(byte & 0x7f) << shift;
            shift += 7;
        }
        if size > MAX_OBJECT {
            return Err(GitError::TooLarge { what: "larger objects", limit: MAX_OBJECT });
        }
        let base = match first >> 4 & 7 {
            1 => Base::None(Kind::Commit),
            2 => Base::None(Kind::Tree),
            3 => Base::None(Kind::Blob),
            4 => Base::None(Kind::Tag),
            6 => {
                let mut byte = next()?;
                let mut distance = usize::from(byte & 0x7f);
                while byte & 0x80 != 0 {
                    byte = next()?;
                    distance = distance
                        .checked_add(1)
                        .and_then(|distance| distance.checked_mul(128))
                        .map(|distance| distance | usize::from(byte & 0x7f))
                        .ok_or_else(|| GitError::pack("a difference is from what is no object"))?;
                }
                Base::Back(distance)
            }
            7 => {
                let id = bytes.get(at..at + 20).and_then(|id| id.try_into().ok()).ok_or_else(cut)?;
                at += 20;
                Base::Id(GitId::from_bytes(id))
            }
            _ => return Err(GitError::pack("an object is of no known kind")),
        };
        Ok(Self { base, size, data: at })
    }
}

/// How much room is made at once: what a header says is believed only as the bytes come.
const STEP: usize = 1 << 20;

/// Inflates an entry, and gives the place behind it.
pub(super) fn inflate(bytes: &[u8], header: &Header) -> Result<(Vec<u8>, usize), GitError> {
    let wrong = || GitError::pack("an object has another size than its header says, or cannot be inflated");
    let size = usize::try_from(header.size).map_err(|_| wrong())?;
    let data = bytes.get(header.data..).unwrap_or_default();
    let mut inflater = Decompress::new(true);
    let mut object: Vec<u8> = Vec::with_capacity(size.min(STEP));
    loop {
        let used = usize::try_from(inflater.total_in()).map_err(|_| wrong())?;
        if object.len() == object.capacity() {
            // One byte more than was said, to notice what is longer; an object of no bytes needs room too.
            object.reserve_exact((size + 1 - object.len()).min(object.len().max(STEP)));
        }
        let before = object.len();
        let status = inflater
            .decompress_vec(data.get(used..).unwrap_or_default(), &mut object, FlushDecompress::None)
            .map_err(|_| wrong())?;
        if object.len() > size {
            return Err(wrong());
        }
        let moved = object.len() > before || inflater.total_in() > used as u64;
        match status {
            Status::StreamEnd if object.len() == size => {
                let used = usize::try_from(inflater.total_in()).map_err(|_| wrong())?;
                return Ok((object, header.data + used));
            }
            Status::StreamEnd => return Err(wrong()),
            _ if !moved => return Err(wrong()),
            _ => {}
        }
    }
}

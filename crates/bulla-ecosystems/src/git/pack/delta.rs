//! Differences between objects ("Deltified representation" of gitformat-pack(5)).

use super::MAX_OBJECT;
use crate::git::GitError;

/// Takes bytes off the front.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> Result<u8, GitError> {
        let (first, rest) = self.0.split_first().ok_or_else(|| GitError::pack("a difference is cut off"))?;
        self.0 = rest;
        Ok(*first)
    }

    /// Reads a size, seven bits a byte, the lowest first.
    fn size(&mut self) -> Result<usize, GitError> {
        let (mut size, mut shift) = (0, 0);
        loop {
            let byte = self.next()?;
            if shift > 35 {
                return Err(GitError::TooLarge { what: "larger objects", limit: MAX_OBJECT });
            }
            size |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        match size > MAX_OBJECT {
            true => Err(GitError::TooLarge { what: "larger objects", limit: MAX_OBJECT }),
            false => usize::try_from(size).map_err(|_| GitError::pack("a size does not fit")),
        }
    }

    /// Reads a number of which only the bytes are there whose bits are set.
    fn sparse(&mut self, bits: u8, count: u32) -> Result<usize, GitError> {
        let mut number = 0;
        for at in 0..count {
            if bits & 1 << at != 0 {
                number |= usize::from(self.next()?) << (8 * at);
            }
        }
        Ok(number)
    }
}

/// Makes an object of its base and the difference from it.
pub(super) fn apply(base: &[u8], delta: &[u8]) -> Result<Vec<u8>, GitError> {
    let wrong = || GitError::pack("a difference does not fit its base");
    let mut delta = Bytes(delta);
    if delta.size()? != base.len() {
        return Err(wrong());
    }
    let size = delta.size()?;
    let mut object = Vec::new();
    while !delta.0.is_empty() {
        let order = delta.next()?;
        let piece = if order & 0x80 != 0 {
            let start = delta.sparse(order, 4)?;
            let length = match delta.sparse(order >> 4 & 7, 3)? {
                0 => 0x10000,
                length => length,
            };
            base.get(start..start.saturating_add(length)).ok_or_else(wrong)?
        } else {
            let (piece, rest) = delta.0.split_at_checked(usize::from(order)).filter(|_| order > 0).ok_or_else(wrong)?;
            delta.0 = rest;
            piece
        };
        if object.len() + piece.len() > size {
            return Err(wrong());
        }
        object.extend_from_slice(piece);
    }
    if object.len() == size { Ok(object) } else { Err(wrong()) }
}

//! The headers in rpm's own database, `Packages.db`: pages of slots, each of which says where a package's blob is (rpm,
//! `lib/backend/ndb/rpmpkg.c`).

use super::{Each, Unread};

const MAGIC: &[u8] = b"RpmP";
const SLOT: &[u8] = b"Slot";
const BEGIN: &[u8] = b"BlbS";
const END: &[u8] = b"BlbE";
/// The bytes of a page of slots, of the head (which has the room of two slots), of a slot, and of what places are counted in.
const PAGE: usize = 4096;
const HEAD: usize = 32;
const BLOCK: usize = 16;
/// The bytes after a blob: its sum, its length, and its end.
const TAIL: usize = 12;

/// Gives each header of the database.
pub(super) fn headers(bytes: &[u8], each: Each<'_>) -> Result<(), Unread> {
    let wrong = |what: &str| Unread::new(format!("it is no database of rpm that is read here: {what}"));
    if !bytes.starts_with(MAGIC) || word(bytes, 4) != Some(0) {
        return Err(wrong("it begins otherwise"));
    }
    let pages = word(bytes, 12).and_then(|pages| usize::try_from(pages).ok()).unwrap_or(usize::MAX);
    let slots = pages
        .checked_mul(PAGE)
        .and_then(|end| bytes.get(HEAD..end))
        .ok_or_else(|| wrong("its slots are not all there"))?;
    // Blobs do not overlap: together they have no more bytes than the file, whatever the slots say.
    let mut left = bytes.len();
    for slot in slots.chunks_exact(BLOCK) {
        if !slot.starts_with(SLOT) {
            return Err(wrong("what stands in the place of a slot is none"));
        }
        let (package, at) = (word(slot, 4).unwrap_or_default(), word(slot, 8).unwrap_or_default());
        if at == 0 {
            continue;
        }
        let found = blob(bytes, package, at);
        left = left.checked_sub(found.map_or(0, <[u8]>::len)).ok_or_else(|| wrong("its blobs overlap"))?;
        if !each(found.unwrap_or_default()) {
            break;
        }
    }
    Ok(())
}

/// Finds the blob of a package; `None` where it is not there, or not whole.
fn blob(bytes: &[u8], package: u32, block: u32) -> Option<&[u8]> {
    let head = bytes.get(usize::try_from(block).ok()?.checked_mul(BLOCK)?..)?;
    let (begin, rest) = head.split_at_checked(BLOCK)?;
    if !begin.starts_with(BEGIN) || word(begin, 4)? != package {
        return None;
    }
    let length = usize::try_from(word(begin, 12)?).ok()?;
    let blob = rest.get(..length)?;
    // The tail ends with the last block.
    let whole = (BLOCK + length).checked_add(TAIL)?.next_multiple_of(BLOCK);
    let tail = head.get(whole - TAIL..whole)?;
    (tail.ends_with(END) && word(tail, 4)? == word(begin, 12)?).then_some(blob)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let (value, _) = bytes.get(at..)?.split_first_chunk()?;
    Some(u32::from_le_bytes(*value))
}

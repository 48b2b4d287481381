//! The headers in a database of Berkeley DB, `Packages`: a table by hash, whose values are mostly longer than a page (Berkeley DB, `dbinc/db_page.h`;
//! rpm, `lib/backend/bdb_ro.c`).

use std::borrow::Cow;

use super::{Each, Unread};

const MAGIC: u32 = 0x0006_1561;
/// The versions of tables by hash.
const VERSIONS: [u32; 3] = [8, 9, 10];
/// The bytes before the first item's place on a page, and those of the description of an item that lies elsewhere.
const HEAD: usize = 26;
const ELSEWHERE: usize = 12;
/// The kinds of pages: a bucket, as older and newer libraries write it, or one without items; and the rest of a long item.
const BUCKETS: [u8; 3] = [2, 8, 13];
const LONG: u8 = 7;
/// The kinds of items.
const HERE: u8 = 1;
const OTHER: u8 = 3;
/// The sizes of pages that there are.
const SIZES: std::ops::RangeInclusive<usize> = 512..=65536;

/// Gives each header of the database.
pub(super) fn headers(bytes: &[u8], each: Each<'_>) -> Result<(), Unread> {
    let mut table = Table::open(bytes)?;
    for bucket in 0..=table.last_bucket {
        let mut next = table.page_of(bucket);
        while next != 0 {
            let page = table.take(next)?;
            if !page.get(25).is_some_and(|kind| BUCKETS.contains(kind)) {
                return Err(damaged("a page of the table is none"));
            }
            let items: Vec<&[u8]> = table.items(page);
            // Keys and values by turns. That of number 0 is the last number that was given away.
            for pair in items.chunks_exact(2) {
                let [key, value] = pair else { continue };
                if key.get(1..).is_some_and(|number| number.iter().all(|byte| *byte == 0)) {
                    continue;
                }
                let value = table.value(value)?;
                if !each(&value) {
                    return Ok(());
                }
            }
            next = table.word(page, 16).unwrap_or_default();
        }
    }
    Ok(())
}

struct Table<'a> {
    bytes: &'a [u8],
    page: usize,
    last_bucket: u32,
    spares: Vec<u32>,
    /// Whether numbers are in the order of the other kind of machines.
    is_big: bool,
    seen: Vec<bool>,
}

impl<'a> Table<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, Unread> {
        let wrong = |what: &str| Unread::new(format!("it is no database of Berkeley DB that is read here: {what}"));
        let magic = bytes.get(12..16).and_then(|magic| magic.try_into().ok()).map(u32::from_le_bytes);
        let is_big = match magic {
            Some(MAGIC) => false,
            Some(magic) if magic.swap_bytes() == MAGIC => true,
            _ => return Err(wrong("it is no table by hash")),
        };
        let mut table = Self { bytes, page: 0, last_bucket: 0, spares: Vec::new(), is_big, seen: Vec::new() };
        let word = |at: usize| table.word(bytes, at).unwrap_or_default();
        if !VERSIONS.contains(&word(16)) {
            return Err(wrong("it is of another version"));
        }
        // What is encrypted has no page that could be read.
        if bytes.get(24).is_some_and(|encrypted| *encrypted != 0) {
            return Err(wrong("it is encrypted"));
        }
        let page = usize::try_from(word(20)).unwrap_or_default();
        if !page.is_power_of_two() || !SIZES.contains(&page) {
            return Err(wrong("its pages have no size that there is"));
        }
        let (last_bucket, spares) = (word(72), (0..32).map(|at| word(96 + 4 * at)).collect());
        let pages = bytes.len() / page;
        if usize::try_from(last_bucket).is_ok_and(|last| last >= pages) {
            return Err(wrong("it has more buckets than pages"));
        }
        (table.page, table.last_bucket, table.spares, table.seen) = (page, last_bucket, spares, vec![false; pages]);
        Ok(table)
    }

    /// Gives the page of a bucket: those of one doubling lie together, wherever there was room.
    fn page_of(&self, bucket: u32) -> u32 {
        let doubling = usize::try_from(u32::BITS - bucket.leading_zeros()).unwrap_or_default();
        bucket.wrapping_add(self.spares.get(doubling).copied().unwrap_or_default())
    }

    /// Gives a page, which is looked at once: in a database that is well each belongs to one thing.
    fn take(&mut self, number: u32) -> Result<&'a [u8], Unread> {
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        let seen = self.seen.get_mut(at).filter(|_| at > 0).ok_or_else(|| damaged("a page of it is not there"))?;
        if std::mem::replace(seen, true) {
            return Err(damaged("a page of it is in two places"));
        }
        let page = self.bytes.get(at * self.page..(at + 1) * self.page).unwrap_or_default();
        if self.word(page, 8) != Some(number) {
            return Err(damaged("a page of it has another number"));
        }
        Ok(page)
    }

    /// Gives the items of a page: each ends where the one before it begins.
    fn items(&self, page: &'a [u8]) -> Vec<&'a [u8]> {
        let mut end = page.len();
        let mut items = Vec::new();
        for at in 0..self.half(page, 20).unwrap_or_default() {
            let Some(begin) = self.half(page, HEAD + 2 * at).filter(|begin| *begin < end) else { break };
            items.push(page.get(begin..end).unwrap_or_default());
            end = begin;
        }
        items
    }

    /// Puts a value together, which may lie on other pages.
    fn value(&mut self, item: &'a [u8]) -> Result<Cow<'a, [u8]>, Unread> {
        match item.first() {
            Some(&HERE) => Ok(item.get(1..).unwrap_or_default().into()),
            Some(&OTHER) if item.len() == ELSEWHERE => {
                let mut next = self.word(item, 4).unwrap_or_default();
                let length = self.word(item, 8).and_then(|length| usize::try_from(length).ok()).unwrap_or_default();
                if length > self.bytes.len() {
                    return Err(damaged("a value of it is longer than all of it"));
                }
                let mut value = Vec::new();
                while value.len() < length {
                    let page = self.take(next)?;
                    let part = self.half(page, 22).and_then(|part| page.get(HEAD..HEAD + part));
                    match part.filter(|part| page.get(25) == Some(&LONG) && !part.is_empty()) {
                        Some(part) => value.extend_from_slice(part.get(..length - value.len()).unwrap_or(part)),
                        None => return Err(damaged("a value of it ends too early")),
                    }
                    next = self.word(page, 16).unwrap_or_default();
                }
                Ok(value.into())
            }
            _ => Err(damaged("a value of it is of no kind that there is")),
        }
    }

    fn half(&self, bytes: &[u8], at: usize) -> Option<usize> {
        let (value, _) = bytes.get(at..)?.split_first_chunk()?;
        Some(if self.is_big { u16::from_be_bytes(*value) } else { u16::from_le_bytes(*value) }.into())
    }

    fn word(&self, bytes: &[u8], at: usize) -> Option<u32> {
        let (value, _) = bytes.get(at..)?.split_first_chunk()?;
        Some(if self.is_big { u32::from_be_bytes(*value) } else { u32::from_le_bytes(*value) })
    }
}

fn damaged(how: &str) -> Unread {
    Unread::new(format!("the database is damaged: {how}"))
}

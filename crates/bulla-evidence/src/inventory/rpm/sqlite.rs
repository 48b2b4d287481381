//! The table of headers in a database of SQLite, `Packages(hnum INTEGER PRIMARY KEY, blob BLOB)` (SQLite, "Database File Format").

use super::{Each, Unread};

const MAGIC: &[u8] = b"SQLite format 3\0";
/// The bytes before the first page's tree.
const HEAD: usize = 100;
/// The most columns of a record that are read.
const MAX_COLUMNS: usize = 16;

/// Gives each header of the database.
pub(super) fn headers(bytes: &[u8], each: Each<'_>) -> Result<(), Unread> {
    let mut file = File::open(bytes)?;
    let mut root = None;
    file.walk(1, &mut |record| {
        let columns = columns(record).unwrap_or_default();
        if let [Value::Text(b"table"), Value::Text(b"Packages"), _, Value::Number(page), ..] = columns.as_slice() {
            root = u32::try_from(*page).ok();
        }
        root.is_none()
    })?;
    let root = root.ok_or_else(|| Unread::new("it has no table of packages"))?;
    file.walk(root, &mut |record| {
        let blob = columns(record).unwrap_or_default().into_iter().find_map(|value| match value {
            Value::Blob(bytes) => Some(bytes),
            _ => None,
        });
        each(blob.unwrap_or_default())
    })
}

struct File<'a> {
    bytes: &'a [u8],
    page: usize,
    /// The bytes of a page that SQLite itself uses.
    usable: usize,
    seen: Vec<bool>,
}

impl<'a> File<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, Unread> {
        let wrong = |what: &str| Unread::new(format!("it is no database of SQLite that is read here: {what}"));
        let head =
            bytes.get(..HEAD).filter(|head| head.starts_with(MAGIC)).ok_or_else(|| wrong("it begins otherwise"))?;
        let page = match half(head, 16).unwrap_or_default() {
            1 => 65536,
            size if size.is_power_of_two() && size >= 512 => size,
            _ => return Err(wrong("its pages have no size that there is")),
        };
        let reserved = head.get(20).copied().map_or(0, usize::from);
        if word(head, 56) != Some(1) || page - reserved < 480 {
            return Err(wrong("its text is not UTF-8, or its pages have no room"));
        }
        Ok(Self { bytes, page, usable: page - reserved, seen: vec![false; bytes.len() / page] })
    }

    /// Gives a page, which is looked at once: in a database that is well each belongs to one thing.
    fn take(&mut self, number: u32) -> Result<&'a [u8], Unread> {
        let at = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        match at.and_then(|at| Some((at, self.seen.get_mut(at)?))) {
            Some((_, seen)) if *seen => Err(damaged("a page of it is in two places")),
            Some((at, seen)) => {
                *seen = true;
                Ok(self.bytes.get(at * self.page..(at + 1) * self.page).unwrap_or_default())
            }
            None => Err(damaged("a page of it is not there")),
        }
    }

    /// Gives each record of a table ("B-tree Pages"), until enough was given.
    fn walk(&mut self, root: u32, each: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), Unread> {
        let mut left = vec![root];
        while let Some(number) = left.pop() {
            let page = self.take(number)?;
            let head = if number == 1 { HEAD } else { 0 };
            let (kind, count) = (page.get(head).copied().unwrap_or_default(), half(page, head + 3).unwrap_or_default());
            let cells = |length: usize| (0..count).filter_map(move |at| half(page, head + length + 2 * at));
            match kind {
                5 => {
                    let last = word(page, head + 8);
                    let inner = cells(12).filter_map(|cell| word(page, cell));
                    let mut all: Vec<u32> = inner.chain(last).collect();
                    all.reverse();
                    left.append(&mut all);
                    if left.len() > self.seen.len() {
                        return Err(damaged("a page of it is in two places"));
                    }
                }
                13 => {
                    for cell in cells(8) {
                        let record = self.record(page.get(cell..).unwrap_or_default())?;
                        if !each(&record) {
                            return Ok(());
                        }
                    }
                }
                _ => return Err(damaged("a page of a table is none")),
            }
        }
        Ok(())
    }

    /// Puts a record together: what is too long for its page goes on in others ("Cell Payload Overflow Pages").
    fn record(&mut self, cell: &'a [u8]) -> Result<std::borrow::Cow<'a, [u8]>, Unread> {
        let short = || damaged("a record of it ends too early");
        let (length, rest) = varint(cell).ok_or_else(short)?;
        let (_, rest) = varint(rest).ok_or_else(short)?;
        let length = usize::try_from(length).ok().filter(|length| *length <= self.bytes.len()).ok_or_else(short)?;
        let (most, least) = (self.usable - 35, (self.usable - 12) * 32 / 255 - 23);
        if length <= most {
            return Ok(rest.get(..length).ok_or_else(short)?.into());
        }
        let here = least + (length - least) % (self.usable - 4);
        let here = if here <= most { here } else { least };
        let (own, rest) = rest.split_at_checked(here).ok_or_else(short)?;
        let mut record = own.to_vec();
        let mut next = word(rest, 0).ok_or_else(short)?;
        while record.len() < length {
            let page = self.take(next)?;
            next = word(page, 0).ok_or_else(short)?;
            let part = page.get(4..self.usable).ok_or_else(short)?;
            record.extend_from_slice(part.get(..length - record.len()).unwrap_or(part));
        }
        Ok(record.into())
    }
}

fn damaged(how: &str) -> Unread {
    Unread::new(format!("the database is damaged: {how}"))
}

/// A value of a record.
enum Value<'a> {
    Number(u64),
    Text(&'a [u8]),
    Blob(&'a [u8]),
    Other,
}

/// Gives the values of a record ("Record Format").
fn columns(record: &[u8]) -> Option<Vec<Value<'_>>> {
    let (length, _) = varint(record)?;
    let (mut head, mut body) = record.split_at_checked(usize::try_from(length).ok()?)?;
    head = varint(head)?.1;
    let mut values = Vec::new();
    while !head.is_empty() && values.len() < MAX_COLUMNS {
        let (kind, rest) = varint(head)?;
        head = rest;
        let length = match kind {
            0 | 8 | 9 => 0,
            1..=4 => kind,
            5 => 6,
            6 | 7 => 8,
            10 | 11 => return None,
            _ => (kind - 12) / 2,
        };
        let (value, rest) = body.split_at_checked(usize::try_from(length).ok()?)?;
        body = rest;
        values.push(match kind {
            8 | 9 => Value::Number(kind - 8),
            1..=6 => Value::Number(value.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))),
            0 | 7 => Value::Other,
            _ if kind % 2 == 0 => Value::Blob(value),
            _ => Value::Text(value),
        });
    }
    Some(values)
}

/// Takes a number of one to nine bytes.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0_u64;
    for at in 0..9 {
        let byte = *bytes.get(at)?;
        if at == 8 {
            return Some((number << 8 | u64::from(byte), bytes.get(9..)?));
        }
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((number, bytes.get(at + 1..)?));
        }
    }
    None
}

fn half(bytes: &[u8], at: usize) -> Option<usize> {
    let (value, _) = bytes.get(at..)?.split_first_chunk()?;
    Some(u16::from_be_bytes(*value).into())
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let (value, _) = bytes.get(at..)?.split_first_chunk()?;
    Some(u32::from_be_bytes(*value))
}

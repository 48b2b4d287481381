//! One entry's header blocks: `ustar`, with a `pax` header before it where a field does not fit.

use super::{ATTRIBUTES, BLOCK};
use crate::{
    capability::{ATTRIBUTE, Capabilities},
    time::Epoch,
    tree::{Mode, Owner},
};

/// What an entry is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind<'a> {
    Directory,
    /// A regular file with its size in bytes.
    File(u64),
    Symlink(&'a str),
    Hardlink(&'a str),
}

/// An entry without its content.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    /// The path, without a slash at its end.
    pub(super) name: &'a str,
    pub(super) kind: Kind<'a>,
    pub(super) mode: Mode,
    pub(super) owner: Owner,
    pub(super) time: Epoch,
    /// The file capabilities.
    pub(super) capabilities: Option<Capabilities>,
}

/// The greatest number that seven octal digits hold.
const MAX_ID: u32 = 0o777_7777;
/// The greatest number that eleven octal digits hold: one byte less than 8 GiB.
const MAX_SIZE: u64 = 0o777_7777_7777;
const NAME: usize = 100;
const PREFIX: usize = 155;

impl Entry<'_> {
    /// Gives the header's blocks: one, or three and more with a `pax` header.
    pub(super) fn encode(self) -> Vec<u8> {
        let name = match self.kind {
            Kind::Directory => format!("{}/", self.name),
            _ => self.name.to_owned(),
        };
        let link = match self.kind {
            Kind::Symlink(target) | Kind::Hardlink(target) => target,
            _ => "",
        };
        let size = if let Kind::File(size) = self.kind { size } else { 0 };
        let letter = match self.kind {
            Kind::File(_) => b'0',
            Kind::Hardlink(_) => b'1',
            Kind::Symlink(_) => b'2',
            Kind::Directory => b'5',
        };
        // The records are in the order of their keywords, so that there is one way to write them.
        let mut records = Vec::new();
        if let Some(capabilities) = self.capabilities {
            record(&mut records, &format!("{ATTRIBUTES}{ATTRIBUTE}"), &capabilities.encode());
        }
        if self.owner.gid > MAX_ID {
            record(&mut records, "gid", self.owner.gid.to_string().as_bytes());
        }
        if !link.is_ascii() || link.len() > NAME {
            record(&mut records, "linkpath", link.as_bytes());
        }
        let place = split(&name);
        if place.is_none() {
            record(&mut records, "path", name.as_bytes());
        }
        if size > MAX_SIZE {
            record(&mut records, "size", size.to_string().as_bytes());
        }
        if self.owner.uid > MAX_ID {
            record(&mut records, "uid", self.owner.uid.to_string().as_bytes());
        }
        let mut blocks = Vec::with_capacity(3 * BLOCK);
        if !records.is_empty() {
            self.pax(&mut blocks, &records);
        }
        let (prefix, short) = place.unwrap_or(("", ascii(&name)));
        let header =
            Header { prefix, name: short, letter, link: ascii(link), size, mode: self.mode, owner: self.owner };
        blocks.extend_from_slice(&header.block(self.time));
        blocks
    }

    fn pax(&self, blocks: &mut Vec<u8>, records: &[u8]) {
        let header = Header {
            prefix: "",
            name: "PaxHeader",
            letter: b'x',
            link: "",
            size: records.len() as u64,
            mode: Mode::new(0o644),
            owner: Owner::ROOT,
        };
        blocks.extend_from_slice(&header.block(self.time));
        blocks.extend_from_slice(records);
        blocks.resize(blocks.len().next_multiple_of(BLOCK), 0);
    }
}

/// Writes a `pax` record, whose length counts its own digits: `LENGTH KEYWORD=VALUE\n`.
fn record(records: &mut Vec<u8>, keyword: &str, value: &[u8]) {
    let rest = keyword.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} {keyword}=").as_bytes());
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// Cuts a name into `ustar`'s prefix and name, at the first slash that does it; `None` where only `pax` can hold it.
fn split(name: &str) -> Option<(&str, &str)> {
    if !name.is_ascii() {
        return None;
    }
    if name.len() <= NAME {
        return Some(("", name));
    }
    name.match_indices('/')
        .map(|(at, _)| (&name[..at], &name[at + 1..]))
        .find(|(prefix, rest)| rest.len() <= NAME && !rest.is_empty() && prefix.len() <= PREFIX)
}

/// Gives the ASCII start of a name for the field that a `pax` record replaces.
fn ascii(name: &str) -> &str {
    let end = name.bytes().take(NAME).position(|b| !b.is_ascii()).unwrap_or(name.len().min(NAME));
    &name[..end]
}

struct Header<'a> {
    prefix: &'a str,
    name: &'a str,
    letter: u8,
    link: &'a str,
    size: u64,
    mode: Mode,
    owner: Owner,
}

impl Header<'_> {
    fn block(&self, time: Epoch) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        let fit = |id: u32| if id > MAX_ID { 0 } else { u64::from(id) };
        put(&mut block, 0, self.name.as_bytes());
        put(&mut block, 100, format!("{:07o}", self.mode.bits()).as_bytes());
        put(&mut block, 108, format!("{:07o}", fit(self.owner.uid)).as_bytes());
        put(&mut block, 116, format!("{:07o}", fit(self.owner.gid)).as_bytes());
        put(&mut block, 124, format!("{:011o}", if self.size > MAX_SIZE { 0 } else { self.size }).as_bytes());
        // The last second of an `Epoch` has twelve octal digits; times past 2242 do not fit eleven and are held there.
        put(&mut block, 136, format!("{:011o}", time.seconds().min(MAX_SIZE)).as_bytes());
        put(&mut block, 148, b"        ");
        put(&mut block, 156, &[self.letter]);
        put(&mut block, 157, self.link.as_bytes());
        put(&mut block, 257, b"ustar\x0000");
        put(&mut block, 329, b"0000000");
        put(&mut block, 337, b"0000000");
        put(&mut block, 345, self.prefix.as_bytes());
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        put(&mut block, 148, format!("{sum:06o}\0 ").as_bytes());
        block
    }
}

fn put(block: &mut [u8; BLOCK], at: usize, bytes: &[u8]) {
    for (place, byte) in block.iter_mut().skip(at).zip(bytes) {
        *place = *byte;
    }
}

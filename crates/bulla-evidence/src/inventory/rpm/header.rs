//! The header of a package as a database of rpm has it: an index of tags, and their values (rpm, "RPM v4 header format").

/// The tags that are read (rpm, "RPM tags").
pub(super) mod tag {
    pub(in super::super) const NAME: u32 = 1000;
    pub(in super::super) const VERSION: u32 = 1001;
    pub(in super::super) const RELEASE: u32 = 1002;
    pub(in super::super) const EPOCH: u32 = 1003;
    pub(in super::super) const VENDOR: u32 = 1011;
    pub(in super::super) const LICENSE: u32 = 1014;
    pub(in super::super) const PACKAGER: u32 = 1015;
    pub(in super::super) const ARCH: u32 = 1022;
    pub(in super::super) const FILESTATES: u32 = 1029;
    pub(in super::super) const SOURCERPM: u32 = 1044;
    pub(in super::super) const PROVIDENAME: u32 = 1047;
    pub(in super::super) const REQUIRENAME: u32 = 1049;
    pub(in super::super) const DIRINDEXES: u32 = 1116;
    pub(in super::super) const BASENAMES: u32 = 1117;
    pub(in super::super) const DIRNAMES: u32 = 1118;
    pub(in super::super) const MODULARITYLABEL: u32 = 5096;
}

/// The kinds of values.
const CHAR: u32 = 1;
const INT8: u32 = 2;
const INT32: u32 = 4;
const STRING: u32 = 6;
const STRING_ARRAY: u32 = 8;
const TRANSLATED: u32 = 9;
/// The bytes of an entry of the index.
const ENTRY: usize = 16;
/// The most entries: rpm takes no more.
const MAX_ENTRIES: usize = 0xffff;

/// A header.
pub(super) struct Header<'a> {
    index: &'a [u8],
    data: &'a [u8],
}

impl<'a> Header<'a> {
    /// Takes a header; `None` where it is none.
    pub(super) fn parse(blob: &'a [u8]) -> Option<Self> {
        let (entries, rest) = number(blob)?;
        let (length, rest) = number(rest)?;
        let entries = usize::try_from(entries).ok().filter(|count| (1..=MAX_ENTRIES).contains(count))?;
        let (index, data) = rest.split_at_checked(entries * ENTRY)?;
        Some(Self { index, data: data.get(..usize::try_from(length).ok()?)? })
    }

    /// Finds the values of a tag: their kind, how many there are, and all that comes from the first on.
    fn find(&self, wanted: u32) -> Option<(u32, usize, &'a [u8])> {
        self.index.chunks_exact(ENTRY).find_map(|entry| {
            let (tag, rest) = number(entry)?;
            let (kind, rest) = number(rest)?;
            let (offset, rest) = number(rest)?;
            let (count, _) = number(rest)?;
            let values = self.data.get(usize::try_from(offset).ok()?..)?;
            (tag == wanted).then_some((kind, usize::try_from(count).ok()?, values))
        })
    }

    /// Gives the texts of a tag, as they are.
    pub(super) fn strings(&self, tag: u32) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let is_text = |found: &(u32, usize, &[u8])| [STRING, STRING_ARRAY, TRANSLATED].contains(&found.0);
        let (kind, count, mut left) = self.find(tag).filter(is_text).unwrap_or_default();
        let count = if kind == STRING { count.min(1) } else { count };
        std::iter::from_fn(move || {
            let end = memchr::memchr(0, left)?;
            let (text, rest) = left.split_at_checked(end)?;
            left = rest.get(1..)?;
            Some(text)
        })
        .take(count)
    }

    /// Gives the texts of a tag.
    pub(super) fn texts(&self, tag: u32) -> impl Iterator<Item = String> + use<'a> {
        self.strings(tag).map(|text| String::from_utf8_lossy(text).into_owned())
    }

    /// Gives the first text of a tag.
    pub(super) fn text(&self, tag: u32) -> Option<String> {
        self.texts(tag).next()
    }

    /// Gives the numbers of a tag.
    pub(super) fn numbers(&self, tag: u32) -> Vec<u32> {
        let Some((INT32, count, values)) = self.find(tag) else { return Vec::new() };
        values.chunks_exact(4).take(count).filter_map(|one| number(one).map(|(number, _)| number)).collect()
    }

    /// Gives the bytes of a tag that has one for each value.
    pub(super) fn bytes(&self, tag: u32) -> &'a [u8] {
        match self.find(tag) {
            Some((CHAR | INT8, count, values)) => values.get(..count).unwrap_or_default(),
            _ => &[],
        }
    }
}

/// Takes a number in network order.
fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u32::from_be_bytes(*number), rest))
}

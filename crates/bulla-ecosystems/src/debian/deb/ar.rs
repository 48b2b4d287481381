//! The outer archive of a package: `ar`, with the three members that deb(5) names, in their order.

use std::io::{self, Read};

use super::DebError;

const MAGIC: &[u8; 8] = b"!<arch>\n";
const HEADER: usize = 60;

/// The header of a member.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) size: u64,
}

/// Reads members one after the other.
pub(super) struct Archive<R> {
    reader: R,
    /// The bytes of the current member that were not read yet, and its padding.
    left: u64,
    padding: u64,
}

fn not(reason: impl Into<String>) -> DebError {
    DebError::NotADeb { reason: reason.into() }
}

impl<R: Read> Archive<R> {
    pub(super) fn new(mut reader: R) -> Result<Self, DebError> {
        let mut magic = [0; 8];
        reader.read_exact(&mut magic).map_err(|source| DebError::Read { member: "head", source })?;
        if &magic != MAGIC {
            return Err(not("it does not start with `!<arch>`"));
        }
        Ok(Self { reader, left: 0, padding: 0 })
    }

    /// Goes to the next member; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Member>, DebError> {
        let fail = |source| DebError::Read { member: "archive", source };
        let skip = self.left + self.padding;
        let skipped = io::copy(&mut self.reader.by_ref().take(skip), &mut io::sink()).map_err(fail)?;
        if skipped < self.left {
            return Err(not("it is cut off"));
        }
        let mut header = [0; HEADER];
        match read_full(&mut self.reader, &mut header).map_err(fail)? {
            0 => return Ok(None),
            HEADER => {}
            _ => return Err(not("it is cut off in a member's head")),
        }
        let member = parse(&header)?;
        (self.left, self.padding) = (member.size, member.size % 2);
        Ok(Some(member))
    }
}

impl<R: Read> Read for Archive<R> {
    /// Reads the current member.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let Some(part) = buffer.get_mut(..most).filter(|part| !part.is_empty()) else { return Ok(0) };
        let count = self.reader.read(part)?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the package is cut off"));
        }
        self.left -= count as u64;
        Ok(count)
    }
}

fn read_full(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest)? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

fn parse(header: &[u8; HEADER]) -> Result<Member, DebError> {
    let text =
        std::str::from_utf8(header).ok().filter(|text| text.is_ascii()).ok_or_else(|| not("a head is not text"))?;
    if !text.ends_with("`\n") {
        return Err(not("a member's head has no end mark"));
    }
    let name = text[..16].trim_end().trim_end_matches('/');
    let size = text[48..58].trim_end();
    if name.is_empty() || size.is_empty() || !size.bytes().all(|b| b.is_ascii_digit()) {
        return Err(not("a member's head has no name or size"));
    }
    let size = size.parse().map_err(|_| not("a member's size is not a number"))?;
    Ok(Member { name: name.to_owned(), size })
}

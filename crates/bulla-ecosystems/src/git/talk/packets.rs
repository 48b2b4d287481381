//! Packets: four hexadecimal digits of length, and the bytes (gitprotocol-common(5), "pkt-line Format").

use bulla_model::path::printable;

use crate::git::GitError;

/// The packet that ends something.
pub(super) const FLUSH: &[u8] = b"0000";
/// The packet between the parts of something.
pub(super) const DELIM: &[u8] = b"0001";

/// Writes a packet.
pub(super) fn packet(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(format!("{:04x}", bytes.len() + 4).as_bytes());
    out.extend_from_slice(bytes);
}

/// A packet that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packet<'a> {
    Line(&'a [u8]),
    Flush,
    Delim,
}

impl<'a> Packet<'a> {
    /// Takes the packet at the front, and gives its length with that of the length; `None` where it is not all there yet.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Option<(Self, usize)>, GitError> {
        let Some(digits) = bytes.get(..4) else { return Ok(None) };
        let length = (std::str::from_utf8(digits).ok())
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|digits| usize::from_str_radix(digits, 16).ok())
            .ok_or(GitError::Protocol { problem: "a packet has no length" })?;
        match length {
            0 => Ok(Some((Packet::Flush, 4))),
            1 => Ok(Some((Packet::Delim, 4))),
            4.. => Ok(bytes.get(4..length).map(|line| (Packet::Line(line), length))),
            _ => Err(GitError::Protocol { problem: "a packet has a length that is none" }),
        }
    }
}

/// Takes the line feed off the end of a line.
pub(super) fn chomp(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}

/// The most bytes of a server's words that are shown.
const MAX_WORDS: usize = 500;

/// Makes an error of a server's own words.
pub(super) fn refused(words: &[u8]) -> GitError {
    let words = words.trim_ascii_end().strip_suffix(b"\0").unwrap_or(words).trim_ascii_end();
    GitError::Refused { message: printable(words.get(..words.len().min(MAX_WORDS)).unwrap_or_default()) }
}

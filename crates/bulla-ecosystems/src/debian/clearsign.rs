//! The cleartext signature framework (RFC 9580, 7), read strictly: one block, nothing before it, nothing after it.
//!
//! What is parsed later is made from the very lines that are hashed, so that no text can be shown that was not signed.

use pgp::{
    armor::{BlockType, Dearmor, DearmorOptions},
    packet::{Packet, PacketParser, Signature},
};
use std::io::BufReader;

/// The most signatures that one index may have.
const MAX_SIGNATURES: usize = 64;
/// The most bytes that the block of signatures may have.
const MAX_BLOCK: usize = 256 << 10;

const MESSAGE: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";
const END: &str = "-----END PGP SIGNATURE-----";

/// A clearsigned text, taken apart; nothing is verified yet.
#[derive(Debug)]
pub(crate) struct Clearsigned {
    /// The lines as they are read, each ended by a line feed.
    pub(crate) text: String,
    /// The same lines as they are hashed, with CR LF between them.
    pub(crate) hashed: Vec<u8>,
    pub(crate) signatures: Vec<Signature>,
}

/// Says why a text is not one clearsigned message.
#[derive(Debug, thiserror::Error)]
pub enum ClearsignError {
    /// The text does not start as a signed message does.
    #[error("it is not signed: it does not start with `{MESSAGE}`")]
    Unsigned,
    /// The text is not built as RFC 9580, section 7, says; something may have been smuggled in.
    #[error("its signed message is malformed at line {line}: {problem}")]
    Malformed {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong there.
        problem: &'static str,
    },
    /// The block of signatures cannot be read.
    #[error("its block of signatures cannot be read")]
    Signatures(#[source] pgp::errors::Error),
    /// There are more signatures, or other packets, than an index has.
    #[error("its block of signatures has other things in it than up to {MAX_SIGNATURES} signatures")]
    Packets,
}

/// Takes a clearsigned message apart.
///
/// # Errors
/// When anything stands outside the message, a header other than `Hash` is in it, a line with a dash is not escaped, a
/// control character is in the text, or the signatures cannot be read.
pub(crate) fn parse(bytes: &[u8]) -> Result<Clearsigned, ClearsignError> {
    if !bytes.starts_with(MESSAGE.as_bytes()) {
        return Err(ClearsignError::Unsigned);
    }
    let whole = std::str::from_utf8(bytes).map_err(|e| {
        let before = bytes.get(..e.valid_up_to()).unwrap_or_default();
        malformed(1 + memchr::memchr_iter(b'\n', before).count(), "the text is not UTF-8")
    })?;
    let mut lines = Lines { rest: whole, number: 0 };
    lines.expect(MESSAGE, "more stands behind the first line")?;
    skip_headers(&mut lines)?;
    let (text, hashed) = body(&mut lines)?;
    let signatures = signatures(block(&mut lines)?.as_bytes())?;
    if !lines.rest.bytes().all(|b| b.is_ascii_whitespace()) {
        return Err(malformed(lines.number + 1, "something stands after the signatures, where it is not signed"));
    }
    Ok(Clearsigned { text, hashed, signatures })
}

fn malformed(line: usize, problem: &'static str) -> ClearsignError {
    ClearsignError::Malformed { line, problem }
}

struct Lines<'a> {
    rest: &'a str,
    number: usize,
}

impl<'a> Lines<'a> {
    /// Takes the next line, without its end (LF or CR LF).
    fn next(&mut self) -> Result<&'a str, ClearsignError> {
        let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
        if self.rest.is_empty() {
            return Err(malformed(self.number, "the text ends before the signatures do"));
        }
        self.rest = rest;
        self.number += 1;
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.bytes().any(|b| b < b' ' && b != b'\t' || b == 0x7f) {
            return Err(malformed(self.number, "there is a control character in it"));
        }
        Ok(line)
    }

    fn expect(&mut self, wanted: &str, problem: &'static str) -> Result<(), ClearsignError> {
        if self.next()? == wanted { Ok(()) } else { Err(malformed(self.number, problem)) }
    }
}

/// Only `Hash` may stand between the first line and the empty one (RFC 9580, 7.1): other headers can change what is signed.
/// What it says is not believed; each signature names its own digest.
fn skip_headers(lines: &mut Lines<'_>) -> Result<(), ClearsignError> {
    loop {
        match lines.next()? {
            "" => return Ok(()),
            line if line.starts_with("Hash: ") => {}
            _ => return Err(malformed(lines.number, "there is a header other than `Hash`, or no empty line")),
        }
    }
}

fn body(lines: &mut Lines<'_>) -> Result<(String, Vec<u8>), ClearsignError> {
    let mut text = String::with_capacity(lines.rest.len());
    let mut hashed = Vec::with_capacity(lines.rest.len() + lines.rest.len() / 40);
    loop {
        let line = lines.next()?;
        if line == SIGNATURE {
            return Ok((text, hashed));
        }
        let line = match line.strip_prefix("- ") {
            Some(escaped) => escaped,
            None if line.starts_with('-') => return Err(malformed(lines.number, "a line with a dash is not escaped")),
            None => line,
        };
        let line = line.trim_end_matches([' ', '\t']);
        if !text.is_empty() || !hashed.is_empty() {
            hashed.extend_from_slice(b"\r\n");
        }
        hashed.extend_from_slice(line.as_bytes());
        text.push_str(line);
        text.push('\n');
    }
}

/// Takes the armored block of signatures, whose first line is read already.
fn block(lines: &mut Lines<'_>) -> Result<String, ClearsignError> {
    let mut block = format!("{SIGNATURE}\n");
    loop {
        let line = lines.next()?;
        block.push_str(line);
        block.push('\n');
        if line == END {
            return Ok(block);
        }
        if line.starts_with('-') || block.len() > MAX_BLOCK {
            return Err(malformed(lines.number, "the block of signatures is not ended"));
        }
    }
}

/// Reads the signatures of an armored or binary block, as it stands in `Release.gpg`.
///
/// # Errors
/// When the block cannot be read, or has anything in it but signatures.
pub(crate) fn signatures(block: &[u8]) -> Result<Vec<Signature>, ClearsignError> {
    if block.len() > MAX_BLOCK {
        return Err(ClearsignError::Packets);
    }
    if block.first().is_some_and(|b| *b & 0x80 != 0) {
        return packets(BufReader::new(block));
    }
    let mut armor = Dearmor::with_options(block, DearmorOptions::new().set_limit(MAX_BLOCK));
    armor.read_header().map_err(ClearsignError::Signatures)?;
    if armor.typ != Some(BlockType::Signature) {
        return Err(ClearsignError::Packets);
    }
    packets(BufReader::new(armor))
}

fn packets(reader: impl std::io::BufRead) -> Result<Vec<Signature>, ClearsignError> {
    let mut signatures = Vec::new();
    for packet in PacketParser::new(reader) {
        match packet {
            Ok(Packet::Signature(signature)) if signatures.len() < MAX_SIGNATURES => signatures.push(signature),
            Ok(_) => return Err(ClearsignError::Packets),
            // A signature of a kind that is not known yet, beside known ones, makes them no worse.
            Err(pgp::errors::Error::Unsupported { .. }) if signatures.len() < MAX_SIGNATURES => {}
            Err(error) => return Err(ClearsignError::Signatures(error)),
        }
    }
    Ok(signatures)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block without a signature in it, which the framework does not forbid.
    fn message(body: &str) -> String {
        format!("{MESSAGE}\nHash: SHA512\n\n{body}\n{SIGNATURE}\n\n=twTO\n{END}\n")
    }

    #[test]
    fn lines_are_hashed_as_the_framework_says() {
        let read = parse(message("A: 1 \t\r\n- - dash\n\n- -----BEGIN").as_bytes()).expect("well formed");
        assert_eq!(read.text, "A: 1\n- dash\n\n-----BEGIN\n");
        assert_eq!(read.hashed, b"A: 1\r\n- dash\r\n\r\n-----BEGIN");
        let read = parse(message("\nA: 1").as_bytes()).expect("well formed");
        assert_eq!(read.hashed, b"\r\nA: 1");
    }

    #[test]
    fn what_could_smuggle_text_in_is_refused() {
        let good = message("A: 1");
        assert!(parse(good.as_bytes()).is_ok());
        for bad in [
            format!("B: 2\n{good}"),
            format!("\n{good}"),
            format!("\u{feff}{good}"),
            format!("{good}B: 2\n"),
            format!("{good}{good}"),
            good.replace("Hash: SHA512\n", "NotDashEscaped: yes\n"),
            good.replace("Hash: SHA512\n\n", "Hash: SHA512\nB: 2\n\n"),
            good.replace("Hash: SHA512\n\n", "Hash: SHA512\n"),
            good.replace("A: 1", "-A: 1"),
            good.replace("A: 1", MESSAGE),
            good.replace("A: 1", "A: \r1"),
            good.replace("A: 1", "A: \u{0}1"),
            good.replace("A: 1", "A: \u{b}1"),
            good.replace(MESSAGE, &format!("{MESSAGE} ")),
            good.replace(END, ""),
            good.replace(END, SIGNATURE),
            good.replace(SIGNATURE, "-----BEGIN PGP MESSAGE-----"),
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(parse(&[good.as_bytes(), b"\xff"].concat()).is_err());
        for end in 0..good.len() - 2 {
            assert!(parse(&good.as_bytes()[..end]).is_err(), "cut at {end}");
        }
    }
}

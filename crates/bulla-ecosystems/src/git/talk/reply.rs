//! The answer that has the pack.

use super::{
    Advert,
    packets::{Packet, chomp, refused},
};
use crate::git::{GitError, MAX_PACK};

/// The answer to [`super::ask_pack`], read as it comes.
#[derive(Debug)]
pub struct PackReply {
    pending: Vec<u8>,
    state: State,
    newest: bool,
    pack: Vec<u8>,
}

/// What is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The name of a part (newest version).
    Part,
    /// The lines of a part that is of no interest (newest version).
    Skipped,
    /// What the server left away (older versions).
    Shallow,
    /// That no history is shared (older versions).
    Nak,
    Pack,
    Done,
}

const UNEXPECTED: GitError = GitError::Protocol { problem: "its answer has no pack where one should be" };

impl PackReply {
    /// Begins to read the answer of a server.
    pub fn new(advert: &Advert) -> Self {
        let newest = advert.is_newest();
        let state = match (newest, advert.is_shallow()) {
            (true, _) => State::Part,
            (false, true) => State::Shallow,
            (false, false) => State::Nak,
        };
        Self { pending: Vec::new(), state, newest, pack: Vec::new() }
    }

    /// Says whether all was said.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// When they are no such answer, the server refuses, or the pack is larger than it may be.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), GitError> {
        let mut pending = std::mem::take(&mut self.pending);
        pending.extend_from_slice(bytes);
        let mut at = 0;
        while let Some((packet, length)) = Packet::read(pending.get(at..).unwrap_or_default())? {
            at += length;
            self.state = self.packet(packet)?;
        }
        pending.drain(..at);
        self.pending = pending;
        Ok(())
    }

    fn packet(&mut self, packet: Packet<'_>) -> Result<State, GitError> {
        if let (Packet::Line(line), true) = (packet, self.state != State::Pack)
            && let Some(words) = line.strip_prefix(b"ERR ")
        {
            return Err(refused(words));
        }
        match (self.state, packet) {
            (State::Part, Packet::Line(line)) => match chomp(line) {
                b"packfile" => Ok(State::Pack),
                b"shallow-info" | b"acknowledgments" => Ok(State::Skipped),
                _ => Err(UNEXPECTED),
            },
            (State::Skipped, Packet::Line(_)) => Ok(State::Skipped),
            (State::Skipped, Packet::Delim) => Ok(State::Part),
            (State::Shallow, Packet::Line(line))
                if line.starts_with(b"shallow ") || line.starts_with(b"unshallow ") =>
            {
                Ok(State::Shallow)
            }
            (State::Shallow, Packet::Flush) => Ok(State::Nak),
            (State::Nak, Packet::Line(line)) if chomp(line) == b"NAK" => Ok(State::Pack),
            (State::Pack, Packet::Line(line)) => self.band(line),
            (State::Pack, Packet::Flush) => Ok(State::Done),
            _ => Err(UNEXPECTED),
        }
    }

    /// Takes a packet of the pack: the first byte says what it has.
    fn band(&mut self, line: &[u8]) -> Result<State, GitError> {
        match line.split_first() {
            Some((1, bytes)) => {
                if (self.pack.len() + bytes.len()) as u64 > MAX_PACK {
                    return Err(GitError::TooLarge { what: "a larger pack", limit: MAX_PACK });
                }
                self.pack.extend_from_slice(bytes);
            }
            // What the server tells people while it works.
            Some((2, _)) => {}
            Some((3, words)) => return Err(refused(words)),
            // Kept alive.
            _ if line.is_empty() && self.newest => {}
            _ => return Err(UNEXPECTED),
        }
        Ok(State::Pack)
    }

    /// Gives the bytes of the pack.
    ///
    /// # Errors
    /// When the answer was cut off.
    pub fn finish(self) -> Result<Vec<u8>, GitError> {
        match self.is_done() {
            true => Ok(self.pack),
            false => Err(GitError::Protocol { problem: "its answer is cut off" }),
        }
    }
}

//! What a server says first: what it can do, or what it has; and the references that it names when it is asked.

use std::{collections::BTreeMap, io};

use bulla_model::GitId;

use super::packets::{Packet, chomp, refused};
use crate::git::GitError;

/// The most bytes that a server may say first: an old one names all its references, of which large projects have a million.
pub const MAX_ADVERT: u64 = 256 << 20;

/// What a server says first, read as it comes.
#[derive(Debug, Default)]
pub struct Advert {
    pending: Vec<u8>,
    begun: bool,
    done: bool,
    newest: bool,
    taken: u64,
    abilities: BTreeMap<String, String>,
    references: BTreeMap<String, Found>,
}

/// Where a reference leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The object that it names: a commit, or an annotated tag.
    pub object: GitId,
}

impl Advert {
    /// Says whether all was said.
    pub const fn is_done(&self) -> bool {
        self.done
    }

    /// Says whether the server speaks the newest version.
    pub const fn is_newest(&self) -> bool {
        self.newest
    }

    /// Says whether the server has an ability.
    pub fn has(&self, ability: &str) -> bool {
        self.abilities.contains_key(ability)
    }

    /// Says whether the server can leave the history away.
    pub fn is_shallow(&self) -> bool {
        match self.newest {
            true => self.abilities.get("fetch").is_some_and(|words| words.split(' ').any(|word| word == "shallow")),
            false => self.has("shallow"),
        }
    }

    /// Gives where a reference leads, for a server that named all of them at once.
    pub fn reference(&self, name: &str) -> Option<Found> {
        self.references.get(name).copied()
    }

    /// Says whether an object is known to be given: one that a reference names, and any by a server of the newest version.
    pub fn leads_to(&self, object: &GitId) -> bool {
        self.newest || self.references.values().any(|found| found.object == *object)
    }

    /// Checks that the server can be asked.
    ///
    /// # Errors
    /// When it has not said all, or names objects otherwise.
    pub fn check(&self) -> Result<(), GitError> {
        if !self.done {
            return Err(GitError::Protocol { problem: "what it says first is cut off" });
        }
        if let Some(format) = self.abilities.get("object-format").filter(|format| *format != "sha1") {
            return Err(GitError::ObjectFormat { format: bulla_model::path::printable(format.as_bytes()) });
        }
        let able = if self.newest { self.has("fetch") && self.has("ls-refs") } else { self.has("side-band-64k") };
        // An empty repository of an old server says nothing at all.
        let says_something = !self.abilities.is_empty() || !self.references.is_empty();
        if !able && says_something {
            return Err(GitError::Protocol { problem: "it cannot do what is needed" });
        }
        Ok(())
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// When they are not what a git server says first.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), GitError> {
        self.taken += bytes.len() as u64;
        if self.taken > MAX_ADVERT {
            return Err(GitError::TooLarge { what: "more references", limit: MAX_ADVERT });
        }
        let mut pending = std::mem::take(&mut self.pending);
        pending.extend_from_slice(bytes);
        let mut at = 0;
        while let Some((packet, length)) = Packet::read(pending.get(at..).unwrap_or_default())? {
            at += length;
            self.packet(packet)?;
        }
        pending.drain(..at);
        self.pending = pending;
        Ok(())
    }

    fn packet(&mut self, packet: Packet<'_>) -> Result<(), GitError> {
        let unexpected = GitError::Protocol { problem: "it says something else first than what it has" };
        let line = match packet {
            _ if self.done => return Err(unexpected),
            Packet::Line(line) => chomp(line),
            // Over HTTP there is one behind the name of the service.
            Packet::Flush if !self.begun => return Ok(()),
            Packet::Flush => {
                self.done = true;
                return Ok(());
            }
            Packet::Delim => return Err(unexpected),
        };
        if let Some(words) = line.strip_prefix(b"ERR ") {
            return Err(refused(words));
        }
        if !self.begun && line == b"# service=git-upload-pack" {
            return Ok(());
        }
        let first = !self.begun;
        self.begun = true;
        match line {
            b"version 2" if first => self.newest = true,
            b"version 1" if first => self.begun = false,
            _ if self.newest => {
                let (name, value) = text(line)?.split_once('=').unwrap_or((text(line)?, ""));
                self.abilities.insert(name.to_owned(), value.to_owned());
            }
            _ => self.old_reference(line, first)?,
        }
        Ok(())
    }

    /// Reads `ID NAME`, behind the first of which stands what the server can do.
    fn old_reference(&mut self, line: &[u8], first: bool) -> Result<(), GitError> {
        let mut parts = line.splitn(2, |b| *b == 0);
        let named = parts.next().unwrap_or_default();
        if let Some(abilities) = parts.next().filter(|_| first) {
            let words = text(abilities)?.split(' ').filter(|word| !word.is_empty());
            self.abilities = words
                .map(|word| word.split_once('=').unwrap_or((word, "")))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
        }
        if named.starts_with(b"shallow ") {
            return Ok(());
        }
        let (name, found) = found(named)?;
        self.references.insert(name, found);
        Ok(())
    }
}

fn text(line: &[u8]) -> Result<&str, GitError> {
    std::str::from_utf8(line).map_err(|_| GitError::Protocol { problem: "a line of it is no text" })
}

/// Reads `ID NAME`; a name that is no text cannot be asked for, and is made printable.
fn found(line: &[u8]) -> Result<(String, Found), GitError> {
    let bad = GitError::Protocol { problem: "a reference has no id" };
    let (id, name) = line.split_at_checked(40).ok_or_else(|| bad.clone())?;
    let object = text(id)?.parse().map_err(|_| bad.clone())?;
    let name = name.strip_prefix(b" ").ok_or(bad)?;
    Ok((bulla_model::path::printable(name), Found { object }))
}

/// The references that a server of the newest version names when it is asked.
#[derive(Debug, Default)]
pub struct References {
    pending: Vec<u8>,
    done: bool,
    taken: u64,
    found: BTreeMap<String, Found>,
}

impl References {
    /// Says whether all was said.
    pub const fn is_done(&self) -> bool {
        self.done
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// When they are no list of references.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), GitError> {
        self.taken += bytes.len() as u64;
        if self.taken > MAX_ADVERT {
            return Err(GitError::TooLarge { what: "more references", limit: MAX_ADVERT });
        }
        self.pending.extend_from_slice(bytes);
        let mut at = 0;
        while let Some((packet, length)) = Packet::read(self.pending.get(at..).unwrap_or_default())? {
            at += length;
            match packet {
                Packet::Line(line) if !self.done => {
                    if let Some(words) = line.strip_prefix(b"ERR ") {
                        return Err(refused(words));
                    }
                    // `peeled:ID` may stand behind the name, which has no space in it.
                    let line = chomp(line);
                    let end = line.iter().skip(41).position(|b| *b == b' ').map_or(line.len(), |end| end + 41);
                    let (name, found) = found(line.get(..end).unwrap_or_default())?;
                    self.found.insert(name, found);
                }
                Packet::Flush if !self.done => self.done = true,
                _ => return Err(GitError::Protocol { problem: "it names references in a way of its own" }),
            }
        }
        self.pending.drain(..at);
        Ok(())
    }

    /// Gives where a reference leads.
    ///
    /// # Errors
    /// When the answer was cut off.
    pub fn reference(&self, name: &str) -> Result<Option<Found>, GitError> {
        match self.done {
            true => Ok(self.found.get(name).copied()),
            false => Err(GitError::Protocol { problem: "its list of references is cut off" }),
        }
    }
}

/// The readers can stand at the end of a pipe.
macro_rules! writers {
    ($($reader:ty),*) => {$(
        impl io::Write for $reader {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.take(bytes).map_err(io::Error::other)?;
                Ok(bytes.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
    )*};
}

writers!(Advert, References, super::PackReply);

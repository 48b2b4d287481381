//! Why a file came out otherwise when it was made a second time: what kind of thing differs in it, and where.
//!
//! Containers are looked into (`containers`): what differs of one is explained by what differs in its members. What is no container is looked at as
//! a text (`text`), whatever it is: in a program, too, it is texts that times and paths stand in. The answer is a guess that names what it
//! saw; it decides nothing.

mod containers;
mod text;

use std::fmt;

use serde::Serialize;

/// How deep containers are looked into.
const MAX_DEPTH: usize = 4;
/// The most bytes of something packed that are unpacked to be compared.
const MAX_PLAIN: u64 = 64 << 20;
/// The most characters of a text that are shown, and of a name.
const MAX_SHOWN: usize = 60;
const MAX_NAME: usize = 120;

/// A kind of thing that differs from one run to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// A time.
    Time,
    /// The same things in another order.
    Order,
    /// A path of the machine.
    Path,
    /// The number that a linker gives to what it makes.
    BuildId,
    /// Something of which one has more than the other.
    Member,
    /// Something that looks as if it had been drawn.
    Random,
    /// Something else.
    Unknown,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Time => "a time",
            Self::Order => "an order",
            Self::Path => "a path",
            Self::BuildId => "a build id",
            Self::Member => "a member",
            Self::Random => "something random",
            Self::Unknown => "something else",
        })
    }
}

/// What differs in a file, as far as it was understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What kind of thing it is.
    pub cause: Cause,
    /// Where, for people: `section .comment`, `member a.o, header`.
    pub place: String,
    /// The texts that differ, made printable and short; empty where they are none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub before: String,
    /// That of the second.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub now: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)?;
        if !self.place.is_empty() {
            write!(f, " in {}", self.place)?;
        }
        if !self.before.is_empty() || !self.now.is_empty() {
            write!(f, ": `{}` and `{}`", self.before, self.now)?;
        }
        Ok(())
    }
}

/// Says why two files that should be the same are not. Nothing is said of files that are the same.
pub fn explain(before: &[u8], now: &[u8]) -> Option<Difference> {
    at(before, now, "", 0)
}

/// Explains at a place within something that was looked into.
fn at(before: &[u8], now: &[u8], place: &str, depth: usize) -> Option<Difference> {
    if before == now {
        return None;
    }
    let inside = if depth < MAX_DEPTH { containers::explain(before, now, place, depth) } else { None };
    Some(inside.unwrap_or_else(|| text::explain(before, now, place)))
}

/// Makes a text of foreign bytes printable and short.
fn shown(text: &str, most: usize) -> String {
    let plain = text.chars().map(|c| if c.is_control() || c == '\u{fffd}' { '.' } else { c });
    plain.take(most).collect()
}

/// Adds to a place.
fn within(place: &str, more: &str) -> String {
    if place.is_empty() { more.to_owned() } else { format!("{place}, {more}") }
}

fn difference(cause: Cause, place: String) -> Difference {
    Difference { cause, place, before: String::new(), now: String::new() }
}

#[cfg(test)]
mod tests;

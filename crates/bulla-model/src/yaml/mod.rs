//! The part of YAML that a spec is written in, read with a place for everything.
//!
//! Three steps: [`node`] makes the events of the YAML parser into a bounded tree in which each node knows its bytes;
//! [`read`] is a [`serde::Deserializer`] over that tree, which reads a scalar as the type that is asked for (`1.10`, `no`
//! and `0755` stay texts where a text is asked for); [`Document::read`] goes on after a mistake, so that all are reported.
//!
//! What is left out is refused with a word: tags, merge keys, several documents, keys that are not scalars.

mod at;
mod error;
mod nearest;
mod node;
mod read;

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;

pub use self::at::At;
pub(crate) use self::{
    error::Problem,
    nearest::nearest,
    node::{Document, NodeId, turns_writing},
};

/// The most bytes of a text.
pub(crate) const MAX_BYTES: usize = 1 << 20;
/// The most levels of lists and maps in one another, aliases followed.
pub(crate) const MAX_DEPTH: usize = 64;
/// The most nodes, aliases followed.
pub(crate) const MAX_NODES: usize = 100_000;
/// The most bytes of text in all values, aliases followed.
pub(crate) const MAX_EXPANDED: usize = 8 << 20;
/// The most mistakes that are reported at once.
const MAX_PROBLEMS: usize = 20;

impl Document {
    /// Reads the tree as a type.
    ///
    /// A part that is wrong is reported, left out, and the rest read again, so that all mistakes come out at once.
    ///
    /// # Errors
    /// All the mistakes that were found, up to twenty; at least one.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut left_out = BTreeSet::new();
        loop {
            let error = match T::deserialize(read::Reader::new(self, self.root, &left_out)) {
                Ok(value) if problems.is_empty() => return Ok(value),
                Ok(_) => return Err(problems),
                Err(error) => error,
            };
            let node = error.node().unwrap_or(self.root);
            if !self.follows_from(&error, &left_out) {
                problems.push(error.problem(self));
            }
            if node == self.root || problems.len() == MAX_PROBLEMS || !left_out.insert(node) {
                return Err(problems);
            }
        }
    }

    /// Says whether a key is only missing because it, or a key that may have been meant for it, was left out.
    fn follows_from(&self, error: &read::Error, left_out: &BTreeSet<NodeId>) -> bool {
        let Some((map, field)) = error.missing() else { return false };
        self.entries(map)
            .iter()
            .any(|(key, value)| left_out.contains(key) || left_out.contains(value) && self.scalar(*key) == Some(field))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        text: Option<String>,
        number: Option<u16>,
        flag: Option<bool>,
        list: Option<Vec<At<String>>>,
    }

    fn read(text: &str) -> Result<Sample, Vec<String>> {
        let document = Document::parse(text).map_err(|problem| vec![problem.message])?;
        document.read().map_err(|problems| problems.into_iter().map(|problem| problem.message).collect())
    }

    #[test]
    fn a_text_stays_what_was_typed() {
        for typed in ["1.10", "no", "0755", "~", "null", "0x1F", "1_000", "2026-01-02", ".5", "true", "1e3", "12:30:45"]
        {
            assert_eq!(read(&format!("text: {typed}")).map(|sample| sample.text), Ok(Some(typed.to_owned())));
        }
    }

    #[test]
    fn numbers_are_decimal_and_flags_are_true_or_false() {
        assert_eq!(read("number: 80\nflag: true").map(|s| (s.number, s.flag)), Ok((Some(80), Some(true))));
        for bad in ["0755", "0x10", "0o17", "1_000", "1.0", "+1", "-1", "'1'", "65536", "1e3", "", "[1]"] {
            assert!(read(&format!("number: {bad}")).is_err(), "{bad}");
        }
        for bad in ["yes", "True", "TRUE", "on", "1", "'true'", "", "[]"] {
            assert!(read(&format!("flag: {bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_mistake_is_reported_once_and_in_its_place() {
        let text = "text: [a]\nnumber: x\nflag: maybe\nlist: [a, {}, b, []]\nother: 1\n";
        let problems = Document::parse(text).expect("YAML").read::<Sample>().expect_err("mistakes");
        let places: Vec<&str> = problems.iter().map(|problem| &text[problem.span.clone()]).collect();
        assert_eq!(places, ["[a]", "x", "maybe", "{}", "[]", "other"]);
    }

    #[test]
    fn a_value_knows_its_bytes() {
        let text = "list:\n  - é plain text   # a comment\n  - 'quoted'\n  - |\n    block\n";
        let list = Document::parse(text).expect("YAML").read::<Sample>().expect("a sample").list.expect("a list");
        let pieces: Vec<&str> = list.iter().map(|item| &text[item.span.clone()]).collect();
        assert_eq!(pieces[..2], ["é plain text", "'quoted'"]);
        assert!(pieces[2].trim_start_matches('|').trim() == "block", "{pieces:?}");
    }
}

//! JSON with the places of its values: serde gives the source text of a value, and where that lies is a line.

use std::{cell::Cell, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// A map in the order in which it is written, with keys that may come twice.
#[derive(Debug)]
pub(super) struct Pairs<V>(pub(super) Vec<(String, V)>);

impl<V> Default for Pairs<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

struct PairsVisitor<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for PairsVisitor<V> {
    type Value = Pairs<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<V>, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Pairs(pairs))
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Pairs<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor(PhantomData))
    }
}

/// Says on which line something of a text is. Asked in the text's order, it reads the text once.
pub(super) struct Lines<'a> {
    text: &'a str,
    /// The offset that was asked for last, and its line.
    last: Cell<(usize, u32)>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, last: Cell::new((0, 1)) }
    }

    /// Gives the line, from 1, on which a part of the text begins.
    pub(super) fn of(&self, part: &RawValue) -> u32 {
        self.of_text(part.get())
    }

    /// Gives the line on which a key of a map stands; the map's own where it does not stand there.
    pub(super) fn of_key(&self, map: &RawValue, key: &str) -> u32 {
        let from = map.get().find(&format!("\"{key}\"")).unwrap_or(0);
        self.of_text(map.get().get(from..).unwrap_or_default())
    }

    /// The part borrows from the text: where it lies is the difference of their addresses.
    fn of_text(&self, part: &str) -> u32 {
        let offset = (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize).min(self.text.len());
        let (from, line) = match self.last.get() {
            (last, line) if last <= offset => (last, line),
            _ => (0, 1),
        };
        let passed = self.text.as_bytes().get(from..offset).unwrap_or_default();
        let line = line + u32::try_from(memchr::memchr_iter(b'\n', passed).count()).unwrap_or(u32::MAX - line);
        self.last.set((offset, line));
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_on_their_lines_in_any_order() {
        let text = "{\n \"a\": {\n  \"x\": 1\n },\n\n \"b\": 2,\n \"a\": 3\n}";
        let pairs: Pairs<&RawValue> = serde_json::from_str(text).expect("it is JSON");
        let lines = Lines::new(text);
        let found: Vec<(&str, u32)> = pairs.0.iter().map(|(key, value)| (key.as_str(), lines.of(value))).collect();
        assert_eq!(found, [("a", 2), ("b", 6), ("a", 7)]);
        assert_eq!(lines.of_key(pairs.0[0].1, "x"), 3);
        assert_eq!(lines.of_key(pairs.0[0].1, "nothing"), 2);
    }
}

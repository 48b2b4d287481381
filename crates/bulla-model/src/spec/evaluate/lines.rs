//! Turns bytes of a text into lines and columns, in time that does not grow with the text.

use crate::spec::Position;

/// The bytes between two checkpoints.
const STRIDE: usize = 1024;

/// Where the lines of a text begin, and how many characters there are before each checkpoint.
pub(super) struct Lines<'t> {
    text: &'t [u8],
    starts: Vec<usize>,
    characters: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let text = text.as_bytes();
        let newlines = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        let mut total = 0;
        let mut characters = Vec::with_capacity(text.len() / STRIDE + 1);
        for chunk in text.chunks(STRIDE) {
            characters.push(total);
            total += count(chunk);
        }
        Self { text, starts: std::iter::once(0).chain(newlines).collect(), characters }
    }

    /// Gives the line and column of a byte.
    pub(super) fn position(&self, byte: usize) -> Position {
        let byte = byte.min(self.text.len());
        let line = self.starts.partition_point(|start| *start <= byte);
        let start = line.checked_sub(1).and_then(|at| self.starts.get(at)).copied().unwrap_or(0);
        let column = self.characters_before(byte) - self.characters_before(start) + 1;
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Position { line: number(line), column: number(column) }
    }

    fn characters_before(&self, byte: usize) -> usize {
        let checkpoint = byte / STRIDE;
        match self.characters.get(checkpoint) {
            Some(before) => before + count(self.text.get(checkpoint * STRIDE..byte).unwrap_or_default()),
            None => count(self.text),
        }
    }
}

/// Counts the characters that begin in some bytes of UTF-8.
fn count(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0b1100_0000 != 0b1000_0000).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_position_is_what_counting_gives(text in "[aé😀\n]{0,1500}", part in 0_usize..=100) {
            let wanted = text.len() * part / 100;
            let at = (0..=wanted).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            let before = &text[..at];
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            let found = Lines::new(&text).position(at);
            prop_assert_eq!((found.line as usize, found.column as usize), (line, column));
        }
    }
}

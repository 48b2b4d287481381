//! Hides values in a stream of bytes while it comes, also where a value comes in several pieces.

use aho_corasick::{AhoCorasick, MatchKind};
use bulla_model::SecretBytes;

use super::{SHORTEST, encoding};

/// What stands in the place of a value.
const MASK: &[u8] = b"***";

/// What is hidden.
pub(super) struct MaskPatterns {
    automaton: AhoCorasick,
    /// The forms, for looking how much of one a piece ends with.
    forms: Vec<Vec<u8>>,
    longest: usize,
}

impl MaskPatterns {
    pub(super) fn new<'v>(values: impl Iterator<Item = &'v SecretBytes>) -> Self {
        let mut forms: Vec<Vec<u8>> =
            values.flat_map(|value| encoding::masked(value.expose()).into_iter()).map(|(form, _)| form).collect();
        forms.sort();
        forms.dedup();
        let built = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&forms);
        let automaton =
            built.expect("the forms of some hundred values of 512 KiB are fewer than an automaton can have");
        let longest = forms.iter().map(Vec::len).max().unwrap_or(0);
        Self { automaton, forms, longest }
    }

    pub(super) fn masker(&self) -> Masker<'_> {
        Masker { patterns: self, held: Vec::new() }
    }

    /// Hides values in bytes that are whole.
    pub(super) fn masked(&self, bytes: &[u8]) -> Vec<u8> {
        let mut masker = self.masker();
        let mut out = masker.push(bytes);
        out.extend(masker.finish());
        out
    }

    /// Says from where on a piece may be the beginning of a form.
    fn open_end(&self, bytes: &[u8]) -> usize {
        let from = bytes.len().saturating_sub(self.longest.saturating_sub(1));
        let may_begin = |at: &usize| {
            let rest = &bytes[*at..];
            // Sorted: all forms that begin with the rest stand behind it in a row.
            let place = self.forms.partition_point(|form| form.as_slice() < rest);
            self.forms
                .get(place..)
                .unwrap_or_default()
                .iter()
                .take(2)
                .any(|form| form.len() > rest.len() && form.starts_with(rest))
        };
        (from..bytes.len()).find(may_begin).unwrap_or(bytes.len())
    }
}

/// Hides values in one stream. What may be the beginning of a value is held back until it is known.
pub struct Masker<'p> {
    patterns: &'p MaskPatterns,
    held: Vec<u8>,
}

impl Masker<'_> {
    /// Takes a piece, and gives what can be shown by now.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        let open = self.patterns.open_end(&self.held);
        let (mut out, mut done) = (Vec::with_capacity(open), 0);
        for found in self.patterns.automaton.find_iter(&self.held) {
            if found.start() >= open {
                break;
            }
            out.extend_from_slice(&self.held[done..found.start()]);
            out.extend_from_slice(MASK);
            done = found.end();
        }
        if done < open {
            out.extend_from_slice(&self.held[done..open]);
            done = open;
        }
        self.held.drain(..done);
        out
    }

    /// Gives the rest, when nothing more comes. A rest that is the beginning of a value and long enough to tell is hidden as well: it
    /// may have been cut off.
    pub fn finish(&mut self) -> Vec<u8> {
        let held = std::mem::take(&mut self.held);
        let (mut out, mut done) = (Vec::new(), 0);
        for found in self.patterns.automaton.find_iter(&held) {
            out.extend_from_slice(&held[done..found.start()]);
            out.extend_from_slice(MASK);
            done = found.end();
        }
        let rest = held.get(done..).unwrap_or_default();
        let open = self.patterns.open_end(rest);
        match rest.len() - open >= SHORTEST {
            true => {
                out.extend_from_slice(&rest[..open]);
                out.extend_from_slice(MASK);
            }
            false => out.extend_from_slice(rest),
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(values: &[&str], pieces: &[&str]) -> String {
        let values: Vec<SecretBytes> = values.iter().map(|value| SecretBytes::new(value.as_bytes().to_vec())).collect();
        let patterns = MaskPatterns::new(values.iter());
        let mut masker = patterns.masker();
        let mut out: Vec<u8> = pieces.iter().flat_map(|piece| masker.push(piece.as_bytes())).collect();
        out.extend(masker.finish());
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_value_is_hidden_wherever_it_is_cut() {
        let text = "one hunter2hunter2 two, huntress, hunter2hunter2";
        for cut in 0..text.len() {
            let (a, b) = text.split_at(cut);
            assert_eq!(masked(&["hunter2hunter2\n"], &[a, b]), "one *** two, huntress, ***", "cut at {cut}");
        }
        let letters: Vec<String> = text.chars().map(String::from).collect();
        let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
        assert_eq!(masked(&["hunter2hunter2"], &letters), "one *** two, huntress, ***");
        assert_eq!(masked(&["something else"], &[text]), text, "the control: other values hide nothing");
    }

    #[test]
    fn simple_encodings_and_lines_are_hidden() {
        let value = "p&ss w\"rd/+1";
        for shown in ["70267373207722 72", "702673732077227264 2f2b31"] {
            assert_eq!(masked(&[value], &[shown]), shown, "what is no form of it stays");
        }
        for form in [
            "702673732077227264 2f2b31".replace(' ', ""),
            "cCZzcyB3InJkLysx".to_owned(),
            "p%26ss%20w%22rd%2F%2B1".to_owned(),
            "p%26ss%20w%22rd%2f%2b1".to_owned(),
            "p&ss w\\\"rd/+1".to_owned(),
        ] {
            assert_eq!(masked(&[value], &[&form]), "***", "{form}");
        }
        assert_eq!(
            masked(&["first line\nshort\nsecond line"], &["a first line b\nshort\nsecond line"]),
            "a *** b\nshort\n***"
        );
    }

    #[test]
    fn of_values_that_overlap_nothing_is_left() {
        assert_eq!(masked(&["abcdefgh", "cdefghijkl"], &["xabcdefghijklx"]), "x***ijklx");
        assert_eq!(masked(&["abcdefgh", "abcdefghijkl"], &["xabcdef", "ghijklx"]), "x***x");
        assert_eq!(masked(&["abcdefgh", "abcdefghijkl"], &["xabcdefgh", "x"]), "x***x");
    }

    #[test]
    fn what_was_cut_off_is_hidden_when_it_tells() {
        assert_eq!(masked(&["abcdefghijkl"], &["x abcdefghi"]), "x ***");
        assert_eq!(masked(&["abcdefghijkl"], &["x abc"]), "x abc");
    }
}

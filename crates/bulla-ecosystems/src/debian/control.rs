//! Paragraphs of `Name: value` lines, as Debian's control files have them (Debian Policy 5.1, "deb822").

use memchr::memchr;

/// The lines of a paragraph as fields: each with its name, its value as it stands (continuation lines included, without the
/// first line's leading blanks), and the number of its first line.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a> {
    rest: &'a str,
    line: usize,
    comments: bool,
}

/// One field of a paragraph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: &'a str,
    /// Counted from 1.
    pub(crate) line: usize,
}

impl Field<'_> {
    pub(crate) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

/// A line that is neither a field nor the continuation of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is neither `Name: value` nor its continuation: `{text}`")]
pub struct NotAField {
    pub(crate) line: usize,
    pub(crate) text: String,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(paragraph: &'a str) -> Self {
        Self { rest: paragraph, line: 1, comments: false }
    }

    /// Lines that start with `#` are skipped, as in files that people write.
    pub(crate) fn with_comments(paragraph: &'a str, first_line: usize) -> Self {
        Self { rest: paragraph, line: first_line, comments: true }
    }

    fn take_line(&mut self) -> &'a str {
        let end = memchr(b'\n', self.rest.as_bytes()).unwrap_or(self.rest.len());
        let line = &self.rest[..end];
        self.rest = self.rest.get(end + 1..).unwrap_or_default();
        self.line += 1;
        line
    }

    fn continues(&self) -> bool {
        match self.rest.as_bytes().first() {
            Some(b' ' | b'\t') => true,
            Some(b'#') => self.comments,
            _ => false,
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, NotAField>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.comments && self.rest.starts_with('#') {
            self.take_line();
        }
        if self.rest.is_empty() {
            return None;
        }
        let (start, line) = (self.rest, self.line);
        let first = self.take_line();
        while self.continues() {
            self.take_line();
        }
        let whole = start[..start.len() - self.rest.len()].trim_end();
        let colon = memchr(b':', first.as_bytes());
        let name = colon.map_or("", |colon| &first[..colon]);
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic()) || name.starts_with(['-', '#']) {
            return Some(Err(NotAField { line, text: first.chars().take(100).collect() }));
        }
        let value = whole.get(name.len() + 1..).unwrap_or_default();
        Some(Ok(Field { name, value: value.trim_start_matches([' ', '\t']), line }))
    }
}

/// Splits a text at its empty lines, and gives each paragraph with the number of its first line.
pub(crate) fn paragraphs(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = text;
    let mut number = 1;
    std::iter::from_fn(move || {
        loop {
            let (mut size, mut lines) = (0, 0);
            for line in rest.split_inclusive('\n') {
                if line.trim().is_empty() {
                    break;
                }
                size += line.len();
                lines += 1;
            }
            if size > 0 {
                let (paragraph, after) = rest.split_at(size);
                let first = number;
                (rest, number) = (after, number + lines);
                return Some((first, paragraph));
            }
            let (_, after) = rest.split_once('\n')?;
            (rest, number) = (after, number + 1);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_their_continuation_lines() {
        let text = "A: 1\nB:\n x\n # y\nC:\t z \n";
        let fields: Vec<_> = Fields::new(text).map(|f| f.map(|f| (f.name, f.value, f.line))).collect();
        assert_eq!(fields, [Ok(("A", "1", 1)), Ok(("B", "\n x\n # y", 2)), Ok(("C", "z", 5))]);
    }

    #[test]
    fn comments_are_skipped_only_where_people_write() {
        let text = "# c\nA: 1\n# c\n 2\n";
        let fields: Vec<_> = Fields::with_comments(text, 7).map(|f| f.map(|f| (f.name, f.line))).collect();
        assert_eq!(fields, [Ok(("A", 8))]);
        assert!(Fields::new(text).next().is_some_and(|f| f.is_err()));
    }

    #[test]
    fn a_line_without_a_colon_is_an_error() {
        for text in ["nothing\n", " x\n", ": x\n", "a b: c\n"] {
            assert!(Fields::new(text).next().is_some_and(|field| field.is_err()), "{text}");
        }
    }

    #[test]
    fn paragraphs_know_their_first_line() {
        let found: Vec<_> = paragraphs("\n\nA: 1\nB: 2\n \n\nC: 3").collect();
        assert_eq!(found, [(3, "A: 1\nB: 2\n"), (7, "C: 3")]);
        assert_eq!(paragraphs("").count(), 0);
    }
}

//! Patterns for files of a source: `*`, `?`, `[a-z]` within a name, `**` for any number of names.
//!
//! A pattern is matched against the whole path from the source's root, as in a `.dockerignore`; one that matches a
//! directory matches all beneath it. Matching takes time linear in pattern times path, whatever the pattern.

use std::{fmt, str::FromStr};

use serde::Serialize;

use crate::path::CleanPath;

/// The most bytes of a pattern.
const LONGEST: usize = 1024;

/// A pattern for paths of a source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Glob {
    text: String,
    parts: Vec<Part>,
}

/// What one name of the path has to be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Part {
    /// Any number of names, also none.
    Names,
    /// One name, by tokens.
    Name(Vec<Token>),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Token {
    Byte(u8),
    Any,
    Star,
    Class { negated: bool, ranges: Vec<(u8, u8)> },
}

/// Says why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// It is empty or longer than 1024 bytes.
    #[error("a pattern has 1 to 1024 bytes")]
    Length,
    /// It is absolute, or has an empty, `.` or `..` component.
    #[error("a pattern is relative, and has no empty, `.` or `..` component")]
    NotClean,
    /// `**` stands beside other characters of a name.
    #[error("`**` stands for whole names, so it is alone between slashes")]
    Stars,
    /// A `[` has no `]`, or a range ends before it begins.
    #[error("a `[` begins a class such as `[a-z]`; write `[[]` for the character itself")]
    Class,
    /// A `!` in front, which would mean an exception.
    #[error("a pattern cannot be negated with `!`")]
    Negated,
}

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When the text is no pattern; see [`GlobError`].
    pub fn parse(text: &str) -> Result<Self, GlobError> {
        if text.is_empty() || text.len() > LONGEST {
            return Err(GlobError::Length);
        }
        if text.starts_with('!') {
            return Err(GlobError::Negated);
        }
        let normal = text.strip_suffix('/').unwrap_or(text);
        let parts = normal.split('/').map(part).collect::<Result<_, _>>()?;
        Ok(Self { text: normal.to_owned(), parts })
    }

    /// Says whether the pattern matches a path or a directory above it.
    pub fn matches(&self, path: &CleanPath) -> bool {
        self.reached(path).iter().skip(1).any(|on| *on)
    }

    /// Says whether the pattern matches a path itself, and not only a directory above it.
    pub fn matches_whole(&self, path: &CleanPath) -> bool {
        self.reached(path).last() == Some(&true)
    }

    /// Says how many of a path's first names the pattern matches: all the numbers that it can.
    fn reached(&self, path: &CleanPath) -> Vec<bool> {
        let names: Vec<&[u8]> = path.components().collect();
        // reached[n]: the parts so far match the first n names.
        let mut reached = vec![false; names.len() + 1];
        reached[0] = true;
        for part in &self.parts {
            let mut next = vec![false; names.len() + 1];
            match part {
                Part::Names => {
                    let mut on = false;
                    for (to, from) in next.iter_mut().zip(&reached) {
                        on |= from;
                        *to = on;
                    }
                }
                Part::Name(tokens) => {
                    for ((to, from), name) in next.iter_mut().skip(1).zip(&reached).zip(&names) {
                        *to = *from && name_matches(tokens, name);
                    }
                }
            }
            reached = next;
        }
        reached
    }

    /// Says whether a path beneath this directory could be matched itself.
    pub fn may_match_whole_beneath(&self, directory: &CleanPath) -> bool {
        let names = directory.components().count();
        let longer = self.parts.len() > names || self.parts.contains(&Part::Names);
        longer && self.may_match_beneath(directory)
    }

    /// Says whether a path beneath this directory could match, so that a walk has to look into it.
    pub fn may_match_beneath(&self, directory: &CleanPath) -> bool {
        let names = directory.components();
        for (part, name) in self.parts.iter().zip(names) {
            match part {
                Part::Names => return true,
                Part::Name(tokens) if !name_matches(tokens, name) => return false,
                Part::Name(_) => {}
            }
        }
        true
    }

    /// Gives the pattern as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Gives the same pattern below a directory.
    #[must_use]
    pub fn beneath(&self, directory: &CleanPath) -> Self {
        let names = directory.components().map(|name| Part::Name(name.iter().copied().map(Token::Byte).collect()));
        let literal = escape(&directory.to_string());
        Self { text: format!("{literal}/{}", self.text), parts: names.chain(self.parts.iter().cloned()).collect() }
    }
}

/// Writes a path so that it matches itself alone.
fn escape(path: &str) -> String {
    path.chars().map(|c| if "*?[".contains(c) { format!("[{c}]") } else { c.to_string() }).collect()
}

fn part(text: &str) -> Result<Part, GlobError> {
    match text {
        "" | "." | ".." => return Err(GlobError::NotClean),
        "**" => return Ok(Part::Names),
        _ if text.contains("**") => return Err(GlobError::Stars),
        _ => {}
    }
    let mut tokens = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        tokens.push(match first {
            0 => return Err(GlobError::NotClean),
            b'?' => Token::Any,
            b'*' => Token::Star,
            b'[' => {
                let (token, tail) = class(tail).ok_or(GlobError::Class)?;
                rest = tail;
                token
            }
            byte => Token::Byte(*byte),
        });
    }
    Ok(Part::Name(tokens))
}

/// Reads a class after its `[`; a `]` that comes first is a member (POSIX.1-2017, 2.13.1).
fn class(text: &[u8]) -> Option<(Token, &[u8])> {
    let (negated, mut rest) = match text {
        [b'!' | b'^', tail @ ..] => (true, tail),
        _ => (false, text),
    };
    let mut ranges = Vec::new();
    loop {
        rest = match rest {
            [b']', tail @ ..] if !ranges.is_empty() => return Some((Token::Class { negated, ranges }, tail)),
            [low, b'-', high, tail @ ..] if *high != b']' => {
                ranges.push((low <= high).then_some((*low, *high))?);
                tail
            }
            [byte, tail @ ..] => {
                ranges.push((*byte, *byte));
                tail
            }
            [] => return None,
        };
    }
}

/// Matches one name, going back only to the last star.
fn name_matches(tokens: &[Token], name: &[u8]) -> bool {
    let (mut t, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        match (tokens.get(t), name.get(n)) {
            (None, None) => return true,
            (Some(Token::Star), _) => {
                star = Some((t, n));
                t += 1;
                continue;
            }
            (Some(token), Some(byte)) if token.takes(*byte) => {
                t += 1;
                n += 1;
                continue;
            }
            _ => {}
        }
        match star {
            Some((at, from)) if from < name.len() => {
                star = Some((at, from + 1));
                (t, n) = (at + 1, from + 1);
            }
            _ => return false,
        }
    }
}

impl Token {
    fn takes(&self, byte: u8) -> bool {
        match self {
            Self::Byte(own) => *own == byte,
            Self::Any | Self::Star => true,
            Self::Class { negated, ranges } => ranges.iter().any(|(a, z)| (*a..=*z).contains(&byte)) != *negated,
        }
    }
}

impl FromStr for Glob {
    type Err = GlobError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Glob {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(glob: &str, path: &str) -> bool {
        Glob::parse(glob).expect("a glob").matches(&path.parse().expect("clean"))
    }

    #[test]
    fn patterns_match_from_the_root_and_whole_directories() {
        for (glob, path) in [
            ("docs", "docs/a/b"),
            ("docs/**", "docs/a/b"),
            ("*.c", "main.c"),
            ("**/*.c", "main.c"),
            ("**/*.c", "a/b/main.c"),
            ("a/**/z", "a/z"),
            ("a/**/z", "a/b/c/z/more"),
            ("[a-c]?[!x]", "bzy"),
            ("[]]", "]"),
            ("a*b*c", "aXbYbc"),
            ("docs/", "docs/x"),
        ] {
            assert!(matches(glob, path), "{glob} {path}");
        }
        for (glob, path) in [("*.c", "a/main.c"), ("docs/**/x", "docs"), ("a", "ab"), ("a*b", "a/b"), ("[!a]", "a")] {
            assert!(!matches(glob, path), "{glob} {path}");
        }
    }

    #[test]
    fn texts_that_are_no_patterns_are_refused() {
        for bad in ["", "/a", "a//b", "../a", "a/./b", "a**", "[a", "[z-a]", "!a", "a\0", &"a".repeat(1025)] {
            assert!(Glob::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let glob = format!("{}b", "**/*a*a*a*a*a/".repeat(40));
        assert!(!matches(&glob, &vec!["a".repeat(200); 20].join("/")));
    }

    proptest! {
        #[test]
        fn an_escaped_path_matches_itself(path in "[a-z*?\\[\\]!]{1,12}(/[a-z*?\\[]{1,5}){0,3}") {
            let path: CleanPath = path.parse().expect("clean");
            let glob = Glob::parse("**").expect("a glob").beneath(&path);
            prop_assert!(glob.matches(&path));
            let again = Glob::parse(glob.as_str());
            prop_assert!(again.is_err() || again.is_ok_and(|again| again.matches(&path)));
        }

        #[test]
        fn a_walk_looks_into_every_directory_above_a_match(glob in "(\\*\\*|[ab*?]{1,3})(/(\\*\\*|[ab*?]{1,3})){0,3}", path in "[ab]{1,2}(/[ab]{1,2}){0,4}") {
            let path: CleanPath = path.parse().expect("clean");
            if let Ok(glob) = Glob::parse(&glob) && glob.matches(&path) {
                prop_assert!(path.ancestors().all(|above| glob.may_match_beneath(&above)));
            }
        }
    }
}

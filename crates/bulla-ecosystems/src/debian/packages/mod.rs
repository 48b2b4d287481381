//! The list of the packages of one component and architecture: the `Packages` file.
//!
//! Debian's main list has 64,000 paragraphs in 50 MB, and a build looks at a few hundred. So reading it once notes only where
//! each paragraph, its name and what it provides stand; the other fields are read when a package is looked at.

mod package;
mod sources;

use bulla_model::{Fault, Kind};
use memchr::memchr;

pub use self::{
    package::{Package, read_package},
    sources::{SourcePackage, Sources},
};
use super::{relation::is_name, version::ParseVersionError};

/// The most bytes that a list may have when it is unpacked.
pub const MAX_PACKAGES: u64 = 512 << 20;
/// The most packages that a list may have.
const MAX_STANZAS: usize = 1_000_000;
/// The most virtual packages that a list may provide; Debian's main list has about 60,000.
const MAX_PROVIDES: usize = 4_000_000;
/// The most bytes of one paragraph.
const MAX_STANZA: usize = 4 << 20;

/// A list of packages that was read once.
#[derive(Debug, Default)]
pub struct Index {
    text: String,
    /// In the order of their names, and of the file for the same name.
    stanzas: Vec<Stanza>,
    /// What is provided by whom, in the order of the provided names.
    provides: Vec<(Span, u32)>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Span {
    start: u32,
    end: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Stanza {
    whole: Span,
    name: Span,
    essential: bool,
}

/// Says why a list of packages was refused.
#[derive(Debug, thiserror::Error)]
pub enum PackagesError {
    /// The list is larger than any.
    #[error("the list of packages is too large: more than {MAX_PACKAGES} bytes or {MAX_STANZAS} packages")]
    TooLarge,
    /// The list is not text.
    #[error("the list of packages is not UTF-8")]
    NotText(#[source] std::str::Utf8Error),
    /// A paragraph does not name a package.
    #[error("the paragraph at byte {at} of the list of packages is not a package's: {problem}")]
    Stanza {
        /// Where the paragraph starts.
        at: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A field of a package is absent, twice there, or wrong.
    #[error("the field `{field}` of the package `{package}` is {problem}")]
    Field {
        /// The name of the package.
        package: String,
        /// The name of the field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The version of a package is not one.
    #[error("reading the version of the package `{package}`")]
    Version {
        /// The name of the package.
        package: String,
        /// What is wrong with it.
        #[source]
        source: ParseVersionError,
    },
}

impl Fault for PackagesError {
    fn kind(&self) -> Kind {
        Kind::Integrity
    }
}

impl Index {
    /// Reads a list.
    ///
    /// # Errors
    /// When it is too large, not text, or a paragraph has no name of a package.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, PackagesError> {
        if bytes.len() as u64 > MAX_PACKAGES {
            return Err(PackagesError::TooLarge);
        }
        let text = String::from_utf8(bytes).map_err(|e| PackagesError::NotText(e.utf8_error()))?;
        let mut index = Self { stanzas: Vec::new(), provides: Vec::new(), text };
        let mut scanner = Scanner { text: &index.text, at: 0 };
        let mut provided = Vec::new();
        while let Some((stanza, provides)) = scanner.next()? {
            if index.stanzas.len() >= MAX_STANZAS {
                return Err(PackagesError::TooLarge);
            }
            if provides != Span::default() {
                provided.push((provides, index.stanzas.len()));
            }
            index.stanzas.push(stanza);
        }
        index.sort(provided);
        if index.provides.len() > MAX_PROVIDES { Err(PackagesError::TooLarge) } else { Ok(index) }
    }

    fn sort(&mut self, provided: Vec<(Span, usize)>) {
        let text = self.text.as_str();
        let mut order: Vec<u32> = (0..self.stanzas.len() as u32).collect();
        order.sort_by_key(|i| self.stanzas.get(*i as usize).map(|s| s.name.of(text)));
        let mut places = vec![0_u32; order.len()];
        for (place, old) in order.iter().enumerate() {
            if let Some(slot) = places.get_mut(*old as usize) {
                *slot = place as u32;
            }
        }
        for (field, old) in provided {
            let Some(&place) = places.get(old) else { continue };
            let room = (MAX_PROVIDES + 1).saturating_sub(self.provides.len());
            self.provides.extend(names_in(field, text).take(room).map(|name| (name, place)));
        }
        self.provides.sort_by_key(|(name, place)| (name.of(text), *place));
        self.stanzas = order.iter().filter_map(|i| self.stanzas.get(*i as usize).copied()).collect();
    }

    /// Counts the packages.
    pub fn len(&self) -> usize {
        self.stanzas.len()
    }

    /// Says whether no package is in the list.
    pub fn is_empty(&self) -> bool {
        self.stanzas.is_empty()
    }

    /// Iterates over the positions of the packages of a name.
    pub fn named(&self, name: &str) -> impl Iterator<Item = u32> + use<> {
        let start = self.stanzas.partition_point(|s| s.name.of(&self.text) < name);
        let rest = self.stanzas.get(start..).unwrap_or_default();
        let count = rest.partition_point(|s| s.name.of(&self.text) == name);
        start as u32..(start + count) as u32
    }

    /// Iterates over the positions of the packages that say they provide a name.
    pub fn providers(&self, name: &str) -> impl Iterator<Item = u32> + '_ {
        let start = self.provides.partition_point(|(span, _)| span.of(&self.text) < name);
        let rest = self.provides.get(start..).unwrap_or_default();
        let count = rest.partition_point(|(span, _)| span.of(&self.text) == name);
        rest.iter().take(count).map(|(_, place)| *place)
    }

    /// Iterates over the positions of the packages that every system must have.
    pub fn essential(&self) -> impl Iterator<Item = u32> + '_ {
        (0_u32..).zip(&self.stanzas).filter(|(_, s)| s.essential).map(|(i, _)| i)
    }

    /// Iterates over all names, real and virtual, in no order and with repetitions.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let real = self.stanzas.iter().map(|s| s.name.of(&self.text));
        real.chain(self.provides.iter().map(|(span, _)| span.of(&self.text)))
    }

    /// Reads all fields of the package at a position.
    ///
    /// # Errors
    /// When a field that is needed is absent, or one is twice there or not what it should be.
    pub fn package(&self, position: u32) -> Result<Package<'_>, PackagesError> {
        let stanza = self.stanzas.get(position as usize).copied().unwrap_or_default();
        read_package(stanza.whole.of(&self.text))
    }
}

impl Span {
    fn of(self, text: &str) -> &str {
        text.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// Finds the names in the value of `Provides`, without versions. What is not a name is left to [`super::relation::parse`].
fn names_in(field: Span, text: &str) -> impl Iterator<Item = Span> + '_ {
    let value = field.of(text);
    value.split(',').filter_map(move |item| {
        let trimmed = item.trim_start();
        let start = trimmed.as_ptr() as usize - value.as_ptr() as usize;
        let length = trimmed.find([' ', '\t', '\n', '(', ':']).unwrap_or(trimmed.len());
        let start = field.start + start as u32;
        is_name(trimmed.get(..length)?).then_some(Span { start, end: start + length as u32 })
    })
}

/// Goes through a list line by line, and looks only at how each line starts.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    /// Finds the next paragraph, and in it the value of `Provides` (an empty span where there is none).
    fn next(&mut self) -> Result<Option<(Stanza, Span)>, PackagesError> {
        while self.line() == Some("") {
            self.advance("");
        }
        let start = self.at;
        let fail = |problem| PackagesError::Stanza { at: start, problem };
        let (mut stanza, mut provides) = (Stanza::default(), Span::default());
        let mut open = false;
        while let Some(line) = self.line().filter(|line| !line.is_empty()) {
            let (at, first) = (self.at, line.as_bytes().first());
            self.advance(line);
            match first {
                Some(b' ' | b'\t') if open => provides.end = (at + line.len()) as u32,
                Some(b'P') => {
                    open = false;
                    if let Some(name) = line.strip_prefix("Package:") {
                        if stanza.name != Span::default() {
                            return Err(fail("it has two names"));
                        }
                        stanza.name = span_of(self.text, name.trim());
                    } else if let Some(value) = line.strip_prefix("Provides:") {
                        open = true;
                        provides = span_of(self.text, value);
                    }
                }
                Some(b'E') => {
                    open = false;
                    stanza.essential |= line.strip_prefix("Essential:").is_some_and(|v| v.trim() == "yes");
                }
                _ => open = false,
            }
        }
        if self.at == start {
            return Ok(None);
        }
        if self.at - start > MAX_STANZA {
            return Err(fail("it is longer than 4 MiB"));
        }
        stanza.whole = Span { start: start as u32, end: self.at as u32 };
        if is_name(stanza.name.of(self.text)) { Ok(Some((stanza, provides))) } else { Err(fail("it has no name")) }
    }

    fn line(&self) -> Option<&'a str> {
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        Some(rest.get(..memchr(b'\n', rest.as_bytes()).unwrap_or(rest.len())).unwrap_or_default())
    }

    fn advance(&mut self, line: &str) {
        self.at = (self.at + line.len() + 1).min(self.text.len());
    }
}

fn span_of(text: &str, part: &str) -> Span {
    let start = (part.as_ptr() as usize - text.as_ptr() as usize) as u32;
    Span { start, end: start + part.len() as u32 }
}

#[cfg(test)]
mod tests {
    use bulla_model::Digest;
    use proptest::prelude::*;

    use super::*;

    fn stanza(name: &str, extra: &str) -> String {
        let digest = Digest::of(name).hex();
        format!(
            "Package: {name}\nVersion: 1:2-3\nArchitecture: amd64\n{extra}Filename: pool/{name}.deb\nSize: 12\nSHA256: {digest}\n\n"
        )
    }

    fn index(text: String) -> Result<Index, PackagesError> {
        Index::parse(text.into_bytes())
    }

    #[test]
    fn packages_are_found_by_name_and_by_what_they_provide() {
        let text = stanza("b", "Essential: yes\nProvides: v (= 1), w,\n  x:any\n")
            + &stanza("a", "Provides: v\n")
            + &stanza("b", "Priority: optional\n");
        let index = index(text).expect("valid");
        assert_eq!(index.len(), 3);
        assert_eq!(index.named("b").collect::<Vec<_>>(), [1, 2]);
        assert_eq!(index.named("c").count(), 0);
        assert_eq!(index.providers("v").collect::<Vec<_>>(), [0, 1]);
        assert_eq!(index.providers("x").collect::<Vec<_>>(), [1]);
        assert_eq!(index.essential().collect::<Vec<_>>(), [1]);
        let package = index.package(1).expect("valid");
        assert_eq!((package.name, package.version.as_str(), package.size), ("b", "1:2-3", 12));
        assert_eq!(package.filename, "pool/b.deb");
    }

    #[test]
    fn a_package_with_a_wrong_field_is_refused() {
        let good = stanza("a", "Priority: optional\n");
        assert!(read_package(&good).is_ok());
        for (from, to) in [
            ("pool/a.deb", "../a.deb"),
            ("pool/a.deb", "/a.deb"),
            ("pool/a.deb", "pool/a.deb?x"),
            ("pool/a.deb", "pool/%2e%2e/a.deb"),
            ("Size: 12", "Size: -1"),
            ("Size: 12", "Size: 99999999999999999999"),
            ("SHA256: ", "SHA256: 0"),
            ("SHA256: ", "MD5sum: "),
            ("1:2-3", "x y"),
            ("amd64", "../x"),
            ("Priority: optional", "Version: 9"),
            ("Priority: optional", "nothing"),
        ] {
            assert!(read_package(&good.replace(from, to)).is_err(), "{from} -> {to}");
        }
        for text in ["Version: 1\n", "Package: a\nPackage: b\n", "Package: ../x\n", "Package:\n"] {
            assert!(index(text.to_owned()).is_err(), "{text}");
        }
        assert!(Index::parse(b"Package: a\xff\n".to_vec()).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(Package: [ab]\n|Provides: ?[ab,\\( ]*\n|[ \t]x,?é\n|Essential: yes\n|\n|é:)*") {
            if let Ok(index) = index(text) {
                for position in 0..index.len() as u32 {
                    let _ = index.package(position);
                }
                prop_assert_eq!(index.names().filter(|n| index.named(n).count() + index.providers(n).count() == 0).count(), 0);
            }
        }
    }
}

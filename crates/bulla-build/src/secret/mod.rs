//! Secrets of a build: their values, what hides them in all that is shown, and the search for them in what steps leave.
//!
//! A value is looked for in the forms that programs give it without meaning to hide it (`encoding`). Output is masked while
//! it comes (`mask`); when a step has ended, what it left is searched (`search`), through archives and packings
//! (`nested`), before anything of it is the store's. Whoever wants to get a value past this can: a step is given a secret
//! because it is trusted with it, and this finds mistakes.

mod encoding;
mod mask;
mod nested;
mod search;
mod step;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, collections::BTreeMap, fmt, sync::Arc};

use bulla_model::{
    SecretBytes, Spec,
    spec::{Name, StepSecret},
};

pub(crate) use self::search::{Findings, Search};
use self::{mask::MaskPatterns, search::Patterns};
pub use self::{mask::Masker, search::Hit};

/// The fewest bytes, white space around them left out, of a value that fails a build where it is found. Shorter ones are found
/// by chance: they warn.
pub const SHORTEST: usize = 8;
/// The fewest bytes of a value that is looked for at all.
pub const SHORTEST_AT_ALL: usize = 4;
/// The most bytes of a value.
pub const LONGEST: usize = 512 << 10;

/// The secrets that a build was given. Clones share them.
#[derive(Clone, Default)]
pub struct Secrets(Option<Arc<Inner>>);

struct Inner {
    values: BTreeMap<Name, SecretBytes>,
    mask: MaskPatterns,
    patterns: Patterns,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

impl Secrets {
    /// Takes the values by name.
    pub fn new(values: BTreeMap<Name, SecretBytes>) -> Self {
        if values.is_empty() {
            return Self(None);
        }
        let (mask, patterns) = (MaskPatterns::new(values.values()), Patterns::new(&values));
        Self(Some(Arc::new(Inner { values, mask, patterns })))
    }

    /// Gives the names.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.0.iter().flat_map(|inner| inner.values.keys())
    }

    /// Gives a value.
    pub fn get(&self, name: &Name) -> Option<&SecretBytes> {
        self.0.as_ref()?.values.get(name)
    }

    /// Gives the names of values that are too short to be told from chance, with the bytes that they have.
    pub fn short(&self) -> Vec<(&Name, usize)> {
        let values = self.0.iter().flat_map(|inner| &inner.values);
        let lengths = values.map(|(name, value)| (name, value.expose().trim_ascii().len()));
        lengths.filter(|(_, length)| *length < SHORTEST).collect()
    }

    /// Gives what hides the values in a stream of bytes; `None` where there are none.
    pub fn masker(&self) -> Option<Masker<'_>> {
        self.0.as_ref().map(|inner| inner.mask.masker())
    }

    /// Hides the values in a text.
    pub fn masked<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let Some(inner) = &self.0 else { return Cow::Borrowed(text) };
        let bytes = inner.mask.masked(text.as_bytes());
        match bytes == text.as_bytes() {
            true => Cow::Borrowed(text),
            false => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// Begins a search; `None` where there is nothing to search for.
    pub(crate) fn search(&self) -> Option<Search<'_>> {
        self.0.as_ref().map(|inner| Search::new(inner))
    }

    /// Looks whether a spec has a value in it, by a param or as it was written: what a step depends on is in the key of its
    /// result, in records and in the image.
    pub fn in_spec(&self, spec: &Spec) -> Vec<Hit> {
        let Some(search) = self.search() else { return Vec::new() };
        let text = serde_json::to_vec(spec).expect("a spec has no key that JSON cannot have");
        search.bytes(&text, "the spec, with the values of its params");
        search.into_findings().hits
    }

    /// Looks for the values in the bytes of a file, as it is done after a step. Those that may be found by chance come last.
    pub fn find(&self, bytes: &[u8]) -> Vec<Hit> {
        let Some(search) = self.search() else { return Vec::new() };
        search.file(&mut std::io::Cursor::new(bytes), "/file").expect("memory can be read");
        let Findings { hits, chances, .. } = search.into_findings();
        hits.into_iter().chain(chances).collect()
    }

    /// Gives the names that are asked for and not there.
    pub fn missing<'s>(&self, asked: impl IntoIterator<Item = &'s StepSecret>) -> Vec<&'s Name> {
        let mut names: Vec<&Name> = asked.into_iter().map(|secret| &secret.id).collect();
        names.retain(|name| self.get(name).is_none());
        names.sort();
        names.dedup();
        names
    }
}

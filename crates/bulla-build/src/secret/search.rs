//! The search for values in bytes: in one pass, as they are and with all white space left out, for base64 is broken into lines and
//! what is printed in pieces mostly stands on lines of its own.

use std::{
    collections::BTreeMap,
    fmt,
    io::Read,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use aho_corasick::AhoCorasick;
use bulla_model::{SecretBytes, path::printable, spec::Name};

use super::{
    Inner, SHORTEST,
    encoding::{self, How},
};

/// The most places that are told one by one.
const MOST_TOLD: usize = 50;
/// The most bytes that are unpacked of what one step left.
const MOST_UNPACKED: u64 = 4 << 30;

/// A place where a value was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hit {
    /// The secret.
    pub secret: Name,
    /// Where: a path, with what it is in; made printable, and without the value.
    pub place: String,
    /// How it was written.
    pub how: String,
}

impl fmt::Display for Hit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is in {}, {}", self.secret, self.place, self.how)
    }
}

/// What is looked for.
pub(super) struct Patterns {
    plain: Automaton,
    /// The forms without their white space, for text without white space.
    dense: Automaton,
}

struct Automaton {
    automaton: AhoCorasick,
    meanings: Vec<Meaning>,
    longest: usize,
}

#[derive(Clone)]
struct Meaning {
    secret: Name,
    how: How,
    /// Whether the value is too short to be told from chance.
    short: bool,
}

impl Automaton {
    fn new(forms: BTreeMap<Vec<u8>, Meaning>) -> Self {
        let longest = forms.keys().map(Vec::len).max().unwrap_or(0);
        let automaton = AhoCorasick::new(forms.keys());
        let automaton = automaton.expect("a bounded number of forms of bounded length fits into an automaton");
        Self { automaton, meanings: forms.into_values().collect(), longest }
    }
}

impl Patterns {
    pub(super) fn new(values: &BTreeMap<Name, SecretBytes>) -> Self {
        let (mut plain, mut dense) = (BTreeMap::new(), BTreeMap::new());
        for (name, value) in values {
            let short = value.expose().trim_ascii().len() < SHORTEST;
            for (form, how) in encoding::searched(value.expose()).into_iter() {
                let meaning = Meaning { secret: name.clone(), how, short };
                let without: Vec<u8> = form.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
                if without.len() >= SHORTEST {
                    dense.entry(without).or_insert_with(|| meaning.clone());
                }
                plain.entry(form).or_insert(meaning);
            }
        }
        Self { plain: Automaton::new(plain), dense: Automaton::new(dense) }
    }
}

/// What was found in one stream.
#[derive(Default)]
struct Found<'p> {
    sure: Option<(&'p Meaning, bool)>,
    chance: Option<(&'p Meaning, bool)>,
}

/// The last bytes of a stream, in which a value may begin that goes on.
#[derive(Default)]
struct Window(Vec<u8>);

impl Window {
    fn feed<'p>(
        &mut self,
        bytes: impl Iterator<Item = u8>,
        patterns: &'p Automaton,
        dense: bool,
        found: &mut Found<'p>,
    ) {
        self.0.extend(bytes);
        for one in patterns.automaton.find_overlapping_iter(&self.0) {
            let Some(meaning) = patterns.meanings.get(one.pattern().as_usize()) else { continue };
            let place = if meaning.short { &mut found.chance } else { &mut found.sure };
            place.get_or_insert((meaning, dense));
            if found.sure.is_some() {
                break;
            }
        }
        let kept = patterns.longest.saturating_sub(1).min(self.0.len());
        self.0.drain(..self.0.len() - kept);
    }
}

/// Looks for values in one stream.
pub(super) struct Matcher<'p> {
    patterns: &'p Patterns,
    plain: Window,
    dense: Window,
    found: Found<'p>,
}

impl<'p> Matcher<'p> {
    fn new(patterns: &'p Patterns) -> Self {
        Self { patterns, plain: Window::default(), dense: Window::default(), found: Found::default() }
    }

    /// Takes a piece of the stream.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        // More than one place in a stream says nothing more.
        if self.is_done() {
            return;
        }
        let Patterns { plain, dense } = self.patterns;
        self.plain.feed(bytes.iter().copied(), plain, false, &mut self.found);
        let black = bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace());
        self.dense.feed(black, dense, true, &mut self.found);
    }

    /// Says whether nothing more needs to be looked at.
    pub(super) fn is_done(&self) -> bool {
        self.found.sure.is_some()
    }
}

/// What a search found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Where values were found.
    pub(crate) hits: Vec<Hit>,
    /// Where values were found that are too short to be told from chance.
    pub(crate) chances: Vec<Hit>,
    /// What was not looked into, because it would unfold to too much.
    pub(crate) unsearched: Vec<String>,
}

/// One search through all that a step left.
pub(crate) struct Search<'p> {
    secrets: &'p Inner,
    left: AtomicU64,
    findings: Mutex<Findings>,
}

impl<'p> Search<'p> {
    pub(super) fn new(secrets: &'p Inner) -> Self {
        Self { secrets, left: AtomicU64::new(MOST_UNPACKED), findings: Mutex::default() }
    }

    pub(super) fn matcher(&self) -> Matcher<'p> {
        Matcher::new(&self.secrets.patterns)
    }

    /// Writes a name for people, without the values that it may have in it.
    pub(super) fn printable(&self, name: &[u8]) -> String {
        printable(&self.secrets.mask.masked(name))
    }

    /// Searches bytes that are in memory.
    pub(crate) fn bytes(&self, bytes: &[u8], place: &str) {
        let mut matcher = self.matcher();
        matcher.feed(bytes);
        self.note(&matcher, place);
    }

    /// Notes what a stream had.
    pub(super) fn note(&self, matcher: &Matcher<'_>, place: &str) {
        let hit = |(meaning, dense): (&Meaning, bool)| Hit {
            secret: meaning.secret.clone(),
            place: place.to_owned(),
            how: match dense {
                true => format!("{}, with white space in between", meaning.how),
                false => meaning.how.to_owned(),
            },
        };
        let mut findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        let Findings { hits, chances, .. } = &mut *findings;
        for (found, list) in [(matcher.found.sure, hits), (matcher.found.chance, chances)] {
            if let Some(found) = found.filter(|_| list.len() < MOST_TOLD) {
                list.push(hit(found));
            }
        }
    }

    /// Notes something that was not looked into.
    pub(super) fn pass_over(&self, place: &str) {
        let mut findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        if findings.unsearched.len() < MOST_TOLD && !findings.unsearched.iter().any(|one| one == place) {
            findings.unsearched.push(place.to_owned());
        }
    }

    /// Says whether nothing was found.
    pub(crate) fn is_clean(&self) -> bool {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner).hits.is_empty()
    }

    /// Gives what was found, in the order of the places.
    pub(crate) fn into_findings(self) -> Findings {
        let mut findings = self.findings.into_inner().unwrap_or_else(PoisonError::into_inner);
        findings.hits.sort();
        findings.chances.sort();
        findings
    }

    /// Reads something that is unpacked, as long as that is not too much.
    pub(super) fn metered<R: Read>(&self, unpacked: R, place: &str) -> Metered<'_, 'p, R> {
        Metered { search: self, unpacked, place: place.to_owned() }
    }
}

/// What comes out of a packing; it ends where too much came out of all.
pub(super) struct Metered<'s, 'p, R> {
    search: &'s Search<'p>,
    unpacked: R,
    place: String,
}

impl<R: Read> Read for Metered<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = self.search.left.load(Ordering::Relaxed);
        if left == 0 {
            self.search.pass_over(&self.place);
            return Ok(0);
        }
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = self.unpacked.read(&mut buffer[..most])?;
        let _ = self
            .search
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_sub(count as u64)));
        Ok(count)
    }
}

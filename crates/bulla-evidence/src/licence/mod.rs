//! Licences as SPDX expressions (SPDX 2.3, annex D): read from what packages say of themselves, and never guessed further than that.

mod debian;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::debian::of_copyright;

/// The most bytes of what is read of a licence's name or expression.
const MAX_TEXT: usize = 1024;
/// The most names that one package's licence is made of.
const MAX_NAMES: usize = 64;
/// What begins the name of a licence that is not in SPDX's list.
const REF: &str = "LicenseRef-";

/// What a package says that its licence is.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct Licence {
    /// The expression; empty where nothing was said that could be read.
    pub expression: String,
    /// The names in it that are not in SPDX's list, with what the package says there.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub others: BTreeMap<String, String>,
}

impl Licence {
    /// Reads what a package says: an expression, or a name as people write it.
    pub fn read(text: &str) -> Self {
        let text = text.trim();
        if text.is_empty() || text.len() > MAX_TEXT || ["UNKNOWN", "NOASSERTION", "NONE"].contains(&text) {
            return Self::default();
        }
        match written(text) {
            Some(expression) => Self { expression, others: BTreeMap::new() },
            None => Self::other(text),
        }
    }

    /// Makes a licence of a name that SPDX does not have.
    fn other(text: &str) -> Self {
        let mut name: String =
            text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).take(60).collect();
        // Two long names that begin alike are two licences, and so are names that differ in what cannot be in one.
        if name != text {
            let digest = bulla_model::Digest::of(text).hex();
            name = format!("{}-{}", name.trim_matches('-'), digest.get(..8).unwrap_or_default());
        }
        let name = format!("{REF}{}", name.trim_matches('-'));
        Self { expression: name.clone(), others: BTreeMap::from([(name, text.to_owned())]) }
    }

    /// Says whether nothing is known.
    pub fn is_unknown(&self) -> bool {
        self.expression.is_empty()
    }

    /// Joins licences that all hold, each once. What is unknown of some is left out.
    pub fn all(licences: impl IntoIterator<Item = Self>) -> Self {
        Self::join(licences, " AND ", " OR ")
    }

    /// Joins licences of which one may be chosen.
    pub fn any(licences: impl IntoIterator<Item = Self>) -> Self {
        Self::join(licences, " OR ", " AND ")
    }

    fn join(licences: impl IntoIterator<Item = Self>, with: &str, weaker: &str) -> Self {
        let mut parts: Vec<String> = Vec::new();
        let mut others = BTreeMap::new();
        for licence in licences.into_iter().filter(|licence| !licence.is_unknown()) {
            // What is joined in the same way is taken apart, so that each is there once.
            let is_plain = !licence.expression.contains('(') && !licence.expression.contains(weaker);
            let split = |text: &str| text.split(with).map(str::to_owned).collect();
            let inner: Vec<String> =
                if is_plain { split(&licence.expression) } else { vec![licence.expression.clone()] };
            if parts.len() < MAX_NAMES {
                inner.into_iter().for_each(|part| {
                    if !parts.contains(&part) {
                        parts.push(part)
                    }
                });
                others.extend(licence.others);
            }
        }
        let single = parts.len() == 1;
        let bracketed = |part: String| if !single && part.contains(weaker) { format!("({part})") } else { part };
        Self { expression: parts.into_iter().map(bracketed).collect::<Vec<_>>().join(with), others }
    }

    /// Gives the SPDX id, where it is one single licence of SPDX's list.
    pub fn id(&self) -> Option<&str> {
        spdx::license_id(&self.expression).map(|_| self.expression.as_str())
    }
}

/// Gives the expression that a text is, in the spelling of SPDX's list.
fn written(text: &str) -> Option<String> {
    // Crates had a slash for `OR`, and several managers write lists.
    let text = text.replace('/', " OR ");
    let canonical = spdx::Expression::canonicalize(&text).ok()?.unwrap_or(text);
    let expression = spdx::Expression::parse_mode(&canonical, spdx::ParseMode::STRICT).ok()?;
    (expression.requirements().count() <= MAX_NAMES)
        .then(|| canonical.trim().to_owned())
        .or(None)
        .filter(|text| !text.contains(REF) && !text.contains("DocumentRef-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        Licence::read(text).expression
    }

    #[test]
    fn expressions_and_names_are_read_and_nothing_else_is_made_up() {
        assert_eq!(read("MIT"), "MIT");
        assert_eq!(read("MIT/Apache-2.0"), "MIT OR Apache-2.0");
        assert_eq!(read("(MIT OR Apache-2.0) AND BSD-3-Clause"), "(MIT OR Apache-2.0) AND BSD-3-Clause");
        assert_eq!(
            read("GPL-2.0-or-later WITH Classpath-exception-2.0"),
            "GPL-2.0-or-later WITH Classpath-exception-2.0"
        );
        assert_eq!(read(""), "");
        assert_eq!(read("UNKNOWN"), "");
        let other = Licence::read("See LICENSE in here");
        assert!(other.expression.starts_with("LicenseRef-See-LICENSE-in-here-"), "{other:?}");
        assert_eq!(other.others.values().next().map(String::as_str), Some("See LICENSE in here"));
        assert_ne!(read("a b"), read("a_b"), "two names are two licences");
        assert_eq!(read(&"x".repeat(5000)), "");
    }

    #[test]
    fn joined_licences_keep_what_they_mean() {
        let mit = || Licence::read("MIT");
        let choice = Licence::any([Licence::read("GPL-2.0-only"), mit()]);
        assert_eq!(choice.expression, "GPL-2.0-only OR MIT");
        assert_eq!(
            Licence::all([mit(), choice.clone(), mit(), Licence::default()]).expression,
            "MIT AND (GPL-2.0-only OR MIT)"
        );
        assert_eq!(Licence::all([choice]).expression, "GPL-2.0-only OR MIT");
        let two = || Licence::all([mit(), Licence::read("ISC")]);
        assert_eq!(Licence::all([two(), Licence::read("ISC"), two()]).expression, "MIT AND ISC");
        assert_eq!(Licence::all([]).expression, "");
        assert_eq!((mit().id(), Licence::read("MIT OR ISC").id()), (Some("MIT"), None));
    }
}

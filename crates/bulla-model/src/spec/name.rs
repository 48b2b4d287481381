//! The names that people give to projects, sources, stages, outputs and layers.

use std::{borrow::Borrow, fmt, str::FromStr};

use serde::Serialize;

/// The most characters of a name.
const LONGEST: usize = 63;

/// A name of one to 63 lower-case letters, digits, `-` and `_`, which starts with a letter or digit.
///
/// It is safe as a file name, as an environment's value and as a component of an image reference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Name(Box<str>);

/// A text that is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a name: expected 1 to 63 lower-case letters, digits, `-` and `_`, with a letter or digit first"
)]
pub struct NameError {
    text: String,
}

impl Name {
    /// Takes a text that is a name as it stands.
    ///
    /// # Errors
    /// When it is empty or too long, has another character, or starts with `-` or `_`.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if text.len() <= LONGEST && text.chars().all(inner) && !text.starts_with(['-', '_']) && !text.is_empty() {
            Ok(Self(text.into()))
        } else {
            Err(NameError { text: text.chars().take(100).collect() })
        }
    }

    /// Gives the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Gives the name nearest to a text: lower case, other characters become `-`. For suggestions.
    pub fn near(text: &str) -> Option<Self> {
        let fit = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c.to_ascii_lowercase() } else { '-' };
        let text: String = text.chars().map(fit).collect();
        let text: String = text.trim_matches(['-', '_']).chars().take(LONGEST).collect();
        Self::parse(&text).ok()
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_safe_everywhere_is_not_a_name() {
        for bad in ["", "A", "a b", "-a", "_a", "a.b", "a/b", "é", &"a".repeat(64)] {
            assert!(Name::parse(bad).is_err(), "{bad}");
        }
        for good in ["a", "0", "my-app_2", &"a".repeat(63)] {
            assert!(Name::parse(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn a_near_name_is_found_for_what_people_type() {
        assert_eq!(Name::near("My App").as_ref().map(Name::as_str), Some("my-app"));
        assert_eq!(Name::near("..."), None);
    }
}

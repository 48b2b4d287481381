//! Who may sign by a certificate.

use std::fmt;

use regex::{Regex, RegexBuilder};

/// The most bytes that a pattern takes when it is compiled.
const MAX_PATTERN: usize = 1 << 20;

/// Somebody who may sign by a certificate: who they are, by the word of whom. Either alone says nothing, since every issuer names its people
/// as it likes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedIdentity {
    /// Who: an address of mail, or the URI of a workflow.
    pub identity: Matcher,
    /// Who says so: the URL of the provider of identities.
    pub issuer: Matcher,
}

/// What a text has to be.
#[derive(Debug, Clone)]
pub enum Matcher {
    /// This.
    Exact(String),
    /// All of it as the pattern says.
    Pattern(Regex),
}

/// Says why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no pattern: {reason}")]
pub struct PatternError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

impl TrustedIdentity {
    /// Says whether it is this one.
    pub fn is(&self, identity: &str, issuer: &str) -> bool {
        self.identity.is(identity) && self.issuer.is(issuer)
    }
}

impl Matcher {
    /// Makes one of a regular expression, which has to say all of a text: one that finds its words anywhere would take
    /// `https://evil.example/?https://good.example/`.
    ///
    /// # Errors
    /// When it is none, or takes too much memory.
    pub fn pattern(text: &str) -> Result<Self, PatternError> {
        let whole = format!("^(?:{text})$");
        let wrong = |reason: String| PatternError { text: text.chars().take(200).collect(), reason };
        // By itself too: `a)|(b` would get out of the frame.
        Regex::new(text).map_err(|error| wrong(last_line(&error)))?;
        RegexBuilder::new(&whole)
            .size_limit(MAX_PATTERN)
            .build()
            .map(Self::Pattern)
            .map_err(|error| wrong(last_line(&error)))
    }

    /// Says whether a text is so.
    pub fn is(&self, text: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == text,
            Self::Pattern(pattern) => pattern.is_match(text),
        }
    }
}

fn last_line(error: &regex::Error) -> String {
    error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(one), Self::Exact(two)) => one == two,
            (Self::Pattern(one), Self::Pattern(two)) => one.as_str() == two.as_str(),
            _ => false,
        }
    }
}

impl Eq for Matcher {}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(exact) => f.write_str(exact),
            Self::Pattern(pattern) => f.write_str(pattern.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_says_all_of_a_text() {
        let pattern = |text: &str| Matcher::pattern(text).expect("a pattern");
        assert!(pattern("https://good.example/.*").is("https://good.example/x"));
        assert!(!pattern("https://good.example/.*").is("https://evil.example/?https://good.example/x"));
        assert!(!pattern("a|b").is("ax") && pattern("a|b").is("b"));
        assert!(!pattern("a").is("a\n") && !pattern("(?m)a").is("a\nb"));
        for wrong in ["(", "a)|(b", "[", "x{1000}{1000}{1000}"] {
            assert!(Matcher::pattern(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn identity_and_issuer_have_to_be_right_together() {
        let (identity, issuer) = (Matcher::Exact("a@b.example".into()), Matcher::Exact("https://i.example".into()));
        let trusted = TrustedIdentity { identity, issuer };
        assert!(trusted.is("a@b.example", "https://i.example"));
        assert!(!trusted.is("a@b.example", "https://j.example") && !trusted.is("c@b.example", "https://i.example"));
    }
}

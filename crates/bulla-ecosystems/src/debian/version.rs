//! The order of Debian's version numbers (Debian Policy 5.6.12, "Version").
//!
//! Written here rather than taken from a library: those at hand say that `1.a` is older than `1.a0`, which dpkg holds for
//! equal, and they allocate for each comparison of the many thousand that one solution needs.

use std::{cmp::Ordering, fmt};

/// The most bytes that a version may have. The longest in Debian has about 60.
const MAX: usize = 256;

/// A version number of a Debian package: `[epoch:]upstream[-revision]`.
///
/// Compares as dpkg does, so that two versions can be equal and yet be written differently (`1.0` and `1.00`).
#[derive(Clone, Copy)]
pub struct Version<'a>(&'a str);

/// Says why a text is not a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a version of a Debian package: {problem}")]
pub struct ParseVersionError {
    text: String,
    problem: &'static str,
}

impl<'a> Version<'a> {
    /// Takes a text that is a version.
    ///
    /// # Errors
    /// When it is empty or too long, has a character that no version has, or an epoch that is not a number.
    pub fn parse(text: &'a str) -> Result<Self, ParseVersionError> {
        match problem_of(text) {
            None => Ok(Self(text)),
            Some(problem) => Err(ParseVersionError { text: text.chars().take(100).collect(), problem }),
        }
    }

    /// Gives the version as it was written.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// Splits into epoch, upstream version and revision; what is absent is 0 or empty.
    fn parts(self) -> (u32, &'a str, &'a str) {
        let (epoch, rest) = match self.0.split_once(':') {
            Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
            None => (0, self.0),
        };
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        (epoch, upstream, revision)
    }
}

fn problem_of(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("it is empty");
    }
    if text.len() > MAX {
        return Some("it is too long");
    }
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b".+-~:_".contains(&b)) {
        return Some("it has a character other than letters, digits and `.+-~:_`");
    }
    if let Some((epoch, rest)) = text.split_once(':') {
        if epoch.is_empty() || !epoch.bytes().all(|b| b.is_ascii_digit()) || epoch.parse::<i32>().is_err() {
            return Some("what stands before the colon is not a number");
        }
        if rest.is_empty() {
            return Some("nothing stands after the colon");
        }
    }
    None
}

/// Orders a character that is not a digit: `~` before the end, the end before letters, letters before the rest.
fn rank(byte: Option<&u8>) -> i32 {
    match byte {
        None => 0,
        Some(b'~') => -1,
        Some(b) if b.is_ascii_digit() => 0,
        Some(b) if b.is_ascii_alphabetic() => i32::from(*b),
        Some(b) => i32::from(*b) + 256,
    }
}

/// Compares one part: runs of other characters by [`rank`], runs of digits as numbers of any length.
fn compare_part(mut a: &[u8], mut b: &[u8]) -> Ordering {
    let is_text = |byte: Option<&u8>| byte.is_some_and(|b| !b.is_ascii_digit());
    while !a.is_empty() || !b.is_empty() {
        while is_text(a.first()) || is_text(b.first()) {
            let order = rank(a.first()).cmp(&rank(b.first()));
            if order != Ordering::Equal {
                return order;
            }
            a = a.get(1..).unwrap_or_default();
            b = b.get(1..).unwrap_or_default();
        }
        let (left, right) = (take_number(&mut a), take_number(&mut b));
        let order = left.len().cmp(&right.len()).then_with(|| left.cmp(right));
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

/// Takes the digits in front, and gives them without leading zeros.
fn take_number<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let end = text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    *text = rest;
    let zeros = digits.iter().take_while(|b| **b == b'0').count();
    digits.get(zeros..).unwrap_or_default()
}

impl Ord for Version<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (self.parts(), other.parts());
        a.0.cmp(&b.0)
            .then_with(|| compare_part(a.1.as_bytes(), b.1.as_bytes()))
            .then_with(|| compare_part(a.2.as_bytes(), b.2.as_bytes()))
    }
}

impl PartialOrd for Version<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version<'_> {}

impl fmt::Display for Version<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for Version<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn versions_order_as_the_policy_says() {
        let rising = ["0~~", "0~~a", "0~", "0", "0a", "0+", "1.0~rc1-1", "1.0-1", "1.0-1.1", "1.0-10", "1:0.1", "2:0"];
        for pair in rising.windows(2) {
            let [a, b] = pair else { unreachable!("windows of two") };
            assert!(Version::parse(a).expect("version") < Version::parse(b).expect("version"), "{a} < {b}");
        }
        for (a, b) in [("1.0", "1.00"), ("1.a", "1.a0"), ("0:1", "1"), ("1", "1-0"), ("1-", "1")] {
            assert_eq!(Version::parse(a).expect("version"), Version::parse(b).expect("version"));
        }
    }

    #[test]
    fn what_is_not_a_version_is_refused() {
        for text in ["", "a:1", ":1", "1:", "1 2", "1/2", "é", "99999999999:1", &"1".repeat(300)] {
            assert!(Version::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_order_is_total(a in "[0-9a-z.+~:-]{1,8}", b in "[0-9a-z.+~:-]{1,8}", c in "[0-9a-z.+~:-]{1,8}") {
            if let (Ok(a), Ok(b), Ok(c)) = (Version::parse(&a), Version::parse(&b), Version::parse(&c)) {
                prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
                if a <= b && b <= c {
                    prop_assert!(a <= c);
                }
            }
        }
    }
}

//! What packages say of each other, and what a person asks for.
//!
//! [`parse`] reads the syntax of `Depends` and its like (Debian Policy 7.1); [`Request`] is one line of a spec's `packages`.

use std::{cmp::Ordering, fmt, str::FromStr};

use super::version::Version;

/// The most bytes of one field; the longest in Debian has about 40 kB.
const MAX_FIELD: usize = 1 << 20;

/// How a version must compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Comparison {
    /// `<<`: earlier.
    Earlier,
    /// `<=`: earlier or equal.
    AtMost,
    /// `=`: equal.
    Equal,
    /// `>=`: later or equal.
    AtLeast,
    /// `>>`: later.
    Later,
}

impl Comparison {
    const ALL: [(&'static str, Self); 7] = [
        ("<<", Self::Earlier),
        ("<=", Self::AtMost),
        (">=", Self::AtLeast),
        (">>", Self::Later),
        ("=", Self::Equal),
        // The two that Policy calls obsolete mean what they meant in 1995.
        ("<", Self::AtMost),
        (">", Self::AtLeast),
    ];

    /// Says whether a version that orders so against the bound is in it.
    pub fn accepts(self, order: Ordering) -> bool {
        match self {
            Self::Earlier => order.is_lt(),
            Self::AtMost => order.is_le(),
            Self::Equal => order.is_eq(),
            Self::AtLeast => order.is_ge(),
            Self::Later => order.is_gt(),
        }
    }

    /// Writes the operator.
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Earlier => "<<",
            Self::AtMost => "<=",
            Self::Equal => "=",
            Self::AtLeast => ">=",
            Self::Later => ">>",
        }
    }
}

/// One package that is named in a relationship: `name[:qualifier] [(op version)]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relation<'a> {
    /// The name of a real or virtual package.
    pub name: &'a str,
    /// The architecture after the colon: `any`, `native` or a name.
    pub qualifier: Option<&'a str>,
    /// The bound on the version.
    pub bound: Option<(Comparison, Version<'a>)>,
}

impl Relation<'_> {
    /// Says whether a version is in the bound.
    pub fn accepts(&self, version: Version<'_>) -> bool {
        self.bound.is_none_or(|(comparison, bound)| comparison.accepts(version.cmp(&bound)))
    }
}

impl fmt::Display for Relation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        if let Some(qualifier) = self.qualifier {
            write!(f, ":{qualifier}")?;
        }
        match self.bound {
            Some((comparison, version)) => write!(f, " ({} {version})", comparison.symbol()),
            None => Ok(()),
        }
    }
}

/// Says why a relationship field was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a relation between packages: {problem}")]
pub struct ParseRelationError {
    text: String,
    problem: &'static str,
}

fn refuse(text: &str, problem: &'static str) -> ParseRelationError {
    ParseRelationError { text: text.chars().take(100).collect(), problem }
}

/// Reads a relationship field: all the groups must hold, and of each group one alternative. What is restricted to other
/// architectures is left out; build profiles are ignored, for they are not about binary packages.
///
/// # Errors
/// When a name, operator, version or bracket is not as Debian Policy 7.1 has it.
pub fn parse<'a>(field: &'a str, architecture: &str) -> Result<Vec<Vec<Relation<'a>>>, ParseRelationError> {
    if field.len() > MAX_FIELD {
        return Err(refuse(field, "the field is longer than 1 MiB"));
    }
    let mut groups = Vec::new();
    for group in field.split(',').map(str::trim).filter(|group| !group.is_empty()) {
        let mut alternatives = Vec::new();
        let mut restricted = false;
        for text in group.split('|') {
            match parse_one(text.trim(), architecture)? {
                Some(relation) => alternatives.push(relation),
                None => restricted = true,
            }
        }
        if !(alternatives.is_empty() && restricted) {
            groups.push(alternatives);
        }
    }
    Ok(groups)
}

/// Reads one relation; `None` when it is for other architectures.
fn parse_one<'a>(text: &'a str, architecture: &str) -> Result<Option<Relation<'a>>, ParseRelationError> {
    let end = text.find([' ', '\t', '\n', '(', '[', '<']).unwrap_or(text.len());
    let (full, mut rest) = text.split_at(end);
    let (name, qualifier) = match full.split_once(':') {
        Some((name, qualifier)) => (name, Some(qualifier)),
        None => (full, None),
    };
    if !is_name(name) || qualifier.is_some_and(|q| !is_name(q)) {
        return Err(refuse(text, "the name is not a package's"));
    }
    let (mut bound, mut wanted) = (None, true);
    loop {
        rest = rest.trim_start();
        let Some(open) = rest.chars().next() else { break };
        let close = match open {
            '(' if bound.is_none() => ')',
            '[' => ']',
            '<' => '>',
            _ => return Err(refuse(text, "something stands after the name that is not in brackets")),
        };
        let (inside, after) = rest[1..].split_once(close).ok_or_else(|| refuse(text, "a bracket is not closed"))?;
        rest = after;
        match open {
            '(' => bound = Some(parse_bound(inside.trim()).ok_or_else(|| refuse(text, "the version is not one"))?),
            '[' => wanted = is_among(inside, architecture),
            _ => {}
        }
    }
    Ok(wanted.then_some(Relation { name, qualifier, bound }))
}

fn parse_bound(text: &str) -> Option<(Comparison, Version<'_>)> {
    let (symbol, comparison) = Comparison::ALL.into_iter().find(|(symbol, _)| text.starts_with(symbol))?;
    Some((comparison, Version::parse(text.get(symbol.len()..)?.trim()).ok()?))
}

/// Says whether an architecture is in a list such as `amd64 arm64` or `!i386`.
fn is_among(list: &str, architecture: &str) -> bool {
    let mut negated = false;
    for item in list.split_ascii_whitespace() {
        let (item, not) = item.strip_prefix('!').map_or((item, false), |rest| (rest, true));
        negated |= not;
        if item == architecture || item == "any" || item == "linux-any" {
            return !not;
        }
    }
    negated
}

/// Says whether a text can be the name of a package: letters, digits and `+-._`, starting with a letter or digit.
pub(crate) fn is_name(text: &str) -> bool {
    text.len() <= 200
        && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-._".contains(&b))
}

/// One package that a person asks for: `gcc`, `gcc=4:12.*`, `gcc>=4:12`, `gcc/bookworm-backports`, or both ends together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    name: String,
    architecture: Option<String>,
    wanted: Wanted,
    suite: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Wanted {
    Any,
    /// Versions that start so; what the `*` stood for is open.
    Prefix(String),
    Bound(Comparison, String),
}

/// Says why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a request for a package: {problem}; write it as `gcc`, `gcc=4:12.*`, `gcc>=4:12` or `gcc/SUITE`"
)]
pub struct ParseRequestError {
    text: String,
    problem: &'static str,
}

impl Request {
    /// Gives the name of the package, real or virtual.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives the architecture that the package must have, if one was named.
    pub fn architecture(&self) -> Option<&str> {
        self.architecture.as_deref()
    }

    /// Gives the suite that the package must come from, if one was named.
    pub fn suite(&self) -> Option<&str> {
        self.suite.as_deref()
    }

    /// Says whether a version is one of those asked for.
    pub fn accepts(&self, version: Version<'_>) -> bool {
        match &self.wanted {
            Wanted::Any => true,
            Wanted::Prefix(prefix) => version.as_str().starts_with(prefix.as_str()),
            Wanted::Bound(comparison, bound) => {
                Version::parse(bound).is_ok_and(|bound| comparison.accepts(version.cmp(&bound)))
            }
        }
    }

    /// Says whether any version will do.
    pub fn is_open(&self) -> bool {
        self.wanted == Wanted::Any
    }
}

impl FromStr for Request {
    type Err = ParseRequestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = |problem| ParseRequestError { text: text.chars().take(100).collect(), problem };
        let (front, suite) = match text.split_once('/') {
            Some((front, suite)) if is_suite(suite) => (front, Some(suite.to_owned())),
            Some(_) => return Err(fail("what stands after the slash is not a suite")),
            None => (text, None),
        };
        let end = front.find(['=', '<', '>']).unwrap_or(front.len());
        let (name, bound) = front.split_at(end);
        let (name, architecture) = match name.split_once(':') {
            Some((name, architecture)) => (name, Some(architecture.to_owned())),
            None => (name, None),
        };
        if architecture.as_deref().is_some_and(|architecture| !is_name(architecture)) {
            return Err(fail("what stands after the colon is not an architecture"));
        }
        if !is_name(name) {
            return Err(fail("the name is not a package's"));
        }
        if bound.is_empty() {
            return Ok(Self { name: name.to_owned(), architecture, wanted: Wanted::Any, suite });
        }
        let wanted = match bound.strip_prefix('=').and_then(|pattern| pattern.strip_suffix('*')) {
            Some(prefix) if prefix.is_empty() || Version::parse(prefix).is_ok() => Wanted::Prefix(prefix.to_owned()),
            Some(prefix) if prefix.strip_suffix(':').is_some_and(|e| e.parse::<u16>().is_ok()) => {
                Wanted::Prefix(prefix.to_owned())
            }
            _ => {
                let (comparison, version) = parse_bound(bound).ok_or_else(|| fail("the version is not one"))?;
                Wanted::Bound(comparison, version.as_str().to_owned())
            }
        };
        Ok(Self { name: name.to_owned(), architecture, wanted, suite })
    }
}

/// Says whether a text can be the name of a suite, such as `trixie-updates` or `stable/updates`.
pub(crate) fn is_suite(text: &str) -> bool {
    text.len() <= 200 && text.split('/').all(is_name)
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(architecture) = &self.architecture {
            write!(f, ":{architecture}")?;
        }
        match &self.wanted {
            Wanted::Any => {}
            Wanted::Prefix(prefix) => write!(f, "={prefix}*")?,
            Wanted::Bound(comparison, bound) => write!(f, "{}{bound}", comparison.symbol())?,
        }
        self.suite.as_ref().map_or(Ok(()), |suite| write!(f, "/{suite}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn alternatives_versions_and_restrictions_are_read() {
        let field = "libc6 (>= 2.14), python3:any | python2 , a [!amd64], b [linux-any] <!nocheck>,\n c(<<1~)";
        let groups = parse(field, "amd64").expect("valid");
        let text: Vec<String> =
            groups.iter().map(|g| g.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")).collect();
        assert_eq!(text, ["libc6 (>= 2.14)", "python3:any | python2", "b", "c (<< 1~)"]);
        assert_eq!(parse("", "amd64"), Ok(vec![]));
    }

    #[test]
    fn what_is_not_a_relation_is_refused() {
        for field in ["a b", "a (1)", "a (>= 1", "|", "a (>= ä)", "-a", "a (= 1) (= 2)", "a:", "a/b"] {
            assert!(parse(field, "amd64").is_err(), "{field}");
        }
    }

    #[test]
    fn a_request_accepts_what_it_names() {
        let accepts = |request: &str, version| {
            let request: Request = request.parse().expect("a request");
            request.accepts(Version::parse(version).expect("a version"))
        };
        assert!(accepts("gcc", "4:12.2.0-3"));
        assert!(accepts("gcc=4:12.*", "4:12.2.0-3") && !accepts("gcc=4:12.*", "4:121.2"));
        assert!(accepts("gcc=4:12.2.0-3", "4:12.2.0-3") && !accepts("gcc=4:12.2.0-3", "4:12.2.0-3.1"));
        assert!(accepts("gcc>=4:12", "4:12.2.0-3") && !accepts("gcc<<4:12", "4:12.2.0-3"));
        let both: Request = "g++=4:*/bookworm-backports".parse().expect("a request");
        assert_eq!((both.name(), both.suite()), ("g++", Some("bookworm-backports")));
        assert_eq!(both.to_string(), "g++=4:*/bookworm-backports");
    }

    #[test]
    fn what_is_not_a_request_is_refused() {
        for text in ["", "=1", "gcc=", "gcc==1", "gcc/", "gcc/../x", "gcc 1", "gcc=1 2", "gcc=a:*", "gcc>=1.*", "--x"] {
            assert!(text.parse::<Request>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[ -~\n]{0,60}") {
            let _ = parse(&text, "amd64");
            if let Ok(request) = text.parse::<Request>() {
                prop_assert_eq!(request.to_string().parse::<Request>(), Ok(request));
            }
        }
    }
}

//! Environment markers (dependency specifiers specification, "Environment Markers"): whether something may be needed on Linux, x86-64.
//!
//! Of a stage not all is known, so a marker is true, false or neither. This is not left to `pep508_rs`: it turns a marker into a
//! decision diagram, which a lock file from a stranger can make grow without end, and which is never given back.

use std::str::FromStr;

use pep440_rs::{Version, VersionSpecifiers};

use super::tags::Pythons;

/// The longest marker.
const MAX_MARKER: usize = 64 << 10;
/// The most parentheses in one another.
const MAX_DEPTH: u32 = 64;

/// What is known of a marker, for one version of Python.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Truth {
    No,
    Maybe,
    Yes,
}

impl From<bool> for Truth {
    fn from(known: bool) -> Self {
        if known { Self::Yes } else { Self::No }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    And(Vec<Node>),
    Or(Vec<Node>),
    Known(Truth),
    /// A comparison of Python's version: of the minor version alone, or of the full one.
    Python {
        full: bool,
        specifiers: Box<VersionSpecifiers>,
        negated: bool,
    },
}

/// A marker.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Marker(Node);

impl Marker {
    /// Reads a marker.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_MARKER {
            return Err(format!("a marker of {} bytes is too long", text.len()));
        }
        let mut reader = Reader { rest: text, depth: 0 };
        let node = reader.or()?;
        match reader.rest.trim_start() {
            "" => Ok(Self(node)),
            rest => Err(format!("`{}` is not expected in the marker `{}`", shown(rest), shown(text))),
        }
    }

    /// Says whether it may hold for one of these Pythons.
    pub(super) fn may_hold(&self, pythons: Pythons) -> bool {
        match &self.0 {
            Node::Known(truth) => *truth != Truth::No,
            node => pythons.minors().any(|minor| truth(node, minor) != Truth::No),
        }
    }
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

fn truth(node: &Node, minor: u32) -> Truth {
    match node {
        Node::And(nodes) => nodes.iter().map(|node| truth(node, minor)).min().unwrap_or(Truth::Yes),
        Node::Or(nodes) => nodes.iter().map(|node| truth(node, minor)).max().unwrap_or(Truth::No),
        Node::Known(truth) => *truth,
        Node::Python { full, specifiers, negated } => {
            let minor = u64::from(minor);
            let holds = |version: &[u64]| Truth::from(specifiers.contains(&Version::new(version)) != *negated);
            match full {
                false => holds(&[3, minor]),
                // What holds at both ends holds between them, but for single patch releases that are named.
                true => match (holds(&[3, minor, 0]), holds(&[3, minor, 999])) {
                    (first, last) if first == last && !names_a_patch(specifiers, minor) => first,
                    _ => Truth::Maybe,
                },
            }
        }
    }
}

fn names_a_patch(specifiers: &VersionSpecifiers, minor: u64) -> bool {
    specifiers.iter().any(|specifier| {
        let release = specifier.version().release();
        release.len() > 2 && release[..2] == [3, minor]
    })
}

/// A side of a comparison.
enum Side<'a> {
    Text(&'a str),
    Variable(&'a str),
}

struct Reader<'a> {
    rest: &'a str,
    depth: u32,
}

impl<'a> Reader<'a> {
    fn or(&mut self) -> Result<Node, String> {
        let mut nodes = vec![self.and()?];
        while self.word("or") {
            nodes.push(self.and()?);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::Or(nodes) })
    }

    fn and(&mut self) -> Result<Node, String> {
        let mut nodes = vec![self.one()?];
        while self.word("and") {
            nodes.push(self.one()?);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::And(nodes) })
    }

    fn one(&mut self) -> Result<Node, String> {
        if self.token("(") {
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return Err(format!("a marker has more than {MAX_DEPTH} parentheses in one another"));
            }
            let node = self.or()?;
            if !self.token(")") {
                return Err(format!("a marker lacks a `)` before `{}`", shown(self.rest)));
            }
            self.depth -= 1;
            return Ok(node);
        }
        let left = self.side()?;
        let operator = self.operator()?;
        let right = self.side()?;
        Ok(compared(&left, operator, &right))
    }

    fn token(&mut self, token: &str) -> bool {
        self.rest = self.rest.trim_start();
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Takes a word, when it stands next and ends there.
    fn word(&mut self, word: &str) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(word) {
            Some(rest) if !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn operator(&mut self) -> Result<&'static str, String> {
        const SIGNS: [&str; 8] = ["===", "==", "~=", "!=", "<=", ">=", "<", ">"];
        if let Some(sign) = SIGNS.into_iter().find(|sign| self.token(sign)) {
            return Ok(sign);
        }
        if self.word("in") {
            return Ok("in");
        }
        if self.word("not") && self.word("in") {
            return Ok("not in");
        }
        Err(format!("a marker has no comparison at `{}`", shown(self.rest)))
    }

    fn side(&mut self) -> Result<Side<'a>, String> {
        self.rest = self.rest.trim_start();
        for quote in ['\'', '"'] {
            if let Some(rest) = self.rest.strip_prefix(quote) {
                let end = rest.find(quote).ok_or_else(|| format!("a marker has an open quote at `{}`", shown(rest)))?;
                self.rest = &rest[end + 1..];
                return Ok(Side::Text(&rest[..end]));
            }
        }
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.');
        let (name, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        if name.is_empty() {
            return Err(format!("a marker has neither a variable nor text at `{}`", shown(rest)));
        }
        self.rest = rest;
        Ok(Side::Variable(name))
    }
}

fn compared(left: &Side<'_>, operator: &'static str, right: &Side<'_>) -> Node {
    let turned = match operator {
        "<" => ">",
        ">" => "<",
        "<=" => ">=",
        ">=" => "<=",
        other => other,
    };
    match (left, right) {
        (Side::Variable(name), Side::Text(text)) => with(name, operator, text, false),
        (Side::Text(text), Side::Variable(name)) => with(name, turned, text, true),
        _ => Node::Known(Truth::Maybe),
    }
}

/// Compares a variable with text; `text_first` for what is no symmetric comparison: `"x" in variable`.
fn with(name: &str, operator: &str, text: &str, text_first: bool) -> Node {
    let known = match name {
        "os_name" | "os.name" => "posix",
        "sys_platform" | "sys.platform" => "linux",
        "platform_system" => "Linux",
        "platform_machine" | "platform.machine" => "x86_64",
        "implementation_name" => "cpython",
        "platform_python_implementation" | "platform.python_implementation" | "python_implementation" => "CPython",
        "python_version" | "python_full_version" | "implementation_version" => {
            return python(name != "python_version", operator, text, text_first);
        }
        _ => return Node::Known(Truth::Maybe),
    };
    let truth = match operator {
        "==" | "===" => Truth::from(known == text),
        "!=" => Truth::from(known != text),
        "in" if text_first => Truth::from(known.contains(text)),
        "in" => Truth::from(text.contains(known)),
        "not in" if text_first => Truth::from(!known.contains(text)),
        "not in" => Truth::from(!text.contains(known)),
        _ => Truth::Maybe,
    };
    Node::Known(truth)
}

fn python(full: bool, operator: &str, text: &str, text_first: bool) -> Node {
    let maybe = Node::Known(Truth::Maybe);
    if let "in" | "not in" = operator {
        // `python_version in "3.11, 3.12"`: text that has the version in it.
        let words = || text.split(|c: char| c == ',' || c == '|' || c.is_whitespace()).filter(|word| !word.is_empty());
        if text_first || full || words().count() > 64 {
            return maybe;
        }
        let each = words().map(|word| VersionSpecifiers::from_str(&format!("=={word}")));
        let Ok(each) = each.collect::<Result<Vec<_>, _>>() else { return maybe };
        let negated = operator == "not in";
        let nodes = each.into_iter().map(|one| Node::Python { full, specifiers: Box::new(one), negated });
        return if negated { Node::And(nodes.collect()) } else { Node::Or(nodes.collect()) };
    }
    match VersionSpecifiers::from_str(&format!("{operator}{text}")) {
        Ok(specifiers) if !text.contains(',') => {
            Node::Python { full, specifiers: Box::new(specifiers), negated: false }
        }
        _ => maybe,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_hold_on_linux_or_not() {
        let pythons = Pythons::requiring(">=3.11").expect("specifiers");
        for marker in [
            "sys_platform == 'linux'",
            "'linux' in sys_platform",
            "sys_platform != \"win32\" and python_version >= '3.8'",
            "platform_machine in 'x86_64 aarch64'",
            "python_version < '3.12'",
            "python_full_version < '3.11.3'",
            "'3.12' <= python_version",
            "python_version in '3.10, 3.11'",
            "extra == 'dev'",
            "(os_name == 'nt' or (os_name == 'posix'))",
            "platform_release >= '6'",
            "python_version == '3.13.*'",
        ] {
            assert!(Marker::parse(marker).expect(marker).may_hold(pythons), "{marker}");
        }
        for marker in [
            "sys_platform == 'win32'",
            "sys_platform == 'win32' and extra == 'x'",
            "python_version < '3.11'",
            "python_full_version < '3.11'",
            "python_version in '3.8 3.9'",
            "platform_python_implementation == 'PyPy'",
            "platform_machine == 'aarch64'",
            "python_version >= '3.12' and python_version < '3.12'",
            "python_version < '3'",
            "'3.9' >= python_version",
        ] {
            assert!(!Marker::parse(marker).expect(marker).may_hold(pythons), "{marker}");
        }
    }

    #[test]
    fn what_is_no_marker_is_refused_and_none_takes_long() {
        for marker in ["", "a", "a ==", "(a == 'b'", "a == 'b", "a == 'b' c", "a = 'b'", &"(".repeat(100)] {
            assert!(Marker::parse(marker).is_err(), "{marker}");
        }
        // What a decision diagram of all variables would need 2^400 nodes for.
        let pairs: Vec<String> = (0..400).map(|at| format!("extra == 'a{at}' and extra == 'b{at}'")).collect();
        let marker = Marker::parse(&pairs.join(" or ")).expect("a marker");
        assert!(marker.may_hold(Pythons::default()));
    }
}

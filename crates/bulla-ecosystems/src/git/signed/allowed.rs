//! A file of allowed signers (ssh-keygen(1), "ALLOWED SIGNERS"): a line a key, with whom it is for and what it may sign.

use bulla_model::{Epoch, Fault, Kind, path::printable};
use ssh_key::{PublicKey, public::KeyData};

/// The most lines of a file.
const MAX_LINES: usize = 10_000;

/// The keys that may sign.
#[derive(Debug, Clone, Default)]
pub struct AllowedSigners {
    pub(super) lines: Vec<Allowed>,
}

/// One key.
#[derive(Debug, Clone)]
pub(super) struct Allowed {
    pub(super) key: KeyData,
    /// What it may sign; without a list, everything.
    namespaces: Option<Vec<String>>,
    pub(super) after: Option<Epoch>,
    pub(super) before: Option<Epoch>,
}

/// A file of allowed signers that was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the allowed signers {problem}")]
pub struct AllowedError {
    /// The line, from 1 on.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

impl Fault for AllowedError {
    fn kind(&self) -> Kind {
        Kind::Spec
    }

    fn hints(&self) -> Vec<String> {
        vec!["a line is `PRINCIPAL [namespaces=\"git\",valid-after=\"20260101Z\"] ssh-ed25519 KEY`, as ssh-keygen(1) says".into()]
    }
}

impl AllowedSigners {
    /// Reads a file. What the machine's time zone would decide is taken as UTC, so that the same file means the same anywhere.
    ///
    /// # Errors
    /// When a line is not one of a key, or needs what is not supported: authorities of certificates.
    pub fn parse(bytes: &[u8]) -> Result<Self, AllowedError> {
        let text = std::str::from_utf8(bytes).map_err(|_| AllowedError { line: 1, problem: "is no text".into() })?;
        let mut lines = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let fail = |problem| AllowedError { line: at + 1, problem };
            if lines.len() >= MAX_LINES {
                return Err(fail(format!("is one more than {MAX_LINES} keys")));
            }
            lines.push(Allowed::parse(line).map_err(fail)?);
        }
        match lines.is_empty() {
            true => Err(AllowedError { line: 1, problem: "has no key".into() }),
            false => Ok(Self { lines }),
        }
    }
}

impl Allowed {
    fn parse(line: &str) -> Result<Self, String> {
        let (principals, rest) = line.split_once([' ', '\t']).ok_or("has only one word")?;
        if principals.contains('"') {
            return Err("has quotes around its principals, which are not supported".into());
        }
        let rest = rest.trim_start();
        let (options, key) = match is_key_type(rest) {
            true => ("", rest),
            false => {
                let end = end_of_options(rest).ok_or("has options that are not ended")?;
                rest.split_at(end)
            }
        };
        let mut words = key.split_whitespace();
        let (kind, key) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let key = PublicKey::from_openssh(&format!("{kind} {key}")).map_err(|error| {
            format!("has no public key that can be read (`{}`: {error})", printable(kind.as_bytes()))
        })?;
        let mut allowed = Self { key: key.key_data().clone(), namespaces: None, after: None, before: None };
        for option in options_of(options) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
            let date =
                || date(value).ok_or_else(|| format!("has `{}`, which is no date", printable(option.as_bytes())));
            match name.to_ascii_lowercase().as_str() {
                "namespaces" => allowed.namespaces = Some(value.split(',').map(str::to_owned).collect()),
                "valid-after" => allowed.after = Some(date()?),
                "valid-before" => allowed.before = Some(date()?),
                "cert-authority" => return Err("is an authority of certificates, which are not supported".into()),
                _ => return Err(format!("has the option `{}`, which is not known", printable(name.as_bytes()))),
            }
        }
        Ok(allowed)
    }

    /// Says whether the key may sign what is of a namespace: some pattern of its list fits, and none that is negated.
    pub(super) fn may_sign(&self, namespace: &str) -> bool {
        let Some(patterns) = &self.namespaces else { return true };
        let fits = |pattern: &str| matches(pattern.as_bytes(), namespace.as_bytes());
        let negated = patterns.iter().filter_map(|pattern| pattern.strip_prefix('!')).any(fits);
        !negated && patterns.iter().filter(|pattern| !pattern.starts_with('!')).any(|pattern| fits(pattern))
    }
}

fn is_key_type(text: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-"].iter().any(|kind| text.starts_with(kind))
}

/// Finds the space behind the options: not within quotes.
fn end_of_options(text: &str) -> Option<usize> {
    let mut quoted = false;
    text.char_indices().find_map(|(at, c)| {
        quoted ^= c == '"';
        (!quoted && matches!(c, ' ' | '\t')).then_some(at)
    })
}

/// Parts the options at the commas that are not within quotes.
fn options_of(text: &str) -> Vec<&str> {
    let mut quoted = false;
    let parts = text.split(|c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    });
    parts.filter(|part| !part.is_empty()).collect()
}

/// Reads `YYYYMMDD[HHMM[SS]]`, perhaps with a `Z` behind it.
fn date(text: &str) -> Option<Epoch> {
    let digits = text.strip_suffix('Z').unwrap_or(text);
    if !matches!(digits.len(), 8 | 12 | 14) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = |range: std::ops::Range<usize>| digits.get(range).unwrap_or("00");
    let (minute, second) = (part(10..12), part(12..14));
    format!("{}-{}-{}T{}:{minute}:{second}Z", part(0..4), part(4..6), part(6..8), part(8..10)).parse().ok()
}

/// Compares with a pattern of `*` and `?`.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, rest) => rest.is_none(),
        (Some((b'*', more)), _) => {
            matches(more, text) || text.split_first().is_some_and(|(_, rest)| matches(pattern, rest))
        }
        (Some((b'?', more)), Some((_, rest))) => matches(more, rest),
        (Some((one, more)), Some((other, rest))) => one == other && matches(more, rest),
        (Some(_), None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

    fn parse(line: &str) -> Result<AllowedSigners, AllowedError> {
        AllowedSigners::parse(line.as_bytes())
    }

    #[test]
    fn lines_are_read_with_their_options() {
        let text = format!(
            "# who\n\nme@x.example {KEY} a comment\na,b namespaces=\"git,file\",valid-after=\"20260102\",valid-before=\"202603040506Z\" {KEY}\n\
             * namespaces=\"g*,!git\" {KEY}\n"
        );
        let signers = parse(&text).expect("well formed");
        let [plain, dated, negated] = signers.lines.as_slice() else { panic!("{signers:?}") };
        assert!(plain.may_sign("git") && plain.after.is_none());
        assert!(dated.may_sign("git") && dated.may_sign("file") && !dated.may_sign("email"));
        assert_eq!(dated.after.map(Epoch::rfc3339).as_deref(), Some("2026-01-02T00:00:00Z"));
        assert_eq!(dated.before.map(Epoch::rfc3339).as_deref(), Some("2026-03-04T05:06:00Z"));
        assert!(negated.may_sign("gut") && !negated.may_sign("git"));
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_line() {
        for bad in [
            "",
            "# nothing\n",
            "me",
            "me ssh-ed25519",
            "me ssh-ed25519 AAAA",
            "me ssh-dss AAAAB3NzaC1kc3M=",
            "\"me you\" ssh-ed25519 AAAA",
            &format!("me cert-authority {KEY}"),
            &format!("me no-such-option {KEY}"),
            &format!("me valid-after=\"soon\" {KEY}"),
            &format!("me valid-after=\"20261340\" {KEY}"),
            &format!("me namespaces=\"git {KEY}"),
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(parse(&format!("me {KEY}\nyou cert-authority {KEY}")).expect_err("refused").line, 2);
        assert!(AllowedSigners::parse(b"\xff").is_err());
    }
}

//! Changes of permission bits as words (POSIX.1-2017, XCU `chmod`, "EXTENDED DESCRIPTION"): `u+s`, `u=rwx,go=rx`.

/// What is done to permission bits, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Changes(Vec<Change>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Change {
    /// The bits that may change.
    who: u32,
    operator: char,
    bits: u32,
}

/// What the umask of scripts takes away where it is not said whose bits are meant.
const UMASK: u32 = 0o022;

impl Changes {
    /// Reads the words. `X`, and the bits of one for another (`g=u`), are not known.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut changes = Vec::new();
        for clause in text.split(',') {
            let at = clause.find(['+', '-', '='])?;
            let (names, mut actions) = (clause.get(..at)?, clause.get(at..)?);
            let mut who = 0;
            for name in names.chars() {
                who |= match name {
                    'u' => 0o4700,
                    'g' => 0o2070,
                    'o' => 0o1007,
                    'a' => 0o7777,
                    _ => return None,
                };
            }
            let masked = if who == 0 { UMASK } else { 0 };
            let who = if who == 0 { 0o7777 } else { who };
            while let Some(operator) = actions.chars().next() {
                let rest = actions.get(1..)?;
                let end = rest.find(['+', '-', '=']).unwrap_or(rest.len());
                let mut bits = 0;
                for letter in rest.get(..end)?.chars() {
                    bits |= match letter {
                        'r' => 0o444,
                        'w' => 0o222,
                        'x' => 0o111,
                        's' => 0o6000,
                        't' => 0o1000,
                        _ => return None,
                    };
                }
                changes.push(Change { who, operator, bits: bits & !masked });
                actions = rest.get(end..)?;
            }
        }
        Some(Self(changes))
    }

    /// Changes the bits of a file.
    pub(super) fn apply(&self, mode: u32) -> u32 {
        self.0.iter().fold(mode, |mode, change| match change.operator {
            '+' => mode | (change.bits & change.who),
            '-' => mode & !(change.bits & change.who),
            _ => (mode & !change.who) | (change.bits & change.who),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_change_what_chmod_changes() {
        for (words, before, after) in [
            ("u+s", 0o755, 0o4755),
            ("u-s", 0o4755, 0o755),
            ("g+s", 0o755, 0o2755),
            ("+s", 0o755, 0o6755),
            ("u=rwx,go=rx", 0o4777, 0o755),
            ("u=rwxs,g=rx,o=r", 0o600, 0o4754),
            ("a+r-x", 0o711, 0o644),
            ("+w", 0o444, 0o644),
            ("=rx", 0o777, 0o555),
            ("o=", 0o755, 0o750),
            ("+t", 0o777, 0o1777),
        ] {
            let changes = Changes::parse(words).expect(words);
            assert_eq!(format!("{:o}", changes.apply(before)), format!("{after:o}"), "{words}");
        }
        for words in ["", "u", "x+r", "u+X", "g=u", "u+s,", "755", "u+é"] {
            assert_eq!(Changes::parse(words), None, "{words}");
        }
    }
}

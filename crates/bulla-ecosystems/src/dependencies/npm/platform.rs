//! For which machines a package says that it is (npm, `package.json`, "os", "cpu", "libc").

use bulla_model::Platform;
use serde::Deserialize;

/// A list of words, or a single one.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Words {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl Words {
    fn all(&self) -> &[String] {
        match self {
            Self::One(word) => std::slice::from_ref(word),
            Self::Many(words) => words,
        }
    }

    /// As `npm-install-checks` does it: `!word` excludes, and with exclusions alone all else is meant.
    fn admit(&self, value: &str) -> bool {
        let words = self.all();
        if words == ["any"] {
            return true;
        }
        let excluded = |word: &&String| word.starts_with('!');
        if words.iter().any(|word| word.strip_prefix('!') == Some(value)) {
            return false;
        }
        words.iter().any(|word| word == value) || words.iter().filter(excluded).count() == words.len()
    }
}

/// What a package says of machines.
#[derive(Debug, Default)]
pub(super) struct Machines<'a> {
    pub(super) os: Option<&'a Words>,
    pub(super) cpu: Option<&'a Words>,
    pub(super) libc: Option<&'a Words>,
}

impl Machines<'_> {
    /// Says whether the package is for a platform, as it is in Debian: with glibc.
    pub(super) fn admit(&self, platform: Platform) -> bool {
        let cpu = match platform {
            Platform::LinuxAmd64 => "x64",
            Platform::LinuxArm64 => "arm64",
        };
        let good = |words: Option<&Words>, value: &str| words.is_none_or(|words| words.admit(value));
        good(self.os, "linux") && good(self.cpu, cpu) && good(self.libc, "glibc")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_npm_reads_them() {
        let admits = |json: &str, value: &str| serde_json::from_str::<Words>(json).expect("words").admit(value);
        assert!(admits(r#"["linux", "darwin"]"#, "linux") && admits(r#""linux""#, "linux"));
        assert!(admits(r#"["!win32"]"#, "linux") && admits(r#"["any"]"#, "linux") && admits("[]", "linux"));
        assert!(!admits(r#"["darwin"]"#, "linux") && !admits(r#"["!linux"]"#, "linux"));
        assert!(!admits(r#"["linux", "!linux"]"#, "linux") && !admits(r#"["musl"]"#, "glibc"));
    }
}

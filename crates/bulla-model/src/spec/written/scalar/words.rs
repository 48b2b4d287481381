//! Names, keys, plain texts, reasons.

use super::{Scalar, only, wrong};
use crate::spec::{Name, OutputRef};

/// The version of the format.
#[derive(Debug, Clone)]
pub(in crate::spec) struct FormatNumber;

impl Scalar for FormatNumber {
    const NAME: &'static str = "FormatNumber";
    const ABOUT: &'static str = "The version of the format: 1";
    const PATTERN: Option<&'static str> = Some("^1$");
    const LOOKS_LIKE_A_NUMBER: bool = true;

    fn read(text: &str) -> Result<Self, String> {
        match text {
            "1" => Ok(Self),
            _ => wrong(format_args!("this program reads version 1 of the format, not `{text}`"), "write `bulla: 1`"),
        }
    }
}

impl Scalar for Name {
    const NAME: &'static str = "Name";
    const ABOUT: &'static str = "1 to 63 lower-case letters, digits, `-` and `_`, with a letter or digit first";
    const PATTERN: Option<&'static str> = Some("^[a-z0-9][a-z0-9_-]{0,62}$");

    fn read(text: &str) -> Result<Self, String> {
        Self::parse(text).map_err(|error| match Self::near(text) {
            Some(near) => format!("{error}\nwrite `{near}`"),
            None => error.to_string(),
        })
    }
}

/// Any text without NUL, as it was typed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::spec) struct Value(pub(in crate::spec) String);

impl Scalar for Value {
    const NAME: &'static str = "Value";
    const ABOUT: &'static str = "A text; `1.10`, `no` and `0755` stay what was typed";
    const LOOKS_LIKE_A_NUMBER: bool = true;

    fn read(text: &str) -> Result<Self, String> {
        match text.contains('\0') {
            true => wrong("a value cannot have a NUL character in it", ""),
            false => Ok(Self(text.to_owned())),
        }
    }
}

/// Why something out of the ordinary is asked for.
#[derive(Debug, Clone)]
pub(in crate::spec) struct Reason(pub(in crate::spec) String);

impl Scalar for Reason {
    const NAME: &'static str = "Reason";
    const ABOUT: &'static str = "Why this is needed, in some words; it goes into the provenance";
    const PATTERN: Option<&'static str> = Some(r"\S+\s+\S+");

    fn read(text: &str) -> Result<Self, String> {
        let words = text.split_whitespace().count();
        if words >= 2 && text.len() <= 1000 && !text.chars().any(|c| c.is_control() && c != '\n') {
            return Ok(Self(text.trim().to_owned()));
        }
        wrong(
            format_args!("`{text}` is no reason"),
            "say in some words why this is needed; it goes into the provenance",
        )
    }
}

/// The version of a language, or its beginning.
#[derive(Debug, Clone)]
pub(in crate::spec) struct LanguageVersion(pub(in crate::spec) String);

impl Scalar for LanguageVersion {
    const NAME: &'static str = "LanguageVersion";
    const ABOUT: &'static str = "The version of a language, or its beginning: `20`, `3.13`, `1.24`";
    const PATTERN: Option<&'static str> = Some(r"^[0-9]{1,4}(\.[0-9]{1,4}){0,3}$");
    const LOOKS_LIKE_A_NUMBER: bool = true;

    fn read(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('.').collect();
        let number = |part: &&str| (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        if (1..=4).contains(&parts.len()) && parts.iter().all(number) {
            return Ok(Self(text.to_owned()));
        }
        wrong(
            format_args!("`{text}` is no version of a language"),
            "write its numbers, as many as count: `20` or `3.13`",
        )
    }
}

/// The name of an environment variable or param.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::spec) struct EnvName(pub(in crate::spec) String);

impl AsRef<str> for EnvName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Scalar for EnvName {
    const NAME: &'static str = "EnvName";
    const ABOUT: &'static str = "The name of an environment variable: letters, digits and `_`, no digit first";
    const PATTERN: Option<&'static str> = Some("^[A-Za-z_][A-Za-z0-9_]{0,254}$");

    fn read(text: &str) -> Result<Self, String> {
        let good = only(text, |c| c.is_ascii_alphanumeric() || c == '_') && text.len() < 256;
        if good && !text.starts_with(|c: char| c.is_ascii_digit()) {
            return Ok(Self(text.to_owned()));
        }
        wrong(
            format_args!("`{text}` is not the name of an environment variable"),
            "use letters, digits and `_`, with no digit first",
        )
    }
}

/// The key of a label or annotation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::spec) struct Key(pub(in crate::spec) String);

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Scalar for Key {
    const NAME: &'static str = "Key";
    const ABOUT: &'static str = "The key of a label or annotation: letters, digits, `.`, `-`, `_` and `/`";
    const PATTERN: Option<&'static str> = Some("^[A-Za-z0-9._/-]{1,255}$");

    fn read(text: &str) -> Result<Self, String> {
        match only(text, |c| c.is_ascii_alphanumeric() || "._/-".contains(c)) && text.len() < 256 {
            true => Ok(Self(text.to_owned())),
            false => wrong(
                format_args!("`{text}` is not the key of a label or annotation"),
                "use letters, digits, `.`, `-`, `_` and `/`, as in `org.opencontainers.image.title`",
            ),
        }
    }
}

impl Scalar for OutputRef {
    const NAME: &'static str = "OutputRef";
    const ABOUT: &'static str = "An output of a stage: STAGE.OUTPUT";
    const PATTERN: Option<&'static str> = Some(r"^[a-z0-9][a-z0-9_-]*\.[a-z0-9][a-z0-9_-]*$");

    fn read(text: &str) -> Result<Self, String> {
        let parts = text.split_once('.').map(|(stage, output)| (Name::parse(stage), Name::parse(output)));
        match parts {
            Some((Ok(stage), Ok(output))) => Ok(Self { stage, output }),
            _ => wrong(
                format_args!("`{text}` is not an output"),
                "write the name of the stage, a dot, and the name of the output: `build.dist`",
            ),
        }
    }
}

//! The keys of a policy as they stand in the file.

use std::fmt;

use bulla_model::{
    Digest, Epoch,
    spec::{At, Mistake},
};
use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

use super::{Exception, Expression, Policy, Rule, base, expression};
use crate::{
    keyless::{Matcher, TrustedIdentity},
    verify::{Form, require::Requirement},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "the keys of a policy")]
pub(super) struct PolicyKeys {
    #[serde(rename = "policy")]
    _version: Version,
    #[serde(default)]
    uri: Option<Uri>,
    #[serde(default)]
    keys: Vec<KeyFile>,
    #[serde(default)]
    identities: Vec<IdentityKeys>,
    #[serde(default, rename = "trusted-root")]
    trusted_root: Option<RootFile>,
    #[serde(default = "both")]
    forms: Vec<FormWord>,
    #[serde(default = "signature")]
    require: Vec<RequireWord>,
    #[serde(default)]
    provenance: ProvenanceKeys,
    #[serde(default)]
    image: ImageKeys,
    #[serde(default)]
    sbom: SbomKeys,
    #[serde(default)]
    rules: Vec<RuleKeys>,
    #[serde(default)]
    exceptions: Vec<ExceptionKeys>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "`identity` and `issuer`")]
struct IdentityKeys {
    identity: Named,
    issuer: Named,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "the keys of `provenance`")]
struct ProvenanceKeys {
    #[serde(default)]
    builders: Vec<Uri>,
    #[serde(default)]
    sources: Vec<Uri>,
    #[serde(default)]
    bases: Vec<BaseWord>,
    #[serde(default)]
    no_refusals: bool,
    #[serde(default)]
    compared: bool,
    #[serde(default)]
    untainted: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "the keys of `sbom`")]
struct SbomKeys {
    #[serde(default)]
    consistent: bool,
    #[serde(default)]
    unowned: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "the keys of a rule")]
struct RuleKeys {
    name: At<RuleName>,
    expression: At<ExpressionText>,
    message: Words,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "the keys of `image`")]
struct ImageKeys {
    #[serde(default)]
    non_root: bool,
    #[serde(default)]
    max_age: Option<Age>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "the keys of an exception")]
struct ExceptionKeys {
    rule: At<RuleName>,
    #[serde(default)]
    image: Option<ImageDigest>,
    owner: Words,
    reason: Words,
    until: Day,
}

/// A scalar that is read by a function.
macro_rules! scalar {
    ($name:ident, $value:ty, $expecting:literal, $read:expr) => {
        struct $name($value);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Reader;

                impl Visitor<'_> for Reader {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        let read: fn(&str) -> Option<$value> = $read;
                        let wrong = || E::custom(format_args!("expected {}", $expecting));
                        read(text).map($name).ok_or_else(wrong)
                    }
                }

                deserializer.deserialize_str(Reader)
            }
        }
    };
}

scalar!(Version, (), "1, the only version that there is", |text| (text == "1").then_some(()));
scalar!(KeyFile, String, "the path of a file with a public key, relative to the policy", |text| {
    (!text.is_empty() && !text.contains('\0')).then(|| text.to_owned())
});
scalar!(RootFile, String, "the path of a trusted root, relative to the policy", |text| {
    (!text.is_empty() && !text.contains('\0')).then(|| text.to_owned())
});
scalar!(
    Named,
    Matcher,
    "an identity or issuer, or a pattern of all of it between slashes, as /https:..example.org.*/",
    |text| {
        let plain = !text.chars().any(char::is_control) && text.len() <= 4096 && !text.is_empty();
        match text.strip_prefix('/').and_then(|text| text.strip_suffix('/')) {
            Some(pattern) if plain => Matcher::pattern(pattern).ok(),
            _ => plain.then(|| Matcher::Exact(text.to_owned())),
        }
    }
);
scalar!(FormWord, Form, "`bundle` or `legacy`", |text| match text {
    "bundle" => Some(Form::Bundle),
    "legacy" => Some(Form::Legacy),
    _ => None,
});
scalar!(
    RequireWord,
    Requirement,
    "content, signature, provenance, sbom, consistent-sbom, reproduced, vulnerabilities, vex, a short name of a type, or its URI",
    |text| text.parse().ok()
);
scalar!(Uri, String, "a URI", |text| {
    let plain = text.chars().all(|c| c.is_ascii_graphic()) && text.len() <= 1024;
    text.split_once(':')
        .filter(|(scheme, rest)| plain && !scheme.is_empty() && !rest.is_empty())
        .map(|_| text.to_owned())
});
scalar!(Age, u64, "an age such as 90d, 12h or 8w", |text| {
    let (digits, seconds) = [("w", 7 * 86_400), ("d", 86_400), ("h", 3600)]
        .into_iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)))?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u64>().ok()?.checked_mul(seconds))?
});
scalar!(RuleName, String, "the name of a rule: small letters, digits and `-`", |text| {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (text.starts_with(|c: char| c.is_ascii_lowercase()) && text.len() <= 64 && text.chars().all(plain))
        .then(|| text.to_owned())
});
scalar!(ExpressionText, String, "an expression in CEL", |text| (!text.trim().is_empty()).then(|| text.to_owned()));
scalar!(BaseWord, String, "an image as HOST/REPOSITORY, with a tag or a digest where one is meant", |text| {
    base::is_named(text).then(|| text.to_owned())
});
scalar!(ImageDigest, Digest, "the digest of an image, sha256:…", |text| text.parse().ok());
scalar!(Words, String, "a few words", |text| {
    let plain = !text.chars().any(char::is_control) && text.len() <= 1024;
    (plain && !text.trim().is_empty()).then(|| text.to_owned())
});
scalar!(Day, Epoch, "the last day, such as 2026-12-31", super::judge::day);

fn both() -> Vec<FormWord> {
    vec![FormWord(Form::Bundle), FormWord(Form::Legacy)]
}

fn signature() -> Vec<RequireWord> {
    vec![RequireWord(Requirement::Signature)]
}

/// The most expressions of a policy.
const MAX_RULES: usize = 64;

impl PolicyKeys {
    /// Finds what is wrong with names and expressions.
    pub(super) fn mistakes(&self) -> Vec<Mistake> {
        let mistake = |span: &std::ops::Range<usize>, message: String, help: &str| Mistake {
            span: span.clone(),
            message,
            help: help.to_owned(),
        };
        let key = |name: &str| Rule::KEYS.into_iter().any(|rule| rule.word() == name);
        let mut found = Vec::new();
        for (index, rule) in self.rules.iter().enumerate() {
            let name = &rule.name.value.0;
            if index >= MAX_RULES {
                found.push(mistake(&rule.name.span, format!("a policy has at most {MAX_RULES} rules"), ""));
                break;
            }
            if key(name) || self.rules.iter().take(index).any(|other| other.name.value.0 == *name) {
                found.push(mistake(
                    &rule.name.span,
                    format!("`{name}` is the name of another rule"),
                    "write another name",
                ));
            }
            if let Err(error) = expression::check(&rule.expression.value.0) {
                found.push(mistake(&rule.expression.span, format!("it is no expression in CEL: {error}"), ""));
            }
        }
        for one in &self.exceptions {
            let name = &one.rule.value.0;
            if !key(name) && !self.rules.iter().any(|rule| rule.name.value.0 == *name) {
                let known = Rule::KEYS.map(|rule| rule.word().to_owned()).join(", ");
                let message = format!("`{name}` is no rule: there are {known}, and those of `rules`");
                found.push(mistake(&one.rule.span, message, "write the name of a rule"));
            }
        }
        found
    }

    /// Gives what is meant; `name` and `bytes` are the file's.
    pub(super) fn policy(self, name: &str, bytes: &[u8]) -> Policy {
        let line = |start: usize| 1 + bytes.iter().take(start).filter(|byte| **byte == b'\n').count();
        let expression = |keys: RuleKeys| Expression {
            name: keys.name.value.0,
            at: format!("{name}:{}", line(keys.expression.span.start)),
            text: keys.expression.value.0,
            message: keys.message.0,
        };
        Policy {
            uri: self.uri.map(|one| one.0),
            keys: self.keys.into_iter().map(|one| one.0).collect(),
            identities: self
                .identities
                .into_iter()
                .map(|one| TrustedIdentity { identity: one.identity.0, issuer: one.issuer.0 })
                .collect(),
            trusted_root: self.trusted_root.map(|one| one.0),
            forms: self.forms.into_iter().map(|one| one.0).collect(),
            require: self.require.into_iter().map(|one| one.0).collect(),
            builders: self.provenance.builders.into_iter().map(|one| one.0).collect(),
            sources: self.provenance.sources.into_iter().map(|one| one.0).collect(),
            bases: self.provenance.bases.into_iter().map(|one| one.0).collect(),
            no_refusals: self.provenance.no_refusals,
            compared: self.provenance.compared,
            untainted: self.provenance.untainted,
            consistent: self.sbom.consistent,
            unowned: self.sbom.unowned,
            non_root: self.image.non_root,
            max_age: self.image.max_age.map(|one| one.0),
            rules: self.rules.into_iter().map(expression).collect(),
            exceptions: self.exceptions.into_iter().map(ExceptionKeys::exception).collect(),
        }
    }
}

impl ExceptionKeys {
    fn exception(self) -> Exception {
        let name = self.rule.value.0;
        let key = Rule::KEYS.into_iter().find(|rule| rule.word() == name);
        Exception {
            rule: key.unwrap_or(Rule::Named(name)),
            image: self.image.map(|one| one.0),
            owner: self.owner.0,
            reason: self.reason.0,
            until: self.until.0,
        }
    }
}

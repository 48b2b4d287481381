//! The keys of a policy as they stand in the file.

use std::fmt;

use bulla_model::{Digest, Epoch};
use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

use super::{Exception, Policy, Rule};
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
    exceptions: Vec<ExceptionKeys>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "`identity` and `issuer`")]
struct IdentityKeys {
    identity: Named,
    issuer: Named,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "the keys of `provenance`")]
struct ProvenanceKeys {
    #[serde(default)]
    builders: Vec<Uri>,
    #[serde(default)]
    sources: Vec<Uri>,
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
    rule: RuleWord,
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
    "content, signature, provenance, sbom, vulnerabilities, vex, a short name of a type, or its URI",
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
scalar!(RuleWord, Rule, "a rule: builder, source, non-root or max-age", |text| {
    [Rule::Builder, Rule::Source, Rule::NonRoot, Rule::MaxAge].into_iter().find(|rule| rule.word() == text)
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

impl PolicyKeys {
    pub(super) fn policy(self) -> Policy {
        Policy {
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
            non_root: self.image.non_root,
            max_age: self.image.max_age.map(|one| one.0),
            exceptions: self.exceptions.into_iter().map(ExceptionKeys::exception).collect(),
        }
    }
}

impl ExceptionKeys {
    fn exception(self) -> Exception {
        Exception {
            rule: self.rule.0,
            image: self.image.map(|one| one.0),
            owner: self.owner.0,
            reason: self.reason.0,
            until: self.until.0,
        }
    }
}

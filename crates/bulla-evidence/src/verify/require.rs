//! What is asked for, and whether it is proven. What is asserted or not checked counts as nothing.

use std::{fmt, str::FromStr};

use bulla_model::Digest;
use serde::Serialize;

use super::{About, Assessed, Form, Verdict};
use crate::{predicate, reproduction};

/// Something that has to be proven.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Requirement {
    /// The bytes are what their digests say.
    Content,
    /// A key that was named signed the image itself.
    Signature,
    /// A list of what it is made of is proven, and is as the image is.
    ConsistentSbom,
    /// A key that was named signed that it was made again, and came out the same.
    Reproduced,
    /// A key that was named signed a statement of a type, or of a group of types, about it.
    Statement(String),
}

/// Says why a text asks for nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{word}` is nothing that can be required: there are content, signature, consistent-sbom, reproduced, {}, and types by their URI",
    predicate::words()
)]
pub struct NoRequirement {
    /// The text.
    pub word: String,
}

/// Whether something that was asked for is proven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Met {
    /// What was asked for.
    pub requirement: String,
    /// Whether it is.
    pub met: bool,
    /// Why not, a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What evidence has to be about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subjects {
    /// The image that was named, or the file.
    pub root: Digest,
    /// The manifests of its platforms, where it has some.
    pub platforms: Vec<Digest>,
}

impl FromStr for Requirement {
    type Err = NoRequirement;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "content" => Ok(Self::Content),
            "signature" => Ok(Self::Signature),
            "consistent-sbom" => Ok(Self::ConsistentSbom),
            "reproduced" => Ok(Self::Reproduced),
            word if predicate::is_word(word) => Ok(Self::Statement(word.to_owned())),
            word => Err(NoRequirement { word: word.chars().take(200).collect() }),
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Content => f.write_str("content"),
            Self::Signature => f.write_str("signature"),
            Self::ConsistentSbom => f.write_str("consistent-sbom"),
            Self::Reproduced => f.write_str("reproduced"),
            Self::Statement(word) => f.write_str(word),
        }
    }
}

impl Requirement {
    /// Says whether it is proven, by evidence in one of these forms. A signature has to be of the root; a statement of the root, or of each
    /// platform's manifest.
    pub fn met(&self, subjects: &Subjects, assessed: &[Assessed], forms: &[Form]) -> Met {
        let of = |subject: &Digest, verdict: Verdict, any_form: bool| {
            assessed.iter().any(|one| {
                let claim = &one.claim;
                let form = any_form || claim.form.is_none_or(|form| forms.contains(&form));
                claim.subject == *subject && claim.verdict == verdict && form && self.is_of(one)
            })
        };
        let everywhere = |verdict, any_form| {
            let platforms =
                || !subjects.platforms.is_empty() && subjects.platforms.iter().all(|one| of(one, verdict, any_form));
            of(&subjects.root, verdict, any_form)
                || matches!(self, Self::Statement(_) | Self::ConsistentSbom) && platforms()
        };
        let met = everywhere(Verdict::Proven, false);
        let reason = if everywhere(Verdict::Proven, true) {
            "it is proven by evidence in another form than is asked for"
        } else if everywhere(Verdict::Failed, true) {
            "what there is of it failed"
        } else if everywhere(Verdict::NotChecked, true) {
            "what there is of it was not checked"
        } else if everywhere(Verdict::Asserted, true) {
            "it is asserted, and nobody signed it"
        } else {
            "there is none"
        };
        Met { requirement: self.to_string(), met, reason: (!met).then(|| reason.to_owned()) }
    }

    /// Says whether a claim is one of those that are asked for.
    fn is_of(&self, one: &Assessed) -> bool {
        match (self, &one.claim.about) {
            (Self::Content, About::Content) | (Self::Signature, About::Signature) => true,
            (Self::ConsistentSbom, About::Consistent(_)) => true,
            (Self::Reproduced, About::Statement(_)) => one.statement.as_ref().is_some_and(reproduction::says_so),
            (Self::Statement(word), About::Statement(kind)) => predicate::is_meant(word, kind),
            _ => false,
        }
    }
}

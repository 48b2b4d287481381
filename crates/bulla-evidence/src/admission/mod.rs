//! Policies of admission controllers that accept what a [`Policy`] accepts, as far as their languages can say it.
//!
//! Written against what Kyverno (`kyverno.io/v1`, `ClusterPolicy`) and sigstore's policy-controller (`policy.sigstore.dev/v1beta1`, `ClusterImagePolicy`) had in August 2026. What a language cannot say is
//! listed, so that whoever relies on the cluster knows what is not looked at there.

mod kyverno;
mod sigstore;
mod yaml;

use serde_json::Value;

pub use self::{kyverno::kyverno, sigstore::sigstore};
use crate::{
    policy::Policy,
    predicate,
    verify::{Form, require::Requirement},
};

/// What is to be admitted, and by what.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// The keys that may sign, as PEM.
    pub keys: &'a [String],
    /// The images that it is about, as the controller writes patterns.
    pub images: &'a [String],
    /// What the admission policy is called.
    pub name: &'a str,
}

/// An admission policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Admission {
    /// Its documents.
    pub documents: Vec<Value>,
    /// What the policy asks for and these documents do not, a sentence each.
    pub unsaid: Vec<String>,
}

impl Admission {
    /// Writes the documents as YAML.
    pub fn yaml(&self) -> String {
        self.documents.iter().map(yaml::write).collect::<Vec<_>>().join("---\n")
    }
}

/// Why no admission policy can be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionError {
    /// There is no key.
    #[error("an admission policy needs keys, and neither the policy nor the command names one")]
    NoKey,
    /// Nothing that controllers look at is required.
    #[error("the policy requires neither a signature nor a statement, and controllers look at nothing else")]
    Nothing,
    /// The name is none of Kubernetes.
    #[error("`{0}` is no name in Kubernetes: small letters, digits, `-` and `.`, at most 200 (RFC 1123, section 2.1)")]
    Name(String),
    /// A text cannot stand in the language.
    #[error("`{0}` has characters that cannot stand in such a policy: quotes, backslashes, braces")]
    Characters(String),
    /// The form of evidence is not read there with keys.
    #[error(
        "the policy takes bundles alone, and sigstore's policy-controller reads those of certificates only, not of keys"
    )]
    Form,
}

/// What a statement has to have in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask<'a> {
    /// The builder is one of these.
    Builders(&'a [String]),
    /// One of what was resolved is one of these sources.
    Sources(&'a [String]),
    /// All bases are among these.
    Bases(&'a [String]),
    /// No step has refusals.
    NoRefusals,
    /// It was compared.
    Compared,
    /// It is not tainted.
    Untainted,
    /// No file is without an owner.
    AllOwned,
    /// It says that the image was made again.
    Reproduced,
}

/// A statement that has to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked<'a> {
    kind: String,
    asks: Vec<Ask<'a>>,
}

/// What a policy asks for, as controllers think: a signature, and statements.
struct Parts<'a> {
    signature: bool,
    statements: Vec<Asked<'a>>,
    unsaid: Vec<String>,
}

const CYCLONEDX: &str = "https://cyclonedx.org/bom";

impl<'a> Parts<'a> {
    fn of(wanted: &Wanted<'a>) -> Result<Self, AdmissionError> {
        let policy = wanted.policy;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
        let ends = |text: &str| !text.starts_with(['-', '.']) && !text.ends_with(['-', '.']);
        if wanted.name.is_empty() || wanted.name.len() > 200 || !wanted.name.chars().all(plain) || !ends(wanted.name) {
            return Err(AdmissionError::Name(crate::image::shown(wanted.name)));
        }
        if wanted.keys.is_empty() {
            return Err(AdmissionError::NoKey);
        }
        let texts = [&policy.builders, &policy.sources, &policy.bases].into_iter().flatten();
        if let Some(text) = texts.chain(wanted.images).find(|text| text.contains(['\'', '"', '\\', '`', '{', '}'])) {
            return Err(AdmissionError::Characters(crate::image::shown(text)));
        }
        let mut parts = Self { signature: false, statements: Vec::new(), unsaid: Vec::new() };
        if !policy.identities.is_empty() {
            parts.unsaid("identities: what is signed by a certificate is not admitted, only what the keys signed");
        }
        for one in &policy.require {
            match one {
                Requirement::Signature => parts.signature = true,
                Requirement::Content => {
                    parts.unsaid(
                        "content: whoever pulls an image holds its bytes against its digests, and not the controller",
                    );
                }
                Requirement::ConsistentSbom => parts.unsaid(CONSISTENT),
                Requirement::Reproduced => parts.ask(crate::reproduction::RESULT, Some(Ask::Reproduced)),
                Requirement::Statement(word) => {
                    let kinds = predicate::usual(word);
                    let Some(first) = kinds.first() else { continue };
                    if kinds.len() > 1 {
                        parts.unsaid(&format!(
                            "{word}: one of several types would do, and the controller asks for {first} alone"
                        ));
                    }
                    parts.ask(first, None);
                }
            }
        }
        parts.rules(policy);
        if !parts.signature && parts.statements.is_empty() {
            return Err(AdmissionError::Nothing);
        }
        Ok(parts)
    }

    fn rules(&mut self, policy: &'a Policy) {
        let provenance = [
            (!policy.builders.is_empty()).then_some(Ask::Builders(&policy.builders)),
            (!policy.sources.is_empty()).then_some(Ask::Sources(&policy.sources)),
            (!policy.bases.is_empty()).then_some(Ask::Bases(&policy.bases)),
            policy.no_refusals.then_some(Ask::NoRefusals),
            policy.compared.then_some(Ask::Compared),
            policy.untainted.then_some(Ask::Untainted),
        ];
        provenance.into_iter().flatten().for_each(|ask| self.ask(predicate::SLSA_PROVENANCE, Some(ask)));
        match policy.unowned {
            Some(0) => self.ask(CYCLONEDX, Some(Ask::AllOwned)),
            Some(_) => self.unsaid("sbom.unowned: a number of files other than 0 is not compared there"),
            None => {}
        }
        if policy.consistent {
            self.unsaid(CONSISTENT);
        }
        if policy.non_root {
            self.unsaid("image.non-root: say it of pods, by the restricted pod security standard");
        }
        if policy.max_age.is_some() {
            self.unsaid("image.max-age: the controller knows no time of an image");
        }
        for rule in &policy.rules {
            self.unsaid(&format!(
                "rules: `{}` is an expression over all evidence, which the controller does not have",
                rule.name
            ));
        }
        if !policy.exceptions.is_empty() {
            self.unsaid("exceptions: the controller excepts resources, and not images until a day; an image that is excepted is refused there");
        }
    }

    fn ask(&mut self, kind: &str, ask: Option<Ask<'a>>) {
        match self.statements.iter_mut().find(|one| one.kind == kind) {
            Some(known) => known.asks.extend(ask),
            None => self.statements.push(Asked { kind: kind.to_owned(), asks: ask.into_iter().collect() }),
        }
    }

    fn unsaid(&mut self, text: &str) {
        if !self.unsaid.iter().any(|known| known == text) {
            self.unsaid.push(text.to_owned());
        }
    }
}

const CONSISTENT: &str = "sbom.consistent: the controller does not read the image's files";

/// Says whether evidence in the older form counts, which controllers read best.
fn takes_legacy(policy: &Policy) -> bool {
    policy.forms.contains(&Form::Legacy)
}

#[cfg(test)]
mod tests;

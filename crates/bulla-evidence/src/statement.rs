//! Statements of in-toto: what is claimed (a predicate of some type) of which things (subjects, by digest)
//! (in-toto Attestation Framework, `spec/v1/statement.md`).

use std::collections::BTreeMap;

use bulla_model::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::json::{self, JsonError};

/// What a statement says that it is.
pub const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// The media type of a statement.
pub const MEDIA_TYPE: &str = "application/vnd.in-toto+json";
/// The most bytes of a statement that are read: an SBOM of thousands of packages with their files has tens of millions.
pub const MAX_STATEMENT: usize = 256 << 20;

/// A statement. Its bytes are those of [`Statement::to_bytes`], which are what is signed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    /// What it is about, at least one thing.
    pub subject: Vec<Subject>,
    /// What kind of thing is said.
    pub predicate_type: String,
    /// What is said. Where it is absent nothing is.
    #[serde(default)]
    pub predicate: Value,
}

/// One thing that a statement is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Its name, which proves nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its digests by algorithm, in hexadecimal.
    pub digest: BTreeMap<String, String>,
    /// What the signer noted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, Value>,
}

/// Says why a text is no statement.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// It is not JSON of that shape.
    #[error("it is no statement of in-toto")]
    Json(#[from] JsonError),
    /// It is of another version.
    #[error("it is of the type `{found}`, and statements of in-toto 1 are of `{STATEMENT}`")]
    Type {
        /// The type.
        found: String,
    },
    /// It is about nothing.
    #[error("it is about nothing: it has no subject with a digest")]
    NoSubject,
}

impl Subject {
    /// Makes the subject of something by its SHA-256.
    pub fn new(name: Option<&str>, digest: &Digest) -> Self {
        let digest = BTreeMap::from([("sha256".to_owned(), digest.hex())]);
        Self { name: name.map(str::to_owned), digest, annotations: BTreeMap::new() }
    }

    /// Says whether it is the thing with this SHA-256, by that digest.
    pub fn is(&self, digest: &Digest) -> bool {
        self.digest.get("sha256").is_some_and(|hex| *hex == digest.hex())
    }
}

impl Statement {
    /// Makes a statement.
    pub fn new(subject: Vec<Subject>, predicate_type: &str, predicate: Value) -> Self {
        Self { kind: STATEMENT.to_owned(), subject, predicate_type: predicate_type.to_owned(), predicate }
    }

    /// Reads a statement. What it has beside what is known is left out, as the specification asks for ("Parsing rules").
    ///
    /// # Errors
    /// When it is none, or about nothing.
    pub fn parse(bytes: &[u8]) -> Result<Self, StatementError> {
        let statement: Self = json::read_as(bytes, MAX_STATEMENT)?;
        if statement.kind != STATEMENT {
            return Err(StatementError::Type { found: statement.kind.chars().take(200).collect() });
        }
        if statement.subject.is_empty() || statement.subject.iter().any(|subject| subject.digest.is_empty()) {
            return Err(StatementError::NoSubject);
        }
        Ok(statement)
    }

    /// Gives its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        json::write(self)
    }

    /// Says whether it is about the thing with this SHA-256.
    pub fn is_about(&self, digest: &Digest) -> bool {
        self.subject.iter().any(|subject| subject.is(digest))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_statement_is_read_as_it_was_written() {
        let digest = Digest::of("image");
        let statement =
            Statement::new(vec![Subject::new(Some("shop"), &digest)], "https://example.org/x", json!({"a": 1}));
        let bytes = statement.to_bytes();
        let text = String::from_utf8(bytes.clone()).expect("a text");
        let hex = digest.hex();
        assert_eq!(
            text,
            format!(
                r#"{{"_type":"{STATEMENT}","subject":[{{"name":"shop","digest":{{"sha256":"{hex}"}}}}],"predicateType":"https://example.org/x","predicate":{{"a":1}}}}"#
            )
        );
        let read = Statement::parse(&bytes).expect("a statement");
        assert_eq!(read, statement);
        assert!(read.is_about(&digest) && !read.is_about(&Digest::of("other")));
    }

    #[test]
    fn what_is_none_or_about_nothing_is_refused() {
        let good = json!({"_type": STATEMENT, "subject": [{"digest": {"sha256": "00"}}], "predicateType": "x"});
        assert!(Statement::parse(good.to_string().as_bytes()).is_ok());
        for (place, value) in [
            ("/_type", json!("https://in-toto.io/Statement/v0.1")),
            ("/subject", json!([])),
            ("/subject/0/digest", json!({})),
            ("/subject/0", json!(1)),
            ("/predicateType", json!(1)),
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(place).expect("a place") = value;
            assert!(Statement::parse(bad.to_string().as_bytes()).is_err(), "{place}");
        }
    }
}

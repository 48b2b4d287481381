//! Summaries of verifications: who looked at an image, by which policy, and what came out (SLSA 1.2, "Verification Summary Attestation"; the
//! predicate is version 1).

use std::collections::BTreeMap;

use bulla_model::{Digest, Epoch};
use serde::Serialize;
use serde_json::Value;

use crate::{Statement, Subject, resource::Resource};

/// What the predicate is.
pub const SUMMARY: &str = "https://slsa.dev/verification_summary/v1";
/// Who verified, where nobody has said who that is.
pub const LOCAL_VERIFIER: &str = "urn:bulla:verifier:local";

/// The version of SLSA that the fields are of.
const SLSA: &str = "1.2";
/// What stands for a level where none was looked for: which one a builder has, no signature says (the same page, "SlsaResult").
const NOT_LOOKED_FOR: &str = "SLSA_BUILD_LEVEL_UNEVALUATED";

/// What is known of a verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Who verified: a URI.
    pub verifier: String,
    /// The version of the program.
    pub version: String,
    /// When.
    pub time: Epoch,
    /// What was verified, by its digest.
    pub digest: Digest,
    /// What it is called: a URI.
    pub resource: String,
    /// What it was held against: a URI.
    pub policy: String,
    /// The digest of the policy's bytes, where it is a file.
    pub policy_digest: Option<Digest>,
    /// The digests of the evidence that was proven.
    pub evidence: Vec<Digest>,
    /// Whether all that is asked for is so.
    pub passed: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Predicate {
    verifier: Verifier,
    time_verified: String,
    resource_uri: String,
    policy: Resource,
    input_attestations: Vec<Resource>,
    verification_result: &'static str,
    verified_levels: [&'static str; 1],
    slsa_version: &'static str,
}

#[derive(Serialize)]
struct Verifier {
    id: String,
    version: BTreeMap<&'static str, String>,
}

impl Summary {
    /// Makes the statement. It claims no level: none was looked for.
    pub fn statement(&self) -> Statement {
        let by = |digest: &Digest| Resource::default().with_digest("sha256", &digest.hex());
        let policy = self.policy_digest.as_ref().map(by).unwrap_or_default().at(self.policy.clone());
        let predicate = Predicate {
            verifier: Verifier {
                id: self.verifier.clone(),
                version: BTreeMap::from([("bulla", self.version.clone())]),
            },
            time_verified: self.time.rfc3339(),
            resource_uri: self.resource.clone(),
            policy,
            input_attestations: self.evidence.iter().map(by).collect(),
            verification_result: if self.passed { "PASSED" } else { "FAILED" },
            verified_levels: [if self.passed { NOT_LOOKED_FOR } else { "FAILED" }],
            slsa_version: SLSA,
        };
        let predicate = serde_json::to_value(predicate).unwrap_or(Value::Null);
        Statement::new(vec![Subject::new(None, &self.digest)], SUMMARY, predicate)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_summary_has_what_slsa_requires_and_no_level_that_was_not_looked_for() {
        let mut summary = Summary {
            verifier: LOCAL_VERIFIER.to_owned(),
            version: "0.1.0".to_owned(),
            time: Epoch::new(1_700_000_000).expect("a time"),
            digest: Digest::of("image"),
            resource: "pkg:oci/shop".to_owned(),
            policy: "urn:bulla:policy".to_owned(),
            policy_digest: Some(Digest::of("policy")),
            evidence: vec![Digest::of("one")],
            passed: true,
        };
        let statement = summary.statement();
        assert!(statement.is_about(&Digest::of("image")));
        let predicate = &statement.predicate;
        for field in ["verifier", "timeVerified", "resourceUri", "policy", "verificationResult", "verifiedLevels"] {
            assert!(!predicate[field].is_null(), "{field}: {predicate}");
        }
        assert_eq!(predicate["verifiedLevels"], json!(["SLSA_BUILD_LEVEL_UNEVALUATED"]));
        assert_eq!(predicate["policy"]["digest"]["sha256"], Digest::of("policy").hex());
        assert_eq!(predicate["timeVerified"], "2023-11-14T22:13:20Z");
        summary.passed = false;
        let predicate = summary.statement().predicate;
        assert_eq!(
            (&predicate["verificationResult"], &predicate["verifiedLevels"]),
            (&json!("FAILED"), &json!(["FAILED"]))
        );
    }
}

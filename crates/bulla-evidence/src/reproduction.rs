//! Statements that an image was made again of its evidence, and came out the same: a simple verification result of in-toto (Attestation Framework,
//! `spec/predicates/svr.md`), whose property says so.
//!
//! It says who made it again, so that a reader can tell whether that is somebody else than who built it. One party alone, on whichever machine, is no
//! independent platform: no level of SLSA is claimed. An image that came out otherwise has no such statement.

use std::collections::BTreeSet;

use bulla_model::{Digest, Epoch};
use serde_json::{Value, json};

use crate::{
    Statement, Subject,
    verify::{Assessed, Verdict},
};

/// What the predicate is.
pub const RESULT: &str = "https://in-toto.io/attestation/svr/v0.1";
/// The property of an image that was made again, with the same digest.
pub const REPRODUCED: &str = "BULLA_REPRODUCED";
/// The beginning of the properties that say what was otherwise around its steps.
const VARIED: &str = "BULLA_REPRODUCED_WITH_OTHER_";

/// What is known of a reproduction that came out the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reproduction {
    /// Who made it again: a URI.
    pub verifier: String,
    /// The version of the program.
    pub version: String,
    /// When.
    pub time: Epoch,
    /// What was otherwise around its steps.
    pub varied: BTreeSet<String>,
    /// Whether a key that was named signed the evidence that it was made of.
    pub signed: bool,
    /// Who says in that evidence to have built it.
    pub builder: String,
}

impl Reproduction {
    /// Makes the predicate. What in-toto has no field for stands with who verified, where it may.
    pub fn predicate(&self) -> Value {
        let varied = self.varied.iter().map(|name| format!("{VARIED}{}", name.to_ascii_uppercase().replace('-', "_")));
        json!({
            "verifier": {
                "id": self.verifier,
                "version": {"bulla": self.version},
                "evidenceSigned": self.signed,
                "evidenceBuilder": self.builder,
            },
            "timeCreated": self.time.rfc3339(),
            "properties": std::iter::once(REPRODUCED.to_owned()).chain(varied).collect::<Vec<_>>(),
        })
    }

    /// Makes the statement about one digest.
    pub fn statement(&self, digest: &Digest) -> Statement {
        Statement::new(vec![Subject::new(None, digest)], RESULT, self.predicate())
    }
}

/// Says whether a statement says that what it is about was made again, and came out the same.
pub fn says_so(statement: &Statement) -> bool {
    let properties = statement.predicate["properties"].as_array();
    statement.predicate_type == RESULT && properties.is_some_and(|all| all.iter().any(|one| one == REPRODUCED))
}

/// Says who says of an image that it was made again, where that is proven or asserted: the verifier, and how much it is worth.
pub fn of(assessed: &[Assessed], image: &Digest) -> Option<(String, Verdict)> {
    let about = assessed.iter().filter(|one| one.claim.subject == *image);
    let worth = about.filter(|one| matches!(one.claim.verdict, Verdict::Proven | Verdict::Asserted));
    let said = worth.filter_map(|one| {
        let statement = one.statement.as_ref().filter(|statement| says_so(statement))?;
        Some((crate::image::shown(statement.predicate["verifier"]["id"].as_str()?), one.claim.verdict))
    });
    said.min_by_key(|(_, verdict)| *verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reproduction_is_told_by_its_property_and_by_no_other_result() {
        let varied = ["host-name", "zone"].map(str::to_owned).into();
        let reproduction = Reproduction {
            verifier: "urn:x:y".into(),
            version: "0.1.0".into(),
            time: Epoch::default(),
            varied,
            signed: true,
            builder: "urn:x:b".into(),
        };
        let statement = reproduction.statement(&Digest::of("image"));
        assert!(says_so(&statement) && statement.is_about(&Digest::of("image")));
        let properties = &statement.predicate["properties"];
        let wanted = ["BULLA_REPRODUCED", "BULLA_REPRODUCED_WITH_OTHER_HOST_NAME", "BULLA_REPRODUCED_WITH_OTHER_ZONE"];
        assert_eq!(*properties, json!(wanted));
        assert!(!properties.to_string().contains("SLSA"));
        for other in
            [json!({"properties": ["SLSA_BUILD_REPRODUCED"]}), json!({"properties": "BULLA_REPRODUCED"}), json!({})]
        {
            assert!(!says_so(&Statement::new(statement.subject.clone(), RESULT, other)));
        }
        assert!(!says_so(&Statement::new(statement.subject, "https://example.org/x", statement.predicate)));
    }
}

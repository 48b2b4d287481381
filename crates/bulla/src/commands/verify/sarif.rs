//! The report as SARIF 2.1.0 (OASIS, "Static Analysis Results Interchange Format"), which code scanning reads.
//!
//! A result is something to look at, so that what is proven is none. The few objects that are written are made here: the crate that has types for all of them makes them
//! out of the schema when it is compiled, with a second generation of the libraries that do so.

use bulla_evidence::verify::{About, Claim, Verdict};
use bulla_model::Digest;
use serde_json::{Value, json};

use super::report::{Report, about};

/// What a result is about, by the name of its rule.
const RULES: [(&str, &str); 7] = [
    ("content", "The bytes of an image are what its digests say"),
    ("signature", "An image is signed by a key that was named"),
    ("statement", "A statement about an image is signed by a key that was named"),
    ("consistent-sbom", "A list of what an image is made of is as the image is"),
    ("evidence", "What lies beside an image can be read"),
    ("rule", "An image holds the rules of a policy"),
    ("required", "What is required is proven"),
];

/// Writes the log; `what` is what was verified, as it was named.
pub(super) fn log(report: &Report, what: String) -> Value {
    let what = without_spaces(&what);
    let required = report.required.iter().filter(|one| !one.met).map(|one| {
        let reason = one.reason.as_deref().unwrap_or("it is not proven");
        let text = format!("{} is required: {reason}", one.requirement);
        result(("required", "error"), text, &what, &report.digest, &one.requirement)
    });
    let claims = report.claims.iter().filter_map(|claim| of_claim(claim, &what));
    let rules = RULES.map(|(id, text)| json!({"id": id, "shortDescription": {"text": text}}));
    json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "bulla",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "results": required.chain(claims).collect::<Vec<_>>(),
        }],
    })
}

fn of_claim(claim: &Claim, what: &str) -> Option<Value> {
    let level = match claim.verdict {
        Verdict::Proven => return None,
        Verdict::Failed => "error",
        Verdict::NotChecked | Verdict::Asserted => "note",
    };
    let rule = match &claim.about {
        About::Content => "content",
        About::Signature => "signature",
        About::Statement(_) => "statement",
        About::Consistent(_) => "consistent-sbom",
        About::Unknown => "evidence",
        About::Rule(_) => "rule",
    };
    let subject = about(&claim.about);
    let advice = claim.advice.as_deref().map(|advice| format!(" ({advice})")).unwrap_or_default();
    Some(result((rule, level), format!("{subject}: {}{advice}", claim.detail), what, &claim.subject, &subject))
}

fn result((rule, level): (&str, &str), text: String, what: &str, digest: &Digest, name: &str) -> Value {
    // The same finding of the same image is the same result, whenever it is looked for.
    let print = Digest::of(format!("{rule}\n{digest}\n{name}\n{text}")).hex();
    json!({
        "ruleId": rule,
        "ruleIndex": RULES.iter().position(|(id, _)| *id == rule),
        "level": level,
        "message": {"text": crate::neutral::lines(&text)},
        "locations": [{
            "physicalLocation": {"artifactLocation": {"uri": what}},
            "logicalLocations": [{"name": digest.to_string(), "kind": "module"}],
        }],
        "partialFingerprints": {"bulla/v1": print},
    })
}

/// Makes a name fit to be a reference to a resource (RFC 3986, section 2).
fn without_spaces(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:@".contains(&byte);
    let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    name.bytes().map(one).collect()
}

//! What the expressions of a policy see of an image.

use serde_json::{Map, Value, json};

use super::Facts;
use crate::{
    predicate::SLSA_PROVENANCE,
    verify::{Assessed, Form, Verdict, is_list},
};

/// The most packages of a list that expressions see.
const MAX_PACKAGES: usize = 100_000;

/// Gives the variables of expressions:
///
/// - `image`: `digest`, and `platforms`, each with `manifest`, `user` and `created`;
/// - `now`: seconds since 1970;
/// - `claims`: each line of the table, as `--format json` has it;
/// - `provenance`: the predicates of all provenance of SLSA 1 that is proven;
/// - `sbom`: the proven lists, each with `subject`, `type` and `packages`: `name`, `version`, `purl`, `licence`, and texts that are missing are empty;
/// - `statements`: what else is proven, each with `subject`, `type` and `predicate`.
///
/// Only evidence in one of the forms is in the last three.
pub fn variables(facts: &Facts, assessed: &[Assessed], forms: &[Form]) -> Value {
    let counts = |one: &&Assessed| {
        one.claim.verdict == Verdict::Proven && one.claim.form.is_none_or(|form| forms.contains(&form))
    };
    let (mut provenance, mut lists, mut statements) = (Vec::new(), Vec::new(), Vec::new());
    for one in assessed.iter().filter(counts) {
        let Some(statement) = &one.statement else { continue };
        let (subject, kind) = (one.claim.subject.to_string(), &statement.predicate_type);
        if kind == SLSA_PROVENANCE {
            provenance.push(statement.predicate.clone());
        } else if is_list(one) {
            lists.push(json!({"subject": subject, "type": kind, "packages": packages(&statement.predicate)}));
        } else {
            statements.push(json!({"subject": subject, "type": kind, "predicate": statement.predicate}));
        }
    }
    let platforms = facts.platforms.iter().map(|one| {
        json!({
            "manifest": one.manifest.to_string(),
            "user": one.user,
            "created": one.created.clone().unwrap_or_default(),
        })
    });
    json!({
        "image": {"digest": facts.image.to_string(), "platforms": platforms.collect::<Vec<_>>()},
        "now": facts.now.seconds(),
        "claims": assessed.iter().map(|one| json!(one.claim)).collect::<Vec<_>>(),
        "provenance": provenance,
        "sbom": lists,
        "statements": statements,
    })
}

/// Gives the packages of a list of SPDX 2.3 or CycloneDX.
fn packages(list: &Value) -> Vec<Value> {
    let all = |name: &str| list[name].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let spdx = all("packages").map(|one| {
        let references = one["externalRefs"].as_array().into_iter().flatten();
        let purl =
            references.filter(|one| one["referenceType"] == "purl").map(|one| text(&one["referenceLocator"])).next();
        (text(&one["name"]), text(&one["versionInfo"]), purl.unwrap_or_default(), text(&one["licenseDeclared"]))
    });
    let cyclonedx = all("components").filter(|one| one["type"] != "file").map(|one| {
        let licences = one["licenses"].as_array().into_iter().flatten();
        let licence = licences.map(|one| {
            let known = [&one["expression"], &one["license"]["id"], &one["license"]["name"]];
            known.into_iter().find_map(Value::as_str).unwrap_or_default().to_owned()
        });
        (text(&one["name"]), text(&one["version"]), text(&one["purl"]), licence.collect::<Vec<_>>().join(" AND "))
    });
    let package = |(name, version, purl, licence): (String, String, String, String)| {
        let fields = [("name", name), ("version", version), ("purl", purl), ("licence", licence)];
        Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect::<Map<_, _>>())
    };
    spdx.chain(cyclonedx).take(MAX_PACKAGES).map(package).collect()
}

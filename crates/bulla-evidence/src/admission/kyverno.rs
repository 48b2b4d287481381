//! Kyverno: a `ClusterPolicy` with a rule that verifies images (`kyverno.io/v1`). Conditions are JMESPath over a predicate.

use serde_json::{Value, json};

use super::{Admission, AdmissionError, Ask, Asked, Parts, Wanted, takes_legacy};

/// Among the byproducts of provenance, what was enforced and seen.
const RUN: &str = "runDetails.byproducts[?uri=='urn:bulla:run:1'].annotations";

/// Writes the policy.
///
/// # Errors
/// When there is no key, nothing that is looked at is required, or a text cannot stand there.
pub fn kyverno(wanted: &Wanted<'_>) -> Result<Admission, AdmissionError> {
    let parts = Parts::of(wanted)?;
    let attestors = attestors(wanted.keys);
    let mut verify = json!({
        "type": if takes_legacy(wanted.policy) { "Cosign" } else { "SigstoreBundle" },
        "imageReferences": wanted.images,
        "failureAction": "Enforce",
        "mutateDigest": true,
        "verifyDigest": true,
        "required": true,
    });
    if parts.signature {
        verify["attestors"] = attestors.clone();
    }
    let statements: Vec<Value> = parts.statements.iter().map(|asked| statement(asked, &attestors)).collect();
    if !statements.is_empty() {
        verify["attestations"] = statements.into();
    }
    let document = json!({
        "apiVersion": "kyverno.io/v1",
        "kind": "ClusterPolicy",
        "metadata": {"name": wanted.name},
        "spec": {
            "background": false,
            "rules": [{
                "name": "verify-images",
                "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
                "verifyImages": [verify],
            }],
        },
    });
    Ok(Admission { documents: vec![document], unsaid: parts.unsaid })
}

/// One of the keys has to have signed. No log is told of a signature by a key.
fn attestors(keys: &[String]) -> Value {
    let one = |key: &String| {
        json!({"keys": {
            "publicKeys": key,
            "rekor": {"ignoreTlog": true},
            "ctlog": {"ignoreSCT": true},
        }})
    };
    json!([{"count": 1, "entries": keys.iter().map(one).collect::<Vec<_>>()}])
}

fn statement(asked: &Asked<'_>, attestors: &Value) -> Value {
    let conditions: Vec<Value> = asked.asks.iter().flat_map(|ask| conditions(*ask)).collect();
    let mut statement = json!({"type": asked.kind, "attestors": attestors});
    if !conditions.is_empty() {
        statement["conditions"] = json!([{"all": conditions}]);
    }
    statement
}

fn conditions(ask: Ask<'_>) -> Vec<Value> {
    let condition = |path: String, operator: &str, value: Value| json!({"key": format!("{{{{ {path} }}}}"), "operator": operator, "value": value});
    let any = |tests: Vec<String>| tests.join(" || ");
    let starts = |field: &str, text: &str, ends: &[char]| {
        let mut tests = vec![format!("{field} == '{text}'")];
        tests.extend(ends.iter().map(|end| format!("starts_with({field}, '{text}{end}')")));
        any(tests)
    };
    match ask {
        Ask::Builders(builders) => {
            let named = any(builders.iter().map(|id| format!("runDetails.builder.id == '{id}'")).collect());
            vec![condition(named, "Equals", true.into())]
        }
        Ask::Sources(sources) => {
            let named = any(sources.iter().map(|source| starts("uri", source, &['@', '#', '?'])).collect());
            let path = format!("length(buildDefinition.resolvedDependencies[?uri && ({named})])");
            vec![condition(path, "GreaterThan", 0.into())]
        }
        Ask::Bases(bases) => {
            let named = any(bases.iter().map(|base| starts("name", base, &[':', '@'])).collect());
            let path =
                format!("length(buildDefinition.resolvedDependencies[?annotations.kind == 'base' && !({named})])");
            vec![condition(path, "Equals", 0.into())]
        }
        Ask::NoRefusals => vec![
            condition(format!("length({RUN})"), "Equals", 1.into()),
            condition(format!("length({RUN}.steps[] | [?refusals > `0`])"), "Equals", 0.into()),
        ],
        Ask::Compared => vec![condition(format!("{RUN}.compared | [0]"), "Equals", true.into())],
        Ask::Untainted => vec![condition(format!("{RUN}.tainted | [0]"), "Equals", false.into())],
        Ask::AllOwned => {
            let path = "metadata.properties[?name=='bulla:unowned'].value | [0]".to_owned();
            vec![condition(path, "Equals", "0".into())]
        }
        Ask::Reproduced => {
            let path = format!("contains(properties, '{}')", crate::reproduction::REPRODUCED);
            vec![condition(path, "Equals", true.into())]
        }
    }
}

//! Sigstore's policy-controller: `ClusterImagePolicy` (`policy.sigstore.dev/v1beta1`). Conditions are CUE over a whole statement.

use serde_json::{Value, json};

use super::{Admission, AdmissionError, Ask, Asked, Parts, Wanted, takes_legacy};

/// Writes the policies. Of an authority that asks for statements no signature is verified, so signature and statements are two policies; an image that
/// both are about has to satisfy both.
///
/// # Errors
/// When there is no key, nothing that is looked at is required, a text cannot stand there, or bundles alone are taken.
pub fn sigstore(wanted: &Wanted<'_>) -> Result<Admission, AdmissionError> {
    let mut parts = Parts::of(wanted)?;
    if !takes_legacy(wanted.policy) {
        return Err(AdmissionError::Form);
    }
    if wanted.keys.len() > 1 && parts.statements.len() > 1 {
        parts.unsaid("keys: each of the statements has to be signed by the same key, whichever that is");
    }
    let mut documents = Vec::new();
    if parts.signature {
        documents.push(document(wanted, wanted.name.to_owned(), &[]));
    }
    if !parts.statements.is_empty() {
        let name = if parts.signature { format!("{}-statements", wanted.name) } else { wanted.name.to_owned() };
        let statements: Vec<Value> =
            parts.statements.iter().enumerate().map(|(at, asked)| statement(at, asked)).collect();
        documents.push(document(wanted, name, &statements));
    }
    Ok(Admission { documents, unsaid: parts.unsaid })
}

fn document(wanted: &Wanted<'_>, name: String, statements: &[Value]) -> Value {
    // One of the authorities has to be satisfied. An empty `ctlog` says that no log is told of a signature by a key.
    let authority = |(at, key): (usize, &String)| {
        let mut authority = json!({
            "name": format!("key-{}", at + 1),
            "key": {"data": key, "hashAlgorithm": "sha256"},
            "ctlog": {},
            "signatureFormat": "legacy",
        });
        if !statements.is_empty() {
            authority["attestations"] = statements.into();
        }
        authority
    };
    json!({
        "apiVersion": "policy.sigstore.dev/v1beta1",
        "kind": "ClusterImagePolicy",
        "metadata": {"name": name},
        "spec": {
            "mode": "enforce",
            "images": wanted.images.iter().map(|glob| json!({"glob": glob})).collect::<Vec<_>>(),
            "authorities": wanted.keys.iter().enumerate().map(authority).collect::<Vec<_>>(),
        },
    })
}

fn statement(at: usize, asked: &Asked<'_>) -> Value {
    let mut statement = json!({"name": format!("statement-{}", at + 1), "predicateType": asked.kind});
    if !asked.asks.is_empty() {
        let lines: Vec<String> = asked.asks.iter().map(|ask| cue(*ask)).collect();
        let data = format!("import \"list\"\n\n{}\n", lines.join("\n"));
        let needed = if data.contains("list.") { data } else { data.replacen("import \"list\"\n\n", "", 1) };
        statement["policy"] = json!({"type": "cue", "data": needed});
    }
    statement
}

/// Writes a condition (the CUE language specification). A field with `!` has to be there: without it, CUE would take it to be so.
fn cue(ask: Ask<'_>) -> String {
    let run = |what: &str| {
        format!(
            "predicate: runDetails: byproducts: list.MatchN(>=1, {{uri!: \"urn:bulla:run:1\", annotations!: {{{what}, ...}}, ...}})"
        )
    };
    match ask {
        Ask::Builders(builders) => {
            let ids: Vec<String> = builders.iter().map(|id| quoted(id)).collect();
            format!("predicate: runDetails: builder: id!: {}", ids.join(" | "))
        }
        Ask::Sources(sources) => {
            let named = quoted(&format!("^({})([@#?]|$)", any(sources)));
            format!("predicate: buildDefinition: resolvedDependencies: list.MatchN(>=1, {{uri!: =~{named}, ...}})")
        }
        Ask::Bases(bases) => {
            let named = quoted(&format!("^({})([:@]|$)", any(bases)));
            format!(
                "predicate: buildDefinition: resolvedDependencies: list.MatchN(0, {{annotations!: {{kind!: \"base\", ...}}, name!: !~{named}, ...}})"
            )
        }
        Ask::NoRefusals => run("steps!: [...{refusals!: 0, ...}]"),
        Ask::Compared => run("compared!: true"),
        Ask::Untainted => run("tainted!: false"),
        Ask::AllOwned => {
            "predicate: metadata: properties: list.MatchN(>=1, {name!: \"bulla:unowned\", value!: \"0\", ...})"
                .to_owned()
        }
        Ask::Reproduced => {
            format!("predicate: properties!: list.MatchN(>=1, {})", quoted(crate::reproduction::REPRODUCED))
        }
    }
}

/// Writes a text as CUE does, which is as JSON does where no parenthesis comes after a backslash.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Makes a regular expression of texts that mean themselves.
fn any(texts: &[String]) -> String {
    let one = |text: &String| -> String {
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_string() } else { format!("\\{c}") }).collect()
    };
    texts.iter().map(one).collect::<Vec<_>>().join("|")
}

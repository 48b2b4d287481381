use serde_json::json;

use super::*;

const POLICY: &str = "policy: 1
require: [signature, provenance, sbom, reproduced, content]
provenance:
  builders: [https://example.org/builder, https://example.org/other]
  sources: [git+https://example.org/team/shop]
  bases: [registry.example/base/node]
  no-refusals: true
  compared: true
  untainted: true
sbom: {consistent: true, unowned: 0}
image: {non-root: true, max-age: 90d}
identities: [{identity: release@example.org, issuer: https://login.example.org}]
rules:
  - {name: no-copyleft, expression: 'sbom.size() > 0', message: there has to be a list}
exceptions:
  - {rule: max-age, owner: team@example.org, reason: the last release, until: 2026-12-31}
";

fn policy(text: &str) -> Policy {
    Policy::parse("policy.yaml", text.as_bytes()).unwrap_or_else(|errors| panic!("{errors:?}"))
}

fn wanted<'a>(policy: &'a Policy, keys: &'a [String], images: &'a [String]) -> Wanted<'a> {
    Wanted { policy, keys, images, name: "shop" }
}

fn keys() -> Vec<String> {
    ["one", "two"].map(|name| format!("-----BEGIN PUBLIC KEY-----\n{name}\n-----END PUBLIC KEY-----\n")).into()
}

fn images() -> Vec<String> {
    vec!["registry.example/team/*".to_owned()]
}

#[test]
fn kyverno_asks_for_each_statement_by_one_of_the_keys_and_for_what_is_in_it() {
    let policy = policy(POLICY);
    let admission = kyverno(&wanted(&policy, &keys(), &images())).expect("a policy");
    let [document] = admission.documents.as_slice() else { panic!("{:?}", admission.documents) };
    let verify = &document["spec"]["rules"][0]["verifyImages"][0];
    assert_eq!(
        (&verify["type"], &verify["failureAction"], &verify["required"]),
        (&json!("Cosign"), &json!("Enforce"), &json!(true))
    );
    assert_eq!(
        (&verify["attestors"][0]["count"], verify["attestors"][0]["entries"].as_array().map(Vec::len)),
        (&json!(1), Some(2))
    );
    let statements = verify["attestations"].as_array().expect("statements");
    let kinds: Vec<&str> = statements.iter().filter_map(|one| one["type"].as_str()).collect();
    assert_eq!(
        kinds,
        [predicate::SLSA_PROVENANCE, "https://spdx.dev/Document", crate::reproduction::RESULT, CYCLONEDX]
    );
    assert!(statements.iter().all(|one| one["attestors"] == verify["attestors"]), "nothing counts that nobody signed");
    let conditions = statements[0]["conditions"][0]["all"].as_array().expect("conditions");
    assert_eq!(conditions.len(), 7);
    assert!(
        conditions[0]["key"]
            .as_str()
            .is_some_and(|key| key.starts_with("{{ runDetails.builder.id == 'https://example.org/builder' ||"))
    );
}

#[test]
fn sigstore_has_a_policy_for_the_signature_and_one_for_the_statements() {
    let policy = policy(POLICY);
    let admission = sigstore(&wanted(&policy, &keys(), &images())).expect("policies");
    let [signature, statements] = admission.documents.as_slice() else { panic!("{:?}", admission.documents) };
    assert_eq!(
        (&signature["metadata"]["name"], &statements["metadata"]["name"]),
        (&json!("shop"), &json!("shop-statements"))
    );
    assert!(signature["spec"]["authorities"][0].get("attestations").is_none());
    assert_eq!(statements["spec"]["authorities"][1]["attestations"].as_array().map(Vec::len), Some(4));
    assert_eq!(statements["spec"]["authorities"][0]["ctlog"], json!({}));
    let cue = statements["spec"]["authorities"][0]["attestations"][0]["policy"]["data"].as_str().expect("CUE");
    assert!(cue.contains(r#"uri!: =~"^(git\\+https\\:\\/\\/example\\.org\\/team\\/shop)([@#?]|$)""#), "{cue}");
    let bundles = self::policy("policy: 1\nforms: [bundle]\n");
    assert_eq!(sigstore(&wanted(&bundles, &keys(), &images())), Err(AdmissionError::Form));
}

#[test]
fn what_a_language_cannot_say_is_listed_once() {
    let policy = policy(POLICY);
    for admission in [kyverno(&wanted(&policy, &keys(), &images())), sigstore(&wanted(&policy, &keys(), &images()))] {
        let unsaid = admission.expect("a policy").unsaid;
        for about in [
            "content",
            "sbom:",
            "sbom.consistent",
            "image.non-root",
            "image.max-age",
            "`no-copyleft`",
            "exceptions",
            "identities",
        ] {
            assert_eq!(unsaid.iter().filter(|text| text.contains(about)).count(), 1, "{about}: {unsaid:?}");
        }
        for about in ["provenance", "builders", "sources", "bases"] {
            assert!(!unsaid.iter().any(|text| text.starts_with(about)), "{about}: {unsaid:?}");
        }
    }
}

#[test]
fn what_cannot_stand_in_a_policy_is_refused() {
    let signed = policy("policy: 1\n");
    let of = |policy: &Policy, keys: &[String], images: &[&str], name: &str| {
        let images: Vec<String> = images.iter().map(|&image| image.to_owned()).collect();
        let wanted = Wanted { policy, keys, images: &images, name };
        kyverno(&wanted).map(|_| ())
    };
    assert_eq!(of(&signed, &keys(), &["registry.example/*"], "shop.v1"), Ok(()));
    assert_eq!(of(&signed, &[], &["x"], "shop"), Err(AdmissionError::NoKey));
    for name in ["", "Shop", "-shop", "shop:1", &"a".repeat(201)] {
        assert!(matches!(of(&signed, &keys(), &["x"], name), Err(AdmissionError::Name(_))), "{name}");
    }
    let injected =
        policy("policy: 1\nprovenance: {builders: [\"https://x/' || '1\"]}\n".replace("' || '1", "'||'1").as_str());
    assert!(matches!(of(&injected, &keys(), &["x"], "shop"), Err(AdmissionError::Characters(_))));
    assert!(matches!(of(&signed, &keys(), &["{{ x }}"], "shop"), Err(AdmissionError::Characters(_))));
    let nothing = policy("policy: 1\nrequire: [content]\n");
    assert_eq!(of(&nothing, &keys(), &["x"], "shop"), Err(AdmissionError::Nothing));
}

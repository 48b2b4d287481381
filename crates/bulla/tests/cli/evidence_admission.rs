//! Admission policies: what is written of a policy, and whether it takes the evidence of a real build and refuses other evidence.

use std::process::Command;

use bulla_testkit::{Project, SbomTools, TestEnvironment, cue, process};
use serde_json::{Value, json};

use crate::{
    evidence::with_keys,
    world::{self, World},
};

const POLICY: &str = "policy: 1
keys: [one.pub]
require: [signature, provenance, content]
provenance:
  builders: [https://ci.example/release]
  no-refusals: true
  compared: true
  untainted: true
  bases: [registry.example/base/node]
sbom: {unowned: 0}
image: {non-root: true}
";

/// Writes an admission policy, and reads it as JSON by the reader of YAML that Python has, where it has one.
fn admission(environment: &TestEnvironment, project: &Project, kind: &str) -> String {
    let all = ["policy", kind, "policy.yaml", "--image", "registry.example/team/*", "--name", "shop"];
    let ran = environment.run(project, &all).success();
    for unsaid in ["content: whoever pulls", "image.non-root"] {
        assert!(ran.stderr.contains("not said there") && ran.stderr.contains(unsaid), "{}", ran.stderr);
    }
    ran.stdout
}

#[test]
fn policies_of_controllers_have_the_keys_and_say_what_they_cannot_say() {
    let (environment, project, _) = with_keys();
    project.write("policy.yaml", POLICY);
    let kyverno = admission(&environment, &project, "kyverno");
    let key = project.read("one.pub").lines().map(|line| line.to_owned() + "\n").collect::<String>();
    for line in key.lines() {
        assert!(kyverno.contains(&format!("  {line}\n")), "{kyverno}");
    }
    assert!(
        kyverno.starts_with("apiVersion: \"kyverno.io/v1\"\nkind: \"ClusterPolicy\"\nmetadata:\n  name: \"shop\"\n"),
        "{kyverno}"
    );
    let sigstore = admission(&environment, &project, "sigstore");
    assert_eq!(sigstore.matches("kind: \"ClusterImagePolicy\"").count(), 2, "{sigstore}");
    assert!(sigstore.contains("\n---\napiVersion: \"policy.sigstore.dev/v1beta1\"\n"), "{sigstore}");
    // What is no policy, and what cannot be said at all.
    project.write("policy.yaml", "policy: 1\nforms: [bundle]\nkeys: [one.pub]\n");
    let bundles = environment.run(&project, &["policy", "sigstore", "policy.yaml", "--image", "x"]).failure(3);
    assert!(bundles.stderr.contains("of certificates only"), "{}", bundles.stderr);
    project.write("policy.yaml", "policy: 1\n");
    let nobody = environment.run(&project, &["policy", "kyverno", "policy.yaml", "--image", "x"]).failure(3);
    assert!(nobody.stderr.contains("--key FILE"), "{}", nobody.stderr);
    environment.run(&project, &["policy", "kyverno", "policy.yaml", "--image", "x", "--key", "two.pub"]).success();
}

/// Gives the predicates of a layout's statements that nobody signed, by their types.
fn predicate(project: &Project, kind: &str) -> Value {
    let all = crate::provenance::statements(&project.path("bulla-out"));
    all.into_iter().find(|one| one.1 == kind).expect("a statement").2["predicate"].clone()
}

/// Provenance and list of a real build, with changes that each condition has to refuse.
fn evidence(test: &str) -> Option<(Project, Vec<(&'static str, Value)>)> {
    let world = World::new(test)?;
    let mut config = fs_err::read_to_string(world.environment.config()).expect("a configuration");
    config.push_str("[evidence]\nbuilder = \"https://ci.example/release\"\n");
    world.environment.write_config(&config);
    let project = world::project(&world::GOOD);
    world.build(&project, &["--compare"]).success();
    let good = predicate(&project, "https://slsa.dev/provenance/v1");
    let run = "/runDetails/byproducts/0/annotations";
    let base = json!({"name": "evil.example/x:1", "uri": "pkg:oci/x", "annotations": {"kind": "base"}});
    let mut all = vec![("good", good.clone())];
    for (name, place, value) in [
        ("builder", "/runDetails/builder/id".to_owned(), json!("https://evil.example")),
        ("no-refusals", format!("{run}/steps/0/refusals"), json!(1)),
        ("compared", format!("{run}/compared"), json!(false)),
        ("untainted", format!("{run}/tainted"), json!(true)),
        ("run", "/runDetails/byproducts".to_owned(), json!([])),
        ("base", "/buildDefinition/resolvedDependencies/0".to_owned(), base),
    ] {
        let mut changed = good.clone();
        *changed.pointer_mut(&place).unwrap_or_else(|| panic!("{place} in {good}")) = value;
        all.push((name, changed));
    }
    Some((project, all))
}

#[test]
fn conditions_of_kyverno_take_real_provenance_and_refuse_what_was_changed() {
    let test = "conditions in JMESPath";
    let (Some(tools), Some((project, all))) = (SbomTools::get(test), evidence(test)) else { return };
    let policy = POLICY.replace("keys: [one.pub]\n", "");
    let policy = bulla_evidence::policy::Policy::parse("policy.yaml", policy.as_bytes()).expect("a policy");
    let (keys, images) = (["key".to_owned()], ["x".to_owned()]);
    let wanted = bulla_evidence::admission::Wanted { policy: &policy, keys: &keys, images: &images, name: "shop" };
    let document = bulla_evidence::admission::kyverno(&wanted).expect("a policy").documents.remove(0);
    let statements = document["spec"]["rules"][0]["verifyImages"][0]["attestations"].as_array().expect("statements");
    let conditions = |kind: &str| -> Vec<(String, String, Value)> {
        let statement = statements.iter().find(|one| one["type"] == kind).expect("a type");
        let all = statement["conditions"][0]["all"].as_array().expect("conditions").iter();
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let bare = |key: &str| key.trim_start_matches("{{ ").trim_end_matches(" }}").to_owned();
        all.map(|one| (bare(&text(&one["key"])), text(&one["operator"]), one["value"].clone())).collect()
    };
    let check = |kind: &str, predicate: &Value| {
        let asked = conditions(kind);
        assert!(asked.iter().all(|(_, operator, _)| operator == "Equals"), "{asked:?}");
        let list: Vec<Value> = asked.iter().map(|(path, _, value)| json!([path, predicate, value])).collect();
        tools.wrong("jmespath", &project.write("asked.json", Value::from(list).to_string()))
    };
    for (name, predicate) in &all {
        let wrong = check("https://slsa.dev/provenance/v1", predicate);
        assert_eq!(wrong.is_empty(), *name == "good", "{name}: {wrong}");
    }
    let list = predicate(&project, "https://cyclonedx.org/bom");
    assert_eq!(check("https://cyclonedx.org/bom", &list), "");
    let unowned = list.to_string().replace(r#""bulla:unowned","value":"0""#, r#""bulla:unowned","value":"1""#);
    assert_ne!(check("https://cyclonedx.org/bom", &serde_json::from_str(&unowned).expect("JSON")), "");
}

#[test]
fn conditions_of_policy_controller_take_real_provenance_and_refuse_what_was_changed() {
    let test = "conditions in CUE";
    let (Some(program), Some((project, all))) = (cue::holder(test), evidence(test)) else { return };
    let policy = POLICY
        .replace("keys: [one.pub]\n", "")
        .replace("  no-refusals", "  sources: [pkg:deb/debian/tools]\n  no-refusals");
    let policy = bulla_evidence::policy::Policy::parse("policy.yaml", policy.as_bytes()).expect("a policy");
    let (keys, images) = (["key".to_owned()], ["x".to_owned()]);
    let wanted = bulla_evidence::admission::Wanted { policy: &policy, keys: &keys, images: &images, name: "shop" };
    let document = bulla_evidence::admission::sigstore(&wanted).expect("policies").documents.remove(1);
    let statements = document["spec"]["authorities"][0]["attestations"].as_array().expect("statements");
    let rules = |kind: &str| {
        let statement = statements.iter().find(|one| one["predicateType"] == kind).expect("a type");
        statement["policy"]["data"].as_str().expect("CUE").to_owned()
    };
    let hold = |kind: &str, documents: &[(&str, Value)]| -> Vec<(String, String)> {
        project.write("rules.cue", rules(kind));
        let mut hold = Command::new(&program);
        hold.current_dir(project.root()).arg("rules.cue");
        for (name, predicate) in documents {
            // A controller gives a whole statement.
            project.write(name, json!({"predicateType": kind, "predicate": predicate}).to_string());
            hold.arg(name);
        }
        let told = process::output(&mut hold).unwrap_or_else(|why| panic!("{why}"));
        told.lines()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, told)| (name.to_owned(), told.to_owned()))
            .collect()
    };
    let found = hold("https://slsa.dev/provenance/v1", &all);
    assert_eq!(found.len(), all.len(), "{found:?}");
    for (name, told) in &found {
        assert_eq!(told.is_empty(), name == "good", "{name}: {told}");
    }
    let list = predicate(&project, "https://cyclonedx.org/bom");
    let unowned = list.to_string().replace(r#""bulla:unowned","value":"0""#, r#""bulla:unowned","value":"1""#);
    let unowned = serde_json::from_str(&unowned).expect("JSON");
    let found = hold("https://cyclonedx.org/bom", &[("good", list), ("unowned", unowned)]);
    assert!(found[0].1.is_empty() && !found[1].1.is_empty(), "{found:?}");
}

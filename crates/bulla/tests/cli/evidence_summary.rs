//! What `bulla verify` says for other programs: SARIF, and summaries that are attached to the image.

use std::process::Command;

use bulla_testkit::{Project, SbomTools, TestEnvironment, process, sarif_schema};
use serde_json::{Value, json};

use crate::evidence::{count, report, with_keys};

const SUMMARY: &str = "https://slsa.dev/verification_summary/v1";

#[track_caller]
fn sarif(environment: &TestEnvironment, project: &Project, code: i32, arguments: &[&str]) -> Value {
    let ran = environment.run(project, &[&["verify", "--format", "sarif"], arguments].concat()).failure(code);
    serde_json::from_str(&ran.stdout).expect("JSON")
}

#[test]
fn what_is_not_proven_is_a_result_of_sarif_and_nothing_else() {
    let (environment, project, image) = with_keys();
    environment.run(&project, &["sign", "oci:bulla-out", "--key", "one.key"]).success();
    let good = sarif(&environment, &project, 0, &["oci:bulla-out", "--key", "one.pub"]);
    assert_eq!(good["runs"][0]["results"], json!([]), "{good}");
    let bad = sarif(&environment, &project, 7, &["oci:bulla-out", "--key", "two.pub", "--require", "signature,sbom"]);
    let results = bad["runs"][0]["results"].as_array().expect("results");
    let of =
        |rule: &str, level: &str| results.iter().filter(|one| one["ruleId"] == rule && one["level"] == level).count();
    assert_eq!((of("required", "error"), of("signature", "note"), results.len()), (2, 2, 4), "{bad}");
    let rules = bad["runs"][0]["tool"]["driver"]["rules"].as_array().expect("rules");
    for one in results {
        let index = usize::try_from(one["ruleIndex"].as_u64().expect("a number")).expect("small");
        assert_eq!(rules[index]["id"], one["ruleId"]);
        assert_eq!(one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"], "bulla-out");
    }
    assert!(bad.to_string().contains(&image.to_string()));
    // The same finding is the same result.
    let again = sarif(&environment, &project, 7, &["oci:bulla-out", "--key", "two.pub", "--require", "signature,sbom"]);
    assert_eq!(bad, again);
}

#[test]
fn a_log_is_what_the_schema_of_sarif_says() {
    let test = "the schema of SARIF";
    let (Some(tools), Some(schema)) = (SbomTools::get(test), sarif_schema(test)) else { return };
    let (environment, project, _) = with_keys();
    environment.run(&project, &["sign", "oci:bulla-out", "--key", "one.key"]).success();
    project.write(
        "policy.yaml",
        "policy: 1\nimage: {max-age: 1h}\nrules:\n  - {name: never, expression: 'false', message: x}\n",
    );
    let all = ["oci:bulla-out", "--key", "two.pub", "--policy", "policy.yaml"];
    let mut log = sarif(&environment, &project, 7, &all);
    assert!(log["runs"][0]["results"].as_array().is_some_and(|results| results.len() > 3), "{log}");
    let check = |log: &Value| tools.held_against(&schema, &project.write("log.sarif", log.to_string()));
    assert_eq!(check(&log), "");
    log["runs"][0]["results"][0]["level"] = "loud".into();
    assert_ne!(check(&log), "", "the control");
}

/// Reads the payload of a bundle.
fn payload(project: &Project, bundle: &str) -> Value {
    let script = "import sys,json,base64;print(base64.b64decode(json.load(open(sys.argv[1]))['dsseEnvelope']['payload']).decode())";
    let told = process::output(Command::new("python3").args(["-c", script]).arg(project.path(bundle))).expect("python");
    serde_json::from_str(&told).expect("JSON")
}

#[test]
fn a_summary_says_what_came_out_and_can_lie_beside_the_image() {
    let (environment, project, image) = with_keys();
    environment.run(&project, &["sign", "oci:bulla-out", "--key", "one.key"]).success();
    project.write("policy.yaml", "policy: 1\nuri: https://example.org/policies/release\nkeys: [one.pub]\n");
    let verify = ["verify", "oci:bulla-out", "--policy", "policy.yaml", "--vsa", "summary.json"];
    environment.run(&project, &verify).success();
    let statement: Value = serde_json::from_str(&project.read("summary.json")).expect("JSON");
    assert_eq!(
        (&statement["predicateType"], &statement["subject"][0]["digest"]["sha256"]),
        (&json!(SUMMARY), &json!(image.hex()))
    );
    let predicate = &statement["predicate"];
    assert_eq!(
        (&predicate["verificationResult"], &predicate["policy"]["uri"]),
        (&json!("PASSED"), &json!("https://example.org/policies/release"))
    );
    assert_eq!(predicate["policy"]["digest"]["sha256"], bulla_model::Digest::of(project.read("policy.yaml")).hex());
    assert_eq!(predicate["verifiedLevels"], json!(["SLSA_BUILD_LEVEL_UNEVALUATED"]));
    assert_eq!(predicate["verifier"]["id"], "urn:bulla:verifier:local");
    assert_eq!(predicate["inputAttestations"].as_array().map(Vec::len), Some(2), "the two signatures that are proven");
    // Attached by the verifier's own key, and asked for by others.
    let attest = ["attest", "oci:bulla-out", "--type", "vsa", "--predicate", "summary.json", "--key", "two.key"];
    environment.run(&project, &attest).success();
    let keys = ["oci:bulla-out", "--key", "one.pub", "--key", "two.pub", "--require", "signature,vsa"];
    assert_eq!(count(&report(&environment, &project, 0, &keys), SUMMARY, "proven"), 2);
    // Signed at once it is a bundle; the verifier has the name of the configuration.
    environment.write_config("[evidence]\nverifier = \"https://ci.example/verifiers/release\"\n");
    let signed = [&verify[..5], &["signed.json", "--sign", "two.key"]].concat();
    environment.run(&project, &signed).success();
    assert_eq!(payload(&project, "signed.json")["predicate"]["verifier"]["id"], "https://ci.example/verifiers/release");
    // What is not passed has a summary that says so, and no level.
    project.write("policy.yaml", "policy: 1\nkeys: [two.pub]\nrequire: [sbom]\n");
    environment.run(&project, &verify).failure(7);
    let failed: Value = serde_json::from_str(&project.read("summary.json")).expect("JSON");
    assert_eq!(
        (&failed["predicate"]["verificationResult"], &failed["predicate"]["verifiedLevels"]),
        (&json!("FAILED"), &json!(["FAILED"]))
    );
    // A statement about another image, or of another type, is not made one about this.
    let other = project.read("summary.json").replace(&image.hex(), &"0".repeat(64));
    project.write("summary.json", other);
    let refused = environment.run(&project, &attest).failure(3);
    assert!(refused.stderr.contains("what it is about is not what was asked for"), "{}", refused.stderr);
    environment.run(&project, &["verify", "oci:bulla-out", "--key", "one.pub", "--sign", "two.key"]).failure(2);
}

#[test]
fn a_summary_of_a_file_names_it_and_in_toto_takes_it() {
    let (environment, project, _) = with_keys();
    project.write("shop.tar", "the program");
    environment.run(&project, &["sign", "file:shop.tar", "--key", "one.key"]).success();
    environment.run(&project, &["verify", "file:shop.tar", "--key", "one.pub", "--vsa", "summary.json"]).success();
    let statement: Value = serde_json::from_str(&project.read("summary.json")).expect("JSON");
    let resource = statement["predicate"]["resourceUri"].as_str().expect("a URI");
    assert!(resource.starts_with("pkg:generic/shop.tar?checksum=sha256:"), "{resource}");
    assert_eq!(statement["predicate"]["policy"]["uri"], "urn:bulla:required:signature");
    let Some(tools) = SbomTools::get("summaries and in-toto's library") else { return };
    let check = |value: &Value| tools.wrong("vsa", &project.write("statement.json", value.to_string()));
    assert_eq!(check(&statement), "");
    for (place, wrong) in [
        ("/predicate/verifier/id", json!("")),
        ("/predicate/timeVerified", json!("yesterday")),
        ("/predicate/inputAttestations/0/digest", json!({"sha256": "x"})),
        ("/predicate/verifiedLevels", json!("SLSA_BUILD_LEVEL_3")),
        ("/predicate/verificationResult", json!("")),
    ] {
        let mut changed = statement.clone();
        *changed.pointer_mut(place).expect("a place") = wrong;
        assert_ne!(check(&changed), "", "{place}");
    }
}

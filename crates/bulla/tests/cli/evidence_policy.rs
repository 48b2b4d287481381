//! Policies: each rule on the evidence of real builds, and expressions that would never end.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{
    evidence::report,
    evidence_lists::{Listed, listed},
    world::{self, World},
};

/// Verifies by a policy, which names no key; gives the verdict and the sentence of a rule.
#[track_caller]
fn rule(listed: &Listed, policy: &str, code: i32, name: &str) -> (String, String) {
    listed.project.write("policy.yaml", format!("policy: 1\n{policy}"));
    let all = ["oci:bulla-out", "--key", &listed.public, "--policy", "policy.yaml"];
    let report = report(&listed.world.environment, &listed.project, code, &all);
    of_rule(&report, name)
}

#[track_caller]
fn of_rule(report: &Value, name: &str) -> (String, String) {
    let claims = report["claims"].as_array().expect("claims");
    let claim = claims.iter().find(|claim| claim["about"]["kind"] == "rule" && claim["about"]["type"] == name);
    let claim = claim.unwrap_or_else(|| panic!("{name} in {report}"));
    let text = |name: &str| claim[name].as_str().unwrap_or_default().to_owned();
    (text("verdict"), text("detail"))
}

#[test]
fn rules_are_held_or_not_by_what_a_build_did() {
    let test = "rules on the evidence of a build";
    let Some(mut world) = World::new(test) else { return };
    world.environment = world.environment.set("BULLA_KEY_PASSWORD", "correct horse");
    let folder = tempfile::tempdir().expect("a folder");
    let [private, public] = ["one.key", "one.pub"].map(|name| folder.path().join(name).display().to_string());
    let good = world::project(&world::GOOD);
    world.environment.run(&good, &["key", "generate", "--output", &private]).success();
    let policy = "policy: 1\nprovenance: {no-refusals: true, compared: true, untainted: true, bases: [registry.example/base]}\n\
        sbom: {consistent: true, unowned: 0}\nimage: {non-root: true}\n";
    let verify = |project: &bulla_testkit::Project, code: i32| {
        project.write("policy.yaml", policy);
        report(&world.environment, project, code, &["oci:bulla-out", "--key", &public, "--policy", "policy.yaml"])
    };
    let all = ["no-refusals", "compared", "untainted", "base", "consistent-sbom", "unowned", "non-root"];
    world.build(&good, &["--sign", &private, "--compare"]).success();
    let held = verify(&good, 0);
    for name in all {
        assert_eq!(of_rule(&held, name).0, "proven", "{name}: {held}");
    }
    assert_eq!(of_rule(&held, "base").1, "it stands on no image");
    // Not compared, with a refusal, and with what a cache had.
    let stage = "    cache: [/cache]\n";
    let steps = [
        "mkdir out; cp hello out/hello; busybox nc -w 1 192.0.2.7 443 </dev/null || true",
        "cat /cache/x >out/x || true; echo x >/cache/x",
    ];
    let bad = world::project_with(stage, &steps);
    let ran = world.build(&bad, &["--sign", &private]);
    let ran = if ran.code == Some(0) { ran } else { panic!("{}", ran.stderr) };
    drop(ran);
    bad.write("app/hello", "again\n");
    world.build(&bad, &["--sign", &private]).success();
    let not = verify(&bad, 7);
    for (name, says) in
        [("no-refusals", "what they were not given (build/1)"), ("compared", "not compared"), ("untainted", "cache")]
    {
        let (verdict, detail) = of_rule(&not, name);
        assert!(verdict == "failed" && detail.contains(says), "{name}: {detail}");
    }
    // An exception holds for it, and proves nothing.
    let excepted = format!(
        "{policy}exceptions:\n  - {{rule: compared, owner: a@example.org, reason: too slow, until: 2100-01-01}}\n"
    );
    bad.write("policy.yaml", excepted);
    let all = ["oci:bulla-out", "--key", &public, "--policy", "policy.yaml"];
    assert_eq!(of_rule(&report(&world.environment, &bad, 7, &all), "compared").0, "asserted");
}

#[test]
fn a_list_of_another_image_or_with_files_of_nobody_holds_no_rule() {
    let Some(listed) = listed("rules about lists") else { return };
    let policy = "sbom: {consistent: true, unowned: 0}\n";
    assert_eq!(rule(&listed, policy, 0, "unowned"), ("proven".to_owned(), "0 files have no owner".to_owned()));
    // Somebody who did not build it makes a list of what is there, and signs that: a file is nobody's then.
    listed.world.build(&listed.project, &["--evidence", "none"]).success();
    let (verdict, detail) = rule(&listed, policy, 7, "consistent-sbom");
    assert!(verdict == "failed" && detail.ends_with("there is none"), "{detail}");
    let stranger = crate::offline().set("BULLA_KEY_PASSWORD", "correct horse");
    let list = stranger.run(&listed.project, &["sbom", "oci:bulla-out", "--format", "cyclonedx-1.6"]).success().stdout;
    listed.project.write("list.json", list);
    for arguments in [
        vec!["sign", "oci:bulla-out", "--key", &listed.private],
        vec!["attest", "oci:bulla-out", "--type", "cyclonedx", "--predicate", "list.json", "--key", &listed.private],
    ] {
        stranger.run(&listed.project, &arguments).success();
    }
    let (verdict, detail) = rule(&listed, policy, 7, "unowned");
    assert!(verdict == "failed" && detail.ends_with("and 0 are the most"), "{detail}");
    assert_eq!(rule(&listed, "sbom: {consistent: true, unowned: 1000}\n", 0, "unowned").0, "proven");
}

#[test]
fn expressions_see_the_image_its_claims_provenance_and_lists() {
    let Some(listed) = listed("expressions of a policy") else { return };
    let with = |expression: &str, code: i32| {
        let policy =
            format!("rules:\n  - name: mine\n    expression: |-\n      {expression}\n    message: it is not mine\n");
        rule(&listed, &policy, code, "mine")
    };
    for held in [
        "image.platforms.all(p, p.user == '65532') && now > 1700000000",
        "provenance.size() == 2 && provenance[0].runDetails.builder.id.startsWith('urn:bulla:')",
        "provenance.all(p, p.runDetails.byproducts.exists(b, b.uri == 'urn:bulla:run:1' && !b.annotations.tainted))",
        "sbom.exists(s, s.packages.exists(p, p.name == 'libextra' && p.version == '3' && p.purl.startsWith('pkg:deb/')))",
        "sbom.size() > 0 && sbom.all(s, s.packages.all(p, !p.licence.matches('A?GPL-3.*')))",
        "claims.exists(c, c.verdict == 'proven' && c.about.kind == 'content')",
        "statements.exists(s, s.type.contains('runtime-trace')) || true",
        "image.digest.startsWith('sha256:')",
    ] {
        assert_eq!(with(held, 0).0, "proven", "{held}");
    }
    assert_eq!(with("image.platforms.exists(p, p.user == '0')", 7), ("failed".to_owned(), "it is not mine".to_owned()));
    for (expression, says) in [
        ("image.name == 'x'", "No such key: name"),
        ("nothing == 1", "Undeclared reference to "),
        ("image.digest", "neither true nor false"),
        ("1 / 0 == 1", "Division by zero"),
    ] {
        let (verdict, detail) = with(expression, 7);
        assert!(verdict == "failed" && detail.starts_with("policy.yaml:5: `") && detail.contains(says), "{detail}");
    }
    // What is none is a mistake of the policy, with its place.
    listed.project.write("policy.yaml", "policy: 1\nrules:\n  - {name: mine, expression: 'image ==', message: x}\n");
    let all = ["verify", "oci:bulla-out", "--key", &listed.public, "--policy", "policy.yaml"];
    let wrong = listed.world.environment.run(&listed.project, &all).failure(3);
    assert!(
        wrong.stderr.contains("policy.yaml:3:") && wrong.stderr.contains("no expression in CEL"),
        "{}",
        wrong.stderr
    );
}

#[test]
fn expressions_without_end_are_ended_and_hold_nothing() {
    let Some(listed) = listed("expressions without end") else { return };
    let grown = format!("['xxxxxxxx']{}.size() == 1", ".map(a, a + a)".repeat(60));
    let lists = format!("[1,2,3,4,5,6,7,8,9,10]{}.size() == 0", ".map(a, [a,a,a,a,a,a,a,a])".repeat(12));
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let many = "[1,2,3,4,5,6,7,8,9,10]";
    let nested = names.iter().fold("true".to_owned(), |inner, name| format!("{many}.all({name}, {inner})"));
    for hostile in [&grown, &nested, &lists] {
        let began = Instant::now();
        let policy = format!("rules:\n  - name: mine\n    expression: \"{hostile}\"\n    message: it is not mine\n");
        listed.project.write("policy.yaml", format!("policy: 1\n{policy}"));
        let all = ["verify", "oci:bulla-out", "--key", &listed.public, "--policy", "policy.yaml"];
        let ran = listed.world.environment.run(&listed.project, &all).failure(7);
        let ended = ran.stdout.contains("it takes more than") || ran.stdout.contains("it is not mine");
        assert!(ended, "{}", ran.stdout);
        assert!(began.elapsed() < Duration::from_secs(50), "{:?}", began.elapsed());
    }
}

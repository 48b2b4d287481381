use bulla_model::{Digest, Epoch};
use serde_json::{Value, json};

use super::*;
use crate::{
    Statement, Subject, bundle,
    key::{PrivateKey, Signer as _, tests::keys},
    predicate::SLSA_PROVENANCE,
    simple,
    verify::{About, Assessed, Content, Piece, TrustedKey, Verdict, assess},
};

const FULL: &str = "policy: 1
keys: [release.pub]
forms: [bundle]
require: [signature, provenance, spdxjson, https://example.org/review/v1]
provenance:
  builders: [https://example.org/builder]
  sources: [git+https://example.org/shop]
image:
  non-root: true
  max-age: 90d
exceptions:
  - rule: non-root
    owner: team@example.org
    reason: the port is below 1024
    until: 2026-12-31
";

fn told(errors: &SpecErrors) -> String {
    errors.iter().map(|error| format!("{}: {}\n", error.at.line, error.message)).collect()
}

fn policy(text: &str) -> Policy {
    Policy::parse("policy.yaml", text.as_bytes()).unwrap_or_else(|errors| panic!("{}", told(&errors)))
}

#[test]
fn a_policy_is_read_whole_and_its_mistakes_have_their_lines() {
    let full = policy(FULL);
    assert_eq!((full.keys.len(), full.forms.as_slice(), full.require.len()), (1, [Form::Bundle].as_slice(), 4));
    assert_eq!((full.max_age, full.exceptions[0].last_day().as_str()), (Some(90 * DAY), "2026-12-31"));
    let least = policy("policy: 1\n");
    assert_eq!((least.require, least.forms.len(), least.non_root), (vec![Requirement::Signature], 2, false));
    for (change, into, line, says) in [
        ("policy: 1", "policy: 2", 1, "the only version"),
        ("keys: [release.pub]", "identities: [{identity: a}]", 2, "issuer"),
        ("keys: [release.pub]", "identities: [{identity: /(/, issuer: b}]", 2, "a pattern"),
        ("keys: [release.pub]", "trusted-root: ''", 2, "the path of a trusted root"),
        ("forms: [bundle]", "forms: [paper]", 3, "`bundle` or `legacy`"),
        ("spdxjson", "everything", 4, "expected content, signature"),
        ("non-root: true", "nonroot: true", 9, "nonroot"),
        ("non-root: true", "non-root: yes", 9, "true"),
        ("90d", "90", 10, "an age"),
        ("90d", "99999999999999999999d", 10, "an age"),
        ("rule: non-root", "rule: signature", 12, "is no rule: there are builder, source"),
        ("rule: non-root", "rule: Non Root", 12, "the name of a rule"),
        (
            "image:\n",
            "rules:\n  - {name: unowned, expression: 'true', message: x}\nimage:\n",
            9,
            "the name of another rule",
        ),
        ("image:\n", "rules:\n  - {name: mine, expression: 'image.', message: x}\nimage:\n", 9, "no expression in CEL"),
        ("image:\n", "sbom: {unowned: none}\nimage:\n", 8, "none"),
        ("  sources:", "  bases: [node]\n  sources:", 7, "HOST/REPOSITORY"),
        ("owner: team@example.org", "owner: ''", 13, "a few words"),
        ("2026-12-31", "2026-12-32", 15, "the last day"),
        ("2026-12-31", "soon", 15, "the last day"),
        ("    until: 2026-12-31\n", "", 12, "until"),
    ] {
        let text = FULL.replacen(change, into, 1);
        let errors = Policy::parse("policy.yaml", text.as_bytes()).expect_err(into);
        let plain = told(&errors);
        assert!(plain.contains(says), "{into}: {plain}");
        assert!(errors.iter().any(|error| error.at.line == line), "{into}: {plain}");
    }
}

fn provenance(builder: &str, source: &str) -> Value {
    json!({
        "buildDefinition": {"buildType": "x", "externalParameters": {}, "resolvedDependencies": [{"uri": source}]},
        "runDetails": {"builder": {"id": builder}}
    })
}

fn assessed(predicate: Value, key: &PrivateKey, legacy: bool) -> Assessed {
    let subject = Digest::of("image");
    let statement = Statement::new(vec![Subject::new(None, &subject)], SLSA_PROVENANCE, predicate);
    let content = match legacy {
        true => Content::Envelope { bytes: simple::attest(&statement, key).expect("signed").1, keyless: false },
        false => Content::Bundle(bundle::sign(&statement, key).expect("signed")),
    };
    let trusted = [TrustedKey { name: "release.pub".into(), key: keys()[0].public().clone() }];
    assess(&Piece { subject, content }, &trusted)
}

fn facts(user: &str, created: &str, now: u64) -> Facts {
    let image = Digest::of("image");
    let platform = PlatformFacts { manifest: image, user: user.to_owned(), created: Some(created.to_owned()) };
    Facts { image, platforms: vec![platform], now: Epoch::new(now).expect("a time") }
}

/// 2026-11-28.
const NOW: u64 = 1_795_824_000;
const RECENT: &str = "2026-11-01T00:00:00Z";

/// Gives the verdict of each rule of a policy.
fn verdicts(text: &str, facts: &Facts, assessed: &[Assessed]) -> Vec<(String, Verdict)> {
    let claims = policy(text).judge(facts, assessed);
    let rule = |about: About| if let About::Rule(rule) = about { rule } else { panic!("{about:?} is no rule") };
    claims.into_iter().map(|claim| (rule(claim.about), claim.verdict)).collect()
}

#[test]
fn people_and_patterns_of_people_may_sign_where_a_policy_says_so() {
    let text = "policy: 1
trusted-root: root.json
identities:
  - {identity: release@example.org, issuer: https://issuer.example}
  - {identity: '/https://forge.example/team/[a-z]+/workflow@refs/tags/.*/', issuer: https://forge.example}
";
    let policy = policy(text);
    assert_eq!(policy.trusted_root.as_deref(), Some("root.json"));
    let may = |identity: &str, issuer: &str| policy.identities.iter().any(|one| one.is(identity, issuer));
    assert!(may("release@example.org", "https://issuer.example"));
    assert!(may("https://forge.example/team/shop/workflow@refs/tags/1", "https://forge.example"));
    assert!(!may("release@example.org", "https://forge.example"));
    assert!(!may("https://forge.example/team/shop/other@refs/tags/1", "https://forge.example"));
}

#[test]
fn each_rule_is_held_or_not_by_what_is_proven() {
    let [one, two] = keys();
    let builder = "https://example.org/builder";
    let good = || provenance(builder, "git+https://example.org/shop@refs/heads/main");
    let check = |facts: &Facts, pieces: &[Assessed]| -> Vec<Verdict> {
        let without = FULL.split("exceptions:").next().expect("a text");
        verdicts(without, facts, pieces).into_iter().map(|(_, verdict)| verdict).collect()
    };
    use Verdict::{Failed, Proven};
    let fine = facts("65532", RECENT, NOW);
    assert_eq!(check(&fine, &[assessed(good(), &one, false)]), [Proven; 4]);
    for (pieces, builder_is, source_is) in [
        (vec![], Failed, Failed),
        (vec![assessed(good(), &two, false)], Failed, Failed),
        (vec![assessed(good(), &one, true)], Failed, Failed),
        (
            vec![assessed(provenance("https://evil.example", "git+https://example.org/shop"), &one, false)],
            Failed,
            Proven,
        ),
        (vec![assessed(provenance(builder, "git+https://example.org/shop2"), &one, false)], Proven, Failed),
        (vec![assessed(good(), &one, false), assessed(provenance("x:y", "x:z"), &one, false)], Failed, Failed),
        (vec![assessed(json!({}), &one, false)], Failed, Failed),
    ] {
        assert_eq!(check(&fine, &pieces), [builder_is, source_is, Proven, Proven]);
    }
    let pieces = [assessed(good(), &one, false)];
    for user in ["", "0", "root", "0:1000", "root:root", "00", "nobody"] {
        assert_eq!(check(&facts(user, RECENT, NOW), &pieces)[2], Failed, "{user}");
    }
    assert_eq!(check(&facts("1000:0", RECENT, NOW), &pieces)[2], Proven);
    for created in ["2026-08-01T00:00:00Z", "2027-01-01T00:00:00Z", "", "yesterday", "2026-13-01T00:00:00Z"] {
        assert_eq!(check(&facts("1", created, NOW), &pieces)[3], Failed, "{created}");
    }
    assert_eq!(check(&facts("1", "2026-11-28T00:00:00.123Z", NOW), &pieces)[3], Proven);
    let nothing = Facts { platforms: Vec::new(), ..fine };
    assert_eq!(check(&nothing, &pieces)[2..], [Failed, Failed]);
}

#[test]
fn an_exception_holds_for_its_rule_and_image_until_its_last_day() {
    let text = FULL.replace(
        "provenance:\n  builders: [https://example.org/builder]\n  sources: [git+https://example.org/shop]\n",
        "",
    );
    let of = |text: &str, now| verdicts(text, &facts("0", RECENT, now), &[])[0].1;
    let last = 1_798_675_200; // 2026-12-31, its first second
    assert_eq!(of(&text, NOW), Verdict::Asserted, "it is no proof");
    assert_eq!(of(&text, last + DAY - 1), Verdict::Asserted);
    assert_eq!(of(&text, last + DAY), Verdict::Failed);
    let other = text.replace("rule: non-root", "rule: max-age");
    assert_eq!(of(&other, NOW), Verdict::Failed);
    for (image, verdict) in [(Digest::of("image"), Verdict::Asserted), (Digest::of("other"), Verdict::Failed)] {
        assert_eq!(of(&text.replace("    owner", &format!("    image: {image}\n    owner")), NOW), verdict);
    }
    let claims = policy(&text).judge(&facts("0", RECENT, NOW), &[]);
    assert!(claims[0].detail.contains("team@example.org") && claims[0].detail.contains("below 1024"), "{claims:?}");
}

/// Provenance with what was enforced and seen, and what was used.
fn built(run: Value, used: Value) -> Value {
    let mut built = provenance("https://example.org/builder", "git+https://example.org/shop");
    let digest = Digest::of("x").hex();
    built["buildDefinition"]["externalParameters"] =
        json!({"spec": {"digest": {"sha256": digest}}, "lock": {"digest": {"sha256": digest}}, "platforms": []});
    built["buildDefinition"]["internalParameters"] = json!({"epoch": "", "formats": {}, "steps": []});
    built["buildDefinition"]["resolvedDependencies"] = used;
    built["runDetails"]["metadata"] = json!({"invocationId": "i", "startedOn": "", "finishedOn": ""});
    built["runDetails"]["byproducts"] = json!([{"uri": "urn:bulla:run:1", "annotations": run}]);
    built
}

fn seen(refusals: u64, compared: bool, tainted: bool) -> Value {
    let isolation = json!({"namespaces": [], "filter": "", "limits": "", "overlay": true, "capabilities": 0});
    let step = json!({"step": "build/1", "action": "0", "cached": false, "refusals": refusals, "isolation": isolation});
    json!({"tainted": tainted, "compared": compared, "steps": [step]})
}

#[test]
fn what_a_build_did_is_held_against_the_policy() {
    let [one, two] = keys();
    use Verdict::{Failed, Proven};
    let text = "policy: 1\nprovenance: {no-refusals: true, compared: true, untainted: true}\n";
    let check = |pieces: &[Assessed]| -> Vec<Verdict> {
        verdicts(text, &facts("1", RECENT, NOW), pieces).into_iter().map(|(_, verdict)| verdict).collect()
    };
    let of = |run: Value| assessed(built(run, json!([])), &one, false);
    assert_eq!(check(&[of(seen(0, true, false))]), [Proven; 3]);
    assert_eq!(check(&[of(seen(1, true, false))]), [Failed, Proven, Proven]);
    assert_eq!(check(&[of(seen(0, false, true))]), [Proven, Failed, Failed]);
    // Another invocation made the same image without comparing it; what the one has seen is true of it, what the other found too.
    assert_eq!(check(&[of(seen(0, true, false)), of(seen(3, false, true))]), [Failed, Proven, Failed]);
    // What does not say it, or what a key that is not named signed, says nothing.
    assert_eq!(check(&[assessed(provenance("x:y", "x:z"), &one, false)]), [Failed; 3]);
    assert_eq!(check(&[assessed(built(seen(0, true, false), json!([])), &two, false)]), [Failed; 3]);
}

#[test]
fn bases_are_named_by_repository_tag_and_digest() {
    let [one, _] = keys();
    let digest = Digest::of("base");
    let named =
        |purl: String| json!({"uri": purl, "digest": {"sha256": digest.hex()}, "annotations": {"kind": "base"}});
    let oci =
        named(format!("pkg:oci/node@sha256%3A{}?repository_url=registry.example%2Fbase%2Fnode&tag=22", digest.hex()));
    let docker =
        json!({"uri": format!("pkg:docker/library/node@22?digest=sha256:{}&platform=linux%2Famd64", digest.hex())});
    let loose = json!({"uri": "pkg:docker/library/node@22"});
    let held = |bases: &str, used: Value| {
        let text = format!("policy: 1\nprovenance: {{bases: [{bases}]}}\n");
        let claims =
            policy(&text).judge(&facts("1", RECENT, NOW), &[assessed(built(seen(0, true, false), used), &one, false)]);
        (claims[0].verdict == Verdict::Proven, claims[0].detail.clone())
    };
    let exact = format!("\"registry.example/base/node@{digest}\"");
    for good in [
        "registry.example/base/node",
        "\"registry.example/base/node:22\"",
        &exact,
        "registry.example/x, registry.example/base/node",
    ] {
        assert!(held(good, json!([oci])).0, "{good}");
    }
    assert!(held("docker.io/library/node", json!([docker, oci])).1.contains("registry.example/base/node:22`"));
    assert!(held("docker.io/library/node, registry.example/base/node", json!([docker, oci])).0);
    let other = format!("\"registry.example/base/node@{}\"", Digest::of("other"));
    for bad in [
        "registry.example/base/nod",
        "registry.example/base",
        "\"registry.example/base/node:21\"",
        &other,
        "evil.example/base/node",
    ] {
        assert!(!held(bad, json!([oci])).0, "{bad}");
    }
    assert!(held("docker.io/library/node", json!([loose])).1.contains("no digest"));
    assert!(held("registry.example/base/node", json!([{"uri": "pkg:deb/debian/gcc@1"}])).1.contains("no image"));
    let layout = json!({"name": "./base", "annotations": {"kind": "base"}, "digest": {"sha256": digest.hex()}});
    assert!(!held("registry.example/base/node", json!([layout])).0, "one of no registry");
}

#[test]
fn expressions_give_true_false_or_a_reason() {
    let [one, two] = keys();
    let pieces = [
        assessed(built(seen(0, true, false), json!([])), &one, false),
        assessed(provenance("https://evil.example", "x:y"), &two, false),
    ];
    let seen = variables(&facts("65532", RECENT, NOW), &pieces, &[Form::Bundle]);
    let gives = |text: &str| expression::evaluate(text, &seen);
    for text in [
        "provenance.size() == 1",
        "provenance[0].runDetails.builder.id == 'https://example.org/builder'",
        "claims.exists(c, c.verdict == 'not-checked')",
        "image.platforms[0].user == '65532' && now == 1795824000",
        "has(image.digest) && !has(image.name)",
        "sbom == [] && statements == []",
    ] {
        assert_eq!(gives(text), Ok(true), "{text}");
    }
    assert_eq!(gives("provenance.size() == 2"), Ok(false));
    for (text, says) in [("image.name == ''", "No such key"), ("now", "neither true"), ("x", "Undeclared")] {
        assert!(gives(text).is_err_and(|why| why.contains(says)), "{text}");
    }
    // The form that does not count is not seen.
    assert_eq!(variables(&facts("1", RECENT, NOW), &pieces, &[Form::Legacy])["provenance"], json!([]));
    let rule =
        Expression { name: "mine".into(), at: "policy.yaml:3".into(), text: "x".into(), message: "not mine".into() };
    let judge = |gave| policy("policy: 1\n").judge_expression(&facts("1", RECENT, NOW), &rule, gave);
    assert_eq!((judge(Ok(true)).verdict, judge(Ok(false)).verdict), (Verdict::Proven, Verdict::Failed));
    assert_eq!(judge(Ok(false)).detail, "not mine");
    let unknown = judge(Err("why".into()));
    assert_eq!(
        (unknown.verdict, unknown.detail.as_str()),
        (Verdict::Failed, "policy.yaml:3: `x` gives no answer: why")
    );
    // It is excepted by its name.
    let excepted = policy(
        "policy: 1\nrules:\n  - {name: mine, expression: x, message: m}\nexceptions:\n  - {rule: mine, owner: a, reason: b, until: 2026-12-31}\n",
    );
    assert_eq!(excepted.rules[0].at, "policy.yaml:3");
    assert_eq!(excepted.judge_expression(&facts("1", RECENT, NOW), &rule, Ok(false)).verdict, Verdict::Asserted);
}

#[test]
fn hostile_expressions_are_refused_before_they_are_read() {
    use expression::{ExpressionError, MAX_EXPRESSION, check};
    assert_eq!(check(&"1".repeat(MAX_EXPRESSION + 1)), Err(ExpressionError::Long(MAX_EXPRESSION + 1)));
    for deep in [
        "(".repeat(1000),
        format!("{}1{}", "[".repeat(900), "]".repeat(900)),
        "!".repeat(1000),
        "-".repeat(500),
        "x?".repeat(900).replace('x', ""),
    ] {
        assert_eq!(check(&deep), Err(ExpressionError::Deep), "{}", &deep[..8]);
    }
    for wrong in ["", "a b", "1 +", "'", "a.", "\u{0}", "{'a': 1, ", "\u{202e}"] {
        assert!(matches!(check(wrong), Err(ExpressionError::Syntax { .. })), "{wrong}");
    }
    // Long and flat is read.
    for flat in
        ["a.b".to_owned() + &".c".repeat(90), "1".to_owned() + &" + 1".repeat(90), "[1]".to_owned() + &"[0]".repeat(90)]
    {
        let _ = check(&flat);
    }
}

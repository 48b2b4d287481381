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
        ("rule: non-root", "rule: signature", 12, "a rule"),
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

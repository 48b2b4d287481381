//! Signing by a certificate, and times by an authority: against an instance of Sigstore on loopback.

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bulla_model::Digest;
use bulla_testkit::{
    FakeSigstore, Project, TestEnvironment, contains, process,
    sigstore::{ISSUER, REQUEST_TOKEN},
};
use serde_json::{Value, json};

use crate::{
    evidence::{report, verdicts, with_keys, with_passphrase},
    registry::site,
};

pub(crate) const RELEASER: &str = "release@bulla.test";
/// Who may sign, as options.
pub(crate) const MAY: [&str; 4] =
    ["--certificate-identity", RELEASER, "--certificate-oidc-issuer", "https://login.bulla.test"];

/// Configures an instance for an environment, and puts a token for the releaser into the project.
pub(crate) fn configured(environment: &TestEnvironment, project: &Project) -> FakeSigstore {
    let sigstore = FakeSigstore::start();
    environment.write_config(&sigstore.configuration(&environment.folder().join("trusted_root.json")));
    project.write("token.jwt", FakeSigstore::token(RELEASER));
    sigstore
}

/// An environment, a project with a file, and an instance.
fn with_file() -> (TestEnvironment, Project, FakeSigstore) {
    let (environment, project) = (with_passphrase(), Project::new().file("app.bin", "the program"));
    let sigstore = configured(&environment, &project);
    (environment, project, sigstore)
}

const SIGN_FILE: [&str; 4] = ["sign", "file:app.bin", "--identity-token", "token.jwt"];
const BUNDLE: &str = "app.bin.sigstore.json";

/// Verifies the file by whoever may sign, and gives what is said of its signature.
#[track_caller]
fn verified(environment: &TestEnvironment, project: &Project, code: i32, who: &[&str]) -> Value {
    report(environment, project, code, &[&["file:app.bin"], who].concat())["claims"][0].clone()
}

#[test]
fn an_image_is_signed_without_a_key_and_verified_by_who_signed_it() {
    let (environment, project, image) = with_keys();
    let sigstore = configured(&environment, &project);
    project.write("sbom.json", "{}");
    let sign = ["sign", "oci:bulla-out", "--identity-token", "token.jwt"];
    let signed = environment.run(&project, &sign).success();
    assert_eq!(signed.stdout.trim(), image.to_string());
    let attest = ["attest", "oci:bulla-out", "--type", "spdxjson", "--predicate", "sbom.json"];
    environment.run(&project, &[&attest[..], &["--identity-token", "token.jwt"]].concat()).success();
    let found = report(
        &environment,
        &project,
        0,
        &[&["oci:bulla-out", "--require", "content,signature,spdxjson"], &MAY[..]].concat(),
    );
    // Of the index and of the one platform.
    let count =
        |about: &str| verdicts(&found).iter().filter(|one| **one == (about.to_owned(), "proven".to_owned())).count();
    assert_eq!((count("signature"), count("https://spdx.dev/Document")), (2, 2), "{found}");
    let claim = &found["claims"][1];
    assert_eq!((&claim["signed"]["identity"], &claim["signed"]["issuer"]), (&json!(RELEASER), &json!(ISSUER)));
    assert_eq!(
        (claim["signed"]["times"].as_array().map(Vec::len), &claim["signed"]["logged"]),
        (Some(1), &json!(true))
    );
    let text = environment.run(&project, &[&["verify", "oci:bulla-out"], &MAY[..]].concat()).success().stdout;
    assert!(text.contains("release@bulla.test by the word of https://login.bulla.test"), "{text}");
    assert!(text.contains("at the latest"), "{text}");
    // Patterns, which say all of a name.
    let pattern = |identity: &str, code: i32| {
        let who = [
            "--certificate-identity-regexp",
            identity,
            "--certificate-oidc-issuer-regexp",
            "https://.*\\.bulla\\.test",
        ];
        report(&environment, &project, code, &[&["oci:bulla-out"], &who[..]].concat());
    };
    pattern(".*@bulla\\.test", 0);
    pattern("bulla\\.test", 7);
    // Evidence of another image.
    let other = Digest::of("other");
    let path = format!("bulla-out/blobs/sha256/{}", image.hex());
    assert!(project.path(&path).is_file() && other != image, "the control");
    assert!(sigstore.requests().iter().filter(|(request, _)| request.path == "/api/v2/signingCert").count() == 2);
}

#[test]
fn only_the_authority_of_certificates_hears_the_token() {
    let (environment, project, sigstore) = with_file();
    let token = project.read("token.jwt");
    let ran = environment.run(&project, &SIGN_FILE).success();
    for (request, body) in sigstore.requests() {
        let has = contains(&body, &token) || request.headers.iter().any(|(_, value)| value.contains(&token));
        assert_eq!(has, request.path == "/api/v2/signingCert", "{}", request.path);
    }
    // Also where it is refused.
    let claims = token.split('.').nth(1).expect("claims").to_owned();
    project.write("bad.jwt", token.replace('.', "!"));
    let bad = environment.run(&project, &["sign", "file:app.bin", "--identity-token", "bad.jwt"]).failure(3);
    project.write("old.jwt", FakeSigstore::old_token(RELEASER));
    let old = environment.run(&project, &["sign", "file:app.bin", "--identity-token", "old.jwt"]).failure(4);
    assert!(old.stderr.contains("ended at"), "{}", old.stderr);
    for text in [&ran.stdout, &ran.stderr, &bad.stderr, &old.stderr] {
        assert!(!text.contains(&claims), "{text}");
    }
    let bundle = project.read(BUNDLE);
    assert!(!bundle.contains(&claims) && bundle.contains("rfc3161Timestamps"));
    if environment.store().exists() {
        let grep = ["-r", "-l", &claims].map(str::to_owned);
        let mut command = std::process::Command::new("grep");
        let found = command.args(grep).arg(environment.store()).output().expect("grep");
        assert_eq!(found.status.code(), Some(1), "nothing is in the store");
    }
}

#[test]
fn who_signed_has_to_be_who_may() {
    let (environment, project, _sigstore) = with_file();
    environment.run(&project, &SIGN_FILE).success();
    assert_eq!(verified(&environment, &project, 0, &MAY)["verdict"], "proven");
    let who = |identity: &str, issuer: &str| {
        let who = ["--certificate-identity", identity, "--certificate-oidc-issuer", issuer];
        let claim = verified(&environment, &project, 7, &who);
        assert_eq!(claim["verdict"], "not-checked", "{claim}");
        claim["detail"].as_str().expect("a sentence").to_owned()
    };
    for (identity, issuer) in
        [("other@bulla.test", ISSUER), (RELEASER, "https://other.test"), ("release@bulla.tes", ISSUER), ("", "")]
    {
        let detail = who(identity, issuer);
        assert!(detail.contains(RELEASER) && detail.contains(ISSUER) && detail.contains("none of those"), "{detail}");
    }
    let nobody = verified(&environment, &project, 7, &[]);
    assert!(nobody["detail"].as_str().is_some_and(|detail| detail.contains("nobody was named")), "{nobody}");
    assert!(nobody["advice"].as_str().is_some_and(|advice| advice.contains("--certificate-identity")), "{nobody}");
    let half = environment.run(&project, &["verify", "file:app.bin", "--certificate-identity", RELEASER]).failure(3);
    assert!(half.stderr.contains("takes two"), "{}", half.stderr);
    // Without a trusted root nothing is known, and what the certificate says is said to be only that.
    environment.write_config("");
    let blind = verified(&environment, &project, 7, &[]);
    assert_eq!(blind["verdict"], "not-checked");
    assert!(blind["advice"].as_str().is_some_and(|advice| advice.contains("--trusted-root")), "{blind}");
    let named = environment.run(&project, &[&["verify", "file:app.bin"], &MAY[..]].concat()).failure(3);
    assert!(named.stderr.contains("no trusted root"), "{}", named.stderr);
    // That of another instance.
    let other = FakeSigstore::start();
    environment.write_config(&other.configuration(&environment.folder().join("other.json")));
    let foreign = verified(&environment, &project, 7, &MAY);
    assert_eq!(foreign["verdict"], "not-checked");
    assert!(foreign["detail"].as_str().is_some_and(|detail| detail.contains("none of the authorities")), "{foreign}");
    // A policy says the same.
    let root = environment.folder().join("trusted_root.json");
    let policy = |identity: &str| {
        let text = format!(
            "policy: 1\ntrusted-root: {}\nidentities: [{{identity: {identity}, issuer: '{ISSUER}'}}]\n",
            root.display()
        );
        project.write("policy.yaml", text);
        verified_by_policy(&environment, &project, if identity.contains("release") { 0 } else { 7 });
    };
    policy(RELEASER);
    policy("/release@.*/");
    policy("/other@.*/");
    let twice = environment.run(&project, &[&["verify", "file:app.bin", "--policy", "policy.yaml"], &MAY[..]].concat());
    assert!(twice.failure(3).stderr.contains("the policy says who may sign"));
}

#[track_caller]
fn verified_by_policy(environment: &TestEnvironment, project: &Project, code: i32) {
    report(environment, project, code, &["file:app.bin", "--policy", "policy.yaml"]);
}

#[test]
fn whatever_is_changed_in_a_bundle_is_refused() {
    let (environment, project, sigstore) = with_file();
    environment.run(&project, &SIGN_FILE).success();
    let good: Value = serde_json::from_str(&project.read(BUNDLE)).expect("JSON");
    project.write("other.bin", "another program");
    environment.run(&project, &["sign", "file:other.bin", "--identity-token", "token.jwt"]).success();
    let other: Value = serde_json::from_str(&project.read("other.bin.sigstore.json")).expect("JSON");
    let foreign = FakeSigstore::start();
    let signature = STANDARD.decode(good["messageSignature"]["signature"].as_str().expect("a text")).expect("base64");
    let material = "/verificationMaterial";
    let certificate = format!("{material}/certificate/rawBytes");
    let stamp = format!("{material}/timestampVerificationData/rfc3161Timestamps");
    let entry = format!("{material}/tlogEntries/0");
    let stamped = |answer: Vec<u8>| json!([{"signedTimestamp": STANDARD.encode(answer)}]);
    let of = |place: &str| other.pointer(place).expect("a place").clone();
    let cases = [
        ("/messageSignature/signature".to_owned(), of("/messageSignature/signature"), "imestamp"),
        (
            "/messageSignature/messageDigest/digest".to_owned(),
            of("/messageSignature/messageDigest/digest"),
            "other bytes",
        ),
        (certificate.clone(), of(&certificate), "invalid signature"),
        (entry.clone(), of(&entry), "hash mismatch for hashedrekord entry"),
        (format!("{entry}/inclusionProof/hashes/0"), json!(STANDARD.encode([7; 32])), "inclusion proof"),
        (
            format!("{entry}/inclusionProof/checkpoint"),
            of(&format!("{entry}/inclusionProof/checkpoint")),
            "inclusion proof",
        ),
        (format!("{entry}/logIndex"), json!("0"), "inclusion proof"),
        (format!("{material}/tlogEntries"), json!([]), "must have an inclusion proof"),
        (stamp.clone(), json!([]), "no verified timestamp"),
        (stamp.clone(), of(&stamp), "hash mismatch"),
        (stamp.clone(), stamped(foreign.timestamp(&signature, 0)), "trusted TSA"),
        (stamp.clone(), stamped(sigstore.timestamp(&signature, 3600)), "CertExpired"),
        (stamp.clone(), stamped(sigstore.timestamp(&signature, -3600)), "CertNotValidYet"),
        ("/messageSignature".to_owned(), other["messageSignature"].clone(), "imestamp"),
    ];
    let mut otherwise = Vec::new();
    for (place, value, says) in cases {
        let mut bad = good.clone();
        *bad.pointer_mut(&place).expect("a place") = value;
        project.write(BUNDLE, bad.to_string());
        let claim = verified(&environment, &project, 5, &MAY);
        let said = claim["detail"].as_str().is_some_and(|detail| detail.contains(says));
        if claim["verdict"] != "failed" || !said {
            otherwise.push(format!("{place}: {claim}"));
        }
    }
    assert!(otherwise.is_empty(), "{otherwise:?}");
    project.write(BUNDLE, other.to_string());
    assert_eq!(verified(&environment, &project, 5, &MAY)["detail"], "it is the signature of other bytes");
    project.write(BUNDLE, good.to_string());
    assert_eq!(verified(&environment, &project, 0, &MAY)["verdict"], "proven", "the control");
    project.write("app.bin", "the program, changed");
    assert_eq!(verified(&environment, &project, 5, &MAY)["verdict"], "failed");
}

#[test]
fn statements_of_another_image_and_changed_ones_are_refused() {
    let (environment, project, _sigstore) = with_file();
    project.write("review.json", "{}");
    let attest = ["attest", "file:app.bin", "--type", "https://example.org/review", "--predicate", "review.json"];
    environment.run(&project, &[&attest[..], &["--identity-token", "token.jwt"]].concat()).success();
    let path = "app.bin.attestation.sigstore.json";
    let good = project.read(path);
    let claim = verified(&environment, &project, 7, &MAY);
    assert_eq!((&claim["verdict"], &claim["about"]["type"]), (&json!("proven"), &json!("https://example.org/review")));
    let mut changed: Value = serde_json::from_str(&good).expect("JSON");
    let payload = changed["dsseEnvelope"]["payload"].as_str().expect("a text").to_owned();
    let text = String::from_utf8(STANDARD.decode(payload).expect("base64")).expect("a text");
    changed["dsseEnvelope"]["payload"] = STANDARD.encode(text.replace("review", "revieW")).into();
    project.write(path, changed.to_string());
    let claim = verified(&environment, &project, 5, &MAY);
    assert_eq!(claim["verdict"], "failed", "{claim}");
    project.write(path, good);
    project.write("app.bin", "another program");
    let claim = verified(&environment, &project, 5, &MAY);
    assert_eq!(claim["detail"], "its statement is about something else", "{claim}");
}

#[test]
fn what_an_instance_answers_is_verified_before_anything_is_written() {
    let (environment, project, sigstore) = with_file();
    sigstore.ahead(3600);
    let late = environment.run(&project, &SIGN_FILE).failure(5);
    assert!(late.stderr.contains("does not verify by the trusted root"), "{}", late.stderr);
    sigstore.ahead(0);
    sigstore.lie();
    let lie = environment.run(&project, &SIGN_FILE).failure(5);
    assert!(lie.stderr.contains("inclusion proof"), "{}", lie.stderr);
    // The services of one instance, and the root of another.
    let (one, other) = (FakeSigstore::start(), FakeSigstore::start());
    let configuration = one.configuration(&environment.folder().join("one.json"));
    other.configuration(&environment.folder().join("one.json"));
    environment.write_config(&configuration);
    let foreign = environment.run(&project, &SIGN_FILE).failure(5);
    assert!(foreign.stderr.contains("of another instance"), "{}", foreign.stderr);
    assert!(!project.path(BUNDLE).exists(), "nothing was written");
}

#[test]
fn nothing_is_signed_without_an_instance_or_over_an_open_line() {
    let (environment, project, sigstore) = with_file();
    let whole = sigstore.configuration(&environment.folder().join("trusted_root.json"));
    for key in ["fulcio", "rekor", "timestamp", "trusted-root"] {
        let lines: Vec<&str> = whole.lines().filter(|line| !line.starts_with(&format!("{key} ="))).collect();
        environment.write_config(&lines.join("\n"));
        let ran = environment.run(&project, &SIGN_FILE).failure(4);
        assert!(ran.stderr.contains(&format!("names no `{key}`")), "{}", ran.stderr);
    }
    environment.write_config(&whole.replacen(&sigstore.url(), "http://fulcio.bulla.test", 1));
    let open = environment.run(&project, &SIGN_FILE).failure(7);
    assert!(open.stderr.contains("without encryption"), "{}", open.stderr);
    environment.write_config(&whole.replacen("fulcio = \"http", "fulcio = \"ftp", 1));
    environment.run(&project, &SIGN_FILE).failure(4);
    assert!(sigstore.requests().is_empty(), "nobody was asked");
    environment.write_config(&whole);
    let none = environment.run(&project, &["sign", "file:app.bin", "--keyless"]).failure(4);
    assert!(none.stderr.contains("no token"), "{}", none.stderr);
    environment.run(&project, &["sign", "file:app.bin"]).failure(2);
    assert!(!project.path(BUNDLE).exists());
}

#[test]
fn a_job_signs_by_the_token_that_it_may_ask_for() {
    let (environment, project, sigstore) = with_file();
    let environment = environment
        .set("ACTIONS_ID_TOKEN_REQUEST_URL", &sigstore.token_url())
        .set("ACTIONS_ID_TOKEN_REQUEST_TOKEN", REQUEST_TOKEN);
    environment.run(&project, &["sign", "file:app.bin", "--keyless"]).success();
    let workflow = "https://forge.bulla.test/team/shop/.forge/workflows/release.yml@refs/tags/v1";
    let who = ["--certificate-identity", workflow, "--certificate-oidc-issuer", ISSUER];
    assert_eq!(verified(&environment, &project, 0, &who)["signed"]["identity"], workflow);
    // A token that is given goes before.
    let environment = environment.set("SIGSTORE_ID_TOKEN", &FakeSigstore::token(RELEASER));
    environment.run(&project, &["sign", "file:app.bin", "--keyless", "--output", "second.json"]).success();
    project.write(BUNDLE, project.read("second.json"));
    assert_eq!(verified(&environment, &project, 0, &MAY)["signed"]["identity"], RELEASER);
}

#[test]
fn a_key_signs_with_the_time_and_the_time_is_proven() {
    let (environment, project, sigstore) = with_file();
    for kind in ["p256", "ed25519"] {
        let (key, public) = (format!("{kind}.key"), format!("{kind}.pub"));
        environment.run(&project, &["key", "generate", "--output", &key, "--type", kind]).success();
        environment.run(&project, &["sign", "file:app.bin", "--key", &key, "--timestamp"]).success();
        let claim = verified(&environment, &project, 0, &["--key", &public]);
        assert_eq!((&claim["verdict"], &claim["key"]), (&json!("proven"), &json!(public)));
        assert_eq!(claim["signed"]["times"].as_array().map(Vec::len), Some(1), "{claim}");
        assert!(claim["signed"].get("identity").is_none() && claim["signed"]["logged"] == false, "{claim}");
        // Without a trusted root the key alone proves, and nothing is said of the time.
        let blind = with_passphrase();
        let claim = verified(&blind, &project, 0, &["--key", &public]);
        assert!(claim.get("signed").is_none(), "{claim}");
        let good = project.read(BUNDLE);
        let mut bad: Value = serde_json::from_str(&good).expect("JSON");
        bad["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"][0]["signedTimestamp"] =
            STANDARD.encode(sigstore.timestamp(b"another signature", 0)).into();
        project.write(BUNDLE, bad.to_string());
        let claim = verified(&environment, &project, 5, &["--key", &public]);
        assert!(claim["detail"].as_str().is_some_and(|detail| detail.contains("is not good")), "{claim}");
        let future = sigstore.timestamp(
            &STANDARD.decode(bad["messageSignature"]["signature"].as_str().expect("a text")).expect("base64"),
            86_400,
        );
        bad["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"][0]["signedTimestamp"] =
            STANDARD.encode(future).into();
        project.write(BUNDLE, bad.to_string());
        let claim = verified(&environment, &project, 5, &["--key", &public]);
        assert!(claim["detail"].as_str().is_some_and(|detail| detail.contains("in the future")), "{claim}");
        fs_err::remove_file(project.path(BUNDLE)).expect("removed");
    }
}

#[test]
fn a_build_signs_by_a_key_with_the_time() {
    let (environment, project) = (with_passphrase(), site());
    let sigstore = configured(&environment, &project);
    environment.run(&project, &["key", "generate", "--output", "one.key"]).success();
    let build = ["build", "--sign", "one.key"];
    environment.run(&project, &build).success();
    let times = || {
        let found = report(&environment, &project, 0, &["oci:bulla-out", "--key", "one.pub"]);
        let claims = found["claims"].as_array().expect("claims").clone();
        let signed =
            claims.into_iter().filter(|claim| claim["key"] == "one.pub" && claim["about"]["kind"] != "consistent");
        signed.map(|claim| claim["signed"]["times"].as_array().map(Vec::len)).collect::<Vec<_>>()
    };
    let without = times();
    assert!(!without.is_empty() && without.iter().all(Option::is_none), "the control: {without:?}");
    // What was signed without the time is signed anew, and then no more.
    let timed = [&build[..], &["--timestamp"]].concat();
    environment.run(&project, &timed).success();
    assert!(times().contains(&Some(1)) && times().len() >= without.len(), "{:?}", times());
    let (index, asked) = (project.read("bulla-out/index.json"), sigstore.requests().len());
    environment.run(&project, &timed).success();
    assert_eq!((project.read("bulla-out/index.json"), sigstore.requests().len()), (index, asked));
    let alone = environment.run(&project, &["build", "--timestamp"]).failure(3);
    assert!(alone.stderr.contains("`--sign KEY`"), "{}", alone.stderr);
}

#[test]
fn a_build_signs_its_image_and_all_that_it_says_of_it_without_a_key() {
    let (environment, project) = (with_passphrase(), site());
    let sigstore = configured(&environment, &project);
    let build = ["build", "--identity-token", "token.jwt"];
    environment.run(&project, &build).success();
    let verify = ["oci:bulla-out", "--require", "content,signature,provenance,sbom"];
    let found = report(&environment, &project, 0, &[&verify[..], &MAY].concat());
    let claims = found["claims"].as_array().expect("claims");
    assert!(claims.iter().skip(1).all(|claim| claim["signed"]["identity"] == RELEASER), "{found}");
    report(&environment, &project, 7, &verify);
    // The same once more is signed no more.
    let index = project.read("bulla-out/index.json");
    environment.run(&project, &build).success();
    assert_eq!(project.read("bulla-out/index.json"), index);
    let asked = sigstore.requests().iter().filter(|(request, _)| request.path == "/api/v2/signingCert").count();
    assert_eq!(asked, 1, "a build that signs nothing asks for no certificate");
    let entries = sigstore.requests().iter().filter(|(request, _)| request.path == "/api/v2/log/entries").count();
    assert_eq!(entries, bundles(claims), "{found}");
    // Who may sign is asked by all that believe evidence.
    let stranger = ["--certificate-identity", "else@bulla.test", MAY[2], MAY[3]];
    let again = ["reproduce", "oci:bulla-out", "--source", "."];
    let ran = environment.run(&project, &[&again[..], &MAY].concat()).success();
    assert!(!ran.stderr.contains("nobody signed"), "{}", ran.stderr);
    let refused = environment.run(&project, &[&again[..], &stranger].concat()).failure(7);
    assert!(refused.stderr.contains("was signed by one of those who are named"), "{}", refused.stderr);
    let answer = |who: &[&str]| {
        let ran = environment.run(&project, &[&["checklist", "oci:bulla-out", "--format", "json"], who].concat());
        let told: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        told["items"][11]["answer"].clone()
    };
    assert_eq!([answer(&MAY), answer(&stranger)], ["yes", "no-evidence"]);
    project.write("old.jwt", FakeSigstore::old_token(RELEASER));
    let old = environment.run(&project, &["build", "--identity-token", "old.jwt"]).failure(4);
    assert!(old.stderr.contains("ended at"), "{}", old.stderr);
    let store = process::output(
        std::process::Command::new("grep")
            .args(["-r", "-l", "-F"])
            .arg(project.read("token.jwt"))
            .arg(environment.store()),
    );
    store.expect_err("the token is in no file of the store");
}

/// Counts the bundles that claims come of: each signature has one of its own, and a statement one for all that it is about.
fn bundles(claims: &[Value]) -> usize {
    let of = |kind: &'static str| claims.iter().filter(move |claim| claim["about"]["kind"] == kind);
    let types: BTreeSet<&str> = of("statement").filter_map(|claim| claim["about"]["type"].as_str()).collect();
    of("signature").count() + types.len()
}

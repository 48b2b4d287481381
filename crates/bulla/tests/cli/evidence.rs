//! Keys, signatures and statements: of images in layouts, and of plain files.

use std::{os::unix::fs::PermissionsExt as _, path::Path};

use bulla_model::{
    Digest,
    oci::{self, Index, Manifest},
};
use bulla_testkit::{Project, TestEnvironment};
use serde_json::{Value, json};

use crate::{
    offline,
    registry::{built, site},
};

/// An environment that knows a passphrase.
pub(crate) fn with_passphrase() -> TestEnvironment {
    offline().set("BULLA_KEY_PASSWORD", "correct horse")
}

/// A project with an image in `bulla-out`, and the keys `one` and `two`; with the image's digest.
pub(crate) fn with_keys() -> (TestEnvironment, Project, Digest) {
    let (environment, project) = (with_passphrase(), site());
    let image = built(&environment, &project).parse().expect("a digest");
    for (name, kind) in [("one", "p256"), ("two", "ed25519")] {
        environment.run(&project, &["key", "generate", "--output", &format!("{name}.key"), "--type", kind]).success();
    }
    (environment, project, image)
}

/// Gives the report of a verification that ended with a code.
#[track_caller]
pub(crate) fn report(environment: &TestEnvironment, project: &Project, code: i32, arguments: &[&str]) -> Value {
    let ran = environment.run(project, &[&["verify", "--format", "json"], arguments].concat()).failure(code);
    serde_json::from_str(&ran.stdout).expect("JSON")
}

/// Lists the verdicts of a report with what they are about.
pub(crate) fn verdicts(report: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let about = |claim: &Value| {
        let kind = text(&claim["about"]["kind"]);
        match kind.as_str() {
            "signature" | "content" => kind,
            "consistent" => format!("consistent {}", text(&claim["about"]["type"])),
            _ => text(&claim["about"]["type"]),
        }
    };
    let claims = report["claims"].as_array().expect("claims");
    claims.iter().map(|claim| (about(claim), text(&claim["verdict"]))).collect()
}

/// Counts the lines of a report about something with a verdict.
pub(crate) fn count(report: &Value, about: &str, verdict: &str) -> usize {
    verdicts(report).iter().filter(|one| **one == (about.to_owned(), verdict.to_owned())).count()
}

fn top(layout: &Path) -> Index {
    serde_json::from_slice(&fs_err::read(layout.join("index.json")).expect("an index")).expect("an index")
}

#[test]
fn keys_are_made_under_a_passphrase_and_never_overwritten() {
    let (environment, project) = (with_passphrase(), Project::new());
    for kind in ["p256", "ed25519"] {
        let file = format!("{kind}.key");
        let made = environment.run(&project, &["key", "generate", "--output", &file, "--type", kind]).success();
        assert!(made.stdout.starts_with("sha256:"), "{}", made.stdout);
        let mode = fs_err::metadata(project.path(&file)).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(project.read(&file).starts_with("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----"));
        let public = environment.run(&project, &["key", "public", &file]).success().stdout;
        assert_eq!(public, project.read(&format!("{kind}.pub")));
        let before = project.read(&file);
        let again = environment.run(&project, &["key", "generate", "--output", &file]).failure(3);
        assert!(again.stderr.contains("never overwritten"), "{}", again.stderr);
        assert_eq!(project.read(&file), before);
    }
    let wrong = offline().set("BULLA_KEY_PASSWORD", "wrong").run(&project, &["key", "public", "p256.key"]).failure(5);
    assert!(wrong.stderr.contains("passphrase is wrong"), "{}", wrong.stderr);
    project.write("passphrase", "correct horse\n");
    let from_file = ["key", "public", "p256.key", "--passphrase-file", "passphrase"];
    assert_eq!(offline().run(&project, &from_file).success().stdout, project.read("p256.pub"));
    let nobody = offline().through(&["setsid"]).run(&project, &["key", "public", "p256.key"]).failure(4);
    assert!(nobody.stderr.contains("BULLA_KEY_PASSWORD"), "{}", nobody.stderr);
}

#[test]
fn a_key_without_protection_is_imported_and_not_signed_with() {
    let (environment, project) = (with_passphrase(), Project::new());
    // As OpenSSL writes it: Ed25519, out of a seed of sevens.
    let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH\n-----END PRIVATE KEY-----\n";
    project.write("plain.pem", pem);
    project.write("x", "x");
    let refused = environment.run(&project, &["sign", "file:x", "--key", "plain.pem"]).failure(3);
    assert!(refused.stderr.contains("bulla key import"), "{}", refused.stderr);
    environment.run(&project, &["key", "import", "plain.pem", "--output", "kept.key"]).success();
    environment.run(&project, &["sign", "file:x", "--key", "kept.key"]).success();
    environment.run(&project, &["verify", "file:x", "--key", "kept.pub"]).success();
    for bad in ["x", "kept.pub", "kept.key"] {
        environment.run(&project, &["key", "import", bad, "--output", "other.key"]).failure(3);
    }
    let swapped = environment.run(&project, &["verify", "file:x", "--key", "kept.key"]).failure(3);
    assert!(swapped.stderr.contains("private key"), "{}", swapped.stderr);
}

#[test]
fn a_layout_is_signed_once_and_verified_by_the_key_alone() {
    let (environment, project, image) = with_keys();
    let unsigned = report(&environment, &project, 7, &["oci:bulla-out", "--key", "one.pub"]);
    assert_eq!(verdicts(&unsigned), [("content".to_owned(), "proven".to_owned())]);
    for key in ["one", "two"] {
        let file = format!("{key}.key");
        let signed = environment.run(&project, &["sign", "oci:bulla-out", "--key", &file]).success();
        assert_eq!(signed.stdout, format!("{image}\n"));
        let before = fs_err::read(project.path("bulla-out/index.json")).expect("an index");
        environment.run(&project, &["sign", "bulla-out", "--key", &file]).success();
        let after = fs_err::read(project.path("bulla-out/index.json")).expect("an index");
        assert_eq!(before, after, "the same signature is not there twice");
        let good = report(&environment, &project, 0, &["oci:bulla-out", "--key", &format!("{key}.pub")]);
        assert_eq!(count(&good, "signature", "proven"), 2, "the index and its manifest: {good}");
    }
    assert_eq!(top(&project.path("bulla-out")).manifests.len(), 1 + 4);
    // By the one key, the other's signatures are not checked; by both all are proven.
    let one = report(&environment, &project, 0, &["oci:bulla-out", "--key", "one.pub"]);
    assert_eq!((count(&one, "signature", "proven"), count(&one, "signature", "not-checked")), (2, 2));
    let both = report(&environment, &project, 0, &["oci:bulla-out", "--key", "one.pub", "--key", "two.pub"]);
    assert_eq!(count(&both, "signature", "proven"), 4);
    environment.run(&project, &["key", "generate", "--output", "third.key"]).success();
    let stranger = environment.run(&project, &["verify", "oci:bulla-out", "--key", "third.pub"]).failure(7);
    assert!(stranger.stdout.contains("not checked") && stranger.stdout.contains("not passed"), "{}", stranger.stdout);
    let nobody = environment.run(&project, &["verify", "oci:bulla-out"]).failure(7);
    assert!(nobody.stdout.contains("no key was named"), "{}", nobody.stdout);
    let legacy =
        environment.run(&project, &["sign", "oci:bulla-out", "--key", "one.key", "--form", "legacy"]).failure(3);
    assert!(legacy.stderr.contains("tags"), "{}", legacy.stderr);
    // It is still one image, with what refers to it.
    environment.run(&project, &["copy", "oci:bulla-out", "oci-archive:x.tar"]).success();
    let archive = report(&environment, &project, 0, &["oci-archive:x.tar", "--key", "one.pub"]);
    assert_eq!(archive["digest"], image.to_string());
    environment.run(&project, &["sign", "oci-archive:x.tar", "--key", "one.key"]).failure(3);
}

/// The manifests of a layout that have a bundle, with their bundles' files.
fn bundles(layout: &Path) -> Vec<(Manifest, std::path::PathBuf)> {
    let blob = |digest: &Digest| layout.join("blobs/sha256").join(digest.hex());
    let manifests = top(layout).manifests.into_iter().filter(|entry| entry.artifact_type.is_some());
    let read = |digest: &Digest| fs_err::read(blob(digest)).expect("a blob");
    let manifests =
        manifests.map(|entry| serde_json::from_slice::<Manifest>(&read(&entry.digest)).expect("a manifest"));
    manifests.map(|manifest| (manifest.clone(), blob(&manifest.layers[0].digest))).collect()
}

/// Puts another bundle in the place of those about the image, with digests that are right.
fn forge(layout: &Path, image: &Digest, change: impl Fn(&mut Value)) {
    let mut index = top(layout);
    let write = |bytes: &[u8]| {
        let digest = Digest::of(bytes);
        fs_err::write(layout.join("blobs/sha256").join(digest.hex()), bytes).expect("a blob");
        digest
    };
    for (mut manifest, path) in bundles(layout) {
        let mut bundle: Value = serde_json::from_slice(&fs_err::read(path).expect("a bundle")).expect("JSON");
        change(&mut bundle);
        let bytes = bundle.to_string().into_bytes();
        let before = Digest::of(oci::encode(&manifest));
        manifest.layers[0].digest = write(&bytes);
        manifest.layers[0].size = bytes.len() as u64;
        manifest.subject.as_mut().expect("a subject").digest = *image;
        let bytes = oci::encode(&manifest);
        let entry = index.manifests.iter_mut().find(|entry| entry.digest == before).expect("an entry");
        (entry.digest, entry.size) = (write(&bytes), bytes.len() as u64);
        // What refers to an image is found in a layout without being named, as `cosign save` leaves it.
        if entry.digest != before {
            fs_err::remove_file(layout.join("blobs/sha256").join(before.hex())).expect("the one before");
        }
    }
    fs_err::write(layout.join("index.json"), oci::encode(&index)).expect("an index");
}

#[test]
fn forged_evidence_fails() {
    let (environment, project, image) = with_keys();
    let layout = project.path("bulla-out");
    let attack = |change: &dyn Fn(&mut Value)| {
        // Which removes what an earlier attack left.
        built(&environment, &project);
        environment.run(&project, &["sign", "oci:bulla-out", "--key", "one.key"]).success();
        forge(&layout, &image, change);
        environment.run(&project, &["verify", "oci:bulla-out", "--key", "one.pub"])
    };
    // The manifest's own signature now refers to the index as well: it is evidence of something else.
    let moved = attack(&|_| ()).failure(5);
    assert!(moved.stdout.contains("signed as the image"), "{}", moved.stdout);
    assert!(moved.stdout.contains("proven       signature"), "the control, the index's own: {}", moved.stdout);
    let payload = attack(&|bundle| bundle["dsseEnvelope"]["payload"] = json!("e30=")).failure(5);
    assert!(payload.stdout.contains("did not sign these bytes"), "{}", payload.stdout);
    let signature = attack(&|bundle| bundle["dsseEnvelope"]["signatures"][0]["sig"] = json!("MAYCAQECAQE=")).failure(5);
    assert!(signature.stdout.contains("did not sign these bytes"), "{}", signature.stdout);
    // A bundle that says another key is a stranger's: nothing is proven by it, so that what is required is not.
    let key = attack(&|bundle| {
        bundle["verificationMaterial"]["publicKey"]["hint"] = json!("x");
        bundle["dsseEnvelope"]["payload"] = json!("e30=");
    });
    assert!(key.failure(7).stdout.contains("none of the keys signed it"));
    // A byte of the image itself.
    built(&environment, &project);
    environment.run(&project, &["sign", "oci:bulla-out", "--key", "one.key"]).success();
    environment.run(&project, &["verify", "oci:bulla-out", "--key", "one.pub"]).success();
    let mut blobs =
        fs_err::read_dir(layout.join("blobs/sha256")).expect("blobs").map(|entry| entry.expect("a blob").path());
    let is_compressed = |path: &std::path::PathBuf| fs_err::read(path).expect("a blob").starts_with(&[0x1f, 0x8b]);
    let layer = blobs.find(is_compressed).expect("a compressed layer");
    let mut bytes = fs_err::read(&layer).expect("a layer");
    *bytes.last_mut().expect("a byte") ^= 1;
    fs_err::write(&layer, bytes).expect("a layer");
    let damaged = environment.run(&project, &["verify", "oci:bulla-out", "--key", "one.pub"]).failure(5);
    assert!(damaged.stdout.contains("failed       content"), "{}", damaged.stdout);
}

#[test]
fn a_statement_is_proven_by_its_key_and_asserted_by_nobody() {
    let (environment, project, image) = with_keys();
    project.write("sbom.json", r#"{"spdxVersion":"SPDX-2.3"}"#);
    let attest = ["attest", "oci:bulla-out", "--type", "spdxjson", "--predicate", "sbom.json", "--key", "one.key"];
    environment.run(&project, &attest).success();
    environment.run(&project, &attest).success();
    let require = |list: &str, code| {
        report(&environment, &project, code, &["oci:bulla-out", "--key", "one.pub", "--require", list])
    };
    assert_eq!(count(&require("sbom", 0), "https://spdx.dev/Document", "proven"), 2, "index and manifest, once each");
    require("spdxjson,content", 0);
    require("https://spdx.dev/Document", 0);
    require("signature,sbom", 7);
    require("provenance", 7);
    environment.run(&project, &["verify", "oci:bulla-out", "--require", "everything"]).failure(2);
    environment.run(&project, &["sign", "oci:bulla-out", "--key", "one.key"]).success();
    require("signature,sbom", 0);
    let platform = ["--platform", "linux/amd64"];
    environment.run(&project, &[&attest[..], &platform].concat()).success();
    environment.run(&project, &[&attest[..], &["--platform", "linux/arm64"]].concat()).failure(3);
    project.write("twice.json", r#"{"a":1,"a":2}"#);
    let twice = attest.map(|word| if word == "sbom.json" { "twice.json" } else { word });
    assert!(environment.run(&project, &twice).failure(3).stderr.contains("twice"));
    // A statement without a signature, as a build without a key leaves it.
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1", "predicateType": "https://slsa.dev/provenance/v1",
        "subject": [{"digest": {"sha256": image.hex()}}], "predicate": {}
    });
    let layout = project.path("bulla-out");
    let mut index = top(&layout);
    let entry = index.manifests.iter().find(|entry| entry.digest == image).expect("the image").clone();
    let layer = statement.to_string().into_bytes();
    let described = oci::Descriptor::new("application/vnd.in-toto+json", Digest::of(&layer), layer.len() as u64);
    let mut manifest = Manifest::new(oci::Descriptor::new(oci::EMPTY, Digest::of("{}"), 2), vec![described]);
    (manifest.artifact_type, manifest.subject) = (Some("application/vnd.in-toto+json".to_owned()), Some(entry));
    let bytes = oci::encode(&manifest);
    for blob in [&layer, &bytes, &b"{}".to_vec()] {
        fs_err::write(layout.join("blobs/sha256").join(Digest::of(blob).hex()), blob).expect("a blob");
    }
    index.manifests.push(oci::Descriptor::new(oci::MANIFEST, Digest::of(&bytes), bytes.len() as u64));
    fs_err::write(layout.join("index.json"), oci::encode(&index)).expect("an index");
    let asserted = require("signature,provenance", 7);
    assert_eq!(count(&asserted, "https://slsa.dev/provenance/v1", "asserted"), 1);
    require("signature", 0);
}

#[test]
fn a_file_has_its_signature_and_statements_beside_it() {
    let (environment, project) = (with_passphrase(), Project::new().file("app.bin", "the program"));
    project.write("provenance.json", "{}");
    for (name, kind) in [("one", "p256"), ("two", "ed25519")] {
        environment.run(&project, &["key", "generate", "--output", &format!("{name}.key"), "--type", kind]).success();
    }
    let signed = environment.run(&project, &["sign", "app.bin", "--key", "one.key"]).success();
    assert_eq!(signed.stdout, "app.bin.sigstore.json\n");
    environment.run(&project, &["sign", "file:app.bin", "--key", "one.key"]).success();
    let attest =
        ["attest", "file:app.bin", "--type", "slsaprovenance1", "--predicate", "provenance.json", "--key", "one.key"];
    assert_eq!(environment.run(&project, &attest).success().stdout, "app.bin.slsaprovenance1.sigstore.json\n");
    let verify = ["file:app.bin", "--key", "one.pub", "--require", "signature,provenance"];
    let good = report(&environment, &project, 0, &verify);
    assert_eq!(verdicts(&good).len(), 2, "{good}");
    // Another's bundle is not overwritten; one of the same key is, when the file is another one.
    let other = environment.run(&project, &["sign", "app.bin", "--key", "two.key"]).failure(3);
    assert!(other.stderr.contains("no bundle by this key"), "{}", other.stderr);
    environment
        .run(&project, &["sign", "app.bin", "--key", "two.key", "--output", "app.bin.two.sigstore.json"])
        .success();
    report(&environment, &project, 0, &["app.bin", "--key", "two.pub"]);
    project.write("app.bin", "another program");
    let changed = report(&environment, &project, 5, &verify);
    assert_eq!(count(&changed, "signature", "failed"), 1);
    assert_eq!(count(&changed, "https://slsa.dev/provenance/v1", "failed"), 1, "{changed}");
    environment.run(&project, &["sign", "app.bin", "--key", "one.key"]).success();
    let renewed = report(&environment, &project, 5, &verify);
    assert_eq!(count(&renewed, "signature", "proven"), 1);
}

#[test]
fn a_policy_says_who_may_sign_and_what_an_image_may_be() {
    let (environment, project, image) = with_keys();
    environment.run(&project, &["sign", "oci:bulla-out", "--key", "one.key"]).success();
    let provenance = json!({
        "buildDefinition": {
            "buildType": "x", "externalParameters": {},
            "resolvedDependencies": [{"uri": "git+https://example.org/site@refs/heads/main"}]
        },
        "runDetails": {"builder": {"id": "https://example.org/builder"}}
    });
    project.write("provenance.json", provenance.to_string());
    let attest =
        ["attest", "bulla-out", "--type", "slsaprovenance1", "--predicate", "provenance.json", "--key", "one.key"];
    environment.run(&project, &attest).success();
    fs_err::create_dir(project.path("rules")).expect("a folder");
    let judge = |text: &str, code| {
        project.write("rules/policy.yaml", text);
        report(&environment, &project, code, &["oci:bulla-out", "--policy", "rules/policy.yaml"])
    };
    let good = "policy: 1\nkeys: [../one.pub]\nforms: [bundle]\nrequire: [signature, provenance, content]\nprovenance:\n  builders: [https://example.org/builder]\n  sources: [git+https://example.org/site]\nimage: {non-root: true}\n";
    judge(good, 0);
    judge(&good.replace("one.pub", "two.pub"), 7);
    judge(&good.replace("[bundle]", "[legacy]"), 7);
    judge(&good.replace("example.org/builder", "example.org/other"), 7);
    judge(&good.replace("example.org/site]", "example.org/other]"), 7);
    // The image's time is 2023-11-14.
    let old = judge(&format!("{good}exceptions: []\n").replace("non-root: true", "non-root: true, max-age: 90d"), 7);
    assert_eq!(count(&old, "max-age", "failed"), 1);
    let excepted = "exceptions:\n  - {rule: max-age, owner: team@example.org, reason: frozen, until: 2999-12-31}\n";
    let excepted = judge(&format!("{good}{excepted}").replace("non-root: true", "non-root: true, max-age: 90d"), 0);
    assert_eq!(count(&excepted, "max-age", "asserted"), 1);
    let over = "exceptions:\n  - {rule: max-age, owner: team@example.org, reason: frozen, until: 2024-12-31}\n";
    judge(&format!("{good}{over}").replace("non-root: true", "non-root: true, max-age: 90d"), 7);
    project.write("rules/policy.yaml", good.replace("non-root", "nonroot"));
    let wrong = environment.run(&project, &["verify", "oci:bulla-out", "--policy", "rules/policy.yaml"]).failure(3);
    assert!(wrong.stderr.contains("rules/policy.yaml:8") && wrong.stderr.contains("non-root"), "{}", wrong.stderr);
    project.write("rules/policy.yaml", good);
    let both = ["verify", "oci:bulla-out", "--policy", "rules/policy.yaml", "--key", "two.pub"];
    assert!(environment.run(&project, &both).failure(3).stderr.contains("says who may sign"));
    assert_eq!(judge("policy: 1\nkeys: [../one.pub]\n", 0)["digest"], image.to_string());
}

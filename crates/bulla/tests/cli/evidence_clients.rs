//! What is signed here is verified by cosign and by Sigstore's verifier for JavaScript, and the other way round.

use std::{path::Path, process::Command};

use bulla_testkit::{
    Project,
    cosign::{self, node_sigstore},
    docker::Registry,
    process, skipped,
};

use crate::evidence::{report, verdicts, with_keys, with_passphrase};

const PASSPHRASE: &str = "correct horse";
/// Verifies a bundle by the public key, for a file where one is named: fails where it is not good.
pub(crate) const VERIFIER: &str = "
const fs = require('fs'), crypto = require('crypto');
const { bundleFromJSON } = require('@sigstore/bundle');
const { Verifier, toSignedEntity } = require('@sigstore/verify');
const [bundle, key, file] = process.argv.slice(2);
const publicKey = crypto.createPublicKey(fs.readFileSync(key));
const trust = {
  certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [],
  publicKey: () => ({ publicKey, validFor: () => true }),
};
const entity = toSignedEntity(bundleFromJSON(JSON.parse(fs.readFileSync(bundle))), file && fs.readFileSync(file));
new Verifier(trust, { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 }).verify(entity);
";

#[test]
fn bundles_of_files_and_statements_are_verified_by_sigstores_own_library() {
    let Some(modules) = node_sigstore() else { return };
    if !process::exists("node") {
        return skipped("Sigstore's verifier for JavaScript", "node is not installed");
    }
    let (environment, project, _) = with_keys();
    project.write("verify.cjs", VERIFIER);
    project.write("app.bin", "the program");
    project.write("other.bin", "another program");
    project.write("provenance.json", "{}");
    let node = |arguments: &[&str]| {
        let mut node = Command::new("node");
        node.current_dir(project.root()).env("NODE_PATH", modules.join("node_modules"));
        process::output(node.arg("verify.cjs").args(arguments))
    };
    for (key, other) in [("one", "two"), ("two", "one")] {
        let (private, public) = (format!("{key}.key"), format!("{key}.pub"));
        let signature = format!("{key}.sigstore.json");
        environment.run(&project, &["sign", "app.bin", "--key", &private, "--output", &signature]).success();
        let statement = format!("{key}.statement.json");
        let attest = ["attest", "file:app.bin", "--type", "slsaprovenance1", "--predicate", "provenance.json"];
        environment.run(&project, &[&attest[..], &["--key", &private, "--output", &statement]].concat()).success();
        let file = node(&[&signature, &public, "app.bin"]);
        // It knows no signature of a file by Ed25519, whoever made it.
        assert_eq!(file.is_ok(), key == "one", "{file:?}");
        node(&[&statement, &public]).expect("a statement");
        node(&[&signature, &public, "other.bin"]).expect_err("another file");
        node(&[&signature, &format!("{other}.pub"), "app.bin"]).expect_err("another key");
        let text = project.read(&statement).replace("\"payload\":\"ey", "\"payload\":\"eyJ9");
        project.write("changed.json", text);
        node(&["changed.json", &public]).expect_err("a payload that was changed");
    }
}

#[test]
fn cosign_verifies_what_is_signed_here_and_the_other_way_round() {
    let Some(program) = cosign::cosign() else { return };
    let Some(registry) = Registry::start() else { return };
    let (environment, project, _) = with_keys();
    let run =
        |arguments: &[&str]| process::output(cosign::command(&program, project.root(), PASSPHRASE).args(arguments));
    let reference = format!("{}/team/site:1", registry.address());
    environment.run(&project, &["push", &reference]).success();
    project.write("sbom.json", "{}");
    let verify = |key: &str, form: &str, reference: &str| {
        let bundles = format!("--new-bundle-format={form}");
        run(&[
            "verify",
            "--key",
            key,
            "--insecure-ignore-tlog=true",
            "--offline",
            "--allow-http-registry",
            &bundles,
            reference,
        ])
    };
    let attested = |key: &str, form: &str| {
        let bundles = format!("--new-bundle-format={form}");
        run(&[
            "verify-attestation",
            "--key",
            key,
            "--insecure-ignore-tlog=true",
            "--offline",
            "--allow-http-registry",
            &bundles,
            "--type",
            "spdxjson",
            &reference,
        ])
    };
    verify("one.pub", "true", &reference).expect_err("nobody signed it");
    environment.run(&project, &["sign", &reference, "--key", "one.key"]).success();
    let attest = ["attest", &reference, "--type", "spdxjson", "--predicate", "sbom.json", "--key", "one.key"];
    environment.run(&project, &attest).success();
    for form in ["true", "false"] {
        verify("one.pub", form, &reference).expect("signed");
        attested("one.pub", form).expect("attested");
        verify("two.pub", form, &reference).expect_err("another key");
        attested("two.pub", form).expect_err("another key");
    }
    // Keys and signatures of cosign.
    run(&["generate-key-pair", "--output-key-prefix", "theirs"]).expect("a key");
    let public = environment.run(&project, &["key", "public", "theirs.key"]).success().stdout;
    assert_eq!(public, project.read("theirs.pub"));
    assert_eq!(run(&["public-key", "--key", "one.key"]).expect("a key").trim(), project.read("one.pub").trim());
    let second = format!("{}/team/second:1", registry.address());
    environment.run(&project, &["copy", "--no-referrers", "oci:bulla-out", &second]).success();
    for form in ["true", "false"] {
        sign(&program, &project, form, &second);
    }
    let found = report(&environment, &project, 0, &[&second, "--key", "theirs.pub"]);
    let signed = verdicts(&found).iter().filter(|one| **one == ("signature".to_owned(), "proven".to_owned())).count();
    assert_eq!(signed, 2, "in both forms: {found}");
    report(&environment, &project, 7, &[&second, "--key", "one.pub"]);
}

/// Has cosign sign an image without a log.
fn sign(program: &Path, project: &Project, form: &str, reference: &str) {
    let bundles = format!("--new-bundle-format={form}");
    let arguments = [
        "sign",
        "--key",
        "theirs.key",
        "--tlog-upload=false",
        "--use-signing-config=false",
        "--yes",
        "--allow-http-registry",
    ];
    let mut cosign = cosign::command(program, project.root(), PASSPHRASE);
    process::output(cosign.args(arguments).args([&bundles, reference])).expect("signed");
}

#[test]
fn cosign_verifies_files_that_are_signed_here_and_the_other_way_round() {
    let Some(program) = cosign::cosign() else { return };
    let (environment, project) =
        (with_passphrase(), Project::new().file("app.bin", "the program").file("x.json", "{}"));
    let run =
        |arguments: &[&str]| process::output(cosign::command(&program, project.root(), PASSPHRASE).args(arguments));
    for kind in ["p256", "ed25519"] {
        let (private, public, bundle) = (format!("{kind}.key"), format!("{kind}.pub"), format!("{kind}.sigstore.json"));
        environment.run(&project, &["key", "generate", "--output", &private, "--type", kind]).success();
        environment.run(&project, &["sign", "app.bin", "--key", &private, "--output", &bundle]).success();
        let verify = |key: &str, bundle: &str, file: &str| {
            run(&["verify-blob", "--key", key, "--bundle", bundle, "--insecure-ignore-tlog=true", "--offline", file])
        };
        verify(&public, &bundle, "app.bin").expect("signed");
        verify(&public, &bundle, "x.json").expect_err("another file");
        let statement = format!("{kind}.statement.json");
        let attest =
            ["attest", "file:app.bin", "--type", "slsaprovenance1", "--predicate", "x.json", "--key", &private];
        environment.run(&project, &[&attest[..], &["--output", &statement]].concat()).success();
        run(&[
            "verify-blob-attestation",
            "--key",
            &public,
            "--bundle",
            &statement,
            "--insecure-ignore-tlog=true",
            "--offline",
            "--type",
            "slsaprovenance1",
            "app.bin",
        ])
        .expect("attested");
        let theirs = format!("app.bin.{kind}.sigstore.json");
        run(&[
            "sign-blob",
            "--key",
            &private,
            "--bundle",
            &theirs,
            "--tlog-upload=false",
            "--use-signing-config=false",
            "--yes",
            "app.bin",
        ])
        .expect("signed");
        report(&environment, &project, 0, &["app.bin", "--key", &public]);
    }
}

//! What is signed here without a key is verified by Sigstore's own libraries for Python and JavaScript and by cosign, and changed ones are not.

use std::process::Command;

use bulla_testkit::{
    Project,
    cosign::{self, node_sigstore, python_sigstore},
    docker::Registry,
    process,
    sigstore::ISSUER,
    skipped,
};
use serde_json::Value;

use crate::{
    evidence::{with_keys, with_passphrase},
    evidence_keyless::{MAY, RELEASER, configured},
};

/// Verifies a bundle by a trusted root for an identity, for a file where one is named: fails where it is not good.
const NODE: &str = "
const fs = require('fs');
const { bundleFromJSON } = require('@sigstore/bundle');
const { TrustedRoot } = require('@sigstore/protobuf-specs');
const { Verifier, toSignedEntity, toTrustMaterial } = require('@sigstore/verify');
const [root, bundle, identity, issuer, file] = process.argv.slice(2);
const trust = toTrustMaterial(TrustedRoot.fromJSON(JSON.parse(fs.readFileSync(root))));
const entity = toSignedEntity(bundleFromJSON(JSON.parse(fs.readFileSync(bundle))), file && fs.readFileSync(file));
const verifier = new Verifier(trust, { tlogThreshold: 1, ctlogThreshold: 1, timestampThreshold: 1 });
verifier.verify(entity, { subjectAlternativeName: identity, extensions: { issuer } });
";
const PYTHON: &str = "
import sys
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier, policy
root, bundle, identity, issuer, *file = sys.argv[1:]
verifier = Verifier(trusted_root=TrustedRoot.from_file(root))
bundle = Bundle.from_json(open(bundle).read())
who = policy.Identity(identity=identity, issuer=issuer)
if file:
    verifier.verify_artifact(open(file[0], 'rb').read(), bundle, who)
else:
    verifier.verify_dsse(bundle, who)
";

/// Runs a verifier with arguments.
type Verifier = dyn Fn(&[&str]) -> Result<String, String>;

/// Changes a part of a bundle, which nobody may take afterwards.
fn changed(project: &Project, bundle: &str, place: &str, other: &Value) {
    let mut value: Value = serde_json::from_str(&project.read(bundle)).expect("JSON");
    *value.pointer_mut(place).expect("a place") = other.pointer(place).expect("the same place").clone();
    project.write("changed.json", value.to_string());
}

#[test]
fn sigstores_own_libraries_take_what_is_signed_without_a_key_and_nothing_else() {
    let (python, node) = (python_sigstore(), node_sigstore().filter(|_| process::exists("node")));
    if python.is_none() && node.is_none() {
        return skipped("bundles with certificates", "there is no library of Sigstore");
    }
    let (environment, project) =
        (with_passphrase(), Project::new().file("app.bin", "the program").file("x.json", "{}"));
    let _sigstore = configured(&environment, &project);
    project.write("other.bin", "another program");
    project.write("verify.cjs", NODE);
    let root = environment.folder().join("trusted_root.json");
    for (file, output) in [("file:app.bin", "app.json"), ("file:other.bin", "other.json")] {
        environment.run(&project, &["sign", file, "--identity-token", "token.jwt", "--output", output]).success();
    }
    let attest = ["attest", "file:app.bin", "--type", "slsaprovenance1", "--predicate", "x.json"];
    environment
        .run(&project, &[&attest[..], &["--identity-token", "token.jwt", "--output", "statement.json"]].concat())
        .success();
    let other: Value = serde_json::from_str(&project.read("other.json")).expect("JSON");
    let mut verifiers: Vec<(&str, Box<Verifier>)> = Vec::new();
    if let Some(python) = python {
        let (folder, root) = (project.root().to_owned(), root.clone());
        let run = move |arguments: &[&str]| {
            let mut command = Command::new(&python);
            command.current_dir(&folder).args(["-c", PYTHON]).arg(&root).args(arguments);
            process::output(&mut command)
        };
        verifiers.push(("Python", Box::new(run)));
    }
    if let Some(modules) = node {
        let (folder, root) = (project.root().to_owned(), root.clone());
        let run = move |arguments: &[&str]| {
            let mut command = Command::new("node");
            command.current_dir(&folder).env("NODE_PATH", modules.join("node_modules"));
            process::output(command.arg("verify.cjs").arg(&root).args(arguments))
        };
        verifiers.push(("JavaScript", Box::new(run)));
    }
    for (name, verify) in verifiers {
        verify(&["app.json", RELEASER, ISSUER, "app.bin"]).unwrap_or_else(|why| panic!("{name}: {why}"));
        let statement = verify(&["statement.json", RELEASER, ISSUER]);
        // Sigstore's own case of a statement in Rekor 2 is refused by that library too.
        let known = statement.as_ref().is_ok() || statement.as_ref().is_err_and(|why| why.contains("TLOG_BODY_ERROR"));
        assert!(known && (statement.is_ok() || name == "JavaScript"), "{name}: {statement:?}");
        verify(&["app.json", RELEASER, ISSUER, "other.bin"]).expect_err(name);
        verify(&["app.json", "somebody@bulla.test", ISSUER, "app.bin"]).expect_err(name);
        verify(&["app.json", RELEASER, "https://other.bulla.test", "app.bin"]).expect_err(name);
        for place in [
            "/messageSignature/signature",
            "/verificationMaterial/certificate",
            "/verificationMaterial/tlogEntries",
            "/verificationMaterial/timestampVerificationData",
        ] {
            changed(&project, "app.json", place, &other);
            verify(&["changed.json", RELEASER, ISSUER, "app.bin"]).expect_err(&format!("{name}: {place}"));
        }
    }
}

#[test]
fn cosign_verifies_images_and_files_that_are_signed_without_a_key() {
    let Some(program) = cosign::cosign() else { return };
    let Some(registry) = Registry::start() else { return };
    let (environment, project, _) = with_keys();
    let sigstore = configured(&environment, &project);
    // A registry without encryption needs no configuration on loopback.
    let root = environment.folder().join("trusted_root.json").display().to_string();
    let reference = format!("{}/team/site:1", registry.address());
    environment.run(&project, &["push", &reference]).success();
    let run = |arguments: &[&str]| {
        let trusted = ["--trusted-root", root.as_str()];
        process::output(cosign::command(&program, project.root(), "").args(arguments).args(trusted))
    };
    let verify = |who: &[&str]| run(&[&["verify", "--offline", "--allow-http-registry", &reference], who].concat());
    verify(&MAY).expect_err("nobody signed it");
    environment.run(&project, &["sign", &reference, "--identity-token", "token.jwt"]).success();
    verify(&MAY).expect("signed");
    verify(&["--certificate-identity", "other@bulla.test", MAY[2], MAY[3]]).expect_err("somebody else");
    verify(&[MAY[0], MAY[1], MAY[2], "https://other.bulla.test"]).expect_err("another issuer");
    environment.run(&project, &[&["verify", reference.as_str()], &MAY[..]].concat()).success();
    project.write("app.bin", "the program");
    environment.run(&project, &["sign", "file:app.bin", "--identity-token", "token.jwt"]).success();
    let blob = |file: &str| {
        run(&[&["verify-blob", "--offline", "--bundle", "app.bin.sigstore.json", file], &MAY[..]].concat())
    };
    blob("app.bin").expect("signed");
    blob("bulla.yaml").expect_err("another file");
    assert!(!sigstore.requests().is_empty());
}

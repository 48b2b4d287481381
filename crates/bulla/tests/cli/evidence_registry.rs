//! Signatures and statements of images in registries, in both forms.

use bulla_model::Digest;
use bulla_testkit::{FakeRegistry, Project, TestEnvironment, docker::Registry};

use crate::evidence::{report, verdicts, with_keys};

/// Pushes an image, and gives its reference.
fn pushed(environment: &TestEnvironment, project: &Project, address: &str) -> String {
    let reference = format!("{address}/team/site:1");
    environment.run(project, &["push", &reference]).success();
    reference
}

/// Signs and attests in a registry, and verifies there and in a layout that the image is pulled into.
fn goes_both_ways(address: &str) {
    let (environment, project, image) = with_keys();
    let reference = pushed(&environment, &project, address);
    project.write("sbom.json", "{}");
    let sign = ["sign", &reference, "--key", "one.key"];
    let attest = ["attest", &reference, "--type", "spdxjson", "--predicate", "sbom.json", "--key", "one.key"];
    for _ in 0..2 {
        let signed = environment.run(&project, &sign).success();
        assert_eq!(signed.stdout, format!("{reference}@{image}\n"));
        environment.run(&project, &attest).success();
    }
    let good = report(&environment, &project, 0, &[&reference, "--key", "one.pub", "--require", "signature,sbom"]);
    // Index and manifest, signature and statement, in two forms; and the layers, which were not fetched, with which each statement would be compared.
    let proven = verdicts(&good).iter().filter(|(_, verdict)| verdict == "proven").count();
    assert_eq!((proven, verdicts(&good).len()), (8, 13), "{good}");
    assert!(verdicts(&good).contains(&("content".to_owned(), "not-checked".to_owned())));
    let content = ["--key", "one.pub", "--require", "content,signature"];
    report(&environment, &project, 7, &[&[reference.as_str()][..], &content].concat());
    report(&environment, &project, 0, &[&[reference.as_str(), "--full"][..], &content].concat());
    report(&environment, &project, 7, &[&reference, "--key", "two.pub"]);
    // Bundles come along, and are verified without the registry.
    environment.run(&project, &["pull", &reference, "pulled"]).success();
    let pulled = report(&environment, &project, 0, &["oci:pulled", "--key", "one.pub", "--require", "signature,sbom"]);
    assert_eq!(verdicts(&pulled).len(), 7, "{pulled}");
    // A policy that wants bundles takes no older form.
    let other = format!("{address}/team/other:1");
    environment.run(&project, &["copy", "--no-referrers", "oci:bulla-out", &other]).success();
    environment.run(&project, &["sign", &other, "--key", "two.key", "--form", "legacy"]).success();
    report(&environment, &project, 0, &[&other, "--key", "two.pub"]);
    project.write("policy.yaml", "policy: 1\nkeys: [two.pub]\nforms: [bundle]\n");
    let downgraded = report(&environment, &project, 7, &[&other, "--policy", "policy.yaml"]);
    assert!(
        downgraded["required"][0]["reason"].as_str().is_some_and(|why| why.contains("another form")),
        "{downgraded}"
    );
    environment.run(&project, &["sign", &other, "--key", "two.key", "--form", "bundle"]).success();
    report(&environment, &project, 0, &[&other, "--policy", "policy.yaml"]);
}

#[test]
fn images_are_signed_in_a_registry_that_lists_referrers() {
    let registry = FakeRegistry::start();
    goes_both_ways(&registry.address());
}

#[test]
fn images_are_signed_in_a_registry_that_does_not_list_referrers() {
    let registry = FakeRegistry::start();
    registry.without_referrers();
    goes_both_ways(&registry.address());
}

#[test]
fn images_are_signed_in_a_real_registry() {
    let Some(registry) = Registry::start() else { return };
    goes_both_ways(&registry.address());
}

#[test]
fn what_a_registry_does_not_keep_is_no_success() {
    let registry = FakeRegistry::start();
    registry.without_referrers();
    let (environment, project, image) = with_keys();
    let reference = pushed(&environment, &project, &registry.address());
    // It says that it took the list, and gives another one.
    registry.fault(
        "GET",
        &format!("/manifests/sha256-{}", image.hex()),
        100,
        bulla_testkit::RegistryFault::Status(404),
    );
    let failed = environment.run(&project, &["sign", &reference, "--key", "one.key", "--form", "bundle"]);
    assert_ne!(failed.code, Some(0), "{}", failed.stdout);
    registry.heal();
    environment.run(&project, &["sign", &reference, "--key", "one.key"]).success();
    report(&environment, &project, 0, &[&reference, "--key", "one.pub"]);
    // The signatures of the platform's manifest under the tag for those of the index.
    let tag = |digest: &Digest| format!("sha256-{}.sig", digest.hex());
    let manifest: bulla_model::oci::Index =
        serde_json::from_slice(&registry.manifest("team/site", &image.to_string()).expect("the index"))
            .expect("an index");
    let of_platform = registry.manifest("team/site", &tag(&manifest.manifests[0].digest)).expect("signatures");
    registry.put_manifest("team/site", &tag(&image), bulla_model::oci::MANIFEST, &of_platform);
    let failed = report(&environment, &project, 5, &[&reference, "--key", "one.pub"]);
    assert!(failed.to_string().contains("signed as the image"), "{failed}");
}

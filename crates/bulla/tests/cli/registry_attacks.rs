//! Registries that lie, break off and point elsewhere; layouts that were tampered with.

use bulla_model::{
    Digest,
    oci::{self, Descriptor, Index, Manifest},
};
use bulla_testkit::{FakeRegistry, Project, RegistryFault};

use crate::{
    offline,
    registry::{built, site},
};

/// Puts a small image there, and gives its digest and that of its layer.
fn image(registry: &FakeRegistry, tag: &str, content: &str) -> (Digest, Digest) {
    let config = registry.put_blob("team/site", b"{}");
    let layer = registry.put_blob("team/site", content.as_bytes());
    let manifest = oci::encode(&Manifest::new(
        Descriptor::new(oci::CONFIG, config, 2),
        vec![Descriptor::new(oci::LAYER_GZIP, layer, content.len() as u64)],
    ));
    let digest = registry.put_manifest("team/site", "inner", oci::MANIFEST, &manifest);
    let entry = Descriptor::new(oci::MANIFEST, digest, manifest.len() as u64);
    (registry.put_manifest("team/site", tag, oci::INDEX, &oci::encode(&Index::new(vec![entry]))), layer)
}

fn reference(registry: &FakeRegistry, tag: &str) -> String {
    format!("{}/team/site:{tag}", registry.address())
}

#[test]
fn a_tag_that_moves_between_head_and_get_gives_one_image() {
    let registry = FakeRegistry::start();
    let (first, _) = image(&registry, "1", "one");
    let (second, _) = image(&registry, "2", "two");
    let moved = registry.manifest("team/site", "2").expect("there");
    registry.move_after_head("team/site", "1", oci::INDEX, &moved);
    let (environment, project) = (offline(), Project::new());
    let pull = |folder: &str| environment.run(&project, &["pull", &reference(&registry, "1"), folder]).success().stdout;
    assert!(pull("a").trim_end().ends_with(&first.to_string()), "what the tag was when it was asked");
    assert!(pull("b").trim_end().ends_with(&second.to_string()), "the control: now it is the other");
}

#[test]
fn lies_of_a_registry_leave_no_image_and_have_their_code() {
    let other = || RegistryFault::Body(b"other bytes".to_vec());
    let long = || RegistryFault::Body(vec![b'x'; 2000]);
    let digest = || RegistryFault::Header("Docker-Content-Digest", Digest::of("other").to_string());
    let large = || RegistryFault::Body(vec![b' '; (4 << 20) + 1]);
    for (method, part, fault, code) in [
        ("GET", "/blobs/", other(), 5),
        ("GET", "/blobs/", long(), 5),
        ("GET", "/manifests/", other(), 5),
        ("GET", "/manifests/", large(), 5),
        ("HEAD", "/manifests/", digest(), 3),
        ("GET", "/manifests/", RegistryFault::Header("Content-Type", "application/x".into()), 4),
        ("GET", "/blobs/", RegistryFault::Redirect("file:///etc/passwd".into()), 7),
        ("GET", "/blobs/", RegistryFault::Status(404), 4),
        ("GET", "/blobs/", RegistryFault::Status(403), 4),
    ] {
        let registry = FakeRegistry::start();
        image(&registry, "1", "layer");
        registry.fault(method, part, 99, fault.clone());
        let (environment, project) = (offline(), Project::new());
        let ran = environment.run(&project, &["pull", &reference(&registry, "1"), "out"]);
        assert_eq!(ran.code, Some(code), "{method} {part} {}", ran.stderr);
        assert!(!project.path("out/index.json").exists(), "{method} {part}");
        // The control, and that what the lie left does no harm.
        registry.heal();
        environment.run(&project, &["pull", &reference(&registry, "1"), "out"]).success();
    }
}

#[test]
fn hostile_manifests_are_refused_before_a_blob_is_fetched() {
    let registry = FakeRegistry::start();
    let config = Descriptor::new(oci::CONFIG, Digest::of("{}"), 2);
    let layer = |at: usize| Descriptor::new(oci::LAYER_GZIP, Digest::of(at.to_string()), 1);
    let many = oci::encode(&Manifest::new(config.clone(), (0..10_000).map(layer).collect()));
    registry.put_manifest("team/site", "many", oci::MANIFEST, &many);
    let mut twice = layer(0);
    twice.size = 2;
    let sizes = oci::encode(&Manifest::new(config, vec![layer(0), twice]));
    registry.put_manifest("team/site", "sizes", oci::MANIFEST, &sizes);
    let strange = Descriptor::new("application/x", Digest::of("x"), 1);
    registry.put_blob("team/site", b"x");
    registry.put_manifest("team/site", "strange", oci::INDEX, &oci::encode(&Index::new(vec![strange])));
    let mut deep = Descriptor::new(oci::MANIFEST, Digest::of("m"), 1);
    for _ in 0..6 {
        let bytes = oci::encode(&Index::new(vec![deep]));
        let digest = registry.put_manifest("team/site", "deep", oci::INDEX, &bytes);
        deep = Descriptor::new(oci::INDEX, digest, bytes.len() as u64);
    }
    registry.put_manifest("team/site", "text", oci::MANIFEST, br#"{"schemaVersion":1}"#);
    let (environment, project) = (offline(), Project::new());
    for (tag, said, code) in [
        ("many", "512 layers", 5),
        ("sizes", "is said to have 1 bytes, and also 2", 5),
        ("strange", "no manifest that is known", 5),
        ("deep", "indexes within indexes", 5),
        ("text", "is not a document", 5),
    ] {
        let ran = environment.run(&project, &["pull", &reference(&registry, tag), tag]).failure(code);
        assert!(ran.stderr.contains(said), "{tag}: {}", ran.stderr);
    }
    assert_eq!(registry.count("GET", "/blobs/"), 0);
}

#[test]
fn each_stage_of_a_push_may_break_off_and_the_tag_comes_last() {
    let (environment, project) = (offline(), site());
    let digest = built(&environment, &project);
    for (method, part) in
        [("HEAD", "/blobs/"), ("POST", "/uploads/"), ("PUT", "/uploads/"), ("PUT", "/manifests/sha256")]
    {
        let registry = FakeRegistry::start();
        registry.fault(method, part, 9999, RegistryFault::Status(403));
        let push = || environment.run(&project, &["push", &reference(&registry, "1")]);
        push().failure(4);
        assert!(registry.manifest("team/site", "1").is_none(), "{method} {part}");
        registry.heal();
        registry.fault(method, part, 1, RegistryFault::NoAnswer);
        assert!(push().success().stdout.trim_end().ends_with(&digest));
        assert_eq!(
            registry.manifest("team/site", "1").map(Digest::of).map(|found| found.to_string()),
            Some(digest.clone())
        );
        // What is there is not sent again.
        registry.forget_requests();
        push().success();
        assert_eq!((registry.count("POST", ""), registry.count("PATCH", "")), (0, 0));
        let last = registry.requests().iter().rposition(|one| one.method == "PUT").expect("the tag was put");
        assert!(registry.requests()[last].target.ends_with("/manifests/1"), "the tag comes last");
    }
}

#[test]
fn a_registry_that_gives_back_something_else_is_found_out() {
    let (environment, project) = (offline(), site());
    built(&environment, &project);
    let registry = FakeRegistry::start();
    registry.fault("GET", "/manifests/", 99, RegistryFault::Body(b"{}".to_vec()));
    environment.run(&project, &["push", &reference(&registry, "1")]).failure(5);
    assert!(registry.manifest("team/site", "1").is_none(), "it got no tag");
    // A tag that somebody else moved at once.
    let registry = FakeRegistry::start();
    let other = Digest::of("other").to_string();
    registry.fault("HEAD", "/manifests/1", 9, RegistryFault::Header("Docker-Content-Digest", other));
    let ran = environment.run(&project, &["push", &reference(&registry, "1")]).failure(4);
    assert!(ran.stderr.contains("somebody else moves it"), "{}", ran.stderr);
}

#[test]
fn a_layout_that_was_tampered_with_is_not_pushed() {
    let (environment, project) = (offline(), site());
    built(&environment, &project);
    let blobs = fs_err::read_dir(project.path("bulla-out/blobs/sha256")).expect("blobs");
    let mut sizes: Vec<_> = blobs.map(|entry| entry.expect("an entry").path()).collect();
    sizes.sort_by_key(|path| std::fs::metadata(path).map(|found| found.len()).unwrap_or(0));
    for path in &sizes {
        let good = fs_err::read(path).expect("readable");
        let mut bad = good.clone();
        *bad.last_mut().expect("not empty") ^= 1;
        fs_err::write(path, bad).expect("tampered");
        let registry = FakeRegistry::start();
        environment.run(&project, &["push", &reference(&registry, "1")]).failure(5);
        assert!(registry.manifest("team/site", "1").is_none());
        fs_err::write(path, good).expect("mended");
    }
    let registry = FakeRegistry::start();
    environment.run(&project, &["push", &reference(&registry, "1")]).success();
}

#[test]
fn a_push_cannot_name_another_digest_than_its_image_has() {
    let (environment, project) = (offline(), site());
    let digest = built(&environment, &project);
    let registry = FakeRegistry::start();
    let push =
        |digest: &str| environment.run(&project, &["push", &format!("{}/team/site@{digest}", registry.address())]);
    push(&Digest::of("other").to_string()).failure(3);
    assert_eq!(registry.count("POST", ""), 0);
    push(&digest).success();
    assert!(registry.manifest("team/site", &digest).is_some());
}

#[test]
fn references_that_are_none_are_refused_with_the_usual_code() {
    let (environment, project) = (offline(), Project::new());
    for text in ["HTTP://r.example/x", "r.example/X", "user:word@r.example/x", "r.example/x@sha256:00"] {
        let ran = environment.run(&project, &["pull", text]).failure(2);
        assert!(!ran.stderr.is_empty());
    }
}

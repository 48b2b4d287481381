//! What refers to an image goes with it: through registries with and without the interface for it, layouts and archives.

use std::path::Path;

use bulla_model::{
    Digest,
    oci::{self, Descriptor, Index, Manifest},
};
use bulla_testkit::{FakeRegistry, Project, RegistryFault, docker::Registry, process};

use crate::{
    offline,
    registry::{built, site},
};

/// Makes a manifest of a kind that refers to something, with one layer; gives it with the layer's bytes.
fn evidence(subject: &Digest, kind: &str) -> (Vec<u8>, Vec<u8>) {
    let layer = format!("{kind} of {subject}").into_bytes();
    let mut manifest = Manifest::new(
        Descriptor::new(oci::EMPTY, Digest::of("{}"), 2),
        vec![Descriptor::new(kind, Digest::of(&layer), layer.len() as u64)],
    );
    manifest.artifact_type = Some(kind.to_owned());
    manifest.subject = Some(Descriptor::new(oci::INDEX, *subject, 1));
    (oci::encode(&manifest), layer)
}

/// Writes such a manifest into a layout as other programs do, and gives its digest.
fn attach(layout: &Path, subject: &Digest, kind: &str) -> Digest {
    let (manifest, layer) = evidence(subject, kind);
    for bytes in [b"{}".as_slice(), &layer, &manifest] {
        fs_err::write(layout.join("blobs/sha256").join(Digest::of(bytes).hex()), bytes).expect("a blob");
    }
    let mut index = top(layout);
    index.manifests.push(Descriptor::new(oci::MANIFEST, Digest::of(&manifest), manifest.len() as u64));
    fs_err::write(layout.join("index.json"), oci::encode(&index)).expect("an index");
    Digest::of(&manifest)
}

fn top(layout: &Path) -> Index {
    serde_json::from_slice(&fs_err::read(layout.join("index.json")).expect("an index")).expect("an index")
}

/// Gives what a layout's index names that has no name.
fn referrers(layout: &Path) -> Vec<Descriptor> {
    let mut found = top(layout).manifests;
    found.retain(|entry| !entry.annotations.contains_key(oci::REF_NAME) && entry.artifact_type.is_some());
    found.sort_by_key(|entry| entry.digest);
    found
}

/// Builds an image with a list of packages, a signature of that, and a signature of its only platform.
fn sealed(environment: &bulla_testkit::TestEnvironment, project: &Project) -> (Digest, Vec<Digest>) {
    let layout = project.path("bulla-out");
    let image: Digest = built(environment, project).parse().expect("a digest");
    let inner: Index = serde_json::from_slice(
        &fs_err::read(layout.join("blobs/sha256").join(image.hex())).expect("the image's index"),
    )
    .expect("an index");
    let packages = attach(&layout, &image, "application/vnd.example.packages");
    let seal = attach(&layout, &packages, "application/vnd.example.seal");
    let other = attach(&layout, &inner.manifests[0].digest, "application/vnd.example.seal");
    let mut all = vec![packages, seal, other];
    all.sort();
    (image, all)
}

fn digests(entries: &[Descriptor]) -> Vec<Digest> {
    entries.iter().map(|entry| entry.digest).collect()
}

/// Brings an image with its referrers through a registry and back by every way.
fn goes_everywhere(address: &str) {
    let (environment, project) = (offline(), site());
    let (image, all) = sealed(&environment, &project);
    let (first, second) = (format!("{address}/team/site:1"), format!("{address}/other/place:2"));
    let pushed = environment.run(&project, &["push", &first]).success();
    assert_eq!(pushed.stdout, format!("{first}@{image}\n"), "the image alone has the name");
    assert!(pushed.stderr.contains("3 manifests that refer to the image go with it"), "{}", pushed.stderr);
    for (source, target) in [
        (first.as_str(), "oci:back"),
        ("oci:back", second.as_str()),
        (&second, "oci-archive:x.tar"),
        ("oci-archive:x.tar", "oci:last:9"),
        (&first, &format!("{address}/third:3")),
    ] {
        let ran = environment.run(&project, &["copy", source, target]).success();
        assert!(ran.stdout.trim_end().ends_with(&image.to_string()), "{source} {target}: {}", ran.stdout);
    }
    environment.run(&project, &["pull", &format!("{address}/third@{image}"), "pulled"]).success();
    for layout in ["back", "last", "pulled"] {
        let found = referrers(&project.path(layout));
        assert_eq!(digests(&found), all, "{layout}");
        assert!(found.iter().all(|entry| entry.artifact_type.as_deref().is_some_and(|kind| kind.contains("example"))));
        let shown = environment.run(&project, &["inspect", layout]).success().stdout;
        assert!(shown.starts_with(&image.to_string()), "{shown}");
    }
    // The control, and that an image without a name takes another's place and leaves what refers to things.
    environment.run(&project, &["pull", "--no-referrers", &first, "alone"]).success();
    assert_eq!(top(&project.path("alone")).manifests.len(), 1);
    environment.run(&project, &["copy", "oci-archive:x.tar", "oci:back"]).success();
    assert_eq!(top(&project.path("back")).manifests.len(), 4);
}

#[test]
fn referrers_go_through_a_registry_that_lists_them() {
    let registry = FakeRegistry::start();
    goes_everywhere(&registry.address());
    assert_eq!(registry.count("PUT", "/manifests/sha256-"), 0, "it needs no tag that lists them");
}

#[test]
fn referrers_go_through_a_registry_that_does_not_list_them() {
    let registry = FakeRegistry::start();
    registry.without_referrers();
    goes_everywhere(&registry.address());
    assert_eq!(registry.count("PUT", "/manifests/sha256-"), 9, "three lists in three repositories");
}

#[test]
fn referrers_go_through_a_real_registry() {
    let Some(registry) = Registry::start() else { return };
    goes_everywhere(&registry.address());
}

#[test]
fn the_list_of_a_real_registry_is_that_of_the_specification() {
    let Some(registry) = Registry::start() else { return };
    if !process::exists("skopeo") {
        return bulla_testkit::skipped("reading the list of referrers", "skopeo is not installed");
    }
    let (environment, project) = (offline(), site());
    let (image, _) = sealed(&environment, &project);
    environment.run(&project, &["push", &format!("{}/team/site:1", registry.address())]).success();
    let list = format!("docker://{}/team/site:sha256-{}", registry.address(), image.hex());
    let raw =
        process::output(std::process::Command::new("skopeo").args(["inspect", "--raw", "--tls-verify=false", &list]));
    let index: Index = serde_json::from_str(&raw.expect("a list")).expect("an index");
    let (manifest, _) = evidence(&image, "application/vnd.example.packages");
    let mut entry = Descriptor::new(oci::MANIFEST, Digest::of(&manifest), manifest.len() as u64);
    entry.artifact_type = Some("application/vnd.example.packages".to_owned());
    assert_eq!(index.manifests, [entry]);
}

#[test]
fn a_layout_that_lists_referrers_by_tag_is_understood() {
    let (environment, project) = (offline(), site());
    let image: Digest = built(&environment, &project).parse().expect("a digest");
    let layout = project.path("bulla-out");
    let plain = top(&layout);
    let seal = attach(&layout, &image, "application/vnd.example.seal");
    // As others write it: the list has the name of the tag, and what it lists is not in the layout's index.
    let mut listed = top(&layout).manifests.pop().expect("the seal");
    listed.artifact_type = Some("application/vnd.example.seal".to_owned());
    let (mut list, bytes) = oci::encode_described(oci::INDEX, &Index::new(vec![listed]));
    fs_err::write(layout.join("blobs/sha256").join(list.digest.hex()), bytes).expect("a blob");
    list.annotations.insert(oci::REF_NAME.to_owned(), format!("sha256-{}", image.hex()));
    let index = Index { manifests: [plain.manifests, vec![list]].concat(), ..plain };
    fs_err::write(layout.join("index.json"), oci::encode(&index)).expect("an index");
    let ran = environment.run(&project, &["copy", "oci:bulla-out", "oci:out"]).success();
    assert_eq!(ran.stdout.trim_end(), image.to_string());
    assert_eq!(digests(&referrers(&project.path("out"))), [seal]);
}

#[test]
fn an_image_that_many_refer_to_is_inspected_and_copied() {
    let (environment, project) = (offline(), site());
    let image: Digest = built(&environment, &project).parse().expect("a digest");
    let layout = project.path("bulla-out");
    (0..100).for_each(|at| drop(attach(&layout, &image, &format!("application/vnd.example.x{at}")).hex()));
    let shown = environment.run(&project, &["inspect", "bulla-out"]).success().stdout;
    assert!(shown.starts_with(&image.to_string()), "{shown}");
    environment.run(&project, &["copy", "oci:bulla-out", "oci-archive:x.tar"]).success();
    environment.run(&project, &["copy", "oci-archive:x.tar", "oci:out"]).success();
    assert_eq!(referrers(&project.path("out")).len(), 100);
}

#[test]
fn a_push_keeps_the_list_that_others_wrote_and_names_the_image_last() {
    let registry = FakeRegistry::start();
    registry.without_referrers();
    let (environment, project) = (offline(), site());
    let (image, _) = sealed(&environment, &project);
    let tag = format!("sha256-{}", image.hex());
    let foreign = Descriptor::new(oci::MANIFEST, Digest::of("of somebody else"), 16);
    registry.put_manifest("team/site", &tag, oci::INDEX, &oci::encode(&Index::new(vec![foreign.clone()])));
    let reference = format!("{}/team/site:1", registry.address());
    environment.run(&project, &["push", &reference]).success();
    let list: Index = serde_json::from_slice(&registry.manifest("team/site", &tag).expect("a list")).expect("an index");
    assert_eq!((list.manifests.len(), &list.manifests[0]), (2, &foreign));
    let puts: Vec<_> = registry.requests().into_iter().filter(|one| one.method == "PUT").collect();
    assert!(puts.last().is_some_and(|one| one.target.ends_with("/manifests/1")));
    // A second time nothing is written to it.
    registry.forget_requests();
    environment.run(&project, &["push", &reference]).success();
    assert_eq!(registry.count("PUT", "/manifests/sha256-"), 0);
}

#[test]
fn a_list_that_does_not_keep_what_is_added_gets_no_tag() {
    let registry = FakeRegistry::start();
    registry.without_referrers();
    let (environment, project) = (offline(), site());
    sealed(&environment, &project);
    let push = || environment.run(&project, &["push", &format!("{}/team/site:1", registry.address())]);
    registry.fault("GET", "/manifests/sha256-", 99, RegistryFault::Status(404));
    let ran = push().failure(4);
    assert!(ran.stderr.contains("somebody else may be changing it"), "{}", ran.stderr);
    assert!(registry.manifest("team/site", "1").is_none());
    registry.heal();
    push().success();
}

/// Puts an image into the fake registry with a list of what refers to it, as whoever may push can.
fn listed(registry: &FakeRegistry, list: impl FnOnce(&Digest) -> Vec<Vec<u8>>) -> Digest {
    let config = registry.put_blob("team/site", b"{}");
    let layer = registry.put_blob("team/site", b"layer");
    let manifest = oci::encode(&Manifest::new(
        Descriptor::new(oci::CONFIG, config, 2),
        vec![Descriptor::new(oci::LAYER_GZIP, layer, 5)],
    ));
    let image = registry.put_manifest("team/site", "1", oci::MANIFEST, &manifest);
    put_list(registry, &image, &list(&image));
    image
}

/// Puts manifests there, and the list of them.
fn put_list(registry: &FakeRegistry, subject: &Digest, manifests: &[Vec<u8>]) {
    let entries = manifests.iter().map(|bytes| {
        let digest = Digest::of(bytes);
        registry.put_manifest("team/site", &digest.to_string(), oci::MANIFEST, bytes);
        Descriptor::new(oci::MANIFEST, digest, bytes.len() as u64)
    });
    let list = oci::encode(&Index::new(entries.collect()));
    registry.put_manifest("team/site", &format!("sha256-{}", subject.hex()), oci::INDEX, &list);
}

/// Makes a manifest that refers to something, of the blobs that there are.
fn bare(subject: &Digest, kind: &str) -> Vec<u8> {
    let mut manifest = Manifest::new(Descriptor::new(oci::EMPTY, Digest::of("{}"), 2), vec![]);
    manifest.artifact_type = Some(kind.to_owned());
    manifest.subject = Some(Descriptor::new(oci::MANIFEST, *subject, 1));
    oci::encode(&manifest)
}

fn old() -> FakeRegistry {
    let registry = FakeRegistry::start();
    registry.without_referrers();
    registry
}

#[test]
fn what_is_listed_and_does_not_refer_to_the_image_is_left_out() {
    let registry = old();
    let other = Digest::of("another image");
    let image = listed(&registry, |image| {
        let plain = Manifest::new(Descriptor::new(oci::EMPTY, Digest::of("{}"), 2), vec![]);
        vec![bare(image, "application/good"), bare(&other, "application/stray"), oci::encode(&plain)]
    });
    // The list also names what is not there, what is no manifest, and the image itself.
    let tag = format!("sha256-{}", image.hex());
    let mut list: Index =
        serde_json::from_slice(&registry.manifest("team/site", &tag).expect("a list")).expect("an index");
    list.manifests.push(Descriptor::new(oci::MANIFEST, Digest::of("gone"), 4));
    list.manifests.push(Descriptor::new("application/strange", Digest::of("strange"), 7));
    list.manifests.push(Descriptor::new(oci::MANIFEST, image, 1));
    registry.put_manifest("team/site", &tag, oci::INDEX, &oci::encode(&list));
    let (environment, project) = (offline(), Project::new());
    let ran = environment.run(&project, &["pull", &format!("{}/team/site:1", registry.address()), "out"]).success();
    assert_eq!(digests(&referrers(&project.path("out"))), [Digest::of(bare(&image, "application/good"))]);
    assert_eq!(ran.stderr.matches("does not refer to it").count(), 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("is not there") && ran.stderr.contains("no manifest that is known"), "{}", ran.stderr);
}

#[test]
fn a_referrer_does_not_take_the_name_of_an_image() {
    let registry = old();
    let image = listed(&registry, |image| {
        let mut manifest: Manifest = serde_json::from_slice(&bare(image, "application/x")).expect("a manifest");
        for name in [oci::REF_NAME, "io.containerd.image.name"] {
            manifest.annotations.insert(name.to_owned(), "1".to_owned());
        }
        vec![oci::encode(&manifest)]
    });
    let (environment, project) = (offline(), Project::new());
    environment.run(&project, &["pull", &format!("{}/team/site:1", registry.address()), "out"]).success();
    let found = top(&project.path("out")).manifests;
    assert!(found.len() == 2 && found[1].annotations.is_empty(), "{found:?}");
    let ran = environment.run(&project, &["copy", "oci:out:1", "oci:further"]).success();
    assert_eq!(ran.stdout.trim_end(), image.to_string());
}

/// Fills a registry.
type Make<'a> = &'a dyn Fn(&FakeRegistry);

#[test]
fn too_many_too_long_and_too_large_referrers_are_refused_and_may_be_left() {
    let many = |count: usize| {
        move |image: &Digest| (0..count).map(|at| bare(image, &format!("application/x{at}"))).collect::<Vec<_>>()
    };
    let large = |size: u64| {
        move |image: &Digest| {
            let mut manifest: Manifest = serde_json::from_slice(&bare(image, "application/x")).expect("a manifest");
            manifest.layers.push(Descriptor::new("application/x", Digest::of("large"), size));
            vec![oci::encode(&manifest)]
        }
    };
    let row = |registry: &FakeRegistry, length: usize| {
        let mut subject = listed(registry, |_| Vec::new());
        for at in 0..length {
            let next = bare(&subject, &format!("application/{at}"));
            put_list(registry, &subject, std::slice::from_ref(&next));
            subject = Digest::of(next);
        }
    };
    let put = |registry: &FakeRegistry, list: &dyn Fn(&Digest) -> Vec<Vec<u8>>| {
        listed(registry, list);
    };
    let made: [(Make<'_>, Option<&str>); 5] = [
        (&|registry| put(registry, &many(1000)), Some("512 manifests that refer to it")),
        (&|registry| put(registry, &many(20)), None),
        (&|registry| put(registry, &large(5 << 30)), Some("bytes in what refers to it")),
        (&|registry| row(registry, 5), Some("in a row")),
        (&|registry| row(registry, 4), None),
    ];
    for (make, refused) in made {
        let registry = old();
        make(&registry);
        let (environment, project) = (offline(), Project::new());
        let reference = format!("{}/team/site:1", registry.address());
        let pull = |options: &[&str]| environment.run(&project, &[&["pull", &reference, "out"], options].concat());
        match refused {
            Some(said) => {
                registry.put_blob("team/site", b"{}");
                let ran = pull(&[]).failure(5);
                assert!(ran.stderr.contains(said) && ran.stderr.contains("--no-referrers"), "{}", ran.stderr);
                assert_eq!(registry.count("GET", "/blobs/"), 0, "nothing was fetched for it");
                pull(&["--no-referrers"]).success();
            }
            None => drop(pull(&[]).success()),
        }
    }
}

#[test]
fn a_referrer_that_was_tampered_with_is_not_taken() {
    let registry = old();
    listed(&registry, |image| vec![bare(image, "application/good")]);
    let (environment, project) = (offline(), Project::new());
    let reference = format!("{}/team/site:1", registry.address());
    let pull = |options: &[&str]| environment.run(&project, &[&["pull", &reference, "out"], options].concat());
    let image = Digest::of(registry.manifest("team/site", "1").expect("an image"));
    let referrer = Digest::of(bare(&image, "application/good"));
    registry.fault("GET", &format!("/manifests/{referrer}"), 99, RegistryFault::Body(bare(&image, "application/evil")));
    pull(&[]).failure(5);
    assert!(!project.path("out/index.json").exists());
    registry.heal();
    pull(&[]).success();
    assert_eq!(digests(&referrers(&project.path("out"))), [referrer]);
    // The same in a layout.
    let blob = project.path("out/blobs/sha256").join(referrer.hex());
    let mut bytes = fs_err::read(&blob).expect("readable");
    *bytes.last_mut().expect("not empty") = b' ';
    fs_err::write(&blob, bytes).expect("tampered");
    environment.run(&project, &["copy", "oci:out:1", "oci:further"]).failure(5);
    fs_err::remove_file(&blob).expect("removed");
    environment.run(&project, &["copy", "oci:out:1", "oci:further"]).success();
}

//! What goes into a registry that breaks off.

use bulla_model::{Digest, oci};
use bulla_net::{
    NetConfig, Reach,
    oci::{Mounted, RegistryConfig, RegistryError},
};
use bulla_testkit::{FakeRegistry, RegistryFault};

use crate::{bytes, described, index, quick, reference, registries, send, shop};

/// More than one part of an upload.
const LARGE: usize = 40 << 20;

fn arrived(registry: &FakeRegistry, blob: &[u8]) -> bool {
    registry.blob("team/shop", &Digest::of(blob)).is_some_and(|found| found == blob)
}

#[test]
fn a_small_blob_goes_in_one_piece() {
    let registry = FakeRegistry::start();
    let blob = bytes(100_000);
    send(&shop(&registry), &blob).expect("sent");
    assert!(arrived(&registry, &blob));
    assert_eq!((registry.count("PATCH", ""), registry.count("PUT", "/blobs/uploads/")), (0, 1));
    send(&shop(&registry), b"").expect("nothing is a blob too");
}

#[test]
fn a_large_blob_goes_in_parts_and_is_resumed_where_it_was_cut_off() {
    let registry = FakeRegistry::start();
    let blob = bytes(LARGE);
    // The second part breaks off after 5 MiB, of which the registry keeps nothing it says; the third loses its answer.
    registry.fault("PATCH", "_state=16777216", 1, RegistryFault::CutRequest(5 << 20));
    registry.fault("PATCH", "_state=22020096", 1, RegistryFault::NoAnswer);
    let most = std::cell::Cell::new(0);
    let shop = shop(&registry);
    let upload = shop.begin().expect("allowed");
    let told = |sent: u64| most.set(most.get().max(sent));
    shop.upload(&described(&blob), upload, &mut std::io::Cursor::new(&blob), &told).expect("resumed");
    assert!(arrived(&registry, &blob));
    assert_eq!(most.get(), LARGE as u64);
    assert_eq!(registry.count("POST", "/uploads/"), 1, "it was not begun again");
    let states =
        registry.requests().iter().filter(|one| one.method == "GET" && one.target.contains("/uploads/")).count();
    assert_eq!(states, 2, "{:?}", registry.requests());
}

#[test]
fn an_upload_that_the_registry_forgot_is_begun_again() {
    let registry = FakeRegistry::start();
    let blob = bytes(LARGE);
    registry.fault("PATCH", "_state=16777216", 1, RegistryFault::Status(404));
    send(&shop(&registry), &blob).expect("begun again");
    assert!(arrived(&registry, &blob));
    assert_eq!(registry.count("POST", "/uploads/"), 2);
}

#[test]
fn a_registry_that_takes_no_parts_gets_it_in_one_piece() {
    let registry = FakeRegistry::start();
    let blob = bytes(LARGE);
    registry.fault("PATCH", "", 99, RegistryFault::Status(405));
    send(&shop(&registry), &blob).expect("in one piece");
    assert!(arrived(&registry, &blob));
}

#[test]
fn each_stage_of_a_push_may_be_cut_off() {
    let small = bytes(50_000);
    for (method, part, fault) in [
        ("POST", "/uploads/", RegistryFault::NoAnswer),
        ("POST", "/uploads/", RegistryFault::Status(503)),
        ("PUT", "/uploads/", RegistryFault::CutRequest(1000)),
        ("PUT", "/uploads/", RegistryFault::NoAnswer),
        ("PUT", "/uploads/", RegistryFault::Status(500)),
        ("PUT", "/manifests/", RegistryFault::CutRequest(10)),
        ("PUT", "/manifests/", RegistryFault::NoAnswer),
        ("HEAD", "/blobs/", RegistryFault::NoAnswer),
    ] {
        let registry = FakeRegistry::start();
        registry.fault(method, part, 1, fault.clone());
        let shop = shop(&registry);
        shop.has_blob(&described(&small)).expect("answered");
        send(&shop, &small).unwrap_or_else(|error| panic!("{method} {part} {fault:?}: {error:?}"));
        shop.put_manifest("1", oci::INDEX, &index()).expect("taken");
        assert!(arrived(&registry, &small), "{method} {part} {fault:?}");
        assert_eq!(registry.manifest("team/shop", "1"), Some(index()));
    }
}

#[test]
fn a_registry_that_always_breaks_off_is_given_up() {
    for (method, fault) in [
        ("PUT", RegistryFault::CutRequest(1000)),
        ("PATCH", RegistryFault::CutRequest(1000)),
        ("PATCH", RegistryFault::Status(416)),
        ("POST", RegistryFault::NoAnswer),
    ] {
        let registry = FakeRegistry::start();
        registry.fault(method, "", 9999, fault.clone());
        let blob = bytes(if method == "PATCH" { 17 << 20 } else { 50_000 });
        send(&shop(&registry), &blob).expect_err("always");
        assert!(registry.requests().len() < 60, "{method} {fault:?}: {}", registry.requests().len());
        assert!(!arrived(&registry, &blob));
    }
}

#[test]
fn a_registry_that_took_something_else_is_found_out() {
    let registry = FakeRegistry::start();
    let other = Digest::of("other").to_string();
    registry.fault("PUT", "", 9, RegistryFault::Header("Docker-Content-Digest", other));
    let shop = shop(&registry);
    let error = send(&shop, &bytes(100)).expect_err("another digest");
    assert!(matches!(error, RegistryError::WrongDigest { .. }), "{error:?}");
    let error = shop.put_manifest("1", oci::INDEX, &index()).expect_err("another digest");
    assert!(matches!(error, RegistryError::WrongDigest { .. }), "{error:?}");
}

#[test]
fn a_registry_that_says_it_has_more_than_was_sent_is_found_out() {
    let registry = FakeRegistry::start();
    registry.fault("PATCH", "", 99, RegistryFault::Header("Range", "0-99999999999".into()));
    let error = send(&shop(&registry), &bytes(17 << 20)).expect_err("nonsense");
    assert!(matches!(error, RegistryError::Nonsense { .. }), "{error:?}");
}

#[test]
fn a_blob_of_another_repository_is_mounted_and_not_sent() {
    let registry = FakeRegistry::start();
    let blob = bytes(100);
    registry.put_blob("team/base", &blob);
    let registries = registries(quick(), RegistryConfig::default());
    let open = |name: &str| {
        registries.repository(&reference(&registry.address(), name), Reach::Configured).expect("a registry")
    };
    let (base, shop) = (open("team/base"), open("team/shop"));
    assert!(shop.is_beside(&base));
    assert!(matches!(shop.mount(&described(&blob), &base).expect("answered"), Mounted::Done));
    assert!(arrived(&registry, &blob));
    // What is not there is to be sent.
    let other = bytes(101);
    let Mounted::Upload(upload) = shop.mount(&described(&other), &base).expect("answered") else {
        panic!("there is nothing to mount");
    };
    shop.upload(&described(&other), upload, &mut std::io::Cursor::new(&other), &|_| {}).expect("sent");
    assert!(arrived(&registry, &other));
}

#[test]
fn a_source_that_breaks_off_is_named() {
    let registry = FakeRegistry::start();
    let shop = shop(&registry);
    let upload = shop.begin().expect("allowed");
    let mut short = std::io::Cursor::new(bytes(50));
    let error = shop.upload(&described(&bytes(100)), upload, &mut short, &|_| {}).expect_err("too short");
    assert!(matches!(error, RegistryError::Source { .. }), "{error:?}");
}

#[test]
fn stopping_ends_an_upload() {
    let registry = FakeRegistry::start();
    let net = quick();
    let cancel = net.cancel.clone();
    let shop = registries(NetConfig { retries: 0, ..net }, RegistryConfig::default())
        .repository(&reference(&registry.address(), "team/shop"), Reach::Configured)
        .expect("a registry");
    let blob = bytes(1 << 20);
    let upload = shop.begin().expect("allowed");
    let stop = |_| cancel.store(true, std::sync::atomic::Ordering::Relaxed);
    shop.upload(&described(&blob), upload, &mut std::io::Cursor::new(&blob), &stop).expect_err("stopped");
    assert!(!arrived(&registry, &blob));
}

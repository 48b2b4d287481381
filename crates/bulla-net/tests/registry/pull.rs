//! What comes out of a registry that lies.

use bulla_model::{
    Digest, Fault as _, Kind,
    oci::{self, Descriptor},
};
use bulla_net::{
    NetError,
    oci::{RegistryError, fallback_tag},
};
use bulla_testkit::{FakeRegistry, RegistryFault};

use crate::{bytes, described, fetch, index, manifest, shop};

fn integrity(error: &RegistryError) {
    assert_eq!(error.kind(), Kind::Integrity, "{error:?}");
}

#[test]
fn a_manifest_is_hashed_and_described() {
    let registry = FakeRegistry::start();
    let digest = registry.put_manifest("team/shop", "1", oci::INDEX, &index());
    let shop = shop(&registry);
    assert_eq!(shop.resolve("1").expect("answered"), Some(digest));
    assert_eq!(shop.resolve("2").expect("answered"), None);
    let found = shop.manifest(&digest.to_string()).expect("there");
    assert_eq!(found.descriptor, Descriptor::new(oci::INDEX, digest, index().len() as u64));
    let error = shop.manifest("2").expect_err("missing");
    assert!(error.is_not_found() && error.kind() == Kind::Spec && error.to_string().contains("MANIFEST_UNKNOWN"));
}

#[test]
fn another_manifest_than_its_digest_is_refused() {
    let registry = FakeRegistry::start();
    let digest = registry.put_manifest("team/shop", "1", oci::INDEX, &index());
    let shop = shop(&registry);
    registry.fault("GET", "/manifests/", 9, RegistryFault::Body(manifest(1)));
    registry.fault("GET", "/manifests/", 9, RegistryFault::Header("Content-Type", oci::MANIFEST.into()));
    // By its digest, and by a tag whose digest the head of the answer says.
    for wanted in [digest.to_string(), "1".to_owned()] {
        let error = shop.manifest(&wanted).expect_err("other bytes");
        assert!(matches!(&error, RegistryError::WrongDigest { expected, .. } if *expected == digest), "{error:?}");
        integrity(&error);
    }
    // That the registry says the digest of the other bytes too does not help it where the digest was asked for.
    let other = Digest::of(manifest(1)).to_string();
    registry.fault("GET", "/manifests/", 9, RegistryFault::Header("Docker-Content-Digest", other));
    integrity(&shop.manifest(&digest.to_string()).expect_err("other bytes"));
}

#[test]
fn a_manifest_is_of_one_media_type_everywhere() {
    let registry = FakeRegistry::start();
    registry.put_manifest("team/shop", "1", oci::MANIFEST, &index());
    let shop = shop(&registry);
    let error = shop.manifest("1").expect_err("two media types");
    assert!(error.to_string().contains("outside"), "{error}");
    registry.put_manifest("team/shop", "2", "application/vnd.example", br#"{"schemaVersion":2}"#);
    let error = shop.manifest("2").expect_err("an unknown media type");
    assert!(error.to_string().contains("application/vnd.example"), "{error}");
    registry.put_manifest("team/shop", "3", "text/html", b"<html>");
    shop.manifest("3").expect_err("no manifest");
    registry.put_manifest("team/shop", "4", "application/json", &index());
    assert_eq!(shop.manifest("4").expect("it says so inside").descriptor.media_type, oci::INDEX);
}

#[test]
fn a_manifest_of_more_than_four_mebibytes_is_refused() {
    let registry = FakeRegistry::start();
    let mut large = index();
    large.extend(std::iter::repeat_n(b' ', 4 << 20));
    let digest = registry.put_manifest("team/shop", "large", oci::INDEX, &large);
    let shop = shop(&registry);
    let error = shop.manifest("large").expect_err("too large");
    assert!(matches!(error, RegistryError::TooLarge { .. }), "{error:?}");
    integrity(&error);
    // One that does not say how long it is, too; and the control is as long as is allowed.
    registry.fault("GET", "/manifests/", 1, RegistryFault::Header("Content-Length", "100".into()));
    integrity(&shop.manifest(&digest.to_string()).expect_err("cut at what it says"));
    let mut most = index();
    most.resize(4 << 20, b' ');
    registry.put_manifest("team/shop", "most", oci::INDEX, &most);
    shop.manifest("most").expect("as long as is allowed");
    shop.put_manifest("large", oci::INDEX, &large).expect_err("not sent either");
}

#[test]
fn ten_thousand_layers_are_read_where_they_fit() {
    let registry = FakeRegistry::start();
    registry.put_manifest("team/shop", "1", oci::MANIFEST, &manifest(10_000));
    shop(&registry).manifest("1").expect("the size is the bound here; who reads it has its own");
}

#[test]
fn a_manifest_that_is_cut_off_is_asked_for_again() {
    let registry = FakeRegistry::start();
    registry.put_manifest("team/shop", "1", oci::INDEX, &index());
    registry.fault("GET", "/manifests/", 2, RegistryFault::CutAnswer(10));
    let shop = shop(&registry);
    shop.manifest("1").expect("the third time");
    registry.fault("GET", "/manifests/", 99, RegistryFault::CutAnswer(10));
    let error = shop.manifest("1").expect_err("always cut off");
    assert!(matches!(error, RegistryError::Net(NetError::CutOff { .. })), "{error:?}");
    assert_eq!(registry.count("GET", "/manifests/"), 3 + 4);
}

#[test]
fn a_blob_is_resumed_where_it_was_cut_off() {
    let registry = FakeRegistry::start();
    let blob = bytes(300_000);
    registry.put_blob("team/shop", &blob);
    registry.fault("GET", "/blobs/", 1, RegistryFault::CutAnswer(200_000));
    assert_eq!(fetch(&shop(&registry), &described(&blob)).expect("resumed"), blob);
    let asked = registry.requests();
    let ranges: Vec<_> = asked.iter().filter_map(|one| one.header("range")).collect();
    assert_eq!(ranges.len(), 1, "{ranges:?}");
}

#[test]
fn a_blob_of_other_bytes_or_length_is_refused() {
    let registry = FakeRegistry::start();
    let blob = bytes(3000);
    registry.put_blob("team/shop", &blob);
    let shop = shop(&registry);
    let mut other = blob.clone();
    other[7] ^= 1;
    for wrong in [other, bytes(4000), bytes(2000)] {
        registry.heal();
        registry.fault("GET", "/blobs/", 99, RegistryFault::Body(wrong.clone()));
        let error = fetch(&shop, &described(&blob)).expect_err("other bytes");
        integrity(&error);
    }
    registry.heal();
    fetch(&shop, &described(&blob)).expect("control");
    let error = shop.has_blob(&Descriptor { size: 2999, ..described(&blob) }).expect_err("another size");
    assert!(matches!(error, RegistryError::Nonsense { .. }), "{error:?}");
    assert!(shop.has_blob(&described(&blob)).expect("answered"));
    assert!(!shop.has_blob(&described(b"other")).expect("answered"));
}

#[test]
fn tags_are_listed_over_all_pages_and_an_endless_list_ends() {
    let registry = FakeRegistry::start();
    for tag in ["c", "a", "e", "d", "b"] {
        registry.put_manifest("team/shop", tag, oci::INDEX, &index());
    }
    let shop = shop(&registry);
    assert_eq!(shop.tags().expect("listed"), ["a", "b", "c", "d", "e"]);
    let again = "</v2/team/shop/tags/list?again>; rel=\"next\"".to_owned();
    registry.fault("GET", "/tags/", 9999, RegistryFault::Header("Link", again));
    shop.tags().expect_err("a list without end");
    registry.heal();
    let elsewhere = "<http://r.example/v2/team/shop/tags/list>; rel=\"next\"".to_owned();
    registry.fault("GET", "/tags/", 9, RegistryFault::Header("Link", elsewhere));
    assert_eq!(shop.tags().expect("the page of another host is not asked for"), ["a", "b"]);
}

#[test]
fn referrers_are_listed_by_the_interface_and_by_the_tag() {
    let subject = Descriptor::new(oci::INDEX, Digest::of(index()), index().len() as u64);
    let attached = |kind: &str| {
        let mut manifest = bulla_model::oci::Manifest::new(Descriptor::new(oci::EMPTY, Digest::of("{}"), 2), vec![]);
        manifest.artifact_type = Some(kind.to_owned());
        manifest.subject = Some(subject.clone());
        oci::encode(&manifest)
    };
    for old in [false, true] {
        let registry = FakeRegistry::start();
        if old {
            registry.without_referrers();
        }
        let shop = shop(&registry);
        assert!(shop.referrers(&subject.digest, None).expect("listed").is_empty());
        for kind in ["application/a", "application/b"] {
            let bytes = attached(kind);
            let digest = Digest::of(&bytes);
            let noted = shop.put_manifest(&digest.to_string(), oci::MANIFEST, &bytes).expect("taken");
            assert_eq!(noted, !old);
            if !noted {
                let mut entry = Descriptor::new(oci::MANIFEST, digest, bytes.len() as u64);
                entry.artifact_type = Some(kind.to_owned());
                shop.add_referrers(&subject.digest, std::slice::from_ref(&entry)).expect("added");
                shop.add_referrers(&subject.digest, &[entry]).expect("once only");
            }
        }
        assert_eq!(shop.referrers(&subject.digest, None).expect("listed").len(), 2, "old: {old}");
        let of_kind = shop.referrers(&subject.digest, Some("application/a")).expect("listed");
        assert_eq!(of_kind.len(), 1, "old: {old}");
        assert_eq!(registry.manifest("team/shop", &fallback_tag(&subject.digest)).is_some(), old);
    }
}

#[test]
fn what_a_registry_says_is_made_harmless() {
    let registry = FakeRegistry::start();
    let text = b"{\"errors\":[{\"code\":\"X\",\"message\":\"\\u001b[31mred\\n::set-output\"}]}".to_vec();
    registry.fault("GET", "/manifests/", 9, RegistryFault::Status(400));
    registry.fault("GET", "/manifests/", 9, RegistryFault::Body(text));
    let message = shop(&registry).manifest("1").expect_err("refused").to_string();
    assert!(message.contains("red") && !message.contains(['\x1b', '\n']), "{message:?}");
}

//! The registry of the distribution project.

use std::sync::Arc;

use bulla_model::{
    Digest,
    oci::{self, Descriptor, Index, Manifest},
};
use bulla_net::{
    Reach, Secret,
    oci::{Login, Mounted, RegistryConfig, RegistryError},
};
use bulla_testkit::docker::Registry;

use crate::{One, bytes, described, fetch, quick, reference, registries, send};

#[test]
fn a_real_registry_takes_and_gives_all_there_is() {
    let Some(registry) = Registry::start() else { return };
    let registries = registries(quick(), RegistryConfig::default());
    let open = |name: &str| registries.repository(&reference(&registry.address(), name), Reach::Configured);
    let shop = open("team/shop").expect("a registry").for_pushing();
    assert!(shop.tags().expect("listed").is_empty());
    assert_eq!(shop.resolve("1").expect("answered"), None);
    // In one piece, and in parts.
    let blobs = [b"{}".to_vec(), bytes(100_000), bytes(40 << 20)];
    for blob in &blobs {
        assert!(!shop.has_blob(&described(blob)).expect("answered"));
        send(&shop, blob).expect("sent");
        assert!(shop.has_blob(&described(blob)).expect("answered"));
        assert_eq!(fetch(&shop, &described(blob)).expect("there"), *blob);
    }
    let config = Descriptor::new(oci::CONFIG, Digest::of("{}"), 2);
    let bytes = oci::encode(&Manifest::new(config, blobs[1..].iter().map(|blob| described(blob)).collect()));
    let digest = Digest::of(&bytes);
    shop.put_manifest(&digest.to_string(), oci::MANIFEST, &bytes).expect("taken");
    let entry = Descriptor::new(oci::MANIFEST, digest, bytes.len() as u64);
    let top = oci::encode(&Index::new(vec![entry]));
    shop.put_manifest("1", oci::INDEX, &top).expect("taken");
    assert_eq!(shop.resolve("1").expect("answered"), Some(Digest::of(&top)));
    assert_eq!(shop.manifest("1").expect("there").bytes, top);
    assert_eq!(shop.manifest(&digest.to_string()).expect("there").bytes, bytes);
    assert_eq!(shop.tags().expect("listed"), ["1"]);
    let other = open("team/other").expect("a registry").for_pushing();
    assert!(matches!(other.mount(&described(&blobs[2]), &shop).expect("answered"), Mounted::Done));
    assert_eq!(fetch(&other, &described(&blobs[2])).expect("there").len(), 40 << 20);
    assert!(shop.manifest("2").expect_err("missing").is_not_found());
}

#[test]
fn a_real_registry_with_passwords_lets_in_who_has_one() {
    let Some(registry) = Registry::start_with_login("ada", "correct-horse") else { return };
    let open = |password: Option<&str>| {
        let config = match password {
            Some(password) => {
                let login = Login::Password { name: "ada".into(), password: Secret::new(password) };
                RegistryConfig { logins: Arc::new(One(registry.address(), login)), ..RegistryConfig::default() }
            }
            None => RegistryConfig::default(),
        };
        registries(quick(), config).repository(&reference(&registry.address(), "team/shop"), Reach::Configured)
    };
    let shop = open(Some("correct-horse")).expect("a registry").for_pushing();
    send(&shop, &bytes(20 << 20)).expect("let in");
    for wrong in [Some("wrong"), None] {
        let error = send(&open(wrong).expect("a registry"), &bytes(10)).expect_err("not let in");
        assert!(matches!(error, RegistryError::Denied { .. }), "{error:?}");
    }
}

//! Signatures of images, in both of cosign's forms.

use bulla_evidence::{image, key::PublicKey};
use bulla_model::Digest;
use serde_json::Value;

/// A key whose private half is gone, what it signed, and both of its signatures.
const KEY: &[u8] = include_bytes!("../seeds/image_signature/key");
const BUNDLE: &[u8] = include_bytes!("../seeds/image_signature/bundle");
const SIMPLE: &[u8] = include_bytes!("../seeds/image_signature/simple");

fn payload(bundle: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(bundle).ok()?;
    Some(value.pointer("/dsseEnvelope/payload")?.as_str()?.to_owned())
}

/// A bundle; a signature, a line feed and what it is of; a key. What is good is what the key has signed, and nothing else.
pub(crate) fn image(bytes: &[u8]) {
    let key = PublicKey::parse(KEY).expect("a key");
    let digest = Digest::of("image");
    match image::verify_bundle(&key, bytes, &digest) {
        Ok(()) => assert!(payload(bytes).is_some_and(|signed| Some(signed) == payload(BUNDLE))),
        Err(error) => crate::shown(&error),
    }
    assert!(image::verify_bundle(&key, bytes, &Digest::of("another")).is_err(), "nobody signed it");
    let halves = |bytes: &[u8]| {
        let at = bytes.iter().position(|byte| *byte == b'\n')?;
        let signature = std::str::from_utf8(bytes.get(..at)?).ok()?.to_owned();
        Some((signature, bytes.get(at + 1..)?.to_vec()))
    };
    if let Some((signature, document)) = halves(bytes) {
        match image::verify_document(&key, (&document, &signature), None, &digest) {
            Ok(()) => assert!(halves(SIMPLE).is_some_and(|(_, signed)| signed == document)),
            Err(error) => crate::shown(&error),
        }
        assert!(
            image::verify_document(&key, (&document, &signature), Some("registry.example/team/other"), &digest)
                .is_err()
        );
    }
    if let Ok(other) = PublicKey::parse(bytes) {
        assert_eq!(image::verify_bundle(&other, BUNDLE, &digest).is_ok(), other.digest() == key.digest());
    }
}

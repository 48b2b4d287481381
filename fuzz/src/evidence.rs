//! Evidence beside an image, keys that sign it, and policies.

use bulla_evidence::{
    Statement,
    configuration::Configuration,
    difference,
    key::{PrivateKey, PublicKey, Signer as _, file::Protected, uri::TokenUri},
    policy::Policy,
    provenance::Provenance,
    verify::{Content, Piece, TrustedKey, Verdict, assess},
};
use bulla_model::Digest;

/// A key whose private half is gone, which signed the image `image`.
const KEY: &[u8] = include_bytes!("../seeds/image_signature/key");

/// A bundle, an envelope, a statement, or a document behind its signature. Nothing is proven of an image that nobody signed.
pub(crate) fn evidence(bytes: &[u8]) {
    let keys = [TrustedKey { name: "key".to_owned(), key: PublicKey::parse(KEY).expect("a key") }];
    let (signature, payload) = match bytes.iter().position(|byte| *byte == b'\n') {
        Some(at) => (String::from_utf8_lossy(&bytes[..at]).into_owned(), bytes[at + 1..].to_vec()),
        None => (String::new(), bytes.to_vec()),
    };
    for content in [
        Content::Bundle(bytes.to_vec()),
        Content::FileBundle { bundle: bytes.to_vec(), file: b"file".as_slice().into() },
        Content::Envelope { bytes: bytes.to_vec(), keyless: false },
        Content::Statement(bytes.to_vec()),
        Content::Document { payload, signature, keyless: false },
    ] {
        let of = |subject: &str, keys: &[TrustedKey]| {
            assess(&Piece { subject: Digest::of(subject), content: content.clone() }, keys)
        };
        let found = of("image", &keys);
        assert!(!found.claim.detail.is_empty());
        assert_eq!(found.claim.verdict == Verdict::Proven, found.claim.key.is_some() && found.claim.advice.is_none());
        assert_ne!(of("another", &keys).claim.verdict, Verdict::Proven, "nobody signed it");
        assert_ne!(of("image", &[]).claim.verdict, Verdict::Proven, "no key was named");
    }
}

/// A private key, protected or not, a public one, or the name of one on a token.
pub(crate) fn key_file(bytes: &[u8]) {
    match TokenUri::parse(crate::text(bytes)) {
        Ok(uri) => {
            let is_whole = |path: &std::path::PathBuf| path.is_absolute();
            assert!(uri.module.iter().chain(&uri.pin_source).all(is_whole), "{uri:?}");
        }
        Err(error) => assert!(!error.to_string().contains(char::is_control), "{error}"),
    }
    if let Err(error) = Protected::parse(bytes) {
        crate::shown(&error);
    }
    match PrivateKey::parse(bytes) {
        Ok(key) => {
            let signature = key.sign(b"message").expect("signed");
            assert_eq!(key.public().verify(b"message", &signature), Ok(()));
        }
        Err(error) => crate::shown(&error),
    }
    match PublicKey::parse(bytes) {
        Ok(key) => assert_eq!(PublicKey::parse(key.to_pem().as_bytes()).expect("a key"), key),
        Err(error) => crate::shown(&error),
    }
}

/// A policy.
pub(crate) fn policy(bytes: &[u8]) {
    match Policy::parse("policy.yaml", bytes) {
        Ok(policy) => assert_eq!(Policy::parse("policy.yaml", bytes).expect("it was read before"), policy),
        Err(errors) => errors.iter().for_each(|error| assert!(!error.message.is_empty())),
    }
}

/// A statement of how an image was made, or of its configuration.
pub(crate) fn provenance(bytes: &[u8]) {
    let Ok(statement) = Statement::parse(bytes) else { return };
    if let Ok(read) = serde_json::from_value::<Provenance>(statement.predicate.clone()) {
        let again = serde_json::to_value(&read).expect("its maps have texts as keys");
        assert_eq!(serde_json::from_value::<Provenance>(again).expect("what was written"), read);
        let definition = &read.build_definition;
        let kinds = ["source", "checkout", "package", "base", "dependency", "index"];
        let used: usize = kinds.iter().map(|kind| definition.used(kind).count()).sum();
        assert!(used <= definition.resolved_dependencies.len());
    }
    if let Ok(read) = serde_json::from_value::<Configuration>(statement.predicate) {
        let again = serde_json::to_value(&read).expect("its maps have texts as keys");
        assert_eq!(serde_json::from_value::<Configuration>(again).expect("what was written"), read);
    }
}

/// Two files that should be the same: the first byte says where the second begins.
pub(crate) fn difference(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let (one, other) = rest.split_at(rest.len() * usize::from(*first) / 256);
    let found = difference::explain(one, other);
    assert_eq!(found.is_some(), one != other);
    if let Some(found) = found {
        let told = found.to_string();
        assert!(told.len() < 4096 && !told.chars().any(char::is_control), "{told}");
    }
    assert_eq!(difference::explain(one, one), None);
}

//! Evidence beside an image, keys that sign it, and policies.

use bulla_evidence::{
    Statement,
    configuration::Configuration,
    difference,
    inventory::{Limits, Scanner},
    json,
    key::{PrivateKey, PublicKey, Signer as _, file::Protected, uri::TokenUri},
    policy::{Policy, expression},
    provenance::Provenance,
    sbom::{Held, Stated, Subject, compose},
    verify::{Content, Piece, TrustedKey, Verdict, assess},
};
use bulla_model::{CleanPath, Digest, Epoch};

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

/// A list of what an image is made of, held against a small image.
pub(crate) fn list(bytes: &[u8]) {
    let Ok(document) = json::read(bytes, 1 << 20) else { return };
    let Ok(stated) = Stated::read(&document) else { return };
    let mut scanner = Scanner::new(Limits::default());
    for (path, text) in [
        ("var/lib/dpkg/status.d/a", "Package: a\nArchitecture: all\nVersion: 1\n"),
        ("n/node_modules/b/package.json", r#"{"name":"b","version":"2"}"#),
    ] {
        let path: CleanPath = path.parse().expect("a clean path");
        scanner.file(path, text.len() as u64, &mut text.as_bytes()).expect("memory can be read");
    }
    let subject = Subject {
        name: "image".to_owned(),
        manifest: Digest::of("image"),
        os: "linux".to_owned(),
        architecture: "amd64".to_owned(),
        created: Epoch::default(),
        supplier: None,
        layers: vec![Digest::of("layer")],
        built: false,
    };
    let held = Held::of(&stated, &compose(subject, &[scanner.finish()], None));
    let told = held.told();
    assert!(!told.is_empty() && told.len() < 64 << 10 && !told.chars().any(char::is_control), "{told}");
    assert_eq!(held.packages, 2);
    assert!(held.is_consistent() || told.contains('('), "what differs is named: {told}");
}

/// An expression of a policy: it is read, and not evaluated, which has bounds of its own.
pub(crate) fn rule(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(error) = expression::check(text) {
        let told = error.to_string();
        assert!(!told.is_empty() && !told.chars().any(char::is_control), "{told}");
    }
}

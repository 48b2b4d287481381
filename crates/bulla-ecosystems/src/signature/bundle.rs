//! Signatures of images as Sigstore bundles, which cosign makes since version 3: an envelope (DSSE 1.0) around a statement (in-toto 1)
//! whose subject is the image's digest (cosign, `specs/BUNDLE_SPEC.md`; Sigstore, `sigstore_bundle.proto`, version 0.3).
//!
//! What a key signed is verified by that key alone. Entries of transparency logs and timestamps, which may be in the bundle beside it,
//! are not read: nothing depends on when it was signed. A bundle with a certificate has no key that stays, and is good only with a
//! log: it is never accepted.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bulla_model::Digest;
use serde::{Deserialize, de::IgnoredAny};

use super::cosign::{ImageKey, ImageSignatureError, shown};

/// The media type of a bundle, and the kind of a manifest that has one.
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// What all versions of bundles begin with.
pub const BUNDLES: &str = "application/vnd.dev.sigstore.bundle";
/// The annotation of a manifest that says what its bundle states.
pub const PREDICATE: &str = "dev.sigstore.bundle.predicateType";
/// What the statement of an image's signature states.
pub const SIGNS: &str = "https://sigstore.dev/cosign/sign/v1";
/// The most bytes of a bundle.
pub const MAX_BUNDLE: u64 = 512 << 10;

/// What an envelope says that is in it.
const STATEMENT: &str = "application/vnd.in-toto+json";
/// What a statement says that it is.
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    verification_material: Material,
    #[serde(default)]
    dsse_envelope: Option<Envelope>,
    #[serde(default)]
    message_signature: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    /// It may have a hint of which key it was. Whoever changes a bundle writes another, so that it decides nothing.
    #[serde(default)]
    public_key: Option<IgnoredAny>,
    #[serde(default)]
    certificate: Option<IgnoredAny>,
    #[serde(default)]
    x509_certificate_chain: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    sig: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    predicate_type: String,
}

#[derive(Deserialize)]
struct Subject {
    digest: Digests,
}

/// One digest, so that there is no question which of several counts.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Digests {
    sha256: String,
}

impl ImageKey {
    /// Verifies that this key signed the statement of a bundle, and that it is the signature of the image with this digest. A
    /// bundle has no name of the image.
    ///
    /// # Errors
    /// When it is not so, or the bundle is of a kind that a key alone does not verify.
    pub fn verify_bundle(&self, bundle: &[u8], digest: &Digest) -> Result<(), ImageSignatureError> {
        if bundle.len() as u64 > MAX_BUNDLE {
            return Err(ImageSignatureError::TooLarge { size: bundle.len() as u64, most: MAX_BUNDLE });
        }
        let envelope = envelope(bundle)?;
        if envelope.payload_type != STATEMENT {
            return Err(ImageSignatureError::Statement);
        }
        let decode = |text: &str| STANDARD.decode(text).map_err(|_| ImageSignatureError::Unreadable);
        let [signature] = envelope.signatures.as_slice() else { return Err(ImageSignatureError::Unreadable) };
        let (payload, signature) = (decode(&envelope.payload)?, decode(&signature.sig)?);
        self.holds(&encoded(&payload), &signature)?;
        // Only what the key has signed is read.
        let statement: Statement = serde_json::from_slice(&payload).map_err(|_| ImageSignatureError::Statement)?;
        if statement.kind != STATEMENT_TYPE {
            return Err(ImageSignatureError::Statement);
        }
        if statement.predicate_type != SIGNS {
            return Err(ImageSignatureError::Predicate { found: shown(&statement.predicate_type) });
        }
        let [subject] = statement.subject.as_slice() else {
            return Err(ImageSignatureError::Subjects { count: statement.subject.len() });
        };
        match subject.digest.sha256 == digest.hex() {
            true => Ok(()),
            false => {
                Err(ImageSignatureError::OtherImage { found: shown(&format!("sha256:{}", subject.digest.sha256)) })
            }
        }
    }
}

/// Reads what of a bundle is to be verified by a key.
fn envelope(bundle: &[u8]) -> Result<Envelope, ImageSignatureError> {
    let other = |kind| Err(ImageSignatureError::OtherKind { kind });
    // In keys that nobody reads, too, nothing but text is text.
    let text = std::str::from_utf8(bundle).map_err(|_| ImageSignatureError::Unreadable)?;
    let Bundle { media_type, verification_material: material, dsse_envelope, message_signature } =
        serde_json::from_str(text).map_err(|_| ImageSignatureError::Unreadable)?;
    if media_type != BUNDLE {
        return other("a Sigstore bundle of another version than 0.3");
    }
    if material.certificate.is_some() || material.x509_certificate_chain.is_some() {
        return other("signed with a certificate (keyless), which a transparency log must vouch for");
    }
    if material.public_key.is_none() {
        return other("a Sigstore bundle that names neither key nor certificate");
    }
    match (dsse_envelope, message_signature) {
        (Some(envelope), None) => Ok(envelope),
        _ => other("a Sigstore bundle of a file's signature, and of no statement"),
    }
}

/// What is signed of a payload ("pre-authentication encoding").
fn encoded(payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {STATEMENT} {} ", STATEMENT.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::Signer as _;
    use serde_json::{Value, json};

    use super::*;
    use crate::signature::cosign::tests::{ed25519, p256};

    fn statement(digest: &Digest) -> Value {
        json!({
            "_type": STATEMENT_TYPE,
            "subject": [{"digest": {"sha256": digest.hex()}, "annotations": {"release": "1"}}],
            "predicateType": SIGNS,
            "predicate": {}
        })
    }

    fn bundle(payload: &[u8], signature: &[u8]) -> Value {
        json!({
            "mediaType": BUNDLE,
            "verificationMaterial": {"publicKey": {"hint": "x"}, "tlogEntries": [{"logIndex": "1"}]},
            "dsseEnvelope": {
                "payload": STANDARD.encode(payload),
                "payloadType": STATEMENT,
                "signatures": [{"sig": STANDARD.encode(signature), "keyid": ""}]
            }
        })
    }

    /// Signs a statement with both kinds of keys.
    fn signed(statement: &Value) -> [(ImageKey, Value); 2] {
        let payload = statement.to_string();
        let message = encoded(payload.as_bytes());
        let (one, two) = (p256(), ed25519());
        let p256_signature: p256::ecdsa::Signature = one.0.sign(&message);
        [
            (one.1, bundle(payload.as_bytes(), p256_signature.to_der().as_bytes())),
            (two.1, bundle(payload.as_bytes(), &two.0.sign(&message).to_bytes())),
        ]
    }

    fn verify(key: &ImageKey, bundle: &Value, digest: &Digest) -> Result<(), ImageSignatureError> {
        key.verify_bundle(bundle.to_string().as_bytes(), digest)
    }

    #[test]
    fn what_is_signed_of_a_payload_is_as_the_specification_of_dsse_has_it() {
        // Its example, with our type.
        assert_eq!(encoded(b"hello world"), b"DSSEv1 28 application/vnd.in-toto+json 11 hello world");
    }

    #[test]
    fn a_bundle_is_good_by_its_key_for_its_image_alone() {
        let (digest, other) = (Digest::of("image"), Digest::of("other"));
        for (key, bundle) in signed(&statement(&digest)) {
            assert_eq!(verify(&key, &bundle, &digest), Ok(()));
            let of_other = verify(&key, &bundle, &other);
            assert_eq!(of_other, Err(ImageSignatureError::OtherImage { found: digest.to_string() }));
        }
        let [(one, of_one), (two, of_two)] = signed(&statement(&digest));
        for (key, bundle) in [(one, of_two), (two, of_one)] {
            let wrong = verify(&key, &bundle, &digest);
            assert!(matches!(wrong, Err(ImageSignatureError::Bad | ImageSignatureError::Unreadable)), "{wrong:?}");
        }
    }

    #[test]
    fn a_statement_that_is_no_signature_of_one_image_is_refused_though_the_key_signed_it() {
        let digest = Digest::of("image");
        let subject = |digest: Value| json!([{ "digest": digest }]);
        let hex = digest.hex();
        let changes: [(&str, Value, &str); 10] = [
            ("predicateType", json!("https://slsa.dev/provenance/v1"), "https://slsa.dev/provenance/v1"),
            ("predicateType", json!("\u{1b}[31m"), "\\u{1b}"),
            ("predicateType", json!(1), "is none of cosign's"),
            ("_type", json!("https://in-toto.io/Statement/v0.1"), "is none of cosign's"),
            ("subject", json!([]), "about 0 things"),
            ("subject", json!([{"digest": {"sha256": hex}}, {"digest": {"sha256": hex}}]), "about 2 things"),
            ("subject", subject(json!({"sha256": hex, "sha512": "0"})), "is none of cosign's"),
            ("subject", subject(json!({"sha512": hex})), "is none of cosign's"),
            ("subject", subject(json!({"sha256": hex.to_uppercase()})), "signed as the image"),
            ("subject", subject(json!({"sha256": Digest::of("other").hex()})), "signed as the image"),
        ];
        for (name, value, says) in changes {
            let mut statement = statement(&digest);
            statement[name] = value;
            for (key, bundle) in signed(&statement) {
                let error = verify(&key, &bundle, &digest).expect_err(says).to_string();
                assert!(error.contains(says), "{error}");
            }
        }
    }

    #[test]
    fn a_bundle_that_was_changed_or_is_of_another_kind_is_refused() {
        let digest = Digest::of("image");
        let mut elsewhere = statement(&digest);
        elsewhere["predicate"] = json!({"more": true});
        let payload = STANDARD.encode(elsewhere.to_string());
        let changes: [(&str, Value, &str); 16] = [
            ("/mediaType", json!("application/vnd.dev.sigstore.bundle+json;version=0.2"), "another version"),
            ("/mediaType", json!("application/vnd.dev.sigstore.bundle.v0.4+json"), "another version"),
            ("/verificationMaterial", json!({"certificate": {"rawBytes": "AA=="}}), "keyless"),
            ("/verificationMaterial", json!({"publicKey": {}, "certificate": {"rawBytes": ""}}), "keyless"),
            ("/verificationMaterial", json!({"publicKey": {}, "x509CertificateChain": {}}), "keyless"),
            ("/verificationMaterial", json!({}), "neither key nor certificate"),
            ("/dsseEnvelope", json!(null), "of a file's signature"),
            ("/dsseEnvelope/payloadType", json!("application/json"), "none of cosign's"),
            ("/dsseEnvelope/payload", json!(payload), "changed afterwards"),
            ("/dsseEnvelope/payload", json!(" "), "cannot be read"),
            ("/dsseEnvelope/payload", json!(""), "changed afterwards"),
            ("/dsseEnvelope/signatures", json!([]), "cannot be read"),
            ("/dsseEnvelope/signatures/0/sig", json!(""), ""),
            ("/dsseEnvelope/signatures/0/sig", json!("AAAA"), ""),
            ("/dsseEnvelope/signatures/0", json!({}), "cannot be read"),
            ("/verificationMaterial", json!([]), ""),
        ];
        for (key, good) in signed(&statement(&digest)) {
            for (place, value, says) in &changes {
                let mut changed = good.clone();
                *changed.pointer_mut(place).expect("a place") = value.clone();
                let error = verify(&key, &changed, &digest).expect_err(place).to_string();
                assert!(error.contains(says), "{place}: {error}");
            }
            // The same signature twice, both kinds of content, the same key twice, something after the end.
            let mut twice = good.clone();
            let signature = twice["dsseEnvelope"]["signatures"][0].clone();
            twice["dsseEnvelope"]["signatures"] = json!([signature, signature]);
            assert!(verify(&key, &twice, &digest).is_err());
            let mut both = good.clone();
            both["messageSignature"] = json!({});
            assert!(verify(&key, &both, &digest).is_err());
            let text = good.to_string();
            for bad in [text.replacen('{', "{\"mediaType\":\"x\",", 1), format!("{text}{{}}"), "[".repeat(100_000)] {
                assert_eq!(key.verify_bundle(bad.as_bytes(), &digest), Err(ImageSignatureError::Unreadable));
            }
            // What nobody reads may be long, but not without end.
            let mut long = good.clone();
            long["verificationMaterial"]["tlogEntries"] = json!("x".repeat(400 << 10));
            assert_eq!(verify(&key, &long, &digest), Ok(()));
            long["verificationMaterial"]["tlogEntries"] = json!("x".repeat(600 << 10));
            assert!(matches!(verify(&key, &long, &digest), Err(ImageSignatureError::TooLarge { .. })));
        }
    }
}

//! Says whether something is the signature of an image by a key, in both of cosign's forms: a document that names the image
//! ([`simple`]), and a bundle around a statement whose subject it is ([`crate::bundle`]).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bulla_model::{Digest, Fault, Kind};

use crate::{
    bundle::{Bundle, BundleError, Content, Material},
    json::JsonError,
    key::{PublicKey, SignatureError},
    simple,
    statement::{MEDIA_TYPE, Statement},
};

/// What the statement of an image's signature states.
pub const SIGNS: &str = "https://sigstore.dev/cosign/sign/v1";
/// The most bytes of a bundle that signs an image.
pub const MAX_BUNDLE: u64 = 512 << 10;

/// Says why a signature does not show that an image is the right one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageSignatureError {
    /// The signature is not one.
    #[error("its signature cannot be read")]
    Unreadable,
    /// It was made by another key, or over other bytes.
    #[error("its signature was made by another key, or its document was changed afterwards")]
    Bad,
    /// The document is none of cosign's.
    #[error("its document is no simple signature of cosign")]
    Payload,
    /// The statement of a bundle is none of cosign's.
    #[error("its statement is none of cosign's about an image")]
    Statement,
    /// The statement of a bundle states something else than that the image is signed.
    #[error("its statement is of the type `{found}`, and signs no image")]
    Predicate {
        /// The type.
        found: String,
    },
    /// The statement of a bundle is not about one image.
    #[error("its statement is about {count} things, and a signature is about one image")]
    Subjects {
        /// How many there are.
        count: usize,
    },
    /// It is longer than any.
    #[error("it has {size} bytes, and at most {most} are read of a signature")]
    TooLarge {
        /// Its size.
        size: u64,
        /// The most.
        most: u64,
    },
    /// It is a signature that a key alone does not verify.
    #[error("it is of another kind than a signature by a key: {kind}")]
    OtherKind {
        /// What it is.
        kind: &'static str,
    },
    /// It is a signature of another image.
    #[error("it is signed as the image {found}")]
    OtherImage {
        /// The image that it is of.
        found: String,
    },
    /// It was made for another name.
    #[error("it is signed under the name {found}, and not as {expected}")]
    OtherName {
        /// The name that it was made for.
        found: String,
        /// The name that is asked for.
        expected: String,
    },
}

impl Fault for ImageSignatureError {
    fn kind(&self) -> Kind {
        Kind::Integrity
    }
}

impl ImageSignatureError {
    /// Says whether it may be a good signature of a kind that is not verified.
    pub const fn is_of_another_kind(&self) -> bool {
        matches!(self, Self::OtherKind { .. })
    }

    /// Says how much it tells, where several signatures are there and none is good: most where the key signed something else.
    pub const fn weight(&self) -> u8 {
        match self {
            Self::OtherKind { .. } => 0,
            Self::Unreadable | Self::Bad | Self::TooLarge { .. } => 1,
            Self::Payload
            | Self::Statement
            | Self::Predicate { .. }
            | Self::Subjects { .. }
            | Self::OtherImage { .. }
            | Self::OtherName { .. } => 2,
        }
    }
}

impl From<SignatureError> for ImageSignatureError {
    fn from(error: SignatureError) -> Self {
        match error {
            SignatureError::Unreadable => Self::Unreadable,
            SignatureError::Bad => Self::Bad,
        }
    }
}

impl From<BundleError> for ImageSignatureError {
    fn from(error: BundleError) -> Self {
        match error {
            BundleError::Version => Self::OtherKind { kind: "a Sigstore bundle of another version than 0.3" },
            BundleError::NoMaterial => {
                Self::OtherKind { kind: "a Sigstore bundle that names neither key nor certificate" }
            }
            BundleError::Json(JsonError::TooLarge { size, most }) => {
                Self::TooLarge { size: size as u64, most: most as u64 }
            }
            BundleError::Json(_) | BundleError::Malformed { .. } => Self::Unreadable,
        }
    }
}

/// Verifies that a key signed a document, and that it is about the image with this digest. The signature is in base64. Where the image has
/// a name, of registry and repository, the document must have it too.
///
/// # Errors
/// When it is not so.
pub fn verify_document(
    key: &PublicKey,
    (payload, signature): (&[u8], &str),
    name: Option<&str>,
    digest: &Digest,
) -> Result<(), ImageSignatureError> {
    let signature = STANDARD.decode(signature.trim()).map_err(|_| ImageSignatureError::Unreadable)?;
    key.verify(payload, &signature)?;
    // Only what the key has signed is read.
    let document = simple::read(payload).ok_or(ImageSignatureError::Payload)?;
    if document.image != digest.to_string() {
        return Err(ImageSignatureError::OtherImage { found: shown(&document.image) });
    }
    match name.filter(|expected| simple::named(&document.name) != *expected) {
        None => Ok(()),
        Some(expected) => {
            Err(ImageSignatureError::OtherName { found: shown(&document.name), expected: expected.to_owned() })
        }
    }
}

/// Verifies that a key signed the statement of a bundle, and that it is the signature of the image with this digest. A bundle has no
/// name of the image.
///
/// # Errors
/// When it is not so, or the bundle is of a kind that a key alone does not verify.
pub fn verify_bundle(key: &PublicKey, bundle: &[u8], digest: &Digest) -> Result<(), ImageSignatureError> {
    let other = |kind| Err(ImageSignatureError::OtherKind { kind });
    let bundle = Bundle::parse(bundle, usize::try_from(MAX_BUNDLE).unwrap_or(usize::MAX))?;
    if bundle.material == Material::Certificate {
        return other("signed with a certificate (keyless), which a transparency log must vouch for");
    }
    match &bundle.content {
        Content::File { .. } => return other("a Sigstore bundle of a file's signature, and of no statement"),
        Content::Envelope(envelope) if envelope.payload_type() != MEDIA_TYPE => {
            return Err(ImageSignatureError::Statement);
        }
        Content::Envelope(_) => {}
    }
    // Only what the key has signed is read.
    let payload = bundle.statement(key)?;
    let statement = Statement::parse(&payload).map_err(|_| ImageSignatureError::Statement)?;
    signs(&statement, digest)
}

/// Says whether a statement is that an image is signed: about that one thing, by one digest, so that there is no question which counts.
///
/// # Errors
/// When it is not so.
pub fn signs(statement: &Statement, digest: &Digest) -> Result<(), ImageSignatureError> {
    if statement.predicate_type != SIGNS {
        return Err(ImageSignatureError::Predicate { found: shown(&statement.predicate_type) });
    }
    let [subject] = statement.subject.as_slice() else {
        return Err(ImageSignatureError::Subjects { count: statement.subject.len() });
    };
    match subject.digest.get("sha256") {
        Some(found) if subject.digest.len() > 1 || found.is_empty() => Err(ImageSignatureError::Statement),
        Some(found) if *found == digest.hex() => Ok(()),
        Some(found) => Err(ImageSignatureError::OtherImage { found: shown(&format!("sha256:{found}")) }),
        None => Err(ImageSignatureError::Statement),
    }
}

/// Gives the beginning of a stranger's text, with nothing in it that a terminal would do.
pub(crate) fn shown(text: &str) -> String {
    let short: String = text.chars().take(200).collect();
    short.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        bundle::{self, BUNDLE},
        dsse,
        key::{PrivateKey, Signer as _, tests::keys},
    };

    const NAME: &str = "registry.example/team/base";
    const KIND: &str = "cosign container image signature";

    fn document(name: &str, digest: &str, kind: &str) -> String {
        format!(
            r#"{{"critical":{{"identity":{{"docker-reference":"{name}"}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"{kind}"}},"optional":null}}"#
        )
    }

    fn signature(key: &PrivateKey, text: &str) -> String {
        STANDARD.encode(key.sign(text.as_bytes()).expect("signed"))
    }

    #[test]
    fn a_document_is_good_by_its_key_for_its_image_and_name_alone() {
        let (digest, other) = (Digest::of("image"), Digest::of("other"));
        let [one, two] = keys();
        let good = document(NAME, &digest.to_string(), KIND);
        for (key, stranger) in [(&one, &two), (&two, &one)] {
            let verify = |text: &str, signature: &str, name: Option<&str>, digest: &Digest| {
                verify_document(key.public(), (text.as_bytes(), signature), name, digest)
            };
            let check = |text: &str| verify(text, &signature(key, text), Some(NAME), &digest);
            assert_eq!(check(&good), Ok(()));
            for name in [&format!("{NAME}:1"), &format!("{NAME}:2@{digest}")] {
                assert_eq!(check(&document(name, &digest.to_string(), KIND)), Ok(()), "{name}");
            }
            for name in [
                "",
                "team/base",
                "registry.example/team/base2",
                "evil.example/team/base",
                "registry.example:5000/team/base",
            ] {
                let found = check(&document(name, &digest.to_string(), KIND));
                assert!(matches!(found, Err(ImageSignatureError::OtherName { .. })), "{name}");
            }
            // Where nothing has a name, none is compared.
            let elsewhere = document("evil.example/x", &digest.to_string(), KIND);
            assert_eq!(verify(&elsewhere, &signature(key, &elsewhere), None, &digest), Ok(()));
            let of_other = check(&document(NAME, &other.to_string(), KIND));
            assert_eq!(of_other, Err(ImageSignatureError::OtherImage { found: other.to_string() }));
            for text in [
                document(NAME, &digest.to_string(), "atomic"),
                "{}".to_owned(),
                good.replace("\"type\"", "\"type\":\"x\",\"type\""),
            ] {
                assert_eq!(check(&text), Err(ImageSignatureError::Payload), "{text}");
            }
            // Edited after it was signed, or signed by the other key.
            let edited = document(NAME, &other.to_string(), KIND);
            let found = verify(&edited, &signature(key, &good), Some(NAME), &other);
            assert_eq!(found, Err(ImageSignatureError::Bad));
            let wrong = verify(&good, &signature(stranger, &good), Some(NAME), &digest);
            assert!(matches!(wrong, Err(ImageSignatureError::Bad | ImageSignatureError::Unreadable)), "{wrong:?}");
            assert_eq!(verify(&good, "?", Some(NAME), &digest), Err(ImageSignatureError::Unreadable));
        }
    }

    fn statement(digest: &Digest) -> Value {
        json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"digest": {"sha256": digest.hex()}, "annotations": {"release": "1"}}],
            "predicateType": SIGNS,
            "predicate": {}
        })
    }

    /// Signs a statement as cosign does, with what may be beside a signature.
    fn signed(key: &PrivateKey, statement: &Value) -> Value {
        let payload = statement.to_string();
        let message = dsse::encoded(MEDIA_TYPE, payload.as_bytes());
        let signature = STANDARD.encode(key.sign(&message).expect("signed"));
        json!({
            "mediaType": BUNDLE,
            "verificationMaterial": {"publicKey": {"hint": "x"}, "tlogEntries": [{"logIndex": "1"}]},
            "dsseEnvelope": {
                "payload": STANDARD.encode(payload),
                "payloadType": MEDIA_TYPE,
                "signatures": [{"sig": signature, "keyid": ""}]
            }
        })
    }

    fn verify(key: &PrivateKey, bundle: &Value, digest: &Digest) -> Result<(), ImageSignatureError> {
        verify_bundle(key.public(), bundle.to_string().as_bytes(), digest)
    }

    #[test]
    fn a_bundle_is_good_by_its_key_for_its_image_alone() {
        let (digest, other) = (Digest::of("image"), Digest::of("other"));
        let [one, two] = keys();
        for (key, stranger) in [(&one, &two), (&two, &one)] {
            let bundle = signed(key, &statement(&digest));
            assert_eq!(verify(key, &bundle, &digest), Ok(()));
            let of_other = verify(key, &bundle, &other);
            assert_eq!(of_other, Err(ImageSignatureError::OtherImage { found: digest.to_string() }));
            let wrong = verify(stranger, &bundle, &digest);
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
            ("subject", json!([]), "is none of cosign's"),
            ("subject", json!([{"digest": {"sha256": hex}}, {"digest": {"sha256": hex}}]), "about 2 things"),
            ("subject", subject(json!({"sha256": hex, "sha512": "0"})), "is none of cosign's"),
            ("subject", subject(json!({"sha512": hex})), "is none of cosign's"),
            ("subject", subject(json!({"sha256": hex.to_uppercase()})), "signed as the image"),
            ("subject", subject(json!({"sha256": Digest::of("other").hex()})), "signed as the image"),
        ];
        for (name, value, says) in changes {
            let mut statement = statement(&digest);
            statement[name] = value;
            for key in keys() {
                let error = verify(&key, &signed(&key, &statement), &digest).expect_err(says).to_string();
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
        let changes: [(&str, Value, &str); 15] = [
            ("/mediaType", json!("application/vnd.dev.sigstore.bundle+json;version=0.2"), "another version"),
            ("/mediaType", json!("application/vnd.dev.sigstore.bundle.v0.4+json"), "another version"),
            ("/verificationMaterial", json!({"certificate": {"rawBytes": "AA=="}}), "keyless"),
            ("/verificationMaterial", json!({"publicKey": {}, "certificate": {"rawBytes": ""}}), "keyless"),
            ("/verificationMaterial", json!({"publicKey": {}, "x509CertificateChain": {}}), "keyless"),
            ("/verificationMaterial", json!({}), "neither key nor certificate"),
            ("/dsseEnvelope", json!(null), "cannot be read"),
            ("/dsseEnvelope/payloadType", json!("application/json"), "none of cosign's"),
            ("/dsseEnvelope/payload", json!(payload), "changed afterwards"),
            ("/dsseEnvelope/payload", json!(" "), "cannot be read"),
            ("/dsseEnvelope/payload", json!(""), "changed afterwards"),
            ("/dsseEnvelope/signatures", json!([]), "cannot be read"),
            ("/dsseEnvelope/signatures/0/sig", json!(""), ""),
            ("/dsseEnvelope/signatures/0/sig", json!("AAAA"), ""),
            ("/dsseEnvelope/signatures/0", json!({}), "cannot be read"),
        ];
        for key in keys() {
            let good = signed(&key, &statement(&digest));
            for (place, value, says) in &changes {
                let mut changed = good.clone();
                *changed.pointer_mut(place).expect("a place") = value.clone();
                let error = verify(&key, &changed, &digest).expect_err(place).to_string();
                assert!(error.contains(says), "{place}: {error}");
            }
            let of_file = bundle::sign_file(b"image", &key).expect("signed");
            let error = verify_bundle(key.public(), &of_file, &digest).expect_err("a file's").to_string();
            assert!(error.contains("of a file's signature"), "{error}");
            // The same signature twice, both kinds of content, the same key twice, something after the end.
            let mut twice = good.clone();
            let signature = twice["dsseEnvelope"]["signatures"][0].clone();
            twice["dsseEnvelope"]["signatures"] = json!([signature, signature]);
            assert!(verify(&key, &twice, &digest).is_err());
            let mut both = good.clone();
            both["messageSignature"] = json!({"signature": ""});
            assert!(verify(&key, &both, &digest).is_err());
            let text = good.to_string();
            for bad in [text.replacen('{', "{\"mediaType\":\"x\",", 1), format!("{text}{{}}"), "[".repeat(100_000)] {
                let found = verify_bundle(key.public(), bad.as_bytes(), &digest);
                assert_eq!(found, Err(ImageSignatureError::Unreadable));
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

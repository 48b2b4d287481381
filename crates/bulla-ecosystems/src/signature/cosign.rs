//! Signatures of images that cosign makes with a key, in their simple form: a document that names the image's digest, and the
//! signature over that document's bytes (cosign, `specs/SIGNATURE_SPEC.md`; simple signing of containers/image). Its other form is
//! that of [`super::bundle`].

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bulla_model::{Digest, Fault, Kind};
use p256::ecdsa::signature::Verifier as _;
use serde::Deserialize;

/// The media type of the document.
pub const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The annotation that has the signature, in base64.
pub const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// The kind of a manifest of signatures that refers to its image.
pub const ARTIFACT: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
/// The most bytes of a document.
pub const MAX_PAYLOAD: u64 = 64 << 10;
/// The most bytes of a file with a public key.
pub const MAX_KEY: u64 = 16 << 10;

/// What a document says that it is.
const KIND: &str = "cosign container image signature";
/// What stands before the point of a P-256 key (RFC 5480) and before the bytes of an Ed25519 key (RFC 8410) in DER.
const P256: &[u8] =
    b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";
const ED25519: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

/// Says why a signature does not show that an image is the right one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageSignatureError {
    /// The file has no key that can be used.
    #[error("it is not a public key of P-256 or Ed25519 in PEM, as `cosign generate-key-pair` writes it")]
    Key,
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
        /// The name that the spec has.
        expected: String,
    },
}

impl Fault for ImageSignatureError {
    fn kind(&self) -> Kind {
        match self {
            Self::Key => Kind::Spec,
            _ => Kind::Integrity,
        }
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
            Self::Key | Self::Unreadable | Self::Bad | Self::TooLarge { .. } => 1,
            Self::Payload
            | Self::Statement
            | Self::Predicate { .. }
            | Self::Subjects { .. }
            | Self::OtherImage { .. }
            | Self::OtherName { .. } => 2,
        }
    }
}

/// A public key that signs images.
pub struct ImageKey {
    key: Public,
    digest: Digest,
}

enum Public {
    P256(Box<p256::ecdsa::VerifyingKey>),
    Ed25519(Box<ed25519_dalek::VerifyingKey>),
}

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    identity: Identity,
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Identity {
    docker_reference: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Image {
    docker_manifest_digest: String,
}

impl ImageKey {
    /// Reads a public key in PEM (RFC 7468).
    ///
    /// # Errors
    /// When the file has something else, or more than one.
    pub fn parse(pem: &[u8]) -> Result<Self, ImageSignatureError> {
        const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
        const END: &str = "-----END PUBLIC KEY-----";
        let text = std::str::from_utf8(pem).map_err(|_| ImageSignatureError::Key)?;
        let body = text.trim().strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END));
        let body: String = body.ok_or(ImageSignatureError::Key)?.split_ascii_whitespace().collect();
        let der = STANDARD.decode(body).map_err(|_| ImageSignatureError::Key)?;
        let key = match (der.strip_prefix(P256), der.strip_prefix(ED25519)) {
            (Some(point), _) => p256::ecdsa::VerifyingKey::from_sec1_bytes(point).ok().map(Box::new).map(Public::P256),
            (None, Some(bytes)) => {
                let bytes = bytes.try_into().ok();
                let key = bytes.and_then(|bytes| ed25519_dalek::VerifyingKey::from_bytes(bytes).ok());
                key.map(Box::new).map(Public::Ed25519)
            }
            (None, None) => None,
        };
        Ok(Self { key: key.ok_or(ImageSignatureError::Key)?, digest: Digest::of(der) })
    }

    /// Gives the SHA-256 of the key, as cosign's hints have it.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Verifies that this key signed a document, and that it is about the image with this digest. Where the image has a name, of
    /// registry and repository, the document must have it too.
    ///
    /// # Errors
    /// When it is not so.
    pub fn verify(
        &self,
        payload: &[u8],
        signature: &str,
        name: Option<&str>,
        digest: &Digest,
    ) -> Result<(), ImageSignatureError> {
        let signature = STANDARD.decode(signature.trim()).map_err(|_| ImageSignatureError::Unreadable)?;
        self.holds(payload, &signature)?;
        // Only what the key has signed is read.
        let Payload { critical } = serde_json::from_slice(payload).map_err(|_| ImageSignatureError::Payload)?;
        if critical.kind != KIND {
            return Err(ImageSignatureError::Payload);
        }
        let found = critical.image.docker_manifest_digest;
        if found != digest.to_string() {
            return Err(ImageSignatureError::OtherImage { found: shown(&found) });
        }
        let found = critical.identity.docker_reference;
        match name.filter(|expected| named(&found) != *expected) {
            None => Ok(()),
            Some(expected) => {
                Err(ImageSignatureError::OtherName { found: shown(&found), expected: expected.to_owned() })
            }
        }
    }

    /// Verifies that this key signed a message.
    pub(super) fn holds(&self, message: &[u8], signature: &[u8]) -> Result<(), ImageSignatureError> {
        let good = match &self.key {
            Public::P256(key) => {
                let signature = p256::ecdsa::Signature::from_der(signature);
                key.verify(message, &signature.map_err(|_| ImageSignatureError::Unreadable)?).is_ok()
            }
            Public::Ed25519(key) => {
                let signature = ed25519_dalek::Signature::from_slice(signature);
                key.verify_strict(message, &signature.map_err(|_| ImageSignatureError::Unreadable)?).is_ok()
            }
        };
        if good { Ok(()) } else { Err(ImageSignatureError::Bad) }
    }
}

/// Gives the registry and repository of a reference as cosign writes it.
fn named(reference: &str) -> String {
    let name = reference.split('@').next().unwrap_or_default();
    let last = name.rfind('/').map_or(0, |at| at + 1);
    let name = name.get(..last + name.get(last..).and_then(|last| last.find(':')).unwrap_or(name.len() - last));
    let name = name.unwrap_or_default();
    match name.strip_prefix("index.docker.io/") {
        Some(rest) => format!("docker.io/{rest}"),
        None => name.to_owned(),
    }
}

pub(super) fn shown(text: &str) -> String {
    let short: String = text.chars().take(200).collect();
    short.escape_debug().to_string()
}

#[cfg(test)]
pub(super) mod tests {
    use ed25519_dalek::Signer as _;

    use super::*;

    const NAME: &str = "registry.example/team/base";

    fn pem(der: &[u8]) -> String {
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
    }

    /// A key of P-256, and what verifies it.
    pub(in crate::signature) fn p256() -> (p256::ecdsa::SigningKey, ImageKey) {
        let key = p256::ecdsa::SigningKey::from_slice(&[7; 32]).expect("a key");
        let point = key.verifying_key().to_encoded_point(false);
        let public = ImageKey::parse(pem(&[P256, point.as_bytes()].concat()).as_bytes()).expect("a key");
        (key, public)
    }

    /// A key of Ed25519, and what verifies it.
    pub(in crate::signature) fn ed25519() -> (ed25519_dalek::SigningKey, ImageKey) {
        let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
        let der = [ED25519, key.verifying_key().as_bytes()].concat();
        (key, ImageKey::parse(pem(&der).as_bytes()).expect("a key"))
    }

    fn document(name: &str, digest: &str, kind: &str) -> String {
        format!(
            r#"{{"critical":{{"identity":{{"docker-reference":"{name}"}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"{kind}"}},"optional":null}}"#
        )
    }

    #[test]
    fn a_document_is_good_by_its_key_for_its_image_and_name_alone() {
        let (digest, other) = (Digest::of("image"), Digest::of("other"));
        let ((p256, one), (ed25519, two)) = (p256(), ed25519());
        let keys = [one, two];
        let signed = |text: &str| {
            let one: p256::ecdsa::Signature = p256.sign(text.as_bytes());
            [STANDARD.encode(one.to_der()), STANDARD.encode(ed25519.sign(text.as_bytes()).to_bytes())]
        };
        let good = document(NAME, &digest.to_string(), KIND);
        for (index, key) in keys.iter().enumerate() {
            let check = |text: &str| key.verify(text.as_bytes(), &signed(text)[index], Some(NAME), &digest);
            assert_eq!(check(&good), Ok(()));
            for name in [&format!("{NAME}:1"), &format!("{NAME}:2@{digest}")] {
                assert_eq!(check(&document(name, &digest.to_string(), KIND)), Ok(()), "{name}");
            }
            let found = |name: &str| check(&document(name, &digest.to_string(), KIND));
            for name in [
                "",
                "team/base",
                "registry.example/team/base2",
                "evil.example/team/base",
                "registry.example:5000/team/base",
            ] {
                assert!(matches!(found(name), Err(ImageSignatureError::OtherName { .. })), "{name}");
            }
            // Where nothing has a name, none is compared.
            let elsewhere = document("evil.example/x", &digest.to_string(), KIND);
            let nameless = key.verify(elsewhere.as_bytes(), &signed(&elsewhere)[index], None, &digest);
            assert_eq!(nameless, Ok(()));
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
            assert_eq!(
                key.verify(edited.as_bytes(), &signed(&good)[index], Some(NAME), &other),
                Err(ImageSignatureError::Bad)
            );
            let wrong = key.verify(good.as_bytes(), &signed(&good)[1 - index], Some(NAME), &digest);
            assert!(matches!(wrong, Err(ImageSignatureError::Bad | ImageSignatureError::Unreadable)), "{wrong:?}");
            assert_eq!(key.verify(good.as_bytes(), "?", Some(NAME), &digest), Err(ImageSignatureError::Unreadable));
        }
    }

    #[test]
    fn what_is_no_public_key_is_refused() {
        for text in [
            "",
            "x",
            "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
        ] {
            assert!(ImageKey::parse(text.as_bytes()).is_err(), "{text}");
        }
        // The point at infinity, a point that is not on the curve, and a truncated one.
        for point in [vec![0; 65], [&[4][..], &[1; 64]].concat(), vec![4; 10]] {
            assert!(ImageKey::parse(pem(&[P256, &point].concat()).as_bytes()).is_err());
        }
    }
}

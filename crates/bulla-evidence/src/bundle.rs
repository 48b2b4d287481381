//! Bundles of Sigstore: a signature with what verifies it, in one document (`sigstore_bundle.proto`, version 0.3, with certificates also 0.1 and 0.2; cosign,
//! `specs/BUNDLE_SPEC.md`). Version 0.3 is written.
//!
//! What a key signed is verified by that key. A bundle with a certificate has no key that stays, and is good only with a log:
//! [`Material::Certificate`] says that it is one. Certificates, entries of transparency logs and timestamps are read by [`crate::keyless`], where
//! there is a trusted root to hold them against.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bulla_model::Digest;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::{Value, json};

use crate::{
    dsse::{self, Envelope},
    json::{self, JsonError},
    key::{PublicKey, SignError, SignatureError, Signer},
    statement::{MAX_STATEMENT, MEDIA_TYPE, Statement},
};

/// The media type of a bundle, and the kind of a manifest that has one.
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// How version 0.3 was written at first.
const EARLY: &str = "application/vnd.dev.sigstore.bundle+json;version=0.3";
/// Older versions, which are read where there is a certificate: they have an entry of a log, without which a key's are none.
const OLDER: [&str; 2] =
    ["application/vnd.dev.sigstore.bundle+json;version=0.1", "application/vnd.dev.sigstore.bundle+json;version=0.2"];
/// What all versions of bundles begin with.
pub const BUNDLES: &str = "application/vnd.dev.sigstore.bundle";
/// The most bytes of a bundle that are read: one around the largest statement, in base64.
pub const MAX_BUNDLE: usize = MAX_STATEMENT / 3 * 4 + (1 << 20);

/// A bundle that was read. Nothing of it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// What it says that verifies it.
    pub material: Material,
    /// What is signed.
    pub content: Content,
}

/// What verifies a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Material {
    /// A key that the reader has. Whoever changes a bundle writes another hint, so that it decides nothing.
    Key {
        /// A hint of which key it is.
        hint: Option<String>,
    },
    /// A certificate, which a transparency log must vouch for.
    Certificate,
}

/// What a bundle signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// An envelope, as a rule around a statement.
    Envelope(Envelope),
    /// A file, of which the bundle has the signature alone.
    File {
        /// The SHA-256 that the bundle says the file has, which proves nothing.
        digest: Option<Digest>,
        /// The signature over its bytes.
        signature: Vec<u8>,
    },
}

/// Says why bytes are no bundle that can be verified.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It is not JSON of that shape.
    #[error("it is no bundle of Sigstore")]
    Json(#[from] JsonError),
    /// Something of it is not as it must be.
    #[error("it is no bundle of Sigstore: {reason}")]
    Malformed {
        /// What.
        reason: &'static str,
    },
    /// It is of another version.
    #[error("a Sigstore bundle of another version than 0.3, or an older one without a certificate")]
    Version,
    /// It says nothing of what verifies it.
    #[error("a Sigstore bundle that names neither key nor certificate")]
    NoMaterial,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    media_type: String,
    verification_material: WrittenMaterial,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dsse_envelope: Option<Envelope>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message_signature: Option<WrittenSignature>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenMaterial {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    public_key: Option<WrittenKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificate: Option<Value>,
    #[serde(default, skip_serializing)]
    x509_certificate_chain: Option<IgnoredAny>,
    #[serde(default, skip_deserializing, skip_serializing_if = "Option::is_none")]
    tlog_entries: Option<Value>,
    #[serde(default, skip_deserializing, skip_serializing_if = "Option::is_none")]
    timestamp_verification_data: Option<Value>,
}

#[derive(Serialize, Deserialize)]
struct WrittenKey {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenSignature {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message_digest: Option<WrittenDigest>,
    signature: String,
}

#[derive(Serialize, Deserialize)]
struct WrittenDigest {
    // cosign leaves both away where a key of Ed25519 signed a file.
    #[serde(default)]
    algorithm: String,
    #[serde(default)]
    digest: String,
}

/// Something that is signed, and that a bundle can be made of: by the key itself, or with what vouches for it.
#[derive(Debug)]
pub struct Draft {
    content: DraftContent,
    /// The signature.
    signature: Vec<u8>,
    /// The digest of what was signed, which a log keeps of it.
    signed: Digest,
}

#[derive(Debug)]
enum DraftContent {
    Envelope(Envelope),
    File(Digest),
}

impl Draft {
    /// Signs a statement. The same statement and key give the same bytes, where the key signs without chance.
    ///
    /// # Errors
    /// When the key does not sign.
    pub fn statement(statement: &Statement, signer: &dyn Signer) -> Result<Self, SignError> {
        let payload = statement.to_bytes();
        let message = dsse::encoded(MEDIA_TYPE, &payload);
        let signature = signer.sign(&message)?;
        let content = DraftContent::Envelope(Envelope::with(MEDIA_TYPE, &payload, &signature));
        Ok(Self { content, signature, signed: Digest::of(&message) })
    }

    /// Signs a file, as `cosign sign-blob` does.
    ///
    /// # Errors
    /// When the key does not sign.
    pub fn file(file: &[u8], signer: &dyn Signer) -> Result<Self, SignError> {
        let signed = Digest::of(file);
        Ok(Self { content: DraftContent::File(signed), signature: signer.sign(file)?, signed })
    }

    /// Gives the signature, over which a timestamp is.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// Gives the digest of what was signed: the file, or the encoding of the statement.
    pub const fn signed(&self) -> &Digest {
        &self.signed
    }

    /// Gives the bundle that a key verifies, with a timestamp where there is one.
    pub fn with_key(self, key: &PublicKey, timestamp: Option<&[u8]>) -> Vec<u8> {
        self.written(WrittenMaterial {
            public_key: Some(WrittenKey { hint: Some(key.hint()) }),
            timestamp_verification_data: timestamp.map(timestamps),
            ..WrittenMaterial::default()
        })
    }

    /// Gives the bundle that a certificate in DER verifies, with the entry of a log and a timestamp.
    pub fn with_certificate(self, certificate: &[u8], entry: Value, timestamp: &[u8]) -> Vec<u8> {
        self.written(WrittenMaterial {
            certificate: Some(json!({"rawBytes": STANDARD.encode(certificate)})),
            tlog_entries: Some(json!([entry])),
            timestamp_verification_data: Some(timestamps(timestamp)),
            ..WrittenMaterial::default()
        })
    }

    fn written(self, verification_material: WrittenMaterial) -> Vec<u8> {
        let (dsse_envelope, message_signature) = match self.content {
            DraftContent::Envelope(envelope) => (Some(envelope), None),
            DraftContent::File(digest) => {
                let digest = STANDARD.encode(digest.as_bytes());
                let message_digest = Some(WrittenDigest { algorithm: "SHA2_256".to_owned(), digest });
                (None, Some(WrittenSignature { message_digest, signature: STANDARD.encode(self.signature) }))
            }
        };
        json::write(&Written { media_type: BUNDLE.to_owned(), verification_material, dsse_envelope, message_signature })
    }
}

/// Writes the answer of a timestamp authority.
fn timestamps(answer: &[u8]) -> Value {
    json!({"rfc3161Timestamps": [{"signedTimestamp": STANDARD.encode(answer)}]})
}

/// Signs a statement, and gives the bundle of it by the key alone.
///
/// # Errors
/// When the key does not sign.
pub fn sign(statement: &Statement, signer: &dyn Signer) -> Result<Vec<u8>, SignError> {
    Ok(Draft::statement(statement, signer)?.with_key(signer.public(), None))
}

/// Signs a file, and gives the bundle of it by the key alone.
///
/// # Errors
/// When the key does not sign.
pub fn sign_file(file: &[u8], signer: &dyn Signer) -> Result<Vec<u8>, SignError> {
    Ok(Draft::file(file, signer)?.with_key(signer.public(), None))
}

impl Bundle {
    /// Reads a bundle of at most `most` bytes, and verifies nothing.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(bytes: &[u8], most: usize) -> Result<Self, BundleError> {
        let written: Written = json::read_as(bytes, most)?;
        let is_older = OLDER.contains(&written.media_type.as_str());
        if ![BUNDLE, EARLY].contains(&written.media_type.as_str()) && !is_older {
            return Err(BundleError::Version);
        }
        let material = written.verification_material;
        let material = match (material.certificate.is_some() || material.x509_certificate_chain.is_some(), material) {
            (true, _) => Material::Certificate,
            (false, _) if is_older => return Err(BundleError::Version),
            (false, WrittenMaterial { public_key: Some(key), .. }) => Material::Key { hint: key.hint },
            (false, _) => return Err(BundleError::NoMaterial),
        };
        let content = match (written.dsse_envelope, written.message_signature) {
            (Some(envelope), None) if envelope.count() == 1 => Content::Envelope(envelope),
            (Some(_), None) => return Err(BundleError::Malformed { reason: "its envelope has not one signature" }),
            (None, Some(signature)) => signature.read()?,
            _ => return Err(BundleError::Malformed { reason: "it signs not one thing" }),
        };
        Ok(Self { material, content })
    }

    /// Verifies that a key signed a statement, and gives it.
    ///
    /// # Errors
    /// When it did not, or signed something else.
    pub fn statement(&self, key: &PublicKey) -> Result<Vec<u8>, SignatureError> {
        match &self.content {
            Content::Envelope(envelope) if envelope.payload_type() == MEDIA_TYPE => envelope.verify(key),
            _ => Err(SignatureError::Unreadable),
        }
    }
}

impl WrittenSignature {
    fn read(self) -> Result<Content, BundleError> {
        let bad = |reason| BundleError::Malformed { reason };
        let signature = STANDARD.decode(self.signature).map_err(|_| bad("its signature is not base64"))?;
        let digest = match self.message_digest {
            Some(digest) if digest.algorithm == "SHA2_256" => {
                let bytes = STANDARD.decode(digest.digest).ok().and_then(|bytes| bytes.try_into().ok());
                Some(Digest::from_bytes(bytes.ok_or(bad("its digest is none of SHA-256"))?))
            }
            _ => None,
        };
        Ok(Content::File { digest, signature })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{key::tests::keys, statement::Subject};

    fn statement() -> Statement {
        Statement::new(vec![Subject::new(None, &Digest::of("image"))], "https://example.org/x", json!({}))
    }

    #[test]
    fn a_statement_comes_out_of_its_bundle_by_its_key_alone() {
        let [one, two] = keys();
        for (key, other) in [(&one, &two), (&two, &one)] {
            let bytes = sign(&statement(), key).expect("signed");
            assert_eq!(bytes, sign(&statement(), key).expect("signed"));
            let bundle = Bundle::parse(&bytes, MAX_BUNDLE).expect("a bundle");
            assert_eq!(bundle.material, Material::Key { hint: Some(key.public().hint()) });
            assert_eq!(bundle.statement(key.public()), Ok(statement().to_bytes()));
            assert!(bundle.statement(other.public()).is_err());
        }
    }

    #[test]
    fn a_file_is_signed_as_cosign_does() {
        for key in keys() {
            let bytes = sign_file(b"file", &key).expect("signed");
            let bundle = Bundle::parse(&bytes, MAX_BUNDLE).expect("a bundle");
            let Content::File { digest, signature } = &bundle.content else { panic!("{bundle:?}") };
            assert_eq!(*digest, Some(Digest::of("file")));
            assert_eq!(key.public().verify(b"file", signature), Ok(()));
            assert!(key.public().verify(b"other", signature).is_err());
            assert!(bundle.statement(key.public()).is_err(), "it is the signature of no statement");
        }
    }

    #[test]
    fn what_is_no_bundle_is_refused() {
        let good: Value = serde_json::from_slice(&sign(&statement(), &keys()[0]).expect("signed")).expect("JSON");
        let parse = |value: &Value| Bundle::parse(value.to_string().as_bytes(), MAX_BUNDLE);
        assert!(parse(&good).is_ok(), "the control");
        let file: Value = serde_json::from_slice(&sign_file(b"x", &keys()[0]).expect("signed")).expect("JSON");
        for (place, value, says) in [
            ("/mediaType", json!("application/vnd.dev.sigstore.bundle.v0.4+json"), "another version"),
            ("/verificationMaterial", json!({}), "neither key nor certificate"),
            ("/verificationMaterial", json!(1), "no bundle"),
            ("/dsseEnvelope", json!(null), "not one thing"),
            ("/dsseEnvelope/signatures", json!([]), "not one signature"),
            ("/dsseEnvelope/signatures", json!([{"sig": ""}, {"sig": ""}]), "not one signature"),
            ("/dsseEnvelope/payload", json!(1), "no bundle"),
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(place).expect("a place") = value;
            let error = parse(&bad).expect_err(place).to_string();
            assert!(error.contains(says), "{place}: {error}");
        }
        for (place, value) in
            [("signature", json!("?")), ("messageDigest", json!({"algorithm": "SHA2_256", "digest": "AAAA"}))]
        {
            let mut bad = file.clone();
            bad["messageSignature"][place] = value;
            assert!(matches!(parse(&bad), Err(BundleError::Malformed { .. })), "{place}");
        }
        let mut both = good.clone();
        both["messageSignature"] = file["messageSignature"].clone();
        assert!(matches!(parse(&both), Err(BundleError::Malformed { .. })));
        let text = good.to_string();
        for bad in [text.replacen('{', "{\"mediaType\":\"x\",", 1), format!("{text}{{}}"), "[".repeat(100_000)] {
            assert!(matches!(Bundle::parse(bad.as_bytes(), MAX_BUNDLE), Err(BundleError::Json(_))));
        }
        assert!(matches!(Bundle::parse(text.as_bytes(), 10), Err(BundleError::Json(JsonError::TooLarge { .. }))));
    }

    #[test]
    fn a_certificate_is_seen_whatever_stands_beside_it() {
        let good: Value = serde_json::from_slice(&sign(&statement(), &keys()[0]).expect("signed")).expect("JSON");
        for material in [
            json!({"certificate": {"rawBytes": "AA=="}}),
            json!({"publicKey": {}, "certificate": {"rawBytes": ""}}),
            json!({"publicKey": {}, "x509CertificateChain": {}}),
        ] {
            let mut keyless = good.clone();
            keyless["verificationMaterial"] = material;
            let bundle = Bundle::parse(keyless.to_string().as_bytes(), MAX_BUNDLE).expect("a bundle");
            assert_eq!(bundle.material, Material::Certificate);
        }
    }
}

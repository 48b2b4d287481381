//! Public keys.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bulla_model::Digest;
use ed25519_dalek::{Digest as _, Sha512};
use p256::ecdsa::signature::Verifier as _;
use pem_rfc7468::LineEnding;

use super::{Algorithm, KeyError, SignatureError};

const LABEL: &str = "PUBLIC KEY";
/// What stands before the point of a P-256 key (RFC 5480) and before the bytes of an Ed25519 key (RFC 8410) in DER.
const P256: &[u8] =
    b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";
const ED25519: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    key: Key,
    der: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    P256(Box<p256::ecdsa::VerifyingKey>),
    Ed25519(Box<ed25519_dalek::VerifyingKey>),
}

impl PublicKey {
    /// Reads a public key in PEM (RFC 7468, section 13).
    ///
    /// # Errors
    /// When the file has something else, or more than one.
    pub fn parse(pem: &[u8]) -> Result<Self, KeyError> {
        let pem = pem.trim_ascii();
        if !pem.starts_with(b"-----BEGIN ") {
            return Err(KeyError::NoPublicKey);
        }
        match pem_rfc7468::decode_vec(pem).map_err(|_| KeyError::NoPublicKey)? {
            (LABEL, der) => Self::from_der(der).ok_or(KeyError::NoPublicKey),
            (label, der) if label.ends_with("PRIVATE KEY") => {
                drop(zeroize::Zeroizing::new(der));
                Err(KeyError::Private)
            }
            _ => Err(KeyError::NoPublicKey),
        }
    }

    fn from_der(der: Vec<u8>) -> Option<Self> {
        let key = match (der.strip_prefix(P256), der.strip_prefix(ED25519)) {
            (Some(point), _) => Key::P256(Box::new(p256::ecdsa::VerifyingKey::from_sec1_bytes(point).ok()?)),
            (None, Some(bytes)) => {
                let bytes = bytes.try_into().ok()?;
                Key::Ed25519(Box::new(ed25519_dalek::VerifyingKey::from_bytes(bytes).ok()?))
            }
            (None, None) => return None,
        };
        Some(Self { key, der })
    }

    pub(super) fn p256(key: p256::ecdsa::VerifyingKey) -> Self {
        let der = [P256, key.to_encoded_point(false).as_bytes()].concat();
        Self { key: Key::P256(Box::new(key)), der }
    }

    pub(super) fn ed25519(key: ed25519_dalek::VerifyingKey) -> Self {
        let der = [ED25519, key.as_bytes()].concat();
        Self { key: Key::Ed25519(Box::new(key)), der }
    }

    /// Gives it as a SubjectPublicKeyInfo in DER (RFC 5280, section 4.1).
    pub fn to_der(&self) -> &[u8] {
        &self.der
    }

    /// Writes it as PEM.
    ///
    /// # Panics
    /// Never: its label and length are known.
    pub fn to_pem(&self) -> String {
        pem_rfc7468::encode_string(LABEL, LineEnding::LF, &self.der).expect("the label is one, and the key is short")
    }

    /// Gives its algorithm.
    pub const fn algorithm(&self) -> Algorithm {
        match self.key {
            Key::P256(_) => Algorithm::P256,
            Key::Ed25519(_) => Algorithm::Ed25519,
        }
    }

    /// Gives the SHA-256 of its DER, by which it is named.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.der)
    }

    /// Gives what bundles have as a hint of it (Sigstore, `sigstore_common.proto`, `PublicKeyIdentifier`), as cosign does.
    pub fn hint(&self) -> String {
        STANDARD.encode(self.digest().as_bytes())
    }

    /// Verifies that this key signed a message. Of Ed25519 both kinds are taken: of the message itself, and of its SHA-512
    /// (RFC 8032, section 5.1), which libraries of Sigstore know too. Neither can be taken for the other.
    ///
    /// # Errors
    /// When it did not.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        let good = match &self.key {
            Key::P256(key) => {
                let signature = p256::ecdsa::Signature::from_der(signature).map_err(|_| SignatureError::Unreadable)?;
                key.verify(message, &signature).is_ok()
            }
            Key::Ed25519(key) => {
                let signature = ed25519_dalek::Signature::from_slice(signature);
                let signature = signature.map_err(|_| SignatureError::Unreadable)?;
                let hashed = || Sha512::new().chain_update(message);
                key.verify_strict(message, &signature).is_ok()
                    || key.verify_prehashed_strict(hashed(), None, &signature).is_ok()
            }
        };
        if good { Ok(()) } else { Err(SignatureError::Bad) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Signer as _, tests::keys};

    #[test]
    fn a_key_is_read_as_it_was_written() {
        for key in keys() {
            let public = key.public();
            let pem = public.to_pem();
            assert_eq!(PublicKey::parse(pem.as_bytes()).as_ref().ok(), Some(public), "{pem}");
            let windows = pem.replace('\n', "\r\n");
            assert_eq!(PublicKey::parse(windows.as_bytes()).as_ref().ok(), Some(public));
            assert_eq!(STANDARD.decode(public.hint()).expect("base64"), public.digest().as_bytes());
        }
    }

    #[test]
    fn what_is_no_public_key_is_refused() {
        let pem = |label: &str, der: &[u8]| pem_rfc7468::encode_string(label, LineEnding::LF, der).expect("a PEM");
        let good = keys()[0].public().to_pem();
        assert!(PublicKey::parse(good.as_bytes()).is_ok());
        for text in [
            String::new(),
            "x".to_owned(),
            format!("{good}{good}"),
            format!("x\n{good}"),
            format!("{good}x"),
            good.replace("PUBLIC KEY", "CERTIFICATE"),
            pem(LABEL, &[]),
        ] {
            assert!(matches!(PublicKey::parse(text.as_bytes()), Err(KeyError::NoPublicKey)), "{text}");
        }
        let private = pem("PRIVATE KEY", &[0; 3]);
        assert!(matches!(PublicKey::parse(private.as_bytes()), Err(KeyError::Private)));
        // The point at infinity, a point that is not on the curve, and truncated ones.
        for (head, point) in
            [(P256, vec![0; 65]), (P256, [&[4][..], &[1; 64]].concat()), (P256, vec![4; 10]), (ED25519, vec![1; 31])]
        {
            assert!(PublicKey::parse(pem(LABEL, &[head, &point].concat()).as_bytes()).is_err());
        }
    }
}

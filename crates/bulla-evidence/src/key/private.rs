//! Private keys, held in memory that is wiped when it is given back.

use p256::{ecdsa::signature::Signer as _, pkcs8};
use pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, SecretDocument};
use zeroize::Zeroizing;

use super::{Algorithm, KeyError, PublicKey, SignError, Signer};

/// How often random bytes are asked for until they are a key: that one attempt fails has a probability of 2⁻³².
const ATTEMPTS: usize = 8;

/// A private key.
pub struct PrivateKey {
    key: Key,
    public: PublicKey,
}

enum Key {
    P256(p256::SecretKey),
    Ed25519(ed25519_dalek::SigningKey),
}

impl PrivateKey {
    /// Makes a key out of random bytes, which `random` fills a slice with.
    ///
    /// # Panics
    /// When what it gives is not random.
    pub fn generate(algorithm: Algorithm, random: &mut dyn FnMut(&mut [u8])) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        random(&mut *seed);
        match algorithm {
            Algorithm::Ed25519 => Self::ed25519(ed25519_dalek::SigningKey::from_bytes(&seed)),
            Algorithm::P256 => {
                for _ in 0..ATTEMPTS {
                    if let Ok(key) = p256::SecretKey::from_slice(&*seed) {
                        return Self::p256(key);
                    }
                    random(&mut *seed);
                }
                panic!("random bytes are in the range of P-256 sooner or later");
            }
        }
    }

    /// Reads a private key in PEM that nothing protects: PKCS#8 (RFC 5958), or SEC1 for elliptic curves (RFC 5915).
    ///
    /// # Errors
    /// When it is something else.
    pub fn parse(pem: &[u8]) -> Result<Self, KeyError> {
        let wrong = |reason: &str| KeyError::NoPrivateKey { reason: reason.to_owned() };
        let pem = pem.trim_ascii();
        // What OpenSSL writes before the key itself.
        let pem = if pem.starts_with(b"-----BEGIN EC PARAMETERS-----") { after_parameters(pem) } else { pem };
        if !pem.starts_with(b"-----BEGIN ") {
            return Err(wrong("it does not begin as PEM does"));
        }
        let (label, der) = pem_rfc7468::decode_vec(pem).map_err(|_| wrong("its PEM cannot be read"))?;
        let der = Zeroizing::new(der);
        match label {
            "PRIVATE KEY" => Self::from_pkcs8(&der),
            "EC PRIVATE KEY" => {
                let key = p256::SecretKey::from_sec1_der(&der);
                key.map(Self::p256).map_err(|_| wrong("it is on another curve than P-256, or damaged"))
            }
            "ENCRYPTED PRIVATE KEY" => Err(wrong("OpenSSL protects it; `openssl pkey -in FILE` takes that away")),
            "PUBLIC KEY" => Err(wrong("it is a public key")),
            "RSA PRIVATE KEY" => Err(wrong("it is one of RSA")),
            _ => Err(wrong("its label is another one")),
        }
    }

    /// Reads a key in PKCS#8.
    pub(super) fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        if let Ok(key) = p256::SecretKey::from_pkcs8_der(der) {
            return Ok(Self::p256(key));
        }
        let key = ed25519_dalek::SigningKey::from_pkcs8_der(der);
        let reason = || "it is of another algorithm, or damaged".to_owned();
        key.map(Self::ed25519).map_err(|_| KeyError::NoPrivateKey { reason: reason() })
    }

    /// Writes it in PKCS#8, version 1, which every reader knows.
    pub(super) fn to_pkcs8(&self) -> SecretDocument {
        let document = match &self.key {
            Key::P256(key) => key.to_pkcs8_der(),
            Key::Ed25519(key) => {
                let pair = ed25519_dalek::pkcs8::KeypairBytes { secret_key: key.to_bytes(), public_key: None };
                pair.to_pkcs8_der()
            }
        };
        document.expect("a key can be written")
    }

    fn p256(key: p256::SecretKey) -> Self {
        let public = PublicKey::p256(key.public_key().into());
        Self { key: Key::P256(key), public }
    }

    fn ed25519(key: ed25519_dalek::SigningKey) -> Self {
        let public = PublicKey::ed25519(key.verifying_key());
        Self { key: Key::Ed25519(key), public }
    }
}

/// Gives what comes after the block of parameters.
fn after_parameters(pem: &[u8]) -> &[u8] {
    const END: &[u8] = b"-----END EC PARAMETERS-----";
    let at = pem.windows(END.len()).position(|window| window == END);
    at.and_then(|at| pem.get(at + END.len()..)).unwrap_or_default().trim_ascii()
}

impl Signer for PrivateKey {
    fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs without chance (RFC 6979 for P-256), so that the same message has the same signature.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        Ok(match &self.key {
            Key::P256(key) => {
                let signature: p256::ecdsa::Signature = p256::ecdsa::SigningKey::from(key).sign(message);
                signature.to_der().as_bytes().to_vec()
            }
            Key::Ed25519(key) => key.sign(message).to_bytes().to_vec(),
        })
    }

    fn repeats(&self) -> bool {
        true
    }
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrivateKey").field("public", &self.public.digest()).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use pem_rfc7468::LineEnding;

    use super::*;
    use crate::key::SignatureError;

    /// A key of each algorithm, always the same.
    pub(crate) fn keys() -> [PrivateKey; 2] {
        [Algorithm::P256, Algorithm::Ed25519].map(|one| PrivateKey::generate(one, &mut |bytes| bytes.fill(7)))
    }

    #[test]
    fn what_a_key_signed_is_verified_by_its_public_key_alone() {
        let [one, two] = keys();
        for (key, other) in [(&one, &two), (&two, &one)] {
            let signature = key.sign(b"message").expect("signed");
            assert_eq!(signature, key.sign(b"message").expect("signed"), "the same message has the same signature");
            assert_eq!(key.public().verify(b"message", &signature), Ok(()));
            assert_eq!(key.public().verify(b"messages", &signature), Err(SignatureError::Bad));
            assert!(other.public().verify(b"message", &signature).is_err());
            assert_eq!(key.public().verify(b"message", b""), Err(SignatureError::Unreadable));
            assert!(!format!("{key:?}").contains("7, 7"));
        }
        // The same algorithm, another key.
        let third = PrivateKey::generate(Algorithm::P256, &mut |bytes| bytes.fill(8));
        let signature = third.sign(b"message").expect("signed");
        assert_eq!(one.public().verify(b"message", &signature), Err(SignatureError::Bad));
    }

    #[test]
    fn bytes_that_are_no_key_of_the_curve_are_asked_for_again() {
        let mut given = 0;
        let key = PrivateKey::generate(Algorithm::P256, &mut |bytes| {
            bytes.fill(if given == 0 { 0xff } else { 7 });
            given += 1;
        });
        assert_eq!((given, key.public()), (2, keys()[0].public()));
    }

    #[test]
    fn keys_without_protection_are_read_in_both_forms() {
        for key in keys() {
            let pem = pem_rfc7468::encode_string("PRIVATE KEY", LineEnding::LF, key.to_pkcs8().as_bytes());
            let read = PrivateKey::parse(pem.expect("a PEM").as_bytes()).expect("a key");
            assert_eq!(read.public(), key.public());
        }
        let Key::P256(key) = &keys()[0].key else { unreachable!("it is the first") };
        let sec1 = pem_rfc7468::encode_string("EC PRIVATE KEY", LineEnding::LF, &key.to_sec1_der().expect("DER"));
        let sec1 = sec1.expect("a PEM");
        let parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
        for text in [sec1.clone(), format!("{parameters}{sec1}")] {
            assert_eq!(PrivateKey::parse(text.as_bytes()).expect("a key").public(), keys()[0].public());
        }
    }

    #[test]
    fn what_is_no_private_key_is_refused() {
        let pem = |label: &str, der: &[u8]| pem_rfc7468::encode_string(label, LineEnding::LF, der).expect("a PEM");
        for (text, says) in [
            (String::new(), "does not begin"),
            ("-----BEGIN EC PARAMETERS-----".to_owned(), "does not begin"),
            (pem("PRIVATE KEY", &[0; 40]), "another algorithm"),
            (pem("EC PRIVATE KEY", &[0; 40]), "another curve"),
            (pem("RSA PRIVATE KEY", &[0; 40]), "RSA"),
            (pem("ENCRYPTED PRIVATE KEY", &[0; 40]), "openssl pkey"),
            (keys()[0].public().to_pem(), "public key"),
        ] {
            let error = PrivateKey::parse(text.as_bytes()).expect_err(says).to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}

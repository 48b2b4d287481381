//! What keys have in common that lie elsewhere, on a token or with a service: how their public halves and signatures are written there, and
//! that nothing of what they give is believed.

use std::collections::BTreeMap;

use bulla_model::Digest;

use super::{Algorithm, KeyError, PublicKey, SignError, Signer};

impl PublicKey {
    /// Makes a public key of its bytes alone: of a point of P-256 (SEC 1, section 2.3.3), or of the 32 bytes of Ed25519 (RFC 8032).
    ///
    /// # Errors
    /// When they are no key of the algorithm.
    pub fn of_point(algorithm: Algorithm, point: &[u8]) -> Result<Self, KeyError> {
        match algorithm {
            Algorithm::P256 => p256::ecdsa::VerifyingKey::from_sec1_bytes(point).ok().map(Self::p256),
            Algorithm::Ed25519 => {
                let bytes = point.try_into().ok();
                bytes.and_then(|bytes| ed25519_dalek::VerifyingKey::from_bytes(bytes).ok()).map(Self::ed25519)
            }
        }
        .ok_or(KeyError::NoPublicKey)
    }
}

/// Writes a signature of P-256 in DER that is given as two numbers of 32 bytes, as tokens do (PKCS #11 3.1, section 6.3.1).
///
/// # Errors
/// When it has another length, or one of them is none of the curve.
pub fn der_of_numbers(numbers: &[u8]) -> Result<Vec<u8>, SignError> {
    let signature = p256::ecdsa::Signature::from_slice(numbers);
    signature.map(|signature| signature.to_der().as_bytes().to_vec()).map_err(|_| SignError::False)
}

/// Gives a signature on when it is the key's over the message.
///
/// # Errors
/// When it is not.
pub fn checked(key: &PublicKey, message: &[u8], signature: Vec<u8>) -> Result<Vec<u8>, SignError> {
    key.verify(message, &signature).map(|()| signature).map_err(|_| SignError::False)
}

/// A key that signs the same message otherwise each time, with what it signed before: a message that it has signed gets the signature that is
/// there, so that nothing is signed anew that is signed.
#[derive(Debug)]
pub struct Again<'a> {
    key: &'a dyn Signer,
    known: BTreeMap<Digest, Vec<Vec<u8>>>,
}

impl<'a> Again<'a> {
    /// Takes a key, and signatures with the SHA-256 of what they are over. Whose they are is looked at when one is needed.
    pub fn new(key: &'a dyn Signer, signatures: impl IntoIterator<Item = (Digest, Vec<u8>)>) -> Self {
        let mut known: BTreeMap<Digest, Vec<Vec<u8>>> = BTreeMap::new();
        for (message, signature) in signatures {
            known.entry(message).or_default().push(signature);
        }
        Self { key, known }
    }
}

impl Signer for Again<'_> {
    fn public(&self) -> &PublicKey {
        self.key.public()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let known = self.known.get(&Digest::of(message)).into_iter().flatten();
        match known.clone().find(|signature| self.public().verify(message, signature).is_ok()) {
            Some(signature) => Ok(signature.clone()),
            None => self.key.sign(message),
        }
    }

    fn repeats(&self) -> bool {
        self.key.repeats()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::key::{PrivateKey, tests::keys};

    #[test]
    fn a_public_key_comes_of_its_bytes() {
        for key in keys() {
            let public = key.public();
            let pem = public.to_pem();
            let (_, der) = pem_rfc7468::decode_vec(pem.as_bytes()).expect("a PEM");
            let length = if public.algorithm() == Algorithm::P256 { 65 } else { 32 };
            let point = &der[der.len() - length..];
            assert_eq!(&PublicKey::of_point(public.algorithm(), point).expect("a key"), public);
            for bad in [&point[1..], &[], &[&[2], point].concat(), &[4; 65], &[0; 64]] {
                assert!(PublicKey::of_point(public.algorithm(), bad).is_err(), "{bad:?}");
            }
        }
    }

    #[test]
    fn numbers_of_a_token_become_a_signature_that_others_read() {
        let [key, _] = keys();
        let der = key.sign(b"message").expect("signed");
        let numbers = p256::ecdsa::Signature::from_der(&der).expect("a signature").to_bytes();
        assert_eq!(der_of_numbers(&numbers).expect("a signature"), der);
        for bad in [&numbers[1..], &[], &[0; 64], &[0xff; 64], &[&numbers[..], &[0]].concat()] {
            assert!(matches!(der_of_numbers(bad), Err(SignError::False)), "{bad:?}");
        }
    }

    #[test]
    fn a_signature_that_is_not_the_keys_is_not_used() {
        let [one, two] = keys();
        for (key, other) in [(&one, &two), (&two, &one)] {
            let signature = key.sign(b"message").expect("signed");
            assert!(checked(key.public(), b"message", signature.clone()).is_ok());
            assert!(matches!(checked(key.public(), b"messages", signature.clone()), Err(SignError::False)));
            assert!(matches!(checked(other.public(), b"message", signature), Err(SignError::False)));
        }
    }

    /// A key that counts how often it signs.
    #[derive(Debug)]
    struct Counted(PrivateKey, AtomicUsize);

    impl Signer for Counted {
        fn public(&self) -> &PublicKey {
            self.0.public()
        }

        fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.sign(message)
        }

        fn repeats(&self) -> bool {
            false
        }
    }

    #[test]
    fn what_is_signed_already_is_not_signed_again_and_nobody_elses_signature_is_taken() {
        let [one, two] = keys();
        let (signed, foreign) = (one.sign(b"one").expect("signed"), two.sign(b"two").expect("signed"));
        let key = Counted(one, AtomicUsize::new(0));
        let times = || key.1.load(Ordering::Relaxed);
        let known = [("one", &foreign), ("one", &signed), ("two", &foreign), ("three", &signed)];
        let again = Again::new(&key, known.map(|(message, signature)| (Digest::of(message), signature.clone())));
        assert!(!again.repeats() && again.public() == key.public());
        assert_eq!((again.sign(b"one").expect("signed"), times()), (signed, 0));
        for (message, count) in [("two", 1), ("three", 2), ("four", 3)] {
            let signature = again.sign(message.as_bytes()).expect("signed");
            assert_eq!((again.public().verify(message.as_bytes(), &signature), times()), (Ok(()), count));
        }
    }
}

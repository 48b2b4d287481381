//! The cryptography that Sigstore's libraries are given: RustCrypto's, which signs and verifies all else here.

use std::sync::Once;

use ed25519_dalek::VerifyingKey as Ed25519Key;
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use rsa::{Pkcs1v15Sign, Pss, RsaPublicKey, pkcs1::DecodeRsaPublicKey as _, traits::SignatureScheme};
use sha2_signatures::{Digest as _, Sha256, Sha384, Sha512};
use sigstore_verify::crypto::{CryptoProvider, Error, HashContext, Result, SigningScheme, install_default_provider};
use sigstore_verify::types::HashAlgorithm;

/// Gives Sigstore's libraries their cryptography, once in the life of a process.
pub(super) fn install() {
    static ONCE: Once = Once::new();
    // Nothing else in this program gives them one.
    ONCE.call_once(|| _ = install_default_provider(&RustCrypto));
}

#[derive(Debug)]
struct RustCrypto;

/// A hash that is not at its end.
struct Running<D>(D);

impl<D: sha2_signatures::Digest + Send> HashContext for Running<D> {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn finalize(self: Box<Self>) -> Vec<u8> {
        self.0.finalize().to_vec()
    }
}

impl CryptoProvider for RustCrypto {
    fn hash(&self, algorithm: HashAlgorithm) -> Result<Box<dyn HashContext>> {
        match algorithm {
            HashAlgorithm::Sha2256 => Ok(Box::new(Running(Sha256::new()))),
            HashAlgorithm::Sha2384 => Ok(Box::new(Running(Sha384::new()))),
            HashAlgorithm::Sha2512 => Ok(Box::new(Running(Sha512::new()))),
            other => Err(Error::UnsupportedAlgorithm(other.to_string())),
        }
    }

    fn verify_raw(&self, scheme: SigningScheme, key: &[u8], data: &[u8], signature: &[u8]) -> Result<()> {
        let digest = match scheme.hash_algorithm() {
            Some(HashAlgorithm::Sha2256) => Sha256::digest(data).to_vec(),
            Some(HashAlgorithm::Sha2384) => Sha384::digest(data).to_vec(),
            Some(HashAlgorithm::Sha2512) => Sha512::digest(data).to_vec(),
            _ if scheme == SigningScheme::Ed25519 => return ed25519(key, data, signature).ok_or_else(|| bad(scheme)),
            _ => return Err(unknown(scheme)),
        };
        self.verify_prehashed(scheme, key, &digest, signature)
    }

    fn verify_prehashed(&self, scheme: SigningScheme, key: &[u8], digest: &[u8], signature: &[u8]) -> Result<()> {
        let good = match scheme {
            SigningScheme::EcdsaP256Sha256 | SigningScheme::EcdsaP256Sha384 => p256(key, digest, signature),
            SigningScheme::EcdsaP384Sha256 | SigningScheme::EcdsaP384Sha384 => p384(key, digest, signature),
            SigningScheme::RsaPkcs1Sha256 => rsa(Pkcs1v15Sign::new::<Sha256>(), key, digest, signature),
            SigningScheme::RsaPkcs1Sha384 => rsa(Pkcs1v15Sign::new::<Sha384>(), key, digest, signature),
            SigningScheme::RsaPkcs1Sha512 => rsa(Pkcs1v15Sign::new::<Sha512>(), key, digest, signature),
            SigningScheme::RsaPssSha256 => rsa(Pss::new::<Sha256>(), key, digest, signature),
            SigningScheme::RsaPssSha384 => rsa(Pss::new::<Sha384>(), key, digest, signature),
            SigningScheme::RsaPssSha512 => rsa(Pss::new::<Sha512>(), key, digest, signature),
            _ => return Err(unknown(scheme)),
        };
        good.ok_or_else(|| bad(scheme))
    }
}

fn bad(scheme: SigningScheme) -> Error {
    Error::Verification(format!("no {} signature of this key over this", scheme.name()))
}

fn unknown(scheme: SigningScheme) -> Error {
    Error::UnsupportedAlgorithm(scheme.name().to_owned())
}

fn p256(key: &[u8], digest: &[u8], signature: &[u8]) -> Option<()> {
    let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(key).ok()?;
    key.verify_prehash(digest, &p256::ecdsa::Signature::from_der(signature).ok()?).ok()
}

fn p384(key: &[u8], digest: &[u8], signature: &[u8]) -> Option<()> {
    let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(key).ok()?;
    key.verify_prehash(digest, &p384::ecdsa::Signature::from_der(signature).ok()?).ok()
}

fn rsa(scheme: impl SignatureScheme, key: &[u8], digest: &[u8], signature: &[u8]) -> Option<()> {
    RsaPublicKey::from_pkcs1_der(key).ok()?.verify(scheme, digest, signature).ok()
}

fn ed25519(key: &[u8], message: &[u8], signature: &[u8]) -> Option<()> {
    let key = Ed25519Key::from_bytes(key.try_into().ok()?).ok()?;
    key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature.try_into().ok()?)).ok()
}

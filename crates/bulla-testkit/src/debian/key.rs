//! The key that signs test repositories.

use pgp::{
    composed::{
        CleartextSignedMessage, DetachedSignature, KeyType, SecretKeyParamsBuilder, SignedPublicKey, SignedSecretKey,
    },
    crypto::hash::HashAlgorithm,
    types::Password,
};

/// An OpenPGP key made for a test (RFC 9580).
#[derive(Debug)]
pub struct TestKey {
    secret: SignedSecretKey,
}

impl Default for TestKey {
    fn default() -> Self {
        Self::new()
    }
}

impl TestKey {
    /// Makes a fresh key.
    pub fn new() -> Self {
        let params = SecretKeyParamsBuilder::default()
            .key_type(KeyType::Ed25519Legacy)
            .can_certify(true)
            .can_sign(true)
            .primary_user_id("Bulla test <test@mirror.example>".to_owned())
            .build()
            .expect("parameters of a key");
        Self { secret: params.generate(rand::thread_rng()).expect("a key") }
    }

    /// Gives the public key, armored.
    pub fn public(&self) -> String {
        SignedPublicKey::from(self.secret.clone()).to_armored_string(None.into()).expect("armor")
    }

    /// Gives the fingerprint in lower-case hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        use pgp::types::KeyDetails as _;
        self.secret.fingerprint().to_string()
    }

    /// Signs a text in place (RFC 9580, section 7), as `InRelease` is.
    pub fn clearsign(&self, text: &str) -> String {
        let signed =
            CleartextSignedMessage::sign(rand::thread_rng(), text, &self.secret.primary_key, &Password::empty());
        signed.expect("a signature").to_armored_string(None.into()).expect("armor")
    }

    /// Signs bytes apart, as `Release.gpg` does.
    pub fn detached(&self, bytes: &[u8]) -> String {
        let signature = DetachedSignature::sign_binary_data(
            rand::thread_rng(),
            &self.secret.primary_key,
            &Password::empty(),
            HashAlgorithm::Sha256,
            bytes,
        );
        signature.expect("a signature").to_armored_string(None.into()).expect("armor")
    }
}

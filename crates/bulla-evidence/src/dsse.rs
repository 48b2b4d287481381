//! Envelopes around what is signed (DSSE 1.0, `protocol.md` and `envelope.md`).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bulla_model::Digest;
use serde::{Deserialize, Serialize};

use crate::key::{PublicKey, SignError, SignatureError, Signer};

/// The most signatures of an envelope that are read.
const MAX_SIGNATURES: usize = 16;

/// An envelope as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct EnvelopeSignature {
    sig: String,
}

impl Envelope {
    /// Puts a payload into an envelope, with the signature of one key.
    ///
    /// # Errors
    /// When the key does not sign.
    pub fn sign(payload_type: &str, payload: &[u8], signer: &dyn Signer) -> Result<Self, SignError> {
        Ok(Self::with(payload_type, payload, &signer.sign(&encoded(payload_type, payload))?))
    }

    /// Puts a payload into an envelope with a signature over what is [`encoded`] of it.
    pub(crate) fn with(payload_type: &str, payload: &[u8], signature: &[u8]) -> Self {
        Self {
            payload: STANDARD.encode(payload),
            payload_type: payload_type.to_owned(),
            signatures: vec![EnvelopeSignature { sig: STANDARD.encode(signature) }],
        }
    }

    /// Gives what it says that its payload is.
    pub fn payload_type(&self) -> &str {
        &self.payload_type
    }

    /// Gives the payload, whoever signed it.
    ///
    /// # Errors
    /// When it is not base64.
    pub fn payload(&self) -> Result<Vec<u8>, SignatureError> {
        STANDARD.decode(&self.payload).map_err(|_| SignatureError::Unreadable)
    }

    /// Says how many signatures it has.
    pub const fn count(&self) -> usize {
        self.signatures.len()
    }

    /// Gives the SHA-256 of what is signed, with each signature; whose they are is not looked at.
    pub fn signatures(&self) -> Vec<(Digest, Vec<u8>)> {
        let Ok(payload) = self.payload() else { return Vec::new() };
        let message = Digest::of(encoded(&self.payload_type, &payload));
        let signatures = self.signatures.iter().take(MAX_SIGNATURES);
        signatures.filter_map(|one| Some((message, STANDARD.decode(&one.sig).ok()?))).collect()
    }

    /// Verifies that a key signed the payload as what it is said to be, and gives it.
    ///
    /// # Errors
    /// When none of its signatures is the key's, or one cannot be read.
    pub fn verify(&self, key: &PublicKey) -> Result<Vec<u8>, SignatureError> {
        let payload = self.payload()?;
        let message = encoded(&self.payload_type, &payload);
        let mut found = Err(SignatureError::Unreadable);
        for signature in self.signatures.iter().take(MAX_SIGNATURES) {
            let signature = STANDARD.decode(&signature.sig).map_err(|_| SignatureError::Unreadable)?;
            match key.verify(&message, &signature) {
                Ok(()) => return Ok(payload),
                // A signature of another algorithm may be another key's.
                Err(error) => found = Err(error),
            }
        }
        found
    }
}

/// Gives what is signed of a payload ("pre-authentication encoding").
pub fn encoded(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::tests::keys;

    #[test]
    fn what_is_signed_of_a_payload_is_as_the_specification_has_it() {
        let expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world";
        assert_eq!(encoded("http://example.com/HelloWorld", b"hello world"), expected);
        // Lengths are of bytes.
        assert_eq!(encoded("é", "é".as_bytes()), "DSSEv1 2 é 2 é".as_bytes());
    }

    #[test]
    fn an_envelope_is_good_by_one_of_its_signatures() {
        let [one, two] = keys();
        let envelope = Envelope::sign("x", b"payload", &one).expect("signed");
        assert_eq!(envelope.verify(one.public()).as_deref(), Ok(&b"payload"[..]));
        assert!(envelope.verify(two.public()).is_err());
        let mut both = Envelope::sign("x", b"payload", &two).expect("signed");
        both.signatures.extend(envelope.signatures.clone());
        assert!(both.verify(one.public()).is_ok() && both.verify(two.public()).is_ok());
        for change in [
            |envelope: &mut Envelope| envelope.payload = STANDARD.encode("other"),
            |envelope: &mut Envelope| envelope.payload = "?".to_owned(),
            |envelope: &mut Envelope| envelope.payload_type = "y".to_owned(),
            |envelope: &mut Envelope| envelope.signatures.clear(),
            |envelope: &mut Envelope| envelope.signatures[0].sig = "AAAA".to_owned(),
            |envelope: &mut Envelope| envelope.signatures[0].sig = "?".to_owned(),
        ] {
            let mut changed = envelope.clone();
            change(&mut changed);
            assert!(changed.verify(one.public()).is_err(), "{changed:?}");
        }
    }
}

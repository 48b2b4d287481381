//! What is said of a result, and the signature under it: a DSSE envelope (`secure-systems-lab/dsse`, version 1) whose payload
//! is the statement. The signature covers the format, the action's digest, the result, and all that belongs to it by digest:
//! what was signed for one action says nothing of another.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bulla_model::{Digest, oci::Descriptor};
use serde::{Deserialize, Serialize};

use super::{PublicKey, SigningKey};

/// The version of the statement.
const FORMAT: u32 = 1;
/// What the payload of an envelope is; authenticated with it.
const PAYLOAD: &str = "application/vnd.bulla.result.v1+json";
/// The most bytes of an envelope.
pub(super) const MAX_ENVELOPE: u64 = 64 << 20;
/// The most signatures that are looked at.
const MAX_SIGNATURES: usize = 16;

/// The result of an action, and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    format: u32,
    /// The action.
    pub action: Digest,
    /// Its result, JSON as the store keeps it.
    pub result: String,
    /// The trees that the result names.
    pub trees: Vec<SignedTree>,
    /// The blobs that the result names.
    pub blobs: Vec<Descriptor>,
}

/// A tree, and what it is when it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedTree {
    /// The digest of its manifest.
    pub tree: Digest,
    /// The digest of the times of its entries, which a manifest does not have and a step may look at.
    pub times: Digest,
    /// The length of its manifest in bytes.
    pub manifest: u64,
    /// The bytes of its files.
    pub content: u64,
    /// The file that it travels as, where it was packed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pack: Option<Descriptor>,
}

/// Says why a signed result is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// It is not an envelope, or its payload is no statement.
    #[error("it is no signed result")]
    Malformed,
    /// No key that is configured signed it.
    #[error("it is not signed by a key that is configured")]
    Unsigned,
    /// It is the result of another action.
    #[error("it was signed for another action")]
    OtherAction,
    /// It was written by another version of Bulla.
    #[error("its format is {0}, and this version of Bulla reads {FORMAT}")]
    Format(u32),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload_type: String,
    payload: String,
    signatures: Vec<Signature>,
}

#[derive(Serialize, Deserialize)]
struct Signature {
    #[serde(default)]
    keyid: String,
    sig: String,
}

/// Gives what is signed: the type and the payload with their lengths (DSSE, "Pre-Authentication Encoding").
fn encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

impl Statement {
    /// Says what the result of an action is.
    pub fn new(action: Digest, result: String, trees: Vec<SignedTree>, blobs: Vec<Descriptor>) -> Self {
        Self { format: FORMAT, action, result, trees, blobs }
    }

    /// Signs it, and gives the envelope.
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        let payload = serde_json::to_vec(self).expect("a statement has no key that JSON cannot have");
        let signature = key.sign(&encoding(PAYLOAD, &payload));
        let envelope = Envelope {
            payload_type: PAYLOAD.to_owned(),
            payload: BASE64.encode(&payload),
            signatures: vec![Signature { keyid: key.public().to_string(), sig: BASE64.encode(signature) }],
        };
        serde_json::to_vec(&envelope).expect("an envelope has no key that JSON cannot have")
    }

    /// Reads an envelope, whose bytes may be anyone's: nothing of the payload is looked at before a configured key is found to
    /// have signed it.
    ///
    /// # Errors
    /// When it is no envelope, no key signed it, or it is about another action.
    pub fn open(envelope: &[u8], action: &Digest, keys: &[PublicKey]) -> Result<Self, Untrusted> {
        if envelope.len() as u64 > MAX_ENVELOPE {
            return Err(Untrusted::Malformed);
        }
        let envelope: Envelope = serde_json::from_slice(envelope).map_err(|_| Untrusted::Malformed)?;
        if envelope.payload_type != PAYLOAD {
            return Err(Untrusted::Malformed);
        }
        let payload = BASE64.decode(&envelope.payload).map_err(|_| Untrusted::Malformed)?;
        let message = encoding(PAYLOAD, &payload);
        let mut signatures = envelope.signatures.iter().take(MAX_SIGNATURES).filter_map(|signature| {
            // A key's name is only a hint, and nobody's word counts for it.
            BASE64.decode(&signature.sig).ok()
        });
        if !signatures.any(|signature| keys.iter().any(|key| key.verifies(&message, &signature))) {
            return Err(Untrusted::Unsigned);
        }
        let statement: Self = serde_json::from_slice(&payload).map_err(|_| Untrusted::Malformed)?;
        if statement.format != FORMAT {
            return Err(Untrusted::Format(statement.format));
        }
        if statement.action != *action {
            return Err(Untrusted::OtherAction);
        }
        Ok(statement)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn statement(action: &str) -> Statement {
        Statement::new(Digest::of(action), r#"{"delta":"x"}"#.to_owned(), Vec::new(), Vec::new())
    }

    #[test]
    fn a_result_opens_only_for_its_action_and_by_its_key() {
        let (key, other) = (SigningKey::fresh().expect("a key"), SigningKey::fresh().expect("a key"));
        let envelope = statement("a").sign(&key);
        let open = |action: &str, keys: &[PublicKey]| Statement::open(&envelope, &Digest::of(action), keys);
        assert_eq!(open("a", &[other.public(), key.public()]), Ok(statement("a")), "the control");
        assert_eq!(open("b", &[key.public()]), Err(Untrusted::OtherAction));
        assert_eq!(open("a", &[other.public()]), Err(Untrusted::Unsigned));
        assert_eq!(open("a", &[]), Err(Untrusted::Unsigned));
        for cut in 0..envelope.len() {
            let cut = Statement::open(&envelope[..cut], &Digest::of("a"), &[key.public()]);
            assert_eq!(cut, Err(Untrusted::Malformed));
        }
    }

    #[test]
    fn another_payload_or_type_under_a_good_signature_is_refused() {
        let key = SigningKey::fresh().expect("a key");
        let envelope = String::from_utf8(statement("a").sign(&key)).expect("JSON");
        let payload = serde_json::to_vec(&statement("b")).expect("JSON");
        let swapped = {
            let mut envelope: Envelope = serde_json::from_str(&envelope).expect("an envelope");
            envelope.payload = BASE64.encode(payload);
            serde_json::to_vec(&envelope).expect("JSON")
        };
        assert_eq!(Statement::open(&swapped, &Digest::of("b"), &[key.public()]), Err(Untrusted::Unsigned));
        let other = envelope.replace(PAYLOAD, "application/vnd.in-toto+json");
        assert_eq!(
            Statement::open(other.as_bytes(), &Digest::of("a"), &[key.public()]),
            Err(Untrusted::Malformed),
            "a signature of another kind of document"
        );
        let unsigned = envelope.split("\"signatures\"").next().expect("its front").to_owned() + "\"signatures\":[]}";
        assert_eq!(Statement::open(unsigned.as_bytes(), &Digest::of("a"), &[key.public()]), Err(Untrusted::Unsigned));
    }

    #[test]
    fn the_format_is_what_it_was() {
        let tree = SignedTree {
            tree: Digest::of("tree"),
            times: Digest::of("times"),
            manifest: 1,
            content: 2,
            pack: Some(Descriptor::new("x", Digest::of("pack"), 3)),
        };
        let blob = Descriptor::new("y", Digest::of("blob"), 4);
        let statement = Statement::new(Digest::of("a"), "{}".to_owned(), vec![tree], vec![blob]);
        let text = serde_json::to_string(&statement).expect("JSON");
        assert_eq!(Digest::of(encoding(PAYLOAD, text.as_bytes())).short(), "b8372f8b0649", "{text}");
    }

    proptest! {
        #[test]
        fn foreign_bytes_do_no_harm(bytes: Vec<u8>) {
            let _ = Statement::open(&bytes, &Digest::of("a"), &[]);
        }
    }
}

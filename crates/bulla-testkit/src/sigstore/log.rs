//! Rekor, version 2: a log of what was signed, with proofs (RFC 6962, section 2.1) and checkpoints (C2SP, `tlog-checkpoint`).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};
use serde_json::{Value, json};

use super::sha256;

/// What the log is called in its checkpoints.
pub(super) const NAME: &str = "rekor.bulla.test";

/// A log.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) key: KeyPair,
    leaves: Vec<[u8; 32]>,
}

impl Log {
    /// Makes a log that has some entries of others.
    pub(super) fn new() -> Self {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
        Self { key, leaves: ["one", "two", "three"].map(|entry| leaf(entry.as_bytes())).to_vec() }
    }

    /// Gives the whole name of its key, whose first four bytes stand before its signatures (C2SP, `signed-note`).
    pub(super) fn id(&self) -> [u8; 32] {
        sha256(&[NAME.as_bytes(), b"\n\x01", self.key.der_bytes()].concat())
    }

    /// Takes an entry, and gives it with its proof; nothing where the request is none.
    pub(super) fn add(&mut self, request: &Value) -> Option<Value> {
        let request = request.get("hashedRekordRequestV002")?;
        let (digest, signature) = (request["digest"].as_str()?, request["signature"]["content"].as_str()?);
        let verifier = &request["signature"]["verifier"];
        let known =
            verifier["keyDetails"] == "PKIX_ECDSA_P256_SHA_256" && verifier["x509Certificate"]["rawBytes"].is_string();
        if !known || STANDARD.decode(digest).ok()?.len() != 32 {
            return None;
        }
        let body = json!({
            "apiVersion": "0.0.2",
            "kind": "hashedrekord",
            "spec": {"hashedRekordV002": {
                "data": {"algorithm": "SHA2_256", "digest": digest},
                "signature": {"content": signature, "verifier": verifier},
            }},
        })
        .to_string();
        self.leaves.push(leaf(body.as_bytes()));
        let (size, index) = (self.leaves.len(), self.leaves.len() - 1);
        let hashes: Vec<String> = proof(&self.leaves, index).iter().map(|hash| STANDARD.encode(hash)).collect();
        let root = STANDARD.encode(root(&self.leaves));
        let note = format!("{NAME}\n{size}\n{root}\n");
        let signature = [&self.id()[..4], &self.key.sign(note.as_bytes()).expect("signed")].concat();
        let envelope = format!("{note}\n\u{2014} {NAME} {}\n", STANDARD.encode(signature));
        Some(json!({
            "logIndex": index.to_string(),
            "logId": {"keyId": STANDARD.encode(self.id())},
            "kindVersion": {"kind": "hashedrekord", "version": "0.0.2"},
            "inclusionProof": {
                "logIndex": index.to_string(),
                "treeSize": size.to_string(),
                "rootHash": root,
                "hashes": hashes,
                "checkpoint": {"envelope": envelope},
            },
            "canonicalizedBody": STANDARD.encode(body),
        }))
    }
}

fn leaf(entry: &[u8]) -> [u8; 32] {
    sha256(&[&[0], entry].concat())
}

fn node(left: [u8; 32], right: [u8; 32]) -> [u8; 32] {
    sha256(&[&[1][..], &left, &right].concat())
}

/// Gives the largest power of two below a count.
fn half(count: usize) -> usize {
    count.next_power_of_two() / 2
}

fn root(leaves: &[[u8; 32]]) -> [u8; 32] {
    match leaves {
        [one] => *one,
        many => {
            let (left, right) = many.split_at(half(many.len()));
            node(root(left), root(right))
        }
    }
}

fn proof(leaves: &[[u8; 32]], index: usize) -> Vec<[u8; 32]> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let at = half(leaves.len());
    let (left, right) = leaves.split_at(at);
    let (mut path, other) =
        if index < at { (proof(left, index), root(right)) } else { (proof(right, index - at), root(left)) };
    path.push(other);
    path
}

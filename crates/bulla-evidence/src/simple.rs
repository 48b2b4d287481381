//! The form of cosign's signatures and attestations before bundles, which cosign 2 and many admission controllers read: a document that names
//! the image's digest, with a signature over its bytes, and envelopes of statements, in manifests under tags that are made of that digest
//! (cosign, `specs/SIGNATURE_SPEC.md` and `specs/ATTESTATION_SPEC.md`; simple signing of containers/image).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bulla_model::{
    DiffId, Digest,
    oci::{self, Descriptor, Manifest},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    dsse::Envelope,
    json::{self, JsonError},
    key::{SignError, Signer},
    statement::{MEDIA_TYPE, Statement},
};

/// The media type of a document.
pub const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The media type of an envelope.
pub const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
/// The annotation that has the signature of a document, in base64.
pub const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// The annotation of an envelope that says what its statement states.
pub const PREDICATE: &str = "predicateType";
/// The annotation that has a certificate, where a key that does not stay has signed.
pub const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
/// The kind of a manifest of signatures that refers to its image.
pub const ARTIFACT: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
/// The most bytes of a document.
pub const MAX_PAYLOAD: u64 = 64 << 10;

/// What a document says that it is.
const KIND: &str = "cosign container image signature";

/// What a document says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Simple {
    /// The name of the image, as whoever signed it had it.
    pub name: String,
    /// The digest of the image, as it is written.
    pub image: String,
}

#[derive(Serialize, Deserialize)]
struct Document {
    critical: Critical,
    #[serde(default)]
    optional: Option<Value>,
}

#[derive(Serialize, Deserialize)]
struct Critical {
    identity: Identity,
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Identity {
    docker_reference: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Image {
    docker_manifest_digest: String,
}

/// A blob of a manifest in this form, with its bytes; its descriptor has what belongs to it as annotations.
pub type Layer = (Descriptor, Vec<u8>);

/// The manifest that a tag of an image has, and its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tagged {
    /// The bytes of the manifest.
    pub manifest: Vec<u8>,
    /// The bytes of its configuration.
    pub config: Vec<u8>,
}

/// Gives the tag of the manifest with an image's signatures.
pub fn signature_tag(image: &Digest) -> String {
    format!("sha256-{}.sig", image.hex())
}

/// Gives the tag of the manifest with an image's attestations.
pub fn attestation_tag(image: &Digest) -> String {
    format!("sha256-{}.att", image.hex())
}

/// Reads a document; `None` where it is none of cosign's.
pub fn read(payload: &[u8]) -> Option<Simple> {
    let most = usize::try_from(MAX_PAYLOAD).unwrap_or(usize::MAX);
    let Document { critical, .. } = json::read_as(payload, most).ok()?;
    let (name, image) = (critical.identity.docker_reference, critical.image.docker_manifest_digest);
    (critical.kind == KIND).then_some(Simple { name, image })
}

/// Gives the registry and repository of a name as cosign writes it.
pub fn named(reference: &str) -> String {
    let name = reference.split('@').next().unwrap_or_default();
    let last = name.rfind('/').map_or(0, |at| at + 1);
    let name = name.get(..last + name.get(last..).and_then(|last| last.find(':')).unwrap_or(name.len() - last));
    let name = name.unwrap_or_default();
    match name.strip_prefix("index.docker.io/") {
        Some(rest) => format!("docker.io/{rest}"),
        None => name.to_owned(),
    }
}

/// Signs an image under a name, `HOST/REPOSITORY`.
///
/// # Errors
/// When the key does not sign.
pub fn sign(name: &str, image: &Digest, signer: &dyn Signer) -> Result<Layer, SignError> {
    let payload = json::write(&Document {
        critical: Critical {
            identity: Identity { docker_reference: name.to_owned() },
            image: Image { docker_manifest_digest: image.to_string() },
            kind: KIND.to_owned(),
        },
        optional: None,
    });
    let signature = STANDARD.encode(signer.sign(&payload)?);
    let mut layer = Descriptor::new(PAYLOAD, Digest::of(&payload), payload.len() as u64);
    layer.annotations.insert(SIGNATURE.to_owned(), signature);
    Ok((layer, payload))
}

/// Signs a statement into an envelope.
///
/// # Errors
/// When the key does not sign.
pub fn attest(statement: &Statement, signer: &dyn Signer) -> Result<Layer, SignError> {
    let envelope = json::write(&Envelope::sign(MEDIA_TYPE, &statement.to_bytes(), signer)?);
    let mut layer = Descriptor::new(ENVELOPE, Digest::of(&envelope), envelope.len() as u64);
    // The signature is in the envelope; cosign asks for the annotation all the same.
    layer.annotations.insert(SIGNATURE.to_owned(), String::new());
    layer.annotations.insert(PREDICATE.to_owned(), statement.predicate_type.clone());
    Ok((layer, envelope))
}

/// Adds a layer to the manifest of a tag, or begins one; `None` where it has the layer already.
///
/// # Errors
/// When what the tag has is no manifest.
pub fn add(known: Option<&[u8]>, layer: &Descriptor) -> Result<Option<Tagged>, JsonError> {
    let most = usize::try_from(oci::MAX_MANIFEST).unwrap_or(usize::MAX);
    let known: Option<Manifest> = known.map(|bytes| json::read_as(bytes, most)).transpose()?;
    let is_same = |one: &Descriptor| one.digest == layer.digest && one.annotations == layer.annotations;
    let (mut layers, annotations) = known.map(|known| (known.layers, known.annotations)).unwrap_or_default();
    if layers.iter().any(is_same) {
        return Ok(None);
    }
    layers.push(layer.clone());
    // What cosign writes: the configuration of an image of nothing, whose layers are not compressed.
    let diff_ids: Vec<DiffId> = layers.iter().map(|layer| DiffId(layer.digest)).collect();
    let config = json::write(&json!({
        "architecture": "", "os": "", "config": {}, "created": "0001-01-01T00:00:00Z",
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }));
    let described = Descriptor::new(oci::CONFIG, Digest::of(&config), config.len() as u64);
    let manifest = Manifest { annotations, ..Manifest::new(described, layers) };
    Ok(Some(Tagged { manifest: oci::encode(&manifest), config }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Subject, key::tests::keys};

    #[test]
    fn a_document_is_what_cosign_writes() {
        let image = Digest::of("image");
        for key in keys() {
            let (layer, payload) = sign("registry.example/team/shop", &image, &key).expect("signed");
            let text = String::from_utf8(payload.clone()).expect("a text");
            assert_eq!(
                text,
                format!(
                    r#"{{"critical":{{"identity":{{"docker-reference":"registry.example/team/shop"}},"image":{{"docker-manifest-digest":"{image}"}},"type":"cosign container image signature"}},"optional":null}}"#
                )
            );
            let simple = Simple { name: "registry.example/team/shop".into(), image: image.to_string() };
            assert_eq!(read(&payload), Some(simple));
            let signature = STANDARD.decode(&layer.annotations[SIGNATURE]).expect("base64");
            assert_eq!(key.public().verify(&payload, &signature), Ok(()));
        }
        for bad in ["", "{}", "[]", "{\"critical\":1}"] {
            assert_eq!(read(bad.as_bytes()), None);
        }
    }

    #[test]
    fn a_manifest_grows_by_what_it_does_not_have() {
        let image = Digest::of("image");
        let [one, two] = keys();
        let (first, _) = sign("r.example/x", &image, &one).expect("signed");
        let (second, _) = sign("r.example/x", &image, &two).expect("signed");
        let Tagged { manifest, config } = add(None, &first).expect("JSON").expect("it is new");
        assert_eq!(add(Some(&manifest), &first).expect("JSON"), None, "it is there");
        let both = add(Some(&manifest), &second).expect("JSON").expect("another signature of the same document");
        let read: Manifest = serde_json::from_slice(&both.manifest).expect("a manifest");
        assert_eq!(read.layers, [first, second]);
        let config: Value = serde_json::from_slice(&config).expect("JSON");
        assert_eq!(config["rootfs"]["diff_ids"].as_array().map(Vec::len), Some(1));
        assert!(add(Some(b"[]"), &read.layers[0]).is_err());
    }

    #[test]
    fn a_statement_is_attested_in_an_envelope() {
        let statement =
            Statement::new(vec![Subject::new(None, &Digest::of("image"))], "https://example.org/x", json!({}));
        for key in keys() {
            let (layer, bytes) = attest(&statement, &key).expect("signed");
            assert_eq!(layer.annotations[PREDICATE], "https://example.org/x");
            let envelope: Envelope = json::read_as(&bytes, 1 << 20).expect("an envelope");
            assert_eq!(envelope.verify(key.public()), Ok(statement.to_bytes()));
        }
    }
}

//! Manifests that carry evidence as referrers of an image (image specification, `manifest.md`, "Guidelines for Artifact Usage"; cosign,
//! `specs/BUNDLE_SPEC.md`).

use bulla_model::{
    Digest, Epoch,
    oci::{self, Descriptor, Manifest, Referrer},
};

use crate::{
    bundle::BUNDLE,
    statement::{self, Statement},
};

/// The annotation of a manifest with a bundle that says what kind of thing is signed, and what it is for a statement.
pub const CONTENT: (&str, &str) = ("dev.sigstore.bundle.content", "dsse-envelope");
/// The annotation of a manifest with a bundle that says what its statement states.
pub const PREDICATE: &str = "dev.sigstore.bundle.predicateType";
/// The annotation of a statement that nobody signed that says what it states, as BuildKit has it.
pub const IN_TOTO_PREDICATE: &str = "in-toto.io/predicate-type";

/// The configuration of a manifest that is no image's.
pub const CONFIG: &[u8] = b"{}";

/// A manifest that carries evidence, and the blobs that it is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carrier {
    /// The manifest, as lists of referrers have it.
    pub entry: Descriptor,
    /// The bytes of the manifest.
    pub manifest: Vec<u8>,
    /// Its configuration and its layer, with their bytes.
    pub blobs: Vec<(Descriptor, Vec<u8>)>,
}

/// Makes the manifest of a bundle that has a statement with this type of predicate about the subject. Without a time, the same bundle
/// has the same manifest whenever it is made.
pub fn of_bundle(bundle: Vec<u8>, predicate_type: &str, subject: &Descriptor, created: Option<Epoch>) -> Carrier {
    let annotations = [CONTENT, (PREDICATE, predicate_type)];
    carrier((BUNDLE, bundle), subject, annotations, created)
}

/// Makes the manifest of a statement that nobody signed.
pub fn of_statement(statement: &Statement, subject: &Descriptor, created: Option<Epoch>) -> Carrier {
    let annotations = [(IN_TOTO_PREDICATE, statement.predicate_type.as_str())];
    carrier((statement::MEDIA_TYPE, statement.to_bytes()), subject, annotations, created)
}

fn carrier<const N: usize>(
    (kind, layer): (&str, Vec<u8>),
    subject: &Descriptor,
    annotations: [(&str, &str); N],
    created: Option<Epoch>,
) -> Carrier {
    let config = CONFIG.to_vec();
    let described = |kind: &str, bytes: &[u8]| Descriptor::new(kind, Digest::of(bytes), bytes.len() as u64);
    let (empty, content) = (described(oci::EMPTY, &config), described(kind, &layer));
    let (entry, manifest) = referring(&content, subject, annotations, created);
    Carrier { entry, manifest, blobs: vec![(empty, config), (content, layer)] }
}

/// Makes the manifest of one blob that refers to something, and gives it as lists of referrers have it. Its kind is the blob's, and its
/// configuration is [`CONFIG`].
pub fn referring<const N: usize>(
    layer: &Descriptor,
    subject: &Descriptor,
    annotations: [(&str, &str); N],
    created: Option<Epoch>,
) -> (Descriptor, Vec<u8>) {
    let config = Descriptor::new(oci::EMPTY, Digest::of(CONFIG), CONFIG.len() as u64);
    let mut manifest = Manifest::new(config, vec![layer.clone()]);
    manifest.artifact_type = Some(layer.media_type.clone());
    manifest.subject = Some(Descriptor::new(&subject.media_type, subject.digest, subject.size));
    manifest.annotations = annotations.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    if let Some(created) = created {
        manifest.annotations.insert(oci::CREATED.to_owned(), created.rfc3339());
    }
    let bytes = oci::encode(&manifest);
    let entry = Referrer::read(oci::MANIFEST, &bytes).expect("it was just made, with a subject").entry;
    (entry, bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{Subject, bundle, key::tests::keys};

    #[test]
    fn a_carrier_refers_to_its_subject_and_says_what_it_has() {
        let subject = Descriptor::new(oci::INDEX, Digest::of("image"), 5);
        let statement = Statement::new(vec![Subject::new(None, &subject.digest)], "https://example.org/x", json!({}));
        let signed = bundle::sign(&statement, &keys()[0]).expect("signed");
        let created = Epoch::new(1_700_000_000);
        for (carrier, kind, annotation) in [
            (of_bundle(signed.clone(), &statement.predicate_type, &subject, created), BUNDLE, PREDICATE),
            (of_statement(&statement, &subject, created), statement::MEDIA_TYPE, IN_TOTO_PREDICATE),
        ] {
            let manifest: Value = serde_json::from_slice(&carrier.manifest).expect("JSON");
            assert_eq!(manifest["artifactType"], kind);
            assert_eq!(manifest["config"]["mediaType"], "application/vnd.oci.empty.v1+json");
            assert_eq!(manifest["subject"]["digest"], subject.digest.to_string());
            assert_eq!(manifest["annotations"][annotation], "https://example.org/x");
            assert_eq!(manifest["annotations"]["org.opencontainers.image.created"], "2023-11-14T22:13:20Z");
            assert_eq!(manifest["layers"].as_array().map(Vec::len), Some(1));
            assert_eq!(carrier.entry.digest, Digest::of(&carrier.manifest));
            assert_eq!(carrier.entry.artifact_type.as_deref(), Some(kind));
            for (described, bytes) in &carrier.blobs {
                assert_eq!((described.digest, described.size), (Digest::of(bytes), bytes.len() as u64));
            }
        }
        let again = of_bundle(signed.clone(), &statement.predicate_type, &subject, None);
        assert_eq!(again, of_bundle(signed, &statement.predicate_type, &subject, None));
    }
}

//! Base images that the spec wants signed, and Sigstore bundles that sign them or do not. The signatures are made by OpenSSL.

use bulla_model::{
    Digest,
    oci::{self, Descriptor, Index, Manifest},
};
use bulla_testkit::archive::base64;
use serde_json::{Value, json};

use crate::signed::World;

pub(crate) const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const STATEMENT: &str = "application/vnd.in-toto+json";
const PREDICATE: &str = "dev.sigstore.bundle.predicateType";
const SIGNS: &str = "https://sigstore.dev/cosign/sign/v1";

/// The statement that cosign signs of an image.
fn statement(digest: &Digest) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": digest.hex()}}],
        "predicateType": SIGNS,
        "predicate": {}
    })
}

/// Signs a payload as a type, and gives the bundle.
fn signed_as(world: &World, key: &str, payload: &str, kind: &str) -> Value {
    let signature = world.sign(key, &format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len()));
    json!({
        "mediaType": BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": "bm90IHJlYWQ="}, "tlogEntries": [{"logIndex": "1"}]},
        "dsseEnvelope": {
            "payload": base64(payload.as_bytes()),
            "payloadType": kind,
            "signatures": [{"sig": signature}]
        }
    })
}

/// Makes the bundle of a statement.
pub(crate) fn bundle(world: &World, key: &str, digest: &Digest) -> Value {
    signed_as(world, key, &statement(digest).to_string(), STATEMENT)
}

/// Makes the manifest of a bundle that refers to an image, as cosign writes it.
pub(crate) fn referrer(subject: &Digest, bundle: &[u8]) -> Manifest {
    let mut manifest = Manifest::new(
        Descriptor::new(oci::EMPTY, Digest::of("{}"), 2),
        vec![Descriptor::new(BUNDLE, Digest::of(bundle), bundle.len() as u64)],
    );
    manifest.artifact_type = Some(BUNDLE.to_owned());
    manifest.subject = Some(Descriptor::new(oci::INDEX, *subject, 1));
    manifest.annotations.insert(PREDICATE.to_owned(), SIGNS.to_owned());
    manifest
}

impl World {
    /// Puts what refers to the image into the registry, and gives its digest.
    fn refer(&self, bundle: &Value) -> Digest {
        let bytes = bundle.to_string();
        for blob in ["{}", &bytes] {
            self.registry.put_blob("team/base", blob.as_bytes());
        }
        let manifest = oci::encode(&referrer(&self.digest, bytes.as_bytes()));
        self.registry.put_manifest("team/base", "referrer", oci::MANIFEST, &manifest);
        Digest::of(manifest)
    }

    /// Says what refers to the image, by the tag that stands for the interface.
    fn list(&self, referrers: &[Digest]) {
        let entry = |digest: &Digest| {
            let bytes = self.registry.manifest("team/base", &digest.to_string()).expect("it was put there");
            let mut entry = Descriptor::new(oci::MANIFEST, *digest, bytes.len() as u64);
            entry.artifact_type = Some(BUNDLE.to_owned());
            entry
        };
        let list = oci::encode(&Index::new(referrers.iter().map(entry).collect()));
        self.registry.put_manifest("team/base", &format!("sha256-{}", self.digest.hex()), oci::INDEX, &list);
    }
}

#[test]
fn a_bundle_signs_a_base_and_is_in_the_lock() {
    let Some(world) = World::new("a bundle of a base") else { return };
    for key in ["team", "edwards"] {
        let bundle = bundle(&world, key, &world.digest);
        world.refer(&bundle);
        let project = world.project(key);
        world.environment.run(&project, &["build"]).success();
        let lock = project.read("bulla.lock");
        assert!(lock.contains(&format!("bundle = \"{}\"", Digest::of(bundle.to_string()))), "{lock}");
        assert!(lock.contains(&format!("key = \"keys/{key}.pub\"")) && !lock.contains("payload"), "{lock}");
        // What is locked is not asked for again.
        world.registry.forget_requests();
        world.environment.run(&project, &["build", "--locked"]).success();
        assert_eq!(world.registry.count("GET", "referrers"), 0);
    }
}

#[test]
fn a_bundle_is_found_where_the_registry_lists_no_referrers() {
    let Some(world) = World::new("a bundle in an older registry") else { return };
    world.registry.without_referrers();
    let referrer = world.refer(&bundle(&world, "team", &world.digest));
    let size = world.registry.manifest("team/base", "referrer").expect("it was put there").len() as u64;
    world.refused("team", 5, "has no signature by the key");
    // Cosign's client does not know the kind, and lists that of the configuration.
    for kind in [Some(BUNDLE), Some(oci::EMPTY), None] {
        let mut entry = Descriptor::new(oci::MANIFEST, referrer, size);
        entry.artifact_type = kind.map(str::to_owned);
        let list = oci::encode(&Index::new(vec![entry]));
        let tag = format!("sha256-{}", world.digest.hex());
        world.registry.put_manifest("team/base", &tag, oci::INDEX, &list);
        world.environment.run(&world.project("team"), &["build"]).success();
    }
}

#[test]
fn what_is_no_bundle_of_this_image_by_this_key_is_refused() {
    let Some(world) = World::new("bad bundles of a base") else { return };
    world.registry.without_referrers();
    let (other, good) = (Digest::of("another image"), bundle(&world, "team", &world.digest));
    let stating = |change: &dyn Fn(&mut Value)| {
        let mut statement = statement(&world.digest);
        change(&mut statement);
        signed_as(&world, "team", &statement.to_string(), STATEMENT)
    };
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut bundle = good.clone();
        change(&mut bundle);
        bundle
    };
    let text = statement(&world.digest).to_string();
    let subject = json!({"digest": {"sha256": world.digest.hex()}});
    let cases: Vec<(Value, String)> = vec![
        (bundle(&world, "stranger", &world.digest), "another key, or its document was changed".into()),
        (bundle(&world, "team", &other), format!("signed as the image {other}")),
        (
            stating(&|s| s["predicateType"] = json!("https://slsa.dev/provenance/v1")),
            "`https://slsa.dev/provenance/v1`".into(),
        ),
        (stating(&|s| s["subject"] = json!([subject, subject])), "about 2 things".into()),
        (stating(&|s| s["subject"] = json!([subject, {"digest": {"sha256": other.hex()}}])), "about 2 things".into()),
        (stating(&|s| s["subject"] = json!([])), "none of cosign's".into()),
        (stating(&|s| s["_type"] = json!("https://example.com/Statement")), "none of cosign's".into()),
        // The same bytes, signed and offered as something else; and signed as something else, and offered as a statement.
        (signed_as(&world, "team", &text, "text/plain"), "none of cosign's".into()),
        (
            {
                let mut bundle = signed_as(&world, "team", &text, "text/plain");
                bundle["dsseEnvelope"]["payloadType"] = json!(STATEMENT);
                bundle
            },
            "another key, or its document was changed".into(),
        ),
        // The signature is of the payload alone, as in the simple form; and of another statement.
        (
            changed(&|b| b["dsseEnvelope"]["signatures"][0]["sig"] = json!(world.sign("team", &text))),
            "another key, or".into(),
        ),
        (
            changed(&|b| b["dsseEnvelope"]["payload"] = json!(base64(format!("{text} ").as_bytes()))),
            "another key, or its document was changed".into(),
        ),
        (changed(&|b| b["dsseEnvelope"]["signatures"] = json!([])), "cannot be read".into()),
        (
            changed(&|b| b["mediaType"] = json!("application/vnd.dev.sigstore.bundle.v0.9+json")),
            "another version".into(),
        ),
        (
            changed(&|b| b["verificationMaterial"] = json!({"certificate": {"rawBytes": "AAAA"}, "tlogEntries": []})),
            "with a certificate (keyless)".into(),
        ),
        (changed(&|b| b["verificationMaterial"] = json!({"tlogEntries": [{}]})), "neither key nor certificate".into()),
        (changed(&|b| b["x"] = json!("x".repeat(600 << 10))), "at most 524288 are read".into()),
        (json!("no bundle"), "cannot be read".into()),
    ];
    for (bundle, says) in cases {
        world.list(&[world.refer(&bundle)]);
        world.refused("team", 5, &says);
    }
    // The key of another kind, and a bundle of this image that refers to another: nobody finds it here.
    let signature = world.refer(&good);
    world.list(&[signature]);
    world.refused("edwards", 5, "cannot be read");
    world.list(&[]);
    world.refused("team", 5, "has no signature by the key");
    // The control, among others.
    let stranger = world.refer(&bundle(&world, "stranger", &world.digest));
    let elsewhere = world.refer(&bundle(&world, "team", &other));
    world.list(&[stranger, elsewhere]);
    world.refused("team", 5, &format!("signed as the image {other}"));
    world.list(&[elsewhere, signature, stranger]);
    world.environment.run(&world.project("team"), &["build"]).success();
}

#[test]
fn an_image_with_thousands_of_attestations_has_its_signature_found() {
    let Some(world) = World::new("many bundles of a base") else { return };
    world.registry.without_referrers();
    let signature = world.refer(&bundle(&world, "team", &world.digest));
    let entry = |digest: Digest, states: &str| {
        let mut entry = Descriptor::new(oci::MANIFEST, digest, 700);
        entry.artifact_type = Some(BUNDLE.to_owned());
        entry.annotations.insert(PREDICATE.to_owned(), states.to_owned());
        entry
    };
    let scans =
        (0..3000).map(|at| entry(Digest::of(format!("scan {at}")), "https://in-toto.io/attestation/vulns/v0.2"));
    let list = |last: Descriptor| oci::encode(&Index::new(scans.clone().chain([last]).collect()));
    let tag = format!("sha256-{}", world.digest.hex());
    world.registry.put_manifest("team/base", &tag, oci::INDEX, &list(entry(signature, SIGNS)));
    world.environment.run(&world.project("team"), &["build"]).success();
    // Whoever lists thousands as signatures has none found, and few of them asked for.
    let many = (0..3000).map(|at| entry(Digest::of(format!("scan {at}")), SIGNS));
    let list = oci::encode(&Index::new(many.chain([entry(signature, SIGNS)]).collect()));
    world.registry.put_manifest("team/base", &tag, oci::INDEX, &list);
    world.registry.forget_requests();
    world.refused("team", 5, "has no signature by the key");
    assert!(world.registry.count("GET", "manifests/sha256:") < 110);
}

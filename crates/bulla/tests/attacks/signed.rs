//! Base images that the spec wants signed: good signatures of both kinds of keys and in both places, and all that is none.
//! The signatures are made by OpenSSL, which is not what verifies them.

use std::{path::Path, process::Command};

use bulla_model::{
    Digest,
    oci::{self, Descriptor, Manifest, Reference},
};
use bulla_net::{
    Client, NetConfig, Reach,
    oci::{Registries, RegistryConfig},
};
use bulla_testkit::{FakeRegistry, Project, TestEnvironment, docker, process, skipped};

use crate::base::{image, knowing, project, root, user};

const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
pub(crate) const ARTIFACT: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";

/// A registry with an image, an environment that knows it, and keys.
pub(crate) struct World {
    pub(crate) registry: FakeRegistry,
    pub(crate) environment: TestEnvironment,
    keys: tempfile::TempDir,
    pub(crate) digest: Digest,
}

impl World {
    pub(crate) fn new(test: &str) -> Option<Self> {
        if !process::exists("openssl") {
            skipped(test, "there is no openssl");
            return None;
        }
        let registry = FakeRegistry::start();
        image(&registry, "1", &[root()]);
        let digest = Digest::of(registry.manifest("team/base", "1").expect("an image"));
        let environment = knowing(&registry);
        let keys = tempfile::tempdir().expect("a folder");
        let world = Self { registry, environment, keys, digest };
        world.key("team", &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
        world.key("stranger", &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
        world.key("edwards", &["ED25519"]);
        Some(world)
    }

    fn file(&self, name: &str) -> String {
        self.keys.path().join(name).display().to_string()
    }

    fn key(&self, name: &str, kind: &[&str]) {
        let (private, public) = (self.file(name), self.file(&format!("{name}.pub")));
        let make = ["genpkey", "-out", &private, "-algorithm"];
        openssl(&[&make, kind].concat());
        openssl(&["pkey", "-in", &private, "-pubout", "-out", &public]);
    }

    pub(crate) fn name(&self) -> String {
        format!("{}/team/base", self.registry.address())
    }

    /// Signs a document, and gives the signature in base64.
    pub(crate) fn sign(&self, key: &str, document: &str) -> String {
        let (text, signature, key_file) = (self.file("document"), self.file("signature"), self.file(key));
        fs_err::write(&text, document).expect("a document");
        match key {
            "edwards" => {
                openssl(&["pkeyutl", "-sign", "-rawin", "-inkey", &key_file, "-in", &text, "-out", &signature])
            }
            _ => openssl(&["dgst", "-sha256", "-sign", &key_file, "-out", &signature, &text]),
        }
        let encoded = process::output(Command::new("openssl").args(["base64", "-A", "-in", &signature]));
        encoded.expect("openssl encodes").trim().to_owned()
    }

    /// Puts a manifest of documents with their signatures there; gives its bytes.
    pub(crate) fn manifest(&self, signed: &[(String, String)]) -> Manifest {
        let (config, bytes) = oci::encode_described(oci::CONFIG, &serde_json::json!({}));
        self.registry.put_blob("team/base", &bytes);
        let layer = |(document, signature): &(String, String)| {
            let digest = self.registry.put_blob("team/base", document.as_bytes());
            let mut layer = Descriptor::new(PAYLOAD, digest, document.len() as u64);
            layer.annotations.insert("dev.cosignproject.cosign/signature".to_owned(), signature.clone());
            layer
        };
        Manifest::new(config, signed.iter().map(layer).collect())
    }

    fn put(&self, digest: &Digest, signed: &[(String, String)]) {
        let tag = format!("sha256-{}.sig", digest.hex());
        self.registry.put_manifest("team/base", &tag, oci::MANIFEST, &oci::encode(&self.manifest(signed)));
    }

    /// Puts what a key signed under the tag of the image.
    pub(crate) fn signed_by(&self, key: &str, document: &str) {
        self.put(&self.digest, &[(document.to_owned(), self.sign(key, document))]);
    }

    /// Gives the public half of a key.
    pub(crate) fn public(&self, key: &str) -> Vec<u8> {
        fs_err::read(Path::new(&self.file(&format!("{key}.pub")))).expect("a key")
    }

    pub(crate) fn document(&self) -> String {
        document(&self.name(), &self.digest.to_string())
    }

    /// A project on the image, which must be signed by a key.
    pub(crate) fn project(&self, key: &str) -> Project {
        let project = project(&self.registry, "1", "source: app/run, to: /run.sh", &user("  entrypoint: [/run.sh]\n"));
        let spec = project.read("bulla.yaml");
        let reference = format!("'{}:1'", self.name());
        assert!(spec.contains(&reference));
        project.write("bulla.yaml", spec.replace(&reference, &format!("{reference}, signed-by: keys/{key}.pub")));
        let public = self.public(key);
        project.file(&format!("keys/{key}.pub"), public)
    }

    #[track_caller]
    pub(crate) fn refused(&self, key: &str, code: i32, says: &str) {
        let project = self.project(key);
        let ran = self.environment.run(&project, &["build"]).failure(code);
        assert!(ran.stderr.contains(says), "no `{says}` in {}", ran.stderr);
        assert!(!project.path("bulla.lock").exists() && !project.path("bulla-out").exists(), "{says}");
    }
}

fn openssl(arguments: &[&str]) {
    process::output(Command::new("openssl").args(arguments)).expect("openssl works");
}

pub(crate) fn document(name: &str, digest: &str) -> String {
    format!(
        r#"{{"critical":{{"identity":{{"docker-reference":"{name}"}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"cosign container image signature"}},"optional":null}}"#
    )
}

#[test]
fn a_signed_base_is_built_on_and_its_signature_is_in_the_lock() {
    let Some(world) = World::new("a signed base") else { return };
    for key in ["team", "edwards"] {
        world.signed_by(key, &world.document());
        let project = world.project(key);
        world.environment.run(&project, &["build"]).success();
        let lock = project.read("bulla.lock");
        assert!(lock.contains(&format!("key = \"keys/{key}.pub\"")), "{lock}");
        assert!(lock.contains(&format!("payload = \"{}\"", Digest::of(world.document()))), "{lock}");
        // What is locked is not asked for again.
        world.registry.forget_requests();
        world.environment.run(&project, &["build", "--locked"]).success();
        assert_eq!(world.registry.count("GET", ".sig"), 0);
    }
    // One good signature among those of others, and one that refers to the image.
    let (good, bad) = (world.document(), document("other.example/x", &world.digest.to_string()));
    world.put(&world.digest, &[(bad.clone(), world.sign("stranger", &bad)), (good.clone(), world.sign("team", &good))]);
    world.environment.run(&world.project("team"), &["build"]).success();
    let Some(world) = World::new("a signed base") else { return };
    let mut referrer = world.manifest(&[(world.document(), world.sign("team", &world.document()))]);
    referrer.artifact_type = Some(ARTIFACT.to_owned());
    referrer.subject = Some(Descriptor::new(oci::INDEX, world.digest, 1));
    world.registry.put_manifest("team/base", "some", oci::MANIFEST, &oci::encode(&referrer));
    world.environment.run(&world.project("team"), &["build"]).success();
}

#[test]
fn what_does_not_sign_the_base_is_refused() {
    let Some(world) = World::new("bad signatures of a base") else { return };
    let (good, other) = (world.document(), Digest::of("another image"));
    world.refused("team", 5, "has no signature by the key keys/team.pub");
    world.signed_by("stranger", &good);
    world.refused("team", 5, "another key");
    world.signed_by("team", &document(&world.name(), &other.to_string()));
    world.refused("team", 5, &format!("signed as the image {other}"));
    world.signed_by("team", &document("registry.example/team/base", &world.digest.to_string()));
    world.refused("team", 5, "under the name registry.example/team/base");
    world.signed_by("team", &good.replace("cosign container image signature", "something else"));
    world.refused("team", 5, "no simple signature");
    // Edited after it was signed.
    let for_other = document(&world.name(), &other.to_string());
    world.put(&world.digest, &[(good.clone(), world.sign("team", &for_other))]);
    world.refused("team", 5, "another key, or its document was changed");
    world.put(&world.digest, &[(good.clone(), "AAAA".to_owned())]);
    world.refused("team", 5, "cannot be read");
    // A signature of another image under this one's tag is found, and one under another tag is not.
    world.put(&world.digest, &[]);
    world.put(&other, &[(good.clone(), world.sign("team", &good))]);
    world.refused("team", 5, "has no signature");
    // The control.
    world.signed_by("team", &good);
    world.environment.run(&world.project("team"), &["build"]).success();
}

#[test]
fn another_key_in_the_spec_asks_for_another_signature_of_the_same_image() {
    let Some(world) = World::new("another key") else { return };
    world.signed_by("team", &world.document());
    let project = world.project("team");
    world.environment.run(&project, &["build"]).success();
    // The tag moves; the lock stays at what was signed.
    image(&world.registry, "1", &[root(), vec![]]);
    let spec = project.read("bulla.yaml");
    let stranger = fs_err::read(Path::new(&world.file("stranger.pub"))).expect("a key");
    project.write("keys/stranger.pub", stranger);
    project.write("bulla.yaml", spec.replace("team.pub", "stranger.pub"));
    let ran = world.environment.run(&project, &["build", "--locked"]).failure(7);
    assert!(ran.stderr.contains("signed by another key"), "{}", ran.stderr);
    world.environment.run(&project, &["build"]).failure(5);
    world.signed_by("stranger", &world.document());
    world.environment.run(&project, &["build"]).success();
    assert!(project.read("bulla.lock").contains(&world.digest.to_string()));
    // With the tag as it is now, nobody has signed it.
    world.environment.run(&project, &["lock", "--update"]).failure(5);
}

#[test]
fn a_file_that_is_no_key_or_elsewhere_is_refused() {
    let Some(world) = World::new("files of keys") else { return };
    world.signed_by("team", &world.document());
    let project = world.project("team");
    project.write("keys/team.pub", "no key\n");
    let ran = world.environment.run(&project, &["build"]).failure(3);
    assert!(ran.stderr.contains("keys/team.pub") && ran.stderr.contains("P-256"), "{}", ran.stderr);
    fs_err::remove_file(project.path("keys/team.pub")).expect("removing it");
    let ran = world.environment.run(&project, &["build"]).failure(3);
    assert!(ran.stderr.contains("are not there"), "{}", ran.stderr);
    let elsewhere = world.file("team.pub");
    let project = project.symlink("keys/team.pub", &elsewhere);
    let ran = world.environment.run(&project, &["build"]).failure(3);
    assert!(ran.stderr.contains("outside of the project"), "{}", ran.stderr);
}

#[test]
fn a_signature_in_a_real_registry_is_found() {
    let Some(world) = World::new("a signature in a real registry") else { return };
    let Some(real) = docker::Registry::start() else { return };
    let address = real.address();
    let config = format!("[registry.debian]\napt = false\n[registry.oci]\nlocal = [\"{address}\"]\n");
    world.environment.write_config(&config);
    let name = format!("{address}/team/base");
    let base = Project::with_spec(
        "bulla: 1\nname: base\nsources:\n  app: {path: app}\nimage:\n  from: {scratch: {}}\n  copy:\n    - {source: app, to: /app}\n  entrypoint: [/app/run]\n  user: 65532\n",
    );
    let base = base.program("app/run", "#!/bin/true\n");
    let pushed = world.environment.run(&base, &["build", "--push", &format!("{name}:1")]).success().stdout;
    let digest = pushed.trim_end().rsplit('@').next().expect("a digest").parse::<Digest>().expect("a digest");
    let project = world.project("team");
    project.write("bulla.yaml", project.read("bulla.yaml").replace(&world.name(), &name));
    let unsigned = world.environment.run(&project, &["build"]).failure(5);
    assert!(unsigned.stderr.contains("has no signature"), "{}", unsigned.stderr);

    let client = Client::new(NetConfig::default()).expect("a client");
    let reference = Reference::parse(&name).expect("a reference");
    let repository = Registries::new(client, RegistryConfig::default()).repository(&reference, Reach::Configured);
    let repository = repository.expect("a registry").for_pushing();
    let document = document(&name, &digest.to_string());
    let manifest = world.manifest(&[(document.clone(), world.sign("team", &document))]);
    for blob in [b"{}".as_slice(), document.as_bytes()] {
        let described = Descriptor::new(PAYLOAD, Digest::of(blob), blob.len() as u64);
        let upload = repository.begin().expect("an upload");
        repository.upload(&described, upload, &mut std::io::Cursor::new(blob), &|_| {}).expect("it is taken");
    }
    let tag = format!("sha256-{}.sig", digest.hex());
    repository.put_manifest(&tag, oci::MANIFEST, &oci::encode(&manifest)).expect("it is taken");
    world.environment.run(&project, &["build"]).success();
    assert!(project.read("bulla.lock").contains("key = \"keys/team.pub\""));
}

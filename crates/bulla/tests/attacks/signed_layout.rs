//! Signatures of base images that lie in layouts: of the project, and of a folder that stands for a registry.

use bulla_model::{
    Digest,
    oci::{self, Descriptor, Index},
};
use bulla_testkit::Project;

use crate::{
    layout::{Layout, starting_from},
    signed::{ARTIFACT, World, document},
    signed_bundle::{bundle, referrer},
};

/// The places of a layout where a signature may lie.
#[derive(Debug, Clone, Copy)]
enum At {
    /// The tag that cosign has for it.
    Tag,
    /// The tag, in a whole reference, as Podman has names.
    WholeTag,
    /// As `cosign save` has it.
    Saved,
    /// A referrer with an entry in the index.
    Entry,
    /// A referrer that a list by the tag of the referrers' interface names.
    Listed,
    /// A referrer that nothing in the index names, as `cosign save` leaves bundles.
    BlobAlone,
}

impl World {
    /// Puts a simple signature of a document into a layout.
    fn put_simple(&self, layout: &mut Layout, key: &str, document: &str, at: At) {
        let mut manifest = self.manifest(&[(document.to_owned(), self.sign(key, document))]);
        for blob in [document, "{}"] {
            layout.blob(blob.as_bytes());
        }
        let tag = format!("sha256-{}.sig", self.digest.hex());
        match at {
            At::Tag => drop(layout.name(oci::MANIFEST, &oci::encode(&manifest), &[(oci::REF_NAME, &tag)])),
            At::WholeTag => {
                let whole = format!("registry.example/team/base:{tag}");
                layout.name(oci::MANIFEST, &oci::encode(&manifest), &[(oci::REF_NAME, &whole)]);
            }
            At::Saved => {
                let kind = ("kind", "dev.cosignproject.cosign/sigs");
                layout.name(oci::MANIFEST, &oci::encode(&manifest), &[kind]);
            }
            At::Entry | At::Listed | At::BlobAlone => {
                manifest.artifact_type = Some(ARTIFACT.to_owned());
                manifest.subject = Some(Descriptor::new(oci::INDEX, self.digest, 1));
                self.put_referrer_into(layout, &oci::encode(&manifest), ARTIFACT, at);
            }
        }
    }

    /// Puts a bundle into a layout.
    fn put_bundle(&self, layout: &mut Layout, key: &str, subject: &Digest, at: At) {
        let bytes = bundle(self, key, subject).to_string();
        for blob in [bytes.as_str(), "{}"] {
            layout.blob(blob.as_bytes());
        }
        let manifest = oci::encode(&referrer(&self.digest, bytes.as_bytes()));
        self.put_referrer_into(layout, &manifest, crate::signed_bundle::BUNDLE, at);
    }

    fn put_referrer_into(&self, layout: &mut Layout, manifest: &[u8], kind: &str, at: At) {
        match at {
            At::Entry => drop(layout.name(oci::MANIFEST, manifest, &[])),
            At::Listed => {
                let mut entry = Descriptor::new(oci::MANIFEST, layout.blob(manifest), manifest.len() as u64);
                entry.artifact_type = Some(kind.to_owned());
                let tag = format!("sha256-{}", self.digest.hex());
                layout.name(oci::INDEX, &oci::encode(&Index::new(vec![entry])), &[(oci::REF_NAME, &tag)]);
            }
            _ => drop(layout.blob(manifest)),
        }
    }

    /// A project that starts from a layout, which must be signed by a key.
    fn on_a_layout(&self, reference: &str, key: &str) -> (Project, Layout) {
        let project = starting_from(reference);
        let spec = project.read("bulla.yaml");
        let quoted = format!("'{reference}'");
        project.write("bulla.yaml", spec.replace(&quoted, &format!("{quoted}, signed-by: keys/{key}.pub")));
        project.write(&format!("keys/{key}.pub"), self.public(key));
        let layout = Layout::vendored(&project, &self.registry, "1");
        (project, layout)
    }

    #[track_caller]
    fn not_signed(&self, project: &Project, says: &str) {
        let ran = self.environment.run(project, &["build"]).failure(5);
        assert!(ran.stderr.contains(says), "no `{says}` in {}", ran.stderr);
        assert!(!project.path("bulla.lock").exists());
    }
}

#[test]
fn a_signature_is_found_wherever_it_lies_in_a_layout() {
    let Some(world) = World::new("signatures in a layout") else { return };
    // Nobody says under which name a layout of the project was signed.
    let simple = document("registry.example/team/elsewhere", &world.digest.to_string());
    for at in [At::Tag, At::WholeTag, At::Saved, At::Entry, At::Listed, At::BlobAlone] {
        for reference in ["oci:vendor/base:1", "oci:vendor/base"] {
            let (project, mut layout) = world.on_a_layout(reference, "team");
            world.not_signed(&project, "has no signature by the key keys/team.pub");
            world.put_simple(&mut layout, "stranger", &simple, At::Tag);
            world.not_signed(&project, "another key");
            world.put_simple(&mut layout, "team", &simple, at);
            world.environment.run(&project, &["build"]).success();
            let lock = project.read("bulla.lock");
            assert!(lock.contains(&format!("payload = \"{}\"", Digest::of(&simple))), "{at:?}: {lock}");
            // The layout need not keep its signatures.
            Layout::vendored(&project, &world.registry, "1");
            world.environment.run(&project, &["build", "--locked"]).success();
        }
    }
    for at in [At::Entry, At::Listed, At::BlobAlone] {
        let (project, mut layout) = world.on_a_layout("oci:vendor/base", "edwards");
        world.put_bundle(&mut layout, "team", &world.digest, at);
        world.not_signed(&project, "cannot be read");
        world.put_bundle(&mut layout, "edwards", &Digest::of("another"), At::Entry);
        world.not_signed(&project, "signed as the image");
        world.put_bundle(&mut layout, "edwards", &world.digest, at);
        world.environment.run(&project, &["build"]).success();
        assert!(project.read("bulla.lock").contains("bundle = \"sha256:"), "{at:?}");
    }
}

#[test]
fn a_whole_reference_as_the_name_in_a_layout_is_what_must_be_signed() {
    let Some(world) = World::new("the name of an image in a layout") else { return };
    let (project, mut layout) = world.on_a_layout("oci:vendor/base:registry.example/team/base:1", "team");
    layout.take(&world.registry, "1", Some("registry.example/team/base:1"));
    let document = |name: &str| document(name, &world.digest.to_string());
    world.put_simple(&mut layout, "team", &document("registry.example/team/elsewhere"), At::Tag);
    world.not_signed(&project, "and not as registry.example/team/base");
    world.put_simple(&mut layout, "team", &document("registry.example/team/base"), At::Tag);
    world.environment.run(&project, &["build"]).success();
}

#[test]
fn a_layout_that_stands_for_a_registry_has_signatures_too() {
    let Some(world) = World::new("signatures in a layout of the configuration") else { return };
    let layouts = tempfile::tempdir().expect("a folder");
    let mirrored = || {
        fs_err::remove_dir_all(layouts.path().join("team")).ok();
        let mut layout = Layout::new(layouts.path().join("team/base"));
        layout.take(&world.registry, "1", Some("1"));
        layout
    };
    world.environment.write_config(&format!(
        "[registry.debian]\napt = false\n[registry.oci]\nmirrors = {{\"vendor.example\" = \"oci:{}\"}}\n",
        layouts.path().display()
    ));
    let project = || {
        let (project, _) = world.on_a_layout("vendor.example/team/base:1", "team");
        fs_err::remove_dir_all(project.path("vendor")).expect("removed");
        project
    };
    mirrored();
    world.not_signed(&project(), "has no signature by the key");
    // The name is that of the spec, wherever its image lies.
    let document = |name: &str| document(name, &world.digest.to_string());
    world.put_simple(&mut mirrored(), "team", &document(&world.name()), At::Tag);
    world.not_signed(&project(), "and not as vendor.example/team/base");
    for at in [At::Tag, At::Entry] {
        world.put_simple(&mut mirrored(), "team", &document("vendor.example/team/base"), at);
        world.environment.run(&project(), &["build"]).success();
    }
    world.put_bundle(&mut mirrored(), "stranger", &world.digest, At::Entry);
    world.not_signed(&project(), "another key");
    world.put_bundle(&mut mirrored(), "team", &world.digest, At::Entry);
    world.environment.run(&project(), &["build"]).success();
}

#[test]
fn what_lies_beside_an_image_in_a_layout_may_be_anything() {
    let Some(world) = World::new("other things in a layout") else { return };
    let (project, mut layout) = world.on_a_layout("oci:vendor/base", "team");
    // What is no manifest, or one of nothing; a file that is no blob; a link; a huge one.
    for bytes in [b"{".as_slice(), b"{\"subject\":1}", b"\xff\xfe", b"[]", b""] {
        layout.blob(bytes);
    }
    let blobs = layout.folder.join("blobs/sha256");
    fs_err::write(blobs.join("README"), "no blob").expect("written");
    fs_err::create_dir(blobs.join(Digest::of("a folder").hex())).expect("a folder");
    std::os::unix::fs::symlink("/etc/passwd", blobs.join(Digest::of("a link").hex())).expect("a link");
    let sparse = fs_err::File::create(blobs.join(Digest::of("a huge one").hex())).expect("a file");
    sparse.set_len(1 << 40).expect("a hole");
    // A referrer whose name is not its digest.
    let bytes = bundle(&world, "team", &world.digest).to_string();
    let forged = oci::encode(&referrer(&world.digest, bytes.as_bytes()));
    fs_err::write(blobs.join(Digest::of("forged").hex()), &forged).expect("written");
    layout.blob(bytes.as_bytes());
    world.not_signed(&project, "has no signature by the key");
    let sig = format!("sha256-{}.sig", world.digest.hex());
    layout.name(oci::MANIFEST, b"{}", &[(oci::REF_NAME, &sig)]);
    world.not_signed(&project, "has no signature by the key");
    // The control.
    layout.blob(&forged);
    world.environment.run(&project, &["build"]).success();
}

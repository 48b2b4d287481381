//! Lists of what an image is made of are held against the image itself.

use std::path::Path;

use bulla_model::{
    DiffId, Digest,
    oci::{self, Descriptor, ImageConfig, Index, Manifest},
};
use bulla_testkit::{
    Deb, Project,
    archive::{TarEntry, tar},
    docker::Registry,
};
use serde_json::Value;

use crate::{
    evidence::{count, report, verdicts},
    world::World,
};

const SPDX: &str = "https://spdx.dev/Document";
const CYCLONEDX: &str = "https://cyclonedx.org/bom";
const SPEC: &str = "\
bulla: 1
name: listed
sources:
  app: {path: app}
image:
  from: {debian: trixie, suites: [trixie], packages: [extra]}
  copy: [{source: app/hello, to: /hello}]
  entrypoint: [/hello]
  user: 65532
";

/// A world with packages, a project whose image is made of them and signed, and the folder with the key `one`.
pub(crate) struct Listed {
    pub(crate) world: World,
    pub(crate) project: Project,
    _keys: tempfile::TempDir,
    pub(crate) private: String,
    pub(crate) public: String,
}

pub(crate) fn listed(test: &str) -> Option<Listed> {
    let mut world = World::new(test)?;
    world.environment = world.environment.set("BULLA_KEY_PASSWORD", "correct horse");
    world.repo.add(&Deb::new("libextra", "3").file("usr/lib/libextra.so", 0o644, "library"));
    world.publish(&Deb::new("extra", "1.5").depends("libextra (>= 2)").file("usr/share/extra/x", 0o644, "extra"));
    let project = Project::with_spec(SPEC).file("app/hello", "hello\n");
    let keys = tempfile::tempdir().expect("a folder");
    let [private, public] = ["one.key", "one.pub"].map(|name| keys.path().join(name).display().to_string());
    world.environment.run(&project, &["key", "generate", "--output", &private]).success();
    let listed = Listed { world, project, _keys: keys, private, public };
    listed.build();
    Some(listed)
}

impl Listed {
    /// Builds and signs.
    pub(crate) fn build(&self) -> String {
        self.world.build(&self.project, &["--sign", &self.private]).success().stdout.trim_end().to_owned()
    }

    fn verify(&self, code: i32, more: &[&str]) -> Value {
        let all = [&["oci:bulla-out", "--key", &self.public], more].concat();
        report(&self.world.environment, &self.project, code, &all)
    }

    /// Builds anew without the usual evidence, and says a predicate of the image, by the right key.
    fn say(&self, kind: &str, predicate: &Value) {
        self.project.write("said.json", predicate.to_string());
        let attest = ["attest", "oci:bulla-out", "--type", kind, "--predicate", "said.json", "--key", &self.private];
        self.world.environment.run(&self.project, &attest).success();
    }

    fn list(&self, format: &str) -> Value {
        let text = self.world.environment.run(&self.project, &["sbom", "--format", format]).success().stdout;
        serde_json::from_str(&text).expect("JSON")
    }
}

/// Gives the sentence of the one list that failed.
#[track_caller]
fn told(report: &Value) -> String {
    let claims = report["claims"].as_array().expect("claims");
    let failed: Vec<&Value> = claims.iter().filter(|claim| claim["verdict"] == "failed").collect();
    assert!(!failed.is_empty() && failed.iter().all(|claim| claim["about"]["kind"] == "consistent"), "{report}");
    failed[0]["detail"].as_str().expect("a sentence").to_owned()
}

#[test]
fn lists_of_a_build_are_as_its_image_is_on_any_machine() {
    let Some(listed) = listed("lists that are consistent") else { return };
    let report = listed.verify(0, &["--require", "consistent-sbom,signature,sbom"]);
    for kind in [SPDX, CYCLONEDX] {
        assert_eq!(count(&report, &format!("consistent {kind}"), "proven"), 2, "{report}");
    }
    // By somebody who did not build it, and without a key: the list is as the image is, and nobody says who made it.
    let stranger = crate::offline();
    let report = crate::evidence::report(&stranger, &listed.project, 7, &["oci:bulla-out"]);
    assert!(
        verdicts(&report).iter().all(|(about, verdict)| !about.starts_with("consistent") || verdict == "not-checked")
    );
    listed.world.build(&listed.project, &[]).success();
    let report =
        crate::evidence::report(&stranger, &listed.project, 7, &["oci:bulla-out", "--require", "consistent-sbom"]);
    assert_eq!(count(&report, &format!("consistent {SPDX}"), "asserted"), 2, "{report}");
}

#[test]
fn a_list_with_a_package_removed_fails_though_the_right_key_signed_it() {
    let Some(listed) = listed("a list with a package removed") else { return };
    listed.world.build(&listed.project, &["--evidence", "none"]).success();
    for (format, kind, names) in [("spdx-2.3", "spdxjson", "packages"), ("cyclonedx-1.6", "cyclonedx", "components")] {
        let mut list = listed.list(format);
        list[names].as_array_mut().expect("a list").retain(|one| one["name"] != "libextra");
        listed.say(kind, &list);
        let report = listed.verify(5, &["--require", "sbom"]);
        assert!(told(&report).contains("1 packages of the image that the list lacks (libextra 3)"), "{report}");
        assert_eq!(
            count(&report, if kind == "cyclonedx" { CYCLONEDX } else { SPDX }, "proven"),
            2,
            "the key did sign it"
        );
        // Nothing is built from evidence that cannot be true.
        let again = ["reproduce", "oci:bulla-out", "--key", &listed.public, "--source", "."];
        let refused = listed.world.environment.run(&listed.project, &again).failure(5);
        assert!(refused.stderr.contains("libextra 3"), "{}", refused.stderr);
        let checklist = ["checklist", "oci:bulla-out", "--key", &listed.public];
        let answers = listed.world.environment.run(&listed.project, &checklist).failure(7).stdout;
        assert!(answers.contains("11  no           Is there a list"), "{answers}");
        listed.world.build(&listed.project, &["--evidence", "none"]).success();
    }
}

#[test]
fn a_list_of_another_image_fails() {
    let Some(listed) = listed("a list of another image") else { return };
    let list = listed.list("spdx-2.3");
    let spec = listed.project.read("bulla.yaml").replace("packages: [extra]", "packages: [libextra, tools]");
    listed.project.write("bulla.yaml", spec);
    listed.world.build(&listed.project, &["--evidence", "none"]).success();
    listed.say("spdxjson", &list);
    let told = told(&listed.verify(5, &["--require", "sbom"]));
    assert!(told.contains("packages of the list that the image has not (extra 1.5)"), "{told}");
    assert!(told.contains("packages of the image that the list lacks (tools 1)"), "{told}");
    assert!(told.contains("/usr/share/extra/x"), "{told}");
}

/// Puts a layer on top of the only image of a layout, without any evidence; gives the digest of what it is then.
fn layer(layout: &Path, entries: &[TarEntry]) -> Digest {
    let blobs = layout.join("blobs/sha256");
    let read = |digest: &Digest| fs_err::read(blobs.join(digest.hex())).expect("a blob");
    let put = |media_type: &str, bytes: &[u8]| {
        fs_err::write(blobs.join(Digest::of(bytes).hex()), bytes).expect("a blob");
        Descriptor::new(media_type, Digest::of(bytes), bytes.len() as u64)
    };
    let mut top: Index =
        serde_json::from_slice(&fs_err::read(layout.join("index.json")).expect("an index")).expect("JSON");
    let mut index: Index = serde_json::from_slice(&read(&top.manifests[0].digest)).expect("an index");
    let mut manifest: Manifest = serde_json::from_slice(&read(&index.manifests[0].digest)).expect("a manifest");
    let mut config: ImageConfig = serde_json::from_slice(&read(&manifest.config.digest)).expect("a configuration");
    let bytes = tar(entries);
    manifest.layers.push(put("application/vnd.oci.image.layer.v1.tar", &bytes));
    config.rootfs.diff_ids.push(DiffId(Digest::of(&bytes)));
    manifest.config = put(oci::CONFIG, &oci::encode(&config));
    let described = put(oci::MANIFEST, &oci::encode(&manifest));
    index.manifests[0] = Descriptor { platform: index.manifests[0].platform.clone(), ..described };
    let described = put(oci::INDEX, &oci::encode(&index));
    top.manifests = vec![Descriptor { annotations: top.manifests[0].annotations.clone(), ..described }];
    fs_err::write(layout.join("index.json"), oci::encode(&top)).expect("an index");
    top.manifests[0].digest
}

#[test]
fn a_database_that_was_deleted_from_the_image_hides_no_package() {
    let Some(listed) = listed("a database that was deleted") else { return };
    let delete = || {
        listed.world.build(&listed.project, &["--evidence", "none"]).success();
        let list = listed.list("spdx-2.3");
        let entries = [("var/lib/dpkg/.wh.status.d", ""), ("etc/os-release", "ID=debian\n")]
            .map(|(path, text)| TarEntry::file(path, 0o644, text));
        layer(&listed.project.path("bulla-out"), &entries);
        list
    };
    // The list that was made before has what is gone.
    listed.say("spdxjson", &delete());
    let report = listed.verify(5, &["--require", "sbom"]);
    for says in
        ["2 packages of the list that the image has not (extra 1.5, libextra 3)", "/var/lib/dpkg/status.d/extra"]
    {
        assert!(told(&report).contains(says), "{report}");
    }
    // One that was made after has nothing, and nobody can tell whether that is so.
    delete();
    listed.say("cyclonedx", &serde_json::json!({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": []}));
    let report = listed.verify(7, &["--require", "sbom,consistent-sbom"]);
    assert_eq!(count(&report, &format!("consistent {CYCLONEDX}"), "not-checked"), 2, "{report}");
    assert!(
        report.to_string().contains("the image says that it is debian, and has no database of packages"),
        "{report}"
    );
}

#[test]
fn layers_of_a_registry_are_read_where_that_is_asked_for() {
    let Some(listed) = listed("lists in a registry") else { return };
    let Some(registry) = Registry::start() else { return };
    let reference = format!("{}/team/listed:1", registry.address());
    listed.world.environment.run(&listed.project, &["push", &reference]).success();
    let verify = |code: i32, more: &[&str]| {
        let all = [&[reference.as_str(), "--key", &listed.public, "--require", "consistent-sbom"], more].concat();
        report(&listed.world.environment, &listed.project, code, &all)
    };
    let unseen = verify(7, &[]);
    assert!(unseen.to_string().contains("its layers were not fetched"), "{unseen}");
    assert_eq!(unseen["required"][0]["reason"], "what there is of it was not checked");
    let seen = verify(0, &["--full"]);
    assert!(count(&seen, &format!("consistent {SPDX}"), "proven") >= 2, "{seen}");
}

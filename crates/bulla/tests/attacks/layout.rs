//! Images of OCI layouts that lie in the project, which builds start from: as they are expected, changed, and leading elsewhere.

use std::path::{Path, PathBuf};

use bulla_model::{
    Digest, Platform,
    oci::{self, Descriptor, Index, Manifest},
};
use bulla_testkit::{
    FakeRegistry, Project, TestEnvironment,
    archive::{TarEntry, gzip, tar},
    process,
};

use crate::{
    base::{build, built, image, knowing, part, project, root, user},
    world::usable,
};

/// An OCI layout that is filled out of a registry.
pub(crate) struct Layout {
    pub(crate) folder: PathBuf,
    entries: Vec<Descriptor>,
}

impl Layout {
    pub(crate) fn new(folder: PathBuf) -> Self {
        fs_err::create_dir_all(folder.join("blobs/sha256")).expect("a folder");
        fs_err::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("written");
        let layout = Self { folder, entries: Vec::new() };
        layout.write();
        layout
    }

    /// One at `vendor/base` of a project, with an image of the registry under its tag.
    pub(crate) fn vendored(project: &Project, registry: &FakeRegistry, tag: &str) -> Self {
        let mut layout = Self::new(project.path("vendor/base"));
        layout.take(registry, tag, Some(tag));
        layout
    }

    fn write(&self) {
        fs_err::write(self.folder.join("index.json"), oci::encode(&Index::new(self.entries.clone()))).expect("written");
    }

    pub(crate) fn blob(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        fs_err::write(self.folder.join("blobs/sha256").join(digest.hex()), bytes).expect("written");
        digest
    }

    /// Adds a manifest to the index, in place of what has its name.
    pub(crate) fn name(&mut self, media_type: &str, bytes: &[u8], annotations: &[(&str, &str)]) -> Digest {
        let mut entry = Descriptor::new(media_type, self.blob(bytes), bytes.len() as u64);
        entry.annotations = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let name = entry.annotations.get(oci::REF_NAME).cloned();
        self.entries.retain(|other| name.is_none() || other.annotations.get(oci::REF_NAME) != name.as_ref());
        self.entries.push(entry);
        self.write();
        Digest::of(bytes)
    }

    /// Takes an index out of a registry with all that is there of it.
    pub(crate) fn take(&mut self, registry: &FakeRegistry, tag: &str, name: Option<&str>) -> Digest {
        let bytes = registry.manifest("team/base", tag).expect("an index");
        let index: Index = serde_json::from_slice(&bytes).expect("an index");
        for entry in &index.manifests {
            let Some(bytes) = registry.manifest("team/base", &entry.digest.to_string()) else { continue };
            self.blob(&bytes);
            let manifest: Manifest = serde_json::from_slice(&bytes).expect("a manifest");
            for blob in std::iter::once(&manifest.config).chain(&manifest.layers) {
                self.blob(&registry.blob("team/base", &blob.digest).expect("a blob"));
            }
        }
        let annotations: Vec<_> = name.iter().map(|name| (oci::REF_NAME, *name)).collect();
        self.name(oci::INDEX, &bytes, &annotations)
    }
}

/// An environment that knows no registry at all.
fn environment() -> TestEnvironment {
    let environment = TestEnvironment::new(env!("CARGO_BIN_EXE_bulla"));
    environment.write_config("[registry.debian]\napt = false\n");
    environment
}

/// A project that starts from something.
pub(crate) fn starting_from(reference: &str) -> Project {
    let registry = FakeRegistry::start();
    let project = project(&registry, "1", "source: app, to: /srv/app", &user(""));
    let spec = project.read("bulla.yaml").replace(&format!("{}/team/base:1", registry.address()), reference);
    assert!(spec.contains(reference));
    project.write("bulla.yaml", spec);
    project
}

#[test]
fn a_layout_of_the_project_is_built_on_without_a_registry() {
    let registry = FakeRegistry::start();
    let base = image(&registry, "1", &[root()]);
    let project = starting_from("oci:vendor/base:1");
    let mut layout = Layout::vendored(&project, &registry, "1");
    let environment = environment();
    let digest = build(&environment, &project).success().stdout;
    let (manifest, config) = built(&project);
    assert_eq!(manifest.layers[..1], base.layers, "the layers of the base are as they were");
    assert_eq!(config.config.working_dir, "/srv");
    // The name is a path of this project, and nothing that others could follow.
    assert!(!manifest.annotations.contains_key(oci::BASE_NAME), "{:?}", manifest.annotations);
    let top = Digest::of(registry.manifest("team/base", "1").expect("the base"));
    assert_eq!(manifest.annotations.get(oci::BASE_DIGEST), Some(&top.to_string()));
    let lock = project.read("bulla.lock");
    assert!(lock.contains("reference = \"oci:vendor/base:1\"") && lock.contains(&top.to_string()), "{lock}");
    assert_eq!(environment.run(&project, &["build", "--locked"]).success().stdout, digest);
    // Another name in the layout is nothing to this image, and without a name it is the only one.
    image(&registry, "2", &[root(), vec![TarEntry::file("x", 0o644, "x")]]);
    let unnamed = starting_from("oci:vendor/base");
    Layout::vendored(&unnamed, &registry, "1");
    build(&environment, &unnamed).success();
    layout.take(&registry, "2", Some("2"));
    assert_eq!(environment.run(&project, &["build", "--locked"]).success().stdout, digest);
    let Layout { folder, .. } = Layout::vendored(&unnamed, &registry, "1");
    fs_err::copy(layout.folder.join("index.json"), folder.join("index.json")).expect("copied");
    let which = environment.run(&unnamed, &["lock", "--update"]).failure(3);
    assert!(which.stderr.contains("has 2 images") && which.stderr.contains("oci:DIR:NAME"), "{}", which.stderr);
    let nowhere = build(&environment, &starting_from("oci:vendor/base:3")).failure(3);
    assert!(
        nowhere.stderr.contains("the folder vendor/base of `oci:vendor/base:3` is not there"),
        "{}",
        nowhere.stderr
    );
    project.write("bulla.yaml", project.read("bulla.yaml").replace("base:1", "base:3"));
    let no_name = build(&environment, &project).failure(3);
    assert!(no_name.stderr.contains("no image of the name `3`"), "{}", no_name.stderr);
}

#[test]
fn a_layout_has_the_image_of_each_platform() {
    use Platform::{LinuxAmd64, LinuxArm64};
    let registry = FakeRegistry::start();
    let parts = [LinuxAmd64, LinuxArm64].map(|platform| {
        let entries = [root(), vec![TarEntry::file("usr/bin/machine", 0o755, platform.to_string())]].concat();
        part(&registry, (platform, platform), &[(gzip(&tar(&entries)), Digest::of(tar(&entries)))]).0
    });
    registry.put_manifest("team/base", "two", oci::INDEX, &oci::encode(&Index::new(parts.to_vec())));
    let project = starting_from("oci:vendor/base:two");
    project.write(
        "bulla.yaml",
        project.read("bulla.yaml").replace("sources:", "platforms: [linux/amd64, linux/arm64]\nsources:"),
    );
    Layout::vendored(&project, &registry, "two");
    build(&environment(), &project).success();
    let lock = project.read("bulla.lock");
    for part in parts {
        assert!(lock.contains(&format!("manifest = \"{}\"", part.digest)), "{lock}");
    }
}

#[test]
fn a_stage_starts_from_a_layout_of_the_project() {
    let Some(busybox) = usable("a stage on a layout") else { return };
    let registry = FakeRegistry::start();
    let shell = fs_err::read(busybox).expect("busybox");
    let entries = vec![
        TarEntry::directory("bin/", 0o755),
        TarEntry::file("bin/busybox", 0o755, &shell),
        TarEntry::symlink("bin/sh", "busybox"),
        TarEntry::file("content", 0o644, "of the layout"),
    ];
    image(&registry, "1", &[entries]);
    let project = Project::with_spec(
        "bulla: 1
name: shop
sources:
  app: {path: app}
stages:
  build:
    from: {image: 'oci:vendor/base:1'}
    steps:
      - busybox cp /content out
    outputs: {out: /src/app/out}
image:
  from: {scratch: {}}
  copy:
    - {output: build.out, to: /out}
  user: 65532
",
    )
    .file("app/x", "x");
    Layout::vendored(&project, &registry, "1");
    let environment = environment();
    build(&environment, &project).success();
    let explained = environment.run(&project, &["explain", "build"]).success().stdout;
    assert!(explained.contains("build: base oci:vendor/base:1"), "{explained}");
}

#[test]
fn a_layout_that_changed_since_the_lock_is_refused_with_both_digests() {
    let registry = FakeRegistry::start();
    image(&registry, "1", &[root()]);
    let project = starting_from("oci:vendor/base:1");
    let mut layout = Layout::vendored(&project, &registry, "1");
    let environment = environment();
    build(&environment, &project).success();
    let digest = |tag: &str| Digest::of(registry.manifest("team/base", tag).expect("an index")).to_string();
    let before = digest("1");
    image(&registry, "2", &[root(), vec![TarEntry::file("evil", 0o644, "x")]]);
    let now = layout.take(&registry, "2", Some("1")).to_string();
    // Neither with the old image in the store, nor in an empty one, nor with `--locked`.
    let cold = self::environment();
    for (environment, arguments) in
        [(&environment, &["build"][..]), (&environment, &["build", "--locked"]), (&cold, &["build"])]
    {
        let ran = environment.run(&project, arguments).failure(5);
        assert!(ran.stderr.contains(&before) && ran.stderr.contains(&now), "{}", ran.stderr);
        assert!(ran.stderr.contains("bulla lock --update 'oci:vendor/base'"), "{}", ran.stderr);
    }
    assert!(project.read("bulla.lock").contains(&before));
    environment.run(&project, &["lock", "--update", "oci:vendor/base"]).success();
    let lock = project.read("bulla.lock");
    assert!(lock.contains(&now) && !lock.contains(&before), "{lock}");
    build(&environment, &project).success();
    // A digest in the spec is what counts, whatever has the name.
    project.write("bulla.yaml", project.read("bulla.yaml").replace("base:1'", &format!("base:1@{before}'")));
    let gone = build(&environment, &project).failure(3);
    assert!(gone.stderr.contains(&format!("no image of the name `{before}`")), "{}", gone.stderr);
    layout.take(&registry, "1", None);
    build(&environment, &project).success();
    assert!(project.read("bulla.lock").contains(&format!("oci:vendor/base:1@{before}")));
}

#[test]
fn a_layout_may_be_gone_when_all_of_it_is_in_the_store() {
    let registry = FakeRegistry::start();
    let base = image(&registry, "1", &[root()]);
    let project = starting_from("oci:vendor/base:1");
    let layout = Layout::vendored(&project, &registry, "1");
    let environment = environment();
    let digest = build(&environment, &project).success().stdout;
    // What was changed there is no base.
    let blob = layout.folder.join("blobs/sha256").join(base.layers[0].digest.hex());
    let mut bytes = fs_err::read(&blob).expect("a layer");
    let last = bytes.len() - 9;
    bytes[last] ^= 1;
    fs_err::write(&blob, bytes).expect("written");
    let cold = self::environment();
    let changed = build(&cold, &project).failure(5);
    assert!(changed.stderr.contains(&base.layers[0].digest.hex()), "{}", changed.stderr);
    fs_err::remove_dir_all(&layout.folder).expect("removed");
    assert_eq!(environment.run(&project, &["build", "--locked"]).success().stdout, digest);
    let gone = build(&cold, &project).failure(3);
    assert!(gone.stderr.contains("is not there"), "{}", gone.stderr);
}

/// Makes one path a link to another place.
fn link(at: &Path, target: &Path) {
    std::os::unix::fs::symlink(target, at).expect("a link");
}

#[test]
fn a_spec_reads_no_layout_outside_of_its_project() {
    let registry = FakeRegistry::start();
    image(&registry, "1", &[root()]);
    let environment = environment();
    let elsewhere = tempfile::tempdir().expect("a folder");
    let mut outside = Layout::new(elsewhere.path().join("base"));
    outside.take(&registry, "1", Some("1"));
    let absolute = format!("oci:{}:1", outside.folder.display());
    for reference in [absolute.as_str(), "oci:../base:1", "oci:vendor/../../base:1", "oci-archive:base.tar:1"] {
        let ran = build(&environment, &starting_from(reference)).failure(3);
        assert!(ran.stderr.contains("is not a reference to an image"), "{}", ran.stderr);
    }
    let refused = |prepare: &dyn Fn(&Project), code: i32, says: &str| {
        let project = starting_from("oci:vendor/base:1");
        fs_err::create_dir(project.path("vendor")).expect("a folder");
        prepare(&project);
        let ran = build(&environment, &project).failure(code);
        assert!(ran.stderr.contains(says), "no `{says}` in {}", ran.stderr);
        assert!(!project.path("bulla.lock").exists() && !project.path("bulla-out").exists());
    };
    let own = |project: &Project| Layout::vendored(project, &registry, "1").folder;
    refused(&|project| link(&project.path("vendor/base"), &outside.folder), 3, "outside of the project");
    refused(
        &|project| {
            fs_err::remove_dir(project.path("vendor")).expect("removed");
            link(&project.path("vendor"), elsewhere.path());
        },
        3,
        "outside of the project",
    );
    refused(&|project| link(&project.path("vendor/base"), project.root()), 3, "outside of the project");
    for part in ["blobs", "blobs/sha256", "index.json", "oci-layout"] {
        refused(
            &|project| {
                let place = own(project).join(part);
                if place.is_dir() {
                    fs_err::remove_dir_all(&place).expect("removed");
                } else {
                    fs_err::remove_file(&place).expect("removed");
                }
                link(&place, &outside.folder.join(part));
            },
            4,
            part.split('/').next().unwrap_or_default(),
        );
    }
    refused(&|project| drop(project.write("vendor/base", "a file")), 3, "is not a folder");
    refused(
        &|project| {
            let index = own(project).join("index.json");
            fs_err::remove_file(&index).expect("removed");
            process::output(std::process::Command::new("mkfifo").arg(&index)).expect("a pipe");
        },
        4,
        "index.json",
    );
    // The controls: a link that stays in the project, and the layout itself.
    let project = starting_from("oci:vendor/base:1");
    let mut inside = Layout::new(project.path("images/base"));
    inside.take(&registry, "1", Some("1"));
    fs_err::create_dir(project.path("vendor")).expect("a folder");
    link(&project.path("vendor/base"), Path::new("../images/base"));
    build(&environment, &project).success();
}

#[test]
fn a_registry_is_not_asked_for_what_a_layout_of_the_project_has() {
    let registry = FakeRegistry::start();
    image(&registry, "1", &[root()]);
    // A host of this name could be known to the configuration.
    let project = starting_from("oci:5000/base:1");
    let mut layout = Layout::new(project.path("5000/base"));
    layout.take(&registry, "1", Some("1"));
    registry.forget_requests();
    build(&knowing(&registry), &project).success();
    assert!(registry.requests().is_empty());
}

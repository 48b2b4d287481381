//! Images of registries that builds start from: good ones in all they may have, and hostile ones.

use std::io::Write as _;

use bulla_model::{
    DiffId, Digest, Epoch, Platform,
    oci::{self, Descriptor, History, ImageConfig, Index, Manifest, Runtime},
};
use bulla_testkit::{
    FakeRegistry, Project, Ran, TestEnvironment,
    archive::{TarEntry, gzip, tar},
    hostile,
};

use crate::world::usable;

/// An environment whose configuration names a registry.
pub(crate) fn knowing(registry: &FakeRegistry) -> TestEnvironment {
    let environment = TestEnvironment::new(env!("CARGO_BIN_EXE_bulla"));
    let local = format!("[registry.debian]\napt = false\n[registry.oci]\nlocal = [\"{}\"]\n", registry.address());
    environment.write_config(&local);
    environment
}

fn runtime() -> Runtime {
    Runtime {
        user: "root".into(),
        env: vec!["PATH=/usr/bin".into(), "LEVEL=base".into()],
        entrypoint: vec!["/usr/bin/tool".into()],
        cmd: vec!["--help".into()],
        working_dir: "/srv".into(),
        ..Runtime::default()
    }
}

/// Puts an image there whose layers are these blobs with these uncompressed digests.
fn put(registry: &FakeRegistry, tag: &str, blobs: &[(Vec<u8>, Digest)]) -> Manifest {
    let (entry, manifest) = part(registry, (Platform::LinuxAmd64, Platform::LinuxAmd64), blobs);
    let mut other = Descriptor::new(oci::MANIFEST, Digest::of("another machine"), 7);
    other.platform = Some(Platform::LinuxArm64.into());
    registry.put_manifest("team/base", tag, oci::INDEX, &oci::encode(&Index::new(vec![other, entry])));
    manifest
}

/// Puts the image for one platform there: what an index and what its configuration say of that.
pub(crate) fn part(
    registry: &FakeRegistry,
    (said, platform): (Platform, Platform),
    blobs: &[(Vec<u8>, Digest)],
) -> (Descriptor, Manifest) {
    let mut config = ImageConfig::new(platform, Epoch::default(), runtime());
    let mut layers = Vec::new();
    for (blob, plain) in blobs {
        config.rootfs.diff_ids.push(DiffId(*plain));
        config.history.push(History { created_by: Some("the base".into()), ..History::default() });
        config.history.push(History { created_by: Some("ENV x".into()), empty_layer: true, ..History::default() });
        layers.push(Descriptor::new(oci::LAYER_GZIP, registry.put_blob("team/base", blob), blob.len() as u64));
    }
    let (config, bytes) = oci::encode_described(oci::CONFIG, &config);
    registry.put_blob("team/base", &bytes);
    let manifest = Manifest::new(config, layers);
    let (mut entry, bytes) = oci::encode_described(oci::MANIFEST, &manifest);
    registry.put_manifest("team/base", &entry.digest.hex()[..12], oci::MANIFEST, &bytes);
    entry.platform = Some(said.into());
    (entry, manifest)
}

pub(crate) fn image(registry: &FakeRegistry, tag: &str, layers: &[Vec<TarEntry>]) -> Manifest {
    let blobs: Vec<_> = layers.iter().map(|entries| (gzip(&tar(entries)), Digest::of(tar(entries)))).collect();
    put(registry, tag, &blobs)
}

/// What every base of these tests has.
pub(crate) fn root() -> Vec<TarEntry> {
    vec![
        TarEntry::directory("usr/", 0o755),
        TarEntry::directory("usr/bin/", 0o755),
        TarEntry::symlink("bin", "usr/bin"),
        TarEntry::file("usr/bin/tool", 0o755, "tool"),
        TarEntry::directory("tmp/", 0o1777),
        TarEntry::directory("etc/", 0o750).owned_by(0, 42),
        TarEntry::file("etc/passwd", 0o644, "root:x:0:0::/:/bin/sh\nweb:x:33:33::/:/bin/sh\n"),
        TarEntry::file("etc/group", 0o644, "root:x:0:\n"),
    ]
}

pub(crate) fn project(registry: &FakeRegistry, tag: &str, copy: &str, more: &str) -> Project {
    let reference = format!("{}/team/base:{tag}", registry.address());
    let spec = format!(
        "bulla: 1
name: shop
sources:
  app: {{path: app}}
image:
  from: {{image: '{reference}'}}
  copy:
    - {{{copy}}}
{more}"
    );
    Project::with_spec(&spec).program("app/run", "#!/bin/true\n")
}

pub(crate) fn user(more: &str) -> String {
    format!("  user: 65532\n{more}")
}

pub(crate) fn build(environment: &TestEnvironment, project: &Project) -> Ran {
    environment.run(project, &["build"])
}

/// Reads the manifest and the configuration of the image that was built.
pub(crate) fn built(project: &Project) -> (Manifest, ImageConfig) {
    let blob =
        |digest: &Digest| fs_err::read(project.path("bulla-out/blobs/sha256").join(digest.hex())).expect("a blob");
    let top: Index = serde_json::from_str(&project.read("bulla-out/index.json")).expect("an index");
    let index: Index = serde_json::from_slice(&blob(&top.manifests[0].digest)).expect("an index");
    let manifest: Manifest = serde_json::from_slice(&blob(&index.manifests[0].digest)).expect("a manifest");
    let config = serde_json::from_slice(&blob(&manifest.config.digest)).expect("a configuration");
    (manifest, config)
}

#[test]
fn an_image_for_two_platforms_stands_on_the_base_of_each() {
    use Platform::{LinuxAmd64, LinuxArm64};
    let registry = FakeRegistry::start();
    let environment = knowing(&registry);
    let base = |said: Platform, platform: Platform| {
        let entries = [root(), vec![TarEntry::file("usr/bin/machine", 0o755, platform.to_string())]].concat();
        part(&registry, (said, platform), &[(gzip(&tar(&entries)), Digest::of(tar(&entries)))])
    };
    let (amd64, arm64) = (base(LinuxAmd64, LinuxAmd64), base(LinuxArm64, LinuxArm64));
    let index = |tag: &str, entries: Vec<Descriptor>| {
        registry.put_manifest("team/base", tag, oci::INDEX, &oci::encode(&Index::new(entries)));
        let project = project(&registry, tag, "source: app, to: /srv/app", &user(""));
        let spec = project.read("bulla.yaml").replace("sources:", "platforms: [linux/amd64, linux/arm64]\nsources:");
        project.write("bulla.yaml", spec);
        project
    };
    let good = index("two", vec![amd64.0.clone(), arm64.0]);
    build(&environment, &good).success();
    assert_eq!(good.read("bulla.lock").matches("/team/base:two\"").count(), 2, "one entry for each platform");
    let read = |digest: &Digest| good.read(&format!("bulla-out/blobs/sha256/{}", digest.hex()));
    let top: Index = serde_json::from_str(&good.read("bulla-out/index.json")).expect("an index");
    let made: Index = serde_json::from_str(&read(&top.manifests[0].digest)).expect("an index");
    for (entry, base) in made.manifests.iter().zip([&amd64.1, &arm64.1]) {
        let manifest: Manifest = serde_json::from_str(&read(&entry.digest)).expect("a manifest");
        assert_eq!(manifest.layers[..1], base.layers);
    }
    let none = build(&environment, &index("one", vec![amd64.0.clone()])).failure(3);
    assert!(none.stderr.contains("is not for linux/arm64"), "{}", none.stderr);
    let lies = build(&environment, &index("lies", vec![amd64.0, base(LinuxArm64, LinuxAmd64).0])).failure(3);
    assert!(lies.stderr.contains("is for linux/amd64, and not for linux/arm64"), "{}", lies.stderr);
}

#[test]
fn an_image_on_a_base_keeps_its_layers_and_has_its_own_on_top() {
    let registry = FakeRegistry::start();
    let base = image(&registry, "1", &[root(), vec![TarEntry::file("usr/bin/.wh.tool", 0o644, "")]]);
    let environment = knowing(&registry);
    let project = project(&registry, "1", "source: app, to: /srv/app", &user("  env: {LEVEL: shop, NEW: 'yes'}\n"));
    let digest = build(&environment, &project).success().stdout;
    let (manifest, config) = built(&project);
    assert_eq!(manifest.layers[..2], base.layers, "the layers of the base are as they were");
    assert_eq!((manifest.layers.len(), config.rootfs.diff_ids.len()), (3, 3));
    assert_eq!(config.history.iter().filter(|made| !made.empty_layer).count(), 3, "{:?}", config.history);
    assert_eq!(config.history[0].created_by.as_deref(), Some("the base"));
    let run = &config.config;
    assert_eq!((run.user.as_str(), run.working_dir.as_str()), ("65532", "/srv"));
    assert_eq!(
        (run.entrypoint.as_slice(), run.cmd.as_slice()),
        (&["/usr/bin/tool".into()][..], &["--help".into()][..])
    );
    assert_eq!(run.env, ["PATH=/usr/bin", "LEVEL=shop", "NEW=yes"]);
    // Both digests of every layer are right, and the base is named.
    let shown = environment.run(&project, &["inspect", "--files"]).success().stdout;
    let lock = project.read("bulla.lock");
    let pinned =
        lock.lines().find_map(|line| line.strip_prefix("digest = ")).expect("a digest").trim_matches('"').to_owned();
    let named = format!("  base        {}/team/base:1 {pinned}\n", registry.address());
    assert!(shown.contains(&named) && shown.contains("/srv/app/run"), "{shown}");
    // It is built again without the registry, and by `--locked`.
    registry.forget_requests();
    assert_eq!(environment.run(&project, &["build", "--locked"]).success().stdout, digest);
    assert!(registry.requests().is_empty(), "all is in the store");
    let elsewhere = knowing(&registry);
    assert_eq!(elsewhere.run(&project, &["build", "--locked"]).success().stdout, digest, "a fresh store fetches it");
    assert!(registry.requests().iter().all(|one| !one.target.ends_with("/manifests/1")), "by digest, not by tag");
}

#[test]
fn a_tag_moves_only_when_the_lock_is_updated() {
    let registry = FakeRegistry::start();
    image(&registry, "1", &[root()]);
    let environment = knowing(&registry);
    let project = project(&registry, "1", "source: app, to: /srv/app", &user(""));
    let first = build(&environment, &project).success().stdout;
    image(&registry, "1", &[root(), vec![TarEntry::file("new", 0o644, "new")]]);
    assert_eq!(build(&environment, &project).success().stdout, first, "the lock holds");
    let lock = project.read("bulla.lock");
    let name = format!("{}/team/base", registry.address());
    let updated = environment.run(&project, &["lock", "--update", &name]).success();
    assert!(updated.stderr.contains("  ~ ") && updated.stderr.contains(&name), "{}", updated.stderr);
    assert_ne!(project.read("bulla.lock"), lock);
    assert_ne!(build(&environment, &project).success().stdout, first);
    environment.run(&project, &["lock", "--update", "no-such/image"]).failure(3);
    // Another reference in the spec is another image, which `--locked` does not resolve.
    let spec = project.read("bulla.yaml").replace("team/base:1", "team/base:2");
    project.write("bulla.yaml", spec);
    let stale = environment.run(&project, &["build", "--locked"]).failure(7);
    assert!(stale.stderr.contains("team/base:2"), "{}", stale.stderr);
    environment.run(&project, &["build"]).failure(3);
}

#[test]
fn links_and_directories_of_a_base_stay_what_they_are() {
    let registry = FakeRegistry::start();
    image(&registry, "1", &[root()]);
    let environment = knowing(&registry);
    let listing = |copy: &str, more: &str| {
        let project = project(&registry, "1", copy, &user(more));
        build(&environment, &project).success();
        environment
            .run(&project, &["inspect", "--files"])
            .success()
            .stdout
            .split("\n  2  ")
            .nth(1)
            .expect("our layer")
            .to_owned()
    };
    let through = listing("source: app/run, to: /bin/run", "");
    assert!(through.contains("/usr/bin/run") && !through.contains(" /bin"), "{through}");
    let tmp = listing("source: app, to: /tmp/app", "");
    assert!(tmp.lines().any(|line| line.contains("1777") && line.ends_with("/tmp")), "{tmp}");
    let users = listing("source: app, to: /srv/app", "  users: [{name: shop, uid: 1000}]\n");
    assert!(
        users.lines().any(|line| line.contains("0750") && line.contains("0:42") && line.ends_with("/etc")),
        "{users}"
    );
    // The whole root is copied over, with a directory where the base has a link.
    let project = project(&registry, "1", "source: app, to: /", &user("")).program("app/bin/run", "x");
    let refused = build(&environment, &project).failure(3);
    assert!(refused.stderr.contains("`bin`"), "{}", refused.stderr);
}

#[test]
fn who_runs_it_is_the_specs_to_say_and_known_in_the_base() {
    let registry = FakeRegistry::start();
    image(&registry, "1", &[root()]);
    let environment = knowing(&registry);
    let with = |more: &str| build(&environment, &project(&registry, "1", "source: app, to: /srv/app", more));
    let silent = with("").failure(3);
    assert!(
        silent.stderr.contains("does not say who runs it"),
        "root of the base is not taken over: {}",
        silent.stderr
    );
    with("  user: web\n").success();
    with("  user: nobody-knows\n").failure(3);
    with("  user: shop\n  users: [{name: shop, uid: 1000}]\n").success();
}

#[test]
fn a_spec_cannot_send_requests_to_this_machine_or_its_link() {
    let registry = FakeRegistry::start();
    image(&registry, "1", &[root()]);
    let environment = TestEnvironment::new(env!("CARGO_BIN_EXE_bulla"));
    let project = project(&registry, "1", "source: app, to: /srv/app", &user(""));
    let refused = build(&environment, &project).failure(7);
    assert!(refused.stderr.contains("[registry.oci]"), "{}", refused.stderr);
    for host in ["169.254.169.254", "localhost:80", "[::1]:80", "0.0.0.0:80", "[::ffff:127.0.0.1]:80"] {
        let spec = project.read("bulla.yaml").replace(&registry.address(), host);
        let other = Project::with_spec(&spec).program("app/run", "");
        build(&environment, &other).failure(7);
    }
    assert!(registry.requests().is_empty());
    build(&knowing(&registry), &project).success();
}

#[test]
fn wrong_digests_of_a_base_are_refused_wherever_they_are() {
    let registry = FakeRegistry::start();
    let (good, plain) = (gzip(&tar(&root())), Digest::of(tar(&root())));
    put(&registry, "wrong-diff-id", &[(good.clone(), Digest::of("another"))]);
    put(&registry, "good", &[(good.clone(), plain)]);
    let environment = knowing(&registry);
    let with = |tag: &str| build(&environment, &project(&registry, tag, "source: app, to: /srv/app", &user("")));
    let refused = with("wrong-diff-id").failure(5);
    assert!(refused.stderr.contains("the uncompressed layer"), "{}", refused.stderr);
    with("good").success();
    // Fewer layers in the configuration than in the manifest.
    let mut manifest = put(&registry, "few", &[(good, plain)]);
    manifest.layers.push(manifest.layers[0].clone());
    registry.put_manifest("team/base", "few", oci::MANIFEST, &oci::encode(&manifest));
    with("few").failure(5);
    // For another machine alone.
    let mut entry = Descriptor::new(oci::MANIFEST, Digest::of("x"), 1);
    entry.platform = Some(oci::PlatformFields { architecture: "s390x".into(), os: "linux".into(), variant: None });
    registry.put_manifest("team/base", "other", oci::INDEX, &oci::encode(&Index::new(vec![entry])));
    assert!(with("other").failure(3).stderr.contains("not for linux/amd64"));
    // What is in the store is damaged: it is fetched again, or refused, and never used.
    let registry_gives_other = FakeRegistry::start();
    image(&registry_gives_other, "1", &[root()]);
    registry_gives_other.fault("GET", "/blobs/", 99, bulla_testkit::RegistryFault::Body(b"other".to_vec()));
    let refused = project(&registry_gives_other, "1", "source: app, to: /srv/app", &user(""));
    build(&knowing(&registry_gives_other), &refused).failure(5);
}

#[test]
fn what_no_unpacker_may_follow_is_refused_in_a_base() {
    let registry = FakeRegistry::start();
    let environment = knowing(&registry);
    let with = |tag: &str| build(&environment, &project(&registry, tag, "source: app, to: /srv/app", &user("")));
    let mut hostile: Vec<(&str, Vec<TarEntry>)> = hostile::tar_entries();
    // As for all who unpack images, the last of two counts, an absolute path is one from the image's root, and a NUL ends a name.
    hostile.retain(|(what, _)| !matches!(*what, "a duplicate" | "an absolute path" | "a NUL in a long name"));
    hostile.extend([
        ("a whiteout that climbs", vec![TarEntry::file("usr/../../.wh.etc", 0o644, "")]),
        ("a whiteout of what is above", vec![TarEntry::file(".wh...", 0o644, "")]),
        ("a hard link to a directory", vec![TarEntry::directory("d/", 0o755), TarEntry::hardlink("h", "d")]),
        ("a file beneath a file", vec![TarEntry::file("f", 0o644, "x"), TarEntry::file("f/g", 0o644, "x")]),
    ]);
    for (number, (what, entries)) in hostile.into_iter().enumerate() {
        let tag = format!("h{number}");
        image(&registry, &tag, &[root(), entries]);
        let ran = with(&tag);
        assert!(matches!(ran.code, Some(3..=5)), "{what}: {:?} {}", ran.code, ran.stderr);
    }
    // A layer that goes through a link of the layer below.
    image(&registry, "through", &[root(), vec![TarEntry::file("bin/owned", 0o755, "x")]]);
    let refused = with("through").failure(5);
    assert!(refused.stderr.contains("lies beneath a symbolic link"), "{}", refused.stderr);
    image(&registry, "control", &[root(), vec![TarEntry::file("usr/bin/own", 0o755, "x")]]);
    with("control").success();
    environment.run(&Project::new(), &["store", "verify", "--full"]).success();
}

#[test]
fn a_layer_that_unfolds_to_far_more_than_it_is_is_refused() {
    let registry = FakeRegistry::start();
    // 2 GiB of zeros in 2 MB.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    let size = 2_u64 << 30;
    let header = tar(&[TarEntry { claimed_size: Some(size), ..TarEntry::file("bomb", 0o644, "") }]);
    encoder.write_all(&header[..512]).expect("writing to memory");
    let zeros = vec![0; 1 << 20];
    for _ in 0..size >> 20 {
        encoder.write_all(&zeros).expect("writing to memory");
    }
    encoder.write_all(&zeros[..1024]).expect("writing to memory");
    put(&registry, "bomb", &[(encoder.finish().expect("writing to memory"), Digest::of("whatever"))]);
    let bombed = project(&registry, "bomb", "source: app, to: /srv/app", &user(""));
    let refused = build(&knowing(&registry), &bombed).failure(5);
    assert!(refused.stderr.contains("uncompressed bytes"), "{}", refused.stderr);
}

/// The attribute of capabilities, as a `pax` record names it.
const CAPABILITY: &str = "SCHILY.xattr.security.capability";

/// Gives the bytes of capabilities: a word that says the revision and whether they are in effect, and words of bits.
fn capability(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// The names of attributes that files beneath a folder have.
fn attributes(folder: &std::path::Path) -> std::collections::BTreeSet<String> {
    let mut found = std::collections::BTreeSet::new();
    for file in crate::world::files(folder) {
        let mut names = vec![0; 4096];
        let length = rustix::fs::llistxattr(&file, &mut names).unwrap_or_default();
        found.extend(
            names[..length]
                .split(|b| *b == 0)
                .filter(|n| !n.is_empty())
                .map(|n| String::from_utf8_lossy(n).into_owned()),
        );
    }
    found
}

#[test]
fn extended_attributes_of_a_base_stay_in_its_layers_and_reach_no_step() {
    let Some(busybox) = usable("extended attributes of a base") else { return };
    let registry = FakeRegistry::start();
    let raw = capability(&[0x0200_0001, 1 << 13, 0, 0, 0]);
    let file = |name: &str| TarEntry::file(name, 0o755, name);
    let layer = [
        root(),
        vec![
            TarEntry::file("bin/busybox", 0o755, fs_err::read(busybox).expect("busybox")).record(CAPABILITY, &raw),
            TarEntry::symlink("usr/bin/sh", "busybox").record(CAPABILITY, &raw),
            TarEntry::directory("srv/", 0o755).record(CAPABILITY, &raw).record("SCHILY.xattr.user.overlay.opaque", "y"),
            file("srv/old").record(CAPABILITY, capability(&[0x0100_0000, 1, 0])),
            file("srv/other").record(CAPABILITY, capability(&[0x0300_0001, 1 << 13, 0, 0, 0, 1000])),
            file("srv/short").record(CAPABILITY, &raw[..19]),
            file("srv/long").record(CAPABILITY, vec![7; 60_000]),
            file("srv/twice").record(CAPABILITY, capability(&[0x0200_0000, 1, 0, 0, 0])).record(CAPABILITY, &raw),
            file("srv/taken").record(CAPABILITY, &raw).record(CAPABILITY, ""),
            file("srv/notes")
                .record("SCHILY.xattr.user.note", "an input that no manifest tells")
                .record("SCHILY.xattr.trusted.overlay.redirect", "/etc")
                .record("SCHILY.xattr.user.overlay.metacopy", ""),
            file("srv/odd").record(b"SCHILY.xattr.user.\x1b[2J\xff", "x"),
        ],
    ]
    .concat()
    .into_iter()
    .map(|entry| {
        if entry.name == b"bin/busybox" { TarEntry { name: b"usr/bin/busybox".to_vec(), ..entry } } else { entry }
    });
    let base = image(&registry, "1", &[layer.collect()]);
    let environment = knowing(&registry);
    let staged = "stages:
  build:
    from: {image: 'REFERENCE'}
    steps:
      - busybox cp -a /srv /src/app/copied; busybox ls /srv > list
    outputs: {copied: /src/app/copied}
";
    let reference = format!("{}/team/base:1", registry.address());
    let on_base = project(&registry, "1", "output: build.copied, to: /copied", &user(""));
    let spec = on_base
        .read("bulla.yaml")
        .replace("image:\n  from", &format!("{}image:\n  from", staged.replace("REFERENCE", &reference)));
    on_base.write("bulla.yaml", spec);
    let ran = build(&environment, &on_base).success();
    let told = "extended attributes, which steps do not see: security.capability (8), trusted.overlay.redirect (1)";
    assert!(ran.stderr.contains(told) && !ran.stderr.contains('\x1b'), "{}", ran.stderr);
    assert_eq!(built(&on_base).0.layers[..1], base.layers, "the layers of the base are as they were");
    let listed = environment.run(&on_base, &["inspect", "--files"]).success().stdout;
    let of = |path: &str| {
        let line = listed.lines().rfind(|line| line.split_whitespace().any(|word| word == path));
        let told = line.unwrap_or_else(|| panic!("{path} is not in {listed}")).split_once("  [");
        told.map(|(_, told)| told.trim_end_matches(']').to_owned())
    };
    let net_raw = Some("cap_net_raw=ep".to_owned());
    assert_eq!(of("/srv/old").as_deref(), Some("cap_chown=p"));
    assert_eq!(of("/srv/other").as_deref(), Some("cap_net_raw=ep [rootid=1000"));
    assert_eq!(
        of("/srv/short").as_deref(),
        Some("not valid: the 19 bytes are no file capabilities of a revision that is known")
    );
    assert!(of("/srv/long").is_some_and(|told| told.contains("60000 bytes")));
    assert_eq!(
        (of("/srv/twice"), of("/srv/taken")),
        (net_raw.clone(), None),
        "the last record holds, as for other readers"
    );
    assert_eq!(of("/srv").as_deref(), Some("cap_net_raw=ep, user.overlay.opaque"));
    assert_eq!(of("/srv/notes").as_deref(), Some("trusted.overlay.redirect, user.note"));
    assert!(of("/srv/odd").is_some_and(|told| told.contains("\\x1b")), "{listed}");
    // Neither what a step was given nor what it left has any, and the own layer neither.
    let kept: Vec<String> = attributes(environment.store().as_path())
        .into_iter()
        .filter(|name| name.starts_with("user.") && !name.starts_with("user.bulla") || name.contains("capability"))
        .collect();
    assert_eq!(kept, [""; 0]);
    assert!(listed.lines().filter(|line| line.contains("/copied")).all(|line| !line.contains('[')), "{listed}");
    environment.run(&on_base, &["store", "verify", "--full"]).success();
}

#[test]
fn attributes_without_end_are_refused() {
    let registry = FakeRegistry::start();
    let many = |count: usize| {
        (0..count).fold(TarEntry::file("usr/bin/own", 0o755, "x"), |entry, number| {
            entry.record(format!("SCHILY.xattr.user.{number:0>200}"), "x")
        })
    };
    image(&registry, "many", &[root(), vec![many(400)]]);
    let large = TarEntry::file("usr/bin/own", 0o755, "x").record(CAPABILITY, vec![7; 2 << 20]);
    image(&registry, "large", &[root(), vec![large]]);
    image(&registry, "control", &[root(), vec![many(200)]]);
    let with = |tag: &str| build(&knowing(&registry), &project(&registry, tag, "source: app, to: /srv/app", &user("")));
    let refused = with("many").failure(5);
    assert!(refused.stderr.contains("64 KiB of extended attributes"), "{}", refused.stderr);
    let refused = with("large").failure(5);
    assert!(refused.stderr.contains("more than 1 MiB"), "{}", refused.stderr);
    with("control").success();
}

#[test]
fn a_spec_gives_capabilities_to_files_that_it_adds_to_a_base_and_to_no_others() {
    let registry = FakeRegistry::start();
    image(&registry, "1", &[root()]);
    let environment = knowing(&registry);
    let allow = |path: &str| {
        user(&format!("  allow: {{capabilities: {{{path}: {{grant: cap_net_raw+ep, reason: it is a test}}}}}}\n"))
    };
    let refused =
        build(&environment, &project(&registry, "1", "source: app, to: /srv/app", &allow("/usr/bin/tool"))).failure(3);
    assert!(refused.stderr.contains("none of the files that are added"), "{}", refused.stderr);
    // Through a link of the base, as a copy goes.
    let project = project(&registry, "1", "source: app/run, to: /bin/tool", &allow("/bin/tool"));
    build(&environment, &project).success();
    let listed = environment.run(&project, &["inspect", "--files"]).success().stdout;
    assert!(listed.contains("/usr/bin/tool  [cap_net_raw=ep]"), "{listed}");
}

#[test]
fn a_stage_runs_on_an_image_with_whiteouts_and_links_as_they_are() {
    let Some(busybox) = usable("a stage on an image of a registry") else { return };
    let registry = FakeRegistry::start();
    let shell = fs_err::read(busybox).expect("busybox");
    let below = vec![
        TarEntry::directory("bin/", 0o755),
        TarEntry::file("bin/busybox", 0o755, &shell),
        TarEntry::symlink("bin/sh", "busybox"),
        TarEntry::file("a/gone", 0o644, "gone"),
        TarEntry::file("a/stays", 0o644, "stays"),
        TarEntry::file("b/hidden", 0o644, "hidden"),
        TarEntry::file("c/first", 0o644, "one file"),
        TarEntry::hardlink("c/second", "c/first"),
        TarEntry::hardlink("c/third", "c/second"),
        TarEntry::file("d/was", 0o644, "a folder"),
    ];
    let above = vec![
        // A whiteout hides nothing of its own layer, wherever it stands in it.
        TarEntry::file("b/own", 0o644, "own"),
        TarEntry::file("b/.wh..wh..opq", 0o644, ""),
        TarEntry::file("a/.wh.gone", 0o644, ""),
        TarEntry::file("c/first", 0o644, "another"),
        TarEntry::file("d", 0o644, "a file"),
    ];
    image(&registry, "1", &[below, above]);
    let reference = format!("{}/team/base:1", registry.address());
    let spec = format!(
        "bulla: 1
name: shop
sources:
  app: {{path: app}}
stages:
  build:
    from: {{image: '{reference}'}}
    steps:
      - busybox find /a /b /c /d -type f | busybox sort > out
      - busybox cat /c/first /c/second /d >> out
      - busybox stat -c %i /c/second /c/third | busybox uniq | busybox wc -l >> out
    outputs: {{out: /src/app/out}}
image:
  from: {{scratch: {{}}}}
  copy:
    - {{output: build.out, to: /out}}
  user: 65532
"
    );
    let environment = knowing(&registry);
    let project = Project::with_spec(&spec).file("app/x", "x");
    let digest = build(&environment, &project).success().stdout;
    let layer = built(&project).0.layers.last().expect("a layer").digest.hex();
    let packed = fs_err::read(project.path("bulla-out/blobs/sha256").join(layer)).expect("a layer");
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(&packed[..]), &mut plain).expect("gzip");
    let text = String::from_utf8_lossy(&plain);
    let expected = "/a/stays\n/b/own\n/c/first\n/c/second\n/c/third\n/d\nanotherone filea file1\n";
    assert!(text.contains(expected), "{text}");
    assert_eq!(build(&environment, &project).success().stdout, digest);
    // On a base that Bulla made: hello.
    let steps = spec.split("    steps:\n").nth(1).and_then(|rest| rest.split("    outputs:").next()).expect("steps");
    let hello = spec.replace(steps, "      - busybox echo hello > out\n");
    let own = "bulla: 1
name: base
sources:
  root: {path: root}
image:
  from: {scratch: {}}
  copy:
    - {source: root, to: /}
  user: 65532
";
    let base = Project::with_spec(own).program("root/bin/busybox", &shell).program("root/bin/sh", &shell);
    let pushed = format!("{}/own/base:1", registry.address());
    environment.run(&base, &["build", "--push", &pushed]).success();
    let hello = Project::with_spec(&hello.replace(&reference, &pushed)).file("app/x", "x");
    build(&environment, &hello).success();
    let listed = environment.run(&hello, &["inspect", "--files"]).success().stdout;
    assert!(listed.contains("/out"), "{listed}");
}

#[test]
fn a_layer_that_ends_with_its_last_byte_is_read_and_one_that_lacks_content_is_not() {
    let registry = FakeRegistry::start();
    let mut entries = root();
    entries.push(TarEntry::file("usr/last", 0o644, "x".repeat(700)));
    let whole = tar(&entries);
    let end = 1 + whole.iter().rposition(|byte| *byte != 0).expect("content");
    for (tag, length) in [("unpadded", end), ("cut", end - 1)] {
        let plain = &whole[..length];
        put(&registry, tag, &[(gzip(plain), Digest::of(plain))]);
    }
    let environment = knowing(&registry);
    let build = |tag: &str| build(&environment, &project(&registry, tag, "source: app, to: /srv/app", &user("")));
    build("unpadded").success();
    let error = build("cut").failure(5);
    assert!(error.stderr.contains("sha256:"), "{}", error.stderr);
}

#[test]
fn layers_of_a_base_in_the_same_registry_are_mounted_and_not_sent() {
    let registry = FakeRegistry::start();
    let base = image(&registry, "1", &[root(), vec![TarEntry::file("srv/data", 0o644, "data")]]);
    let environment = knowing(&registry);
    let project = project(&registry, "1", "source: app, to: /srv/app", &user(""));
    let push = |to: &FakeRegistry, name: &str| {
        let reference = format!("{}/team/{name}:1", to.address());
        registry.forget_requests();
        environment.run(&project, &["build", "--push", &reference, "--evidence", "none"]).success();
    };
    // Its own layer and the configuration are all that is sent.
    let sent = |to: &FakeRegistry| (to.count("POST", "mount="), to.count("PUT", "/blobs/uploads/"));
    push(&registry, "shop");
    assert_eq!(sent(&registry), (2, 2));
    for layer in &base.layers {
        assert!(registry.blob("team/shop", &layer.digest).is_some(), "{}", layer.digest);
        assert_eq!(registry.count("POST", &format!("mount=sha256%3A{}&from=team%2Fbase", layer.digest.hex())), 1);
    }
    // The controls: to another registry all is sent, and nothing is asked for by mounting.
    let other = FakeRegistry::start();
    push(&other, "shop");
    assert_eq!((sent(&other), sent(&registry)), ((0, 4), (0, 0)));
    // Who may not read the base there sends its layers too.
    registry.fault("POST", "mount=", 99, bulla_testkit::RegistryFault::Status(403));
    push(&registry, "closed");
    assert_eq!(sent(&registry), (2, 4));
}

#[test]
fn a_base_whose_tag_moved_is_named_with_both_digests() {
    let Some(busybox) = usable("why a step on an image of a registry ran again") else { return };
    let registry = FakeRegistry::start();
    let shell = fs_err::read(busybox).expect("busybox");
    let tag = |content: &str| {
        let layer = vec![
            TarEntry::directory("bin/", 0o755),
            TarEntry::file("bin/busybox", 0o755, &shell),
            TarEntry::symlink("bin/sh", "busybox"),
            TarEntry::file("content", 0o644, content),
        ];
        image(&registry, "1", &[layer]);
        Digest::of(registry.manifest("team/base", "1").expect("the tag")).to_string()
    };
    let reference = format!("{}/team/base:1", registry.address());
    let spec = format!(
        "bulla: 1
name: shop
epoch: 1
sources:
  app: {{path: app}}
stages:
  build:
    from: {{image: '{reference}'}}
    steps:
      - busybox cp /content out
    outputs: {{out: /src/app/out}}
image:
  from: {{scratch: {{}}}}
  copy:
    - {{output: build.out, to: /out}}
  user: 65532
"
    );
    let environment = knowing(&registry);
    let project = Project::with_spec(&spec).file("app/x", "x");
    let explain = |step: &str| environment.run(&project, &["explain", step]).success().stdout;
    let first = tag("one");
    build(&environment, &project).success();
    assert!(explain("build").contains(&format!("build: base {reference}")), "{}", explain("build"));
    let second = tag("two");
    // The control: a tag that moved changes nothing until the lock is moved.
    build(&environment, &project).success();
    assert!(!explain("build/1").contains("base"), "{}", explain("build/1"));
    environment.run(&project, &["lock", "--update"]).success();
    build(&environment, &project).success();
    let told = explain("build/1");
    let digests = format!("before  {reference}@{first}\n      now     {reference}@{second}\n");
    assert!(told.contains("base: the reference led to another image") && told.contains(&digests), "{told}");
    let all = environment.run(&project, &["explain"]).success().stdout;
    assert!(all.contains(&format!("because of the base {reference}")), "{all}");
}

#[test]
fn a_base_is_read_from_a_layout_where_the_configuration_says_so() {
    let registry = FakeRegistry::start();
    let base = image(&registry, "1", &[root()]);
    let environment = knowing(&registry);
    let layouts = tempfile::tempdir().expect("a folder");
    let layout = layouts.path().join("team/base");
    let (entry, _) = oci::encode_described(oci::MANIFEST, &base);
    let from = format!("{}/team/base@{}", registry.address(), entry.digest);
    let fill = |tag: &str| {
        let to = format!("oci:{}:{tag}", layout.display());
        environment.run(&Project::new(), &["copy", &from, &to]).success();
    };
    fill("1");
    registry.shut();
    environment.write_config(&format!(
        "[registry.oci]\nmirrors = {{\"vendor.example\" = \"oci:{}\"}}\n",
        layouts.path().display()
    ));
    let on_a_layout = |tag: &str| {
        let spec = project(&registry, tag, "source: app, to: /srv/app", &user("")).read("bulla.yaml");
        let spec = spec.replace(&registry.address(), "vendor.example");
        Project::with_spec(&spec).program("app/run", "#!/bin/true\n")
    };
    let project = on_a_layout("1");
    let digest = build(&environment, &project).success().stdout;
    let (manifest, _) = built(&project);
    assert_eq!(manifest.layers[..1], base.layers, "the layers of the base are as they were");
    let lock = project.read("bulla.lock");
    assert!(lock.contains("vendor.example/team/base:1") && !lock.contains("oci:"), "{lock}");
    let missing = build(&environment, &on_a_layout("2")).failure(3);
    assert!(missing.stderr.contains("no image of the name `2`"), "{}", missing.stderr);
    // What was changed there is no base; the control is the first build.
    let blob = layout.join("blobs/sha256").join(base.layers[0].digest.hex());
    let mut bytes = fs_err::read(&blob).expect("a layer");
    let last = bytes.len() - 9;
    bytes[last] ^= 1;
    fs_err::write(&blob, bytes).expect("written");
    let cold = TestEnvironment::new(env!("CARGO_BIN_EXE_bulla"));
    cold.write_config(&fs_err::read_to_string(environment.config()).expect("the configuration"));
    let changed = cold.run(&project, &["build", "--locked"]).failure(5);
    assert!(changed.stderr.contains(&base.layers[0].digest.hex()), "{}", changed.stderr);
    fs_err::remove_file(&blob).expect("removed");
    fs_err::remove_dir_all(&layout).expect("removed");
    registry.heal();
    // In the first store all is there still.
    assert_eq!(environment.run(&project, &["build", "--locked"]).success().stdout, digest);
}

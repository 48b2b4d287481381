//! A remote store in a real registry, with and without a login; and its keys and its configuration.

use std::{collections::BTreeSet, process::Command};

use bulla_testkit::{
    FakeRegistry, Mirror, Project, RegistryFault, TestEnvironment, docker::Registry, process, skipped,
};

use crate::{
    offline,
    world::{GOOD, World, project},
};

/// Adds keys of `[store]` to the configuration of an environment.
fn configure(environment: &TestEnvironment, keys: &str) {
    let before = fs_err::read_to_string(environment.config()).expect("a configuration");
    let before = before.split("[store]").next().expect("its beginning").to_owned();
    environment.write_config(&format!("{before}[store]\n{keys}"));
}

fn login(environment: &TestEnvironment, address: &str) {
    // YWRhOmNvcnJlY3QtaG9yc2U= is `ada:correct-horse`.
    let docker = format!(r#"{{"auths": {{"{address}": {{"auth": "YWRhOmNvcnJlY3QtaG9yc2U="}}}}}}"#);
    let folder = environment.folder().join("home/.docker");
    fs_err::create_dir_all(&folder).expect("a folder");
    fs_err::write(folder.join("config.json"), docker).expect("a file");
}

/// A world that has filled a remote store at an address; gives the public key and the image's digest.
fn fill(world: &World, address: &str) -> (String, String) {
    let key = world.environment.run(&Project::new(), &["store", "key", "--new"]).success().stdout;
    configure(&world.environment, &format!("remote = \"oci://{address}/team/bulla\"\nwrite-from = [\"*\"]\n"));
    (key.trim_end().to_owned(), world.digest(&project(&GOOD)))
}

/// A second machine that only reads.
fn second(world: &World, address: &str, key: &str) -> (TestEnvironment, Mirror) {
    let mirror = Mirror::serve(world.repo.root());
    let environment = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &world.repo, &mirror);
    configure(&environment, &format!("remote = \"oci://{address}/team/bulla\"\ntrusted-keys = [\"{key}\"]\n"));
    (environment, mirror)
}

#[test]
fn a_registry_keeps_inputs_and_results_for_another_machine() {
    let Some(world) = World::new("a remote store in a registry") else { return };
    let Some(registry) = Registry::start() else { return };
    let address = registry.address();
    let (key, digest) = fill(&world, &address);
    let (environment, mirror) = second(&world, &address, &key);
    let project = project(&GOOD);
    world.environment.run(&project, &["lock"]).success();
    let ran = environment.run(&project, &["build", "--locked"]).success();
    assert_eq!(ran.stdout.trim_end(), digest);
    assert!(ran.stderr.contains("0 of 3 steps run") && !ran.stderr.contains("warning"), "{}", ran.stderr);
    // All anew: the inputs too come from there.
    let ran = environment.run(&project, &["build", "--locked", "--no-cache"]).success();
    assert_eq!(ran.stdout.trim_end(), digest);
    assert!(ran.stderr.contains("[fetch] 1 input from the remote store"), "{}", ran.stderr);
    assert!(mirror.requests().is_empty(), "no mirror is asked");
    ordinary_artifacts(&address);
    // A second build brings nothing more.
    let again = world.build(&project, &[]).success();
    assert!(!again.stderr.contains("[store"), "{}", again.stderr);
}

/// Reads the artifacts by a program of others.
fn ordinary_artifacts(address: &str) {
    if !process::exists("skopeo") {
        return skipped("artifacts read by skopeo", "skopeo is not installed");
    }
    let skopeo = |words: &[&str]| process::output(Command::new("skopeo").args(words)).expect("skopeo reads it");
    let listed = skopeo(&["list-tags", "--tls-verify=false", &format!("docker://{address}/team/bulla")]);
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    let tags: Vec<&str> = listed["Tags"].as_array().expect("tags").iter().filter_map(|tag| tag.as_str()).collect();
    let kinds: BTreeSet<&str> = tags.iter().filter_map(|tag| Some(tag.split_once('-')?.0)).collect();
    assert_eq!(kinds, BTreeSet::from(["input", "result"]), "{tags:?}");
    let layout = tempfile::tempdir().expect("a folder");
    for (number, tag) in tags.iter().enumerate() {
        let from = format!("docker://{address}/team/bulla:{tag}");
        let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &from]);
        let manifest: serde_json::Value = serde_json::from_str(&raw).expect("JSON");
        let kind = manifest["artifactType"].as_str().expect("a type");
        assert!(kind.starts_with("application/vnd.bulla."), "{kind}");
        let to = format!("oci:{}:{number}", layout.path().display());
        skopeo(&["copy", "--quiet", "--src-tls-verify=false", &from, &to]);
    }
}

#[test]
fn a_registry_with_a_login_is_read_and_written_with_that_of_docker() {
    let Some(world) = World::new("a remote store with a login") else { return };
    let Some(registry) = Registry::start_with_login("ada", "correct-horse") else { return };
    let address = registry.address();
    login(&world.environment, &address);
    let (key, digest) = fill(&world, &address);
    let (environment, mirror) = second(&world, &address, &key);
    let project = project(&GOOD);
    world.environment.run(&project, &["lock"]).success();
    // Without the login the build goes on without the store.
    let ran = environment.run(&project, &["build", "--locked"]).success();
    assert_eq!(ran.stdout.trim_end(), digest);
    assert_eq!(ran.stderr.matches("without the remote store").count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("3 of 3 steps run") && !mirror.requests().is_empty(), "{}", ran.stderr);
    let (environment, mirror) = second(&world, &address, &key);
    login(&environment, &address);
    let ran = environment.run(&project, &["build", "--locked"]).success();
    assert!(ran.stderr.contains("0 of 3 steps run") && mirror.requests().is_empty(), "{}", ran.stderr);
}

#[test]
fn a_registry_that_lies_or_cuts_off_changes_no_image() {
    let Some(world) = World::new("a registry that lies") else { return };
    let registry = FakeRegistry::start();
    let address = registry.address();
    let (key, digest) = fill(&world, &address);
    let project = project(&GOOD);
    world.environment.run(&project, &["lock"]).success();
    let build = |what: &str| {
        let (environment, _mirror) = second(&world, &address, &key);
        let ran = environment.run(&project, &["build", "--locked"]).success();
        assert_eq!(ran.stdout.trim_end(), digest, "{what}: {}", ran.stderr);
        environment.run(&project, &["store", "verify", "--full"]).success();
        ran.stderr
    };
    let faults = [
        ("another manifest", "/manifests/result-", RegistryFault::Body(b"{\"schemaVersion\":2}".to_vec())),
        ("other blobs", "/blobs/sha256", RegistryFault::Body(b"poison".to_vec())),
        ("no blobs", "/blobs/sha256", RegistryFault::Status(404)),
        ("manifests that are forbidden", "/manifests/result-", RegistryFault::Status(403)),
    ];
    for (what, part, fault) in faults {
        registry.fault("GET", part, 1000, fault);
        let said = build(what);
        assert!(said.contains("3 of 3 steps run") && said.contains("warning"), "{what}: {said}");
        registry.heal();
    }
    registry.forget_requests();
    assert!(build("the control").contains("0 of 3 steps run"));
    // Three steps, the output, the image, and who owns what in it.
    assert_eq!(registry.count("GET", "/manifests/result-"), 6, "one request finds a result");
}

#[test]
fn nothing_is_half_written_when_a_push_is_cut_off() {
    let Some(world) = World::new("a push that is cut off") else { return };
    let registry = FakeRegistry::start();
    registry.fault("PUT", "/blobs/uploads", 1000, RegistryFault::Status(403));
    let (key, digest) = fill(&world, &registry.address());
    assert_eq!(registry.count("PUT", "/manifests/"), 0, "a manifest came before its blobs");
    registry.heal();
    let project = project(&GOOD);
    world.digest(&project);
    let (environment, _mirror) = second(&world, &registry.address(), &key);
    let ran = environment.run(&project, &["build", "--locked"]).success();
    assert_eq!(ran.stdout.trim_end(), digest);
    assert!(
        ran.stderr.contains("0 of 3 steps run"),
        "what was not brought is brought by the next build: {}",
        ran.stderr
    );
}

#[test]
fn an_image_that_a_build_starts_from_is_kept_too() {
    let Some(registry) = Registry::start() else { return };
    let Some(store) = Registry::start() else { return };
    let (environment, site) = (offline(), crate::registry::site());
    crate::registry::built(&environment, &site);
    let base = format!("{}/team/base:1", registry.address());
    environment.run(&site, &["push", &base]).success();
    let local = format!("[registry.debian]\napt = false\n[registry.oci]\nlocal = [\"{}\"]\n", registry.address());
    let spec = format!(
        "bulla: 1\nname: shop\nsources:\n  app: {{path: app}}\nimage:\n  from: {{image: '{base}'}}\n  copy:\n    - {{source: app, to: /srv}}\n  user: 65532\n"
    );
    let shop = Project::with_spec(&spec).file("app/page", "a page");
    let environment = offline();
    environment.write_config(&local);
    configure(&environment, &format!("remote = \"oci://{}/bulla\"\nwrite-from = [\"*\"]\n", store.address()));
    let digest = environment.run(&shop, &["build"]).success().stdout;
    // The registry of the base is gone.
    drop(registry);
    let second = offline();
    second.write_config(&local);
    configure(&second, &format!("remote = \"oci://{}/bulla\"\n", store.address()));
    let ran = second.run(&shop, &["build", "--locked"]).success();
    assert_eq!(ran.stdout, digest);
    configure(&second, "");
    second.run(&shop, &["store", "gc", "--keep", "0B"]).success();
    second.run(&shop, &["build", "--locked"]).failure(4);
}

#[test]
fn a_signing_key_is_made_once_shown_and_never_open_to_others() {
    use std::os::unix::fs::PermissionsExt;
    let environment = offline();
    let project = Project::new();
    let none = environment.run(&project, &["store", "key"]).failure(4);
    assert!(none.stderr.contains("bulla store key --new"), "{}", none.stderr);
    let made = environment.run(&project, &["store", "key", "--new"]).success();
    assert!(made.stdout.starts_with("ed25519:"), "{}", made.stdout);
    assert_eq!(environment.run(&project, &["store", "key"]).success().stdout, made.stdout);
    environment.run(&project, &["store", "key", "--new"]).failure(4);
    let file = environment.config().with_file_name("signing.key");
    assert_eq!(fs_err::metadata(&file).expect("a key").permissions().mode() & 0o7777, 0o600);
    assert!(!file.starts_with(environment.store()));
    fs_err::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("opened");
    let open = environment.run(&project, &["store", "key"]).failure(4);
    assert!(open.stderr.contains("chmod 600"), "{}", open.stderr);
    // Another place, that a CI service chooses.
    let elsewhere = environment.folder().join("ci.key").display().to_string();
    let environment = environment.set("BULLA_SIGNING_KEY", &elsewhere);
    environment.run(&project, &["store", "key"]).failure(4);
    environment.run(&project, &["store", "key", "--new"]).success();
    assert!(std::path::Path::new(&elsewhere).is_file());
}

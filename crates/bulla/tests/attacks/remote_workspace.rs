//! A workspace that names a remote store: its file may be a stranger's, so the user permits the place, or nothing is asked of it.

use bulla_testkit::{FakeRegistry, Mirror, Project, TestEnvironment};

use crate::{
    remote::{configure, new_key},
    world::{GOOD, World, spec},
};

/// A workspace of two members that names a remote store.
fn workspace(store: &str) -> Project {
    let text = format!("bulla: 1\nmembers: [one, two]\nstore: {store}\n");
    let spec = spec("", &GOOD, "/src/app/out");
    let second = spec.replace("name: attacked", "name: second");
    let project = Project::new().file("bulla.workspace.yaml", text).file("one/bulla.yaml", &spec);
    project.file("two/bulla.yaml", &second).file("one/app/hello", "hello\n").file("two/app/hello", "hello\n")
}

/// A machine that has logins for the registry.
fn machine(world: &World, registry: &FakeRegistry, keys: &str) -> (TestEnvironment, Mirror) {
    registry.forget_requests();
    let mirror = Mirror::serve(world.repo.root());
    let environment = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &world.repo, &mirror);
    // YWRhOmNvcnJlY3QtaG9yc2U= is `ada:correct-horse`.
    let docker = format!(r#"{{"auths": {{"{}": {{"auth": "YWRhOmNvcnJlY3QtaG9yc2U="}}}}}}"#, registry.address());
    let folder = environment.folder().join("home/.docker");
    fs_err::create_dir_all(&folder).expect("a folder");
    fs_err::write(folder.join("config.json"), docker).expect("a file");
    configure(&environment, keys);
    (environment, mirror)
}

fn writes(registry: &FakeRegistry) -> usize {
    ["PUT", "POST", "PATCH"].iter().map(|method| registry.count(method, "/")).sum()
}

#[test]
fn a_strangers_workspace_has_nothing_sent_to_the_registry_that_it_names() {
    let Some(world) = World::new("a stranger's remote store") else { return };
    let registry = FakeRegistry::start();
    registry.require_login("ada", "correct-horse");
    let place = format!("oci://{}/team/bulla", registry.address());
    let project = workspace(&format!("{{remote: '{place}', write-from: ['*']}}"));
    let said = |ran: &bulla_testkit::Ran| ran.stderr.matches("names the remote store").count();
    let build = |environment: &TestEnvironment| environment.run(&project, &["build"]).success();

    // The user writes elsewhere, signs, and lets workspaces name other places: none of that is for this one.
    let (environment, _mirror) = machine(&world, &registry, "write-from = [\"*\"]\n");
    let key = new_key(&environment);
    let ran = build(&environment);
    assert_eq!(registry.requests().len(), 0, "{:?}", registry.requests());
    assert_eq!(said(&ran), 1, "one line for both members: {}", ran.stderr);
    let line = format!("write `workspace = [{{remote = \"{place}\"}}]` under `[store]` in ");
    assert!(ran.stderr.contains("bulla.workspace.yaml:3") && ran.stderr.contains(&line), "{}", ran.stderr);
    for permit in [
        "workspace = []\n".to_owned(),
        format!("workspace = [{{remote = \"{place}2\", write-from = [\"*\"]}}]\n"),
        format!("workspace = [{{remote = \"{place}/*\"}}, {{remote = \"oci://registry.example/*\"}}]\n"),
    ] {
        configure(&environment, &format!("write-from = [\"*\"]\n{permit}"));
        let ran = build(&environment);
        assert!(registry.requests().is_empty() && said(&ran) == 1, "{permit}: {}", ran.stderr);
    }
    // The user's own remote store holds over it.
    let own = tempfile::tempdir().expect("a folder");
    let permit = format!("workspace = [{{remote = \"{place}\", write-from = [\"*\"]}}]\n");
    configure(&environment, &format!("remote = \"file://{}\"\nwrite-from = [\"*\"]\n{permit}", own.path().display()));
    let ran = build(&environment);
    assert!(registry.requests().is_empty() && said(&ran) == 0, "{}", ran.stderr);
    assert!(own.path().join("manifests").is_dir());

    // The control: the line that it says is what lets it be read, and only that.
    let (_, unwrap) = line.split_once('`').expect("a line");
    let (shown, _) = unwrap.split_once('`').expect("its end");
    let (other, _mirror) = machine(&world, &registry, &format!("write-from = [\"*\"]\n{shown}\n"));
    new_key(&other);
    let ran = build(&other);
    assert!(said(&ran) == 0 && registry.count("GET", "/manifests/result-") > 0, "{}", ran.stderr);
    assert_eq!(writes(&registry), 0, "the user's own `write-from` is not for a workspace's store");
    configure(&environment, &permit);
    build(&environment);
    assert!(registry.count("PUT", "/manifests/result-") > 0);

    // What is there counts by the user's keys, as in every remote store.
    let read = format!("workspace = [{{remote = \"{place}\"}}]\n");
    let (environment, mirror) = machine(&world, &registry, &read);
    let ran = build(&environment);
    assert!(
        ran.stderr.contains("3 of 3 steps run") && mirror.requests().iter().all(|one| !one.path.contains("/pool/"))
    );
    let (environment, mirror) = machine(&world, &registry, &format!("{read}trusted-keys = [\"{key}\"]\n"));
    let ran = build(&environment);
    assert_eq!(ran.stderr.matches("0 of 3 steps run").count(), 2, "{}", ran.stderr);
    assert!(mirror.requests().is_empty() && writes(&registry) == 0, "{:?}", mirror.requests());
}

#[test]
fn a_workspaces_store_is_written_from_branches_that_user_and_workspace_name() {
    let Some(world) = World::new("branches that write to a workspace's store") else { return };
    let registry = FakeRegistry::start();
    let place = format!("oci://{}/team/bulla", registry.address());
    let project = workspace(&format!("{{remote: '{place}', write-from: [main, feature]}}"));
    for (branch, written) in [("other", false), ("feature", false), ("main", true)] {
        let permit = format!(
            "workspace = [{{remote = \"oci://{}/team/*\", write-from = [\"main\", \"other\"]}}]\n",
            registry.address()
        );
        let (environment, _mirror) = machine(&world, &registry, &permit);
        new_key(&environment);
        let environment = environment.set("BULLA_BRANCH", branch);
        environment.run(&project, &["build", "one"]).success();
        assert!(registry.count("GET", "/manifests/") > 0, "{branch}: it is read");
        assert_eq!(writes(&registry) > 0, written, "{branch}");
    }
}

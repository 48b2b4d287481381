//! Several members of a workspace that are pushed together.

use bulla_testkit::{FakeRegistry, RegistryFault, docker::Registry};

use crate::{
    offline,
    workspace::{add, workspace},
};

#[test]
fn each_member_is_pushed_to_a_repository_of_its_own() {
    let Some(registry) = Registry::start() else { return };
    let (environment, project) = (offline(), workspace(""));
    let to = format!("{}/team/{{name}}:1.4", registry.address());
    let digests = environment.run(&project, &["build"]).success().stdout;
    for folder in ["services/cart", "services/shop", "tools/builder"] {
        fs_err::remove_dir_all(project.path(folder).join("bulla-out")).expect("removed");
    }
    let ran = environment.run(&project, &["build", "--push", &to]).success();
    let mut expected = String::new();
    for line in digests.lines() {
        let (folder, digest) = line.split_once(' ').expect("two words");
        let name = folder.rsplit('/').next().expect("a name");
        let reference = format!("{}/team/{name}:1.4", registry.address());
        expected.push_str(&format!("{folder} {reference}@{digest}\n"));
        let there = environment.run(&project, &["pull", &reference, &format!("pulled/{name}")]).success();
        assert!(there.stdout.contains(digest), "{}", there.stdout);
        assert!(!project.path(folder).join("bulla-out").exists(), "--push takes the place of the usual output");
    }
    assert_eq!(ran.stdout, expected);
    // Some of them, and one alone, whose place may be written whole.
    let two = ["build", "services/shop", "tools/builder", "--push", &to];
    assert_eq!(environment.run(&project, &two).success().stdout.lines().count(), 2);
    let one = environment.run(&project, &["build", "services/shop", "--push", &to]).success().stdout;
    assert!(one.starts_with(&format!("{}/team/shop:1.4@sha256:", registry.address())), "{one}");
}

#[test]
fn where_one_cannot_be_built_none_is_pushed() {
    let registry = FakeRegistry::start();
    let (environment, project) = (offline(), workspace(""));
    let to = format!("{}/team/{{name}}", registry.address());
    let good = project.read("services/shop/bulla.yaml");
    project.write("services/shop/bulla.yaml", good.replace("path: pages", "path: nowhere"));
    let ran = environment.run(&project, &["build", "--push", &to]);
    assert!(ran.code != Some(0) && ran.stdout.is_empty(), "{}", ran.stdout);
    assert!(ran.stderr.contains("1 of 3 members failed: services/shop"), "{}", ran.stderr);
    assert!(ran.stderr.contains("Nothing was pushed"), "{}", ran.stderr);
    assert!(registry.requests().is_empty(), "{:?}", registry.requests());
    // The control, with a registry that does not take one of them: it is told which are there.
    project.write("services/shop/bulla.yaml", good);
    registry.fault("PUT", "/team/shop/manifests/latest", 100, RegistryFault::Status(403));
    let ran = environment.run(&project, &["build", "--push", &to]);
    assert!(ran.code != Some(0) && ran.stderr.contains("Pushed 2 of 3 images"), "{}", ran.stderr);
    assert!(ran.stderr.contains("1 of 3 members failed: services/shop"), "{}", ran.stderr);
    let names: Vec<&str> = ran.stdout.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names, ["services/cart", "tools/builder"]);
    for name in ["cart", "builder"] {
        assert!(registry.manifest(&format!("team/{name}"), "latest").is_some(), "{name}");
    }
    registry.heal();
    let ran = environment.run(&project, &["build", "--push", &to]).success();
    assert_eq!(ran.stdout.lines().count(), 3);
}

#[test]
fn what_would_put_two_images_into_one_place_or_let_a_name_choose_the_host_is_refused() {
    let registry = FakeRegistry::start();
    let (environment, project) = (offline(), workspace(""));
    let one = format!("{}/team:1.4", registry.address());
    let ran = environment.run(&project, &["build", "--push", &one]).failure(3);
    let hint = format!("--push {}/team/{{name}}:1.4", registry.address());
    assert!(ran.stderr.contains(&hint), "{}", ran.stderr);
    for host in ["{name}.example/team", "{name}/team"] {
        let ran = environment.run(&project, &["build", "--push", host]).failure(2);
        assert!(ran.stderr.contains("cannot be a part of the registry's host"), "{}", ran.stderr);
    }
    let to = format!("{}/team/{{name}}", registry.address());
    add(&project, "services/odd", "odd-");
    let ran = environment.run(&project, &["build", "--push", &to]).failure(3);
    assert!(ran.stderr.contains("/team/odd-"), "{}", ran.stderr);
    add(&project, "services/odd", "shop");
    let ran = environment.run(&project, &["build", "--push", &to]).failure(3);
    assert!(ran.stderr.contains("both have the name `shop`, and would be pushed as one"), "{}", ran.stderr);
    assert!(registry.requests().is_empty() && !project.path("services/cart/bulla.lock").exists());
}

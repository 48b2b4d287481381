use bulla_testkit::{Deb, Project, Release};

use crate::{online, project, spec};

/// A date that is newer than that of a repository which was published by default.
fn later() -> Release {
    let mut release = Release::default();
    release.date += 600;
    release
}

#[test]
fn a_lock_is_written_once_and_stays() {
    let (_repo, mirror, environment) = online();
    let project = project();
    let ran = environment.run(&project, &["lock"]).success();
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.contains("Wrote bulla.lock: 3 packages for 2 roots"), "{}", ran.stderr);
    let first = project.read("bulla.lock");
    for package in ["base=1", "libshop=2.0", "make=4.1"] {
        assert!(first.contains(package), "{package} is not in {first}");
    }
    mirror.forget_requests();
    let again = environment.run(&project, &["lock"]).success();
    assert!(again.stderr.contains("bulla.lock is of this spec"), "{}", again.stderr);
    assert!(mirror.requests().is_empty(), "a lock that is good was resolved again");
    assert_eq!(project.read("bulla.lock"), first);
}

#[test]
fn no_package_is_downloaded_and_no_index_twice() {
    let (_repo, mirror, environment) = online();
    environment.run(&project(), &["lock"]).success();
    assert!(mirror.requests().iter().all(|request| !request.path.ends_with(".deb")));
    mirror.forget_requests();
    environment.run(&project(), &["lock"]).success();
    let asked: Vec<String> = mirror.requests().iter().map(|request| request.path.clone()).collect();
    assert!(asked.iter().all(|path| path.ends_with("InRelease")), "{asked:?}");
}

#[test]
fn what_the_spec_asks_for_now_is_added_and_the_rest_stays() {
    let (mut repo, _mirror, environment) = online();
    let project = project();
    environment.run(&project, &["lock"]).success();
    repo.add(&Deb::new("libshop", "2.1")).add(&Deb::new("make", "4.2").depends("libshop"));
    repo.publish(&later());
    project.write("bulla.yaml", spec("make, extra", "libshop"));
    let ran = environment.run(&project, &["lock"]).success();
    insta::assert_snapshot!(told(&ran.stderr), @r"
    Amended bulla.lock:
      stage.build: `extra` is asked for now
      + extra 1
      + libextra 1
    ");
}

#[test]
fn only_an_update_moves_versions() {
    let (mut repo, _mirror, environment) = online();
    let project = project();
    environment.run(&project, &["lock"]).success();
    repo.add(&Deb::new("libshop", "2.1")).add(&Deb::new("make", "4.2").depends("libshop"));
    repo.publish(&later());
    let one = environment.run(&project, &["lock", "--update", "make"]).success();
    insta::assert_snapshot!(told(&one.stderr), @r"
    Amended bulla.lock:
      ~ make 4.1 → 4.2
    ");
    let all = environment.run(&project, &["lock", "--update"]).success();
    insta::assert_snapshot!(told(&all.stderr), @r"
    Amended bulla.lock:
      ~ libshop 2.0 → 2.1
    ");
    let none = environment.run(&project, &["lock", "--update"]).success();
    assert!(none.stderr.contains("stays as it is"), "{}", none.stderr);
    let unknown = environment.run(&project, &["lock", "--update", "nosuch"]).failure(3);
    assert!(
        unknown.stderr.contains("bulla.lock has no package, source or image `nosuch` to update"),
        "{}",
        unknown.stderr
    );
}

#[test]
fn what_the_spec_has_no_longer_goes_without_network() {
    let (_repo, mirror, environment) = online();
    let project = project();
    environment.run(&project, &["lock"]).success();
    mirror.forget_requests();
    let stages = "stages:\n  build:\n    from: {debian: trixie, suites: [trixie], packages: [make]}\n    steps:\n      - make\n    outputs: {shop: /src/app/shop}\n";
    let without = spec("make", "libshop").replace(stages, "");
    project.write("bulla.yaml", without.replace("{output: build.shop, to: /shop}", "{source: app, to: /shop}"));
    let ran = environment.run(&project, &["lock"]).success();
    assert!(mirror.requests().is_empty());
    assert!(ran.stderr.contains("- make 4.1"), "{}", ran.stderr);
    assert!(!project.read("bulla.lock").contains("make=4.1"));
}

#[test]
fn a_request_that_nothing_meets_is_explained() {
    let (_repo, _mirror, environment) = online();
    let project = Project::with_spec(&spec("makee", "libshop"));
    let ran = environment.run(&project, &["lock"]).failure(3);
    assert!(ran.stderr.contains("makee"), "{}", ran.stderr);
    assert!(!project.path("bulla.lock").exists());
}

#[test]
fn the_lock_stands_beside_the_spec_that_is_named() {
    let (_repo, _mirror, environment) = online();
    let project = Project::new().file("deploy/shop.yaml", spec("make", "libshop"));
    environment.run(&project, &["lock", "--file", "deploy/shop.yaml"]).success();
    assert!(project.path("deploy/shop.lock").is_file());
}

/// Takes the lines about the lock, without those of progress.
fn told(stderr: &str) -> String {
    stderr.lines().filter(|line| !line.starts_with('[')).map(|line| format!("{line}\n")).collect()
}

#[test]
fn an_ordinary_user_needs_nothing_more() {
    let (_repo, _mirror, environment) = online();
    let environment = environment.as_user("bulla-test");
    environment.run(&project(), &["lock"]).success();
    environment.run(&project(), &["store", "du"]).success();
}

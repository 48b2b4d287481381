use bulla_testkit::{Project, hostile};

use crate::{offline, online, project, spec};

#[test]
fn a_good_spec_passes_without_network() {
    let ran = offline().run(&project(), &["check"]).success();
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.starts_with("bulla.yaml is good: 1 stage, 1 step; there is no lock yet"), "{}", ran.stderr);
}

#[test]
fn a_preset_is_written_out() {
    let from = |from: &str| {
        spec("make", "libshop").replacen("from: {debian: trixie, suites: [trixie], packages: [make]}", from, 1)
    };
    let text = from("from: {language: go, packages: [make]}  # and make");
    let project = Project::with_spec(&text);
    let ran = offline().run(&project, &["check", "--expand"]).success();
    let expected = from(
        "from: {debian: trixie, packages: [golang-go, make]}\n    env: {CGO_ENABLED: 0, GOFLAGS: -trimpath -buildvcs=false}\n    dependencies: [{go: go.sum}]  # and make",
    );
    assert_eq!(ran.stdout, expected);
    assert_eq!(project.read("bulla.yaml"), text);
    offline().run(&Project::with_spec(&ran.stdout), &["check"]).success();
    let wrong = Project::with_spec(&from("from: {language: cobol}"));
    let told = offline().run(&wrong, &["check", "--expand"]).failure(3);
    assert!(told.stdout.is_empty() && told.stderr.contains("cobol"), "{}", told.stderr);
}

#[test]
fn every_mistake_is_shown_under_its_line() {
    let text = spec("make", "libshop").replace("name: shop", "naem: shop").replace("user:", "usr:");
    let ran = offline().run(&Project::with_spec(&text), &["check"]).failure(3);
    insta::assert_snapshot!(ran.stderr);
}

#[test]
fn the_lock_is_asked_for_where_it_must_be() {
    let missing = offline().run(&project(), &["check", "--locked"]).failure(7);
    assert!(missing.stderr.contains("there is no bulla.lock"), "{}", missing.stderr);
    offline().set("CI", "true").run(&project(), &["check"]).failure(7);
    offline().set("CI", "false").run(&project(), &["check"]).success();
}

#[test]
fn a_lock_of_another_spec_is_told() {
    let (_repo, _mirror, environment) = online();
    let project = project();
    environment.run(&project, &["lock"]).success();
    let ran = environment.run(&project, &["check", "--locked"]).success();
    assert!(ran.stderr.contains("the lock is of this spec, with 3 packages"), "{}", ran.stderr);
    project.write("bulla.yaml", spec("make, extra", "libshop"));
    let told = environment.run(&project, &["check"]).success();
    assert!(told.stderr.contains("stage.build: `extra` is asked for now"), "{}", told.stderr);
    let refused = environment.run(&project, &["check", "--locked"]).failure(7);
    assert!(refused.stderr.contains("stage.build: `extra` is asked for now"), "{}", refused.stderr);
}

#[test]
fn sources_that_are_not_there_or_elsewhere_are_refused() {
    let text = |path: &str| spec("make", "libshop").replace("path: .", &format!("path: {path}"));
    let missing = offline().run(&Project::with_spec(&text("src")), &["check"]).failure(3);
    assert!(missing.stderr.contains("does not exist"), "{}", missing.stderr);
    let elsewhere = Project::with_spec(&text("src")).symlink("src", "/etc");
    let escaped = offline().run(&elsewhere, &["check"]).failure(3);
    assert!(escaped.stderr.contains("is outside of the project"), "{}", escaped.stderr);
    let file = Project::with_spec(&text("src")).file("src", "");
    let no_folder = offline().run(&file, &["check"]).failure(3);
    assert!(no_folder.stderr.contains("is not a folder"), "{}", no_folder.stderr);
}

#[test]
fn a_hostile_spec_is_an_error_and_not_more() {
    let long = format!("bulla: 1\nname: {}\n", "x".repeat(100_000));
    for (what, text) in [
        ("exploding", hostile::exploding_yaml()),
        ("deep", hostile::deep_yaml(100_000)),
        ("huge", hostile::huge_yaml(100 << 20)),
        ("long", long),
        ("escapes", "bulla: 1\nname: \"\x1b]0;owned\x07\"\n::set-output name=x::y: 1\n##vso[task]: 1\n".to_owned()),
        ("empty", String::new()),
    ] {
        let ran = offline().run(&Project::with_spec(&text), &["check"]).failure(3);
        assert!(ran.stderr.len() < 20_000, "{what} makes a long error");
        assert!(!ran.stderr.contains(['\x1b', '\x07']) && !ran.stderr.contains("##vso["), "{what}: {}", ran.stderr);
        assert!(ran.stderr.lines().all(|line| !line.trim_start().starts_with("::")), "{what}: {}", ran.stderr);
    }
}

#[test]
fn a_folder_without_a_spec_is_told_of_init() {
    let ran = offline().run(&Project::new(), &["check"]).failure(3);
    insta::assert_snapshot!(ran.stderr, @r"
    error: there is no spec at ./bulla.yaml
    hint: `bulla init` writes one for this folder; `--project DIR` or `--file FILE` names another place
    ");
}

#[test]
fn files_outside_of_the_project_are_not_read() {
    for (name, target) in [("bulla.yaml", "/etc/passwd"), ("bulla.yaml", "/dev/zero"), ("bulla.lock", "/etc/passwd")] {
        let project = Project::new().symlink(name, target);
        if name == "bulla.lock" {
            project.write("bulla.yaml", spec("make", "libshop"));
        }
        let ran = offline().run(&project, &["check"]).failure(3);
        assert!(ran.stderr.contains("is a link that leads out of its folder"), "{}", ran.stderr);
        assert!(!ran.stderr.contains("root:"), "{}", ran.stderr);
    }
    let inside = Project::new().file("deploy.yaml", spec("make", "libshop")).symlink("bulla.yaml", "deploy.yaml");
    offline().run(&inside, &["check"]).success();
}

#[test]
fn a_spec_that_never_ends_is_not_waited_for() {
    let project = Project::new();
    let mut mkfifo = std::process::Command::new("mkfifo");
    bulla_testkit::process::output(mkfifo.arg(project.path("bulla.yaml"))).expect("making a FIFO");
    let ran = offline().run(&project, &["check"]).failure(3);
    assert!(ran.stderr.contains("is not a regular file"), "{}", ran.stderr);
}

//! Builds that need no sandbox: an image of files alone. What runs steps is tested with the examples.

use std::process::Command;

use bulla_testkit::{Deb, DebianRepo, Mirror, Project, Release, TestEnvironment, process};

use crate::{offline, online};

const SPEC: &str = "\
bulla: 1
name: site
epoch: 1700000000
sources:
  pages: {path: pages}
params:
  VERSION: {default: dev}
image:
  from: {scratch: {}}
  copy:
    - {source: pages, to: /www}
  entrypoint: [/www/serve]
  labels: {version: \"${VERSION}\"}
  user: 65532
";

pub(crate) fn project() -> Project {
    Project::with_spec(SPEC).file("pages/index.html", "<p>hello</p>").program("pages/serve", "#!/bin/true\n")
}

/// Builds, checks that standard output has the digest alone, and gives it.
#[track_caller]
fn digest(environment: &TestEnvironment, project: &Project, arguments: &[&str]) -> String {
    let ran = environment.run(project, &[&["build"], arguments].concat()).success();
    let digest = ran.stdout.strip_suffix('\n').expect("a line").to_owned();
    assert!(digest.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64), "{}", ran.stdout);
    digest
}

#[test]
fn the_same_files_give_the_same_digest_anywhere() {
    let (first, second) = (project(), project());
    let one = digest(&offline(), &first, &[]);
    // Whatever changes this changes every image: it needs another `format`, and a line in CHANGELOG.md.
    assert_eq!(one, "sha256:551b266258469ad43c73aae6fbf959fe5886ab0f7e62509e25a2e9e6e5e4281f");
    assert_eq!(one, digest(&offline(), &second, &["--jobs", "1"]));
    second.write("pages/index.html", "<p>other</p>");
    assert_ne!(one, digest(&offline(), &second, &[]));
}

#[test]
fn an_image_of_packages_has_the_digest_that_it_always_had() {
    let (_repo, _mirror, environment) = online();
    let spec = SPEC.replace("from: {scratch: {}}", "from: {debian: trixie, suites: [trixie], packages: [libshop]}");
    let project =
        Project::with_spec(&spec).file("pages/index.html", "<p>hello</p>").program("pages/serve", "#!/bin/true\n");
    let digest = digest(&environment, &project, &[]);
    let files = environment.run(&project, &["inspect", "--files"]).success().stdout;
    assert!(files.contains("/usr/lib/libshop.so"), "{files}");
    let golden = "sha256:35fcede75a6002482c494c06fceb28d89eaee021899403d0f1d237654121c10a";
    assert_eq!(digest, golden, "see the_same_files_give_the_same_digest_anywhere");
}

#[test]
fn an_image_may_have_more_packages_than_a_session_has_open_files() {
    let mut repo = DebianRepo::new("trixie");
    let names: Vec<String> = (0..64).map(|at| format!("part-{at}")).collect();
    for name in &names {
        repo.add(&Deb::new(name, "1").file(&format!("usr/share/{name}"), 0o644, name.as_str()));
    }
    repo.publish(&Release::default());
    let mirror = Mirror::serve(repo.root());
    let from = format!("from: {{debian: trixie, suites: [trixie], packages: [{}]}}", names.join(", "));
    let project = Project::with_spec(&SPEC.replace("from: {scratch: {}}", &from)).file("pages/index.html", "");
    let limited = |files: &str| {
        let environment = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &repo, &mirror);
        environment.through(&["prlimit", &format!("--nofile={files}")])
    };
    digest(&limited("48:1024"), &project, &[]);
    // The control: where the limit is the user's last, they are too many.
    let ran = limited("48:48").run(&project, &["build"]).failure(4);
    assert!(ran.stderr.contains("ulimit -n"), "{}", ran.stderr);
}

#[test]
fn a_layout_is_written_that_inspect_reads_and_git_ignores() {
    let (environment, project) = (offline(), project());
    let digest = digest(&environment, &project, &["--tag", "site:1", "--tag", "site:latest"]);
    assert!(project.read("bulla-out/index.json").contains(&digest));
    assert_eq!(project.read("bulla-out/.gitignore"), "*\n");
    let shown = environment.run(&project, &["inspect", "--files"]).success().stdout;
    assert!(shown.starts_with(&digest), "the digest is not that of the build: {shown}");
    for part in ["site:1, site:latest", "/www/serve", "0755", "/www/index.html", "user        65532"] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    let json = environment.run(&project, &["inspect", "--json"]).success().stdout;
    assert!(json.starts_with('{') && json.lines().count() == 1 && json.contains("\"layers\":["), "{json}");
}

#[test]
fn archives_are_written_where_they_are_named() {
    let (environment, project) = (offline(), project());
    let outputs = ["--output", "oci-archive:site.tar", "--output", "docker-archive:docker.tar", "-o", "oci:there"];
    let digest = digest(&environment, &project, &outputs);
    assert!(project.path("docker.tar").is_file() && project.path("there/oci-layout").is_file());
    assert!(!project.path("bulla-out").exists(), "the usual place is left alone when others are named");
    let shown = environment.run(&project, &["inspect", "site.tar"]).success().stdout;
    let of_layout = environment.run(&project, &["inspect", "there"]).success().stdout;
    assert_eq!(shown, of_layout);
    assert!(project.read("there/index.json").contains(&digest));
    environment.run(&project, &["build", "--output", "zip:x"]).failure(2);
}

#[test]
fn a_folder_of_the_user_is_not_written_over() {
    let project = project().file("mine/thesis.txt", "years of work");
    let ran = offline().run(&project, &["build", "--output", "oci:mine"]).failure(3);
    assert!(ran.stderr.contains("and would be written over"), "{}", ran.stderr);
    assert_eq!(project.read("mine/thesis.txt"), "years of work");
}

#[test]
fn params_are_set_and_unknown_ones_refused() {
    let (environment, project) = (offline(), project());
    digest(&environment, &project, &["--set", "VERSION=1.4.2"]);
    assert!(environment.run(&project, &["inspect", "--json"]).success().stdout.contains("1.4.2"));
    environment.run(&project, &["build", "--set", "NOSUCH=1"]).failure(3);
    environment.run(&project, &["build", "--set", "VERSION"]).failure(2);
}

#[test]
fn locked_forbids_a_new_lock_and_a_dirty_tree() {
    let environment = offline();
    let project = project();
    environment.run(&project, &["build", "--locked"]).failure(7);
    assert!(!project.path("bulla.lock").exists());
    let built = digest(&environment, &project, &[]);
    assert_eq!(built, digest(&environment, &project, &["--locked"]), "a folder without git has no state");
    if !process::exists("git") {
        bulla_testkit::skipped("a dirty tree", "there is no git");
        return;
    }
    for words in [
        &["init", "-q"][..],
        &["add", "."],
        &["-c", "user.name=T", "-c", "user.email=t@mirror.example", "commit", "-qm", "x"],
    ] {
        let mut git = Command::new("git");
        git.args(words).current_dir(project.root()).env("GIT_CONFIG_GLOBAL", "/dev/null");
        process::output(&mut git).expect("git works");
    }
    digest(&environment, &project, &["--locked"]);
    project.write("pages/index.html", "changed");
    let dirty = environment.run(&project, &["build", "--locked"]).failure(7);
    assert!(dirty.stderr.contains("--allow-dirty"), "{}", dirty.stderr);
    digest(&environment, &project, &["--locked", "--allow-dirty"]);
}

#[test]
fn builds_are_in_the_history_of_their_project() {
    let (environment, project) = (offline(), project());
    let digest = digest(&environment, &project, &[]);
    let broken = Project::with_spec(&SPEC.replace("to: /www}", "to: /www}\n    - {source: pages/gone, to: /x}"))
        .file("pages/x", "");
    let failed = environment.run(&broken, &["build"]);
    assert_ne!(failed.code, Some(0));
    let history = environment.run(&project, &["history"]).success().stdout;
    assert!(history.lines().count() == 1 && history.contains("succeeded") && history.contains(&digest), "{history}");
    let all = environment.run(&project, &["history", "--all", "--json"]).success().stdout;
    assert!(all.lines().count() == 2 && all.contains(r#""outcome":"failed""#), "{all}");
}

#[test]
fn the_second_build_takes_the_layers_of_the_first() {
    let (environment, project) = (offline(), project());
    digest(&environment, &project, &[]);
    let again = environment.run(&project, &["build", "--progress", "plain"]).success();
    assert!(again.stderr.contains("cached"), "{}", again.stderr);
    let anew = environment.run(&project, &["build", "--no-cache"]).success();
    assert_eq!(again.stdout, anew.stdout);
}

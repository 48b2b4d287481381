//! Git checkouts around sources: those of other users, and those of which only a part is there.

use std::process::Command;

use bulla_testkit::{Project, process, skipped};

use crate::{offline, workspace::run_in};

/// Runs git without the machine's configuration.
#[track_caller]
fn git(project: &Project, arguments: &[&str]) -> String {
    let mut git = Command::new("git");
    git.args(["-c", "user.name=T", "-c", "user.email=t@mirror.example", "-c", "commit.gpgsign=false"])
        .args(["-c", "init.defaultBranch=main"])
        .args(arguments)
        .current_dir(project.root())
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null");
    process::output(&mut git).unwrap_or_else(|error| panic!("git {arguments:?}: {error}"))
}

const SPEC: &str = "bulla: 1
name: shop
epoch: 1700000000
sources:
  pages: {path: pages}
image:
  from: {scratch: {}}
  copy:
    - {source: pages, to: /www}
  entrypoint: [/www/serve]
  user: 65532
";

/// A project in the folder `shop`, which lies in a git checkout.
fn below_git() -> Project {
    let project = Project::new().file("shop/bulla.yaml", SPEC).file("shop/pages/index.html", "hello");
    let project = project.program("shop/pages/serve", "#!/bin/true\n");
    git(&project, &["init", "--quiet"]);
    project
}

#[test]
fn another_users_checkout_around_a_project_is_not_believed() {
    if !process::is_root() || !process::exists("git") {
        return skipped("another user's checkout", "it needs root, to make files of another user, and git");
    }
    let project = below_git();
    project.write(".git/info/exclude", "index.html\n");
    let environment = offline();
    let listed = || {
        let ran = run_in(&environment, &project, "shop", &["build", "--output", "oci:../out"]).success();
        let shown = environment.run(&project, &["inspect", "--files", "out"]).success().stdout;
        (shown.contains("/www/index.html"), ran.stderr)
    };
    assert!(!listed().0, "the control: what its own checkout ignores is no part of a source");
    let give = |user: &str| process::output(Command::new("chown").args(["-R", user]).arg(project.path(".git")));
    give("nobody").expect("giving it away");
    let (there, said) = listed();
    assert!(there, "a stranger does not say what a project is made of");
    assert!(said.contains("belongs to the user") && said.contains("it is not used"), "{said}");
    // It is that of who owns the project as well.
    process::output(Command::new("chown").args(["-R", "nobody"]).arg(project.path("shop"))).expect("giving it away");
    let (there, said) = listed();
    assert!(!there && !said.contains("belongs to the user"), "{said}");
}

#[test]
fn a_checkout_with_a_sparse_index_is_read() {
    if !process::exists("git") {
        return skipped("a sparse index", "there is no git");
    }
    let project = below_git().file("other/deep/file", "x").file("other/file", "y").file("third/file", "z");
    let environment = offline();
    run_in(&environment, &project, "shop", &["lock"]).success();
    git(&project, &["add", "--all"]);
    git(&project, &["commit", "--quiet", "-m", "x"]);
    let build = |arguments: &[&str]| run_in(&environment, &project, "shop", &[&["build"], arguments].concat());
    let whole = build(&["--locked"]).success().stdout;
    git(&project, &["sparse-checkout", "set", "--cone", "--sparse-index", "shop"]);
    if !git(&project, &["ls-files", "--sparse"]).lines().any(|line| line == "other/") {
        return skipped("a sparse index", "this git makes none");
    }
    assert!(!project.path("other").exists());
    assert_eq!(build(&["--locked"]).success().stdout, whole);
    let none = build(&["--since", "HEAD"]).success();
    assert!(none.stdout.is_empty() && none.stderr.contains("Nothing that is built"), "{}", none.stderr);

    // Edited, staged, committed; and a file of what was left out that is there all the same.
    let dirty = |why: &str| assert!(build(&["--locked"]).failure(7).stderr.contains("--allow-dirty"), "{why}");
    project.write("shop/pages/index.html", "edited");
    dirty("edited");
    build(&[]).success();
    assert!(!build(&["--since", "HEAD"]).success().stdout.is_empty());
    git(&project, &["add", "shop"]);
    dirty("staged");
    git(&project, &["commit", "--quiet", "-m", "y"]);
    build(&["--locked"]).success();
    fs_err::remove_file(project.path("shop/pages/index.html")).expect("removed");
    dirty("removed");
    git(&project, &["checkout", "--quiet", "shop"]);
    build(&["--locked"]).success();
    git(&project, &["rm", "--quiet", "--cached", "--sparse", "third/file"]);
    dirty("what was left out is removed");
}

//! Workspaces: members that are found, built, locked and checked together, and what they inherit.

use bulla_testkit::{Project, Ran, TestEnvironment};

use crate::{offline, online, spec, world};

/// A workspace of two members and a folder that is none, with these settings.
pub(crate) fn workspace(settings: &str) -> Project {
    let text = format!("bulla: 1\nmembers: [services/*, tools/builder]\n{settings}");
    let project = Project::new().file("bulla.workspace.yaml", text).file("services/README.md", "");
    for (folder, name) in [("services/cart", "cart"), ("services/shop", "shop"), ("tools/builder", "builder")] {
        add(&project, folder, name);
    }
    project.file("services/notes/todo.txt", "").file("services/shop/inner/bulla.yaml", "is no member")
}

/// Adds a member whose image is a folder of files.
pub(crate) fn add(project: &Project, folder: &str, name: &str) {
    let spec = format!(
        "bulla: 1
name: {name}
sources:
  pages: {{path: pages, ignore: ['*.md']}}
params:
  VERSION: {{default: dev}}
image:
  from: {{scratch: {{}}}}
  copy:
    - {{source: pages, to: /www}}
  labels: {{version: \"${{VERSION}}\"}}
  user: 65532
"
    );
    project.write(&format!("{folder}/bulla.yaml"), spec);
    project.write(&format!("{folder}/pages/index.html"), name);
}

/// Runs the program in a folder of a project.
pub(crate) fn run_in(environment: &TestEnvironment, project: &Project, folder: &str, arguments: &[&str]) -> Ran {
    environment.own(project);
    let out = environment.command(&project.path(folder)).args(arguments).output().expect("bulla can be run");
    Ran {
        code: out.status.code(),
        stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
    }
}

/// Gives the names before the digests on standard output.
#[track_caller]
pub(crate) fn names(ran: &Ran) -> Vec<&str> {
    let name = |line| {
        let (name, digest) = str::split_once(line, ' ').unwrap_or_else(|| panic!("{line}"));
        assert!(digest.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64), "{line}");
        name
    };
    ran.stdout.lines().map(name).collect()
}

#[test]
fn in_its_folder_all_members_are_built_and_each_alone_is_the_same() {
    let (environment, project) = (offline(), workspace("settings: {epoch: 1700000000}\n"));
    let ran = environment.run(&project, &["build"]).success();
    assert_eq!(names(&ran), ["services/cart", "services/shop", "tools/builder"]);
    assert!(ran.stderr.contains("=== services/shop (2 of 3)"), "{}", ran.stderr);
    for (folder, line) in ["services/cart", "services/shop", "tools/builder"].into_iter().zip(ran.stdout.lines()) {
        assert!(project.path(folder).join("bulla-out/index.json").is_file(), "{folder}");
        assert!(project.path(folder).join("bulla.lock").is_file(), "{folder}");
        let alone = run_in(&environment, &project, folder, &["build"]).success();
        assert_eq!(line, format!("{folder} {}", alone.stdout.trim_end()), "the same inside of the member");
    }
    assert!(!project.path("bulla-out").exists() && !project.path("bulla.lock").exists());
    // The control: what is inherited is in the image, so without the workspace it is another one.
    fs_err::remove_file(project.path("bulla.workspace.yaml")).expect("removing it");
    let other = run_in(&environment, &project, "services/shop", &["build"]).success();
    assert!(!ran.stdout.contains(other.stdout.trim_end()), "{}", other.stdout);
}

#[test]
fn named_members_alone_are_built_wherever_one_is() {
    let (environment, project) = (offline(), workspace(""));
    let two = environment.run(&project, &["build", "tools/builder", "services/shop/", "tools/builder"]).success();
    assert_eq!(names(&two), ["tools/builder", "services/shop"]);
    let one = environment.run(&project, &["build", "./services/shop", "--output", "oci:there"]).success();
    assert!(one.stdout.starts_with("sha256:") && project.path("there/index.json").is_file(), "{}", one.stdout);
    let beside = run_in(&environment, &project, "services/shop", &["build", "../cart"]).success();
    assert!(beside.stdout.starts_with("sha256:") && project.path("services/cart/bulla-out").is_dir());
    for (named, told) in [
        ("services/notes", "is no member of"),
        ("services/shop/inner", "is no member of"),
        ("..", "is no member of"),
        ("services/none", "No such file"),
    ] {
        let ran = environment.run(&project, &["build", named]);
        assert!(ran.code != Some(0) && ran.stderr.contains(told) && ran.stdout.is_empty(), "{named}: {}", ran.stderr);
    }
    let alone = Project::new();
    let none = environment.run(&alone, &["build", "x"]).failure(3);
    assert!(none.stderr.contains("lies in no workspace"), "{}", none.stderr);
}

#[test]
fn one_that_fails_does_not_stop_the_others_and_the_highest_code_is_the_end() {
    let (environment, project) = (offline(), workspace(""));
    let spec = project.read("services/cart/bulla.yaml");
    project.write("services/cart/bulla.yaml", spec.replace("name:", "naem:"));
    let ran = environment.run(&project, &["build"]).failure(3);
    assert_eq!(names(&ran), ["services/shop", "tools/builder"]);
    assert!(ran.stderr.contains("services/cart/bulla.yaml:2:1"), "{}", ran.stderr);
    assert!(ran.stderr.contains("1 of 3 members failed: services/cart"), "{}", ran.stderr);
    // No lock, and `--locked`: that is policy, whose code is higher.
    fs_err::remove_file(project.path("tools/builder/bulla.lock")).expect("removing it");
    let two = environment.run(&project, &["build", "--locked"]).failure(7);
    assert!(two.stderr.contains("2 of 3 members failed: services/cart, tools/builder"), "{}", two.stderr);
    let first = environment.run(&project, &["build", "--fail-fast"]).failure(3);
    assert_eq!(first.stdout, "");
}

#[test]
fn what_is_for_one_image_is_refused_for_several() {
    let (environment, project) = (offline(), workspace(""));
    for option in [
        &["--tag", "x:1"][..],
        &["--output", "oci:x"],
        &["--push", "registry.example/x"],
        &["--watch"],
        &["--no-cache=build"],
        &["--set", "NONE=1"],
        &["--target", "none"],
        &["--file", "services/shop/bulla.yaml", "services/shop"],
    ] {
        let ran = environment.run(&project, &[&["build"], option].concat()).failure(3);
        assert!(
            ran.stdout.is_empty() && !project.path("services/shop/bulla-out").exists(),
            "{option:?}: {}",
            ran.stderr
        );
    }
    add(&project, "services/copy", "shop");
    let twice = environment.run(&project, &["build", "--load"]).failure(3);
    assert!(twice.stderr.contains("both have the name `shop`"), "{}", twice.stderr);
}

#[test]
fn params_are_set_in_the_members_that_have_them() {
    let (environment, project) = (offline(), workspace(""));
    let spec = project.read("services/cart/bulla.yaml");
    let without = spec.replace("params:\n  VERSION: {default: dev}\n", "").replace("\"${VERSION}\"", "none");
    project.write("services/cart/bulla.yaml", without);
    let plain = environment.run(&project, &["build"]).success().stdout;
    let set = environment.run(&project, &["build", "--set", "VERSION=2"]).success().stdout;
    let same: Vec<bool> = plain.lines().zip(set.lines()).map(|(one, two)| one == two).collect();
    assert_eq!(same, [true, false, false]);
}

#[test]
fn check_looks_at_all_members_and_their_places() {
    let (environment, project) = (offline(), workspace("settings:\n  forbid: [root-user]\n"));
    let good = environment.run(&project, &["check"]).success();
    assert_eq!(good.stderr.matches("is good").count(), 3, "{}", good.stderr);
    let spec = project.read("services/shop/bulla.yaml");
    project.write("services/shop/bulla.yaml", format!("{spec}  allow: {{root-user: it binds port 80}}\n"));
    let ran = environment.run(&project, &["check"]).failure(3);
    assert_eq!(ran.stderr.matches("is good").count(), 2, "{}", ran.stderr);
    for part in [
        "services/shop/bulla.yaml:13:22",
        "the image may run as root, and the workspace forbids `root-user` (bulla.workspace.yaml:4:12)",
        "only a waiver in bulla.workspace.yaml lets it be looser",
    ] {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
    let alone = run_in(&environment, &project, "services/shop", &["check"]).failure(3);
    assert!(alone.stderr.contains("(../../bulla.workspace.yaml:4:12)"), "{}", alone.stderr);
    environment.run(&project, &["check", "services/cart"]).success();
    let other = environment.run(&project, &["shell", "build"]).failure(3);
    assert!(other.stderr.contains("`--project MEMBER` names a project of it"), "{}", other.stderr);
    // A folder that is no member has no settings of it.
    project.write("apart/bulla.yaml", project.read("services/shop/bulla.yaml"));
    project.write("apart/pages/x", "");
    run_in(&environment, &project, "apart", &["check"]).success();
}

#[test]
fn waivers_are_told_while_they_hold_and_refused_when_they_are_over() {
    let waived = |member: &str, until: &str| {
        let waiver = format!(
            "  - member: {member}\n    setting: root-user\n    reason: until the proxy is there\n    until: {until}\n"
        );
        let project = workspace(&format!("settings:\n  forbid: [root-user]\nwaivers:\n{waiver}"));
        let spec = project.read("services/shop/bulla.yaml");
        project.write("services/shop/bulla.yaml", format!("{spec}  allow: {{root-user: it binds port 80}}\n"));
        project
    };
    let environment = offline();
    let holds = environment.run(&waived("services/shop", "2999-12-31"), &["build"]).success();
    assert!(
        holds.stderr.contains("services/shop: `root-user` is waived until 2999-12-31: until the proxy is there"),
        "{}",
        holds.stderr
    );
    let over = environment.run(&waived("services/shop", "2020-01-31"), &["build"]).failure(3);
    assert!(
        over.stderr.contains("the waiver of `root-user` ended on 2020-01-31 (bulla.workspace.yaml:6:13)"),
        "{}",
        over.stderr
    );
    assert_eq!(names(&over), ["services/cart", "tools/builder"]);
    // A waiver has no other effect: the image of the member that needs it is the same as where nothing is forbidden.
    let bare = waived("services/shop", "2999-12-31");
    bare.write("bulla.workspace.yaml", "bulla: 1\nmembers: [services/*, tools/builder]\n");
    assert_eq!(environment.run(&bare, &["build"]).success().stdout, holds.stdout);
    let none = environment.run(&waived("services/gone", "2999-12-31"), &["check"]).failure(3);
    assert!(none.stderr.contains("there is no member services/gone"), "{}", none.stderr);
    let idle = environment.run(&waived("services/cart", "2999-12-31"), &["check", "services/cart"]).success();
    assert!(idle.stderr.contains("the waiver of `root-user` for services/cart is for nothing"), "{}", idle.stderr);
}

#[test]
fn locks_are_made_beside_each_spec_with_what_is_inherited() {
    let (_repo, _mirror, environment) = online();
    let settings = "settings:\n  debian:\n    trixie: {suites: [trixie]}\n";
    let project = Project::new().file("bulla.workspace.yaml", format!("bulla: 1\nmembers: ['*']\n{settings}"));
    let text = spec("make", "libshop").replace(" suites: [trixie],", "");
    project.write("one/bulla.yaml", &text);
    project.write("two/bulla.yaml", text.replace("[make]", "[make, extra]"));
    environment.run(&project, &["lock"]).success();
    let (one, two) = (project.read("one/bulla.lock"), project.read("two/bulla.lock"));
    assert!(one.contains("libshop") && !one.contains("libextra") && two.contains("libextra"), "{one}{two}");
    let checked = environment.run(&project, &["check", "--locked"]).success();
    assert_eq!(checked.stderr.matches("the lock is of this spec").count(), 2, "{}", checked.stderr);
    // The control: the mirror has no other suite, and the usual ones would be asked for.
    let alone = run_in(&environment, &project, "one", &["check", "--locked"]).success();
    assert!(alone.stderr.contains("the lock is of this spec"), "{}", alone.stderr);
    project.write("bulla.workspace.yaml", "bulla: 1\nmembers: ['*']\n");
    let stale = run_in(&environment, &project, "one", &["check", "--locked"]).failure(7);
    assert!(stale.stderr.contains("is not of this spec"), "{}", stale.stderr);
    project.write("bulla.workspace.yaml", format!("bulla: 1\nmembers: ['*']\n{settings}"));
    let named = environment.run(&project, &["lock", "--update", "libextra"]).success();
    assert!(named.stderr.contains("one/bulla.lock is of this spec"), "{}", named.stderr);
    let unknown = environment.run(&project, &["lock", "--update", "nosuch"]).failure(3);
    assert!(unknown.stderr.contains("no member's lock has"), "{}", unknown.stderr);
    environment.run(&project, &["lock", "--member", "one"]).success();
}

#[test]
fn an_inherited_refusal_fails_the_build_of_a_member() {
    let Some(world) = world::World::new("an inherited setting") else { return };
    let project = Project::new().file("bulla.workspace.yaml", "bulla: 1\nmembers: [app]\n");
    let steps = ["mkdir out", "nc -w 1 203.0.113.7 443 </dev/null || true", "cp hello out/hello"];
    project.write("app/bulla.yaml", world::spec("", &steps, "/src/app/out"));
    project.write("app/app/hello", "hello\n");
    let control = world.build(&project, &[]).success();
    assert_eq!(names(&control), ["app"]);
    project.write("bulla.workspace.yaml", "bulla: 1\nmembers: [app]\nsettings: {on-refusal: fail}\n");
    for folder in [".", "app"] {
        let ran = run_in(&world.environment, &project, folder, &["build"]);
        assert!(ran.code != Some(0) && ran.stderr.contains("203.0.113.7:443"), "{folder}: {}", ran.stderr);
        assert_eq!(ran.stdout, "");
    }
}

#[test]
fn the_example_is_built() {
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/workspace");
    let (environment, project) = (offline(), Project::new().tree(&examples));
    let ran = environment.run(&project, &["build"]).success();
    assert_eq!(names(&ran), ["services/docs", "services/site"]);
    assert!(ran.stderr.contains("services/docs: `root-user` is waived until 2999-12-31: the old"), "{}", ran.stderr);
    let shown = run_in(&environment, &project, "services/site", &["inspect", "--files"]).success().stdout;
    assert!(shown.contains("/www/index.html") && !shown.contains("notes.md"), "{shown}");
    // The control: what the waiver is for.
    let text = project.read("bulla.workspace.yaml");
    project.write("bulla.workspace.yaml", text.split("waivers:").next().unwrap_or_default());
    let refused = environment.run(&project, &["check"]).failure(3);
    assert!(refused.stderr.contains("the workspace forbids `root-user`"), "{}", refused.stderr);
}

#[test]
fn the_workspace_may_be_a_project_too() {
    let (environment, project) = (offline(), workspace(""));
    project.write("bulla.workspace.yaml", "bulla: 1\nmembers: [., services/shop]\n");
    add(&project, ".", "root");
    let ran = environment.run(&project, &["build"]).success();
    assert_eq!(names(&ran), [".", "services/shop"]);
    let one = environment.run(&project, &["build", "."]).success();
    assert!(ran.stdout.contains(&format!(". {}", one.stdout)), "{}", ran.stdout);
}

//! Parts of a build: one stage and what it needs, and steps that are run again.

use bulla_testkit::{Deb, Project};

use crate::world::World;

const SPEC: &str = "\
bulla: 1
name: parts
sources:
  app: {path: app}
stages:
  build:
    from: {debian: trixie, suites: [trixie], packages: [tools]}
    steps:
      - mkdir out; cp hello out/hello
      - echo more >out/more
    outputs: {out: /src/app/out}
  check:
    stage: build
    steps:
      - test -s out/more
  broken:
    from: {debian: trixie, suites: [trixie], packages: [tools, extra]}
    steps:
      - exit 3
image:
  from: {scratch: {}}
  copy:
    - {output: build.out, to: /out}
  entrypoint: [/out]
  user: 65532
";

fn project() -> Project {
    Project::with_spec(SPEC).file("app/hello", "hello\n")
}

#[test]
fn a_target_runs_what_it_needs_and_writes_no_image() {
    let Some(mut world) = World::new("one stage of a build") else { return };
    world.publish(&Deb::new("extra", "1").file("usr/lib/extra", 0o644, "extra"));
    let project = project();
    let ran = world.build(&project, &["--target", "check", "--progress", "json"]).success();
    assert_eq!(ran.stdout, "", "there is no digest of an image");
    assert!(!project.path("bulla-out").exists(), "an image was written");
    for (title, wanted) in [("build 2/2", true), ("check 1/1", true), ("broken 1/1", false), ("image:", false)] {
        assert_eq!(ran.stderr.contains(&format!("\"title\":\"{title}")), wanted, "{title}: {}", ran.stderr);
    }
    let asked = |name: &str| world.mirror.requests().iter().any(|request| request.path.contains(name));
    assert!(asked("tools_1") && !asked("extra_1"), "packages of other stages are not fetched");
    // The control: the whole build runs the stage that fails, and fetches its package.
    world.build(&project, &[]).failure(1);
    assert!(asked("extra_1"));
    let history = world.environment.run(&project, &["history"]).success().stdout;
    assert!(history.contains("succeeded") && history.contains("failed"), "{history}");
}

#[test]
fn steps_run_again_all_or_those_that_are_named() {
    let Some(world) = World::new("steps that run again") else { return };
    let project = Project::with_spec(&SPEC.replace(", extra", "")).file("app/hello", "hello\n");
    let run = |arguments: &[&str]| {
        let ran = world.build(&project, &[&["--target", "check"], arguments].concat()).success();
        let (_, told) = ran.stderr.rsplit_once(": ").expect("a summary");
        told.trim_end().to_owned()
    };
    assert_eq!(run(&[]), "4 of 4 steps run.");
    assert_eq!(run(&[]), "0 of 4 steps run.");
    assert_eq!(run(&["--no-cache=build/2"]), "1 of 4 steps run.", "what comes out is the same, so the next is not run");
    assert_eq!(run(&["--no-cache=build"]), "2 of 4 steps run.");
    assert_eq!(run(&["--no-cache=build/1", "--no-cache=check"]), "2 of 4 steps run.");
    assert_eq!(run(&["--no-cache"]), "4 of 4 steps run.");
    assert_eq!(run(&[]), "0 of 4 steps run.");
}

#[test]
fn stages_and_steps_that_are_not_there_are_named_with_those_that_are() {
    let environment = crate::offline();
    let project = project();
    let wrong = |arguments: &[&str], code| environment.run(&project, &[&["build"], arguments].concat()).failure(code);
    let ran = wrong(&["--target", "chekc"], 3);
    assert!(ran.stderr.contains("no stage `chekc`") && ran.stderr.contains("broken, build, check"), "{}", ran.stderr);
    let ran = wrong(&["--no-cache=build/3"], 3);
    assert!(ran.stderr.contains("no step 3") && ran.stderr.contains("build/1 to build/2"), "{}", ran.stderr);
    wrong(&["--target", "Build"], 2);
    wrong(&["--no-cache=build/0"], 2);
    wrong(&["--target", "check", "--output", "oci:x"], 2);
    // Without a `=` the word is taken for a member.
    let ran = wrong(&["--no-cache", "build"], 3);
    assert!(ran.stderr.contains("no members to name") && ran.stderr.contains("`--no-cache=build`"), "{}", ran.stderr);
    assert!(!project.path("bulla.lock").exists(), "nothing was resolved for them");
}

//! Why a step ran again.

use bulla_testkit::{Deb, Project, TestEnvironment, contains};

use crate::world::{World, files};

const SPEC: &str = "\
bulla: 1
name: explained
sources:
  app: {path: app}
params:
  VERSION: {default: '1'}
  API_TOKEN: {default: none}
stages:
  build:
    from: {debian: trixie, suites: [trixie], packages: [tools]}
    steps:
      - run: mkdir out; cp hello out/hello
        sees: [hello]
      - echo $VERSION >out/version
    outputs: {out: /src/app/out}
image:
  from: {scratch: {}}
  copy:
    - {output: build.out, to: /out}
  entrypoint: [/out]
  user: 65532
";

fn project() -> Project {
    Project::with_spec(SPEC).file("app/hello", "hello\n").file("app/other", "other\n")
}

#[track_caller]
fn explain(environment: &TestEnvironment, project: &Project, arguments: &[&str]) -> String {
    environment.run(project, &[&["explain"], arguments].concat()).success().stdout
}

#[test]
fn files_variables_and_layers_that_differ_are_named() {
    let Some(world) = World::new("why a step ran again") else { return };
    let (environment, project) = (&world.environment, project());
    let nothing = environment.run(&project, &["explain"]).failure(3);
    assert!(nothing.stderr.contains("no build of this project"), "{}", nothing.stderr);

    world.build(&project, &[]).success();
    let first = explain(environment, &project, &[]);
    assert_eq!(first.matches("for the first time").count(), 3, "{first}");
    world.build(&project, &[]).success();
    let again = explain(environment, &project, &[]);
    assert_eq!(again.matches("unchanged").count(), 3, "{again}");

    project.write("app/hello", "changed\n");
    project.write("app/new", "new\n");
    fs_err::remove_file(project.path("app/other")).expect("removed");
    world.build(&project, &["--set", "VERSION=2", "--set", "API_TOKEN=hunter2"]).success();
    let one = explain(environment, &project, &["build/1"]);
    for part in [
        "source /src/app changed",
        "changed  hello (content)",
        "variable VERSION 1 → 2",
        "variable API_TOKEN changed (its value is not kept)",
    ] {
        assert!(one.contains(part), "{part} is not in {one}");
    }
    assert!(!one.contains("new") && !one.contains("other") && !one.contains("command"), "more than it saw: {one}");
    let two = explain(environment, &project, &["build/2"]);
    for part in [
        "changed  hello (content)",
        "added    new",
        "removed  other",
        "what build/1 left changed: see `bulla explain build/1`",
        "changed  src/app/out/hello (content)",
    ] {
        assert!(two.contains(part), "{part} is not in {two}");
    }
    // All of a stage, for people and for programs.
    let stage = explain(environment, &project, &["build"]);
    assert!(stage.contains(&one) && stage.contains(&two), "{stage}");
    let json = explain(environment, &project, &["build/1", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("one object");
    assert_eq!((json["stage"].as_str(), json["outcome"].as_str()), (Some("build"), Some("ran")));
    let differences = json["reason"]["differences"].as_array().expect("differences");
    assert_eq!(differences.len(), 3, "{json:#}");
    assert_eq!(json["compared_with"]["step"], 1);
    // The control of the secret: the other value is there, this one nowhere in the index.
    let index = fs_err::read(world.environment.store().join("index.sqlite")).expect("the index");
    let has = |text: &str| contains(&index, text);
    assert!(has("VERSION") && has("API_TOKEN") && !has("hunter2"));

    let none = environment.run(&project, &["explain", "build/3"]).failure(3);
    assert!(none.stderr.contains("build, build/1, build/2"), "{}", none.stderr);
}

#[test]
fn packages_that_differ_are_named_with_their_versions() {
    let Some(mut world) = World::new("why a root was made again") else { return };
    let project = project();
    world.build(&project, &[]).success();
    world.publish(&Deb::new("extra", "1.5").file("usr/lib/extra", 0o644, "extra"));
    project.write("bulla.yaml", SPEC.replace("[tools]", "[tools, extra]").replace(">out/version", ">>out/version"));
    world.build(&project, &[]).success();
    let told = explain(&world.environment, &project, &["build"]);
    assert_eq!(told.matches("package extra added: 1.5").count(), 3, "{told}");
    assert_eq!(told.matches("now     /bin/sh -eu -c 'echo $VERSION >>out/version'").count(), 1, "{told}");
    assert!(!told.contains("package tools"), "{told}");
}

#[test]
fn a_step_that_did_not_have_to_run_says_why_it_did() {
    let Some(world) = World::new("steps that ran for other reasons") else { return };
    let project = project();
    world.build(&project, &[]).success();
    world.build(&project, &["--no-cache=build/2"]).success();
    let forced = explain(&world.environment, &project, &[]);
    assert!(forced.contains("`--no-cache` said so") && forced.matches("unchanged").count() == 2, "{forced}");
    world.environment.run(&project, &["store", "gc", "--keep", "0B"]).success();
    world.build(&project, &[]).success();
    let gone = explain(&world.environment, &project, &["build/2"]);
    assert!(gone.contains("its result was no longer in the store"), "{gone}");
    project.write("bulla.yaml", SPEC.replace("echo $VERSION >out/version", "exit 3"));
    for says in ["its command", "it had failed"] {
        world.build(&project, &[]).failure(1);
        let failed = explain(&world.environment, &project, &[]);
        assert!(failed.contains("failed") && failed.contains(says), "{says} is not in {failed}");
    }
    // A step is known again where another was put before it.
    project.write("bulla.yaml", SPEC.replace("      - run: mkdir", "      - \"true\"\n      - run: mkdir"));
    world.build(&project, &[]).success();
    let moved = explain(&world.environment, &project, &["build/3"]);
    assert!(moved.contains("where it was build/2") && moved.contains("what build/2 left"), "{moved}");
}

#[test]
fn an_index_that_was_damaged_costs_the_explanations_alone() {
    let Some(world) = World::new("a damaged index") else { return };
    let project = project();
    let digest = world.digest(&project);
    let index = world.environment.store().join("index.sqlite");
    fs_err::write(&index, "this is no database, however long it is looked at").expect("damaged");
    assert_eq!(digest, world.digest(&project));
    let told = explain(&world.environment, &project, &[]);
    assert_eq!(told.matches("unchanged").count(), 3, "{told}");
    assert!(files(&world.environment.store()).iter().any(|file| file.ends_with("index.sqlite.damaged")));
}

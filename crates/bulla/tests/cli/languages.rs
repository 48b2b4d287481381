//! Presets of languages, as far as they run: `check` tests what they stand for.

use bulla_testkit::Project;

use crate::world::World;

/// A spec whose tools are a source, in the place of packages.
const SPEC: &str = "\
bulla: 1
name: shout
sources: {app: {path: app}, tools: {path: tools}}
stages:
  build:
    from: {language: go, toolchain: tools, debian: trixie, suites: [trixie], packages: [tools]}
    workdir: /src/app
    dependencies: []
    steps:
      - go mod download
      - go build -o out .
    outputs: {out: /src/app/out}
image:
  from: {scratch: {}}
  copy:
    - {output: build.out, to: /out}
  entrypoint: [/out]
  user: 65532
";

/// Stands for `go`: says which of it ran, and what it found.
const GO: &str = "#!/bin/sh\necho \"$0 $*: $GOFLAGS, CGO_ENABLED=$CGO_ENABLED, $(cat go.mod)\" >>out\n";

#[test]
fn the_tools_of_a_source_are_run_and_a_command_that_reads_the_lock_sees_nothing_else() {
    let Some(world) = World::new("tools from a source") else { return };
    let project = Project::with_spec(SPEC).file("app/go.mod", "module shout\n").file("app/main.go", "package main\n");
    let project = project.program("tools/bin/go", GO);
    let first = world.build(&project, &[]).success();
    // The first command sees go.mod alone: another program does not have it run again.
    project.write("app/main.go", "package main // another\n");
    let again = world.build(&project, &[]).success();
    assert!(again.stderr.contains("1 of 3 steps run"), "{}", again.stderr);
    project.write("app/go.mod", "module louder\n");
    let both = world.build(&project, &[]).success();
    assert!(both.stderr.contains("2 of 3 steps run"), "{}", both.stderr);
    assert_ne!(first.stdout, both.stdout);
    // The control: without the tools there is no `go`.
    let without = SPEC.replace("toolchain: tools, ", "").replace("{language: go, ", "{");
    project.write("bulla.yaml", without);
    let failed = world.build(&project, &[]);
    assert!(failed.code != Some(0) && failed.stderr.contains("go: not found"), "{}", failed.stderr);
}

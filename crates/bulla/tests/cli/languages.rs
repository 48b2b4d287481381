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

#[test]
fn the_tools_of_an_image_are_run_and_the_lock_has_its_digest() {
    let Some(world) = World::new("tools from an image") else { return };
    // An image with the tools of a language, as somebody else made it.
    let image = "bulla: 1
name: golang
sources: {tools: {path: tools}}
image:
  from: {debian: trixie, suites: [trixie], packages: [tools]}
  copy:
    - {source: tools/bin, to: /usr/local/bin}
  user: 65532
";
    let maker = Project::with_spec(image).program("tools/bin/go", GO);
    let preset = "{language: go, image: 'oci:golang'}";
    let spec = SPEC.replace(", tools: {path: tools}", "").replace(
        "{language: go, toolchain: tools, debian: trixie, suites: [trixie], packages: [tools]}",
        &format!("{preset}\n    env: {{PATH: \"/usr/local/bin:/usr/bin:/bin\"}}"),
    );
    let project = Project::with_spec(&spec).file("app/go.mod", "module shout\n").file("app/main.go", "package main\n");
    let to = format!("oci:{}", project.path("golang").display());
    let digest = world.build(&maker, &["--output", &to]).success().stdout.trim_end().to_owned();
    let built = world.build(&project, &[]).success().stdout;
    let lock = project.read("bulla.lock");
    assert!(lock.contains(&digest), "{lock}");
    let said = super::modules::unpacked(&project);
    let said = fs_err::read_to_string(said.path().join("out")).expect("what the tool wrote");
    let variables = ": -trimpath -buildvcs=false, CGO_ENABLED=0, module shout";
    assert!(said.starts_with("/usr/local/bin/go mod download") && said.contains(variables), "{said}");
    // Another image under the name is not taken.
    maker.write("tools/bin/go", "#!/bin/sh\necho another >>out\n");
    world.build(&maker, &["--output", &to]).success();
    let other = world.build(&project, &["--locked"]);
    assert!(other.code != Some(0) && other.stderr.contains("oci:golang"), "{}", other.stderr);
    world.environment.run(&project, &["lock", "--update"]).success();
    assert_ne!(world.build(&project, &[]).success().stdout, built, "the control: when it is told to, it takes it");
}

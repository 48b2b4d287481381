//! Where what is in an image comes from.

use bulla_testkit::{Deb, Project, TestEnvironment};

use crate::{offline, world::World};

const SPEC: &str = "\
bulla: 1
name: traced
sources:
  app: {path: app}
stages:
  base:
    from: {debian: trixie, suites: [trixie], packages: [tools]}
    steps:
      - echo base >dist/based
  build:
    stage: base
    steps:
      - echo made >dist/made
    outputs: {dist: /src/app/dist}
image:
  from: {debian: trixie, suites: [trixie], packages: [extra]}
  copy:
    - {output: build.dist, to: /app}
    - {source: app/hello, to: /hello}
  entrypoint: [/app/made]
  user: 65532
";

#[track_caller]
fn why(environment: &TestEnvironment, project: &Project, what: &str) -> String {
    environment.run(project, &["why", what]).success().stdout
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn files_lead_to_steps_sources_and_packages_and_those_to_keys() {
    let Some(mut world) = World::new("where files come from") else { return };
    world.repo.add(&Deb::new("libextra", "3").file("usr/lib/libextra.so", 0o644, "library"));
    world.publish(&Deb::new("extra", "1.5").depends("libextra (>= 2)").file("usr/share/extra/x", 0o644, "extra"));
    let project = Project::with_spec(SPEC).file("app/hello", "hello\n").file("app/dist/index.html", "<p>");
    let digest = world.digest(&project);
    let (environment, lock) = (&world.environment, project.read("bulla.lock"));

    let made = why(environment, &project, "/app/made");
    says(
        &made,
        &["layer     ", "copy      output build.dist, there /src/app/dist/made", "step      build/1: echo made"],
    );
    says(&why(environment, &project, "/app/based"), &["step      base/1: echo base"]);
    says(&why(environment, &project, "/app/index.html"), &["source    app, app/dist/index.html"]);
    says(&why(environment, &project, "/hello"), &["source    app, app/hello"]);
    says(&why(environment, &project, "/etc/passwd"), &["made of   the packages: system files"]);

    let (_, signed) = lock.split_once("signed-by = [\n    \"").expect("the lock names the key");
    let key = signed.split('"').next().expect("a fingerprint");
    let extra = why(environment, &project, "/usr/share/extra/x");
    says(
        &extra,
        &[
            "package   extra 1.5 (amd64), of the source extra=1.5",
            "wanted    in image: the spec asks for `extra`",
            "suite     trixie, main of debian",
            &format!("signed by {key}"),
        ],
    );
    let pin = lock.split("[[package]]").find(|pin| pin.contains("\"extra\"")).expect("a pin");
    let (_, pinned) = pin.split_once("\ndigest = \"").expect("a digest");
    says(&extra, &[pinned.split('"').next().expect("its end")]);
    says(&why(environment, &project, "/usr/lib/libextra.so"), &["package   libextra 3 (amd64)"]);

    let library = why(environment, &project, "libextra");
    says(&library, &["layer     ", "wanted    in image: needed: extra → libextra", &format!("signed by {key}")]);
    let tools = why(environment, &project, "tools");
    says(&tools, &["in no layer of the image", "in stage.base: the spec asks for `tools`"]);

    let json = environment.run(&project, &["why", "/app/made", "--json"]).success().stdout;
    let json: serde_json::Value = serde_json::from_str(&json).expect("one object");
    assert_eq!((json["image"].as_str(), json["path"].as_str()), (Some(digest.as_str()), Some("/app/made")), "{json:#}");
    let links: Vec<&str> =
        json["chain"].as_array().expect("a chain").iter().filter_map(|l| l["link"].as_str()).collect();
    assert_eq!(links, ["layer", "copy", "step"], "{json:#}");

    for (what, says) in [("/nowhere", "has no /nowhere"), ("nothing", "neither the lock nor"), ("/..", "is no path")] {
        let ran = environment.run(&project, &["why", what]).failure(3);
        assert!(ran.stderr.contains(says), "{what}: {}", ran.stderr);
    }

    // What is not known is said to be unknown, and never guessed.
    says(&why(&offline(), &project, "/app/made"), &["unknown   the build of this image is not in the history"]);
    says(&why(&offline(), &project, "/usr/share/extra/x"), &["unknown   it is of one of these", "extra=1.5"]);
    environment.run(&project, &["store", "gc", "--keep", "0B"]).success();
    says(&why(environment, &project, "/app/made"), &["unknown   what build/1 left is not in the store any more"]);
    project.write("bulla.lock", "no lock");
    says(
        &why(environment, &project, "extra"),
        &["unknown   there is no lock that would say where extra=1.5 comes from"],
    );
}

//! Lists of what images are made of.

mod rpm;

use std::collections::{BTreeMap, BTreeSet};

use bulla_testkit::{Deb, Project, SbomTools, TestEnvironment};
use serde_json::Value;

use crate::{offline, world::World};

const SPEC: &str = "\
bulla: 1
name: listed
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

const FORMATS: [&str; 4] = ["spdx-2.3", "spdx-3.0", "cyclonedx-1.6", "cyclonedx-1.7"];

fn project() -> Project {
    Project::with_spec(SPEC).file("app/hello", "hello\n").file("app/dist/index.html", "<p>")
}

fn world(test: &str) -> Option<World> {
    let mut world = World::new(test)?;
    let copyright =
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nLicense: GPL-2+\n";
    world.repo.add(&Deb::new("libextra", "3").file("usr/lib/libextra.so", 0o644, "library"));
    let extra = Deb::new("extra", "1.5").depends("libextra (>= 2)").file("usr/share/extra/x", 0o644, "extra");
    world.publish(&extra.file("usr/share/doc/extra/copyright", 0o644, copyright));
    Some(world)
}

#[track_caller]
fn list(environment: &TestEnvironment, project: &Project, format: &str) -> String {
    environment.run(project, &["sbom", "--format", format]).success().stdout
}

fn read(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn by_name<'a>(spdx: &'a Value, list: &str, key: &str) -> BTreeMap<&'a str, &'a Value> {
    spdx[list].as_array().expect("a list").iter().filter_map(|one| Some((one[key].as_str()?, one))).collect()
}

/// Gives the pairs that are related in a way.
fn related<'a>(spdx: &'a Value, kind: &str) -> BTreeSet<(&'a str, &'a str)> {
    let all = spdx["relationships"].as_array().expect("a list").iter();
    let ends = |one: &'a Value| Some((one["spdxElementId"].as_str()?, one["relatedSpdxElement"].as_str()?));
    all.filter(|one| one["relationshipType"] == kind).filter_map(ends).collect()
}

#[test]
fn every_file_of_an_own_image_has_an_owner_and_the_list_is_the_same_everywhere() {
    let Some(world) = world("lists of own images") else { return };
    let project = project();
    let digest = world.digest(&project);
    let ran = world.environment.run(&project, &["sbom", "--closed"]).success();
    assert!(ran.stderr.contains(", 0 of them without an owner"), "{}", ran.stderr);
    let spdx = read(&ran.stdout);
    let (packages, files) = (by_name(&spdx, "packages", "name"), by_name(&spdx, "files", "fileName"));
    let id = |one: &Value| one["SPDXID"].as_str().expect("an id").to_owned();
    let owns = |package: &str, file: &str| {
        related(&spdx, "CONTAINS").contains(&(id(packages[package]).as_str(), id(files[file]).as_str()))
    };
    assert!(owns("extra", "./usr/share/extra/x"));
    assert!(owns("listed/build/1", "./app/made") && owns("listed/base/1", "./app/based"), "{packages:#?}");
    assert!(owns("listed/source/app", "./app/index.html") && owns("listed/source/app", "./hello"));
    let made = files["./etc/passwd"]["comment"].as_str();
    assert_eq!(made, Some("made by bulla: system files"));
    let extra = packages["extra"];
    assert_eq!(extra["licenseDeclared"], "GPL-2.0-or-later");
    assert_eq!(extra["checksums"][0]["algorithm"], "SHA256");
    let pinned = extra["checksums"][0]["checksumValue"].as_str().expect("a checksum");
    assert!(project.read("bulla.lock").contains(pinned), "the lock's own pin");
    assert!(related(&spdx, "DEPENDS_ON").contains(&(id(extra).as_str(), id(packages["libextra"]).as_str())));
    // The same image elsewhere has the same list: nothing of the machine or the moment is in it.
    let other = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &world.repo, &world.mirror);
    let again = Project::with_spec(SPEC).file("app/hello", "hello\n").file("app/dist/index.html", "<p>");
    again.write("bulla.lock", project.read("bulla.lock"));
    assert_eq!(other.run(&again, &["build"]).success().stdout.trim_end(), digest);
    for format in FORMATS {
        let text = list(&world.environment, &project, format);
        assert!(text.contains(&digest) || text.contains("listed"), "{format}");
        assert_eq!(text, list(&world.environment, &project, format), "{format}: the second time out of the store");
        assert_eq!(text, list(&other, &again, format), "{format}: by another store");
    }
}

#[test]
fn an_image_of_others_is_read_by_what_is_in_it() {
    let Some(world) = world("lists of images of others") else { return };
    let project = project();
    world.digest(&project);
    // A store that did not build it knows what its packages say, and no more.
    let stranger = offline();
    let ran = stranger.run(&project, &["sbom", "oci:bulla-out", "--closed"]).failure(7);
    assert!(ran.stderr.contains("have no owner") && ran.stderr.contains("/app/made"), "{}", ran.stderr);
    let spdx = read(&list(&stranger, &project, "spdx-2.3"));
    let packages = by_name(&spdx, "packages", "name");
    assert!(packages.contains_key("extra") && packages.contains_key("libextra"));
    assert!(!packages.contains_key("listed/build/1"));
    let purl = packages["extra"]["externalRefs"][0]["referenceLocator"].as_str().expect("a purl");
    assert!(purl.starts_with("pkg:deb/debian/extra@1.5?arch=amd64"), "{purl}");
    assert!(packages["extra"]["sourceInfo"].as_str().is_some_and(|told| told.contains("layer sha256:")));
    stranger.run(&project, &["sbom", "oci:nothing"]).failure(4);
    stranger.run(&project, &["sbom", "--format", "spdx"]).failure(2);
    stranger.run(&project, &["sbom", "--platform", "linux/arm64"]).failure(3);
    let file = project.path("list.json");
    let ran = stranger.run(&project, &["sbom", "--output", &file.display().to_string()]).success();
    assert_eq!((ran.stdout.as_str(), read(&project.read("list.json"))), ("", spdx));
}

#[test]
fn an_image_that_was_changed_after_the_build_is_noticed() {
    let Some(world) = world("images that were changed") else { return };
    let project = project();
    world.build(&project, &["--evidence", "none"]).success();
    let layout = project.path("bulla-out/blobs/sha256");
    let largest = fs_err::read_dir(layout)
        .expect("blobs")
        .filter_map(Result::ok)
        .max_by_key(|blob| blob.metadata().map_or(0, |m| m.len()));
    let blob = largest.expect("a blob").path();
    let mut bytes = fs_err::read(&blob).expect("a blob");
    *bytes.last_mut().expect("a byte") ^= 1;
    fs_err::write(&blob, bytes).expect("writing");
    // What is known of the layer by its digest is not believed of other bytes.
    offline().run(&project, &["sbom"]).failure(5);
}

#[test]
fn other_programs_take_the_documents() {
    let test = "validators of lists";
    let Some(tools) = SbomTools::get(test) else { return };
    let Some(world) = world(test) else { return };
    let project = project();
    world.digest(&project);
    for format in FORMATS {
        let file = project.write(&format!("{format}.json"), list(&world.environment, &project, format));
        assert_eq!(tools.wrong(format, &file), "", "{format}");
    }
    // The validators do say what is wrong.
    let broken = list(&world.environment, &project, "spdx-2.3").replace("CC0-1.0", "MIT");
    assert_ne!(tools.wrong("spdx-2.3", &project.write("broken.json", broken)), "");
    let broken = list(&world.environment, &project, "cyclonedx-1.6")
        .replace("\"operating-system\"", "\"thing\"")
        .replace("\"library\"", "\"thing\"");
    assert_ne!(tools.wrong("cyclonedx-1.6", &project.write("broken.json", broken)), "");
}

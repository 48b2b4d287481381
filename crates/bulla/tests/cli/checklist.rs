//! The questions of a build review, answered about images that were really built.

use bulla_testkit::{Project, TestEnvironment};
use serde_json::Value;

use crate::{build, offline, world, world::World};

/// Gives the answers in their order.
fn answers(environment: &TestEnvironment, project: &Project, code: i32, arguments: &[&str]) -> Vec<String> {
    let all = [&["checklist", "oci:bulla-out", "--format", "json"], arguments].concat();
    let ran = environment.run(project, &all).failure(code);
    let document: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let items = document["items"].as_array().expect("items");
    items.iter().map(|item| item["answer"].as_str().expect("an answer").to_owned()).collect()
}

#[test]
fn a_build_answers_what_it_enforced_and_what_nobody_looked_into_has_no_evidence() {
    let Some(mut world) = World::new("a checklist") else { return };
    world.environment = world.environment.set("BULLA_KEY_PASSWORD", "correct horse");
    let project = world::project(&world::GOOD);
    let folder = tempfile::tempdir().expect("a folder");
    let (key, public) =
        (folder.path().join("one.key").display().to_string(), folder.path().join("one.pub").display().to_string());
    world.environment.run(&project, &["key", "generate", "--output", &key]).success();
    world.build(&project, &["--sign", &key]).success();
    let signed = answers(&world.environment, &project, 0, &["--key", &public]);
    let without = [6, 10, 14, 15];
    for (index, answer) in signed.iter().enumerate() {
        let wanted = if without.contains(&(index + 1)) { "no-evidence" } else { "yes" };
        assert_eq!(answer, wanted, "{}", index + 1);
    }
    // A stranger's key: what it signed says nothing.
    let stranger = answers(&world.environment, &project, 0, &[]);
    assert_eq!(
        (stranger[0].as_str(), stranger[8].as_str(), stranger[11].as_str()),
        ("no-evidence", "yes", "no-evidence")
    );
    // Nobody's: it is said to be.
    world.build(&project, &[]).success();
    let unsigned = answers(&world.environment, &project, 0, &["--key", &public]);
    assert_eq!(
        (unsigned[0].as_str(), unsigned[12].as_str(), unsigned[11].as_str()),
        ("asserted", "asserted", "no-evidence")
    );
    let text = world.environment.run(&project, &["checklist", "oci:bulla-out"]).success().stdout;
    assert!(text.contains(" 3  asserted     Had the build no network?"), "{text}");
    assert!(
        text.contains("provenance: a network namespace with nothing but its own loopback for each of 3 steps"),
        "{text}"
    );
}

#[test]
fn what_is_not_as_it_should_be_is_answered_with_no() {
    let environment = offline();
    let project = build::project();
    let spec =
        project.read("bulla.yaml").replace("  user: 65532\n", "  user: root\n  allow: {root-user: it binds port 80}\n");
    project.write("bulla.yaml", spec);
    environment.run(&project, &["build"]).success();
    assert_eq!(answers(&environment, &project, 7, &[])[8], "no");
    environment.run(&project, &["build", "--evidence", "none"]).success();
    let bare = answers(&environment, &project, 7, &[]);
    assert_eq!(bare.iter().filter(|answer| *answer == "no-evidence").count(), 14);
}

use bulla_testkit::docker::Docker;

use crate::world::{World, build, project, skopeo};

#[test]
fn redis_is_compiled_tested_and_answers_a_client() {
    let Some(world) = World::get() else { return };
    // The spec alone: its source is Debian's source package, which the mirror has.
    let project = project("redis", &[]);
    build(&world.environment, &project);
    skopeo(&project, "65532");
    let Some(docker) = Docker::start() else { return };
    let archive = project.path("redis.tar").display().to_string();
    let output = format!("docker-archive:{archive}");
    world.environment.run(&project, &["build", "--tag", "redis:1", "--output", &output]).success();
    docker.run(&["load", "--input", &archive]).expect("Docker takes it");
    let start = ["--detach", "--name", "server", "redis:1"];
    if crate::hello::run(&docker, &start).is_none() {
        return;
    }
    let ask = |words: &[&str]| docker.run(&[&["exec", "server", "/usr/bin/redis-cli"], words].concat());
    let mut answer = ask(&["ping"]);
    for _ in 0..50 {
        if answer.as_deref() == Ok("PONG\n") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
        answer = ask(&["ping"]);
    }
    assert_eq!(answer.as_deref(), Ok("PONG\n"));
    assert_eq!(ask(&["set", "seal", "clay"]).as_deref(), Ok("OK\n"));
    assert_eq!(ask(&["get", "seal"]).as_deref(), Ok("clay\n"));
    docker.run(&["rm", "--force", "server"]).expect("it ends");
}

#[test]
fn a_test_stage_that_fails_fails_the_build() {
    let Some(world) = World::get() else { return };
    let project = project("hello", &["hello.c"]);
    let spec = project.read("bulla.yaml");
    let test = "  test:\n    stage: build\n    steps:\n      - test \"$(./hello)\" = \"something else\"\nimage:\n";
    project.write("bulla.yaml", spec.replace("image:\n", test));
    let ran = world.environment.run(&project, &["build"]).failure(1);
    assert!(ran.stdout.is_empty() && !project.path("bulla-out").exists(), "{}", ran.stdout);
    project
        .write("bulla.yaml", spec.replace("image:\n", &test.replace("something else", "Hello from a sealed build.")));
    build(&world.environment, &project);
}

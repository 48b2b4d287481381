use bulla_testkit::{DebianRepo, Mirror, Project, Release, TestEnvironment, docker::Docker, go::real_go, process};

use crate::world::{build, example, project, skopeo};

const FILES: [&str; 5] = ["go.mod", "go.sum", "main.go", "seal/seal.go", "seal/seal_test.go"];

/// The example, and an environment with an empty store that has fetched all that it needs: the servers are gone.
pub(crate) fn fetched() -> Option<(Project, TestEnvironment)> {
    let mut repo = DebianRepo::real(&["golang-go"])?;
    repo.publish_release(&Release::default());
    let modules = Mirror::serve(real_go(&example("go-service"))?);
    let mirror = Mirror::serve(repo.root());
    let environment = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &repo, &mirror);
    let config = fs_err::read_to_string(environment.config()).expect("the configuration");
    environment.write_config(&format!("{config}[registry.go]\ngo-env = false\nproxy = \"{}\"\n", modules.url()));
    let project = project("go-service", &FILES);
    environment.run(&project, &["fetch"]).success();
    Some((project, environment))
}

#[test]
fn a_service_in_go_is_built_with_nothing_but_a_loopback_and_answers() {
    if let Err(why) = bulla_testkit::clients() {
        return bulla_testkit::skipped("a service in Go", &why);
    }
    let Some((project, mut environment)) = fetched() else { return };
    if process::is_root() && process::exists("unshare") && process::exists("ip") {
        environment = environment.through(&["unshare", "--net", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"]);
    }
    let before = project.read("go.sum");
    let digest = build(&environment, &project);
    assert_eq!(project.read("go.sum"), before, "the lock file is as it was");
    skopeo(&project, "65532");
    // Every step again, from the same modules.
    let again = environment.run(&project, &["build", "--no-cache"]).success();
    assert_eq!(again.stdout.trim_end(), digest);
    let Some(docker) = Docker::start() else { return };
    let archive = project.path("service.tar").display().to_string();
    let output = format!("docker-archive:{archive}");
    environment.run(&project, &["build", "--tag", "go-service:1", "--output", &output]).success();
    docker.run(&["load", "--input", &archive]).expect("Docker takes it");
    if crate::hello::run(&docker, &["--detach", "--name", "go-server", "go-service:1"]).is_none() {
        return;
    }
    let ask = || docker.run(&["exec", "go-server", "/service", "ask", "/seal/clay"]);
    let mut answer = ask();
    for _ in 0..50 {
        if answer.is_ok() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
        answer = ask();
    }
    assert_eq!(answer.as_deref(), Ok("{\"seal\":\"06363555054de198\",\"text\":\"clay\"}"));
    docker.run(&["rm", "--force", "go-server"]).expect("it ends");
}

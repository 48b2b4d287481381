use bulla_testkit::{
    DebianRepo, Mirror, Project, Release, TestEnvironment, docker::Docker, maven::real_maven, process,
};

use crate::world::{build, example, project, skopeo};

const FILES: [&str; 4] = [
    "pom.xml",
    "src/main/java/example/seal/Seal.java",
    "src/main/java/example/seal/Service.java",
    "src/test/java/example/seal/SealTest.java",
];

/// The example, observed, and its environment: the servers are gone.
pub(crate) fn observed() -> Option<(Project, TestEnvironment)> {
    let mut repo = DebianRepo::real(&["default-jdk-headless", "default-jre-headless", "maven"])?;
    repo.publish_release(&Release::default());
    let artifacts = Mirror::serve(real_maven(&example("maven-service"))?);
    let mirror = Mirror::serve(repo.root());
    let environment = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &repo, &mirror);
    let config = fs_err::read_to_string(environment.config()).expect("the configuration");
    let repositories = format!("[registry.maven]\nmaven-settings = false\nrepositories = [\"{}\"]\n", artifacts.url());
    environment.write_config(&format!("{config}{repositories}"));
    let project = project("maven-service", &FILES);
    environment.run(&project, &["lock", "--observe", "build"]).success();
    environment.run(&project, &["fetch"]).success();
    Some((project, environment))
}

#[test]
fn a_service_of_maven_is_built_with_nothing_but_a_loopback_and_answers() {
    if let Err(why) = bulla_testkit::clients() {
        return bulla_testkit::skipped("a service of Maven", &why);
    }
    let Some((project, mut environment)) = observed() else { return };
    if process::is_root() && process::exists("unshare") && process::exists("ip") {
        environment = environment.through(&["unshare", "--net", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"]);
    }
    let digest = build(&environment, &project);
    skopeo(&project, "65532");
    // Every step again, from the same answers, and as a locked build.
    let again = environment.run(&project, &["build", "--locked", "--no-cache"]).success();
    assert_eq!(again.stdout.trim_end(), digest);
    let Some(docker) = Docker::start() else { return };
    let archive = project.path("service.tar").display().to_string();
    let output = format!("docker-archive:{archive}");
    environment.run(&project, &["build", "--tag", "maven-service:1", "--output", &output]).success();
    docker.run(&["load", "--input", &archive]).expect("Docker takes it");
    if crate::hello::run(&docker, &["--detach", "--name", "maven-server", "maven-service:1"]).is_none() {
        return;
    }
    let ask = || docker.run(&["exec", "maven-server", "java", "-jar", "/app/service.jar", "ask", "/seal/clay"]);
    let mut answer = ask();
    for _ in 0..20 {
        if answer.is_ok() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(250));
        answer = ask();
    }
    assert_eq!(answer.as_deref().map(str::trim_end), Ok("{\"text\":\"clay\",\"seal\":\"06363555054de198\"}"));
    docker.run(&["rm", "--force", "maven-server"]).expect("it ends");
}

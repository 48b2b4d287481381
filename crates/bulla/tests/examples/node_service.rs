use bulla_testkit::{
    DebianRepo, Mirror, Project, Release, TestEnvironment, docker::Docker, javascript::client_archive, npm::real_npm,
    process,
};

use crate::world::{build, example, project, skopeo};

const FILES: [&str; 5] = ["package.json", "package-lock.json", "tsconfig.json", "src/main.ts", "src/seal.ts"];

/// The example, and an environment with an empty store that has fetched all that it needs: the servers are gone.
pub(crate) fn fetched() -> Option<(Project, TestEnvironment)> {
    let mut repo = DebianRepo::real(&["nodejs", "npm"])?;
    repo.publish_release(&Release::default());
    let packages = Mirror::serve(real_npm(&example("node-service").join("package-lock.json"))?);
    let mirror = Mirror::serve(repo.root());
    let environment = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &repo, &mirror);
    let config = fs_err::read_to_string(environment.config()).expect("the configuration");
    environment.write_config(&format!("{config}[registry.npm]\nnpmrc = false\nregistry = \"{}/\"\n", packages.url()));
    let project = project("node-service", &FILES);
    environment.run(&project, &["fetch"]).success();
    Some((project, environment))
}

#[test]
fn a_service_in_typescript_is_built_with_nothing_but_a_loopback_and_answers() {
    let Some((project, mut environment)) = fetched() else { return };
    if process::is_root() && process::exists("unshare") && process::exists("ip") {
        environment = environment.through(&["unshare", "--net", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"]);
    }
    let before = project.read("package-lock.json");
    let digest = build(&environment, &project);
    assert_eq!(project.read("package-lock.json"), before, "the lock file is as it was");
    skopeo(&project, "65532");
    // Every step again, from the same packages.
    let again = environment.run(&project, &["build", "--no-cache"]).success();
    assert_eq!(again.stdout.trim_end(), digest);
    answers(&environment, &project);
}

/// Has the image loaded by Docker, run, and asked.
fn answers(environment: &TestEnvironment, project: &Project) {
    let Some(docker) = Docker::start() else { return };
    let archive = project.path("service.tar").display().to_string();
    let output = format!("docker-archive:{archive}");
    environment.run(project, &["build", "--tag", "service:1", "--output", &output]).success();
    docker.run(&["load", "--input", &archive]).expect("Docker takes it");
    if crate::hello::run(&docker, &["--detach", "--name", "server", "service:1"]).is_none() {
        return;
    }
    let script = "fetch('http://127.0.0.1:8080/seal/clay').then(a => a.text()).then(t => console.log(t))";
    let ask = || docker.run(&["exec", "server", "/usr/bin/node", "-e", script]);
    let mut answer = ask();
    for _ in 0..50 {
        if answer.is_ok() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
        answer = ask();
    }
    assert_eq!(answer.as_deref(), Ok("{\"text\":\"clay\",\"seal\":\"06363555054de198\"}\n"));
    docker.run(&["rm", "--force", "server"]).expect("it ends");
}

/// The clients by which the same service is built: as packages, with the example, and its lock file first.
const CLIENTS: [([&str; 2], &str, &[&str]); 2] = [
    (["pnpm", "9.15.9"], "node-service-pnpm", &["pnpm-lock.yaml"]),
    (["@yarnpkg/cli-dist", "4.18.1"], "node-service-yarn", &["yarn.lock", ".yarnrc.yml"]),
];

/// The example of another client, whose packages are those of the one by npm, fetched as [`fetched`] does it.
pub(crate) fn fetched_by(name: &str) -> Option<(Project, TestEnvironment)> {
    if let Err(why) = bulla_testkit::clients() {
        bulla_testkit::skipped(&format!("the example {name}"), &why);
        return None;
    }
    let ([client, version], name, files) = CLIENTS.into_iter().find(|one| one.1 == name).expect("a client");
    let mut repo = DebianRepo::real(&["nodejs", "npm"])?;
    repo.publish_release(&Release::default());
    // The packages are the same ones as with npm, and the client.
    let packages = real_npm(&example("node-service").join("package-lock.json"))?;
    client_archive(client, version)?;
    let (packages, mirror) = (Mirror::serve(packages), Mirror::serve(repo.root()));
    let environment = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &repo, &mirror);
    let config = fs_err::read_to_string(environment.config()).expect("the configuration");
    environment.write_config(&format!("{config}[registry.npm]\nnpmrc = false\nregistry = \"{}/\"\n", packages.url()));
    let common = ["package.json", "tools/package.json", "tools/package-lock.json", "tsconfig.json"];
    let all: Vec<&str> = common.iter().chain(files).chain(&["src/main.ts", "src/seal.ts"]).copied().collect();
    let project = project(name, &all);
    environment.run(&project, &["fetch"]).success();
    Some((project, environment))
}

/// Builds the example of another client twice, and has it answer.
fn built_by(name: &str, lock: &str) {
    let Some((project, environment)) = fetched_by(name) else { return };
    let before = project.read(lock);
    let digest = build(&environment, &project);
    assert_eq!(project.read(lock), before, "the lock file is as it was");
    let again = environment.run(&project, &["build", "--no-cache"]).success();
    assert_eq!(again.stdout.trim_end(), digest);
    answers(&environment, &project);
}

#[test]
fn the_same_service_is_built_by_pnpm_which_is_a_package_itself() {
    built_by("node-service-pnpm", "pnpm-lock.yaml");
}

#[test]
fn the_same_service_is_built_by_yarn_4_which_is_a_package_itself() {
    built_by("node-service-yarn", "yarn.lock");
}

//! The service in Python, by pip, by uv and by Poetry, from real packages. Roots with a compiler are made for it twice, so that it is one of the long
//! checks; `cli::pypi` has what every run has.

use bulla_testkit::{
    DebianRepo, Mirror, Project, PythonIndex, Release, TestEnvironment, docker::Docker, poetry, process,
    python::real_python,
};

use crate::world::{build, example, project, skopeo};

/// An example, and an environment with an empty store that has fetched all that it needs: the servers are gone.
pub(crate) fn fetched(name: &str, locks: &[&str]) -> Option<(Project, TestEnvironment)> {
    if let Err(why) = bulla_testkit::clients() {
        bulla_testkit::skipped(name, &why);
        return None;
    }
    let packages: &[&str] = match name {
        "python-service-poetry" => &["python3-venv", "python3-poetry"],
        _ => &["python3-venv", "python3-dev", "gcc", "libc6-dev"],
    };
    let mut repo = DebianRepo::real(packages)?;
    repo.publish_release(&Release::default());
    let scratch = tempfile::tempdir().expect("a folder");
    let requirements = |lock: &&str| match *lock {
        "poetry.lock" => {
            let text = fs_err::read_to_string(example(name).join(lock)).expect("the lock file");
            let file = scratch.path().join("requirements.txt");
            fs_err::write(&file, poetry::required(&text)).expect("a file");
            file
        }
        lock => example(name).join(lock),
    };
    let locks: Vec<_> = locks.iter().map(requirements).collect();
    let index = PythonIndex::serve_folder(&real_python(&locks)?);
    let mirror = Mirror::serve(repo.root());
    let environment = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &repo, &mirror);
    let config = fs_err::read_to_string(environment.config()).expect("the configuration");
    let own = format!("{config}[registry.pypi]\nclient-settings = false\nindex = \"{}\"\n", index.url());
    environment.write_config(&own);
    let names = fs_err::read_dir(example(name)).expect("the example").flatten();
    let files: Vec<String> = names.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).filter(|file| *file != "bulla.yaml").collect();
    let project = project(name, &files);
    environment.run(&project, &["fetch"]).success();
    Some((project, environment))
}

/// Builds it twice without a network, and gives what it is called.
fn built(name: &str, locks: &[&str]) -> Option<(Project, TestEnvironment)> {
    let (project, mut environment) = fetched(name, locks)?;
    if process::is_root() && process::exists("unshare") && process::exists("ip") {
        environment = environment.through(&["unshare", "--net", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"]);
    }
    let before: Vec<String> = locks.iter().map(|lock| project.read(lock)).collect();
    let digest = build(&environment, &project);
    assert_eq!(
        locks.iter().map(|lock| project.read(lock)).collect::<Vec<_>>(),
        before,
        "the lock files are as they were"
    );
    // Every step again, from the same packages: what was compiled is the same too.
    let again = environment.run(&project, &["build", "--no-cache"]).success();
    assert_eq!(again.stdout.trim_end(), digest);
    Some((project, environment))
}

#[test]
fn a_service_in_python_is_built_by_pip_with_nothing_but_a_loopback_and_answers() {
    let Some((project, environment)) = built("python-service", &["requirements.txt", "build-requirements.txt"]) else {
        return;
    };
    skopeo(&project, "65532");
    let Some(docker) = Docker::start() else { return };
    let archive = project.path("service.tar").display().to_string();
    let output = format!("docker-archive:{archive}");
    environment.run(&project, &["build", "--tag", "service:1", "--output", &output]).success();
    docker.run(&["load", "--input", &archive]).expect("Docker takes it");
    if crate::hello::run(&docker, &["--detach", "--name", "server", "service:1"]).is_none() {
        return;
    }
    let script =
        "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8080/seal/clay').read().decode().strip())";
    let ask = || docker.run(&["exec", "server", "/usr/bin/python3", "-c", script]);
    let mut answer = ask();
    for _ in 0..50 {
        if answer.is_ok() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
        answer = ask();
    }
    assert_eq!(answer.as_deref(), Ok("{\"seal\":\"06363555054de198\",\"text\":\"clay\"}\n"));
    docker.run(&["rm", "--force", "server"]).expect("it ends");
}

#[test]
fn the_same_service_is_built_by_uv() {
    built("python-service-uv", &["requirements.txt", "build-requirements.txt", "tools.txt"]);
}

#[test]
fn the_same_service_is_built_by_poetry() {
    built("python-service-poetry", &["poetry.lock"]);
}

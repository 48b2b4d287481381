use bulla_testkit::{Deb, DebianRepo, Mirror, Project, Release, TestEnvironment, docker::Docker, process};

use crate::world::{build, example, project, skopeo};

/// The example, observed, and its environment: the mirror is gone. The archive is of real packages; its own keyring has the key that signs it here.
pub(crate) fn observed() -> Option<(Project, TestEnvironment)> {
    let mut repo = DebianRepo::real(&["apt", "gcc", "libc6-dev", "libjansson-dev"])?;
    let key = repo.key().public();
    let keyring = Deb::new("debian-archive-keyring", "9999").architecture("all");
    repo.add(&keyring.file("etc/apt/trusted.gpg.d/test.asc", 0o644, key));
    repo.publish_release(&Release::default());
    let mirror = Mirror::serve(repo.root());
    let environment = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &repo, &mirror);
    let project = project("apt-in-step", &["tally.c"]);
    environment.run(&project, &["lock", "--observe", "build"]).success();
    environment.run(&project, &["fetch"]).success();
    Some((project, environment))
}

#[test]
fn a_library_that_a_step_installs_is_built_with_from_the_lock_alone() {
    if let Err(why) = bulla_testkit::clients() {
        return bulla_testkit::skipped("apt in a step of an example", &why);
    }
    let Some((project, mut environment)) = observed() else { return };
    assert!(project.read("bulla.lock").contains("pkg:deb/debian/libjansson-dev@"));
    if process::is_root() && process::exists("unshare") && process::exists("ip") {
        environment = environment.through(&["unshare", "--net", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"]);
    }
    let digest = build(&environment, &project);
    skopeo(&project, "65532");
    let again = environment.run(&project, &["build", "--locked", "--no-cache"]).success();
    assert_eq!(again.stdout.trim_end(), digest);
    let Some(docker) = Docker::start() else { return };
    let archive = project.path("tally.tar").display().to_string();
    let output = format!("docker-archive:{archive}");
    environment.run(&project, &["build", "--tag", "tally:1", "--output", &output]).success();
    docker.run(&["load", "--input", &archive]).expect("Docker takes it");
    let list = r#"[{"seal": "lion"}, {"seal": "bull"}, {"seal": "lion"}]"#;
    let Some(said) = crate::hello::run(&docker, &["tally:1", list]) else { return };
    assert_eq!(said.trim_end(), r#"{"bull":1,"lion":2}"#);
}

#[test]
fn the_lock_of_the_example_is_of_its_spec_and_names_no_host() {
    let lock = fs_err::read_to_string(example("apt-in-step").join("bulla.lock")).expect("the lock of the example");
    assert!(!lock.contains("://"), "{lock}");
    let environment = TestEnvironment::new(env!("CARGO_BIN_EXE_bulla"));
    let spec = fs_err::read_to_string(example("apt-in-step").join("bulla.yaml")).expect("the spec of the example");
    let project = Project::with_spec(&spec).file("bulla.lock", &lock);
    let ran = environment.run(&project, &["check", "--locked"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let (_, observed) = lock.split_once("[[observed]]").expect("what was observed");
    assert!(observed.contains("verified = \"signature\"") && observed.contains("pkg:deb/debian/libjansson-dev@"));
}

use std::process::Command;

use bulla_testkit::{docker::Docker, process};

use crate::world::{World, build, project, skopeo, unpack};

#[test]
fn hello_is_built_and_runs_where_other_tools_put_it() {
    let Some(world) = World::get() else { return };
    let project = project("hello", &["hello.c"]);
    let digest = build(&world.environment, &project);
    assert!(project.read("bulla-out/index.json").contains(&digest));
    skopeo(&project, "65532");
    if let Some((root, _folder)) = unpack(&project) {
        assert!(root.join("usr/bin/hello").is_file());
        if process::is_root() {
            let said = process::output(
                Command::new("chroot").args(["--userspec=65532:65532"]).arg(&root).arg("/usr/bin/hello"),
            );
            assert_eq!(said.expect("it runs"), "Hello from a sealed build.\n");
        }
    }
    let again = world.environment.run(&project, &["build"]).success();
    assert_eq!(again.stdout.trim_end(), digest, "an unchanged project has the same image");
    assert!(again.stderr.contains("0 of 2 steps run"), "no step runs again: {}", again.stderr);
}

#[test]
fn hello_is_loaded_into_docker_and_runs_there() {
    let Some(world) = World::get() else { return };
    let Some(docker) = Docker::start() else { return };
    let project = project("hello", &["hello.c"]);
    let archive = project.path("hello.tar").display().to_string();
    let output = format!("docker-archive:{archive}");
    world.environment.run(&project, &["build", "--tag", "hello:1", "--output", &output]).success();
    let loaded = docker.run(&["load", "--input", &archive]).expect("Docker takes it");
    assert!(loaded.contains("hello:1"), "{loaded}");
    assert_eq!(run(&docker, &["hello:1"]), Some("Hello from a sealed build.\n".to_owned()));
}

/// Runs a container without network. `None`, after it was said, where this host's cgroups are not what Docker wants.
pub(crate) fn run(docker: &Docker, arguments: &[&str]) -> Option<String> {
    let all = [&["run", "--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp"], arguments].concat();
    match docker.run(&all) {
        Ok(said) => Some(said),
        Err(why) if why.contains("cgroup") => {
            bulla_testkit::skipped("docker run", &why);
            None
        }
        Err(why) => panic!("{why}"),
    }
}

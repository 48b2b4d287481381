//! One spec for two architectures: compiled with each one's own library, and both run in Docker.

use std::path::Path;

use bulla_testkit::{
    DebianRepo, Mirror, Project, TestEnvironment,
    debian::{self, file_of, real_debs_of_two},
    docker::Docker,
    process, skipped,
};

use crate::{hello, world};

/// What the example needs of the machine's architecture, and an emulator.
const OWN: [&str; 4] = ["gcc", "gcc-aarch64-linux-gnu", "zlib1g-dev", "qemu-user-static"];
/// What it needs of the other; the second is for a test of steps.
const FOREIGN: [&str; 2] = ["zlib1g-dev", "busybox-static"];

/// A stage that tries the program as a machine of the platform.
const CHECK: &str = "  check:
    from: {debian: bookworm, packages: [zlib1g]}
    platform: target
    copy:
      - {output: build.checksum, to: /usr/bin/checksum}
    steps:
      - test \"$(uname -m)-linux-gnu\" = \"$TARGETTRIPLET\"
      - checksum | grep \"^$TARGETARCH:\"
image:
";

/// The example, and an environment with an empty store that has fetched all that it needs: the mirror is gone.
pub(crate) fn fetched() -> Option<(Project, TestEnvironment)> {
    let repo = DebianRepo::real_of_two(&OWN, "arm64", &FOREIGN, false)?;
    let mirror = Mirror::serve(repo.root());
    let environment = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &repo, &mirror);
    let project = world::project("two-platforms", &["checksum.c"]);
    environment.run(&project, &["fetch"]).success();
    Some((project, environment))
}

#[test]
fn one_spec_gives_an_image_for_each_architecture_and_both_run() {
    let Some((project, environment)) = fetched() else { return };
    let digest = world::build(&environment, &project);
    let parts = ["amd64", "arm64"].map(|architecture| part(&environment, &project, architecture));
    let joined = ["index", "create", "-o", "oci:joined", &parts[0], &parts[1]];
    assert_eq!(environment.run(&project, &joined).success().stdout.trim_end(), digest, "the same as at once");
    let Some(docker) = Docker::start() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    process::make_readable(folder.path());
    let Some(emulator) = emulator(folder.path()) else {
        return skipped("docker run of the image for arm64", "there is no emulator in Debian's packages");
    };
    for architecture in ["amd64", "arm64"] {
        let archive = project.path(&format!("docker-{architecture}.tar")).display().to_string();
        docker.run(&["load", "--input", &archive]).expect("Docker takes it");
        let image = format!("{architecture}:latest");
        let found = docker.run(&["image", "inspect", "--format", "{{.Os}}/{{.Architecture}}", &image]);
        assert_eq!(found.as_deref().map(str::trim_end), Ok(format!("linux/{architecture}").as_str()));
        // Docker's own way is an emulator that is registered for the whole host; this one changes nothing there.
        let volume = format!("{emulator}:/emulator:ro");
        let platform = format!("linux/{architecture}");
        let (before, after): (&[&str], &[&str]) = match architecture {
            "amd64" => (&[], &[]),
            _ => (&["--volume", &volume, "--entrypoint", "/emulator"], &["/usr/bin/checksum"]),
        };
        let arguments = [&["--platform", &platform], before, &[image.as_str()], after].concat();
        let Some(said) = hello::run(&docker, &arguments) else { return };
        assert!(said.starts_with(&format!("{architecture}: ")) && said.contains("with zlib 1."), "{said}");
    }
}

/// Builds the image for one architecture, for Docker and for what joins such images, and gives the latter.
fn part(environment: &TestEnvironment, project: &Project, architecture: &str) -> String {
    let platform = format!("linux/{architecture}");
    let layout = format!("oci-archive:{architecture}.tar");
    let docker = format!("docker-archive:docker-{architecture}.tar");
    let options = ["--platform", &platform, "--output", &layout, "--output", &docker, "--tag", architecture];
    environment.run(project, &[&["build"], options.as_slice()].concat()).success();
    layout
}

fn emulator(folder: &Path) -> Option<String> {
    let debs = real_debs_of_two(&OWN, "arm64", &FOREIGN, false)?;
    let own = debian::machine_architecture()?;
    let bytes = file_of(&debs, "qemu-user-static", &own, "usr/bin/qemu-aarch64-static")?;
    let path = folder.join("emulator");
    fs_err::write(&path, bytes).expect("writing the emulator");
    fs_err::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("making it a program");
    Some(path.display().to_string())
}

/// With a root of real packages, whose scripts run under the emulator: that takes minutes, and is done where `BULLA_EMULATION`
/// is set. Steps under the emulator are tested in any case, on a small root.
#[test]
#[expect(clippy::disallowed_methods, reason = "a switch of the test, not of the program")]
fn a_stage_for_another_architecture_is_made_of_its_real_packages() {
    if std::env::var_os("BULLA_EMULATION").is_none() {
        return skipped("a real root under emulation", "BULLA_EMULATION is not set");
    }
    let Some(repo) = DebianRepo::real_of_two(&OWN, "arm64", &FOREIGN, true) else { return };
    let mirror = Mirror::serve(repo.root());
    let environment = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &repo, &mirror);
    let project = world::project("two-platforms", &["checksum.c"]);
    let check = CHECK.replace("bookworm", &debian::codename().expect("Debian"));
    project.write("bulla.yaml", project.read("bulla.yaml").replace("image:\n", &check));
    let ran = environment.run(&project, &["build", "--progress", "plain", "--verbose"]).success();
    for said in ["amd64: ", "arm64: "] {
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
    }
}

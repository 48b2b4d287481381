use std::{path::Path, process::Command};

use bulla_testkit::{
    DebianRepo, Mirror, Project, Release, TestEnvironment, crates::cargo_package, language, process, skipped,
};

use crate::world::{build, example, unpack};

/// Makes a registry of crates that cargo itself has fetched: a folder with `config.json` and the archives.
fn registry(project: &language::RealProject) -> (tempfile::TempDir, Mirror) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for entry in fs_err::read_dir(&project.fetched).expect("crates").filter_map(Result::ok) {
        fs_err::os::unix::fs::symlink(entry.path(), folder.path().join(entry.file_name())).expect("a link");
    }
    let mirror = Mirror::serve(folder.path());
    let config = format!("{{\"dl\":\"{}/{{crate}}-{{version}}.crate\"}}", mirror.url());
    fs_err::write(folder.path().join("config.json"), config).expect("what the registry says of itself");
    (folder, mirror)
}

/// The example, and an environment with an empty store that has fetched all that it needs: the servers are gone.
#[expect(clippy::disallowed_methods, reason = "a test reads how much it is to do")]
pub(crate) fn fetched() -> Option<(Project, TestEnvironment)> {
    if std::env::var_os("BULLA_CLIENTS").is_none() {
        skipped("a tool in Rust", "BULLA_CLIENTS is not set (.ci/full sets it): it compiles for minutes");
        return None;
    }
    let published = language::cargo_project("just", "1.42.4")?;
    let mut repo = DebianRepo::real(&[cargo_package(), "gcc", "libc6-dev"])?;
    repo.publish_release(&Release::default());
    let (_folder, crates) = registry(&published);
    let mirror = Mirror::serve(repo.root());
    let environment = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &repo, &mirror);
    let config = fs_err::read_to_string(environment.config()).expect("the configuration");
    environment
        .write_config(&format!("{config}[registry.cargo]\ncargo-config = false\nregistry = \"{}/\"\n", crates.url()));
    let spec = fs_err::read_to_string(example("cargo-tool").join("bulla.yaml")).expect("the example");
    let release = bulla_testkit::debian::codename().expect("Debian");
    let spec = spec.replace("bookworm", &release).replace("cargo-web", cargo_package());
    let project = Project::with_spec(&spec);
    language::copy_writable(&published.source, &project.path("just")).expect("a copy of the source");
    environment.run(&project, &["fetch"]).success();
    Some((project, environment))
}

#[test]
fn a_published_tool_in_rust_is_built_as_its_authors_locked_it_and_runs() {
    let Some((project, environment)) = fetched() else { return };
    let lock = project.read("just/Cargo.lock");
    let digest = build(&environment, &project);
    assert_eq!(project.read("just/Cargo.lock"), lock, "the lock file is as it was");
    assert_eq!(environment.run(&project, &["build", "--no-cache"]).success().stdout.trim_end(), digest);
    let Some((root, _folder)) = unpack(&project).filter(|_| process::is_root()) else { return };
    let said = run(&root, &["--version"]);
    assert_eq!(said.expect("it runs"), "just 1.42.4\n");
}

fn run(root: &Path, arguments: &[&str]) -> Result<String, String> {
    let mut chroot = Command::new("chroot");
    process::output(chroot.arg("--userspec=65532:65532").arg(root).arg("/usr/bin/just").args(arguments))
}

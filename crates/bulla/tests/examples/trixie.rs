//! The examples on the release after the machine's own, from the mirrors that the machine itself is set up with.

use std::process::Command;

use bulla_testkit::{Project, TestEnvironment, process, skipped};

use crate::world::{build, example, unpack};

/// Makes a project of an example, for trixie.
fn project(name: &str, files: &[&str]) -> Project {
    let read = |file: &str| fs_err::read(example(name).join(file)).expect("a file of the example");
    let spec = String::from_utf8(read("bulla.yaml")).expect("UTF-8").replace("bookworm", "trixie");
    files.iter().fold(Project::with_spec(&spec), |project, file| project.file(file, read(file)))
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test reads how much it is to do")]
fn the_examples_are_built_for_trixie_where_it_can_be_had() {
    if std::env::var_os("BULLA_TRIXIE").is_none() {
        return skipped("building for trixie", "BULLA_TRIXIE is not set (.ci/full sets it): it downloads 100 MB");
    }
    let environment = TestEnvironment::new(env!("CARGO_BIN_EXE_bulla"));
    // The machine's own settings of apt, which other tests are not to see.
    environment.write_config("");
    let hello = project("hello", &["hello.c"]);
    // Settings of apt that know the suite, keys of the release, and a network: without one of them there is no lock.
    let locked = environment.run(&hello, &["lock"]);
    if locked.code != Some(0) {
        let why = locked.stderr.lines().skip_while(|line| !line.starts_with("error:")).collect::<Vec<_>>().join(" | ");
        return skipped("building for trixie", &why);
    }
    build(&environment, &hello);
    if let Some((root, _folder)) = unpack(&hello).filter(|_| process::is_root()) {
        let said =
            process::output(Command::new("chroot").arg("--userspec=65532:65532").arg(&root).arg("/usr/bin/hello"));
        assert_eq!(said.expect("it runs"), "Hello from a sealed build.\n");
    }
    build(&environment, &project("nginx-light", &["site/nginx.conf", "site/html/index.html"]));
}

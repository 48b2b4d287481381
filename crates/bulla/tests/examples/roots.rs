//! Configured roots: whoever makes one of the same packages gets the same files, and what one package moves out of the way of
//! another is where it should be.

use bulla_testkit::{DebianRepo, Mirror, Project, TestEnvironment, debian, process};

use crate::{
    reproducible::OTHERWISE,
    world::{World, build},
};

/// What `.ci/full` compares: `BULLA_ROOTS=all`.
const SETS: [&[&str]; 5] = [
    &["python3", "python3-pip", "python3-venv"],
    &["nodejs", "npm"],
    &["default-jdk-headless", "maven"],
    &["golang-go"],
    &["cargo", "rustc", "gcc"],
];

/// Lists all that is in the root: kind, mode, owner, target, and of files the time and the digest.
const LIST: &str = "
      - |
        find / -xdev -path /src -prune -o -path /proc -prune -o -path /run/bulla -prune -o -printf '%p %y %m %U:%G %l\\n' |
          LC_ALL=C sort >/src/app/list
        find / -xdev -path /src -prune -o -path /proc -prune -o -type f -printf '%p %Ts\\n' | LC_ALL=C sort >>/src/app/list
        find / -xdev -path /src -prune -o -path /proc -prune -o -type f -readable -exec sha256sum {} + |
          LC_ALL=C sort -k 2 >>/src/app/list
";

fn project(packages: &[&str], steps: &str) -> Project {
    let release = debian::codename().expect("Debian");
    let packages = packages.join(", ");
    let spec = format!(
        "bulla: 1
name: root
sources:
  app: {{path: .}}
stages:
  build:
    from: {{debian: {release}, packages: [{packages}]}}
    steps:{steps}    outputs: {{list: /src/app/list}}
image:
  from: {{scratch: {{}}}}
  copy:
    - {{output: build.list, to: /list}}
  entrypoint: [/list]
  user: 65532
"
    );
    Project::with_spec(&spec).file("app", "")
}

/// Gives the list that is in the only layer of the image.
fn list(project: &Project, environment: &TestEnvironment) -> Vec<String> {
    let archive = project.path("list.tar").display().to_string();
    let output = format!("docker-archive:{archive}");
    environment.run(project, &["build", "--tag", "list:1", "--output", &output]).success();
    let script = "mkdir layers && tar -xf list.tar -C layers && find layers -type f -exec sh -c \
                  'tar -xOf \"$1\" list 2>/dev/null || true' sh {} \\;";
    let text = process::output(std::process::Command::new("sh").args(["-c", script]).current_dir(project.root()));
    text.expect("the layer is read").lines().map(str::to_owned).collect()
}

fn compare(packages: &[&str], one: &TestEnvironment, other: &TestEnvironment) {
    let (first, second) = (project(packages, LIST), project(packages, LIST));
    let digests = (build(one, &first), build(other, &second));
    let (left, right) = (list(&first, one), list(&second, other));
    assert!(left.iter().any(|line| line.ends_with(" /var/lib/dpkg/status")), "the list is one");
    let differ: Vec<&String> = left.iter().filter(|line| !right.contains(line)).take(20).collect();
    assert!(differ.is_empty(), "{packages:?} differ in {differ:#?}");
    assert_eq!(digests.0, digests.1, "{packages:?}");
}

/// Another user, time zone, umask, host name and number of processors, and some time later.
fn otherwise(environment: TestEnvironment) -> TestEnvironment {
    let around: &[&str] = if process::is_root() { &["unshare", "-u", "sh", "-c"] } else { &["sh", "-c"] };
    environment
        .set("TZ", "Pacific/Kiritimati")
        .set("LANG", "tr_TR.UTF-8")
        .through(&[around, &[OTHERWISE, "sh"]].concat())
        .as_user("bulla-test")
        .without_subuid()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test reads how much it is to do")]
fn a_root_has_the_same_files_whoever_configures_it() {
    let Some(world) = World::get() else { return };
    compare(&["nginx-light", "make"], &world.cold(), &otherwise(world.cold()));
    if std::env::var_os("BULLA_ROOTS").is_none() {
        return bulla_testkit::skipped(
            "comparing the roots of five more sets",
            "BULLA_ROOTS is not set (.ci/full sets it)",
        );
    }
    for packages in SETS {
        let Some(repo) = DebianRepo::real(packages) else { return };
        let mirror = Mirror::serve(repo.root());
        let environment = || TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &repo, &mirror);
        compare(packages, &environment(), &otherwise(environment()));
    }
}

#[test]
fn a_package_that_moves_the_file_of_another_away_finds_its_place() {
    let Some(repo) = DebianRepo::real(&["moreutils", "parallel"]) else { return };
    let mirror = Mirror::serve(repo.root());
    let environment = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &repo, &mirror);
    let steps = "
      - |
        dpkg-divert --list | grep parallel
        dpkg --audit
        dpkg --verify moreutils parallel
        dpkg-query -S /usr/bin/parallel.moreutils /usr/bin/parallel
        test \"$(dpkg-query -W -f '${db:Status-Abbrev}' parallel)\" = 'ii '
        head -c 2 /usr/bin/parallel | grep '#!'
        head -c 4 /usr/bin/parallel.moreutils | grep ELF
        grep -q GNU /usr/bin/parallel
        touch /src/app/list
";
    let ran = environment.run(&project(&["moreutils", "parallel"], steps), &["--progress", "plain", "build"]).success();
    assert!(ran.stderr.contains("/usr/bin/parallel.moreutils"), "{}", ran.stderr);
}

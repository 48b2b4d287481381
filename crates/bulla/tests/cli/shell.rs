//! The file system of a step or stage, from inside.

use std::process::{Command, Stdio};

use bulla_testkit::{Project, Ran};

use crate::world::World;

const SPEC: &str = "\
bulla: 1
name: opened
sources:
  app: {path: app}
stages:
  build:
    from: {debian: trixie, suites: [trixie], packages: [tools]}
    steps:
      - mkdir out; echo first >out/first
      - echo second >out/second; rm out/first; test -s out/third
    outputs: {out: /src/app/out}
image:
  from: {scratch: {}}
  copy:
    - {output: build.out, to: /out}
  entrypoint: [/out]
  user: 65532
";

fn project() -> Project {
    Project::with_spec(SPEC).file("app/hello", "hello\n")
}

fn shell(world: &World, project: &Project, arguments: &[&str]) -> Ran {
    world.environment.run(project, &[&["shell"], arguments].concat())
}

#[test]
fn a_failed_step_is_opened_as_it_was_and_a_stage_where_it_ended() {
    let Some(world) = World::new("a shell in a failed step") else { return };
    let project = project();
    let nothing = shell(&world, &project, &["--", "true"]).failure(3);
    assert!(nothing.stderr.contains("no step failed"), "{}", nothing.stderr);
    let failed = world.build(&project, &[]).failure(1);
    let hint = "`bulla shell build/2` opens the file system as the step left it";
    assert!(failed.stderr.contains(hint), "{}", failed.stderr);

    for named in [&[][..], &["build"], &["build/2"]] {
        let ran = shell(&world, &project, &[named, &["--", "cat", "out/second"]].concat()).success();
        assert_eq!(ran.stdout, "second\n", "standard output has what the command prints alone");
        assert!(ran.stderr.contains("build/2, as it was when the step failed"), "{}", ran.stderr);
    }
    shell(&world, &project, &["--", "test", "-e", "out/first"]).failure(1);
    // What is changed is thrown away, and the code is that of the command.
    shell(&world, &project, &["--", "sh", "-c", "echo x >out/third; rm out/second; exit 7"]).failure(7);
    shell(&world, &project, &["--", "sh", "-c", "kill -TERM $$"]).failure(128 + 15);
    let same = shell(&world, &project, &["--", "ls", "out"]).success();
    assert_eq!(same.stdout, "second\n");
    world.assert_sound(&project);

    // The step would be another one: what the failed one left says nothing of it.
    project.write("app/hello", "changed\n");
    let begins = shell(&world, &project, &["build/2", "--", "ls", "out"]).success();
    assert_eq!(begins.stdout, "first\n");
    assert!(begins.stderr.contains("where the step begins: what it left is not there"), "{}", begins.stderr);

    project.write("bulla.yaml", SPEC.replace("; test -s out/third", ""));
    world.build(&project, &[]).success();
    assert_eq!(shell(&world, &project, &["build", "--", "ls", "out"]).success().stdout, "second\n");
    let one = shell(&world, &project, &["build/1", "--", "ls", "out"]).success();
    assert_eq!(one.stdout, "first\n");
    assert!(one.stderr.contains("build, after step 1"), "{}", one.stderr);
    shell(&world, &project, &["--", "true"]).failure(3);
    shell(&world, &project, &["build/3", "--", "true"]).failure(3);
    shell(&world, &project, &["other", "--", "true"]).failure(3);
}

#[test]
fn a_shell_is_in_the_sandbox_of_steps() {
    let Some(world) = World::new("a shell without network") else { return };
    let project = project();
    project.write("bulla.yaml", SPEC.replace("; test -s out/third", ""));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port().to_string();
    shell(&world, &project, &["build", "--", "nc", "-w", "2", "127.0.0.1", &port]).failure(1);
    let ran = shell(&world, &project, &["build", "--", "nc", "-w", "2", "203.0.113.7", "443"]).failure(1);
    assert!(ran.stderr.contains("refused: connect 203.0.113.7:443"), "{}", ran.stderr);
    let host = shell(&world, &project, &["build", "--", "ls", &project.root().display().to_string()]);
    assert_ne!(host.code, Some(0), "the project of the host is seen: {}", host.stdout);
    let environment = shell(&world, &project, &["build", "--", "env"]).success().stdout;
    assert!(environment.contains("SOURCE_DATE_EPOCH=") && !environment.contains("BULLA_STORE"), "{environment}");
    let none = shell(&world, &project, &["build"]).failure(3);
    assert!(none.stderr.contains("there is no terminal") && none.stderr.contains("-- COMMAND"), "{}", none.stderr);
}

#[test]
fn a_person_gets_a_terminal_and_their_own_back() {
    if !bulla_testkit::process::exists("script") {
        return bulla_testkit::skipped("a shell on a terminal", "there is no `script`");
    }
    let Some(world) = World::new("a shell on a terminal") else { return };
    let project = project();
    world.build(&project, &[]).failure(1);
    let environment = &world.environment;
    let line = format!(
        "stty rows 33 cols 77; {} shell; echo code $?; stty -a | grep -o '[-]*icanon'",
        env!("CARGO_BIN_EXE_bulla")
    );
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).current_dir(project.root()).env_clear();
    command.envs(environment.command(project.root()).get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("SHELL", "/bin/sh").env("TERM", "xterm").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("script can be run");
    let typed =
        "test -t 0 && test -t 2 && echo a-term$((40 + 2)); cat out/second; : </dev/tty && echo own-$TERM\rexit 5\r";
    std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), typed.as_bytes()).expect("typing");
    let out = child.wait_with_output().expect("it ends");
    let shown = String::from_utf8_lossy(&out.stdout);
    for part in ["as it was when the step failed", "a-term42", "second", "own-xterm", "code 5"] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    let (_, after) = shown.split_once("code 5").expect("its end");
    assert!(after.contains("icanon") && !after.contains("-icanon"), "the terminal is not what it was: {shown}");
}

use std::{
    net::{TcpListener, TcpStream},
    os::unix::fs::MetadataExt,
};

use bulla_testkit::Project;

use crate::world::{World, project};

/// A project whose only step tries to get out, in Perl, which every stage has; it goes on when it is refused.
fn escaping(port: u16, key: &str) -> Project {
    let project = project("hello", &["hello.c"]);
    let spec = project.read("bulla.yaml");
    let steps = format!(
        "{key}    steps:
      - |
        reach() {{ perl -MIO::Socket::INET -e 'exit !IO::Socket::INET->new(PeerAddr => $ARGV[0], Timeout => 5)' \"$1\"; }}
        if reach 192.0.2.1:443; then echo GOT OUT; exit 1; fi
        if reach 127.0.0.1:{port}; then echo REACHED THE HOST; exit 1; fi
        if getent hosts mirror.example; then echo GOT AN ANSWER; exit 1; fi
        if test -e {}; then echo SAW THE PROJECT; exit 1; fi
        if env | grep -i hunter; then echo SAW THE ENVIRONMENT; exit 1; fi
        cc -O2 -o hello hello.c
",
        project.root().display()
    );
    project.write("bulla.yaml", spec.replace("    steps:\n      - cc -O2 -o hello hello.c\n", &steps));
    project
}

#[test]
fn a_step_reaches_nothing_and_what_it_tried_is_told() {
    let Some(world) = World::get() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    TcpStream::connect(("127.0.0.1", port)).expect("the control: from outside it can be reached");
    let project = escaping(port, "");
    assert!(project.root().metadata().expect("the control: the project is there").ino() > 0);
    let environment = world.cold().set("TOKEN", "hunter2").set("HUNTER", "x");
    let ran = environment.run(&project, &["--progress", "json", "build"]).success();
    assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
    let refused = |what: &str| ran.stderr.lines().any(|line| line.contains("\"refused\"") && line.contains(what));
    for what in ["192.0.2.1:443", "mirror.example"] {
        assert!(refused(what), "{what} is not told: {}", ran.stderr);
    }
    assert!(ran.stderr.contains("perl"), "with the program that tried");
}

#[test]
fn a_stage_may_want_every_refusal_to_fail_the_build() {
    let Some(world) = World::get() else { return };
    let project = escaping(9, "    on-refusal: fail\n");
    let ran = world.environment.run(&project, &["build"]);
    assert!(matches!(ran.code, Some(6 | 7)), "{:?} {}", ran.code, ran.stderr);
    assert!(ran.stderr.contains("192.0.2.1:443") && ran.stdout.is_empty(), "{}", ran.stderr);
    assert!(!project.path("bulla-out").exists());
}

//! Steps that take all they can get, will not end, or look for the network.

use std::{
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::world::{GOOD, World, is_running, project, project_with};

/// Builds with limits and expects the step to fail, within some seconds.
#[track_caller]
fn contained(limits: &str, steps: &[&str], says: &str) {
    let Some(world) = World::new("limits") else { return };
    let project = project_with(&format!("    limits: {{{limits}}}\n"), steps);
    let start = Instant::now();
    let ran = world.build(&project, &[]).failure(1);
    assert!(start.elapsed() < Duration::from_secs(60), "it took {:?}", start.elapsed());
    assert!(ran.stderr.contains(says), "no `{says}` in {}", ran.stderr);
    assert!(ran.stderr.contains("build 1/1"), "the step is not named: {}", ran.stderr);
    world.assert_no_image(&project);
    world.assert_sound(&project);
    // The control: the limits let an ordinary step through.
    world.build(&project_with(&format!("    limits: {{{limits}}}\n"), &GOOD), &[]).success();
}

#[test]
fn a_step_that_forks_without_end_is_contained() {
    let mark = format!("7{:05}.5", std::process::id());
    let bomb = format!("mkdir out; f() {{ sleep {mark} & f; }}; f");
    // An rlimit refuses as well, but the kernel does not tell that it did.
    let says = if crate::world::has_cgroups() { "limit of processes" } else { "can't fork" };
    contained("processes: 60, time: 20s", &[&bomb], says);
    assert!(!is_running(&mark), "processes are left");
}

#[test]
fn a_step_that_takes_all_memory_is_contained() {
    contained("memory: 96MiB, time: 40s", &[r#"awk 'BEGIN { s = "x"; while (1) s = s s }'"#], "memory");
}

#[test]
fn a_step_that_fills_the_disk_is_contained() {
    contained("disk: 8MiB, time: 40s", &["mkdir out; yes >out/big"], "disk");
}

#[test]
fn a_step_that_ignores_signals_ends_at_its_time() {
    let mark = format!("6{:05}.5", std::process::id());
    let stubborn = format!("trap '' TERM INT HUP; sleep {mark} & while :; do sleep 1 || true; done");
    contained("time: 2s", &[&stubborn], "time");
    assert!(!is_running(&mark), "processes are left");
}

#[test]
fn much_output_is_bounded_and_told() {
    let Some(world) = World::new("much output") else { return };
    let project = project(&["yes 'a line of output, many times over' | head -c 120000000", GOOD[0], GOOD[1]]);
    let ran = world.build(&project, &["--quiet"]);
    assert!(matches!(ran.code, Some(0 | 1)), "{:?} {}", ran.code, &ran.stderr[ran.stderr.len().saturating_sub(2000)..]);
    assert!(ran.stderr.len() < 64 << 20);
    world.assert_sound(&project);
    let taken: u64 = crate::world::files(&world.environment.store())
        .iter()
        .filter_map(|file| file.symlink_metadata().ok())
        .map(|found| found.len())
        .sum();
    assert!(taken < 90 << 20, "the store has {taken} bytes");
}

/// Starts a build in a process group of its own, sends a signal when its step runs, and gives the exit code.
fn stopped(world: &World, project: &bulla_testkit::Project, mark: &str, signal: &str) -> Option<i32> {
    let mut command = world.environment.command(project.root());
    command.arg("build").process_group(0).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("bulla can be run");
    let start = Instant::now();
    while !is_running(mark) {
        assert!(start.elapsed() < Duration::from_secs(60), "the step does not run");
        assert!(child.try_wait().expect("it can be waited for").is_none(), "the build has ended");
        std::thread::sleep(Duration::from_millis(20));
    }
    let group = format!("-{}", child.id());
    let sent = Command::new("kill").args([signal, "--", &group]).status().expect("kill can be run");
    assert!(sent.success());
    let signalled = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("it can be waited for") {
            return status.code();
        }
        if signalled.elapsed() > Duration::from_secs(15) {
            child.kill().expect("it can be killed");
            child.wait().expect("it ends");
            panic!("it went on after {signal}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn ctrl_c_ends_everything() {
    let Some(world) = World::new("Ctrl-C") else { return };
    for (number, signal) in ["-INT", "-TERM"].into_iter().enumerate() {
        let mark = format!("5{number}{:05}.5", std::process::id());
        let stubborn =
            format!("mkdir out; trap '' TERM INT; (setsid sleep {mark} &); while :; do sleep 1 || true; done");
        let project = project(&[&stubborn]);
        assert_eq!(stopped(&world, &project, &mark, signal), Some(130), "{signal}");
        let start = Instant::now();
        while is_running(&mark) {
            assert!(start.elapsed() < Duration::from_secs(60), "a process of the step is left after {signal}");
            std::thread::sleep(Duration::from_millis(20));
        }
        world.assert_no_image(&project);
        world.assert_sound(&project);
    }
    world.build(&project(&GOOD), &[]).success();
}

const PROBES: [&str; 3] = [
    "mkdir out; cp hello out/hello",
    "nc -w 2 203.0.113.7 443 </dev/null || echo refused >>out/refused",
    "nslookup secret.mirror.example || echo refused >>out/refused",
];

#[test]
fn what_looks_for_the_network_is_recorded_with_its_process() {
    let Some(world) = World::new("network probes") else { return };
    let ran = world.build(&project(&PROBES), &["--progress", "json"]).success();
    let refused: Vec<serde_json::Value> = ran
        .stderr
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|event: &serde_json::Value| event["event"] == "refused")
        .collect();
    let found = |what: &str, words: &str| {
        refused.iter().any(|event| {
            let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
            text("what").contains(what)
                && text("command_line").contains(words)
                && text("executable").contains("busybox")
        })
    };
    assert!(found("connect 203.0.113.7:443", "nc -w 2 203.0.113.7 443"), "{refused:#?}");
    assert!(found("lookup secret.mirror.example", "nslookup secret.mirror.example"), "{refused:#?}");
    // The control: a step that looks for nothing.
    let quiet = world.build(&project(&GOOD), &["--progress", "json"]).success();
    assert!(!quiet.stderr.contains(r#""event":"refused""#), "{}", quiet.stderr);
}

#[test]
fn a_refusal_fails_the_build_where_the_spec_says_so() {
    let Some(world) = World::new("on-refusal") else { return };
    let strict = "    on-refusal: fail\n";
    let project = project_with(strict, &PROBES);
    for _ in 0..2 {
        // The second time the step's result is in the store; it is no better for that.
        let ran = world.build(&project, &[]).failure(7);
        assert!(ran.stderr.contains("203.0.113.7:443") && ran.stderr.contains("on-refusal: fail"), "{}", ran.stderr);
        world.assert_no_image(&project);
    }
    world.build(&project_with(strict, &GOOD), &[]).success();
}

#[test]
fn no_service_of_the_host_is_reached() {
    let Some(world) = World::new("services on loopback") else { return };
    let address = world.mirror.address();
    let probe =
        format!("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 2 127.0.0.1 {} >out/answer || true", address.port());
    let project = project(&["mkdir out", &probe, "test ! -s out/answer"]);
    world.environment.run(&project, &["lock"]).success();
    world.build(&project, &[]).success();
    world.mirror.forget_requests();
    world.build(&project, &["--no-cache"]).success();
    assert!(world.mirror.requests().is_empty(), "{:?}", world.mirror.requests());
    assert!(std::net::TcpStream::connect(address).is_ok(), "the control: it is there");
}

#[test]
fn what_a_step_prints_commands_no_terminal_and_no_ci() {
    let Some(world) = World::new("hostile output") else { return };
    let print = r"printf '\033]0;owned\007\n::set-output name=a::b\n::add-mask::x\n##vso[task.setvariable variable=a]b\n##teamcity[x]\n\r::error::c\n\033[2Jplain words\n'";
    for (steps, code) in [(vec![print, GOOD[0], GOOD[1]], 0), (vec![print, "false"], 1)] {
        for arguments in [&["--progress", "plain", "--verbose"][..], &["--progress", "plain"], &["--progress", "json"]]
        {
            let ran = world.build(&project(&steps), &[arguments, &["--no-cache"]].concat()).failure(code);
            let said = &ran.stderr;
            assert!(!said.contains(['\x1b', '\x07', '\r']), "{said:?}");
            let commands = |line: &str| line.trim_start().starts_with("::") || line.trim_start().starts_with("##");
            assert!(!said.lines().any(commands), "{said}");
            assert!(said.contains("plain words"), "the control: what it printed is shown: {said}");
        }
    }
}

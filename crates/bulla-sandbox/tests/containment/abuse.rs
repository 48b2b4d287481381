//! Steps that take too much or do not end: each is contained, and nothing of it is left behind.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use bulla_sandbox::{Exit, Limit, Limits, Options, Rung, Stream};

use crate::{
    Case,
    world::{World, give, succeeded},
};

pub(crate) const CASES: &[Case] = &[
    ("a_fork_bomb_ends_at_the_limit", a_fork_bomb_ends_at_the_limit),
    ("filled_memory_ends_the_run", filled_memory_ends_the_run),
    ("filled_memory_ends_the_run_without_cgroups", filled_memory_ends_the_run_without_cgroups),
    ("filled_shared_memory_is_an_error_of_the_step", filled_shared_memory_is_an_error_of_the_step),
    ("a_file_beyond_the_disk_limit_ends_the_run", a_file_beyond_the_disk_limit_ends_the_run),
    ("many_files_beyond_the_disk_limit_end_the_run", many_files_beyond_the_disk_limit_end_the_run),
    ("a_step_that_ignores_signals_ends_at_its_time", a_step_that_ignores_signals_ends_at_its_time),
    ("daemons_end_with_the_step", daemons_end_with_the_step),
    ("a_printed_gigabyte_is_cut_and_counted", a_printed_gigabyte_is_cut_and_counted),
    ("cancelling_ends_three_hundred_processes_at_once", cancelling_ends_three_hundred_processes_at_once),
    ("what_is_cancelled_before_it_begins_is_no_error", what_is_cancelled_before_it_begins_is_no_error),
    ("a_killed_supervisor_leaves_nothing", a_killed_supervisor_leaves_nothing),
];

fn a_fork_bomb_ends_at_the_limit(world: &World) {
    let ran = world.run_with(&["fork-bomb"], |request| request.limits.processes = 50);
    succeeded(&ran);
    assert_eq!(ran.stdout.lines().next(), Some("Some(11)"), "{}", ran.stdout);
}

fn filled_memory_ends_the_run(world: &World) {
    let ran = world.run_with(&["memory"], |request| request.limits.memory = 64 << 20);
    assert_eq!(ran.outcome.exit, Exit::Limit(Limit::Memory), "{}", ran.stderr);
}

fn filled_memory_ends_the_run_without_cgroups(world: &World) {
    let weak = Options { best_rung: Rung::Rlimits, ..Options::default() };
    let launcher = bulla_sandbox::Launcher::start(weak).expect("it starts");
    assert_eq!(launcher.rung(), Rung::Rlimits);
    // In the second case each process is below the limit: only what they have together is too much.
    for (what, limit) in [("memory", 64 << 20), ("memory-of-many", 100 << 20)] {
        let scratch = world.scratch();
        let mut request = world.request(scratch.path(), &[what]);
        request.limits.memory = limit;
        let outcome = launcher.run(&request, &world.cancel, &mut |_, _| ()).expect("it runs");
        assert_eq!(outcome.exit, Exit::Limit(Limit::Memory), "{what}");
        assert_eq!(outcome.isolation.rung, Rung::Rlimits);
    }
}

fn filled_shared_memory_is_an_error_of_the_step(world: &World) {
    let ran = world.run_with(&["shared-memory"], |request| request.limits.memory = 64 << 20);
    succeeded(&ran);
    assert_eq!(ran.stdout.trim(), libc::ENOSPC.to_string());
}

fn a_file_beyond_the_disk_limit_ends_the_run(world: &World) {
    let ran = world.run_with(&["disk"], |request| request.limits.disk = 16 << 20);
    assert_eq!(ran.outcome.exit, Exit::Limit(Limit::Disk), "{}", ran.stdout);
    assert!(size(&ran.upper()) <= 17 << 20);
}

fn many_files_beyond_the_disk_limit_end_the_run(world: &World) {
    let ran = world.run_with(&["many-files"], |request| request.limits.disk = 16 << 20);
    assert_eq!(ran.outcome.exit, Exit::Limit(Limit::Disk), "{}", ran.stdout);
}

fn size(path: &Path) -> u64 {
    let metadata = path.symlink_metadata().expect("it exists");
    if !metadata.is_dir() {
        return metadata.len();
    }
    fs::read_dir(path).expect("a folder").map(|entry| size(&entry.expect("an entry").path())).sum()
}

fn a_step_that_ignores_signals_ends_at_its_time(world: &World) {
    let start = Instant::now();
    let ran = world.run_with(&["deaf"], |request| request.limits.time = Duration::from_millis(300));
    assert_eq!(ran.outcome.exit, Exit::Limit(Limit::Time));
    assert_eq!(ran.stdout.trim(), "deaf");
    assert!(start.elapsed() < Duration::from_secs(60));
}

fn daemons_end_with_the_step(world: &World) {
    let own = std::process::id();
    let ran = world.run(&["daemon", &mark(own)]);
    succeeded(&ran);
    assert_eq!(ran.stdout.trim(), "left ten behind");
    assert_eq!(probes(own), 0);
}

fn a_printed_gigabyte_is_cut_and_counted(world: &World) {
    let ran = world.run_with(&["print", &(1_u64 << 30).to_string()], |request| request.limits.output = 1 << 20);
    succeeded(&ran);
    assert_eq!(ran.stdout.len(), 1 << 20);
    assert_eq!(ran.outcome.usage.output, 1 << 30);
    assert_eq!(ran.outcome.usage.output_dropped, (1 << 30) - (1 << 20));
    assert!(ran.outcome.isolation.limits_reached.contains(&Limit::Output));
}

fn cancelling_ends_three_hundred_processes_at_once(world: &World) {
    let own = std::process::id();
    let scratch = world.scratch();
    let request = world.request(scratch.path(), &["tree", "300", &mark(own)]);
    let cancel = bulla_sandbox::Cancel::new().expect("a handle");
    let mut cancelled = None;
    let outcome = world
        .launcher
        .run(&request, &cancel, &mut |_, _| {
            if cancelled.is_none() {
                assert!(probes(own) > 300, "the control: they do run");
                cancelled = Some(Instant::now());
            }
            cancel.cancel();
        })
        .expect("it runs");
    assert_eq!(outcome.exit, Exit::Cancelled);
    let took = cancelled.expect("it was ready").elapsed();
    assert!(took < Duration::from_secs(60), "{took:?}");
    assert_eq!(probes(own), 0);
}

fn what_is_cancelled_before_it_begins_is_no_error(world: &World) {
    let cancel = bulla_sandbox::Cancel::new().expect("a handle");
    cancel.cancel();
    for _ in 0..50 {
        let scratch = world.scratch();
        let request = world.request(scratch.path(), &["deaf"]);
        let outcome = world.launcher.run(&request, &cancel, &mut |_, _| ()).expect("it is cancelled");
        assert_eq!(outcome.exit, Exit::Cancelled);
    }
}

fn a_killed_supervisor_leaves_nothing(world: &World) {
    let mut supervisor = Command::new("/proc/self/exe")
        .args(["supervise".as_ref(), world.folder.path()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut line = String::new();
    BufReader::new(supervisor.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    assert_eq!(line.trim(), "ready");
    let owner = supervisor.id();
    assert!(probes(owner) > 20, "the control: they do run");
    supervisor.kill().expect("killed");
    supervisor.wait().expect("ended");
    let start = Instant::now();
    while probes(owner) + helpers(owner) > 0 {
        assert!(start.elapsed() < Duration::from_secs(60), "{} and {} are left", probes(owner), helpers(owner));
        thread::sleep(Duration::from_millis(10));
    }
}

/// Runs a sandbox with many processes in a process of its own, until that is killed.
pub(crate) fn supervise_until_killed(folder: &str) -> ExitCode {
    let world = World::within(tempfile::tempdir_in(folder).expect("a folder"));
    let scratch = world.scratch();
    give(scratch.path());
    let mut request = world.request(scratch.path(), &["tree", "20", &mark(std::process::id())]);
    request.limits = Limits::default();
    let result = world.launcher.run(&request, &world.cancel, &mut |stream, bytes| {
        assert_eq!(stream, Stream::Stdout);
        print!("{}", String::from_utf8_lossy(bytes));
    });
    println!("{result:?}");
    ExitCode::FAILURE
}

/// The word by which the probes of a process are told from those of other tests on this machine.
fn mark(owner: u32) -> String {
    format!("of-{owner}")
}

/// Counts the marked probes of a process: what its sandboxes were asked to run.
fn probes(owner: u32) -> usize {
    let mark = mark(owner);
    count(|words| words.first() == Some(&b"/bin/probe".as_slice()) && words.contains(&mark.as_bytes()))
}

/// Counts the helpers of a process, and their copies: first processes of sandboxes, one of which is ready for the next run.
fn helpers(owner: u32) -> usize {
    let owner = owner.to_string();
    count(|words| words.starts_with(&[b"bulla-sandbox-helper", owner.as_bytes()]))
}

/// Counts the processes of this machine whose words are such.
fn count(are_meant: impl Fn(&[&[u8]]) -> bool) -> usize {
    let is_meant = |entry: &fs::DirEntry| {
        let text = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        are_meant(&text.split(|byte| *byte == 0).collect::<Vec<_>>())
    };
    fs::read_dir("/proc").expect("/proc").flatten().filter(is_meant).count()
}

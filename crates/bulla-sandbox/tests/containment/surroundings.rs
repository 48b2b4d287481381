//! What a step can see of its machine is the same everywhere.

use std::time::Duration;

use crate::{
    Case,
    world::{World, succeeded},
};

pub(crate) const CASES: &[Case] = &[
    ("two_runs_see_the_same", two_runs_see_the_same),
    ("nothing_of_the_host_is_seen", nothing_of_the_host_is_seen),
    ("the_number_of_processors_can_be_lowered", the_number_of_processors_can_be_lowered),
];

fn two_runs_see_the_same(world: &World) {
    let first = world.run(&["surroundings"]);
    succeeded(&first);
    std::thread::sleep(Duration::from_millis(1100));
    let second = world.run(&["surroundings"]);
    let different: Vec<_> = first.stdout.lines().zip(second.stdout.lines()).filter(|(a, b)| a != b).collect();
    assert!(different.is_empty(), "{different:#?}");
    assert_eq!(first.stdout.lines().count(), second.stdout.lines().count());
}

fn nothing_of_the_host_is_seen(world: &World) {
    let seen = world.run(&["surroundings"]).stdout;
    let host = |path: &str| std::fs::read_to_string(path).expect("the host has it");
    for path in ["/proc/sys/kernel/osrelease", "/proc/sys/kernel/random/boot_id", "/proc/version"] {
        let secret = host(path);
        assert!(!seen.contains(secret.trim()), "{path}: {secret}");
    }
    let folder = world.folder.path().display().to_string();
    assert!(!seen.contains(&folder), "{seen}");
    for line in [
        "uname \"build\"",
        "uname \"6.1.0\"",
        "umask 22",
        "sysinfo 1000 [0, 0, 0] 8589934592 1",
        "pid 2 of 1",
        "env PATH=/bin",
        "/proc/self/cgroup",
    ] {
        assert!(seen.contains(line), "{line} is not in {seen}");
    }
    assert_eq!(seen.matches("env ").count(), 1, "{seen}");
    assert!(!seen.contains("ignored "), "{seen}");
    assert!(!seen.contains("bulla-"), "the name of the cgroup: {seen}");
}

fn the_number_of_processors_can_be_lowered(world: &World) {
    let ran = world.run_with(&["surroundings"], |request| request.limits.cpus = Some(1));
    assert!(ran.stdout.contains("cpus 1\n"), "{}", ran.stdout);
    assert_eq!(ran.stdout.matches("processor\t:").count(), 1);
}

//! Builds that are killed at random moments, with no time to tidy up: the next build gives the same image, and the store is
//! sound. `BULLA_KILLS` says how often; few times without it.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use crate::world::{GOOD, World, is_running, project};

#[test]
fn a_build_that_was_killed_at_any_moment_is_built_again_the_same() {
    let Some(world) = World::new("builds that are killed") else { return };
    let kills: u32 = number("BULLA_KILLS").and_then(|kills| kills.try_into().ok()).unwrap_or(12);
    let mark = format!("4{:05}.5", std::process::id());
    let (linger, project_of) = (format!("(setsid sleep {mark} &) ; sleep 0.05"), |steps: &[&str]| project(steps));
    let project = project_of(&[GOOD[0], &linger, GOOD[1]]);
    let start = Instant::now();
    let digest = world.digest(&project);
    let whole = start.elapsed();
    // A generator of its own (xorshift), seeded by the clock: the seed is told, so that a failure can be had again.
    let mut state = number("BULLA_SEED").unwrap_or_else(seed);
    let seed = state;
    let mut ended = 0;
    for round in 0..kills {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let most = u64::try_from(whole.as_micros()).expect("a build takes less than an age");
        let after = Duration::from_micros(state % most);
        if round % 3 == 0 {
            // From an empty store, so that fetching and unpacking are hit too.
            world.environment.run(&project, &["store", "gc", "--keep", "0B"]).success();
        }
        let mut command = world.environment.command(project.root());
        command.args(["build", "--no-cache"]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("bulla can be run");
        std::thread::sleep(after);
        ended += u32::from(child.try_wait().expect("it can be waited for").is_some());
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
        let killed = Instant::now();
        while is_running(&mark) {
            assert!(
                killed.elapsed() < Duration::from_secs(10),
                "round {round}: a process of the step outlived the build"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        // What is there is sound before anything mends it, and the image is whole or absent.
        world.assert_sound(&project);
        if project.path("bulla-out/index.json").exists() {
            world.environment.run(&project, &["inspect"]).success();
        }
        let again = world.build(&project, if round % 2 == 0 { &[] } else { &["--no-cache"] }).success();
        assert_eq!(again.stdout.trim_end(), digest, "round {round} of seed {seed}, killed after {after:?}");
        world.environment.run(&project, &["inspect"]).success();
    }
    assert!(ended < kills, "no build was killed while it ran");
    world.assert_sound(&project);
    world.environment.run(&project, &["store", "gc", "--keep", "0B"]).success();
    let left = crate::world::files(&world.environment.store().join("tmp"));
    assert!(left.is_empty(), "killed builds left {left:?}");
}

#[expect(clippy::disallowed_methods, reason = "a test has no environment of the program")]
fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn seed() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |since| since.as_nanos());
    u64::try_from(since & u128::from(u64::MAX)).unwrap_or(1) | 1
}

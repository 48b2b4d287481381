//! Attacks on the sandbox, and what stops each of them.
//!
//! This program is four things: the test runner; the sandbox's helper; the probe that is copied into a root and
//! attacks from within; and, started by root, the same again as an ordinary user.

#![expect(clippy::print_stdout, reason = "it is a test runner")]
#![expect(unsafe_code, reason = "the probe attacks by system calls")]
#![expect(clippy::disallowed_methods, reason = "the probe tries what the sandbox itself never does")]

mod abuse;
mod attacks;
mod emulation;
mod evidence;
mod inside;
mod ownership;
mod probe;
mod secrets;
mod serving;
mod surroundings;
mod terminal;
mod world;

use std::{os::unix::process::CommandExt as _, panic, process::Command, process::ExitCode};

use world::World;

/// A name that says what holds, and the check of it.
type Case = (&'static str, fn(&World));

/// The uid of the second run; it needs no entry in any file.
const ORDINARY: u32 = 61_234;

fn main() -> ExitCode {
    bulla_sandbox::intercept();
    serving::enter();
    let args: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = args.iter().skip(1).map(String::as_str).collect();
    match words.as_slice() {
        ["probe", what, rest @ ..] => return inside::act(what, rest),
        ["cell-attempts", folder] => return serving::attempt(folder),
        ["supervise", folder] => return abuse::supervise_until_killed(folder),
        _ => (),
    }
    let filter = words.iter().find(|word| !word.starts_with('-')).copied().unwrap_or_default();
    let all = [
        attacks::CASES,
        abuse::CASES,
        emulation::CASES,
        evidence::CASES,
        ownership::CASES,
        secrets::CASES,
        serving::CASES,
        surroundings::CASES,
        terminal::CASES,
    ];
    let cases: Vec<Case> = all.concat().into_iter().filter(|(name, _)| name.contains(filter)).collect();
    if words.contains(&"--list") {
        cases.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let root = rustix::process::geteuid().is_root();
    let mut failed = run(&cases, if root { "root" } else { "user" });
    if root {
        failed += as_ordinary_user(filter);
    } else {
        println!("skipped: the run as root, since this is not root");
    }
    ExitCode::from(u8::from(failed > 0))
}

fn run(cases: &[Case], who: &str) -> usize {
    let _open = inheritable();
    let world = World::new();
    let mut failed = 0;
    for (name, case) in cases {
        let start = std::time::Instant::now();
        let result = panic::catch_unwind(panic::AssertUnwindSafe(|| case(&world)));
        let word = if result.is_ok() { "ok" } else { "FAILED" };
        println!("test {who}: {name} ... {word} ({} ms)", start.elapsed().as_millis());
        failed += usize::from(result.is_err());
    }
    println!("{who}: {} passed, {failed} failed", cases.len() - failed);
    failed
}

/// A descriptor that every program started from here inherits, whatever this one inherited itself: what no run may see.
fn inheritable() -> std::fs::File {
    let file = std::fs::File::open("/proc/self/exe").expect("this program");
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).expect("a descriptor that is inherited");
    file
}

fn as_ordinary_user(filter: &str) -> usize {
    let folder = world::folder();
    let copy = folder.path().join("containment");
    std::fs::copy("/proc/self/exe", &copy).expect("copy this program");
    world::open_to_all(folder.path());
    world::open_to_all(&copy);
    let status = Command::new(&copy)
        .arg(filter)
        .env("TMPDIR", world::TEMPORARY)
        .current_dir("/")
        .uid(ORDINARY)
        .gid(ORDINARY)
        .status()
        .expect("run as an ordinary user");
    usize::from(!status.success())
}

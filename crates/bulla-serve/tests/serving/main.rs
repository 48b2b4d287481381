//! The server as a process of its own, over the loopback of this machine, with real clients and hostile ones.
//!
//! This program is three things: the test runner, the sandbox's helper, and the server's process.

#![expect(clippy::print_stdout, reason = "it is a test runner")]
#![expect(clippy::disallowed_methods, reason = "tests are clients, and start them")]

mod clients;
mod hostile;
mod proxy;
mod world;

use std::{panic, process::ExitCode};

use world::World;

/// A name that says what holds, and the check of it.
type Case = (&'static str, fn(&World));

fn main() -> ExitCode {
    bulla_sandbox::intercept();
    bulla_serve::intercept();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let filter = words.iter().find(|word| !word.starts_with('-')).map(String::as_str).unwrap_or_default();
    let all = [clients::CASES, hostile::CASES, proxy::CASES].concat();
    let cases: Vec<Case> = all.into_iter().filter(|(name, _)| name.contains(filter)).collect();
    if words.iter().any(|word| word == "--list") {
        cases.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let world = World::new();
    let mut failed = 0;
    for (name, case) in &cases {
        let start = std::time::Instant::now();
        let result = panic::catch_unwind(panic::AssertUnwindSafe(|| case(&world)));
        let word = if result.is_ok() { "ok" } else { "FAILED" };
        println!("test {name} ... {word} ({} ms)", start.elapsed().as_millis());
        failed += usize::from(result.is_err());
    }
    println!("{} passed, {failed} failed", cases.len() - failed);
    ExitCode::from(u8::from(failed > 0))
}

//! Ctrl-C and SIGTERM.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use bulla_testkit::Fault;

use crate::{online, project};

/// Starts `bulla lock` against a mirror that never answers, sends signals, and gives the exit code.
fn stopped_by(signals: &[&str]) -> Option<i32> {
    let (_repo, mirror, environment) = online();
    mirror.fault_everywhere(Fault::Silent);
    let project = project();
    let mut child = environment
        .command(project.root())
        .arg("lock")
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("bulla can be run");
    let start = Instant::now();
    while mirror.requests().is_empty() {
        assert!(start.elapsed() < Duration::from_secs(20), "the mirror was not asked");
        std::thread::sleep(Duration::from_millis(20));
    }
    for signal in signals {
        let sent = Command::new("kill").arg(signal).arg(child.id().to_string()).status().expect("kill can be run");
        assert!(sent.success());
    }
    let signalled = Instant::now();
    let code = loop {
        if let Some(status) = child.try_wait().expect("it can be waited for") {
            break status.code();
        }
        if signalled.elapsed() > Duration::from_secs(10) {
            child.kill().expect("it can be killed");
            child.wait().expect("it ends");
            panic!("it went on after {signals:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(!project.path("bulla.lock").exists());
    let left: Vec<_> = std::fs::read_dir(project.root()).expect("the project").filter_map(Result::ok).collect();
    assert_eq!(left.len(), 1, "temporary files are left: {left:?}");
    code
}

#[test]
fn a_signal_ends_what_goes_on() {
    assert_eq!(stopped_by(&["-INT"]), Some(130));
    assert_eq!(stopped_by(&["-TERM"]), Some(130));
}

#[test]
fn a_second_signal_ends_at_once() {
    assert_eq!(stopped_by(&["-INT", "-INT"]), Some(130));
}

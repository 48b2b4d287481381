use std::process::Stdio;

use bulla_testkit::Project;

use crate::{offline, online, project, spec};

#[test]
fn wrong_usage_has_its_own_code() {
    offline().run(&project(), &["frobnicate"]).failure(2);
    offline().run(&project(), &["check", "--no-such-option"]).failure(2);
    offline().run(&project(), &[]).failure(2);
    offline().run(&project(), &["check", "--quiet", "--verbose"]).failure(2);
}

#[test]
fn colours_come_when_they_are_wanted() {
    let broken = Project::with_spec("bulla: 2\n");
    let plain = offline().unset("NO_COLOR").run(&broken, &["check"]).failure(3);
    assert!(!plain.stderr.contains('\x1b'), "a pipe gets no colours");
    let colours = offline().run(&broken, &["check", "--color", "always"]).failure(3);
    assert!(colours.stderr.contains("\x1b["), "an option holds over NO_COLOR");
    let never = offline().unset("NO_COLOR").run(&broken, &["check", "--color", "never"]).failure(3);
    assert!(!never.stderr.contains('\x1b'));
}

#[test]
fn quiet_leaves_errors_alone() {
    let good = offline().run(&project(), &["check", "--quiet"]).success();
    assert_eq!((good.stdout.as_str(), good.stderr.as_str()), ("", ""));
    let bad = offline().run(&Project::new(), &["check", "-q"]).failure(3);
    assert!(bad.stderr.starts_with("error: "));
}

#[test]
fn errors_are_one_json_line_for_programs() {
    let text = spec("make", "libshop").replace("name: shop", "naem: shop");
    let ran = offline().run(&Project::with_spec(&text), &["check", "--progress", "json"]).failure(3);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.starts_with(r#"{"event":"error","kind":"spec","exit_code":3,"#), "{}", ran.stderr);
    assert!(ran.stderr.contains(r#""file":"bulla.yaml","line":2,"column":1,"#), "{}", ran.stderr);
}

#[test]
fn progress_is_json_lines_for_programs() {
    let (_repo, _mirror, environment) = online();
    let ran = environment.run(&project(), &["lock", "--progress", "json"]).success();
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert!(
        lines[0].starts_with(r#"{"event":"started","id":"#) && lines[0].contains(r#""activity":"lock""#),
        "{lines:?}"
    );
    assert!(lines.iter().all(|line| line.starts_with('{') && line.ends_with('}')), "{lines:?}");
    assert!(lines.last().is_some_and(|line| line.contains(r#""ending":"done""#)), "{lines:?}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let project = project();
    let mut child = offline()
        .command(project.root())
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("bulla can be run");
    drop(child.stdout.take());
    let out = child.wait_with_output().expect("it ends");
    assert_eq!(out.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&out.stderr), "");
}

#[test]
fn a_full_disk_for_the_result_is_an_error() {
    let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") else {
        bulla_testkit::skipped("a full standard output", "there is no /dev/full");
        return;
    };
    let project = project();
    let out = offline().command(project.root()).args(["completions", "bash"]).stdout(full).output().expect("it runs");
    assert_eq!(out.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&out.stderr).contains("writing to standard output"));
}

#[test]
fn version_is_on_standard_output() {
    let ran = offline().run(&project(), &["--version"]).success();
    assert_eq!(ran.stdout, format!("bulla {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_terminal_sees_what_goes_on_and_a_pipe_does_not_flicker() {
    if !bulla_testkit::process::exists("script") {
        bulla_testkit::skipped("progress on a terminal", "there is no `script`");
        return;
    }
    let (_repo, _mirror, environment) = online();
    let project = project();
    let environment = environment.set("TERM", "xterm").set("SHELL", "/bin/sh");
    let line = format!("{} lock; echo code $?", env!("CARGO_BIN_EXE_bulla"));
    let mut command = std::process::Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).current_dir(project.root()).env_clear();
    command.envs(environment.command(project.root()).get_envs().filter_map(|(name, value)| Some((name, value?))));
    let out = command.stdin(Stdio::null()).output().expect("script can be run");
    let shown = String::from_utf8_lossy(&out.stdout);
    assert!(shown.contains("  done lock choosing packages") && shown.contains("code 0"), "{shown}");
    let piped = environment.run(&crate::project(), &["lock"]).success();
    assert!(piped.stderr.starts_with("[lock] choosing packages\n[lock] done in "), "{}", piped.stderr);
    assert!(!piped.stderr.contains(['\x1b', '\r']));
}

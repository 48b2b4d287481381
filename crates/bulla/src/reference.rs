//! Compares what is documented with what is. With `BULLA_REGENERATE=1` in the environment, `docs/commands.md` is written anew.

use std::{path::PathBuf, time::Duration};

use bulla_build::event::{Activity, ActivityId, Ending, Event, Stream};
use bulla_model::Kind;
use clap::{Command, CommandFactory};

use crate::{
    cli::Cli,
    error::{CliError, CommandError, Excerpt, Mark},
    report,
};

const COMMANDS: &str = "\
# Commands

This page is generated from the program, and a test compares the two. The same is in the manual pages (`bulla manual DIR`)
and in `bulla COMMAND --help`. See also: [exit codes](exit-codes.md), [configuration](configuration.md), [progress for programs](progress.md).
";

fn docs() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

fn read(name: &str) -> String {
    fs_err::read_to_string(docs().join(name)).expect("the page exists")
}

fn commands() -> String {
    let mut out = COMMANDS.to_owned();
    let mut root = Cli::command().term_width(100);
    root.build();
    describe(&mut out, &root, "bulla");
    out
}

fn describe(out: &mut String, command: &Command, name: &str) {
    let mut shown = command.clone().bin_name(name).term_width(100).color(clap::ColorChoice::Never);
    // The global options are shown once, at the top.
    if name != "bulla" {
        let global: Vec<_> =
            shown.get_arguments().filter(|arg| arg.is_global_set()).map(|arg| arg.get_id().clone()).collect();
        for id in global {
            shown = shown.mut_arg(id, |arg| arg.hide(true));
        }
    }
    let help = shown.render_long_help().to_string();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    out.push_str(&format!("\n## {name}\n\n```text\n{}\n```\n", help.join("\n").trim()));
    for inner in command.get_subcommands() {
        describe(out, inner, &format!("{name} {}", inner.get_name()));
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a switch of the test, not of the program")]
fn the_page_of_commands_is_current() {
    let (path, now) = (docs().join("commands.md"), commands());
    if std::env::var_os("BULLA_REGENERATE").is_some() {
        fs_err::write(&path, &now).expect("writing the page");
    }
    let then = fs_err::read_to_string(&path).unwrap_or_default();
    assert!(then == now, "docs/commands.md is old: run this test with BULLA_REGENERATE=1");
}

#[test]
fn every_command_has_a_long_help_and_examples() {
    let root = Cli::command();
    for command in root.get_subcommands() {
        let name = command.get_name();
        assert!(command.get_long_about().is_some(), "{name} has no long help");
        let after = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
        assert!(after.contains(&format!("  bulla {name}")), "{name} has no examples");
    }
}

#[test]
fn every_kind_of_error_is_in_the_page_of_exit_codes() {
    let page = read("exit-codes.md");
    let kinds = [
        Kind::Step,
        Kind::Spec,
        Kind::Environment,
        Kind::Integrity,
        Kind::Hermeticity,
        Kind::Policy,
        Kind::Interrupted,
        Kind::Internal,
    ];
    for kind in kinds {
        let row = format!("| {} | `{}` |", kind.exit_code(), report::kind_name(kind));
        assert!(page.contains(&row), "{row}");
    }
    let rows = page.lines().filter(|line| line.starts_with("| ") && line.contains('`')).count();
    assert_eq!(rows, kinds.len(), "the page has other rows too");
}

#[test]
fn every_event_is_in_the_page_of_progress() {
    let page = read("progress.md");
    let id = ActivityId(1);
    let events = [
        Event::Started { id, activity: Activity::Step, title: "build 2/5: make" },
        Event::Progress { id, done: 10, total: Some(20), unit: "bytes" },
        Event::Output { id, stream: Stream::Stdout, bytes: b"cc -c main.c\n" },
        Event::Refused { id, what: "connect 192.0.2.1:443", executable: "/usr/bin/npm", command_line: "npm ci" },
        Event::Affected { member: "services/shop", reason: "services/shop/main.c changed since main (1f0c2d3e4a)" },
        Event::Member { member: "services/shop", number: 2, of: 3 },
        Event::Warning { message: "a blob of the store was damaged, and is fetched again" },
        Event::Finished { id, ending: Ending::Done, took: Duration::from_millis(1234) },
    ];
    for event in events {
        let line = report::json_line(&event);
        assert!(page.contains(&line), "{line}");
    }
    let mark =
        Mark { span: 9..13, message: "unknown key `naem`".into(), help: Some("write `name`".into()), related: None };
    let excerpt = Excerpt { file: "bulla.yaml".into(), text: "bulla: 1\nnaem: x\n".into(), marks: vec![mark] };
    let error = CommandError::from(CliError::Option("bulla.yaml has 1 mistake".into())).with_excerpt(excerpt);
    let line = report::as_json(&error);
    assert!(page.contains(&line), "{line}");
}

#[test]
fn the_configuration_of_the_page_is_good() {
    let page = read("configuration.md");
    let block = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    crate::config::check_text("docs/configuration.md", block).expect("a good configuration");
    let all = include_str!("../tests/fixtures/config/all.toml");
    for line in all.lines().filter(|line| !line.is_empty()) {
        let key = line.split('=').next().unwrap_or_default().trim();
        assert!(block.contains(key), "{key} is not in docs/configuration.md");
    }
}

use std::process::Command;

use bulla_testkit::{Project, process};

use crate::offline;

const COMMANDS: [&str; 19] = [
    "build",
    "init",
    "lock",
    "check",
    "diff",
    "doctor",
    "explain",
    "inspect",
    "sbom",
    "push",
    "pull",
    "copy",
    "index",
    "store",
    "history",
    "completions",
    "manual",
    "why",
    "shell",
];

#[test]
fn every_command_has_a_page() {
    let project = Project::new();
    offline().run(&project, &["manual", "pages"]).success();
    for command in COMMANDS.iter().map(|name| format!("bulla-{name}")).chain(["bulla".to_owned()]) {
        let page = project.read(&format!("pages/{command}.1"));
        assert!(page.contains(".TH ") && page.contains("Examples"), "{command}");
    }
}

#[test]
fn every_command_has_a_help() {
    let project = Project::new();
    for command in COMMANDS {
        let short = offline().run(&project, &[command, "-h"]).success();
        let long = offline().run(&project, &[command, "--help"]).success();
        assert!(short.stdout.contains("Usage: bulla") && long.stdout.len() > short.stdout.len(), "{command}");
    }
    let top = offline().run(&project, &["-h"]).success();
    insta::assert_snapshot!(top.stdout);
}

#[test]
fn shells_take_their_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let project = Project::new();
        let script = offline().run(&project, &["completions", shell]).success().stdout;
        for command in COMMANDS {
            assert!(script.contains(command), "{shell} does not complete {command}");
        }
        if !process::exists(shell) {
            bulla_testkit::skipped("the syntax of a completion script", &format!("there is no {shell}"));
            continue;
        }
        let file = project.write("script", script);
        process::output(Command::new(shell).arg("-n").arg(file)).expect("the shell reads the script");
    }
}

//! A spec from a stranger: it cannot read outside its project, and what it says cannot command the terminal.

use bulla_testkit::{Project, hostile};

use crate::world::{GOOD, World, project, spec};

/// A spec whose source is at a path.
fn with_source(path: &str) -> String {
    spec("", &["mkdir out; cat /src/app/* >out/all 2>/dev/null || true"], "/src/app/out")
        .replace("path: app", &format!("path: {path}"))
}

#[test]
fn a_source_outside_of_the_project_is_refused() {
    let Some(world) = World::new("sources outside") else { return };
    let host = Project::new().file("shadow", "content-of-the-host");
    let absolute = host.root().display().to_string();
    for path in ["..", "../..", "app/../..", "/etc", "/etc/shadow", absolute.as_str(), "\"app\\0/x\"", "~"] {
        let project = Project::with_spec(&with_source(path)).file("app/hello", "hello\n");
        let ran = world.build(&project, &[]).failure(3);
        assert!(ran.stderr.contains("bulla.yaml"), "{path}: the file is not named: {}", ran.stderr);
        assert!(!ran.stderr.contains("root:"), "{path}: {}", ran.stderr);
        world.assert_no_image(&project);
    }
    let good = Project::with_spec(&with_source("app")).file("app/hello", "hello\n");
    world.build(&good, &[]).success();
}

#[test]
fn a_source_that_is_or_lies_behind_a_link_out_of_the_project_is_refused() {
    let Some(world) = World::new("sources behind links") else { return };
    let host = Project::new().file("inner/shadow", "content-of-the-host");
    for path in ["link", "link/inner"] {
        let project = Project::with_spec(&with_source(path)).symlink("link", &host.root().display().to_string());
        let ran = world.build(&project, &[]).failure(3);
        assert!(ran.stderr.contains("source `app`") && ran.stderr.contains("outside the project"), "{}", ran.stderr);
        assert!(!ran.stderr.contains("content-of-the-host"));
        world.assert_no_image(&project);
    }
    // The control: links within a source are kept as links, wherever they lead.
    let inside =
        Project::with_spec(&with_source("app")).file("app/hello", "hello\n").symlink("app/host", "/etc/shadow");
    world.build(&inside, &[]).success();
}

#[test]
fn what_a_source_links_to_outside_is_not_seen_by_steps() {
    let Some(world) = World::new("links in sources") else { return };
    let host = Project::new().file("shadow", "content-of-the-host");
    let target = host.path("shadow").display().to_string();
    let steps = ["mkdir out; test -L link; test ! -e link; test ! -e /etc/shadow; cp hello out/hello"];
    let linked = project(&steps).symlink("app/link", &target);
    world.build(&linked, &[]).success();
    assert!(std::path::Path::new(&target).exists(), "the control: on the host it leads somewhere");
}

#[test]
fn what_the_image_copies_of_a_source_cannot_climb() {
    let Some(world) = World::new("copies that climb") else { return };
    let text = |copy: &str| spec("", &GOOD, "/src/app/out").replace("    - {output: build.out, to: /out}\n", copy);
    for copy in [
        "    - {source: app/../../etc/passwd, to: /x}\n",
        "    - {output: build.out, to: /../x}\n",
        "    - {source: /etc/passwd, to: /x}\n",
    ] {
        let project = Project::with_spec(&text(copy)).file("app/hello", "hello\n");
        let ran = world.build(&project, &[]).failure(3);
        assert!(ran.stderr.contains("bulla.yaml"), "{copy}: {}", ran.stderr);
    }
    let good = "    - {source: app/hello, to: /x}\n    - {output: build.out, to: /out}\n";
    world.build(&Project::with_spec(&text(good)).file("app/hello", "hello\n"), &[]).success();
}

#[test]
fn a_spec_cannot_command_the_terminal_or_ci() {
    let Some(world) = World::new("control characters in the spec") else { return };
    let good = spec("", &GOOD, "/src/app/out");
    for (from, to) in [
        ("name: attacked", "name: \"\\e]0;owned\\a\\n::set-output name=a::b\""),
        ("bulla: 1\n", "bulla: 1\n\"\\e[2J\\n##vso[x]y\": 1\n"),
        ("entrypoint: [/out]", "entrypoint: \"\\e[31m\\n::error::x\""),
        ("packages: [tools]", "packages: [\"\\e[31mno\\n::error::x\"]"),
    ] {
        assert!(good.contains(from), "{from}");
        let project = Project::with_spec(&good.replacen(from, to, 1)).file("app/hello", "hello\n");
        for arguments in [&["--progress", "plain"][..], &["--progress", "json"]] {
            let ran = world.build(&project, arguments);
            assert!(!ran.stderr.contains(['\x1b', '\x07']), "{to}: {:?}", ran.stderr);
            let commands = |line: &str| line.trim_start().starts_with("::") || line.trim_start().starts_with("##");
            assert!(!ran.stderr.lines().any(commands), "{to}: {}", ran.stderr);
        }
    }
    world.build(&Project::with_spec(&good).file("app/hello", "hello\n"), &[]).success();
}

#[test]
fn a_huge_deep_or_exploding_spec_ends_at_once() {
    let Some(world) = World::new("hostile YAML") else { return };
    let start = std::time::Instant::now();
    for text in [hostile::exploding_yaml(), hostile::deep_yaml(100_000), hostile::huge_yaml(100 << 20)] {
        let ran = world.build(&Project::with_spec(&text), &[]).failure(3);
        assert!(ran.stderr.contains("bulla.yaml") && ran.stderr.len() < 100_000, "{}", ran.stderr.len());
    }
    assert!(start.elapsed() < std::time::Duration::from_secs(30));
    world.build(&project(&GOOD), &[]).success();
}

#[test]
fn nothing_of_the_callers_environment_reaches_a_step() {
    let Some(world) = World::new("the environment") else { return };
    let project = project(&[
        "mkdir out; env >out/env; ! grep -q sesame out/env; test ! -e \"$HOME/.config\"; grep -q SOURCE_DATE_EPOCH= out/env",
    ]);
    let digest = world.digest(&project);
    let ran = world
        .environment
        .command(project.root())
        .env("TOKEN", "open-sesame")
        .env("SOURCE_DATE_EPOCH", "12345")
        .env("LD_PRELOAD", "/nowhere/sesame.so")
        .args(["build", "--no-cache"])
        .output()
        .expect("bulla can be run");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(String::from_utf8_lossy(&ran.stdout).trim_end(), digest);
}

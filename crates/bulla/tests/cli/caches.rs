//! Caches of compilers, as steps and other projects see them.

use bulla_testkit::{Project, Ran};

use crate::world::World;

/// A spec whose step counts how often it ran, in its cache, and copies that out.
fn spec(stage: &str, steps: &[&str]) -> String {
    let steps: Vec<String> = steps.iter().map(|step| format!("      - {step}\n")).collect();
    format!(
        "bulla: 1
name: cached
sources:
  app: {{path: app}}
stages:
  build:
    from: {{debian: trixie, suites: [trixie], packages: [tools]}}
{stage}    steps:
{}    outputs: {{out: /src/app/out}}
image:
  from: {{scratch: {{}}}}
  copy:
    - {{output: build.out, to: /out}}
  entrypoint: [/out]
  user: 65532
",
        steps.concat()
    )
}

const CACHE: &str = "    cache: [/src/app/target]\n";
/// Counts its runs in the cache, and prints what it found.
const COUNT: &str = "ls target; echo run >>target/runs; wc -l <target/runs >out; cat hello >>out";

fn project(stage: &str, steps: &[&str]) -> Project {
    Project::with_spec(&spec(stage, steps)).file("app/hello", "hello\n")
}

fn told(ran: &Ran) -> bool {
    ran.stderr.contains("Read from caches by build/1: the image is not called reproducible")
}

#[test]
fn a_step_finds_what_it_left_and_its_result_says_so() {
    let Some(world) = World::new("a cache") else { return };
    let project = project(CACHE, &[COUNT]);
    let ran = world.build(&project, &[]).success();
    assert!(!told(&ran), "nothing was there yet: {}", ran.stderr);
    let first = ran.stdout;
    // Nothing changed: the result is used, whatever is in the cache.
    assert_eq!(world.build(&project, &[]).success().stdout, first);
    project.write("app/hello", "another\n");
    let ran = world.build(&project, &[]).success();
    assert!(told(&ran), "{}", ran.stderr);
    let second = ran.stdout;
    // What is made of a tainted result is tainted where it is used again too.
    let again = world.build(&project, &[]).success();
    assert!(again.stdout == second && again.stderr.contains("0 of 2 steps run") && told(&again), "{}", again.stderr);
    let history = world.environment.run(&project, &["history", "--json"]).success().stdout;
    assert!(history.contains(r#"\"tainted\":true"#) && history.contains(r#"\"tainted\":false"#), "{history}");
    // The control: without a cache, the second source gives another image than with what the first left.
    let plain = self::project("", &["mkdir target; echo run >>target/runs; wc -l <target/runs >out; cat hello >>out"]);
    plain.write("app/hello", "another\n");
    assert_ne!(world.digest(&plain), second.trim_end());
    // Nothing of a cache is in the image, nor in what the step left.
    let listed = world.environment.run(&project, &["inspect", "--files"]).success().stdout;
    assert!(listed.contains("/out") && !listed.contains("runs") && !listed.contains("target"), "{listed}");
    let usage = world.environment.run(&project, &["store", "du"]).success().stdout;
    assert!(
        usage.lines().any(|line| line.starts_with("caches") && line.split_whitespace().nth(1) == Some("1")),
        "{usage}"
    );
    world.assert_sound(&project);
    // It may go at any time.
    for own in fs_err::read_dir(world.environment.store().join("caches")).expect("a folder") {
        fs_err::remove_dir_all(own.expect("an entry").path()).expect("removed");
    }
    let ran = world.build(&project, &["--no-cache"]).success();
    assert!(!told(&ran), "{}", ran.stderr);
}

#[test]
fn a_step_that_fails_or_is_of_another_command_project_or_stage_leaves_and_finds_nothing() {
    let Some(world) = World::new("what a cache is for") else { return };
    let mine = project(
        CACHE,
        &[
            "cat target/note 2>/dev/null >out || echo none >out; cat hello >>out; echo secret >target/note; cat hello | grep -q hello",
        ],
    );
    let image = |project: &Project| {
        let ran = world.build(project, &[]).success();
        (ran.stderr.contains("Read from caches"), ran.stdout)
    };
    let fresh = image(&mine);
    assert!(!fresh.0);
    // The same spec elsewhere is another project, be it a stranger's.
    let theirs = project(CACHE, &[&spec_step(&mine)]);
    theirs.write("app/hello", "hello, another\n");
    assert!(!image(&theirs).0, "it found what is another's");
    // A step that fails changes the cache for nobody.
    mine.write("app/hello", "fails\n");
    world.build(&mine, &[]).failure(1);
    mine.write("app/hello", "hello again\n");
    assert!(image(&mine).0, "the control: it finds its own");
    let usage = |project: &Project| world.environment.run(project, &["store", "du", "--json"]).success().stdout;
    assert!(usage(&mine).contains("\"caches\":{\"count\":2,"), "{}", usage(&mine));
    // Another command, variable or stage has another cache.
    for (stage, step) in [
        (format!("{CACHE}    env: {{CFLAGS: -O3}}\n"), spec_step(&mine)),
        (CACHE.to_owned(), format!("{}; true", spec_step(&mine))),
    ] {
        mine.write("bulla.yaml", spec(&stage, &[&step]));
        assert!(!image(&mine).0, "{stage}{step}");
    }
}

fn spec_step(project: &Project) -> String {
    let spec = project.read("bulla.yaml");
    let line = spec.lines().find_map(|line| line.strip_prefix("      - ")).expect("a step");
    line.to_owned()
}

#[test]
fn a_strangers_project_poisons_no_result_of_another() {
    let Some(world) = World::new("a poisoned cache") else { return };
    let step = "test -e target/lib || cp hello target/lib; cat target/lib hello >out";
    let theirs = project(CACHE, &[step]);
    theirs.write("app/hello", "evil\n");
    world.build(&theirs, &[]).success();
    // The very inputs of the other project, on what the evil ones left.
    theirs.write("app/hello", "good\n");
    let ran = world.build(&theirs, &[]).success();
    assert!(told(&ran), "{}", ran.stderr);
    let poisoned = ran.stdout;
    let mine = project(CACHE, &[step]);
    mine.write("app/hello", "good\n");
    let ran = world.build(&mine, &[]).success();
    assert!(ran.stderr.contains("1 of 2 steps run") && !told(&ran), "{}", ran.stderr);
    assert_ne!(ran.stdout, poisoned);
    // The control: without caches, the same inputs have one result in the whole store.
    let plain = |text: &str| project("", &["cp hello out"]).file("app/more", text);
    world.build(&plain("x"), &[]).success();
    assert!(world.build(&plain("x"), &[]).success().stderr.contains("0 of 2 steps run"));
}

#[test]
fn a_locked_build_reads_no_cache_without_a_reason() {
    let Some(world) = World::new("a locked build with a cache") else { return };
    let project = project(CACHE, &[COUNT]);
    world.build(&project, &[]).success();
    let refused = world.build(&project, &["--locked"]).failure(7);
    assert!(
        refused.stderr.contains("the stage build has a cache") && refused.stderr.contains("locked-cache: REASON"),
        "{}",
        refused.stderr
    );
    let with = spec(&format!("{CACHE}    locked-cache: a build without it takes an hour\n"), &[COUNT]);
    project.write("bulla.yaml", &with);
    world.build(&project, &["--locked"]).success();
    project.write("bulla.yaml", with.replace("    cache: [/src/app/target]\n", ""));
    world.build(&project, &[]).failure(3);
}

#[test]
fn a_cache_that_is_elsewhere_is_a_reason_to_run_again() {
    let Some(world) = World::new("an explained cache") else { return };
    let project = project(CACHE, &["echo x >out"]);
    world.build(&project, &[]).success();
    project.write("bulla.yaml", spec("    cache: [/src/app/other]\n", &["echo x >out"]));
    assert!(world.build(&project, &[]).success().stderr.contains("1 of 2 steps run"));
    let told = world.environment.run(&project, &["explain", "build/1"]).success().stdout;
    assert!(told.contains("caches /src/app/target → /src/app/other"), "{told}");
}

#[test]
fn files_that_changed_are_newer_than_what_is_in_the_cache_and_others_are_not() {
    let Some(world) = World::new("times and caches") else { return };
    // As make does: what is not older than its source is left alone. The first step's file is one of an earlier step.
    let compile = "for f in a b made; do if [ ! -e target/$f.o ] || [ $f.c -nt target/$f.o ]; then cp $f.c target/$f.o; echo compiled $f; fi; done; cat target/*.o >out";
    let project = Project::with_spec(&spec(CACHE, &["head -1 a.c >made.c", compile]))
        .file("app/a.c", "a\nx\n")
        .file("app/b.c", "b\n");
    let compiled = |project: &Project| {
        let ran = world.build(project, &["--progress", "plain"]).success();
        let of = |line: &str| line.split_once("compiled ").map(|(_, name)| name.trim().to_owned());
        ran.stderr.lines().filter(|line| !line.contains("for f in")).filter_map(of).collect::<Vec<_>>()
    };
    assert_eq!(compiled(&project), ["a", "b", "made"]);
    project.write("app/b.c", "bb\n");
    assert_eq!(compiled(&project), ["b"]);
    project.write("app/a.c", "a\nxx\n");
    assert_eq!(compiled(&project), ["a"], "what an earlier step left is the same");
    project.write("app/a.c", "aa\nxx\n");
    assert_eq!(compiled(&project), ["a", "made"]);
    project.write("app/a.c", "a\nx\n");
    project.write("app/b.c", "b\n");
    // The result of the first build is there; a step that is asked for runs on what the last one left.
    let ran = world.build(&project, &["--no-cache=build/2", "--progress", "plain"]).success();
    assert!(["a", "b", "made"].iter().all(|name| ran.stderr.contains(&format!("compiled {name}\n"))), "{}", ran.stderr);
}

#[test]
fn a_cache_that_would_hide_or_be_something_else_is_refused() {
    let Some(world) = World::new("caches in the way") else { return };
    for (cache, why) in [
        ("/", "the whole root"),
        ("/src/app", "would hide what the steps work on"),
        ("/src", "would hide what the steps work on"),
        ("/proc/x", "not part of any image"),
        ("/src/app/out", "the output `/src/app/out` lies in the cache"),
    ] {
        let project = project(&format!("    cache: ['{cache}']\n"), &["true"]);
        let ran = world.environment.run(&project, &["check"]).failure(3);
        assert!(ran.stderr.contains(why), "{cache}: {}", ran.stderr);
    }
    let nested = project("    cache: [/src/app/a, /src/app/a/b]\n", &["true"]);
    assert!(world.environment.run(&nested, &["check"]).failure(3).stderr.contains("in another cache"));
    // A step cannot put something else in its place.
    for step in ["rm -rf target; ln -s /etc target; echo x >out", "echo file >target; echo x >out"] {
        world.build(&project(CACHE, &[step]), &[]).failure(1);
    }
    // A link or file that is there cannot lead it elsewhere.
    for (made, why) in
        [("ln -s /etc brought/link", "/opt/link is a symbolic link"), ("echo x >brought/link", "/opt/link is a file")]
    {
        let mut text = spec(
            "    cache: [/opt/link/target]\n    copy:\n      - {output: other.brought, to: /opt}\n",
            &["echo x >out"],
        );
        let other = format!(
            "stages:\n  other:\n    from: {{debian: trixie, suites: [trixie], packages: [tools]}}\n    steps:\n      - mkdir brought; {made}\n    outputs: {{brought: /src/app/brought}}\n"
        );
        text = text.replacen("stages:\n", &other, 1);
        let ran = world.build(&Project::with_spec(&text).file("app/hello", "hello\n"), &[]).failure(3);
        assert!(
            ran.stderr.contains("cannot have a cache at /opt/link/target") && ran.stderr.contains(why),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn what_a_step_writes_to_a_cache_counts_as_what_it_writes() {
    let Some(world) = World::new("a cache without end") else { return };
    let limits = format!("{CACHE}    limits: {{disk: 8MiB}}\n");
    let project = project(&limits, &["yes | head -c 4000000 >target/one; echo x >out", "sleep 0.1"]);
    world.build(&project, &[]).success();
    let project = self::project(
        &limits,
        &["for i in 1 2 3 4 5 6 7 8; do yes | head -c 4000000 >target/$i; sleep 0.2; done; sleep 20; echo x >out"],
    );
    let ran = world.build(&project, &[]).failure(1);
    assert!(ran.stderr.contains("disk"), "{}", ran.stderr);
}

#[test]
fn two_builds_at_once_do_not_meet_in_a_cache() {
    let Some(world) = World::new("two builds with one cache") else { return };
    let step = "echo half >target/a; sleep 0.5; echo half >target/b; ls target >out; test -e target/b; cat hello >>out";
    let project = project(CACHE, &[step]);
    world.build(&project, &["--output", &format!("oci-archive:{}", project.path("first.tar").display())]).success();
    let results: Vec<Ran> = std::thread::scope(|scope| {
        let run = |name: &'static str| {
            let (world, project) = (&world, &project);
            move || {
                world.build(
                    project,
                    &["--no-cache", "--output", &format!("oci-archive:{}", project.path(name).display())],
                )
            }
        };
        let threads: Vec<_> = ["one.tar", "two.tar"].map(|name| scope.spawn(run(name))).into_iter().collect();
        threads.into_iter().map(|thread| thread.join().expect("it ends")).collect()
    });
    let digests: Vec<String> = results.into_iter().map(|ran| ran.success().stdout).collect();
    assert_eq!(digests[0], digests[1], "both saw the whole cache");
    world.assert_sound(&project);
}

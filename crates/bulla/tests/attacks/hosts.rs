//! What a host refuses or a spec asks for in plenty, and the build gives the same image all the same.

use bulla_testkit::{TestEnvironment, process, skipped};

use crate::world::{GOOD, World, project, project_with};

/// Mounts an overlay over the folder of the store: the kernel takes no upper directory that lies on another overlay.
const ON_OVERLAY: &str = "set -e; f=$1; shift; mkdir -p $f/lower $f/upper $f/work $f/store
    mount -t overlay overlay -o lowerdir=$f/lower,upperdir=$f/upper,workdir=$f/work $f/store; exec \"$@\"";

#[test]
fn where_no_overlay_can_be_mounted_the_image_is_the_same() {
    let Some(world) = World::new("a host without overlays") else { return };
    if !process::is_root() {
        return skipped("a host without overlays", "mounting one beneath the store needs root");
    }
    // Something is added, changed, removed and made a directory of, in two steps and what lies beneath.
    let steps =
        [GOOD[0], GOOD[1], "rm out/hello; mkdir out/hello; echo deep >out/hello/deep; chmod 700 out/more; rm hello"];
    let plain = project(&steps);
    let digest = world.digest(&plain);
    let other = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &world.repo, &world.mirror);
    let folder = other.folder().display().to_string();
    let environment = other.through(&["unshare", "-m", "sh", "-c", ON_OVERLAY, "sh", &folder]);
    let copied = project(&steps);
    let ran = environment.run(&copied, &["build"]).success();
    assert!(ran.stderr.contains("no overlay can be mounted here"), "the control: {}", ran.stderr);
    assert_eq!(ran.stdout.trim_end(), digest);
    // Mounted anew, as after a restart.
    assert_eq!(environment.run(&copied, &["build"]).success().stdout.trim_end(), digest);
}

#[test]
fn where_no_overlay_can_be_mounted_caches_are_found_and_kept_as_elsewhere() {
    let Some(world) = World::new("caches on a host without overlays") else { return };
    if !process::is_root() {
        return skipped("caches on a host without overlays", "mounting one beneath the store needs root");
    }
    // What ran before, whether what changed since is newer than that, and a step that fails with a half-made cache.
    let step = "grep -q fails hello && echo half >>target/runs && false; echo run >>target/runs; mkdir out; \
                cat target/runs hello >out/hello; if test -e target/stamp; then \
                test hello -nt target/stamp && echo newer >>out/hello; test same -nt target/stamp || echo older >>out/hello; fi; \
                touch target/stamp; ln -s runs target/link; ln target/runs target/more; rm -f target/link target/more";
    let overlay = &world.environment;
    let copies = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &world.repo, &world.mirror);
    // One mount for all builds: a cache of another one is not believed.
    let folder = copies.folder().to_owned();
    let (place, pid) = (folder.display().to_string(), folder.join("pid"));
    let mut command = std::process::Command::new("unshare");
    command.args(["-m", "sh", "-c", ON_OVERLAY, "sh", &place, "sh", "-c", "echo $$ >$0; exec sleep 3600"]).arg(&pid);
    let mut mount = process::Background::start(&mut command, &folder.join("mount.log")).expect("unshare can be run");
    let id = || fs_err::read_to_string(&pid).unwrap_or_default().trim().to_owned();
    assert!(mount.wait_until(std::time::Duration::from_secs(60), || !id().is_empty()), "it is mounted");
    // The current folder is entered anew: that of another namespace lies on another mount.
    let within = format!("exec nsenter -m -t {} sh -c 'cd \"$0\" && exec \"$@\"' \"$PWD\" \"$@\"", id());
    let copies = copies.through(&["sh", "-c", &within, "sh"]);
    let built = |environment: &TestEnvironment, is_copied: bool| {
        let project = project_with("    cache: [/src/app/target]\n", &[step]).file("app/same", "same\n");
        let mut found = Vec::new();
        for text in ["hello", "another", "fails", "third"] {
            project.write("app/hello", format!("{text}\n"));
            let ran = environment.run(&project, &["build"]);
            assert_eq!(ran.code, Some(if text == "fails" { 1 } else { 0 }), "{text}: {}", ran.stderr);
            assert_eq!(ran.stderr.contains("no overlay can be mounted here"), is_copied, "the control: {}", ran.stderr);
            found.push((ran.stdout, ran.stderr.contains("Read from caches by build/1")));
        }
        let told: Vec<bool> = found.iter().map(|(_, told)| *told).collect();
        assert_eq!(told, [false, true, false, true]);
        // What is made in it beside does not come out, and the last image is that of two runs and one that was not kept.
        let shown = environment.run(&project, &["inspect", "--files"]).success().stdout;
        assert!(!shown.contains("target") && !shown.contains("stamp"), "{shown}");
        environment.run(&project, &["store", "verify", "--full"]).success();
        found
    };
    assert_eq!(built(&copies, true), built(overlay, false));
}

#[test]
fn a_hundred_and_fifty_steps_are_merged_on_the_way_and_lose_nothing() {
    let Some(world) = World::new("many steps") else { return };
    // Each step adds a file, removes one of an earlier step, and replaces a folder that an earlier step filled.
    let mut steps = vec!["mkdir out out/kept; echo 0 >out/kept/first".to_owned()];
    steps.extend((1..150_u32).map(|step| {
        format!(
            "echo {step} >out/{step}; rm -f out/{}; rm -rf out/folder; mkdir out/folder; echo {step} >out/folder/{step}",
            step.saturating_sub(100)
        )
    }));
    steps.push(
        "test $(ls out | wc -l) = 102; test $(ls out/folder) = 149; test $(cat out/149 out/50 | wc -l) = 2".to_owned(),
    );
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    let project = project(&steps);
    let digest = world.digest(&project);
    let files = world.environment.run(&project, &["inspect", "--files"]).success().stdout;
    for (path, there) in [("/out/kept/first", true), ("/out/149", true), ("/out/50", true), ("/out/49", false)] {
        let shown = files.lines().any(|line| line.split_whitespace().any(|word| word == path));
        assert_eq!(shown, there, "{path}: {files}");
    }
    assert!(files.contains("/out/folder/149") && !files.contains("/out/folder/148"), "{files}");
    let again = world.build(&project, &[]).success();
    assert_eq!(again.stdout.trim_end(), digest);
    assert!(again.stderr.contains("0 of 152 steps run"), "{}", again.stderr);
}

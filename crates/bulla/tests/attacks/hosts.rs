//! What a host refuses or a spec asks for in plenty, and the build gives the same image all the same.

use bulla_testkit::{TestEnvironment, process, skipped};

use crate::world::{GOOD, World, project};

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

//! An image that is made twice: in the second run nothing is as it was but what the spec says.

use bulla_model::oci::{Index, Manifest};
use bulla_testkit::{Project, Ran};
use serde_json::Value;

use crate::world::{self, World};

fn compared(world: &World, step: &str) -> (Project, Ran) {
    let project = world::project(&[&format!("mkdir out; {step}")]);
    let ran = world.build(&project, &["--compare"]);
    (project, ran)
}

/// Gives what the provenance of the image in a layout says of the run.
fn run(project: &Project) -> Value {
    statement(project)["predicate"]["runDetails"]["byproducts"][0]["annotations"].clone()
}

/// Gives the provenance of the image in a layout.
fn statement(project: &Project) -> Value {
    let read = |hex: String| fs_err::read(project.path("bulla-out/blobs/sha256").join(hex)).expect("a blob");
    let index: Index = serde_json::from_slice(&fs_err::read(project.path("bulla-out/index.json")).expect("an index"))
        .expect("an index");
    let is = |entry: &&bulla_model::oci::Descriptor| {
        entry
            .annotations
            .get("in-toto.io/predicate-type")
            .is_some_and(|kind| kind.starts_with("https://slsa.dev/provenance/"))
    };
    let entry = index.manifests.iter().find(is).expect("provenance");
    let manifest: Manifest = serde_json::from_slice(&read(entry.digest.hex())).expect("a manifest");
    serde_json::from_slice(&read(manifest.layers[0].digest.hex())).expect("a statement")
}

#[test]
fn what_comes_out_the_same_is_called_compared_and_what_was_otherwise_is_named() {
    let Some(world) = World::new("an image made twice") else { return };
    // The step shows all that is otherwise, and leaves nothing of it.
    let shows = "date +%z; echo $LC_ALL $USER; busybox hostname; busybox nproc; echo same >out/x";
    let (project, ran) = compared(&world, shows);
    let ran = ran.success();
    let lines: Vec<&str> = ran.stderr.lines().filter(|line| line.contains("| ")).collect();
    for (first, second) in [("+0000", "+1400"), ("C.UTF-8 root", "POSIX somebody"), ("bulla", "elsewhere")] {
        let count = |word: &str| lines.iter().filter(|line| line.trim_end().ends_with(word)).count();
        assert_eq!((count(first), count(second)), (1, 1), "{first} {second}: {}", ran.stderr);
    }
    let seen = run(&project);
    assert_eq!(seen["compared"], true);
    let names = ["zone", "locale", "host-name", "user", "processors", "directory-order"];
    let varied: Vec<&str> = seen["varied"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert!(names.iter().all(|name| varied.contains(name)), "{seen}");
    // The next build finds the result, and the evidence that it was compared.
    world.build(&project, &[]).success();
    assert_eq!(run(&project)["compared"], true);
    // The control: who has not compared does not say so.
    let other = world::project(&["mkdir out; echo other >out/x"]);
    world.build(&other, &[]).success();
    assert_eq!(run(&other)["compared"], false);
}

#[test]
fn what_comes_out_otherwise_is_shown_with_the_reason_and_no_image_is_written() {
    let Some(world) = World::new("what differs") else { return };
    for (step, why) in [
        ("date '+built %H:%M:%S' >out/x; busybox usleep 1100000", "/out/x: a time in the bytes from "),
        ("date '+%s' >out/x; busybox usleep 1100000", "/out/x: a time in the bytes from "),
        ("busybox hostname >out/x", "`bulla` and `elsewhere`"),
        ("busybox nproc >out/x", "/out/x: "),
        ("busybox head -c 8 /dev/urandom | busybox sha256sum >out/x", "/out/x: something random in the bytes from "),
        ("busybox touch out/$(busybox head -c 8 /dev/urandom | busybox sha256sum | busybox cut -c1-16)", "/out/"),
    ] {
        let (project, ran) = compared(&world, step);
        let ran = ran.failure(7);
        assert!(
            ran.stderr.contains("the image is not reproducible: the first run gave sha256:"),
            "{step}: {}",
            ran.stderr
        );
        assert!(ran.stderr.contains(why), "{step}: {}", ran.stderr);
        world.assert_no_image(&project);
        // The control: without the second run, nobody notices.
        world.build(&project, &[]).success();
    }
}

/// A file of gzip with the second in its header, and a library whose member has it.
const TIMED: &str = "echo same | busybox gzip -c >out/x; date +%s | busybox tail -c 5 | busybox tr -d '\\n' >time; \
                     busybox dd if=time of=out/x bs=1 seek=4 conv=notrunc; \
                     printf '!<arch>\\n%-16s%-12s%-6s%-6s%-8s%-10s`\\nsame' a.o/ $(cat time) 0 0 100644 4 >out/lib.a; busybox usleep 1100000";

#[test]
fn what_cannot_be_made_twice_the_same_is_written_anew_where_the_spec_says_so() {
    let Some(world) = World::new("archives written anew") else { return };
    let (project, ran) = compared(&world, TIMED);
    // The control: nobody writes them anew.
    ran.failure(7);
    let keys = |normalise: &str| format!("    normalise: {normalise}\n");
    let why = "this packer writes the time into its archives";
    let good =
        keys(&format!("{{/src/app/out/x: {{as: gzip, reason: {why}}}, /src/app/out: {{as: ar, reason: {why}}}}}"));
    let other = world::project_with(&good, &["mkdir out", TIMED]);
    let ran = world.build(&other, &["--compare"]).success();
    let listed = world.environment.run(&other, &["inspect", "--files"]).success().stdout;
    assert!(listed.contains("/out/x") && listed.contains("/out/lib.a"), "{listed}");
    // A build from nothing gives the same, and the provenance says what was written anew.
    assert_eq!(world.build(&other, &["--no-cache"]).success().stdout, ran.stdout);
    let definition = statement(&other)["predicate"]["buildDefinition"].clone();
    let relaxations = definition["internalParameters"]["relaxations"].to_string();
    assert!(
        relaxations.contains("stages.build.normalise") && relaxations.contains("/src/app/out/x as gzip"),
        "{relaxations}"
    );
    assert!(relaxations.contains(why), "{relaxations}");
    // What is named and is no such file is an error; in a folder it stays as it is.
    let wrong =
        world::project_with(&keys(&format!("{{/src/app/out/x: {{as: zip, reason: {why}}}}}")), &["mkdir out", TIMED]);
    let told = world.build(&wrong, &[]).failure(3).stderr;
    assert!(told.contains("stage build cannot write /src/app/out/x anew as zip: it is no zip file"), "{told}");
    world.assert_no_image(&wrong);
    let cut = "mkdir out; echo same | busybox gzip -c | busybox head -c 20 >out/x";
    let damaged = world::project_with(&keys(&format!("{{/src/app/out/x: {{as: gzip, reason: {why}}}}}")), &[cut]);
    let told = world.build(&damaged, &[]).failure(3).stderr;
    assert!(told.contains("the member at byte 0 is damaged"), "{told}");
    drop(project);
}

#[test]
fn a_second_run_leaves_nothing_that_a_later_build_would_find() {
    let Some(world) = World::new("a second run's results") else { return };
    let (project, ran) = compared(&world, "busybox hostname >out/x");
    ran.failure(7);
    let ran = world.build(&project, &[]).success();
    assert!(ran.stderr.contains("0 of 2 steps run"), "the first run's results are there: {}", ran.stderr);
    let listed = world.environment.run(&project, &["inspect", "--files"]).success().stdout;
    assert!(listed.contains("/out/x"), "{listed}");
    let unpacked = world::project(&["mkdir out; busybox hostname >out/x"]);
    let fresh = world.build(&unpacked, &["--no-cache"]).success().stdout;
    assert_eq!(fresh, ran.stdout, "what was kept is what an ordinary run makes");
}

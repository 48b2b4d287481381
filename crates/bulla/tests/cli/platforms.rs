//! One spec for several platforms: what is made once, what for each, and how it comes together.

use bulla_testkit::{
    Deb, Project, Ran, Release,
    debian::{Compression, file_of, real_debs_of_two},
    skipped,
};
use serde_json::Value;

use crate::world::World;

const SPEC: &str = "\
bulla: 1
name: two
platforms: [linux/amd64, linux/arm64]
sources:
  app: {path: app}
stages:
  docs:
    from: {debian: trixie, suites: [trixie], packages: [tools]}
    steps:
      - cp hello docs; env | grep TARGET >>docs || true
    outputs: {docs: /src/app/docs}
  build:
    from: {debian: trixie, suites: [trixie], packages: [tools, 'cc:cross', 'libdev:target']}
    platform: cross
    copy:
      - {output: docs.docs, to: /docs}
    steps:
      - cp /docs out; echo $TARGETPLATFORM $TARGETOS $TARGETARCH $TARGETTRIPLET $BUILDPLATFORM >>out
      - ls /usr/lib/*/libdev.a /usr/bin/*cc >>out
    outputs: {out: /src/app/out}
image:
  from: {debian: trixie, suites: [trixie], packages: [libshop]}
  copy:
    - {output: build.out, to: /out}
  entrypoint: [/out]
  user: 65532
";

/// Adds what the spec asks for, of both architectures.
pub(crate) fn world(test: &str) -> Option<World> {
    let mut world = World::new(test)?;
    world.repo.add_architecture("arm64");
    world.repo.add(&Deb::new("cc", "1").file("usr/bin/x86_64-linux-gnu-cc", 0o755, "#!/bin/sh\n"));
    world.repo.add(&Deb::new("cc-aarch64-linux-gnu", "1").file("usr/bin/aarch64-linux-gnu-cc", 0o755, "#!/bin/sh\n"));
    world.repo.add(&Deb::new("data", "1").architecture("all").field("Multi-Arch", "foreign").file(
        "usr/share/data",
        0o644,
        "x",
    ));
    for (architecture, triplet) in [("amd64", "x86_64-linux-gnu"), ("arm64", "aarch64-linux-gnu")] {
        let deb = |name: &str, file: &str| {
            let deb = Deb::new(name, "2").architecture(architecture).field("Multi-Arch", "same");
            let deb = deb.file(&format!("usr/lib/{triplet}/{file}"), 0o644, format!("{name} of {architecture}"));
            deb.file(&format!("usr/share/doc/{name}/readme"), 0o644, "the same")
        };
        world.repo.add(&deb("libshop", "libshop.so.2").depends("data"));
        world.repo.add(&deb("libdev", "libdev.a").depends("libshop (= 2)"));
    }
    world.repo.publish(&Release::dated(1_700_000_000));
    Some(world)
}

pub(crate) fn project() -> Project {
    Project::with_spec(SPEC).file("app/hello", "hello\n")
}

/// Gives the index of the only image of a layout.
fn index(project: &Project, layout: &str) -> Value {
    let top: Value = serde_json::from_str(&project.read(&format!("{layout}/index.json"))).expect("JSON");
    document(project, layout, &top["manifests"][0])
}

fn document(project: &Project, layout: &str, entry: &Value) -> Value {
    let digest = entry["digest"].as_str().and_then(|text| text.strip_prefix("sha256:")).expect("a digest");
    serde_json::from_str(&project.read(&format!("{layout}/blobs/sha256/{digest}"))).expect("JSON")
}

fn architectures(index: &Value) -> Vec<&str> {
    let entries = index["manifests"].as_array().expect("entries");
    entries.iter().filter_map(|entry| entry["platform"]["architecture"].as_str()).collect()
}

fn digest(ran: Ran) -> String {
    ran.success().stdout.trim_end().to_owned()
}

#[test]
fn one_spec_gives_an_image_for_each_platform_and_shares_what_is_the_same() {
    let Some(world) = world("an image for two platforms") else { return };
    let project = project();
    let ran = world.build(&project, &["--progress", "json"]).success();
    let times = |title: &str| ran.stderr.matches(&format!("\"title\":\"{title}")).count();
    assert_eq!(
        (times("docs 1/1"), times("build 1/2"), times("build@arm64 1/2"), times("root of stage.build@arm64")),
        (1, 1, 1, 1),
        "{}",
        ran.stderr
    );
    let index = index(&project, "bulla-out");
    assert_eq!(architectures(&index), ["amd64", "arm64"]);
    for entry in index["manifests"].as_array().expect("entries") {
        let config = document(&project, "bulla-out", &document(&project, "bulla-out", entry)["config"]);
        assert_eq!(config["architecture"], entry["platform"]["architecture"]);
        assert_eq!(config["os"], "linux");
    }
    let lock = project.read("bulla.lock");
    for part in ["name = \"image.arm64\"", "\"libshop:arm64=2\"", "\"data=1\"", "name = \"stage.build.arm64\""] {
        assert!(lock.contains(part), "{part} is not in {lock}");
    }
    assert!(!lock.contains("stage.docs.arm64"), "it is made once: {lock}");
    let again = world.build(&project, &["--locked", "--allow-dirty"]).success();
    assert_eq!(again.stdout, ran.stdout);
    assert!(again.stderr.contains(": 0 of 8 steps run, 2 platforms, "), "nothing runs again: {}", again.stderr);
}

#[test]
fn a_cross_stage_sees_tools_that_run_here_and_libraries_of_the_target() {
    let Some(world) = world("a stage that compiles for another platform") else { return };
    for (platform, lines) in [
        (
            "linux/amd64",
            "hello\nlinux/amd64 linux amd64 x86_64-linux-gnu linux/amd64\n/usr/bin/x86_64-linux-gnu-cc\n/usr/lib/x86_64-linux-gnu/libdev.a\n",
        ),
        (
            "linux/arm64",
            "hello\nlinux/arm64 linux arm64 aarch64-linux-gnu linux/amd64\n/usr/bin/aarch64-linux-gnu-cc\n/usr/lib/aarch64-linux-gnu/libdev.a\n",
        ),
    ] {
        let project = project();
        let command = ["shell", "build", "--platform", platform, "--", "cat", "/src/app/out"];
        assert_eq!(world.environment.run(&project, &command).success().stdout, lines, "{platform}");
    }
}

#[test]
fn the_image_for_one_platform_is_the_same_whatever_else_is_built() {
    let Some(world) = world("an image for one of two platforms") else { return };
    let (both, alone) = (project(), Project::with_spec(&SPEC.replace("platforms: [linux/amd64, linux/arm64]\n", "")));
    let alone = alone.file("app/hello", "hello\n");
    let whole = digest(world.build(&both, &[]));
    let one = digest(world.build(&alone, &[]));
    assert_ne!(whole, one);
    assert_eq!(index(&both, "bulla-out")["manifests"][0], index(&alone, "bulla-out")["manifests"][0]);
    // And a lock for one stays good: it is amended by what is new.
    let lock = both.read("bulla.lock");
    both.write("bulla.lock", alone.read("bulla.lock"));
    assert_eq!(digest(world.build(&both, &["--platform", "linux/amd64", "--output", "oci:amd64"])), one);
    assert_eq!(both.read("bulla.lock"), lock, "the same lock as for both at once");
    let ran = world.build(&alone, &["--platform", "linux/arm64"]).failure(3);
    assert!(ran.stderr.contains("does not build for linux/arm64"), "{}", ran.stderr);
    world.build(&alone, &["--platform", "linux/arm"]).failure(2);
}

#[test]
fn only_what_a_platform_needs_is_fetched_for_it() {
    let Some(world) = world("what one of two platforms fetches") else { return };
    let project = project();
    world.environment.run(&project, &["lock"]).success();
    world.mirror.forget_requests();
    world.build(&project, &["--platform", "linux/amd64", "--output", "oci:amd64"]).success();
    let asked = |part: &str| world.mirror.requests().iter().any(|request| request.path.contains(part));
    assert!(asked("libshop_2_amd64") && !asked("arm64"), "{:?}", world.mirror.requests());
    // The control.
    world.build(&project, &[]).success();
    assert!(asked("libshop_2_arm64"));
}

#[test]
fn parts_that_were_built_alone_join_to_the_image_of_a_build_for_both() {
    let Some(world) = world("an index of parts") else { return };
    let project = project();
    let whole = digest(world.build(&project, &[]));
    let mut parts = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let (platform, output) = (format!("linux/{architecture}"), format!("oci:{architecture}"));
        parts.push(digest(world.build(&project, &["--platform", &platform, "--output", &output])));
    }
    assert!(!parts.contains(&whole));
    let join = |arguments: &[&str]| world.environment.run(&project, &[&["index", "create"], arguments].concat());
    assert_eq!(digest(join(&["-o", "oci:joined", "oci:arm64", "oci:amd64"])), whole, "whatever their order");
    let shown = |place: &str| world.environment.run(&project, &["inspect", "--files", place]).success().stdout;
    let unnamed = shown("bulla-out").replace("  names       two\n", "");
    assert_eq!(shown("joined"), unnamed, "all blobs came");
    assert_eq!(digest(join(&["-o", "oci-archive:joined.tar:two", "oci:amd64", "oci:arm64"])), whole);
    for (images, words) in [
        (vec!["oci:amd64", "oci:amd64"], "two images are for linux/amd64"),
        (vec!["oci:joined", "oci:arm64"], "two images are for linux/arm64"),
        (vec!["oci:none"], "none"),
    ] {
        let ran =
            join(&[&["-o", "oci:wrong"], images.as_slice()].concat()).failure(if words == "none" { 4 } else { 3 });
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
        assert!(!project.path("wrong/index.json").exists());
    }
    join(&["oci:amd64"]).failure(2);
    join(&["-o", "registry.example/x", "oci:amd64"]).failure(2);
}

/// A spec with a stage that runs on each platform, and a package whose script runs there.
const EMULATED: &str = "\
bulla: 1
name: emulated
platforms: [linux/amd64, linux/arm64]
sources:
  app: {path: app}
stages:
  check:
    from: {debian: trixie, suites: [trixie], packages: [tools, scripted]}
    platform: target
    steps:
      - cat /scripted >out
      - uname -m >>out; sh -c 'echo $(uname -m) from a shell in a shell' | cat >>out
      - nc -w 1 192.0.2.1 80 </dev/null || true
      - ls /proc/sys/fs/binfmt_misc >>out || true
    outputs: {out: /src/app/out}
image:
  from: {debian: trixie, suites: [trixie], packages: [scripted], scripts: {run: to see where they run}}
  copy:
    - {output: check.out, to: /out}
  entrypoint: [/out]
  user: 65532
";

#[test]
fn a_stage_of_the_target_runs_there_under_the_emulator_that_the_lock_pins() {
    let Some(mut world) = World::new("steps of another processor") else { return };
    let doctor = world.environment.run(&project(), &["doctor"]).stdout;
    if !doctor.lines().any(|line| line.starts_with("ok") && line.contains("emulation:")) {
        return skipped("steps of another processor", "`bulla doctor` says that nothing can be emulated here");
    }
    let own = ["gcc", "gcc-aarch64-linux-gnu", "zlib1g-dev", "qemu-user-static"];
    let Some(debs) = real_debs_of_two(&own, "arm64", &["zlib1g-dev", "busybox-static"], false) else { return };
    let emulator = file_of(&debs, "qemu-user-static", "amd64", "usr/bin/qemu-aarch64-static").expect("the emulator");
    let busybox = file_of(&debs, "busybox-static", "arm64", "usr/bin/busybox")
        .or_else(|| file_of(&debs, "busybox-static", "arm64", "bin/busybox"))
        .expect("busybox");
    let project = Project::with_spec(EMULATED).file("app/hello", "hello\n").file("busybox", &busybox);
    world.repo.add_architecture("arm64");
    world.repo.add(&crate::world::tools(&project.path("busybox")).architecture("arm64"));
    let emulator =
        Deb::new("qemu-user", "1").compression(Compression::None).file("usr/bin/qemu-aarch64", 0o755, emulator);
    world.repo.add(&emulator);
    for architecture in ["amd64", "arm64"] {
        let script = "#!/bin/sh\nset -e\necho a script on $(uname -m) >/scripted\n";
        world.repo.add(&Deb::new("scripted", "1").architecture(architecture).script("preinst", script));
    }
    world.repo.publish(&Release::default());
    let ran = world.build(&project, &["--progress", "plain"]).success();
    assert!(ran.stderr.contains("192.0.2.1"), "refusals are seen under the emulator too: {}", ran.stderr);
    for (platform, machine) in [("linux/amd64", "x86_64"), ("linux/arm64", "aarch64")] {
        let command = ["shell", "check", "--platform", platform, "--", "cat", "/src/app/out"];
        let said = world.environment.run(&project, &command).success().stdout;
        assert_eq!(said, format!("a script on {machine}\n{machine}\n{machine} from a shell in a shell\n"));
        let files = world.environment.run(&project, &["inspect", "--files", "--platform", platform]).success().stdout;
        let size = format!("a script on {machine}\n").len();
        assert!(files.contains(&format!("{size} B  /scripted\n")), "the scripts of the image too: {files}");
    }
    let lock = project.read("bulla.lock");
    assert!(lock.contains("name = \"emulation\"") && lock.contains("\"qemu-user=1\""), "{lock}");
    // Another emulator is another input.
    let other = Deb::new("qemu-user", "2").file("usr/bin/other", 0o755, "none");
    world.publish(&other);
    world.environment.run(&project, &["lock", "--update", "qemu-user"]).success();
    let ran = world.build(&project, &[]).failure(4);
    assert!(ran.stderr.contains("the package qemu-user has no emulator for aarch64"), "{}", ran.stderr);
}

#[test]
fn one_platform_of_an_image_can_be_asked_about_and_copied() {
    let Some(world) = world("one platform of an image") else { return };
    let project = project();
    world.build(&project, &[]).success();
    let run = |arguments: &[&str]| world.environment.run(&project, arguments);
    for (architecture, triplet) in [("amd64", "x86_64-linux-gnu"), ("arm64", "aarch64-linux-gnu")] {
        let platform = format!("linux/{architecture}");
        let library = format!("/usr/lib/{triplet}/libshop.so.2");
        let why = run(&["why", &library, "--platform", &platform]).success().stdout;
        assert!(why.contains("libshop") && why.contains(&format!("_{architecture}.deb")), "{why}");
        let why = run(&["why", "/out", "--platform", &platform]).success().stdout;
        let step = if architecture == "amd64" { "build/2" } else { "build@arm64/2" };
        assert!(why.contains(step), "{step} is not in {why}");
        let inspected = run(&["inspect", "--files", "--platform", &platform]).success().stdout;
        assert!(inspected.contains(&library) && inspected.matches("  platform ").count() == 1, "{inspected}");
        let explained = run(&["explain", "build/1", "--platform", &platform]).success().stdout;
        assert!(explained.contains(step.trim_end_matches("/2")), "{explained}");
        // What is taken out of an image is what a build for that platform alone gives.
        let (copy, alone) = (format!("oci:copy-{architecture}"), format!("oci:alone-{architecture}"));
        let copied = digest(run(&["copy", "oci:bulla-out", &copy, "--platform", &platform]));
        assert_eq!(copied, digest(world.build(&project, &["--platform", &platform, "--output", &alone])));
    }
    let why = run(&["why", "libshop"]).success().stdout;
    assert!(why.contains("_amd64.deb") && why.contains("_arm64.deb"), "the lock has both: {why}");
    let why = run(&["why", "/usr/lib/aarch64-linux-gnu/libshop.so.2"]).failure(3);
    assert!(why.stderr.contains("the image has no"), "without a word, it is the machine's platform: {}", why.stderr);
    run(&["diff", "bulla-out", "alone-amd64"]).success();
    run(&["diff", "bulla-out", "copy-arm64", "--platform", "linux/arm64"]).success();
    let ran = run(&["copy", "oci:copy-arm64", "oci:none", "--platform", "linux/amd64"]).failure(3);
    assert!(ran.stderr.contains("the image is not for linux/amd64"), "{}", ran.stderr);
}

#[test]
fn a_step_that_fails_for_one_platform_is_told_and_opened_for_that() {
    let Some(world) = world("a step that fails for one platform") else { return };
    let project = project();
    let spec = SPEC.replace("ls /usr/lib", "test $TARGETARCH = amd64; ls /usr/lib");
    project.write("bulla.yaml", spec);
    let ran = world.build(&project, &[]).failure(1);
    assert!(ran.stderr.contains("build@arm64 2/2"), "{}", ran.stderr);
    assert!(ran.stderr.contains("`bulla shell build/2 --platform linux/arm64` opens"), "{}", ran.stderr);
    let command = ["shell", "--", "sh", "-c", "tail -n 1 out; ls /usr/bin/*cc"];
    let said = world.environment.run(&project, &command).success().stdout;
    assert!(said.ends_with("linux/amd64\n/usr/bin/aarch64-linux-gnu-cc\n"), "{said}");
}

#[test]
fn a_suite_that_has_not_the_architecture_is_named() {
    let (_repo, _mirror, environment) = crate::online();
    let spec = crate::spec("make", "libshop").replace("sources:", "platforms: [linux/arm64]\nsources:");
    let ran = environment.run(&Project::with_spec(&spec), &["lock"]).failure(3);
    assert!(ran.stderr.contains("no component `main` for arm64"), "{}", ran.stderr);
}

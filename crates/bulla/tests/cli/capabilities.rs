//! File capabilities: given by the spec alone, whoever else asks for them.

use std::{os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use bulla_testkit::{Deb, Project, docker::Docker, process, skipped};

use crate::world::World;

/// As the package of ping has it, but for the path.
const POSTINST: &str = "#!/bin/sh
set -e
PROGRAM=$(dpkg-divert --truename /bin/look)
if [ \"$1\" = configure ]; then
    if command -v setcap > /dev/null; then
        if setcap cap_net_raw+ep $PROGRAM; then
            chmod u-s $PROGRAM
        else
            echo \"Setcap failed on $PROGRAM, falling back to setuid\" >&2
            chmod u+s $PROGRAM
        fi
    else
        chmod u+s $PROGRAM
    fi
fi
exit 0
";

/// What shows the rights of the process that runs it.
const SHOW: &str = "/proc/self/status";

/// A spec whose image has programs of a package, of a step and of a source, and what it allows.
fn spec(allow: &str) -> String {
    format!(
        "bulla: 1
name: capable
sources:
  app: {{path: app}}
stages:
  build:
    from: {{debian: trixie, suites: [trixie], packages: [tools]}}
    steps:
      - mkdir out; cp /usr/bin/busybox out/cat; cp hello out/hello
    outputs: {{out: /src/app/out}}
image:
  from: {{debian: trixie, suites: [trixie], packages: [look]}}
  copy:
    - {{output: build.out, to: /opt}}
    - {{source: app, to: /srv}}
  entrypoint: [/opt/cat, {SHOW}]
  user: 65532
{allow}"
    )
}

fn project(allow: &str) -> Project {
    Project::with_spec(&spec(allow)).file("app/hello", "hello\n").program("app/run", "#!/bin/true\n")
}

const ALL: &str = "  allow:
    capabilities:
      /bin/look: {grant: cap_net_raw+ep, reason: users ping their hosts}
      /opt/cat: {grant: 'cap_net_bind_service,cap_net_raw=ep', reason: it binds port 80}
      /srv/run: {grant: cap_chown=i, reason: it takes what others give}
";

fn world(test: &str) -> Option<World> {
    let mut world = World::new(test)?;
    world.publish(&Deb::new("look", "1").file("usr/bin/look", 0o755, "look\n").script("postinst", POSTINST));
    Some(world)
}

/// Lists the files of an image that have rights of their own.
fn rights(world: &World, project: &Project) -> Vec<String> {
    let shown = world.environment.run(project, &["inspect", "--files"]).success().stdout;
    let mark = |line: &&str| line.contains('[') || line.contains("- 4755") || line.contains("- 2755");
    let words = |line: &str| line.split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>();
    shown.lines().filter(mark).map(words).map(|words| format!("{} {}", words[1], words[5..].join(" "))).collect()
}

#[test]
fn files_of_packages_steps_and_sources_have_what_the_spec_gives_and_nothing_else() {
    let Some(world) = world("capabilities of files") else { return };
    let project = project(ALL);
    let ran = world.build(&project, &[]).success();
    assert!(!ran.stderr.contains("Dropped"), "{}", ran.stderr);
    let all = [
        "0755 /usr/bin/look [cap_net_raw=ep]",
        "0755 /opt/cat [cap_net_bind_service,cap_net_raw=ep]",
        "0755 /srv/run [cap_chown=i]",
    ];
    let found = rights(&world, &project);
    assert!(found.len() == 3 && all.iter().all(|line| found.iter().any(|other| other == line)), "{found:?}");
    let json = world.environment.run(&project, &["inspect", "--files", "--json"]).success().stdout;
    assert!(json.contains(r#""capabilities":"cap_net_bind_service,cap_net_raw=ep""#), "{json}");
    let again = world.build(&project, &["--no-cache"]).success();
    assert_eq!(again.stdout, ran.stdout, "it is made again to the same digest");
    let fresh = World {
        environment: bulla_testkit::TestEnvironment::with_mirror(
            env!("CARGO_BIN_EXE_bulla"),
            &world.repo,
            &world.mirror,
        ),
        ..world
    };
    assert_eq!(fresh.digest(&project), ran.stdout.trim_end(), "and by an empty store");
}

#[test]
fn what_a_package_asks_for_and_the_spec_does_not_give_is_dropped_and_said() {
    let Some(world) = world("capabilities that are dropped") else { return };
    let plain = project("");
    let ran = world.build(&plain, &[]).success();
    let said =
        "Dropped cap_net_raw=ep of /usr/bin/look, which look asks for and `image.allow.capabilities` does not give.";
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
    assert_eq!(rights(&world, &plain), [""; 0]);
    assert!(world.build(&plain, &[]).success().stderr.contains(said), "it is said as well when nothing is made anew");
    // The bit that the script sets where it cannot set capabilities is kept where the spec says so, and only there.
    let setuid = project("  allow: {setuid: {/bin/look: users ping their hosts}}\n");
    let ran = world.build(&setuid, &[]).success();
    assert!(!ran.stderr.contains("Dropped"), "{}", ran.stderr);
    assert_eq!(rights(&world, &setuid), ["4755 /usr/bin/look"]);
    // Less than was asked for is less.
    let less = project(&ALL.replace("cap_net_raw+ep, reason: users", "cap_net_raw+p, reason: users"));
    let ran = world.build(&less, &[]).success();
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
    assert!(rights(&world, &less).contains(&"0755 /usr/bin/look [cap_net_raw=p]".to_owned()));
    let differ = |a: &Project, b: &Project| {
        let (a, b) = (a.path("bulla-out").display().to_string(), b.path("bulla-out").display().to_string());
        world.environment.run(a_project(), &["diff", &a, &b])
    };
    let ran = differ(&plain, &less);
    assert!(ran.stdout.contains("/usr/bin/look  (capabilities none → cap_net_raw=p, layer"), "{}", ran.stdout);
    assert!(!differ(&less, &less).stdout.contains("capabilities"));
}

fn a_project() -> &'static Project {
    static PROJECT: std::sync::OnceLock<Project> = std::sync::OnceLock::new();
    PROJECT.get_or_init(Project::new)
}

#[test]
fn capabilities_are_for_files_and_a_spec_that_counts_on_others_is_refused() {
    let Some(world) = world("capabilities of what is no file") else { return };
    for (path, why) in [
        ("/opt/nothing", "there is no file"),
        ("/opt", "there is no file"),
        ("/etc/mtab", "it is a link to"),
        ("/proc/x", "there is no file"),
    ] {
        let allow = format!("  allow: {{capabilities: {{{path}: {{grant: cap_net_raw+ep, reason: it is a test}}}}}}\n");
        let project = project(&allow);
        let ran = world.build(&project, &[]);
        // Not every root has the link.
        if path == "/etc/mtab" && ran.stderr.contains("there is no file") {
            continue;
        }
        let ran = ran.failure(3);
        assert!(ran.stderr.contains(why) && ran.stderr.contains(path), "{path}: {}", ran.stderr);
        world.assert_no_image(&project);
    }
}

#[test]
fn attributes_of_a_source_are_not_in_the_image() {
    let Some(world) = world("attributes of a source") else { return };
    let project = project("");
    let digest = world.digest(&project);
    let value = bulla_model::Capabilities::parse("cap_net_raw+ep").expect("capabilities").encode();
    let flags = rustix::fs::XattrFlags::empty();
    let noted = rustix::fs::setxattr(project.path("app/run"), "user.note", b"an input", flags);
    // Only root may.
    let given = rustix::fs::setxattr(project.path("app/run"), "security.capability", &value, flags);
    if noted.is_err() && given.is_err() {
        skipped("attributes of a source", "this file system takes none");
        return;
    }
    let touched = fs_err::read(project.path("app/run")).expect("a file");
    project.write("app/run", touched);
    let again = world.build(&project, &["--no-cache"]).success();
    assert_eq!(again.stdout.trim_end(), digest);
    assert_eq!(rights(&world, &project), [""; 0]);
}

/// Asks for the attribute as `getcap` shows it; `None` where there is none.
fn getcap(path: &Path) -> Option<String> {
    let said = process::output(Command::new("getcap").env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin").arg(path));
    let said = said.expect("getcap can be run");
    said.trim_end().rsplit_once(' ').map(|(_, capabilities)| capabilities.to_owned())
}

#[test]
fn umoci_and_skopeo_unpack_the_capabilities_as_root() {
    if !process::is_root() || !["umoci", "skopeo", "getcap"].iter().all(|program| process::exists(program)) {
        skipped("capabilities in other tools", "it needs root, umoci, skopeo and getcap");
        return;
    }
    let Some(world) = world("capabilities in other tools") else { return };
    let project = project(ALL);
    world.build(&project, &["--tag", "capable:1"]).success();
    let from = format!("oci:{}:capable:1", project.path("bulla-out").display());
    let copied = project.path("copied");
    process::output(
        Command::new("skopeo")
            .args(["--insecure-policy", "copy", &from])
            .arg(format!("oci:{}:capable:1", copied.display())),
    )
    .expect("skopeo copies it");
    let bundle = project.path("bundle");
    let image = format!("{}:capable:1", copied.display());
    process::output(Command::new("umoci").args(["unpack", "--image", &image]).arg(&bundle)).expect("umoci unpacks it");
    let root = bundle.join("rootfs");
    assert_eq!(getcap(&root.join("usr/bin/look")).as_deref(), Some("cap_net_raw=ep"));
    assert_eq!(getcap(&root.join("opt/cat")).as_deref(), Some("cap_net_bind_service,cap_net_raw=ep"));
    assert_eq!(getcap(&root.join("srv/run")).as_deref(), Some("cap_chown=i"));
    assert_eq!(getcap(&root.join("opt/hello")), None);
    let mode = fs_err::metadata(root.join("usr/bin/look")).expect("a file").permissions().mode();
    assert_eq!(mode & 0o7777, 0o755);
}

#[test]
fn a_container_of_docker_has_the_rights_and_the_control_has_none() {
    let Some(docker) = Docker::start() else { return };
    let Some(world) = world("capabilities in Docker") else { return };
    let effective = |allow: &str, tag: &str| {
        let project = project(allow);
        let archive = project.path("capable.tar").display().to_string();
        world.build(&project, &["--tag", tag, "--output", &format!("docker-archive:{archive}")]).success();
        docker.run(&["load", "--input", &archive]).expect("Docker takes it");
        match docker.run(&["run", "--rm", "--network", "none", tag]) {
            Ok(said) => said.lines().find_map(|line| line.strip_prefix("CapEff:\t")).map(ToOwned::to_owned),
            Err(why) if why.contains("cgroup") => {
                skipped("docker run", &why);
                None
            }
            Err(why) => panic!("{why}"),
        }
    };
    let Some(with) = effective(ALL, "capable:1") else { return };
    assert_eq!(with, "0000000000002400", "cap_net_bind_service is bit 10, cap_net_raw 13");
    assert_eq!(effective("", "plain:1").as_deref(), Some("0000000000000000"));
}

/// Gives `cap_net_raw+ep` to /usr/bin/look, as `setcap` does, without a library.
const GRANT: &str = r#"
static long call(long number, long a, long b, long c, long d, long e) {
    long answer;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    __asm__ volatile("syscall" : "=a"(answer) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
    return answer;
}
static const unsigned value[5] = {0x02000001, 1 << 13, 0, 0, 0};
void _start(void) {
    long failed = call(188, (long)"/usr/bin/look", (long)"security.capability", (long)value, sizeof value, 0);
    call(231, failed != 0, 0, 0, 0, 0);
}
"#;

#[test]
fn what_scripts_that_run_for_an_image_give_to_files_is_dropped_and_said() {
    const WHAT: &str = "capabilities that scripts give";
    let Some(mut world) = World::new(WHAT) else { return };
    if !process::exists("cc") {
        return skipped(WHAT, "there is no C compiler");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (source, program) = (folder.path().join("grant.c"), folder.path().join("grant"));
    fs_err::write(&source, GRANT).expect("written");
    let mut compiler = Command::new("cc");
    compiler.args(["-static", "-nostdlib", "-fno-stack-protector", "-O1", "-o"]).args([&program, &source]);
    process::output(&mut compiler).expect("it is compiled");
    // The package manager of this world runs no script but those before the installation, when all is unpacked.
    let script = "#!/bin/sh\nset -e\n/usr/bin/grant\nchmod u+s /usr/bin/other\necho made > /usr/bin/new\nchmod 2755 /usr/bin/new\n";
    let look = Deb::new("look", "1").file("usr/bin/look", 0o755, "look\n").file("usr/bin/other", 0o755, "other\n");
    let look = look.file("usr/bin/su", 0o4755, "su\n").script("preinst", script);
    world.publish(&look.file("usr/bin/grant", 0o755, fs_err::read(&program).expect("a program")));
    let project = |allow: &str| {
        Project::with_spec(&format!(
            "bulla: 1\nname: granted\nimage:\n  from: {{debian: trixie, suites: [trixie], packages: [look], \
             scripts: {{run: to see what they leave}}}}\n  entrypoint: [/usr/bin/look]\n  user: 65532\n{allow}"
        ))
    };
    let plain = project("");
    let capabilities = "Dropped cap_net_raw=ep of /usr/bin/look, which a maintainer script asks for and \
                        `image.allow.capabilities` does not give.";
    let bits =
        "Dropped set-id bits, which `image.allow.setuid` does not keep: /usr/bin/new, /usr/bin/other, /usr/bin/su.";
    for what in ["made", "known", "known root, new image"] {
        if what == "known root, new image" {
            plain.write("bulla.yaml", plain.read("bulla.yaml").replace("name: granted", "name: again"));
        }
        let ran = world.build(&plain, &[]).success();
        assert!(ran.stderr.contains(capabilities) && ran.stderr.contains(bits), "{what}: {}", ran.stderr);
    }
    assert_eq!(rights(&world, &plain), [""; 0]);
    let given = project(
        "  allow:\n    capabilities:\n      /bin/look: {grant: cap_net_raw+ep, reason: users ping their hosts}\n    setuid:\n      \
         /bin/other: as it was\n      /bin/new: as it was\n      /bin/su: as it was\n",
    );
    let ran = world.build(&given, &[]).success();
    assert!(!ran.stderr.contains("Dropped"), "{}", ran.stderr);
    let found = rights(&world, &given);
    assert!(found.len() == 4 && found.contains(&"0755 /usr/bin/look [cap_net_raw=ep]".to_owned()), "{found:?}");
}

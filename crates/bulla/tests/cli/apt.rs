//! apt in a step: what it asks its archive for is pinned once, with what the archive signed, and replayed from then on.

use bulla_model::Digest;
use bulla_testkit::{Deb, Project, Release, TestEnvironment, debian, skipped};

use super::{
    maven::observe,
    modules::{Real, configure, unpacked},
    world::{World, project_with, quoted, spec},
};

pub(super) const KEYS: &str = "    dependencies: [{apt: trixie}]\n";
pub(super) const INDEX: &str = "dists/trixie/InRelease";
pub(super) const LIST: &str = "dists/trixie/main/binary-amd64/Packages.xz";
pub(super) const THING: &str = "pool/main/thing_1_amd64.deb";
/// As apt asks: for the signed index, a list that it names, and a package that the list names.
pub(super) const ASKS: &str = "mkdir out; b=http://127.0.0.1:8417/apt/trixie
busybox wget -q -O out/index $b/dists/trixie/InRelease
busybox wget -q -O out/list $b/dists/trixie/main/binary-amd64/Packages.xz
busybox wget -q -O out/thing $b/pool/main/thing_1_amd64.deb";

pub(super) fn project(steps: &[&str]) -> Project {
    project_with(KEYS, steps)
}

/// A world whose archive has a package more than the tools.
pub(super) fn world(test: &str) -> Option<World> {
    let mut world = World::new(test)?;
    world.publish(&Deb::new("thing", "1").file("usr/share/thing", 0o644, "a thing"));
    Some(world)
}

/// Gives the paths that the mirror was asked for, and forgets them.
pub(super) fn asked(world: &World) -> Vec<String> {
    let mut paths: Vec<String> = world.mirror.requests().into_iter().map(|request| request.path).collect();
    world.mirror.forget_requests();
    paths.sort();
    paths
}

#[test]
fn what_apt_asked_for_once_is_pinned_with_what_its_archive_signed_and_replayed() {
    let Some(world) = world("observing apt") else { return };
    let project = project(&[ASKS]);
    let ran = world.build(&project, &[]).failure(3);
    assert!(
        ran.stderr.contains("apt of trixie") && ran.stderr.contains("`bulla lock --observe build`"),
        "{}",
        ran.stderr
    );
    let ran = observe(&world.environment, &project, &["build"]).success();
    assert!(ran.stderr.contains("build: 3 files of apt, 0 that are not there"), "{}", ran.stderr);
    let lock = project.read("bulla.lock");
    let (_, observed) = lock.split_once("[[observed]]\n").expect("it is pinned");
    assert!(observed.starts_with("stage = \"build\"\nregistry = \"debian\"\n"), "{observed}");
    let line = |path: &str| {
        let line = observed.lines().find(|line| line.contains(&format!("\"trixie/{path}\""))).expect("a line");
        let bytes = fs_err::read(world.repo.root().join(path)).expect("a file of the archive");
        assert!(line.contains(&Digest::of(bytes).to_string()), "{line}");
        line.to_owned()
    };
    let signed = format!("signed-by = [\"{}\"]", world.repo.key().fingerprint().to_uppercase());
    let index = line(INDEX);
    assert!(index.contains("verified = \"signature\", date = \"20") && index.contains(&signed), "{index}");
    assert!(line(LIST).contains("verified = \"digest in the signed index\""));
    let thing = line(THING);
    assert!(thing.contains("purl = \"pkg:deb/debian/thing@1?arch=amd64\", verified = \"digest in"), "{thing}");
    assert!(!lock.contains("127.0.0.1") && !project.path("bulla-out").exists(), "{lock}");
    asked(&world);
    // The same with nothing but the lock, also once the archive has moved on.
    let ran = world.build(&project, &[]).success();
    assert!(ran.stderr.contains("Pinned by what was observed, and by no lock file: build/1 (apt)."), "{}", ran.stderr);
    assert_eq!(asked(&world), Vec::<String>::new());
    // Of another machine too, which fetches what the lock names, and nothing else.
    let cold = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &world.repo, &world.mirror);
    assert_eq!(cold.run(&project, &["build"]).success().stdout, ran.stdout);
    let all = [INDEX, LIST, THING, "pool/main/tools_1_amd64.deb"].map(|path| format!("/{path}"));
    assert_eq!(asked(&world), all);
    // Observing again finds nothing new.
    let ran = observe(&world.environment, &project, &[]).success();
    assert!(ran.stderr.contains("; 0 new or changed, 0 gone"), "{}", ran.stderr);
    assert_eq!(project.read("bulla.lock"), lock);
}

#[test]
fn an_archive_that_has_moved_on_is_explained() {
    let Some(mut world) = world("an archive that has moved on") else { return };
    let project = project(&[ASKS]);
    observe(&world.environment, &project, &[]).success();
    world.publish(&Deb::new("other", "1"));
    // Who has what was observed builds as ever.
    world.build(&project, &["--no-cache"]).success();
    let cold = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &world.repo, &world.mirror);
    let ran = cold.run(&project, &["build"]);
    assert_ne!(ran.code, Some(0));
    for words in ["an archive keeps its newest index alone", "bulla lock --observe", "snapshot"] {
        assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
    }
    let ran = observe(&cold, &project, &[]).success();
    assert!(ran.stderr.contains("; 2 new or changed, 0 gone"), "{}", ran.stderr);
    cold.run(&project, &["build"]).success();
}

#[test]
fn what_a_spec_says_of_apt_is_held_against_what_there_is() {
    let environment = TestEnvironment::new(env!("CARGO_BIN_EXE_bulla"));
    for (written, words) in [
        ("[{apt: trixie}, {apt: bookworm}]", "apt has several releases in one stage"),
        ("[{apt: 13}]", "is a number, not a codename"),
        ("[{apt: trixie, scripts: deny}]", "scripts of packages of Debian cannot be denied"),
        ("[{apt: trixie, npm: package-lock.json}]", "this names not exactly one lock file"),
        ("[{npm: package-lock.json, suites: [trixie]}]", "only `apt` has suites and components"),
        ("[{apt: trixie, components: []}]", "the list of components is empty"),
    ] {
        let project = project_with(&format!("    dependencies: {written}\n"), &["true"]);
        let ran = environment.run(&project, &["check"]).failure(3);
        assert!(ran.stderr.contains(words), "{written}: {}", ran.stderr);
    }
    let keys = "    dependencies: [{apt: bookworm, suites: [bookworm], components: [main, contrib]}]\n";
    let ran = environment.run(&project_with(keys, &["true"]), &["check"]);
    assert!(!ran.stderr.contains("apt"), "{}", ran.stderr);
}

/// A package that a step installs, whose script runs there, with one that it needs.
fn library() -> [Deb; 2] {
    [
        Deb::new("libseal", "2:1.0+b1~x").depends("seal-data (= 1)").file("usr/lib/libseal", 0o644, "a seal").script(
            "postinst",
            "#!/bin/sh\nset -e\ngetent group seal >/dev/null || groupadd --system seal\nchown root:seal /usr/lib/libseal\ninvoke-rc.d seal start\necho configured >/usr/share/seal/state\n",
        )
        .file("etc/init.d/seal", 0o755, "#!/bin/sh\necho started >/usr/share/seal/state\nexit 1\n"),
        Deb::new("seal-data", "1").architecture("all").file("usr/share/seal/data", 0o644, "data"),
    ]
}

/// The real apt as a package, and an archive whose own keyring its key is in.
fn real(test: &str) -> Option<Real> {
    let release = debian::codename().unwrap_or_default();
    if release.is_empty() {
        skipped(test, "this is no Debian");
        return None;
    }
    Real::with(test, &["apt"], |repo| {
        let key = repo.key().public();
        let keyring = Deb::new("debian-archive-keyring", "9999").architecture("all");
        repo.add(&keyring.file("etc/apt/trusted.gpg.d/test.asc", 0o644, key));
        for deb in library() {
            repo.add(&deb);
        }
    })
}

const INSTALLS: &str = "apt-get update && apt-get install -y libseal";

fn real_project(steps: &[&str]) -> Project {
    let release = debian::codename().expect("Debian");
    let keys = format!("    dependencies: [{{apt: {release}}}]\n");
    let spec = spec(&keys, steps, "/src/app/out").replace("suites: [trixie], packages: [tools]", "packages: [apt]");
    Project::with_spec(&spec.replace("debian: trixie", &format!("debian: {release}"))).file("app/hello", "hello\n")
}

#[test]
fn the_real_apt_installs_in_a_step_what_it_was_observed_to() {
    let Some(real) = real("the real apt in a step") else { return };
    let environment = real.environment("");
    let leaves =
        "mkdir out; cp /usr/lib/libseal /usr/share/seal/state out; dpkg-query -W libseal seal-data >out/packages";
    let project = real_project(&[INSTALLS, leaves]);
    let ran = observe(&environment, &project, &[]).success();
    // Three signed indexes, the only list that is not empty, and two packages.
    assert!(ran.stderr.contains("build: 6 files of apt, 0 that are not there"), "{}", ran.stderr);
    let lock = project.read("bulla.lock");
    assert!(lock.contains("pkg:deb/debian/libseal@2:1.0%2Bb1~x?arch=amd64"), "{lock}");
    let ran = environment.run(&project, &["build"]).success();
    assert!(!ran.stderr.contains("refused"), "{}", ran.stderr);
    let image = unpacked(&project);
    let out = |name: &str| fs_err::read_to_string(image.path().join("out").join(name)).expect("a file of the image");
    assert_eq!((out("libseal").as_str(), out("state").as_str()), ("a seal", "configured\n"));
    assert_eq!(out("packages"), "libseal\t2:1.0+b1~x\nseal-data\t1\n");
    // What a step leaves is the same each time, so that nothing behind it runs again.
    let again = environment.run(&project, &["build", "--no-cache=build/1"]).success();
    assert_eq!(again.stdout, ran.stdout);
    assert!(again.stderr.contains("cached"), "{}", again.stderr);
}

#[test]
fn the_real_apt_refuses_an_index_that_its_own_keys_did_not_sign_and_takes_one_that_is_past_its_time() {
    if let Err(why) = bulla_testkit::clients() {
        return skipped("what apt verifies itself", &why);
    }
    let Some(mut real) = real("what apt verifies itself") else { return };
    let release = debian::codename().expect("Debian");
    let environment = real.environment("");
    let project = real_project(&[&format!("{INSTALLS} && mkdir out")]);
    observe(&environment, &project, &[]).success();
    // As if a year had gone by since: the index that the lock names is past its time.
    let index = format!("dists/{release}/InRelease");
    let root = real.root();
    let before = fs_err::read(root.join(&index)).expect("the index");
    let year = 365 * 24 * 3600;
    let then = Release::default().date - year;
    real.publish(&Release { date: then, valid_until: Some(then + 7 * 24 * 3600), ..Release::default() });
    let after = fs_err::read(root.join(&index)).expect("the index");
    let lock = project.read("bulla.lock");
    let pin = |bytes: &[u8]| format!("size = {}, digest = \"{}\"", bytes.len(), Digest::of(bytes));
    let old = resealed(&lock.replace(&pin(&before), &pin(&after)));
    assert_ne!(old, lock);
    project.write("bulla.lock", &old);
    environment.run(&project, &["build"]).success();
    // The control: apt looks at the time where it is told to.
    let spec = project.read("bulla.yaml");
    project.write(
        "bulla.yaml",
        spec.replace("apt-get update", "apt-get -o Acquire::Check-Date=true -o Acquire::Check-Valid-Until=true update"),
    );
    let ran = environment.run(&project, &["build"]);
    assert!(ran.code != Some(0) && ran.stderr.contains("expired"), "{}", ran.stderr);
    // Who trusts none of the keys that signed installs nothing, also in a step.
    project.write("bulla.yaml", spec.replace("apt-get update", "rm /etc/apt/trusted.gpg.d/*; apt-get update"));
    let ran = environment.run(&project, &["build"]);
    assert!(ran.code != Some(0) && ran.stderr.contains("NO_PUBKEY"), "{}", ran.stderr);
}

/// Puts the checksum of a lock right.
pub(super) fn resealed(lock: &str) -> String {
    let (head, rest) = lock.split_once("checksum = ").expect("a checksum");
    let (_, body) = rest.split_once('\n').expect("a line");
    format!("{head}checksum = \"{}\"\n{body}", Digest::of(body))
}

#[test]
fn another_lock_file_of_the_stage_is_there_beside_apt() {
    let Some(world) = world("apt beside a lock file") else { return };
    let lock = r#"{"name":"a","lockfileVersion":3,"packages":{"":{"name":"a"}}}"#;
    let project = project_with("    dependencies: [{apt: trixie}, {npm: package-lock.json}]\n", &[ASKS])
        .file("app/package-lock.json", lock);
    observe(&world.environment, &project, &[]).success();
    world.build(&project, &[]).success();
    // A stage that goes on from it has the same, observed on its own.
    let get = "busybox wget -q -O out/again http://127.0.0.1:8417/apt/trixie/dists/trixie/InRelease";
    let test = format!("  test:\n    stage: build\n    steps:\n      - {}\nimage:", quoted(get));
    project.write("bulla.yaml", project.read("bulla.yaml").replacen("image:", &test, 1));
    let ran = observe(&world.environment, &project, &["test"]).success();
    assert!(ran.stderr.contains("test: 1 files of apt"), "{}", ran.stderr);
    configure(&world.environment, "");
    world.build(&project, &[]).success();
}

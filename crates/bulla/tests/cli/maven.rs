//! Observing, and what comes of it: what steps ask of a repository of Maven is pinned once, and replayed from then on.

use bulla_testkit::{MavenRepository, Project, Ran, TestEnvironment, maven::maven_deb};

use super::{
    modules::{configure, with_word},
    world::{World, project_with, spec},
};

pub(super) const JAR: &str = "org/acme/thing/1.0/thing-1.0.jar";
pub(super) const KEYS: &str = "    dependencies: [{maven: pom.xml}]\n";
/// As Maven asks: for the file and its checksum, and for something that is not there.
pub(super) const ASKS: &str =
    "mkdir out; b=http://127.0.0.1:8417/maven; busybox wget -q -O out/thing $b/org/acme/thing/1.0/thing-1.0.jar
busybox wget -q -O out/sum $b/org/acme/thing/1.0/thing-1.0.jar.sha1
if busybox wget -q -O none $b/org/acme/other/1.0/other-1.0.pom; then exit 9; fi";

pub(super) fn project(keys: &str, steps: &[&str]) -> Project {
    project_with(&format!("{KEYS}{keys}"), steps).file("app/pom.xml", "<project/>\n")
}

/// A world whose configuration names a repository.
pub(super) fn world(test: &str, repository: &MavenRepository) -> Option<World> {
    let world = World::new(test)?;
    configure(
        &world.environment,
        &format!("[registry.maven]\nmaven-settings = false\nrepositories = [\"{}\"]\n", repository.url()),
    );
    Some(world)
}

pub(super) fn observe(environment: &TestEnvironment, project: &Project, arguments: &[&str]) -> Ran {
    environment.run(project, &[&["lock", "--observe"], arguments].concat())
}

#[test]
fn what_a_stage_asked_for_once_is_pinned_and_replayed() {
    let repository = MavenRepository::serve(&[(JAR, b"the jar")]);
    let Some(world) = world("observing", &repository) else { return };
    let project = project("", &[ASKS]);
    // Before anything was observed nothing is built, and it is said what to do.
    let ran = world.build(&project, &[]).failure(3);
    assert!(
        ran.stderr.contains("they were never observed") && ran.stderr.contains("`bulla lock --observe build`"),
        "{}",
        ran.stderr
    );
    let ran = observe(&world.environment, &project, &["build"]).success();
    assert!(ran.stderr.contains("build: 1 files of maven, 1 that are not there"), "{}", ran.stderr);
    let lock = project.read("bulla.lock");
    let digest = bulla_model::Digest::of("the jar");
    let lines = format!(
        "[[observed]]
stage = \"build\"
registry = \"maven\"
answers = [
    {{ path = \"org/acme/other/1.0/other-1.0.pom\", status = 404 }},
    {{ path = \"{JAR}\", status = 200, size = 7, digest = \"{digest}\", purl = \"pkg:maven/org.acme/thing@1.0?type=jar\", verified = \"checksum of the registry\" }},
]
"
    );
    assert!(lock.contains(&lines), "{lock}");
    assert!(!lock.contains("127.0.0.1") && !project.path("bulla-out").exists(), "{lock}");
    assert!(repository.asked().contains(&format!("/{JAR}.sha1")));
    // The same with nothing but the lock.
    let ran = world.build(&project, &[]).success();
    assert!(
        ran.stderr.contains("Pinned by what was observed, and by no lock file: build/1 (maven)."),
        "{}",
        ran.stderr
    );
    assert_eq!(repository.asked(), Vec::<String>::new(), "it is in the store since it was observed");
    let again = world.build(&project, &["--no-cache"]).success();
    assert_eq!(again.stdout, ran.stdout);
    // Of another machine too, which fetches what the lock names, and nothing else.
    let cold = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &world.repo, &world.mirror);
    configure(&cold, &format!("[registry.maven]\nrepositories = [\"{}\"]\n", repository.url()));
    assert_eq!(cold.run(&project, &["build"]).success().stdout, ran.stdout);
    assert_eq!(repository.asked(), [format!("/{JAR}")]);
    // Observing again finds nothing new, and keeps nothing of what steps leave.
    let ran = observe(&world.environment, &project, &[]).success();
    assert!(ran.stderr.contains("; 0 new or changed, 0 gone"), "{}", ran.stderr);
    assert_eq!(project.read("bulla.lock"), lock);
    // An ordinary lock leaves it, and what the spec no longer has goes.
    world.environment.run(&project, &["lock"]).success();
    assert_eq!(project.read("bulla.lock"), lock);
    project.write("bulla.yaml", project.read("bulla.yaml").replace(KEYS, ""));
    world.environment.run(&project, &["lock"]).success();
    assert!(!project.read("bulla.lock").contains("[[observed]]"));
}

#[test]
fn a_locked_build_wants_a_reason_for_what_was_observed() {
    let repository = MavenRepository::serve(&[(JAR, b"the jar")]);
    let Some(world) = world("a locked build of what was observed", &repository) else { return };
    let project = project("", &[ASKS]);
    observe(&world.environment, &project, &[]).success();
    let ran = world.build(&project, &["--locked"]).failure(7);
    assert!(
        ran.stderr.contains("the stage build has of maven was observed")
            && ran.stderr.contains("`locked-observed: REASON`"),
        "{}",
        ran.stderr
    );
    project.write(
        "bulla.yaml",
        project.read("bulla.yaml").replace(KEYS, &format!("{KEYS}    locked-observed: Maven has no lock file\n")),
    );
    world.build(&project, &["--locked"]).success();
    // A reason for nothing is a mistake.
    project.write("bulla.yaml", project.read("bulla.yaml").replace("[{maven: pom.xml}]", "[]"));
    let ran = world.build(&project, &[]).failure(3);
    assert!(ran.stderr.contains("there is nothing observed that this is the reason for"), "{}", ran.stderr);
}

#[test]
fn what_was_not_asked_for_when_it_was_observed_is_explained() {
    let repository = MavenRepository::serve(&[(JAR, b"the jar"), ("org/acme/thing/1.1/thing-1.1.jar", b"newer")]);
    let Some(world) = world("a request that was not observed", &repository) else { return };
    let project = project("", &[ASKS]);
    observe(&world.environment, &project, &[]).success();
    project.write(
        "bulla.yaml",
        project.read("bulla.yaml").replace("thing-1.0.jar", "thing-1.1.jar").replace("thing/1.0", "thing/1.1"),
    );
    let ran = world.build(&project, &[]);
    assert_ne!(ran.code, Some(0));
    assert!(
        ran.stderr.contains("Maven asked for org/acme/thing/1.1/thing-1.1.jar, and bulla.lock does not have it")
            && ran.stderr.contains("run `bulla lock --observe build`"),
        "{}",
        ran.stderr
    );
    let ran = observe(&world.environment, &project, &[]).success();
    assert!(ran.stderr.contains("; 1 new or changed, 1 gone"), "{}", ran.stderr);
    world.build(&project, &[]).success();
}

#[test]
fn stages_and_steps_are_observed_each_on_its_own() {
    let repository = MavenRepository::serve(&[(JAR, b"the jar"), ("a/b/1/b-1.pom", b"pom")]);
    let Some(world) = world("observing several stages", &repository) else { return };
    let get = "b=http://127.0.0.1:8417/maven; mkdir -p out; busybox wget -q -O out/b $b/a/b/1/b-1.pom";
    let spec = spec(KEYS, &[ASKS, get], "/src/app/out");
    let test = format!(
        "  test:\n    stage: build\n    steps:\n      - {}\n  plain:\n    stage: build\n    dependencies: []\n    steps:\n      - \"true\"\nimage:",
        super::world::quoted(get)
    );
    let project = Project::with_spec(&spec.replacen("image:", &test, 1)).file("app/pom.xml", "<project/>");
    let ran = observe(&world.environment, &project, &[]).success();
    for line in ["build: 2 files of maven, 1 that are not there", "test: 1 files of maven, 0 that are not there"] {
        assert!(ran.stderr.contains(line), "{}", ran.stderr);
    }
    assert_eq!(repository.asked().iter().filter(|path| path.ends_with("b-1.pom")).count(), 2, "once for each stage");
    world.build(&project, &[]).success();
    let ran = observe(&world.environment, &project, &["elsewhere"]).failure(3);
    assert!(ran.stderr.contains("there is no stage `elsewhere`"), "{}", ran.stderr);
}

#[test]
fn mvn_finds_a_parent_and_a_bom_through_its_own_settings_of_the_user() {
    let Some(deb) = maven_deb("mvn in a step") else { return };
    let parent = "<project><modelVersion>4.0.0</modelVersion><groupId>org.acme</groupId><artifactId>parent</artifactId><version>7</version><packaging>pom</packaging></project>";
    let bom = parent.replace("parent", "bom");
    let repository = MavenRepository::serve(&[
        ("org/acme/parent/7/parent-7.pom", parent.as_bytes()),
        ("org/acme/bom/7/bom-7.pom", bom.as_bytes()),
    ]);
    let Some(mut world) = World::new("mvn in a step") else { return };
    world.publish(&deb);
    // Where the repository is, and the login for it, are in the user's own settings of Maven.
    let settings = format!(
        "<settings><mirrors><mirror><id>own</id><mirrorOf>*</mirrorOf><url>{}</url></mirror></mirrors>
<servers><server><id>own</id><username>me</username><password>hidden-word</password></server></servers></settings>",
        repository.url()
    );
    fs_err::create_dir_all(world.environment.folder().join("home/.m2")).expect("a folder");
    fs_err::write(world.environment.folder().join("home/.m2/settings.xml"), settings).expect("settings");
    let pom = "<project>
  <modelVersion>4.0.0</modelVersion>
  <parent><groupId>org.acme</groupId><artifactId>parent</artifactId><version>7</version></parent>
  <artifactId>app</artifactId>
  <packaging>pom</packaging>
  <dependencyManagement><dependencies><dependency>
    <groupId>org.acme</groupId><artifactId>bom</artifactId><version>7</version><type>pom</type><scope>import</scope>
  </dependency></dependencies></dependencyManagement>
</project>
";
    let keys = "    dependencies: [{maven: pom.xml}]\n    env: {JAVA_HOME: /usr/lib/java, HOME: /tmp, MAVEN_OPTS: -XX:TieredStopAtLevel=1}\n";
    let spec = spec(
        keys,
        &["mkdir out; mvn --batch-mode --strict-checksums validate >out/log || { cat out/log; exit 1; }"],
        "/src/app/out",
    );
    let spec = spec.replace("packages: [tools]", "packages: [tools, maven]");
    let project = Project::with_spec(&spec).file("app/pom.xml", pom);
    let ran = observe(&world.environment, &project, &[]).success();
    assert!(ran.stderr.contains("build: 2 files of maven"), "{}", ran.stderr);
    let requests = repository.mirror.requests();
    assert!(
        requests.iter().all(|request| request.header("authorization").is_some()),
        "the user's login is sent: {requests:?}"
    );
    repository.mirror.forget_requests();
    let ran = world.build(&project, &[]).success();
    assert!(!ran.stderr.contains("refused"), "{}", ran.stderr);
    assert_eq!(repository.asked(), Vec::<String>::new());
    assert_eq!(project.read("app/pom.xml"), pom);
    assert_eq!(with_word(&world.environment.store(), "hidden-word"), Vec::<std::path::PathBuf>::new());
    assert!(!project.read("bulla.lock").contains("hidden-word"));
}

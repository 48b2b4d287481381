//! The real Gradle of this machine's release, in a step: it takes the repository of the step for all that a project names. Debian's is of
//! version 4.4, which knows neither lock files nor verification metadata; that Bulla reads them is `cli::gradle`'s.

use bulla_model::Digest;
use bulla_testkit::{DebianRepo, MavenRepository, Mirror, Project, Release, TestEnvironment};

const JAR: &str = "org/acme/thing/1.0/thing-1.0.jar";
const POM: &str = "org/acme/thing/1.0/thing-1.0.pom";
const PROJECT: &str = "<project><modelVersion>4.0.0</modelVersion><groupId>org.acme</groupId><artifactId>thing</artifactId><version>1.0</version></project>\n";
const BUILD: &str = "repositories { maven { url 'https://repository.invalid/maven2' } }
configurations { things }
dependencies { things 'org.acme:thing:1.0' }
task take(type: Copy) { from configurations.things; into 'out' }
";
const SPEC: &str = "bulla: 1
name: things
sources:
  app: {path: app}
stages:
  build:
    from: {debian: bookworm, suites: [bookworm], packages: [gradle, default-jre-headless]}
    dependencies: [{gradle: gradle.lockfile}]
    env: {HOME: /tmp}
    steps:
      - gradle --no-daemon --stacktrace take
    outputs: {out: /src/app/out}
image:
  from: {scratch: {}}
  copy:
    - {output: build.out, to: /out}
  entrypoint: [/out]
  user: 65532
";

#[test]
fn gradle_in_a_step_takes_what_is_pinned_for_what_its_project_names() {
    let test = "the real Gradle";
    if let Err(why) = bulla_testkit::clients() {
        return bulla_testkit::skipped(test, &why);
    }
    let Some(mut repo) = DebianRepo::real(&["gradle", "default-jre-headless"]) else { return };
    repo.publish_release(&Release::default());
    let mirror = Mirror::serve(repo.root());
    let environment = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &repo, &mirror);
    let artifacts = MavenRepository::serve(&[(JAR, b"the jar"), (POM, PROJECT.as_bytes())]);
    let config = fs_err::read_to_string(environment.config()).expect("the configuration");
    let own = format!("[registry.maven]\nmaven-settings = false\nrepositories = [\"{}\"]\n", artifacts.url());
    environment.write_config(&format!("{config}{own}"));
    let artifact = |path: &str, bytes: &[u8]| {
        let name = path.rsplit('/').next().expect("a name");
        format!("<artifact name=\"{name}\"><sha256 value=\"{}\"/></artifact>", Digest::of(bytes).hex())
    };
    let metadata = format!(
        "<verification-metadata><components><component group=\"org.acme\" name=\"thing\" version=\"1.0\">{}{}</component></components></verification-metadata>\n",
        artifact(JAR, b"the jar"),
        artifact(POM, PROJECT.as_bytes())
    );
    let project = Project::with_spec(SPEC)
        .file("app/build.gradle", BUILD)
        .file("app/settings.gradle", "rootProject.name = 'things'\n")
        .file("app/gradle.lockfile", "org.acme:thing:1.0=things\nempty=\n")
        .file("app/gradle/verification-metadata.xml", metadata);
    environment.run(&project, &["build"]).success();
    assert_eq!(project.read("app/build.gradle"), BUILD, "the project is as it was");
    // The control: what is not pinned is not there, whatever the project names.
    let other = project.file("app/build.gradle", BUILD.replace("thing:1.0", "thing:2.0"));
    let ran = environment.run(&other, &["build"]);
    assert_ne!(ran.code, Some(0));
    let told = "has org.acme:thing:1.0 without that file";
    assert!(ran.stderr.contains(told), "{}", ran.stderr);
}

//! What Gradle's verification metadata pin: fetched, served, and refused where it is not what they say. The real Gradle is `examples::gradle`'s.

use bulla_model::Digest;
use bulla_testkit::{MavenRepository, Project};

use super::{
    modules::configure,
    world::{World, project_with},
};

const JAR: &str = "org/acme/thing/1.0/thing-1.0.jar";
const LOCK: &str =
    "# This is a Gradle generated file for dependency locking.\norg.acme:thing:1.0=runtimeClasspath\nempty=\n";
const KEYS: &str = "    dependencies: [{gradle: gradle.lockfile}]\n";
/// As Gradle asks: for two descriptions of a module, of which there is none, and the module itself. Its script lies in its home.
const ASKS: &str = "b=http://127.0.0.1:8417/gradle/org/acme/thing/1.0/thing-1.0
for kind in module pom; do if busybox wget -q -O none $b.$kind; then exit 9; fi; done
busybox wget -q -O out $b.jar
grep -q \"URI.create('http://127.0.0.1:8417/gradle')\" $GRADLE_USER_HOME/init.d/bulla.gradle
mkdir $GRADLE_USER_HOME/caches";

fn metadata(module: &str, digest: &Digest) -> String {
    let [group, name, version] = module.split(':').collect::<Vec<_>>()[..] else { panic!("a module") };
    format!(
        "<?xml version=\"1.0\"?>\n<verification-metadata>\n  <components>\n    <component group=\"{group}\" name=\"{name}\" version=\"{version}\">\n      \
         <artifact name=\"{name}-{version}.jar\"><sha256 value=\"{}\"/></artifact>\n    </component>\n  </components>\n</verification-metadata>\n",
        digest.hex()
    )
}

fn project(step: &str, lock: &str, metadata: &str) -> Project {
    let project = project_with(KEYS, &[step]).file("app/gradle.lockfile", lock);
    project.file("app/gradle/verification-metadata.xml", metadata)
}

/// A world whose configuration names a repository.
fn world(test: &str, repository: &MavenRepository) -> Option<World> {
    let world = World::new(test)?;
    let own = format!("[registry.maven]\nmaven-settings = false\nrepositories = [\"{}\"]\n", repository.url());
    configure(&world.environment, &own);
    Some(world)
}

#[test]
fn a_step_is_given_what_the_metadata_of_gradle_pin_and_nothing_else() {
    let repository = MavenRepository::serve(&[(JAR, b"the jar"), ("org/acme/thing/1.1/thing-1.1.jar", b"a newer one")]);
    let Some(world) = world("verification metadata of Gradle", &repository) else { return };
    let good = metadata("org.acme:thing:1.0", &Digest::of("the jar"));
    let built = project(ASKS, LOCK, &good);
    let digest = world.digest(&built);
    assert_eq!(repository.asked(), [format!("/{JAR}")], "what is pinned, and nothing else");
    // From the store, and with another order of the lock file's words, nothing is asked.
    let other = project(ASKS, &LOCK.replace("runtimeClasspath", "a,runtimeClasspath"), &good);
    assert_eq!(world.digest(&other), digest);
    assert_eq!(repository.asked(), [""; 0]);
    let newer = "busybox wget -q -O out http://127.0.0.1:8417/gradle/org/acme/thing/1.1/thing-1.1.jar";
    let ran = world.build(&project(newer, LOCK, &good), &[]);
    assert_ne!(ran.code, Some(0));
    let told = "gradle/verification-metadata.xml has org.acme:thing:1.0 without that file. Run `gradle --write-verification-metadata";
    assert!(ran.stderr.contains(told), "{}", ran.stderr);
}

#[test]
fn what_no_checksum_of_gradles_pins_is_not_built() {
    let repository = MavenRepository::serve(&[(JAR, b"other bytes")]);
    let Some(world) = world("a repository of other bytes", &repository) else { return };
    let good = metadata("org.acme:thing:1.0", &Digest::of("the jar"));
    let ran = world.build(&project(ASKS, LOCK, &good), &[]).failure(5);
    assert!(ran.stderr.contains("fetching org.acme/thing 1.0"), "{}", ran.stderr);
    assert!(ran.stderr.contains("gives other bytes than the lock file says"), "{}", ran.stderr);
    world.assert_no_image(&Project::new());
    // A module that is locked and has no checksum is an error before anything is asked.
    repository.asked();
    let other = metadata("org.acme:other:1.0", &Digest::of("the jar"));
    let ran = world.build(&project(ASKS, LOCK, &other), &[]).failure(3);
    let told = "gradle.lockfile:2: org.acme:thing:1.0 is not in gradle/verification-metadata.xml";
    assert!(ran.stderr.contains(told) && ran.stderr.contains("--write-verification-metadata"), "{}", ran.stderr);
    assert_eq!(repository.asked(), [""; 0]);
    // The control: the bytes that are pinned.
    repository.put(JAR, b"the jar");
    world.digest(&project(ASKS, LOCK, &good));
}

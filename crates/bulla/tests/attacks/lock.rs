//! A lock that was changed, cut off, merged badly, or is of another spec, and packages that are not what it says.

use bulla_model::Digest;
use bulla_testkit::{Deb, Fault, Project, TestEnvironment};

use crate::world::{GOOD, World, project, spec};

/// A world, a project with a good lock, and the text of the lock. The store has nothing but what `bulla lock` brought.
fn locked(test: &str) -> Option<(World, Project, String)> {
    let world = World::new(test)?;
    let project = project(&GOOD);
    world.environment.run(&project, &["lock"]).success();
    let lock = project.read("bulla.lock");
    Some((world, project, lock))
}

/// Writes a changed lock with the checksum that it needs: what an attacker can do who may commit.
fn forge(project: &Project, lock: &str) {
    let (head, tail) = lock.split_once("\nchecksum = ").expect("a checksum");
    let (_, body) = tail.split_once('\n').expect("a line");
    project.write("bulla.lock", format!("{head}\nchecksum = \"{}\"\n{body}", Digest::of(body)));
}

/// Gives the value of a key of the first package.
fn of_package<'a>(lock: &'a str, key: &str) -> &'a str {
    let (_, package) = lock.split_once("[[package]]").expect("a package");
    let line = package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = ")).expect("the key");
    line.trim_matches('"')
}

#[test]
fn a_good_build_is_built_again_to_the_same_digest() {
    let Some(world) = World::new("a good build") else { return };
    let project = project(&GOOD);
    let first = world.digest(&project);
    assert_eq!(first, world.digest(&project));
    assert_eq!(first, world.build(&project, &["--no-cache", "--locked"]).success().stdout.trim_end());
    world.assert_sound(&project);
}

#[test]
fn a_lock_that_was_edited_cut_off_or_merged_badly_builds_nothing() {
    let Some((world, project, good)) = locked("a changed lock") else { return };
    let merged = format!("<<<<<<< ours\n{good}=======\n{good}>>>>>>> theirs\n");
    let cases: [(&str, String, i32, &str); 5] = [
        ("edited", good.replacen("size = ", "size = 1", 1), 5, "was changed by hand"),
        ("cut off", good[..good.len() / 2].to_owned(), 5, "bulla.lock"),
        ("cut off after a line", good.lines().take(12).map(|line| format!("{line}\n")).collect(), 5, "bulla.lock"),
        ("merged badly", merged, 3, "bulla.lock"),
        ("of a later version", good.replacen("version = 1", "version = 99", 1), 3, "99"),
    ];
    for (what, text, code, says) in cases {
        project.write("bulla.lock", &text);
        for arguments in [&[][..], &["--locked"]] {
            let ran = world.build(&project, arguments).failure(code);
            assert!(ran.stderr.contains(says) && ran.stderr.contains("bulla.lock"), "{what}: {}", ran.stderr);
            assert_eq!(project.read("bulla.lock"), text, "{what}: a lock that is wrong is not written over");
            world.assert_no_image(&project);
        }
    }
    project.write("bulla.lock", good);
    world.build(&project, &["--locked"]).success();
}

#[test]
fn a_lock_of_another_spec_is_refused_when_locked_and_else_amended() {
    let Some((mut world, project, good)) = locked("a lock of another spec") else { return };
    world.publish(&Deb::new("more", "1").file("usr/share/more", 0o644, "more"));
    let other = spec("", &GOOD, "/src/app/out").replace("packages: [tools]", "packages: [more]");
    let other = Project::with_spec(&other).file("app/hello", "hello\n").file("bulla.lock", &good);
    let refused = world.build(&other, &["--locked"]).failure(7);
    assert!(refused.stderr.contains("bulla lock"), "{}", refused.stderr);
    assert_eq!(other.read("bulla.lock"), good);
    world.assert_no_image(&other);
    world.build(&other, &[]).success();
    assert!(other.read("bulla.lock").contains("name = \"more\""));
    world.build(&project, &["--locked"]).success();
}

#[test]
fn a_package_that_has_not_the_digest_or_size_of_the_lock_is_refused() {
    let Some((_, _, _)) = locked("a changed digest") else { return };
    let changes: [fn(&str) -> String; 2] = [
        |lock| lock.replace(of_package(lock, "digest"), &Digest::of("other bytes").to_string()),
        |lock| lock.replace(&format!("size = {}", of_package(lock, "size")), "size = 17"),
    ];
    for change in changes {
        let Some((world, project, good)) = locked("a changed digest") else { return };
        forge(&project, &change(&good));
        let ran = world.build(&project, &["--locked"]).failure(5);
        let url = format!("{}/{}", world.mirror.url(), of_package(&good, "path"));
        assert!(ran.stderr.contains(&url), "the message has no {url}: {}", ran.stderr);
        world.assert_no_image(&project);
        world.assert_sound(&project);
        // The control: the same way of writing the lock, with nothing changed.
        forge(&project, &good);
        world.build(&project, &["--locked"]).success();
    }
}

#[test]
fn another_package_under_the_name_is_refused() {
    let Some((world, project, good)) = locked("another package") else { return };
    let path = format!("/{}", of_package(&good, "path"));
    world.mirror.fault(&path, Fault::Bytes(Deb::new("other", "1").build()));
    let ran = world.build(&project, &[]).failure(5);
    assert!(ran.stderr.contains(&path), "{}", ran.stderr);
    world.assert_sound(&project);
    world.mirror.heal();
    world.build(&project, &[]).success();
}

#[test]
fn a_package_that_calls_itself_otherwise_than_its_index_is_refused() {
    let Some(mut world) = World::new("a package under another name") else { return };
    let text = spec("", &GOOD, "/src/app/out").replace("packages: [tools]", "packages: [wanted]");
    let project = Project::with_spec(&text).file("app/hello", "hello\n");
    let other = Deb::new("other", "1").file("usr/share/it", 0o644, "it");
    let control = Deb::new("wanted", "1").control();
    world.repo.add_bytes("wanted_1_amd64.deb", &control, &other.build());
    world.repo.publish(&bulla_testkit::Release::default());
    let ran = world.build(&project, &[]).failure(5);
    assert!(ran.stderr.contains("wanted=1") && ran.stderr.contains("other=1"), "{}", ran.stderr);
    world.assert_no_image(&project);
    world.assert_sound(&project);
    // The control: the package that the index names.
    let world = {
        let mut good = World::new("the right package").expect("there was one before");
        good.publish(&Deb::new("wanted", "1").file("usr/share/it", 0o644, "it"));
        good
    };
    std::fs::remove_file(project.path("bulla.lock")).expect("the lock of the other repository");
    world.build(&project, &[]).success();
}

#[test]
fn a_lock_cannot_lead_out_of_the_mirror() {
    let Some((world, project, good)) = locked("a path in the lock") else { return };
    for path in ["../../etc/passwd", "/etc/passwd", "pool/../../x", "http://mirror.example/x"] {
        forge(&project, &good.replace(of_package(&good, "path"), path));
        world.mirror.forget_requests();
        let ran = world.build(&project, &["--locked"]);
        // `http://mirror.example/x` is not clean, as a path.
        assert!(matches!(ran.code, Some(3 | 5)), "{path}: {ran:?}");
        assert!(world.mirror.requests().is_empty(), "{path}: {:?}", world.mirror.requests());
    }
    forge(&project, &good);
    world.build(&project, &["--locked"]).success();
}

#[test]
fn a_lock_that_is_a_link_out_of_the_project_is_not_read() {
    let Some((world, project, good)) = locked("a lock that is a link") else { return };
    let elsewhere = Project::new().file("bulla.lock", &good);
    std::fs::remove_file(project.path("bulla.lock")).expect("removing the lock");
    let project = project.symlink("bulla.lock", &elsewhere.path("bulla.lock").display().to_string());
    let ran = world.build(&project, &[]);
    assert!(matches!(ran.code, Some(3 | 7)), "{ran:?}");
    assert_eq!(elsewhere.read("bulla.lock"), good);
    let _: &TestEnvironment = &world.environment;
}

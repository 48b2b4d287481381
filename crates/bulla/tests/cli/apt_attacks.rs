//! What foreign code tries while apt is observed, and what a hostile mirror or lock tries; each with a control.

use bulla_testkit::{Deb, Fault, Project, Ran, Release, TestEnvironment, debian::Signing};

use super::{
    apt::{ASKS, INDEX, LIST, THING, asked, project, resealed, world},
    maven::observe,
    world::World,
};

const BASE: &str =
    "b=http://127.0.0.1:8417/apt/trixie; mkdir -p out; get() { busybox wget -q -O out/got \"$1\" || true; }; ";

/// Observes a step that goes on whatever it is answered, and gives what was told, and what the mirror was asked for meanwhile, each once.
fn tries(world: &World, step: &str) -> (Ran, Vec<String>, Project) {
    let project = project(&[&format!("{BASE}{step}")]);
    world.environment.run(&project, &["lock"]).success();
    asked(world);
    let ran = observe(&world.environment, &project, &[]);
    let mut paths = asked(world);
    paths.retain(|path| !path.contains("tools"));
    paths.dedup();
    (ran, paths, project)
}

#[test]
fn nothing_is_asked_for_but_what_the_archive_signed() {
    let Some(world) = world("what is asked of an archive") else { return };
    let list = format!("get $b/{INDEX}; get $b/{LIST}; ");
    let digest = bulla_model::Digest::of("secret").hex();
    for (step, refused) in [
        // Nothing is known of a suite before its index came.
        (format!("get $b/{LIST}"), format!("GET /apt/trixie/{LIST}")),
        (format!("get $b/{THING}"), format!("GET /apt/trixie/{THING}")),
        // What no list names, be it there or not.
        (format!("get $b/{INDEX}; get $b/{THING}"), format!("GET /apt/trixie/{THING}")),
        (format!("{list}get $b/pool/main/secret.deb"), "GET /apt/trixie/pool/main/secret.deb".to_owned()),
        (format!("{list}get $b/dists/trixie/secret"), "GET /apt/trixie/dists/trixie/secret".to_owned()),
        (format!("{list}get $b/dists/trixie/Release"), "GET /apt/trixie/dists/trixie/Release".to_owned()),
        (
            format!("{list}get $b/dists/trixie/main/binary-amd64/by-hash/SHA256/{digest}"),
            format!("GET /apt/trixie/dists/trixie/main/binary-amd64/by-hash/SHA256/{digest}"),
        ),
        (format!("{list}get \"$b/{THING}?q=secret\""), format!("GET /apt/trixie/{THING}?q=secret")),
        (format!("{list}get $b/../../etc/passwd"), "GET /apt/trixie/../../etc/passwd".to_owned()),
        // Another suite, though the configuration has a mirror for all of them.
        (
            "get http://127.0.0.1:8417/apt/bookworm/dists/bookworm/InRelease".to_owned(),
            "GET /apt/bookworm/dists/bookworm/InRelease".to_owned(),
        ),
        (
            format!("{list}busybox wget -q -O - --post-data secret $b/{THING} || true"),
            format!("POST /apt/trixie/{THING}"),
        ),
        (
            "printf 'GET http://mirror.example/dists/trixie/InRelease HTTP/1.1\\r\\nHost: mirror.example\\r\\nConnection: close\\r\\n\\r\\n' | nc 127.0.0.1 8417 || true".to_owned(),
            "GET http://mirror.example/dists/trixie/InRelease".to_owned(),
        ),
    ] {
        let (ran, paths, project) = tries(&world, &step);
        assert!(ran.stderr.contains(&refused), "{step}: {}", ran.stderr);
        assert!(paths.iter().all(|path| [INDEX, LIST].contains(&&path[1..])), "{step}: {paths:?}");
        ran.success();
        assert!(!project.read("bulla.lock").contains(THING));
    }
    // The control: what the list names is asked for.
    let (ran, paths, project) = tries(&world, &format!("{list}get $b/{THING}"));
    assert!(!ran.stderr.contains("refused"), "{}", ran.stderr);
    assert!(paths.contains(&format!("/{THING}")), "{paths:?}");
    assert!(project.read("bulla.lock").contains(THING));
}

#[test]
fn a_mirror_with_an_index_that_is_not_good_pins_nothing() {
    let Some(mut world) = world("a hostile index while apt is observed") else { return };
    let project = project(&[ASKS]);
    world.environment.run(&project, &["lock"]).success();
    let now = Release::default();
    let day = 24 * 3600;
    for (release, words) in [
        (Release { signing: Signing::Unsigned, ..now.clone() }, "the index of trixie is refused"),
        (Release { signing: Signing::OtherKey, ..now.clone() }, "keys that are not in the keyring"),
        (Release { signing: Signing::Changed, ..now.clone() }, "does not match the text"),
        (Release { valid_until: Some(now.date - day), ..now.clone() }, "the index expired"),
        (Release { date: now.date - day, ..now.clone() }, "rolled back"),
    ] {
        world.repo.publish(&release);
        let ran = observe(&world.environment, &project, &[]);
        assert!(ran.code != Some(0) && ran.stderr.contains(words), "{words}: {}", ran.stderr);
        assert!(!project.read("bulla.lock").contains("[[observed]]"), "{words}");
    }
    // A list that is not the one which is signed.
    world.repo.add(&Deb::new("fresh", "1"));
    world.repo.publish(&Release { packages_suffix: "\nPackage: evil\n".to_owned(), date: now.date + 1, ..now.clone() });
    let ran = observe(&world.environment, &project, &[]);
    assert!(ran.code != Some(0) && ran.stderr.contains("the most that is accepted for it"), "{}", ran.stderr);
    assert!(!project.read("bulla.lock").contains("[[observed]]"));
    // Another suite's, signed by the same key.
    world.repo.publish(&Release { date: now.date + 2, ..now.clone() });
    world.repo.publish_empty("bookworm", &now);
    let other = fs_err::read(world.repo.root().join("dists/bookworm/InRelease")).expect("an index");
    world.mirror.fault(&format!("/{INDEX}"), Fault::Bytes(other));
    let ran = observe(&world.environment, &project, &[]).failure(5);
    assert!(ran.stderr.contains("what came as the index of trixie is that of bookworm"), "{}", ran.stderr);
    world.mirror.heal();
    // The control.
    observe(&world.environment, &project, &[]).success();
    assert!(project.read("bulla.lock").contains("[[observed]]"));
}

#[test]
fn a_package_with_other_bytes_pins_nothing_and_is_not_replayed() {
    let Some(world) = world("a hostile package while apt is observed") else { return };
    let project = project(&[ASKS]);
    let good = fs_err::read(world.repo.root().join(THING)).expect("the package");
    // Other bytes of the same size, fewer, more, and without end.
    let mut evil = good.clone();
    *evil.last_mut().expect("a byte") ^= 1;
    for fault in [
        Fault::Bytes(evil.clone()),
        Fault::Bytes(good[1..].to_vec()),
        Fault::Bytes([&good[..], b"x"].concat()),
        Fault::Endless,
    ] {
        world.mirror.fault(&format!("/{THING}"), fault);
        let ran = observe(&world.environment, &project, &[]);
        assert_ne!(ran.code, Some(0), "{}", ran.stderr);
        assert!(!project.read("bulla.lock").contains("[[observed]]"));
    }
    world.mirror.heal();
    observe(&world.environment, &project, &[]).success();
    // Later, on another machine: what the lock names, or nothing.
    let cold = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &world.repo, &world.mirror);
    world.mirror.fault(&format!("/{THING}"), Fault::Bytes(evil));
    let ran = cold.run(&project, &["build"]).failure(5);
    assert!(ran.stderr.contains("fetching thing 1") && ran.stderr.contains("other bytes"), "{}", ran.stderr);
    world.mirror.heal();
    cold.run(&project, &["build"]).success();
}

#[test]
fn an_edited_lock_of_apt_says_nothing_that_was_not_verified() {
    let Some(mut world) = world("an edited lock of apt") else { return };
    let project = project(&[ASKS]);
    observe(&world.environment, &project, &[]).success();
    let lock = project.read("bulla.lock");
    let signer = world.repo.key().fingerprint().to_uppercase();
    for (from, to, words) in [
        (format!("trixie/{THING}"), "http://evil.example/thing.deb".to_owned(), "this is not a clean relative path"),
        (format!("trixie/{THING}"), "../thing.deb".to_owned(), "this is not a clean relative path"),
        (signer.clone(), "A FRIEND".to_owned(), "is not a sorted list of fingerprints"),
        (
            "verified = \"signature\"".to_owned(),
            "verified = \"checksum of the registry\"".to_owned(),
            "not written as Bulla",
        ),
        (
            ", verified = \"digest in the signed index\"".to_owned(),
            ", verified = \"signature\"".to_owned(),
            "verified in no known way",
        ),
    ] {
        let edited = lock.replace(&from, &to);
        assert_ne!(edited, lock, "{from}");
        project.write("bulla.lock", resealed(&edited));
        let ran = world.build(&project, &[]);
        assert!(ran.code != Some(0) && ran.stderr.contains(words), "{to}: {}", ran.stderr);
    }
    // A path of a suite that the spec's apt has not is looked for where the suite is, and is what the lock says or nothing.
    world.publish(&Deb::new("thing", "2"));
    project
        .write("bulla.lock", resealed(&lock.replace(&format!("trixie/{THING}"), "trixie/pool/main/thing_2_amd64.deb")));
    let cold = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &world.repo, &world.mirror);
    assert_ne!(cold.run(&project, &["build"]).code, Some(0));
    // The control.
    project.write("bulla.lock", &lock);
    world.build(&project, &[]).success();
}

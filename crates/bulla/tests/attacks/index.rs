//! Indexes that are forged, stale or endless, and mirrors that fail, as `bulla build` meets them.

use std::time::{Duration, Instant};

use bulla_testkit::{Fault, Release, debian::Signing};

use crate::world::{GOOD, World, files, project};

/// Builds against a repository that is published in some way, and gives what was said.
#[track_caller]
fn refused(world: &mut World, release: &Release, code: i32) -> String {
    world.repo.publish(release);
    let project = project(&GOOD);
    let ran = world.build(&project, &[]).failure(code);
    assert!(!project.path("bulla.lock").exists(), "a lock was written: {}", ran.stderr);
    world.assert_no_image(&project);
    ran.stderr
}

/// The control of each attack: the same world builds when the index is good.
#[track_caller]
fn builds(world: &mut World) {
    world.repo.publish(&Release::default());
    world.build(&project(&GOOD), &[]).success();
}

#[test]
fn an_index_that_is_not_signed_by_a_known_key_builds_nothing() {
    for signing in [Signing::Unsigned, Signing::OtherKey, Signing::Changed] {
        let Some(mut world) = World::new("a bad signature") else { return };
        let said = refused(&mut world, &Release { signing, ..Release::default() }, 5);
        let url = format!("{}/dists/trixie/InRelease", world.mirror.url());
        assert!(said.contains(&url), "{signing:?}: no {url} in {said}");
        assert!(said.contains("debian trixie"), "{signing:?}: {said}");
        builds(&mut world);
    }
}

#[test]
fn an_index_that_has_expired_is_refused() {
    let Some(mut world) = World::new("an expired index") else { return };
    let now = Release::default().date;
    let old = Release { date: now - 20 * 86_400, valid_until: Some(now - 10 * 86_400), ..Release::default() };
    let said = refused(&mut world, &old, 5);
    assert!(said.contains("debian trixie") && said.contains("expired"), "{said}");
    let soon = Release { valid_until: Some(now + 86_400), ..Release::default() };
    world.repo.publish(&soon);
    world.build(&project(&GOOD), &[]).success();
}

#[test]
fn an_index_that_was_rolled_back_needs_a_word() {
    let Some(mut world) = World::new("a rolled back index") else { return };
    builds(&mut world);
    let mut old = Release::default();
    old.date -= 30 * 86_400;
    let said = refused(&mut world, &old, 5);
    assert!(said.contains("--allow-downgrade"), "{said}");
    let project = project(&GOOD);
    world.environment.run(&project, &["lock", "--allow-downgrade"]).success();
    world.build(&project, &[]).success();
}

#[test]
fn packages_that_do_not_fit_the_signed_digest_or_size_are_refused() {
    for release in [
        Release { packages_suffix: "\nPackage: evil\nVersion: 1\n".into(), ..Release::default() },
        Release { size_error: 3, ..Release::default() },
    ] {
        let Some(mut world) = World::new("a wrong digest") else { return };
        let said = refused(&mut world, &release, 5);
        assert!(said.contains("Packages") || said.contains("by-hash"), "{said}");
        builds(&mut world);
    }
}

#[test]
fn an_index_without_end_is_cut_off() {
    let Some(mut world) = World::new("an endless index") else { return };
    world.mirror.fault("/dists/trixie/InRelease", Fault::Endless);
    let start = Instant::now();
    let ran = world.build(&project(&GOOD), &[]);
    assert!(matches!(ran.code, Some(4 | 5)), "{ran:?}");
    assert!(ran.stderr.contains("/dists/trixie/InRelease"), "{}", ran.stderr);
    assert!(start.elapsed() < Duration::from_secs(60));
    world.mirror.heal();
    builds(&mut world);
}

#[test]
fn a_redirect_to_a_file_or_to_another_scheme_is_not_followed() {
    for target in ["file:///etc/passwd", "gopher://mirror.example/x"] {
        let Some(mut world) = World::new("a redirect") else { return };
        world.mirror.fault_everywhere(Fault::Redirect(target.into()));
        let ran = world.build(&project(&GOOD), &[]);
        assert!(matches!(ran.code, Some(4..=7)), "{ran:?}");
        assert!(ran.stderr.contains(target) && !ran.stderr.contains("root:"), "{}", ran.stderr);
        world.mirror.heal();
        builds(&mut world);
    }
}

/// Gives the path of the package on the mirror.
fn package(world: &World) -> String {
    let pool = world.repo.root().join("pool");
    let file = files(&pool).into_iter().find(|file| file.extension().is_some_and(|end| end == "deb"));
    format!("/{}", file.expect("a package").strip_prefix(world.repo.root()).expect("beneath it").display())
}

#[test]
fn a_mirror_that_is_slow_is_waited_for() {
    let Some(world) = World::new("a slow mirror") else { return };
    world.mirror.fault(&package(&world), Fault::Slow { bytes_per_second: 1_500_000 });
    world.build(&project(&GOOD), &[]).success();
}

#[test]
fn a_mirror_that_cuts_off_or_fails_for_a_while_is_asked_again() {
    let faults = [
        Fault::CutOff { after: 500_000, times: 2 },
        Fault::Status { status: 500, times: 2, retry_after: None },
        Fault::Status { status: 503, times: 1, retry_after: Some(1) },
    ];
    for fault in faults {
        let Some(world) = World::new("a failing mirror") else { return };
        let path = package(&world);
        world.mirror.fault(&path, fault.clone());
        world.build(&project(&GOOD), &[]).success();
        let asked: Vec<_> = world.mirror.requests().into_iter().filter(|request| request.path == path).collect();
        assert!(asked.len() > 1, "{fault:?}: {asked:?}");
        if matches!(fault, Fault::CutOff { .. }) {
            assert!(asked.iter().any(|request| request.header("range").is_some()), "nothing was resumed: {asked:?}");
        }
    }
}

#[test]
fn a_mirror_that_fails_for_good_is_named_with_the_way_out() {
    let Some(world) = World::new("a failed mirror") else { return };
    world.mirror.fault_everywhere(Fault::Status { status: 500, times: u32::MAX, retry_after: None });
    let ran = world.build(&project(&GOOD), &[]).failure(4);
    assert!(ran.stderr.contains(&world.mirror.url()) && ran.stderr.contains("500"), "{}", ran.stderr);
    world.mirror.heal();
    world.build(&project(&GOOD), &[]).success();
}

#[test]
fn a_download_that_an_earlier_build_began_is_gone_on_with() {
    let Some(world) = World::new("a resumed build") else { return };
    let path = package(&world);
    let project = project(&GOOD);
    world.mirror.fault(&path, Fault::CutOff { after: 700_000, times: u32::MAX });
    world.mirror.fault(&path, Fault::NoRange);
    world.build(&project, &[]).failure(4);
    world.mirror.heal();
    world.mirror.forget_requests();
    world.build(&project, &[]).success();
    let resumed =
        world.mirror.requests().into_iter().any(|asked| asked.path == path && asked.header("range").is_some());
    assert!(resumed, "{:?}", world.mirror.requests());
}

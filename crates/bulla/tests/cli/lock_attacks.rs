use bulla_testkit::{Fault, Mirror, Release, TestEnvironment, debian::Signing};

use crate::{online, project, repository, spec};

#[test]
fn an_index_that_is_not_signed_as_it_must_be_is_refused() {
    for signing in [Signing::Unsigned, Signing::OtherKey, Signing::Changed] {
        let (mut repo, _mirror, environment) = online();
        repo.publish(&Release { signing, ..Release::default() });
        let project = project();
        let ran = environment.run(&project, &["lock"]).failure(5);
        assert!(ran.stderr.contains("refusing the index of `debian trixie`"), "{signing:?}: {}", ran.stderr);
        assert!(!project.path("bulla.lock").exists());
    }
}

#[test]
fn an_index_older_than_one_that_was_seen_needs_a_word() {
    let (mut repo, _mirror, environment) = online();
    environment.run(&project(), &["lock"]).success();
    let mut old = Release::default();
    old.date -= 24 * 3600;
    repo.publish(&old);
    let refused = environment.run(&project(), &["lock"]).failure(5);
    assert!(refused.stderr.contains("--allow-downgrade"), "{}", refused.stderr);
    environment.run(&project(), &["lock", "--allow-downgrade"]).success();
}

#[test]
fn a_bad_mirror_is_passed_over_for_a_good_one() {
    let (repo, bad) = (repository(), repository());
    let (good, bad) = (Mirror::serve(repo.root()), Mirror::serve(bad.root()));
    let environment = TestEnvironment::new(env!("CARGO_BIN_EXE_bulla"));
    // The first mirror's indexes are signed by another key.
    environment.use_mirrors(&[&bad.url(), &good.url()], &repo.keyring());
    environment.run(&project(), &["lock"]).success();
    assert!(!bad.requests().is_empty(), "the first mirror is asked first");
}

#[test]
fn a_redirect_to_a_file_is_not_followed() {
    let (_repo, mirror, environment) = online();
    mirror.fault_everywhere(Fault::Redirect("file:///etc/passwd".into()));
    let ran = environment.run(&project(), &["lock"]);
    assert!(matches!(ran.code, Some(4 | 7)), "{ran:?}");
    assert!(!ran.stderr.contains("root:"), "{}", ran.stderr);
}

#[test]
fn a_lock_that_was_edited_or_cut_off_is_refused() {
    let (_repo, _mirror, environment) = online();
    let project = project();
    environment.run(&project, &["lock"]).success();
    let good = project.read("bulla.lock");
    project.write("bulla.lock", good.replace("libshop=2.0", "libshop=2.9"));
    let edited = environment.run(&project, &["check"]).failure(5);
    assert!(edited.stderr.contains("was changed by hand"), "{}", edited.stderr);
    project.write("bulla.lock", &good[..good.len() / 2]);
    environment.run(&project, &["lock"]).failure(5);
    project.write("bulla.lock", format!("<<<<<<< ours\n{good}"));
    environment.run(&project, &["lock"]).failure(3);
    let hostile: &[u8] = b"\xff\xfe\x00";
    project.write("bulla.lock", hostile);
    environment.run(&project, &["check"]).failure(3);
}

#[test]
fn a_suite_that_is_nowhere_says_what_to_configure() {
    let environment = crate::offline();
    let ran = environment.run(&project(), &["lock"]).failure(4);
    insta::assert_snapshot!(ran.stderr.lines().filter(|line| !line.starts_with('[')).collect::<Vec<_>>().join("\n"));
}

#[test]
fn names_of_packages_do_no_harm_to_terminals() {
    let (_repo, mirror, environment) = online();
    mirror.fault("/dists/trixie/InRelease", Fault::Bytes(b"\x1b]0;owned\x07\n::set-output name=a::b\n".to_vec()));
    let ran = environment.run(&bulla_testkit::Project::with_spec(&spec("make", "libshop")), &["lock"]);
    assert_ne!(ran.code, Some(0));
    assert!(!ran.stderr.contains(['\x1b', '\x07']), "{}", ran.stderr);
}

#[test]
fn dates_that_were_tampered_with_are_no_dates() {
    let (_repo, _mirror, environment) = online();
    environment.run(&project(), &["lock"]).success();
    let file = environment.folder().join("home/.local/state/bulla/suites.json");
    assert!(fs_err::read_to_string(&file).expect("the dates").contains("\"debian trixie\""));
    fs_err::write(&file, "{\"debian trixie\": -1}").expect("writing it");
    environment.run(&project(), &["lock"]).failure(5);
}

use crate::{offline, online, project};

#[test]
fn every_line_has_a_state_and_the_mirrors_are_named() {
    let (_repo, mirror, environment) = online();
    let ran = environment.run(&project(), &["doctor"]);
    assert!(matches!(ran.code, Some(0 | 4)), "{ran:?}");
    for line in ran.stdout.lines() {
        let known = ["ok      ", "weaker  ", "missing ", "        "].iter().any(|state| line.starts_with(state));
        assert!(known, "{line}");
    }
    assert!(ran.stdout.contains(&format!("suite trixie: {}", mirror.url())), "{}", ran.stdout);
    assert!(ran.stdout.contains("network namespaces"), "{}", ran.stdout);
}

#[test]
fn a_suite_that_is_nowhere_is_missing() {
    let ran = offline().run(&project(), &["doctor", "--json"]).failure(4);
    let line = ran.stdout.lines().find(|line| line.contains("suite trixie")).expect("the suite is looked at");
    assert!(line.contains(r#""state":"missing""#) && line.contains("mirrors ="), "{line}");
    assert!(ran.stdout.lines().all(|line| line.starts_with('{') && line.ends_with('}')), "{}", ran.stdout);
}

#[test]
fn it_makes_nothing() {
    let environment = offline();
    environment.run(&project(), &["doctor"]);
    assert!(!environment.store().exists(), "looking at the store made it");
}

#[test]
fn it_says_the_same_before_and_after_there_is_a_store() {
    let environment = offline();
    let overlay = || {
        let ran = environment.run(&project(), &["doctor", "--json"]);
        ran.stdout.lines().find(|line| line.contains(r#""what":"overlay""#)).expect("it is looked at").to_owned()
    };
    let before = overlay();

    environment.run(&crate::build::project(), &["build"]).success();
    assert!(environment.store().exists(), "the control");
    assert_eq!(before, overlay());
    let left = fs_err::read_dir(environment.folder()).expect("a folder");
    let left = left.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    assert_eq!(left.filter(|name| name.contains("doctor")).count(), 0);
}

//! What is kept of the steps of builds.

use std::time::Duration;

use bulla_model::Digest;
use bulla_store::{BuildRecord, KEPT_BUILDS, Outcome, StepRow, Store};

use crate::Home;

fn build(store: &Store, project: &str, started: u64, steps: &[StepRow]) -> i64 {
    let record = BuildRecord {
        id: 0,
        project: project.to_owned(),
        name: "shop".to_owned(),
        started,
        duration: Duration::ZERO,
        outcome: Outcome::Succeeded,
        digest: None,
        details: "{}".to_owned(),
    };
    store.record_build(&record, steps).unwrap()
}

fn row(step: u32, action: &str) -> StepRow {
    let inputs = format!("inputs of {action}");
    StepRow { stage: "build".to_owned(), step, action: Digest::of(action), details: format!("step {step}"), inputs }
}

#[test]
fn steps_come_back_with_their_build_and_inputs_are_kept_once() {
    let home = Home::new();
    let store = home.store();
    let one = build(&store, "/a", 1, &[row(2, "second"), row(1, "first")]);
    let two = build(&store, "/a", 2, &[StepRow { inputs: "other".to_owned(), ..row(1, "first") }]);
    assert_eq!(store.steps(one).unwrap(), [row(1, "first"), row(2, "second")]);
    assert_eq!(store.steps(two).unwrap(), [row(1, "first")], "an action has one set of inputs");
    assert_eq!(store.inputs_of(&Digest::of("second")).unwrap().as_deref(), Some("inputs of second"));
    assert_eq!(store.inputs_of(&Digest::of("third")).unwrap(), None);
    assert_eq!(store.steps(99).unwrap(), []);
}

#[test]
fn steps_of_builds_long_ago_are_forgotten_project_by_project() {
    let home = Home::new();
    let store = home.store();
    let other = build(&store, "/other", 1, &[row(1, "of another project")]);
    let builds: Vec<i64> = (0..u64::from(KEPT_BUILDS) + 3)
        .map(|number| build(&store, "/a", number, &[row(1, &format!("action {number}"))]))
        .collect();
    let left: Vec<bool> = builds.iter().map(|id| !store.steps(*id).unwrap().is_empty()).collect();
    assert_eq!(left.iter().filter(|left| **left).count(), KEPT_BUILDS as usize);
    assert_eq!(left[..4], [false, false, false, true]);
    assert_eq!(store.inputs_of(&Digest::of("action 0")).unwrap(), None, "their inputs go with them");
    assert_eq!(store.steps(other).unwrap().len(), 1);
}

#[test]
fn an_index_of_an_earlier_version_gets_what_it_lacks() {
    let home = Home::new();
    let store = home.store();
    build(&store, "/a", 1, &[]);
    let index = rusqlite::Connection::open(home.in_store("index.sqlite")).unwrap();
    index.execute_batch("DROP TABLE steps; DROP TABLE inputs; PRAGMA user_version = 1;").unwrap();
    drop(index);
    let id = build(&store, "/a", 2, &[row(1, "first")]);
    assert_eq!(store.steps(id).unwrap(), [row(1, "first")]);
    assert_eq!(store.builds(10, None).unwrap().len(), 2, "what was there stays");
    assert!(store.warnings().is_empty());
}

#[test]
fn a_fingerprint_depends_on_the_key() {
    let (home, other) = (Home::new(), Home::new());
    let (store, elsewhere) = (home.store(), other.store());
    assert_eq!(store.fingerprint(b"x"), store.fingerprint(b"x"));
    assert_ne!(store.fingerprint(b"x"), store.fingerprint(b"y"));
    assert_ne!(store.fingerprint(b"x"), elsewhere.fingerprint(b"x"));
    assert_ne!(store.fingerprint(b"x"), Digest::of(b"x"));
}

use std::{
    os::unix::fs::PermissionsExt,
    time::{Duration, SystemTime},
};

use bulla_model::{Digest, Epoch};
use bulla_store::{GcPolicy, Options, SourceCache, Store};

use crate::{Home, content, path, tree_of};

const ALL: GcPolicy = GcPolicy { max_age: None, max_bytes: Some(0) };

/// Opens the store as a build of tomorrow does.
fn tomorrow(home: &Home) -> Store {
    let clock = || SystemTime::now() + Duration::from_secs(86_400);
    Store::open(Options { clock, ..home.options() }).unwrap()
}

#[test]
fn what_a_living_build_uses_stays_and_the_rest_goes() {
    let home = Home::new();
    let (idle_blob, idle_tree, idle_farm) = {
        let store = home.store();
        let tree = tree_of(&store, &[("idle", "idle")]).digest();
        (store.put_blob(b"idle").unwrap(), tree, store.farm(&[tree]).unwrap())
    };
    let build = home.store();
    let (blob, tree) = (build.put_blob(b"used").unwrap(), tree_of(&build, &[("a", "b")]));
    let farm = build.farm(&[tree.digest()]).unwrap();
    build.put_result(&Digest::of(b"action"), b"{}").unwrap();

    let freed = home.store().gc(ALL).unwrap();
    assert_eq!(freed.removed.count, 3, "{freed:?}");
    assert_eq!(freed.in_use.count, 4, "{freed:?}");
    assert!(build.has_blob(&blob).unwrap() && !build.has_blob(&idle_blob).unwrap());
    assert!(build.tree(&idle_tree).unwrap().is_none() && !idle_farm.path().exists());
    tree.check().unwrap();
    assert!(farm.path().join("a").exists());
    drop((build, tree));
    let freed = home.store().gc(ALL).unwrap();
    assert_eq!((freed.left.bytes(), freed.in_use.count), (0, 0));
    assert_eq!(std::fs::read_dir(home.in_store("receipts")).unwrap().count(), 0);
}

#[test]
fn what_was_used_lately_outlives_what_was_not() {
    let home = Home::new();
    let (old, used) = {
        let store = home.store();
        (store.put_blob(&[1; 10_000]).unwrap(), store.put_blob(&[2; 10_000]).unwrap())
    };
    assert!(tomorrow(&home).has_blob(&used).unwrap());
    let freed = tomorrow(&home).gc(GcPolicy { max_age: Some(Duration::from_secs(3600)), max_bytes: None }).unwrap();
    assert_eq!(freed.removed.count, 1);
    let store = home.store();
    assert!(store.has_blob(&used).unwrap() && !store.has_blob(&old).unwrap());
}

#[test]
fn size_is_brought_down_from_the_oldest() {
    let home = Home::new();
    let old = home.store().put_blob(&[1; 8192]).unwrap();
    let new = tomorrow(&home).put_blob(&[2; 8192]).unwrap();
    let freed = home.store().gc(GcPolicy { max_age: None, max_bytes: Some(10_000) }).unwrap();
    assert_eq!((freed.removed.count, freed.left.blobs.bytes), (1, 8192));
    assert!(home.store().has_blob(&new).unwrap() && !home.store().has_blob(&old).unwrap());
}

#[test]
fn removing_a_farm_leaves_its_trees_covered() {
    let home = Home::new();
    let (tree, other) = {
        let store = home.store();
        let (tree, other) = (tree_of(&store, &[("a", "b")]), tree_of(&store, &[("c", "d")]));
        store.farm(&[tree.digest(), other.digest()]).unwrap();
        (tree.digest(), other.digest())
    };
    let build = home.store();
    let leased = build.tree(&tree).unwrap().unwrap();
    home.store().gc(ALL).unwrap();
    assert!(build.tree(&other).unwrap().is_none());
    let receipt = home.in_store("receipts").join(format!("t-{}", tree.hex()));
    let before = std::fs::metadata(&receipt).unwrap().modified().unwrap();
    leased.check().unwrap();
    assert_eq!(content(leased.open_file(&path("a")).unwrap()), "b");
    assert_eq!(std::fs::metadata(&receipt).unwrap().modified().unwrap(), before, "nothing had to be hashed again");
}

#[test]
fn what_dead_builds_left_is_cleared_away() {
    let home = Home::new();
    drop(home.store());
    let dead = "00112233445566778899aabbccddeeff";
    std::fs::write(home.in_store("leases").join(dead), "").unwrap();
    let work = home.in_store("scratch").join(dead).join("step-0/work/work");
    std::fs::create_dir_all(&work).unwrap();
    std::fs::set_permissions(&work, PermissionsExt::from_mode(0o000)).unwrap();
    let living = home.store();
    let scratch = living.scratch("living").unwrap();
    drop(home.store());
    assert!(!home.in_store("scratch").join(dead).exists());
    assert!(!home.in_store("leases").join(dead).exists());
    assert!(scratch.path().exists(), "the living one keeps its own");
}

#[test]
fn sources_go_with_their_views_and_old_objects_before_them() {
    let home = Home::new();
    std::fs::create_dir(home.path("project")).unwrap();
    let file = home.path("project/file");
    let view = {
        let store = home.store();
        let cache = SourceCache::open(&store, &home.path("project"), "app", Epoch::default()).unwrap();
        for text in ["1", "2", "3"] {
            std::fs::write(&file, text).unwrap();
            cache.ingest(&home.path("project"), &[path("file")]).unwrap();
        }
        let source = cache.ingest(&home.path("project"), &[path("file")]).unwrap();
        cache.view(&source, &|_| true, &path("src/app")).unwrap()
    };
    let store = home.store();
    let before = store.du().unwrap().sources;
    store.gc(GcPolicy::default()).unwrap();
    let after = store.du().unwrap().sources;
    assert_eq!((before.bytes, after.bytes), (3 * 4096, 4096));
    assert!(view.path().exists());
    store.gc(ALL).unwrap();
    assert!(!view.path().exists());
    assert_eq!(store.du().unwrap().bytes(), 0);
}

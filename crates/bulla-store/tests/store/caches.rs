use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};

use bulla_model::{Digest, Epoch, Tree, tree::Node};
use bulla_store::{CacheCopy, GcPolicy, Store};
use rustix::fs::{CWD, FileType, Mode as Bits, mknodat};

use crate::{Home, path};

const MOST: u64 = 1 << 30;

fn key() -> Digest {
    Digest::of("a cache")
}

fn seen(text: &str) -> Tree {
    [(path("src/app/main.c"), Node::file(0o644, Digest::of(text), text.len() as u64))].into_iter().collect()
}

fn time() -> Epoch {
    Epoch::new(1_000_000_000).unwrap()
}

fn put(copy: &CacheCopy, name: &str, text: &str) {
    let file = copy.path().join(name);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, text).unwrap();
}

fn read(store: &Store, name: &str) -> Option<String> {
    std::fs::read_to_string(store.cache(&key()).unwrap().path().join(name)).ok()
}

#[test]
fn what_is_kept_is_found_and_what_is_dropped_is_not() {
    let home = Home::new();
    let store = home.store();
    let first = store.cache(&key()).unwrap();
    assert!(first.seen().is_none());
    put(&first, "deep/a.o", "one");
    let working = first.path();
    assert_eq!(first.keep(&seen("1"), time(), MOST).unwrap(), 3);
    assert!(!working.exists());
    // One that is dropped, as when a step fails, changes nothing.
    let failed = store.cache(&key()).unwrap();
    assert_eq!(failed.seen(), Some(&seen("1")));
    put(&failed, "deep/a.o", "broken");
    put(&failed, "more", "broken");
    drop(failed);
    let copy = store.cache(&key()).unwrap();
    assert_eq!(std::fs::read_to_string(copy.path().join("deep/a.o")).unwrap(), "one");
    assert!(!copy.path().join("more").exists());
    assert_eq!(std::fs::metadata(copy.path().join("deep/a.o")).unwrap().mtime(), 1_000_000_000);
    assert_eq!(std::fs::metadata(copy.path().join("deep")).unwrap().mtime(), 1_000_000_000);
    // Another key is another cache.
    assert!(store.cache(&Digest::of("another")).unwrap().seen().is_none());
    assert_eq!(home.store().warnings(), [""; 0]);
}

#[test]
fn two_at_once_see_whole_caches_and_the_last_one_stays() {
    let home = Home::new();
    let store = home.store();
    let (one, other) = (store.cache(&key()).unwrap(), home.store().cache(&key()).unwrap());
    put(&one, "a", "one");
    put(&one, "b", "one");
    put(&other, "a", "other");
    one.keep(&seen("one"), time(), MOST).unwrap();
    assert!(!other.path().join("b").exists());
    other.keep(&seen("other"), time(), MOST).unwrap();
    let copy = store.cache(&key()).unwrap();
    assert_eq!(copy.seen(), Some(&seen("other")));
    assert!(!copy.path().join("b").exists());
    // While others keep, what is read is one or the other, never a mixture.
    std::thread::scope(|scope| {
        for number in 0..2_u8 {
            let store = store.clone();
            scope.spawn(move || {
                for _ in 0..15 {
                    let copy = store.cache(&key()).unwrap();
                    for name in ["a", "b", "c/d"] {
                        put(&copy, name, &number.to_string());
                    }
                    copy.keep(&seen(&number.to_string()), time(), MOST).unwrap();
                }
            });
        }
        for _ in 0..20 {
            let copy = store.cache(&key()).unwrap();
            let text = |name: &str| std::fs::read_to_string(copy.path().join(name)).ok();
            if text("c/d").is_some() {
                assert_eq!((text("a"), text("b")), (text("c/d"), text("c/d")));
                assert_eq!(copy.seen(), Some(&seen(&text("a").unwrap())));
            }
        }
    });
    assert_eq!(store.warnings(), [""; 0]);
}

#[test]
fn links_lead_nowhere_and_what_is_no_file_is_not_kept() {
    let home = Home::new();
    let store = home.store();
    let secret = home.path("secret");
    std::fs::write(&secret, "of the host").unwrap();
    let copy = store.cache(&key()).unwrap();
    let at = |name: &str| copy.path().join(name);
    symlink(&secret, at("link")).unwrap();
    symlink(home.path("."), at("folder")).unwrap();
    mknodat(CWD, at("pipe"), FileType::Fifo, Bits::from_raw_mode(0o666), 0).unwrap();
    put(&copy, "closed/file", "x");
    put(&copy, "set", "x");
    std::fs::set_permissions(at("set"), PermissionsExt::from_mode(0o6755)).unwrap();
    std::fs::set_permissions(at("closed/file"), PermissionsExt::from_mode(0o0)).unwrap();
    std::fs::set_permissions(at("closed"), PermissionsExt::from_mode(0o0)).unwrap();
    copy.keep(&seen("1"), time(), MOST).unwrap();
    let copy = store.cache(&key()).unwrap();
    let at = |name: &str| copy.path().join(name);
    assert_eq!(std::fs::read_link(at("link")).unwrap(), secret, "a link is a link");
    assert!(at("folder").symlink_metadata().unwrap().is_symlink());
    assert!(at("pipe").symlink_metadata().is_err());
    assert_eq!(std::fs::read_to_string(at("closed/file")).unwrap(), "x");
    assert_eq!(std::fs::metadata(at("set")).unwrap().mode() & 0o7777, 0o755);
    copy.keep(&seen("2"), time(), MOST).unwrap();
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "of the host");
    let mode = std::fs::metadata(&secret).unwrap();
    assert!(mode.mtime() != 1_000_000_000, "nothing was set through the link");
}

#[test]
fn a_cache_that_was_edited_in_the_store_is_a_miss_and_one_that_is_gone_too() {
    let home = Home::new();
    let store = home.store();
    let keep = |text: &str| {
        let copy = store.cache(&key()).unwrap();
        put(&copy, "a.o", text);
        copy.keep(&seen(text), time(), MOST).unwrap();
    };
    let own = home.in_store("caches").join(key().hex());
    for edit in [
        &(|| std::fs::write(own.join("root/a.o"), "evil").unwrap()) as &dyn Fn(),
        &|| std::fs::write(own.join("root/more.o"), "evil").unwrap(),
        &|| std::fs::remove_file(own.join("root/a.o")).unwrap(),
        &|| std::fs::write(own.join("seen"), seen("another").encode()).unwrap(),
        &|| std::fs::write(own.join("record"), "forged").unwrap(),
        &|| {
            std::fs::remove_dir_all(own.join("root")).unwrap();
            symlink("/etc", own.join("root")).unwrap();
        },
    ] {
        keep("good");
        assert_eq!(read(&store, "a.o").as_deref(), Some("good"));
        edit();
        assert!(store.cache(&key()).unwrap().seen().is_none());
        let told = store.warnings();
        assert!(matches!(told.as_slice(), [told] if told.contains("a cache was changed in the store")), "{told:?}");
        assert!(!own.exists());
    }
    // The record of another cache opens for none but that.
    keep("good");
    let other = home.in_store("caches").join(Digest::of("another").hex());
    rustix::fs::rename(&own, &other).unwrap();
    assert!(store.cache(&Digest::of("another")).unwrap().seen().is_none());
    assert_eq!(store.warnings().len(), 1);
    keep("good");
    std::fs::write(own.join("root/a.o"), "evil").unwrap();
    assert_eq!(store.verify(false).unwrap().damaged.len(), 1);
    assert!(store.cache(&key()).unwrap().seen().is_none());
    assert_eq!(store.warnings(), [""; 0]);
}

#[test]
fn caches_are_counted_bounded_and_collected_also_while_they_are_used() {
    let home = Home::new();
    let store = home.store();
    let copy = store.cache(&key()).unwrap();
    put(&copy, "large", &"x".repeat(100_000));
    copy.keep(&seen("1"), time(), MOST).unwrap();
    let usage = store.du().unwrap();
    assert!(usage.caches.count == 1 && usage.caches.bytes >= 100_000 && usage.bytes() >= 100_000, "{usage:?}");
    let working = store.cache(&key()).unwrap();
    let freed = store.gc(GcPolicy { max_age: None, max_bytes: Some(0) }).unwrap();
    assert!(freed.removed.count >= 1 && freed.left.caches.count == 0, "{freed:?}");
    assert_eq!(std::fs::metadata(working.path().join("large")).unwrap().len(), 100_000, "who works on a copy goes on");
    working.keep(&seen("1"), time(), MOST).unwrap();
    assert!(store.cache(&key()).unwrap().seen().is_some());
    // What is larger than it may be is not kept, and nothing older in its place.
    let large = store.cache(&key()).unwrap();
    assert_eq!(large.keep(&seen("2"), time(), 99_999).unwrap(), 100_000);
    assert!(store.cache(&key()).unwrap().seen().is_none());
}

#[test]
fn a_result_says_whether_it_is_tainted_and_cannot_be_washed() {
    let home = Home::new();
    let store = home.store();
    let (clean, tainted) = (Digest::of("clean"), Digest::of("tainted"));
    store.put_result(&clean, b"{}").unwrap();
    store.put_tainted_result(&tainted, b"{}").unwrap();
    let of = |digest: &Digest| store.action_result(digest).unwrap().map(|result| (result.json, result.tainted));
    assert_eq!(of(&clean), Some((b"{}".to_vec(), false)));
    assert_eq!(of(&tainted), Some((b"{}".to_vec(), true)));
    assert_eq!(store.result(&tainted).unwrap(), Some(b"{}".to_vec()));
    // One in the place of the other is none.
    let file = |digest: &Digest| home.in_store("actions").join(digest.hex());
    std::fs::copy(file(&tainted), file(&clean)).unwrap();
    assert_eq!(of(&clean), None);
    store.put_result(&tainted, b"{}").unwrap();
    assert_eq!(of(&tainted), Some((b"{}".to_vec(), false)), "made anew without a cache, it is clean");
}

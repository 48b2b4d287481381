use std::{
    os::unix::fs::{MetadataExt as _, PermissionsExt, symlink},
    path::Path,
};

use bulla_model::{CleanPath, Digest, Epoch, tree::Node};
use bulla_store::{Error, SourceCache, SourceView, Store};

use crate::{Home, attacks::make_fifo, flip, path};

fn cache(store: &Store, home: &Home) -> SourceCache {
    SourceCache::open(store, &home.path("project"), "app", Epoch::new(1_000_000_000).unwrap()).unwrap()
}

fn write(home: &Home, name: &str, content: &str) {
    let file = home.path("project").join(name);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, content).unwrap();
}

fn paths(names: &[&str]) -> Vec<CleanPath> {
    let mut paths: Vec<CleanPath> = names.iter().map(|name| path(name)).collect();
    paths.sort();
    paths
}

fn view_of(cache: &SourceCache, source: &bulla_store::Source) -> SourceView {
    cache.view(source, &|_| true, &path("src/app")).unwrap()
}

/// Waits until what was written is no longer racy.
fn settle() {
    std::thread::sleep(std::time::Duration::from_millis(60));
}

#[test]
fn a_source_is_read_with_normal_modes_and_seen_as_a_directory() {
    let home = Home::new();
    let store = home.store();
    write(&home, "src/main.c", "int main;");
    write(&home, "same.c", "int main;");
    write(&home, "configure", "#!/bin/sh");
    std::fs::set_permissions(home.path("project/configure"), PermissionsExt::from_mode(0o710)).unwrap();
    std::fs::set_permissions(home.path("project/same.c"), PermissionsExt::from_mode(0o600)).unwrap();
    symlink("/etc/shadow", home.path("project/link")).unwrap();
    std::fs::create_dir(home.path("project/empty")).unwrap();
    let files = paths(&["src/main.c", "same.c", "configure", "link", "empty"]);
    let cache = cache(&store, &home);
    let source = cache.ingest(&home.path("project"), &files).unwrap();
    let manifest = source.manifest().unwrap();
    assert_eq!(manifest.get(&path("configure")), Some(&Node::file(0o755, Digest::of("#!/bin/sh"), 9)));
    assert_eq!(manifest.get(&path("same.c")), Some(&Node::file(0o644, Digest::of("int main;"), 9)));
    assert_eq!(manifest.get(&path("link")), Some(&Node::symlink("/etc/shadow")));
    assert_eq!(manifest.get(&path("empty")), Some(&Node::directory(0o755)));
    assert_eq!(manifest.digest(), source.digest());

    let view = view_of(&cache, &source);
    let at = |name: &str| std::fs::symlink_metadata(view.path().join("src/app").join(name)).unwrap();
    assert_ne!(at("same.c").ino(), at("src/main.c").ino(), "equal files at two paths are two inodes");
    assert_eq!((at("configure").mode() & 0o777, at("configure").mtime()), (0o755, 1_000_000_000));
    assert_eq!((at("src").mtime(), at("link").mtime()), (1_000_000_000, 1_000_000_000));
    assert_eq!(view.manifest().digest(), view.digest());
    assert!(matches!(view.manifest().get(&path("src/app/src/main.c")), Some(Node::File { .. })));

    let some = cache.view(&source, &|p| p.as_bytes().ends_with(b".c"), &path("src/app")).unwrap();
    assert!(some.path().join("src/app/src/main.c").exists());
    assert!(!some.path().join("src/app/configure").exists());
    assert_eq!(view_of(&cache, &source).path(), view.path());
    assert_eq!(store.warnings(), [""; 0], "views of the same files do not spoil each other");
}

#[test]
fn only_what_changed_is_read_again() {
    let home = Home::new();
    let store = home.store();
    write(&home, "a", "1");
    write(&home, "b", "1");
    settle();
    let files = paths(&["a", "b"]);
    let cache = cache(&store, &home);
    let first = cache.ingest(&home.path("project"), &files).unwrap();
    // A file that cannot be read shows whether it is read. Root reads it all the same, so its object is looked at instead.
    let objects = || {
        let mut list: Vec<_> = walk(&home.in_store("sources"))
            .into_iter()
            .filter(|p| p.parent().unwrap().ends_with("objects"))
            .map(|p| (std::fs::metadata(&p).unwrap().ino(), p))
            .collect();
        list.sort();
        list
    };
    let before = objects();
    let again = cache.ingest(&home.path("project"), &files).unwrap();
    assert_eq!((again.digest(), objects()), (first.digest(), before.clone()));
    write(&home, "b", "2");
    let changed = cache.ingest(&home.path("project"), &files).unwrap();
    assert_ne!(changed.digest(), first.digest());
    assert_eq!(changed.manifest().unwrap().get(&path("b")), Some(&Node::file(0o644, Digest::of("2"), 1)));
    assert!(before.iter().all(|object| objects().contains(object)), "the object of `a` was not written again");
    assert_eq!(objects().len(), 3);
    let fewer = cache.ingest(&home.path("project"), &paths(&["a"])).unwrap();
    assert_eq!(fewer.manifest().unwrap().len(), 1);
}

fn walk(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() { found.extend(walk(&entry.path())) } else { found.push(entry.path()) }
    }
    found
}

#[test]
fn an_edit_of_the_same_size_in_the_same_moment_is_seen() {
    let home = Home::new();
    let store = home.store();
    let cache = cache(&store, &home);
    for round in 0..200 {
        write(&home, "racy", &format!("{round:08}"));
        let source = cache.ingest(&home.path("project"), &paths(&["racy"])).unwrap();
        let expected = Node::file(0o644, Digest::of(format!("{round:08}")), 8);
        assert_eq!(source.manifest().unwrap().get(&path("racy")), Some(&expected), "round {round}");
    }
}

#[test]
fn an_edit_that_restores_the_times_is_seen() {
    let home = Home::new();
    let store = home.store();
    write(&home, "file", "1");
    settle();
    let cache = cache(&store, &home);
    let first = cache.ingest(&home.path("project"), &paths(&["file"])).unwrap();
    let times = std::fs::metadata(home.path("project/file")).unwrap().modified().unwrap();
    write(&home, "file", "2");
    std::fs::File::options().write(true).open(home.path("project/file")).unwrap().set_modified(times).unwrap();
    assert_ne!(cache.ingest(&home.path("project"), &paths(&["file"])).unwrap().digest(), first.digest());
}

#[test]
fn what_no_source_can_have_is_named() {
    let home = Home::new();
    let store = home.store();
    write(&home, "ok", "1");
    make_fifo(&home.path("project/fifo"));
    symlink("/etc", home.path("project/etc")).unwrap();
    let cache = cache(&store, &home);
    let ingest = |names: &[&str]| cache.ingest(&home.path("project"), &paths(names)).map(|s| s.digest());
    match ingest(&["ok", "fifo"]) {
        Err(Error::SourceSpecial { path: at, found, .. }) => assert_eq!((at, found), (path("fifo"), "FIFO")),
        other => panic!("{other:?}"),
    }
    assert!(matches!(ingest(&["etc/passwd"]), Err(Error::SourceShape { .. })), "through a link");
    assert!(matches!(ingest(&["ok/inner"]), Err(Error::SourceShape { .. })), "beneath a file");
    assert!(matches!(ingest(&["gone"]), Err(Error::SourceChanged { .. })));
    ingest(&["ok"]).unwrap();
}

#[test]
fn a_directory_that_became_a_link_is_seen_by_the_quick_look_too() {
    let home = Home::new();
    let store = home.store();
    write(&home, "dir/file", "1");
    settle();
    let (cache, files) = (cache(&store, &home), paths(&["dir/file"]));
    cache.ingest(&home.path("project"), &files).unwrap();
    std::fs::rename(home.path("project/dir"), home.path("elsewhere")).unwrap();
    symlink(home.path("elsewhere"), home.path("project/dir")).unwrap();
    assert!(matches!(cache.ingest(&home.path("project"), &files), Err(Error::SourceShape { .. })));
}

#[test]
fn a_view_or_object_edited_in_place_is_made_anew() {
    let home = Home::new();
    let store = home.store();
    write(&home, "file", "content of the file");
    write(&home, "other", "kept");
    settle();
    let (cache, files) = (cache(&store, &home), paths(&["file", "other"]));
    let source = cache.ingest(&home.path("project"), &files).unwrap();
    let read = |view: &SourceView| std::fs::read_to_string(view.path().join("src/app/file")).unwrap();
    let view = view_of(&cache, &source);
    flip(&view.path().join("src/app/file"));
    assert_eq!(read(&view_of(&cache, &source)), "content of the file");
    assert!(!store.warnings().is_empty());
    std::fs::write(view.path().join("src/app/evil"), "evil").unwrap();
    let view = view_of(&cache, &source);
    assert!(!view.path().join("src/app/evil").exists());
    assert!(!store.warnings().is_empty());
    assert_eq!(read(&view), "content of the file");
}

#[test]
fn forged_tables_are_not_believed() {
    let home = Home::new();
    let store = home.store();
    write(&home, "file", "1");
    settle();
    let (cache, files) = (cache(&store, &home), paths(&["file"]));
    let first = cache.ingest(&home.path("project"), &files).unwrap();
    let table = walk(&home.in_store("sources")).into_iter().find(|p| p.ends_with("table")).unwrap();
    flip(&table);
    assert_eq!(cache.ingest(&home.path("project"), &files).unwrap().digest(), first.digest());
    let manifest = walk(&home.in_store("sources"));
    let manifest = manifest.iter().find(|p| p.to_string_lossy().contains("manifest-")).unwrap();
    flip(manifest);
    let again = cache.ingest(&home.path("project"), &files).unwrap();
    assert!(matches!(again.manifest(), Err(Error::Damaged { .. })));
}

#[test]
fn large_files_are_copied_while_they_are_hashed() {
    let home = Home::new();
    let store = home.store();
    write(&home, "large", &"x".repeat(3 << 20));
    let (cache, files) = (cache(&store, &home), paths(&["large"]));
    let source = cache.ingest(&home.path("project"), &files).unwrap();
    let view = view_of(&cache, &source);
    assert_eq!(std::fs::metadata(view.path().join("src/app/large")).unwrap().len(), 3 << 20);
    assert_eq!(
        source.manifest().unwrap().get(&path("large")),
        Some(&Node::file(0o644, Digest::of("x".repeat(3 << 20)), 3 << 20))
    );
}

#[test]
fn a_file_that_goes_on_changing_is_an_error_or_read_again_and_in_the_end_right() {
    // One that is read whole, and one that is copied while it is hashed.
    for size in [200_000, 4 << 20] {
        let refused = refusals_of_a_busy_file(size);
        // A small one can be lucky each time: where processors are few, nobody may have written while it was read.
        assert!(refused > 0 || size < 1 << 20, "a file that is written all the time was taken every time");
    }
}

/// Reads a source again and again while its only file is written all the time, until it was refused often enough, or for a
/// minute; then once more when all is quiet. Gives how often it was refused.
fn refusals_of_a_busy_file(size: usize) -> u32 {
    use std::{
        os::unix::fs::FileExt as _,
        sync::atomic::{AtomicBool, Ordering},
        time::{Duration, Instant},
    };
    let home = Home::new();
    let store = home.store();
    write(&home, "busy", &"0".repeat(size));
    let (cache, files) = (cache(&store, &home), paths(&["busy"]));
    let stop = AtomicBool::new(false);
    let (mut refused, mut rounds) = (0, 0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let file = std::fs::File::options().write(true).open(home.path("project/busy")).unwrap();
            for digit in (b'0'..=b'9').cycle().take_while(|_| !stop.load(Ordering::Relaxed)) {
                file.write_all_at(&[digit; 1000], u64::from(digit - b'0') * 10_000).unwrap();
            }
        });
        while rounds < 20 || (refused == 0 && size > 1 << 20 && start.elapsed() < Duration::from_secs(60)) {
            rounds += 1;
            match cache.ingest(&home.path("project"), &files) {
                Ok(_) => {}
                Err(Error::SourceChanged { path: at, .. }) => {
                    assert_eq!(at, path("busy"));
                    refused += 1;
                }
                Err(other) => {
                    stop.store(true, Ordering::Relaxed);
                    panic!("{other}");
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let last = std::fs::read(home.path("project/busy")).unwrap();
    let source = cache.ingest(&home.path("project"), &files).unwrap();
    let expected = Node::file(0o644, Digest::of(last), size as u64);
    assert_eq!(source.manifest().unwrap().get(&path("busy")), Some(&expected));
    refused
}

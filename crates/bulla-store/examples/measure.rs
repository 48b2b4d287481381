//! Measures the store: `cargo run --release -p bulla-store --example measure -- FOLDER`. The folder is left as it was.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a program for people who measure"
)]

use std::{
    io::Write as _,
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use bulla_model::{
    CleanPath, Digest, Epoch,
    tree::{Mode, Owner},
};
use bulla_store::{Layer, Options, Part, SourceCache, Store};

fn main() {
    let folder = std::env::args_os().nth(1).expect("a folder to measure in");
    let home = tempfile::tempdir_in(folder).unwrap();
    let open = || {
        Store::open(Options::new(home.path().join("store"), home.path().join("state/key"), SystemTime::now)).unwrap()
    };
    report("open an empty store", median(5, || drop(open())));
    let store = open();
    blobs(&store);
    farms(&store, open);
    sources(&store, home.path());
}

fn median(times: usize, mut work: impl FnMut()) -> Duration {
    let mut taken: Vec<Duration> = (0..times)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .collect();
    taken.sort();
    taken[times / 2]
}

fn report(what: &str, took: Duration) {
    println!("{what:<60} {:>9.1} ms", took.as_secs_f64() * 1000.0);
}

fn blobs(store: &Store) {
    const SIZE: usize = 256 << 20;
    let chunk: Vec<u8> = (0..1 << 20).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut number = 0_u8;
    let took = median(3, || {
        number += 1;
        let mut writer = store.blob_writer().unwrap();
        for _ in 0..SIZE >> 20 {
            writer.write_all(&chunk).unwrap();
        }
        writer.write_all(&[number]).unwrap();
        writer.finish(None).unwrap();
    });
    report("write a blob of 256 MiB", took);
    println!("{:<60} {:>9.0} MB/s", "", SIZE as f64 / took.as_secs_f64() / 1e6);
    let digest = store.put_blob(&chunk).unwrap();
    report("open a blob that its receipt covers", median(101, || drop(store.open_blob(&digest).unwrap())));
}

fn farms(store: &Store, open: impl Fn() -> Store) {
    let mut trees = Vec::new();
    let start = Instant::now();
    for package in 0..200 {
        let mut builder = store.tree_builder().unwrap();
        for file in 0..100 {
            let path = format!("usr/share/package{package}/directory{}/file{file}", file % 10);
            let path: CleanPath = path.parse().unwrap();
            let content = format!("{package} {file}").repeat(300);
            let time = Epoch::new(1_700_000_000).unwrap();
            builder.file(&path, Mode::new(0o644), Owner::ROOT, time, &mut content.as_bytes()).unwrap();
        }
        trees.push(builder.finish(None).unwrap().digest());
    }
    report("write 200 trees with 20,000 files", start.elapsed());
    let mut skip = 0;
    let made = median(5, || {
        skip += 1;
        store.farm(&trees[skip..]).unwrap();
    });
    report("make a farm of 20,000 files", made);
    let farm = store.farm(&trees).unwrap();
    report("check that farm, as a new process does", median(5, || drop(open().farm(&trees).unwrap())));
    let manifest = store.merged(&trees.iter().copied().map(Part::from).collect::<Vec<_>>()).unwrap();
    let layer = Layer { path: farm.path(), manifest: &manifest };
    let mut copies = Vec::new();
    report("copy that farm", median(3, || copies.push(store.copy_root(&[layer]).unwrap())));
    report("remove such a copy", median(3, || drop(copies.pop())));
}

fn sources(store: &Store, home: &Path) {
    let project = home.join("project");
    let mut files: Vec<CleanPath> = Vec::new();
    for n in 0..100_000 {
        let path = format!("dir{}/sub{}/file{n}.c", n / 1000, n / 50 % 20);
        if n % 50 == 0 {
            std::fs::create_dir_all(project.join(&path).parent().unwrap()).unwrap();
        }
        std::fs::write(project.join(&path), format!("int f{n};\n").repeat(40)).unwrap();
        files.push(path.parse().unwrap());
    }
    files.sort();
    std::thread::sleep(Duration::from_millis(100));
    let cache = || SourceCache::open(store, &project, "app", Epoch::default()).unwrap();
    let ingest = || cache().ingest(&project, &files).unwrap();
    let mut digest = Digest::of("");
    report("read a source of 100,000 files the first time", median(1, || digest = ingest().digest()));
    report("look at it again, unchanged", median(7, || assert_eq!(ingest().digest(), digest)));
    git_status(&project);
    std::fs::write(project.join("dir7/sub7/file7350.c"), "changed").unwrap();
    report("look at it with one file changed", median(1, || drop(ingest())));
    let source = ingest();
    let prefix: CleanPath = "src/app".parse().unwrap();
    report("make the view of all", median(1, || drop(cache().view(&source, &|_| true, &prefix).unwrap())));
    report("check that view", median(3, || drop(cache().view(&source, &|_| true, &prefix).unwrap())));
}

/// The bar: what git takes to look at the same files.
fn git_status(project: &Path) {
    let git = |arguments: &[&str]| {
        let mut command = std::process::Command::new("git");
        command.arg("-C").arg(project).args(["-c", "user.name=x", "-c", "user.email=x@example"]).args(arguments);
        command.output().is_ok_and(|output| output.status.success())
    };
    if !git(&["init", "-q"]) || !git(&["add", "."]) || !git(&["commit", "-q", "-m", "x"]) {
        println!("git is not there to compare with");
        return;
    }
    std::thread::sleep(Duration::from_millis(1100));
    git(&["status", "--porcelain"]);
    report("git status of the same files", median(7, || assert!(git(&["status", "--porcelain"]))));
}

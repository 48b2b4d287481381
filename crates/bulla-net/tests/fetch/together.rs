//! Many downloads at once.

use std::sync::Mutex;

use bulla_model::{Digest, Fault as _, Kind};
use bulla_net::{Client, Download, MemorySink, NetConfig, Progress, Reach};
use bulla_testkit::{Fault, Mirror};

use crate::{quick, url};

fn many(count: usize) -> (tempfile::TempDir, Mirror, Vec<Download>) {
    let folder = tempfile::tempdir().expect("a folder");
    let mirror = Mirror::serve(folder.path());
    let downloads = (0..count).map(|at| {
        let bytes = vec![at as u8; 1000 * (at + 1)];
        std::fs::write(folder.path().join(at.to_string()), &bytes).expect("a file");
        Download {
            urls: vec![url(&format!("{}/{at}", mirror.url()))],
            reach: Reach::Configured,
            size: Some(bytes.len() as u64),
            digest: Digest::of(&bytes),
        }
    });
    let downloads = downloads.collect();
    (folder, mirror, downloads)
}

#[test]
fn all_come_over_few_connections() {
    let (_folder, mirror, downloads) = many(40);
    mirror.fault_everywhere(Fault::Slow { bytes_per_second: 1_000_000 });
    let client = Client::new(NetConfig { parallelism: 3, ..quick() }).expect("a client");
    let told = Mutex::new(Vec::new());
    let tell = |progress| told.lock().expect("no panic").push(progress);
    client.download_all(&downloads, &|_| Ok(MemorySink::default()), &tell).expect("all");
    let told = told.into_inner().expect("no panic");
    for at in 0..40 {
        assert!(told.contains(&Progress::Began { at }) && told.contains(&Progress::Done { at }), "{at}");
        assert!(told.contains(&Progress::Bytes { at, have: 1000 * (at as u64 + 1) }), "{at}");
    }
    assert!(mirror.most_connections() <= 3, "{}", mirror.most_connections());
    assert!(mirror.most_connections() >= 2, "they run side by side");
}

#[test]
fn a_failure_stops_what_has_not_begun() {
    let (_folder, mirror, downloads) = many(30);
    mirror.fault("/29", Fault::Bytes(vec![0xff; 30_000]));
    let client = Client::new(NetConfig { parallelism: 1, ..quick() }).expect("a client");
    let error = client.download_all(&downloads, &|_| Ok(MemorySink::default()), &|_| {}).expect_err("a liar");
    assert_eq!((error.errors.len(), error.left), (1, 29), "{error}");
    assert_eq!(error.kind(), Kind::Integrity);
    assert!(error.to_string().contains("/29"), "{error}");
    assert!(error.to_string().contains("29 more were not begun"), "{error}");
}

#[test]
fn nothing_to_download_is_no_error() {
    let client = Client::new(quick()).expect("a client");
    client.download_all(&[], &|_| Ok(MemorySink::default()), &|_| {}).expect("nothing");
}

use std::io::Write as _;

use bulla_model::Digest;
use bulla_store::Error;
use proptest::prelude::*;

use crate::{Home, content};

#[test]
fn a_blob_is_read_back_and_counted_once() {
    let home = Home::new();
    let store = home.store();
    let digest = store.put_blob(b"bytes").unwrap();
    assert_eq!(digest, Digest::of(b"bytes"));
    assert_eq!(store.put_blob(b"bytes").unwrap(), digest);
    assert_eq!(content(store.open_blob(&digest).unwrap().unwrap()), "bytes");
    assert_eq!(store.read_blob(&digest, 4).unwrap(), None, "longer than allowed");
    assert!(!store.has_blob(&Digest::of(b"other")).unwrap());
    assert_eq!(store.du().unwrap().blobs.count, 1);
    assert_eq!(store.warnings(), [""; 0]);
}

#[test]
fn a_blob_with_another_digest_than_expected_is_not_kept() {
    let home = Home::new();
    let store = home.store();
    let mut writer = store.blob_writer().unwrap();
    writer.write_all(b"evil").unwrap();
    assert!(matches!(writer.finish(Some(&Digest::of(b"good"))), Err(Error::Mismatch { .. })));
    assert!(!store.has_blob(&Digest::of(b"evil")).unwrap());
    assert!(!store.has_blob(&Digest::of(b"good")).unwrap());
}

#[test]
fn a_download_goes_on_where_it_was_left_off() {
    let home = Home::new();
    let digest = Digest::of(b"first second");
    let store = home.store();
    let mut partial = store.partial(&digest).unwrap();
    partial.write_all(b"first ").unwrap();
    drop((partial, store));
    let store = home.store();
    let mut partial = store.partial(&digest).unwrap();
    assert_eq!(partial.len(), 6);
    partial.write_all(b"second").unwrap();
    partial.finish().unwrap();
    assert_eq!(content(store.open_blob(&digest).unwrap().unwrap()), "first second");
    assert_eq!(store.du().unwrap().partial.count, 0);
}

#[test]
fn a_download_of_other_bytes_is_thrown_away() {
    let home = Home::new();
    let store = home.store();
    let digest = Digest::of(b"good");
    let mut partial = store.partial(&digest).unwrap();
    partial.write_all(b"evil").unwrap();
    assert!(matches!(partial.finish(), Err(Error::Mismatch { .. })));
    let mut partial = store.partial(&digest).unwrap();
    assert!(partial.is_empty());
    partial.write_all(b"junk").unwrap();
    partial.restart().unwrap();
    partial.write_all(b"good").unwrap();
    partial.finish().unwrap();
    assert!(store.has_blob(&digest).unwrap());
}

#[test]
fn two_downloads_of_one_blob_wait_for_each_other() {
    let home = Home::new();
    let digest = Digest::of([b'x'; 4000]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let store = home.store();
                let mut partial = store.partial(&digest).unwrap();
                if store.has_blob(&digest).unwrap() {
                    return;
                }
                for _ in partial.len()..4000 {
                    partial.write_all(b"x").unwrap();
                }
                partial.finish().unwrap();
            });
        }
    });
    assert!(home.store().has_blob(&digest).unwrap());
}

#[test]
fn an_exported_blob_is_a_file_of_its_own() {
    use std::os::unix::fs::MetadataExt as _;
    let home = Home::new();
    let store = home.store();
    let digest = store.put_blob(&[7; 100_000]).unwrap();
    let to = home.path("out");
    assert!(store.export_blob_to(&digest, &to).unwrap());
    let metadata = std::fs::metadata(&to).unwrap();
    assert_eq!((metadata.nlink(), metadata.mode() & 0o777, metadata.len()), (1, 0o644, 100_000));
    std::fs::write(&to, "changed").unwrap();
    assert!(store.has_blob(&digest).unwrap());
    assert_eq!(store.warnings(), [""; 0]);
    assert!(!store.export_blob_to(&Digest::of(b"none"), &to).unwrap());
}

#[test]
fn a_result_is_given_for_its_action_alone() {
    let home = Home::new();
    let store = home.store();
    let action = Digest::of(b"action");
    assert_eq!(store.result(&action).unwrap(), None);
    store.put_result(&action, br#"{"tree":"x"}"#).unwrap();
    assert_eq!(home.store().result(&action).unwrap().unwrap(), br#"{"tree":"x"}"#);
    assert_eq!(store.result(&Digest::of(b"another")).unwrap(), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn whatever_is_written_is_read_back(pieces: Vec<Vec<u8>>) {
        let home = Home::new();
        let store = home.store();
        let mut writer = store.blob_writer().unwrap();
        for piece in &pieces {
            writer.write_all(piece).unwrap();
        }
        let digest = writer.finish(None).unwrap();
        prop_assert_eq!(store.read_blob(&digest, 1 << 20).unwrap(), Some(pieces.concat()));
    }
}

/// Both put the same file in the same place: that of one takes the place of the other's while it is read again.
#[test]
fn one_blob_that_two_write_at_once_is_there_for_both() {
    let (home, together) = (Home::new(), std::sync::Barrier::new(3));
    let write = || {
        let (store, mut missed) = (home.store(), Vec::new());
        for round in 0..200_u8 {
            let mut writer = store.blob_writer().unwrap();
            writer.write_all(&vec![round; 300_000]).unwrap();
            together.wait();
            let blob = writer.finish(None).unwrap();
            if !store.has_blob(&blob).unwrap() {
                missed.push(round);
            }
            together.wait();
        }
        assert!(missed.is_empty(), "{missed:?}");
        assert_eq!(store.warnings(), [""; 0]);
    };
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(write);
        }
    });
}

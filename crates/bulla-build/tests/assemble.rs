//! Assembly: determinism, what is kept, and what is refused.

mod support;

use std::io::{self, Read};

use bulla_build::assemble::{AssembleError, Folder, assemble};
use bulla_model::{
    CleanPath, Digest, Fault, Kind,
    image::{Compression, ImagePlan},
    oci,
    tree::Node,
};
use support::{Memory, copy, epoch, package, path, plan, sample, store};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn the_digests_of_a_small_image_are_pinned_whatever_the_number_of_threads() {
    for (compression, expected) in [
        (Compression::Gzip, "sha256:f860e01989924373fcbc7b5a8b6c967368ae087464d819f2001f2355ef62bd40"),
        (Compression::Zstd, "sha256:43b7bb604ccc3b42f983be95dba5349520c9926b3aa09c705b22c9ac446926c0"),
    ] {
        for threads in [1, 8] {
            let folder = folder();
            let mut memory = Memory::default();
            let plan = ImagePlan { compression, ..sample(&mut memory) };
            let image = assemble(&store(folder.path()), &plan, &memory, threads).expect("assembled");
            assert_eq!(image.index.digest.to_string(), expected, "{threads} threads");
        }
    }
}

#[test]
fn diff_ids_are_the_same_whichever_way_layers_are_compressed() {
    let folder = folder();
    let store = store(folder.path());
    let ids = |compression| {
        let mut memory = Memory::default();
        let plan = ImagePlan { compression, ..sample(&mut memory) };
        let image = assemble(&store, &plan, &memory, 2).expect("assembled");
        image.layers.iter().map(|layer| (layer.diff_id, layer.plain_size)).collect::<Vec<_>>()
    };
    assert_eq!(ids(Compression::Gzip), ids(Compression::Zstd));
}

#[test]
fn every_layer_is_what_its_descriptor_and_diff_id_say() {
    let folder = folder();
    let (store, image) = support::assembled(folder.path());
    let config = store.read_blob(&image.config.digest, 1 << 20).expect("read").expect("there");
    let config: oci::ImageConfig = serde_json::from_slice(&config).expect("a configuration");
    assert_eq!(config.history.len(), image.layers.len());
    for (layer, diff_id) in image.layers.iter().zip(&config.rootfs.diff_ids) {
        let mut packed = Vec::new();
        store.open_blob(&layer.digest).expect("read").expect("there").read_to_end(&mut packed).expect("read");
        assert_eq!((Digest::of(&packed), packed.len() as u64), (layer.digest, layer.size));
        let mut plain = Vec::new();
        flate2::read::MultiGzDecoder::new(packed.as_slice()).read_to_end(&mut plain).expect("inflated");
        assert_eq!((Digest::of(&plain), plain.len() as u64), (diff_id.0, layer.plain_size));
        assert_eq!(*diff_id, layer.diff_id);
    }
    assert_eq!(config.history[0].created_by.as_deref(), Some("bulla: packages: base=1.0-1"));
}

#[test]
fn an_unchanged_image_opens_no_content() {
    let folder = folder();
    let store = store(folder.path());
    let mut memory = Memory::default();
    let plan = sample(&mut memory);
    let first = assemble(&store, &plan, &memory, 2).expect("assembled");
    let opened = memory.opened();
    assert!(first.layers.iter().all(|layer| !layer.cached));
    let second = assemble(&store, &plan, &memory, 2).expect("assembled");
    assert!(second.layers.iter().all(|layer| layer.cached));
    assert_eq!((second.index, memory.opened()), (first.index, opened));
}

#[test]
fn a_new_epoch_and_a_new_application_leave_the_layers_of_packages_alone() {
    let folder = folder();
    let store = store(folder.path());
    let mut memory = Memory::default();
    let before = sample(&mut memory);
    assemble(&store, &before, &memory, 2).expect("assembled");
    let mut after = ImagePlan { epoch: epoch(1_800_000_000), ..before };
    after.inputs.pop();
    after.inputs.push(copy("build.dist", &[("app/main", memory.file(0o755, "#!/bin/sh\nexit 1\n"))]));
    let image = assemble(&store, &after, &memory, 2).expect("assembled");
    let cached: Vec<bool> = image.layers.iter().map(|layer| layer.cached).collect();
    assert_eq!(cached, [true, true, true, false]);
}

#[test]
fn kept_parts_of_packages_are_joined_to_the_same_layer_that_fresh_ones_make() {
    let (warm, cold) = (folder(), folder());
    let mut memory = Memory::default();
    let files = |memory: &mut Memory, extra: bool| {
        let mut inputs = vec![
            package("one", 1, &[("usr/one", memory.file(0o644, support::noise(1, 1 << 20)))]),
            package("two", 1, &[("usr/two", memory.file(0o644, support::noise(2, 1 << 20)))]),
        ];
        if extra {
            inputs.push(package("three", 1, &[("usr/three", memory.file(0o644, "3"))]));
        }
        plan(inputs)
    };
    let store_warm = store(warm.path());
    assemble(&store_warm, &files(&mut memory, false), &memory, 2).expect("assembled");
    let opened = memory.opened();
    let joined = assemble(&store_warm, &files(&mut memory, true), &memory, 2).expect("assembled");
    assert_eq!(memory.opened(), opened + 1, "only the new package is read");
    let fresh = assemble(&store(cold.path()), &files(&mut memory, true), &memory, 2).expect("assembled");
    assert_eq!(joined.index, fresh.index);
}

#[test]
fn a_part_or_layer_that_was_damaged_in_the_store_is_made_again() {
    let folder = folder();
    let mut memory = Memory::default();
    let plan = sample(&mut memory);
    let first = assemble(&store(folder.path()), &plan, &memory, 2).expect("assembled");
    let opened = memory.opened();
    let mut damaged = 0;
    for entry in std::fs::read_dir(folder.path().join("store/blobs")).expect("read") {
        let path = entry.expect("an entry").path();
        let mut bytes = std::fs::read(&path).expect("read");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::remove_file(&path).expect("removed");
        std::fs::write(&path, bytes).expect("written");
        damaged += 1;
    }
    assert!(damaged > first.layers.len(), "parts, layers and documents");
    let second = assemble(&store(folder.path()), &plan, &memory, 2).expect("assembled");
    assert_eq!(second.index, first.index);
    assert!(second.layers.iter().all(|layer| !layer.cached));
    assert_eq!(memory.opened(), 2 * opened, "every content was read again");
}

#[test]
fn content_that_is_not_what_its_tree_says_is_an_integrity_error_that_names_the_file() {
    let folder = folder();
    let mut memory = Memory::default();
    let plan = plan(vec![copy("build.dist", &[("app/main", memory.file(0o755, "good"))])]);
    let evil = |_: usize, _: &CleanPath, _: &Node| -> io::Result<Box<dyn Read>> { Ok(Box::new(&b"evil"[..])) };
    let error = assemble(&store(folder.path()), &plan, &evil, 2).expect_err("refused");
    assert_eq!(error.kind(), Kind::Integrity);
    let AssembleError::Part { source, .. } = error else { panic!("{error}") };
    assert!(source.to_string().contains("app/main"), "{source}");
}

#[test]
fn an_image_of_nothing_is_refused() {
    let folder = folder();
    let error = assemble(&store(folder.path()), &plan(Vec::new()), &Memory::default(), 1).expect_err("refused");
    assert!(matches!(error, AssembleError::Empty));
}

#[test]
fn a_folder_gives_regular_files_and_never_follows_a_link() {
    let folder = folder();
    std::fs::create_dir(folder.path().join("in")).expect("made");
    std::fs::write(folder.path().join("in/file"), "x").expect("written");
    std::fs::write(folder.path().join("secret"), "x").expect("written");
    std::os::unix::fs::symlink("../secret", folder.path().join("in/out")).expect("linked");
    std::os::unix::fs::symlink("/etc", folder.path().join("in/etc")).expect("linked");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        folder.path().join("in/fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .expect("made");
    let inside = Folder::new(&folder.path().join("in")).expect("opened");
    assert!(inside.open(&path("file")).is_ok());
    for bad in ["out", "etc/passwd", "etc", "fifo", "missing"] {
        assert!(inside.open(&path(bad)).is_err(), "{bad}");
    }
}

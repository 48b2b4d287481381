//! Layouts and archives: whole or absent, the same each time, and nothing of the user's written over.

mod support;

use std::{collections::BTreeSet, fs, os::unix::fs::MetadataExt, path::Path};

use bulla_build::{
    assemble::{Assembled, assemble},
    export::{ArchiveKind, ExportError, archive, layout, load},
};
use bulla_model::{Digest, oci};
use bulla_store::Store;
use support::{Memory, copy};

fn built() -> (tempfile::TempDir, Store, Assembled) {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, image) = support::assembled(folder.path());
    (folder, store, image)
}

fn blobs(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder.join("blobs/sha256"))
        .expect("blobs")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .collect()
}

#[test]
fn a_layout_holds_what_its_index_leads_to_and_nothing_else() {
    let (folder, store, image) = built();
    let out = folder.path().join("out");
    layout(&store, &image.clone().into(), &out, &["shop:1".into(), "shop:latest".into()]).expect("written");
    let index: oci::Index = serde_json::from_slice(&fs::read(out.join("index.json")).expect("read")).expect("an index");
    let names: Vec<&str> = index.manifests.iter().map(|m| m.annotations[oci::REF_NAME].as_str()).collect();
    assert_eq!(names, ["shop:1", "shop:latest"]);
    assert!(index.manifests.iter().all(|manifest| manifest.digest == image.index.digest));
    assert_eq!(fs::read_to_string(out.join("oci-layout")).expect("read"), r#"{"imageLayoutVersion":"1.0.0"}"#);
    assert_eq!(fs::read_to_string(out.join(".gitignore")).expect("read"), "*\n");
    assert_eq!(blobs(&out).len(), image.layers.len() + 3);
    for name in blobs(&out) {
        let bytes = fs::read(out.join("blobs/sha256").join(&name)).expect("read");
        assert_eq!(Digest::of(&bytes).hex(), name);
        assert_eq!(fs::metadata(out.join("blobs/sha256").join(&name)).expect("there").nlink(), 1, "no hard link");
    }
}

#[test]
fn a_second_export_keeps_what_is_there_and_mends_what_was_edited() {
    let (folder, store, image) = built();
    let out = folder.path().join("out");
    layout(&store, &image.clone().into(), &out, &[]).expect("written");
    let at = |digest: Digest| out.join("blobs/sha256").join(digest.hex());
    let inode = |digest| fs::metadata(at(digest)).expect("there").ino();
    let (kept, edited) = (image.layers[0].digest, image.layers[1].digest);
    let before = inode(kept);
    let mut bytes = fs::read(at(edited)).expect("read");
    bytes[100] ^= 1;
    fs::remove_file(at(edited)).expect("removed");
    fs::write(at(edited), bytes).expect("edited");
    layout(&store, &image.clone().into(), &out, &[]).expect("written");
    assert_eq!(inode(kept), before);
    assert_eq!(Digest::of(fs::read(at(edited)).expect("read")), edited);
}

#[test]
fn a_later_image_takes_the_place_of_the_earlier_one() {
    let (folder, store, image) = built();
    let out = folder.path().join("out");
    layout(&store, &image.clone().into(), &out, &[]).expect("written");
    fs::write(out.join("blobs/sha256/.bulla-left"), "by a killed build").expect("written");
    let mut memory = Memory::default();
    let small = support::plan(vec![copy("x", &[("x", memory.file(0o644, "x"))])]);
    let small = assemble(&store, &small, &memory, 1).expect("assembled");
    layout(&store, &small.clone().into(), &out, &[]).expect("written");
    assert_eq!(blobs(&out).len(), 4);
    assert!(!blobs(&out).contains(&image.index.digest.hex()));
}

#[test]
fn a_layout_that_a_killed_build_left_is_completed() {
    let (folder, store, image) = built();
    let out = folder.path().join("out");
    fs::create_dir_all(out.join("blobs/sha256")).expect("made");
    fs::write(out.join(".gitignore"), "*\n").expect("written");
    fs::write(out.join("blobs/sha256").join(image.layers[0].digest.hex()), "half a layer").expect("written");
    layout(&store, &image.clone().into(), &out, &[]).expect("written");
    let bytes = fs::read(out.join("blobs/sha256").join(image.layers[0].digest.hex())).expect("read");
    assert_eq!(Digest::of(bytes), image.layers[0].digest);
}

#[test]
fn what_stands_in_the_way_as_a_link_is_replaced_and_not_written_through() {
    let (folder, store, image) = built();
    let (out, precious) = (folder.path().join("out"), folder.path().join("precious"));
    layout(&store, &image.clone().into(), &out, &[]).expect("written");
    fs::write(&precious, "mine").expect("written");
    let blob = out.join("blobs/sha256").join(image.layers[0].digest.hex());
    for path in [out.join("index.json"), out.join("oci-layout"), blob.clone()] {
        fs::remove_file(&path).expect("removed");
        std::os::unix::fs::symlink(&precious, &path).expect("linked");
    }
    layout(&store, &image.clone().into(), &out, &[]).expect("written");
    assert_eq!(fs::read_to_string(&precious).expect("read"), "mine");
    assert!(fs::symlink_metadata(&blob).expect("there").is_file());
    assert!(fs::symlink_metadata(out.join("index.json")).expect("there").is_file());
}

#[test]
fn a_folder_with_other_things_in_it_is_refused() {
    let (folder, store, image) = built();
    let out = folder.path().join("precious");
    fs::create_dir(&out).expect("made");
    fs::write(out.join("thesis.tex"), "x").expect("written");
    assert!(matches!(layout(&store, &image.clone().into(), &out, &[]), Err(ExportError::Foreign { .. })));
    assert_eq!(fs::read_dir(&out).expect("read").count(), 1, "nothing was added");
}

#[test]
fn names_that_could_be_options_or_paths_are_refused() {
    let (folder, store, image) = built();
    for name in ["", "-x", "../x", "a b"] {
        let names = [name.to_owned()];
        assert!(matches!(
            layout(&store, &image.clone().into(), &folder.path().join("o"), &names),
            Err(ExportError::Name { .. })
        ));
        let file = folder.path().join("a.tar");
        assert!(matches!(
            archive(&store, &image.clone().into(), ArchiveKind::Docker, &file, &names),
            Err(ExportError::Name { .. })
        ));
        assert!(!file.exists());
    }
}

#[test]
fn archives_are_the_same_each_time_and_leave_no_draft() {
    let (folder, store, image) = built();
    for (kind, expected) in [
        (ArchiveKind::Oci, "sha256:9066266fed9730a2d8509ccf1f4cf2237526f1c36dbd0c76bed7d51841ecb140"),
        (ArchiveKind::Docker, "sha256:46180279cf839eb2f88499d5b0d92fbf2900406db3513ba594ac6bc7e7e9cd81"),
    ] {
        let place = tempfile::tempdir_in(folder.path()).expect("a folder");
        let file = place.path().join("image.tar");
        fs::write(&file, "an older file").expect("written");
        archive(&store, &image.clone().into(), kind, &file, &["shop:1".into()]).expect("written");
        assert_eq!(Digest::of(fs::read(&file).expect("read")).to_string(), expected, "{kind:?}");
        assert_eq!(fs::read_dir(place.path()).expect("read").count(), 1);
    }
}

#[test]
fn a_blob_that_is_gone_from_the_store_leaves_the_old_file_and_index_alone() {
    let (folder, store, image) = built();
    let out = folder.path().join("out");
    let file = folder.path().join("image.tar");
    fs::write(&file, "an older file").expect("written");
    let mut broken = image.clone();
    broken.layers[0].digest = Digest::of("gone");
    assert!(matches!(
        archive(&store, &broken.clone().into(), ArchiveKind::Oci, &file, &[]),
        Err(ExportError::Missing { .. })
    ));
    assert_eq!(fs::read_to_string(&file).expect("read"), "an older file");
    layout(&store, &image.clone().into(), &out, &[]).expect("written");
    let before = fs::read(out.join("index.json")).expect("read");
    assert!(matches!(layout(&store, &broken.clone().into(), &out, &[]), Err(ExportError::Missing { .. })));
    assert_eq!(fs::read(out.join("index.json")).expect("read"), before);
}

#[test]
fn a_missing_engine_and_a_failing_one_are_told_apart() {
    let (_folder, store, image) = built();
    assert!(matches!(load(&store, &image.clone().into(), &[], &["bulla-no-such-engine"]), Err(ExportError::NoEngine)));
    let failed = load(&store, &image.clone().into(), &[], &["bulla-no-such-engine", "false"]);
    assert!(matches!(failed, Err(ExportError::Engine { command, .. }) if command == "false load"));
}

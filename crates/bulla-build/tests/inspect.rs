//! Reading images back, ours and hostile ones.

mod support;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use bulla_build::{
    assemble::assemble,
    export::{ArchiveKind, archive, layout},
    inspect::{Image, InspectError, Limits, What, inspect},
};
use bulla_model::{
    DiffId, Digest, Fault, Kind,
    image::{Compression, ImagePlan},
    oci::{self, Descriptor, ImageConfig, Index, Manifest},
};
use support::{Memory, path, sample, store};

/// A layout that a test writes by hand.
struct Forge {
    folder: tempfile::TempDir,
}

impl Forge {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(folder.path().join("blobs/sha256")).expect("made");
        fs::write(folder.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("written");
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn at(&self, blob: &Descriptor) -> PathBuf {
        self.path().join("blobs/sha256").join(blob.digest.hex())
    }

    fn blob(&self, media_type: &str, bytes: &[u8]) -> Descriptor {
        let blob = Descriptor::new(media_type, Digest::of(bytes), bytes.len() as u64);
        fs::write(self.at(&blob), bytes).expect("written");
        blob
    }

    fn index(&self, manifests: Vec<Descriptor>) {
        fs::write(self.path().join("index.json"), oci::encode(&Index::new(manifests))).expect("written");
    }

    /// Writes an image with one layer of this tar, and gives the layer.
    fn image(&self, tar: &[u8]) -> Descriptor {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(tar).expect("compressed");
        let layer = self.blob(oci::LAYER_GZIP, &gzip.finish().expect("compressed"));
        self.image_of(&layer, Digest::of(tar));
        layer
    }

    fn image_of(&self, layer: &Descriptor, diff_id: Digest) {
        let mut config =
            ImageConfig::new(bulla_model::Platform::LinuxAmd64, support::epoch(0), oci::Runtime::default());
        config.rootfs.diff_ids.push(DiffId(diff_id));
        let config = self.blob(oci::CONFIG, &oci::encode(&config));
        let manifest = self.blob(oci::MANIFEST, &oci::encode(&Manifest::new(config, vec![layer.clone()])));
        self.index(vec![manifest]);
    }

    fn inspect(&self) -> Result<Vec<Image>, InspectError> {
        inspect(self.path(), true, &Limits::default())
    }

    fn refused(&self) -> InspectError {
        let error = self.inspect().expect_err("refused");
        assert_eq!(error.kind(), Kind::Integrity, "{error}");
        error
    }
}

/// A tar with one entry of any name.
fn tar_of(name: &[u8], kind: tar::EntryType, size: u64, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512) + 1024, 0);
    bytes
}

#[test]
fn our_image_is_read_back_from_a_layout_and_from_an_archive() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut memory = Memory::default();
        let plan = ImagePlan { compression, ..sample(&mut memory) };
        let store = store(folder.path());
        let made = assemble(&store, &plan, &memory, 2).expect("assembled");
        let (out, file) = (folder.path().join("out"), folder.path().join("image.tar"));
        let names = ["shop:1".to_owned(), "shop:2".to_owned()];
        layout(&store, &made.clone().into(), &out, &names).expect("written");
        archive(&store, &made.clone().into(), ArchiveKind::Oci, &file, &names).expect("written");
        let found = inspect(&out, true, &Limits::default()).expect("read");
        assert_eq!(inspect(&file, true, &Limits::default()).expect("read"), found);
        let [image] = found.as_slice() else { panic!("one image, not {}", found.len()) };
        assert_eq!(image.names, names);
        assert_eq!(image.manifest.digest, made.manifest.digest);
        for (layer, info) in image.layers.iter().zip(&made.layers) {
            assert_eq!((layer.descriptor.digest, layer.diff_id), (info.digest, info.diff_id));
            assert_eq!((layer.title.as_deref(), &layer.origins), (Some(info.title.as_str()), &info.origins));
            let listing = layer.listing.as_ref().expect("listed");
            assert_eq!(listing.plain_size, info.plain_size);
        }
        let entries = |n: usize| &image.layers[n].listing.as_ref().expect("listed").entries;
        let entry = |n: usize, name: &str| entries(n).iter().find(|e| e.path == path(name)).expect("there");
        assert_eq!(entry(0, "tmp").mode, 0o1777);
        assert_eq!(entry(0, "bin").what, What::Symlink(Box::from(&b"usr/bin"[..])));
        assert_eq!(entry(0, "etc/hosts-too").what, What::Hardlink(Box::from(&b"etc/hosts"[..])));
        assert_eq!(entry(2, "usr/lib/large.so").what, What::File(9 << 20));
        let brief = inspect(&out, false, &Limits::default()).expect("read");
        assert!(brief[0].layers.iter().all(|layer| layer.listing.is_none()));
    }
}

#[test]
fn what_is_no_layout_is_said_to_be_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let read = |path: &Path| inspect(path, true, &Limits::default()).expect_err("refused");
    assert!(matches!(read(folder.path()), InspectError::NotALayout { missing: "oci-layout", .. }));
    assert!(matches!(read(&folder.path().join("missing")), InspectError::Io { .. }));
    assert!(matches!(read(Path::new("/dev/zero")), InspectError::NotALayout { .. }));
    let file = folder.path().join("text");
    fs::write(&file, "x".repeat(2000)).expect("written");
    assert!(matches!(read(&file), InspectError::Io { .. }));
}

#[test]
fn a_missing_a_cut_and_a_changed_blob_are_told_apart() {
    let forge = Forge::new();
    let layer = forge.image(&tar_of(b"file", tar::EntryType::Regular, 4, b"text"));
    forge.inspect().expect("sound");
    let bytes = fs::read(forge.at(&layer)).expect("read");
    let mut changed = bytes.clone();
    // The operating system in gzip's header: whatever inflates it does not notice.
    changed[9] ^= 1;
    fs::write(forge.at(&layer), &changed).expect("written");
    assert!(matches!(forge.refused(), InspectError::Digest { what: "the blob", .. }));
    fs::write(forge.at(&layer), &bytes[..bytes.len() - 1]).expect("written");
    assert!(matches!(forge.refused(), InspectError::Size { .. }));
    fs::remove_file(forge.at(&layer)).expect("removed");
    assert!(matches!(forge.refused(), InspectError::Missing { .. }));
}

#[test]
fn a_layer_with_another_diff_id_than_the_configuration_says_is_refused() {
    let forge = Forge::new();
    let layer = forge.image(&tar_of(b"file", tar::EntryType::Regular, 4, b"text"));
    forge.image_of(&layer, Digest::of("another"));
    assert!(matches!(forge.refused(), InspectError::Digest { what: "the uncompressed layer", .. }));
}

#[test]
fn a_blob_that_is_a_link_out_of_the_layout_is_not_followed() {
    let forge = Forge::new();
    let layer = forge.image(&tar_of(b"file", tar::EntryType::Regular, 4, b"text"));
    let aside = forge.path().join("aside");
    fs::rename(forge.at(&layer), &aside).expect("moved");
    std::os::unix::fs::symlink(&aside, forge.at(&layer)).expect("linked");
    let error = forge.inspect().expect_err("refused");
    assert!(matches!(error, InspectError::Io { .. }), "{error}");
}

#[test]
fn names_that_leave_the_root_are_refused() {
    for name in [&b"../evil"[..], b"/etc/passwd", b"a/../../b", b"a/.."] {
        let forge = Forge::new();
        forge.image(&tar_of(name, tar::EntryType::Regular, 0, b""));
        assert!(matches!(forge.refused(), InspectError::Name { .. }));
    }
}

#[test]
fn bombs_of_bytes_entries_names_and_headers_meet_a_limit() {
    let limits = Limits { plain: 1 << 20, entries: 10, names: 100, ..Limits::default() };
    let refused = |forge: &Forge| inspect(forge.path(), true, &limits).expect_err("refused");
    let what = |error: InspectError| match error {
        InspectError::Limit { what } => what,
        other => panic!("{other:?}"),
    };
    let forge = Forge::new();
    let zeros = vec![0; 5 << 20];
    forge.image(&tar_of(b"zeros", tar::EntryType::Regular, zeros.len() as u64, &zeros));
    assert_eq!(what(refused(&forge)), "uncompressed bytes");
    let one = tar_of(b"e", tar::EntryType::Directory, 0, b"");
    forge.image(&[one[..512].repeat(11), vec![0; 1024]].concat());
    assert_eq!(what(refused(&forge)), "entries");
    let long = tar_of(&[b'n'; 90], tar::EntryType::Regular, 0, b"");
    forge.image(&[long[..512].repeat(2), vec![0; 1024]].concat());
    assert_eq!(what(refused(&forge)), "bytes in names");
    // A name of two megabytes is not read into memory.
    let forge = Forge::new();
    forge.image(&tar_of(b"long", tar::EntryType::GNULongName, 2 << 20, &vec![b'x'; 2 << 20]));
    assert!(matches!(forge.refused(), InspectError::Layer { .. }));
    // Nor is a size believed that the bytes do not bear out.
    let forge = Forge::new();
    forge.image(&tar_of(b"short", tar::EntryType::Regular, 7 << 30, b"x"));
    assert!(matches!(forge.refused(), InspectError::Layer { .. }));
}

#[test]
fn huge_documents_and_webs_of_indexes_meet_a_limit() {
    let forge = Forge::new();
    let huge = forge.blob(oci::MANIFEST, &vec![b' '; 5 << 20]);
    forge.index(vec![huge]);
    assert!(matches!(forge.refused(), InspectError::Limit { .. }));
    fs::write(forge.path().join("index.json"), vec![b' '; 5 << 20]).expect("written");
    assert!(matches!(forge.refused(), InspectError::Limit { .. }));

    let mut inner = forge.blob(oci::INDEX, &oci::encode(&Index::new(Vec::new())));
    for _ in 0..6 {
        inner = forge.blob(oci::INDEX, &oci::encode(&Index::new(vec![inner; 3])));
    }
    forge.index(vec![inner]);
    assert!(matches!(forge.refused(), InspectError::Limit { .. }));

    let many = (0..100).map(|n| {
        forge.blob(oci::INDEX, &oci::encode(&Index { artifact_type: Some(n.to_string()), ..Index::new(Vec::new()) }))
    });
    forge.index(many.collect());
    assert!(matches!(forge.refused(), InspectError::Limit { .. }));

    fs::write(forge.path().join("index.json"), "[".repeat(1 << 20)).expect("written");
    assert!(matches!(forge.refused(), InspectError::Document { .. }));
}

#[test]
fn a_digest_that_is_a_path_is_no_digest() {
    let forge = Forge::new();
    let text = r#"{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:../../../etc/passwd","size":1}]}"#;
    fs::write(forge.path().join("index.json"), text).expect("written");
    assert!(matches!(forge.refused(), InspectError::Document { .. }));
}

#[test]
fn an_archive_with_an_entry_twice_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let one = tar_of(b"index.json", tar::EntryType::Regular, 2, b"{}");
    let file = folder.path().join("twice.tar");
    fs::write(&file, [&one[..1024], &one].concat()).expect("written");
    let error = inspect(&file, true, &Limits::default()).expect_err("refused");
    assert!(matches!(error, InspectError::Twice { .. }), "{error}");
}

#[test]
fn whiteouts_and_special_files_are_named_as_such() {
    let forge = Forge::new();
    let entries: Vec<u8> = [
        (&b"etc/.wh.gone"[..], tar::EntryType::Regular),
        (b"var/.wh..wh..opq", tar::EntryType::Regular),
        (b"dev/null", tar::EntryType::Char),
    ]
    .iter()
    .flat_map(|(name, kind)| tar_of(name, *kind, 0, b"")[..512].to_vec())
    .chain([0; 1024])
    .collect();
    forge.image(&entries);
    let images = forge.inspect().expect("read");
    let listing = images[0].layers[0].listing.as_ref().expect("listed");
    let found: Vec<(String, &What)> = listing.entries.iter().map(|e| (e.path.to_string(), &e.what)).collect();
    let expected = [("etc/gone", &What::Whiteout), ("var", &What::Opaque), ("dev/null", &What::Special)]
        .map(|(p, w)| (p.to_owned(), w));
    assert_eq!(found, expected);
}

#[test]
fn an_archive_with_any_byte_changed_gives_the_same_layers_or_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut memory = Memory::default();
    let input = support::package(
        "p",
        1,
        &[("etc/p", memory.file(0o644, "p")), ("etc/l", bulla_model::tree::Node::symlink("p"))],
    );
    let store = store(folder.path());
    let made = assemble(&store, &support::plan(vec![input]), &memory, 1).expect("assembled");
    let file = folder.path().join("image.tar");
    archive(&store, &made.clone().into(), ArchiveKind::Oci, &file, &[]).expect("written");
    let sound = inspect(&file, true, &Limits::default()).expect("read");
    let bytes = fs::read(&file).expect("read");
    let mut refused = 0;
    for at in (0..bytes.len()).step_by(7) {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        fs::write(&file, changed).expect("written");
        match inspect(&file, true, &Limits::default()) {
            Ok(images) => assert!(images.iter().all(|image| image.layers == sound[0].layers), "byte {at}"),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 100, "{refused}");
}

//! Sources that do not lie in the project: archives, source packages and their patches, lists of them, signatures.

use std::{
    collections::BTreeMap,
    io::{self, Cursor, Read},
};

use bulla_ecosystems::{
    archive::{self, Limits, Rules, Sink, SinkError},
    debian::{
        packages::Sources,
        source::{Package, unpack},
    },
    signature,
};
use bulla_model::{CleanPath, Digest, Epoch, spec::Packing};

/// Small, so that what passes them shows as too much memory.
const LIMITS: Limits = Limits { bytes: 8 << 20, entries: 10_000, ratio: 100, unsuspicious: 1 << 20 };
/// A public key of minisign, whose signature is a seed.
const KEY: &[u8] = b"RWS51v3ACzv27nhlcoMy4DpjtkQrQu+Y7rHUvv0enFAyuD1w9k5fVRpQ";

/// Counts what it is given, and sees to it that nothing lies beneath what is no folder.
#[derive(Default)]
pub(crate) struct Count {
    bytes: u64,
    found: BTreeMap<CleanPath, bool>,
}

impl Count {
    fn entry(&mut self, path: &CleanPath, is_folder: bool) -> Result<(), SinkError> {
        assert!(path.ancestors().all(|above| self.found.get(&above) != Some(&false)), "{path}");
        let before = self.found.insert(path.clone(), is_folder);
        assert!(before.is_none_or(|before| before && is_folder), "{path} comes twice");
        Ok(())
    }
}

impl Sink for Count {
    fn directory(&mut self, path: &CleanPath) -> Result<(), SinkError> {
        self.entry(path, true)
    }

    fn file(&mut self, path: &CleanPath, _: bool, content: &mut dyn Read) -> Result<(), SinkError> {
        self.bytes += io::copy(content, &mut io::sink())?;
        self.entry(path, false)
    }

    fn symlink(&mut self, path: &CleanPath, target: &[u8]) -> Result<(), SinkError> {
        assert!(!target.is_empty());
        self.entry(path, false)
    }

    fn hardlink(&mut self, path: &CleanPath, target: &CleanPath) -> Result<(), SinkError> {
        assert_eq!(self.found.get(target), Some(&false), "{target}");
        self.entry(path, false)
    }
}

/// An archive; the first byte says which.
pub(crate) fn source(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let packing = Packing::ALL[usize::from(*first) % Packing::ALL.len()];
    for strip in [0, 1] {
        let mut count = Count::default();
        let rules = Rules { strip, limits: LIMITS, ..Rules::default() };
        if let Err(error) = archive::unpack(&mut Cursor::new(rest), packing, &rules, &mut count) {
            crate::shown(&error);
        }
        assert!(count.bytes <= LIMITS.bytes, "the limits hold");
    }
}

/// A patch, in a source package that is else good.
pub(crate) fn patch(bytes: &[u8]) {
    let upstream = crate::package::archive(&[("a/one", b"1\n2\n3\n4\n5\n"), ("a/two", b"")]);
    let debian = crate::package::archive(&[("debian/patches/series", b"p\n"), ("debian/patches/p", bytes)]);
    let files = [("a_1.orig.tar", upstream), ("a_1-1.debian.tar", debian)];
    let sums: String =
        files.iter().map(|(name, bytes)| format!(" {} {} {name}\n", Digest::of(bytes).hex(), bytes.len())).collect();
    let text = format!("Format: 3.0 (quilt)\nSource: a\nVersion: 1-1\nChecksums-Sha256:\n{sums}");
    read(files.into_iter().chain([("a_1-1.dsc", text.into_bytes())]));
}

/// The description of a source package.
pub(crate) fn description(bytes: &[u8]) {
    read([("a_1.tar", crate::package::archive(&[("a/one", b"1\n")])), ("a_1.dsc", bytes.to_vec())].into_iter());
}

fn read<'a>(files: impl Iterator<Item = (&'a str, Vec<u8>)>) {
    let files = files.map(|(name, bytes)| (name.to_owned(), (Digest::of(&bytes), Cursor::new(bytes)))).collect();
    let rules = Rules { limits: LIMITS, ..Rules::default() };
    if let Err(error) = unpack(Package { name: "a=1-1", files }, &rules, &mut Count::default()) {
        crate::shown(&error);
    }
}

/// A list of source packages.
pub(crate) fn sources(bytes: &[u8]) {
    let Ok(list) = Sources::parse(bytes.to_vec()) else { return };
    for package in list.named("a") {
        match package {
            Ok(package) => assert!(package.files.keys().all(|name| !name.contains('/'))),
            Err(error) => crate::shown(&error),
        }
    }
}

/// A detached signature, by keys of both kinds; and a file of keys.
pub(crate) fn signature(bytes: &[u8]) {
    let openpgp = include_bytes!("../seeds/keyring/armored");
    for (keys, signature) in [(KEY, bytes), (openpgp.as_slice(), bytes), (bytes, bytes)] {
        let mut open = || -> io::Result<Box<dyn Read>> { Ok(Box::new(&b"hello from a signed file\n"[..])) };
        if let Err(error) = signature::verify(keys, signature, &mut open, Epoch::default()) {
            crate::shown(&error);
        }
    }
}

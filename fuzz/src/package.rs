//! Packages: the outer archive, and the archive of their files.

use std::io::{self, Read};

use bulla_ecosystems::debian::deb::{Limits, Package, Sink, SinkError, unpack};
use bulla_model::{
    CleanPath, Epoch,
    tree::{Mode, Owner},
};

/// Small, so that what passes them shows as too much memory.
const LIMITS: Limits = Limits { bytes: 8 << 20, entries: 10_000 };

/// Counts what it is given.
#[derive(Default)]
struct Count {
    bytes: u64,
    entries: u64,
}

impl Count {
    fn entry(&mut self) -> Result<(), SinkError> {
        self.entries += 1;
        Ok(())
    }
}

impl Sink for Count {
    fn directory(&mut self, _: &CleanPath, _: Mode, _: Owner) -> Result<(), SinkError> {
        self.entry()
    }

    fn file(&mut self, _: &CleanPath, _: Mode, _: Owner, _: Epoch, content: &mut dyn Read) -> Result<(), SinkError> {
        self.bytes += io::copy(content, &mut io::sink())?;
        self.entry()
    }

    fn symlink(&mut self, _: &CleanPath, _: Owner, _: &[u8]) -> Result<(), SinkError> {
        self.entry()
    }

    fn hardlink(&mut self, _: &CleanPath, _: &CleanPath) -> Result<(), SinkError> {
        self.entry()
    }
}

/// Unpacks a package within the limits; gives what it says of itself.
pub(crate) fn read(bytes: &[u8]) -> Option<Package> {
    let mut count = Count::default();
    let result = unpack(bytes, LIMITS, 1, &mut count);
    assert!(count.bytes <= LIMITS.bytes && count.entries <= LIMITS.entries, "the limits hold");
    match result {
        Ok(package) => Some(package),
        Err(error) => {
            crate::shown(&error);
            None
        }
    }
}

/// A package, as it is downloaded.
pub(crate) fn deb(bytes: &[u8]) {
    let Some(package) = read(bytes) else { return };
    let _ = package.conffiles();
    let json = serde_json::to_vec(&package).expect("a package can be written");
    let again: Package = serde_json::from_slice(&json).expect("what was written can be read");
    assert_eq!(again, package);
}

/// The archive of files, in a package that is else good.
pub(crate) fn data(bytes: &[u8]) {
    let _ = read(&around(b"Package: x\nVersion: 1\nArchitecture: amd64\n", bytes));
}

/// Makes a package whose members are not compressed.
pub(crate) fn around(control: &[u8], data: &[u8]) -> Vec<u8> {
    let control = archive(&[("control", control)]);
    let mut whole = b"!<arch>\n".to_vec();
    for (name, bytes) in [("debian-binary", &b"2.0\n"[..]), ("control.tar", &control), ("data.tar", data)] {
        whole.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, "100644", bytes.len()).bytes());
        whole.extend(bytes);
        whole.extend(&b"\n"[..bytes.len() % 2]);
    }
    whole
}

/// Makes a tar archive (POSIX ustar) of regular files.
pub(crate) fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, bytes) in files {
        let mut header = [0_u8; 512];
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, name);
        put(100, "0000644\x000000000\x000000000\0");
        put(124, &format!("{:011o}", bytes.len()));
        put(136, "00000000000\0        0");
        put(257, "ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive.extend(header);
        archive.extend(*bytes);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}

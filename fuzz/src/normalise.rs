//! Archives of outputs that are written anew.

use std::{
    fs::File,
    io::{Read as _, Seek as _, Write as _},
};

use bulla_build::normalise;
use bulla_model::spec::ArchiveFormat;

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).expect("written");
    file.rewind().expect("rewound");
    file
}

fn anew(format: ArchiveFormat, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut to = file(b"");
    normalise::write(format, file(bytes), &to).ok()?;
    let mut made = Vec::new();
    to.rewind().expect("rewound");
    to.read_to_end(&mut made).expect("read");
    Some(made)
}

/// What is written anew is an archive that stays as it is, and not much longer than it was.
pub(crate) fn normalise(bytes: &[u8]) {
    for format in [ArchiveFormat::Zip, ArchiveFormat::Gzip, ArchiveFormat::Ar] {
        let Some(made) = anew(format, bytes) else { continue };
        assert!(made.len() <= 3 * bytes.len() + 1024, "{format}: {} of {} bytes", made.len(), bytes.len());
        assert_eq!(anew(format, &made).as_deref(), Some(&made[..]), "{format}");
    }
}

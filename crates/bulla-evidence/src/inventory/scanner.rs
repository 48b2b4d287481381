//! Takes the entries of one layer: hashes every file, and reads those that tell of packages.

use std::io::{self, Read};

use bulla_model::{CleanPath, Hasher};
use sha1::{Digest as _, Sha1};

use super::{
    Entry, Finding, LayerContents, MAX_PACKAGES, Says, Unread, What, apk, composer, dotnet, dpkg, gem, go, java, npm,
    python, release, rpm, rust,
};

/// How much of a layer is looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of a database or manifest.
    pub document: u64,
    /// The most bytes of all databases and manifests of a layer together: what they say is held in memory.
    pub documents: u64,
    /// The most bytes of a program, archive or database of rpm; it is held in memory.
    pub program: u64,
    /// The most packages of a layer.
    pub packages: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { document: 64 << 20, documents: 512 << 20, program: 512 << 20, packages: MAX_PACKAGES }
    }
}

/// What reads a kind of files.
struct Reader {
    by: &'static str,
    is: fn(&[u8]) -> bool,
    read: fn(&CleanPath, &[u8]) -> Result<Vec<Says>, Unread>,
}

/// All readers of files that are known by their paths; the first counts.
const READERS: [Reader; 11] = [
    Reader { by: "release", is: release::is, read: release::read },
    Reader { by: "dpkg", is: dpkg::is_status, read: dpkg::status },
    Reader { by: "dpkg", is: dpkg::is_list, read: dpkg::list },
    Reader { by: "copyright", is: dpkg::is_copyright, read: dpkg::copyright },
    Reader { by: "apk", is: apk::is, read: apk::read },
    Reader { by: "python", is: python::is_metadata, read: python::metadata },
    Reader { by: "python", is: python::is_record, read: python::record },
    Reader { by: "npm", is: npm::is, read: npm::read },
    Reader { by: "gem", is: gem::is, read: gem::read },
    Reader { by: "composer", is: composer::is, read: composer::read },
    Reader { by: "dotnet", is: dotnet::is, read: dotnet::read },
];

/// Those of files that are as large as programs.
const LARGE: [Reader; 2] =
    [Reader { by: "rpm", is: rpm::is, read: rpm::read }, Reader { by: "java", is: java::is, read: java::read }];

/// Takes the entries of a layer.
#[derive(Debug, Default)]
pub struct Scanner {
    limits: Limits,
    contents: LayerContents,
    packages: usize,
    /// The bytes of databases and manifests that were read.
    documents: u64,
}

impl Scanner {
    /// Begins with nothing.
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Takes an entry that has no bytes.
    pub fn entry(&mut self, path: CleanPath, what: What) {
        self.contents.entries.push(Entry { path, what });
    }

    /// Takes a regular file.
    ///
    /// # Errors
    /// When its bytes cannot be read.
    pub fn file(&mut self, path: CleanPath, size: u64, bytes: &mut dyn Read) -> io::Result<()> {
        let mut reading = Hashing { inner: bytes, sha256: Hasher::new(), sha1: Sha1::new() };
        let name = path.as_bytes();
        if let Some(reader) = READERS.iter().find(|reader| (reader.is)(name)) {
            let most = self.limits.document.min(self.limits.documents - self.documents);
            match reading.whole(size, most)? {
                Some(bytes) => {
                    self.documents += bytes.len() as u64;
                    self.take(&path, reader.by, (reader.read)(&path, &bytes));
                }
                None => self.take(&path, reader.by, Err(too_large(size))),
            }
        } else if let Some(reader) = LARGE.iter().find(|reader| (reader.is)(name)) {
            match reading.whole(size, self.limits.program)? {
                Some(bytes) => self.take(&path, reader.by, (reader.read)(&path, &bytes)),
                None => self.take(&path, reader.by, Err(too_large(size))),
            }
        } else {
            self.program(&path, size, &mut reading)?;
        }
        io::copy(&mut reading, &mut io::sink())?;
        let (sha256, sha1) = (reading.sha256.finish(), hex(&reading.sha1.finalize()));
        self.entry(path, What::File { size, sha256, sha1 });
        Ok(())
    }

    /// Gives what was found.
    pub fn finish(self) -> LayerContents {
        self.contents
    }

    /// Looks into a file that may be a program.
    fn program(&mut self, path: &CleanPath, size: u64, reading: &mut Hashing<'_>) -> io::Result<()> {
        let mut head = [0; 4];
        let have = fill(reading, &mut head)?;
        let head = head.get(..have).unwrap_or_default();
        if !is_program(head) {
            return Ok(());
        }
        let Some(bytes) = reading.rest(head, size, self.limits.program)? else {
            self.take(path, "program", Err(too_large(size)));
            return Ok(());
        };
        for (by, read) in [("go", go::read as fn(&CleanPath, &[u8]) -> _), ("rust", rust::read)] {
            self.take(path, by, read(path, &bytes));
        }
        Ok(())
    }

    fn take(&mut self, path: &CleanPath, by: &str, says: Result<Vec<Says>, Unread>) {
        let says = says.unwrap_or_else(|why| vec![Says::Unread(why.to_string())]);
        for mut one in says {
            if let Says::Packages(packages) = &mut one {
                let left = self.limits.packages - self.packages;
                if packages.len() > left {
                    packages.truncate(left);
                    let why =
                        format!("there are more than {} packages, and the others are left out", self.limits.packages);
                    self.push(path, by, Says::Unread(why));
                }
                self.packages += packages.len();
                if packages.is_empty() {
                    continue;
                }
            }
            self.push(path, by, one);
        }
    }

    fn push(&mut self, path: &CleanPath, by: &str, says: Says) {
        self.contents.findings.push(Finding { path: path.clone(), by: by.to_owned(), says });
    }
}

fn too_large(size: u64) -> Unread {
    Unread::new(format!("it has {size} bytes, which is more than is looked into"))
}

/// Says whether a file begins as a program does: ELF, PE, Mach-O.
fn is_program(head: &[u8]) -> bool {
    head == b"\x7fELF" || head.starts_with(b"MZ") || head == b"\xcf\xfa\xed\xfe"
}

fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut have = 0;
    while have < buffer.len() {
        match reader.read(buffer.get_mut(have..).unwrap_or_default())? {
            0 => break,
            count => have += count,
        }
    }
    Ok(have)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Hashes what is read through it.
struct Hashing<'a> {
    inner: &'a mut dyn Read,
    sha256: Hasher,
    sha1: Sha1,
}

impl Hashing<'_> {
    /// Reads a file of at most `most` bytes.
    fn whole(&mut self, size: u64, most: u64) -> io::Result<Option<Vec<u8>>> {
        self.rest(&[], size, most)
    }

    /// Reads what comes after the first bytes of a file, and gives all of it, in memory that is as large as the file.
    fn rest(&mut self, head: &[u8], size: u64, most: u64) -> io::Result<Option<Vec<u8>>> {
        if size > most {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let room = usize::try_from(size).ok().and_then(|size| size.checked_add(1));
        room.map(|room| bytes.try_reserve_exact(room)).transpose().ok().flatten().ok_or(io::ErrorKind::OutOfMemory)?;
        bytes.extend_from_slice(head);
        self.take(most).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }
}

impl Read for Hashing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let bytes = buffer.get(..count).unwrap_or_default();
        self.sha256.update(bytes);
        self.sha1.update(bytes);
        Ok(count)
    }
}

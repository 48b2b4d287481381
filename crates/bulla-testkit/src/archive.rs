//! Writers of `tar` and `ar` archives that write anything they are told, however wrong.

/// One entry of a tar archive; every field is written as it is given.
#[derive(Debug, Clone)]
pub struct TarEntry {
    /// The name; longer than 100 bytes becomes a GNU long name.
    pub name: Vec<u8>,
    /// The type (POSIX.1-2017, `pax`, "ustar Interchange Format"): `b'0'` file, `b'1'` hard link, `b'2'` symbolic link, `b'3'`
    /// character device, `b'5'` directory, `b'6'` FIFO.
    pub kind: u8,
    /// The permission bits.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The time of change, in seconds since 1970.
    pub mtime: u64,
    /// The target of a link.
    pub link: Vec<u8>,
    /// The bytes of a file.
    pub data: Vec<u8>,
    /// A size that the header claims instead of that of the data.
    pub claimed_size: Option<u64>,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// The `pax` records that stand in a header before it, by keyword and value.
    pub records: Vec<(Vec<u8>, Vec<u8>)>,
}

impl TarEntry {
    fn new(name: impl AsRef<[u8]>, kind: u8, mode: u32) -> Self {
        Self {
            name: name.as_ref().to_vec(),
            kind,
            mode,
            uid: 0,
            gid: 0,
            mtime: 1_700_000_000,
            link: Vec::new(),
            data: Vec::new(),
            claimed_size: None,
            device: (0, 0),
            records: Vec::new(),
        }
    }

    /// Makes a regular file.
    pub fn file(name: impl AsRef<[u8]>, mode: u32, data: impl AsRef<[u8]>) -> Self {
        Self { data: data.as_ref().to_vec(), ..Self::new(name, b'0', mode) }
    }

    /// Makes a directory.
    pub fn directory(name: impl AsRef<[u8]>, mode: u32) -> Self {
        Self::new(name, b'5', mode)
    }

    /// Makes a symbolic link.
    pub fn symlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self { link: target.as_ref().to_vec(), ..Self::new(name, b'2', 0o777) }
    }

    /// Makes a hard link.
    pub fn hardlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self { link: target.as_ref().to_vec(), ..Self::new(name, b'1', 0o644) }
    }

    /// Makes a device (`b'3'` character, `b'4'` block) or a FIFO (`b'6'`).
    pub fn special(name: impl AsRef<[u8]>, kind: u8, device: (u32, u32)) -> Self {
        Self { device, ..Self::new(name, kind, 0o666) }
    }

    /// Gives the entry another owner.
    pub fn owned_by(mut self, uid: u32, gid: u32) -> Self {
        (self.uid, self.gid) = (uid, gid);
        self
    }

    /// Gives the entry a `pax` record; one for an extended attribute has the keyword `SCHILY.xattr.` and its name.
    pub fn record(mut self, keyword: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.records.push((keyword.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    fn write(&self, to: &mut Vec<u8>) {
        if !self.records.is_empty() {
            let data: Vec<u8> = self.records.iter().flat_map(|(keyword, value)| record(keyword, value)).collect();
            let entry = TarEntry { data, ..TarEntry::new("PaxHeader", b'x', 0o644) };
            to.extend(entry.header(entry.data.len() as u64));
            to.extend(&entry.data);
            pad(to);
        }
        if self.name.len() > 100 {
            long(to, b'L', &self.name);
        }
        if self.link.len() > 100 {
            long(to, b'K', &self.link);
        }
        to.extend(self.header(self.claimed_size.unwrap_or(self.data.len() as u64)));
        to.extend(&self.data);
        pad(to);
    }

    fn header(&self, size: u64) -> [u8; 512] {
        let mut block = [0; 512];
        let mut put = |at: usize, bytes: &[u8], most: usize| {
            let count = bytes.len().min(most);
            block[at..at + count].copy_from_slice(&bytes[..count]);
        };
        put(0, &self.name, 100);
        put(100, format!("{:07o}", self.mode).as_bytes(), 7);
        put(108, format!("{:07o}", self.uid).as_bytes(), 7);
        put(116, format!("{:07o}", self.gid).as_bytes(), 7);
        if size < 1 << 33 {
            put(124, format!("{size:011o}").as_bytes(), 11);
        } else {
            put(124, &[0x80, 0, 0, 0], 4);
            put(128, &size.to_be_bytes(), 8);
        }
        put(136, format!("{:011o}", self.mtime).as_bytes(), 11);
        put(148, b"        ", 8);
        put(156, &[self.kind], 1);
        put(157, &self.link, 100);
        put(257, b"ustar  \0", 8);
        put(329, format!("{:07o}", self.device.0).as_bytes(), 7);
        put(337, format!("{:07o}", self.device.1).as_bytes(), 7);
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }
}

/// Writes a record, whose length counts its own digits (POSIX.1-2017, `pax`, "pax Extended Header").
fn record(keyword: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = keyword.len() + value.len() + 3;
    let length = (rest..).find(|length| *length == rest + length.to_string().len()).expect("some length fits");
    [format!("{length} ").as_bytes(), keyword, b"=", value, b"\n"].concat()
}

fn long(to: &mut Vec<u8>, kind: u8, text: &[u8]) {
    let data = [text, b"\0"].concat();
    let entry = TarEntry { data, ..TarEntry::new("././@LongLink", kind, 0o644) };
    to.extend(entry.header(entry.data.len() as u64));
    to.extend(&entry.data);
    pad(to);
}

fn pad(to: &mut Vec<u8>) {
    to.resize(to.len().next_multiple_of(512), 0);
}

/// Writes a tar archive with its two blocks of zeros.
pub fn tar(entries: &[TarEntry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    entries.iter().for_each(|entry| entry.write(&mut bytes));
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// Writes an `ar` archive, as `deb(5)` has it.
pub fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, data) in members {
        bytes.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, data.len()).as_bytes());
        bytes.extend(*data);
        if data.len() % 2 == 1 {
            bytes.push(b'\n');
        }
    }
    bytes
}

/// Compresses with gzip.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    std::io::Write::write_all(&mut encoder, bytes).expect("writing to memory");
    encoder.finish().expect("writing to memory")
}

/// Compresses with xz.
pub fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    std::io::Write::write_all(&mut encoder, bytes).expect("writing to memory");
    encoder.finish().expect("writing to memory")
}

/// Compresses with zstd.
pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("writing to memory")
}

/// RFC 4648, section 4.
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| chunk.get(at).copied().map_or(0, u32::from);
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let letter = ALPHABET[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

//! The search through archives and packings, one in the other: gzip, zlib, xz, zstd, tar and zip. What something is, its first bytes
//! say, not its name. What cannot be unpacked (it is damaged, or encrypted) is searched as the bytes that it is.

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use zip::ZipArchive;

use super::search::{Matcher, Search};

/// How many packings and archives may lie in one another.
const DEEPEST: u32 = 8;
/// The most bytes of a zip archive that lies in something else, for it is read from its end.
const MAX_INNER_ZIP: u64 = 64 << 20;
/// The most entries of a zip archive.
const MAX_ENTRIES: usize = 1 << 20;
/// The most memory that xz may take, in bytes, and the largest window of zstd, as a power of two.
const MAX_MEMORY: u64 = 128 << 20;
const MAX_WINDOW: u32 = 27;
/// The size of a block of tar (POSIX ustar), and of its head.
const BLOCK: usize = 512;

/// Something with something in it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gzip,
    Zlib,
    Xz,
    Zstd,
    Tar,
    Zip,
}

fn kind(head: &[u8]) -> Option<Kind> {
    match head {
        [0x1f, 0x8b, 8, ..] => Some(Kind::Gzip),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Kind::Xz),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Kind::Zstd),
        [b'P', b'K', 3, 4, ..] => Some(Kind::Zip),
        _ if head.get(257..262) == Some(b"ustar") => Some(Kind::Tar),
        // RFC 1950, section 2.2: deflate, a window that there can be, and a check sum over both bytes.
        [cmf, flg, ..] if cmf & 15 == 8 && cmf >> 4 <= 7 && (u16::from(*cmf) << 8 | u16::from(*flg)) % 31 == 0 => {
            Some(Kind::Zlib)
        }
        _ => None,
    }
}

/// Reads on while a matcher looks at what comes by.
struct Tap<'r, 'p> {
    from: &'r mut dyn Read,
    matcher: Matcher<'p>,
}

impl Read for Tap<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.matcher.feed(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

impl Search<'_> {
    /// Searches a file, from its beginning.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn file<F: Read + Seek>(&self, file: &mut F, place: &str) -> io::Result<()> {
        let kind = self.stream_at(file, place, 0, true)?;
        if kind == Some(Kind::Zip) || (kind.is_none() && ends_like_zip(file)) {
            file.rewind()?;
            self.zip(file, place, 1);
        }
        Ok(())
    }

    /// Searches a stream.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn stream(&self, from: &mut dyn Read, place: &str) -> io::Result<()> {
        self.stream_at(from, place, 0, false).map(drop)
    }

    /// Searches a stream and, but for zip where that can be read otherwise, what is in it; gives what it is.
    fn stream_at(&self, from: &mut dyn Read, place: &str, depth: u32, seekable: bool) -> io::Result<Option<Kind>> {
        let mut tap = Tap { from, matcher: self.matcher() };
        let mut head = Vec::with_capacity(BLOCK);
        tap.by_ref().take(BLOCK as u64).read_to_end(&mut head)?;
        let found = kind(&head);
        if let Some(kind) = found {
            let mut whole = Cursor::new(head).chain(&mut tap);
            // What goes wrong in there goes wrong for whoever wants to unpack it too; the bytes themselves are read to their end.
            let _ = match depth < DEEPEST {
                true if kind == Kind::Zip && seekable => Ok(()),
                true => self.inside(kind, &mut whole, place, depth + 1),
                false => {
                    self.pass_over(place);
                    Ok(())
                }
            };
        }
        let mut rest = vec![0; 1 << 16];
        while !tap.matcher.is_done() {
            match tap.read(&mut rest) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.note(&tap.matcher, place);
        Ok(found)
    }

    fn inside(&self, kind: Kind, packed: &mut dyn Read, place: &str, depth: u32) -> io::Result<()> {
        let unpack = |unpacked: &mut dyn Read, name: &str| {
            let place = format!("{place} > {name}");
            self.stream_at(&mut self.metered(unpacked, &place), &place, depth, false).map(drop)
        };
        match kind {
            Kind::Gzip => unpack(&mut flate2::read::MultiGzDecoder::new(packed), "gzip"),
            Kind::Zlib => unpack(&mut flate2::read::ZlibDecoder::new(packed), "zlib"),
            Kind::Xz => {
                let stream = liblzma::stream::Stream::new_stream_decoder(MAX_MEMORY, liblzma::stream::CONCATENATED)?;
                unpack(&mut liblzma::read::XzDecoder::new_stream(packed, stream), "xz")
            }
            Kind::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::new(packed)?;
                decoder.window_log_max(MAX_WINDOW)?;
                unpack(&mut decoder, "zstd")
            }
            Kind::Tar => self.tar(packed, place, depth),
            Kind::Zip => {
                let mut bytes = Vec::new();
                packed.take(MAX_INNER_ZIP + 1).read_to_end(&mut bytes)?;
                match bytes.len() as u64 > MAX_INNER_ZIP {
                    true => self.pass_over(place),
                    false => self.zip(&mut Cursor::new(bytes), place, depth),
                }
                Ok(())
            }
        }
    }

    /// Searches the entries of a tar archive. Long names and other heads are entries too, so that what is in them is found.
    fn tar(&self, mut archive: &mut dyn Read, place: &str, depth: u32) -> io::Result<()> {
        loop {
            let mut head = [0; BLOCK];
            archive.read_exact(&mut head)?;
            if head.get(257..262) != Some(b"ustar") {
                return Ok(());
            }
            let name = head.split(|byte| *byte == 0).next().unwrap_or_default();
            let name = self.printable(name.get(..name.len().min(100)).unwrap_or_default());
            let size = size_in(&head);
            let mut content = (&mut archive).take(size);
            self.stream_at(&mut content, &format!("{place} > {name}"), depth, false)?;
            let padding = size.next_multiple_of(BLOCK as u64) - size;
            let rest = content.limit();
            io::copy(&mut (&mut archive).take(rest + padding), &mut io::sink())?;
        }
    }

    /// Searches the entries of a zip archive.
    fn zip<F: Read + Seek>(&self, archive: &mut F, place: &str, depth: u32) {
        let Ok(mut zip) = ZipArchive::new(io::BufReader::new(archive)) else { return };
        for at in 0..zip.len().min(MAX_ENTRIES) {
            let Ok(entry) = zip.by_index(at) else {
                self.pass_over(&format!("{place} > entry {}", at + 1));
                continue;
            };
            let place = format!("{place} > {}", self.printable(entry.name_raw()));
            let _ = self.stream_at(&mut self.metered(entry, &place), &place, depth, false);
        }
    }
}

/// Says whether a file ends as a zip archive without a comment does, whatever stands in front of it: an archive may unpack itself.
fn ends_like_zip<F: Read + Seek>(file: &mut F) -> bool {
    const END: i64 = 22;
    let mut end = [0; 4];
    file.seek(SeekFrom::End(-END)).is_ok() && file.read_exact(&mut end).is_ok() && end == *b"PK\x05\x06"
}

/// Reads the size of an entry: octal digits, or a number to the base 256 as GNU tar has it.
fn size_in(head: &[u8; BLOCK]) -> u64 {
    let field = &head[124..136];
    if field[0] & 0x80 != 0 {
        let number: [u8; 8] = field[4..].try_into().expect("twelve bytes less four");
        return u64::from_be_bytes(number) & (u64::MAX >> 1);
    }
    let digits = field.iter().filter(|byte| (b'0'..=b'7').contains(*byte));
    digits.fold(0, |size, digit| size << 3 | u64::from(digit - b'0'))
}

//! Decompresses the members of a package.
//!
//! What comes out, and whether anything does, never depends on the number of threads: large members of `xz` are made of
//! blocks, which the reference implementation decodes side by side when it may, and hands on in their order.

use std::io::{self, BufRead, BufReader, Read};

use liblzma::{
    bufread::XzDecoder,
    stream::{CONCATENATED, Error as XzError, MtStreamBuilder, Stream},
};

use super::DebError;

/// The most memory that decompressing a member may take, in bytes: `xz -9` needs 65 MiB, and each further block that is
/// decoded at the same time about 40 MiB as packages are compressed. The dictionary may have no more than this whether or
/// not blocks are decoded side by side.
const MAX_MEMORY: u64 = 256 << 20;
/// The most threads for one member.
const MAX_THREADS: usize = 8;
/// What is given to a decoder at once.
const CHUNK: usize = 64 << 10;

/// Decompresses; what unfolds to more than `most` bytes is an error, for what a reader skips takes time too.
pub(super) fn decoder<'a>(
    suffix: &str,
    reader: &'a mut (impl Read + 'a),
    most: u64,
    threads: usize,
) -> Result<Box<dyn Read + 'a>, DebError> {
    let fail = |source| DebError::Read { member: "archive", source };
    let decoder: Box<dyn Read + 'a> = match suffix {
        "" => Box::new(reader),
        ".gz" => Box::new(flate2::read::MultiGzDecoder::new(reader)),
        ".xz" => {
            let reader = BufReader::with_capacity(CHUNK, reader);
            match threads.min(MAX_THREADS) {
                0 | 1 => Box::new(streaming(reader).map_err(fail)?),
                threads => Box::new(Blocks::new(reader, threads).map_err(fail)?),
            }
        }
        ".zst" => {
            let mut decoder = zstd::stream::read::Decoder::new(reader).map_err(fail)?;
            decoder.window_log_max(27).map_err(fail)?;
            Box::new(decoder)
        }
        other => {
            let shown: String = other.chars().take(20).collect();
            return Err(DebError::NotADeb { reason: format!("`{shown}` is not a compression that packages have") });
        }
    };
    Ok(Box::new(Capped { decoder, left: most }))
}

/// A reader that fails when more comes out of it than may.
struct Capped<'a> {
    decoder: Box<dyn Read + 'a>,
    left: u64,
}

impl Read for Capped<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.decoder.read(buffer)?;
        self.left = (self.left.checked_sub(count as u64))
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it unfolds to more than a package may hold"))?;
        Ok(count)
    }
}

/// Decodes streams of `xz`, one after the other, on the reader's own thread.
fn streaming<R: BufRead>(reader: R) -> io::Result<XzDecoder<R>> {
    Ok(XzDecoder::new_stream(reader, Stream::new_stream_decoder(MAX_MEMORY, CONCATENATED)?))
}

/// Decodes the blocks of a stream of `xz` side by side. Blocks whose heads do not tell their sizes, and what would need too
/// much memory, are decoded one after the other. The interface to the reference implementation has no way to say that more
/// streams may follow the first, so what follows is decoded as one that was not divided.
enum Blocks<R: BufRead> {
    First(XzDecoder<R>),
    Later(XzDecoder<R>),
    Between,
    Ended,
}

impl<R: BufRead> Blocks<R> {
    fn new(reader: R, threads: usize) -> io::Result<Self> {
        let mut builder = MtStreamBuilder::new();
        builder.threads(u32::try_from(threads).unwrap_or(1)).memlimit_threading(MAX_MEMORY).memlimit_stop(MAX_MEMORY);
        Ok(Self::First(XzDecoder::new_stream(reader, builder.decoder()?)))
    }

    /// Goes on to what follows the first stream. False at the end.
    fn go_on(&mut self) -> io::Result<bool> {
        let Self::First(decoder) = std::mem::replace(self, Self::Between) else { return Ok(false) };
        let mut reader = decoder.into_inner();
        let zeros = skip_zeros(&mut reader)?;
        let is_end = reader.fill_buf()?.is_empty();
        // The .xz file format 1.1.0, 2.2: padding between streams comes in fours.
        if zeros % 4 != 0 {
            return Err(XzError::Data.into());
        }
        *self = if is_end { Self::Ended } else { Self::Later(streaming(reader)?) };
        Ok(!is_end)
    }
}

/// Skips bytes of zero, and says how many there were.
fn skip_zeros(reader: &mut impl BufRead) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let buffer = reader.fill_buf()?;
        let zeros = buffer.iter().take_while(|byte| **byte == 0).count();
        let is_over = zeros < buffer.len() || buffer.is_empty();
        reader.consume(zeros);
        skipped += zeros as u64;
        if is_over {
            return Ok(skipped);
        }
    }
}

impl<R: BufRead> Read for Blocks<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if let Self::First(decoder) = self {
            let count = decoder.read(buffer)?;
            if count > 0 || !self.go_on()? {
                return Ok(count);
            }
        }
        match self {
            // A decoder that knows of the streams before calls what is none broken, and not another format.
            Self::Later(decoder) => decoder.read(buffer).map_err(|error| match error.get_ref() {
                Some(inner) if inner.downcast_ref::<XzError>() == Some(&XzError::Format) => XzError::Data.into(),
                _ => error,
            }),
            _ => Ok(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Compresses into blocks of so many bytes, whose heads tell their sizes or, compressed by one thread, do not.
    fn blocks(bytes: &[u8], size: u64, tell: bool) -> Vec<u8> {
        let stream = if tell {
            MtStreamBuilder::new().threads(2).block_size(size).preset(0).encoder().expect("an encoder")
        } else {
            Stream::new_easy_encoder(0, liblzma::stream::Check::Crc64).expect("an encoder")
        };
        let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
        io::Write::write_all(&mut encoder, bytes).expect("writing to memory");
        encoder.finish().expect("writing to memory")
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 7_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // Half of it compresses.
            if state & 1 << 40 == 0 { 0 } else { (state >> 56) as u8 }
        };
        (0..length).map(|_| next()).collect()
    }

    /// Gives what comes out, or how it fails.
    fn decoded(bytes: &[u8], threads: usize, most: u64) -> Result<Vec<u8>, (io::ErrorKind, String)> {
        let mut reader = bytes;
        let mut decoder = decoder(".xz", &mut reader, most, threads).expect("a decoder");
        let mut out = Vec::new();
        match decoder.read_to_end(&mut out) {
            Ok(_) => Ok(out),
            Err(error) => Err((error.kind(), error.to_string())),
        }
    }

    /// Decodes with one thread and with several, which must come to the same.
    fn both(bytes: &[u8], most: u64) -> Result<Vec<u8>, (io::ErrorKind, String)> {
        let one = decoded(bytes, 1, most);
        for threads in [2, 5, 100] {
            assert_eq!(decoded(bytes, threads, most), one, "{threads} threads");
        }
        one
    }

    /// Puts another size of the dictionary into the first block's head, whose sum is mended.
    fn with_dictionary(mut xz: Vec<u8>, size: u8) -> Vec<u8> {
        let length = (usize::from(xz[12]) + 1) * 4;
        let at = (12..12 + length).find(|at| xz[*at..].starts_with(&[0x21, 1])).expect("LZMA2");
        xz[at + 2] = size;
        let mut sum = flate2::Crc::new();
        sum.update(&xz[12..12 + length - 4]);
        xz[12 + length - 4..12 + length].copy_from_slice(&sum.sum().to_le_bytes());
        xz
    }

    #[test]
    fn blocks_side_by_side_give_the_same_bytes() {
        let plain = noise(300_000);
        for xz in [blocks(&plain, 20_000, true), blocks(&plain, 1 << 30, true), blocks(&plain, 0, false)] {
            assert_eq!(both(&xz, u64::MAX).as_ref(), Ok(&plain));
        }
        assert_eq!(both(&blocks(&[], 1, true), u64::MAX), Ok(Vec::new()));
    }

    #[test]
    fn streams_may_follow_each_other_with_padding_in_fours() {
        let (a, b) = (noise(50_000), b"the end".to_vec());
        let (first, last) = (blocks(&a, 10_000, true), blocks(&b, 10_000, false));
        let all = [a.clone(), b].concat();
        for zeros in [0, 4, 8, 100_000] {
            let padding = vec![0; zeros];
            assert_eq!(both(&[&first, &padding[..], &last].concat(), u64::MAX).as_ref(), Ok(&all));
            assert_eq!(both(&[&first, &padding[..]].concat(), u64::MAX).as_ref(), Ok(&a));
        }
        for tail in [&b"\0"[..], b"\0\0\0\0\0", b"odd", b"\0\0\0\0odd!", &last[..last.len() - 1], &last[..5]] {
            assert!(both(&[&first, tail].concat(), u64::MAX).is_err(), "{tail:?}");
            assert!(both(&[&first, &last[..], tail].concat(), u64::MAX).is_err(), "{tail:?}");
        }
    }

    #[test]
    fn the_dictionary_has_the_same_limit_however_many_threads_there_are() {
        let xz = blocks(b"small", 1 << 20, true);
        // 96, 128, 192 and 256 MiB, and the most that there is (The .xz file format 1.1.0, 5.3.1).
        for (size, is_good) in [(29, true), (30, true), (31, true), (32, false), (40, false)] {
            assert_eq!(both(&with_dictionary(xz.clone(), size), u64::MAX).is_ok(), is_good, "{size}");
        }
    }

    #[test]
    fn the_limit_holds_however_many_threads_there_are() {
        let xz = blocks(&vec![0; 4 << 20], 1 << 20, true);
        assert!(both(&xz, 4 << 20).is_ok());
        let error = both(&xz, (4 << 20) - 1).expect_err("it is larger");
        assert!(error.1.contains("more than a package may hold"), "{error:?}");
    }

    #[test]
    fn members_of_gzip_that_follow_each_other_are_one() {
        let bytes = [bulla_testkit::archive::gzip(b"one "), bulla_testkit::archive::gzip(b"two")].concat();
        let mut text = String::new();
        decoder(".gz", &mut bytes.as_slice(), 7, 1).expect("a decoder").read_to_string(&mut text).expect("read");
        assert_eq!(text, "one two");
        let mut reader = bytes.as_slice();
        let read = decoder(".gz", &mut reader, 6, 1).expect("a decoder").read_to_string(&mut text);
        assert!(read.is_err(), "the limit is that of all together");
    }

    proptest! {
        #[test]
        fn broken_streams_fail_the_same_way(
            places in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            cut in any::<prop::sample::Index>(),
            is_cut: bool,
        ) {
            let mut xz = blocks(&noise(60_000), 8_000, true);
            for (place, value) in places {
                let at = place.index(xz.len());
                xz[at] = value;
            }
            if is_cut {
                xz.truncate(cut.index(xz.len()));
            }
            let _ = both(&xz, 1 << 20);
        }

        #[test]
        fn any_bytes_fail_the_same_way(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = both(&bytes, 1 << 20);
            let _ = both(&[b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x46".as_slice(), &bytes].concat(), 1 << 20);
        }
    }
}

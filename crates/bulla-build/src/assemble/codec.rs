//! Compresses chunks of a layer. Each chunk becomes a gzip member or zstd frame of its own, so that threads can work on
//! several and finished parts can be concatenated (RFC 1952, section 2.2; RFC 8878, section 3.1).

use std::io;

use bulla_model::image::Compression;

/// The length of a chunk of uncompressed tar, in bytes. It is part of [`super::FORMAT`].
pub(super) const CHUNK: usize = 4 << 20;

/// The most bytes that a compressed chunk may have: incompressible bytes grow a little.
pub(super) const ROOM: usize = CHUNK + CHUNK / 16;

/// gzip's level, of libdeflate's 0 to 12. It is part of [`super::FORMAT`].
const GZIP_LEVEL: i32 = 6;
/// zstd's level. It is part of [`super::FORMAT`].
const ZSTD_LEVEL: i32 = 3;

/// Compresses and inflates chunks; one for each thread, since it keeps its tables.
pub(super) enum Codec {
    Gzip(Box<libdeflater::Compressor>, Box<libdeflater::Decompressor>),
    Zstd(Box<zstd::bulk::Compressor<'static>>, Box<zstd::bulk::Decompressor<'static>>),
}

impl Codec {
    pub(super) fn new(compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::Gzip => {
                let level = libdeflater::CompressionLvl::new(GZIP_LEVEL).expect("a level that libdeflate has");
                Self::Gzip(Box::new(libdeflater::Compressor::new(level)), Box::new(libdeflater::Decompressor::new()))
            }
            Compression::Zstd => Self::Zstd(
                Box::new(zstd::bulk::Compressor::new(ZSTD_LEVEL)?),
                Box::new(zstd::bulk::Decompressor::new()?),
            ),
        })
    }

    /// Makes one member or frame of a chunk, at the front of `packed`, and gives its length. The gzip header has no name and
    /// no time.
    pub(super) fn compress(&mut self, plain: &[u8], packed: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(compressor, _) => compressor.gzip_compress(plain, packed).map_err(io::Error::other),
            Self::Zstd(compressor, _) => compressor.compress_to_buffer(plain, packed),
        }
    }

    /// Inflates one member or frame, which has to fill `plain` to its end.
    pub(super) fn inflate(&mut self, packed: &[u8], plain: &mut [u8]) -> io::Result<()> {
        let found = match self {
            Self::Gzip(_, decompressor) => decompressor
                .gzip_decompress(packed, plain)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?,
            Self::Zstd(_, decompressor) => decompressor.decompress_to_buffer(packed, plain)?,
        };
        if found == plain.len() {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, "a chunk is shorter than its record says"))
        }
    }
}

#[cfg(test)]
mod tests {
    use bulla_model::Digest;

    use super::*;

    fn sample() -> Vec<u8> {
        (0..200_000_u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 20).to_le_bytes()).collect()
    }

    fn compressed(codec: &mut Codec, plain: &[u8]) -> Vec<u8> {
        let mut packed = vec![0; ROOM];
        let length = codec.compress(plain, &mut packed).expect("compressed");
        packed.truncate(length);
        packed
    }

    #[test]
    fn the_bytes_of_compressed_chunks_are_pinned() {
        let packed =
            |compression| Digest::of(compressed(&mut Codec::new(compression).expect("a codec"), &sample())).to_string();
        assert_eq!(
            packed(Compression::Gzip),
            "sha256:763ae9ca71e43582ee1fd19b9d01330c35e2019f23ee58fabb749c03ad3c94da"
        );
        assert_eq!(
            packed(Compression::Zstd),
            "sha256:3d4027bd260a8044f5dc23013e4f2e292834fe56cba3668278600fa84f4162dd"
        );
    }

    #[test]
    fn a_chunk_is_inflated_to_what_it_was_and_to_no_other_length() {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let mut codec = Codec::new(compression).expect("a codec");
            let plain = sample();
            let packed = compressed(&mut codec, &plain);
            let mut found = vec![0; plain.len()];
            codec.inflate(&packed, &mut found).expect("inflated");
            assert_eq!(found, plain);
            assert!(codec.inflate(&packed, &mut vec![0; plain.len() - 1]).is_err());
            assert!(codec.inflate(&packed, &mut vec![0; plain.len() + 1]).is_err());
        }
    }

    #[test]
    fn what_cannot_be_compressed_fits_the_room() {
        let mut state = 1_u64;
        let noise: Vec<u8> = (0..CHUNK)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect();
        for compression in [Compression::Gzip, Compression::Zstd] {
            assert!(compressed(&mut Codec::new(compression).expect("a codec"), &noise).len() > CHUNK);
        }
    }
}

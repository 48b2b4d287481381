//! Unpacks lists of packages, within bounds.

use std::io::Read;

use bulla_model::Digest;

use crate::debian::release::FileSum;

/// The memory that xz may take, in bytes: `xz -9` needs 65 MB.
const MAX_MEMORY: u64 = 128 << 20;

/// How a list is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Xz,
}

impl Compression {
    pub(crate) const fn ending(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Xz => ".xz",
        }
    }
}

/// Says why a list cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The packed bytes are not valid.
    #[error("decompressing it")]
    Decompress(#[source] std::io::Error),
    /// More comes out than the index says, or than any list has.
    #[error("more than {limit} bytes come out of it")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// Something else comes out than the index says.
    #[error("what comes out of it is not what the index says: expected {expected}, got {found}")]
    Mismatch {
        /// The digest in the index.
        expected: Digest,
        /// The digest of what came out.
        found: Digest,
    },
}

/// Unpacks bytes. No more than the declared size is ever unpacked, or than `limit` where none is declared.
///
/// # Errors
/// When the bytes are not valid, or another digest or size comes out than declared.
pub(crate) fn unpack(
    bytes: Vec<u8>,
    compression: Compression,
    declared: Option<FileSum>,
    limit: u64,
) -> Result<Vec<u8>, UnpackError> {
    let limit = declared.map_or(limit, |(_, size)| size.min(limit));
    let text = match compression {
        Compression::None => bytes,
        Compression::Gzip => read(flate2::read::MultiGzDecoder::new(bytes.as_slice()), limit)?,
        Compression::Xz => {
            let stream = liblzma::stream::Stream::new_stream_decoder(MAX_MEMORY, liblzma::stream::CONCATENATED)
                .map_err(|error| UnpackError::Decompress(error.into()))?;
            read(liblzma::read::XzDecoder::new_stream(bytes.as_slice(), stream), limit)?
        }
    };
    match declared {
        Some((expected, _)) if Digest::of(&text) != expected => {
            Err(UnpackError::Mismatch { expected, found: Digest::of(&text) })
        }
        _ => Ok(text),
    }
}

fn read(decoder: impl Read, limit: u64) -> Result<Vec<u8>, UnpackError> {
    let mut text = Vec::new();
    decoder.take(limit + 1).read_to_end(&mut text).map_err(UnpackError::Decompress)?;
    if text.len() as u64 > limit { Err(UnpackError::TooLarge { limit }) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("to memory");
        encoder.finish().expect("to memory")
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
        encoder.write_all(bytes).expect("to memory");
        encoder.finish().expect("to memory")
    }

    #[test]
    fn what_was_packed_comes_out() {
        let sum = Some((Digest::of(b"text"), 4));
        for (bytes, compression) in
            [(b"text".to_vec(), Compression::None), (gzip(b"text"), Compression::Gzip), (xz(b"text"), Compression::Xz)]
        {
            assert_eq!(unpack(bytes, compression, sum, 100).expect("valid"), b"text");
        }
    }

    #[test]
    fn a_bomb_is_stopped_at_the_size_that_was_signed() {
        let zeros = vec![0; 64 << 20];
        for (bomb, compression) in [(gzip(&zeros), Compression::Gzip), (xz(&zeros), Compression::Xz)] {
            let declared = Some((Digest::of(b"text"), 4));
            let found = unpack(bomb.clone(), compression, declared, u64::MAX);
            assert!(matches!(found, Err(UnpackError::TooLarge { limit: 4 })));
            assert!(matches!(unpack(bomb, compression, None, 1 << 20), Err(UnpackError::TooLarge { .. })));
        }
    }

    #[test]
    fn what_is_not_packed_so_is_refused() {
        let sum = Some((Digest::of(b"text"), 4));
        assert!(matches!(unpack(xz(b"next"), Compression::Xz, sum, 9), Err(UnpackError::Mismatch { .. })));
        assert!(matches!(unpack(gzip(b"text"), Compression::Xz, sum, 9), Err(UnpackError::Decompress(_))));
        let mut cut = xz(&[7; 5000]);
        cut.truncate(40);
        assert!(matches!(unpack(cut, Compression::Xz, None, 9999), Err(UnpackError::Decompress(_))));
    }
}
